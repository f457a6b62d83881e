//! A task as a host runs it, with the log of its thread.

use std::time::{Duration, SystemTime};

use connect_websocket_engine::config::Config;
use connect_websocket_engine::config_def::Properties;
use connect_websocket_engine::gap::Cause;
use connect_websocket_engine::record::{Key, Record};
use connect_websocket_engine::task::SourceTask;
use connect_websocket_testkit::Expected;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::Instant;

use crate::log_lines::LogLines;

/// No condition may take longer to come true, on a busy machine either.
const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) struct Running {
    runtime: Runtime,
    task: SourceTask,
    lines: LogLines,
}

/// Why a task is not waited for any longer.
#[derive(Debug)]
pub(crate) enum Ended {
    Failed(String),
    TooLate,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::Failed(error) => write!(f, "the task failed: {error}"),
            Ended::TooLate => f.write_str("not in time"),
        }
    }
}

impl Running {
    /// Starts a task with short times and no hand-over; `properties` wins.
    pub(crate) fn start(properties: &Properties) -> Result<Running, String> {
        let short = [
            ("name", "feed"),
            ("kafka.topic", "feed"),
            ("websocket.handover.dir", ""),
            ("websocket.reconnect.interval.ms", "50"),
            ("websocket.reconnect.backoff.max.ms", "200"),
        ];
        let mut all: Properties = short.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        all.extend(properties.clone());
        let config = Config::parse(&all).map_err(|errors| format!("{errors:?}"))?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let lines = LogLines::collect();
        let task = runtime.block_on(async { SourceTask::start(config, None, &Handle::current()) });
        let task = task.map_err(|error| error.to_string())?;
        Ok(Running { runtime, task, lines })
    }

    /// Polls until the condition holds, which sees every record and, between them, nothing.
    pub(crate) fn until(&mut self, mut holds: impl FnMut(Option<&Record<'_>>) -> bool) -> Result<(), Ended> {
        let task = &mut self.task;
        self.runtime.block_on(async {
            let deadline = Instant::now() + DEADLINE;
            while Instant::now() < deadline {
                let polled =
                    task.poll(Duration::from_millis(50)).await.map_err(|error| Ended::Failed(error.to_string()))?;
                if let Some(batch) = &polled {
                    task.commit(batch.last_sequence(), SystemTime::now());
                    if let Some(commits) = task.commits() {
                        let messages = batch.iter().filter_map(|record| record.message());
                        messages.for_each(|message| commits.acknowledged(message, 1));
                    }
                }
                // A record after the last one would be one too many: all of a batch are looked at.
                let records = polled.iter().flat_map(|batch| batch.iter());
                if records.filter(|record| holds(Some(record))).count() > 0 || holds(None) {
                    return Ok(());
                }
            }
            Err(Ended::TooLate)
        })
    }

    /// Runs without a poll until the condition holds.
    pub(crate) fn without_polls(&mut self, mut holds: impl FnMut() -> bool) {
        self.runtime.block_on(async {
            let deadline = Instant::now() + DEADLINE;
            while !holds() {
                assert!(Instant::now() < deadline, "not in time");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }

    /// Polls until so many records have come, and returns them.
    pub(crate) fn records(&mut self, count: usize) -> Result<Vec<Expected>, String> {
        let mut records = Vec::new();
        let done = self.until(|record| {
            records.extend(record.map(as_expected));
            records.len() >= count
        });
        match done {
            Ok(()) => Ok(records),
            Err(why) => Err(format!("{why}; {} records came: {records:?}", records.len())),
        }
    }

    /// Polls until the task fails, and returns why.
    pub(crate) fn error(&mut self) -> Result<String, String> {
        match self.until(|_| false) {
            Err(Ended::Failed(error)) => Ok(error),
            _ => Err("the task did not fail in time".to_owned()),
        }
    }

    /// Stops with a closing handshake.
    pub(crate) fn stop(&mut self) {
        self.task.stop(Duration::from_secs(5));
        let task = &mut self.task;
        self.runtime.block_on(async {
            while !task.is_drained() {
                if task.poll(Duration::from_millis(50)).await.is_err() {
                    return;
                }
            }
        });
    }

    /// The causes of the gaps so far, without those of connections that ended.
    pub(crate) fn gaps_of_the_feed(&self) -> Vec<Cause> {
        let of_the_feed =
            |cause: &Cause| matches!(cause, Cause::Sequence | Cause::Reset | Cause::ResumeLost | Cause::Clamped);
        self.task.metrics().snapshot().gaps.iter().map(|gap| gap.cause).filter(of_the_feed).collect()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.lines.all()
    }
}

/// A record in the words of the test kit.
fn as_expected(record: &Record<'_>) -> Expected {
    let key = record.key().map(|key| match key {
        Key::Text(key) => key.to_owned(),
        Key::Bytes(key) => format!("{key:?}"),
    });
    Expected {
        value: String::from_utf8_lossy(record.value).into_owned(),
        key,
        topic: record.topic().map(str::to_owned),
        timestamp: Some(record.timestamp_ms()),
    }
}
