//! Apache Pulsar's WebSocket reader, after pulsar.apache.org/docs/client-libraries-websocket.

use serde_json::json;

use super::{time_iso, time_ms};
use crate::simulator::signature::base64;
use crate::simulator::{Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json};

const PATH: &str = "/ws/v2/reader/persistent/public/default/orders";
const TOKEN: &str = "pulsar-token-2c7e91";
/// Messages that are pushed without being acknowledged.
const WINDOW: u64 = 4;

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "pulsar",
    hosts: &[],
    right: &[
        ("websocket.url", "{ws}/ws/v2/reader/persistent/public/default/orders?messageId=latest&receiverQueueSize=4"),
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

fn record(n: u64) -> Expected {
    Expected::new(format!("order {n} \u{e9}"), format!("k-{}", n % 3), time_ms(n))
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if !request.is_of_bearer(TOKEN) {
        return Err(Answer::text(401, "Authentication required"));
    }
    if request.path() != PATH || request.query("receiverQueueSize").as_deref() != Some("4") {
        return Err(Answer::text(404, "Topic not found"));
    }
    Accepted::by(Pulsar { acknowledged: 0 })
}

struct Pulsar {
    acknowledged: u64,
}

impl Pulsar {
    /// Pushes as much as the window lets.
    fn push(&self, turn: &mut Turn<'_>) {
        for n in turn.numbers_to((self.acknowledged + WINDOW).min(RECORDS)) {
            let payload = base64(record(n).value.as_bytes());
            turn.send(format!(
                r#"{{"messageId":"CAAQ{n:03}","payload":"{payload}","properties":{{}},"publishTime":"{}","redeliveryCount":0,"key":"k-{}"}}"#,
                time_iso(n),
                n % 3
            ));
        }
    }
}

impl Peer for Pulsar {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        self.push(turn);
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        let expected = format!("CAAQ{:03}", self.acknowledged);
        if message != json!({"messageId": expected}) {
            return turn.refuse(1008, "an acknowledgement of another message than the next");
        }
        self.acknowledged += 1;
        self.push(turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
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
            stage.say(&mut line, json!({"messageId": format!("CAAQ{n:03}")}));
        }
        stage.is_over();
        line.texts();
        stage.say(&mut line, json!({"messageId": "CAAQ000"}));
        assert!(matches!(line.end().1, Action::Close(1008, _)));
    }
}
