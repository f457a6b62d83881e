//! Bybit v5, public spot trades and private orders, after bybit-exchange.github.io/docs/v5/ws/connect.

use serde_json::{Value, json};

use super::{EARLY, HALF, number, time_ms, turns};
use crate::simulator::signature::{hex, hmac_sha256};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, Wrong, json, seconds, strings,
};

const HOST: &str = "stream.bybit.com";
const TRADES: [&str; 2] = ["publicTrade.BTCUSDT", "publicTrade.ETHUSDT"];
const OWN: [&str; 2] = ["order", "execution"];
const KEY: &str = "bybit-key-1d3e";
const SECRET: &str = "bybit-secret-c0ffee11";

pub(super) static PUBLIC: Simulator = Simulator {
    feed: "bybit",
    hosts: &[HOST],
    right: &[("websocket.subscription.topics", "publicTrade.BTCUSDT,publicTrade.ETHUSDT")],
    beats: &["websocket.session.beat.every.ms"],
    wrong: &[Wrong {
        what: "a topic that does not exist",
        set: &[("websocket.subscription.topics", "publicTrade.NOSUCH")],
        words: "handler not found,topic:publicTrade.NOSUCH",
    }],
    record: trade,
    http: Simulator::no_http,
    connect: |request, _| connect(request, "/v5/public/spot", false),
};

pub(super) static PRIVATE: Simulator = Simulator {
    feed: "bybit-private",
    hosts: &[HOST],
    right: &[
        ("websocket.subscription.topics", "order,execution"),
        ("websocket.secret.key", KEY),
        ("websocket.secret.sign", SECRET),
    ],
    beats: &["websocket.session.beat.every.ms"],
    wrong: &[
        Wrong {
            what: "a secret that is not the key's",
            set: &[("websocket.secret.sign", "bybit-secret-of-another")],
            words: "Params Error: Invalid sign",
        },
        Wrong { what: "an unknown key", set: &[("websocket.secret.key", "bybit-key-0000")], words: "Invalid API-key" },
    ],
    record: own,
    http: Simulator::no_http,
    connect: |request, _| connect(request, "/v5/private", true),
};

fn trade(n: u64) -> Expected {
    let (symbol, time, number) = (turns(n, ["BTCUSDT", "ETHUSDT"]), time_ms(n), number(n));
    let value = format!(
        r#"{{"T":{time},"s":"{symbol}","S":"Buy","v":"0.001","p":"68012.50","L":"PlusTick","i":"20f43950-{n:04}","BT":false,"seq":{number}}}"#
    );
    Expected::new(value, symbol, time)
}

fn own(n: u64) -> Expected {
    let (what, time) = (turns(n, OWN), time_ms(n));
    let value = format!(
        r#"{{"category":"spot","symbol":"BTCUSDT","orderId":"{what}-{n}","side":"Buy","price":"68012.50","updatedTime":"{time}"}}"#
    );
    Expected { timestamp: Some(time_ms(n / 2 * 2)), ..Expected::new(value, "BTCUSDT", time) }
}

fn connect(request: &HttpRequest, path: &str, private: bool) -> Result<Accepted, Answer> {
    if request.path() != path {
        return Err(Answer::text(404, "not found"));
    }
    Accepted::by(Bybit { private, logged_in: false, topics: 0 })
}

struct Bybit {
    private: bool,
    logged_in: bool,
    topics: usize,
}

impl Bybit {
    fn known(&self) -> [&'static str; 2] {
        if self.private { OWN } else { TRADES }
    }

    fn log_in(&mut self, arguments: &Value, turn: &mut Turn<'_>) {
        let expires = arguments[1].as_u64().unwrap_or(0);
        let sign = hex(&hmac_sha256(SECRET.as_bytes(), &format!("GET/realtime{expires}")));
        let (success, words) = match () {
            () if self.logged_in => {
                turn.fault("logged in twice");
                (false, "Repeat auth")
            }
            () if arguments[0] != KEY => (false, "Invalid API-key"),
            () if expires <= turn.world.unix_ms => (false, "Params Error: expires is in the past"),
            () if arguments[2] != sign.as_str() => (false, "Params Error: Invalid sign"),
            () => (true, ""),
        };
        self.logged_in |= success;
        turn.send(json!({"success": success, "ret_msg": words, "op": "auth", "conn_id": "cejreaspqfh3sjdnldmg-p"}));
    }

    fn subscribe(&mut self, topics: &[&str], request: &Value, turn: &mut Turn<'_>) {
        let unknown = topics.iter().find(|topic| !self.known().contains(topic));
        let error = match unknown {
            _ if self.private && !self.logged_in => Some("Request not authorized".to_owned()),
            _ if topics.is_empty() || topics.len() > 10 => Some("error:args size >10".to_owned()),
            Some(topic) => Some(format!("error:handler not found,topic:{topic}")),
            None => None,
        };
        self.topics += if error.is_none() { topics.len() } else { 0 };
        if self.topics > 0 {
            self.send(EARLY, turn);
        }
        turn.send(json!({
            "success": error.is_none(), "ret_msg": error.as_deref().unwrap_or_default(), "conn_id": "2324d924",
            "req_id": request, "op": "subscribe",
        }));
        if self.topics > 1 {
            self.send(HALF, turn);
        }
    }

    fn send(&mut self, end: u64, turn: &mut Turn<'_>) {
        for pair in turn.pairs_to(end) {
            let (topic, time) = (turns(pair.start, self.known()), time_ms(pair.start));
            let record = if self.private { own } else { trade };
            let data: Vec<String> = pair.clone().map(|n| record(n).value).collect();
            let data = data.join(",");
            turn.send(match self.private {
                true => {
                    format!(r#"{{"id":"m{}","topic":"{topic}","creationTime":{time},"data":[{data}]}}"#, pair.start)
                }
                false => format!(r#"{{"topic":"{topic}","ts":{time},"type":"snapshot","data":[{data}]}}"#),
            });
        }
    }

    fn pong(&mut self, request: &Value, turn: &mut Turn<'_>) {
        turn.after_quick(seconds(600), "silence");
        turn.send(match self.private {
            true => json!({"req_id": request, "op": "pong", "args": ["1675418560633"], "conn_id": "cfcb4oc"}),
            false => {
                json!({"success": true, "ret_msg": "pong", "conn_id": "2324d924", "req_id": request, "op": "ping"})
            }
        });
        if self.topics > 1 {
            self.send(RECORDS, turn);
        }
    }
}

impl Peer for Bybit {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        turn.after_quick(seconds(600), "silence");
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        let request = &message["req_id"];
        if text.len() > 21_000 {
            return turn.refuse(1008, "args are longer than 21,000 characters");
        }
        match message["op"].as_str() {
            Some("ping") => self.pong(request, turn),
            Some("auth") if self.private => self.log_in(&message["args"], turn),
            Some("subscribe") => self.subscribe(&strings(&message["args"]), request, turn),
            Some("unsubscribe") => turn.send(json!({"success": true, "req_id": request, "op": "unsubscribe"})),
            _ => turn.send(json!({"success": false, "ret_msg": "error:op is not supported", "req_id": request})),
        }
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        turn.cut("neither a ping nor data for ten minutes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn ten_topics_are_answered_once_and_eleven_are_refused() {
        let mut stage = Rehearsal::of(&PUBLIC);
        let mut line = stage.connect("/v5/public/spot");
        stage.say(&mut line, json!({"req_id": "1", "op": "subscribe", "args": vec![TRADES[0]; 11]}));
        assert_eq!(line.json()[0]["ret_msg"], "error:args size >10");
        stage.say(&mut line, json!({"req_id": "2", "op": "subscribe", "args": TRADES}));
        assert_eq!(line.json().iter().filter(|message| message["success"] == true).count(), 1);
        stage.say(&mut line, json!({"req_id": "3", "op": "ping"}));
        assert_eq!(line.json()[0]["ret_msg"], "pong");
        stage.is_over();
        stage.pass(&mut line, seconds(600));
        assert_eq!(line.end().1, Action::Cut);
    }

    #[test]
    fn the_private_stream_wants_a_signature_that_has_not_expired() {
        let mut stage = Rehearsal::of(&PRIVATE);
        let mut line = stage.connect("/v5/private");
        let now = stage.world.unix_ms;
        let mut log_in = |secret: &str, expires: u64| {
            let sign = hex(&hmac_sha256(secret.as_bytes(), &format!("GET/realtime{expires}")));
            stage.say(&mut line, json!({"op": "auth", "args": [KEY, expires, sign]}));
            line.json()[0]["ret_msg"].clone()
        };
        assert_eq!(log_in("another", now + 1000), PRIVATE.wrong[0].words);
        assert_eq!(log_in(SECRET, now), "Params Error: expires is in the past");
        assert_eq!(log_in(SECRET, now + 1000), "");
        assert_eq!(log_in(SECRET, now + 1000), "Repeat auth");
        stage.say(&mut line, json!({"op": "subscribe", "args": OWN}));
        assert_eq!(line.json()[0]["data"].as_array().unwrap().len(), 2);
    }
}
