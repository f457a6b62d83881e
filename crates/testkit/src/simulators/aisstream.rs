//! aisstream.io, after aisstream.io/documentation.

use serde_json::json;

use super::{HALF, time_iso, time_ms, turns};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds, strings,
};

const TYPES: [&str; 2] = ["PositionReport", "ShipStaticData"];
const KEY: &str = "aisstream-key-3b60";

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "aisstream",
    hosts: &["stream.aisstream.io"],
    right: &[
        ("websocket.subscription.topics", "PositionReport,ShipStaticData"),
        ("websocket.var.boxes", "[[[-90,-180],[90,180]]]"),
        ("websocket.secret.key", KEY),
    ],
    beats: &[],
    wrong: &[
        Wrong {
            what: "a key that is not known",
            set: &[("websocket.secret.key", "aisstream-key-0000")],
            words: "Api Key Is Not Valid",
        },
        Wrong {
            what: "areas that are none",
            set: &[("websocket.var.boxes", "[]")],
            words: "Subscription Object Is Malformed",
        },
    ],
    record,
    http: Simulator::no_http,
    connect,
};

/// The time is written as Go prints it.
fn record(n: u64) -> Expected {
    let (kind, mmsi) = (turns(n, TYPES), 259_000_420 + n % 3);
    let time = time_iso(n).replace('T', " ").replace('Z', " +0000 UTC");
    let value = format!(
        r#"{{"MessageType":"{kind}","MetaData":{{"MMSI":{mmsi},"ShipName":"AUGUSTSON","latitude":66.02695,"longitude":12.253821666666665,"time_utc":"{time}"}},"Message":{{"{kind}":{{"MessageID":1,"Cog":{n}}}}}}}"#
    );
    Expected::new(value, mmsi.to_string(), time_ms(n))
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/v0/stream" {
        return Err(Answer::text(404, "404 page not found"));
    }
    Accepted::by(AisStream)
}

struct AisStream;

impl AisStream {
    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            turn.send_binary(record(n).value.into_bytes());
        }
    }
}

/// Said, then the connection ends without a Close (github.com/aisstream/issues/issues/174).
fn error(words: &str, turn: &mut Turn<'_>) {
    turn.send(json!({"error": words}));
    turn.cut(words);
}

impl Peer for AisStream {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        turn.after(seconds(3), "subscription");
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        if message["APIKey"] != KEY {
            return error("Api Key Is Not Valid", turn);
        }
        if message["BoundingBoxes"].as_array().is_none_or(|boxes| boxes.is_empty()) {
            return error("Subscription Object Is Malformed", turn);
        }
        if strings(&message["FilterMessageTypes"]) != TYPES {
            turn.fault("other types than those that were asked for");
        }
        turn.cancel("subscription");
        self.send(HALF, turn);
        turn.after(seconds(1), "more");
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        match timer {
            "subscription" => turn.cut("no subscription within three seconds"),
            _ => self.send(RECORDS, turn),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    fn subscription(key: &str) -> serde_json::Value {
        json!({"APIKey": key, "BoundingBoxes": [[[-90, -180], [90, 180]]], "FilterMessageTypes": TYPES})
    }

    #[test]
    fn a_subscription_comes_within_three_seconds_and_messages_are_binary() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut late = stage.connect("/v0/stream");
        stage.pass(&mut late, seconds(3));
        assert_eq!(late.end().1, Action::Cut);
        stage.world.faults.clear();
        let mut line = stage.connect("/v0/stream");
        stage.say(&mut line, subscription(KEY));
        assert!(matches!(&line.heard()[0], Action::Binary(_)));
        stage.pass(&mut line, seconds(1));
        stage.is_over();
        let mut other = stage.connect("/v0/stream");
        stage.say(&mut other, subscription("other"));
        assert!(matches!(&other.end().0[0], Action::Text(text) if text.contains(SIMULATOR.wrong[0].words)));
    }
}
