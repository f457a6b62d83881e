//! The harness itself: a real broker, and the checks that the other tests rely on.

use std::time::Duration;

use connect_websocket_e2e::{Connect, Consumer, Kafka, Numbers, Secured};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};
use serde_json::json;

const WITHIN: Duration = Duration::from_secs(60);

fn producer(config: &ClientConfig) -> BaseProducer {
    config.clone().set("enable.idempotence", "true").create().unwrap_or_else(|e| panic!("no producer: {e}"))
}

fn plain(kafka: &Kafka) -> ClientConfig {
    ClientConfig::new().set("bootstrap.servers", kafka.bootstrap()).clone()
}

/// Produces the messages `{"n":…}` in order and waits until all are acknowledged.
fn produce(producer: &BaseProducer<DefaultProducerContext>, topic: &str, numbers: impl Iterator<Item = u64>) {
    for n in numbers {
        let value = format!(r#"{{"n":{n}}}"#);
        let key = n.to_string();
        let mut record = BaseRecord::to(topic).key(&key).payload(&value);
        while let Err((error, again)) = producer.send(record) {
            assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
            producer.poll(Duration::from_millis(10));
            record = again;
        }
    }
    producer.flush(WITHIN).unwrap_or_else(|e| panic!("not everything was acknowledged: {e}"));
}

#[test]
fn ten_thousand_messages_go_in_and_out() {
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    produce(&producer(&plain(kafka)), "in-and-out", 0..10_000);

    consumer.numbers_until("in-and-out", 10_000, WITHIN).assert_complete(0..=9_999);
    consumer.numbers_now("in-and-out", WITHIN).assert_complete(0..=9_999);
    assert_eq!(consumer.count("in-and-out"), 10_000);
    let first = &consumer.read_until("in-and-out", 1, WITHIN)[0];
    assert_eq!((first.key.as_deref(), first.text().as_str()), (Some(b"0".as_slice()), r#"{"n":0}"#));
    assert_eq!((first.partition, first.offset, first.timestamp.is_some()), (0, 0, true));
}

#[test]
fn lost_doubled_and_late_messages_are_found_in_a_topic() {
    let kafka = Kafka::shared();
    let faulty = [0, 1, 3, 4, 4, 6, 5, 7];
    produce(&producer(&plain(kafka)), "faulty", faulty.into_iter());

    let numbers: Numbers = Consumer::new(&kafka.bootstrap()).numbers_now("faulty", WITHIN);
    let report = numbers.check(0..=7);
    assert_eq!((report.missing, report.duplicated, report.out_of_order, report.received), (1, 1, 1, 8), "{report}");
}

#[test]
fn broker_stops_and_starts_again_on_the_same_data() {
    let mut kafka = Kafka::start();
    let producer = producer(&plain(&kafka));
    let consumer = Consumer::new(&kafka.bootstrap());
    produce(&producer, "kept", 0..100);

    kafka.stop();
    kafka.start_again();
    produce(&producer, "kept", 100..200);
    kafka.kill();
    kafka.start_again();
    produce(&producer, "kept", 200..300);

    consumer.numbers_until_number("kept", 299, WITHIN).assert_complete(0..=299);
}

#[test]
fn suspended_broker_acknowledges_nothing_until_it_resumes() {
    let kafka = Kafka::start();
    let producer = producer(&plain(&kafka));
    produce(&producer, "slow", 0..10);

    kafka.suspend();
    producer.send(BaseRecord::<(), _>::to("slow").payload(r#"{"n":10}"#)).unwrap_or_else(|(e, _)| panic!("{e}"));
    let flushed = producer.flush(Duration::from_secs(1));
    kafka.resume();

    assert!(flushed.is_err(), "a suspended broker acknowledged a message");
    producer.flush(WITHIN).unwrap_or_else(|e| panic!("the resumed broker acknowledges nothing: {e}"));
    Consumer::new(&kafka.bootstrap()).numbers_now("slow", WITHIN).assert_complete(0..=10);
}

#[test]
fn extra_broker_settings_are_in_force() {
    let kafka =
        Kafka::builder().property("auto.create.topics.enable", "false").property("message.max.bytes", "2000").start();
    kafka.create_topic("small", 3);
    let consumer = Consumer::new(&kafka.bootstrap());
    let mut config = plain(&kafka);
    // By default a topic has half a minute to become known.
    config.set("topic.metadata.propagation.max.ms", "1000").set("message.timeout.ms", "5000");
    let producer = producer(&config);
    produce(&producer, "small", 0..30);
    assert_eq!(consumer.read_until("small", 30, WITHIN).iter().map(|record| record.partition).max(), Some(2));

    let large = "x".repeat(5_000);
    producer.send(BaseRecord::<(), _>::to("small").payload(&large)).unwrap_or_else(|(e, _)| panic!("{e}"));
    producer.send(BaseRecord::<(), _>::to("absent").payload("x")).unwrap_or_else(|(e, _)| panic!("{e}"));
    // Neither can ever be acknowledged: flush returns once both have failed.
    producer.flush(WITHIN).ok();
    assert_eq!((consumer.count("small"), consumer.count("absent")), (30, 0));
}

#[test]
fn secured_listeners_admit_those_who_know_the_secrets() {
    let kafka = Kafka::secured().start();
    let security = kafka.security();
    let tls = |bootstrap: &str, protocol: &str| {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("security.protocol", protocol)
            .set("ssl.ca.location", security.ca.display().to_string());
        config
    };
    let sasl = |mut config: ClientConfig, mechanism: &str, password: &str| {
        config.set("sasl.mechanism", mechanism).set("sasl.username", Secured::USER).set("sasl.password", password);
        config
    };
    let mut mutual = tls(&security.ssl, "ssl");
    mutual.set("ssl.certificate.location", security.client.display().to_string());
    mutual.set("ssl.key.location", security.client.display().to_string());

    produce(&producer(&tls(&security.ssl, "ssl")), "secured", 0..1);
    produce(&producer(&mutual), "secured", 1..2);
    for (n, mechanism) in (2..).zip(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]) {
        produce(
            &producer(&sasl(tls(&security.sasl_ssl, "sasl_ssl"), mechanism, Secured::PASSWORD)),
            "secured",
            n..n + 1,
        );
    }
    produce(
        &producer(&sasl(tls(&security.sasl_plaintext, "sasl_plaintext"), "PLAIN", Secured::PASSWORD)),
        "secured",
        5..6,
    );

    let mut wrong = sasl(tls(&security.sasl_ssl, "sasl_ssl"), "SCRAM-SHA-256", "guess");
    let wrong = producer(wrong.set("message.timeout.ms", "2000").set("log_level", "0"));
    wrong.send(BaseRecord::<(), _>::to("secured").payload(r#"{"n":6}"#)).unwrap_or_else(|(e, _)| panic!("{e}"));
    wrong.flush(Duration::from_secs(5)).ok();
    Consumer::new(&kafka.bootstrap()).numbers_now("secured", WITHIN).assert_complete(0..=5);
}

#[test]
fn apache_connect_starts_and_lists_its_connectors() {
    let connect = Connect::builder(&Kafka::shared().bootstrap()).with_sample_source().start();
    assert_eq!(connect.rest().get("/").json()["version"], "4.3.1");
    let created = connect.rest().post_json(
        "/connectors",
        &json!({"name": "v", "initial_state": "STOPPED", "config": Connect::sample_source()}),
    );
    assert_eq!(created.status, 201, "{}", created.text);
    connect.wait_state("v", "STOPPED");
}
