//! A batch in the direct buffer that Java reads, in the machine's byte order. `RecordBatch.java` is the other end.
//!
//! ```text
//! i8  1 if log lines wait                   then for each record
//! i64 sequence of the first record          i64 timestamp, milliseconds since the epoch
//!                                           i8  kind: 0 STRING, 1 BYTES
//!                                           i32 length, and as many bytes
//! ```

use connect_websocket_engine::record::{Batch, ValueKind};

const HEADER: usize = 1 + size_of::<i64>();
const RECORD_HEADER: usize = size_of::<i64>() + 1 + size_of::<i32>();

/// Bytes that a batch needs in the buffer.
pub(crate) fn size(batch: &Batch) -> usize {
    HEADER + batch.iter().map(|record| RECORD_HEADER + record.value.len()).sum::<usize>()
}

/// Notes whether log lines wait, in a buffer that holds a header at least.
pub(crate) fn write_lines_wait(lines_wait: bool, buffer: &mut [u8]) {
    if let Some(flag) = buffer.first_mut() {
        *flag = u8::from(lines_wait);
    }
}

/// Writes a batch that fits.
pub(crate) fn write(batch: &Batch, buffer: &mut [u8]) {
    let mut rest = &mut buffer[1..];
    let mut put = |bytes: &[u8]| {
        let (head, tail) = std::mem::take(&mut rest).split_at_mut(bytes.len());
        head.copy_from_slice(bytes);
        rest = tail;
    };
    let first = batch.get(0).map_or(0, |record| record.sequence);
    put(&first.to_ne_bytes());
    for record in batch.iter() {
        put(&record.timestamp_ms.to_ne_bytes());
        put(&[match record.kind {
            ValueKind::Text => 0,
            ValueKind::Bytes => 1,
        }]);
        put(&(record.value.len() as i32).to_ne_bytes());
        put(record.value);
    }
}
