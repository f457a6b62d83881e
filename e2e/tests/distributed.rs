//! The plugin in a group of Kafka Connect workers: Connect moves its task, the offsets go along.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use connect_websocket_e2e::delivery::{config, serve, start, steady, wait_feed};
use connect_websocket_e2e::{Connect, Consumer, Host, Kafka, plugin_dir, records_in_log, wait_until};
use connect_websocket_testkit::{Ended, Play, Script, Server, Stats};

const WITHIN: Duration = Duration::from_secs(90);

/// The workers of one group, with one connector, which is called like its topic. The tests take turns with it.
struct Group {
    workers: MutexGuard<'static, Vec<Connect>>,
    connector: &'static str,
    consumer: Consumer,
}

impl Group {
    fn take(connector: &'static str, feed: &Server) -> Group {
        static WORKERS: Mutex<Vec<Connect>> = Mutex::new(Vec::new());
        plugin_dir();
        let kafka = Kafka::shared();
        let mut workers = WORKERS.lock().unwrap_or_else(|_| panic!("the test before left the group in disorder"));
        if workers.is_empty() {
            let launch = || Connect::distributed(&kafka.bootstrap(), "group").launch();
            workers.extend([launch(), launch()]);
            workers.iter_mut().for_each(Connect::wait_healthy);
        }
        let group = Group { workers, connector, consumer: Consumer::new(&kafka.bootstrap()) };
        let config = config(feed, connector);
        // While the group forms, a request may be refused with 409.
        wait_until("the connector to be created", WITHIN, || {
            let answer = group.workers[0].rest().put_json(&format!("/connectors/{connector}/config"), &config);
            matches!(answer.status, 200 | 201).then_some(())
        });
        group.workers[0].rest().wait_state(connector, "RUNNING", WITHIN);
        group
    }

    /// Which of the workers has the task, as worker `by` says; `None` while it is not RUNNING.
    fn owner(&self, by: usize) -> Option<usize> {
        let path = format!("/connectors/{}/tasks/0/status", self.connector);
        let status = self.workers[by].rest().try_send("GET", &path, &[], None).ok()?;
        let status = (status.status == 200).then(|| status.json())?;
        let id = status["worker_id"].as_str().filter(|_| status["state"] == "RUNNING")?.to_owned();
        self.workers.iter().position(|worker| worker.rest().base() == format!("http://{id}"))
    }

    /// Waits until worker `new` has the task.
    fn wait_owner(&self, new: usize) {
        wait_until("the other worker to take over", WITHIN, || (self.owner(new) == Some(new)).then_some(()));
    }

    /// Waits for more messages in Kafka.
    fn wait_progress(&self) {
        self.consumer.wait_count(self.connector, self.consumer.count(self.connector) + 2_000, WITHIN);
    }

    fn sequence(&self, by: usize) -> u64 {
        let offsets = self.workers[by].rest().get(&format!("/connectors/{}/offsets", self.connector)).json();
        offsets["offsets"][0]["offset"]["sequence"].as_u64().unwrap_or_default()
    }

    /// Lines of one event in both logs, and the sum of their `records=`.
    fn logged(&self, event: &str) -> u64 {
        self.workers.iter().map(|worker| records_in_log(&worker.log(), self.connector, event)).sum()
    }
}

fn assert_one_at_a_time(stats: &Stats) {
    for pair in stats.connections.windows(2) {
        let closed = pair[0].closed_ms.unwrap_or(u64::MAX);
        assert!(pair[1].opened_ms >= closed, "two connections at a time: {:?}", stats.connections);
    }
}

#[test]
fn another_worker_takes_over_when_one_is_killed() {
    const CONNECTOR: &str = "taken-over";
    let feed = serve(steady());
    let mut group = Group::take(CONNECTOR, &feed);
    let old = group.owner(0).unwrap_or_else(|| panic!("the task runs nowhere"));
    let new = 1 - old;
    group.wait_progress();
    let before = wait_until("an offset to be stored", WITHIN, || Some(group.sequence(new)).filter(|&n| n > 0));

    group.workers[old].kill9();

    group.wait_owner(new);
    wait_feed(&feed, |stats| stats.accepted == 2);
    group.wait_progress();
    group.workers[new].wait_gaps(CONNECTOR, "restart", 1);
    assert_eq!(group.workers[new].gaps(CONNECTOR, None), 1);
    wait_until("the sequence to go on", WITHIN, || (group.sequence(new) > before).then_some(()));

    assert_eq!(group.workers[new].rest().delete(&format!("/connectors/{CONNECTOR}")).status, 204);
    let stats = wait_feed(&feed, |stats| stats.open == 0);
    assert_eq!(stats.accepted, 2, "{:?}", stats.connections);
    assert_one_at_a_time(&stats);
    // What was stored was in Kafka. Nothing shows what the killed worker had received after that.
    let numbers = group.consumer.numbers_now(CONNECTOR, WITHIN);
    numbers.assert_contains_all(0..=before - 1);
    let report = numbers.check(0..=stats.next_n - 1);
    assert_eq!((report.duplicated, report.out_of_order, report.unexpected), (0, 0, 0), "{report}");
    group.workers[old].start_again();
}

#[test]
fn rolling_restart_of_the_group_loses_nothing() {
    const CONNECTOR: &str = "rolled";
    let feed = start(Script::every(steady()));
    let mut group = Group::take(CONNECTOR, &feed);
    let first = group.owner(0).unwrap_or_else(|| panic!("the task runs nowhere"));
    group.wait_progress();

    for stopped in [first, 1 - first] {
        Host::terminate(&mut group.workers[stopped]);
        group.wait_owner(1 - stopped);
        group.wait_progress();
        group.workers[stopped].start_again();
    }

    // The last task gets a connection on which nothing is sent, and so is not stopped with records in hand.
    feed.set_script(Script::every(Play::accept()));
    let accepted = feed.stats().accepted;
    feed.close_all(1001);
    let sent = wait_feed(&feed, |stats| stats.accepted > accepted && stats.open == 1).next_n;
    // What one worker kept for the next task and the other did not find lies on the first one's disk.
    let elsewhere = |group: &Group| group.logged("handover_written").saturating_sub(group.logged("handover_found"));
    wait_until("all messages in Kafka", WITHIN, || {
        let there = group.consumer.count(CONNECTOR) + group.logged("records_left") + elsewhere(&group);
        (there >= sent).then_some(())
    });
    assert_eq!(group.workers[0].rest().delete(&format!("/connectors/{CONNECTOR}")).status, 204);

    let stats = wait_feed(&feed, |stats| stats.open == 0);
    assert_one_at_a_time(&stats);
    let unclean = stats
        .connections
        .iter()
        .find(|connection| !matches!(connection.ended, Some(Ended::ClosedByClient | Ended::ClosedByServer)));
    assert!(unclean.is_none(), "{unclean:?}");
    let report = group.consumer.numbers_now(CONNECTOR, WITHIN).check(0..=sent - 1);
    assert_eq!((report.duplicated, report.out_of_order, report.unexpected), (0, 0, 0), "{report}");
    assert_eq!(report.missing, group.logged("records_left") + elsewhere(&group), "{report}");
}
