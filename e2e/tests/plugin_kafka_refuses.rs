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
    Server::start(Script::every(play)).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"))
}

/// What stands behind `name=` in the log's lines of an event of a connector's task.
fn logged(connect: &Connect, connector: &str, event: &str, name: &str) -> Vec<u64> {
    let (task, event, name) = (format!("[{connector}|task-0"), format!("event={event} "), format!(" {name}="));
    let log = connect.log();
    let lines = log.lines().filter(|line| line.contains(&task) && line.contains(&event));
    lines.filter_map(|line| line.split_once(&name)?.1.split([' ', '"']).next()?.parse().ok()).collect()
}

/// Restarts the task whenever it has failed, until it has done its work. Returns how often it failed.
fn restart_until_it_goes_on(connect: &Connect, consumer: &Consumer, name: &str) -> u64 {
    for failures in 0..=REFUSED {
        let failed = wait_until("the task to fail or to have done its work", WITHIN, || {
            let task = connect.rest().get(&format!("/connectors/{name}/status")).json()["tasks"][0].clone();
            if task["state"] == "FAILED" {
                let trace = task["trace"].to_string();
                assert!(trace.contains("RecordTooLargeException"), "{trace}");
                return Some(true);
            }
            (consumer.count(name) >= SMALL).then_some(false)
        });
        if !failed {
            return failures;
        }
        assert_eq!(connect.rest().post(&format!("/connectors/{name}/tasks/0/restart")).status, 204);
        let started = format!("event=task_started topic={name} ");
        wait_until("the restart", WITHIN, || {
            (connect.log().matches(&started).count() as u64 == failures + 2).then_some(())
        });
    }
    panic!("{name}: a refused record came back");
}

#[test]
fn records_that_kafka_refuses_in_a_row_fail_the_task_and_never_come_back() {
    let kafka = Kafka::shared();
    let connect = Connect::builder(&kafka.bootstrap()).start();
    let consumer = Consumer::new(&kafka.bootstrap());
    kafka.create_topic_with("plugin-poisoned", 1, &[("max.message.bytes", "4000")]);
    kafka.create_topic("plugin-too-large", 1);
    let own = [("websocket.handover.dir", "handover")];
    let by_client = ("producer.override.max.request.size", "4000");
    // In batches of many records, and one by one.
    for (name, more) in [("plugin-poisoned", vec![]), ("plugin-too-large", vec![by_client])] {
        let feed = poisoned();
        let config = source_config(feed.url(), name, &[&own[..], &more].concat());
        assert_eq!(connect.rest().put_json(&format!("/connectors/{name}/config"), &config).status, 201);
        feed.wait_until(|stats| stats.next_n >= SMALL, WITHIN).unwrap_or_else(|e| panic!("{e}"));
        feed.set_script(Script::every(Play::accept()));

        let failures = restart_until_it_goes_on(&connect, &consumer, name);

        assert!(failures >= 1, "{name}: the task did not fail");
        let left = logged(&connect, name, "handover_written", "records");
        eprintln!("{name} failures={failures} left={left:?}");
        consumer.numbers_now(name, WITHIN).assert_complete(0..=SMALL - 1);
        assert_eq!(connect.rest().delete(&format!("/connectors/{name}")).status, 204);
    }
    let files: Vec<_> = fs::read_dir(connect.dir().join("handover")).into_iter().flatten().collect();
    assert!(files.is_empty(), "{files:?}");
}
