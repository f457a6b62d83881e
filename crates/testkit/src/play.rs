//! Plays the steps of one accepted connection.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Duration, Instant, sleep, timeout, timeout_at};

use crate::batch::Batch;
use crate::deflate::{self, Deflater};
use crate::frame::{self, BINARY, CONTINUATION, FIN, PING, RSV1, TEXT};
use crate::handshake::from_hex;
use crate::link::{Link, Pongs, Received, Stop};
use crate::script::{Deflate, OnClose, Play};
use crate::stats::Ended;
use crate::step::{Close, Messages, Step, Violation};

/// How long the client may take to end TCP after the server did.
pub(crate) const LINGER: Duration = Duration::from_secs(10);
/// In seconds; a rate near zero must not overflow the clock.
const FAR: f64 = 1e9;
const CHUNK: usize = 64 * 1024;

/// Plays all steps, then the end of the connection; returns how it ended.
pub(crate) async fn run(link: Link, play: &Play, deflater: Option<Deflater>) -> Ended {
    let mut player = Player::new(link, deflater);
    player.link.ignore_close = play.on_close == OnClose::Ignore;
    let stop = match player.steps(&play.steps).await {
        Ok(()) => player.link.serve().await,
        Err(stop) => stop,
    };
    player.end(stop, play.on_close).await
}

/// What writes onto a connection, and ends it.
pub(crate) struct Player {
    pub(crate) link: Link,
    deflater: Option<Deflater>,
    /// The last `send`, whose kind `go_on_sending` takes over.
    last: Messages,
    keep_open: bool,
    /// The client was waited for, and said nothing.
    is_mute: bool,
}

impl Player {
    pub(crate) fn new(link: Link, deflater: Option<Deflater>) -> Player {
        Player { link, deflater, last: Messages::default(), keep_open: false, is_mute: false }
    }

    /// Ends the connection for this reason; returns how it ended.
    pub(crate) async fn end(&mut self, stop: Stop, on_close: OnClose) -> Ended {
        match stop {
            Stop::ClientClose(close) => {
                if let OnClose::GoOnSending { count } = on_close {
                    self.link.ignore_close = true;
                    let last = self.last.clone();
                    // What was compressed but not sent has moved the window, so nothing more can be compressed.
                    let more = Messages {
                        count: Some(count),
                        compress: false,
                        rate: None,
                        until_n: None,
                        for_ms: None,
                        live: false,
                        ..last
                    };
                    if self.send(&more).await.is_err() {
                        return Ended::ClientGone;
                    }
                }
                let answered = self.link.write_close(&frame::close_payload(close.code, "")).await;
                self.finish().await;
                if answered.is_ok() { Ended::ClosedByClient } else { Ended::ClientGone }
            }
            Stop::CloseNow(_) if self.link.close_sent => {
                let stop = self.link.serve().await;
                Box::pin(self.end(stop, on_close)).await
            }
            Stop::CloseNow(code) => {
                let close = Close { code: Some(code), ..Close::default() };
                let stop = match self.close(&close).await {
                    Err(stop) => stop,
                    Ok(()) => self.link.serve().await,
                };
                Box::pin(self.end(stop, on_close)).await
            }
            Stop::CloseAnswered => {
                self.link.record.change(|stats| stats.confirmed = stats.sent);
                self.finish().await;
                Ended::ClosedByServer
            }
            Stop::CloseUnanswered => {
                self.finish().await;
                Ended::CloseUnanswered
            }
            Stop::ClientGone if self.link.close_sent => Ended::CloseUnanswered,
            Stop::ClientGone => Ended::ClientGone,
            Stop::Reset => {
                self.link.io().reset_on_drop();
                Ended::TcpReset
            }
            Stop::Fin => {
                let ended = self.link.io().end_tcp().await;
                self.linger(ended).await;
                Ended::TcpClosed
            }
            Stop::Failed(what) => {
                let payload = frame::close_payload(Some(1008), &what.chars().take(60).collect::<String>());
                // The connection ends whether the Close can be written or not.
                let _ = self.link.write_close(&payload).await;
                self.finish().await;
                Ended::Failed(what)
            }
        }
    }

    /// FIN, then reads until the client ends too: a drop with unread bytes would be a RST, which can destroy what is under way.
    async fn finish(&mut self) {
        let io = self.link.io();
        if self.keep_open {
            drain(io).await;
        } else {
            let ended = io.shutdown().await;
            self.linger(ended).await;
        }
    }

    /// Reads until the client ends too, if our own side could be ended. A client that never ends TCP is left after a while.
    async fn linger(&mut self, ended: std::io::Result<()>) {
        if ended.is_ok() {
            let _ = timeout(LINGER, drain(self.link.io())).await;
        }
    }

    async fn steps(&mut self, steps: &[Step]) -> Result<(), Stop> {
        for step in steps {
            self.step(step).await?;
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        match step {
            Step::Send(messages) => {
                self.last = messages.clone();
                self.send(messages).await
            }
            Step::SendText { text, fragments, ping_between } => self.send_text(text, *fragments, *ping_between).await,
            Step::SendBinary { base64 } => {
                let payload = STANDARD
                    .decode(base64)
                    .map_err(|error| Stop::Failed(format!("send_binary \"{base64}\" is not base64: {error}")))?;
                self.write_frame(FIN | BINARY, &payload).await
            }
            Step::Raw { hex } => self.link.write(&hex_or_stop(hex)?).await,
            Step::ExpectText { contains, timeout_ms } => self.expect_text(contains, *timeout_ms).await,
            Step::Hear { timeout_ms } => self.hear(*timeout_ms).await,
            Step::AwaitSignal => {
                let shared = self.link.record.shared.clone();
                tokio::select! {
                    stop = self.link.serve() => Err(stop),
                    permit = shared.signals.acquire() => {
                        // An error would be a closed semaphore, and it is never closed.
                        permit.into_iter().for_each(|permit| permit.forget());
                        Ok(())
                    }
                }
            }
            Step::Ping { count, payload, every_ms } => {
                for _ in 0..*count {
                    self.link.ping(payload).await?;
                    if *every_ms > 0 {
                        self.wait(*every_ms).await?;
                    }
                }
                Ok(())
            }
            Step::PingFlood { count } => self.ping_flood(*count).await,
            Step::AwaitPong { timeout_ms } => {
                let deadline = Instant::now() + Duration::from_millis(*timeout_ms);
                while !self.link.pings_answered() {
                    match timeout_at(deadline, self.link.serve_once()).await {
                        Ok(served) => served?,
                        Err(_) => {
                            return Err(Stop::Failed(format!("no pong within {timeout_ms} ms")));
                        }
                    }
                }
                Ok(())
            }
            Step::WithholdPongs { on } => {
                self.link.pongs = if *on { Pongs::Withhold } else { Pongs::Answer };
                Ok(())
            }
            Step::DelayPongs { ms } => {
                self.link.pongs = Pongs::Delay(Duration::from_millis(*ms));
                Ok(())
            }
            Step::Close(close) => self.close(close).await,
            Step::CloseRaw { hex } => {
                self.link.write_close(&hex_or_stop(hex)?).await?;
                Err(self.link.serve().await)
            }
            Step::CloseTcp => Err(Stop::Fin),
            Step::Reset => Err(Stop::Reset),
            Step::Wait { ms } => self.wait(*ms).await,
            Step::Mute { ms: Some(ms) } => self.wait(*ms).await,
            Step::Mute { ms: None } => Err(self.link.serve().await),
            Step::BlackHole { ms } => {
                match ms {
                    Some(ms) => sleep(Duration::from_millis(*ms)).await,
                    None => std::future::pending().await,
                }
                Ok(())
            }
            Step::StopReading { on } => {
                self.link.reading = !on;
                Ok(())
            }
            Step::Violate { rule } => self.violate(*rule).await,
            Step::HugeLength { length } => {
                let mut bytes = Vec::new();
                frame::header(&mut bytes, FIN | TEXT, *length);
                bytes.extend_from_slice(&[b'x'; 16]);
                self.link.write(&bytes).await
            }
            Step::EndlessFrame => {
                let mut bytes = Vec::new();
                frame::header(&mut bytes, FIN | TEXT, i64::MAX as u64);
                self.link.write(&bytes).await?;
                self.repeat(&[b'x'; CHUNK], None).await
            }
            Step::EndlessFragments { size } => self.fragments(None, *size).await,
            Step::EmptyFragments { count } => self.fragments(*count, 0).await,
            Step::Fragments { count, size } => self.fragments(Some(*count), *size).await,
            Step::DeflateBomb { size } => {
                let mut own = None;
                let deflater = match &mut self.deflater {
                    Some(deflater) => deflater,
                    None => own.insert(Deflater::new(&deflate::without_offer(&Deflate::default()))),
                };
                let bomb = deflater.bomb(*size);
                self.write_frame(FIN | RSV1 | TEXT, &bomb).await
            }
            Step::SlowDrip { text, bytes, every_ms } => self.slow_drip(text, *bytes, *every_ms).await,
            Step::Loop { count, steps } => {
                let mut round = 0;
                while count.is_none_or(|count| round < count) {
                    Box::pin(self.steps(steps)).await?;
                    round += 1;
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
        }
    }

    async fn wait(&mut self, ms: u64) -> Result<(), Stop> {
        self.link.serve_until(Instant::now() + Duration::from_millis(ms)).await
    }

    pub(crate) async fn write_frame(&mut self, first_byte: u8, payload: &[u8]) -> Result<(), Stop> {
        let mut bytes = Vec::with_capacity(payload.len() + 10);
        frame::frame(&mut bytes, first_byte, payload);
        self.link.write(&bytes).await
    }

    async fn send(&mut self, messages: &Messages) -> Result<(), Stop> {
        let shared = self.link.record.shared.clone();
        let begun = Instant::now();
        let end = messages.for_ms.map(|ms| begun + Duration::from_millis(ms));
        let ping_every = messages.ping_every_ms.map(Duration::from_millis);
        let mut next_ping = ping_every.map(|every| begun + every);
        // The feed's clock: message number `first` is due at `origin` plus `first` / rate.
        let (origin, first) = match messages.rate {
            Some(rate) if messages.live => {
                let (since, next) = shared.join_live(rate);
                (Instant::from_std(since), next)
            }
            _ => (begun, 0),
        };
        let mut sent = 0;
        let mut batch = Batch::new(messages);
        loop {
            let now = Instant::now();
            if end.is_some_and(|end| now >= end) || messages.count.is_some_and(|count| sent >= count) {
                return Ok(());
            }
            if next_ping.is_some_and(|at| now >= at) {
                self.link.ping("").await?;
                next_ping = ping_every.map(|every| now + every);
            }
            let mut wanted = batch.capacity().min(messages.count.unwrap_or(u64::MAX) - sent);
            if let Some(rate) = messages.rate {
                let due = (now.duration_since(origin).as_secs_f64() * rate) as u64 + 1;
                wanted = wanted.min(due.saturating_sub(first + sent));
                if wanted == 0 {
                    let next = origin + Duration::from_secs_f64(((first + sent) as f64 / rate).min(FAR));
                    let until = [end, next_ping].into_iter().flatten().fold(next, Instant::min);
                    self.link.serve_until(until).await?;
                    continue;
                }
            }
            let Some(mut in_hand) = self.link.record.reserve(wanted, messages.until_n) else {
                return Ok(());
            };
            let range = in_hand.range.clone();
            let (bytes, ends, pings) = batch.fill(range, self.deflater.as_mut(), &shared.trades);
            let write = self.link.write_messages(bytes, ends, &mut in_hand.written);
            let result = match messages.stuck_ms {
                None => write.await,
                Some(ms) => timeout(Duration::from_millis(ms), write).await.unwrap_or(Err(Stop::Reset)),
            };
            sent += in_hand.written;
            drop(in_hand);
            self.link.record.change(|stats| stats.pings_sent += pings);
            result?;
        }
    }

    pub(crate) async fn send_text(&mut self, text: &str, fragments: usize, ping_between: bool) -> Result<(), Stop> {
        let compressed = self.deflater.as_mut().map(|deflater| deflater.message(text.as_bytes()));
        let payload = compressed.as_deref().unwrap_or(text.as_bytes());
        let mut bytes = Vec::new();
        let pings = frame::message(&mut bytes, TEXT, compressed.is_some(), payload, fragments, ping_between);
        self.link.record.change(|stats| stats.pings_sent += pings);
        self.link.write(&bytes).await
    }

    async fn expect_text(&mut self, contains: &str, timeout_ms: u64) -> Result<(), Stop> {
        let deadline = Instant::now() + Duration::from_millis(timeout_ms);
        loop {
            while let Some(received) = self.link.received.pop_front() {
                if matches!(received, Received::Text(text) if text.contains(contains)) {
                    return Ok(());
                }
            }
            match timeout_at(deadline, self.link.serve_once()).await {
                Ok(served) => served?,
                Err(_) => {
                    return Err(Stop::Failed(format!("no text with \"{contains}\" within {timeout_ms} ms")));
                }
            }
        }
    }

    async fn hear(&mut self, timeout_ms: u64) -> Result<(), Stop> {
        let deadline = Instant::now() + Duration::from_millis(timeout_ms);
        while !self.is_mute {
            if let Some(Received::Text(_)) = self.link.received.pop_front() {
                return Ok(());
            }
            match timeout_at(deadline, self.link.serve_once()).await {
                Ok(served) => served?,
                Err(_) => self.is_mute = true,
            }
        }
        Ok(())
    }

    async fn ping_flood(&mut self, count: Option<u64>) -> Result<(), Stop> {
        const BLOCK: u64 = 1000;
        let mut one = Vec::new();
        frame::frame(&mut one, FIN | PING, b"flood");
        let block = one.repeat(BLOCK as usize);
        let mut left = count.unwrap_or(u64::MAX);
        while left > 0 {
            let pings = left.min(BLOCK);
            self.link.record.change(|stats| stats.pings_sent += pings);
            self.link.write(&block[..one.len() * pings as usize]).await?;
            left -= pings;
        }
        Ok(())
    }

    pub(crate) async fn close(&mut self, close: &Close) -> Result<(), Stop> {
        self.keep_open = close.keep_open;
        self.link.write_close(&frame::close_payload(close.code, &close.reason)).await?;
        match (close.wait, close.wait_ms) {
            (false, _) => Ok(()),
            (true, None) => Err(self.link.serve().await),
            (true, Some(ms)) => {
                Err(timeout(Duration::from_millis(ms), self.link.serve()).await.unwrap_or(Stop::CloseUnanswered))
            }
        }
    }

    /// A text message in fragments; `None`: without end.
    async fn fragments(&mut self, count: Option<u64>, size: usize) -> Result<(), Stop> {
        let payload = vec![b'x'; size];
        if count.is_some_and(|count| count <= 1) {
            return self.write_frame(FIN | TEXT, &payload).await;
        }
        self.write_frame(TEXT, &payload).await?;
        let mut middle = Vec::new();
        frame::frame(&mut middle, CONTINUATION, &payload);
        self.repeat(&middle, count.map(|count| count.saturating_sub(2))).await?;
        self.write_frame(FIN | CONTINUATION, &payload).await
    }

    /// Writes the same bytes so many times; `None`: without end.
    async fn repeat(&mut self, one: &[u8], count: Option<u64>) -> Result<(), Stop> {
        let per_block = (CHUNK / one.len().max(1)).max(1);
        let block = one.repeat(per_block);
        let mut left = count.unwrap_or(u64::MAX);
        while left > 0 {
            let now = left.min(per_block as u64);
            self.link.write(&block[..one.len() * now as usize]).await?;
            left -= now;
        }
        Ok(())
    }

    async fn slow_drip(&mut self, text: &str, bytes: usize, every_ms: u64) -> Result<(), Stop> {
        let mut wire = Vec::new();
        frame::frame(&mut wire, FIN | TEXT, text.as_bytes());
        let mut pieces = wire.chunks(bytes.max(1));
        let mut result = Ok(());
        self.link.inside_frame = true;
        while let (Some(piece), Ok(())) = (pieces.next(), &result) {
            result = self.link.write(piece).await;
            if result.is_ok() && pieces.len() > 0 {
                result = self.wait(every_ms).await;
            }
        }
        if let Err(Stop::ClientClose(_) | Stop::CloseNow(_)) = result {
            // The frame must be whole before a Close can follow it.
            self.link.write(&pieces.collect::<Vec<_>>().concat()).await?;
        }
        self.link.inside_frame = false;
        result
    }

    async fn violate(&mut self, rule: Violation) -> Result<(), Stop> {
        let mut bytes = Vec::new();
        match rule {
            Violation::MaskedFrame => {
                bytes.extend_from_slice(&[FIN | TEXT, 0x80 | 5, 1, 2, 3, 4]);
                bytes.extend(b"hello".iter().zip([1, 2, 3, 4, 1]).map(|(byte, mask)| byte ^ mask));
            }
            Violation::InvalidUtf8 => frame::frame(&mut bytes, FIN | TEXT, b"ab\xff\xfecd"),
            Violation::InvalidUtf8Fragmented => {
                frame::frame(&mut bytes, TEXT, b"good \xe2");
                frame::frame(&mut bytes, CONTINUATION, b"\x82");
                frame::frame(&mut bytes, FIN | CONTINUATION, b"x");
            }
            Violation::Rsv1 => frame::frame(&mut bytes, FIN | RSV1 | TEXT, b"hello"),
            Violation::Rsv2 => frame::frame(&mut bytes, FIN | 0x20 | TEXT, b"hello"),
            Violation::Rsv3 => frame::frame(&mut bytes, FIN | 0x10 | TEXT, b"hello"),
            Violation::Rsv1OnControl => frame::frame(&mut bytes, FIN | RSV1 | PING, b"hello"),
            Violation::ReservedDataOpcode => frame::frame(&mut bytes, FIN | 0x3, b"hello"),
            Violation::ReservedControlOpcode => frame::frame(&mut bytes, FIN | 0xB, b"hello"),
            Violation::FragmentedControl => frame::frame(&mut bytes, PING, b"hello"),
            Violation::LongControl => frame::frame(&mut bytes, FIN | PING, &[b'x'; 126]),
            Violation::LoneContinuation => frame::frame(&mut bytes, FIN | CONTINUATION, b"hello"),
            Violation::InterleavedMessage => {
                frame::frame(&mut bytes, TEXT, b"begun");
                frame::frame(&mut bytes, FIN | TEXT, b"another");
            }
            Violation::NonMinimalLength => bytes.extend_from_slice(b"\x81\x7e\x00\x05hello"),
            Violation::LengthHighBit => bytes.extend_from_slice(b"\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x05hello"),
            Violation::CorruptDeflate => frame::frame(&mut bytes, FIN | RSV1 | TEXT, &[0xff; 40]),
        }
        self.link.write(&bytes).await
    }
}

/// Reads until the client ends TCP.
async fn drain(io: &mut crate::link::Io) {
    let mut scratch = [0; 4096];
    while let Ok(1..) = io.read(&mut scratch).await {}
}

fn hex_or_stop(hex: &str) -> Result<Vec<u8>, Stop> {
    from_hex(hex).map_err(|error| Stop::Failed(error.to_string()))
}
