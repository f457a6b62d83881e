//! The real Apache Kafka Connect, standalone, from the same jars as the broker.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kafka::java;
use crate::process::{Process, free_port, wait_until};
use crate::properties;
use crate::rest::Rest;
use crate::worker::{standalone_properties, temporary_directory, write_files};

const START_WITHIN: Duration = Duration::from_secs(120);
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// A running `connect-standalone`.
pub struct ConnectStandalone {
    // Dropped before the directory that holds its log.
    process: Option<Process>,
    dir: TempDir,
    arguments: Vec<PathBuf>,
    rest: Rest,
}

/// Files and settings of a `connect-standalone` to be started.
#[derive(Debug)]
pub struct ConnectStandaloneBuilder {
    properties: Vec<(String, String)>,
    connectors: Vec<(String, Value)>,
    dir: TempDir,
    port: u16,
}

impl ConnectStandalone {
    /// A worker for the Kafka at `bootstrap`, with the same settings as [`crate::Worker::builder`].
    pub fn builder(bootstrap: &str) -> ConnectStandaloneBuilder {
        let port = free_port();
        let mut properties = standalone_properties(bootstrap);
        properties::set(&mut properties, "listeners", &format!("http://127.0.0.1:{port}"));
        // No reflective scan of the whole class path, which takes seconds.
        properties::set(&mut properties, "plugin.discovery", "service_load");
        ConnectStandaloneBuilder { properties, connectors: Vec::new(), dir: temporary_directory("connect-"), port }
    }

    /// Configuration of a source connector from Connect's own tests that never runs a task. Any connector name may be
    /// given to it, so that the offsets which another worker stored under that name can be read and altered.
    pub fn sample_source() -> Value {
        json!({"connector.class": "org.apache.kafka.connect.runtime.SampleSourceConnector", "required": "by it"})
    }

    /// The REST API.
    pub fn rest(&self) -> &Rest {
        &self.rest
    }

    /// The worker's file of source offsets, unless `offset.storage.file.filename` was set to another.
    pub fn offsets_file(&self) -> PathBuf {
        self.dir.path().join("connect.offsets")
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

    /// Everything logged since the first start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("connect.log")).unwrap_or_default()
    }

    /// Starts Connect again with the same files.
    ///
    /// # Panics
    /// If it still runs or doesn't come up.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "Connect still runs");
        let arguments: Vec<&Path> = self.arguments.iter().map(PathBuf::as_path).collect();
        let mut process =
            java("connect", "512m", "org.apache.kafka.connect.cli.ConnectStandalone", &arguments, self.dir.path());
        wait_until("Apache Connect to be healthy", START_WITHIN, || {
            if let Some(code) = process.exit_code() {
                panic!("Apache Connect ended with exit code {code} while starting");
            }
            self.rest.try_send("GET", "/health", &[], None).ok().filter(|answer| answer.status == 200)
        });
        self.process = Some(process);
    }
}

impl ConnectStandaloneBuilder {
    /// Sets a line of `worker.properties`.
    pub fn property(mut self, key: &str, value: &str) -> ConnectStandaloneBuilder {
        properties::set(&mut self.properties, key, value);
        self
    }

    /// Adds a connector file; `config` is an object without `name`.
    pub fn connector(mut self, name: &str, config: Value) -> ConnectStandaloneBuilder {
        self.connectors.push((name.to_owned(), config));
        self
    }

    /// Starts Connect and waits until it is healthy.
    ///
    /// # Panics
    /// If the jars are missing, or it ends or doesn't come up.
    pub fn start(self) -> ConnectStandalone {
        let arguments = write_files(self.dir.path(), &self.properties, &self.connectors);
        let rest = Rest::new(&format!("http://127.0.0.1:{}", self.port));
        let mut connect = ConnectStandalone { dir: self.dir, arguments, process: None, rest };
        connect.start_again();
        connect
    }
}
