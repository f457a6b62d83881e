//! A program at work: what it has spent, how it is made to begin, to start over and to end.

use std::fs;
use std::time::{Duration, Instant};

use connect_websocket_e2e::{Process, Rest};
use nix::sys::signal::{Signal, kill};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::jvm::{self, Jvm};
use crate::sample::Outcome;

/// The connector's name where there is one.
pub(crate) const CONNECTOR: &str = "bench";
const STOP_WITHIN: Duration = Duration::from_secs(60);
/// The file whose existence lets the floor in Kafka Connect begin.
pub(crate) const START_FILE: &str = "start";

/// A program at work; killed when dropped.
pub(crate) struct Running {
    pub name: String,
    pub process: Process,
    pub is_jvm: bool,
    /// The REST API, and the connector's configuration.
    pub api: Option<(Rest, Value)>,
    // Removed after the process has ended.
    pub dir: TempDir,
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

    /// Waits until a JVM has compiled what it ran so far.
    pub(crate) fn wait_compiled(&self) -> Outcome<()> {
        if self.is_jvm { jvm::wait_compiled(self.process.id()) } else { Ok(()) }
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
