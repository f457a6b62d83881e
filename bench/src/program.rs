//! The programs that are compared, and one of them running.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use connect_websocket_e2e::{Process, Rest, free_port};
use connect_websocket_testkit::Kind as Frame;
use nix::sys::signal::{Signal, kill};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::feed::WarmUp;
use crate::jvm::Jvm;

/// A figure, or why there is none.
pub(crate) type Outcome<T> = Result<T, String>;

const STOP_WITHIN: Duration = Duration::from_secs(60);
const STRING_CONVERTER: &str = "org.apache.kafka.connect.storage.StringConverter";
const BYTES_CONVERTER: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";
/// The connector's name where there is one.
const CONNECTOR: &str = "bench";
/// The file whose existence lets the floor in Kafka Connect begin.
const START_FILE: &str = "start";

/// What is run for a name.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub name: String,
    pub kind: Kind,
}

/// How it is started.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// `<path> worker.properties connector.properties`, as connect-standalone is.
    Worker(PathBuf),
    /// A command whose environment says what to do.
    Plain(Vec<PathBuf>),
    /// Receives only.
    FloorSocket(PathBuf),
    /// Sends only.
    FloorProducer(PathBuf),
    /// Apache Kafka Connect: `<script> worker.properties [connector.properties]`.
    Connect { script: PathBuf, plugin_path: PathBuf, source: Source, frame: Frame },
}

/// The connector in Kafka Connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Our plugin.
    Plugin,
    /// Ready-made records (bench/programs/connect-floor).
    Floor,
    /// No connector.
    None,
}

/// Programs that are compared with one another, in a table of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// Processes without a JVM.
    Native,
    /// Kafka Connect with StringConverter.
    ConnectText,
    /// Kafka Connect with ByteArrayConverter.
    ConnectBytes,
}

impl Group {
    pub(crate) const ALL: [Group; 3] = [Group::Native, Group::ConnectText, Group::ConnectBytes];

    /// The programs to which the others are compared; the first that takes part in a scenario counts.
    pub(crate) fn references(self) -> &'static [&'static str] {
        match self {
            Group::Native => &["plain"],
            Group::ConnectText => &["connect-floor", "connect-idle"],
            Group::ConnectBytes => &["connect-floor-bytes"],
        }
    }

    /// What stands above its table.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Group::Native => "Programs without a JVM",
            Group::ConnectText => "Apache Kafka Connect, StringConverter",
            Group::ConnectBytes => "Apache Kafka Connect, ByteArrayConverter",
        }
    }
}

/// What a program has to do.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub url: &'a str,
    /// PEM file of the authority that signed the server's certificate.
    pub ca: Option<&'a Path>,
    pub bootstrap: &'a str,
    pub topic: &'a str,
    /// For the floors: payload size in bytes, messages before the start mark, those of them that are sent as fast as
    /// possible, messages in all, messages per second (0: as fast as possible).
    pub size: usize,
    pub warm_up: u64,
    pub warm_up_burst: u64,
    pub messages: u64,
    pub rate: u32,
}

/// A program at work; killed when dropped.
pub(crate) struct Running {
    name: String,
    process: Process,
    is_jvm: bool,
    /// The REST API, and the connector's configuration.
    api: Option<(Rest, Value)>,
    // Removed after the process has ended.
    dir: TempDir,
}

impl Program {
    /// Whether it only marks what cannot be undercut.
    pub(crate) fn is_floor(&self) -> bool {
        matches!(self.kind, Kind::FloorSocket(_) | Kind::FloorProducer(_) | Kind::Connect { source: Source::Floor, .. })
    }

    /// The table it stands in.
    pub(crate) fn group(&self) -> Group {
        match self.kind {
            Kind::Connect { frame: Frame::Text, .. } => Group::ConnectText,
            Kind::Connect { frame: Frame::Binary, .. } => Group::ConnectBytes,
            _ => Group::Native,
        }
    }

    /// The kind of messages it receives.
    pub(crate) fn frame(&self) -> Frame {
        match self.kind {
            Kind::Connect { frame, .. } => frame,
            _ => Frame::Text,
        }
    }

    /// What it gets before it is measured.
    pub(crate) fn warm_up(&self) -> WarmUp {
        match self.kind {
            Kind::Connect { source: Source::None, .. } => WarmUp { messages: 0, ..WarmUp::JVM },
            Kind::Connect { .. } => WarmUp::JVM,
            _ => WarmUp::NATIVE,
        }
    }

    /// What must exist for it to run.
    pub(crate) fn path(&self) -> &Path {
        match &self.kind {
            Kind::Worker(path) | Kind::FloorSocket(path) | Kind::FloorProducer(path) => path,
            Kind::Plain(words) => &words[0],
            Kind::Connect { plugin_path, .. } => plugin_path,
        }
    }

    /// Starts it.
    pub(crate) fn start(&self, job: &Job<'_>) -> Outcome<Running> {
        let dir = TempDir::with_prefix("bench-").map_err(|e| format!("no temporary directory: {e}"))?;
        let mut api = None;
        let mut command = match &self.kind {
            Kind::Worker(path) => {
                let listener = format!("http://127.0.0.1:{}", free_port());
                let config = websocket_source(job);
                let worker = worker_properties(job, &listener, STRING_CONVERTER);
                let mut command = Command::new(path);
                command.arg(write_properties(dir.path(), "worker.properties", &worker)?);
                command.arg(write_properties(dir.path(), "connector.properties", &config)?);
                api = Some((Rest::new(&listener), object(&config)));
                command
            }
            Kind::Connect { script, plugin_path, source, frame } => {
                let listener = format!("http://127.0.0.1:{}", free_port());
                let converter = if *frame == Frame::Text { STRING_CONVERTER } else { BYTES_CONVERTER };
                let mut worker = worker_properties(job, &listener, converter);
                worker.push(("plugin.path", plugin_path.display().to_string()));
                // No scan of the whole class path, which takes seconds of the start.
                worker.push(("plugin.discovery", "service_load".to_owned()));
                let mut command = Command::new(script);
                command.arg(write_properties(dir.path(), "worker.properties", &worker)?);
                let config = match source {
                    Source::Plugin => Some(websocket_source(job)),
                    Source::Floor => Some(floor_source(job, *frame, &dir.path().join(START_FILE))),
                    Source::None => None,
                };
                if let Some(config) = config {
                    command.arg(write_properties(dir.path(), "connector.properties", &config)?);
                    api = Some((Rest::new(&listener), object(&config)));
                }
                command
            }
            Kind::Plain(words) => {
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]);
                tell_job(&mut command, job);
                command
            }
            Kind::FloorSocket(path) | Kind::FloorProducer(path) => {
                let mut command = Command::new(path);
                tell_job(&mut command, job);
                command.env("BENCH_SIZE", job.size.to_string());
                command.env("BENCH_WARM_UP", job.warm_up.to_string()).env("BENCH_MESSAGES", job.messages.to_string());
                command
            }
        };
        command.current_dir(dir.path());
        let process = Process::start(&self.name, &command, &dir.path().join("log"));
        let is_jvm = self.group() != Group::Native;
        Ok(Running { name: self.name.clone(), process, is_jvm, api, dir })
    }
}

impl Running {
    /// Waits for `condition`; an error if the program ends before, or nothing comes of it.
    pub(crate) fn wait(&mut self, what: &str, within: Duration, mut condition: impl FnMut() -> bool) -> Outcome<()> {
        let start = Instant::now();
        loop {
            if condition() {
                return Ok(());
            }
            self.check()?;
            if start.elapsed() > within {
                return Err(format!("waited {within:?} in vain for {what}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// An error if the program has ended.
    pub(crate) fn check(&mut self) -> Outcome<()> {
        let Some(code) = self.process.exit_code() else {
            return Ok(());
        };
        let log = self.process.log();
        let last = log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
        Err(format!("{} ended by itself with exit code {code}; its last output was: {last}", self.name))
    }

    /// Waits until it has written this.
    pub(crate) fn wait_log(&mut self, text: &str, within: Duration) -> Outcome<()> {
        let start = Instant::now();
        while !self.process.log().contains(text) {
            self.check()?;
            if start.elapsed() > within {
                return Err(format!("{} did not write {text:?} within {within:?}", self.name));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Processor time, user and system, of all its threads, ended ones too.
    pub(crate) fn cpu(&self) -> Outcome<Duration> {
        let clock = clock_getcpuclockid(self.pid()).and_then(|clock| clock.now());
        clock.map(Duration::from).map_err(|e| format!("the processor time of {} is not known: {e}", self.name))
    }

    /// The most memory that was ever resident, in MiB.
    pub(crate) fn peak_rss_mib(&mut self) -> Outcome<f64> {
        self.check()?;
        Ok(self.process.peak_rss_bytes() as f64 / f64::from(1 << 20))
    }

    /// What the threads of a JVM have spent so far; `None` for another program.
    pub(crate) fn jvm(&self) -> Outcome<Option<Jvm>> {
        self.is_jvm.then(|| Jvm::of(self.process.id())).transpose()
    }

    /// Lets a floor begin.
    pub(crate) fn signal_start(&self) -> Outcome<()> {
        if self.is_jvm {
            let file = self.dir.path().join(START_FILE);
            return fs::write(&file, "").map_err(|e| format!("{} cannot be written: {e}", file.display()));
        }
        kill(self.pid(), Signal::SIGUSR1).map_err(|e| format!("{} cannot be signalled: {e}", self.name))
    }

    /// Deletes the connector and creates it again with the same configuration.
    pub(crate) fn recreate_connector(&self) -> Outcome<()> {
        let (_, config) = self.api()?;
        let create = json!({"name": CONNECTOR, "config": config}).to_string();
        self.request("DELETE", &format!("/connectors/{CONNECTOR}"), None)?;
        self.request("POST", "/connectors", Some(&create))
    }

    /// Stops its task and starts it again.
    pub(crate) fn restart_task(&self) -> Outcome<()> {
        self.request("POST", &format!("/connectors/{CONNECTOR}/tasks/0/restart"), None)
    }

    fn request(&self, method: &str, path: &str, body: Option<&str>) -> Outcome<()> {
        let headers = if body.is_some() { &[("content-type", "application/json")][..] } else { &[] };
        let answer = self.api()?.0.try_send(method, path, headers, body);
        let answer = answer.map_err(|e| format!("{}: {method} {path} had no answer: {e}", self.name))?;
        if answer.status >= 300 {
            return Err(format!("{}: {method} {path}: status {}: {}", self.name, answer.status, answer.text));
        }
        Ok(())
    }

    fn api(&self) -> Outcome<&(Rest, Value)> {
        self.api.as_ref().ok_or_else(|| format!("{} has no REST API", self.name))
    }

    /// Ends it with SIGTERM; how long that took, and the exit code. After a minute it is killed.
    pub(crate) fn stop(&mut self) -> Outcome<(Duration, i32)> {
        self.check()?;
        let start = Instant::now();
        kill(self.pid(), Signal::SIGTERM).map_err(|e| format!("{} cannot be signalled: {e}", self.name))?;
        while start.elapsed() < STOP_WITHIN {
            if let Some(code) = self.process.exit_code() {
                return Ok((start.elapsed(), code));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.process.kill();
        Err(format!("{} did not end within {STOP_WITHIN:?} of SIGTERM", self.name))
    }

    fn pid(&self) -> Pid {
        // A process id of Linux is below 2^22.
        Pid::from_raw(self.process.id().cast_signed())
    }
}

/// What a program without files reads from its environment.
fn tell_job(command: &mut Command, job: &Job<'_>) {
    command.env("WEBSOCKET_URL", job.url);
    if let Some(ca) = job.ca {
        command.env("WEBSOCKET_CA", ca);
    }
    command.env("KAFKA_BOOTSTRAP_SERVERS", job.bootstrap).env("KAFKA_TOPIC", job.topic);
}

/// Lines of a properties file.
type Properties = Vec<(&'static str, String)>;

/// A standalone Kafka Connect worker; all options that are not named keep their default, here and below.
fn worker_properties(job: &Job<'_>, listener: &str, value_converter: &str) -> Properties {
    vec![
        ("bootstrap.servers", job.bootstrap.to_owned()),
        ("key.converter", STRING_CONVERTER.to_owned()),
        ("value.converter", value_converter.to_owned()),
        ("offset.storage.file.filename", "connect.offsets".to_owned()),
        ("listeners", listener.to_owned()),
    ]
}

fn websocket_source(job: &Job<'_>) -> Properties {
    let mut config = vec![
        ("name", CONNECTOR.to_owned()),
        ("connector.class", "io.conduktor.connect.websocket.WebSocketSourceConnector".to_owned()),
        ("tasks.max", "1".to_owned()),
        ("websocket.url", job.url.to_owned()),
        ("kafka.topic", job.topic.to_owned()),
    ];
    if let Some(ca) = job.ca {
        config.push(("websocket.ssl.ca.location", ca.display().to_string()));
    }
    config
}

fn floor_source(job: &Job<'_>, frame: Frame, start_file: &Path) -> Properties {
    vec![
        ("name", CONNECTOR.to_owned()),
        ("connector.class", "FloorSourceConnector".to_owned()),
        ("tasks.max", "1".to_owned()),
        ("topic", job.topic.to_owned()),
        ("size", job.size.to_string()),
        ("binary", (frame == Frame::Binary).to_string()),
        ("warm.up.burst", job.warm_up_burst.to_string()),
        ("warm.up", job.warm_up.to_string()),
        ("start.file", start_file.display().to_string()),
        ("messages", job.messages.to_string()),
        ("rate", job.rate.to_string()),
    ]
}

fn write_properties(dir: &Path, name: &str, lines: &Properties) -> Outcome<PathBuf> {
    let path = dir.join(name);
    let text: String = lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    fs::write(&path, text).map_err(|e| format!("{} cannot be written: {e}", path.display()))?;
    Ok(path)
}

fn object(lines: &Properties) -> Value {
    lines.iter().map(|(key, value)| ((*key).to_owned(), Value::from(value.as_str()))).collect()
}

/// Prints the machine's load so that a reader can judge a figure.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}
