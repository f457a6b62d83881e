//! The real Apache Kafka Connect, standalone or distributed, with the packaged plugin.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::java::{ConnectVersion, Java, jmx_exporter, packaged_plugin};
use crate::process::{Process, free_port, wait_until};
use crate::properties;
use crate::rest::Rest;
use crate::worker::{standalone_properties, temporary_directory, write_files};

const START_WITHIN: Duration = Duration::from_secs(120);
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// A running worker of Kafka Connect with a directory and a REST port of its own.
pub struct Connect {
    // Dropped before the directory that holds its log.
    process: Option<Process>,
    dir: TempDir,
    command: Command,
    rest: Rest,
    /// Where its JMX exporter listens.
    exporter: Option<String>,
    /// Bytes that the log had when it was last started.
    log_before: usize,
}

/// Files and settings of a worker of Kafka Connect to be started.
#[derive(Debug)]
pub struct ConnectBuilder {
    main: &'static str,
    java: Java,
    environment: Vec<(String, String)>,
    properties: Vec<(String, String)>,
    connectors: Vec<(String, Value)>,
    dir: TempDir,
    port: u16,
    exporter: Option<String>,
}

impl Connect {
    /// A standalone worker for the Kafka at `bootstrap`, with the same settings as [`crate::Worker::builder`]. The
    /// packaged plugin is on its path, if it has been built.
    pub fn builder(bootstrap: &str) -> ConnectBuilder {
        ConnectBuilder::new("org.apache.kafka.connect.cli.ConnectStandalone", standalone_properties(bootstrap))
    }

    /// A worker of the group `group` for the Kafka at `bootstrap`: tasks of a lost worker are started elsewhere at once,
    /// the group's topics begin with its name.
    pub fn distributed(bootstrap: &str, group: &str) -> ConnectBuilder {
        let mut properties = standalone_properties(bootstrap);
        properties.retain(|(key, _)| key != "offset.storage.file.filename");
        for (key, value) in [
            ("group.id", group),
            ("config.storage.topic", &format!("{group}-configs")),
            ("offset.storage.topic", &format!("{group}-offsets")),
            ("status.storage.topic", &format!("{group}-status")),
            ("config.storage.replication.factor", "1"),
            ("offset.storage.replication.factor", "1"),
            ("status.storage.replication.factor", "1"),
            // The defaults of 25 and 5 cost a second each.
            ("offset.storage.partitions", "1"),
            ("status.storage.partitions", "1"),
            ("scheduled.rebalance.max.delay.ms", "0"),
            // A killed worker is missed after this time, by default 10 s.
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "1000"),
        ] {
            properties::set(&mut properties, key, value);
        }
        ConnectBuilder::new("org.apache.kafka.connect.cli.ConnectDistributed", properties)
    }

    /// Configuration of a source connector from Connect's own tests that never runs a task, see
    /// [`ConnectBuilder::with_sample_source`]. Any connector name may be given to it, so that the offsets which another
    /// worker stored under that name can be read and altered.
    pub fn sample_source() -> Value {
        json!({"connector.class": "org.apache.kafka.connect.runtime.SampleSourceConnector", "required": "by it"})
    }

    /// The REST API.
    pub fn rest(&self) -> &Rest {
        &self.rest
    }

    /// The address of the exporter of [`ConnectBuilder::jmx_exporter`].
    ///
    /// # Panics
    /// If there is none.
    pub fn exporter(&self) -> &str {
        self.exporter.as_deref().unwrap_or_else(|| panic!("Connect was started without the JMX exporter"))
    }

    /// A standalone worker's file of source offsets, unless `offset.storage.file.filename` was set to another.
    pub fn offsets_file(&self) -> PathBuf {
        self.dir.path().join("connect.offsets")
    }

    /// The worker's directory, removed with it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Creates or changes a connector by PUT and waits until it is RUNNING.
    ///
    /// # Panics
    /// If it is refused or doesn't get there.
    pub fn put_connector(&self, name: &str, config: &Value) {
        self.rest.put_connector(name, config);
    }

    /// Waits until the connector and its tasks are in `state`.
    ///
    /// # Panics
    /// If they aren't within half a minute.
    pub fn wait_state(&self, connector: &str, state: &str) {
        self.rest.wait_state(connector, state, Duration::from_secs(30));
    }

    /// Sends SIGTERM, waits for the end and returns the exit code (143 for a JVM).
    pub fn terminate(&mut self) -> i32 {
        self.process.take().map_or_else(|| panic!("Connect does not run"), |mut process| process.terminate(STOP_WITHIN))
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill9(&mut self) {
        self.process = None;
    }

    /// The process, for memory and processor time.
    pub fn process(&self) -> &Process {
        self.process.as_ref().unwrap_or_else(|| panic!("Connect does not run"))
    }

    /// Everything logged since the first start, as `[time] LEVEL [connector|task-0] message (logger)`.
    pub fn log(&self) -> String {
        fs::read(self.dir.path().join("connect.log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// What was logged since it was last started.
    pub fn log_since_start(&self) -> String {
        self.log().split_off(self.log_before)
    }

    /// Starts Connect again with the same files.
    ///
    /// # Panics
    /// If it still runs or doesn't come up.
    pub fn start_again(&mut self) {
        self.launch();
        self.wait_healthy();
    }

    fn launch(&mut self) {
        assert!(self.process.is_none(), "Connect still runs");
        self.log_before = self.log().len();
        self.process = Some(Process::start("connect", &self.command, &self.dir.path().join("connect.log")));
    }

    /// Waits until a worker that was started with [`ConnectBuilder::launch`] is healthy.
    ///
    /// # Panics
    /// If it ends or doesn't come up.
    pub fn wait_healthy(&mut self) {
        let process = self.process.as_mut().unwrap_or_else(|| panic!("Connect does not run"));
        wait_until("Apache Connect to be healthy", START_WITHIN, || {
            if let Some(code) = process.exit_code() {
                panic!("Apache Connect ended with exit code {code} while starting");
            }
            self.rest.try_send("GET", "/health", &[], None).ok().filter(|answer| answer.status == 200)
        });
    }
}

impl ConnectBuilder {
    fn new(main: &'static str, mut properties: Vec<(String, String)>) -> ConnectBuilder {
        let port = free_port();
        properties::set(&mut properties, "listeners", &format!("http://127.0.0.1:{port}"));
        // No reflective scan of the whole class path, which takes seconds.
        properties::set(&mut properties, "plugin.discovery", "service_load");
        // After 5 s, by default, Connect throws away what its producer holds; a busy machine may need longer.
        properties::set(&mut properties, "task.shutdown.graceful.timeout.ms", "30000");
        let builder = ConnectBuilder {
            main,
            java: Java::default(),
            environment: Vec::new(),
            properties,
            connectors: Vec::new(),
            dir: temporary_directory("connect-"),
            port,
            exporter: None,
        };
        match packaged_plugin() {
            Some(plugin) => builder.plugin_path(plugin.parent().unwrap_or(&plugin)),
            None => builder,
        }
    }

    /// The release to be run, by default the newest.
    pub fn version(mut self, version: ConnectVersion) -> ConnectBuilder {
        self.java.version = version;
        self
    }

    /// A directory of plugin directories, instead of the one with the packaged plugin.
    pub fn plugin_path(self, path: &Path) -> ConnectBuilder {
        self.property("plugin.path", &path.display().to_string())
    }

    /// Puts the connector of [`Connect::sample_source`] on the class path.
    pub fn with_sample_source(mut self) -> ConnectBuilder {
        self.java.sample = true;
        self
    }

    /// The JVM's program, by default the first `java` on the `PATH`.
    pub fn java(mut self, program: &Path) -> ConnectBuilder {
        program.clone_into(&mut self.java.program);
        self
    }

    /// Adds an argument of the JVM, such as `-Dkey=value`.
    pub fn jvm_arg(mut self, argument: &str) -> ConnectBuilder {
        self.java.arguments.push(argument.to_owned());
        self
    }

    /// Adds the Prometheus JMX exporter, see [`Connect::exporter`]; `rules` is its file.
    pub fn jmx_exporter(mut self, rules: &str) -> ConnectBuilder {
        let address = format!("127.0.0.1:{}", free_port());
        let agent = format!("-javaagent:{}={address}:exporter.yaml", jmx_exporter().display());
        self.exporter = Some(address);
        self.jvm_arg(&agent).file("exporter.yaml", rules.as_bytes())
    }

    /// Sets an environment variable of the worker.
    pub fn env(mut self, key: &str, value: &str) -> ConnectBuilder {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Sets a line of `worker.properties`.
    pub fn property(mut self, key: &str, value: &str) -> ConnectBuilder {
        properties::set(&mut self.properties, key, value);
        self
    }

    /// Adds a connector file of a standalone worker; `config` is an object without `name`.
    pub fn connector(mut self, name: &str, config: Value) -> ConnectBuilder {
        self.connectors.push((name.to_owned(), config));
        self
    }

    /// Writes a file into the worker's directory, which is its working directory.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn file(self, name: &str, content: &[u8]) -> ConnectBuilder {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap_or_else(|e| panic!("{} cannot be written: {e}", path.display()));
        self
    }

    /// Starts Connect and waits until it is healthy.
    ///
    /// # Panics
    /// If the jars are missing, or it ends or doesn't come up.
    pub fn start(self) -> Connect {
        let mut connect = self.launch();
        connect.wait_healthy();
        connect
    }

    /// Starts Connect without waiting, so that several workers may start at a time; see [`Connect::wait_healthy`].
    ///
    /// # Panics
    /// If the jars are missing.
    pub fn launch(self) -> Connect {
        let files = write_files(self.dir.path(), &self.properties, &self.connectors);
        let mut command = self.java.command("512m", self.main);
        command.args(files).current_dir(self.dir.path()).envs(self.environment);
        // Connect standalone, seen with 4.3.1, hangs for ever where a pause (configurations locked, herder wanted) meets a
        // DELETE (the other way round); tests share a worker.
        let rest = Rest::new(&format!("http://127.0.0.1:{}", self.port)).one_at_a_time();
        let mut connect =
            Connect { dir: self.dir, command, process: None, rest, exporter: self.exporter, log_before: 0 };
        connect.launch();
        connect
    }
}
