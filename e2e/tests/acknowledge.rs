//! Slack on the worker, with a real Kafka that takes a second for a request: no acknowledgement before Kafka has the record, and none after the
//! three seconds that Slack waits.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use connect_websocket_e2e::acknowledged::{assert_in_order, create_topic, slack, wait_acknowledged, wait_begun};
use connect_websocket_e2e::feeds::Run;
use connect_websocket_e2e::{Consumer, Kafka, Worker};

/// A request takes up to so long.
const SLOW: Duration = Duration::from_millis(1_000);
/// Then Kafka works through what has come.
const AWAKE: Duration = Duration::from_millis(50);
const ROUNDS: usize = 12;

/// Ends the thread that slows Kafka down, also when the test fails.
struct Quick<'a>(&'a AtomicBool);

impl Drop for Quick<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn slack_is_acknowledged_after_kafka_and_in_time_though_kafka_takes_a_second() {
    let kafka = Kafka::start();
    create_topic(&kafka, "slack");
    let worker = Worker::builder(&kafka.bootstrap()).start();
    let run = Run::with_history(slack(), &[]);
    run.create(worker.rest());
    wait_begun(&run);
    // The producer knows its topic.
    run.simulation().publish(1);
    wait_acknowledged(&run, 1);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _quick = Quick(&over);
        scope.spawn(|| {
            while !over.load(Relaxed) {
                kafka.suspend();
                thread::sleep(SLOW);
                kafka.resume();
                thread::sleep(AWAKE);
            }
        });
        for round in 0..ROUNDS {
            run.simulation().publish(5);
            wait_acknowledged(&run, 1 + round * 5);
        }
        wait_acknowledged(&run, 1 + ROUNDS * 5);
    });
    let numbers = assert_in_order(&run, &Consumer::new(&kafka.bootstrap()), "slack");
    assert_eq!(numbers.len(), 1 + ROUNDS * 5);
}
