//! The programs that are compared, and how each is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use connect_websocket_e2e::{Process, Rest, free_port};
use connect_websocket_testkit::Kind as Frame;
use serde_json::Value;
use tempfile::TempDir;

use crate::feed::WarmUp;
use crate::running::{CONNECTOR, Running, START_FILE};
use crate::sample::Outcome;

const STRING_CONVERTER: &str = "org.apache.kafka.connect.storage.StringConverter";
const BYTES_CONVERTER: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";

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
