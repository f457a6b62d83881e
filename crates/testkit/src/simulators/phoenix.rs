//! Phoenix Channels, protocol version 2.0.0, after hexdocs.pm/phoenix/writing_a_channels_client.html.

use serde_json::{Value, json};

use super::{EARLY, HALF, turns};
use crate::simulator::channels::Channels;
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const TOPICS: [&str; 2] = ["room:lobby", "room:news"];
const TOKEN: &str = "phoenix-token-5ab3";

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "phoenix",
    hosts: &[],
    right: &[
        ("websocket.url", "{ws}/socket/websocket?vsn=2.0.0&token={{secret.token}}"),
        ("websocket.secret.token", TOKEN),
        ("websocket.subscription.topics", "room:lobby,room:news"),
        ("websocket.cursor", "{{/id}}"),
        ("websocket.cursor.key", "{{envelope(/2)}}"),
    ],
    beats: &["websocket.session.beat.every.ms"],
    wrong: &[
        Wrong {
            what: "a token that is not known",
            set: &[("websocket.secret.token", "phoenix-token-0000")],
            words: "403",
        },
        Wrong {
            what: "a topic that may not be joined",
            set: &[("websocket.subscription.topics", "room:secret")],
            words: "unauthorized",
        },
    ],
    record,
    http: Simulator::no_http,
    connect,
};

fn record(n: u64) -> Expected {
    Expected { timestamp: None, ..Expected::new(format!(r#"{{"id":{n},"body":"number {n}"}}"#), turns(n, TOPICS), 0) }
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/socket/websocket" || request.query("vsn").as_deref() != Some("2.0.0") {
        return Err(Answer::text(404, "not found"));
    }
    if request.query("token").as_deref() != Some(TOKEN) {
        return Err(Answer::text(403, "Forbidden"));
    }
    Accepted::by(Phoenix { joined: Vec::new(), channels: Channels::default() })
}

struct Phoenix {
    /// Topics and the reference of their join, which every message of them carries.
    joined: Vec<(String, Value)>,
    channels: Channels,
}

fn topic_of(n: u64) -> &'static str {
    turns(n, TOPICS)
}

impl Phoenix {
    fn join(&mut self, message: &Value, topic: &str, turn: &mut Turn<'_>) {
        let (join, reference) = (&message[0], &message[1]);
        if !TOPICS.contains(&topic) {
            return reply(join, reference, topic, "error", json!({"reason": "unauthorized"}), turn);
        }
        self.publish(turn);
        // A second join replaces the first one.
        self.leave(topic);
        self.joined.push((topic.to_owned(), join.clone()));
        reply(join, reference, topic, "ok", json!({}), turn);
        let Some(history) = &mut turn.world.history else {
            return self.send(if self.joined.len() == 1 { EARLY } else { HALF }, turn);
        };
        // An application that keeps its messages sends those behind the one that the client names.
        let last_seen = message[4]["last_seen_id"].as_str().and_then(|id| id.parse::<u64>().ok());
        let first = last_seen.map_or(history.published(), |id| id + 1);
        let missed = self.channels.join(topic, first, history, topic_of);
        if self.joined.len() == TOPICS.len() {
            history.begin();
        }
        missed.into_iter().for_each(|n| self.push(n, turn));
    }

    fn leave(&mut self, topic: &str) {
        self.joined.retain(|(known, _)| known != topic);
        self.channels.leave(topic);
    }

    /// In a history, sends what the joined topics have not had.
    fn publish(&mut self, turn: &mut Turn<'_>) {
        let Some(history) = &turn.world.history else { return };
        self.channels.news(history, topic_of).into_iter().for_each(|n| self.push(n, turn));
    }

    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        turn.numbers_to(end).for_each(|n| self.push(n, turn));
    }

    fn push(&self, n: u64, turn: &mut Turn<'_>) {
        let topic = topic_of(n);
        let join = self.joined.iter().find(|(known, _)| known == topic).map_or(&Value::Null, |(_, join)| join);
        turn.send(format!(r#"[{join},null,"{topic}","new_msg",{}]"#, record(n).value));
    }
}

fn reply(join: &Value, reference: &Value, topic: &str, status: &str, response: Value, turn: &mut Turn<'_>) {
    turn.send(json!([join, reference, topic, "phx_reply", {"status": status, "response": response}]));
}

impl Peer for Phoenix {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        turn.after_quick(seconds(60), "silence");
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        turn.after_quick(seconds(60), "silence");
        let message = json(text);
        let (join, reference) = (&message[0], &message[1]);
        match (message[2].as_str(), message[3].as_str()) {
            (Some("phoenix"), Some("heartbeat")) => {
                reply(&Value::Null, reference, "phoenix", "ok", json!({}), turn);
                if turn.world.history.is_none() && self.joined.len() > 1 {
                    self.send(RECORDS, turn);
                }
            }
            (Some(topic), Some("phx_join")) if join.is_string() && reference.is_string() => {
                self.join(&message, topic, turn);
            }
            (Some(topic), Some("phx_leave")) => {
                self.leave(topic);
                reply(join, reference, topic, "ok", json!({}), turn);
            }
            _ => turn.refuse(1003, "a message is [join_ref, ref, topic, event, payload]"),
        }
    }

    fn published(&mut self, turn: &mut Turn<'_>) {
        self.publish(turn);
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        turn.cut("no heartbeat for sixty seconds");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::history::History;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn joins_are_answered_by_reference_and_heartbeats_keep_the_socket_open() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        assert_eq!(stage.connect_with("/socket/websocket?vsn=2.0.0&token=x", &[]).err().unwrap().status, 403);
        let mut line = stage.connect(&format!("/socket/websocket?vsn=2.0.0&token={TOKEN}"));
        for (reference, topic) in [("1", "room:secret"), ("2", TOPICS[0]), ("3", TOPICS[1])] {
            stage.say(&mut line, json!([reference, reference, topic, "phx_join", {}]));
        }
        let heard = line.json();
        assert_eq!(heard[0][4]["response"]["reason"], SIMULATOR.wrong[1].words);
        assert_eq!((&heard[1][1], &heard[2][0]), (&json!("2"), &json!("2")));
        stage.say(&mut line, json!([null, "4", "phoenix", "heartbeat", {}]));
        stage.is_over();
        line.texts();
        stage.pass(&mut line, seconds(60));
        assert_eq!(line.end().1, Action::Cut);
    }

    #[test]
    fn a_join_that_names_the_last_message_gets_those_behind_it() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut history = History::new(100);
        history.publish(6, 0);
        stage.world.history = Some(history);
        let mut line = stage.connect(&format!("/socket/websocket?vsn=2.0.0&token={TOKEN}"));
        stage.say(&mut line, json!(["1", "1", TOPICS[0], "phx_join", {"last_seen_id": "1"}]));
        stage.say(&mut line, json!(["2", "2", TOPICS[1], "phx_join", {}]));
        let heard = line.json();
        assert_eq!((&heard[1][4]["id"], &heard[2][4]["id"], &heard[3][1]), (&json!(4), &json!(5), &json!("2")));
    }
}
