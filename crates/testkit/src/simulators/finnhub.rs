//! Finnhub trades, after finnhub.io/docs/api/websocket-trades.

use serde_json::json;

use super::{EARLY, HALF, time_ms, turns};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const SYMBOLS: [&str; 2] = ["AAPL", "BINANCE:BTCUSDT"];
const TOKEN: &str = "finnhub-token-c3d5";

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "finnhub",
    hosts: &["ws.finnhub.io"],
    right: &[("websocket.subscription.topics", "AAPL,BINANCE:BTCUSDT"), ("websocket.secret.token", TOKEN)],
    beats: &[],
    wrong: &[
        Wrong { what: "an unknown token", set: &[("websocket.secret.token", "finnhub-token-0000")], words: "401" },
        Wrong {
            what: "a symbol that does not exist",
            set: &[("websocket.subscription.topics", "NO SUCH")],
            words: "Invalid symbol",
        },
    ],
    record,
    http: Simulator::no_http,
    connect,
};

fn record(n: u64) -> Expected {
    let (symbol, time) = (turns(n, SYMBOLS), time_ms(n));
    let value = format!(r#"{{"c":null,"p":214.12,"s":"{symbol}","t":{time},"v":0.0{n}1}}"#);
    Expected::new(value, symbol, time)
}

fn connect(request: &HttpRequest, world: &mut World) -> Result<Accepted, Answer> {
    if request.query("token").as_deref() != Some(TOKEN) {
        return Err(Answer::text(401, "Invalid API key"));
    }
    if world.users.iter().any(|user| user == TOKEN) {
        world.faults.push("a second connection".to_owned());
        return Err(Answer::text(429, "one connection per key"));
    }
    world.users.push(TOKEN.to_owned());
    Accepted::by(Finnhub { symbols: 0 })
}

struct Finnhub {
    symbols: u64,
}

impl Finnhub {
    fn send(&mut self, end: u64, turn: &mut Turn<'_>) {
        for pair in turn.pairs_to(end) {
            let trades: Vec<String> = pair.map(|n| record(n).value).collect();
            turn.send(format!(r#"{{"data":[{}],"type":"trade"}}"#, trades.join(",")));
        }
    }
}

impl Peer for Finnhub {
    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        let symbol = message["symbol"].as_str().unwrap_or_default();
        match message["type"].as_str() {
            // There is no acknowledgement.
            Some("subscribe") if SYMBOLS.contains(&symbol) => {
                self.symbols += 1;
                self.send(if self.symbols == 1 { EARLY } else { HALF }, turn);
                turn.after_quick(seconds(10), "ping");
            }
            Some("subscribe") => turn.send(json!({"msg": "Invalid symbol", "type": "error"})),
            Some("unsubscribe") => {}
            _ => turn.send(json!({"msg": "Invalid type", "type": "error"})),
        }
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        turn.send(r#"{"type":"ping"}"#);
        if self.symbols > 1 {
            self.send(RECORDS, turn);
        }
        turn.after_quick(seconds(10), "ping");
    }

    fn gone(&mut self, world: &mut World) {
        world.users.retain(|user| user != TOKEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn one_connection_a_token_and_no_acknowledgement() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        assert_eq!(stage.connect_with("/?token=finnhub-token-0000", &[]).err().unwrap().status, 401);
        let target = format!("/?token={TOKEN}");
        let mut line = stage.connect(&target);
        assert_eq!(stage.connect_with(&target, &[]).err().unwrap().status, 429);
        for symbol in SYMBOLS {
            stage.say(&mut line, json!({"type": "subscribe", "symbol": symbol}));
        }
        assert!(line.json().iter().all(|message| message["type"] == "trade"));
        stage.say(&mut line, json!({"type": "subscribe", "symbol": "NO SUCH"}));
        assert_eq!(line.json()[0]["msg"], SIMULATOR.wrong[1].words);
        stage.hang_up(line);
        assert!(stage.connect_with(&target, &[]).is_ok());
    }
}
