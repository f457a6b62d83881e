//! Runs one task as a host does, and keeps all it polled.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use connect_websocket_engine::config::Config;
use connect_websocket_engine::config_def::Properties;
use connect_websocket_engine::error::Error;
use connect_websocket_engine::gap::Cause;
use connect_websocket_engine::metrics::Snapshot;
use connect_websocket_engine::offset::StoredOffset;
use connect_websocket_engine::record::{Key, OffsetValue, Record, ValueKind};
use connect_websocket_engine::task::SourceTask;
use connect_websocket_testkit::{Server, Stats};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::log_lines;

/// No condition may take longer to come true, on a busy machine either.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A record that was polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) kind: ValueKind,
    pub(crate) value: Vec<u8>,
    pub(crate) timestamp_ms: i64,
    pub(crate) sequence: i64,
    pub(crate) topic: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) partition_key: Option<String>,
    pub(crate) message: Option<i64>,
    /// What its offset has beside session, sequence and time.
    pub(crate) offset: Vec<(String, String)>,
    /// It is out of the feed's history.
    pub(crate) backfilled: bool,
}

impl From<Record<'_>> for Received {
    fn from(record: Record<'_>) -> Received {
        let text = |value| match value {
            OffsetValue::Text(text) => text.to_owned(),
            OffsetValue::Number(number) => number.to_string(),
        };
        let key = record.key().map(|key| match key {
            Key::Text(text) => text.to_owned(),
            Key::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        });
        Received {
            kind: record.kind,
            value: record.value.to_vec(),
            timestamp_ms: record.timestamp_ms(),
            sequence: record.sequence,
            topic: record.topic().map(str::to_owned),
            key,
            message: record.message(),
            partition_key: record.partition_key().map(str::to_owned),
            backfilled: record.headers().any(|header| header == ("websocket.backfilled", "true")),
            offset: record.offset_entries().map(|(name, value)| (name.to_owned(), text(value))).collect(),
        }
    }
}

impl Received {
    /// The offset as a host stores it and gives it back.
    pub(crate) fn stored<'a>(&'a self, before: Option<StoredOffset>) -> Option<StoredOffset> {
        let value = |(name, text): &'a (String, String)| match text.parse() {
            Ok(number) if name == "part" => (name.as_str(), OffsetValue::Number(number)),
            _ => (name.as_str(), OffsetValue::Text(text)),
        };
        let own = [("sequence", OffsetValue::Number(self.sequence)), ("at", OffsetValue::Number(self.timestamp_ms))];
        let entries = own.into_iter().chain(self.offset.iter().map(value));
        StoredOffset::add(before, self.partition_key.as_deref(), entries)
    }
}

/// A running task, the records that came out of it, and its error.
pub(crate) struct Feed {
    pub(crate) task: SourceTask,
    pub(crate) records: Vec<Received>,
    pub(crate) error: Option<Error>,
    /// During the closing handshake the queue holds more.
    stopping: bool,
}

/// Options with short times, a name of its own and no hand-over; `more` adds to them or replaces them.
pub(crate) fn config(url: &str, more: &[(&str, &str)]) -> Config {
    Config::parse(&properties(url, more)).unwrap_or_else(|errors| panic!("{errors:?}"))
}

pub(crate) fn properties(url: &str, more: &[(&str, &str)]) -> Properties {
    static CONNECTORS: AtomicU64 = AtomicU64::new(0);
    let name = format!("test-{}", CONNECTORS.fetch_add(1, Relaxed));
    let base = [
        ("name", name.as_str()),
        ("websocket.handover.dir", ""),
        ("websocket.url", url),
        ("kafka.topic", "messages"),
        ("websocket.reconnect.interval.ms", "10"),
        ("websocket.reconnect.backoff.max.ms", "10"),
        ("websocket.receive.linger.ms", "0"),
    ];
    base.iter().chain(more).map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

impl Feed {
    pub(crate) fn start(url: &str, more: &[(&str, &str)]) -> Feed {
        Feed::resume(url, more, None)
    }

    pub(crate) fn resume(url: &str, more: &[(&str, &str)], stored: Option<StoredOffset>) -> Feed {
        Feed::with(config(url, more), stored)
    }

    pub(crate) fn with(config: Config, stored: Option<StoredOffset>) -> Feed {
        log_lines::install();
        let task = SourceTask::start(config, stored, &Handle::current()).unwrap();
        Feed { task, records: Vec::new(), error: None, stopping: false }
    }

    /// Polls once, for a moment, and commits what came.
    pub(crate) async fn poll(&mut self) {
        match self.task.poll(Duration::from_millis(10)).await {
            Ok(Some(batch)) => {
                self.records.extend(batch.iter().map(Received::from));
                self.task.commit(batch.last_sequence(), std::time::SystemTime::now());
            }
            Ok(None) => {}
            Err(error) => self.error = Some(error),
        }
        let now = self.snapshot();
        assert!(
            now.queue_records <= now.queue_capacity_records || self.stopping,
            "the queue is beyond its bound: {now:?}"
        );
        let capacity = now.queue_capacity_bytes * if self.stopping { 2 } else { 1 };
        assert!(now.queue_bytes <= capacity || now.queue_records == 1, "the queue is beyond its bound: {now:?}");
    }

    /// Polls until the condition holds; panics if it does not in time, or if the task failed.
    pub(crate) async fn until(&mut self, mut condition: impl FnMut(&Feed) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !condition(self) {
            if let Some(error) = &self.error {
                panic!("the task failed: {error}");
            }
            assert!(Instant::now() < deadline, "not in time: {} records, {:?}", self.records.len(), self.snapshot());
            self.poll().await;
        }
    }

    /// Polls until so many records are there, and that they are no more.
    pub(crate) async fn until_records(&mut self, count: usize) {
        self.until(|feed| feed.records.len() >= count).await;
        assert_eq!(self.records.len(), count);
    }

    /// Polls until the server has seen or done something.
    pub(crate) async fn until_server(&mut self, server: &Server, mut condition: impl FnMut(&Stats) -> bool) -> Stats {
        self.until(|_| condition(&server.stats())).await;
        server.stats()
    }

    pub(crate) async fn until_reconnects(&mut self, cause: Cause, count: u64) {
        self.until(|feed| feed.reconnects(cause) >= count).await;
    }

    /// Polls until the task fails, and answers why.
    pub(crate) async fn until_failed(&mut self) -> String {
        let deadline = Instant::now() + DEADLINE;
        while self.error.is_none() {
            assert!(Instant::now() < deadline, "the task did not fail in time: {:?}", self.snapshot());
            self.poll().await;
        }
        self.error.as_ref().map(Error::to_string).unwrap_or_default()
    }

    pub(crate) fn begin_stop(&mut self, grace: Duration) {
        self.stopping = true;
        self.task.stop(grace);
    }

    /// Stops with this grace and polls to the end.
    pub(crate) async fn stop(&mut self, grace: Duration) {
        self.begin_stop(grace);
        self.until(|feed| feed.task.is_drained()).await;
    }

    /// Waits for what the session does by itself, without a poll.
    pub(crate) async fn without_polls(&self, mut condition: impl FnMut(&Snapshot) -> bool) -> Snapshot {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let now = self.snapshot();
            if condition(&now) {
                return now;
            }
            assert!(Instant::now() < deadline, "not in time: {now:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.task.metrics().snapshot()
    }

    pub(crate) fn reconnects(&self, cause: Cause) -> u64 {
        self.snapshot().reconnects.iter().find(|(of, _)| *of == cause).map_or(0, |&(_, count)| count)
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.records.iter().map(|record| String::from_utf8_lossy(&record.value).into_owned()).collect()
    }

    /// The `n` of every numbered message, in the order of the records.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.records.iter().map(|record| number(&record.value)).collect()
    }

    /// Every numbered message from 0 is here, once and in order.
    pub(crate) fn assert_complete(&self, count: u64) {
        let numbers = self.numbers();
        let wrong = numbers.iter().zip(0..).find(|(n, expected)| *n != expected);
        assert_eq!(wrong, None, "the first number that is not in its place");
        assert_eq!(numbers.len() as u64, count);
    }
}

fn number(value: &[u8]) -> u64 {
    let digits = value.iter().skip_while(|byte| !byte.is_ascii_digit()).take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |n, digit| n * 10 + u64::from(digit - b'0'))
}

/// The close code that the server got on its `index`-th connection.
pub(crate) fn close_code(stats: &Stats, index: usize) -> Option<u16> {
    stats.connections.get(index)?.close_received.as_ref()?.code
}
