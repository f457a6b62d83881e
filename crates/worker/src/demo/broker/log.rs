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
        Self {
            retention,
            bytes: 0,
            batches: VecDeque::new(),
            end: 0,
            producers: BTreeMap::new(),
            waiting: Vec::new(),
        }
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
        let last = base
            .checked_add(i64::from(header.records) - 1)
            .ok_or(ResponseError::InvalidRecord)?;
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
        for waiting in self
            .waiting
            .drain(..)
            .filter_map(|waiting| waiting.upgrade())
        {
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
        Ok(self
            .batches
            .range(first..)
            .take_while(fits)
            .map(|batch| batch.bytes.clone())
            .collect())
    }

    /// Wakes `reader` at the next append.
    pub(super) fn wake(&mut self, reader: &Arc<Notify>) {
        self.waiting.retain(|waiting| waiting.strong_count() > 0);
        self.waiting.push(Arc::downgrade(reader));
    }

    /// Timestamp and offset where records as young as `timestamp` begin, to the batch: batches are not unpacked.
    pub(super) fn offset_of(&self, timestamp: i64) -> Option<(i64, i64)> {
        let batch = self
            .batches
            .iter()
            .find(|batch| batch.max_timestamp >= timestamp)?;
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
            return if header.sequence == 0 {
                Ok(None)
            } else {
                Err(ResponseError::OutOfOrderSequenceNumber)
            };
        }
        let (first, last) = (header.sequence, header.last_sequence());
        if let Some((.., offset)) = producer
            .recent
            .iter()
            .find(|seen| (seen.0, seen.1) == (first, last))
        {
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
        let fresh = || Producer {
            epoch: header.epoch,
            recent: VecDeque::new(),
        };
        let producer = self
            .producers
            .entry(header.producer_id)
            .or_insert_with(fresh);
        if producer.epoch != header.epoch {
            *producer = fresh();
        }
        producer
            .recent
            .push_back((header.sequence, header.last_sequence(), base));
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
        Ok(Self {
            records,
            base_timestamp,
            max_timestamp,
            producer_id,
            epoch,
            sequence,
        })
    }

    fn last_sequence(&self) -> i32 {
        advance(self.sequence, self.records - 1)
    }
}

/// `by` sequence numbers on; after the highest comes zero.
fn advance(sequence: i32, by: i32) -> i32 {
    sequence.wrapping_add(by) & i32::MAX
}
