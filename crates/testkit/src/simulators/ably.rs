//! Ably realtime, after github.com/ably/specification (features.md) and ably.com/docs.

use serde_json::{Value, json};

use super::{EARLY, HALF, time_ms, turns};
use crate::simulator::channels::Channels;
use crate::simulator::history::{Held, History};
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

/// Of the flags of ATTACHED: the channel goes on from the serial that the client said.
const RESUMED: u64 = 4;
/// Modes of a channel, which are flags too.
const MODES: u64 = 983_040;

fn channel_of(n: u64) -> &'static str {
    turns(n, CHANNELS)
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
    let session = session(world);
    let resumes = request.query("resume").is_some_and(|key| world.redeem(&key, &session));
    Accepted::by(Ably { is_known, heartbeats, resumes, channels: Channels::default() })
}

/// What a connection key is good for, until the state of connections is lost.
fn session(world: &World) -> String {
    world.history.as_ref().map_or_else(|| "connection".to_owned(), |history| history.named("connection"))
}

struct Ably {
    is_known: bool,
    heartbeats: bool,
    /// It came with the key of a connection whose state is still there.
    resumes: bool,
    channels: Channels,
}

impl Ably {
    fn attach(&mut self, channel: &str, serial: &Value, turn: &mut Turn<'_>) {
        if !CHANNELS.contains(&channel) {
            let error = error(40160, 401, "action not permitted");
            return turn.send(json!({"action": ERROR, "channel": channel, "error": error}));
        }
        self.publish(turn);
        let Some(history) = &mut turn.world.history else {
            self.channels.join(channel, 0, &History::default(), channel_of);
            turn.send(json!({"action": ATTACHED, "channel": channel, "channelSerial": "s1", "flags": MODES}));
            return self.send(if self.channels.len() == 1 { EARLY } else { HALF }, turn);
        };
        let next = serial.as_str().and_then(|serial| serial.strip_prefix('s')?.parse::<u64>().ok());
        let next = next.filter(|next| self.resumes && history.held(*next) == Held::All);
        let published = history.published();
        let missed = self.channels.join(channel, next.unwrap_or(published), history, channel_of);
        if self.channels.len() == CHANNELS.len() {
            history.begin();
        }
        let flags = if next.is_some() { MODES | RESUMED } else { MODES };
        let serial = serial_behind(next.unwrap_or(published));
        turn.send(json!({"action": ATTACHED, "channel": channel, "channelSerial": serial, "flags": flags}));
        missed.chunk_by(|a, b| a / 2 == b / 2).for_each(|pair| turn.send(message(pair)));
    }

    /// In a history, sends what the attached channels have not had.
    fn publish(&mut self, turn: &mut Turn<'_>) {
        let Some(history) = &turn.world.history else { return };
        let news = self.channels.news(history, channel_of);
        news.chunk_by(|a, b| a / 2 == b / 2).for_each(|pair| turn.send(message(pair)));
    }

    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for pair in turn.pairs_to(end) {
            turn.send(message(&pair.collect::<Vec<_>>()));
        }
    }
}

/// The serial of a channel that has had the records before this one.
fn serial_behind(next: u64) -> String {
    format!("s{next}")
}

/// A message with records of one channel.
fn message(records: &[u64]) -> String {
    let (first, last) = (records[0], records[records.len() - 1]);
    let (channel, time, serial) = (channel_of(first), time_ms(first / 2 * 2), serial_behind(last + 1));
    let messages: Vec<String> = records.iter().map(|n| record(*n).value).collect();
    format!(
        r#"{{"action":{MESSAGE},"id":"m{first}:0","channel":"{channel}","channelSerial":"{serial}","connectionId":"ab1","timestamp":{time},"messages":[{}]}}"#,
        messages.join(",")
    )
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
        // A connection that is resumed may get another key (RTN15e).
        let session = session(turn.world);
        let key = turn.world.issue(&session);
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
            Some(ATTACH) => self.attach(channel, &message["channelSerial"], turn),
            Some(DETACH) => turn.send(json!({"action": 13, "channel": channel})),
            Some(HEARTBEAT) => turn.send(json!({"action": HEARTBEAT})),
            _ => turn.send(json!({"action": ERROR, "error": error(40000, 400, "bad request")})),
        }
    }

    fn published(&mut self, turn: &mut Turn<'_>) {
        self.publish(turn);
    }

    fn planned_end(&mut self, turn: &mut Turn<'_>) {
        turn.send(json!({"action": DISCONNECTED, "error": error(80003, 503, "the server is going away")}));
        turn.after(seconds(30), "bye");
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        if timer == "bye" {
            return turn.cut("the connection was still open after DISCONNECTED");
        }
        if self.heartbeats {
            turn.send(json!({"action": HEARTBEAT}));
        }
        if turn.world.history.is_none() && self.channels.len() > 1 {
            self.send(if turn.world.notices > 0 { RECORDS } else { HALF + 2 }, turn);
            if turn.world.notices == 0 {
                turn.world.notices += 1;
                self.planned_end(turn);
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
    fn a_channel_goes_on_from_its_serial_with_the_key_of_the_connection_before() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        stage.world.history = Some(History::new(100));
        let target = format!("/?key={KEY}&format=json&v=2&heartbeats=true");
        let mut attach = |target: &str, serial: &str| {
            let mut line = stage.connect(target);
            let key = line.json()[0]["connectionKey"].as_str().unwrap().to_owned();
            stage.say(&mut line, json!({"action": ATTACH, "channel": "news", "channelSerial": serial}));
            stage.world.history.as_mut().unwrap().publish(6, 0);
            let attached = line.json();
            (key, attached[0]["flags"].as_u64().unwrap() & RESUMED, attached.len())
        };
        let (key, resumed, _) = attach(&target, "s0");
        assert_eq!(resumed, 0);
        let (again, resumed, messages) = attach(&format!("{target}&resume={key}"), "s1");
        assert_eq!((resumed, messages), (RESUMED, 3));
        assert_ne!(again, key);
        assert_eq!(attach(&format!("{target}&resume={key}"), "s1").1, 0);
    }

    #[test]
    fn an_unknown_key_is_refused_with_an_error() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/?key=other&format=json");
        let (heard, _) = line.end();
        assert!(matches!(&heard[0], Action::Text(text) if text.contains(SIMULATOR.wrong[0].words)));
    }
}
