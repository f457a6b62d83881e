//! A line on standard output.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Writes a line to standard output. Returns false if nobody reads it: a reader such as `head` closes it early.
pub(super) fn say(line: impl Display) -> bool {
    writeln!(io::stdout(), "{line}").is_ok()
}
