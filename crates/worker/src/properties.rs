//! Files of Java properties, as the engine parses them; files of the command line are read here.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use connect_websocket_engine::file::remove_byte_order_mark;
pub use connect_websocket_engine::properties::{MAX_FILE_BYTES, PropertiesError, parse, parse_text};

/// Reads a file of the command line. It may be a pipe, such as the shell's `<(…)`; of an endless one only the beginning is read.
pub(crate) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    remove_byte_order_mark(&mut bytes);
    Ok(bytes)
}
