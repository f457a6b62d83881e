//! Records that Kafka or a converter refuses, topics that are not there, and what the converters write.

use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use connect_websocket_e2e::{Consumer, Kafka, Record, Worker, source_config, wait_until};
use connect_websocket_testkit::{Messages, Play, Script, Server, Step};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(60);
const CONNECTOR: &str = "feed";
const SKIPPED: &str = "connect_websocket_records_skipped_total";
const REFUSED: &str = "kafka_connect_task_error_metrics_total_record_failures";
const BYTE_ARRAY: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";
const BINARY: [(&str, &str); 2] = [("value.converter", BYTE_ARRAY), ("websocket.frame.binary", "bytes")];
const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";

/// A broker that creates no topics by itself.
fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| Kafka::builder().property("auto.create.topics.enable", "false").start())
}

fn serve(play: Play) -> Server {
    Server::start(Script::every(play)).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"))
}

/// A worker with one connector from `feed` to `topic`.
fn worker(feed: &Server, topic: &str, more: &[(&str, &str)]) -> Worker {
    Worker::builder(&kafka().bootstrap()).connector(CONNECTOR, source_config(feed.url(), topic, more)).start()
}

fn consumer() -> Consumer {
    Consumer::new(&kafka().bootstrap())
}

fn wait_failed(worker: &Worker) -> String {
    wait_until("the task to be FAILED", WITHIN, || {
        let status = worker.rest().get(&format!("/connectors/{CONNECTOR}/status")).json();
        let task = &status["tasks"][0];
        (task["state"] == "FAILED").then(|| task["trace"].as_str().unwrap_or_default().to_owned())
    })
}

fn metric(worker: &Worker, name: &str) -> Option<f64> {
    worker.metric(name, &[("connector", CONNECTOR)])
}

/// 100 small messages, one with the word `confidential` that is too large for the topic, 100 small ones.
fn with_a_large_one() -> Play {
    let large = json!({"n": 1_000_000, "text": "confidential".repeat(400)}).to_string();
    Play::accept().send(Messages::count(100)).send_text(large).send(Messages::count(100))
}

#[test]
fn record_larger_than_the_topic_allows_fails_the_task_with_the_reason() {
    kafka().create_topic_with("small-strict", 1, &[("max.message.bytes", "4000")]);
    let feed = serve(with_a_large_one());
    let worker = worker(&feed, "small-strict", &[("errors.log.enable", "true")]);

    let trace = wait_failed(&worker);
    assert!(trace.contains("Tolerance exceeded") && trace.contains("MessageSizeTooLarge"), "{trace}");
    // What came before it was kept.
    let numbers = consumer().numbers_now("small-strict", WITHIN);
    numbers.assert_contains_all(0..=99);
    assert_eq!(metric(&worker, REFUSED), Some(1.0));
    assert!(!worker.log_contains("confidential"), "the log shows a record's content");
}

#[test]
fn record_larger_than_the_topic_allows_is_skipped_and_counted_if_errors_are_tolerated() {
    for (topic, shown) in [("small-tolerant", false), ("small-shown", true)] {
        kafka().create_topic_with(topic, 1, &[("max.message.bytes", "4000")]);
        let feed = serve(with_a_large_one());
        let options = [
            ("errors.tolerance", "all"),
            ("errors.log.enable", "true"),
            ("errors.log.include.messages", if shown { "true" } else { "false" }),
        ];
        let worker = worker(&feed, topic, &options);

        consumer().numbers_until(topic, 200, WITHIN).assert_complete(0..=199);
        wait_until("the record to be counted", WITHIN, || (metric(&worker, SKIPPED) == Some(1.0)).then_some(()));
        assert_eq!(metric(&worker, REFUSED), Some(1.0));
        worker.wait_log("Error encountered in task feed-0. Executing stage 'KAFKA_PRODUCE'", WITHIN);
        assert_eq!(worker.log_contains("confidential"), shown, "errors.log.include.messages={shown}");
        worker.wait_state(CONNECTOR, "RUNNING");
        assert_eq!(consumer().count(topic), 200);
    }
}

#[test]
fn record_larger_than_the_client_allows_is_skipped_and_counted_if_errors_are_tolerated() {
    kafka().create_topic_with("request-size", 1, &[]);
    let feed = serve(with_a_large_one());
    let options = [("errors.tolerance", "all"), ("producer.override.max.request.size", "4000")];
    let worker = worker(&feed, "request-size", &options);

    consumer().numbers_until("request-size", 200, WITHIN).assert_complete(0..=199);
    wait_until("the record to be counted", WITHIN, || (metric(&worker, SKIPPED) == Some(1.0)).then_some(()));
}

#[test]
fn record_that_the_client_allows_passes_however_small_its_buffer_is() {
    kafka().create_topic_with("large", 1, &[("max.message.bytes", "20000000")]);
    let large = "large".repeat(2_000_000);
    let feed = serve(Play::accept().send_text("before").send_text(large.as_str()).send_text("after"));
    let options = [("producer.override.max.request.size", "20000000"), ("producer.override.buffer.memory", "1000000")];
    let _worker = worker(&feed, "large", &options);

    let values: Vec<_> = consumer().read_until("large", 3, WITHIN).iter().map(Record::text).collect();
    assert!(values == ["before", large.as_str(), "after"], "lengths {:?}", values.iter().map(String::len));
}

#[test]
fn burst_of_small_records_passes_a_topic_whose_limit_is_below_the_batch_size() {
    kafka().create_topic_with("small-burst", 1, &[("max.message.bytes", "4000")]);
    let feed = serve(Play::accept().send(Messages::count(20_000).size(300)));
    let worker = worker(&feed, "small-burst", &[]);

    consumer().numbers_until("small-burst", 20_000, WITHIN).assert_complete(0..=19_999);
    assert_eq!(metric(&worker, REFUSED), Some(0.0));
}

/// Kafka refuses a batch as a whole. The client does not know the limit of a topic that is not there when it starts.
#[test]
fn only_the_record_that_is_meant_is_skipped_of_a_batch_that_kafka_refuses() {
    let kafka = Kafka::builder().property("message.max.bytes", "4000").start();
    let large = json!({"n": 1_000_000, "text": "x".repeat(5_000)}).to_string();
    let play = Play::accept().send(Messages::count(3_000)).send_text(large).send(Messages::count(3_000));
    let feed = serve(play);
    let config = source_config(feed.url(), "unknown-limit", &[("errors.tolerance", "all")]);
    let worker = Worker::builder(&kafka.bootstrap()).connector(CONNECTOR, config).start();
    Consumer::new(&kafka.bootstrap()).numbers_until("unknown-limit", 6_000, WITHIN).assert_complete(0..=5_999);
    wait_until("the record to be counted", WITHIN, || (metric(&worker, SKIPPED) == Some(1.0)).then_some(()));
}

#[test]
fn records_that_a_compacted_topic_refuses_are_each_skipped_and_counted() {
    kafka().create_topic_with("compacted", 1, &[("cleanup.policy", "compact")]);
    let feed = serve(Play::accept().send(Messages::count(40)));
    let worker = worker(&feed, "compacted", &[("errors.tolerance", "all")]);
    wait_until("the records to be counted", WITHIN, || (metric(&worker, SKIPPED) == Some(40.0)).then_some(()));
    worker.wait_state(CONNECTOR, "RUNNING");
    assert_eq!(consumer().count("compacted"), 0);
}

/// As when this machine's clock is wrong for a while: Kafka takes no timestamp, and then it does.
#[test]
fn refused_timestamps_are_waited_out_and_nothing_is_lost() {
    kafka().create_topic_with("clock", 1, &[("message.timestamp.before.max.ms", "0")]);
    let feed = serve(Play::accept().send(Messages::forever().rate(500.0)));
    let mut worker = worker(&feed, "clock", &[]);
    worker.wait_log("event=timestamp_refused", WITHIN);
    worker.wait_state(CONNECTOR, "RUNNING");
    kafka().set_topic_setting("clock", "message.timestamp.before.max.ms", "9223372036854775807");
    let seen = consumer().count("clock");
    consumer().wait_count("clock", seen + 3_000, WITHIN);
    assert_eq!(worker.terminate(), 0);
    let sent = feed.wait_until(|stats| stats.open == 0, WITHIN).unwrap_or_else(|e| panic!("{e}")).next_n;
    consumer().numbers_now("clock", WITHIN).assert_complete(0..=sent - 1);
}

#[test]
fn topic_is_created_with_partitions_and_settings() {
    let feed = serve(Play::accept().send(Messages::count(500)));
    let options = [
        ("topic.creation.default.replication.factor", "1"),
        ("topic.creation.default.partitions", "1"),
        ("topic.creation.groups", "wide"),
        ("topic.creation.wide.include", "created-.*"),
        ("topic.creation.wide.partitions", "3"),
        ("topic.creation.wide.retention.ms", "123456789"),
        ("topic.creation.wide.cleanup.policy", "delete"),
    ];
    let worker = worker(&feed, "created-wide", &options);

    let numbers = consumer().numbers_until("created-wide", 500, WITHIN);
    assert_eq!(numbers.check(0..=499).missing, 0);
    assert_eq!(kafka().partitions("created-wide"), 3);
    assert_eq!(kafka().topic_setting("created-wide", "retention.ms").as_deref(), Some("123456789"));
    worker.wait_log("event=topic_created topic=created-wide partitions=3", WITHIN);

    let topics = worker.rest().get(&format!("/connectors/{CONNECTOR}/topics")).json();
    assert_eq!(topics, json!({CONNECTOR: {"topics": ["created-wide"]}}));
}

#[test]
fn topic_that_cannot_be_created_fails_the_task_with_the_reason() {
    let feed = serve(Play::accept().send(Messages::count(500)));
    let options = [("topic.creation.default.replication.factor", "3"), ("topic.creation.default.partitions", "1")];
    let trace = wait_failed(&worker(&feed, "three-replicas", &options));
    assert!(trace.contains("three-replicas") && trace.contains("InvalidReplicationFactor"), "{trace}");
    assert_eq!(feed.stats().sent(), 0, "nothing is received for a topic that is not there");
}

/// librdkafka allows a new topic half a minute to become known; both connectors wait for it at the same time.
#[test]
fn missing_topic_fails_the_task_with_the_reason_and_a_restart_goes_on_once_it_is_there() {
    let cases = [("missing", "none"), ("missing-tolerant", "all")];
    let running = cases.map(|(topic, tolerance)| {
        let feed = serve(Play::accept().send(Messages::count(100)));
        let worker = worker(&feed, topic, &[("errors.tolerance", tolerance)]);
        (topic, feed, worker)
    });
    for (topic, feed, worker) in running {
        let trace = wait_failed(&worker);
        assert!(trace.contains(&format!("topic {topic}")) && trace.contains("topic.creation"), "{trace}");
        assert_eq!(metric(&worker, SKIPPED), Some(0.0), "a missing topic is no bad record");

        kafka().create_topic(topic, 1);
        assert_eq!(worker.rest().post(&format!("/connectors/{CONNECTOR}/tasks/0/restart")).status, 204);
        let sent = feed.stats().next_n;
        consumer().numbers_until_number(topic, sent + 99, WITHIN);
    }
}

/// Binary messages that are no text.
fn odd_payloads() -> (Vec<Vec<u8>>, Play) {
    let payloads: Vec<Vec<u8>> = vec![(0..=255).collect(), vec![0], b"\xff\xfe\xc3\x28".to_vec(), vec![b'x'; 70_000]];
    let play = payloads
        .iter()
        .fold(Play::accept(), |play, payload| play.step(Step::SendBinary { base64: BASE64.encode(payload) }));
    (payloads, play)
}

#[test]
fn byte_array_converter_writes_binary_messages_byte_for_byte() {
    kafka().create_topic("bytes", 1);
    let (payloads, play) = odd_payloads();
    let feed = serve(play);
    let _worker = worker(&feed, "bytes", &BINARY);

    let records = consumer().read_until("bytes", payloads.len(), WITHIN);
    let values: Vec<Vec<u8>> = records.into_iter().filter_map(|record| record.value).collect();
    assert_eq!(values, payloads);
}

#[test]
fn byte_array_converter_refuses_text_with_a_remedy() {
    kafka().create_topic("text-as-bytes", 1);
    let feed = serve(Play::accept().send_text("hello"));
    let trace = wait_failed(&worker(&feed, "text-as-bytes", &BINARY));
    assert!(trace.contains("VALUE_CONVERTER") && trace.contains("StringConverter"), "{trace}");
}

#[test]
fn string_converter_writes_binary_messages_as_they_are() {
    kafka().create_topic("binary-as-text", 1);
    let (payloads, play) = odd_payloads();
    let feed = serve(play);
    let _worker = worker(&feed, "binary-as-text", &[]);
    let records = consumer().read_until("binary-as-text", payloads.len(), WITHIN);
    assert_eq!(records.into_iter().filter_map(|record| record.value).collect::<Vec<_>>(), payloads);
}

#[test]
fn binary_messages_become_base64_text_or_nothing_as_asked_for() {
    for (kind, expected) in [("base64", Some("AP8=")), ("text", Some("\0\u{fffd}")), ("skip", None)] {
        let topic = format!("binary-{kind}");
        kafka().create_topic(&topic, 1);
        let binary = Step::SendBinary { base64: BASE64.encode(b"\x00\xff") };
        let feed = serve(Play::accept().send_text("before").step(binary).send_text("after"));
        let worker = worker(&feed, &topic, &[("websocket.frame.binary", kind)]);

        let expected: Vec<&str> = [Some("before"), expected, Some("after")].into_iter().flatten().collect();
        let records = consumer().read_until(&topic, expected.len(), WITHIN);
        assert_eq!(records.iter().map(|record| record.text()).collect::<Vec<_>>(), expected, "{kind}");
        let skipped = worker.metric("connect_websocket_messages_dropped_total", &[("cause", "binary_skipped")]);
        assert_eq!(skipped, Some(if kind == "skip" { 1.0 } else { 0.0 }), "{kind}");
    }
}

#[test]
fn json_converter_writes_schemas_unless_they_are_disabled() {
    for topic in ["json-schemas", "json-bare"] {
        kafka().create_topic(topic, 1);
    }
    let text = "{\"price\":\"1.5\",\"name\":\"gr\u{fc}n \u{1f600}\"}\n";
    let play = || Play::accept().send_text(text).step(Step::SendBinary { base64: BASE64.encode(b"\x00\xff") });
    let values = |topic: &str| -> Vec<Value> {
        let records = consumer().read_until(topic, 2, WITHIN);
        let parse = |text: String| serde_json::from_str(&text).unwrap_or_else(|e| panic!("not JSON ({e}): {text}"));
        records.iter().map(|record| parse(record.text())).collect()
    };

    let feed = serve(play());
    let _with = worker(&feed, "json-schemas", &[("value.converter", JSON)]);
    let envelope = |kind: &str, payload: &str| json!({"schema": {"type": kind, "optional": false}, "payload": payload});
    assert_eq!(values("json-schemas"), [envelope("string", text), envelope("bytes", "AP8=")]);

    let feed = serve(play());
    let bare = [("value.converter", JSON), ("value.converter.schemas.enable", "false")];
    let _without = worker(&feed, "json-bare", &bare);
    assert_eq!(values("json-bare"), [json!(text), json!("AP8=")]);
}
