//! One open WebSocket: reads messages, replies to control frames, closes. `open` opens it.
//!
//! Bytes are read into one buffer, many frames per system call. The caller borrows a message and copies it once, to
//! where it needs it. What is sent is small, and waits in a bounded buffer. Reading does not wait for it.

mod addresses;
mod body;
mod dial;
pub mod frame;
mod handshake;
pub(crate) mod http;
pub(crate) mod http_request;
pub mod inflate;
mod open;
mod open_error;
mod proxy;
mod request;
mod socket;
mod tls_error;
mod transport;
pub mod violation;

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;
use tracing::warn;

pub use addresses::Addresses;
use frame::{Decoder, Event, OnInvalidText};
use handshake::Agreement;
pub use http::Answer;
pub use open_error::{OpenError, OpenErrorKind};
pub use request::Request;
use transport::Transport;
use violation::{NotUtf8, Violation};

/// The most bytes of one read.
const INPUT_BYTES: usize = 128 << 10;
/// If more bytes wait to be sent, pings get no reply. Not every ping needs one (RFC 6455 §5.5.3).
const MAX_PENDING_OUT: usize = 64 << 10;
/// The most control frames per second. More are an attack.
const MAX_CONTROL_FRAMES_PER_SECOND: u32 = 10_000;
/// The shortest interval between log lines about text that is not UTF-8.
const INVALID_TEXT_LOG_INTERVAL: Duration = Duration::from_secs(30);
/// How long sending the last bytes may take, among them the Close.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// An open WebSocket.
#[derive(Debug)]
pub struct Connection {
    transport: Transport,
    decoder: Decoder,
    input: Box<[u8]>,
    /// The part of `input` that is not decoded yet.
    unread: std::ops::Range<usize>,
    unsent: Unsent,
    control_frames: ControlFrames,
    answer: Answer,
    agreement: Agreement,
    at_configured_origin: bool,
    address: SocketAddr,
    /// Whether bytes after a violation can still be read as frames.
    readable: bool,
    discarded: Discarded,
    invalid_text_logged: Option<Instant>,
}

/// What was read and discarded: after a violation also that message, and always what came after the end of the
/// connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Discarded {
    /// How many messages, as far as frames could be read.
    pub messages: u64,
    pub bytes: u64,
}

impl Connection {
    /// The server's response to the opening handshake.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// The address of the connection: the proxy's, if there is one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn subprotocol(&self) -> Option<&str> {
        self.agreement.subprotocol.as_deref()
    }

    /// How many bytes of frames have come together with the response.
    pub(crate) fn unread(&self) -> usize {
        self.unread.len()
    }

    /// The size of the message that is not complete yet, as far as its frames say.
    pub(crate) fn unfinished(&self) -> usize {
        self.decoder.unfinished()
    }

    /// Whether no redirect led to another origin, which must not get a secret.
    pub fn at_configured_origin(&self) -> bool {
        self.at_configured_origin
    }

    pub fn compressed(&self) -> bool {
        self.agreement.deflate.is_some()
    }

    /// Returns the next event in what was read. `None`: call [`Connection::exchange`] first. Replies to pings and to a
    /// Close.
    ///
    /// # Errors
    /// The server has violated the protocol. A Close with the violation's code will be sent.
    // It has the name of an iterator's method, but its result is borrowed.
    #[expect(clippy::should_implement_trait, reason = "the event borrows from the connection")]
    pub fn next(&mut self) -> Result<Option<Event<'_>>, Violation> {
        // Field by field, because the event borrows the decoder and the input.
        let unsent = &mut self.unsent;
        let (taken, event) = match self.decoder.decode(&self.input[self.unread.clone()]) {
            Ok(decoded) => decoded,
            Err(violation) => {
                unsent.refuse(&violation);
                self.readable = violation.resume_at.is_some();
                self.discarded.messages += u64::from(self.readable);
                self.unread.start += violation.resume_at.unwrap_or_default();
                return Err(violation);
            }
        };
        self.unread.start += taken;
        match &event {
            Some(Event::Ping(payload)) => {
                self.control_frames.count().inspect_err(|v| unsent.refuse(v))?;
                unsent.pong(payload);
            }
            Some(Event::Pong(_)) => self.control_frames.count().inspect_err(|v| unsent.refuse(v))?,
            Some(Event::Close(close)) => {
                unsent.close(close.answer(), "");
                // Nothing after a Close is a message (RFC 6455 §5.5.1).
                self.unread.start = self.unread.end;
            }
            _ => {}
        }
        Ok(event)
    }

    /// Sends what waits and, if `read`, reads what has arrived. Call it when [`Connection::next`] has nothing more.
    /// Returns how many bytes were read. 0 is the end of the stream. Without `read`, it returns 0 when something was
    /// sent.
    ///
    /// Cancel safe: nothing is lost when the future is dropped.
    pub async fn exchange(&mut self, read: bool) -> io::Result<usize> {
        self.report_invalid_text(false);
        // Before a read, only a few bytes are left: the beginning of a frame's header.
        if read {
            self.input.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        poll_fn(|cx| {
            let idle = self.unsent.is_idle();
            let sent = self.unsent.poll_send(cx, &mut self.transport);
            if !read {
                return if idle && matches!(sent, Poll::Ready(Ok(()))) { Poll::Pending } else { sent.map_ok(|()| 0) };
            }
            let mut free = ReadBuf::new(&mut self.input[self.unread.end..]);
            match Pin::new(&mut self.transport).poll_read(cx, &mut free) {
                // Also read if nothing can be sent any more, because the peer may have sent messages before.
                Poll::Ready(Ok(())) if !free.filled().is_empty() => {
                    let read = free.filled().len();
                    self.unread.end += read;
                    Poll::Ready(Ok(read))
                }
                result => match (sent, result) {
                    (Poll::Ready(Err(error)), _) => Poll::Ready(Err(error)),
                    // The end without close_notify (RFC 8446 §6.1). Here the Close frame says whether the server has finished.
                    (_, Poll::Ready(Err(error))) if error.kind() == ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
                    (_, result) => result.map_ok(|()| 0),
                },
            }
        })
        .await
    }

    /// Begins a time in which the caller does not read and packets must not wake it.
    pub fn rest(&mut self) {
        self.transport.socket().rest();
    }

    /// Blocks this thread while the connection rests, for `time` or until the peer has hung up.
    pub fn sleep(&mut self, time: Duration) {
        self.transport.socket().sleep(time);
    }

    /// Sends what waits, without reading.
    ///
    /// Cancel safe.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.unsent.poll_send(cx, &mut self.transport)).await
    }

    /// Since when bytes wait because the peer does not accept them.
    pub fn unsent_since(&self) -> Option<Instant> {
        self.unsent.since
    }

    pub fn send_text(&mut self, payload: &[u8]) {
        self.unsent.frame(|out| frame::encode_text(payload, out));
    }

    pub fn send_binary(&mut self, payload: &[u8]) {
        self.unsent.frame(|out| frame::encode_binary(payload, out));
    }

    pub fn send_ping(&mut self, payload: &[u8]) {
        self.unsent.frame(|out| frame::encode_ping(payload, out));
    }

    /// Begins the closing handshake (RFC 6455 §7.1.2), or replies to the peer's Close. Later calls do nothing. Until
    /// the peer's Close, a message that is not UTF-8 is skipped, so that the reading goes on.
    pub fn send_close(&mut self, code: u16, reason: &str) {
        self.unsent.close(Some(code), reason);
        if self.decoder.refuses_invalid_text() {
            self.decoder.on_invalid_text(OnInvalidText::Skip);
        }
    }

    /// Logs that text messages were not UTF-8, and whether they were kept: at once, and then at intervals.
    fn report_invalid_text(&mut self, last_time: bool) {
        if !self.decoder.saw_invalid_text() {
            return;
        }
        let now = Instant::now();
        let lately = self.invalid_text_logged.is_some_and(|at| now.duration_since(at) < INVALID_TEXT_LOG_INTERVAL);
        if lately && !last_time {
            return;
        }
        self.invalid_text_logged = Some(now);
        if let Some((count, NotUtf8 { len, offset })) = self.decoder.take_invalid_text() {
            let became = if self.decoder.replaces_invalid_text() { "replaced" } else { "skipped" };
            warn!("event=text_invalid count={count} became={became} size={len} offset={offset}");
        }
    }

    /// Sends the last frames, with a short time limit, and ends the stream. Returns what was read and discarded.
    pub async fn farewell(mut self) -> Discarded {
        self.report_invalid_text(true);
        self.decoder.on_invalid_text(OnInvalidText::Skip);
        // Bytes that were read together with the end of the connection.
        self.discard();
        let closing = async {
            self.flush().await?;
            self.transport.shutdown().await?;
            // A socket that is closed with unread bytes is reset, and the peer may then not get the Close that says
            // what was wrong.
            while self.unsent.refused && self.exchange(true).await? > 0 {
                self.discard();
            }
            Ok::<(), io::Error>(())
        };
        // An error means that the peer is gone. Then there is nothing more to do.
        let _ = tokio::time::timeout(CLOSE_WITHIN, closing).await;
        let Discarded { messages, bytes } = self.discarded;
        // Discarded pings and Closes are no loss. Bytes that cannot be read as frames may be messages.
        if messages > 0 || bytes > 0 && !self.readable {
            warn!("event=messages_discarded messages={messages} bytes={bytes}");
        }
        self.discarded
    }

    /// Counts and discards what was read.
    fn discard(&mut self) {
        let discarded = &mut self.discarded;
        let before = self.unread.len();
        while self.readable {
            match self.decoder.decode(&self.input[self.unread.clone()]) {
                Ok((taken, Some(event))) => {
                    discarded.messages += u64::from(matches!(event, Event::Text(_) | Event::Binary(_)));
                    self.unread.start += taken;
                }
                Ok((taken, None)) => {
                    self.unread.start += taken;
                    break;
                }
                Err(_) => self.readable = false,
            }
        }
        discarded.messages += self.decoder.take_invalid_text().map_or(0, |(count, _)| count);
        if !self.readable {
            self.unread = 0..0;
        }
        discarded.bytes += (before - self.unread.len()) as u64;
    }
}

/// Frames that wait to be sent.
#[derive(Debug, Default)]
struct Unsent {
    bytes: Vec<u8>,
    /// Since when `bytes` is not empty.
    since: Option<Instant>,
    /// Whether TLS may still buffer written bytes.
    flush_due: bool,
    close_sent: bool,
    /// Whether the server has violated a rule. It may continue to send.
    refused: bool,
}

impl Unsent {
    /// Adds a frame, unless a Close was sent (RFC 6455 §5.5.1).
    fn frame(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        if !self.close_sent {
            self.since.get_or_insert_with(Instant::now);
            encode(&mut self.bytes);
        }
    }

    fn pong(&mut self, payload: &[u8]) {
        if self.bytes.len() <= MAX_PENDING_OUT {
            self.frame(|out| frame::encode_pong(payload, out));
        }
    }

    fn close(&mut self, code: Option<u16>, reason: &str) {
        self.frame(|out| frame::encode_close(code, reason, out));
        self.close_sent = true;
    }

    fn refuse(&mut self, violation: &Violation) {
        self.close(Some(violation.code), &violation.message);
        self.refused = true;
    }

    fn is_idle(&self) -> bool {
        self.bytes.is_empty() && !self.flush_due
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, transport: &mut Transport) -> Poll<io::Result<()>> {
        let mut sent = 0;
        let result = loop {
            if sent == self.bytes.len() {
                if !self.flush_due {
                    break Poll::Ready(Ok(()));
                }
                let flushed = Pin::new(&mut *transport).poll_flush(cx);
                self.flush_due = flushed.is_pending();
                break flushed;
            }
            match Pin::new(&mut *transport).poll_write(cx, &self.bytes[sent..]) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    sent += n;
                    self.flush_due = true;
                }
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.bytes.drain(..sent);
        if self.bytes.is_empty() {
            self.since = None;
        }
        result
    }
}

/// Counts pings and pongs per second.
#[derive(Debug, Default)]
struct ControlFrames {
    second: Option<Instant>,
    count: u32,
}

impl ControlFrames {
    fn count(&mut self) -> Result<(), Violation> {
        let now = Instant::now();
        if self.second.is_none_or(|second| now.duration_since(second) >= Duration::from_secs(1)) {
            *self = ControlFrames { second: Some(now), count: 0 };
        }
        self.count += 1;
        if self.count <= MAX_CONTROL_FRAMES_PER_SECOND {
            return Ok(());
        }
        let message = format!("the server sends more than {MAX_CONTROL_FRAMES_PER_SECOND} pings and pongs a second");
        Err(Violation::new(1008, message))
    }
}

/// Access to private parts for the fuzz targets, which read a server's bytes without a socket.
#[doc(hidden)]
pub mod fuzzing {
    use super::handshake::{Offer, Refusal};
    use super::request::Request;
    use crate::endpoint::Endpoint;

    /// Reads a response to a request with the key of RFC 6455 §1.3 and the subprotocol `v1`. Returns its length, or
    /// `None` if it is not complete or redirects, or why it is refused.
    pub fn read_handshake_answer(bytes: &[u8], compression: bool) -> Result<Option<usize>, String> {
        let endpoint = Endpoint::parse("ws://host/")?;
        let subprotocols = vec!["v1".to_owned()];
        let request = Request { subprotocols, compression, ..Request::to(endpoint.clone()) };
        let offer = Offer { request: &request, endpoint: &endpoint, key: "dGhlIHNhbXBsZSBub25jZQ==".to_owned() };
        match offer.read_answer(bytes) {
            Ok(answer) => Ok(answer.map(|(taken, ..)| taken)),
            Err(Refusal::Status { answer, .. }) if answer.redirects() => {
                endpoint.redirect(&answer.header("location").unwrap_or_default()).map(|_| None)
            }
            Err(refusal) => Err(format!("{refusal:?}")),
        }
    }
}
