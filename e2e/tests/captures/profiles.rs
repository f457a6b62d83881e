//! Recordings through the profiles of their feeds, on the worker: count, values, keys and timestamps are those that a second reading of
//! the recording finds, which knows nothing of the connector.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;

use connect_websocket_e2e::{Consumer, Kafka, Record, Worker, source_config};
use connect_websocket_testkit::recordings::{Message, folder, said};
use connect_websocket_testkit::{Handshake, Play, Reject, Script, Server, Stats};
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::WITHIN;
use crate::recordings::recordings;

/// One recording on its way through a profile.
struct Replay {
    topic: &'static str,
    feed: &'static str,
    recording: &'static str,
    /// What a user sets, and what the recorded feed did otherwise than the profile's does today.
    options: Vec<(&'static str, String)>,
    /// So many messages come before the client has said anything.
    greeting: usize,
    /// What each of the client's first messages holds.
    asks: Vec<String>,
    /// Acknowledgements that the recording has not.
    acknowledged: Option<&'static str>,
    /// The records that a message is.
    reading: fn(&Value) -> Vec<Expected>,
}

/// What a second reading finds in a message.
struct Expected {
    /// With every digit of its numbers.
    value: Value,
    key: Option<String>,
    /// Milliseconds; `None`: when it was received.
    timestamp: Option<i64>,
}

impl Expected {
    fn new(value: &Value, key: &Value, timestamp: Option<i64>) -> Expected {
        Expected { value: value.clone(), key: key.as_str().map(str::to_owned), timestamp }
    }
}

/// The whole number that a value is, written as a number or as a text.
fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn elements(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn binance(message: &Value) -> Vec<Expected> {
    let data = &message["data"];
    let time = whole(&data["T"]).or_else(|| whole(&data["E"]));
    vec![Expected::new(message, &message["stream"], time)]
}

fn kraken(message: &Value) -> Vec<Expected> {
    let Some(list) = message.as_array() else { return Vec::new() };
    let changed = ["a", "b"].iter().find_map(|side| list[1][*side][0][2].as_str());
    // Seconds with six digits behind the point.
    let time = changed.and_then(|time| time.replace('.', "").parse::<i64>().ok()).map(|micros| micros / 1000);
    vec![Expected::new(message, &list[list.len() - 1], time)]
}

fn htx(message: &Value) -> Vec<Expected> {
    let trades = elements(&message["tick"]["data"]);
    trades.map(|trade| Expected::new(trade, &message["ch"], whole(&trade["ts"]))).collect()
}

fn okx(message: &Value) -> Vec<Expected> {
    let data = elements(&message["data"]);
    data.map(|entry| Expected::new(entry, &message["arg"]["instId"], whole(&entry["ts"]))).collect()
}

fn kucoin(message: &Value) -> Vec<Expected> {
    let is_wanted = ["trade.ticker", "trade.l2update"].map(Value::from).contains(&message["subject"]);
    let expected = || Expected::new(message, &message["topic"], whole(&message["data"]["time"]));
    is_wanted.then(expected).into_iter().collect()
}

fn kucoin_trades(message: &Value) -> Vec<Expected> {
    let nanos = whole(&message["data"]["time"]).filter(|_| message["subject"] == "trade.l3match");
    nanos.map(|nanos| Expected::new(message, &message["topic"], Some(nanos / 1_000_000))).into_iter().collect()
}

fn jetstream(message: &Value) -> Vec<Expected> {
    vec![Expected::new(message, &message["did"], whole(&message["time_us"]).map(|micros| micros / 1000))]
}

/// A list of topics, as one option holds it.
fn list<'a>(topics: impl Iterator<Item = &'a Value>) -> String {
    let topics = topics.map(|topic| topic.as_str().map_or_else(|| topic.to_string(), |text| text.replace(',', "\\,")));
    topics.collect::<Vec<_>>().join(",")
}

fn replays(folder: &Path) -> Vec<Replay> {
    let topics = |topics: String| ("websocket.subscription.topics", topics);
    let set = |key: &'static str, value: &str| (key, value.to_owned());
    let ask = |asks: &[&str]| asks.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let (kraken_said, okx_said) = (said(folder, "KRAKEN.ws.50.0"), said(folder, "OKX.ws.1.0"));
    let htx_said = said(folder, "HUOBI.ws.44.0");
    let htx_topics: Vec<&Value> =
        htx_said.iter().map(|message| &message["sub"]).filter(|sub| sub.is_string()).collect();
    let kucoin_said = said(folder, "KUCOIN.ws.1.0");
    let kucoin_topics: Vec<&Value> = kucoin_said.iter().map(|message| &message["topic"]).collect();
    let kucoin_replay = |topic, more: Vec<(&'static str, String)>, reading| Replay {
        topic,
        feed: "kucoin",
        recording: "KUCOIN.ws.1.0",
        options: [vec![topics(list(kucoin_topics.iter().copied()))], more].concat(),
        greeting: 1,
        asks: kucoin_topics.iter().map(|topic| topic.to_string()).collect(),
        acknowledged: None,
        reading,
    };
    let plain = |topic, feed, recording, reading| Replay {
        topic,
        feed,
        recording,
        options: Vec::new(),
        greeting: 0,
        asks: Vec::new(),
        acknowledged: None,
        reading,
    };
    vec![
        Replay {
            options: vec![topics("nknusdt@depth@100ms,blzeth@depth@100ms".to_owned())],
            asks: ask(&["SUBSCRIBE"]),
            // The streams stood in the recorded client's URL.
            acknowledged: Some(r#"{"result":null,"id":1}"#),
            ..plain("binance-recorded", "binance", "BINANCE.ws.1.0", binance)
        },
        // Recorded from version 1, whose messages are arrays.
        Replay {
            options: vec![
                topics(list(elements(&kraken_said[0]["pair"]))),
                set(
                    "websocket.subscription.message",
                    r#"{"event":"subscribe","pair":[{{topics}}],"subscription":{"name":"book","depth":1000}}"#,
                ),
                set("websocket.session.subscribe.expect", "/event == 'subscriptionStatus' && /status == 'subscribed'"),
                set("websocket.session.subscribe.fail", "/event == 'subscriptionStatus' && /status == 'error'"),
                set("websocket.session.quiet.on", "/event in ['heartbeat', 'systemStatus']"),
                set("websocket.record.pointer", ""),
                set("websocket.record.key", "{{/-1}}"),
                set("websocket.record.timestamp", "{{/1/a/0/2 ?? /1/b/0/2}}"),
                set("websocket.record.timestamp.unit", "s"),
                set("websocket.record.missing", "default"),
            ],
            greeting: 1,
            asks: ask(&[r#""pair":["WAVES/EUR","#]),
            ..plain("kraken-recorded", "kraken", "KRAKEN.ws.50.0", kraken)
        },
        Replay {
            options: vec![topics(list(htx_topics.iter().copied()))],
            asks: htx_topics.iter().map(|topic| topic.to_string()).collect(),
            ..plain("htx-recorded", "htx", "HUOBI.ws.44.0", htx)
        },
        Replay {
            options: vec![
                topics(list(elements(&okx_said[2]["args"]))),
                set("websocket.subscription.item", "{{topic}}"),
            ],
            asks: ask(&[r#""channel":"books""#]),
            ..plain("okx-recorded", "okx", "OKX.ws.1.0", okx)
        },
        kucoin_replay(
            "kucoin-recorded",
            vec![set("websocket.record.filter", "/subject in ['trade.ticker', 'trade.l2update']")],
            kucoin,
        ),
        kucoin_replay(
            "kucoin-trades-recorded",
            vec![
                set("websocket.record.filter", "/subject == 'trade.l3match'"),
                set("websocket.record.timestamp.unit", "ns"),
            ],
            kucoin_trades,
        ),
        plain("jetstream-recorded", "jetstream-v1", "expected_v1.jsonl", jetstream),
        plain("jetstream-kinds-recorded", "jetstream-v1", "golden_v1.jsonl", jetstream),
    ]
}

impl Replay {
    /// What the server does: a token by HTTP if the profile asks for one, then the recording.
    fn serve(&self, messages: &[Message]) -> Server {
        let (greeting, rest) = messages.split_at(self.greeting);
        let play = greeting.iter().fold(Play::accept(), |play, message| play.step(message.step()));
        let play = self.asks.iter().fold(play, |play, ask| play.expect_text(ask));
        let play = self.acknowledged.iter().fold(play, |play, text| play.send_text(*text));
        let play = rest.iter().fold(play, |play, message| play.step(message.step()));
        let server = Server::start(Script::every(play.clone())).unwrap_or_else(|e| panic!("no feed: {e}"));
        if self.feed == "kucoin" {
            let instance = json!({"endpoint": server.url(), "pingInterval": 18_000});
            let data = json!({"token": "t0ken-recorded", "instanceServers": [instance]});
            let body = json!({"code": "200000", "data": data}).to_string();
            let token = Play::handshake(Handshake::Reject(Reject { status: 200, body, ..Reject::default() }));
            server.set_script(Script::plays([token, play]));
        }
        server
    }

    /// Serves the recording and creates the connector that reads it.
    fn start(&self, topic: &str, worker: &Worker, messages: &[Message]) -> Server {
        let server = self.serve(messages);
        let mut options = vec![("websocket.feed", self.feed)];
        options.extend(self.options.iter().map(|(key, value)| (*key, value.as_str())));
        let token = format!("POST http://{}/api/v1/bullet-public", server.addr());
        let mut config = source_config(server.url(), topic, &options);
        if self.feed == "kucoin"
            && let Some(config) = config.as_object_mut()
        {
            config.remove("websocket.url");
            config.insert("websocket.session.token.http".to_owned(), token.into());
        }
        worker.put_connector(topic, &config);
        server
    }
}

/// The text of a message, with what the second reading has for gzip.
fn text(message: &Message) -> String {
    match message {
        Message::Text(text) => text.clone(),
        Message::Binary(bytes) => {
            let mut text = String::new();
            GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap_or_else(|e| panic!("no gzip: {e}"));
            text
        }
    }
}

/// Compares a record with what the second reading found in this message.
fn assert_record(what: &str, record: &Record, expected: &Expected, message: &str) {
    let value = record.text();
    assert!(message.contains(&value), "{what} is no piece of its message: {value}");
    let read: Value = serde_json::from_str(&value).unwrap_or_else(|e| panic!("{what} is no JSON: {e}"));
    assert_eq!(read, expected.value, "the value of {what}");
    assert_eq!(record.key.as_deref(), expected.key.as_deref().map(str::as_bytes), "the key of {what}");
    if let Some(timestamp) = expected.timestamp {
        assert_eq!(record.timestamp, Some(timestamp), "the timestamp of {what}");
    }
}

#[test]
fn recorded_feeds_arrive_as_their_profiles_promise() {
    let Some(folder) = folder() else { return };
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    let worker = Worker::builder(&kafka.bootstrap()).start();
    let recordings: HashMap<String, Vec<Message>> = recordings(&folder).into_iter().collect();

    let replays = replays(&folder);
    let start = |replay: &Replay| replay.start(replay.topic, &worker, &recordings[replay.recording]);
    let servers: Vec<Server> = replays.iter().map(start).collect();
    for (replay, server) in replays.iter().zip(&servers) {
        let topic = replay.topic;
        let mut expected = Vec::new();
        for message in recordings[replay.recording].iter().map(text) {
            let value: Value = serde_json::from_str(&message).unwrap_or_else(|e| panic!("{message}: {e}"));
            expected.extend((replay.reading)(&value).into_iter().map(|record| (record, message.clone())));
        }
        assert!(!expected.is_empty(), "{topic}");
        let records = consumer.read_until(topic, expected.len(), WITHIN);
        for (at, (record, (expected, message))) in records.iter().zip(&expected).enumerate() {
            assert_record(&format!("record {at} of {topic}"), record, expected, message);
        }
        assert_eq!(consumer.count(topic), expected.len() as u64, "{topic}");
        let stats = server.stats();
        let upgraded = stats.connections.iter().filter(|connection| connection.status == Some(101)).count();
        assert_eq!(upgraded, 1, "{topic} was interrupted");
    }
}

#[test]
fn pings_of_a_recording_are_answered_as_its_client_did() {
    let Some(folder) = folder() else { return };
    let worker = Worker::builder(&Kafka::shared().bootstrap()).start();
    let replay = replays(&folder).into_iter().find(|replay| replay.feed == "htx");
    let replay = replay.unwrap_or_else(|| panic!("there is no recording of HTX"));
    let recordings: HashMap<String, Vec<Message>> = recordings(&folder).into_iter().collect();
    let server = replay.start("htx-pings", &worker, &recordings[replay.recording]);

    let pongs = said(&folder, replay.recording).into_iter().filter(|message| message["pong"].is_number());
    let pongs: Vec<String> = pongs.map(|message| message.to_string()).collect();
    assert_eq!(pongs.len(), 6);
    let said = |stats: &Stats| stats.connections.first().map(|connection| connection.texts.clone()).unwrap_or_default();
    let all = |stats: &Stats| said(stats).iter().filter(|text| pongs.contains(text)).count() == pongs.len();
    server.wait_until(all, WITHIN).unwrap_or_else(|e| panic!("{e}"));
}
