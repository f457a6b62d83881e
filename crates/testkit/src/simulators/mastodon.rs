//! Mastodon streaming, after docs.joinmastodon.org/methods/streaming and streaming/index.js of mastodon/mastodon.

use serde_json::json;

use super::{EARLY, HALF, time_iso, time_ms};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, seconds,
};

const TOKEN: &str = "mastodon-token-0a47";
/// The record that says that a status was deleted.
const DELETED: u64 = 5;

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "mastodon",
    hosts: &[],
    right: &[("websocket.url", "{ws}/api/v1/streaming?stream=public"), ("websocket.auth.token", TOKEN)],
    beats: &[],
    wrong: &[
        Wrong {
            what: "a token that is not known",
            set: &[("websocket.auth.token", "mastodon-token-0000")],
            words: "401",
        },
        Wrong {
            what: "a stream that does not exist",
            set: &[("websocket.url", "{ws}/api/v1/streaming?stream=nothing")],
            words: "Unknown stream type",
        },
    ],
    record,
    http: Simulator::no_http,
    connect,
};

fn record(n: u64) -> Expected {
    let id = format!("11540000000000{n:04}");
    if n == DELETED {
        return Expected { timestamp: None, ..Expected::new(id.clone(), id, 0) };
    }
    let value = format!(r#"{{"id":"{id}","created_at":"{}","content":"<p>number \"{n}\"</p>"}}"#, time_iso(n));
    Expected::new(value, id, time_ms(n))
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/api/v1/streaming" {
        return Err(Answer::text(404, "Not found"));
    }
    if !request.is_of_bearer(TOKEN) {
        let message = ("X-Error-Message".to_owned(), "Invalid access token".to_owned());
        return Err(Answer { headers: vec![message], ..Answer::text(401, "") });
    }
    Accepted::by(Mastodon { stream: request.query("stream").unwrap_or_default() })
}

struct Mastodon {
    stream: String,
}

impl Mastodon {
    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            let event = if n == DELETED { "delete" } else { "update" };
            turn.send(json!({"stream": [self.stream], "event": event, "payload": record(n).value}));
        }
    }
}

impl Peer for Mastodon {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        if self.stream != "public" {
            return turn.send(json!({"error": "Unknown stream type", "status": 400}));
        }
        self.send(EARLY, turn);
        // An event without a payload.
        turn.send(json!({"stream": ["user"], "event": "filters_changed"}));
        self.send(HALF, turn);
        turn.after_quick(seconds(30), "ping");
    }

    fn text(&mut self, _: &str, turn: &mut Turn<'_>) {
        turn.fault("a message of the client");
        turn.send(json!({"error": "Error parsing message", "status": 400}));
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        turn.ping();
        self.send(RECORDS, turn);
        turn.after_quick(seconds(30), "ping");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::json;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn payloads_are_strings() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("Authorization", bearer.as_str())];
        let target = "/api/v1/streaming?stream=public";
        assert_eq!(stage.connect_with(target, &[]).err().unwrap().status, 401);
        let mut other = stage.connect_with("/api/v1/streaming?stream=nothing", &headers).ok().unwrap();
        assert_eq!(other.json()[0]["error"], SIMULATOR.wrong[1].words);
        let mut line = stage.connect_with(target, &headers).ok().unwrap();
        let heard = line.json();
        assert_eq!(json(heard[0]["payload"].as_str().unwrap())["id"], "115400000000000000");
        assert_eq!(heard[6]["event"], "delete");
        stage.pass(&mut line, seconds(30));
        stage.is_over();
    }
}
