//! The programs that are compared, and one of them running.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use connect_websocket_e2e::Process;
use nix::sys::signal::{Signal, kill};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use tempfile::TempDir;

/// A figure, or why there is none.
pub(crate) type Outcome<T> = Result<T, String>;

const STOP_WITHIN: Duration = Duration::from_secs(60);

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
}

/// What a program has to do.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub url: &'a str,
    /// PEM file of the authority that signed the server's certificate.
    pub ca: Option<&'a Path>,
    pub bootstrap: &'a str,
    pub topic: &'a str,
    /// For the floors: payload size in bytes, messages before the start signal, messages in all.
    pub size: usize,
    pub warm_up: u64,
    pub messages: u64,
}

/// A program at work; killed when dropped.
pub(crate) struct Running {
    name: String,
    process: Process,
    // Removed after the process has ended.
    _dir: TempDir,
}

impl Program {
    /// Whether it only marks what cannot be undercut.
    pub(crate) fn is_floor(&self) -> bool {
        matches!(self.kind, Kind::FloorSocket(_) | Kind::FloorProducer(_))
    }

    /// The executable.
    pub(crate) fn path(&self) -> &Path {
        match &self.kind {
            Kind::Worker(path) | Kind::FloorSocket(path) | Kind::FloorProducer(path) => path,
            Kind::Plain(words) => &words[0],
        }
    }

    /// Starts it.
    pub(crate) fn start(&self, job: &Job<'_>) -> Outcome<Running> {
        let dir = TempDir::with_prefix("bench-").map_err(|e| format!("no temporary directory: {e}"))?;
        let mut command = match &self.kind {
            Kind::Worker(path) => {
                let mut command = Command::new(path);
                command.args(write_worker_files(dir.path(), job)?);
                command
            }
            Kind::Plain(words) => {
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]);
                command
            }
            Kind::FloorSocket(path) | Kind::FloorProducer(path) => Command::new(path),
        };
        if !matches!(self.kind, Kind::Worker(_)) {
            command.env("WEBSOCKET_URL", job.url);
            if let Some(ca) = job.ca {
                command.env("WEBSOCKET_CA", ca);
            }
            command.env("KAFKA_BOOTSTRAP_SERVERS", job.bootstrap).env("KAFKA_TOPIC", job.topic);
        }
        if self.is_floor() {
            command.env("BENCH_SIZE", job.size.to_string());
            command.env("BENCH_WARM_UP", job.warm_up.to_string()).env("BENCH_MESSAGES", job.messages.to_string());
        }
        command.current_dir(dir.path());
        let process = Process::start(&self.name, &command, &dir.path().join("log"));
        Ok(Running { name: self.name.clone(), process, _dir: dir })
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

    /// Lets a floor begin.
    pub(crate) fn signal_start(&self) -> Outcome<()> {
        kill(self.pid(), Signal::SIGUSR1).map_err(|e| format!("{} cannot be signalled: {e}", self.name))
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

/// The files of a standalone Kafka Connect worker; all options that are not named keep their default.
fn write_worker_files(dir: &Path, job: &Job<'_>) -> Outcome<[PathBuf; 2]> {
    let worker = dir.join("worker.properties");
    let connector = dir.join("connector.properties");
    let lines = [
        ("bootstrap.servers", job.bootstrap),
        ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("value.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("offset.storage.file.filename", "connect.offsets"),
        ("listeners", &format!("http://127.0.0.1:{}", connect_websocket_e2e::free_port())),
    ];
    let text: String = lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    let mut config = vec![
        ("name", "bench".to_owned()),
        ("connector.class", "io.conduktor.connect.websocket.WebSocketSourceConnector".to_owned()),
        ("tasks.max", "1".to_owned()),
        ("websocket.url", job.url.to_owned()),
        ("kafka.topic", job.topic.to_owned()),
    ];
    if let Some(ca) = job.ca {
        config.push(("websocket.ssl.ca.location", ca.display().to_string()));
    }
    let config: String = config.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    let files = [(&worker, text), (&connector, config)];
    for (path, text) in files {
        fs::write(path, text).map_err(|e| format!("{} cannot be written: {e}", path.display()))?;
    }
    Ok([worker, connector])
}

/// Prints the machine's load so that a reader can judge a figure.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}
