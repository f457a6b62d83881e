//! Scenarios of feeds that are acknowledged when Kafka has their records, for both hosts: each acknowledgement against what is in Kafka, by the
//! time of each on one clock. [`crate::acknowledged_tests`] makes a test of each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use connect_websocket_testkit::{SIMULATORS, Simulator};

use crate::consumer::Consumer;
use crate::feeds::Run;
use crate::host::Host;
use crate::kafka::Kafka;
use crate::process::wait_until;

const WITHIN: Duration = Duration::from_secs(120);
/// A request takes up to so long while Kafka is slow.
const SLOW: Duration = Duration::from_millis(1_000);
/// Then Kafka works through what has come.
const AWAKE: Duration = Duration::from_millis(50);

/// Makes a test of each scenario for one kind of host, and `play` for more of them. `$start` starts a host for a Kafka.
#[macro_export]
macro_rules! acknowledged_tests {
    ($host:ty, $start:expr) => {
        /// Plays a scenario when it is its turn: they suspend Kafka.
        fn play(scenario: impl FnOnce(&$crate::acknowledged::Stage<$host>)) {
            static STAGE: std::sync::Mutex<Option<$crate::acknowledged::Stage<$host>>> = std::sync::Mutex::new(None);
            let mut stage = STAGE.lock().unwrap_or_else(|_| panic!("the test before left the stage in disorder"));
            scenario(stage.get_or_insert_with(|| {
                let kafka = $crate::Kafka::start();
                let host = $start(&kafka);
                $crate::acknowledged::Stage { kafka, host }
            }));
        }

        $crate::acknowledged_tests! { @each
            feeds_are_acknowledged_after_kafka_and_slack_in_time_though_kafka_takes_a_second
            what_kafka_does_not_have_is_not_acknowledged_and_comes_again_but_no_record_twice
            a_paused_feed_with_a_full_queue_is_acknowledged_when_it_goes_on
            after_sigkill_what_was_not_acknowledged_comes_again
        }
    };
    (@each $($name:ident)*) => {
        $(#[test] fn $name() { play($crate::acknowledged::$name); })*
    };
}

/// A Kafka that may be suspended, and a host. The tests of a program take turns with them.
pub struct Stage<H> {
    pub kafka: Kafka,
    pub host: H,
}

impl<H: Host> Stage<H> {
    /// Creates the connector `name` for a feed, and its topic, and waits until it has subscribed.
    ///
    /// # Panics
    /// If the connector is refused or does not come so far.
    pub fn run(&self, feed: &str, name: &str, more: &[(&str, &str)]) -> Run {
        create_topic(&self.kafka, name);
        let run = Run::with_history(simulator(feed), name, more);
        run.create(self.host.rest());
        wait_begun(&run);
        run
    }

    pub fn consumer(&self) -> Consumer {
        Consumer::new(&self.kafka.bootstrap())
    }

    fn delete(&self, run: &Run) {
        assert_eq!(self.host.rest().delete(&format!("/connectors/{}", run.name)).status, 204);
    }
}

/// Suspends Kafka again and again while `act` runs, so that a request takes a second.
fn while_slow(kafka: &Kafka, act: impl FnOnce()) {
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
        act();
    });
}

/// Ends the thread that slows Kafka down, also when the test fails.
struct Quick<'a>(&'a AtomicBool);

impl Drop for Quick<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// # Panics
/// If an acknowledgement came before Kafka had the record, or to Slack after the three seconds for which it waits.
pub fn feeds_are_acknowledged_after_kafka_and_slack_in_time_though_kafka_takes_a_second<H: Host>(stage: &Stage<H>) {
    const ROUNDS: usize = 8;
    let [slack, pulsar, azure] = FEEDS.map(|feed| stage.run(feed, &format!("{feed}-slow"), &[]));
    let all = [&slack, &pulsar, &azure];
    // The producer knows its topics.
    all.iter().for_each(|run| run.simulation().publish(1));
    all.iter().for_each(|run| wait_acknowledged(run, 1));
    while_slow(&stage.kafka, || {
        for round in 0..ROUNDS {
            all.iter().for_each(|run| run.simulation().publish(5));
            wait_acknowledged(&slack, 1 + round * 5);
        }
        all.iter().for_each(|run| wait_acknowledged(run, 1 + ROUNDS * 5));
    });
    for run in all {
        assert_eq!(assert_after_kafka(run, &stage.consumer(), &run.name).len(), 1 + ROUNDS * 5);
        stage.delete(run);
    }
    assert_in_time(&slack);
}

/// # Panics
/// If something was acknowledged that Kafka did not have, or a record is missing or doubled.
pub fn what_kafka_does_not_have_is_not_acknowledged_and_comes_again_but_no_record_twice<H: Host>(stage: &Stage<H>) {
    let runs = FEEDS.map(|feed| stage.run(feed, &format!("{feed}-again"), &[]));
    runs.iter().for_each(|run| run.simulation().publish(2));
    runs.iter().for_each(|run| wait_acknowledged(run, 2));
    stage.kafka.suspend();
    for run in &runs {
        run.simulation().publish(4);
        wait_until("the records to be sent", WITHIN, || (run.simulation().sent() >= 6).then_some(()));
        run.simulation().reset();
    }
    for run in &runs {
        wait_until("the records to be sent again", WITHIN, || (run.simulation().sent_again() >= 4).then_some(()));
        assert_eq!(run.simulation().acknowledged().len(), 2, "{}: Kafka has two", run.name);
    }
    stage.kafka.resume();
    for run in &runs {
        wait_acknowledged(run, 6);
        assert_eq!(assert_after_kafka(run, &stage.consumer(), &run.name).len(), 6);
        stage.delete(run);
    }
}

/// # Panics
/// If a record is missing or doubled, or one of an idle feed is acknowledged after more than three seconds.
pub fn a_paused_feed_with_a_full_queue_is_acknowledged_when_it_goes_on<H: Host>(stage: &Stage<H>) {
    let run = stage.run("slack", "slack-paused", &[("websocket.message.queue.size", "10")]);
    let path = |of: &str| format!("/connectors/{}/{of}", run.name);
    assert_eq!(stage.host.rest().put(&path("pause")).status, 202);
    stage.host.wait_state(&run.name, "PAUSED");
    run.simulation().publish(100);
    wait_until("Slack's patience to end", WITHIN, || (run.simulation().sent_again() > 0).then_some(()));
    assert!(run.simulation().acknowledged().len() < 100, "a paused connector has taken all");
    assert_eq!(stage.host.rest().put(&path("resume")).status, 202);
    wait_acknowledged(&run, 100);
    assert_eq!(assert_after_kafka(&run, &stage.consumer(), &run.name).len(), 100);

    // Nothing comes that would make the host look around.
    let before = run.simulation().sent_again();
    run.simulation().publish(1);
    wait_acknowledged(&run, 101);
    assert_eq!(run.simulation().sent_again(), before);
    stage.delete(&run);
}

/// Kills a host of its own when it has records that are not in Kafka, and starts it again.
///
/// # Panics
/// If a record is missing or not acknowledged.
pub fn after_sigkill_what_was_not_acknowledged_comes_again<H: Host>(stage: &Stage<H>) {
    let kafka = &stage.kafka;
    let run = Run::with_history(simulator("slack"), "slack-killed", &[]);
    create_topic(kafka, &run.name);
    let mut host = H::start(&kafka.bootstrap(), &run.name, run.config().clone());
    wait_begun(&run);
    run.simulation().publish(3);
    wait_acknowledged(&run, 3);
    kafka.suspend();
    run.simulation().publish(5);
    wait_until("the records to be sent", WITHIN, || (run.simulation().sent() >= 8).then_some(()));
    host.kill9();
    kafka.resume();
    host.start_again();
    wait_acknowledged(&run, 8);
    // What the killed host had sent to Kafka may come a second time.
    let numbers = numbers_of(&run, &Consumer::new(&kafka.bootstrap()), &run.name);
    assert!((0..8).all(|n| numbers.iter().any(|(number, _)| *number == n)), "{numbers:?}");
    assert_eq!(run.simulation().faults(), [""; 0]);
}

/// Those that want acknowledgements.
const FEEDS: [&str; 3] = ["slack", "pulsar-consumer", "azure-web-pubsub"];

/// The simulator of a feed.
///
/// # Panics
/// If there is none.
pub fn simulator(feed: &str) -> &'static Simulator {
    let simulator = SIMULATORS.iter().find(|simulator| simulator.feed == feed);
    simulator.unwrap_or_else(|| panic!("there is no simulator of {feed}"))
}

/// Creates a topic whose records have the time at which the broker wrote them.
///
/// # Panics
/// If the broker refuses it.
pub fn create_topic(kafka: &Kafka, name: &str) {
    kafka.create_topic_with(name, 1, &[("message.timestamp.type", "LogAppendTime")]);
}

fn wait_begun(run: &Run) {
    wait_until(&format!("{} to be subscribed to", run.name), WITHIN, || run.simulation().has_begun().then_some(()));
}

/// Waits until so many records are acknowledged.
///
/// # Panics
/// If they are not.
pub fn wait_acknowledged(run: &Run, count: usize) {
    wait_until(&format!("{count} acknowledgements of {}", run.name), WITHIN, || {
        (run.simulation().acknowledged().len() >= count).then_some(())
    });
}

/// Every record of the topic is there once, and was acknowledged when Kafka had it and not earlier. Returns the numbers of the topic.
///
/// # Panics
/// If not.
pub fn assert_after_kafka(run: &Run, consumer: &Consumer, topic: &str) -> Vec<u64> {
    let acknowledged: HashMap<u64, u64> = run.simulation().acknowledged().into_iter().collect();
    let mut seen = Vec::new();
    for (n, written) in numbers_of(run, consumer, topic) {
        assert!(!seen.contains(&n), "record {n} is in {topic} twice");
        seen.push(n);
        let at = acknowledged.get(&n).unwrap_or_else(|| panic!("record {n} of {topic} was not acknowledged"));
        assert!(*at >= written, "record {n} was acknowledged {} ms before Kafka had it", written - at);
    }
    assert_eq!(run.simulation().faults(), [""; 0]);
    seen
}

/// The feed has sent nothing again, since every acknowledgement came in time.
///
/// # Panics
/// If not.
pub fn assert_in_time(run: &Run) {
    assert_eq!(run.simulation().sent_again(), 0, "what {} did not hear of in time", run.name);
}

/// The numbers of the topic's records, and when each was written.
fn numbers_of(run: &Run, consumer: &Consumer, topic: &str) -> Vec<(u64, u64)> {
    let published = run.published();
    let records = consumer.read_all(topic, WITHIN);
    let number = |text: String| published.get(&text).copied().unwrap_or_else(|| panic!("{topic} has {text}"));
    let written = |timestamp: Option<i64>| timestamp.and_then(|ms| u64::try_from(ms).ok()).unwrap_or_default();
    records.iter().map(|record| (number(record.text()), written(record.timestamp))).collect()
}
