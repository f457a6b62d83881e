//! Scenarios of delivery, for both hosts: what a feed sends arrives in Kafka, all of it, once, in order; and where that
//! cannot be, the gap is counted. [`crate::delivery_tests`] makes a test of each.
//!
//! In each, the name of the connector is that of its topic.

use std::thread;
use std::time::Duration;

use connect_websocket_testkit::{Ended, Handshake, Messages, OnClose, Play, Reject, Script, Server, Stats};
use serde_json::{Value, json};

use crate::consumer::Consumer;
use crate::host::Host;
use crate::kafka::Kafka;
use crate::numbers::Numbers;
use crate::offsets_file;
use crate::process::wait_until;
use crate::rest::Rest;
use crate::source::source_config;

const WITHIN: Duration = Duration::from_secs(60);
/// What waited for Kafka goes out at the pace of one batch at a time, on a machine that may be busy.
const ALL_WITHIN: Duration = Duration::from_secs(180);

/// Makes a test of each scenario for one kind of host. `$running` is an expression that yields a running host, which may
/// be shared: the scenarios that take it only use its REST API.
#[macro_export]
macro_rules! delivery_tests {
    ($host:ty, $running:expr) => {
        $crate::delivery_tests! { @running $running;
            nothing_is_lost_when_the_connector_restarts
            nothing_is_lost_when_the_connector_pauses_and_resumes
            nothing_is_lost_when_the_connector_stops_and_resumes
            nothing_is_lost_when_the_configuration_changes
            nothing_is_lost_when_the_connector_is_deleted_and_created_again
            closes_and_resets_are_survived_and_counted_by_cause
            server_that_accepts_and_closes_at_once_is_not_hammered
            server_that_asks_for_time_with_retry_after_gets_it
            time_stamp_of_a_record_is_the_time_of_receipt
        }
        $crate::delivery_tests! { @own $host;
            nothing_is_lost_when_the_worker_stops_and_starts_again
            nothing_acknowledged_is_lost_by_sigkill_and_the_gap_is_counted_as_restart
            nothing_is_lost_while_kafka_is_down
            nothing_is_lost_while_kafka_does_not_answer
        }
    };
    (@running $running:expr; $($name:ident)*) => {
        $(#[test] fn $name() { $crate::delivery::$name($running); })*
    };
    (@own $host:ty; $($name:ident)*) => {
        $(#[test] fn $name() { $crate::delivery::$name::<$host>(); })*
    };
}

/// 5,000 numbered messages a second; 50 more after the client's Close, before it is answered: those count, too.
pub fn steady() -> Play {
    let messages = Messages::forever().rate(5_000.0).size(200);
    Play::accept().send(messages).on_close(OnClose::GoOnSending { count: 50 })
}

/// Serves a play to every connection.
///
/// # Panics
/// If no port can be had.
pub fn serve(play: Play) -> Server {
    start(Script::every(play))
}

/// Serves a script.
///
/// # Panics
/// If no port can be had.
pub fn start(script: Script) -> Server {
    Server::start(script).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"))
}

/// A connector for `feed`, with a backoff of 200 ms to 2 s.
pub fn config(feed: &Server, topic: &str) -> Value {
    let backoff = [("websocket.reconnect.interval.ms", "200"), ("websocket.reconnect.backoff.max.ms", "2000")];
    source_config(feed.url(), topic, &backoff)
}

/// Waits until the feed's statistics fulfil a condition.
///
/// # Panics
/// If they don't within a minute.
pub fn wait_feed(feed: &Server, condition: impl FnMut(&Stats) -> bool) -> Stats {
    feed.wait_until(condition, WITHIN).unwrap_or_else(|e| panic!("{e}"))
}

/// Every connection ended in a closing handshake, so that nothing is in doubt, and there was one at a time.
fn assert_connections_were_closed(stats: &Stats) {
    for (i, connection) in stats.connections.iter().enumerate() {
        let (opened, closed) = (connection.opened_ms, connection.closed_ms.unwrap_or_default());
        assert!(
            matches!(connection.ended, Some(Ended::ClosedByClient | Ended::ClosedByServer)),
            "connection {i} of {}, open from {opened} to {closed}, {} messages, ended: {:?}",
            stats.connections.len(),
            connection.sent,
            connection.ended
        );
        // Two at a time would be a task that was forgotten.
        let before = i.checked_sub(1).and_then(|i| stats.connections[i].closed_ms).unwrap_or_default();
        assert!(opened >= before, "connection {i} was opened at {opened}, the one before closed at {before}");
    }
}

/// Every connection ended in a closing handshake, so that nothing is in doubt; what was sent is in `topic` once, in order.
///
/// # Panics
/// If not.
pub fn assert_nothing_lost(feed: &Server, consumer: &Consumer, topic: &str) {
    let stats = wait_feed(feed, |stats| stats.open == 0);
    assert_connections_were_closed(&stats);
    consumer.numbers_now(topic, WITHIN).assert_complete(0..=stats.next_n - 1);
}

/// Ends a stream in good order and checks that all of it is in the topic, and that the host left nothing behind.
///
/// The feed closes the connection and sends nothing on the next, so that the task is not stopped with records in hand:
/// those would wait for its successor.
fn assert_all_came<H: Host>(host: &H, feed: &Server, consumer: &Consumer, topic: &str, repeats: bool) {
    feed.set_script(Script::every(Play::accept()));
    let accepted = feed.stats().accepted;
    feed.close_all(1001);
    let sent = wait_feed(feed, |stats| stats.accepted > accepted && stats.open == 1).next_n;
    wait_until(&format!("all {sent} messages in topic {topic}"), ALL_WITHIN, || {
        assert_eq!(host.records_left(topic), 0, "the log reports records that were left behind");
        (consumer.count(topic) >= sent).then_some(())
    });

    assert_eq!(host.rest().put(&format!("/connectors/{topic}/stop")).status, 204);
    host.wait_state(topic, "STOPPED");
    let stats = wait_feed(feed, |stats| stats.open == 0);
    assert_connections_were_closed(&stats);
    let report = consumer.numbers_now(topic, WITHIN).check(0..=sent - 1);
    assert_eq!((report.missing, report.out_of_order, report.unexpected), (0, 0, 0), "{report}");
    assert!(report.duplicated == 0 || repeats, "{report}");

    let offsets = host.rest().get(&format!("/connectors/{topic}/offsets")).json();
    let sequence = offsets["offsets"][0]["offset"]["sequence"].as_u64();
    assert!(sequence.is_some_and(|sequence| sequence <= sent), "of {sent} messages, {sequence:?} are done: {offsets}");
    assert_eq!(host.rest().delete(&format!("/connectors/{topic}")).status, 204);
}

/// Runs `action` in mid-stream, lets the feed go on for a while and checks that nothing was lost.
fn nothing_is_lost_when(host: &impl Host, topic: &str, action: impl FnOnce(&Rest, &Server, &str)) {
    let consumer = Consumer::new(&Kafka::shared().bootstrap());
    let feed = serve(steady());
    host.rest().put_connector(topic, &config(&feed, topic));
    consumer.wait_count(topic, 2_000, WITHIN);

    action(host.rest(), &feed, &format!("/connectors/{topic}"));

    host.wait_state(topic, "RUNNING");
    consumer.wait_count(topic, consumer.count(topic) + 2_000, WITHIN);
    assert_all_came(host, &feed, &consumer, topic, false);
}

pub fn nothing_is_lost_when_the_connector_restarts(host: &impl Host) {
    nothing_is_lost_when(host, "restarted", |rest, feed, path| {
        let answer = rest.post(&format!("{path}/restart?includeTasks=true"));
        assert_eq!(answer.status, 202, "{}", answer.text);
        wait_feed(feed, |stats| stats.accepted == 2);
    });
}

pub fn nothing_is_lost_when_the_connector_pauses_and_resumes(host: &impl Host) {
    nothing_is_lost_when(host, "paused", |rest, _, path| {
        assert_eq!(rest.put(&format!("{path}/pause")).status, 202);
        rest.wait_state("paused", "PAUSED", WITHIN);
        assert_eq!(rest.put(&format!("{path}/resume")).status, 202);
    });
}

pub fn nothing_is_lost_when_the_connector_stops_and_resumes(host: &impl Host) {
    nothing_is_lost_when(host, "stopped-and-resumed", |rest, feed, path| {
        assert_eq!(rest.put(&format!("{path}/stop")).status, 204);
        rest.wait_state("stopped-and-resumed", "STOPPED", WITHIN);
        wait_feed(feed, |stats| stats.open == 0);
        assert_eq!(rest.put(&format!("{path}/resume")).status, 202);
    });
}

pub fn nothing_is_lost_when_the_configuration_changes(host: &impl Host) {
    nothing_is_lost_when(host, "changed", |rest, feed, _| {
        let mut changed = config(feed, "changed");
        changed["websocket.message.queue.size"] = json!("500");
        rest.put_connector("changed", &changed);
        wait_feed(feed, |stats| stats.accepted == 2);
    });
}

pub fn nothing_is_lost_when_the_connector_is_deleted_and_created_again(host: &impl Host) {
    nothing_is_lost_when(host, "deleted", |rest, feed, path| {
        assert_eq!(rest.delete(path).status, 204);
        wait_feed(feed, |stats| stats.open == 0);
        rest.put_connector("deleted", &config(feed, "deleted"));
    });
}

pub fn nothing_is_lost_when_the_worker_stops_and_starts_again<H: Host>() {
    const TOPIC: &str = "stopped";
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    let feed = serve(steady());
    let mut host = H::start(&kafka.bootstrap(), TOPIC, config(&feed, TOPIC));
    consumer.wait_count(TOPIC, 2_000, WITHIN);

    host.terminate();
    host.start_again();

    consumer.wait_count(TOPIC, consumer.count(TOPIC) + 2_000, WITHIN);
    host.wait_state(TOPIC, "RUNNING");
    assert_all_came(&host, &feed, &consumer, TOPIC, false);
}

pub fn nothing_acknowledged_is_lost_by_sigkill_and_the_gap_is_counted_as_restart<H: Host>() {
    const TOPIC: &str = "killed";
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    let feed = serve(steady());
    let mut host = H::start(&kafka.bootstrap(), TOPIC, config(&feed, TOPIC));
    consumer.wait_count(TOPIC, 5_000, WITHIN);
    // Connect does not replace the file at a stroke: it may be half written.
    wait_until("an offset to be stored", WITHIN, || {
        let stored = offsets_file::read(&host.offsets_file()).ok()?;
        stored.iter().find(|entry| entry.connector == TOPIC)?.offset.clone()
    });

    host.kill9();
    let arrived = consumer.count(TOPIC);
    let stored = offsets_file::sequence(&host.offsets_file(), TOPIC);
    assert!(stored.is_some_and(|stored| stored <= arrived), "stored is {stored:?}, in Kafka are {arrived}");

    host.start_again();
    host.wait_state(TOPIC, "RUNNING");
    consumer.wait_count(TOPIC, arrived + 2_000, WITHIN);
    host.wait_gaps(TOPIC, "restart", 1);
    assert_eq!(host.gaps(TOPIC, None), 1);
    feed.set_script(Script::every(Play::accept()));
    feed.close_all(1001);
    let last = wait_feed(&feed, |stats| stats.accepted == 3 && stats.open == 1).next_n - 1;
    consumer.numbers_until_number(TOPIC, last, ALL_WITHIN);
    host.terminate();

    let stats = wait_feed(&feed, |stats| stats.open == 0);
    let numbers = consumer.numbers_now(TOPIC, WITHIN);
    assert_only_doubtful_missing(&stats, &numbers);
    // What was in Kafka when the worker died is a prefix of the stream.
    numbers.assert_contains_all(0..=stored.unwrap_or_default().saturating_sub(1));
}

/// What is missing are messages that the feed's socket took but its client may never have got, nothing else.
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

pub fn closes_and_resets_are_survived_and_counted_by_cause(host: &impl Host) {
    const TOPIC: &str = "ends";
    let consumer = Consumer::new(&Kafka::shared().bootstrap());
    // Longer than a second, so that each connection counts as a good one and the next comes at once.
    let live = || {
        Play::accept().send(Messages {
            for_ms: Some(1_500),
            ping_every_ms: Some(100),
            ..Messages::forever().rate(1_000.0)
        })
    };
    let feed = start(Script::cycle([live().close(1001), live().reset()]));
    host.rest().put_connector(TOPIC, &config(&feed, TOPIC));

    wait_feed(&feed, |stats| stats.accepted >= 7);
    host.wait_gaps(TOPIC, "server_close", 3);
    host.wait_gaps(TOPIC, "connection_error", 3);
    let [by_close, by_reset, all] =
        [Some("server_close"), Some("connection_error"), None].map(|cause| host.gaps(TOPIC, cause));
    assert!(all <= by_close + by_reset + 1, "{all} gaps, of which {by_close} by Close and {by_reset} by reset");
    assert_eq!(host.gaps(TOPIC, Some("restart")), 0);
    feed.set_script(Script::every(Play::accept()));
    let stats = wait_feed(&feed, |stats| stats.open == 1 && stats.connections.last().is_some_and(|c| c.sent == 0));
    let doubtful: u64 = stats.in_doubt();
    wait_until("what is not in doubt in the topic", WITHIN, || {
        (consumer.count(TOPIC) + doubtful >= stats.next_n).then_some(())
    });
    assert_eq!(host.rest().delete(&format!("/connectors/{TOPIC}")).status, 204);

    let stats = wait_feed(&feed, |stats| stats.open == 0);
    let closed = stats.connections.iter().filter(|connection| connection.ended == Some(Ended::ClosedByServer)).count();
    assert!(closed >= 3, "{closed} closing handshakes were answered: {:?}", stats.connections);
    assert_only_doubtful_missing(&stats, &consumer.numbers_now(TOPIC, WITHIN));
}

pub fn server_that_accepts_and_closes_at_once_is_not_hammered(host: &impl Host) {
    const TOPIC: &str = "hammered";
    let feed = serve(Play::accept().close(1000));
    host.rest().put_connector(TOPIC, &config(&feed, TOPIC));

    let stats = wait_feed(&feed, |stats| stats.connections.len() >= 5);
    let opened: Vec<u64> = stats.connections.iter().map(|connection| connection.opened_ms).collect();
    // Doubling from 200 ms: no later than that is promised, no earlier is. Two clocks may differ by a tick.
    for (failure, pair) in opened.windows(2).enumerate() {
        let backoff = 200 << failure;
        assert!(pair[1] + 5 >= pair[0] + backoff, "attempt {} came before {backoff} ms: {opened:?}", failure + 2);
    }
    assert_eq!(host.rest().get(&format!("/connectors/{TOPIC}/status")).json()["tasks"][0]["state"], "RUNNING");
    assert_eq!(host.rest().delete(&format!("/connectors/{TOPIC}")).status, 204);
}

pub fn server_that_asks_for_time_with_retry_after_gets_it(host: &impl Host) {
    const TOPIC: &str = "retry-after";
    let headers = vec![("Retry-After".to_owned(), "2".to_owned())];
    let busy = Play::handshake(Handshake::Reject(Reject { status: 429, headers, body: "slow down".to_owned() }));
    let feed = start(Script::plays([busy, Play::accept().send(Messages::count(100))]));
    host.rest().put_connector(TOPIC, &config(&feed, TOPIC));
    Consumer::new(&Kafka::shared().bootstrap()).numbers_until(TOPIC, 100, WITHIN).assert_complete(0..=99);
    let opened: Vec<u64> = feed.stats().connections.iter().map(|connection| connection.opened_ms).collect();
    // The backoff alone would be 200 ms. Two clocks may differ by a tick.
    assert!(opened[1] + 5 >= opened[0] + 2_000, "the second attempt came too early: {opened:?}");
    assert_eq!(host.gaps(TOPIC, None), 0, "nothing was missed");
    assert_eq!(host.rest().delete(&format!("/connectors/{TOPIC}")).status, 204);
}

pub fn time_stamp_of_a_record_is_the_time_of_receipt(host: &impl Host) {
    const TOPIC: &str = "time-stamps";
    // The first may be read late: the worker's task has one thread, which makes its producer just then.
    let play = Play::accept().send(Messages::count(1)).wait_ms(300).send(Messages::count(49));
    let feed = serve(play.wait_ms(300).send(Messages::count(50)));
    // A socket that rests is read up to the linger later than its bytes came.
    let mut config = config(&feed, TOPIC);
    config["websocket.receive.linger.ms"] = json!("0");
    host.rest().put_connector(TOPIC, &config);
    let records = Consumer::new(&Kafka::shared().bootstrap()).read_until(TOPIC, 100, WITHIN);
    let stamps: Vec<i64> = records.iter().filter_map(|record| record.timestamp).collect();
    assert_eq!(stamps.len(), 100);
    assert!(stamps.is_sorted(), "{stamps:?}");
    let opened = i64::try_from(feed.stats().connections[0].opened_ms).unwrap_or_default();
    assert!(stamps[0] >= opened - 5 && stamps[99] - stamps[1] >= 295, "opened at {opened}: {stamps:?}");
    assert_eq!(host.rest().delete(&format!("/connectors/{TOPIC}")).status, 204);
}

pub fn nothing_is_lost_while_kafka_is_down<H: Host>() {
    nothing_is_lost_while::<H>("outage", |kafka, host| {
        let lines = || host.log().lines().count();
        let before = lines();
        kafka.stop();
        // How long Kafka is away; nothing is waited for.
        thread::sleep(Duration::from_secs(10));
        kafka.start_again();
        let logged = lines() - before;
        assert!(logged < H::LINES_OF_AN_OUTAGE, "{logged} lines of log for an outage of 10 s: {}", host.log());
    });
}

pub fn nothing_is_lost_while_kafka_does_not_answer<H: Host>() {
    nothing_is_lost_while::<H>("hung", |kafka, _| {
        kafka.suspend();
        thread::sleep(Duration::from_secs(5));
        kafka.resume();
    });
}

/// Troubles a Kafka of its own in mid-stream and checks that nothing was lost.
fn nothing_is_lost_while<H: Host>(topic: &str, trouble: impl FnOnce(&mut Kafka, &H)) {
    let mut kafka = Kafka::start();
    let consumer = Consumer::new(&kafka.bootstrap());
    let feed = serve(steady());
    let host = H::start(&kafka.bootstrap(), topic, config(&feed, topic));
    consumer.wait_count(topic, 2_000, WITHIN);

    trouble(&mut kafka, &host);

    let sent = feed.stats().next_n;
    consumer.numbers_until_number(topic, sent + 2_000, WITHIN).assert_contains_all(0..=sent + 2_000);
    assert_all_came(&host, &feed, &consumer, topic, H::MAY_REPEAT);
}
