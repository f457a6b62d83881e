//! Bitfinex v2, public trades, after docs.bitfinex.com/docs/ws-general and ws-public.

use serde_json::{Value, json};

use super::{BEHIND_HOLE, EARLY, HALF, HOLE, time_ms, turns};
use crate::simulator::{Accepted, Answer, Expected, HttpRequest, Peer, Simulator, Turn, World, Wrong, json, seconds};

const SYMBOLS: [&str; 2] = ["tBTCUSD", "tETHUSD"];
/// Every message of a channel ends with a number of the connection.
const SEQ_ALL: u64 = 65536;
/// Records of the first connection; then its end is announced.
const FIRST: u64 = HALF + 2;

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "bitfinex",
    hosts: &["api-pub.bitfinex.com"],
    right: &[("websocket.subscription.topics", "tBTCUSD,tETHUSD")],
    beats: &[],
    wrong: &[Wrong {
        what: "a symbol that does not exist",
        set: &[("websocket.subscription.topics", "tBTCUSD,tNOSUCH")],
        words: "symbol: invalid",
    }],
    record,
    http: Simulator::no_http,
    connect,
};

/// A record names its symbol only by the number that the acknowledgement gave it, another one on each connection.
fn record(n: u64) -> Expected {
    let (symbol, time) = (turns(n, SYMBOLS), time_ms(n));
    let channel = channel(symbol, u64::from(n >= FIRST));
    let sequence = match n {
        BEHIND_HOLE.. => n - FIRST + 1 + HOLE,
        FIRST.. => n - FIRST + 1,
        // On the first connection a heartbeat of each channel comes after the first half.
        HALF.. => n + 1 + 2,
        _ => n + 1,
    };
    let trade = format!("[{n},{time},0.0031,68012.51]");
    let value = match n {
        0 => format!("[{channel},[{trade}],{sequence}]"),
        n if n % 2 == 0 => format!(r#"[{channel},"te",{trade},{sequence}]"#),
        _ => format!(r#"[{channel},"tu",{trade},{sequence}]"#),
    };
    Expected::new(value, symbol, time)
}

fn channel(symbol: &str, connection: u64) -> u64 {
    let place = SYMBOLS.iter().position(|known| *known == symbol).unwrap_or(0) as u64;
    17 + 100 * connection + place
}

fn connect(request: &HttpRequest, world: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/ws/2" {
        return Err(Answer::text(404, "not found"));
    }
    Accepted::by(Bitfinex { connection: world.notices.min(1), numbered: false, symbols: Vec::new(), sequence: 0 })
}

struct Bitfinex {
    connection: u64,
    numbered: bool,
    symbols: Vec<String>,
    sequence: u64,
}

impl Bitfinex {
    fn subscribe(&mut self, message: &Value, turn: &mut Turn<'_>) {
        let symbol = message["symbol"].as_str().unwrap_or_default();
        let refuse = |code: u64, words: &str, turn: &mut Turn<'_>| {
            turn.send(json!({"event": "error", "msg": words, "code": code, "channel": "trades", "symbol": symbol}));
        };
        if message["channel"] != "trades" || !SYMBOLS.contains(&symbol) {
            return refuse(10300, "symbol: invalid", turn);
        }
        if self.symbols.iter().any(|known| known == symbol) {
            turn.fault("subscribed twice");
            return refuse(10301, "subscribe: dup", turn);
        }
        if self.symbols.len() == 25 {
            turn.fault("more than 25 channels on a connection");
            return refuse(10305, "subscribe: limit", turn);
        }
        if !self.numbered {
            turn.fault("a subscription before the flags of the connection");
        }
        self.symbols.push(symbol.to_owned());
        let (channel, pair) = (channel(symbol, self.connection), symbol.trim_start_matches('t'));
        turn.send(json!({
            "event": "subscribed", "channel": "trades", "chanId": channel, "symbol": symbol, "pair": pair,
        }));
        self.send(if self.symbols.len() == 1 { EARLY } else { HALF }, turn);
        if self.symbols.len() == 2 {
            turn.after_quick(seconds(15), "quiet");
        }
    }

    fn send(&mut self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            self.sequence += if n == BEHIND_HOLE { HOLE + 1 } else { 1 };
            turn.send(record(n).value);
        }
    }
}

impl Peer for Bitfinex {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        turn.send(json!({"event": "info", "version": 2, "serverId": "9d2f", "platform": {"status": 1}}));
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        match message["event"].as_str() {
            Some("conf") => {
                self.numbered = message["flags"].as_u64().is_some_and(|flags| flags & SEQ_ALL != 0);
                turn.send(json!({"event": "conf", "status": "OK", "flags": message["flags"]}));
            }
            Some("subscribe") => self.subscribe(&message, turn),
            Some("unsubscribe") => {
                turn.send(json!({"event": "unsubscribed", "status": "OK", "chanId": message["chanId"]}));
            }
            _ => turn.send(json!({"event": "error", "msg": "event: unknown", "code": 10000})),
        }
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        if timer == "restart" {
            return turn.cut("the connection was still open when the server was restarted");
        }
        for symbol in SYMBOLS {
            self.sequence += 1;
            let (channel, sequence) = (channel(symbol, self.connection), self.sequence);
            turn.send(format!(r#"[{channel},"hb",{sequence}]"#));
        }
        if turn.world.notices == 0 {
            self.send(FIRST, turn);
            turn.world.notices += 1;
            turn.send(
                json!({"event": "info", "code": 20051, "msg": "Stop/Restart Websocket Server (please reconnect)"}),
            );
            turn.after(seconds(30), "restart");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::rehearsal::{Line, Rehearsal};

    fn open(stage: &mut Rehearsal) -> (Line, Vec<String>) {
        let mut line = stage.connect("/ws/2");
        stage.say(&mut line, json!({"event": "conf", "flags": SEQ_ALL}));
        for symbol in SYMBOLS {
            stage.say(&mut line, json!({"event": "subscribe", "channel": "trades", "symbol": symbol}));
        }
        stage.pass(&mut line, seconds(15));
        let texts = line.texts();
        (line, texts)
    }

    #[test]
    fn every_message_of_a_channel_counts_and_numbers_change_with_the_connection() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        for (chan_id, lost) in [(17, 0..0), (117, 2..2 + HOLE)] {
            let (line, texts) = open(&mut stage);
            let messages: Vec<Value> = texts.iter().map(|text| json(text)).collect();
            let numbers: Vec<_> = messages.iter().filter_map(|message| message.as_array()?.last()?.as_u64()).collect();
            let last = *numbers.last().unwrap();
            assert_eq!(numbers, (1..=last).filter(|number| !lost.contains(number)).collect::<Vec<_>>());
            assert!(messages.iter().any(|message| message["chanId"] == chan_id));
            stage.hang_up(line);
        }
        stage.is_over();
    }

    #[test]
    fn an_unknown_symbol_and_a_double_are_refused() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let (mut line, _) = open(&mut stage);
        for symbol in ["tNOSUCH", "tBTCUSD"] {
            stage.say(&mut line, json!({"event": "subscribe", "channel": "trades", "symbol": symbol}));
        }
        let heard = line.json();
        assert_eq!((&heard[0]["msg"], &heard[1]["code"]), (&json!("symbol: invalid"), &json!(10301)));
    }
}
