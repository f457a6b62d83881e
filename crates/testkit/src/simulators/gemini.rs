//! Gemini market data v2, after docs.gemini.com/websocket.

use serde_json::json;

use super::{BEHIND_HOLE, EARLY, HALF, HOLE, time_ms, turns};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds, strings,
};

const SYMBOLS: [&str; 2] = ["BTCUSD", "ETHUSD"];

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "gemini",
    hosts: &["api.gemini.com"],
    right: &[("websocket.subscription.topics", "BTCUSD,ETHUSD")],
    beats: &[],
    wrong: &[Wrong {
        what: "a symbol that does not exist",
        set: &[("websocket.subscription.topics", "NOSUCH")],
        words: "InvalidSymbol",
    }],
    record,
    http: Simulator::no_http,
    connect,
};

/// Numbers count every message of a connection: one heartbeat comes after the first half, and some messages do not come at all.
fn record(n: u64) -> Expected {
    let (symbol, time) = (turns(n, SYMBOLS), time_ms(n));
    let sequence = n + u64::from(n >= HALF) + if n >= BEHIND_HOLE { HOLE } else { 0 };
    let value = format!(
        r#"{{"type":"trade","symbol":"{symbol}","event_id":{n},"timestamp":{time},"price":"68012.51","quantity":"0.0031","side":"buy","socket_sequence":{sequence}}}"#
    );
    Expected::new(value, symbol, time)
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/v2/marketdata" {
        return Err(Answer::text(404, "not found"));
    }
    Accepted::by(Gemini { sequence: 0 })
}

struct Gemini {
    sequence: u64,
}

impl Gemini {
    fn send(&mut self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            self.sequence += if n == BEHIND_HOLE { HOLE + 1 } else { 1 };
            turn.send(record(n).value);
        }
    }
}

impl Peer for Gemini {
    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        let subscription = &message["subscriptions"][0];
        let symbols = strings(&subscription["symbols"]);
        if message["type"] == "unsubscribe" {
            return;
        }
        if message["type"] != "subscribe" || subscription["name"] != "l2" || symbols.is_empty() {
            return turn.send(json!({"result": "error", "reason": "InvalidJson"}));
        }
        if let Some(unknown) = symbols.iter().find(|symbol| !SYMBOLS.contains(symbol)) {
            let words = format!("Supplied value '{unknown}' is not a valid symbol");
            return turn.send(json!({"result": "error", "reason": "InvalidSymbol", "message": words}));
        }
        // There is no acknowledgement: the data is one.
        self.send(EARLY, turn);
        self.send(HALF, turn);
        turn.after_quick(seconds(5), "heartbeat");
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        let sequence = self.sequence;
        self.sequence += 1;
        turn.send(json!({"type": "heartbeat", "timestamp": time_ms(0), "socket_sequence": sequence}));
        self.send(RECORDS, turn);
        turn.after_quick(seconds(5), "heartbeat");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn heartbeats_count_in_the_numbers() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/v2/marketdata");
        let subscriptions = json!([{"name": "l2", "symbols": SYMBOLS}]);
        stage.say(&mut line, json!({"type": "subscribe", "subscriptions": subscriptions}));
        stage.pass(&mut line, seconds(5));
        let numbers: Vec<_> = line.json().iter().map(|message| message["socket_sequence"].as_u64().unwrap()).collect();
        let behind = BEHIND_HOLE + 1;
        assert_eq!(numbers, (0..behind).chain(behind + HOLE..=RECORDS + HOLE).collect::<Vec<_>>());
        stage.is_over();
    }

    #[test]
    fn an_unknown_symbol_is_refused() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/v2/marketdata");
        let subscriptions = json!([{"name": "l2", "symbols": ["NOSUCH"]}]);
        stage.say(&mut line, json!({"type": "subscribe", "subscriptions": subscriptions}));
        assert_eq!(line.json()[0]["reason"], SIMULATOR.wrong[0].words);
    }
}
