//! Writes a batch into the direct buffer. `RecordBatch.java` reads it.
//!
//! ```text
//! i8  1 if log lines wait
//!     the records, one after another, as in the engine's `record/wire.rs`
//! ```

use std::io;

use connect_websocket_engine::record::{Batch, wire};

const HEADER: usize = 1;

/// Returns the bytes that a batch needs in the buffer.
pub(crate) fn size(batch: &Batch) -> usize {
    HEADER + batch.iter().map(|record| wire::size(&record)).sum::<usize>()
}

/// Writes whether log lines wait, if the buffer has room for that.
pub(crate) fn write_lines_wait(lines_wait: bool, buffer: &mut [u8]) {
    if let Some(flag) = buffer.first_mut() {
        *flag = u8::from(lines_wait);
    }
}

/// Writes a batch.
///
/// # Errors
/// The buffer is smaller than [`size`].
pub(crate) fn write(batch: &Batch, buffer: &mut [u8]) -> io::Result<()> {
    let mut rest = &mut buffer[HEADER..];
    batch.iter().try_for_each(|record| wire::write(&record, &mut rest))
}
