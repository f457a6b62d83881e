//! A line on standard output.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

/// Writes a line to standard output. Returns false if nobody reads it: a reader such as `head` closes it early.
///
/// # Errors
/// A sentence: it cannot be written, for example because the disk is full.
pub fn say(line: impl Display) -> Result<bool, String> {
    match writeln!(io::stdout(), "{line}") {
        Ok(()) => Ok(true),
        Err(error) => unread(error.kind()).map_or(Ok(false), Err),
    }
}

/// Returns the sentence about output that could not be written, or `None` if its reader has closed it.
pub fn unread(error: ErrorKind) -> Option<String> {
    (error != ErrorKind::BrokenPipe).then(|| format!("the output cannot be written: {error}"))
}
