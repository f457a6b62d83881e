//! Coinbase Advanced Trade, market trades and the user channel, after docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket.

use serde_json::{Value, json};

use super::coinbase::{Manners, PRODUCTS};
use super::{BEHIND_HOLE, EARLY, HALF, HOLE, time_iso, time_ms, turns};
use crate::simulator::signature::{es256_jwt, from_hex};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, Wrong, json, seconds, strings,
};

const KEY_NAME: &str = "organizations/4a5b/apiKeys/9c1d";
/// SEC1, as Coinbase gives it out. Made for this test kit.
const KEY: &str = "\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIC0ykNYb150PyyH9gMyQEyg/Xm1voWZKs6RWIsndFJNxoAoGCCqGSM49
AwEHoUQDQgAETS6TDLSlCU9VtQWZeBDDRbK6mc1q2JJKTeG5jhBZ5HuUYVqjnYEY
mmt4K/c7Cm/Gy6ufWA5YgP66N8qTdOCrDA==
-----END EC PRIVATE KEY-----
";
/// The same key's public half, an uncompressed point.
const PUBLIC_KEY: &str = "044d2e930cb4a5094f55b505997810c345b2ba99cd6ad8924a4de1b98e1059e47b94615aa39d81189a6b782bf73b0a6fc6cbab9f580e5880feba37ca9374e0ab0c";
const KEY_OF_ANOTHER: &str = "\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIIXHCN/dW0A36X6H/Wb5b5QaMswnyI4q+PIMCMdC2RRUoAoGCCqGSM49
AwEHoUQDQgAEKAcakVBWT6Qf/VFRdz8FLEsIwWmOJ70lxH77FQfdxIOg1blNabO3
wn5DhhXXMGLWzkK7T+uf9KUJqStdYAR3zw==
-----END EC PRIVATE KEY-----
";

pub(super) static PUBLIC: Simulator = Simulator {
    feed: "coinbase-advanced",
    hosts: &["advanced-trade-ws.coinbase.com"],
    right: &[("websocket.subscription.topics", "BTC-USD,ETH-USD")],
    beats: &[],
    wrong: &[Wrong {
        what: "a product that does not exist",
        set: &[("websocket.subscription.topics", "BTC-USD,NO-SUCH")],
        words: "NO-SUCH is not a valid product",
    }],
    record: trade,
    http: Simulator::no_http,
    connect: |request, _| connect(request, &TRADES),
};

pub(super) static USER: Simulator = Simulator {
    feed: "coinbase-advanced-user",
    hosts: &["advanced-trade-ws-user.coinbase.com"],
    right: &[
        ("websocket.subscription.topics", "BTC-USD,ETH-USD"),
        ("websocket.secret.key", KEY_NAME),
        ("websocket.secret.pem", KEY),
    ],
    beats: &[],
    wrong: &[
        Wrong {
            what: "the private key of another",
            set: &[("websocket.secret.pem", KEY_OF_ANOTHER)],
            words: "authentication failure",
        },
        Wrong {
            what: "an unknown key",
            set: &[("websocket.secret.key", "organizations/4a5b/apiKeys/0000")],
            words: "authentication failure",
        },
    ],
    record: order,
    http: Simulator::no_http,
    connect: |request, _| connect(request, &ORDERS),
};

/// A channel with data, and what its records are called.
struct Channel {
    name: &'static str,
    list: &'static str,
    private: bool,
    record: fn(u64) -> Expected,
}

static TRADES: Channel = Channel { name: "market_trades", list: "trades", private: false, record: trade };
static ORDERS: Channel = Channel { name: "user", list: "orders", private: true, record: order };

fn trade(n: u64) -> Expected {
    let (product, time) = (turns(n, PRODUCTS), time_iso(n));
    let value = format!(
        r#"{{"trade_id":"{n}","product_id":"{product}","price":"68012.51","size":"0.3","side":"BUY","time":"{time}"}}"#
    );
    Expected::new(value, product, time_ms(n))
}

fn order(n: u64) -> Expected {
    let (product, time) = (turns(n, PRODUCTS), time_iso(n));
    let value = format!(
        r#"{{"order_id":"o-{n}","client_order_id":"c-{n}","product_id":"{product}","status":"OPEN","creation_time":"{time}"}}"#
    );
    Expected::new(value, format!("o-{n}"), time_ms(n))
}

fn connect(request: &HttpRequest, channel: &'static Channel) -> Result<Accepted, Answer> {
    if request.path() != "/" {
        return Err(Answer::text(404, "not found"));
    }
    Accepted::by(Coinbase { channel, manners: Manners::new(8), sequence: 0 })
}

struct Coinbase {
    channel: &'static Channel,
    manners: Manners,
    /// Counts every message of the connection.
    sequence: u64,
}

impl Coinbase {
    fn subscribe(&mut self, message: &Value, turn: &mut Turn<'_>) {
        if self.channel.private && !knows(&message["jwt"], turn.world.unix_ms / 1000) {
            return error("authentication failure", turn);
        }
        let products = strings(&message["product_ids"]);
        if let Some(reason) = Manners::unknown(&products) {
            return error(&reason, turn);
        }
        self.manners.subscribed(turn);
        match message["channel"].as_str() {
            Some("heartbeats") => {
                self.acknowledge("heartbeats", &["heartbeats"], turn);
                turn.cancel("silence");
                self.manners.begin_heartbeats(turn);
            }
            Some(name) if name == self.channel.name && !products.is_empty() => {
                turn.after_quick(seconds(60), "silence");
                self.send(EARLY, turn);
                self.acknowledge(name, &products, turn);
                self.send(HALF, turn);
            }
            _ => error("channel is not supported", turn),
        }
    }

    fn acknowledge(&mut self, channel: &str, products: &[&str], turn: &mut Turn<'_>) {
        let events = json!([{"subscriptions": {channel: products}}]).to_string();
        self.say("subscriptions", &events, turn);
    }

    fn send(&mut self, end: u64, turn: &mut Turn<'_>) {
        for pair in turn.pairs_to(end) {
            self.sequence += if pair.contains(&BEHIND_HOLE) { HOLE } else { 0 };
            let records: Vec<String> = pair.map(|n| (self.channel.record)(n).value).collect();
            let events = format!(r#"[{{"type":"update","{}":[{}]}}]"#, self.channel.list, records.join(","));
            self.say(self.channel.name, &events, turn);
        }
    }

    fn say(&mut self, channel: &str, events: &str, turn: &mut Turn<'_>) {
        let (sequence, time) = (self.sequence, time_iso(0));
        self.sequence += 1;
        turn.send(format!(
            r#"{{"channel":"{channel}","client_id":"","timestamp":"{time}","sequence_num":{sequence},"events":{events}}}"#
        ));
    }
}

/// Whether the token is signed with our key, and new.
fn knows(jwt: &Value, now_s: u64) -> bool {
    let Some((header, claims)) = jwt.as_str().and_then(|jwt| es256_jwt(jwt, &from_hex(PUBLIC_KEY))) else {
        return false;
    };
    let (begin, end) = (claims["nbf"].as_u64().unwrap_or(u64::MAX), claims["exp"].as_u64().unwrap_or(0));
    let is_new = begin <= now_s + 5 && now_s < end && end - begin <= 120;
    let named = header["kid"] == KEY_NAME && claims["sub"] == KEY_NAME && claims["iss"] == "cdp";
    named && is_new && header["nonce"].as_str().is_some_and(|nonce| !nonce.is_empty())
}

fn error(words: &str, turn: &mut Turn<'_>) {
    turn.send(json!({"type": "error", "message": words}));
}

impl Peer for Coinbase {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        self.manners.opened(turn);
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        if !self.manners.allows_message(turn) {
            return;
        }
        let message = json(text);
        match message["type"].as_str() {
            Some("subscribe") => self.subscribe(&message, turn),
            Some("unsubscribe") => self.say("subscriptions", r#"[{"subscriptions":{}}]"#, turn),
            _ => error("type is not supported", turn),
        }
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        if timer == "silence" {
            return turn.refuse(1008, "a channel was silent and heartbeats are not subscribed");
        }
        let Some(heartbeat) = self.manners.heartbeat(timer, turn) else { return };
        let events = json!([{"current_time": time_iso(0), "heartbeat_counter": heartbeat}]).to_string();
        self.say("heartbeats", &events, turn);
        if heartbeat == 2 {
            self.send(RECORDS, turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::Rehearsal;
    use crate::simulator::signature::jwt_signed_with;

    #[test]
    fn trades_come_in_pairs_and_heartbeats_keep_the_channel_open() {
        let mut stage = Rehearsal::of(&PUBLIC);
        let mut line = stage.connect("/");
        stage.say(&mut line, json!({"type": "subscribe", "product_ids": PRODUCTS, "channel": "market_trades"}));
        stage.say(&mut line, json!({"type": "subscribe", "channel": "heartbeats"}));
        let heard = line.json();
        assert_eq!(heard[0]["events"][0]["trades"].as_array().unwrap().len(), 2);
        assert_eq!(heard[1]["channel"], "subscriptions");
        assert!(heard.iter().enumerate().all(|(at, message)| message["sequence_num"] == at));
        stage.pass(&mut line, seconds(90));
        line.texts();
        stage.is_over();
    }

    #[test]
    fn without_heartbeats_or_a_subscription_the_connection_ends() {
        let mut stage = Rehearsal::of(&PUBLIC);
        let mut line = stage.connect("/");
        stage.say(&mut line, json!({"type": "subscribe", "product_ids": PRODUCTS, "channel": "market_trades"}));
        stage.pass(&mut line, seconds(60));
        assert!(matches!(line.end().1, Action::Close(1008, _)));
        let mut line = stage.connect("/");
        stage.pass(&mut line, seconds(5));
        assert!(matches!(line.end().1, Action::Close(1008, _)));
    }

    #[test]
    fn the_user_channel_wants_a_new_token_of_the_right_key() {
        let mut stage = Rehearsal::of(&USER);
        let mut line = stage.connect("/");
        let now = stage.world.unix_ms / 1000;
        let header = json!({"alg": "ES256", "kid": KEY_NAME, "nonce": "1f"});
        let mut ask = |key: &str, begin: u64| {
            let claims = json!({"iss": "cdp", "sub": KEY_NAME, "nbf": begin, "exp": begin + 120});
            let jwt = jwt_signed_with(key, PUBLIC_KEY, &header, &claims);
            stage.say(&mut line, json!({"type": "subscribe", "product_ids": PRODUCTS, "channel": "user", "jwt": jwt}));
            line.json().pop().unwrap()
        };
        assert_eq!(ask(KEY, now - 121)["message"], USER.wrong[0].words);
        assert_eq!(ask(KEY, now)["channel"], "user");
    }
}
