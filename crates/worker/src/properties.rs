//! Java properties: the engine's parser, and reading of files on the command line.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use connect_websocket_engine::file::remove_byte_order_mark;
pub use connect_websocket_engine::properties::{MAX_FILE_BYTES, PropertiesError, parse, parse_text};

/// Reads a file of the command line, up to a limit. It may be a pipe, such as the shell's `<(…)`.
pub(crate) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    remove_byte_order_mark(&mut bytes);
    Ok(bytes)
}
