//! Files that commands make for users. An existing file is never overwritten.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

/// Creates a file. `shown` is its name in errors.
///
/// # Errors
/// A sentence: the file exists already, or cannot be created.
pub(crate) fn create(path: &Path, shown: impl Display) -> Result<File, String> {
    OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => format!("{shown} is there already, and is kept; name another file"),
        _ => format!("{shown} cannot be created: {error}"),
    })
}
