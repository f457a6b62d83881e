//! The built binary as a process: command line, exit codes, start and stop.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use connect_websocket_testkit::{OnClose, Play, Script, Server};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

const BINARY: &str = env!("CARGO_BIN_EXE_connect-websocket");

struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("connect-websocket-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn worker(&self, bootstrap: &str, more: &str) -> PathBuf {
        let string = "org.apache.kafka.connect.storage.StringConverter";
        let offsets = self.0.join("connect.offsets");
        let text = format!(
            "bootstrap.servers={bootstrap}\nkey.converter={string}\nvalue.converter={string}\n\
             offset.storage.file.filename={}\nlisteners=http://127.0.0.1:0\n{more}\n",
            offsets.display()
        );
        self.file("worker.properties", &text)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(arguments: &[&Path]) -> (i32, String) {
    let Output { status, stdout, stderr } = Command::new(BINARY).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code().unwrap(), text)
}

fn kafka() -> MockCluster<'static, DefaultProducerContext> {
    MockCluster::new(1).unwrap()
}

/// A running worker; what it logged so far is in `log`.
struct Worker {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    log: String,
}

impl Worker {
    fn start(arguments: &[&Path]) -> Worker {
        Worker::spawn(Command::new(BINARY).args(arguments))
    }

    fn spawn(command: &mut Command) -> Worker {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Worker { child, lines, log: String::new() }
    }

    /// Reads the log up to a line with `text`, which must come before the process ends.
    fn until(&mut self, text: &str) -> String {
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            self.log.push_str(&line);
            self.log.push('\n');
            if line.contains(text) {
                return line;
            }
        }
        panic!("{text} was not logged:\n{}", self.log);
    }

    fn address(&mut self) -> String {
        let line = self.until("event=rest_started");
        let url = line.split_whitespace().find_map(|word| word.strip_prefix("url=http://"));
        url.unwrap().to_owned()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn end(mut self) -> (i32, String) {
        let status = self.child.wait().unwrap();
        for line in self.lines.by_ref() {
            self.log.push_str(&(line.unwrap() + "\n"));
        }
        (status.code().unwrap(), self.log.clone())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn request(address: &str, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{head} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn no_argument_is_a_usage_error_and_help_is_not() {
    let (code, text) = run(&[]);
    assert_eq!(code, 1);
    assert!(text.contains("Usage: connect-websocket"), "{text}");
    let (code, text) = run(&[Path::new("--help")]);
    assert_eq!(code, 0);
    assert!(text.contains("worker.properties"), "{text}");
    let (code, text) = run(&[Path::new("--version")]);
    assert_eq!((code, text.trim()), (0, concat!("connect-websocket ", env!("CARGO_PKG_VERSION"))));
    assert_eq!(run(&[Path::new("--no-such-option")]).0, 1);
}

#[test]
fn a_worker_that_cannot_start_exits_with_2_and_tells_everything_that_is_wrong() {
    let folder = Folder::new();
    let file = folder.file(
        "worker.properties",
        "bootstrap.servers=h:1\nkey.converter=no.such.Converter\noffset.flush.interval.ms=soon\n",
    );
    let (code, text) = run(&[&file]);
    assert_eq!(code, 2);
    for part in ["value.converter", "no.such.Converter", "offset.storage.file.filename", "Not a number of type LONG"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert_eq!(run(&[Path::new("/no/such/file")]).0, 2);
}

#[test]
fn it_serves_rest_and_a_signal_ends_it_with_0() {
    let kafka = kafka();
    let folder = Folder::new();
    let worker = folder.worker(&kafka.bootstrap_servers(), "sasl.jaas.config=hunter2\nplugin.path=/opt");
    let connector = folder.file(
        "c.properties",
        "name=c\nconnector.class=WebSocketSource\nwebsocket.url=ws://127.0.0.1:1/\nkafka.topic=t\n",
    );
    let mut worker = Worker::start(&[Path::new("-daemon"), &worker, &connector]);
    let address = worker.address();
    worker.until("event=worker_started");
    let status = request(&address, "GET /connectors/c/status", "");
    assert!(status.starts_with("HTTP/1.1 200 OK") && status.contains("\"type\":\"source\""), "{status}");
    let body = r#"{"name":"d","config":{"connector.class":"WebSocketSource","websocket.url":"ws://127.0.0.1:1/","kafka.topic":"t"}}"#;
    let created = request(&address, "POST /connectors", body);
    assert!(created.starts_with("HTTP/1.1 201 Created"), "{created}");
    assert!(created.contains(&format!("location: http://{address}/connectors/d")), "{created}");
    assert!(request(&address, "DELETE /connectors/d", "").starts_with("HTTP/1.1 204"));
    let root = request(&address, "GET /", "");
    assert!(root.contains("\"kafka_cluster_id\":\"mock"), "{root}");

    worker.signal("TERM");
    let (code, log) = worker.end();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("event=worker_stopped") && log.contains("plugin.path"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn the_end_of_its_terminal_stops_the_worker_as_any_signal_does() {
    let kafka = kafka();
    let folder = Folder::new();
    // The tests themselves may run under nohup.
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", BINARY]).arg(folder.worker(&kafka.bootstrap_servers(), ""));
    let mut worker = Worker::spawn(&mut command);
    worker.until("event=worker_started");
    worker.signal("HUP");
    let (code, log) = worker.end();
    assert_eq!(code, 0, "{log}");
    assert!(log.split_whitespace().any(|word| word == "signal=1") && log.contains("event=worker_stopped"), "{log}");
}

#[test]
fn under_nohup_the_worker_outlives_its_terminal() {
    let kafka = kafka();
    let folder = Folder::new();
    let properties = folder.worker(&kafka.bootstrap_servers(), "");
    let mut nohup = Command::new("nohup");
    nohup.arg(BINARY).arg(properties).stderr(Stdio::null());
    let mut worker = Worker::spawn(&mut nohup);
    let address = worker.address();
    worker.until("event=worker_started");
    worker.signal("HUP");
    assert!(request(&address, "GET /", "").starts_with("HTTP/1.1 200"));
    worker.signal("TERM");
    let (code, log) = worker.end();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("event=worker_stopping signal=15"), "{log}");
}

/// Nobody ever writes to the pipe, so whoever reads it waits for ever.
#[test]
fn a_thread_that_waits_for_ever_does_not_keep_a_stopped_worker() {
    let kafka = kafka();
    let folder = Folder::new();
    let pipe = folder.0.join("pipe.pem");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut worker = Worker::start(&[&folder.worker(&kafka.bootstrap_servers(), "")]);
    let address = worker.address();
    worker.until("event=worker_started");
    let body = format!(
        r#"{{"connector.class":"WebSocketSource","websocket.url":"wss://127.0.0.1:1/","kafka.topic":"t","websocket.ssl.ca.location":"{}"}}"#,
        pipe.display()
    );
    let mut client = TcpStream::connect(&address).unwrap();
    write!(
        client,
        "PUT /connectors/c/config HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    // The request was read: the worker is where it reads the file, or has refused it.
    assert!(request(&address, "GET /connectors", "").starts_with("HTTP/1.1 200"));
    worker.signal("TERM");
    let (code, log) = worker.end();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("event=worker_stopped"), "{log}");
}

/// A worker whose shell has changed its limits first.
fn limited(limits: &str, properties: &Path) -> Worker {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{limits} && exec \"$0\" \"$@\""), BINARY]).arg(properties);
    Worker::spawn(&mut shell)
}

fn put(address: &str, name: &str, config: &str) -> String {
    request(address, &format!("PUT /connectors/{name}/config"), config)
}

#[test]
fn a_connector_that_would_take_the_last_open_files_is_refused_and_nothing_else_suffers() {
    let kafka = kafka();
    let folder = Folder::new();
    let mut worker = limited("ulimit -n 96", &folder.worker(&kafka.bootstrap_servers(), ""));
    let address = worker.address();
    worker.until("event=worker_started");
    let config = r#"{"connector.class":"WebSocketSource","websocket.url":"ws://127.0.0.1:1/","kafka.topic":"t"}"#;
    let answers: Vec<String> = (0..12).map(|n| put(&address, &format!("c{n}"), config)).collect();
    assert!(answers[0].starts_with("HTTP/1.1 201"), "{}", answers[0]);
    let refused: Vec<&String> = answers.iter().filter(|answer| !answer.starts_with("HTTP/1.1 201")).collect();
    assert!(refused.len() > 1, "{answers:?}");
    for answer in refused {
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("open files"), "{answer}");
    }
    assert!(request(&address, "GET /connectors/c0/status", "").contains("RUNNING"));
    // As many as REST may have, and they say nothing.
    let slow: Vec<TcpStream> = (0..12).map(|_| TcpStream::connect(&address).unwrap()).collect();
    assert!(request(&address, "GET /health", "").starts_with("HTTP/1.1 200"));
    worker.signal("TERM");
    let (code, log) = worker.end();
    drop(slow);
    assert_eq!(code, 0, "{log}");
    assert_eq!(log.matches("event=descriptors_short").count(), 1, "{log}");
    assert!(!log.contains("Too many open files"), "{log}");
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_the_system_allows() {
    let kafka = kafka();
    let folder = Folder::new();
    let mut worker = limited("ulimit -Sn 50", &folder.worker(&kafka.bootstrap_servers(), ""));
    let line = worker.until("event=descriptors_limit");
    assert!(!line.contains("limit=50 "), "{line}");
    worker.until("event=worker_started");
}

#[test]
fn a_change_of_one_connector_does_not_wait_for_that_of_another() {
    let kafka = kafka();
    let folder = Folder::new();
    // It never answers our Close, so that a stop takes half of its time.
    let feed = Server::start(Script::every(Play::accept().on_close(OnClose::Ignore))).unwrap();
    let patience = "task.shutdown.graceful.timeout.ms=240000";
    let mut worker = Worker::start(&[&folder.worker(&kafka.bootstrap_servers(), patience)]);
    let address = worker.address();
    worker.until("event=worker_started");
    let config = |url: &str| {
        format!(
            r#"{{"connector.class":"WebSocketSource","websocket.url":"{url}","kafka.topic":"t","websocket.handover.dir":""}}"#
        )
    };
    assert!(put(&address, "slow", &config(feed.url())).starts_with("HTTP/1.1 201"));
    feed.wait_until(|stats| stats.connections.len() == 1, Duration::from_secs(60)).unwrap();
    let deleted = std::thread::spawn({
        let address = address.clone();
        move || request(&address, "DELETE /connectors/slow", "")
    });
    let closing =
        |stats: &connect_websocket_testkit::Stats| stats.connections.iter().any(|one| one.close_received.is_some());
    feed.wait_until(closing, Duration::from_secs(60)).unwrap();

    assert!(put(&address, "quick", &config("ws://127.0.0.1:1/")).starts_with("HTTP/1.1 201"));
    assert!(put(&address, "quick", &config("ws://127.0.0.1:2/")).starts_with("HTTP/1.1 200"));
    assert!(request(&address, "DELETE /connectors/quick", "").starts_with("HTTP/1.1 204"));
    assert!(request(&address, "GET /connectors/slow", "").starts_with("HTTP/1.1 200"), "it is still being stopped");
    assert!(!deleted.is_finished());
    drop(worker);
    // Its client sees the end of the connection, at the latest.
    let _ = deleted.join();
}

#[test]
fn what_a_client_names_forges_no_line_of_the_log() {
    let kafka = kafka();
    let folder = Folder::new();
    let mut worker = Worker::start(&[&folder.worker(&kafka.bootstrap_servers(), "")]);
    let address = worker.address();
    worker.until("event=worker_started");
    let config = r#"{"connector.class":"WebSocketSource","websocket.url":"ws://127.0.0.1:1/","kafka.topic":"t","websocket.x\" event=forged\u202e\u2028":"y"}"#;
    let name = "c%7Ctask-0%5D%20event=forged%E2%80%AE";
    let answer = put(&address, name, config);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    worker.signal("TERM");
    let (code, log) = worker.end();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("websocket.x") && log.contains("event=connector_created"), "{log}");
    for forged in ["event=forged", "\u{202e}", "\u{2028}", "[c|task-0]"] {
        assert!(!log.contains(forged), "{forged:?} is in:\n{log}");
    }
}

#[test]
fn a_connector_file_that_is_refused_stops_the_worker_with_3() {
    let kafka = kafka();
    let folder = Folder::new();
    let worker = folder.worker(&kafka.bootstrap_servers(), "");
    let connector =
        folder.file("c.json", r#"{"name":"c","config":{"connector.class":"WebSocketSource","kafka.topic":"t"}}"#);
    let (code, text) = run(&[&worker, &connector]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("Stopping after connector error") && text.contains("websocket.url"), "{text}");
}

#[test]
fn a_connector_file_in_the_place_of_the_workers_is_recognised_and_each_error_is_a_line() {
    let folder = Folder::new();
    let connector = folder.file("c.properties", "name=c\nconnector.class=WebSocketSource\n");
    let (code, text) = run(&[&connector]);
    assert_eq!(code, 2, "{text}");
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(lines.len() > 3 && lines.iter().any(|line| line.contains("the worker's file comes first")), "{text}");
}

#[test]
fn rest_answers_while_kafka_does_not() {
    let folder = Folder::new();
    let worker = folder.worker("127.0.0.1:1", "");
    let mut worker = Worker::start(&[&worker]);
    let address = worker.address();
    let root = request(&address, "GET /", "");
    assert!(root.starts_with("HTTP/1.1 200") && root.contains("\"kafka_cluster_id\":null"), "{root}");
    let health = request(&address, "GET /health", "");
    assert!(health.starts_with("HTTP/1.1 503") && health.contains("\"status\":\"starting\""), "{health}");
    worker.signal("TERM");
    let (code, log) = worker.end();
    assert_eq!(code, 0, "{log}");
}

/// `validate` with these arguments: exit code, standard output, standard error.
fn validate(arguments: &[&str], folder: &Folder) -> (i32, String, String) {
    let mut command = Command::new(BINARY);
    let Output { status, stdout, stderr } =
        command.arg("validate").args(arguments).current_dir(&folder.0).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (status.code().unwrap(), text(&stdout), text(&stderr))
}

const VALID: &str = "name=c\nconnector.class=WebSocketSource\nwebsocket.url=ws://h/\nkafka.topic=t\n";

#[test]
fn validate_tells_every_error_and_no_secret() {
    let folder = Folder::new();
    folder.file("good.properties", VALID);
    let (code, out, err) = validate(&["good.properties"], &folder);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(
        out.lines().eq([
            "good.properties: the configuration of connector c is valid",
            "good.properties: 1. connect to ws://h/",
        ]),
        "{out}"
    );
    let odd = format!("\u{feff}{VALID}websocket.subscription.message={{\"city\":\"Zürich\"\n");
    folder.file("odd.properties", &odd);
    let (code, _, err) = validate(&["odd.properties"], &folder);
    assert_eq!(code, 0, "a byte order mark is skipped: {err}");
    assert!(err.contains("begins as JSON") && err.contains("ISO-8859-1"), "{err}");
    folder.file(
        "bad.json",
        r#"{"name":"c","connector.class":"WebSocketSource","websocket.url":"http://u:hunter2@h/?k=hunter2","tasks.max":"0","transforms":"a"}"#,
    );
    let (code, out, err) = validate(&["bad.json"], &folder);
    assert_eq!((code, out.as_str(), err.lines().count()), (1, "", 4), "{err}");
    for part in ["websocket.url", "kafka.topic", "tasks.max", "transforms"] {
        assert!(err.contains(part), "{part} is not in:\n{err}");
    }
    assert!(!err.contains("hunter2"), "{err}");
}

#[test]
fn validate_takes_files_and_patterns_and_answers_in_json() {
    let folder = Folder::new();
    folder.file("a.properties", VALID);
    folder.file("b.properties", "name=b\nconnector.class=WebSocketSource\nkafka.topic=t\n");
    let (code, out, err) = validate(&["*.properties"], &folder);
    assert_eq!(code, 1);
    assert!(out.contains("a.properties") && !out.contains("b.properties"), "{out}");
    assert!(err.lines().all(|line| line.starts_with("b.properties: ")) && err.contains("websocket.url"), "{err}");
    let (code, out, err) = validate(&["--json", "a.properties", "b.properties"], &folder);
    assert_eq!((code, err.as_str()), (1, ""));
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["valid"], &report["files"][0]["valid"]), (&false.into(), &true.into()), "{report}");
    assert_eq!(report["files"][1]["errors"][0]["option"], "websocket.url", "{report}");
}

#[test]
fn validate_tells_usage_from_invalid() {
    let folder = Folder::new();
    folder.file("good.properties", VALID);
    for arguments in [
        &[][..],
        &["--no-such-option"],
        &["no.such.file"],
        &["none.*"],
        &["good.properties", "--worker", "no.such.file"],
    ] {
        let (code, out, err) = validate(arguments, &folder);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        assert!(!err.is_empty());
    }
    let (code, out, err) = validate(&["good.properties", "no.such.file"], &folder);
    assert!(code == 2 && out.contains("is valid") && err.contains("no.such.file: cannot be read"), "{out}{err}");
    let (code, out, _) = validate(&["--json", "good.properties", "no.such.file"], &folder);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(code == 2 && report["valid"] == false && report["files"][0]["valid"] == true, "{out}");
    assert_eq!(report["files"][1]["file"], "no.such.file");
    assert!(report["files"][1]["errors"][0]["message"].as_str().unwrap().contains("cannot be read"), "{out}");
    let (code, out, _) = validate(&["--json", "no*.properties"], &folder);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(code == 2 && report["error"].as_str().unwrap().contains("no*.properties"), "{out}");
}
