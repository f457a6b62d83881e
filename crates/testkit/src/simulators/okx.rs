//! OKX v5, public trades and private orders, after okx.com/docs-v5/en (WebSocket).

use serde_json::{Value, json};

use super::{EARLY, HALF, time_ms, turns};
use crate::simulator::limit::Limit;
use crate::simulator::signature::{base64, hmac_sha256};
use crate::simulator::{Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, Wrong, json, seconds};

const HOST: &str = "ws.okx.com:8443";
const INSTRUMENTS: [&str; 2] = ["BTC-USDT", "ETH-USDT"];
const KINDS: [&str; 2] = ["SPOT", "SWAP"];
const KEY: &str = "okx-key-4f1c";
const SECRET: &str = "okx-secret-93ab77";
const PASSPHRASE: &str = "correct-horse-5d";

pub(super) static PUBLIC: Simulator = Simulator {
    feed: "okx",
    hosts: &[HOST],
    right: &[("websocket.subscription.topics", "BTC-USDT,ETH-USDT")],
    beats: &["websocket.session.beat.every.ms"],
    wrong: &[Wrong {
        what: "an instrument that does not exist",
        set: &[("websocket.subscription.topics", "BTC-USDT,NO-SUCH")],
        words: "instId:NO-SUCH doesn't exist",
    }],
    record: public_record,
    http: Simulator::no_http,
    connect: |request, _| connect(request, "/ws/v5/public", &TRADES),
};

pub(super) static PRIVATE: Simulator = Simulator {
    feed: "okx-private",
    hosts: &[HOST],
    right: &[
        ("websocket.subscription.topics", "SPOT,SWAP"),
        ("websocket.secret.key", KEY),
        ("websocket.secret.sign", SECRET),
        ("websocket.secret.passphrase", PASSPHRASE),
    ],
    beats: &["websocket.session.beat.every.ms"],
    wrong: &[
        Wrong {
            what: "a secret that is not the key's",
            set: &[("websocket.secret.sign", "okx-secret-of-another")],
            words: "Invalid sign",
        },
        Wrong {
            what: "a passphrase that is not the key's",
            set: &[("websocket.secret.passphrase", "battery-staple-77")],
            words: "Wrong passphrase",
        },
        Wrong { what: "an unknown key", set: &[("websocket.secret.key", "okx-key-0000")], words: "Invalid apiKey" },
    ],
    record: private_record,
    http: Simulator::no_http,
    connect: |request, _| connect(request, "/ws/v5/private", &ORDERS),
};

/// What can be subscribed at one of the addresses.
struct Channel {
    name: &'static str,
    /// The member of an argument that says of what.
    of: &'static str,
    known: [&'static str; 2],
    private: bool,
    record: fn(u64) -> Expected,
}

static TRADES: Channel =
    Channel { name: "trades", of: "instId", known: INSTRUMENTS, private: false, record: public_record };
static ORDERS: Channel =
    Channel { name: "orders", of: "instType", known: KINDS, private: true, record: private_record };

fn public_record(n: u64) -> Expected {
    let (instrument, time) = (turns(n, INSTRUMENTS), time_ms(n));
    let value = format!(
        r#"{{"instId":"{instrument}","tradeId":"{n}","px":"68012.51","sz":"0.0031","side":"buy","ts":"{time}","count":"1"}}"#
    );
    Expected::new(value, instrument, time)
}

fn private_record(n: u64) -> Expected {
    let (kind, time) = (turns(n, KINDS), time_ms(n));
    let value = format!(
        r#"{{"instType":"{kind}","instId":"BTC-USDT","ordId":"31292{n:04}","px":"68012.51","sz":"0.0031","state":"live","uTime":"{time}"}}"#
    );
    Expected::new(value, format!("31292{n:04}"), time)
}

fn connect(request: &HttpRequest, path: &str, channel: &'static Channel) -> Result<Accepted, Answer> {
    if request.path() != path {
        return Err(Answer::text(404, "not found"));
    }
    Accepted::by(Okx { channel, logged_in: false, topics: 0, limit: Limit::new(480, seconds(3600)) })
}

struct Okx {
    channel: &'static Channel,
    logged_in: bool,
    topics: u64,
    /// Log-ins and subscriptions: 480 an hour.
    limit: Limit,
}

impl Okx {
    fn log_in(&mut self, message: &Value, turn: &mut Turn<'_>) {
        let argument = &message["args"][0];
        let text = |name: &str| argument[name].as_str().unwrap_or_default();
        let timestamp = text("timestamp");
        let age_s = timestamp.parse::<i64>().map_or(i64::MAX, |at| (turn.world.unix_ms as i64 / 1000 - at).abs());
        let sign = base64(&hmac_sha256(SECRET.as_bytes(), &format!("{timestamp}GET/users/self/verify")));
        match () {
            () if self.logged_in => {
                turn.fault("logged in twice");
                error("60030", "The WebSocket endpoint does not allow multiple or repeated logins.", turn);
            }
            () if text("apiKey") != KEY => error("60005", "Invalid apiKey", turn),
            () if text("passphrase") != PASSPHRASE => error("60024", "Wrong passphrase", turn),
            () if age_s > 30 => error("60006", "Timestamp request expired", turn),
            () if text("sign") != sign => error("60007", "Invalid sign", turn),
            () => {
                self.logged_in = true;
                turn.send(json!({"event": "login", "code": "0", "msg": "", "connId": "a4d3ae55"}));
            }
        }
    }

    fn subscribe(&mut self, arguments: &Value, turn: &mut Turn<'_>) {
        for argument in arguments.as_array().into_iter().flatten() {
            let Channel { name, of, known, private, .. } = *self.channel;
            let topic = argument[of].as_str().unwrap_or_default();
            if private && !self.logged_in {
                return error("60011", "Please log in", turn);
            }
            if argument["channel"] != name || !known.contains(&topic) {
                let words = format!("Wrong URL or channel:{name},{of}:{topic} doesn't exist.");
                return error("60018", &words, turn);
            }
            turn.send(json!({"event": "subscribe", "arg": argument, "connId": "a4d3ae55"}));
            self.topics += 1;
            self.send(if self.topics == 1 { EARLY } else { HALF }, turn);
        }
    }

    fn send(&mut self, end: u64, turn: &mut Turn<'_>) {
        let Channel { name, of, known, record, .. } = *self.channel;
        for pair in turn.pairs_to(end) {
            let topic = turns(pair.start, known);
            let data: Vec<String> = pair.map(|n| record(n).value).collect();
            turn.send(format!(r#"{{"arg":{{"channel":"{name}","{of}":"{topic}"}},"data":[{}]}}"#, data.join(",")));
        }
        await_words(turn);
    }

    /// The rest of the records; an upgrade of the service is announced first.
    fn go_on(&mut self, turn: &mut Turn<'_>) {
        if turn.world.notices > 0 {
            return self.send(RECORDS, turn);
        }
        self.send(HALF + 2, turn);
        turn.world.notices += 1;
        turn.send(json!({
            "event": "notice", "code": "64008", "connId": "a4d3ae55",
            "msg": "The connection will soon be closed for a service upgrade. Please reconnect.",
        }));
        turn.after(seconds(30), "upgrade");
    }
}

fn error(code: &str, words: &str, turn: &mut Turn<'_>) {
    turn.send(json!({"event": "error", "code": code, "msg": words, "connId": "a4d3ae55"}));
}

/// After thirty seconds without data the connection is closed, unless the client says ping.
fn await_words(turn: &mut Turn<'_>) {
    turn.after_quick(seconds(30), "silence");
}

impl Peer for Okx {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        await_words(turn);
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        await_words(turn);
        if text == "ping" {
            turn.send("pong");
            if self.topics > 1 {
                self.go_on(turn);
            }
            return;
        }
        if !self.limit.allows(turn.now) {
            turn.fault("more than 480 requests in an hour");
            return error("60014", "Requests too frequent", turn);
        }
        let message = json(text);
        match message["op"].as_str() {
            Some("login") => self.log_in(&message, turn),
            Some("subscribe") => self.subscribe(&message["args"], turn),
            Some("unsubscribe") => turn.send(json!({"event": "unsubscribe", "arg": message["args"][0]})),
            _ => error("60012", &format!("Invalid request: {text}"), turn),
        }
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        match timer {
            "silence" => turn.refuse(4004, "No data received in 30s."),
            _ => turn.cut("the connection was still open when the service was upgraded"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    const SUBSCRIBE: &str = r#"{"op":"subscribe","args":[{"channel":"trades","instId":"BTC-USDT"},{"channel":"trades","instId":"ETH-USDT"}]}"#;

    #[test]
    fn each_argument_is_acknowledged_and_a_text_ping_keeps_the_line_open() {
        let mut stage = Rehearsal::of(&PUBLIC);
        let mut line = stage.connect("/ws/v5/public");
        stage.say(&mut line, SUBSCRIBE);
        let events: Vec<_> = line.json().iter().map(|message| message["event"].clone()).collect();
        assert_eq!(events, [json!("subscribe"), json!(null), json!("subscribe"), json!(null), json!(null)]);
        stage.pass(&mut line, seconds(29));
        stage.say(&mut line, "ping");
        let heard = line.texts();
        assert!(heard[0] == "pong" && heard.last().unwrap().contains("64008"), "{heard:?}");
        stage.hang_up(line);
        let mut line = stage.connect("/ws/v5/public");
        stage.say(&mut line, SUBSCRIBE);
        stage.is_over();
    }

    #[test]
    fn silence_and_a_wrong_instrument_are_refused() {
        let mut stage = Rehearsal::of(&PUBLIC);
        let mut line = stage.connect("/ws/v5/public");
        stage.say(&mut line, r#"{"op":"subscribe","args":[{"channel":"trades","instId":"NO-SUCH"}]}"#);
        assert!(line.texts()[0].contains(PUBLIC.wrong[0].words));
        stage.pass(&mut line, seconds(30));
        assert_eq!(line.end().1, Action::Close(4004, "No data received in 30s.".to_owned()));
    }

    fn login(stage: &Rehearsal, secret: &str) -> Value {
        let timestamp = (stage.world.unix_ms / 1000).to_string();
        let sign = base64(&hmac_sha256(secret.as_bytes(), &format!("{timestamp}GET/users/self/verify")));
        json!({"op": "login", "args": [
            {"apiKey": KEY, "passphrase": PASSPHRASE, "timestamp": timestamp, "sign": sign}]})
    }

    #[test]
    fn orders_want_one_log_in_with_the_right_signature() {
        let mut stage = Rehearsal::of(&PRIVATE);
        let mut line = stage.connect("/ws/v5/private");
        let subscribe = r#"{"op":"subscribe","args":[{"channel":"orders","instType":"SPOT"}]}"#;
        stage.say(&mut line, subscribe);
        let wrong = login(&stage, "another");
        stage.say(&mut line, wrong);
        let heard = line.json();
        assert_eq!((&heard[0]["code"], &heard[1]["msg"]), (&json!("60011"), &json!(PRIVATE.wrong[0].words)));
        let right = login(&stage, SECRET);
        stage.say(&mut line, &right);
        stage.say(&mut line, right);
        let heard = line.json();
        assert_eq!((&heard[0]["event"], &heard[1]["code"]), (&json!("login"), &json!("60030")));
    }

    #[test]
    fn a_log_in_of_a_minute_ago_has_expired() {
        let mut stage = Rehearsal::of(&PRIVATE);
        let mut line = stage.connect("/ws/v5/private");
        let old = login(&stage, SECRET);
        stage.pass(&mut line, seconds(20));
        stage.say(&mut line, "ping");
        stage.pass(&mut line, seconds(20));
        stage.say(&mut line, old);
        assert_eq!(line.json().last().unwrap()["code"], "60006");
    }
}
