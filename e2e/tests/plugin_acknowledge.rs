//! Slack on the plugin, in a real Kafka Connect: no acknowledgement before Kafka has the record; what a transformation leaves out is acknowledged
//! too; and a stop acknowledges before it closes.

use connect_websocket_e2e::acknowledged::{assert_in_order, create_topic, slack, wait_acknowledged, wait_begun};
use connect_websocket_e2e::feeds::Run;
use connect_websocket_e2e::{Connect, Consumer, Kafka, plugin_dir, wait_until};
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(60);
const KEPT: &str = "slack-C0GENERAL";
const FILTERED: &str = "slack-C0RANDOM";

#[test]
fn slack_is_acknowledged_after_kafka_with_what_is_filtered_and_before_our_close() {
    plugin_dir();
    let kafka = Kafka::shared();
    let connect = Connect::builder(&kafka.bootstrap()).start();
    create_topic(kafka, KEPT);
    create_topic(kafka, FILTERED);
    let run = Run::with_history(
        slack(),
        &[
            ("kafka.topic", "slack-{{/event/channel}}"),
            ("transforms", "drop"),
            ("transforms.drop.type", "org.apache.kafka.connect.transforms.Filter"),
            ("transforms.drop.predicate", "random"),
            ("predicates", "random"),
            ("predicates.random.type", "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"),
            ("predicates.random.pattern", FILTERED),
        ],
    );
    run.create(connect.rest());
    wait_begun(&run);
    // They come in pairs, every second one of the channel that is filtered.
    for round in 1..=10 {
        run.simulation().publish(8);
        wait_acknowledged(&run, round * 8);
    }
    let consumer = Consumer::new(&kafka.bootstrap());
    assert_eq!(assert_in_order(&run, &consumer, KEPT).len(), 40);
    assert_eq!(consumer.count(FILTERED), 0);

    // While records are on their way.
    run.simulation().publish(8);
    wait_until("their receipt", WITHIN, || (run.simulation().sent() == 88).then_some(()));
    assert_eq!(connect.rest().put(&format!("/connectors/{}/stop", run.name)).status, 204);
    wait_until("our Close", WITHIN, || {
        let stats = run.simulation().stats();
        stats.connections.iter().any(|connection| connection.close_received.is_some()).then_some(())
    });
    // All that Kafka has was acknowledged.
    assert_in_order(&run, &consumer, KEPT);
}
