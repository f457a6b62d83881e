//! A Nostr relay, after NIP-01 and, for what it refuses, NIP-42 (github.com/nostr-protocol/nips).

use serde_json::{Value, json};

use super::{EARLY, HALF};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const AUTHORS: [&str; 3] = ["a48380f4cfcc1ad5", "3bf0c63fcb934634", "82341f882b6eabcd"];
/// Of direct messages, which this relay gives to those who log in.
const DIRECT: u64 = 4;
const EPOCH_S: i64 = 1_767_225_600;

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "nostr",
    hosts: &[],
    right: &[("websocket.url", "{ws}/"), ("websocket.var.kinds", "1,30023")],
    beats: &[],
    wrong: &[Wrong {
        what: "events that are for those who log in",
        set: &[("websocket.var.kinds", "1,4")],
        words: "auth-required: we can't serve DMs",
    }],
    record,
    http: Simulator::no_http,
    connect,
};

/// Times are the authors', and in no order.
fn record(n: u64) -> Expected {
    let (author, time) = (AUTHORS[(n % 3) as usize], EPOCH_S + (n as i64 * 7) % 12);
    let value = format!(
        r#"{{"id":"e{n:03}","pubkey":"{author}","created_at":{time},"kind":1,"tags":[],"content":"number {n}","sig":"5a"}}"#
    );
    Expected::new(value, author, time * 1000)
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/" {
        return Err(Answer::text(404, "not found"));
    }
    Accepted::by(Relay { subscription: Value::Null })
}

struct Relay {
    subscription: Value,
}

impl Relay {
    fn request(&mut self, message: &Value, turn: &mut Turn<'_>) {
        let (subscription, filter) = (&message[1], &message[2]);
        let Some(kinds) = filter["kinds"].as_array().filter(|kinds| kinds.iter().all(Value::is_u64)) else {
            return turn.send(json!(["NOTICE", "ERROR: bad req: kinds are numbers"]));
        };
        if kinds.contains(&json!(DIRECT)) {
            let words = "auth-required: we can't serve DMs to unauthenticated users";
            return turn.send(json!(["CLOSED", subscription, words]));
        }
        let now = turn.world.unix_ms / 1000;
        // Ten minutes back at most, and not into the future.
        if filter["since"].as_u64().is_none_or(|since| since > now + 60 || since + 660 < now) {
            turn.fault("a request without the time from which on events are wanted");
        }
        self.subscription = subscription.clone();
        if turn.world.history.is_some() {
            return self.send_stored(filter["since"].as_u64().unwrap_or_default(), turn);
        }
        // Stored events, then live ones.
        self.send(EARLY, turn);
        turn.send(json!(["EOSE", subscription]));
        self.send(HALF, turn);
        turn.after(seconds(1), "more");
    }

    /// Stored events come newest first. Here the authors' times are those of publication.
    fn send_stored(&self, since: u64, turn: &mut Turn<'_>) {
        let first = turn.world.history.as_ref().map_or(0, |history| history.since(since));
        turn.start_at(first);
        for n in turn.numbers_to(HALF).rev() {
            self.event(n, turn);
        }
        turn.send(json!(["EOSE", self.subscription]));
    }

    fn event(&self, n: u64, turn: &mut Turn<'_>) {
        turn.send(format!(r#"["EVENT",{},{}]"#, self.subscription, record(n).value));
    }

    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            self.event(n, turn);
        }
    }
}

impl Peer for Relay {
    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        match message[0].as_str() {
            Some("REQ") if message[1].as_str().is_some_and(|id| !id.is_empty() && id.len() <= 64) => {
                self.request(&message, turn);
            }
            Some("CLOSE") => self.subscription = Value::Null,
            _ => {
                turn.fault("a message that is not understood");
                turn.send(json!(["NOTICE", "ERROR: bad msg: unknown cmd"]));
            }
        }
    }

    fn published(&mut self, turn: &mut Turn<'_>) {
        if !self.subscription.is_null() {
            self.send(RECORDS, turn);
        }
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        turn.send(json!(["NOTICE", "the relay restarts at midnight"]));
        self.send(RECORDS, turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn stored_events_come_before_the_end_of_stored_events() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/");
        let since = stage.world.unix_ms / 1000;
        stage.say(&mut line, json!(["REQ", "a", {"kinds": [4], "since": since}]));
        assert!(line.json()[0][2].as_str().unwrap().contains(SIMULATOR.wrong[0].words));
        stage.say(&mut line, json!(["REQ", "a", {"kinds": [1], "since": since}]));
        assert_eq!(line.json()[EARLY as usize], json!(["EOSE", "a"]));
        stage.pass(&mut line, seconds(1));
        stage.is_over();
    }
}
