//! The process: its start, its ends, its exit codes, its other commands.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use connect_websocket_e2e::{Consumer, Kafka, Signal, Worker, binary, free_port, offsets_file, source_config};
use connect_websocket_testkit::{Messages, OnClose, Play, Script, Server};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(60);
const CONNECTOR: &str = "feed";

fn serve(play: Play) -> Server {
    Server::start(Script::every(play)).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"))
}

/// Runs the binary to its end.
fn run(arguments: &[&str], dir: &Path) -> Output {
    Command::new(binary("connect-websocket"))
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("the binary cannot be run: {e}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap_or_else(|e| panic!("no temporary directory: {e}"))
}

fn write(dir: &Path, name: &str, content: &str) {
    fs::write(dir.join(name), content).unwrap_or_else(|e| panic!("{name} cannot be written: {e}"));
}

#[test]
fn sigterm_and_sigint_drain_and_exit_with_0() {
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    for (topic, signal) in [("sigterm", Signal::SIGTERM), ("sigint", Signal::SIGINT)] {
        let play = Play::accept().send(Messages::forever().rate(5_000.0)).on_close(OnClose::GoOnSending { count: 100 });
        let feed = serve(play);
        let mut worker =
            Worker::builder(&kafka.bootstrap()).connector(CONNECTOR, source_config(feed.url(), topic, &[])).start();
        consumer.wait_count(topic, 1_000, WITHIN);

        worker.process().send(signal);
        assert_eq!(worker.wait_exit(), 0, "{signal}");
        let sent = feed.stats().next_n;
        consumer.numbers_now(topic, WITHIN).assert_complete(0..=sent - 1);
        // Everything is acknowledged, so the stored offset is the last record's.
        assert_eq!(offsets_file::sequence(&worker.offsets_file(), CONNECTOR), Some(sent));
        assert!(worker.log_contains("event=worker_stopped"));
        assert!(worker.log_contains("event=task_stopped records_left=0"));
    }
}

#[test]
fn second_signal_ends_at_once() {
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    // A server that never answers the Close makes the drain wait for its whole time.
    let feed = serve(Play::accept().send(Messages::forever().rate(100.0)).on_close(OnClose::Ignore));
    let mut worker = Worker::builder(&kafka.bootstrap())
        .property("task.shutdown.graceful.timeout.ms", "120000")
        .connector(CONNECTOR, source_config(feed.url(), "second-signal", &[]))
        .start();
    consumer.wait_count("second-signal", 10, WITHIN);

    worker.process().send(Signal::SIGTERM);
    worker.wait_log("event=worker_stopping", WITHIN);
    worker.process().send(Signal::SIGTERM);
    assert_eq!(worker.wait_exit(), 143);
    assert!(worker.log_contains("event=worker_killed"));
    assert!(!worker.log_contains("event=worker_stopped"));
}

#[test]
fn connector_file_that_is_not_valid_ends_with_3_and_all_that_is_wrong() {
    let kafka = Kafka::shared();
    let feed = serve(Play::accept().send(Messages::forever().rate(100.0)));
    let wrong = [("websocket.url", "http://example.com/"), ("websocket.message.queue.size", "0")];
    let mut worker = Worker::builder(&kafka.bootstrap())
        .connector("good", source_config(feed.url(), "with-a-wrong-one", &[]))
        .connector("wrong", source_config("", "with-a-wrong-one", &wrong))
        .start_to_fail();

    assert_eq!(worker.wait_exit(), 3);
    let log = worker.log();
    for words in ["Failed to create connector for", "connector-1.json", "websocket.url", "websocket.message.queue.size"]
    {
        assert!(log.contains(words), "{words:?} is not in\n{log}");
    }
    // The good one, created first, is stopped with the worker.
    feed.wait_until(|stats| stats.open == 0, WITHIN).unwrap_or_else(|e| panic!("{e}"));
    assert!(log.contains("event=worker_stopped"), "{log}");
}

#[test]
fn connector_file_that_is_missing_or_no_configuration_ends_with_3() {
    let kafka = Kafka::shared();
    let dir = directory();
    let worker = format!(
        "bootstrap.servers={}\nkey.converter=String\nvalue.converter=String\noffset.storage.file.filename=o\n\
         listeners=http://127.0.0.1:0\n",
        kafka.bootstrap()
    );
    write(dir.path(), "worker.properties", &worker);
    write(dir.path(), "broken.json", "{\"name\": ");
    for (file, words) in [("absent.properties", "cannot be read"), ("broken.json", "broken.json")] {
        let output = run(&["worker.properties", file], dir.path());
        let log = text(&output.stdout);
        assert_eq!(output.status.code(), Some(3), "{log}");
        assert!(log.contains(words) && log.contains(file), "{words:?} is not in\n{log}");
    }
}

#[test]
fn worker_file_that_is_not_valid_ends_with_2_and_all_that_is_wrong() {
    let dir = directory();
    write(dir.path(), "worker.properties", "bootstrap.servers=localhost:9092\noffset.flush.interval.ms=soon\n");
    let output = run(&["worker.properties"], dir.path());
    let log = text(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{log}");
    for words in
        ["offset.flush.interval.ms", "soon", "key.converter", "value.converter", "offset.storage.file.filename"]
    {
        assert!(log.contains(words), "{words:?} is not in\n{log}");
    }
    let output = run(&["absent.properties"], dir.path());
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stdout).contains("absent.properties cannot be read"), "{}", text(&output.stdout));
}

#[test]
fn unreachable_kafka_ends_with_2_and_connects_sentence() {
    let bootstrap = format!("127.0.0.1:{}", free_port());
    let feed = serve(Play::accept());
    let mut worker = Worker::builder(&bootstrap)
        .property("default.api.timeout.ms", "3000")
        .connector(CONNECTOR, source_config(feed.url(), "unreachable", &[]))
        .start_to_fail();

    assert_eq!(worker.wait_exit(), 2);
    let log = worker.log();
    let line = log.lines().find(|line| line.contains("Stopping due to error")).unwrap_or_else(|| panic!("{log}"));
    assert!(
        line.contains("Failed to connect to and describe Kafka cluster. Check worker's broker connection"),
        "{line}"
    );
    assert!(line.contains(&bootstrap) && line.contains("Connection refused"), "{line}");
    assert_eq!(feed.stats().accepted, 0, "the feed is not read before Kafka is there");
}

#[test]
fn address_in_use_ends_with_2_and_the_address() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|e| panic!("no port: {e}"));
    let address = taken.local_addr().map(|address| address.to_string()).unwrap_or_default();
    let mut worker = Worker::builder(&Kafka::shared().bootstrap())
        .property("listeners", &format!("http://{address}"))
        .start_to_fail();
    assert_eq!(worker.wait_exit(), 2);
    let port = address.rsplit(':').next().unwrap_or_default();
    let log = worker.log();
    let line = log.lines().find(|line| line.contains("Stopping due to error")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains(port) && line.contains("in use"), "{line}");
}

#[test]
fn no_arguments_tell_the_usage_and_exit_with_1() {
    let dir = directory();
    let output = run(&[], dir.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("Usage") && text(&output.stderr).contains("worker.properties"));
    let output = run(&["--no-such-option"], dir.path());
    assert_eq!(output.status.code(), Some(1));
    for option in ["--help", "--version"] {
        assert_eq!(run(&[option], dir.path()).status.code(), Some(0), "{option}");
    }
}

#[test]
fn options_of_the_jvm_are_named_in_one_line_and_nothing_else_happens() {
    let kafka = Kafka::shared();
    let feed = serve(Play::accept().send(Messages::count(10)));
    let mut worker = Worker::builder(&kafka.bootstrap())
        .property("plugin.path", "/usr/share/java")
        .property("metric.reporters", "org.example.Reporter")
        .property("consumer.max.poll.records", "10")
        .connector(CONNECTOR, source_config(feed.url(), "jvm-options", &[]))
        .start();
    Consumer::new(&kafka.bootstrap()).numbers_until("jvm-options", 10, WITHIN).assert_complete(0..=9);
    assert_eq!(worker.terminate(), 0);

    let log = worker.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("event=options_ignored")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    for name in ["plugin.path", "metric.reporters", "consumer.max.poll.records"] {
        assert!(lines[0].contains(name), "{name} is not in {}", lines[0]);
    }
}

#[test]
fn validate_tells_all_errors_at_once_and_exits_with_1() {
    let dir = directory();
    let config = |config: Value| json!({"name": "checked", "config": config}).to_string();
    let wrong = [
        ("websocket.url", "ftp://example.com"),
        ("kafka.topic", "no good name"),
        ("websocket.ping.interval.ms", "often"),
        ("websocket.auth.token", "a-secret\nword"),
    ];
    write(dir.path(), "wrong.json", &config(source_config("", "", &wrong)));
    let output = run(&["validate", "wrong.json"], dir.path());
    let printed = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    for (option, _) in wrong {
        assert!(printed.contains(option), "{option} is not in\n{printed}");
    }
    assert!(!printed.contains("a-secret"), "{printed}");

    write(dir.path(), "good.json", &config(source_config("wss://example.com/feed", "trades", &[])));
    let output = run(&["validate", "good.json"], dir.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("connector checked is valid"), "{}", text(&output.stdout));
}

#[test]
fn demo_proves_that_nothing_is_lost() {
    let dir = directory();
    let output = run(&["demo", "--for", "6s", "--rate", "500"], dir.path());
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}{}", text(&output.stderr));
    for words in ["proven: every message", "missing            0", "more than once     0", "http://127.0.0.1:"] {
        assert!(printed.contains(words), "{words:?} is not in\n{printed}");
    }
}

#[test]
fn demo_takes_a_feed_and_a_kafka_of_ones_own() {
    let kafka = Kafka::shared();
    let feed = serve(Play::accept().expect_text("subscribe-please").send(Messages::count(300)));
    let dir = directory();
    let bootstrap = kafka.bootstrap();
    let arguments = ["demo", "--for", "5s", "--url", feed.url(), "--subscribe", "subscribe-please"];
    let output =
        run(&[&arguments[..], &["--topic", "demo-own", "--bootstrap-servers", &bootstrap]].concat(), dir.path());
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}{}", text(&output.stderr));
    assert!(printed.contains("300 messages were read back"), "{printed}");
    Consumer::new(&bootstrap).numbers_now("demo-own", WITHIN).assert_complete(0..=299);
}
