//! Feeds that want acknowledgements, with Kafka Connect and the plugin as host; the scenarios of both hosts are in
//! [`connect_websocket_e2e::acknowledged`].

use std::time::Duration;

use connect_websocket_e2e::acknowledged::{assert_after_kafka, assert_in_time, create_topic, wait_acknowledged};
use connect_websocket_e2e::{Connect, Kafka, acknowledged_tests, plugin_dir, wait_until};

const WITHIN: Duration = Duration::from_secs(60);

acknowledged_tests! { Connect, start }

fn start(kafka: &Kafka) -> Connect {
    plugin_dir();
    Connect::builder(&kafka.bootstrap()).start()
}

#[test]
fn what_a_transformation_leaves_out_is_acknowledged_too_and_a_stop_acknowledges_before_it_closes() {
    play(|stage| {
        let (kept, filtered) = ("slack-C0GENERAL", "slack-C0RANDOM");
        [kept, filtered].iter().for_each(|topic| create_topic(&stage.kafka, topic));
        let run = stage.run(
            "slack",
            "slack-filtered",
            &[
                ("kafka.topic", "slack-{{/event/channel}}"),
                ("transforms", "drop"),
                ("transforms.drop.type", "org.apache.kafka.connect.transforms.Filter"),
                ("transforms.drop.predicate", "random"),
                ("predicates", "random"),
                ("predicates.random.type", "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"),
                ("predicates.random.pattern", filtered),
            ],
        );
        // They come in pairs, every second one of the channel that is filtered.
        for round in 1..=10 {
            run.simulation().publish(8);
            wait_acknowledged(&run, round * 8);
        }
        assert_eq!(assert_after_kafka(&run, &stage.consumer(), kept).len(), 40);
        assert_eq!(stage.consumer().count(filtered), 0);

        // While records are on their way.
        run.simulation().publish(8);
        wait_until("their receipt", WITHIN, || (run.simulation().sent() == 88).then_some(()));
        assert_eq!(stage.host.rest().put(&format!("/connectors/{}/stop", run.name)).status, 204);
        wait_until("our Close", WITHIN, || {
            let stats = run.simulation().stats();
            stats.connections.iter().any(|connection| connection.close_received.is_some()).then_some(())
        });
        // All that Kafka has was acknowledged.
        assert_after_kafka(&run, &stage.consumer(), kept);
        assert_in_time(&run);
    });
}
