//! A task that cannot go on is FAILED, says why wherever one looks, keeps what it had received, and disturbs no other.

use std::fs;
use std::time::Duration;

use connect_websocket_e2e::{Consumer, Kafka, Worker, offsets_file, source_config, wait_until};
use connect_websocket_testkit::{
    Accept, Deflate, Handshake, Messages, Play, Script, Server, Stats, Step, TestPki, TlsProfile, Violation,
};
use serde_json::Value;

const WITHIN: Duration = Duration::from_secs(60);
const FAILED: &str = "kafka_connect_connect_worker_metrics_connector_failed_task_count";
const RUNNING: &str = "kafka_connect_connect_worker_metrics_connector_running_task_count";

fn serve(script: Script) -> Server {
    Server::start(script).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"))
}

fn wait_feed(feed: &Server, condition: impl FnMut(&Stats) -> bool) -> Stats {
    feed.wait_until(condition, WITHIN).unwrap_or_else(|e| panic!("{e}"))
}

fn status(worker: &Worker, connector: &str) -> Value {
    worker.rest().get(&format!("/connectors/{connector}/status")).json()
}

/// Waits for the task to be FAILED and checks that REST, log and metrics agree; the trace.
fn wait_failed(worker: &Worker, connector: &str) -> String {
    let status = wait_until(&format!("the task of {connector} to be FAILED"), WITHIN, || {
        let status = status(worker, connector);
        (status["tasks"][0]["state"] == "FAILED").then_some(status)
    });
    // In Connect the connector itself is fine when its task has failed.
    assert_eq!(status["connector"]["state"], "RUNNING", "{status}");
    let trace = status["tasks"][0]["trace"].as_str().unwrap_or_else(|| panic!("no trace: {status}")).to_owned();
    let task = worker.rest().get(&format!("/connectors/{connector}/tasks/0/status")).json();
    assert_eq!((task["state"].as_str(), task["trace"].as_str()), (Some("FAILED"), Some(trace.as_str())), "{task}");
    // In a field of a log line a quote would end the field.
    let line = format!("[{connector}|task-0] event=task_failed reason=\"{}\"", trace.replace('"', "'"));
    assert!(worker.log().contains(&line), "the log has no line with {line:?}");
    assert_eq!(worker.metric(FAILED, &[("connector", connector)]), Some(1.0));
    assert_eq!(worker.metric(RUNNING, &[("connector", connector)]), Some(0.0));
    trace
}

fn restart_task(worker: &Worker, connector: &str) {
    let answer = worker.rest().post(&format!("/connectors/{connector}/tasks/0/restart"));
    assert_eq!(answer.status, 204, "{}", answer.text);
}

#[test]
fn close_fails_the_task_when_reconnecting_is_disabled_and_all_that_was_received_is_in_kafka() {
    let kafka = Kafka::shared();
    let feed = serve(Script::plays([
        Play::accept().send(Messages::count(20_000)).close(1001),
        Play::accept().send(Messages::forever().rate(500.0)),
    ]));
    let config = source_config(feed.url(), "no-reconnect", &[("websocket.reconnect.enabled", "false")]);
    let mut worker = Worker::builder(&kafka.bootstrap()).connector("once", config).start();

    let trace = wait_failed(&worker, "once");
    assert!(trace.contains("1001") && trace.contains("websocket.reconnect.enabled"), "{trace}");
    let consumer = Consumer::new(&kafka.bootstrap());
    consumer.numbers_now("no-reconnect", WITHIN).assert_complete(0..=19_999);

    restart_task(&worker, "once");
    worker.wait_state("once", "RUNNING");
    assert_eq!(worker.metric(FAILED, &[("connector", "once")]), Some(0.0));
    consumer.wait_count("no-reconnect", 20_100, WITHIN);
    assert_eq!(worker.terminate(), 0);
    let sent = wait_feed(&feed, |stats| stats.open == 0).next_n;
    consumer.numbers_now("no-reconnect", WITHIN).assert_complete(0..=sent - 1);
}

#[test]
fn used_up_attempts_fail_the_task_and_a_restart_after_healing_goes_on() {
    let kafka = Kafka::shared();
    let feed = serve(Script::every(Play::reject(503)));
    let config = source_config(feed.url(), "attempts", &[("websocket.reconnect.max.attempts", "3")]);
    let worker = Worker::builder(&kafka.bootstrap()).connector("tired", config).start();

    let trace = wait_failed(&worker, "tired");
    assert!(trace.contains("503") && trace.contains("websocket.reconnect.max.attempts = 3"), "{trace}");
    let attempts = feed.stats().accepted;
    assert_eq!(attempts, 4, "the first attempt and three more");

    feed.set_script(Script::every(Play::accept().send(Messages::count(1_000))));
    let answer = worker.rest().post("/connectors/tired/restart?includeTasks=true&onlyFailed=true");
    assert_eq!(answer.status, 202, "{}", answer.text);
    worker.wait_state("tired", "RUNNING");
    Consumer::new(&kafka.bootstrap()).numbers_until("attempts", 1_000, WITHIN).assert_complete(0..=999);
}

#[test]
fn unauthorized_is_given_up_with_the_status_and_healed_by_a_new_configuration() {
    let kafka = Kafka::shared();
    let feed = serve(Script::every(Play::reject(401)));
    let wrong = [("websocket.auth.token", "wrong-token"), ("websocket.reconnect.interval.ms", "0")];
    let config = source_config(feed.url(), "unauthorized", &wrong);
    let worker = Worker::builder(&kafka.bootstrap()).connector("stranger", config).start();

    let trace = wait_failed(&worker, "stranger");
    assert!(trace.contains("401"), "{trace}");
    assert!(!trace.contains("wrong-token"), "{trace}");

    feed.set_script(Script::every(Play::accept().send(Messages::count(500))));
    let right = [("websocket.auth.token", "right-token")];
    worker.put_connector("stranger", &source_config(feed.url(), "unauthorized", &right));
    Consumer::new(&kafka.bootstrap()).numbers_until("unauthorized", 500, WITHIN).assert_complete(0..=499);
    let request = feed.stats().requests().last().cloned().unwrap_or_default();
    assert_eq!(request.header("Authorization"), Some("Bearer right-token"));
}

#[test]
fn wrong_certificates_fail_the_task_each_with_its_reason() {
    let kafka = Kafka::shared();
    let pki = TestPki::new().unwrap_or_else(|e| panic!("no certificates: {e}"));
    let hostile = [
        (TlsProfile::Expired, "expired", "expired"),
        (TlsProfile::WrongHost, "wrong-host", "name"),
        (TlsProfile::UnknownCa, "unknown-ca", "certificate"),
        (TlsProfile::ClientCertRequired, "no-client-certificate", "certificate"),
    ];
    let play = || Script::every(Play::accept().send(Messages::count(100)));
    let tls = |profile| Server::start_tls(play(), &pki, profile).unwrap_or_else(|e| panic!("no TLS feed: {e}"));
    let fast = [("websocket.reconnect.interval.ms", "0"), ("websocket.ssl.ca.location", "ca.pem")];
    let good = tls(TlsProfile::Good);
    let feeds: Vec<Server> = hostile.iter().map(|&(profile, ..)| tls(profile)).collect();
    let mut builder = Worker::builder(&kafka.bootstrap())
        .file("ca.pem", pki.ca_pem().as_bytes())
        .connector("good", source_config(good.url(), "certificates", &fast));
    for (&(_, name, _), feed) in hostile.iter().zip(&feeds) {
        builder = builder.connector(name, source_config(feed.url(), "certificates", &fast));
    }
    let worker = builder.start();

    for (_, name, reason) in hostile {
        let trace = wait_failed(&worker, name);
        assert!(trace.to_lowercase().contains(reason), "{name}: {trace}");
    }
    // Of the five only the good one has brought anything.
    Consumer::new(&kafka.bootstrap()).numbers_until("certificates", 100, WITHIN).assert_complete(0..=99);
    worker.wait_state("good", "RUNNING");
    assert!(feeds.iter().all(|feed| feed.stats().sent() == 0));
}

#[test]
fn offset_file_that_cannot_be_written_is_told_and_tried_again_while_messages_go_on() {
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    let feed = serve(Script::every(Play::accept().send(Messages::forever().rate(500.0))));
    let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("no temporary directory: {e}"));
    let (folder, moved) = (dir.path().join("offsets"), dir.path().join("moved"));
    fs::create_dir(&folder).unwrap_or_else(|e| panic!("no folder: {e}"));
    let file = folder.join("connect.offsets");
    let mut worker = Worker::builder(&kafka.bootstrap())
        .property("offset.storage.file.filename", &file.display().to_string())
        .connector("unwritable", source_config(feed.url(), "unwritable", &[]))
        .start();
    wait_until("the first offset", WITHIN, || offsets_file::sequence(&file, "unwritable"));

    fs::rename(&folder, &moved).unwrap_or_else(|e| panic!("the folder cannot be moved: {e}"));
    let failures = "kafka_connect_connector_task_metrics_offset_commit_failure_percentage";
    wait_until("a failed commit to be counted", WITHIN, || {
        (worker.metric(failures, &[("connector", "unwritable")]) > Some(0.0)).then_some(())
    });
    assert!(worker.log_contains("event=offset_commit_failed"));
    consumer.wait_count("unwritable", consumer.count("unwritable") + 500, WITHIN);
    worker.wait_state("unwritable", "RUNNING");

    fs::rename(&moved, &folder).unwrap_or_else(|e| panic!("the folder cannot be moved: {e}"));
    assert_eq!(worker.terminate(), 0);
    let sent = wait_feed(&feed, |stats| stats.open == 0).next_n;
    assert_eq!(offsets_file::sequence(&file, "unwritable"), Some(sent));
    consumer.numbers_now("unwritable", WITHIN).assert_complete(0..=sent - 1);
}

/// What a broken or ill-meaning server can do, by name.
fn hostile_plays() -> Vec<(&'static str, Play)> {
    let handshake = |handshake| Play::handshake(handshake);
    let accept = |accept| Play::accept_with(accept);
    let step = |step| Play::accept().step(step);
    let mut plays = vec![
        ("endless headers", handshake(Handshake::EndlessHeaders { every_ms: 0 })),
        ("garbage", handshake(Handshake::Garbage { hex: "00ff".into(), text: "SSH-2.0-x\r\n".into() })),
        ("hang", handshake(Handshake::Hang { before_request: false })),
        ("redirect loop", handshake(Handshake::RedirectLoop { status: 302 })),
        ("wrong accept key", accept(Accept { accept_key: Some("AAAA".into()), ..Accept::default() })),
        ("extension nobody offered", accept(Accept { extensions: Some("x-unknown".into()), ..Accept::default() })),
        ("answer in drips", accept(Accept { drip_ms: Some(20), ..Accept::default() })),
        ("accept and close", Play::accept().close(1000)),
        ("accept and reset", Play::accept().reset()),
        ("ping flood", step(Step::PingFlood { count: None })),
        ("huge length", step(Step::HugeLength { length: (1 << 63) - 1 })),
        ("endless frame", step(Step::EndlessFrame)),
        ("endless fragments", step(Step::EndlessFragments { size: 1024 })),
        ("empty fragments", step(Step::EmptyFragments { count: None })),
        ("slow drip", step(Step::SlowDrip { text: "x".repeat(500), bytes: 1, every_ms: 20 })),
        ("mute", step(Step::Mute { ms: None })),
        ("black hole", step(Step::BlackHole { ms: None })),
        ("server that reads nothing", step(Step::StopReading { on: true }).step(Step::PingFlood { count: None })),
        ("deflate bomb", Play::accept_deflate(Deflate::default()).step(Step::DeflateBomb { size: 4 << 30 })),
    ];
    plays.extend(Violation::ALL.map(|rule| ("violation", step(Step::Violate { rule }))));
    plays
}

#[test]
fn hostile_servers_neither_disturb_another_connector_nor_fill_the_memory() {
    let kafka = Kafka::shared();
    let good = serve(Script::every(Play::accept().send(Messages::forever().rate(2_000.0).size(200))));
    let mut worker =
        Worker::builder(&kafka.bootstrap()).connector("good", source_config(good.url(), "undisturbed", &[])).start();
    let consumer = Consumer::new(&kafka.bootstrap());
    consumer.wait_count("undisturbed", 1_000, WITHIN);

    // Each play has a server and a connector of its own, all at the same time.
    let impatient = [
        ("websocket.connection.timeout.ms", "1000"),
        ("websocket.ping.interval.ms", "500"),
        ("websocket.pong.timeout.ms", "1000"),
        ("websocket.idle.timeout.ms", "1000"),
        ("websocket.message.max.bytes", "1048576"),
    ];
    let plays = hostile_plays();
    let feeds: Vec<(&str, String, Server)> = plays
        .into_iter()
        .enumerate()
        .map(|(i, (what, play))| (what, format!("hostile-{i}"), serve(Script::every(play))))
        .collect();
    for (what, name, feed) in &feeds {
        let answer = worker
            .rest()
            .put_json(&format!("/connectors/{name}/config"), &source_config(feed.url(), "hostile", &impatient));
        assert_eq!(answer.status, 201, "{what}: {}", answer.text);
    }
    let mut endures = Vec::new();
    for (what, name, feed) in &feeds {
        // Every play is met at least once; those that the client must end, or that end by themselves, three times.
        let met = |times: u64| move |stats: &Stats| stats.accepted >= times;
        wait_feed(feed, met(1));
        let state = || status(&worker, name)["tasks"][0]["state"].as_str().map(str::to_owned);
        let again = feed.wait_until(|stats| stats.accepted >= 3, Duration::from_secs(20)).is_ok();
        if !again && state().as_deref() != Some("FAILED") {
            endures.push(*what);
        }
    }
    // A flood of pings is allowed by RFC 6455, and so is any number of empty fragments: they are endured.
    assert!(
        endures.iter().all(|what| matches!(*what, "ping flood" | "empty fragments" | "server that reads nothing")),
        "these were never left: {endures:?}"
    );
    assert!(!worker.log_contains("panicked"), "a task panicked");
    let peak = worker.process().peak_rss_bytes();
    assert!(peak < 200 << 20, "{} MiB were resident at the peak", peak >> 20);

    let seen = consumer.count("undisturbed");
    consumer.wait_count("undisturbed", seen + 1_000, WITHIN);
    assert_eq!(status(&worker, "good")["tasks"][0]["state"], "RUNNING");
    assert_eq!(worker.terminate(), 0);
    let stats = wait_feed(&good, |stats| stats.open == 0);
    assert_eq!(stats.connections.len(), 1, "the good connector was never disconnected");
    consumer.numbers_now("undisturbed", WITHIN).assert_complete(0..=stats.next_n - 1);
}
