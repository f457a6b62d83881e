//! Counters and gauges of one task, as plain data. Written once per batch or life event, read as a [`Snapshot`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::record::epoch_ms;

/// Why a connection ended or could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The server sent a Close frame.
    ServerClose,
    /// The stream ended without a Close frame.
    EndOfStream,
    /// Reading or writing failed, a TCP reset for one.
    ConnectionError,
    PongTimeout,
    IdleTimeout,
    /// The server broke the protocol or a limit of ours.
    ProtocolError,
    /// TCP, TLS, name, proxy or handshake failed.
    ConnectFailed,
    /// The task was started again.
    Restart,
}

impl Cause {
    pub const ALL: [Cause; 8] = [
        Cause::ServerClose,
        Cause::EndOfStream,
        Cause::ConnectionError,
        Cause::PongTimeout,
        Cause::IdleTimeout,
        Cause::ProtocolError,
        Cause::ConnectFailed,
        Cause::Restart,
    ];

    /// The value of the `cause` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::ServerClose => "server_close",
            Cause::EndOfStream => "end_of_stream",
            Cause::ConnectionError => "connection_error",
            Cause::PongTimeout => "pong_timeout",
            Cause::IdleTimeout => "idle_timeout",
            Cause::ProtocolError => "protocol_error",
            Cause::ConnectFailed => "connect_failed",
            Cause::Restart => "restart",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A time in which the feed may have sent what was not received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// When the last byte before it was received; for a restart when offsets were last written. `None` if unknown.
    pub began: Option<SystemTime>,
    pub ended: SystemTime,
    pub cause: Cause,
    /// How many messages are missing, where that is known: for a restart, those that were received before and lost.
    pub missed: Option<u64>,
}

impl Gap {
    pub fn duration(&self) -> Option<Duration> {
        self.began.and_then(|began| self.ended.duration_since(began).ok())
    }
}

/// Upper bounds of the latency histogram's buckets, in milliseconds; one more bucket has no bound.
pub const LATENCY_BUCKETS_MS: [u64; 14] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 60_000];

/// The latest gaps are kept one by one, all are counted.
const GAPS_KEPT: usize = 100;

/// The live counters of one task.
#[derive(Debug)]
pub struct Metrics {
    messages_received: AtomicU64,
    bytes_received: AtomicU64,
    records_polled: AtomicU64,
    records_committed: AtomicU64,
    dropped_oldest: AtomicU64,
    dropped_newest: AtomicU64,
    binary_skipped: AtomicU64,
    records_handed_over: AtomicU64,
    records_taken_over: AtomicU64,
    records_left_behind: AtomicU64,
    connections: AtomicU64,
    reconnects: [AtomicU64; Cause::ALL.len()],
    gap_counts: [AtomicU64; Cause::ALL.len()],
    gap_ms: AtomicU64,
    gap_missed: AtomicU64,
    gaps: Mutex<VecDeque<Gap>>,
    queue_records: AtomicUsize,
    queue_bytes: AtomicUsize,
    queue_capacity_records: usize,
    queue_capacity_bytes: usize,
    /// Milliseconds since the epoch; 0 while not connected.
    connected_since_ms: AtomicI64,
    /// Milliseconds since the epoch; 0 before the first message.
    last_message_ms: AtomicI64,
    latency_counts: [AtomicU64; LATENCY_BUCKETS_MS.len() + 1],
    latency_sum_ms: AtomicU64,
}

/// [`Metrics`] at one moment. Counters are since the start of the task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub messages_received: u64,
    pub bytes_received: u64,
    /// Records handed to the host.
    pub records_polled: u64,
    /// Records that Kafka has acknowledged, as far as the host has committed.
    pub records_committed: u64,
    pub dropped_oldest: u64,
    pub dropped_newest: u64,
    pub binary_skipped: u64,
    /// Records in the hand-over file that the stop wrote.
    pub records_handed_over: u64,
    /// Records that came out of the last task's hand-over file.
    pub records_taken_over: u64,
    /// Records that were received and, when the task stopped, found a place neither with the host nor in a file.
    pub records_left_behind: u64,
    /// Connections that were opened.
    pub connections: u64,
    /// Reconnects by what made them necessary; only causes that occurred.
    pub reconnects: Vec<(Cause, u64)>,
    pub gap_counts: Vec<(Cause, u64)>,
    /// The sum of all gaps whose begin is known.
    pub gap_duration: Duration,
    /// Messages missing in gaps, where the number is known.
    pub gap_missed: u64,
    /// The latest gaps, oldest first.
    pub gaps: Vec<Gap>,
    pub queue_records: usize,
    pub queue_bytes: usize,
    pub queue_capacity_records: usize,
    pub queue_capacity_bytes: usize,
    /// Milliseconds since the epoch.
    pub connected_since_ms: Option<i64>,
    /// Milliseconds since the epoch.
    pub last_message_ms: Option<i64>,
    /// Receipt to commit: how many records fell into each of [`LATENCY_BUCKETS_MS`], and beyond.
    pub latency_counts: Vec<u64>,
    pub latency_sum_ms: u64,
}

impl Snapshot {
    pub fn dropped(&self) -> u64 {
        self.dropped_oldest + self.dropped_newest
    }

    pub fn reconnects_total(&self) -> u64 {
        self.reconnects.iter().map(|(_, count)| count).sum()
    }
}

impl Metrics {
    pub(crate) fn new(queue_records: usize, queue_bytes: usize) -> Metrics {
        Metrics {
            messages_received: AtomicU64::default(),
            bytes_received: AtomicU64::default(),
            records_polled: AtomicU64::default(),
            records_committed: AtomicU64::default(),
            dropped_oldest: AtomicU64::default(),
            dropped_newest: AtomicU64::default(),
            binary_skipped: AtomicU64::default(),
            records_handed_over: AtomicU64::default(),
            records_taken_over: AtomicU64::default(),
            records_left_behind: AtomicU64::default(),
            connections: AtomicU64::default(),
            reconnects: std::array::from_fn(|_| AtomicU64::default()),
            gap_counts: std::array::from_fn(|_| AtomicU64::default()),
            gap_ms: AtomicU64::default(),
            gap_missed: AtomicU64::default(),
            gaps: Mutex::default(),
            queue_records: AtomicUsize::default(),
            queue_bytes: AtomicUsize::default(),
            queue_capacity_records: queue_records,
            queue_capacity_bytes: queue_bytes,
            connected_since_ms: AtomicI64::default(),
            last_message_ms: AtomicI64::default(),
            latency_counts: std::array::from_fn(|_| AtomicU64::default()),
            latency_sum_ms: AtomicU64::default(),
        }
    }

    /// All counters at this moment. Each is exact; they are not read at one instant.
    pub fn snapshot(&self) -> Snapshot {
        let by_cause = |counts: &[AtomicU64]| {
            let counts = Cause::ALL.iter().zip(counts).map(|(&cause, count)| (cause, count.load(Relaxed)));
            counts.filter(|&(_, count)| count > 0).collect()
        };
        let moment = |ms: &AtomicI64| Some(ms.load(Relaxed)).filter(|&ms| ms > 0);
        Snapshot {
            messages_received: self.messages_received.load(Relaxed),
            bytes_received: self.bytes_received.load(Relaxed),
            records_polled: self.records_polled.load(Relaxed),
            records_committed: self.records_committed.load(Relaxed),
            dropped_oldest: self.dropped_oldest.load(Relaxed),
            dropped_newest: self.dropped_newest.load(Relaxed),
            binary_skipped: self.binary_skipped.load(Relaxed),
            records_handed_over: self.records_handed_over.load(Relaxed),
            records_taken_over: self.records_taken_over.load(Relaxed),
            records_left_behind: self.records_left_behind.load(Relaxed),
            connections: self.connections.load(Relaxed),
            reconnects: by_cause(&self.reconnects),
            gap_counts: by_cause(&self.gap_counts),
            gap_duration: Duration::from_millis(self.gap_ms.load(Relaxed)),
            gap_missed: self.gap_missed.load(Relaxed),
            gaps: self.gaps.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect(),
            queue_records: self.queue_records.load(Relaxed),
            queue_bytes: self.queue_bytes.load(Relaxed),
            queue_capacity_records: self.queue_capacity_records,
            queue_capacity_bytes: self.queue_capacity_bytes,
            connected_since_ms: moment(&self.connected_since_ms),
            last_message_ms: moment(&self.last_message_ms),
            latency_counts: self.latency_counts.iter().map(|count| count.load(Relaxed)).collect(),
            latency_sum_ms: self.latency_sum_ms.load(Relaxed),
        }
    }

    pub(crate) fn received(&self, messages: u64, bytes: u64, at_ms: i64) {
        self.messages_received.fetch_add(messages, Relaxed);
        self.bytes_received.fetch_add(bytes, Relaxed);
        self.last_message_ms.store(at_ms, Relaxed);
    }

    pub(crate) fn binary_skipped(&self, messages: u64) {
        self.binary_skipped.fetch_add(messages, Relaxed);
    }

    pub(crate) fn handed_over(&self, records: u64) {
        self.records_handed_over.fetch_add(records, Relaxed);
    }

    pub(crate) fn taken_over(&self, records: u64) {
        self.records_taken_over.fetch_add(records, Relaxed);
    }

    pub(crate) fn left_behind(&self, records: u64) {
        self.records_left_behind.fetch_add(records, Relaxed);
    }

    pub(crate) fn dropped_oldest(&self, messages: u64) {
        self.dropped_oldest.fetch_add(messages, Relaxed);
    }

    pub(crate) fn dropped_newest(&self, messages: u64) {
        self.dropped_newest.fetch_add(messages, Relaxed);
    }

    /// Messages dropped by a full queue so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped_oldest.load(Relaxed) + self.dropped_newest.load(Relaxed)
    }

    /// Records and bytes in the queue.
    pub(crate) fn queue(&self) -> (usize, usize) {
        (self.queue_records.load(Relaxed), self.queue_bytes.load(Relaxed))
    }

    pub(crate) fn polled(&self, records: u64) {
        self.records_polled.fetch_add(records, Relaxed);
    }

    /// `records` were committed, the oldest of them received `latency_ms` ago.
    pub(crate) fn committed(&self, records: u64, latency_ms: u64) {
        self.records_committed.fetch_add(records, Relaxed);
        let bucket =
            LATENCY_BUCKETS_MS.iter().position(|&bound| latency_ms <= bound).unwrap_or(LATENCY_BUCKETS_MS.len());
        self.latency_counts[bucket].fetch_add(records, Relaxed);
        self.latency_sum_ms.fetch_add(records * latency_ms, Relaxed);
    }

    pub(crate) fn set_queue(&self, records: usize, bytes: usize) {
        self.queue_records.store(records, Relaxed);
        self.queue_bytes.store(bytes, Relaxed);
    }

    pub(crate) fn connected(&self, at: SystemTime) {
        self.connections.fetch_add(1, Relaxed);
        self.connected_since_ms.store(epoch_ms(at), Relaxed);
    }

    pub(crate) fn disconnected(&self) {
        self.connected_since_ms.store(0, Relaxed);
    }

    pub(crate) fn reconnect(&self, cause: Cause) {
        self.reconnects[cause as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn gap(&self, gap: Gap) {
        self.gap_counts[gap.cause as usize].fetch_add(1, Relaxed);
        self.gap_ms.fetch_add(gap.duration().map_or(0, |duration| duration.as_millis() as u64), Relaxed);
        self.gap_missed.fetch_add(gap.missed.unwrap_or_default(), Relaxed);
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        if gaps.len() == GAPS_KEPT {
            gaps.pop_front();
        }
        gaps.push_back(gap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_kept_up_to_a_bound_and_counted_beyond() {
        let metrics = Metrics::new(1, 1);
        let began = SystemTime::UNIX_EPOCH;
        for _ in 0..GAPS_KEPT + 5 {
            let gap = Gap {
                began: Some(began),
                ended: began + Duration::from_millis(10),
                cause: Cause::ServerClose,
                missed: Some(2),
            };
            metrics.gap(gap);
        }
        let snapshot = metrics.snapshot();
        assert_eq!(snapshot.gaps.len(), GAPS_KEPT);
        assert_eq!(snapshot.gap_counts, [(Cause::ServerClose, 105)]);
        assert_eq!(snapshot.gap_duration, Duration::from_millis(1050));
        assert_eq!(snapshot.gap_missed, 210);
    }

    #[test]
    fn latency_falls_into_the_first_bucket_that_holds_it() {
        let metrics = Metrics::new(1, 1);
        metrics.committed(3, 5);
        metrics.committed(2, 1_000_000);
        let snapshot = metrics.snapshot();
        assert_eq!(snapshot.latency_counts[2], 3);
        assert_eq!(*snapshot.latency_counts.last().unwrap(), 2);
        assert_eq!(snapshot.records_committed, 5);
    }

    #[test]
    fn causes_index_their_own_counter() {
        for (index, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index);
        }
    }
}
