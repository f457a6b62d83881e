//! Kraken WebSocket API v2, public trades and private executions, after docs.kraken.com/api/docs/websocket-v2.

use serde_json::{Value, json};

use super::{EARLY, HALF, PAGE, numbers_in, time_iso, time_ms, turn_number, turns};
use crate::simulator::signature::{base64, from_base64, hmac_sha512, sha256};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds, strings,
};

const SYMBOLS: [&str; 2] = ["BTC/USD", "ETH/USD"];
/// The names of the pairs in a request to the history, and in its answer.
const PAIRS: [(&str, &str); 2] = [("BTCUSD", "XXBTZUSD"), ("ETHUSD", "XETHZUSD")];
const KEY: &str = "kraken-key-77ab";
/// Base64, as Kraken gives it out.
const SECRET: &str = "a3Jha2VuLXNlY3JldC1mb3ItdGhlLXRlc3Qta2l0";
const TOKEN_PATH: &str = "/0/private/GetWebSocketsToken";
const TOKEN: &str = "websockets";

pub(super) static PUBLIC: Simulator = Simulator {
    feed: "kraken",
    hosts: &["ws.kraken.com", "api.kraken.com"],
    right: &[("websocket.subscription.topics", "BTC/USD,ETH/USD")],
    beats: &[],
    wrong: &[Wrong {
        what: "a symbol that does not exist",
        set: &[("websocket.subscription.topics", "BTC/USD,NO/SUCH")],
        words: "Currency pair not supported NO/SUCH",
    }],
    record: trade,
    http: trades,
    connect: |request, _| connect(request, false),
};

pub(super) static PRIVATE: Simulator = Simulator {
    feed: "kraken-private",
    hosts: &["ws-auth.kraken.com", "api.kraken.com"],
    right: &[("websocket.secret.key", KEY), ("websocket.secret.sign", SECRET)],
    beats: &[],
    wrong: &[
        Wrong {
            what: "a secret that is not the key's",
            set: &[("websocket.secret.sign", "YW5vdGhlciBzZWNyZXQ=")],
            words: "EAPI:Invalid signature",
        },
        Wrong {
            what: "an unknown key",
            set: &[("websocket.secret.key", "kraken-key-0000")],
            words: "EAPI:Invalid key",
        },
    ],
    record: execution,
    http,
    connect: |request, _| connect(request, true),
};

fn trade(n: u64) -> Expected {
    let (symbol, time, number) = (turns(n, SYMBOLS), time_iso(n), turn_number(n));
    let value = format!(
        r#"{{"symbol":"{symbol}","side":"sell","price":68012.5,"qty":0.0031,"ord_type":"market","trade_id":{number},"timestamp":"{time}"}}"#
    );
    Expected::new(value, symbol, time_ms(n))
}

fn execution(n: u64) -> Expected {
    let (symbol, time) = (turns(n, SYMBOLS), time_iso(n));
    let value = format!(
        r#"{{"order_id":"OK4GJX-{n:03}","exec_type":"filled","symbol":"{symbol}","side":"buy","order_status":"filled","timestamp":"{time}"}}"#
    );
    Expected::new(value, format!("OK4GJX-{n:03}"), time_ms(n))
}

/// GET /0/public/Trades, behind a moment in nanoseconds. A trade happened when it was published.
fn trades(request: &HttpRequest, world: &mut World) -> Answer {
    let since = request.query("since").and_then(|text| text.parse::<u64>().ok());
    let pair = request.query("pair").unwrap_or_default();
    let (Some(since), Some(topic)) = (since, PAIRS.iter().position(|(name, _)| *name == pair)) else {
        return Answer::json(200, json!({"error": ["EQuery:Unknown asset pair"]}));
    };
    if request.path() != "/0/public/Trades" {
        return Answer::json(404, json!({"error": ["EGeneral:Unknown method"]}));
    }
    world.ask(2, |history| {
        let moment = |n: u64| history.published_at(n) * 1_000_000_000 + n;
        let held = numbers_in(history, topic).filter(|(_, n)| moment(*n) > since).take(PAGE);
        let (mut rows, mut last) = (Vec::new(), since);
        for (id, n) in held {
            last = moment(n);
            let seconds = history.published_at(n);
            rows.push(format!(r#"["68012.50000","0.00310000",{seconds}.{n:09},"s","m","",{id}]"#));
        }
        let (rows, (_, name)) = (rows.join(","), PAIRS[topic]);
        Answer::json(200, format!(r#"{{"error":[],"result":{{"{name}":[{rows}],"last":"{last}"}}}}"#))
    })
}

fn http(request: &HttpRequest, world: &mut World) -> Answer {
    if request.method() != "POST" || request.path() != TOKEN_PATH {
        return Answer::json(404, json!({"error": ["EGeneral:Unknown method"]}));
    }
    let body = String::from_utf8_lossy(&request.body);
    let nonce = body.strip_prefix("nonce=").unwrap_or_default();
    let signed = [TOKEN_PATH.as_bytes(), &sha256(&format!("{nonce}{body}"))].concat();
    let sign = base64(&hmac_sha512(&from_base64(SECRET), &signed));
    let is_new = !nonce.is_empty() && world.issued.insert(format!("nonce {nonce}"), "nonce".to_owned()).is_none();
    let error = match () {
        () if request.header("API-Key") != Some(KEY) => "EAPI:Invalid key",
        () if request.header("API-Sign") != Some(&sign) => "EAPI:Invalid signature",
        () if !is_new => "EAPI:Invalid nonce",
        () => {
            let token = world.issue(TOKEN);
            return Answer::json(200, json!({"error": [], "result": {"token": token, "expires": 900}}));
        }
    };
    Answer::json(200, json!({"error": [error]}))
}

fn connect(request: &HttpRequest, private: bool) -> Result<Accepted, Answer> {
    if request.path() != "/v2" {
        return Err(Answer::text(404, "not found"));
    }
    Accepted::by(Kraken { private, symbols: 0, heartbeats: 0, sequence: 0 })
}

struct Kraken {
    private: bool,
    symbols: u64,
    heartbeats: u64,
    sequence: u64,
}

impl Kraken {
    /// Each symbol is answered on its own.
    fn subscribe_trades(&mut self, message: &Value, turn: &mut Turn<'_>) {
        for symbol in strings(&message["params"]["symbol"]) {
            if !SYMBOLS.contains(&symbol) {
                let words = format!("Currency pair not supported {symbol}");
                turn.send(json!({
                    "error": words, "method": "subscribe", "req_id": message["req_id"], "success": false, "symbol": symbol,
                }));
                continue;
            }
            let result = json!({"channel": "trade", "snapshot": true, "symbol": symbol});
            acknowledge(message, &result, turn);
            self.symbols += 1;
            self.send(if self.symbols == 1 { EARLY } else { HALF }, turn);
        }
    }

    fn subscribe_executions(&mut self, message: &Value, turn: &mut Turn<'_>) {
        let token = message["params"]["token"].as_str().unwrap_or_default();
        if !turn.world.redeem(token, TOKEN) {
            let error = "ESession:Invalid session";
            return turn
                .send(json!({"error": error, "method": "subscribe", "req_id": message["req_id"], "success": false}));
        }
        acknowledge(message, &json!({"channel": "executions"}), turn);
        self.symbols = 2;
        self.send(HALF, turn);
    }

    fn send(&mut self, end: u64, turn: &mut Turn<'_>) {
        let (channel, record) =
            if self.private { ("executions", execution as fn(u64) -> Expected) } else { ("trade", trade as _) };
        for pair in turn.records_to(end).chunk_by(|one, next| one / 2 == next / 2) {
            self.sequence += 1;
            let (kind, sequence) = (if pair[0] == 0 { "snapshot" } else { "update" }, self.sequence);
            let data: Vec<String> = pair.iter().map(|n| record(*n).value).collect();
            let data = data.join(",");
            turn.send(match self.private {
                true => format!(r#"{{"channel":"{channel}","type":"{kind}","data":[{data}],"sequence":{sequence}}}"#),
                false => format!(r#"{{"channel":"{channel}","type":"{kind}","data":[{data}]}}"#),
            });
        }
    }
}

fn acknowledge(message: &Value, result: &Value, turn: &mut Turn<'_>) {
    let (time_in, time_out) = (time_iso(0), time_iso(1));
    turn.send(json!({
        "method": "subscribe", "req_id": message["req_id"], "result": result, "success": true,
        "time_in": time_in, "time_out": time_out,
    }));
}

impl Peer for Kraken {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        // The state of the system looks like data.
        turn.send(json!({
            "channel": "status", "type": "update",
            "data": [{"api_version": "v2", "connection_id": 117, "system": "online", "version": "2.0.9"}],
        }));
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        let channel = message["params"]["channel"].as_str().unwrap_or_default();
        match (message["method"].as_str(), channel) {
            (Some("subscribe"), "trade") if !self.private => self.subscribe_trades(&message, turn),
            (Some("subscribe"), "executions") if self.private => self.subscribe_executions(&message, turn),
            (Some("unsubscribe"), _) => turn.send(json!({"method": "unsubscribe", "success": true})),
            (Some("ping"), _) => turn.send(json!({"method": "pong", "req_id": message["req_id"]})),
            (Some(method), _) => turn.send(json!({
                "error": "Channel not supported", "method": method, "success": false, "req_id": message["req_id"],
            })),
            (None, _) => turn.send(json!({"error": "Malformed request", "success": false})),
        }
        if self.symbols > 0 && self.heartbeats == 0 {
            turn.after(seconds(1), "heartbeat");
        }
    }

    fn published(&mut self, turn: &mut Turn<'_>) {
        if self.symbols > 1 {
            self.send(RECORDS, turn);
        }
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        self.heartbeats += 1;
        turn.send(r#"{"channel":"heartbeat"}"#);
        if self.symbols > 1 {
            self.send(RECORDS, turn);
        }
        turn.after(seconds(1), "heartbeat");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn each_symbol_has_its_own_answer() {
        let mut stage = Rehearsal::of(&PUBLIC);
        let mut line = stage.connect("/v2");
        assert_eq!(line.json()[0]["channel"], "status");
        let params = json!({"channel": "trade", "symbol": ["BTC/USD", "NO/SUCH", "ETH/USD"]});
        stage.say(&mut line, json!({"method": "subscribe", "params": params, "req_id": 1}));
        let answers: Vec<_> = line.json().iter().map(|message| message["success"].clone()).collect();
        assert_eq!(answers, [json!(true), json!(null), json!(false), json!(true), json!(null), json!(null)]);
        stage.pass(&mut line, seconds(1));
        assert_eq!(line.json()[0], json!({"channel": "heartbeat"}));
        stage.is_over();
    }

    #[test]
    fn a_token_wants_a_signature_and_is_good_once() {
        let mut stage = Rehearsal::of(&PRIVATE);
        let mut ask = |nonce: &str, secret: &str| {
            let body = format!("nonce={nonce}");
            let signed = [TOKEN_PATH.as_bytes(), &sha256(&format!("{nonce}{body}"))].concat();
            let sign = base64(&hmac_sha512(&from_base64(secret), &signed));
            let line = format!("POST {TOKEN_PATH} HTTP/1.1");
            json(&stage.http(&line, &[("API-Key", KEY), ("API-Sign", &sign)], &body).body)
        };
        assert_eq!(ask("1", "b3RoZXI=")["error"][0], PRIVATE.wrong[0].words);
        let token = ask("2", SECRET)["result"]["token"].clone();
        assert_eq!(ask("2", SECRET)["error"][0], "EAPI:Invalid nonce");
        let mut line = stage.connect("/v2");
        let subscribe = json!({"method": "subscribe", "params": {"channel": "executions", "token": token}});
        stage.say(&mut line, &subscribe);
        stage.say(&mut line, &subscribe);
        assert_eq!(line.json().last().unwrap()["error"], "ESession:Invalid session");
    }
}
