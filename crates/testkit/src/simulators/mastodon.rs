//! Mastodon streaming, after docs.joinmastodon.org/methods/streaming and streaming/index.js of mastodon/mastodon.

use serde_json::{Value, json};

use super::{EARLY, HALF, PAGE, time_iso, time_ms};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const TOKEN: &str = "mastodon-token-0a47";
/// The record that says that a status was deleted.
const DELETED: u64 = 5;

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "mastodon",
    hosts: &[],
    right: &[("websocket.url", "{ws}/api/v1/streaming?stream=public"), ("websocket.secret.token", TOKEN)],
    beats: &[],
    wrong: &[
        Wrong {
            what: "a token that is not known",
            set: &[("websocket.secret.token", "mastodon-token-0000")],
            words: "401",
        },
        Wrong {
            what: "a stream that does not exist",
            set: &[("websocket.url", "{ws}/api/v1/streaming?stream=nothing")],
            words: "Unknown stream type",
        },
    ],
    record,
    http,
    connect,
};

/// GET /api/v1/timelines/public, forwards from `min_id`; the newest of a page comes first.
fn http(request: &HttpRequest, world: &mut World) -> Answer {
    if request.path() != "/api/v1/timelines/public" {
        return Answer::text(404, "Not found");
    }
    if !request.is_of_bearer(TOKEN) {
        return Answer::json(401, json!({"error": "The access token is invalid"}));
    }
    let number = |name| request.query(name).and_then(|text| text.parse::<u64>().ok());
    let (Some(min), Some(max), Some(limit)) = (number("min_id"), number("max_id"), number("limit")) else {
        return Answer::json(400, json!({"error": "only a part of the timeline is asked for"}));
    };
    world.ask(2, |history| {
        let is_between = |n: &u64| history.has(*n) && *n != DELETED && id(*n) > min && id(*n) < max;
        let page: Vec<u64> = (0..history.published()).filter(is_between).take(PAGE.min(limit as usize)).collect();
        let (Some(first), Some(last)) = (page.first(), page.last()) else { return Answer::json(200, "[]") };
        let page: Vec<Value> = page.iter().rev().map(|n| json(&record(*n).value)).collect();
        let at = "https://mastodon.social/api/v1/timelines/public?limit=40";
        let (next, prev) = (format!("{at}&max_id={}", id(*first)), format!("{at}&min_id={}", id(*last)));
        Answer::json(200, Value::Array(page)).with("Link", format!(r#"<{next}>; rel="next", <{prev}>; rel="prev""#))
    })
}

fn id(n: u64) -> u64 {
    115_400_000_000_000_000 + n
}

fn record(n: u64) -> Expected {
    let id = id(n).to_string();
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

    fn published(&mut self, turn: &mut Turn<'_>) {
        self.send(RECORDS, turn);
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
