//! A child process with its log file; signals, exit, and what the kernel knows of it.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How much of a log is printed when a test fails, in lines.
const LOG_TAIL_LINES: usize = 60;

/// A running child whose stdout and stderr go to one file.
///
/// It is killed when it is dropped, and by the kernel when the test program ends in any way.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, appending its output to the file `log`. `name` is used in messages.
    ///
    /// # Panics
    /// If the program cannot be started.
    pub fn start(name: &str, command: &Command, log: &Path) -> Process {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap_or_else(|e| panic!("{name}: the log {} cannot be opened: {e}", log.display()));
        let errors =
            output.try_clone().unwrap_or_else(|e| panic!("{name}: the log {} cannot be shared: {e}", log.display()));

        // The kernel ends the child with us (PR_SET_PDEATHSIG); setpriv sets that without unsafe code here and then
        // becomes the program, so that the process id is the program's.
        let mut wrapped = Command::new("setpriv");
        wrapped.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(key, value),
                None => wrapped.env_remove(key),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            wrapped.current_dir(dir);
        }
        wrapped.stdin(Stdio::null()).stdout(output).stderr(errors);

        let child =
            launch(wrapped).unwrap_or_else(|e| panic!("{name}: setpriv (package util-linux) cannot be started: {e}"));
        Process { name: name.to_owned(), child, log: log.to_owned() }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything the process has written so far.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines of [`Process::log`].
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    /// The exit code, or 128 + the signal, once the process has ended.
    pub fn exit_code(&mut self) -> Option<i32> {
        let status = self.child.try_wait().unwrap_or_else(|e| panic!("{}: cannot be waited for: {e}", self.name))?;
        Some(status.code().unwrap_or_else(|| {
            use std::os::unix::process::ExitStatusExt;
            128 + status.signal().unwrap_or_default()
        }))
    }

    /// Sends SIGTERM, waits for the end, returns the exit code.
    ///
    /// # Panics
    /// If the process still runs after `within`.
    pub fn terminate(&mut self, within: Duration) -> i32 {
        self.send(Signal::SIGTERM);
        self.wait_exit(within)
    }

    /// Waits for the process to end by itself and returns its exit code.
    ///
    /// # Panics
    /// If it still runs after `within`.
    pub fn wait_exit(&mut self, within: Duration) -> i32 {
        let what = format!("{} to end", self.name);
        wait_until(&what, within, || self.exit_code())
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&mut self) {
        // An error means that it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Stops the process with SIGSTOP: its sockets stay open, nothing answers.
    pub fn suspend(&self) {
        self.send(Signal::SIGSTOP);
    }

    /// Lets a suspended process run again (SIGCONT).
    pub fn resume(&self) {
        self.send(Signal::SIGCONT);
    }

    /// Resident memory now, in bytes.
    pub fn rss_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most memory that was ever resident, in bytes.
    pub fn peak_rss_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// Processor time spent so far, user and system, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        let path = format!("/proc/{}/stat", self.id());
        let stat = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {path} cannot be read: {e}", self.name));
        // proc(5): fields 14 and 15, utime and stime; the second field is in parentheses and may hold spaces.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks: f64 = [11, 12].iter().filter_map(|&i| fields.get(i)?.parse::<f64>().ok()).sum();
        // USER_HZ is 100 on every Linux that Rust supports.
        ticks / 100.0
    }

    fn status_bytes(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let status = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {path} cannot be read: {e}", self.name));
        let line = status.lines().find(|line| line.starts_with(field));
        let kib: Option<u64> = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        kib.unwrap_or_else(|| panic!("{}: has ended, there is no {field}", self.name)) * 1024
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the process has ended.
    pub fn send(&self, signal: Signal) {
        let id = i32::try_from(self.id()).unwrap_or_else(|_| panic!("{}: process id out of range", self.name));
        kill(Pid::from_raw(id), signal).unwrap_or_else(|e| panic!("{}: {signal} cannot be sent: {e}", self.name));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("---- the end of the log of {} ----\n{}\n----", self.name, self.log_tail());
        }
    }
}

/// Calls `condition` until it yields something, and returns that.
///
/// # Panics
/// If nothing came within `within`; the message says that `what` was awaited.
pub fn wait_until<T>(what: &str, within: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < within, "waited {within:?} in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A TCP port of 127.0.0.1 that is free now and that this program has not handed out before.
///
/// It lies below the range from which the kernel takes the ports of outgoing connections, so that a server can be
/// stopped and started again on it.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    let start = std::process::id() % u32::from(COUNT);
    let next = NEXT.get_or_init(|| AtomicU16::new(u16::try_from(start).unwrap_or_default()));
    for _ in 0..COUNT {
        let port = FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no TCP port of 127.0.0.1 is free between {FIRST} and {}", FIRST + COUNT);
}

/// Starts a process from a thread that lives as long as the program.
///
/// The parent-death signal comes when the *thread* that started the child ends, and each test is a thread of its own: a
/// broker shared by several tests would die with the first.
fn launch(command: Command) -> io::Result<Child> {
    type Request = (Command, mpsc::Sender<io::Result<Child>>);
    static LAUNCHER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    let launcher = LAUNCHER.get_or_init(|| {
        let (requests, inbox) = mpsc::channel::<Request>();
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                reply.send(command.spawn()).ok();
            }
        });
        requests
    });
    let (reply, answer) = mpsc::channel();
    let ended = || io::Error::other("the launcher thread has ended");
    launcher.send((command, reply)).map_err(|_| ended())?;
    answer.recv().map_err(|_| ended())?
}
