//! A line on standard output.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Writes a line to standard output. Returns whether somebody reads it: who has read enough, as `head` has, closes it.
pub(super) fn say(line: impl Display) -> bool {
    writeln!(io::stdout(), "{line}").is_ok()
}
