//! A topic on two brokers, of which one goes and comes back.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use connect_websocket_e2e::delivery::{assert_nothing_lost, config, serve, steady};
use connect_websocket_e2e::{Consumer, Kafka, Worker, wait_until};
use connect_websocket_testkit::Server;

const WITHIN: Duration = Duration::from_secs(60);
const CONNECTOR: &str = "feed";

struct Cluster {
    first: Kafka,
    second: Kafka,
}

/// The brokers that the tests take turns with.
fn cluster() -> MutexGuard<'static, Cluster> {
    static CLUSTER: LazyLock<Mutex<Cluster>> = LazyLock::new(|| {
        let first = Kafka::start();
        let second = first.another().start();
        Mutex::new(Cluster { first, second })
    });
    CLUSTER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(kafka: &Kafka, feed: &Server, topic: &str) -> Worker {
    Worker::builder(&kafka.bootstrap()).connector(CONNECTOR, config(feed, topic)).start()
}

/// Ends the worker and checks that all that the feed has sent is in the topic, over one connection.
fn assert_all_came(consumer: &Consumer, worker: &mut Worker, feed: &Server, topic: &str) {
    worker.wait_state(CONNECTOR, "RUNNING");
    assert_eq!(worker.terminate(), 0);
    assert_nothing_lost(feed, consumer, topic);
    assert_eq!(feed.stats().accepted, 1, "the connection was lost");
}

#[test]
fn records_wait_while_too_few_replicas_are_in_sync() {
    let mut cluster = cluster();
    let (feed, topic) = (serve(steady()), "two-in-sync");
    cluster.first.create_topic_on(&[1, 2], topic, &[("min.insync.replicas", "2")]);
    let consumer = Consumer::new(&cluster.first.bootstrap());
    let mut worker = start(&cluster.first, &feed, topic);
    consumer.wait_count(topic, 1_000, WITHIN);

    cluster.second.stop();
    wait_until("Kafka to refuse records", WITHIN, || cluster.first.log().contains("NotEnoughReplicas").then_some(()));
    let taken = consumer.count(topic);
    wait_until("the feed to be read on", WITHIN, || {
        let queued = worker.metric("connect_websocket_queue_records", &[("connector", CONNECTOR)]);
        queued.is_some_and(|queued| queued >= 5_000.0).then_some(())
    });
    assert_eq!(consumer.count(topic), taken, "Kafka took records with one replica");

    cluster.second.start_again();
    consumer.wait_count(topic, taken + 5_000, WITHIN);
    assert_all_came(&consumer, &mut worker, &feed, topic);
}

#[test]
fn nothing_is_lost_or_doubled_when_the_leader_dies() {
    let mut cluster = cluster();
    let (feed, topic) = (serve(steady()), "leader-dies");
    cluster.first.create_topic_on(&[2, 1], topic, &[]);
    let consumer = Consumer::new(&cluster.first.bootstrap());
    let mut worker = start(&cluster.first, &feed, topic);
    consumer.wait_count(topic, 5_000, WITHIN);

    cluster.second.kill();
    // Its session with the controller ends first, after broker.session.timeout.ms = 9 s.
    let sent = feed.stats().next_n;
    consumer.wait_count(topic, sent + 5_000, WITHIN);
    cluster.second.start_again();
    assert_all_came(&consumer, &mut worker, &feed, topic);
}
