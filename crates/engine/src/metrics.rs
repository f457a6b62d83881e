//! What a task has counted and measured. It is written once per batch or event of a connection, and read as a
//! [`Snapshot`]. [`crate::figures`] has what is shown.

use std::collections::VecDeque;
use std::ops::Index;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::counters::{self, Counter};
use crate::gap::{Cause, Gap};
use crate::record::epoch_ms;

/// The upper bounds of the latency buckets: in milliseconds, and in seconds as in Prometheus' label `le`.
pub(crate) const LATENCY_BUCKETS: [(u64, &str); 15] = [
    (1, "0.001"),
    (2, "0.002"),
    (5, "0.005"),
    (10, "0.01"),
    (20, "0.02"),
    (50, "0.05"),
    (100, "0.1"),
    (200, "0.2"),
    (500, "0.5"),
    (1000, "1.0"),
    (2000, "2.0"),
    (5000, "5.0"),
    (10_000, "10.0"),
    (60_000, "60.0"),
    (u64::MAX, "+Inf"),
];

/// How many of the latest gaps are kept. All are counted.
const GAPS_KEPT: usize = 100;

/// The live counters of one task.
#[derive(Debug)]
pub struct Metrics {
    counters: [AtomicU64; counters::ROWS.len()],
    /// The counters at the last call of [`Metrics::reset`].
    at_reset: [AtomicU64; counters::ROWS.len()],
    reconnects: [AtomicU64; Cause::ALL.len()],
    gap_counts: [AtomicU64; Cause::ALL.len()],
    gap_ms: AtomicU64,
    /// The latest gaps and their entries in the ledger.
    gaps: Mutex<VecDeque<(Gap, Value)>>,
    queue_records: AtomicUsize,
    queue_bytes: AtomicUsize,
    queue_capacity_records: usize,
    queue_capacity_bytes: usize,
    /// Milliseconds since the epoch; 0 while not connected.
    connected_since_ms: AtomicI64,
    /// Milliseconds since the epoch; 0 before the first message.
    last_message_ms: AtomicI64,
    /// Failed attempts and connections in a row. 0 if there is none.
    failures: AtomicU64,
    /// Milliseconds since the epoch. 0 if there is no failure.
    failing_since_ms: AtomicI64,
    latency_counts: [AtomicU64; LATENCY_BUCKETS.len()],
    latency_sum_ms: AtomicU64,
}

/// [`Metrics`] at one moment. Counters are since the start of the task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// When it was taken, milliseconds since the epoch.
    at_ms: i64,
    counters: [u64; counters::ROWS.len()],
    at_reset: [u64; counters::ROWS.len()],
    /// Reconnects by cause, without causes that have not occurred.
    pub reconnects: Vec<(Cause, u64)>,
    pub gap_counts: Vec<(Cause, u64)>,
    /// The total length of all gaps whose beginning is known.
    pub gap_duration: Duration,
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
    /// Failed attempts and connections in a row.
    pub failures: u64,
    /// Milliseconds since the epoch.
    pub failing_since_ms: Option<i64>,
    /// From receipt to commit: how many records are in each bucket.
    pub latency_counts: Vec<u64>,
    pub latency_sum_ms: u64,
}

impl Index<Counter> for Snapshot {
    type Output = u64;

    fn index(&self, counter: Counter) -> &u64 {
        &self.counters[counter as usize]
    }
}

impl Snapshot {
    /// Messages dropped by a full queue.
    pub fn dropped(&self) -> u64 {
        self[Counter::MessagesDroppedOldest] + self[Counter::MessagesDroppedNewest]
    }

    /// Returns a counter since the last [`Metrics::reset`].
    pub(crate) fn since_reset(&self, counter: Counter) -> u64 {
        self[counter].saturating_sub(self.at_reset[counter as usize])
    }

    /// Returns the time from then (milliseconds since the epoch) to this snapshot.
    pub(crate) fn ms_since(&self, moment: Option<i64>) -> Option<i64> {
        moment.map(|ms| (self.at_ms - ms).max(0))
    }

    pub fn reconnects_total(&self) -> u64 {
        self.reconnects.iter().map(|(_, count)| count).sum()
    }
}

impl Metrics {
    pub fn new(queue_records: usize, queue_bytes: usize) -> Metrics {
        Metrics {
            counters: std::array::from_fn(|_| AtomicU64::default()),
            at_reset: std::array::from_fn(|_| AtomicU64::default()),
            reconnects: std::array::from_fn(|_| AtomicU64::default()),
            gap_counts: std::array::from_fn(|_| AtomicU64::default()),
            gap_ms: AtomicU64::default(),
            gaps: Mutex::default(),
            queue_records: AtomicUsize::default(),
            queue_bytes: AtomicUsize::default(),
            queue_capacity_records: queue_records,
            queue_capacity_bytes: queue_bytes,
            connected_since_ms: AtomicI64::default(),
            last_message_ms: AtomicI64::default(),
            failures: AtomicU64::default(),
            failing_since_ms: AtomicI64::default(),
            latency_counts: std::array::from_fn(|_| AtomicU64::default()),
            latency_sum_ms: AtomicU64::default(),
        }
    }

    /// Returns all counters. Each is exact, but they are read one after another.
    pub fn snapshot(&self) -> Snapshot {
        let by_cause = |counts: &[AtomicU64]| {
            let counts = Cause::ALL.iter().zip(counts).map(|(&cause, count)| (cause, count.load(Relaxed)));
            counts.filter(|&(_, count)| count > 0).collect()
        };
        let moment = |ms: &AtomicI64| Some(ms.load(Relaxed)).filter(|&ms| ms > 0);
        Snapshot {
            at_ms: epoch_ms(SystemTime::now()),
            counters: std::array::from_fn(|index| self.counters[index].load(Relaxed)),
            at_reset: std::array::from_fn(|index| self.at_reset[index].load(Relaxed)),
            reconnects: by_cause(&self.reconnects),
            gap_counts: by_cause(&self.gap_counts),
            gap_duration: Duration::from_millis(self.gap_ms.load(Relaxed)),
            gaps: self.latest_gaps().iter().map(|(gap, _)| gap.clone()).collect(),
            queue_records: self.queue_records.load(Relaxed),
            queue_bytes: self.queue_bytes.load(Relaxed),
            queue_capacity_records: self.queue_capacity_records,
            queue_capacity_bytes: self.queue_capacity_bytes,
            connected_since_ms: moment(&self.connected_since_ms),
            last_message_ms: moment(&self.last_message_ms),
            failures: self.failures.load(Relaxed),
            failing_since_ms: moment(&self.failing_since_ms),
            latency_counts: self.latency_counts.iter().map(|count| count.load(Relaxed)).collect(),
            latency_sum_ms: self.latency_sum_ms.load(Relaxed),
        }
    }

    /// Resets the counters of the existing connector's MBean. All others only grow.
    pub fn reset(&self) {
        for (at_reset, counter) in self.at_reset.iter().zip(&self.counters) {
            at_reset.store(counter.load(Relaxed), Relaxed);
        }
    }

    /// Adds to a counter.
    pub fn count(&self, counter: Counter, by: u64) {
        self.counters[counter as usize].fetch_add(by, Relaxed);
    }

    pub(crate) fn received(&self, messages: u64, bytes: u64, at_ms: i64) {
        self.count(Counter::MessagesReceived, messages);
        self.count(Counter::BytesReceived, bytes);
        self.last_message_ms.store(at_ms, Relaxed);
    }

    /// Returns how many records were refused and skipped so far, by the engine or by the host.
    pub(crate) fn skipped(&self) -> u64 {
        let skipped = |counter| self.counters[counter as usize].load(Relaxed);
        skipped(Counter::RecordsSkipped) + skipped(Counter::MessagesIncomplete)
    }

    /// Returns how many messages a full queue has dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        let dropped = |counter| self.counters[counter as usize].load(Relaxed);
        dropped(Counter::MessagesDroppedOldest) + dropped(Counter::MessagesDroppedNewest)
    }

    /// Returns the records and bytes in the queue.
    pub(crate) fn queue(&self) -> (usize, usize) {
        (self.queue_records.load(Relaxed), self.queue_bytes.load(Relaxed))
    }

    /// Counts committed records. The oldest was received `latency_ms` ago.
    pub(crate) fn committed(&self, records: u64, latency_ms: u64) {
        self.count(Counter::RecordsCommitted, records);
        let bucket = LATENCY_BUCKETS.partition_point(|&(bound, _)| bound < latency_ms);
        self.latency_counts[bucket].fetch_add(records, Relaxed);
        self.latency_sum_ms.fetch_add(records * latency_ms, Relaxed);
    }

    pub(crate) fn set_queue(&self, records: usize, bytes: usize) {
        self.queue_records.store(records, Relaxed);
        self.queue_bytes.store(bytes, Relaxed);
    }

    pub(crate) fn connected(&self, at: SystemTime) {
        self.count(Counter::Connections, 1);
        self.connected_since_ms.store(epoch_ms(at), Relaxed);
    }

    pub(crate) fn disconnected(&self) {
        self.connected_since_ms.store(0, Relaxed);
    }

    /// Sets the number of failed attempts and connections in a row, and since when. 0 and `None`: there is no failure.
    pub(crate) fn failing(&self, failures: u32, since: Option<SystemTime>) {
        self.failures.store(failures.into(), Relaxed);
        self.failing_since_ms.store(since.map_or(0, epoch_ms), Relaxed);
    }

    pub(crate) fn reconnect(&self, cause: Cause) {
        self.reconnects[cause as usize].fetch_add(1, Relaxed);
    }

    /// Returns the latest entries of the ledger, oldest first.
    pub fn ledger(&self) -> Vec<Value> {
        self.latest_gaps().iter().map(|(_, entry)| entry.clone()).collect()
    }

    pub(crate) fn gap(&self, gap: Gap, entry: Value) {
        self.gap_counts[gap.cause as usize].fetch_add(1, Relaxed);
        self.gap_ms.fetch_add(gap.duration().map_or(0, |duration| duration.as_millis() as u64), Relaxed);
        // Received and lost records have their own counters.
        if !matches!(gap.cause, Cause::Dropped | Cause::Skipped) {
            self.count(Counter::MessagesMissed, gap.missed.unwrap_or_default());
        }
        let mut gaps = self.latest_gaps();
        if gaps.len() == GAPS_KEPT {
            gaps.pop_front();
        }
        gaps.push_back((gap, entry));
    }

    fn latest_gaps(&self) -> MutexGuard<'_, VecDeque<(Gap, Value)>> {
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner)
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
                id: Gap::random_id(),
                range: None,
                repaired: false,
                began: Some(began),
                ended: began + Duration::from_millis(10),
                cause: Cause::ServerClose,
                missed: Some(2),
            };
            metrics.gap(gap, Value::Null);
        }
        let snapshot = metrics.snapshot();
        assert_eq!((snapshot.gaps.len(), metrics.ledger().len()), (GAPS_KEPT, GAPS_KEPT));
        assert_eq!(snapshot.gap_counts, [(Cause::ServerClose, 105)]);
        assert_eq!(snapshot.gap_duration, Duration::from_millis(1050));
        assert_eq!(snapshot[Counter::MessagesMissed], 210);
    }

    #[test]
    fn latency_falls_into_the_first_bucket_that_holds_it() {
        let metrics = Metrics::new(1, 1);
        metrics.committed(3, 5);
        metrics.committed(2, 1_000_000);
        let snapshot = metrics.snapshot();
        assert_eq!(snapshot.latency_counts[2], 3);
        assert_eq!(*snapshot.latency_counts.last().unwrap(), 2);
        assert_eq!(snapshot[Counter::RecordsCommitted], 5);
    }
}
