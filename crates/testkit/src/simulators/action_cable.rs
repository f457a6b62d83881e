//! Action Cable and AnyCable's extended protocol, after docs.anycable.io/misc/action_cable_protocol and guides.rubyonrails.org.

use serde_json::{Value, json};

use super::{EARLY, HALF, turns};
use crate::simulator::channels::Channels;
use crate::simulator::history::{Held, History};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const CHANNELS: [&str; 2] = ["NewsChannel", "SportsChannel"];
const ORIGIN: &str = "https://example.com";
const COOKIE: &str = "session=cable-session-41f0";

const RIGHT: &[(&str, &str)] = &[
    ("websocket.url", "{ws}/cable"),
    ("websocket.headers", "Origin:https://example.com,Cookie:session=cable-session-41f0"),
    ("websocket.subscription.topics", "NewsChannel,SportsChannel"),
];
const WRONG: &[Wrong] = &[
    Wrong {
        what: "a session that is not known",
        set: &[("websocket.headers", "Origin:https://example.com,Cookie:session=cable-session-0000")],
        words: "unauthorized",
    },
    Wrong {
        what: "a channel that rejects the subscription",
        set: &[("websocket.subscription.topics", "SecretChannel")],
        words: "reject_subscription",
    },
];

pub(super) static ACTION_CABLE: Simulator = Simulator {
    feed: "action-cable",
    hosts: &[],
    right: RIGHT,
    beats: &[],
    wrong: WRONG,
    record,
    http: Simulator::no_http,
    connect: |request, world| connect(request, world, "actioncable-v1-json"),
};

pub(super) static ANYCABLE: Simulator = Simulator {
    feed: "anycable",
    hosts: &[],
    right: RIGHT,
    beats: &[],
    wrong: WRONG,
    record,
    http: Simulator::no_http,
    connect: |request, world| connect(request, world, "actioncable-v1-ext-json"),
};

fn record(n: u64) -> Expected {
    Expected { timestamp: None, ..Expected::new(format!(r#"{{"headline":"number {n}"}}"#), turns(n, CHANNELS), 0) }
}

fn connect(request: &HttpRequest, _: &mut World, subprotocol: &'static str) -> Result<Accepted, Answer> {
    // Rails answers a foreign origin as a page that is not there.
    if request.path() != "/cable" || request.header("Origin") != Some(ORIGIN) || !request.offers(subprotocol) {
        return Err(Answer::text(404, "Page not found"));
    }
    let is_known = request.header("Cookie") == Some(COOKIE);
    let extended = subprotocol.contains("ext");
    let peer = Cable { is_known, extended, channels: Channels::default(), pinged: false };
    Ok(Accepted { peer: Box::new(peer), subprotocol: Some(subprotocol), deflate: false })
}

struct Cable {
    is_known: bool,
    extended: bool,
    channels: Channels,
    /// A ping waits for its pong, which only the extended protocol has.
    pinged: bool,
}

fn channel_of(n: u64) -> &'static str {
    turns(n, CHANNELS)
}

/// Where a record stands in the stream of its channel.
fn position(n: u64, epoch: &str) -> String {
    format!(r#","stream_id":"s{}","epoch":"{epoch}","offset":{n}"#, n / 2 % 2)
}

/// The record behind the position that a history request names for the stream of a channel.
fn asked_for(request: &Value, channel: &str) -> Option<(u64, String)> {
    let stream = format!("s{}", u64::from(channel == CHANNELS[1]));
    let place = &request["streams"][stream];
    Some((place["offset"].as_u64()? + 1, place["epoch"].as_str()?.to_owned()))
}

impl Cable {
    /// Answers name the identifier as it was sent: JSON in a string.
    fn subscribe(&mut self, identifier: &str, request: &Value, turn: &mut Turn<'_>) {
        let channel = json(identifier)["channel"].as_str().unwrap_or_default().to_owned();
        if !CHANNELS.contains(&channel.as_str()) {
            return turn.send(json!({"type": "reject_subscription", "identifier": identifier}));
        }
        self.publish(turn);
        turn.send(json!({"type": "confirm_subscription", "identifier": identifier}));
        if turn.world.history.is_some() {
            return self.recover(&channel, identifier, request, turn);
        }
        self.channels.join(&channel, 0, &History::default(), channel_of);
        self.send(if self.channels.len() == 1 { EARLY } else { HALF }, turn);
    }

    /// A stream with a history: what was missed comes behind the confirmation, all of it or nothing.
    fn recover(&mut self, channel: &str, identifier: &str, request: &Value, turn: &mut Turn<'_>) {
        let Some(history) = &mut turn.world.history else { return };
        let is_held = |(next, epoch): &(u64, String)| *epoch == history.named("e") && history.held(*next) == Held::All;
        let next = asked_for(request, channel).filter(is_held).map(|(next, _)| next);
        let missed = self.channels.join(channel, next.unwrap_or(history.published()), history, channel_of);
        if self.channels.len() == CHANNELS.len() {
            history.begin();
        }
        missed.into_iter().for_each(|n| self.say(n, turn));
        if request.is_object() {
            let answer = if next.is_some() { "confirm_history" } else { "reject_history" };
            turn.send(json!({"type": answer, "identifier": identifier}));
        }
    }

    /// In a history, sends what the joined channels have not had.
    fn publish(&mut self, turn: &mut Turn<'_>) {
        let Some(history) = &turn.world.history else { return };
        self.channels.news(history, channel_of).into_iter().for_each(|n| self.say(n, turn));
    }

    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        turn.numbers_to(end).for_each(|n| self.say(n, turn));
    }

    fn say(&self, n: u64, turn: &mut Turn<'_>) {
        let identifier = Value::from(json!({"channel": channel_of(n)}).to_string());
        let epoch = turn.world.history.as_ref().map_or_else(|| "e1".to_owned(), |history| history.named("e"));
        let place = if self.extended { position(n, &epoch) } else { String::new() };
        turn.send(format!(r#"{{"identifier":{identifier},"message":{}{place}}}"#, record(n).value));
    }
}

impl Peer for Cable {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        if !self.is_known {
            turn.send(json!({"type": "disconnect", "reason": "unauthorized", "reconnect": false}));
            return turn.close(1000, "");
        }
        let mut welcome = json!({"type": "welcome"});
        if self.extended {
            welcome["sid"] = turn.world.issue("session").into();
        }
        turn.send(welcome);
        turn.after_quick(seconds(3), "ping");
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        let identifier = message["identifier"].as_str().unwrap_or_default();
        match message["command"].as_str() {
            Some("subscribe") => self.subscribe(identifier, &message["history"], turn),
            Some("unsubscribe") => {}
            Some("pong") if self.extended => {
                self.pinged = false;
                turn.cancel("no pong");
            }
            _ => turn.refuse(1003, "unknown command"),
        }
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        match timer {
            "no pong" => return turn.cut("pings were not answered"),
            "bye" => return turn.cut("the connection was still open after it was told to end"),
            _ => turn.send(json!({"type": "ping", "message": turn.world.unix_ms / 1000})),
        }
        if self.extended && !std::mem::replace(&mut self.pinged, true) {
            turn.after(seconds(10), "no pong");
        }
        turn.after_quick(seconds(3), "ping");
        if turn.world.history.is_some() || self.channels.len() < 2 {
            return;
        }
        if turn.world.notices == 0 {
            self.send(HALF + 2, turn);
            turn.world.notices += 1;
            self.planned_end(turn);
        } else {
            self.send(RECORDS, turn);
        }
    }

    fn published(&mut self, turn: &mut Turn<'_>) {
        self.publish(turn);
    }

    fn planned_end(&mut self, turn: &mut Turn<'_>) {
        turn.send(json!({"type": "disconnect", "reason": "server_restart", "reconnect": true}));
        turn.after(seconds(30), "bye");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::{Line, Rehearsal};

    fn open(stage: &mut Rehearsal, cookie: &str, subprotocol: &str) -> Result<Line, Answer> {
        let headers = [("Origin", ORIGIN), ("Cookie", cookie), ("Sec-WebSocket-Protocol", subprotocol)];
        stage.connect_with("/cable", &headers)
    }

    fn subscribe(channel: &str) -> Value {
        json!({"command": "subscribe", "identifier": json!({"channel": channel}).to_string()})
    }

    #[test]
    fn an_identifier_is_json_in_a_string() {
        let mut stage = Rehearsal::of(&ACTION_CABLE);
        assert!(stage.connect_with("/cable", &[("Sec-WebSocket-Protocol", "actioncable-v1-json")]).is_err());
        let mut line = open(&mut stage, COOKIE, "actioncable-v1-json").ok().unwrap();
        for channel in ["SecretChannel", CHANNELS[0], CHANNELS[1]] {
            stage.say(&mut line, subscribe(channel));
        }
        let heard = line.json();
        assert_eq!((&heard[0]["type"], &heard[1]["type"]), (&json!("welcome"), &json!("reject_subscription")));
        assert_eq!(heard[2]["identifier"], r#"{"channel":"NewsChannel"}"#);
        stage.pass(&mut line, seconds(3));
        assert_eq!(line.json().last().unwrap()["reconnect"], true);
    }

    #[test]
    fn a_stream_goes_on_behind_its_position_or_history_is_rejected() {
        let mut stage = Rehearsal::of(&ANYCABLE);
        stage.world.history = Some(History::new(100));
        stage.world.history.as_mut().unwrap().publish(6, 0);
        let mut answer = |epoch: &str| {
            let mut line = open(&mut stage, COOKIE, "actioncable-v1-ext-json").ok().unwrap();
            let mut request = subscribe(CHANNELS[0]);
            request["history"] = json!({"streams": {"s0": {"offset": 1, "epoch": epoch}}});
            stage.say(&mut line, request);
            line.json().split_off(2)
        };
        let confirmed = answer("e0");
        assert_eq!((&confirmed[0]["offset"], &confirmed[1]["offset"]), (&json!(4), &json!(5)));
        assert_eq!(confirmed[2]["type"], "confirm_history");
        assert_eq!(answer("e9")[0]["type"], "reject_history");
    }

    #[test]
    fn the_extended_protocol_wants_pongs_and_an_unknown_session_is_refused() {
        let mut stage = Rehearsal::of(&ANYCABLE);
        let mut line = open(&mut stage, COOKIE, "actioncable-v1-ext-json").ok().unwrap();
        stage.pass(&mut line, seconds(13));
        assert!(line.heard().contains(&Action::Cut));
        let mut line = open(&mut stage, "session=other", "actioncable-v1-ext-json").ok().unwrap();
        let (heard, _) = line.end();
        assert!(matches!(&heard[0], Action::Text(text) if text.contains(ANYCABLE.wrong[0].words)));
    }
}
