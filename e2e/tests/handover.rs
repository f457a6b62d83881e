//! What Kafka does not take before a stop, or before a task has failed, is in Kafka after the next start.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use connect_websocket_e2e::{Consumer, Kafka, Worker, WorkerBuilder, offsets_file, source_config, wait_until};
use connect_websocket_testkit::{Ended, Messages, OnClose, Play, Script, Server, Stats};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(60);
const CONNECTOR: &str = "feed";
const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";
/// Bytes of a message.
const SIZE: u64 = 200;
/// The records of a request: so many can be on their way when Kafka dies, which may have them without having said so.
const ON_THEIR_WAY: u64 = 16_384 / SIZE;

fn serve(play: Play) -> Server {
    Server::start(Script::every(play)).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"))
}

/// Messages without end; 50 more after the client's Close, before it is answered: those count, too.
fn steady() -> Play {
    let messages = Messages::forever().rate(4_000.0).size(SIZE as usize);
    Play::accept().send(messages).on_close(OnClose::GoOnSending { count: 50 })
}

fn config(feed: &Server, topic: &str, more: &[(&str, &str)]) -> Value {
    // In the worker's working directory.
    let own = [("websocket.handover.dir", "handover")];
    source_config(feed.url(), topic, &[&own, more].concat())
}

fn worker(kafka: &Kafka, feed: &Server, topic: &str, more: &[(&str, &str)]) -> WorkerBuilder {
    Worker::builder(&kafka.bootstrap()).connector(CONNECTOR, config(feed, topic, more))
}

fn wait_feed(feed: &Server, condition: impl FnMut(&Stats) -> bool) -> Stats {
    feed.wait_until(condition, WITHIN).unwrap_or_else(|e| panic!("{e}"))
}

fn files(worker: &Worker) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(worker.dir().join("handover")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap_or_else(|e| panic!("{e}")).path()).collect()
}

/// What stands behind `name=` in the log's lines of an event.
fn logged(worker: &Worker, event: &str, name: &str) -> Vec<u64> {
    let (event, name) = (format!("event={event} "), format!(" {name}="));
    let log = worker.log();
    let lines = log.lines().filter(|line| line.contains(&event));
    lines.filter_map(|line| line.split_once(&name)?.1.split([' ', '"']).next()?.parse().ok()).collect()
}

/// Ends the worker. Every connection ended in a closing handshake, so that nothing is in doubt; how many numbers were sent.
fn terminate(worker: &mut Worker, feed: &Server) -> u64 {
    assert_eq!(worker.terminate(), 0);
    let stats = wait_feed(feed, |stats| stats.open == 0);
    for connection in &stats.connections {
        assert_eq!(connection.ended, Some(Ended::ClosedByClient));
    }
    stats.next_n
}

#[test]
fn stops_while_kafka_is_dead_lose_nothing() {
    const ROUNDS: u64 = 3;
    let mut kafka = Kafka::start();
    let feed = serve(steady());
    let mut worker = worker(&kafka, &feed, "dead", &[("producer.override.batch.size", "16384")]).start();
    Consumer::new(&kafka.bootstrap()).wait_count("dead", 4_000, WITHIN);

    for round in 1..=ROUNDS {
        kafka.kill();
        let before = feed.stats().next_n;
        wait_feed(&feed, |stats| stats.next_n > before + 4_000);
        terminate(&mut worker, &feed);
        let written = logged(&worker, "handover_written", "records");
        assert_eq!(written.len() as u64, round, "{written:?}");
        assert!(written.last() >= Some(&4_000), "{written:?}");
        assert_eq!(files(&worker).len(), 1);
        let log = worker.log();
        let left = log.lines().find(|line| line.contains("event=records_left "));
        assert_eq!(left, None);

        kafka.start_again();
        worker.start_again();
        wait_until("the records of the hand-over file to be in Kafka", WITHIN, || {
            (logged(&worker, "handover_delivered", "records") == written).then_some(())
        });
        assert_eq!(logged(&worker, "handover_found", "records"), written);
        assert_eq!(files(&worker), Vec::<PathBuf>::new());
    }

    let sent = terminate(&mut worker, &feed);
    let numbers = Consumer::new(&kafka.bootstrap()).numbers_now("dead", WITHIN);
    let report = numbers.check(0..=sent - 1);
    assert_eq!((report.missing, report.out_of_order, report.unexpected), (0, 0, 0), "{report}");
    assert!(report.duplicated <= ROUNDS * ON_THEIR_WAY, "{report}");
    assert_eq!(offsets_file::sequence(&worker.offsets_file(), CONNECTOR), Some(sent));
}

#[test]
fn converted_records_of_several_partitions_are_handed_over_as_they_were_received() {
    let mut kafka = Kafka::start();
    kafka.create_topic("wide", 3);
    let play = Play::accept().send(Messages::count(3_000)).await_signal().send(Messages::count(2_000));
    let feed = serve(play);
    let bare = [("value.converter", JSON), ("value.converter.schemas.enable", "true")];
    let mut worker = worker(&kafka, &feed, "wide", &bare).start();
    let acknowledged = "kafka_connect_source_task_metrics_source_record_write";
    wait_until("the first to be acknowledged", WITHIN, || {
        (worker.metric(acknowledged, &[("connector", CONNECTOR)]) == Some(3_000.0)).then_some(())
    });
    kafka.kill();
    feed.signal();
    wait_until("the rest to be received", WITHIN, || {
        let received = worker.metric("connect_websocket_messages_received_total", &[("connector", CONNECTOR)]);
        (received == Some(5_000.0)).then_some(())
    });
    terminate(&mut worker, &feed);
    assert_eq!(logged(&worker, "handover_written", "records"), [2_000], "nothing was on its way to a dead Kafka");
    assert_eq!(offsets_file::sequence(&worker.offsets_file(), CONNECTOR), Some(3_000));

    kafka.start_again();
    feed.set_script(Script::every(Play::accept()));
    worker.start_again();
    let records = Consumer::new(&kafka.bootstrap()).read_until("wide", 5_000, WITHIN);
    let mut numbers: Vec<u64> = records.iter().map(|record| number_in_envelope(&record.text())).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..5_000).collect::<Vec<_>>());
    assert_eq!(terminate(&mut worker, &feed), 5_000);
    assert_eq!(offsets_file::sequence(&worker.offsets_file(), CONNECTOR), Some(5_000));
    assert_eq!(files(&worker), Vec::<PathBuf>::new());
}

/// The number of a message that JsonConverter has put into an envelope, once.
fn number_in_envelope(text: &str) -> u64 {
    let parse = |text: &str| -> Value { serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}")) };
    let message = parse(text)["payload"].as_str().map(parse).unwrap_or_default();
    message["n"].as_u64().unwrap_or_else(|| panic!("no number: {text}"))
}

#[test]
fn a_failed_task_hands_over_all_but_the_record_that_has_failed_it() {
    let kafka = Kafka::start();
    kafka.create_topic_with("strict", 1, &[("max.message.bytes", "4000")]);
    let large = json!({"n": 1_000_000, "text": "x".repeat(5_000)}).to_string();
    let play = Play::accept().send(Messages::count(100)).send_text(large).send(Messages::count(20_000));
    let feed = serve(play);
    let mut worker = worker(&kafka, &feed, "strict", &[]).start();
    wait_until("the task to be FAILED", WITHIN, || {
        let status = worker.rest().get(&format!("/connectors/{CONNECTOR}/status")).json();
        (status["tasks"][0]["state"] == "FAILED").then_some(())
    });
    let sent = wait_feed(&feed, |stats| stats.open == 0).next_n;
    let left = logged(&worker, "handover_written", "records");
    assert_eq!(left.len(), 1, "{left:?}");

    feed.set_script(Script::every(Play::accept()));
    assert_eq!(worker.rest().post(&format!("/connectors/{CONNECTOR}/tasks/0/restart")).status, 204);
    worker.wait_state(CONNECTOR, "RUNNING");
    let numbers = Consumer::new(&kafka.bootstrap()).numbers_until("strict", sent, WITHIN);
    numbers.assert_complete(0..=sent - 1);
    assert_eq!(terminate_after_failure(&mut worker), sent + 1);
    assert_eq!(files(&worker), Vec::<PathBuf>::new());
}

/// Connect's rule is that a refused record fails the task; it is then out of the way.
#[test]
fn records_that_kafka_refuses_in_a_row_fail_the_task_once_each_and_are_never_handed_over_again() {
    let kafka = Kafka::start();
    kafka.create_topic_with("poisoned", 1, &[("max.message.bytes", "4000")]);
    let large = |n: u64| json!({"n": 1_000_000 + n, "text": "x".repeat(5_000)}).to_string();
    let play = Play::accept().send(Messages::count(100));
    let play = (0..3).fold(play, |play, n| play.send_text(large(n))).send(Messages::count(2_000));
    let feed = serve(play);
    let mut worker = worker(&kafka, &feed, "poisoned", &[]).start();
    for round in 1..=3 {
        wait_until("the task to be FAILED", WITHIN, || {
            let status = worker.rest().get(&format!("/connectors/{CONNECTOR}/status")).json();
            (status["tasks"][0]["state"] == "FAILED").then_some(())
        });
        wait_until("the records to be in the hand-over file", WITHIN, || {
            (logged(&worker, "handover_written", "records").len() == round).then_some(())
        });
        feed.set_script(Script::every(Play::accept()));
        assert_eq!(worker.rest().post(&format!("/connectors/{CONNECTOR}/tasks/0/restart")).status, 204);
        wait_until("the start", WITHIN, || (logged(&worker, "handover_found", "records").len() == round).then_some(()));
    }
    let numbers = Consumer::new(&kafka.bootstrap()).numbers_until("poisoned", 2_100, WITHIN);
    numbers.assert_complete(0..=2_099);
    worker.wait_state(CONNECTOR, "RUNNING");
    let left = logged(&worker, "handover_written", "records");
    assert!(left.is_sorted_by(|a, b| a > b), "one fewer each time: {left:?}");
    assert_eq!(terminate_after_failure(&mut worker), 2_103);
    assert_eq!(files(&worker), Vec::<PathBuf>::new());
}

#[test]
fn a_deleted_connector_leaves_no_file_and_a_stopped_one_does() {
    let mut kafka = Kafka::start();
    let feed = serve(Play::accept().send(Messages::count(100)).await_signal().send(Messages::count(50)));
    let worker = worker(&kafka, &feed, "deleted", &[]).start();
    Consumer::new(&kafka.bootstrap()).wait_count("deleted", 100, WITHIN);
    kafka.kill();
    feed.signal();
    wait_until("the rest to be received", WITHIN, || {
        let received = worker.metric("connect_websocket_messages_received_total", &[("connector", CONNECTOR)]);
        (received == Some(150.0)).then_some(())
    });
    assert_eq!(worker.rest().put(&format!("/connectors/{CONNECTOR}/stop")).status, 204);
    assert_eq!(files(&worker).len(), 1);
    assert_eq!(worker.rest().delete(&format!("/connectors/{CONNECTOR}")).status, 204);
    assert_eq!(files(&worker), Vec::<PathBuf>::new());
    assert!(worker.log_contains("event=handover_deleted"));
}

/// The stored sequence, which counts the refused record.
fn terminate_after_failure(worker: &mut Worker) -> u64 {
    assert_eq!(worker.terminate(), 0);
    offsets_file::sequence(&worker.offsets_file(), CONNECTOR).unwrap_or_default()
}
