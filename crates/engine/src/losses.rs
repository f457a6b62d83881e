//! Received records that were lost, for the ledger of gaps: dropped by a full queue, or refused and skipped. They are
//! reported together, at intervals and at the end.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::gap::{Cause, Gap};
use crate::mutation::Mutation;
use crate::record::{Batch, OffsetValue, Part, RecordWriter};

/// The causes, in the order of the counts.
const CAUSES: [Cause; 2] = [Cause::Dropped, Cause::Skipped];
/// The shortest interval between two reports.
const INTERVAL: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// How many were reported.
    told: [u64; 2],
    told_at: Option<Instant>,
    /// The time of the last report, or of the last check without a loss.
    since: Option<SystemTime>,
    /// Partition and offset of the last polled record.
    partition_key: Option<String>,
    offset: Vec<(String, Value)>,
}

#[derive(Debug)]
enum Value {
    Text(String),
    Number(i64),
}

impl Losses {
    /// Returns the losses to report now. `counts`: how many records were dropped and skipped so far. `last`: this is
    /// the last report.
    pub(crate) fn due(&mut self, counts: [u64; 2], now: Instant, at: SystemTime, last: bool) -> Vec<Gap> {
        if !self.are_untold(counts) {
            self.since = Some(at);
            return Vec::new();
        }
        if !last && self.told_at.is_some_and(|told| now.duration_since(told) < INTERVAL) {
            Mutation::LossesForgotten.does(|| self.told = counts);
            return Vec::new();
        }
        let began = self.since.replace(at);
        let gap = |(place, cause): (usize, Cause)| {
            let missed = Some(counts[place] - self.told[place]).filter(|missed| *missed > 0);
            missed.map(|_| Gap { id: Gap::random_id(), began, ended: at, cause, missed, range: None, repaired: false })
        };
        let gaps = CAUSES.into_iter().enumerate().filter_map(gap).collect();
        (self.told, self.told_at) = (counts, Some(now));
        gaps
    }

    /// Whether there are losses to report. `counts`: how many records were dropped and skipped so far.
    pub(crate) fn are_untold(&self, counts: [u64; 2]) -> bool {
        counts != self.told
    }

    /// Notes a polled batch.
    pub(crate) fn given_out(&mut self, batch: &Batch) {
        let Some(record) = batch.len().checked_sub(1).and_then(|last| batch.get(last)) else { return };
        let value = |value| match value {
            OffsetValue::Text(text) => Value::Text(text.to_owned()),
            OffsetValue::Number(number) => Value::Number(number),
        };
        self.partition_key = record.partition_key().map(str::to_owned);
        self.offset.clear();
        self.offset.extend(record.offset_entries().map(|(name, own)| (name.to_owned(), value(own))));
    }

    /// Writes the offset entries of a record of the ledger.
    pub(crate) fn write_beside(&self, record: &mut RecordWriter<'_>) {
        for (name, value) in &self.offset {
            let value = match value {
                Value::Text(text) => OffsetValue::Text(text),
                Value::Number(number) => OffsetValue::Number(*number),
            };
            record.part(Part::OffsetEntry { name, value });
        }
        if let Some(key) = &self.partition_key {
            record.part(Part::Partition(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_together_now_and_then_and_at_the_end() {
        let (mut losses, start, at) = (Losses::default(), Instant::now(), SystemTime::UNIX_EPOCH);
        let mut due = |counts, seconds, last| {
            let gaps = losses.due(counts, start + Duration::from_secs(seconds), at, last);
            gaps.iter().map(|gap| (gap.cause, gap.missed)).collect::<Vec<_>>()
        };
        assert_eq!(due([0, 0], 0, false), []);
        assert_eq!(due([2, 0], 1, false), [(Cause::Dropped, Some(2))]);
        assert_eq!(due([5, 1], 30, false), []);
        assert_eq!(due([5, 1], 31, false), [(Cause::Dropped, Some(3)), (Cause::Skipped, Some(1))]);
        assert_eq!(due([5, 2], 32, false), []);
        assert_eq!(due([5, 2], 32, true), [(Cause::Skipped, Some(1))]);
        assert_eq!(due([5, 2], 99, true), []);
        assert!(losses.are_untold([5, 3]) && !losses.are_untold([5, 2]));
    }
}
