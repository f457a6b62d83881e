//! Messages become records: a batch holds many, payloads in one buffer.

use std::time::SystemTime;

/// What a record's value is; its schema in Kafka Connect's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// Schema `STRING`, required; the bytes are valid UTF-8.
    Text,
    /// Schema `BYTES`, required.
    Bytes,
}

/// One record as the host sees it. Key and Kafka partition are null, there are no headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub kind: ValueKind,
    pub value: &'a [u8],
    /// The moment of receipt, milliseconds since the epoch.
    pub timestamp_ms: i64,
    pub sequence: i64,
}

/// Records in the order of receipt.
#[derive(Debug, Default)]
pub struct Batch {
    values: Vec<u8>,
    entries: Vec<Entry>,
    /// Entries at the front that were dropped after all.
    dropped: usize,
    first_sequence: i64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Where the value ends in `values`; it begins where the one before ends.
    end: u32,
    kind: ValueKind,
    timestamp_ms: i64,
}

impl Batch {
    /// The largest value a batch can hold behind others: positions are 32 bit.
    const MAX_VALUES: usize = u32::MAX as usize;

    pub fn len(&self) -> usize {
        self.entries.len() - self.dropped
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory that the records take, in bytes.
    pub fn bytes(&self) -> usize {
        self.values.len() - self.start_of(self.dropped) + self.len() * size_of::<Entry>()
    }

    /// What a record with a value of this length adds to [`Batch::bytes`].
    #[cfg(test)]
    fn cost(value_len: usize) -> usize {
        value_len + size_of::<Entry>()
    }

    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        let position = self.dropped + index;
        let entry = self.entries.get(position)?;
        Some(Record {
            kind: entry.kind,
            value: &self.values[self.start_of(position)..entry.end as usize],
            timestamp_ms: entry.timestamp_ms,
            sequence: self.first_sequence + index as i64,
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// The sequence of the last record; of the one before the batch if it is empty.
    pub fn last_sequence(&self) -> i64 {
        self.first_sequence + self.len() as i64 - 1
    }

    /// When the oldest record was received, milliseconds since the epoch.
    pub fn oldest_timestamp_ms(&self) -> Option<i64> {
        self.entries.get(self.dropped).map(|entry| entry.timestamp_ms)
    }

    pub(crate) fn set_first_sequence(&mut self, sequence: i64) {
        self.first_sequence = sequence;
    }

    pub(crate) fn push(&mut self, kind: ValueKind, value: &[u8], timestamp_ms: i64) {
        self.values.extend_from_slice(value);
        self.finish(kind, timestamp_ms);
    }

    /// Appends a record whose value `write` puts at the end of the buffer.
    pub(crate) fn push_with(&mut self, kind: ValueKind, timestamp_ms: i64, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.values);
        self.finish(kind, timestamp_ms);
    }

    fn finish(&mut self, kind: ValueKind, timestamp_ms: i64) {
        debug_assert!(self.values.len() <= Self::MAX_VALUES, "batches are cut long before this");
        self.entries.push(Entry { end: self.values.len() as u32, kind, timestamp_ms });
    }

    /// Whether `other` can follow in the same buffer without it growing beyond `limit` bytes, dropped records included.
    pub(crate) fn has_room_for(&self, other: &Batch, limit: usize) -> bool {
        self.memory() + other.memory() <= limit.min(Self::MAX_VALUES)
    }

    fn memory(&self) -> usize {
        self.values.len() + self.entries.len() * size_of::<Entry>()
    }

    pub(crate) fn append(&mut self, other: &Batch) {
        let shift = self.values.len() as u32;
        let from = other.start_of(other.dropped);
        self.values.extend_from_slice(&other.values[from..]);
        let entries = &other.entries[other.dropped..];
        self.entries.extend(entries.iter().map(|e| Entry { end: e.end - from as u32 + shift, ..*e }));
    }

    /// Drops the oldest record; answers what it took, `None` if there is none.
    pub(crate) fn drop_oldest(&mut self) -> Option<usize> {
        let before = self.bytes();
        if self.is_empty() {
            return None;
        }
        self.dropped += 1;
        Some(before - self.bytes())
    }

    /// Drops the newest record, if there is one.
    pub(crate) fn drop_newest(&mut self) {
        if !self.is_empty() {
            self.entries.pop();
            self.values.truncate(self.start_of(self.entries.len()));
        }
    }

    /// Takes the newest record out, if there are others before it.
    pub(crate) fn split_last(&mut self) -> Option<Batch> {
        let last = (self.len() > 1).then(|| self.get(self.len() - 1)).flatten()?;
        let mut split = Batch::default();
        split.push(last.kind, last.value, last.timestamp_ms);
        self.drop_newest();
        Some(split)
    }

    fn start_of(&self, position: usize) -> usize {
        position.checked_sub(1).map_or(0, |before| self.entries[before].end as usize)
    }
}

/// Milliseconds since the epoch, the unit of a record's timestamp.
pub(crate) fn epoch_ms(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(values: &[&str]) -> Batch {
        let mut batch = Batch::default();
        for (i, value) in values.iter().enumerate() {
            batch.push(ValueKind::Text, value.as_bytes(), i as i64);
        }
        batch
    }

    fn values(batch: &Batch) -> Vec<String> {
        batch.iter().map(|r| String::from_utf8_lossy(r.value).into_owned()).collect()
    }

    #[test]
    fn records_come_out_as_they_went_in_with_a_running_sequence() {
        let mut batch = batch(&["a", "", "ccc"]);
        batch.set_first_sequence(7);
        assert_eq!(values(&batch), ["a", "", "ccc"]);
        assert_eq!(batch.iter().map(|r| r.sequence).collect::<Vec<_>>(), [7, 8, 9]);
        assert_eq!(batch.last_sequence(), 9);
        assert_eq!(batch.bytes(), Batch::cost(1) + Batch::cost(0) + Batch::cost(3));
    }

    #[test]
    fn appending_and_dropping_keep_order_and_count() {
        let mut one = batch(&["a", "bb"]);
        let mut two = batch(&["x", "yy", "zzz"]);
        assert_eq!(two.drop_oldest(), Some(Batch::cost(1)));
        one.append(&two);
        assert_eq!(values(&one), ["a", "bb", "yy", "zzz"]);
        assert_eq!(one.drop_oldest(), Some(Batch::cost(1)));
        assert_eq!(values(&one), ["bb", "yy", "zzz"]);
        assert_eq!(one.bytes(), Batch::cost(2) * 2 + Batch::cost(3));
        assert_eq!(one.oldest_timestamp_ms(), Some(1));
    }

    #[test]
    fn the_newest_record_is_dropped_or_split_off() {
        let mut batch = batch(&["a", "bb", "ccc"]);
        batch.drop_oldest();
        let last = batch.split_last().unwrap();
        assert_eq!((values(&batch), values(&last)), (vec!["bb".to_owned()], vec!["ccc".to_owned()]));
        assert_eq!(last.oldest_timestamp_ms(), Some(2));
        assert!(batch.split_last().is_none());
        batch.drop_newest();
        assert!(batch.is_empty() && batch.bytes() == 0);
    }

    #[test]
    fn empty_and_dropped_records_take_room_too() {
        let mut one = batch(&[""; 50]);
        (0..50).for_each(|_| assert!(one.drop_oldest().is_some()));
        assert!(one.has_room_for(&batch(&[""]), 51 * Batch::cost(0)));
        assert!(!one.has_room_for(&batch(&[""]), 50 * Batch::cost(0)));
    }

    #[test]
    fn an_empty_batch_has_nothing_to_drop() {
        assert_eq!(Batch::default().drop_oldest(), None);
    }
}
