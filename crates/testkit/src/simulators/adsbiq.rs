//! ADSBiq, after adsbiq.com/api/docs, which says little of its WebSocket: a bearer token, one connection a key, snapshots that the server pushes.

use serde_json::json;

use super::{EARLY, HALF, time_ms};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, seconds,
};

const KEY: &str = "adsbiq-key-88d1";

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "adsbiq",
    hosts: &[],
    right: &[("websocket.url", "{ws}/ws"), ("websocket.auth.token", KEY)],
    beats: &[],
    wrong: &[Wrong {
        what: "a key that is not known",
        set: &[("websocket.auth.token", "adsbiq-key-0000")],
        words: "401",
    }],
    record,
    http: Simulator::no_http,
    connect,
};

/// Aircraft of one message have the message's time.
fn record(n: u64) -> Expected {
    let hex = format!("4ca{n:03x}");
    Expected::new(format!(r#"{{"hex":"{hex}","alt_baro":{},"gs":431.2}}"#, 30_000 + n), hex, time_ms(n / 2 * 2))
}

fn connect(request: &HttpRequest, world: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/ws" {
        return Err(Answer::json(404, json!({"detail": "Not Found"})));
    }
    if !request.is_of_bearer(KEY) {
        return Err(Answer::json(401, json!({"detail": "Invalid API key"})));
    }
    if world.open > 0 {
        world.faults.push("a second connection".to_owned());
        return Err(Answer::json(409, json!({"detail": "One connection per feeder"})));
    }
    Accepted::by(AdsbIq)
}

struct AdsbIq;

impl AdsbIq {
    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for pair in turn.pairs_to(end) {
            let time = time_ms(pair.start);
            let aircraft: Vec<String> = pair.map(|n| record(n).value).collect();
            let now = format!("{}.{:03}", time / 1000, time % 1000);
            turn.send(format!(r#"{{"now":{now},"total":2,"ac":[{}]}}"#, aircraft.join(",")));
        }
    }
}

impl Peer for AdsbIq {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        self.send(EARLY, turn);
        self.send(HALF, turn);
        turn.after(seconds(1), "snapshot");
    }

    fn text(&mut self, _: &str, turn: &mut Turn<'_>) {
        turn.fault("a message of the client");
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        // No aircraft in reach.
        turn.send(json!({"now": 1_767_225_601.5, "total": 0, "ac": []}));
        self.send(RECORDS, turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn a_key_has_one_connection() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let bearer = format!("Bearer {KEY}");
        assert_eq!(stage.connect_with("/ws", &[]).err().unwrap().status, 401);
        let mut line = stage.connect_with("/ws", &[("Authorization", &bearer)]).ok().unwrap();
        assert_eq!(line.json()[0]["ac"][1]["hex"], "4ca001");
        stage.pass(&mut line, seconds(1));
        stage.is_over();
        assert_eq!(stage.connect_with("/ws", &[("Authorization", &bearer)]).err().unwrap().status, 409);
    }
}
