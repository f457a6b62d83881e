//! Coinbase Exchange, public matches, after docs.cdp.coinbase.com/exchange/websocket-feed.

use serde_json::{Value, json};

use super::coinbase::{Manners, PRODUCTS};
use super::{EARLY, HALF, PAGE, numbers_in, time_iso, time_ms, turn_number, turns};
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, strings,
};

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "coinbase-exchange",
    hosts: &["ws-feed.exchange.coinbase.com", "api.exchange.coinbase.com"],
    right: &[("websocket.subscription.topics", "BTC-USD,ETH-USD")],
    beats: &[],
    wrong: &[Wrong {
        what: "a product that does not exist",
        set: &[("websocket.subscription.topics", "BTC-USD,NO-SUCH")],
        words: "NO-SUCH is not a valid product",
    }],
    record,
    http,
    connect,
};

fn record(n: u64) -> Expected {
    let product = turns(n, PRODUCTS);
    // What happened last before the subscription comes first, under a name of its own.
    let kind = if n == 0 { "last_match" } else { "match" };
    // The sequence counts events of other channels too, so it jumps.
    let (id, sequence, time) = (turn_number(n), 50 + 7 * n, time_iso(n));
    let value = format!(
        r#"{{"type":"{kind}","trade_id":{id},"sequence":{sequence},"maker_order_id":"ac928c66","taker_order_id":"132fb6ae","time":"{time}","product_id":"{product}","size":"5.23512","price":"68012.51","side":"sell"}}"#
    );
    Expected::new(value, product, time_ms(n))
}

/// GET /products/<product>/trades: the newest first; older ones than `after`, which the header CB-AFTER gives of each page.
fn http(request: &HttpRequest, world: &mut World) -> Answer {
    let product = request.path().strip_prefix("/products/").and_then(|path| path.strip_suffix("/trades"));
    let Some(topic) = product.and_then(|product| PRODUCTS.iter().position(|known| *known == product)) else {
        return Answer::json(404, json!({"message": "NotFound"}));
    };
    world.ask(10, |history| {
        let after = request.query("after").and_then(|after| after.parse::<u64>().ok()).unwrap_or(u64::MAX);
        let older = numbers_in(history, topic).rev().filter(|(id, _)| *id < after).take(PAGE).collect::<Vec<_>>();
        let trade = |(id, n): &(u64, u64)| {
            json!({"trade_id": id, "side": "sell", "size": "5.23512", "price": "68012.51", "time": time_iso(*n)})
        };
        let answer = Answer::json(200, Value::Array(older.iter().map(trade).collect()));
        match (older.first(), older.last()) {
            (Some((first, _)), Some((last, _))) => answer.with("CB-BEFORE", first).with("CB-AFTER", last),
            _ => answer,
        }
    })
}

fn connect(request: &HttpRequest, _: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/" {
        return Err(Answer::text(404, "not found"));
    }
    let peer = Coinbase { manners: Manners::new(100), subscribed: false };
    Ok(Accepted { peer: Box::new(peer), subprotocol: None, deflate: true })
}

struct Coinbase {
    manners: Manners,
    subscribed: bool,
}

impl Coinbase {
    fn subscribe(&mut self, products: &[&str], channels: &[&str], turn: &mut Turn<'_>) {
        if let Some(reason) = Manners::unknown(products) {
            return turn.send(json!({"type": "error", "message": "Failed to subscribe", "reason": reason}));
        }
        self.subscribed = true;
        self.manners.subscribed(turn);
        self.send(EARLY, turn);
        let channel = |name: &&str| json!({"name": name, "product_ids": products});
        let channels: Vec<_> = channels.iter().map(channel).collect();
        if channels.iter().any(|channel| channel["name"] == "heartbeat") {
            self.manners.begin_heartbeats(turn);
        }
        turn.send(json!({"type": "subscriptions", "channels": channels}));
        self.send(HALF, turn);
    }

    fn send(&mut self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.records_to(end) {
            turn.send(record(n).value);
        }
    }
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
        let (products, channels) = (strings(&message["product_ids"]), strings(&message["channels"]));
        match message["type"].as_str() {
            Some("subscribe") if !products.is_empty() && !channels.is_empty() => {
                self.subscribe(&products, &channels, turn);
            }
            Some("unsubscribe") => turn.send(json!({"type": "subscriptions", "channels": []})),
            _ => turn.send(json!({"type": "error", "message": "Malformed JSON"})),
        }
    }

    fn published(&mut self, turn: &mut Turn<'_>) {
        if self.subscribed {
            self.send(RECORDS, turn);
        }
    }

    fn time(&mut self, timer: &'static str, turn: &mut Turn<'_>) {
        let Some(heartbeat) = self.manners.heartbeat(timer, turn) else { return };
        for product in PRODUCTS {
            turn.send(json!({
                "type": "heartbeat", "sequence": 90, "last_trade_id": 20, "product_id": product, "time": time_iso(0),
            }));
        }
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
    use crate::simulator::seconds;

    #[test]
    fn the_last_match_comes_before_the_acknowledgement() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/");
        stage.say(
            &mut line,
            json!({"type": "subscribe", "product_ids": PRODUCTS, "channels": ["matches", "heartbeat"]}),
        );
        let heard = line.json();
        assert_eq!((&heard[0]["type"], &heard[2]["type"]), (&json!("last_match"), &json!("subscriptions")));
        stage.pass(&mut line, seconds(2));
        assert_eq!(line.json()[0]["type"], "heartbeat");
        stage.is_over();
    }

    #[test]
    fn silence_and_an_unknown_product_are_refused() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = stage.connect("/");
        stage.say(&mut line, json!({"type": "subscribe", "product_ids": ["NO-SUCH"], "channels": ["matches"]}));
        assert_eq!(line.json()[0]["reason"], SIMULATOR.wrong[0].words);
        stage.pass(&mut line, seconds(5));
        assert!(matches!(line.end().1, Action::Close(1008, _)));
    }
}
