//! Kafka is there and does not take records: everything waits, nothing is lost, and the feed is slowed down.

use std::time::Duration;

use connect_websocket_e2e::{Consumer, Kafka, Worker, WorkerBuilder, offsets_file, source_config, wait_until};
use connect_websocket_testkit::{Messages, OnClose, Play, Script, Server, Stats};

const WITHIN: Duration = Duration::from_secs(60);
const CONNECTOR: &str = "feed";
/// How long a pause lasts.
const HELD_BACK: Duration = Duration::from_secs(10);

fn serve(rate: f64) -> Server {
    let messages = Messages::forever().rate(rate).size(1_000);
    let play = Play::accept().send(messages).on_close(OnClose::GoOnSending { count: 20 });
    Server::start(Script::every(play)).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"))
}

fn worker(kafka: &Kafka, feed: &Server, topic: &str, more: &[(&str, &str)]) -> WorkerBuilder {
    Worker::builder(&kafka.bootstrap()).connector(CONNECTOR, source_config(feed.url(), topic, more))
}

fn wait_feed(feed: &Server, condition: impl FnMut(&Stats) -> bool) -> Stats {
    feed.wait_until(condition, WITHIN).unwrap_or_else(|e| panic!("{e}"))
}

/// Ends the worker and checks that all that the feed has sent is in the topic, over one connection.
fn assert_nothing_lost(kafka: &Kafka, worker: &mut Worker, feed: &Server, topic: &str) {
    let consumer = Consumer::new(&kafka.bootstrap());
    assert_eq!(worker.terminate(), 0);
    let stats = wait_feed(feed, |stats| stats.open == 0);
    assert_eq!(stats.connections.len(), 1, "the connection was lost: {:?}", stats.connections);
    consumer.numbers_now(topic, WITHIN).assert_complete(0..=stats.next_n - 1);
}

/// Whether the feed can write no more: the same number at two looks, half a second apart.
fn wait_stalled(feed: &Server) -> u64 {
    wait_until("the feed to be held back", WITHIN, || {
        let sent = feed.stats().next_n;
        feed.wait_until(|stats| stats.next_n > sent, Duration::from_millis(500)).is_err().then_some(sent)
    })
}

#[test]
fn pause_holds_the_feed_back_and_loses_nothing() {
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    let feed = serve(10_000.0);
    let small = [("websocket.message.queue.size", "1000")];
    let mut worker = worker(kafka, &feed, "held-back", &small).start();
    consumer.wait_count("held-back", 5_000, WITHIN);

    assert_eq!(worker.rest().put(&format!("/connectors/{CONNECTOR}/pause")).status, 202);
    worker.wait_state(CONNECTOR, "PAUSED");
    let before = wait_stalled(&feed);
    let queued = worker.metric("connect_websocket_queue_records", &[("connector", CONNECTOR)]);
    assert!(queued.is_some_and(|queued| (1.0..=1_000.0).contains(&queued)), "{queued:?} records in a queue of 1000");
    // Held back for a while, with neither connection nor queue giving way.
    feed.wait_until(|stats| stats.next_n > before, HELD_BACK).expect_err("the feed went on while it was paused");

    assert_eq!(worker.rest().put(&format!("/connectors/{CONNECTOR}/resume")).status, 202);
    consumer.numbers_until_number("held-back", before + 5_000, WITHIN).assert_complete(0..=before + 5_000);
    assert_nothing_lost(kafka, &mut worker, &feed, "held-back");
}

#[test]
fn suspended_kafka_holds_the_feed_back_and_a_stop_meanwhile_says_what_it_leaves() {
    let kafka = Kafka::start();
    let consumer = Consumer::new(&kafka.bootstrap());
    // So much that the feed is held back soon: a queue of 1000 records, and 4 MB in the producer.
    let small = [("websocket.message.queue.size", "1000"), ("producer.override.buffer.memory", "4000000")];
    let feed = serve(10_000.0);
    let mut worker = worker(&kafka, &feed, "suspended", &small).start();
    consumer.wait_count("suspended", 5_000, WITHIN);

    kafka.suspend();
    let before = wait_stalled(&feed);
    feed.wait_until(|stats| stats.next_n > before, HELD_BACK).expect_err("the feed went on while Kafka was suspended");
    worker.wait_state(CONNECTOR, "RUNNING");
    kafka.resume();
    consumer.numbers_until_number("suspended", before + 5_000, WITHIN).assert_complete(0..=before + 5_000);
    assert_nothing_lost(&kafka, &mut worker, &feed, "suspended");

    let play = Play::accept().send(Messages::count(1_000)).await_signal().send(Messages::count(500));
    let feed = Server::start(Script::every(play)).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"));
    let mut worker =
        self::worker(&kafka, &feed, "left", &[]).property("task.shutdown.graceful.timeout.ms", "2000").start();
    let acknowledged = "kafka_connect_source_task_metrics_source_record_write_total";
    wait_until("the first thousand to be acknowledged", WITHIN, || {
        (worker.metric(acknowledged, &[("connector", CONNECTOR)]) == Some(1_000.0)).then_some(())
    });
    kafka.suspend();
    feed.signal();
    wait_until("the rest to be received", WITHIN, || {
        let received = worker.metric("connect_websocket_messages_received_total", &[("connector", CONNECTOR)]);
        (received == Some(1_500.0)).then_some(())
    });
    assert_eq!(worker.terminate(), 0);
    assert!(worker.log_contains("event=records_left count=500"), "500 records were received and not acknowledged");
    assert_eq!(offsets_file::sequence(&worker.offsets_file(), CONNECTOR), Some(1_000));
}
