//! Why a connection could not be opened: a sentence for people, a kind for the decision to retry, and the response for
//! conditions.

use std::fmt;
use std::time::Duration;

use super::http::Answer;
use crate::redact::Redactor;

/// Why a connection could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenError {
    pub kind: OpenErrorKind,
    pub message: String,
    /// How long to wait, as the server says (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// The server's response, if it has refused the handshake.
    pub answer: Option<Box<Answer>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenErrorKind {
    /// The host name does not exist.
    NameUnknown,
    /// The host name could not be resolved for now (EAI_AGAIN), or for an unknown reason.
    NameUnresolved,
    /// TCP or a layer below failed, with or without a proxy, or TLS failed for a temporary reason.
    Tcp,
    /// The HTTP proxy answered CONNECT with this status.
    ProxyStatus(u16),
    /// The SOCKS proxy has refused, for example because of missing credentials.
    ProxyRefused,
    /// A certificate of either side is not accepted, there is no common version or cipher of TLS, or no TLS at all.
    Tls,
    /// The server answered the handshake with this status.
    Status(u16),
    /// The response is not a WebSocket server's, or the redirect cannot be followed.
    Handshake,
    TimedOut,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for OpenError {}

impl OpenError {
    pub(super) fn new(kind: OpenErrorKind, message: impl Into<String>) -> OpenError {
        OpenError { kind, message: message.into(), retry_after: None, answer: None }
    }

    /// The same for a host that a server has named, whose name may contain a secret.
    pub(super) fn hiding(self, redactor: &Redactor) -> OpenError {
        OpenError { message: redactor.hide(&self.message), ..self }
    }
}
