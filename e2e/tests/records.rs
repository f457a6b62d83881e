//! A record's topic, key, timestamp, headers and JSON get to Kafka, and alike from both hosts. The records come from a
//! hand-over file: it is emitted before the feed, and may hold everything that a record can have.

use std::time::Duration;

use connect_websocket_e2e::{Connect, Consumer, Kafka, Record, Rest, Worker, source_config, wait_until};
use connect_websocket_testkit::{Play, Script, Server};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(60);
const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";
const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";
const BYTE_ARRAY: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";
const RECEIVED: i64 = 1_700_000_000_123;

/// A feed that says nothing.
fn silent() -> Server {
    Server::start(Script::every(Play::accept())).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"))
}

/// A hand-over file of version 2 (the engine's `handover/format.rs` and `record/wire.rs`), with records from sequence 1 on.
struct File(Vec<u8>);

/// A record's parts and its value, as bytes of the file.
struct Content {
    kind: u8,
    parts: Vec<Vec<u8>>,
    value: Vec<u8>,
}

fn text(text: &str) -> Vec<u8> {
    bytes(text.as_bytes())
}

fn bytes(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

fn part(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind], content].concat()
}

fn count(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

fn header(name: &str, value: &str) -> Vec<u8> {
    part(5, &[text(name), text(value)].concat())
}

impl File {
    fn new(connector: &str, url: &str, records: Vec<Content>) -> File {
        let mut file = b"kcws-ho\x02".to_vec();
        [connector, url, "a-session"].iter().for_each(|name| file.extend(text(name)));
        file.extend(1_i64.to_be_bytes());
        let count = records.len() as u64;
        for (Content { kind, parts, value }, sequence) in records.into_iter().zip(1_i64..) {
            let parts = parts.concat();
            file.push(if parts.is_empty() { kind } else { kind | 0x80 });
            file.extend([sequence, RECEIVED].map(i64::to_be_bytes).concat());
            if !parts.is_empty() {
                file.extend(bytes(&parts));
            }
            file.extend(bytes(&value));
        }
        file.push(0);
        file.extend([count, 0, RECEIVED as u64].map(u64::to_be_bytes).concat());
        file.extend(crc32fast::hash(&file).to_be_bytes());
        File(file)
    }
}

/// `{"z":1,"a":[true,null,"€",1.5E10,"123456789012345678901234567"],"m":{}}`.
fn some_json() -> Vec<u8> {
    let list = [
        part(6, &count(5)),
        vec![2, 0],
        part(5, &text("€")),
        part(4, &1.5e10_f64.to_be_bytes()),
        part(5, &text("123456789012345678901234567")),
    ];
    let map = [
        part(7, &count(3)),
        text("z"),
        part(3, &1_i64.to_be_bytes()),
        text("a"),
        list.concat(),
        text("m"),
        part(7, &count(0)),
    ];
    map.concat()
}

/// `{"d":[…],"s":"a\"\u0001😀","n":null}`, with doubles of every form that Java has.
fn json_of_doubles() -> Vec<u8> {
    let doubles = [1e7, 1e-5, 100.0, 0.001, -0.0, 123_456.789, 1e30, -1.5e300];
    let list = doubles.map(|double: f64| part(4, &double.to_be_bytes())).concat();
    let map = [
        part(7, &count(3)),
        text("d"),
        part(6, &count(doubles.len() as u32)),
        list,
        text("s"),
        part(5, &text("a\"\u{1}😀")),
        text("n"),
        vec![0],
    ];
    map.concat()
}

/// What both hosts get. One of the topics is named by its records alone.
struct Scenario {
    feed: Server,
    prefix: &'static str,
}

impl Scenario {
    fn new(prefix: &'static str) -> Scenario {
        Scenario { feed: silent(), prefix }
    }

    fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    fn config(&self, topic: &str, more: &[(&str, &str)]) -> Value {
        let own = [
            // The working directory.
            ("websocket.handover.dir", "."),
            ("value.converter", JSON),
            ("value.converter.schemas.enable", "false"),
            ("topic.creation.default.partitions", "3"),
            ("topic.creation.default.replication.factor", "1"),
        ];
        source_config(self.feed.url(), &self.topic(topic), &[&own, more].concat())
    }

    /// Names and configurations of the connectors.
    fn connectors(&self) -> [(&'static str, Value); 4] {
        let envelopes =
            [("value.converter.schemas.enable", "true"), ("key.converter", JSON), ("header.converter", JSON)];
        [
            ("records", self.config("configured", &[])),
            ("bytes-keys", self.config("bytes", &[("key.converter", BYTE_ARRAY)])),
            ("envelopes", self.config("envelopes", &envelopes)),
            ("java-text", self.config("java-text", &[("value.converter", STRING)])),
        ]
    }

    /// Names and contents of the hand-over files.
    fn files(&self) -> [(String, Vec<u8>); 4] {
        let own = || vec![part(1, &text(&self.topic("own"))), part(2, &text("k€"))];
        let all_parts = vec![
            header("feed", "k"),
            own().concat(),
            header("feed", "€"),
            part(4, &1_600_000_000_001_i64.to_be_bytes()),
            header("empty", ""),
        ];
        let records = vec![
            Content { kind: 1, parts: vec![], value: b"plain".to_vec() },
            Content { kind: 1, parts: all_parts, value: b"own".to_vec() },
            Content { kind: 3, parts: own(), value: some_json() },
            Content { kind: 2, parts: own(), value: vec![0, 255] },
            Content { kind: 3, parts: own(), value: vec![0] },
        ];
        let bytes_keys = vec![Content { kind: 1, parts: vec![part(3, &bytes(&[0, 255]))], value: b"v".to_vec() }];
        let keyed = vec![part(2, &text("k")), header("h", "é")];
        let envelopes = vec![Content { kind: 3, parts: keyed, value: json_of_doubles() }];
        let java_text = vec![Content { kind: 3, parts: vec![], value: json_of_doubles() }];
        let files =
            [("records", records), ("bytes-keys", bytes_keys), ("envelopes", envelopes), ("java-text", java_text)];
        files.map(|(name, records)| (format!("{name}-0.handover"), File::new(name, self.feed.url(), records).0))
    }

    /// Checks what is in Kafka, and which topics are active.
    fn check(&self, kafka: &Kafka, rest: &Rest) {
        let consumer = Consumer::new(&kafka.bootstrap());
        let plain = &consumer.read_until(&self.topic("configured"), 1, WITHIN)[0];
        let expected = Record {
            key: None,
            value: Some(br#""plain""#.to_vec()),
            timestamp: Some(RECEIVED),
            headers: vec![],
            partition: plain.partition,
            offset: 0,
        };
        assert_eq!(*plain, expected);

        let own = consumer.read_until(&self.topic("own"), 4, WITHIN);
        let json = r#"{"z":1,"a":[true,null,"€",1.5E10,"123456789012345678901234567"],"m":{}}"#;
        let values = own.iter().map(|record| record.value.as_ref().map(|_| record.text())).collect::<Vec<_>>();
        let expected = [Some(r#""own""#), Some(json), Some(r#""AP8=""#), None];
        assert_eq!(values, expected.map(|value| value.map(str::to_owned)));
        assert!(own.iter().all(|record| record.key.as_deref() == Some("k€".as_bytes())));
        // By the key, as Java's producer does it.
        assert!(own.iter().all(|record| record.partition == PARTITION_OF_KEY), "{own:?}");
        assert_eq!(own[0].timestamp, Some(1_600_000_000_001));
        assert_eq!(own[1].timestamp, Some(RECEIVED));
        let headers = [("feed", "k"), ("feed", "€"), ("empty", "")];
        let headers = headers.map(|(name, value)| (name.to_owned(), Some(value.as_bytes().to_vec())));
        assert_eq!(own[0].headers, headers);
        assert!(own[1].headers.is_empty());
        // By the connector's rule: the broker's own has one.
        assert_eq!(kafka.partitions(&self.topic("own")), 3);

        let keyed = &consumer.read_until(&self.topic("bytes"), 1, WITHIN)[0];
        assert_eq!(keyed.key.as_deref(), Some(&[0, 255][..]));

        let envelope = &consumer.read_until(&self.topic("envelopes"), 1, WITHIN)[0];
        let text = |text: &str| format!(r#"{{"schema":{{"type":"string","optional":false}},"payload":"{text}"}}"#);
        assert_eq!(envelope.key.as_deref(), Some(text("k").as_bytes()));
        assert_eq!(envelope.headers, [("h".to_owned(), Some(text("é").into_bytes()))]);
        let payload =
            r#"{"d":[1.0E7,1.0E-5,100.0,0.001,-0.0,123456.789,1.0E30,-1.5E300],"s":"a\"\u0001\uD83D\uDE00","n":null}"#;
        assert_eq!(envelope.text(), format!(r#"{{"schema":null,"payload":{payload}}}"#));

        let java_text = &consumer.read_until(&self.topic("java-text"), 1, WITHIN)[0];
        let expected = "{d=[1.0E7, 1.0E-5, 100.0, 0.001, -0.0, 123456.789, 1.0E30, -1.5E300], s=a\"\u{1}😀, n=null}";
        assert_eq!(java_text.text(), expected);

        let mut topics = [self.topic("configured"), self.topic("own")];
        topics.sort();
        let expected = json!({ "records": { "topics": topics } });
        wait_until("both topics to be active", WITHIN, || {
            let mut active = rest.get("/connectors/records/topics").json();
            if let Some(topics) = active["records"]["topics"].as_array_mut() {
                topics.sort_by_key(ToString::to_string);
            }
            (active == expected).then_some(())
        });
    }
}

/// murmur2 of "k€" in three partitions.
const PARTITION_OF_KEY: i32 = 0;

#[test]
fn records_with_topic_key_timestamp_headers_and_json_get_to_kafka_from_the_worker() {
    let kafka = Kafka::shared();
    let scenario = Scenario::new("worker");
    let mut worker = Worker::builder(&kafka.bootstrap());
    for (name, config) in scenario.connectors() {
        worker = worker.connector(name, config);
    }
    for (name, content) in scenario.files() {
        worker = worker.file(&name, &content);
    }
    let worker = worker.start();
    scenario.check(kafka, worker.rest());
    assert!(!worker.log_contains("event=handover_refused"));
}

#[test]
fn records_with_topic_key_timestamp_headers_and_json_get_to_kafka_from_the_plugin() {
    let kafka = Kafka::shared();
    let scenario = Scenario::new("plugin");
    let mut connect = Connect::builder(&kafka.bootstrap());
    for (name, config) in scenario.connectors() {
        connect = connect.connector(name, config);
    }
    for (name, content) in scenario.files() {
        connect = connect.file(&name, &content);
    }
    let connect = connect.start();
    scenario.check(kafka, connect.rest());
}

#[test]
fn topic_of_a_record_that_cannot_be_created_fails_the_task_and_its_records_wait_for_the_next() {
    let kafka = Kafka::shared();
    let scenario = Scenario::new("refused");
    let [(file, content), ..] = scenario.files();
    let too_many = [
        ("topic.creation.groups", "own"),
        ("topic.creation.own.include", ".*-own"),
        ("topic.creation.own.replication.factor", "7"),
    ];
    let config = scenario.config("configured", &too_many);
    let mut worker = Worker::builder(&kafka.bootstrap()).connector("records", config).file(&file, &content).start();

    let trace = wait_until("the task to fail", WITHIN, || {
        let status = worker.rest().get("/connectors/records/status").json();
        Some(status["tasks"][0]["trace"].as_str()?.to_owned())
    });
    assert!(trace.contains("Task failed to create new topic refused-own: "), "{trace}");
    let consumer = Consumer::new(&kafka.bootstrap());
    consumer.wait_count(&scenario.topic("configured"), 1, WITHIN);
    assert_eq!(worker.terminate(), 0);

    kafka.create_topic(&scenario.topic("own"), 3);
    worker.start_again();
    let own = consumer.read_until(&scenario.topic("own"), 4, WITHIN);
    assert_eq!(own[0].key.as_deref(), Some("k€".as_bytes()));
    assert_eq!(consumer.count(&scenario.topic("configured")), 1);
}

#[test]
fn topic_key_timestamp_headers_and_json_of_a_feeds_messages_get_to_kafka() {
    let kafka = Kafka::shared();
    let message = |symbol: &str, id: u64| {
        format!(
            r#"{{"s":"{symbol}","id":1234567890123456789012345{id},"t":{},"side":"buy"}}"#,
            1_600_000_000_000 + id * 10
        )
    };
    let play = ["BTC", "ETH", "BTC"]
        .iter()
        .zip(10..)
        .fold(Play::accept(), |play, (symbol, id)| play.send_text(message(symbol, id)));
    let feed = Server::start(Script::every(play)).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"));
    let options = [
        ("value.converter", JSON),
        ("value.converter.schemas.enable", "false"),
        ("topic.creation.default.partitions", "2"),
        ("topic.creation.default.replication.factor", "1"),
        ("websocket.record.key", "{{/s}}"),
        ("websocket.record.timestamp", "{{/t}}"),
        ("websocket.record.header.side", "{{/side}}"),
        ("websocket.record.value", "json"),
    ];
    let config = source_config(feed.url(), "fields-{{/s}}", &options);
    let worker = Worker::builder(&kafka.bootstrap()).connector("fields", config).start();

    let consumer = Consumer::new(&kafka.bootstrap());
    for (symbol, ids) in [("BTC", &[10, 12][..]), ("ETH", &[11])] {
        let topic = format!("fields-{symbol}");
        let records = consumer.read_until(&topic, ids.len(), WITHIN);
        for (record, id) in records.iter().zip(ids) {
            assert_eq!(record.key.as_deref(), Some(symbol.as_bytes()));
            assert_eq!(record.timestamp, Some(1_600_000_000_000 + id * 10));
            assert_eq!(record.headers, [("side".to_owned(), Some(b"buy".to_vec()))]);
            let time = 1_600_000_000_000 + id * 10;
            let expected =
                format!(r#"{{"s":"{symbol}","id":"1234567890123456789012345{id}","t":{time},"side":"buy"}}"#);
            assert_eq!(record.text(), expected);
        }
        assert_eq!(kafka.partitions(&topic), 2);
    }
    wait_until("both topics to be active", WITHIN, || {
        let active = worker.rest().get("/connectors/fields/topics").json();
        (active == json!({ "fields": { "topics": ["fields-BTC", "fields-ETH"] } })).then_some(())
    });
}
