//! Subscriptions of blockchain nodes by JSON-RPC: Ethereum, after geth.ethereum.org (Real-time Events), and Solana, after
//! solana.com/docs/rpc/websocket.

use serde_json::{Value, json};

use super::{EARLY, HALF, numbers_in, turn_number, turns};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const NAMES: [&str; 2] = ["newHeads", "logs"];
const PROJECT: &str = "infura-project-91cc";
const CONTRACT: &str = "0xdac17f958d2ee523a2206206994597c13d831ec7";
const ADDRESSES: [&str; 2] = ["TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA", "11111111111111111111111111111111"];
const EPOCH_S: i64 = 1_767_225_600;

pub(super) static ETHEREUM: Simulator = Simulator {
    feed: "ethereum",
    hosts: &[],
    right: &[
        ("websocket.url", "{ws}/ws/v3/{{secret.project}}"),
        ("websocket.secret.project", PROJECT),
        ("websocket.subscription.topics", "newHeads,logs"),
        ("websocket.var.logs", r#"{"address":"0xdac17f958d2ee523a2206206994597c13d831ec7"}"#),
    ],
    beats: &[],
    wrong: &[
        Wrong {
            what: "a key that is not known",
            set: &[("websocket.secret.project", "infura-project-0000")],
            words: "invalid project id",
        },
        Wrong {
            what: "a subscription that does not exist",
            set: &[("websocket.subscription.topics", "nothing")],
            words: "subscription in eth namespace",
        },
    ],
    record: ethereum_record,
    http: ethereum_history,
    connect: ethereum_connect,
};

pub(super) static SOLANA: Simulator = Simulator {
    feed: "solana",
    hosts: &[],
    right: &[
        ("websocket.url", "{ws}/"),
        (
            "websocket.subscription.topics",
            "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA,11111111111111111111111111111111",
        ),
    ],
    beats: &[],
    wrong: &[Wrong {
        what: "an address that is none",
        set: &[("websocket.subscription.topics", "nothing")],
        words: "Invalid Request: Invalid mentions provided",
    }],
    record: solana_record,
    http: Simulator::no_http,
    connect: solana_connect,
};

/// Numbers are hexadecimal; only heads have a time. Each block has one log.
fn ethereum_record(n: u64) -> Expected {
    let number = block(n);
    if turns(n, NAMES) == "newHeads" {
        let (hash, time) = (format!("0xb10c{n:04x}"), EPOCH_S + n as i64);
        let value = format!(r#"{{"hash":"{hash}","number":"{number:#x}","timestamp":"{time:#x}"}}"#);
        return Expected::new(value, hash, time * 1000);
    }
    let value = format!(
        r#"{{"address":"{CONTRACT}","blockNumber":"{number:#x}","logIndex":"0x3","data":"0x{n:02x}","removed":false}}"#
    );
    Expected { timestamp: None, ..Expected::new(value, CONTRACT, 0) }
}

/// The block of record n.
fn block(n: u64) -> u64 {
    24_000_000 + turn_number(n)
}

/// POST of one call: a block by its number, or the logs of a range of blocks.
fn ethereum_history(request: &HttpRequest, world: &mut World) -> Answer {
    let call = json(&String::from_utf8_lossy(&request.body));
    let is_known = request.method() == "POST" && request.path() == format!("/v3/{PROJECT}");
    if !is_known || request.header("Content-Type") != Some("application/json") {
        return Answer::text(401, "invalid project id");
    }
    let quantity = |value: &Value| {
        let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
        digits.filter(|digits| !digits.starts_with('0')).and_then(|digits| u64::from_str_radix(digits, 16).ok())
    };
    let params = &call["params"];
    let range = match call["method"].as_str() {
        Some("eth_getBlockByNumber") if params[1] == false => quantity(&params[0]).map(|number| (0, number, number)),
        Some("eth_getLogs") if params[0]["address"] == CONTRACT => {
            let blocks = quantity(&params[0]["fromBlock"]).zip(quantity(&params[0]["toBlock"]));
            blocks.filter(|(from, to)| from <= to).map(|(from, to)| (1, from, to))
        }
        _ => None,
    };
    let Some((topic, from, to)) = range else {
        let error = json!({"code": -32602, "message": "invalid argument"});
        return Answer::json(200, json!({"jsonrpc": "2.0", "id": call["id"], "error": error}));
    };
    world.ask(20, |history| {
        let held = numbers_in(history, topic).filter(|(_, n)| (from..=to).contains(&block(*n)));
        let mut found: Vec<Value> = held.map(|(_, n)| json(&ethereum_record(n).value)).collect();
        let result = if topic == 0 { found.pop().unwrap_or_default() } else { Value::Array(found) };
        Answer::json(200, json!({"jsonrpc": "2.0", "id": call["id"], "result": result}))
    })
}

fn solana_record(n: u64) -> Expected {
    let signature = format!("5h6xBEauJ3PK6SWCZ1PGjBvj8vDdWG3KpwATGy1ARAXFSDwt8GFXM7W{n:03}");
    let value = format!(
        r#"{{"context":{{"slot":{}}},"value":{{"signature":"{signature}","err":null,"logs":["Program log: number {n}"]}}}}"#,
        5_208_469 + n * 2
    );
    Expected { timestamp: None, ..Expected::new(value, signature, 0) }
}

fn ethereum_connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.path() != format!("/ws/v3/{PROJECT}") {
        return Err(Answer::text(401, "invalid project id"));
    }
    Accepted::by(Node { chain: Chain::Ethereum, ids: Vec::new() })
}

fn solana_connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/" {
        return Err(Answer::text(404, "not found"));
    }
    Accepted::by(Node { chain: Chain::Solana, ids: Vec::new() })
}

#[derive(Clone, Copy)]
enum Chain {
    Ethereum,
    Solana,
}

impl Chain {
    /// What is subscribed to, or why it cannot be.
    fn topic(self, message: &Value) -> Result<&'static str, Value> {
        let params = &message["params"];
        let find = |topics: [&'static str; 2], wanted: &Value| topics.into_iter().find(|topic| wanted == topic);
        match self {
            Chain::Ethereum => {
                let unknown = format!("no {} subscription in eth namespace", params[0]);
                let topic = find(NAMES, &params[0]).ok_or(json!({"code": -32601, "message": unknown}))?;
                if topic == "logs" && params[1]["address"] != CONTRACT {
                    return Err(json!({"code": -32602, "message": "invalid address"}));
                }
                Ok(topic)
            }
            Chain::Solana => {
                let wrong = json!({"code": -32602, "message": "Invalid Request: Invalid mentions provided"});
                find(ADDRESSES, &params[0]["mentions"][0]).ok_or(wrong)
            }
        }
    }

    fn id(self, number: u64) -> Value {
        match self {
            Chain::Ethereum => json!(format!("{:#x}", 0x9cef_478923 + number)),
            Chain::Solana => json!(24_040 + number),
        }
    }

    /// What notification n says, and to which topic.
    fn notification(self, n: u64) -> (&'static str, &'static str, String) {
        match self {
            Chain::Ethereum => ("eth_subscription", turns(n, NAMES), ethereum_record(n).value),
            Chain::Solana => ("logsNotification", turns(n, ADDRESSES), solana_record(n).value),
        }
    }
}

struct Node {
    chain: Chain,
    /// The id of each subscription, which this connection alone has.
    ids: Vec<(&'static str, Value)>,
}

impl Node {
    fn subscribe(&mut self, message: &Value, turn: &mut Turn<'_>) {
        let topic = match self.chain.topic(message) {
            Ok(topic) => topic,
            Err(error) => return turn.send(json!({"jsonrpc": "2.0", "id": message["id"], "error": error})),
        };
        let id = self.chain.id(self.ids.len() as u64);
        turn.send(json!({"jsonrpc": "2.0", "id": message["id"], "result": id}));
        self.ids.push((topic, id));
        self.send(if self.ids.len() == 1 { EARLY } else { HALF }, turn);
        if self.ids.len() > 1 {
            turn.after(seconds(1), "more");
        }
    }

    fn send(&self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            let (method, topic, result) = self.chain.notification(n);
            let id = self.ids.iter().find(|(known, _)| *known == topic).map_or(&Value::Null, |(_, id)| id);
            turn.send(format!(
                r#"{{"jsonrpc":"2.0","method":"{method}","params":{{"subscription":{id},"result":{result}}}}}"#
            ));
        }
    }
}

impl Peer for Node {
    fn published(&mut self, turn: &mut Turn<'_>) {
        if self.ids.len() > 1 {
            self.send(RECORDS, turn);
        }
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        let message = json(text);
        match message["method"].as_str() {
            Some("eth_subscribe" | "logsSubscribe") => self.subscribe(&message, turn),
            Some("eth_unsubscribe" | "logsUnsubscribe") => {
                self.ids.retain(|(_, id)| message["params"][0] != *id);
                turn.send(json!({"jsonrpc": "2.0", "id": message["id"], "result": true}));
            }
            _ => turn.send(json!({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601}})),
        }
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        self.send(RECORDS, turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::rehearsal::Rehearsal;

    #[test]
    fn a_node_of_ethereum_has_a_subscription_for_each_name() {
        let mut stage = Rehearsal::of(&ETHEREUM);
        let mut line = stage.connect(&format!("/ws/v3/{PROJECT}"));
        let filter = json!({"address": CONTRACT});
        for params in [json!(["nothing"]), json!(["logs", {}]), json!(["newHeads"]), json!(["logs", filter])] {
            stage.say(&mut line, json!({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": params}));
        }
        let heard = line.json();
        assert!(heard[0]["error"]["message"].as_str().unwrap().contains(ETHEREUM.wrong[1].words));
        assert_eq!(heard[1]["error"]["code"], -32602);
        assert_eq!(heard[2]["result"], heard[3]["params"]["subscription"]);
        stage.pass(&mut line, seconds(1));
        stage.is_over();
    }

    #[test]
    fn a_node_of_solana_has_a_subscription_for_each_address() {
        let mut stage = Rehearsal::of(&SOLANA);
        let mut line = stage.connect("/");
        for address in ["nothing", ADDRESSES[0], ADDRESSES[1]] {
            let params = json!([{"mentions": [address]}, {"commitment": "confirmed"}]);
            stage.say(&mut line, json!({"jsonrpc": "2.0", "id": 1, "method": "logsSubscribe", "params": params}));
        }
        let heard = line.json();
        assert_eq!(heard[0]["error"]["message"], SOLANA.wrong[0].words);
        assert_eq!(heard[1]["result"], 24_040);
        stage.pass(&mut line, seconds(1));
        stage.is_over();
    }
}
