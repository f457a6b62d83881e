//! The built `connect-websocket` binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::process::{Process, wait_until};
use crate::properties;
use crate::rest::Rest;

const START_WITHIN: Duration = Duration::from_secs(30);
/// Graceful stop of the REST server and the tasks, with room for a slow machine.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// A running worker with a directory of its own.
pub struct Worker {
    // Dropped before the directory that holds its log.
    process: Option<Process>,
    dir: TempDir,
    arguments: Vec<PathBuf>,
    environment: Vec<(String, String)>,
    rest: Option<Rest>,
}

/// Files and settings of a worker to be started.
#[derive(Debug)]
pub struct WorkerBuilder {
    properties: Vec<(String, String)>,
    connectors: Vec<(String, Value)>,
    environment: Vec<(String, String)>,
    dir: TempDir,
}

impl Worker {
    /// A worker for the Kafka at `bootstrap`: String converters, offsets flushed every 200 ms, REST on a free port.
    pub fn builder(bootstrap: &str) -> WorkerBuilder {
        WorkerBuilder {
            properties: standalone_properties(bootstrap),
            connectors: Vec::new(),
            environment: Vec::new(),
            dir: temporary_directory("worker-"),
        }
    }

    /// The REST API.
    ///
    /// # Panics
    /// If the worker has not been started, or its REST server never came up.
    pub fn rest(&self) -> &Rest {
        self.rest.as_ref().unwrap_or_else(|| panic!("the worker does not run, it has no REST API"))
    }

    /// Creates or changes a connector by PUT and waits until it is RUNNING.
    ///
    /// # Panics
    /// If it is refused or doesn't get there.
    pub fn put_connector(&self, name: &str, config: &Value) {
        self.rest().put_connector(name, config);
    }

    /// Waits until the connector and its tasks are in `state`.
    ///
    /// # Panics
    /// If they aren't within half a minute.
    pub fn wait_state(&self, connector: &str, state: &str) {
        self.rest().wait_state(connector, state, Duration::from_secs(30));
    }

    /// The sum of a Prometheus metric's samples with these labels, see [`Rest::metric`].
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.rest().metric(name, labels)
    }

    /// The worker's file of source offsets.
    pub fn offsets_file(&self) -> PathBuf {
        self.dir.path().join("connect.offsets")
    }

    /// The worker's directory, removed with it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the worker again after [`Worker::terminate`] or [`Worker::kill9`]: same files, same offsets, another port.
    ///
    /// # Panics
    /// If it still runs or doesn't come up.
    pub fn start_again(&mut self) {
        let before = self.launch();
        self.wait_rest(before);
    }

    /// Sends SIGTERM, waits for the end and returns the exit code.
    pub fn terminate(&mut self) -> i32 {
        self.rest = None;
        let code = self.running_mut().terminate(STOP_WITHIN);
        self.process = None;
        code
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill9(&mut self) {
        self.rest = None;
        self.process = None;
    }

    /// Waits for a worker to end by itself and returns its exit code.
    pub fn wait_exit(&mut self) -> i32 {
        self.rest = None;
        let code = self.running_mut().wait_exit(STOP_WITHIN);
        self.process = None;
        code
    }

    /// The process, for memory, processor time and signals.
    pub fn process(&self) -> &Process {
        self.process.as_ref().unwrap_or_else(|| panic!("the worker does not run"))
    }

    /// Resident memory now, in bytes.
    pub fn rss_bytes(&self) -> u64 {
        self.process().rss_bytes()
    }

    /// Processor time spent since the last start, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        self.process().cpu_seconds()
    }

    /// Everything logged since the first start.
    pub fn log(&self) -> String {
        fs::read(self.dir.path().join("worker.log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Whether `text` was logged.
    pub fn log_contains(&self, text: &str) -> bool {
        self.log().contains(text)
    }

    /// Waits until `text` is logged.
    ///
    /// # Panics
    /// If it isn't after `within`.
    pub fn wait_log(&self, text: &str, within: Duration) {
        wait_until(&format!("the worker to log {text:?}"), within, || self.log_contains(text).then_some(()));
    }

    /// Starts the process; the length of the log before that, in bytes.
    fn launch(&mut self) -> usize {
        assert!(self.process.is_none(), "the worker still runs");
        let before = self.log().len();
        let mut command = Command::new(binary("connect-websocket"));
        // Hand-over files lie there, and not where another test's worker finds them.
        command.args(&self.arguments).current_dir(self.dir.path()).env("NO_COLOR", "1").env("TMPDIR", self.dir.path());
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        self.process = Some(Process::start("connect-websocket", &command, &self.dir.path().join("worker.log")));
        before
    }

    fn wait_rest(&mut self, before: usize) {
        let process = self.running_mut();
        let base = wait_until("the worker to serve REST and to reach Kafka", START_WITHIN, || {
            if let Some(code) = process.exit_code() {
                panic!("the worker ended with exit code {code} while starting");
            }
            let log = process.log();
            let log = log.get(before..).unwrap_or_default();
            started_url(log).filter(|_| log.contains("event=kafka_connected"))
        });
        self.rest = Some(Rest::new(&base));
    }

    fn running_mut(&mut self) -> &mut Process {
        self.process.as_mut().unwrap_or_else(|| panic!("the worker does not run"))
    }
}

impl WorkerBuilder {
    /// Sets a line of `worker.properties`.
    pub fn property(mut self, key: &str, value: &str) -> WorkerBuilder {
        properties::set(&mut self.properties, key, value);
        self
    }

    /// Adds a connector file; `config` is an object without `name`.
    pub fn connector(mut self, name: &str, config: Value) -> WorkerBuilder {
        self.connectors.push((name.to_owned(), config));
        self
    }

    /// Sets an environment variable of the worker.
    pub fn env(mut self, key: &str, value: &str) -> WorkerBuilder {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Writes a file into the worker's directory, which is its working directory: offsets, secrets, certificates.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn file(self, name: &str, content: &[u8]) -> WorkerBuilder {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap_or_else(|e| panic!("{} cannot be written: {e}", path.display()));
        self
    }

    /// Starts the worker and waits until its REST API is up.
    ///
    /// # Panics
    /// If the binary isn't built, or ends, or doesn't come up.
    pub fn start(self) -> Worker {
        let mut worker = self.prepare();
        worker.start_again();
        worker
    }

    /// Starts a worker that is expected to end by itself, see [`Worker::wait_exit`]; there is no REST API to use.
    ///
    /// # Panics
    /// If the binary isn't built.
    pub fn start_to_fail(self) -> Worker {
        let mut worker = self.prepare();
        worker.launch();
        worker
    }

    fn prepare(self) -> Worker {
        let arguments = write_files(self.dir.path(), &self.properties, &self.connectors);
        Worker { dir: self.dir, arguments, environment: self.environment, process: None, rest: None }
    }
}

/// Worker settings that Apache Connect and ours share.
pub(crate) fn standalone_properties(bootstrap: &str) -> Vec<(String, String)> {
    [
        ("bootstrap.servers", bootstrap),
        ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("value.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("offset.storage.file.filename", "connect.offsets"),
        ("offset.flush.interval.ms", "200"),
        ("listeners", "http://127.0.0.1:0"),
        ("rest.advertised.host.name", "127.0.0.1"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec()
}

/// Writes the files of a standalone worker into `dir` and returns its arguments.
pub(crate) fn write_files(dir: &Path, properties: &[(String, String)], connectors: &[(String, Value)]) -> Vec<PathBuf> {
    let worker = dir.join("worker.properties");
    properties::write(&worker, properties);
    let mut arguments = vec![worker];
    for (i, (name, config)) in connectors.iter().enumerate() {
        let path = dir.join(format!("connector-{i}.json"));
        let connector =
            Map::from_iter([("name".to_owned(), Value::from(name.as_str())), ("config".to_owned(), config.clone())]);
        fs::write(&path, Value::from(connector).to_string())
            .unwrap_or_else(|e| panic!("{} cannot be written: {e}", path.display()));
        arguments.push(path);
    }
    arguments
}

pub(crate) fn temporary_directory(prefix: &str) -> TempDir {
    tempfile::Builder::new().prefix(prefix).tempdir().unwrap_or_else(|e| panic!("no temporary directory: {e}"))
}

/// The address in the line `event=rest_started url=…`, once that line is complete.
fn started_url(log: &str) -> Option<String> {
    let line = log.split_inclusive('\n').find(|line| line.ends_with('\n') && line.contains("event=rest_started"))?;
    let url = line.split_whitespace().find_map(|word| word.strip_prefix("url="))?;
    Some(url.trim_matches('"').to_owned())
}

/// The path of a binary of this workspace, beside the running test.
///
/// # Panics
/// If it isn't built.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|e| panic!("the test's own path is not known: {e}"));
    // target/<profile>/deps/<test>
    let path = test.parent().and_then(Path::parent).map(|profile| profile.join(name)).unwrap_or_default();
    assert!(path.exists(), "{} is not built; build it with: cargo build -p {name} (make test does)", path.display());
    path
}

#[cfg(test)]
mod tests {
    use super::started_url;

    #[test]
    fn address_is_read_from_a_complete_line_only() {
        let line = "12:00:01 INFO event=rest_started url=http://127.0.0.1:4711 x=y";
        assert_eq!(started_url(line), None);
        assert_eq!(started_url(&format!("a\n{line}\n")).as_deref(), Some("http://127.0.0.1:4711"));
    }
}
