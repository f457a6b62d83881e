//! What a feed sends arrives in Kafka: all of it, once, in order; and where that cannot be, the gap is counted.

use std::thread;
use std::time::Duration;

use connect_websocket_e2e::{ConnectStandalone, Consumer, Kafka, Numbers, Rest, Worker, WorkerBuilder, offsets_file};
use connect_websocket_testkit::{Ended, Handshake, Messages, OnClose, Play, Reject, Script, Server, Stats};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(60);
/// Counter of gaps, with the label `cause`.
const GAPS: &str = "connect_websocket_gaps_total";
const CONNECTOR: &str = "feed";

fn serve(play: Play) -> Server {
    start(Script::every(play))
}

fn start(script: Script) -> Server {
    Server::start(script).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"))
}

/// 5,000 numbered messages a second; 50 more after the client's Close, before it is answered: those count, too.
fn steady() -> Play {
    let messages = Messages::forever().rate(5_000.0).size(200);
    Play::accept().send(messages).on_close(OnClose::GoOnSending { count: 50 })
}

fn config(feed: &Server, topic: &str) -> Value {
    json!({
        "connector.class": "io.conduktor.connect.websocket.WebSocketSourceConnector",
        "tasks.max": "1",
        "websocket.url": feed.url(),
        "kafka.topic": topic,
        "websocket.reconnect.interval.ms": "200",
        "websocket.reconnect.backoff.max.ms": "2000",
    })
}

fn worker(kafka: &Kafka, feed: &Server, topic: &str) -> WorkerBuilder {
    Worker::builder(&kafka.bootstrap()).connector(CONNECTOR, config(feed, topic))
}

fn wait_feed(feed: &Server, condition: impl FnMut(&Stats) -> bool) -> Stats {
    feed.wait_until(condition, WITHIN).unwrap_or_else(|e| panic!("{e}"))
}

/// Every connection ended in a closing handshake, so that nothing is in doubt; what was sent is in `topic` once, in order.
fn assert_nothing_lost(feed: &Server, consumer: &Consumer, topic: &str) {
    let stats = wait_feed(feed, |stats| stats.open == 0);
    for (i, connection) in stats.connections.iter().enumerate() {
        let (opened, closed) = (connection.opened_ms, connection.closed_ms.unwrap_or_default());
        assert_eq!(
            connection.ended,
            Some(Ended::ClosedByClient),
            "connection {i} of {}, open from {opened} to {closed}, {} messages",
            stats.connections.len(),
            connection.sent
        );
        // Two at a time would be a task that was forgotten.
        let before = i.checked_sub(1).and_then(|i| stats.connections[i].closed_ms).unwrap_or_default();
        assert!(opened >= before, "connection {i} was opened at {opened}, the one before closed at {before}");
    }
    consumer.numbers_now(topic, WITHIN).assert_complete(0..=stats.next_n - 1);
}

/// What is missing in `topic` are messages that the feed's socket took but its client may never have got, nothing else.
fn assert_only_doubtful_missing(stats: &Stats, numbers: &Numbers) {
    let report = numbers.check(0..=stats.next_n - 1);
    assert_eq!((report.duplicated, report.out_of_order, report.unexpected), (0, 0, 0), "{report}");
    let doubtful: Vec<(u64, u64)> =
        stats.connections.iter().flat_map(|connection| connection.ranges_in_doubt()).collect();
    let lost: Vec<u64> = (0..stats.next_n)
        .filter(|&n| !numbers.contains(n) && !doubtful.iter().any(|&(first, last)| (first..=last).contains(&n)))
        .take(10)
        .collect();
    assert!(lost.is_empty(), "lost although the client had got them: {lost:?}; {report}; in doubt were {doubtful:?}");
}

#[test]
fn a_million_messages_as_fast_as_possible_all_arrive_in_bounded_memory() {
    const COUNT: u64 = 1_000_000;
    let kafka = Kafka::shared();
    let feed = serve(Play::accept().send(Messages::count(COUNT).size(200)));
    let mut worker = worker(kafka, &feed, "million").start();

    let consumer = Consumer::new(&kafka.bootstrap());
    consumer.numbers_until("million", COUNT, Duration::from_secs(300)).assert_complete(0..=COUNT - 1);
    let peak = worker.process().peak_rss_bytes();
    assert!(peak < 200 << 20, "{} MiB were resident at the peak", peak >> 20);
    assert_eq!(worker.terminate(), 0);
    consumer.numbers_now("million", WITHIN).assert_complete(0..=COUNT - 1);
}

/// Runs `action` in mid-stream, lets the feed go on for a while, stops the worker and checks that nothing was lost.
fn nothing_is_lost(topic: &str, action: impl FnOnce(&mut Worker, &Server)) {
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    let feed = serve(steady());
    let mut worker = worker(kafka, &feed, topic).start();
    consumer.wait_count(topic, 2_000, WITHIN);

    action(&mut worker, &feed);

    consumer.wait_count(topic, consumer.count(topic) + 2_000, WITHIN);
    assert_eq!(worker.terminate(), 0);
    assert_nothing_lost(&feed, &consumer, topic);
    let sequence = offsets_file::sequence(&worker.offsets_file(), CONNECTOR);
    assert!(
        sequence.is_some_and(|sequence| sequence <= consumer.count(topic)),
        "offset {sequence:?} is ahead of Kafka"
    );
}

#[test]
fn nothing_is_lost_when_the_worker_stops_and_starts_again() {
    nothing_is_lost("stopped", |worker, _| {
        assert_eq!(worker.terminate(), 0);
        worker.start_again();
    });
}

#[test]
fn nothing_is_lost_when_the_connector_restarts() {
    nothing_is_lost("restarted", |worker, feed| {
        let answer = worker.rest().post(&format!("/connectors/{CONNECTOR}/restart?includeTasks=true"));
        assert_eq!(answer.status, 202, "{}", answer.text);
        wait_feed(feed, |stats| stats.accepted == 2);
        worker.wait_state(CONNECTOR, "RUNNING");
    });
}

#[test]
fn nothing_is_lost_when_the_connector_pauses_and_resumes() {
    nothing_is_lost("paused", |worker, _| {
        assert_eq!(worker.rest().put(&format!("/connectors/{CONNECTOR}/pause")).status, 202);
        worker.wait_state(CONNECTOR, "PAUSED");
        assert_eq!(worker.rest().put(&format!("/connectors/{CONNECTOR}/resume")).status, 202);
        worker.wait_state(CONNECTOR, "RUNNING");
    });
}

#[test]
fn nothing_is_lost_when_the_connector_stops_and_resumes() {
    nothing_is_lost("stopped-and-resumed", |worker, feed| {
        assert_eq!(worker.rest().put(&format!("/connectors/{CONNECTOR}/stop")).status, 204);
        worker.wait_state(CONNECTOR, "STOPPED");
        wait_feed(feed, |stats| stats.open == 0);
        assert_eq!(worker.rest().put(&format!("/connectors/{CONNECTOR}/resume")).status, 202);
        worker.wait_state(CONNECTOR, "RUNNING");
    });
}

#[test]
fn nothing_is_lost_when_the_configuration_changes() {
    nothing_is_lost("changed", |worker, feed| {
        let mut changed = config(feed, "changed");
        changed["websocket.message.queue.size"] = json!("500");
        worker.put_connector(CONNECTOR, &changed);
        wait_feed(feed, |stats| stats.accepted == 2);
    });
}

#[test]
fn nothing_is_lost_when_the_connector_is_deleted_and_created_again() {
    nothing_is_lost("deleted", |worker, feed| {
        assert_eq!(worker.rest().delete(&format!("/connectors/{CONNECTOR}")).status, 204);
        wait_feed(feed, |stats| stats.open == 0);
        worker.put_connector(CONNECTOR, &config(feed, "deleted"));
    });
}

#[test]
fn nothing_acknowledged_is_lost_by_sigkill_and_the_gap_is_counted_as_restart() {
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    let feed = serve(steady());
    let mut worker = worker(kafka, &feed, "killed").start();
    consumer.wait_count("killed", 5_000, WITHIN);
    let flushed = || offsets_file::sequence(&worker.offsets_file(), CONNECTOR);
    connect_websocket_e2e::wait_until("an offset to be stored", WITHIN, flushed);

    worker.kill9();
    let arrived = consumer.count("killed");
    let stored = offsets_file::sequence(&worker.offsets_file(), CONNECTOR);
    assert!(stored.is_some_and(|stored| stored <= arrived), "stored is {stored:?}, in Kafka are {arrived}");

    worker.start_again();
    worker.wait_state(CONNECTOR, "RUNNING");
    consumer.wait_count("killed", arrived + 2_000, WITHIN);
    assert_eq!(worker.metric(GAPS, &[("cause", "restart")]), Some(1.0));
    assert_eq!(worker.terminate(), 0);

    let stats = wait_feed(&feed, |stats| stats.open == 0);
    let numbers = consumer.numbers_now("killed", WITHIN);
    assert_only_doubtful_missing(&stats, &numbers);
    // What was in Kafka when the worker died is a prefix of the stream.
    numbers.assert_contains_all(0..=stored.unwrap_or_default().saturating_sub(1));
}

#[test]
fn closes_and_resets_are_survived_and_counted_by_cause() {
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    // Longer than a second, so that each connection counts as a good one and the next comes at once.
    let live = || {
        Play::accept().send(Messages {
            for_ms: Some(1_500),
            ping_every_ms: Some(100),
            ..Messages::forever().rate(1_000.0)
        })
    };
    let feed = start(Script::cycle([live().close(1001), live().reset()]));
    let mut worker = worker(kafka, &feed, "ends").start();

    wait_feed(&feed, |stats| stats.accepted >= 7);
    let gaps = |cause: &str| worker.metric(GAPS, &[("cause", cause)]).unwrap_or_default();
    connect_websocket_e2e::wait_until("the gaps to be counted", WITHIN, || {
        (gaps("server_close") >= 3.0 && gaps("connection_error") >= 3.0).then_some(())
    });
    let both = gaps("server_close") + gaps("connection_error");
    let all = worker.metric(GAPS, &[]).unwrap_or_default();
    assert!((all - both).abs() < 0.5, "{all} gaps, of which {both} by Close or reset");
    assert_eq!(worker.terminate(), 0);

    let stats = wait_feed(&feed, |stats| stats.open == 0);
    let closed = stats.connections.iter().filter(|connection| connection.ended == Some(Ended::ClosedByServer)).count();
    assert!(closed >= 3, "{closed} closing handshakes were answered: {:?}", stats.connections);
    assert_only_doubtful_missing(&stats, &consumer.numbers_now("ends", WITHIN));
}

#[test]
fn server_that_accepts_and_closes_at_once_is_not_hammered() {
    let feed = serve(Play::accept().close(1000));
    let mut worker = worker(Kafka::shared(), &feed, "hammered").start();

    let stats = wait_feed(&feed, |stats| stats.connections.len() >= 5);
    let opened: Vec<u64> = stats.connections.iter().map(|connection| connection.opened_ms).collect();
    // Doubling from 200 ms: no later than that is promised, no earlier is. Two clocks may differ by a tick.
    for (failure, pair) in opened.windows(2).enumerate() {
        let backoff = 200 << failure;
        assert!(pair[1] + 5 >= pair[0] + backoff, "attempt {} came before {backoff} ms: {opened:?}", failure + 2);
    }
    assert_eq!(worker.rest().get(&format!("/connectors/{CONNECTOR}/status")).json()["tasks"][0]["state"], "RUNNING");
    assert_eq!(worker.terminate(), 0);
}

#[test]
fn server_that_asks_for_time_with_retry_after_gets_it() {
    let headers = vec![("Retry-After".to_owned(), "2".to_owned())];
    let busy = Play::handshake(Handshake::Reject(Reject { status: 429, headers, body: "slow down".to_owned() }));
    let feed = start(Script::plays([busy, Play::accept().send(Messages::count(100))]));
    let worker = worker(Kafka::shared(), &feed, "retry-after").start();
    Consumer::new(&Kafka::shared().bootstrap()).numbers_until("retry-after", 100, WITHIN).assert_complete(0..=99);
    let opened: Vec<u64> = feed.stats().connections.iter().map(|connection| connection.opened_ms).collect();
    // The backoff alone would be 200 ms. Two clocks may differ by a tick.
    assert!(opened[1] + 5 >= opened[0] + 2_000, "the second attempt came too early: {opened:?}");
    assert_eq!(worker.metric(GAPS, &[("connector", CONNECTOR)]).unwrap_or_default(), 0.0, "nothing was missed");
}

#[test]
fn time_stamp_of_a_record_is_the_time_of_receipt() {
    let feed = serve(Play::accept().send(Messages::count(50)).wait_ms(300).send(Messages::count(50)));
    // A socket that rests is read up to the linger later than its bytes came.
    let mut config = config(&feed, "time-stamps");
    config["websocket.receive.linger.ms"] = json!("0");
    let _worker = Worker::builder(&Kafka::shared().bootstrap()).connector(CONNECTOR, config).start();
    let records = Consumer::new(&Kafka::shared().bootstrap()).read_until("time-stamps", 100, WITHIN);
    let stamps: Vec<i64> = records.iter().filter_map(|record| record.timestamp).collect();
    assert_eq!(stamps.len(), 100);
    assert!(stamps.is_sorted(), "{stamps:?}");
    let opened = i64::try_from(feed.stats().connections[0].opened_ms).unwrap_or_default();
    assert!(stamps[0] >= opened - 5 && stamps[99] - stamps[0] >= 295, "opened at {opened}: {stamps:?}");
}

#[test]
fn nothing_is_lost_while_kafka_is_down() {
    let mut kafka = Kafka::start();
    let consumer = Consumer::new(&kafka.bootstrap());
    let feed = serve(steady());
    let mut worker = worker(&kafka, &feed, "outage").start();
    consumer.wait_count("outage", 2_000, WITHIN);

    let lines = || worker.log().lines().count();
    let before = lines();
    kafka.stop();
    // How long Kafka is away; nothing is waited for.
    thread::sleep(Duration::from_secs(10));
    kafka.start_again();
    let logged = lines() - before;
    assert!(logged < 100, "{logged} lines of log for an outage of 10 s: {}", worker.log());

    let sent = feed.stats().next_n;
    consumer.numbers_until_number("outage", sent + 2_000, WITHIN).assert_complete(0..=sent + 2_000);
    assert_eq!(worker.terminate(), 0);
    assert_nothing_lost(&feed, &consumer, "outage");
}

#[test]
fn nothing_is_lost_while_kafka_does_not_answer() {
    let kafka = Kafka::start();
    let consumer = Consumer::new(&kafka.bootstrap());
    let feed = serve(steady());
    let mut worker = worker(&kafka, &feed, "hung").start();
    consumer.wait_count("hung", 2_000, WITHIN);

    kafka.suspend();
    thread::sleep(Duration::from_secs(5));
    kafka.resume();

    let sent = feed.stats().next_n;
    consumer.numbers_until_number("hung", sent + 2_000, WITHIN).assert_complete(0..=sent + 2_000);
    assert_eq!(worker.terminate(), 0);
    assert_nothing_lost(&feed, &consumer, "hung");
}

#[test]
fn apache_connect_and_the_worker_take_over_each_others_offsets() {
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    let feed = serve(steady());
    let mut worker = worker(kafka, &feed, "swapped").start();
    consumer.wait_count("swapped", 1_000, WITHIN);
    assert_eq!(worker.terminate(), 0);
    let file = worker.offsets_file();
    let stored = offsets_file::sequence(&file, CONNECTOR);
    assert!(stored.is_some(), "a graceful stop stores the offset");

    // Apache Connect reads what the worker wrote and writes another position.
    let apache = || {
        let connect = ConnectStandalone::builder(&kafka.bootstrap())
            .property("offset.storage.file.filename", &file.display().to_string())
            .start();
        let created = connect.rest().post_json(
            "/connectors",
            &json!({"name": CONNECTOR, "initial_state": "STOPPED", "config": ConnectStandalone::sample_source()}),
        );
        assert_eq!(created.status, 201, "{}", created.text);
        connect
    };
    let mut connect = apache();
    let mut offsets = offsets_of(connect.rest());
    assert_eq!(offsets["offsets"][0]["partition"], json!({"websocket_url": feed.url()}));
    assert_eq!(offsets["offsets"][0]["offset"]["sequence"].as_u64(), stored);
    offsets["offsets"][0]["offset"]["sequence"] = json!(500_000);
    let altered = connect.rest().patch_json(&format!("/connectors/{CONNECTOR}/offsets"), &offsets);
    assert_eq!(altered.status, 200, "{}", altered.text);
    connect.terminate();

    // The worker goes on from there.
    let before = consumer.count("swapped");
    worker.start_again();
    consumer.wait_count("swapped", before + 1_000, WITHIN);
    assert_eq!(worker.terminate(), 0);
    let stored = offsets_file::sequence(&file, CONNECTOR).unwrap_or_default();
    let added = consumer.count("swapped") - before;
    assert!((500_000 + added - 1..=500_000 + added).contains(&stored), "{stored} after {added} records from 500000 on");

    // A reset by Apache Connect leaves a null in the file, and the worker begins anew.
    let mut connect = apache();
    let reset = connect.rest().delete(&format!("/connectors/{CONNECTOR}/offsets"));
    assert_eq!(reset.status, 200, "{}", reset.text);
    connect.terminate();
    assert_eq!(offsets_file::sequence(&file, CONNECTOR), None);
    let before = consumer.count("swapped");
    worker.start_again();
    consumer.wait_count("swapped", before + 1_000, WITHIN);
    assert_eq!(worker.terminate(), 0);
    let stored = offsets_file::sequence(&file, CONNECTOR).unwrap_or_default();
    assert!(stored > 0 && stored <= consumer.count("swapped") - before, "{stored} after a reset");
    assert_nothing_lost(&feed, &consumer, "swapped");
}

fn offsets_of(rest: &Rest) -> Value {
    let answer = rest.get(&format!("/connectors/{CONNECTOR}/offsets"));
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}
