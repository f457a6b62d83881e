//! Alpaca market data, after docs.alpaca.markets/docs/streaming-market-data.

use serde_json::{Value, json};

use super::{EARLY, HALF, time_iso, time_ms, turns};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds, strings,
};

const SYMBOLS: [&str; 2] = ["AAPL", "MSFT"];
const KEY: &str = "alpaca-key-PK41";
const SECRET: &str = "alpaca-secret-b7d9";
/// Of the free plan.
const MOST_SYMBOLS: usize = 30;

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "alpaca",
    hosts: &["stream.data.alpaca.markets"],
    right: &[
        ("websocket.subscription.topics", "AAPL,MSFT"),
        ("websocket.secret.key", KEY),
        ("websocket.secret.secret", SECRET),
    ],
    beats: &[],
    wrong: &[Wrong {
        what: "a secret that is not the key's",
        set: &[("websocket.secret.secret", "alpaca-secret-of-another")],
        words: "auth failed",
    }],
    record,
    http: Simulator::no_http,
    connect,
};

fn record(n: u64) -> Expected {
    let (symbol, time) = (turns(n, SYMBOLS), time_iso(n));
    let value =
        format!(r#"{{"T":"t","i":{n},"S":"{symbol}","x":"D","p":214.12,"s":1,"t":"{time}","c":["@","I"],"z":"C"}}"#);
    Expected::new(value, symbol, time_ms(n))
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if !["/v2/iex", "/v2/sip"].contains(&request.path()) {
        return Err(Answer::text(404, "not found"));
    }
    let peer = Alpaca { logged_in: false, symbols: 0 };
    Ok(Accepted { peer: Box::new(peer), subprotocol: None, deflate: true })
}

struct Alpaca {
    logged_in: bool,
    symbols: usize,
}

impl Alpaca {
    fn log_in(&mut self, message: &Value, turn: &mut Turn<'_>) {
        if self.logged_in {
            turn.fault("logged in twice");
            return error(403, "already authenticated", turn);
        }
        if message["key"] != KEY || message["secret"] != SECRET {
            error(402, "auth failed", turn);
            return turn.close(1008, "auth failed");
        }
        if turn.world.users.iter().any(|user| user == KEY) {
            turn.fault("a second connection");
            error(406, "connection limit exceeded", turn);
            return turn.close(1008, "connection limit exceeded");
        }
        turn.cancel("log-in");
        self.logged_in = true;
        turn.world.users.push(KEY.to_owned());
        turn.send(r#"[{"T":"success","msg":"authenticated"}]"#);
    }

    fn subscribe(&mut self, symbols: &[&str], turn: &mut Turn<'_>) {
        if self.symbols + symbols.len() > MOST_SYMBOLS {
            return error(405, "symbol limit exceeded", turn);
        }
        self.symbols += symbols.len();
        self.send(EARLY, turn);
        turn.send(json!([{
            "T": "subscription", "trades": symbols, "quotes": [], "bars": [], "updatedBars": [], "dailyBars": [],
            "statuses": [], "lulds": [], "corrections": symbols, "cancelErrors": symbols,
        }]));
        self.send(HALF, turn);
        turn.after_quick(seconds(5), "more");
    }

    fn send(&mut self, end: u64, turn: &mut Turn<'_>) {
        let trades: Vec<String> = turn.numbers_to(end).map(|n| record(n).value).collect();
        if !trades.is_empty() {
            turn.send(format!("[{}]", trades.join(",")));
        }
    }
}

fn error(code: u16, words: &str, turn: &mut Turn<'_>) {
    turn.send(json!([{"T": "error", "code": code, "msg": words}]));
}

impl Peer for Alpaca {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        turn.send(r#"[{"T":"success","msg":"connected"}]"#);
        turn.after(seconds(10), "log-in");
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        match message["action"].as_str() {
            Some("auth") => self.log_in(&message, turn),
            Some(_) if !self.logged_in => error(401, "not authenticated", turn),
            Some("subscribe") => self.subscribe(&strings(&message["trades"]), turn),
            Some("unsubscribe") => turn.send(json!([{"T": "subscription", "trades": [], "quotes": [], "bars": []}])),
            _ => error(400, "invalid syntax", turn),
        }
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        if timer == "log-in" {
            error(404, "auth timeout", turn);
            return turn.refuse(1008, "auth timeout");
        }
        self.send(RECORDS, turn);
    }

    fn gone(&mut self, world: &mut World) {
        if self.logged_in {
            world.users.retain(|user| user != KEY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    fn log_in(secret: &str) -> Value {
        json!({"action": "auth", "key": KEY, "secret": secret})
    }

    #[test]
    fn everything_is_an_array() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/v2/iex");
        stage.say(&mut line, log_in(SECRET));
        stage.say(&mut line, json!({"action": "subscribe", "trades": SYMBOLS}));
        stage.pass(&mut line, seconds(5));
        let kinds: Vec<_> = line.json().iter().map(|message| message[0]["T"].clone()).collect();
        assert_eq!(kinds, ["success", "success", "t", "subscription", "t", "t"]);
        stage.is_over();
    }

    #[test]
    fn a_wrong_secret_a_second_connection_and_a_late_log_in_are_refused() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/v2/iex");
        stage.say(&mut line, log_in("another"));
        let (heard, _) = line.end();
        assert!(matches!(&heard[1], Action::Text(text) if text.contains(SIMULATOR.wrong[0].words)), "{heard:?}");
        let mut first = stage.connect("/v2/iex");
        stage.say(&mut first, log_in(SECRET));
        let mut second = stage.connect("/v2/iex");
        stage.say(&mut second, log_in(SECRET));
        assert!(matches!(second.end().1, Action::Close(_, reason) if reason == "connection limit exceeded"));
        let mut late = stage.connect("/v2/iex");
        stage.pass(&mut late, seconds(10));
        assert!(matches!(late.end().1, Action::Close(..)));
    }
}
