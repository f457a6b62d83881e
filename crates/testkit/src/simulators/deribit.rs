//! Deribit, public trades over JSON-RPC, after docs.deribit.com.

use serde_json::{Value, json};

use super::{EARLY, HALF, PAGE, numbers_in, time_ms, turn_number, turns};
use crate::simulator::limit::Limit;
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds, strings,
};

const INSTRUMENTS: [&str; 2] = ["BTC-PERPETUAL", "ETH-PERPETUAL"];
const CHANNELS: [&str; 2] = ["trades.BTC-PERPETUAL.100ms", "trades.ETH-PERPETUAL.100ms"];

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "deribit",
    hosts: &["www.deribit.com"],
    right: &[("websocket.subscription.topics", "trades.BTC-PERPETUAL.100ms,trades.ETH-PERPETUAL.100ms")],
    beats: &[],
    wrong: &[Wrong {
        what: "a channel that does not exist",
        set: &[("websocket.subscription.topics", "nothing.BTC-PERPETUAL")],
        words: "Invalid params",
    }],
    record,
    http,
    connect,
};

fn record(n: u64) -> Expected {
    let (instrument, time, seq) = (turns(n, INSTRUMENTS), time_ms(n), turn_number(n));
    let value = format!(
        r#"{{"trade_seq":{seq},"trade_id":"48079{n:03}","timestamp":{time},"tick_direction":2,"price":68012.5,"instrument_name":"{instrument}","direction":"sell","amount":10}}"#
    );
    Expected::new(value, instrument, time)
}

/// GET /api/v2/public/get_last_trades_by_instrument, from one trade_seq to another.
fn http(request: &HttpRequest, world: &mut World) -> Answer {
    if request.path() != "/api/v2/public/get_last_trades_by_instrument" {
        return Answer::text(404, "not found");
    }
    let number = |name| request.query(name).and_then(|text| text.parse::<u64>().ok());
    let instrument = request.query("instrument_name").unwrap_or_default();
    let topic = INSTRUMENTS.iter().position(|known| *known == instrument);
    let (Some(topic), Some(start), Some(end), Some("asc")) =
        (topic, number("start_seq"), number("end_seq"), request.query("sorting").as_deref())
    else {
        return Answer::json(400, json!({"jsonrpc": "2.0", "error": {"code": -32602, "message": "Invalid params"}}));
    };
    world.ask(20, |history| {
        let held: Vec<(u64, u64)> = numbers_in(history, topic).filter(|(seq, _)| (start..=end).contains(seq)).collect();
        let trades: Vec<Value> = held.iter().take(PAGE).map(|(_, n)| json(&record(*n).value)).collect();
        let has_more = held.len() > PAGE;
        Answer::json(
            200,
            json!({"jsonrpc": "2.0", "result": {"trades": trades, "has_more": has_more}, "testnet": false}),
        )
    })
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/ws/api/v2" {
        return Err(Answer::text(404, "not found"));
    }
    Accepted::by(Deribit { limit: Limit::new(10, seconds(3)), interval_s: 0, asked: false, channels: 0 })
}

struct Deribit {
    /// Subscriptions: about three a second, ten at once.
    limit: Limit,
    /// Of heartbeats; 0: none were asked for.
    interval_s: u64,
    /// A test request waits for its answer; the next one does not put its deadline off.
    asked: bool,
    channels: usize,
}

impl Deribit {
    fn set_heartbeat(&mut self, interval: &Value, id: &Value, turn: &mut Turn<'_>) {
        let Some(interval) = interval.as_u64().filter(|interval| *interval >= 10) else {
            return refuse(id, "interval", "must be >= 10", turn);
        };
        self.interval_s = interval;
        turn.after_quick(seconds(interval), "heartbeat");
        answer(id, json!("ok"), turn);
    }

    fn subscribe(&mut self, channels: &[&str], id: &Value, turn: &mut Turn<'_>) {
        if !self.limit.allows(turn.now) {
            turn.fault("subscribed too often");
            return turn
                .send(json!({"jsonrpc": "2.0", "id": id, "error": {"code": 10028, "message": "too_many_requests"}}));
        }
        if channels.iter().any(|channel| !CHANNELS.contains(channel)) {
            return refuse(id, "channels", "wrong format", turn);
        }
        self.channels += channels.len();
        self.send(EARLY, turn);
        answer(id, json!(channels), turn);
        self.send(HALF, turn);
    }

    fn send(&mut self, end: u64, turn: &mut Turn<'_>) {
        // Of records that are lost on their way, no message has any.
        let records = turn.records_to(end);
        for pair in records.chunk_by(|a, b| a / 2 == b / 2) {
            let channel = turns(pair[0], CHANNELS);
            let data: Vec<String> = pair.iter().map(|n| record(*n).value).collect();
            let data = data.join(",");
            turn.send(format!(
                r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"{channel}","data":[{data}]}}}}"#
            ));
        }
    }
}

fn answer(id: &Value, result: Value, turn: &mut Turn<'_>) {
    let now_us = turn.world.unix_ms * 1000;
    turn.send(json!({
        "jsonrpc": "2.0", "id": id, "result": result, "usIn": now_us, "usOut": now_us + 20, "usDiff": 20, "testnet": false,
    }));
}

fn refuse(id: &Value, parameter: &str, reason: &str, turn: &mut Turn<'_>) {
    let data = json!({"reason": reason, "param": parameter});
    turn.send(json!({
        "jsonrpc": "2.0", "id": id, "error": {"code": -32602, "message": "Invalid params", "data": data},
    }));
}

fn heartbeat(kind: &str, turn: &mut Turn<'_>) {
    turn.send(json!({"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": kind}}));
}

impl Peer for Deribit {
    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        let (id, params) = (&message["id"], &message["params"]);
        match message["method"].as_str() {
            Some("public/set_heartbeat") => self.set_heartbeat(&params["interval"], id, turn),
            Some("public/subscribe") => self.subscribe(&strings(&params["channels"]), id, turn),
            Some("public/unsubscribe") => answer(id, params["channels"].clone(), turn),
            Some("public/test") => {
                self.asked = false;
                turn.cancel("no test");
                answer(id, json!({"version": "1.2.26"}), turn);
                if self.channels > 0 {
                    self.send(RECORDS, turn);
                }
            }
            _ => {
                turn.send(json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "Method not found"}}))
            }
        }
    }

    fn published(&mut self, turn: &mut Turn<'_>) {
        if self.channels > 0 {
            self.send(RECORDS, turn);
        }
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        if timer == "no test" {
            return turn.cut("a test request was not answered");
        }
        heartbeat("heartbeat", turn);
        heartbeat("test_request", turn);
        turn.after_quick(seconds(self.interval_s), "heartbeat");
        if !std::mem::replace(&mut self.asked, true) {
            // Not shortened: it is the client's time to answer.
            turn.after(seconds(10), "no test");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    fn request(method: &str, params: Value) -> Value {
        json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
    }

    #[test]
    fn a_test_request_must_be_answered() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/ws/api/v2");
        stage.say(&mut line, request("public/set_heartbeat", json!({"interval": 30})));
        stage.say(&mut line, request("public/subscribe", json!({"channels": CHANNELS})));
        assert_eq!(line.json()[0]["result"], "ok");
        stage.pass(&mut line, seconds(30));
        assert_eq!(line.json()[1]["params"]["type"], "test_request");
        stage.say(&mut line, request("public/test", json!({})));
        stage.is_over();
        line.texts();
        stage.pass(&mut line, seconds(40));
        assert_eq!(line.end().1, Action::Cut);
    }

    #[test]
    fn a_short_interval_and_a_wrong_channel_are_refused() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/ws/api/v2");
        stage.say(&mut line, request("public/set_heartbeat", json!({"interval": 5})));
        stage.say(&mut line, request("public/subscribe", json!({"channels": ["nothing"]})));
        assert!(line.json().iter().all(|message| message["error"]["message"] == SIMULATOR.wrong[0].words));
    }
}
