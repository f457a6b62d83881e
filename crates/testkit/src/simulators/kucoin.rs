//! KuCoin public market data, after github.com/Kucoin/kucoin-api-docs.

use serde_json::json;

use super::{EARLY, HALF, number, time_ms, turns};
use crate::simulator::limit::Limit;
use crate::simulator::{
    Accepted, Answer, Expected, HttpRequest, Peer, RECORDS, Simulator, Turn, World, Wrong, json, seconds,
};

const TOPICS: [&str; 2] = ["/market/level2:BTC-USDT", "/market/level2:ETH-USDT"];
const TOKEN: &str = "public";

pub(super) static SIMULATOR: Simulator = Simulator {
    feed: "kucoin",
    hosts: &["api.kucoin.com"],
    right: &[("websocket.subscription.topics", "/market/level2:BTC-USDT,/market/level2:ETH-USDT")],
    beats: &[],
    wrong: &[
        Wrong {
            what: "a topic that does not exist",
            set: &[("websocket.subscription.topics", "/market/nothing:BTC-USDT")],
            words: "topic /market/nothing:BTC-USDT is not found",
        },
        Wrong {
            what: "a token that was not given out",
            set: &[("websocket.url", "{{endpoint}}?token=invented&connectId={{uuid()}}")],
            words: "token is invalid",
        },
    ],
    record,
    http,
    connect,
};

fn record(n: u64) -> Expected {
    let (topic, time, number) = (turns(n, TOPICS), time_ms(n), number(n));
    let value = format!(
        r#"{{"type":"message","topic":"{topic}","subject":"trade.l2update","data":{{"changes":{{"asks":[["18906","0.00331","{number}"]],"bids":[]}},"sequenceEnd":{number},"sequenceStart":{number},"symbol":"BTC-USDT","time":{time}}}}}"#
    );
    Expected::new(value, topic, time)
}

fn http(request: &HttpRequest, world: &mut World) -> Answer {
    if request.path() != "/api/v1/bullet-public" || request.method() != "POST" {
        return Answer::json(404, json!({"code": "404000", "msg": "Url Not Found"}));
    }
    let token = world.issue(TOKEN);
    let interval = world.quick(seconds(18)).as_millis() as u64;
    let server = json!({
        "endpoint": format!("ws://{}/endpoint", world.host), "encrypt": false, "protocol": "websocket",
        "pingInterval": interval, "pingTimeout": 10_000,
    });
    Answer::json(200, json!({"code": "200000", "data": {"token": token, "instanceServers": [server]}}))
}

fn connect(request: &HttpRequest, world: &mut World) -> Result<Accepted, Answer> {
    if request.path() != "/endpoint" {
        return Err(Answer::text(404, "not found"));
    }
    let known = request.query("token").is_some_and(|token| world.issued.contains_key(&token));
    if !known {
        return Err(Answer::json(401, json!({"code": "401", "data": "token is invalid", "type": "error"})));
    }
    let id = request.query("connectId").unwrap_or_default();
    Accepted::by(KuCoin { id, limit: Limit::new(100, seconds(10)), topics: 0 })
}

struct KuCoin {
    id: String,
    /// A hundred messages in ten seconds.
    limit: Limit,
    topics: u64,
}

impl KuCoin {
    fn subscribe(&mut self, topic: &str, id: &str, turn: &mut Turn<'_>) {
        if !TOPICS.contains(&topic) {
            return turn.send(json!({
                "id": id, "type": "error", "code": 404, "data": format!("topic {topic} is not found"),
            }));
        }
        turn.send(json!({"id": id, "type": "ack"}));
        self.topics += 1;
        self.send(if self.topics == 1 { EARLY } else { HALF }, turn);
    }

    fn send(&mut self, end: u64, turn: &mut Turn<'_>) {
        for n in turn.numbers_to(end) {
            turn.send(record(n).value);
        }
    }

    /// The interval, and the time that the feed allows for a late ping.
    fn await_ping(&self, turn: &mut Turn<'_>) {
        let interval = turn.world.quick(seconds(18));
        turn.after(interval + seconds(10), "no ping");
    }
}

impl Peer for KuCoin {
    fn opened(&mut self, turn: &mut Turn<'_>) {
        turn.send(json!({"id": self.id, "type": "welcome"}));
        self.await_ping(turn);
    }

    fn text(&mut self, text: &str, turn: &mut Turn<'_>) {
        if !self.limit.allows(turn.now) {
            return turn.refuse(1008, "more than a hundred messages in ten seconds");
        }
        let message = json(text);
        let id = message["id"].as_str().unwrap_or_default();
        match message["type"].as_str() {
            _ if id.is_empty() => turn.send(json!({"type": "error", "code": 400, "data": "id is required"})),
            Some("ping") => {
                self.await_ping(turn);
                turn.send(json!({"id": id, "type": "pong"}));
                if self.topics > 1 {
                    self.send(RECORDS, turn);
                }
            }
            Some("subscribe") => self.subscribe(message["topic"].as_str().unwrap_or_default(), id, turn),
            Some("unsubscribe") => turn.send(json!({"id": id, "type": "ack"})),
            _ => turn.send(json!({"id": id, "type": "error", "code": 400, "data": "type is not supported"})),
        }
    }

    fn time(&mut self, _: &'static str, turn: &mut Turn<'_>) {
        turn.cut("no ping within the interval");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::Action;
    use crate::simulator::rehearsal::{Line, Rehearsal};

    fn open(stage: &mut Rehearsal) -> Line {
        let answer = json(&stage.http("POST /api/v1/bullet-public HTTP/1.1", &[], "").body);
        assert_eq!(answer["data"]["instanceServers"][0]["pingInterval"], 18_000);
        let token = answer["data"]["token"].as_str().unwrap();
        let mut line = stage.connect(&format!("/endpoint?token={token}&connectId=mine"));
        assert_eq!(line.json(), [json!({"id": "mine", "type": "welcome"})]);
        line
    }

    fn subscribe(topic: &str) -> serde_json::Value {
        json!({"id": "1", "type": "subscribe", "topic": topic, "response": true})
    }

    #[test]
    fn a_token_a_welcome_two_topics_and_a_ping() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let mut line = open(&mut stage);
        stage.say(&mut line, subscribe(TOPICS[0]));
        assert_eq!(line.json()[0], json!({"id": "1", "type": "ack"}));
        stage.say(&mut line, subscribe(TOPICS[1]));
        stage.pass(&mut line, seconds(18));
        stage.say(&mut line, json!({"id": "2", "type": "ping"}));
        line.texts();
        stage.is_over();
    }

    #[test]
    fn no_token_no_ping_and_no_such_topic_are_refused() {
        let mut stage = Rehearsal::of(&SIMULATOR);
        let refused = stage.connect_with("/endpoint?token=invented", &[]).err().unwrap();
        assert!(refused.status == 401 && refused.body.contains(SIMULATOR.wrong[1].words));
        assert_eq!(stage.http("GET /api/v1/bullet-public HTTP/1.1", &[], "").status, 404);
        let mut line = open(&mut stage);
        stage.say(&mut line, subscribe("/market/nothing:BTC-USDT"));
        assert!(line.texts()[0].contains(SIMULATOR.wrong[0].words));
        stage.pass(&mut line, seconds(29));
        assert_eq!(line.end().1, Action::Cut);
    }
}
