//! The ledger of gaps on the worker, over kills: every gap is in its topic, and has one id.

use std::collections::BTreeMap;
use std::time::Duration;

use connect_websocket_e2e::{Consumer, Kafka, Worker, source_config, wait_until};
use connect_websocket_testkit::{Play, Script, Server};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(60);
const CONNECTOR: &str = "feed";
const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";

/// A connection's numbers: two of them are missing.
fn holed(key: &str) -> Play {
    [1, 2, 5].iter().fold(Play::accept(), |play, n| play.send_text(json!({"s": key, "n": n}).to_string()))
}

/// The ledger's entries by id; those of one id must be the same.
fn by_id(consumer: &Consumer) -> BTreeMap<String, Value> {
    let mut gaps = BTreeMap::new();
    for record in consumer.read_all("ledger", WITHIN) {
        let gap: Value = serde_json::from_str(&record.text()).unwrap_or_else(|e| panic!("no JSON: {e}"));
        let id = gap["id"].as_str().unwrap_or_default().to_owned();
        assert_eq!(record.key.as_deref(), Some(id.as_bytes()));
        let known = gaps.entry(id).or_insert_with(|| gap.clone());
        assert_eq!((&known["cause"], &known["key"]), (&gap["cause"], &gap["key"]));
    }
    gaps
}

#[test]
fn every_gap_is_in_the_ledger_once_by_its_id_over_kills_of_the_worker() {
    const KEYS: [&str; 4] = ["a", "b", "c", "d"];
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    kafka.create_topic("ledger", 1);
    let feed = Server::start(Script::plays(KEYS.map(holed))).unwrap_or_else(|e| panic!("no feed: {e}"));
    let options = [
        ("websocket.sequence", "{{/n}}"),
        ("websocket.sequence.key", "{{/s}}"),
        ("websocket.gaps.topic", "ledger"),
        ("key.converter", STRING),
        ("value.converter", STRING),
    ];
    let config = source_config(feed.url(), "messages", &options);
    let mut worker = Worker::builder(&kafka.bootstrap()).connector(CONNECTOR, config).start();
    let is_told = |gaps: &BTreeMap<String, Value>, key: &str| gaps.values().any(|gap| gap["key"] == key);
    for (place, key) in KEYS.iter().enumerate() {
        let told = || Some(by_id(&consumer)).filter(|gaps| is_told(gaps, key));
        wait_until("the hole to be in the ledger", WITHIN, told);
        let shown = worker.rest().get("/connectors/feed/gaps").json();
        let shown = shown["gaps"].as_array().cloned().unwrap_or_default();
        assert!(shown.iter().any(|gap| gap["key"] == *key), "{shown:?}");
        wait_until("what is shown to be in the ledger", WITHIN, || {
            let gaps = by_id(&consumer);
            shown.iter().all(|gap| gaps.values().any(|told| told == gap)).then_some(())
        });
        if place + 1 < KEYS.len() {
            worker.kill9();
            worker.start_again();
        }
    }
    let gaps = by_id(&consumer);
    for key in KEYS {
        let of_key: Vec<&Value> = gaps.values().filter(|gap| gap["key"] == key).collect();
        assert_eq!(of_key.len(), 1, "{of_key:?}");
        assert_eq!((&of_key[0]["cause"], &of_key[0]["missing"]), (&json!("sequence"), &json!(2)));
    }
    let unknown = worker.rest().get("/connectors/nothing/gaps");
    assert_eq!((unknown.status, &unknown.json()["message"]), (404, &json!("Connector nothing not found")));
}
