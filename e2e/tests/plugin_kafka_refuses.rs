//! The plugin in Kafka Connect, where Kafka refuses records: Connect's rule is that one fails the task; it is then out of the
//! way, and so are the next ones.

use std::fs;
use std::time::Duration;

use connect_websocket_e2e::{Connect, Consumer, Kafka, source_config, wait_until};
use connect_websocket_testkit::{Messages, Play, Script, Server};
use serde_json::json;

const WITHIN: Duration = Duration::from_secs(60);
/// Larger than topic or producer take.
const REFUSED: u64 = 3;
const SMALL: u64 = 2_100;

/// Small messages, three large ones in a row, and more small ones.
fn poisoned() -> Server {
    let large = |n: u64| json!({"n": 1_000_000 + n, "text": "x".repeat(5_000)}).to_string();
    let play = Play::accept().send(Messages::count(100));
    let play = (0..REFUSED).fold(play, |play, n| play.send_text(large(n))).send(Messages::count(SMALL - 100));
    Server::start(Script::plays([one_more(play), one_more(Play::accept())]))
        .unwrap_or_else(|e| panic!("the feed cannot be served: {e}"))
}

/// Another message once [`Server::signal`] is called.
fn one_more(play: Play) -> Play {
    play.await_signal().send(Messages::count(1))
}

/// What stands behind `name=` in the log's lines of an event of a connector's task.
fn logged(connect: &Connect, connector: &str, event: &str, name: &str) -> Vec<u64> {
    let (task, event, name) = (format!("[{connector}|task-0"), format!("event={event} "), format!(" {name}="));
    let log = connect.log();
    let lines = log.lines().filter(|line| line.contains(&task) && line.contains(&event));
    lines.filter_map(|line| line.split_once(&name)?.1.split([' ', '"']).next()?.parse().ok()).collect()
}

/// Restarts the task whenever it has failed for this reason, until it goes on; before the first restart `mend` is called.
/// Returns how often it failed.
fn restart_until_it_goes_on(connect: &Connect, feed: &Server, name: &str, reason: &str, mend: impl Fn()) -> u64 {
    let consumer = Consumer::new(&Kafka::shared().bootstrap());
    // It has to fail first.
    let mut sent_before = u64::MAX;
    for failures in 0..=REFUSED {
        let failed = wait_until("the task to fail or to go on", WITHIN, || {
            // Connect looks for a failure of its producer before it sends what it polls next.
            feed.signal();
            let task = connect.rest().get(&format!("/connectors/{name}/status")).json()["tasks"][0].clone();
            if task["state"] == "FAILED" {
                let trace = task["trace"].to_string();
                assert!(trace.contains(reason), "{trace}");
                return Some(true);
            }
            let sent = feed.stats().next_n;
            let arrived = sent > sent_before && consumer.numbers_now(name, WITHIN).contains(sent - 1);
            arrived.then_some(false)
        });
        if !failed {
            return failures;
        }
        sent_before = feed.stats().next_n;
        mend();
        assert_eq!(connect.rest().post(&format!("/connectors/{name}/tasks/0/restart")).status, 204);
        let started = format!("event=task_started topic={name} ");
        wait_until("the restart", WITHIN, || {
            (connect.log().matches(&started).count() as u64 == failures + 2).then_some(())
        });
    }
    panic!("{name}: a refused record came back");
}

/// What is missing in the topic is reported, of which Kafka has refused so many; nothing came twice or out of order.
fn assert_all_is_reported(connect: &Connect, feed: &Server, name: &str, failures: u64, refused: u64) {
    let unanswered: u64 = logged(connect, name, "records_unanswered", "records").iter().sum();
    let numbers = Consumer::new(&Kafka::shared().bootstrap()).numbers_now(name, WITHIN);
    let report = numbers.check(0..=feed.stats().next_n - 1);
    let what = format!("{name}: {report}; {failures} failures, {unanswered} reported");
    assert_eq!((report.duplicated, report.out_of_order, report.unexpected), (0, 0, 0), "{what}");
    assert!(unanswered >= report.missing + refused, "{what}");
}

#[test]
fn records_that_kafka_refuses_in_a_row_fail_the_task_and_never_come_back() {
    let kafka = Kafka::shared();
    let connect = Connect::builder(&kafka.bootstrap()).start();
    kafka.create_topic_with("plugin-poisoned", 1, &[("max.message.bytes", "4000")]);
    kafka.create_topic("plugin-too-large", 1);
    kafka.create_topic_with("plugin-one-by-one", 1, &[("max.message.bytes", "4000")]);
    let own = ("websocket.handover.dir", "handover");
    for (name, more) in [
        // The broker refuses them.
        ("plugin-poisoned", vec![own]),
        // Connect's producer does, and Connect drops what it polled together with the first.
        ("plugin-too-large", vec![own, ("producer.override.max.request.size", "4000")]),
        // Each is polled alone.
        ("plugin-one-by-one", vec![own, ("websocket.message.queue.size", "1")]),
    ] {
        let feed = poisoned();
        let config = source_config(feed.url(), name, &more);
        assert_eq!(connect.rest().put_json(&format!("/connectors/{name}/config"), &config).status, 201);

        let failures = restart_until_it_goes_on(&connect, &feed, name, "RecordTooLargeException", || ());

        assert_all_is_reported(&connect, &feed, name, failures, REFUSED);
        assert_eq!(connect.rest().delete(&format!("/connectors/{name}")).status, 204);
    }
    let files: Vec<_> = fs::read_dir(connect.dir().join("handover")).into_iter().flatten().collect();
    assert!(files.is_empty(), "{files:?}");
}

/// As when the machine's clock was wrong for a while: Kafka takes no timestamp, and then it does.
#[test]
fn refused_timestamps_fail_the_task_which_goes_on_once_they_are_right() {
    const NAME: &str = "plugin-clock";
    let kafka = Kafka::shared();
    kafka.create_topic_with(NAME, 1, &[("message.timestamp.before.max.ms", "0")]);
    let connect = Connect::builder(&kafka.bootstrap()).start();
    let play = one_more(Play::accept().send(Messages::count(100)));
    let feed = Server::start(Script::every(play)).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"));
    let config = source_config(feed.url(), NAME, &[("websocket.handover.dir", "handover")]);
    assert_eq!(connect.rest().put_json(&format!("/connectors/{NAME}/config"), &config).status, 201);

    let failures = restart_until_it_goes_on(&connect, &feed, NAME, "InvalidRecordException", || {
        kafka.set_topic_setting(NAME, "message.timestamp.before.max.ms", "9223372036854775807");
    });

    assert_eq!(failures, 1);
    assert_all_is_reported(&connect, &feed, NAME, failures, 0);
}
