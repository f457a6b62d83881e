//! Apache Pulsar's WebSocket reader, after pulsar.apache.org/docs/client-libraries-websocket.

use serde_json::json;

use super::{time_iso, time_ms};
use crate::simulator::signature::base64;
use crate::simulator::{Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json};

const PATH: &str = "/ws/v2/reader/persistent/public/default/orders";
pub(super) const TOKEN: &str = "pulsar-token-2c7e91";
/// Messages that are pushed without being acknowledged.
const WINDOW: u64 = 4;

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "pulsar",
    hosts: &[],
    right: &[
        (
            "websocket.url",
            "{ws}/ws/v2/reader/persistent/public/default/orders?messageId={{cursor ?? 'latest'}}&receiverQueueSize=4",
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

pub(super) fn record(n: u64) -> Expected {
    Expected::new(format!("order {n} \u{e9}"), format!("k-{}", n % 3), time_ms(n))
}

/// A message as readers and consumers get it.
pub(super) fn message(n: u64, id: &str, redeliveries: u8) -> String {
    let (payload, time, key) = (base64(record(n).value.as_bytes()), time_iso(n), n % 3);
    format!(
        r#"{{"messageId":"{id}","payload":"{payload}","properties":{{}},"publishTime":"{time}","redeliveryCount":{redeliveries},"key":"k-{key}"}}"#
    )
}

fn message_id(n: u64) -> String {
    base64(format!("ledger/{n:05}").as_bytes())
}

/// The first record that a reader gets: the one behind its message id, which is exclusive. One whose messages are gone begins with
/// the oldest, without a word.
fn first_of(request: &HttpRequest, world: &World) -> Result<u64, Answer> {
    let Some(history) = &world.history else { return Ok(world.sent()) };
    let id = request.query("messageId").unwrap_or_default();
    match id.as_str() {
        "" | "latest" => Ok(history.published()),
        "earliest" => Ok(history.oldest()),
        id => {
            let known = (0..history.published()).find(|n| message_id(*n) == id);
            let words = "Failed to create reader: the message id is not understood";
            known.map(|n| (n + 1).max(history.oldest())).ok_or_else(|| Answer::text(500, words))
        }
    }
}

fn connect(request: &HttpRequest, world: &mut World) -> Result<Accepted, Answer> {
    if !request.is_of_bearer(TOKEN) {
        return Err(Answer::text(401, "Authentication required"));
    }
    if request.path() != PATH || request.query("receiverQueueSize").as_deref() != Some("4") {
        return Err(Answer::text(404, "Topic not found"));
    }
    Accepted::by(Pulsar { unacknowledged: first_of(request, world)? })
}

struct Pulsar {
    /// The oldest record that is not acknowledged.
    unacknowledged: u64,
}

impl Pulsar {
    /// Pushes as much as the window lets.
    fn push(&self, turn: &mut Turn<'_>) {
        let limit = self.unacknowledged + WINDOW;
        let due = turn.numbers_to(limit.min(RECORDS));
        turn.start_at(due.end.min(limit));
        for n in due.start..due.end.min(limit) {
            turn.send(message(n, &message_id(n), 0));
        }
    }
}

impl Peer for Pulsar {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        turn.start_at(self.unacknowledged);
        self.push(turn);
    }

    fn published(&mut self, turn: &mut Turn<'_>) {
        self.push(turn);
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        if json(text) != json!({"messageId": message_id(self.unacknowledged)}) {
            return turn.refuse(1008, "an acknowledgement of another message than the next");
        }
        self.unacknowledged += 1;
        self.push(turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::history::History;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn pushes_stop_at_the_window_and_go_on_with_each_acknowledgement() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let bearer = format!("Bearer {TOKEN}");
        let target = format!("{PATH}?messageId=latest&receiverQueueSize=4");
        assert_eq!(stage.connect_with(&target, &[]).err().unwrap().status, 401);
        let mut line = stage.connect_with(&target, &[("Authorization", &bearer)]).ok().unwrap();
        assert_eq!(line.texts().len() as u64, WINDOW);
        for n in 0..RECORDS {
            stage.say(&mut line, json!({"messageId": message_id(n)}));
        }
        stage.is_over();
        line.texts();
        stage.say(&mut line, json!({"messageId": message_id(0)}));
        assert!(matches!(line.end().1, Action::Close(1008, _)));
    }

    #[test]
    fn a_reader_goes_on_behind_its_message_id() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut history = History::new(10);
        history.publish(20, 0);
        stage.world.history = Some(history);
        let bearer = format!("Bearer {TOKEN}");
        let mut first = |id: &str| {
            let id = id.replace('=', "%3D");
            let target = format!("{PATH}?messageId={id}&receiverQueueSize=4");
            let mut line = stage.connect_with(&target, &[("Authorization", &bearer)]).ok()?;
            Some(line.json().first().map(|message| message["messageId"].clone()))
        };
        assert_eq!(first(&message_id(14)), Some(Some(message_id(15).into())));
        assert_eq!(first(&message_id(3)), Some(Some(message_id(10).into())));
        assert_eq!((first("latest"), first("other")), (Some(None), None));
    }
}
