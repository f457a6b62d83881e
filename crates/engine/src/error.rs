//! An error, and whether another attempt can help. That is decided where the error is made, and used in one place
//! (`session.rs`).

use std::fmt;

/// A failure of the task or of one attempt to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// What to do about an [`Error`]: Kafka Connect's `ConnectException` and `RetriableException`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Another attempt cannot help. The task fails, with this as its trace.
    Fatal,
    /// The same call may succeed later.
    Retriable,
}

impl Error {
    pub fn fatal(message: impl Into<String>) -> Self {
        Error { kind: ErrorKind::Fatal, message: message.into() }
    }

    pub fn retriable(message: impl Into<String>) -> Self {
        Error { kind: ErrorKind::Retriable, message: message.into() }
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
