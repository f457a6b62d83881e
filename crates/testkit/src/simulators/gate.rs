//! Gate.io v4, spot trades, after gate.io/docs/developers/apiv4/ws/en and gateio/gatews.

use serde_json::{Value, json};

use super::{EARLY, HALF, number, time_ms, turns};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds, strings,
};

const PAIRS: [&str; 2] = ["BTC_USDT", "ETH_USDT"];

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "gate",
    hosts: &["api.gateio.ws"],
    right: &[("websocket.subscription.topics", "BTC_USDT,ETH_USDT")],
    beats: &["websocket.session.beat.every.ms"],
    wrong: &[Wrong {
        what: "a pair that does not exist",
        set: &[("websocket.subscription.topics", "NO_SUCH")],
        words: "unknown currency pair NO_SUCH",
    }],
    record,
    http: Simulator::no_http,
    connect,
};

fn record(n: u64) -> Expected {
    let (pair, time, number) = (turns(n, PAIRS), time_ms(n), number(n));
    let value = format!(
        r#"{{"id":{n},"create_time":{},"create_time_ms":"{time}.4578","side":"sell","currency_pair":"{pair}","amount":"16.47","price":"0.4705","range":"{number}-{number}","id_market":{number}}}"#,
        time / 1000
    );
    Expected::new(value, pair, time)
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/ws/v4/" {
        return Err(Answer::text(404, "not found"));
    }
    Accepted::by(Gate { pairs: 0 })
}

struct Gate {
    pairs: usize,
}

impl Gate {
    fn subscribe(&mut self, message: &Value, turn: &mut Turn<'_>) {
        let pairs = strings(&message["payload"]);
        let unknown = pairs.iter().find(|pair| !PAIRS.contains(pair));
        let now = turn.world.unix_ms as i64 / 1000;
        let error = match unknown {
            _ if (message["time"].as_i64().unwrap_or(0) - now).abs() > 60 => {
                json!({"code": 1, "message": "invalid time"})
            }
            Some(pair) => json!({"code": 2, "message": format!("unknown currency pair {pair}")}),
            None => Value::Null,
        };
        let is_good = error.is_null();
        let result = if is_good { json!({"status": "success"}) } else { Value::Null };
        if is_good {
            self.pairs += pairs.len();
            self.send(EARLY, turn);
        }
        // The error is there in a good answer too, and null.
        turn.send(json!({
            "time": now, "time_ms": turn.world.unix_ms, "id": message["id"], "conn_id": "5e74253e9c793974",
            "channel": message["channel"], "event": "subscribe", "payload": pairs, "error": error, "result": result,
        }));
        if is_good {
            self.send(HALF, turn);
        }
    }

    fn send(&mut self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            let (time, result) = (time_ms(n), record(n).value);
            turn.send(format!(
                r#"{{"time":{},"time_ms":{time},"channel":"spot.trades","event":"update","result":{result}}}"#,
                time / 1000
            ));
        }
    }

    /// The rest of the records; an upgrade of the service is announced first.
    fn go_on(&mut self, turn: &mut Turn<'_>) {
        if self.pairs == 0 {
            return;
        }
        if turn.world.notices > 0 {
            return self.send(RECORDS, turn);
        }
        self.send(HALF + 2, turn);
        turn.world.notices += 1;
        turn.send(json!({"channel": "spot.trades", "event": "upgrade", "error": null, "result": null}));
        turn.after(seconds(30), "upgrade");
    }
}

/// A connection on which nothing is said for three intervals is dead.
fn await_ping(turn: &mut Turn<'_>) {
    turn.after_quick(seconds(30), "no ping");
}

impl Peer for Gate {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        await_ping(turn);
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        match (message["channel"].as_str(), message["event"].as_str()) {
            (Some("spot.ping"), _) => {
                await_ping(turn);
                let now = turn.world.unix_ms / 1000;
                turn.send(json!({"time": now, "channel": "spot.pong", "event": "", "error": null, "result": null}));
                self.go_on(turn);
            }
            (Some("spot.trades"), Some("subscribe")) => self.subscribe(&message, turn),
            (Some("spot.trades"), Some("unsubscribe")) => turn.send(json!({
                "channel": "spot.trades", "event": "unsubscribe", "error": null, "result": {"status": "success"},
            })),
            (channel, event) => turn.send(json!({
                "channel": channel, "event": event, "result": null,
                "error": {"code": 2, "message": "unknown channel or event"},
            })),
        }
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        match timer {
            "upgrade" => turn.cut("the connection was still open when the service was upgraded"),
            _ => turn.cut("no ping for thirty seconds"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    fn subscribe(stage: &Rehearsal, pair: &[&str]) -> Value {
        json!({"time": stage.world.unix_ms / 1000, "channel": "spot.trades", "event": "subscribe", "payload": pair})
    }

    #[test]
    fn an_upgrade_is_announced_after_a_ping() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/ws/v4/");
        let message = subscribe(&stage, &PAIRS);
        stage.say(&mut line, &message);
        assert_eq!(line.json()[EARLY as usize]["result"]["status"], "success");
        stage.say(&mut line, json!({"time": 1, "channel": "spot.ping"}));
        assert_eq!(line.json().last().unwrap()["event"], "upgrade");
        stage.hang_up(line);
        let mut line = stage.connect("/ws/v4/");
        stage.say(&mut line, &message);
        stage.is_over();
    }

    #[test]
    fn a_wrong_pair_an_old_time_and_silence_are_refused() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/ws/v4/");
        let message = subscribe(&stage, &["NO_SUCH"]);
        stage.say(&mut line, message);
        stage.say(&mut line, json!({"time": 1, "channel": "spot.trades", "event": "subscribe", "payload": PAIRS}));
        let heard = line.json();
        assert_eq!(heard[0]["error"]["message"], SIMULATOR.wrong[0].words);
        assert_eq!(heard[1]["error"]["message"], "invalid time");
        stage.pass(&mut line, seconds(30));
        assert_eq!(line.end().1, Action::Cut);
    }
}
