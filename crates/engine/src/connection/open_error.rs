//! Why a connection could not be opened: for people a sentence, for the reconnect policy a kind, for conditions the answer.

use std::fmt;
use std::time::Duration;

use super::http::Answer;
use crate::redact::Redactor;

/// Why a connection could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenError {
    pub kind: OpenErrorKind,
    pub message: String,
    /// How long the server asks us to wait.
    pub retry_after: Option<Duration>,
    /// What the server answered, if it refused the handshake.
    pub answer: Option<Box<Answer>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenErrorKind {
    /// The resolver knows that there is no such name.
    NameUnknown,
    /// The resolver cannot say now (EAI_AGAIN), or not why.
    NameUnresolved,
    /// TCP or what is below failed, with or without a proxy; or TLS did, for no reason that would last.
    Tcp,
    /// The HTTP proxy answered CONNECT with this status.
    ProxyStatus(u16),
    /// The SOCKS proxy refused, for want of credentials perhaps.
    ProxyRefused,
    /// A certificate, ours or theirs, is not accepted; no version or cipher of TLS in common, or no TLS at all.
    Tls,
    /// The server answered the handshake with this status.
    Status(u16),
    /// The answer is not a WebSocket server's, or the redirect leads nowhere.
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

    /// The same about a host that a server has named, maybe after a secret.
    pub(super) fn hiding(self, redactor: &Redactor) -> OpenError {
        OpenError { message: redactor.hide(&self.message), ..self }
    }
}
