//! Centrifugo, after centrifugal.dev/docs/transports/client_protocol.

use serde_json::{Value, json};

use super::{EARLY, HALF, turns};
use crate::simulator::history::Held;
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const CHANNELS: [&str; 2] = ["news", "sports"];
const TOKEN: &str = "centrifugo.eyJzdWIiOiI0MiJ9.sig-9a";

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "centrifugo",
    hosts: &[],
    right: &[
        ("websocket.url", "{ws}/connection/websocket"),
        ("websocket.secret.jwt", TOKEN),
        ("websocket.subscription.topics", "news,sports"),
    ],
    beats: &[],
    wrong: &[
        Wrong {
            what: "a token that is not signed by the server",
            set: &[("websocket.secret.jwt", "centrifugo.eyJzdWIiOiI0MiJ9.sig-00")],
            words: "invalid token",
        },
        Wrong {
            what: "a channel that may not be subscribed",
            set: &[("websocket.subscription.topics", "secret")],
            words: "permission denied",
        },
    ],
    record,
    http: Simulator::no_http,
    connect,
};

fn record(n: u64) -> Expected {
    let value = format!(r#"{{"data":{{"headline":"number {n}"}},"offset":{}}}"#, offset(n));
    Expected { timestamp: None, ..Expected::new(value, turns(n, CHANNELS), 0) }
}

/// Of record n in its channel, from 1; they come in pairs.
fn offset(n: u64) -> u64 {
    n / 4 * 2 + n % 2 + 1
}

/// The record behind an offset of a channel.
fn after(offset: u64, channel: &str) -> u64 {
    let index = u64::from(channel == CHANNELS[1]);
    offset / 2 * 4 + index * 2 + offset % 2
}

/// The newest offset of a channel.
fn newest(published: u64, channel: &str) -> u64 {
    (0..published).rev().find(|n| turns(*n, CHANNELS) == channel).map_or(0, offset)
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/connection/websocket" {
        return Err(Answer::text(404, "not found"));
    }
    Accepted::by(Centrifugo { connected: false, channels: Vec::new(), sent: 0, pinged: false })
}

struct Centrifugo {
    connected: bool,
    channels: Vec<String>,
    /// In a history, the records before it went out, those of the channels that are subscribed.
    sent: u64,
    /// A ping waits for its pong.
    pinged: bool,
}

impl Centrifugo {
    fn command(&mut self, command: &Value, turn: &mut Turn<'_>) {
        let id = &command["id"];
        if command == &json!({}) {
            self.pinged = false;
            turn.cancel("no pong");
            return if self.channels.len() > 1 {
                say(publications(RECORDS, turn), turn)
            };
        }
        if let Some(connect) = command.get("connect") {
            if self.connected {
                return turn.refuse(3501, "bad request: connected already");
            }
            if connect["token"] != TOKEN {
                return turn.close(3500, "invalid token");
            }
            turn.cancel("connect");
            self.connected = true;
            let result = json!({"client": "c-1", "version": "6.0.0", "ping": 25, "pong": true});
            turn.after_quick(seconds(25), "ping");
            return turn.send(json!({"id": id, "connect": result}));
        }
        match command["subscribe"]["channel"].as_str() {
            _ if !self.connected => turn.refuse(3501, "bad request: not connected"),
            Some(channel) if !CHANNELS.contains(&channel) => {
                turn.send(json!({"id": id, "error": {"code": 103, "message": "permission denied"}}));
            }
            Some(channel) if self.channels.iter().any(|known| known == channel) => {
                turn.fault("subscribed twice");
                turn.send(json!({"id": id, "error": {"code": 105, "message": "already subscribed"}}));
            }
            Some(channel) if turn.world.history.is_some() => self.recover(channel, command, turn),
            Some(channel) => self.subscribe(channel, id, turn),
            None => turn.send(json!({"id": id, "error": {"code": 107, "message": "bad request"}})),
        }
    }

    /// A channel with a history: the publications that were missed are in the reply, or else `recovered` is left out.
    fn recover(&mut self, channel: &str, command: &Value, turn: &mut Turn<'_>) {
        self.publish(turn);
        let Some(history) = &mut turn.world.history else { return };
        let (wanted, published, epoch) = (&command["subscribe"], history.published(), history.named("e"));
        let (since, newest) = (wanted["offset"].as_u64().unwrap_or_default(), newest(published, channel));
        let missed = (after(since, channel)..published).filter(|n| turns(*n, CHANNELS) == channel);
        let mut result = json!({"recoverable": true, "positioned": true, "epoch": epoch, "offset": newest});
        if wanted["recover"] == true {
            result["was_recovering"] = json!(true);
            let is_held = since == newest || since < newest && history.held(after(since, channel)) == Held::All;
            if is_held && wanted["epoch"] == epoch.as_str() {
                result["recovered"] = json!(true);
                result["publications"] = missed.map(|n| json(&record(n).value)).collect();
            }
        }
        self.channels.push(channel.to_owned());
        if self.channels.len() == CHANNELS.len() {
            history.begin();
        }
        turn.send(json!({"id": command["id"], "subscribe": result}));
    }

    /// Publishes what the channels that are subscribed have not had.
    fn publish(&mut self, turn: &mut Turn<'_>) {
        let published = turn.world.history.as_ref().map_or(0, |history| history.published());
        let news = std::mem::replace(&mut self.sent, published)..published;
        let lines = news.filter(|n| self.channels.iter().any(|channel| channel == turns(*n, CHANNELS))).map(push);
        say(lines.collect(), turn);
    }

    /// The reply and the first publications share a message.
    fn subscribe(&mut self, channel: &str, id: &Value, turn: &mut Turn<'_>) {
        self.channels.push(channel.to_owned());
        let mut lines = vec![json!({"id": id, "subscribe": {"epoch": "e1", "offset": 0}}).to_string()];
        lines.extend(publications(if self.channels.len() == 1 { EARLY } else { HALF }, turn));
        say(lines, turn);
    }
}

fn publications(end: u64, turn: &mut Turn<'_>) -> Vec<String> {
    turn.numbers_to(end).map(push).collect()
}

fn push(n: u64) -> String {
    format!(r#"{{"push":{{"channel":"{}","pub":{}}}}}"#, turns(n, CHANNELS), record(n).value)
}

fn say(lines: Vec<String>, turn: &mut Turn<'_>) {
    if !lines.is_empty() {
        turn.send(lines.join("\n"));
    }
}

impl Peer for Centrifugo {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        turn.after(seconds(10), "connect");
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        for line in text.lines() {
            self.command(&json(line), turn);
        }
    }

    fn published(&mut self, turn: &mut Turn<'_>) {
        self.publish(turn);
    }

    fn planned_end(&mut self, turn: &mut Turn<'_>) {
        turn.close(3001, "shutdown");
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        match timer {
            "connect" => turn.refuse(3503, "stale"),
            "no pong" => turn.refuse(3012, "no pong"),
            _ => {
                if !std::mem::replace(&mut self.pinged, true) {
                    turn.after(seconds(10), "no pong");
                }
                turn.send("{}");
                turn.after_quick(seconds(25), "ping");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn several_replies_share_a_message_and_pings_are_answered() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/connection/websocket");
        stage.say(&mut line, json!({"id": 1, "connect": {"token": TOKEN}}));
        for (id, channel) in [(2, "secret"), (3, "news"), (4, "sports")] {
            stage.say(&mut line, json!({"id": id, "subscribe": {"channel": channel}}));
        }
        let heard = line.texts();
        assert!(heard[1].contains(SIMULATOR.wrong[1].words) && heard[2].lines().count() == 3, "{heard:?}");
        stage.pass(&mut line, seconds(25));
        assert_eq!(line.texts(), ["{}"]);
        stage.say(&mut line, "{}");
        stage.is_over();
        line.texts();
        stage.pass(&mut line, seconds(35));
        assert!(matches!(line.end().1, Action::Close(3012, _)));
    }

    #[test]
    fn a_wrong_token_ends_the_connection_for_good() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/connection/websocket");
        stage.say(&mut line, json!({"id": 1, "connect": {"token": "other"}}));
        assert_eq!(line.end().1, Action::Close(3500, SIMULATOR.wrong[0].words.to_owned()));
    }
}
