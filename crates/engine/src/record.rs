//! Records. A batch has many of them in one buffer.

pub mod value;
pub mod wire;

use std::time::SystemTime;

pub use wire::Parts;

/// The type of a record's value: its schema in Kafka Connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// Schema `STRING`, required. The bytes are valid UTF-8.
    Text,
    /// Schema `BYTES`, required.
    Bytes,
    /// No schema: JSON, in the form of [`value`].
    Json,
}

/// One record as the host sees it. The Kafka partition is null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub kind: ValueKind,
    pub value: &'a [u8],
    /// Its other parts. Most records have none.
    pub parts: Parts<'a>,
    /// The time of receipt, in milliseconds since the epoch.
    pub received_ms: i64,
    pub sequence: i64,
}

impl<'a> Record<'a> {
    /// Returns its own topic. `None`: the configured one.
    pub fn topic(&self) -> Option<&'a str> {
        self.parts.iter().find_map(|part| if let Part::Topic(topic) = part { Some(topic) } else { None })
    }

    pub fn key(&self) -> Option<Key<'a>> {
        self.parts.iter().find_map(|part| if let Part::Key(key) = part { Some(key) } else { None })
    }

    /// Returns its own timestamp, or the time of receipt.
    pub fn timestamp_ms(&self) -> i64 {
        let own = self.parts.iter().find_map(|part| if let Part::Timestamp(ms) = part { Some(ms) } else { None });
        own.unwrap_or(self.received_ms)
    }

    /// Returns names and values of headers. A name may come more than once.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let parts = self.parts.iter();
        parts.filter_map(|part| if let Part::Header { name, value } = part { Some((name, value)) } else { None })
    }

    /// Returns the other entries of its source offset (not session, sequence and time): names and values.
    pub fn offset_entries(&self) -> impl Iterator<Item = (&'a str, OffsetValue<'a>)> + use<'a> {
        let parts = self.parts.iter();
        parts.filter_map(|part| if let Part::OffsetEntry { name, value } = part { Some((name, value)) } else { None })
    }

    /// Returns the number of its message, if the feed is acknowledged.
    pub fn message(&self) -> Option<i64> {
        self.parts.iter().find_map(|part| if let Part::Message(id) = part { Some(id) } else { None })
    }

    /// Returns the key of its source partition. `None`: the only partition of the feed.
    pub fn partition_key(&self) -> Option<&'a str> {
        self.parts.iter().find_map(|part| if let Part::Partition(key) = part { Some(key) } else { None })
    }
}

/// A part of a record other than its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Another topic than the configured one.
    Topic(&'a str),
    Key(Key<'a>),
    /// Another time than that of receipt, in milliseconds since the epoch.
    Timestamp(i64),
    /// Schema `STRING`, required.
    Header {
        name: &'a str,
        value: &'a str,
    },
    /// An entry of the source offset other than session, sequence and time. Each name comes once.
    OffsetEntry {
        name: &'a str,
        value: OffsetValue<'a>,
    },
    /// The number of the record's message, if the feed is acknowledged.
    Message(i64),
    /// The key of the source partition, if each key of the feed has its own cursor.
    Partition(&'a str),
}

/// A value in the source offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetValue<'a> {
    Text(&'a str),
    Number(i64),
}

/// A record's key and its schema, which is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// Schema `STRING`.
    Text(&'a str),
    /// Schema `BYTES`.
    Bytes(&'a [u8]),
}

/// Records in the order of receipt.
#[derive(Debug, Default)]
pub struct Batch {
    /// The values of all records, each after its other parts.
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// How many records at the front were dropped.
    dropped: usize,
    first_sequence: i64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Where the record ends in `bytes`. It begins at the end of the one before.
    end: u32,
    kind: ValueKind,
    has_parts: bool,
    received_ms: i64,
}

impl Batch {
    /// The most bytes of a batch, because positions have 32 bits.
    const MAX_BYTES: usize = u32::MAX as usize;

    pub fn len(&self) -> usize {
        self.entries.len() - self.dropped
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the memory of the records, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len() - self.start_of(self.dropped) + self.len() * size_of::<Entry>()
    }

    /// Returns what a record with a value of this length adds to [`Batch::bytes`].
    #[cfg(test)]
    fn cost(value_len: usize) -> usize {
        value_len + size_of::<Entry>()
    }

    /// Returns the record with this sequence.
    pub fn of_sequence(&self, sequence: i64) -> Option<Record<'_>> {
        self.get(usize::try_from(sequence.checked_sub(self.first_sequence)?).ok()?)
    }

    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        let position = self.dropped + index;
        let entry = self.entries.get(position)?;
        let bytes = &self.bytes[self.start_of(position)..entry.end as usize];
        let (parts, value) = if entry.has_parts { wire::split(bytes) } else { (Parts::default(), bytes) };
        let Entry { kind, received_ms, .. } = *entry;
        Some(Record { kind, value, parts, received_ms, sequence: self.first_sequence + index as i64 })
    }

    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    pub fn first_sequence(&self) -> i64 {
        self.first_sequence
    }

    /// Returns the sequence of the last record, or of the one before the batch if the batch is empty.
    pub fn last_sequence(&self) -> i64 {
        self.first_sequence + self.len() as i64 - 1
    }

    /// Returns when the oldest record was received, in milliseconds since the epoch.
    pub fn oldest_received_ms(&self) -> Option<i64> {
        self.entries.get(self.dropped).map(|entry| entry.received_ms)
    }

    pub(crate) fn set_first_sequence(&mut self, sequence: i64) {
        self.first_sequence = sequence;
    }

    /// Appends a record with only a value.
    pub fn push(&mut self, kind: ValueKind, value: &[u8], received_ms: i64) {
        self.bytes.extend_from_slice(value);
        self.finish(kind, false, received_ms);
    }

    fn finish(&mut self, kind: ValueKind, has_parts: bool, received_ms: i64) {
        debug_assert!(self.bytes.len() <= Self::MAX_BYTES, "batches are cut long before this");
        self.entries.push(Entry { end: self.bytes.len() as u32, kind, has_parts, received_ms });
    }

    /// Begins a record. Its parts are added one by one, and its value at the end.
    pub fn add(&mut self, received_ms: i64) -> RecordWriter<'_> {
        let start = self.bytes.len();
        RecordWriter { batch: self, start, has_parts: false, finished: false, received_ms }
    }

    /// Appends a copy of a record of another batch, with the next sequence of this batch.
    pub fn push_record(&mut self, record: &Record<'_>) {
        let mut added = self.add(record.received_ms);
        if record.parts != Parts::default() {
            wire::put_parts(&mut added.batch.bytes, record.parts);
            added.has_parts = true;
        }
        added.value(record.kind, record.value);
    }

    /// Appends a record with another text in this entry of its source offset, or without the entry.
    pub(crate) fn push_with_entry(&mut self, record: &Record<'_>, entry: &str, text: Option<&str>) {
        let mut added = self.add(record.received_ms);
        let is_other = |part: &Part<'_>| !matches!(part, Part::OffsetEntry { name, .. } if *name == entry);
        record.parts.iter().filter(is_other).for_each(|part| added.part(part));
        if let Some(text) = text {
            added.part(Part::OffsetEntry { name: entry, value: OffsetValue::Text(text) });
        }
        added.value(record.kind, record.value);
    }

    /// Whether `other` fits into the same buffer with at most `limit` bytes, including dropped records.
    pub(crate) fn has_room_for(&self, other: &Batch, limit: usize) -> bool {
        self.memory() + other.memory() <= limit.min(Self::MAX_BYTES)
    }

    fn memory(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry>()
    }

    pub(crate) fn append(&mut self, other: &Batch) {
        let shift = self.bytes.len() as u32;
        let from = other.start_of(other.dropped);
        self.bytes.extend_from_slice(&other.bytes[from..]);
        let entries = &other.entries[other.dropped..];
        self.entries.extend(entries.iter().map(|e| Entry { end: e.end - from as u32 + shift, ..*e }));
    }

    /// Drops the oldest record. Returns its bytes, or `None` if there is none.
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
            self.bytes.truncate(self.start_of(self.entries.len()));
        }
    }

    /// Removes and returns the records from this one on.
    pub(crate) fn split_off(&mut self, index: usize) -> Batch {
        let mut split = Batch::default();
        for record in (index..self.len()).filter_map(|index| self.get(index)) {
            split.push_record(&record);
        }
        while self.len() > index {
            self.drop_newest();
        }
        split
    }

    /// Removes and returns the newest record, if there are others before it.
    pub(crate) fn split_last(&mut self) -> Option<Batch> {
        let last = (self.len() > 1).then(|| self.get(self.len() - 1)).flatten()?;
        let mut split = Batch::default();
        split.push_record(&last);
        self.drop_newest();
        Some(split)
    }

    fn start_of(&self, position: usize) -> usize {
        position.checked_sub(1).map_or(0, |before| self.entries[before].end as usize)
    }
}

/// A record that is being added to a batch. If it is dropped before its end, the batch is unchanged.
#[must_use]
pub struct RecordWriter<'a> {
    batch: &'a mut Batch,
    /// Where the record begins in the batch's bytes.
    start: usize,
    has_parts: bool,
    finished: bool,
    received_ms: i64,
}

impl RecordWriter<'_> {
    /// Adds a part. Topic, key and timestamp can be added once.
    pub fn part(&mut self, part: Part<'_>) {
        if !self.has_parts {
            self.has_parts = true;
            wire::begin_parts(&mut self.batch.bytes);
        }
        wire::put_part(&mut self.batch.bytes, part);
        wire::end_parts(&mut self.batch.bytes, self.start);
    }

    /// Ends the record.
    pub fn value(mut self, kind: ValueKind, value: &[u8]) {
        self.batch.bytes.extend_from_slice(value);
        self.finish(kind);
    }

    /// Ends the record with a value that `write` appends to the buffer.
    ///
    /// # Errors
    /// Those of `write`. Then there is no record.
    pub fn value_with<E>(
        mut self,
        kind: ValueKind,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        write(&mut self.batch.bytes)?;
        self.finish(kind);
        Ok(())
    }

    fn finish(&mut self, kind: ValueKind) {
        self.batch.finish(kind, self.has_parts, self.received_ms);
        self.finished = true;
    }
}

impl Drop for RecordWriter<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.batch.bytes.truncate(self.start);
        }
    }
}

/// Returns milliseconds since the epoch, the unit of a record's timestamp.
pub fn epoch_ms(time: SystemTime) -> i64 {
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
        assert_eq!(one.oldest_received_ms(), Some(1));
    }

    #[test]
    fn the_newest_record_is_dropped_or_split_off() {
        let mut batch = batch(&["a", "bb", "ccc"]);
        batch.drop_oldest();
        let last = batch.split_last().unwrap();
        assert_eq!((values(&batch), values(&last)), (vec!["bb".to_owned()], vec!["ccc".to_owned()]));
        assert_eq!(last.oldest_received_ms(), Some(2));
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

    const PARTS: [Part<'static>; 5] = [
        Part::Header { name: "feed", value: "kucoin" },
        Part::Key(Key::Text("BTC-USDT")),
        Part::Topic("trades"),
        Part::Timestamp(99),
        Part::Header { name: "feed", value: "" },
    ];

    fn add_with_parts(batch: &mut Batch, value: &str) {
        let mut record = batch.add(7);
        PARTS.iter().for_each(|part| record.part(*part));
        record.value(ValueKind::Bytes, value.as_bytes());
    }

    #[test]
    fn record_may_have_topic_key_timestamp_and_headers() {
        let mut batch = batch(&["plain"]);
        add_with_parts(&mut batch, "with");
        batch.push(ValueKind::Text, b"plain", 8);
        let [before, with, after] = [0, 1, 2].map(|index| batch.get(index).unwrap());
        assert_eq!((with.kind, with.value, with.received_ms), (ValueKind::Bytes, &b"with"[..], 7));
        assert_eq!((with.topic(), with.key()), (Some("trades"), Some(Key::Text("BTC-USDT"))));
        assert_eq!(with.timestamp_ms(), 99);
        assert_eq!(with.headers().collect::<Vec<_>>(), [("feed", "kucoin"), ("feed", "")]);
        for (plain, received_ms) in [(before, 0), (after, 8)] {
            assert_eq!((plain.value, plain.topic(), plain.key()), (&b"plain"[..], None, None));
            assert_eq!((plain.timestamp_ms(), plain.headers().count()), (received_ms, 0));
        }
        assert!(batch.bytes() > Batch::cost(5) * 2 + Batch::cost("with".len() + "kucoinBTC-USDTtrades".len()));
    }

    #[test]
    fn parts_follow_their_record_through_append_drop_and_split() {
        let mut one = batch(&["a"]);
        let mut two = batch(&["b"]);
        add_with_parts(&mut two, "c");
        two.drop_oldest();
        one.append(&two);
        add_with_parts(&mut one, "d");
        let last = one.split_last().unwrap();
        for (of, index, value) in [(&one, 1, "c"), (&last, 0, "d")] {
            let record = of.get(index).unwrap();
            assert_eq!(record.value, value.as_bytes());
            assert_eq!(record.parts.iter().collect::<Vec<_>>(), PARTS);
        }
        one.drop_newest();
        assert_eq!((values(&one), one.bytes()), (vec!["a".to_owned()], Batch::cost(1)));
        one.append(&last);
        assert_eq!(one.drop_oldest(), Some(Batch::cost(1)));
        assert_eq!(one.drop_oldest(), Some(last.bytes()));
    }

    #[test]
    fn record_that_is_given_up_leaves_nothing() {
        let mut batch = batch(&["a"]);
        let mut record = batch.add(1);
        record.part(PARTS[0]);
        drop(record);
        let failed = batch.add(1).value_with(ValueKind::Text, |out| {
            out.extend_from_slice(b"half");
            Err("no value")
        });
        assert_eq!((failed, batch.bytes()), (Err("no value"), Batch::cost(1)));
        batch.push(ValueKind::Text, b"b", 1);
        assert_eq!(values(&batch), ["a", "b"]);
    }

    #[test]
    fn place_of_a_record_takes_no_more_than_its_parts_need() {
        assert_eq!(size_of::<Entry>(), 16, "a record without parts costs what it always did");
    }
}
