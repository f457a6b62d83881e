//! The ledger of gaps on both hosts: over kills every gap is in its topic and has one id, and it passes converters and transformations.

use std::collections::BTreeMap;
use std::time::Duration;

use connect_websocket_e2e::{Connect, Consumer, Host, Kafka, Rest, Worker, plugin_dir, source_config, wait_until};
use connect_websocket_testkit::{Play, Script, Server};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(60);
const CONNECTOR: &str = "feed";
const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";
const BYTE_ARRAY: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";
const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";

/// A connection's numbers: two of them are missing.
fn holed(key: &str) -> Play {
    [1, 2, 5].iter().fold(Play::accept(), |play, n| play.send_text(json!({"s": key, "n": n}).to_string()))
}

/// A connector that finds the hole.
fn config(feed: &Server, topic: &str, ledger: &str, more: &[(&str, &str)]) -> Value {
    let own = [
        ("websocket.sequence", "{{/n}}"),
        ("websocket.sequence.key", "{{/s}}"),
        ("websocket.gaps.topic", ledger),
        // What another test's connector of this name has left is none of ours.
        ("websocket.handover.dir", ""),
        ("key.converter", STRING),
        ("value.converter", STRING),
    ];
    source_config(feed.url(), topic, &[&own[..], more].concat())
}

/// The ledger's entries by id; those of one id must be the same.
fn by_id(consumer: &Consumer, ledger: &str) -> BTreeMap<String, Value> {
    let mut gaps = BTreeMap::new();
    for record in consumer.read_all(ledger, WITHIN) {
        let gap: Value = serde_json::from_str(&record.text()).unwrap_or_else(|e| panic!("no JSON: {e}"));
        let id = gap["id"].as_str().unwrap_or_default().to_owned();
        assert_eq!(record.key.as_deref(), Some(id.as_bytes()));
        let known = gaps.entry(id).or_insert_with(|| gap.clone());
        assert_eq!((&known["cause"], &known["key"]), (&gap["cause"], &gap["key"]));
    }
    gaps
}

/// After each connection the host is killed. `look` is called when its hole is in the ledger.
fn every_gap_is_told_over_kills<H: Host>(ledger: &str, keys: &[&str], look: impl Fn(&H, &str, &Consumer)) -> H {
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    kafka.create_topic(ledger, 1);
    let feed =
        Server::start(Script::plays(keys.iter().map(|key| holed(key)))).unwrap_or_else(|e| panic!("no feed: {e}"));
    let messages = format!("messages-of-{ledger}");
    let mut host = H::start(&kafka.bootstrap(), CONNECTOR, config(&feed, &messages, ledger, &[]));
    let is_told = |gaps: &BTreeMap<String, Value>, key: &str| gaps.values().any(|gap| gap["key"] == key);
    for (place, key) in keys.iter().enumerate() {
        wait_until("the hole to be in the ledger", WITHIN, || is_told(&by_id(&consumer, ledger), key).then_some(()));
        look(&host, key, &consumer);
        if place + 1 < keys.len() {
            host.kill9();
            host.start_again();
        }
    }
    let gaps = by_id(&consumer, ledger);
    for key in keys {
        let of_key: Vec<&Value> = gaps.values().filter(|gap| gap["key"] == **key).collect();
        assert_eq!(of_key.len(), 1, "{of_key:?}");
        assert_eq!((&of_key[0]["cause"], &of_key[0]["missing"]), (&json!("sequence"), &json!(2)));
    }
    // The times in which nothing ran.
    let restarts = gaps.values().filter(|gap| gap["cause"] == "restart").count();
    assert!(restarts < keys.len(), "{gaps:?}");
    host
}

#[test]
fn every_gap_is_in_the_ledger_once_by_its_id_over_kills_of_the_worker() {
    let shown_is_told = |worker: &Worker, key: &str, consumer: &Consumer| {
        let shown = worker.rest().get("/connectors/feed/gaps").json();
        let shown = shown["gaps"].as_array().cloned().unwrap_or_default();
        assert!(shown.iter().any(|gap| gap["key"] == key), "{shown:?}");
        wait_until("what is shown to be in the ledger", WITHIN, || {
            let gaps = by_id(consumer, "ledger");
            shown.iter().all(|gap| gaps.values().any(|told| told == gap)).then_some(())
        });
    };
    let worker: Worker = every_gap_is_told_over_kills("ledger", &["a", "b", "c", "d"], shown_is_told);
    let unknown = worker.rest().get("/connectors/nothing/gaps");
    assert_eq!((unknown.status, &unknown.json()["message"]), (404, &json!("Connector nothing not found")));
    passes_converters(worker.rest(), "worker");
}

#[test]
fn in_kafka_connect_every_gap_is_in_the_ledger_over_a_kill_and_passes_converters_and_transformations() {
    plugin_dir();
    let connect: Connect = every_gap_is_told_over_kills("ledger-of-connect", &["a", "b"], |_, _, _| ());
    passes_converters(connect.rest(), "connect");
    passes_transformations(connect.rest());
}

/// The hole is told as each converter wants it.
fn passes_converters(rest: &Rest, host: &str) {
    let bytes = [
        ("key.converter", BYTE_ARRAY),
        ("value.converter", BYTE_ARRAY),
        ("websocket.record.key.type", "bytes"),
        ("websocket.record.value", "bytes"),
        ("websocket.gaps.value", "bytes"),
    ];
    let json = [
        ("value.converter", JSON),
        ("value.converter.schemas.enable", "false"),
        ("websocket.record.value", "json"),
        ("websocket.gaps.value", "json"),
    ];
    let forms: [(&str, &[(&str, &str)]); 3] =
        [("bytes", &bytes), ("string", &[("websocket.gaps.value", "string")]), ("json", &json)];
    for (form, options) in forms {
        let name = format!("{host}-{form}");
        let ledger = format!("{name}-ledger");
        let feed = Server::start(Script::every(holed("k"))).unwrap_or_else(|e| panic!("no feed: {e}"));
        rest.put_connector(&name, &config(&feed, &name, &ledger, options));
        let consumer = Consumer::new(&Kafka::shared().bootstrap());
        consumer.read_until(&ledger, 1, WITHIN);
        assert_is_of_the_hole(&by_id(&consumer, &ledger), form);
        assert_eq!(rest.delete(&format!("/connectors/{name}")).status, 204);
    }
}

fn assert_is_of_the_hole(gaps: &BTreeMap<String, Value>, form: &str) {
    let [gap] = gaps.values().collect::<Vec<_>>()[..] else { panic!("{form}: {gaps:?}") };
    let told = json!([gap["cause"], gap["key"], gap["from"], gap["to"], gap["missing"]]);
    assert_eq!(told, json!(["sequence", "k", "3", "4", 2]), "{form}");
}

/// The ledger alone gets the connector's name, in its value and as a header, and another topic.
fn passes_transformations(rest: &Rest) {
    let options = [
        ("value.converter", JSON),
        ("value.converter.schemas.enable", "false"),
        ("websocket.record.value", "json"),
        ("websocket.gaps.value", "json"),
        ("transforms", "name,header,route"),
        ("transforms.name.type", "org.apache.kafka.connect.transforms.InsertField$Value"),
        ("transforms.name.static.field", "connector"),
        ("transforms.name.static.value", "transformed"),
        ("transforms.name.predicate", "ledger"),
        ("transforms.header.type", "org.apache.kafka.connect.transforms.InsertHeader"),
        ("transforms.header.header", "connector"),
        ("transforms.header.value.literal", "transformed"),
        ("transforms.header.predicate", "ledger"),
        ("transforms.route.type", "org.apache.kafka.connect.transforms.RegexRouter"),
        ("transforms.route.regex", "(.*)-ledger"),
        ("transforms.route.replacement", "gaps-of-$1"),
        ("predicates", "ledger"),
        ("predicates.ledger.type", "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"),
        ("predicates.ledger.pattern", ".*-ledger"),
    ];
    let feed = Server::start(Script::every(holed("k"))).unwrap_or_else(|e| panic!("no feed: {e}"));
    rest.put_connector("transformed", &config(&feed, "transformed", "transformed-ledger", &options));
    let consumer = Consumer::new(&Kafka::shared().bootstrap());
    let records = consumer.read_until("gaps-of-transformed", 1, WITHIN);
    assert_eq!(records[0].headers, [("connector".to_owned(), Some(b"transformed".to_vec()))]);
    let gaps = by_id(&consumer, "gaps-of-transformed");
    assert_is_of_the_hole(&gaps, "transformed");
    assert!(gaps.values().all(|gap| gap["connector"] == "transformed"), "{gaps:?}");
    let messages = consumer.read_until("transformed", 3, WITHIN);
    assert!(messages.iter().all(|message| !message.text().contains("transformed")), "{messages:?}");
    assert_eq!(rest.delete("/connectors/transformed").status, 204);
}
