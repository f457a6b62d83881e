//! One connection's socket: writes obey back-pressure while the client's frames are read and answered meanwhile.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use crate::batch::Ends;
use crate::deflate::Inflater;
use crate::frame::{self, CLOSE, CONTINUATION, ClientFrame, FIN, FrameReader, PING, PONG, TEXT};
use crate::shared::{Order, Record};
use crate::stats::CloseFrame;

/// Texts kept for the statistics of one connection, and as many that wait to be looked at; and their length.
const KEPT_TEXTS: usize = 1000;
const KEPT_TEXT: usize = 64 * 1024;
/// The largest message taken from a client.
const MAX_CLIENT_MESSAGE: usize = 16 * 1024 * 1024;
/// Pongs that wait for the socket; more are left out.
const MAX_QUEUED: usize = 1024 * 1024;

/// Unanswered pings that are remembered.
const MAX_OPEN_PINGS: usize = 10_000;

/// A plain or TLS socket.
pub(crate) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Io {
    /// The socket, if it is plain.
    pub(crate) fn into_plain(self) -> Option<TcpStream> {
        match self {
            Io::Plain(tcp) => Some(tcp),
            Io::Tls(_) => None,
        }
    }

    /// FIN. Over TLS without close_notify, as many servers do it.
    pub(crate) async fn end_tcp(&mut self) -> io::Result<()> {
        match self {
            Io::Plain(tcp) => tcp.shutdown().await,
            Io::Tls(tls) => {
                tls.flush().await?;
                tls.get_mut().0.shutdown().await
            }
        }
    }

    /// Makes the coming drop a RST.
    pub(crate) fn reset_on_drop(&self) {
        let tcp = match self {
            Io::Plain(tcp) => tcp,
            Io::Tls(tls) => tls.get_ref().0,
        };
        // It fails only if the socket is gone, which is what is wanted.
        let _ = tcp.set_zero_linger();
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Io::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Io::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Io::Tls(tls) => Pin::new(tls.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Io::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Io::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
        }
    }
}

/// Why the steps end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The client's Close, which is not answered yet.
    ClientClose(CloseFrame),
    /// The client's answer to the server's Close.
    CloseAnswered,
    /// FIN or RST of the client.
    ClientGone,
    /// [`Server::close_all`](crate::Server::close_all) with this code.
    CloseNow(u16),
    /// The step was the last thing to happen: end with RST.
    Reset,
    /// The step was the last thing to happen: end with FIN.
    Fin,
    /// The client did not answer the server's Close in time.
    CloseUnanswered,
    /// What the client did wrong, or did not do in time.
    Failed(String),
}

enum Event {
    Read(usize),
    Wrote(usize),
    Flushed,
    Order(Order),
}

/// The next order; never comes back once the server is gone, which ends the task anyway.
async fn next_order(orders: &mut watch::Receiver<Option<Order>>) -> Order {
    loop {
        if orders.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        if let Some(order) = *orders.borrow_and_update() {
            return order;
        }
    }
}

/// What becomes of the client's pings.
#[derive(Clone, Copy)]
pub(crate) enum Pongs {
    Answer,
    Withhold,
    Delay(Duration),
}

/// What came from the client.
#[derive(Debug)]
pub(crate) enum Received {
    Text(String),
    Binary(Vec<u8>),
    Ping,
    Pong,
}

pub(crate) struct Link {
    io: Io,
    reader: FrameReader,
    input: Box<[u8]>,
    /// Goes out before anything else: a held-back handshake answer, pings, pongs.
    queued: Vec<u8>,
    unflushed: bool,
    /// A frame is being written piece by piece: nothing may come between.
    pub(crate) inside_frame: bool,
    orders: watch::Receiver<Option<Order>>,
    late_pongs: VecDeque<(Instant, Vec<u8>)>,
    /// Pings not answered yet, with the count of numbered messages before each.
    open_pings: VecDeque<(Vec<u8>, u64)>,
    pings: u64,
    fragmented: Option<(u8, bool, Vec<u8>)>,
    /// What nobody has looked at yet: texts, or all if `keep_all` is set.
    pub(crate) received: VecDeque<Received>,
    pub(crate) keep_all: bool,
    pub(crate) inflater: Option<Inflater>,
    pub(crate) reading: bool,
    pub(crate) pongs: Pongs,
    pub(crate) close_sent: bool,
    pub(crate) ignore_close: bool,
    pub(crate) record: Record,
}

impl Link {
    pub(crate) fn new(io: Io, record: Record, early: &[u8]) -> Link {
        let mut reader = FrameReader::default();
        reader.push(early);
        Link {
            io,
            reader,
            input: vec![0; 16 * 1024].into_boxed_slice(),
            queued: Vec::new(),
            unflushed: false,
            inside_frame: false,
            orders: record.shared.orders.subscribe(),
            late_pongs: VecDeque::new(),
            open_pings: VecDeque::new(),
            pings: 0,
            fragmented: None,
            received: VecDeque::new(),
            keep_all: false,
            inflater: None,
            reading: true,
            pongs: Pongs::Answer,
            close_sent: false,
            ignore_close: false,
            record,
        }
    }

    pub(crate) fn io(&mut self) -> &mut Io {
        &mut self.io
    }

    /// Puts bytes before whatever is written next.
    pub(crate) fn hold(&mut self, bytes: &[u8]) {
        self.queued.extend_from_slice(bytes);
    }

    /// Writes one or more frames that are no numbered messages.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let ends = Ends::At(vec![bytes.len()]);
        self.write_messages(bytes, &ends, &mut 0).await
    }

    /// Writes messages and counts those that went out in full. The client's Close lets only the message in hand be finished.
    pub(crate) async fn write_messages(&mut self, bytes: &[u8], ends: &Ends, written: &mut u64) -> Result<(), Stop> {
        self.queue_due_pongs();
        let joined;
        let (bytes, offset) = if self.queued.is_empty() {
            (bytes, 0)
        } else {
            let mut all = std::mem::take(&mut self.queued);
            let offset = all.len();
            all.extend_from_slice(bytes);
            joined = all;
            (joined.as_slice(), offset)
        };
        let boundary = |at: usize| {
            if at < offset { offset } else { offset + ends.boundary(at - offset) }
        };
        let (mut at, mut limit, mut result) = (0, bytes.len(), Ok(()));
        while at < limit || self.unflushed {
            match self.next_event(Some(&bytes[at..limit])).await {
                Ok(Event::Wrote(count)) => {
                    at += count;
                    *written = at.checked_sub(offset).map_or(0, |at| ends.complete(at));
                }
                Ok(Event::Flushed) => {}
                Ok(Event::Order(Order::Close(code))) => {
                    limit = limit.min(boundary(at));
                    result = Err(Stop::CloseNow(code));
                }
                Ok(Event::Order(Order::Reset)) => {
                    result = Err(Stop::Reset);
                    break;
                }
                Ok(Event::Read(count)) => match self.take_bytes(count) {
                    Ok(()) => {}
                    Err(Stop::ClientClose(close)) => {
                        limit = limit.min(boundary(at));
                        result = Err(Stop::ClientClose(close));
                    }
                    Err(stop) => {
                        result = Err(stop);
                        break;
                    }
                },
                Err(_) => {
                    result = Err(Stop::ClientGone);
                    break;
                }
            }
        }
        self.record.change(|stats| stats.bytes_sent += at as u64);
        result
    }

    /// Reads and answers until something ends the steps.
    pub(crate) async fn serve(&mut self) -> Stop {
        loop {
            if let Err(stop) = self.serve_once().await {
                return stop;
            }
        }
    }

    /// Reads and answers until the time is over.
    pub(crate) async fn serve_until(&mut self, end: Instant) -> Result<(), Stop> {
        tokio::select! {
            stop = self.serve() => Err(stop),
            () = tokio::time::sleep_until(end) => Ok(()),
        }
    }

    /// Reads and answers whatever comes next; safe to be dropped at any time.
    pub(crate) async fn serve_once(&mut self) -> Result<(), Stop> {
        self.queue_due_pongs();
        let due = self.late_pongs.front().map(|(due, _)| *due).filter(|_| !self.inside_frame);
        let event = tokio::select! {
            event = self.next_event(None) => event,
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => return Ok(()),
        };
        match event {
            Ok(Event::Read(count)) => self.take_bytes(count),
            Ok(Event::Wrote(count)) => {
                self.queued.drain(..count);
                Ok(())
            }
            Ok(Event::Flushed) => Ok(()),
            Ok(Event::Order(Order::Reset)) => Err(Stop::Reset),
            Ok(Event::Order(Order::Close(code))) => Err(Stop::CloseNow(code)),
            Err(_) => Err(Stop::ClientGone),
        }
    }

    /// Whatever comes first; `None`: the data to write is the queue.
    async fn next_event(&mut self, data: Option<&[u8]>) -> io::Result<Event> {
        let mut orders = self.orders.clone();
        tokio::select! {
            order = next_order(&mut orders) => {
                self.orders.mark_unchanged();
                Ok(Event::Order(order))
            }
            event = poll_fn(|cx| self.poll_event(cx, data)) => event,
        }
    }

    /// Reads first, so that a Close is seen before more is written.
    fn poll_event(&mut self, cx: &mut Context<'_>, data: Option<&[u8]>) -> Poll<io::Result<Event>> {
        if self.reading {
            let mut buffer = ReadBuf::new(&mut self.input);
            if let Poll::Ready(result) = Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                return Poll::Ready(result.map(|()| Event::Read(buffer.filled().len())));
            }
        }
        let data = data.unwrap_or(&self.queued);
        if !data.is_empty() {
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, data))?;
            self.unflushed = true;
            return Poll::Ready(Ok(Event::Wrote(count)));
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
            return Poll::Ready(Ok(Event::Flushed));
        }
        Poll::Pending
    }

    /// Takes in what was read into `input`.
    fn take_bytes(&mut self, count: usize) -> Result<(), Stop> {
        if count == 0 {
            return Err(Stop::ClientGone);
        }
        self.record.change(|stats| stats.bytes_received += count as u64);
        self.reader.push(&self.input[..count]);
        self.take_frames()
    }

    /// Takes the frames that have arrived.
    pub(crate) fn take_frames(&mut self) -> Result<(), Stop> {
        while let Some(frame) = self.reader.next().map_err(Stop::Failed)? {
            self.take_frame(frame)?;
        }
        Ok(())
    }

    fn take_frame(&mut self, frame: ClientFrame) -> Result<(), Stop> {
        match frame.opcode {
            PING => {
                self.record.change(|stats| stats.pings_received += 1);
                match self.pongs {
                    Pongs::Answer if self.inside_frame => self.late_pongs.push_back((Instant::now(), frame.payload)),
                    Pongs::Answer => self.queue_pong(&frame.payload),
                    Pongs::Withhold => {}
                    Pongs::Delay(delay) => self.late_pongs.push_back((Instant::now() + delay, frame.payload)),
                }
                self.keep(Received::Ping);
            }
            PONG => {
                self.take_pong(&frame.payload);
                self.keep(Received::Pong);
            }
            CLOSE => return self.take_close(&frame.payload),
            _ => return self.take_data(frame),
        }
        Ok(())
    }

    fn take_pong(&mut self, payload: &[u8]) {
        let answered = self.open_pings.iter().position(|(ping, _)| ping == payload);
        // A pong answers the pings before it, too (RFC 6455 section 5.5.3).
        let before = answered.and_then(|index| self.open_pings.drain(..=index).next_back());
        self.record.change(|stats| {
            stats.pongs_received += 1;
            if let Some((_, sent)) = before {
                stats.confirmed = stats.confirmed.max(sent);
            }
        });
    }

    fn take_close(&mut self, payload: &[u8]) -> Result<(), Stop> {
        let close = CloseFrame::read(payload);
        let first = self.record.change(|stats| {
            let first = stats.close_received.is_none();
            stats.close_received.get_or_insert_with(|| close.clone());
            first
        });
        if self.close_sent {
            return Err(Stop::CloseAnswered);
        }
        if self.ignore_close || !first {
            return Ok(());
        }
        Err(Stop::ClientClose(close))
    }

    fn take_data(&mut self, frame: ClientFrame) -> Result<(), Stop> {
        let (opcode, compressed, mut payload) = match (frame.opcode, self.fragmented.take()) {
            (CONTINUATION, Some(begun)) => begun,
            (CONTINUATION, None) => {
                return Err(Stop::Failed("client continuation frame continues nothing".to_owned()));
            }
            (_, Some(_)) => {
                return Err(Stop::Failed("client began a message inside a fragmented one".to_owned()));
            }
            (opcode, None) => (opcode, frame.rsv1, Vec::new()),
        };
        payload.extend_from_slice(&frame.payload);
        if payload.len() > MAX_CLIENT_MESSAGE {
            return Err(Stop::Failed(format!("client message is longer than {MAX_CLIENT_MESSAGE} bytes")));
        }
        if !frame.fin {
            self.fragmented = Some((opcode, compressed, payload));
            return Ok(());
        }
        if compressed {
            let Some(inflater) = &mut self.inflater else {
                return Err(Stop::Failed("client message is compressed, which was not agreed".to_owned()));
            };
            payload = inflater.message(&payload, MAX_CLIENT_MESSAGE).map_err(Stop::Failed)?;
        }
        if opcode != TEXT {
            self.record.change(|stats| stats.binaries_received += 1);
            self.keep(Received::Binary(payload));
            return Ok(());
        }
        let text = String::from_utf8(payload).map_err(|_| Stop::Failed("client text is not UTF-8".to_owned()))?;
        self.record.change(|stats| {
            stats.texts_received += 1;
            if stats.texts.len() < KEPT_TEXTS {
                stats.texts.push(text.chars().take(KEPT_TEXT).collect());
            }
        });
        self.keep(Received::Text(text));
        Ok(())
    }

    fn keep(&mut self, received: Received) {
        if !self.keep_all && !matches!(received, Received::Text(_)) {
            return;
        }
        if self.received.len() == KEPT_TEXTS {
            self.received.pop_front();
        }
        self.received.push_back(received);
    }

    fn queue_due_pongs(&mut self) {
        let now = Instant::now();
        while !self.inside_frame && self.late_pongs.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, payload)) = self.late_pongs.pop_front() {
                self.queue_pong(&payload);
            }
        }
    }

    fn queue_pong(&mut self, payload: &[u8]) {
        if self.queued.len() < MAX_QUEUED {
            frame::frame(&mut self.queued, FIN | PONG, payload);
            self.record.change(|stats| stats.pongs_sent += 1);
        }
    }

    /// Writes a ping; its pong will confirm what was sent before. An empty payload becomes a number, so that pongs can be distinguished.
    pub(crate) async fn ping(&mut self, payload: &str) -> Result<(), Stop> {
        self.pings += 1;
        let number = self.pings.to_string();
        let payload = if payload.is_empty() { number.as_bytes() } else { payload.as_bytes() };
        let payload = &payload[..payload.len().min(125)];
        let sent = self.record.change(|stats| {
            stats.pings_sent += 1;
            stats.sent
        });
        if self.open_pings.len() == MAX_OPEN_PINGS {
            self.open_pings.pop_front();
        }
        self.open_pings.push_back((payload.to_vec(), sent));
        let mut bytes = Vec::new();
        frame::frame(&mut bytes, FIN | PING, payload);
        self.write(&bytes).await
    }

    /// Whether every ping of [`Link::ping`] has been answered.
    pub(crate) fn pings_answered(&self) -> bool {
        self.open_pings.is_empty()
    }

    /// Writes a Close frame and books what was sent before it.
    pub(crate) async fn write_close(&mut self, payload: &[u8]) -> Result<(), Stop> {
        self.close_sent = true;
        self.record.change(|stats| {
            stats.close_sent = Some(CloseFrame::read(payload));
            let sent = stats.sent;
            stats.sent_before_close.get_or_insert(sent);
        });
        let mut bytes = Vec::new();
        frame::frame(&mut bytes, FIN | CLOSE, payload);
        self.write(&bytes).await
    }
}
