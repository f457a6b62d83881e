//! Slack's acknowledgements against what is in Kafka, by the time of each on one clock; the same for both hosts.

use std::collections::HashMap;
use std::time::Duration;

use connect_websocket_testkit::{SIMULATORS, Simulator};

use crate::consumer::Consumer;
use crate::feeds::Run;
use crate::kafka::Kafka;
use crate::process::wait_until;

const WITHIN: Duration = Duration::from_secs(120);

/// Slack's simulator.
///
/// # Panics
/// If there is none.
pub fn slack() -> &'static Simulator {
    SIMULATORS.iter().find(|simulator| simulator.feed == "slack").unwrap_or_else(|| panic!("no simulator of Slack"))
}

/// Creates a topic whose records have the time at which the broker wrote them.
///
/// # Panics
/// If the broker refuses it.
pub fn create_topic(kafka: &Kafka, name: &str) {
    kafka.create_topic_with(name, 1, &[("message.timestamp.type", "LogAppendTime")]);
}

/// Waits for the feed's greeting.
///
/// # Panics
/// If it does not come.
pub fn wait_begun(run: &Run) {
    wait_until("the connection to Slack", WITHIN, || run.simulation().has_begun().then_some(()));
}

/// Waits until so many records are acknowledged.
///
/// # Panics
/// If they are not.
pub fn wait_acknowledged(run: &Run, count: usize) {
    wait_until(&format!("{count} acknowledgements"), WITHIN, || {
        (run.simulation().acknowledged().len() >= count).then_some(())
    });
}

/// Every record of the topic is there once, and was acknowledged when Kafka had it and not earlier; the feed has sent nothing again, since
/// every acknowledgement came in time. Returns the numbers of the topic.
///
/// # Panics
/// If not.
pub fn assert_in_order(run: &Run, consumer: &Consumer, topic: &str) -> Vec<u64> {
    let numbers: HashMap<String, u64> =
        (0..run.simulation().published()).map(|n| ((slack().record)(n).value, n)).collect();
    let acknowledged: HashMap<u64, u64> = run.simulation().acknowledged().into_iter().collect();
    let mut seen = Vec::new();
    for record in consumer.read_all(topic, WITHIN) {
        let n = numbers[&record.text()];
        assert!(!seen.contains(&n), "record {n} is in {topic} twice");
        seen.push(n);
        let written = record.timestamp.unwrap_or_default() as u64;
        let at = acknowledged.get(&n).unwrap_or_else(|| panic!("record {n} of {topic} was not acknowledged"));
        assert!(*at >= written, "record {n} was acknowledged {} ms before Kafka had it", written - at);
    }
    assert_eq!(run.simulation().sent_again(), 0, "envelopes that were not acknowledged within three seconds");
    assert_eq!(run.simulation().faults(), [""; 0]);
    seen.sort_unstable();
    seen
}
