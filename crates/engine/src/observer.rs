//! The observer of a session, such as `probe`. A usual task has none, and then this costs nothing.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::gap::{Cause, Gap};

/// Gets what happens, at once and in order, on the session's thread. So it must not block for long.
pub trait Observer: Send + Sync {
    fn saw(&self, sight: Sight<'_>);
}

/// Something that happened. Texts and bytes are as received and may contain secrets, which the observer has to hide
/// ([`crate::redact::Redactor`]). A *sentence* can be shown as it is.
#[derive(Debug, Clone, Copy)]
pub enum Sight<'a> {
    /// An address is tried: the feed's, its proxy's, or that of a step's request. The sentence says which.
    Trying { whose: &'a str, address: SocketAddr },
    /// That address has failed. The sentence says why.
    Unreachable(SocketAddr, &'a str),
    /// TCP is connected.
    Reached(SocketAddr),
    /// The server has sent its certificate, in DER. Whether it is trusted is decided next.
    Certificate(&'a [u8]),
    /// The TLS handshake has succeeded: the version, such as `TLSv1.3`, and the cipher suite.
    Tls { version: &'a str, cipher: &'a str },
    /// The server redirects to this address, which can be shown as it is.
    Redirected(&'a str),
    /// The server's response to the opening handshake, also if it refuses.
    Handshake { status: u16, subprotocol: Option<&'a str>, compression: bool },
    /// A step begins.
    StepBegan { step: &'a str },
    /// A step has sent a message.
    Sent { step: &'a str, message: Message<'a> },
    /// A step makes an HTTP request.
    Requested { step: &'a str, method: &'a str, url: &'a str },
    /// The response to that request.
    Answered { step: &'a str, status: u16, bytes: usize },
    /// A part of a message, after it was unpacked and split. For steps and templates, each part is a message.
    Part(Message<'a>),
    /// A step has waited for the last part, or reacts to it.
    Heard { step: &'a str, is_record: bool },
    /// A record of that part. `None`: it is not UTF-8. `is_kept`: it passes the filter.
    Record { text: Option<&'a str>, is_kept: bool },
    /// A step is done.
    StepDone { step: &'a str },
    /// How many bytes were read, before decompression.
    Read(usize),
    /// A message was received. Secrets that steps capture from it are known at the next [`Sight::Read`].
    Received(Message<'a>),
    /// A ping of the server, which is answered.
    Ping,
    /// A Close of the server.
    Close { code: Option<u16>, reason: &'a str },
    /// Messages are missing, or may be.
    Gap(&'a Gap),
    /// A connection, or an attempt at one, has ended. The sentence says why. `retry`: the wait before the next attempt,
    /// if there is one. `planned`: a step has requested a new connection. `ready`: all steps were done.
    Ended { cause: Cause, sentence: &'a str, retry: Option<Duration>, planned: bool, ready: bool },
}

/// A message, as it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Valid UTF-8.
    Text(&'a [u8]),
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Message::Text(bytes) | Message::Binary(bytes) => bytes,
        }
    }
}

/// The observer, if there is one.
#[derive(Clone, Default)]
pub(crate) struct Watched(Option<Arc<dyn Observer>>);

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl Watched {
    pub(crate) fn by(observer: Arc<dyn Observer>) -> Watched {
        Watched(Some(observer))
    }

    pub(crate) fn tell(&self, sight: Sight<'_>) {
        if let Some(observer) = &self.0 {
            observer.saw(sight);
        }
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.0.is_some()
    }
}
