//! Kafka is there and does not take records: everything waits, nothing is lost, and the feed is slowed down.

use std::time::Duration;

use connect_websocket_e2e::{Consumer, Kafka, Numbers, Worker, WorkerBuilder, offsets_file, source_config, wait_until};
use connect_websocket_testkit::{Messages, OnClose, Play, Script, Server, Stats};

const WITHIN: Duration = Duration::from_secs(60);
const CONNECTOR: &str = "feed";
/// How long a feed that is held back sends nothing.
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

/// Waits until the feed can write no more. Returns how many messages it has sent, and what processor time the worker has spent in
/// seconds while it was held back.
fn wait_held_back(feed: &Server, worker: &Worker) -> (u64, f64) {
    wait_until("the feed to be held back", WITHIN, || {
        let (sent, spent) = (feed.stats().next_n, worker.cpu_seconds());
        let goes_on = feed.wait_until(|stats| stats.next_n > sent, HELD_BACK).is_ok();
        (!goes_on).then(|| (sent, worker.cpu_seconds() - spent))
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
    let (before, _) = wait_held_back(&feed, &worker);
    let queued = worker.metric("connect_websocket_queue_records", &[("connector", CONNECTOR)]);
    assert!(queued.is_some_and(|queued| (1.0..=1_000.0).contains(&queued)), "{queued:?} records in a queue of 1000");

    assert_eq!(worker.rest().put(&format!("/connectors/{CONNECTOR}/resume")).status, 202);
    consumer.numbers_until_number("held-back", before + 5_000, WITHIN).assert_complete(0..=before + 5_000);
    assert_nothing_lost(kafka, &mut worker, &feed, "held-back");
}

#[test]
fn suspended_kafka_holds_the_feed_back_and_a_stop_meanwhile_says_what_it_leaves() {
    let kafka = Kafka::start();
    let consumer = Consumer::new(&kafka.bootstrap());
    // So little that the feed is held back soon: a queue of 1000 records, and one request in the producer.
    let small = [("websocket.message.queue.size", "1000"), ("producer.override.buffer.memory", "4000000")];
    let feed = serve(10_000.0);
    let mut worker = worker(&kafka, &feed, "suspended", &small).start();
    consumer.wait_count("suspended", 5_000, WITHIN);

    kafka.suspend();
    // librdkafka's thread would spin if it had more records than it may send.
    let (before, busy) = wait_held_back(&feed, &worker);
    assert!(busy < HELD_BACK.as_secs_f64() / 10.0, "{busy} s of processor time while nothing could be done");
    worker.wait_state(CONNECTOR, "RUNNING");
    kafka.resume();
    consumer.numbers_until_number("suspended", before + 5_000, WITHIN).assert_complete(0..=before + 5_000);
    assert_nothing_lost(&kafka, &mut worker, &feed, "suspended");

    let play = Play::accept().send(Messages::count(1_000)).await_signal().send(Messages::count(500));
    let feed = Server::start(Script::every(play)).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"));
    let mut worker =
        self::worker(&kafka, &feed, "left", &[]).property("task.shutdown.graceful.timeout.ms", "2000").start();
    let acknowledged = "kafka_connect_source_task_metrics_source_record_write";
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
    assert!(
        worker.log_contains("event=handover_written records=500"),
        "500 records were received and not acknowledged"
    );
    assert_eq!(offsets_file::sequence(&worker.offsets_file(), CONNECTOR), Some(1_000));
}

/// What a paused connector that drops messages does with 5,000 of them and a queue of 1,000; the numbers that came through.
fn dropping(topic: &str, when_full: &str, cause: &str) -> Numbers {
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    let play = Play::accept()
        .send(Messages::count(500))
        .await_signal()
        .send(Messages::count(5_000))
        .await_signal()
        .send(Messages::count(100));
    let feed = Server::start(Script::every(play)).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"));
    let options = [("websocket.message.queue.size", "1000"), ("websocket.message.queue.full", when_full)];
    let mut worker = worker(kafka, &feed, topic, &options).start();
    consumer.wait_count(topic, 500, WITHIN);

    assert_eq!(worker.rest().put(&format!("/connectors/{CONNECTOR}/pause")).status, 202);
    worker.wait_state(CONNECTOR, "PAUSED");
    feed.signal();
    // A message is counted as received before it is dropped or in the queue.
    let dropped = wait_until("5000 messages to be dropped or in the queue", WITHIN, || {
        let dropped = [("connector", CONNECTOR), ("cause", cause)];
        let dropped = worker.metric("connect_websocket_messages_dropped_total", &dropped)?;
        let queued = worker.metric("connect_websocket_queue_records", &[("connector", CONNECTOR)])?;
        (dropped + queued == 5_000.0).then_some(dropped as u64)
    });
    assert!((3_500..=4_500).contains(&dropped), "{dropped} of 5000 messages dropped by a queue of 1000");
    let mbean = "io_conduktor_connect_websocket_WebSocketConnector_MessagesDropped";
    assert_eq!(worker.metric(mbean, &[("name", CONNECTOR)]), Some(dropped as f64));

    assert_eq!(worker.rest().put(&format!("/connectors/{CONNECTOR}/resume")).status, 202);
    consumer.wait_count(topic, 5_500 - dropped, WITHIN);
    feed.signal();
    wait_until("all messages to be received", WITHIN, || {
        let received = worker.metric("connect_websocket_messages_received_total", &[("connector", CONNECTOR)]);
        (received == Some(5_600.0)).then_some(())
    });
    assert_eq!(worker.terminate(), 0);
    let lines = worker.log().lines().filter(|line| line.contains("event=message_dropped")).count();
    assert!((1..=3).contains(&lines), "{lines} lines about dropped messages");
    let numbers = consumer.numbers_now(topic, WITHIN);
    assert_eq!(numbers.received(), 5_600 - dropped, "what was not dropped is there, once");
    numbers.assert_contains_all(0..=499);
    numbers.assert_contains_all(5_500..=5_599);
    numbers
}

#[test]
fn full_queue_drops_the_newest_if_it_is_told_to_and_counts_them() {
    dropping("drop-newest", "drop.newest", "queue_full_newest").assert_contains_all(500..=1_499);
}

#[test]
fn full_queue_drops_the_oldest_if_it_is_told_to_and_counts_them() {
    dropping("drop-oldest", "drop.oldest", "queue_full_oldest").assert_contains_all(4_500..=5_499);
}

#[test]
fn large_messages_are_bounded_in_bytes_while_the_connector_is_paused() {
    const COUNT: u64 = 300;
    let kafka = Kafka::shared();
    let feed = Server::start(Script::every(Play::accept().await_signal().send(Messages::count(COUNT).size(900_000))))
        .unwrap_or_else(|e| panic!("the feed cannot be served: {e}"));
    let mut worker = worker(kafka, &feed, "large", &[]).start();
    wait_feed(&feed, |stats| stats.connections.len() == 1);
    assert_eq!(worker.rest().put(&format!("/connectors/{CONNECTOR}/pause")).status, 202);
    worker.wait_state(CONNECTOR, "PAUSED");

    feed.signal();
    wait_feed(&feed, |stats| stats.sent() > 0);
    let (before, _) = wait_held_back(&feed, &worker);
    assert!(before < COUNT, "270 MB went into a paused connector");
    let metric = |name: &str| worker.metric(name, &[("connector", CONNECTOR)]).unwrap_or_default();
    let (held, capacity) = (metric("connect_websocket_queue_bytes"), metric("connect_websocket_queue_capacity_bytes"));
    assert!(held > 0.0 && held <= capacity, "{held} bytes in a queue of {capacity}");

    assert_eq!(worker.rest().put(&format!("/connectors/{CONNECTOR}/resume")).status, 202);
    let consumer = Consumer::new(&kafka.bootstrap());
    consumer.numbers_until("large", COUNT, WITHIN).assert_complete(0..=COUNT - 1);
    let peak = worker.process().peak_rss_bytes();
    assert!(peak < 200 << 20, "{} MiB were resident at the peak", peak >> 20);
    assert_eq!(worker.terminate(), 0);
}
