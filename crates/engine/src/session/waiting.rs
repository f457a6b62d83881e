//! Records that wait for room in the queue. While some do, nothing is read.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::ending::Ending;
use crate::config::Config;
use crate::handover;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::record::Batch;

#[derive(Default)]
pub(super) struct Waiting {
    /// There are few: while one waits, nothing is read.
    batches: VecDeque<Batch>,
    since: Option<Instant>,
    /// Why the connection ends. It is returned after the records that were received before it.
    end: Option<Ending>,
}

impl Waiting {
    pub(super) fn add(&mut self, mut batch: Batch, max_bytes: usize) {
        // If the last record makes the batch too large, it waits as a batch of its own.
        let last = if batch.bytes() > max_bytes { batch.split_last() } else { None };
        self.batches.extend([Some(batch), last].into_iter().flatten().filter(|batch| !batch.is_empty()));
    }

    pub(super) fn end(&mut self, ending: Ending) {
        self.end.get_or_insert(ending);
    }

    pub(super) fn take_end(&mut self) -> Option<Ending> {
        self.end.take()
    }

    /// Gives the batches to the queue, as far as there is room. If batches had to wait and all are now in the queue,
    /// returns for how long nothing was read.
    pub(super) fn give_to(&mut self, queue: &Queue, now: Instant) -> Option<Duration> {
        while let Some(batch) = self.batches.pop_front() {
            if let Err(batch) = queue.push(batch) {
                self.batches.push_front(batch);
                self.since.get_or_insert(now);
                return None;
            }
        }
        self.since.take().map(|since| now.saturating_duration_since(since))
    }

    pub(super) fn is_blocked(&self) -> bool {
        !self.batches.is_empty()
    }

    /// Counts what still waits as lost, because the deadline of the stop has passed.
    pub(super) fn leave_behind(self, config: &Config, metrics: &Metrics) {
        for batch in self.batches {
            let values = batch.iter().map(|record| record.value.len() as u64).sum();
            let reason = "the queue stayed full until the stop's deadline";
            handover::leave_behind(config, metrics, batch.len() as u64, values, reason);
        }
    }
}
