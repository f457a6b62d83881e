//! A Kafka with TLS and SASL, configured as Java clients are; and all compressions.

use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use connect_websocket_e2e::{Consumer, Kafka, Secured, Worker, WorkerBuilder, source_config, wait_until};
use connect_websocket_testkit::{Messages, Play, Script, Server, TestPki};

const WITHIN: Duration = Duration::from_secs(60);
const COUNT: u64 = 2_000;

fn kafka() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| Kafka::secured().start())
}

fn serve() -> Server {
    let script = Script::every(Play::accept().send(Messages::count(COUNT).size(200)));
    Server::start(script).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"))
}

/// How Java's clients log in with `mechanism`.
fn jaas(mechanism: &str, password: &str) -> String {
    let module = match mechanism {
        "PLAIN" => "org.apache.kafka.common.security.plain.PlainLoginModule",
        _ => "org.apache.kafka.common.security.scram.ScramLoginModule",
    };
    format!("{module} required username=\"{}\" password=\"{password}\";", Secured::USER)
}

/// The properties for the worker's own client and, with their prefixes, for those of its connectors, as Connect wants it.
fn for_all_clients(builder: WorkerBuilder, properties: &[(&str, &str)]) -> WorkerBuilder {
    properties.iter().fold(builder, |builder, (key, value)| {
        builder
            .property(key, value)
            .property(&format!("producer.{key}"), value)
            .property(&format!("admin.{key}"), value)
    })
}

/// All messages come through with these properties.
fn assert_connects(bootstrap: &str, topic: &str, properties: &[(&str, &str)]) {
    let feed = serve();
    // topic.creation makes the admin client of the connector log in, too.
    let creation = [("topic.creation.default.replication.factor", "1"), ("topic.creation.default.partitions", "1")];
    let builder = Worker::builder(bootstrap).connector("secured", source_config(feed.url(), topic, &creation));
    let mut worker = for_all_clients(builder, properties).start();

    let consumer = Consumer::new(&kafka().bootstrap());
    consumer.numbers_until(topic, COUNT, WITHIN).assert_complete(0..=COUNT - 1);
    assert_eq!(worker.terminate(), 0);
    assert!(!worker.log_contains(Secured::PASSWORD), "the password is in the log");
}

#[test]
fn tls_with_a_pem_truststore_and_a_client_certificate() {
    let security = kafka().security();
    let ca = security.ca.display().to_string();
    let client = security.client.display().to_string();
    let properties = [
        ("security.protocol", "SSL"),
        ("ssl.truststore.type", "PEM"),
        ("ssl.truststore.location", ca.as_str()),
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.location", client.as_str()),
    ];
    assert_connects(&security.ssl, "tls-pem", &properties);
}

#[test]
fn tls_with_jks_and_pkcs12_truststores_of_keytool() {
    let security = kafka().security();
    for store_type in ["JKS", "PKCS12"] {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("no temporary directory: {e}"));
        let store = dir.path().join("truststore");
        let made = Command::new("keytool")
            .args(["-importcert", "-noprompt", "-alias", "ca", "-storetype", store_type, "-storepass", "change-it-now"])
            .arg("-file")
            .arg(&security.ca)
            .arg("-keystore")
            .arg(&store)
            .output()
            .unwrap_or_else(|e| panic!("keytool of the JDK cannot be started: {e}"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        let store = store.display().to_string();
        let properties = [
            ("security.protocol", "SSL"),
            ("ssl.truststore.type", store_type),
            ("ssl.truststore.location", store.as_str()),
            ("ssl.truststore.password", "change-it-now"),
        ];
        assert_connects(&security.ssl, &format!("tls-{}", store_type.to_lowercase()), &properties);
    }
}

#[test]
fn sasl_over_tls_with_every_mechanism() {
    let security = kafka().security();
    let ca = security.ca.display().to_string();
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let jaas = jaas(mechanism, Secured::PASSWORD);
        let properties = [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", mechanism),
            ("sasl.jaas.config", jaas.as_str()),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", ca.as_str()),
        ];
        assert_connects(&security.sasl_ssl, &format!("sasl-{}", mechanism.to_lowercase()), &properties);
    }
}

#[test]
fn sasl_without_tls() {
    let jaas = jaas("PLAIN", Secured::PASSWORD);
    let properties =
        [("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", "PLAIN"), ("sasl.jaas.config", jaas.as_str())];
    assert_connects(&kafka().security().sasl_plaintext, "sasl-plaintext", &properties);
}

/// The worker ends with exit code 2 and a sentence with these words, soon.
fn assert_refused(bootstrap: &str, properties: &[(&str, &str)], words: &[&str]) {
    let feed = serve();
    let builder = Worker::builder(bootstrap).connector("secured", source_config(feed.url(), "refused", &[]));
    let mut worker = for_all_clients(builder, properties).start_to_fail();

    assert_eq!(worker.wait_exit(), 2);
    let log = worker.log();
    let line = log.lines().find(|line| line.contains("Stopping due to error")).unwrap_or_else(|| panic!("{log}"));
    for word in words.iter().chain(&["Failed to connect to and describe Kafka cluster", bootstrap]) {
        assert!(line.contains(word), "{word:?} is not in {line}");
    }
    assert!(!log.contains("guessed-secret"), "the password is in the log: {log}");
    assert_eq!(feed.stats().accepted, 0, "the feed is not read before Kafka is there");
}

#[test]
fn wrong_password_ends_the_start_with_the_reason_and_not_the_password() {
    let security = kafka().security();
    let ca = security.ca.display().to_string();
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let jaas = jaas(mechanism, "guessed-secret");
        let properties = [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", mechanism),
            ("sasl.jaas.config", jaas.as_str()),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", ca.as_str()),
        ];
        assert_refused(&security.sasl_ssl, &properties, &["uthentication"]);
    }
}

#[test]
fn untrusted_broker_and_wrong_protocol_end_the_start_with_the_reason() {
    let security = kafka().security();
    let stranger = TestPki::new().unwrap_or_else(|e| panic!("no certificates: {e}"));
    let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("no temporary directory: {e}"));
    stranger.write_to(dir.path()).unwrap_or_else(|e| panic!("no certificates: {e}"));
    let ca = dir.path().join("ca.pem").display().to_string();
    let untrusted = [
        ("security.protocol", "SSL"),
        ("ssl.truststore.type", "PEM"),
        ("ssl.truststore.location", ca.as_str()),
        ("default.api.timeout.ms", "3000"),
    ];
    assert_refused(&security.ssl, &untrusted, &["certificate"]);
    let plain = [("security.protocol", "PLAINTEXT"), ("default.api.timeout.ms", "3000")];
    assert_refused(&security.ssl, &plain, &["security properties", "Disconnected"]);
}

/// The worker itself may log in; the connector's own credentials are wrong.
#[test]
fn wrong_password_of_a_connector_fails_its_task_with_the_reason_and_not_the_password() {
    let security = kafka().security();
    let (right, wrong) = (jaas("PLAIN", Secured::PASSWORD), jaas("PLAIN", "guessed-secret"));
    let properties =
        [("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", "PLAIN"), ("sasl.jaas.config", right.as_str())];
    let feed = Server::start(Script::every(Play::accept().send(Messages::forever().rate(100.0))))
        .unwrap_or_else(|e| panic!("the feed cannot be served: {e}"));
    let overrides = [("producer.override.sasl.jaas.config", wrong.as_str())];
    let builder = Worker::builder(&security.sasl_plaintext)
        .connector("stranger", source_config(feed.url(), "stranger", &overrides));
    let worker = for_all_clients(builder, &properties).start();

    let trace = wait_until("the task to be FAILED", WITHIN, || {
        let status = worker.rest().get("/connectors/stranger/status").json();
        let task = &status["tasks"][0];
        (task["state"] == "FAILED").then(|| task["trace"].as_str().unwrap_or_default().to_owned())
    });
    assert!(trace.contains("uthentication"), "{trace}");
    assert!(!worker.log_contains("guessed-secret"), "the password is in the log");
}

#[test]
fn every_compression_comes_through() {
    let consumer = Consumer::new(&kafka().bootstrap());
    for compression in ["gzip", "snappy", "lz4", "zstd"] {
        let feed = serve();
        let topic = format!("compressed-{compression}");
        // The topic keeps what the producer made only if it is configured so; a broker that cannot read it refuses it.
        let options = [("producer.override.compression.type", compression)];
        let _worker = Worker::builder(&kafka().bootstrap())
            .connector("compressed", source_config(feed.url(), &topic, &options))
            .start();
        consumer.numbers_until(&topic, COUNT, WITHIN).assert_complete(0..=COUNT - 1);
    }
}
