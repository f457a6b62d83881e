//! One partition: record batches in memory, newest kept, oldest dropped.

use std::collections::{BTreeMap, VecDeque};
use std::mem::size_of;
use std::sync::{Arc, Weak};

use bytes::{Buf, Bytes};
use kafka_protocol::ResponseError;
use tokio::sync::Notify;

/// Bytes of a record batch before its records (message format v2, KIP-98).
const BATCH_HEADER: usize = 61;
/// Batches remembered per idempotent producer to recognise a retry; clients keep at most five in flight (KIP-98).
const REMEMBERED_BATCHES: usize = 5;
/// Idempotent producers remembered per partition; the oldest is forgotten, which only means that its retries are not recognised.
const REMEMBERED_PRODUCERS: usize = 1000;

/// The log of one partition.
pub(super) struct Log {
    /// Most bytes that the kept batches may take.
    retention: usize,
    bytes: usize,
    batches: VecDeque<Batch>,
    end: i64,
    producers: BTreeMap<i64, Producer>,
    waiting: Vec<Weak<Notify>>,
}

/// A record batch as it was received, with only its base offset set (its CRC does not cover that field).
struct Batch {
    base: i64,
    last: i64,
    base_timestamp: i64,
    max_timestamp: i64,
    bytes: Bytes,
}

impl Batch {
    fn cost(&self) -> usize {
        self.bytes.len() + size_of::<Self>()
    }
}

/// What a partition remembers of an idempotent producer.
struct Producer {
    epoch: i16,
    /// First sequence, last sequence and base offset of the latest batches, oldest first.
    recent: VecDeque<(i32, i32, i64)>,
}

impl Log {
    /// An empty log that keeps at most `retention` bytes.
    pub(super) fn new(retention: usize) -> Self {
        Self { retention, bytes: 0, batches: VecDeque::new(), end: 0, producers: BTreeMap::new(), waiting: Vec::new() }
    }

    /// The oldest offset that is still here; `end` if there is none.
    pub(super) fn start(&self) -> i64 {
        self.batches.front().map_or(self.end, |batch| batch.base)
    }

    /// The offset that the next record gets.
    pub(super) fn end(&self) -> i64 {
        self.end
    }

    /// Appends exactly one record batch and returns the offset of its first record: the first time's offset if it is a
    /// retry of an idempotent producer.
    pub(super) fn append(&mut self, received: &Bytes) -> Result<i64, ResponseError> {
        let header = Header::read(received)?;
        if received.len() + size_of::<Batch>() > self.retention {
            return Err(ResponseError::MessageTooLarge);
        }
        if let Some(offset) = self.check_sequence(&header)? {
            return Ok(offset);
        }
        let base = self.end;
        let last = base.checked_add(i64::from(header.records) - 1).ok_or(ResponseError::InvalidRecord)?;
        let mut bytes = Vec::with_capacity(received.len());
        bytes.extend_from_slice(&base.to_be_bytes());
        bytes.extend_from_slice(&received[8..]);
        let batch = Batch {
            base,
            last,
            base_timestamp: header.base_timestamp,
            max_timestamp: header.max_timestamp,
            bytes: bytes.into(),
        };
        self.end = last + 1;
        self.bytes += batch.cost();
        self.batches.push_back(batch);
        while self.bytes > self.retention
            && let Some(oldest) = self.batches.pop_front()
        {
            self.bytes -= oldest.cost();
        }
        self.remember(&header, base);
        for waiting in self.waiting.drain(..).filter_map(|waiting| waiting.upgrade()) {
            waiting.notify_one();
        }
        Ok(base)
    }

    /// Batches from the one that holds `offset`, as many as fit into `limit` bytes; at least one if `limit` is above zero.
    pub(super) fn read(&self, offset: i64, limit: usize) -> Result<Vec<Bytes>, ResponseError> {
        if offset < self.start() || offset > self.end {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let first = self.batches.partition_point(|batch| batch.last < offset);
        let mut size = 0;
        let fits = |batch: &&Batch| {
            let fits = size < limit && (size == 0 || size + batch.bytes.len() <= limit);
            size += batch.bytes.len();
            fits
        };
        Ok(self.batches.range(first..).take_while(fits).map(|batch| batch.bytes.clone()).collect())
    }

    /// Wakes `reader` once, at the next append.
    pub(super) fn wake(&mut self, reader: &Arc<Notify>) {
        self.waiting.retain(|waiting| waiting.strong_count() > 0);
        if !self.waiting.iter().any(|waiting| waiting.as_ptr() == Arc::as_ptr(reader)) {
            self.waiting.push(Arc::downgrade(reader));
        }
    }

    /// Timestamp and offset where records as young as `timestamp` begin, to the batch: batches are not unpacked.
    pub(super) fn offset_of(&self, timestamp: i64) -> Option<(i64, i64)> {
        let batch = self.batches.iter().find(|batch| batch.max_timestamp >= timestamp)?;
        Some((batch.base_timestamp, batch.base))
    }

    /// The offset of the first time if this batch is a retry; an error if a batch before it is missing.
    fn check_sequence(&self, header: &Header) -> Result<Option<i64>, ResponseError> {
        let Some(producer) = self.producers.get(&header.producer_id) else {
            return Ok(None);
        };
        if header.epoch < producer.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        if header.epoch > producer.epoch {
            return if header.sequence == 0 { Ok(None) } else { Err(ResponseError::OutOfOrderSequenceNumber) };
        }
        let (first, last) = (header.sequence, header.last_sequence());
        if let Some((.., offset)) = producer.recent.iter().find(|seen| (seen.0, seen.1) == (first, last)) {
            return Ok(Some(*offset));
        }
        match producer.recent.back() {
            Some(latest) if first == advance(latest.1, 1) => Ok(None),
            Some(latest) if last <= latest.1 => Err(ResponseError::DuplicateSequenceNumber),
            _ => Err(ResponseError::OutOfOrderSequenceNumber),
        }
    }

    fn remember(&mut self, header: &Header, base: i64) {
        if header.producer_id < 0 {
            return;
        }
        let fresh = || Producer { epoch: header.epoch, recent: VecDeque::new() };
        let producer = self.producers.entry(header.producer_id).or_insert_with(fresh);
        if producer.epoch != header.epoch {
            *producer = fresh();
        }
        producer.recent.push_back((header.sequence, header.last_sequence(), base));
        if producer.recent.len() > REMEMBERED_BATCHES {
            producer.recent.pop_front();
        }
        if self.producers.len() > REMEMBERED_PRODUCERS {
            self.producers.pop_first();
        }
    }
}

/// The fields of a record batch's header that a broker needs.
struct Header {
    records: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    producer_id: i64,
    epoch: i16,
    sequence: i32,
}

impl Header {
    /// Reads the header of the one batch in `received`; records of a transaction are refused.
    fn read(received: &Bytes) -> Result<Self, ResponseError> {
        let mut bytes = &received[..];
        if bytes.len() < BATCH_HEADER {
            return Err(ResponseError::CorruptMessage);
        }
        bytes.advance(8); // base offset
        let length = bytes.get_i32();
        bytes.advance(4); // partition leader epoch
        if bytes.get_i8() != 2 {
            return Err(ResponseError::UnsupportedForMessageFormat);
        }
        bytes.advance(4); // CRC, which the readers check
        let attributes = bytes.get_i16();
        let last_offset_delta = bytes.get_i32();
        let base_timestamp = bytes.get_i64();
        let max_timestamp = bytes.get_i64();
        let producer_id = bytes.get_i64();
        let epoch = bytes.get_i16();
        let sequence = bytes.get_i32();
        let records = bytes.get_i32();
        let whole = usize::try_from(length).is_ok_and(|length| length == received.len() - 12);
        if !whole || records < 1 || last_offset_delta != records - 1 {
            return Err(ResponseError::InvalidRecord);
        }
        if attributes & 0x30 != 0 {
            return Err(ResponseError::InvalidTxnState); // transactional or control batch
        }
        if producer_id >= 0 && (sequence < 0 || epoch < 0) {
            return Err(ResponseError::InvalidRecord);
        }
        Ok(Self { records, base_timestamp, max_timestamp, producer_id, epoch, sequence })
    }

    fn last_sequence(&self) -> i32 {
        advance(self.sequence, self.records - 1)
    }
}

/// `by` sequence numbers on; after the highest comes zero.
fn advance(sequence: i32, by: i32) -> i32 {
    sequence.wrapping_add(by) & i32::MAX
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    /// A batch of `records` records, 100 bytes long, from producer 7.
    fn batch(epoch: i16, sequence: i32, records: i32) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_i64(0);
        bytes.put_i32(88);
        bytes.put_i32(-1);
        bytes.put_i8(2);
        bytes.put_u32(0);
        bytes.put_i16(0);
        bytes.put_i32(records - 1);
        bytes.put_i64(1_000 + i64::from(sequence));
        bytes.put_i64(1_000 + i64::from(sequence) + i64::from(records - 1));
        bytes.put_i64(7);
        bytes.put_i16(epoch);
        bytes.put_i32(sequence);
        bytes.put_i32(records);
        bytes.resize(100, 0);
        bytes
    }

    fn append(log: &mut Log, epoch: i16, sequence: i32, records: i32) -> Result<i64, ResponseError> {
        log.append(&batch(epoch, sequence, records).into())
    }

    #[test]
    fn a_retry_is_answered_with_the_first_offset_and_not_stored_again() {
        let mut log = Log::new(10_000);
        assert_eq!(append(&mut log, 0, 0, 10), Ok(0));
        assert_eq!(append(&mut log, 0, 10, 5), Ok(10));
        assert_eq!(append(&mut log, 0, 0, 10), Ok(0));
        assert_eq!(append(&mut log, 0, 10, 5), Ok(10));
        assert_eq!(log.end(), 15);
    }

    #[test]
    fn a_gap_in_the_sequence_is_refused() {
        let mut log = Log::new(10_000);
        assert_eq!(append(&mut log, 0, 0, 10), Ok(0));
        assert_eq!(append(&mut log, 0, 11, 1), Err(ResponseError::OutOfOrderSequenceNumber));
        assert_eq!(append(&mut log, 0, 3, 2), Err(ResponseError::DuplicateSequenceNumber));
        assert_eq!(log.end(), 10);
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_shuts_out_the_old_one() {
        let mut log = Log::new(10_000);
        assert_eq!(append(&mut log, 1, 0, 1), Ok(0));
        assert_eq!(append(&mut log, 2, 1, 1), Err(ResponseError::OutOfOrderSequenceNumber));
        assert_eq!(append(&mut log, 2, 0, 1), Ok(1));
        assert_eq!(append(&mut log, 1, 1, 1), Err(ResponseError::InvalidProducerEpoch));
    }

    #[test]
    fn the_sequence_goes_on_at_zero_after_the_highest() {
        let mut log = Log::new(10_000);
        assert_eq!(append(&mut log, 0, i32::MAX - 1, 2), Ok(0));
        assert_eq!(append(&mut log, 0, 0, 1), Ok(2));
        assert_eq!(advance(i32::MAX, 1), 0);
    }

    #[test]
    fn what_is_not_one_plain_batch_is_refused() {
        let mut log = Log::new(10_000);
        let mut refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = batch(0, 0, 3);
            change(&mut bytes);
            log.append(&bytes.into())
        };
        assert_eq!(refused(&|bytes| bytes.truncate(60)), Err(ResponseError::CorruptMessage));
        assert_eq!(refused(&|bytes| bytes[16] = 1), Err(ResponseError::UnsupportedForMessageFormat));
        assert_eq!(refused(&|bytes| bytes.push(0)), Err(ResponseError::InvalidRecord));
        assert_eq!(refused(&|bytes| bytes[60] = 2), Err(ResponseError::InvalidRecord));
        assert_eq!(refused(&|bytes| bytes[22] = 0x10), Err(ResponseError::InvalidTxnState));
        assert_eq!(refused(&|bytes| bytes[22] = 0x20), Err(ResponseError::InvalidTxnState));
        assert_eq!(refused(&|bytes| bytes[53] = 0x80), Err(ResponseError::InvalidRecord));
        assert_eq!(log.end(), 0);
        assert_eq!(Log::new(99).append(&batch(0, 0, 1).into()), Err(ResponseError::MessageTooLarge));
    }

    #[test]
    fn only_the_base_offset_is_changed() {
        let mut log = Log::new(10_000);
        append(&mut log, 0, 0, 10).unwrap();
        append(&mut log, 0, 10, 10).unwrap();
        let read = log.read(10, 1).unwrap();
        assert_eq!(read[0][..8], 10_i64.to_be_bytes());
        assert_eq!(read[0][8..], batch(0, 10, 10)[8..]);
    }

    #[test]
    fn reading_starts_at_the_batch_of_the_offset_and_keeps_to_the_limit() {
        let mut log = Log::new(10_000);
        for n in 0..10 {
            append(&mut log, 0, n * 10, 10).unwrap();
        }
        let bases = |read: Vec<Bytes>| read.iter().map(|batch| batch[7]).collect::<Vec<_>>();
        assert_eq!(bases(log.read(25, 300).unwrap()), [20, 30, 40]);
        assert_eq!(bases(log.read(25, 1).unwrap()), [20]);
        assert!(log.read(25, 0).unwrap().is_empty());
        assert!(log.read(100, 300).unwrap().is_empty());
        assert_eq!(log.read(101, 300), Err(ResponseError::OffsetOutOfRange));
        assert_eq!(log.read(-1, 300), Err(ResponseError::OffsetOutOfRange));
        assert_eq!(log.offset_of(1_015), Some((1_010, 10)));
        assert_eq!(log.offset_of(1_100), None);
    }

    #[test]
    fn the_cap_drops_the_oldest_batches() {
        let mut log = Log::new(3 * (100 + size_of::<Batch>()));
        for n in 0..10 {
            append(&mut log, 0, n * 10, 10).unwrap();
        }
        assert_eq!((log.start(), log.end()), (70, 100));
        assert_eq!(log.read(69, 1000), Err(ResponseError::OffsetOutOfRange));
        assert_eq!(log.read(70, 1000).unwrap().len(), 3);
    }
}
