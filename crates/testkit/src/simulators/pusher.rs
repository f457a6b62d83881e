//! Pusher Channels, after pusher.com/docs/channels/library_auth_reference/pusher-websockets-protocol.

use serde_json::{Value, json};

use super::{EARLY, HALF, turns};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const CHANNELS: [&str; 2] = ["news", "sports"];
const KEY: &str = "pusher-app-key-3d";

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "pusher",
    hosts: &["ws-{{cluster}}.pusher.com"],
    right: &[
        ("websocket.var.cluster", "eu"),
        ("websocket.var.key", KEY),
        ("websocket.subscription.topics", "news,sports"),
    ],
    beats: &["websocket.session.beat.every.ms"],
    wrong: &[Wrong {
        what: "an app that does not exist",
        set: &[("websocket.var.key", "pusher-app-key-00")],
        words: "does not exist",
    }],
    record,
    http: Simulator::no_http,
    connect,
};

fn record(n: u64) -> Expected {
    Expected { timestamp: None, ..Expected::new(format!(r#"{{"headline":"number {n}"}}"#), turns(n, CHANNELS), 0) }
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    let key = request.path().strip_prefix("/app/").unwrap_or_default().to_owned();
    if key.is_empty() || request.query("protocol").as_deref() != Some("7") {
        return Err(Answer::text(404, "not found"));
    }
    Accepted::by(Pusher { key, channels: 0 })
}

struct Pusher {
    key: String,
    channels: u64,
}

impl Pusher {
    fn subscribe(&mut self, channel: &str, turn: &mut Turn<'_>) {
        if !CHANNELS.contains(&channel) {
            let words = format!("channel {channel} cannot be subscribed");
            return event("pusher:error", None, &json!({"message": words, "code": null}), turn);
        }
        event("pusher_internal:subscription_succeeded", Some(channel), &json!({}), turn);
        self.channels += 1;
        self.send(if self.channels == 1 { EARLY } else { HALF }, turn);
    }

    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            let data = json(&record(n).value);
            event("headline", Some(turns(n, CHANNELS)), &data, turn);
        }
    }
}

/// An event: its data is JSON in a string.
fn event(name: &str, channel: Option<&str>, data: &Value, turn: &mut Turn<'_>) {
    let mut event = json!({"event": name, "data": data.to_string()});
    if let Some(channel) = channel {
        event["channel"] = channel.into();
    }
    turn.send(event);
}

fn await_words(turn: &mut Turn<'_>) {
    turn.after_quick(seconds(120 + 30), "silence");
}

impl Peer for Pusher {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        if self.key != KEY {
            let words = format!("App key {} does not exist in this cluster", self.key);
            event("pusher:error", None, &json!({"message": words, "code": 4001}), turn);
            return turn.close(4001, &words);
        }
        let greeting = json!({"socket_id": "46123.8162", "activity_timeout": 120});
        event("pusher:connection_established", None, &greeting, turn);
        await_words(turn);
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        await_words(turn);
        let message = json(text);
        match message["event"].as_str() {
            Some("pusher:subscribe") => self.subscribe(message["data"]["channel"].as_str().unwrap_or_default(), turn),
            Some("pusher:unsubscribe") => {}
            Some("pusher:ping") => {
                event("pusher:pong", None, &json!({}), turn);
                if self.channels > 1 {
                    self.send(RECORDS, turn);
                }
            }
            _ => event("pusher:error", None, &json!({"message": "Unsupported event", "code": null}), turn),
        }
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        turn.refuse(4201, "Pong reply not received");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn data_is_json_in_a_string_and_silence_ends_the_connection() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect(&format!("/app/{KEY}?protocol=7"));
        for channel in CHANNELS {
            stage.say(&mut line, json!({"event": "pusher:subscribe", "data": {"channel": channel}}));
        }
        let heard = line.json();
        assert_eq!(heard[0]["event"], "pusher:connection_established");
        assert_eq!(heard[2]["data"], r#"{"headline":"number 0"}"#);
        stage.say(&mut line, json!({"event": "pusher:ping", "data": {}}));
        stage.is_over();
        line.texts();
        stage.pass(&mut line, seconds(150));
        assert!(matches!(line.end().1, Action::Close(4201, _)));
    }

    #[test]
    fn an_unknown_app_is_told_and_closed() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/app/other?protocol=7");
        let (heard, end) = line.end();
        assert!(matches!(&heard[0], Action::Text(text) if text.contains(SIMULATOR.wrong[0].words)));
        assert!(matches!(end, Action::Close(4001, _)));
    }
}
