//! HTX (formerly Huobi) public market data, after huobiapi.github.io/docs/spot/v1/en.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::{EARLY, HALF, time_ms, turns};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const TOPICS: [&str; 2] = ["market.btcusdt.trade.detail", "market.ethusdt.trade.detail"];

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "htx",
    hosts: &["api.huobi.pro"],
    right: &[("websocket.subscription.topics", "market.btcusdt.trade.detail,market.ethusdt.trade.detail")],
    beats: &[],
    wrong: &[Wrong {
        what: "a topic that does not exist",
        set: &[("websocket.subscription.topics", "market.btcusdt.nothing")],
        words: "invalid topic market.btcusdt.nothing",
    }],
    record,
    http: Simulator::no_http,
    connect,
};

fn record(n: u64) -> Expected {
    let time = time_ms(n);
    // Ids have more digits than a 64-bit number.
    let value = format!(
        r#"{{"id":1024900023311126{n:011},"ts":{time},"tradeId":1022635{n:05},"amount":0.0002,"price":68012.51,"direction":"buy"}}"#
    );
    Expected::new(value, turns(n, TOPICS), time)
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/ws" {
        return Err(Answer::text(404, "not found"));
    }
    Accepted::by(Htx { topics: 0, ping: 0, missed: 0 })
}

struct Htx {
    topics: u64,
    /// The number in the last ping; 0: it was answered.
    ping: u64,
    missed: u32,
}

impl Htx {
    fn send(&mut self, end: u64, turn: &mut Turn<'_>) {
        for pair in turn.pairs_to(end) {
            let (topic, time) = (turns(pair.start, TOPICS), time_ms(pair.start));
            let trades: Vec<String> = pair.map(|n| record(n).value).collect();
            let message = format!(
                r#"{{"ch":"{topic}","ts":{time},"tick":{{"id":1,"ts":{time},"data":[{}]}}}}"#,
                trades.join(",")
            );
            say(&message, turn);
        }
    }

    fn subscribe(&mut self, topic: &str, id: &str, turn: &mut Turn<'_>) {
        if !TOPICS.contains(&topic) {
            let error = json!({
                "id": id, "status": "error", "err-code": "bad-request",
                "err-msg": format!("invalid topic {topic}"), "ts": turn.world.unix_ms,
            });
            return say(&error.to_string(), turn);
        }
        let ack = json!({"id": id, "status": "ok", "subbed": topic, "ts": turn.world.unix_ms});
        say(&ack.to_string(), turn);
        self.topics += 1;
        self.send(if self.topics == 1 { EARLY } else { HALF }, turn);
    }
}

/// Everything goes out as gzip in a binary message.
fn say(text: &str, turn: &mut Turn<'_>) {
    turn.send_binary(gzip(text));
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing into memory does not fail.
    let _ = encoder.write_all(text.as_bytes());
    encoder.finish().unwrap_or_default()
}

impl Peer for Htx {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        turn.after_quick(seconds(5), "ping");
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        if let Some(pong) = message["pong"].as_u64() {
            if self.ping == 0 || pong != self.ping {
                return turn.refuse(1003, "the pong is not the ping's");
            }
            (self.ping, self.missed) = (0, 0);
            if self.topics > 1 {
                self.send(RECORDS, turn);
            }
            return;
        }
        let id = message["id"].as_str().unwrap_or_default();
        match (message["sub"].as_str(), message["unsub"].as_str()) {
            (Some(topic), _) => self.subscribe(topic, id, turn),
            (_, Some(topic)) => say(&json!({"id": id, "status": "ok", "unsubbed": topic}).to_string(), turn),
            _ => {
                let error =
                    json!({"id": id, "status": "error", "err-code": "bad-request", "err-msg": "unknown request"});
                say(&error.to_string(), turn);
            }
        }
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        if self.ping != 0 {
            self.missed += 1;
        }
        if self.missed == 2 {
            return turn.cut("two pings were not answered");
        }
        self.ping = turn.world.unix_ms;
        say(&format!(r#"{{"ping":{}}}"#, self.ping), turn);
        turn.after_quick(seconds(5), "ping");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::{Line, Rehearsal};

    fn heard(line: &mut Line) -> Vec<serde_json::Value> {
        let inflated = |action| match action {
            Action::Binary(bytes) => {
                let mut text = String::new();
                flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
                json(&text)
            }
            other => panic!("{other:?} is no binary message"),
        };
        line.heard().into_iter().map(inflated).collect()
    }

    fn subscribe(topic: &str) -> serde_json::Value {
        json!({"sub": topic, "id": "1"})
    }

    #[test]
    fn trades_come_in_pairs_and_a_ping_is_echoed() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/ws");
        stage.say(&mut line, subscribe(TOPICS[0]));
        let early = heard(&mut line);
        assert_eq!((&early[0]["subbed"], early[1]["tick"]["data"].as_array().unwrap().len()), (&TOPICS[0].into(), 2));
        stage.say(&mut line, subscribe(TOPICS[1]));
        heard(&mut line);
        stage.pass(&mut line, seconds(5));
        let ping = heard(&mut line)[0]["ping"].clone();
        stage.say(&mut line, json!({"pong": ping}));
        stage.is_over();
    }

    #[test]
    fn another_pong_two_missed_pings_and_a_wrong_topic_are_refused() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/ws");
        stage.say(&mut line, subscribe("market.btcusdt.nothing"));
        assert_eq!(heard(&mut line)[0]["err-msg"], SIMULATOR.wrong[0].words);
        stage.pass(&mut line, seconds(5));
        heard(&mut line);
        stage.say(&mut line, json!({"pong": 1}));
        assert!(matches!(line.end().1, Action::Close(1003, _)));
        let mut line = stage.connect("/ws");
        stage.pass(&mut line, seconds(15));
        assert_eq!(line.end().1, Action::Cut);
    }
}
