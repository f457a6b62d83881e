//! Apache Pulsar's WebSocket consumer, after pulsar.apache.org/docs/client-libraries-websocket.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::pulsar::{TOKEN, message, record};
use crate::simulator::{Accepted, Answer, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds};

const PATH: &str = "/ws/v2/consumer/persistent/public/default/orders/kafka";

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "pulsar-consumer",
    hosts: &[],
    right: &[
        (
            "websocket.url",
            "{ws}/ws/v2/consumer/persistent/public/default/orders/kafka?subscriptionType=Failover&receiverQueueSize=4&ackTimeoutMillis=1000",
        ),
        ("websocket.auth.token", TOKEN),
    ],
    beats: &[],
    wrong: &[Wrong {
        what: "a token that is not known",
        set: &[("websocket.auth.token", "pulsar-token-000000")],
        words: "401",
    }],
    record,
    http: Simulator::no_http,
    connect,
};

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if !request.is_of_bearer(TOKEN) {
        return Err(Answer::text(401, "Authentication required"));
    }
    if request.path() != PATH {
        return Err(Answer::text(404, "Topic not found"));
    }
    let number = |name| request.query(name).and_then(|text| text.parse().ok());
    let window = number("receiverQueueSize").unwrap_or(1000) as usize;
    let patience = number("ackTimeoutMillis").map(Duration::from_millis);
    Accepted::by(Consumer { window, patience, sent: BTreeSet::new(), waiting: BTreeMap::new() })
}

struct Consumer {
    /// Messages that are pushed without being acknowledged.
    window: usize,
    /// After this time without an acknowledgement a message comes again.
    patience: Option<Duration>,
    /// All that were sent on this connection.
    sent: BTreeSet<u64>,
    /// Those that are not acknowledged, and since when.
    waiting: BTreeMap<u64, Duration>,
}

impl Consumer {
    /// Pushes as much as the window lets.
    fn push(&mut self, turn: &mut Turn<'_>) {
        for n in turn.deliver(RECORDS, self.window - self.waiting.len()) {
            let redeliveries = u8::from(!self.sent.insert(n));
            turn.send(message(n, &format!("CAAQ{n:03}"), redeliveries));
            self.waiting.insert(n, turn.now);
        }
    }

    /// The record of a message that was sent on this connection.
    fn sent_as(&self, message_id: &str) -> Option<u64> {
        message_id.strip_prefix("CAAQ")?.parse().ok().filter(|n| self.sent.contains(n))
    }
}

impl Peer for Consumer {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        self.push(turn);
        turn.after(seconds(1), "look around");
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        let Some(n) = message["messageId"].as_str().and_then(|id| self.sent_as(id)) else {
            return turn.refuse(1008, "an acknowledgement of a message that was not sent");
        };
        if self.waiting.remove(&n).is_some() {
            match message["type"].as_str() {
                Some("negativeAcknowledge") => turn.world.deliveries.give_back([n]),
                _ => turn.world.acknowledge(n),
            }
        }
        self.push(turn);
    }

    fn published(&mut self, turn: &mut Turn<'_>) {
        self.push(turn);
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        let (now, patience) = (turn.now, self.patience);
        let is_overdue = |_: &u64, since: &mut Duration| patience.is_some_and(|patience| *since + patience <= now);
        let overdue: Vec<u64> = self.waiting.extract_if(.., is_overdue).map(|(n, _)| n).collect();
        turn.world.deliveries.give_back(overdue);
        self.push(turn);
        turn.after(seconds(1), "look around");
    }

    fn gone(&mut self, world: &mut World) {
        world.deliveries.give_back(self.waiting.keys().copied());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn pushes_stop_at_the_window_and_what_is_not_acknowledged_comes_again() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let bearer = format!("Bearer {TOKEN}");
        let target = format!("{PATH}?receiverQueueSize=4&ackTimeoutMillis=1000");
        assert_eq!(stage.connect_with(&target, &[]).err().unwrap().status, 401);
        let open = |stage: &mut Rehearsal| stage.connect_with(&target, &[("Authorization", &bearer)]).ok().unwrap();
        let mut line = open(&mut stage);
        assert_eq!(line.texts().len(), 4);
        stage.say(&mut line, json!({"type": "negativeAcknowledge", "messageId": "CAAQ002"}));
        assert_eq!(line.json()[0]["messageId"], "CAAQ002");
        for n in 1..4 {
            stage.say(&mut line, json!({"messageId": format!("CAAQ{n:03}")}));
        }
        assert_eq!(line.texts().len(), 3);
        stage.pass(&mut line, seconds(1));
        assert_eq!(line.json()[0]["redeliveryCount"], 1);
        stage.hang_up(line);
        let mut line = open(&mut stage);
        assert_eq!(line.json()[0]["messageId"], "CAAQ000");
        for n in [0].into_iter().chain(4..RECORDS) {
            stage.say(&mut line, json!({"messageId": format!("CAAQ{n:03}")}));
        }
        stage.is_over();
        line.texts();
        stage.say(&mut line, json!({"messageId": "CAAQ999"}));
        assert!(matches!(line.end().1, Action::Close(1008, _)));
    }
}
