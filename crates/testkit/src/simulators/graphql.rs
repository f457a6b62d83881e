//! GraphQL subscriptions with the subprotocol graphql-transport-ws, after enisdenjo/graphql-ws, PROTOCOL.md.

use serde_json::{Value, json};

use super::{EARLY, HALF};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const SUBPROTOCOL: &str = "graphql-transport-ws";
const TOKEN: &str = "graphql-token-aa10";
const QUERIES: [&str; 2] = ["subscription { news { id, title } }", "subscription { sports { id, title } }"];

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "graphql-transport-ws",
    hosts: &[],
    right: &[
        ("websocket.url", "{ws}/graphql"),
        ("websocket.secret.token", TOKEN),
        ("websocket.subscription.topics", "subscription { news { id, title } },subscription { sports { id, title } }"),
    ],
    beats: &[],
    wrong: &[
        Wrong {
            what: "a token that is not known",
            set: &[("websocket.secret.token", "graphql-token-0000")],
            words: "Forbidden",
        },
        Wrong {
            what: "a field that does not exist",
            set: &[("websocket.subscription.topics", "subscription { nothing }")],
            words: "Cannot query field",
        },
    ],
    record,
    http: Simulator::no_http,
    connect,
};

/// Operations are numbered in the order in which they are asked for.
fn record(n: u64) -> Expected {
    let (field, id) = if (n / 2).is_multiple_of(2) { ("news", "1") } else { ("sports", "2") };
    let value = format!(r#"{{"{field}":{{"id":{n},"title":"number {n}"}}}}"#);
    Expected { timestamp: None, ..Expected::new(value, id, 0) }
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/graphql" {
        return Err(Answer::text(404, "not found"));
    }
    let offered = request.offers(SUBPROTOCOL);
    let peer = GraphQl { offered, acknowledged: false, operations: Vec::new(), pinged: false };
    Ok(Accepted { peer: Box::new(peer), subprotocol: offered.then_some(SUBPROTOCOL), deflate: false })
}

struct GraphQl {
    offered: bool,
    acknowledged: bool,
    /// Ids of the operations.
    operations: Vec<String>,
    pinged: bool,
}

impl GraphQl {
    fn init(&mut self, payload: &Value, turn: &mut Turn<'_>) {
        if self.acknowledged {
            return turn.refuse(4429, "Too many initialisation requests");
        }
        if payload["authorization"] != format!("Bearer {TOKEN}") {
            return turn.close(4403, "Forbidden");
        }
        turn.cancel("init");
        self.acknowledged = true;
        turn.send(json!({"type": "connection_ack"}));
        turn.after_quick(seconds(12), "ping");
    }

    fn subscribe(&mut self, message: &Value, turn: &mut Turn<'_>) {
        let id = message["id"].as_str().unwrap_or_default();
        if !self.acknowledged {
            return turn.refuse(4401, "Unauthorized");
        }
        if id.is_empty() || self.operations.iter().any(|known| known == id) {
            return turn.refuse(4409, &format!("Subscriber for {id} already exists"));
        }
        let query = message["payload"]["query"].as_str().unwrap_or_default();
        if !QUERIES.contains(&query) {
            let error = json!([{"message": "Cannot query field on type Subscription"}]);
            return turn.send(json!({"id": id, "type": "error", "payload": error}));
        }
        self.operations.push(id.to_owned());
        self.send(if self.operations.len() == 1 { EARLY } else { HALF }, turn);
    }

    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            let id = &self.operations[(n / 2 % 2) as usize % self.operations.len().max(1)];
            turn.send(format!(r#"{{"id":"{id}","type":"next","payload":{{"data":{}}}}}"#, record(n).value));
        }
    }
}

impl Peer for GraphQl {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        if !self.offered {
            return turn.refuse(4406, "Subprotocol not acceptable");
        }
        turn.after(seconds(3), "init");
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        match message["type"].as_str() {
            Some("connection_init") => self.init(&message["payload"], turn),
            Some("subscribe") => self.subscribe(&message, turn),
            Some("complete") => self.operations.retain(|id| message["id"] != id.as_str()),
            Some("ping") => turn.send(json!({"type": "pong"})),
            Some("pong") => {
                self.pinged = false;
                turn.cancel("no pong");
                if self.operations.len() > 1 {
                    self.send(RECORDS, turn);
                }
            }
            _ => turn.refuse(4400, "Invalid message"),
        }
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        match timer {
            "init" => turn.refuse(4408, "Connection initialisation timeout"),
            "no pong" => turn.cut("a ping was not answered"),
            _ => {
                turn.send(json!({"type": "ping"}));
                if !std::mem::replace(&mut self.pinged, true) {
                    turn.after(seconds(10), "no pong");
                }
                turn.after_quick(seconds(12), "ping");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::{Line, Rehearsal};

    fn open(stage: &mut Rehearsal) -> Line {
        stage.connect_with("/graphql", &[("Sec-WebSocket-Protocol", SUBPROTOCOL)]).ok().unwrap()
    }

    fn subscribe(id: &str, query: &str) -> Value {
        json!({"id": id, "type": "subscribe", "payload": {"query": query}})
    }

    #[test]
    fn operations_begin_after_the_acknowledgement() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = open(&mut stage);
        stage.say(
            &mut line,
            json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {TOKEN}")}}),
        );
        stage.say(&mut line, subscribe("9", "subscription { nothing }"));
        stage.say(&mut line, subscribe("1", QUERIES[0]));
        stage.say(&mut line, subscribe("2", QUERIES[1]));
        let heard = line.json();
        assert_eq!((&heard[0]["type"], &heard[1]["type"]), (&json!("connection_ack"), &json!("error")));
        assert_eq!(heard[2]["payload"]["data"]["news"]["id"], 0);
        stage.pass(&mut line, seconds(12));
        stage.say(&mut line, json!({"type": "pong"}));
        stage.is_over();
    }

    #[test]
    fn what_comes_too_early_too_late_or_twice_has_a_code_of_its_own() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let init =
            |token: &str| json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {token}")}});
        let code = |line: &mut Line| match line.end().1 {
            Action::Close(code, _) => code,
            other => panic!("{other:?}"),
        };
        let mut line = open(&mut stage);
        stage.pass(&mut line, seconds(3));
        assert_eq!(code(&mut line), 4408);
        let mut line = open(&mut stage);
        stage.say(&mut line, subscribe("1", QUERIES[0]));
        assert_eq!(code(&mut line), 4401);
        let mut line = open(&mut stage);
        stage.say(&mut line, init("other"));
        assert_eq!(code(&mut line), 4403);
        let mut line = open(&mut stage);
        stage.say(&mut line, init(TOKEN));
        stage.say(&mut line, init(TOKEN));
        assert_eq!(code(&mut line), 4429);
        let mut line = stage.connect("/graphql");
        assert_eq!(code(&mut line), 4406);
    }
}
