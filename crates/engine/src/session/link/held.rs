//! Live records that wait for the missing records before them.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::offset::UNREPAIRED;
use crate::record::{Batch, OffsetValue};

/// The most bytes that wait. If there are more, the oldest wait no longer.
const MAX_BYTES: usize = 8 << 20;
/// Records are joined up to this size.
const BATCH_BYTES: usize = 256 << 10;

#[derive(Default)]
pub(super) struct Held {
    segments: VecDeque<Segment>,
}

/// The records between one hole and the next one.
struct Segment {
    /// The number of the hole's repair.
    repair: u64,
    until: Instant,
    batches: Vec<Batch>,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Begins the records after a hole. They wait until `until` at most.
    pub(super) fn begin(&mut self, repair: u64, until: Instant) {
        self.segments.push_back(Segment { repair, until, batches: Vec::new() });
    }

    pub(super) fn add(&mut self, batch: Batch) {
        let Some(segment) = self.segments.back_mut().filter(|_| !batch.is_empty()) else { return };
        match segment.batches.last_mut().filter(|last| last.has_room_for(&batch, BATCH_BYTES)) {
            Some(last) => last.append(&batch),
            None => segment.batches.push(batch),
        }
    }

    /// Returns when the first records have waited long enough.
    pub(super) fn next_release(&self) -> Option<Instant> {
        self.segments.front().map(|segment| segment.until)
    }

    /// Returns the records that have waited long enough, and those beyond the limit of bytes.
    pub(super) fn release_due(&mut self, now: Instant) -> Vec<Batch> {
        let mut released = Vec::new();
        while self.next_release().is_some_and(|until| until <= now) || self.bytes() > MAX_BYTES {
            released.extend(self.segments.pop_front().into_iter().flat_map(|segment| segment.batches));
        }
        released
    }

    /// Returns the records after a hole whose repair has ended, if they still wait.
    pub(super) fn release(&mut self, repair: u64) -> Vec<Batch> {
        let is_first = self.segments.front().is_some_and(|segment| segment.repair == repair);
        let segment = if is_first { self.segments.pop_front() } else { None };
        segment.map(|segment| segment.batches).unwrap_or_default()
    }

    /// Replaces the list of unrepaired gaps in the records' offsets.
    pub(super) fn list(&mut self, mut anew: impl FnMut(&str) -> Option<String>) {
        for batch in self.segments.iter_mut().flat_map(|segment| &mut segment.batches) {
            let mut listed = Batch::default();
            for record in batch.iter() {
                let list = record.offset_entries().find_map(|(name, value)| match value {
                    OffsetValue::Text(list) if name == UNREPAIRED => Some(list),
                    _ => None,
                });
                match list {
                    Some(list) => listed.push_with_entry(&record, UNREPAIRED, anew(list).as_deref()),
                    None => listed.push_record(&record),
                }
            }
            *batch = listed;
        }
    }

    pub(super) fn release_all(&mut self) -> Vec<Batch> {
        self.segments.drain(..).flat_map(|segment| segment.batches).collect()
    }

    fn bytes(&self) -> usize {
        self.segments.iter().flat_map(|segment| &segment.batches).map(Batch::bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::{Part, ValueKind};

    fn batch(values: &[&str]) -> Batch {
        let mut batch = Batch::default();
        values.iter().for_each(|value| batch.push(ValueKind::Text, value.as_bytes(), 0));
        batch
    }

    fn values(batches: &[Batch]) -> Vec<String> {
        let records = batches.iter().flat_map(Batch::iter);
        records.map(|record| String::from_utf8_lossy(record.value).into_owned()).collect()
    }

    #[test]
    fn what_follows_a_hole_goes_on_when_it_is_repaired_or_has_waited_long_enough() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut held = Held::default();
        held.begin(1, now + second);
        held.add(batch(&["a"]));
        held.add(batch(&["b"]));
        held.begin(2, now + 2 * second);
        held.add(batch(&["c"]));
        assert_eq!((held.next_release(), held.release_due(now).len()), (Some(now + second), 0));
        assert!(held.release(2).is_empty(), "what is before it comes first");
        assert_eq!(values(&held.release(1)), ["a", "b"]);
        assert_eq!(values(&held.release_due(now + 2 * second)), ["c"]);
        assert!(held.is_empty() && held.release(2).is_empty());
    }

    #[test]
    fn what_waits_says_no_more_that_something_is_missing_when_it_is_not() {
        let listing = |lists: &[Option<&str>]| {
            let mut batch = Batch::default();
            for list in lists {
                let mut record = batch.add(7);
                record.part(Part::OffsetEntry { name: "cursor", value: OffsetValue::Text("5") });
                if let Some(list) = list {
                    record.part(Part::OffsetEntry { name: UNREPAIRED, value: OffsetValue::Text(list) });
                }
                record.value(ValueKind::Text, b"x");
            }
            batch
        };
        let now = Instant::now();
        let mut held = Held::default();
        held.begin(1, now);
        held.add(listing(&[Some("a b"), None, Some("a")]));
        held.list(|list| Some(list.replace('a', "").trim().to_owned()).filter(|list| !list.is_empty()));
        let expected = listing(&[Some("b"), None, None]);
        assert!(held.release_all()[0].iter().eq(expected.iter()));
    }

    #[test]
    fn too_much_does_not_wait() {
        let now = Instant::now();
        let mut held = Held::default();
        held.begin(1, now + Duration::from_secs(9));
        let large = "x".repeat(MAX_BYTES / 2);
        held.add(batch(&[&large]));
        assert!(held.release_due(now).is_empty());
        held.add(batch(&[&large]));
        assert_eq!((held.release_due(now).len(), held.is_empty()), (2, true));
    }
}
