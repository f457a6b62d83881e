//! Binance spot market data, after github.com/binance/binance-spot-api-docs, web-socket-streams.md.

use serde_json::{Value, json};

use super::{EARLY, HALF, PAGE, numbers_in, time_ms, turn_number, turns};
use crate::simulator::limit::Limit;
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds, strings,
};

const TOPICS: [&str; 2] = ["btcusdt@trade", "ethusdt@trade"];

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "binance",
    hosts: &["stream.binance.com:9443", "api.binance.com"],
    right: &[("websocket.subscription.topics", "btcusdt@trade,ethusdt@trade")],
    beats: &[],
    wrong: &[Wrong {
        what: "a method that does not exist",
        set: &[("websocket.subscription.message", r#"{"method":"SUBSCRIBED","params":[{{topics}}],"id":{{n()}}}"#)],
        words: "unknown variant",
    }],
    record,
    http,
    connect,
};

fn record(n: u64) -> Expected {
    let stream = turns(n, TOPICS);
    let symbol = stream.trim_end_matches("@trade").to_uppercase();
    let (time, id) = (time_ms(n), turn_number(n));
    let value = format!(
        r#"{{"stream":"{stream}","data":{{"e":"trade","E":{time},"s":"{symbol}","t":{id},"p":"68012.51","q":"0.0031","T":{time},"m":true,"M":true}}}}"#
    );
    Expected::new(value, stream, time)
}

/// GET /api/v3/historicalTrades, from an id on.
fn http(request: &HttpRequest, world: &mut World) -> Answer {
    if request.path() != "/api/v3/historicalTrades" {
        return Answer::text(404, "not found");
    }
    let number = |name| request.query(name).and_then(|text| text.parse::<u64>().ok());
    let symbol = request.query("symbol").unwrap_or_default();
    let topic = TOPICS.iter().position(|topic| topic.trim_end_matches("@trade").to_uppercase() == symbol);
    let (Some(topic), Some(from), Some(limit)) = (topic, number("fromId"), number("limit")) else {
        return Answer::json(400, json!({"code": -1102, "msg": "a mandatory parameter was not sent or malformed"}));
    };
    world.ask(240 / 60 * 2, |history| {
        let trades = numbers_in(history, topic).filter(|(id, _)| *id >= from).take(PAGE.min(limit as usize));
        let trade = |(id, n): (u64, u64)| {
            json!({
                "id": id, "price": "68012.51", "qty": "0.0031", "quoteQty": "210.8", "time": time_ms(n),
                "isBuyerMaker": true, "isBestMatch": true,
            })
        };
        Answer::json(200, Value::Array(trades.map(trade).collect()))
    })
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/stream" {
        return Err(Answer::text(404, "the combined streams are at /stream"));
    }
    Accepted::by(Binance { limit: Limit::new(5, seconds(1)), streams: 0, pinged: false })
}

struct Binance {
    /// Five messages a second; pings and pongs are messages too.
    limit: Limit,
    streams: usize,
    /// A ping waits for its pong.
    pinged: bool,
}

impl Binance {
    fn count(&mut self, turn: &mut Turn<'_>) -> bool {
        let allowed = self.limit.allows(turn.now);
        if !allowed {
            turn.refuse(1008, "more than five messages in a second");
        }
        allowed
    }

    fn subscribe(&mut self, params: &[&str], id: &Value, turn: &mut Turn<'_>) {
        self.streams += params.len();
        if self.streams > 1024 {
            return turn.refuse(1008, "more than 1024 streams on a connection");
        }
        // The stream is on before its acknowledgement is written.
        self.send(EARLY, turn);
        turn.send(json!({"result": null, "id": id}));
        self.send(HALF, turn);
    }

    fn send(&mut self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.records_to(end) {
            turn.send(record(n).value);
        }
    }
}

impl Peer for Binance {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        turn.after_quick(seconds(20), "ping");
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        if !self.count(turn) {
            return;
        }
        let message = json(text);
        let id = &message["id"];
        match message["method"].as_str() {
            _ if message.is_null() => {
                turn.send(r#"{"code":3,"msg":"Invalid JSON: expected value at line 1 column 1"}"#)
            }
            None => turn.send(r#"{"code":2,"msg":"Invalid request: missing field `method` at line 1 column 73"}"#),
            _ if !(id.is_i64() || id.is_null() || id.as_str().is_some_and(|id| id.len() <= 36)) => {
                turn.send(r#"{"code":2,"msg":"Invalid request: request ID must be an unsigned integer"}"#);
            }
            Some("SUBSCRIBE") => self.subscribe(&strings(&message["params"]), id, turn),
            Some("UNSUBSCRIBE") => turn.send(json!({"result": null, "id": id})),
            Some(method) => turn.send(json!({
                "code": 2,
                "msg": format!("Invalid request: unknown variant {method}, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`"),
            })),
        }
    }

    fn published(&mut self, turn: &mut Turn<'_>) {
        if self.streams > 0 {
            self.send(RECORDS, turn);
        }
    }

    fn pinged(&mut self, turn: &mut Turn<'_>) {
        self.count(turn);
    }

    fn ponged(&mut self, turn: &mut Turn<'_>) {
        if !self.count(turn) {
            return;
        }
        self.pinged = false;
        turn.cancel("no pong");
        if self.streams > 0 && turn.world.notices == 0 {
            self.send(HALF + 2, turn);
            turn.world.notices += 1;
            turn.send(json!({"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": time_ms(RECORDS)}}));
            turn.after(seconds(30), "shutdown");
        }
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        match timer {
            "ping" => {
                turn.ping();
                if !std::mem::replace(&mut self.pinged, true) {
                    turn.after_quick(seconds(60), "no pong");
                }
                turn.after_quick(seconds(20), "ping");
            }
            "shutdown" => turn.cut("the connection was still open after serverShutdown"),
            _ => turn.cut("no pong within a minute"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    const SUBSCRIBE: &str = r#"{"method":"SUBSCRIBE","params":["btcusdt@trade","ethusdt@trade"],"id":1}"#;

    #[test]
    fn trades_come_until_the_shutdown_is_announced_and_go_on_afterwards() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/stream");
        stage.say(&mut line, SUBSCRIBE);
        let heard = line.texts();
        let answer: serde_json::Value = serde_json::from_str(&heard[EARLY as usize]).unwrap();
        assert_eq!(answer, serde_json::json!({"id": 1, "result": null}));
        assert_eq!(heard.len() as u64, HALF + 1);
        stage.pass(&mut line, seconds(20));
        assert_eq!(line.heard(), [Action::Ping]);
        stage.pong(&mut line);
        assert!(line.texts().last().unwrap().contains("serverShutdown"));
        stage.hang_up(line);
        let mut line = stage.connect("/stream");
        stage.say(&mut line, SUBSCRIBE);
        stage.is_over();
    }

    #[test]
    fn a_sixth_message_within_a_second_is_too_many() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/stream");
        for _ in 0..4 {
            stage.ping(&mut line);
        }
        stage.say(&mut line, SUBSCRIBE);
        line.texts();
        stage.pong(&mut line);
        assert_eq!(line.end().1, Action::Close(1008, "more than five messages in a second".to_owned()));
    }

    #[test]
    fn a_client_that_does_not_pong_or_go_is_cut() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/stream");
        stage.pass(&mut line, seconds(80));
        assert!(line.heard().contains(&Action::Cut));
        let mut line = stage.connect("/stream");
        stage.say(&mut line, SUBSCRIBE);
        stage.pong(&mut line);
        stage.pass(&mut line, seconds(40));
        assert!(line.heard().contains(&Action::Cut));
    }

    #[test]
    fn an_unknown_method_is_refused_in_the_feeds_words() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/stream");
        stage.say(&mut line, r#"{"method":"SUBSCRIBED","params":[],"id":1}"#);
        assert!(line.texts()[0].contains(SIMULATOR.wrong[0].words));
    }
}
