//! Phoenix Channels, protocol version 2.0.0, after hexdocs.pm/phoenix/writing_a_channels_client.html.

use serde_json::{Value, json};

use super::{EARLY, HALF, turns};
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
    Expected { timestamp: None, ..Expected::new(format!(r#"{{"body":"number {n}"}}"#), turns(n, TOPICS), 0) }
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/socket/websocket" || request.query("vsn").as_deref() != Some("2.0.0") {
        return Err(Answer::text(404, "not found"));
    }
    if request.query("token").as_deref() != Some(TOKEN) {
        return Err(Answer::text(403, "Forbidden"));
    }
    Accepted::by(Phoenix { joined: Vec::new() })
}

struct Phoenix {
    /// Topics and the reference of their join, which every message of them carries.
    joined: Vec<(String, Value)>,
}

impl Phoenix {
    fn join(&mut self, join: &Value, reference: &Value, topic: &str, turn: &mut Turn<'_>) {
        if !TOPICS.contains(&topic) {
            return reply(join, reference, topic, "error", json!({"reason": "unauthorized"}), turn);
        }
        // A second join replaces the first one.
        self.joined.retain(|(known, _)| known != topic);
        self.joined.push((topic.to_owned(), join.clone()));
        reply(join, reference, topic, "ok", json!({}), turn);
        self.send(if self.joined.len() == 1 { EARLY } else { HALF }, turn);
    }

    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            let topic = turns(n, TOPICS);
            let join = self.joined.iter().find(|(known, _)| known == topic).map_or(&Value::Null, |(_, join)| join);
            turn.send(format!(r#"[{join},null,"{topic}","new_msg",{}]"#, record(n).value));
        }
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
                if self.joined.len() > 1 {
                    self.send(RECORDS, turn);
                }
            }
            (Some(topic), Some("phx_join")) if join.is_string() && reference.is_string() => {
                self.join(join, reference, topic, turn);
            }
            (Some(topic), Some("phx_leave")) => {
                self.joined.retain(|(known, _)| known != topic);
                reply(join, reference, topic, "ok", json!({}), turn);
            }
            _ => turn.refuse(1003, "a message is [join_ref, ref, topic, event, payload]"),
        }
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        turn.cut("no heartbeat for sixty seconds");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
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
}
