//! Who watches a session as it happens: `probe` shows it to people. A usual task has no observer and pays nothing for it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::gap::{Cause, Gap};

/// Is told what happens, at once and in order, on the session's own thread: it must not block for long.
pub trait Observer: Send + Sync {
    fn saw(&self, sight: Sight<'_>);
}

/// One thing that happened. Texts and bytes are as they came and may hold secrets: whoever shows them hides those
/// ([`crate::redact::Redactor`]). What has the word *sentence* is fit to be shown.
#[derive(Debug, Clone, Copy)]
pub enum Sight<'a> {
    /// An address is tried: of the feed, of its proxy, or of a step's request; whose it is, the sentence says.
    Trying { whose: &'a str, address: SocketAddr },
    /// That address did not work; a sentence says why.
    Unreachable(SocketAddr, &'a str),
    /// TCP is connected.
    Reached(SocketAddr),
    /// The server has shown its certificate, in DER. Whether it is trusted, is decided next.
    Certificate(&'a [u8]),
    /// TLS is agreed on: its version, such as `TLSv1.3`, and the cipher suite.
    Tls { version: &'a str, cipher: &'a str },
    /// The server sends us to this address instead; it is fit to be shown.
    Redirected(&'a str),
    /// The server's answer to the opening handshake, good or not.
    Handshake { status: u16, subprotocol: Option<&'a str>, compression: bool },
    /// A step begins: it sends something, asks for something, or waits.
    StepBegan { step: &'a str },
    /// A step has said something.
    Sent { step: &'a str, message: Message<'a> },
    /// A step makes a request over HTTP.
    Requested { step: &'a str, method: &'a str, url: &'a str },
    /// It was answered.
    Answered { step: &'a str, status: u16, bytes: usize },
    /// The intake has unpacked and split what came; each part is a message to steps and templates.
    Part(Message<'a>),
    /// The part that came last is one that a step waited for or reacts to.
    Heard { step: &'a str, is_record: bool },
    /// A record was picked out of that part; `None` is not UTF-8. `is_kept`: the filter lets it pass.
    Record { text: Option<&'a str>, is_kept: bool },
    /// Nothing of the step is under way any more.
    StepDone { step: &'a str },
    /// So many bytes were read: frames, before they are decompressed.
    Read(usize),
    /// A whole message came. The secrets that steps capture of it are known when the next [`Sight::Read`] is told.
    Received(Message<'a>),
    /// A ping of the server, which is answered.
    Ping,
    /// A Close of the server.
    Close { code: Option<u16>, reason: &'a str },
    /// Messages are missing, or may be.
    Gap(&'a Gap),
    /// The connection, or the attempt at one, ended; the sentence says why. `retry`: when the next attempt comes, if there
    /// is one; `planned`: a step has asked for it.
    Ended { cause: Cause, sentence: &'a str, retry: Option<Duration>, planned: bool },
}

/// A message, as its frames had it.
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

/// Whether somebody watches.
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
