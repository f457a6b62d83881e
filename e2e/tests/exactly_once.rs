//! The plugin in a group of two Kafka Connect workers with exactly-once support (KIP-618): a feed that can go on from a cursor
//! is in Kafka once, whatever is killed, filtered, refused or changed by hand.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use connect_websocket_e2e::acknowledged::{self, assert_after_kafka, assert_in_time, create_topic, wait_acknowledged};
use connect_websocket_e2e::feeds::Run;
use connect_websocket_e2e::{Connect, Consumer, Kafka, Numbers, Rest, plugin_dir, source_config, wait_until};
use connect_websocket_engine::feeds::Profile;
use connect_websocket_testkit::{Play, SIMULATORS, Script, Server, Simulation, Simulator};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(90);

/// The two workers, and a connector that is called like its topic. The tests take turns with them.
struct Group {
    workers: MutexGuard<'static, Vec<Connect>>,
    consumer: Consumer,
    connector: &'static str,
}

impl Group {
    fn take(connector: &'static str) -> Group {
        static WORKERS: Mutex<Vec<Connect>> = Mutex::new(Vec::new());
        plugin_dir();
        let bootstrap = Kafka::shared().bootstrap();
        let mut workers = WORKERS.lock().unwrap_or_else(|_| panic!("the test before left the group in disorder"));
        if workers.is_empty() {
            let launch = || {
                Connect::distributed(&bootstrap, "exactly-once")
                    .property("exactly.once.source.support", "enabled")
                    .property("offset.flush.interval.ms", "1000")
                    .property("config.providers", "file")
                    .property(
                        "config.providers.file.class",
                        "org.apache.kafka.common.config.provider.FileConfigProvider",
                    )
                    .launch()
            };
            workers.extend([launch(), launch()]);
            workers.iter_mut().for_each(Connect::wait_healthy);
        }
        Group { workers, consumer: Consumer::new(&bootstrap), connector }
    }

    /// A connector that goes on from the number behind the cursor, and has to be exactly-once.
    fn config(&self, server: &Server, more: &[(&str, &str)]) -> Value {
        let url = format!("{}?cursor={{{{cursor}}}}", server.url());
        let resuming = [
            ("exactly.once.support", "required"),
            ("websocket.cursor", "{{/n}}"),
            ("websocket.cursor.inclusive", "false"),
            ("websocket.handover.dir", ""),
        ];
        source_config(&url, self.connector, &[&resuming[..], more].concat())
    }

    /// Creates or changes the connector and waits until it runs.
    fn put(&self, config: &Value) {
        // While the group forms, a request may be refused with 409.
        wait_until("the configuration to be taken", WITHIN, || {
            let answer = self.rest().put_json(&self.path("config"), config);
            assert!(matches!(answer.status, 200 | 201 | 409), "{}", answer.text);
            matches!(answer.status, 200 | 201).then_some(())
        });
        self.wait_state("RUNNING");
    }

    fn rest(&self) -> &Rest {
        self.workers[0].rest()
    }

    fn path(&self, of: &str) -> String {
        format!("/connectors/{}/{of}", self.connector)
    }

    fn wait_state(&self, state: &str) {
        self.rest().wait_state(self.connector, state, WITHIN);
    }

    /// Which of the workers has the task; `None` while it is not RUNNING.
    fn owner(&self) -> Option<usize> {
        let answer = self.rest().try_send("GET", &self.path("tasks/0/status"), &[], None).ok()?;
        let status = (answer.status == 200).then(|| answer.json())?;
        let id = status["worker_id"].as_str().filter(|_| status["state"] == "RUNNING")?.to_owned();
        self.workers.iter().position(|worker| worker.rest().base() == format!("http://{id}"))
    }

    /// Kills a worker and starts it again, and waits for more records in Kafka.
    fn kill(&mut self, worker: usize) {
        self.workers[worker].kill9();
        self.workers[worker].start_again();
        self.wait_progress();
    }

    fn wait_progress(&self) {
        self.consumer.wait_count(self.connector, self.consumer.count(self.connector) + 200, WITHIN);
    }

    fn wait_failed(&self) -> String {
        wait_until("the task to fail", WITHIN, || {
            let task = self.rest().get(&self.path("status")).json()["tasks"][0].clone();
            (task["state"] == "FAILED").then(|| task["trace"].as_str().unwrap_or_default().to_owned())
        })
    }

    /// Stops the connector, so that all of its last transaction is done.
    fn stop(&self) {
        assert_eq!(self.rest().put(&self.path("stop")).status, 204);
        self.wait_state("STOPPED");
    }

    fn resume(&self) {
        assert_eq!(self.rest().put(&self.path("resume")).status, 202);
        self.wait_state("RUNNING");
    }

    /// Partitions and offsets, as Connect shows them.
    fn offsets(&self) -> Vec<(String, Value)> {
        let offsets = self.rest().get(&self.path("offsets")).json()["offsets"].clone();
        let offsets = offsets.as_array().cloned().unwrap_or_default();
        let partition = |offset: &Value| offset["partition"]["websocket_url"].as_str().unwrap_or_default().to_owned();
        offsets.iter().map(|offset| (partition(offset), offset["offset"].clone())).collect()
    }

    /// The numbers that a consumer of committed records sees, once there are so many.
    fn numbers(&self, count: usize) -> Vec<u64> {
        let records = self.consumer.read_until(self.connector, count, WITHIN);
        let value = |text: String| serde_json::from_str::<Value>(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
        records.iter().map(|record| value(record.text())["n"].as_u64().unwrap_or(u64::MAX)).collect()
    }

    fn log(&self) -> String {
        self.workers.iter().map(Connect::log).collect()
    }

    fn delete(self) {
        assert_eq!(self.rest().delete(&format!("/connectors/{}", self.connector)).status, 204);
    }
}

fn message(n: u64) -> String {
    json!({"n": n}).to_string()
}

/// Sends these numbers, each in a message of its own, and waits.
fn sends(numbers: impl IntoIterator<Item = u64>) -> Play {
    numbers.into_iter().fold(Play::accept(), |play, n| play.send_text(message(n)))
}

fn serve(plays: impl IntoIterator<Item = Play>) -> Server {
    Server::start(Script::plays(plays)).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"))
}

/// What was asked for in each opening handshake.
fn targets(server: &Server) -> Vec<String> {
    let target = |line: &str| line.split(' ').nth(1).unwrap_or_default().to_owned();
    let connections = server.stats().connections;
    connections.iter().filter_map(|connection| Some(target(&connection.request.as_ref()?.line))).collect()
}

/// Jetstream v2 with all of its history, and a connector of its profile.
fn jetstream(connector: &str) -> (&'static Simulator, Simulation, Value) {
    let simulator = SIMULATORS.iter().find(|simulator| simulator.feed == "jetstream-v2");
    let simulator = simulator.unwrap_or_else(|| panic!("there is no simulator of Jetstream"));
    let profile = Profile::named(simulator.feed).unwrap_or_else(|| panic!("there is no profile of Jetstream"));
    let feed = Simulation::start_with_history(simulator, u64::MAX).unwrap_or_else(|e| panic!("{e}"));
    let given = profile.options.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let own =
        [("websocket.feed", simulator.feed), ("exactly.once.support", "required"), ("websocket.handover.dir", "")];
    let mut config = source_config("", connector, &own);
    for (key, value) in simulator.settings(given, &feed.host(), 1) {
        config[key] = json!(value);
    }
    (simulator, feed, config)
}

/// A feed publishes 250 records a second while `act` runs.
fn while_publishing(feed: &Simulation, act: impl FnOnce()) {
    let on = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            while on.load(Relaxed) {
                feed.publish(5);
                thread::sleep(Duration::from_millis(20));
            }
        });
        // Or else a failure would wait for the thread for ever.
        let acted = catch_unwind(AssertUnwindSafe(act));
        on.store(false, Relaxed);
        acted.unwrap_or_else(|panic| resume_unwind(panic));
    });
}

/// `make exactly-once` kills twenty times. Every fourth kill is that of the worker without the task.
#[test]
fn every_record_comes_once_and_in_order_whichever_worker_is_killed() {
    let kills = std::env::var("EXACTLY_ONCE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(4);
    let mut group = Group::take("eos-killed");
    let (simulator, feed, config) = jetstream(group.connector);
    // The feed's timestamps are of some day, and Kafka would begin to delete them.
    Kafka::shared().create_topic_with(group.connector, 1, &[("retention.ms", "-1")]);
    group.put(&config);
    wait_until("the feed to have a client", WITHIN, || feed.has_begun().then_some(()));
    while_publishing(&feed, || {
        group.wait_progress();
        for kill in 0..kills {
            let owner = wait_until("the task to run", WITHIN, || group.owner());
            group.kill(if kill % 4 == 3 { 1 - owner } else { owner });
        }
    });
    let published = feed.published();
    let last = (simulator.record)(published - 1).value;
    wait_until("the last record to be in Kafka", WITHIN, || {
        let records = group.consumer.read_all(group.connector, WITHIN);
        records.iter().any(|record| record.text() == last).then_some(())
    });
    group.stop();
    let mut numbers = Numbers::default();
    group
        .consumer
        .read_all(group.connector, WITHIN)
        .iter()
        .for_each(|record| numbers.add(number(simulator, &record.text())));
    let report = numbers.check(0..=published - 1);
    println!("{kills} kills, {published} records published: {report}");
    let log = group.log();
    let told: Vec<&str> =
        log.lines().filter(|line| line.contains("[eos-killed|task-0") && line.contains("event=")).collect();
    assert!(report.is_complete(), "{report}\n{}", told.join("\n"));
    assert_eq!(told.iter().find(|line| line.contains("event=gap ")), None);
    group.delete();
}

/// Which record of the simulator it is.
fn number(simulator: &Simulator, text: &str) -> u64 {
    let seq = |text: &str| serde_json::from_str::<Value>(text).ok().and_then(|value| value["seq"].as_u64());
    let [first, second] = [0, 1].map(|n| seq(&(simulator.record)(n).value).unwrap_or_default());
    let seq = seq(text).unwrap_or_else(|| panic!("no event of Jetstream: {text}"));
    let number = (seq - first) / (second - first);
    assert_eq!(text, (simulator.record)(number).value);
    number
}

#[test]
fn every_gap_is_in_the_ledger_once_though_a_worker_is_killed() {
    const LEDGER: &str = "eos-gaps-ledger";
    let mut group = Group::take("eos-gaps");
    let server = serve([sends([0, 1, 5, 6]), sends([7, 11, 12])]);
    group.put(&group.config(&server, &[("websocket.sequence", "{{/n}}"), ("websocket.gaps.topic", LEDGER)]));
    assert_eq!(group.numbers(4), [0, 1, 5, 6]);
    let owner = wait_until("the task to run", WITHIN, || group.owner());
    group.workers[owner].kill9();
    group.workers[owner].start_again();
    assert_eq!(group.numbers(7)[4..], [7, 11, 12]);
    assert_eq!(targets(&server), ["/", "/?cursor=6"]);
    group.stop();
    let told = group.consumer.read_all(LEDGER, WITHIN);
    let range = |text: String| {
        let gap: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
        json!([gap["cause"], gap["from"], gap["to"], gap["missing"]])
    };
    let told: Vec<Value> = told.iter().map(|record| range(record.text())).collect();
    assert_eq!(told, [json!(["sequence", "2", "4", 3]), json!(["sequence", "8", "10", 3])]);
    group.delete();
}

#[test]
fn a_configuration_that_cannot_be_exactly_once_is_refused_with_the_reason() {
    let group = Group::take("eos-refused");
    let server = serve([sends(0..1)]);
    for (option, value, words) in [
        ("websocket.message.queue.full", "drop.oldest", "drops messages"),
        ("websocket.dedup.key", "{{/n}}", "what websocket.dedup.key has seen is known only in memory"),
    ] {
        let config = group.config(&server, &[(option, value)]);
        let answer = group.rest().put_json(&group.path("config"), &config);
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(answer.text.contains("exactly.once.support=required is not possible"), "{}", answer.text);
        assert!(answer.text.contains(words), "{}", answer.text);
        // Connect's own words, which have no room for the reason.
        assert!(answer.text.contains("does not support exactly-once semantics"), "{}", answer.text);
        wait_until("the reason in the log", WITHIN, || {
            let line = |line: &&str| line.contains("event=exactly_once_unsupported connector=eos-refused");
            group.log().lines().filter(line).any(|line| line.contains(words)).then_some(())
        });
    }
}

#[test]
fn a_restart_goes_on_from_the_cursor_in_the_offset_and_from_one_that_was_set_by_hand() {
    let group = Group::take("eos-cursor");
    let server = serve([sends(0..5), sends(5..7), sends(3..6)]);
    group.put(&group.config(&server, &[]));
    assert_eq!(group.numbers(5), [0, 1, 2, 3, 4]);

    group.stop();
    let (_, offset) = group.offsets()[0].clone();
    assert_eq!(
        (&offset["cursor"], &offset["sequence"], offset["at"].is_i64()),
        (&json!("4"), &json!(5), true),
        "{offset}"
    );
    group.resume();
    assert_eq!(group.numbers(7)[5..], [5, 6]);

    group.stop();
    let mut offsets = group.rest().get(&group.path("offsets")).json();
    offsets["offsets"][0]["offset"]["cursor"] = json!("2");
    let answer = group.rest().patch_json(&group.path("offsets"), &offsets);
    assert_eq!(answer.status, 200, "{}", answer.text);
    group.resume();
    assert_eq!(group.numbers(10)[7..], [3, 4, 5]);
    assert_eq!(targets(&server), ["/", "/?cursor=4", "/?cursor=2"]);
    group.delete();
}

#[test]
fn each_topic_has_a_partition_of_its_own_also_where_a_config_provider_names_them() {
    let group = Group::take("eos-keyed");
    let of = |topic: &str, n: u64| json!({"t": topic, "n": n}).to_string();
    let first = Play::accept().send_text(of("a", 1)).send_text(of("b", 7)).send_text(of("a", 2));
    let asked = Play::accept().expect_text("a from 2").expect_text("b from 7");
    let server = serve([first, asked.send_text(of("a", 3)).send_text(of("b", 8))]);
    let topics = group.workers[0].dir().join("topics.properties");
    std::fs::write(&topics, "topics=a,b\n").unwrap_or_else(|e| panic!("{}: {e}", topics.display()));
    let reference = format!("${{file:{}:topics}}", topics.display());
    let mut config = group.config(
        &server,
        &[
            ("websocket.cursor.key", "{{/t}}"),
            ("websocket.subscription.topics", &reference),
            ("websocket.subscription.message", "{{topic}} from {{cursor ?? null}}"),
        ],
    );
    config["websocket.url"] = json!(server.url());
    group.put(&config);
    assert_eq!(group.numbers(3), [1, 7, 2]);
    group.stop();
    let mut cursors: Vec<(String, Value)> =
        group.offsets().into_iter().map(|(partition, offset)| (partition, offset["cursor"].clone())).collect();
    cursors.sort_by_key(|(partition, _)| partition.clone());
    let partition = |key: &str| format!("{}#{key}", server.url());
    assert_eq!(cursors, [(partition("a"), json!("2")), (partition("b"), json!("7"))]);
    group.resume();
    assert_eq!(group.numbers(5)[3..], [3, 8]);
    group.delete();
}

#[test]
fn records_that_a_transformation_leaves_out_come_again_and_are_left_out_again() {
    let group = Group::take("eos-filtered");
    let left_out = |n: u64| json!({"n": n, "skip": "yes"}).to_string();
    // The last of a poll, then a whole poll.
    let first = sends(0..2).send_text(left_out(2));
    let second = Play::accept().send_text(left_out(2)).send_text(left_out(3));
    let third = Play::accept().send_text(left_out(2)).send_text(left_out(3)).send_text(message(4));
    let server = serve([first, second, third]);
    group.put(&group.config(
        &server,
        &[
            ("websocket.record.header.skip", "{{/skip}}"),
            ("transforms", "drop"),
            ("transforms.drop.type", "org.apache.kafka.connect.transforms.Filter"),
            ("transforms.drop.predicate", "skip"),
            ("predicates", "skip"),
            ("predicates.skip.type", "org.apache.kafka.connect.transforms.predicates.HasHeaderKey"),
            ("predicates.skip.name", "skip"),
        ],
    ));
    assert_eq!(group.numbers(2), [0, 1]);
    for restarts in 1..=2 {
        group.stop();
        group.resume();
        wait_until("the feed to be asked again", WITHIN, || (targets(&server).len() > restarts).then_some(()));
    }
    assert_eq!(group.numbers(3), [0, 1, 4]);
    assert_eq!(targets(&server), ["/", "/?cursor=1", "/?cursor=1"]);
    group.delete();
}

#[test]
fn equal_records_are_each_answered_for() {
    let group = Group::take("eos-equal");
    let equal = (0..5).fold(Play::accept(), |play, _| play.send_text(message(7)));
    let server = serve([equal]);
    group.put(&group.config(&server, &[]));
    assert_eq!(group.numbers(5), [7; 5]);
    group.stop();
    let log = group.log();
    let line = log.lines().find(|line| line.contains("[eos-equal|task-0") && line.contains("records_unanswered"));
    assert_eq!(line, None);
    group.delete();
}

/// It cannot be exactly-once, but the worker writes its records in transactions too.
#[test]
fn slack_is_acknowledged_when_the_transaction_of_its_records_is_done() {
    let group = Group::take("eos-slack");
    create_topic(Kafka::shared(), group.connector);
    let run = Run::with_history(acknowledged::simulator("slack"), group.connector, &[]);
    let ending = |interval_ms: &str| {
        let mut config = run.config().clone();
        config["transaction.boundary"] = json!("interval");
        config["transaction.boundary.interval.ms"] = json!(interval_ms);
        config
    };
    let answer = group.rest().put_json(&group.path("config"), &ending("5000"));
    assert!(answer.status == 400 && answer.text.contains("waits for a whole interval"), "{}", answer.text);
    let mut all = 0;
    for config in [run.config().clone(), ending("1000")] {
        let connected = run.simulation().stats().accepted;
        group.put(&config);
        wait_until("the feed to have a new client", WITHIN, || {
            (run.simulation().stats().accepted > connected && run.simulation().has_begun()).then_some(())
        });
        // The last ones come to an idle connector, in less time than a transaction may take.
        for publish in [8, 1, 1, 1] {
            run.simulation().publish(publish);
            all += publish as usize;
            wait_acknowledged(&run, all);
        }
        group.consumer.read_until(group.connector, all, WITHIN);
        assert_eq!(assert_after_kafka(&run, &group.consumer, group.connector).len(), all);
    }
    assert_in_time(&run);
    group.delete();
}

#[test]
fn a_record_that_kafka_refuses_fails_the_task_again_and_again_until_it_is_kept_out() {
    let group = Group::take("eos-too-large");
    let large = json!({"n": 1, "text": "x".repeat(5_000)}).to_string();
    let asked = || Play::accept().send_text(&large).send_text(message(2));
    let server = serve([sends(0..1).send_text(&large).send_text(message(2)), asked(), asked()]);
    let small = [("producer.override.max.request.size", "4000"), ("websocket.gaps.topic", "eos-too-large-gaps")];
    // The first record is to be a transaction of its own, so that there is a cursor.
    let alone = ("websocket.message.queue.size", "1");
    let config = |more: &[(&str, &str)]| group.config(&server, &[&small[..], &[alone], more].concat());
    let answer = group.rest().put_json(&group.path("config"), &config(&[]));
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert!(group.wait_failed().contains("RecordTooLargeException"), "{}", group.wait_failed());
    assert_eq!(group.rest().post(&group.path("tasks/0/restart")).status, 204);
    wait_until("the feed to be asked again", WITHIN, || (targets(&server).len() == 2).then_some(()));
    assert!(group.wait_failed().contains("RecordTooLargeException"), "{}", group.wait_failed());

    group.put(&config(&[("websocket.record.max.bytes", "3000")]));
    assert_eq!(group.numbers(2), [0, 2]);
    let ledger = group.consumer.read_until("eos-too-large-gaps", 1, WITHIN);
    let gap: Value = serde_json::from_str(&ledger[0].text()).unwrap_or_else(|e| panic!("{}: {e}", ledger[0].text()));
    assert_eq!((&gap["cause"], &gap["missing"]), (&json!("too_large"), &json!(1)), "{gap}");
    assert_eq!(targets(&server), ["/", "/?cursor=0", "/?cursor=0"]);
    group.delete();
}
