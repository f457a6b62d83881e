//! Ably realtime, after github.com/ably/specification (features.md) and ably.com/docs.

use serde_json::{Value, json};

use super::{EARLY, HALF, time_ms, turns};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const CHANNELS: [&str; 2] = ["news", "sports"];
const KEY: &str = "ablyApp.keyId:ably-secret-77d0";

/// Actions of the protocol.
const HEARTBEAT: u64 = 0;
const CONNECTED: u64 = 4;
const DISCONNECTED: u64 = 6;
const ERROR: u64 = 9;
const ATTACH: u64 = 10;
const ATTACHED: u64 = 11;
const DETACH: u64 = 12;
const MESSAGE: u64 = 15;

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "ably",
    hosts: &["realtime.ably.io"],
    right: &[("websocket.subscription.topics", "news,sports"), ("websocket.secret.key", KEY)],
    beats: &[],
    wrong: &[
        Wrong {
            what: "an unknown key",
            set: &[("websocket.secret.key", "ablyApp.keyId:ably-secret-0000")],
            words: "invalid credentials",
        },
        Wrong {
            what: "a channel that may not be attached",
            set: &[("websocket.subscription.topics", "secret")],
            words: "action not permitted",
        },
    ],
    record,
    http: Simulator::no_http,
    connect,
};

/// Records of one message have the message's time.
fn record(n: u64) -> Expected {
    let value = format!(r#"{{"name":"headline","data":"number {n}"}}"#);
    Expected::new(value, turns(n, CHANNELS), time_ms(n / 2 * 2))
}

fn connect(request: &HttpRequest, world: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/" {
        return Err(Answer::text(404, "not found"));
    }
    if request.query("format").as_deref() != Some("json") {
        // MessagePack is what a client gets that does not ask for JSON.
        world.faults.push("a client that cannot read MessagePack must ask for JSON".to_owned());
    }
    let heartbeats = request.query("heartbeats").as_deref() == Some("true");
    let is_known = request.query("key").as_deref() == Some(KEY);
    Accepted::by(Ably { is_known, heartbeats, channels: 0 })
}

struct Ably {
    is_known: bool,
    heartbeats: bool,
    channels: u64,
}

impl Ably {
    fn attach(&mut self, channel: &str, turn: &mut Turn<'_>) {
        if !CHANNELS.contains(&channel) {
            let error = error(40160, 401, "action not permitted");
            return turn.send(json!({"action": ERROR, "channel": channel, "error": error}));
        }
        turn.send(json!({"action": ATTACHED, "channel": channel, "channelSerial": "s1", "flags": 983_040}));
        self.channels += 1;
        self.send(if self.channels == 1 { EARLY } else { HALF }, turn);
    }

    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for pair in turn.pairs_to(end) {
            let (first, channel, time) = (pair.start, turns(pair.start, CHANNELS), time_ms(pair.start));
            let messages: Vec<String> = pair.map(|n| record(n).value).collect();
            turn.send(format!(
                r#"{{"action":{MESSAGE},"id":"m{first}:0","channel":"{channel}","channelSerial":"s{first}","connectionId":"ab1","timestamp":{time},"messages":[{}]}}"#,
                messages.join(",")
            ));
        }
    }
}

fn error(code: u64, status: u64, words: &str) -> Value {
    json!({"code": code, "statusCode": status, "message": words, "href": format!("https://help.ably.io/error/{code}")})
}

impl Peer for Ably {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        if !self.is_known {
            turn.send(json!({"action": ERROR, "error": error(40101, 401, "invalid credentials")}));
            return turn.close(1000, "");
        }
        let key = turn.world.issue("connection");
        turn.send(json!({
            "action": CONNECTED, "connectionId": "ab1", "connectionKey": key,
            "connectionDetails": {"connectionKey": key, "maxIdleInterval": 15_000, "connectionStateTtl": 120_000},
        }));
        turn.after_quick(seconds(15), "heartbeat");
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        let channel = message["channel"].as_str().unwrap_or_default();
        match message["action"].as_u64() {
            Some(ATTACH) => self.attach(channel, turn),
            Some(DETACH) => turn.send(json!({"action": 13, "channel": channel})),
            Some(HEARTBEAT) => turn.send(json!({"action": HEARTBEAT})),
            _ => turn.send(json!({"action": ERROR, "error": error(40000, 400, "bad request")})),
        }
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        if timer == "bye" {
            return turn.cut("the connection was still open after DISCONNECTED");
        }
        if self.heartbeats {
            turn.send(json!({"action": HEARTBEAT}));
        }
        if self.channels > 1 {
            self.send(if turn.world.notices > 0 { RECORDS } else { HALF + 2 }, turn);
            if turn.world.notices == 0 {
                turn.world.notices += 1;
                turn.send(json!({"action": DISCONNECTED, "error": error(80003, 503, "the server is going away")}));
                turn.after(seconds(30), "bye");
            }
        }
        turn.after_quick(seconds(15), "heartbeat");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn channels_are_attached_and_the_connection_is_told_to_end() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let target = format!("/?key={KEY}&format=json&v=2&heartbeats=true");
        let mut line = stage.connect(&target);
        for channel in ["secret", "news", "sports"] {
            stage.say(&mut line, json!({"action": ATTACH, "channel": channel}));
        }
        let actions: Vec<_> = line.json().iter().map(|message| message["action"].as_u64().unwrap()).collect();
        assert_eq!(actions, [CONNECTED, ERROR, ATTACHED, MESSAGE, ATTACHED, MESSAGE, MESSAGE]);
        stage.pass(&mut line, seconds(15));
        assert_eq!(line.json().last().unwrap()["action"], DISCONNECTED);
        assert!(stage.world.faults.is_empty());
    }

    #[test]
    fn an_unknown_key_is_refused_with_an_error() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/?key=other&format=json");
        let (heard, _) = line.end();
        assert!(matches!(&heard[0], Action::Text(text) if text.contains(SIMULATOR.wrong[0].words)));
    }
}
