//! The endless life of one endpoint over many connections: connect, subscribe, read, keep alive, back off, again.
//!
//! A reconnect is the first connect again: only backoff, counters and the open gap survive. What to do about an end is
//! decided in one place, [`Session::next_delay`].

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::config::{BinaryMessages, Config};
use crate::connection::frame::{Close, Event};
use crate::connection::{Addresses, Connection, OpenError, OpenErrorKind, Request};
use crate::error::Error;
use crate::figures::Counter;
use crate::gap::{Cause, Gap};
use crate::handover;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::record::{Batch, ValueKind, epoch_ms};

/// Failures in a row after which an answer that will hardly change (401, 403, 404, a bad certificate, …) is final.
pub(crate) const HOPELESS_ATTEMPTS: u32 = 5;
/// A connection must have delivered for this long to be reopened at once.
const PROVEN: Duration = Duration::from_secs(1);
/// A peer that takes nothing for this long is dead; the existing connector's write timeout.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// A read of at least this much is part of a burst: read on at once.
const BURST_BYTES: usize = 48 << 10;
/// A linger up to this is slept by the task's own thread: the runtime's timer would wake it twice more (decision 002).
const THREAD_SLEEP: Duration = Duration::from_millis(20);
/// A Close has room for so much (RFC 6455 §5.5).
const MAX_CLOSE_REASON_CHARS: usize = 123;
/// Lines about the queue come no more often than this.
const QUEUE_LOG_INTERVAL: Duration = Duration::from_secs(30);

pub(crate) struct Session {
    config: Arc<Config>,
    request: Request,
    addresses: Addresses,
    tls: Arc<ClientConfig>,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    /// When to be gone, once stopping was asked for.
    stop: watch::Receiver<Option<Instant>>,
    backoff: Backoff,
    /// The gap that is open while there is no connection.
    down: Option<Down>,
    opened_before: bool,
    dropped_logged: u64,
    queue_logged: Option<Instant>,
}

/// Since when, and why, nothing can be received.
pub(crate) struct Down {
    pub(crate) began: Option<SystemTime>,
    pub(crate) cause: Cause,
    /// Messages that are known to be missing.
    pub(crate) missed: Option<u64>,
}

/// How a connection, or an attempt at one, ended.
enum End {
    Stopped,
    Failed(Failure),
}

struct Failure {
    cause: Cause,
    message: String,
    retry_after: Option<Duration>,
    /// Trying again will hardly help.
    hopeless: bool,
    /// The connection delivered messages, and for how long it lived.
    delivered: Option<Duration>,
}

/// Ends the queue when the session's future is gone, however that came: nobody waits on something dead.
struct EndOnDrop(Arc<Queue>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end(Err(Error::fatal("the session was ended from outside")));
    }
}

impl Session {
    pub(crate) fn new(
        config: Arc<Config>,
        tls: Arc<ClientConfig>,
        queue: Arc<Queue>,
        metrics: Arc<Metrics>,
        stop: watch::Receiver<Option<Instant>>,
        down: Option<Down>,
    ) -> Session {
        Session {
            request: Request::new(&config),
            addresses: Addresses::default(),
            config,
            tls,
            queue,
            metrics,
            stop,
            backoff: Backoff::default(),
            down,
            opened_before: false,
            dropped_logged: 0,
            queue_logged: None,
        }
    }

    /// Lives until it is stopped or cannot go on; the queue's end says which.
    pub(crate) async fn run(mut self) {
        let end = EndOnDrop(self.queue.clone());
        let config = self.config.clone();
        let result = panics_as_errors(self.live()).await;
        self.metrics.disconnected();
        // A panic's message may hold what was being worked on.
        end.0.end(result.unwrap_or_else(|panic| Err(Error::fatal(config.redactor.hide(&panic)))));
    }

    async fn live(&mut self) -> Result<(), Error> {
        loop {
            let failure = match self.connect_and_read().await {
                End::Stopped => return Ok(()),
                End::Failed(failure) => failure,
            };
            warn!("event=websocket_failure cause={} message=\"{}\"", failure.cause, failure.message);
            let delay = self.next_delay(&failure)?;
            self.metrics.reconnect(failure.cause);
            let attempt = self.backoff.failures();
            info!("event=reconnect_scheduled attempt={attempt} delay_ms={} cause={}", delay.as_millis(), failure.cause);
            let until = Instant::now() + delay;
            tokio::select! {
                () = stopping(&mut self.stop) => return Ok(()),
                () = sleep_until(until) => {}
            }
            info!("event=reconnect_executing attempt={attempt}");
        }
    }

    /// How long to wait before the next attempt.
    ///
    /// # Errors
    /// The failure itself, if there is to be no next attempt.
    fn next_delay(&mut self, failure: &Failure) -> Result<Duration, Error> {
        let reconnect = &self.config.reconnect;
        if !reconnect.enabled {
            let message = format!("{}; websocket.reconnect.enabled is false", failure.message);
            return Err(Error::fatal(message));
        }
        if failure.delivered.is_some() {
            self.backoff.reset();
        }
        if failure.delivered.is_some_and(|lived| lived >= PROVEN) {
            return Ok(reconnect.first_delay.mul_f64(rand::random()));
        }
        let backoff = self.backoff.after_failure(reconnect, rand::random());
        let failures = self.backoff.failures();
        if let Some(max) = reconnect.max_attempts
            && failures > max
        {
            let message = format!("{}; gave up after websocket.reconnect.max.attempts = {max}", failure.message);
            return Err(Error::fatal(message));
        }
        if failure.hopeless && failures >= HOPELESS_ATTEMPTS {
            return Err(Error::fatal(format!("{}; gave up after {failures} attempts", failure.message)));
        }
        Ok(failure.retry_after.map_or(backoff, |wait| wait.max(backoff)))
    }

    async fn connect_and_read(&mut self) -> End {
        let opened = tokio::select! {
            () = stopping(&mut self.stop) => return End::Stopped,
            opened = Connection::open(&self.request, &self.tls, &mut self.addresses) => opened,
        };
        match opened {
            Ok(connection) => {
                self.opened(&connection);
                let end = Reader::new(self, connection).run().await;
                self.metrics.disconnected();
                end
            }
            Err(error) => {
                let failure = Failure {
                    cause: Cause::ConnectFailed,
                    hopeless: is_hopeless(&error, self.opened_before),
                    message: error.message,
                    retry_after: error.retry_after,
                    delivered: None,
                };
                self.down.get_or_insert(Down {
                    began: Some(SystemTime::now()),
                    cause: Cause::ConnectFailed,
                    missed: None,
                });
                End::Failed(failure)
            }
        }
    }

    /// A connection is there: the gap before it is over.
    fn opened(&mut self, connection: &Connection) {
        let now = SystemTime::now();
        self.metrics.connected(now);
        info!(
            "event=websocket_opened compression={} subprotocol={}",
            if connection.compressed() { "permessage-deflate" } else { "none" },
            connection
                .subprotocol()
                .map_or_else(|| "none".to_owned(), |chosen| self.config.redactor.foreign(chosen, 100)),
        );
        // Before the first connection of a feed that was never read there was nothing to miss.
        if let Some(down) = self.down.take()
            && (self.opened_before || down.cause == Cause::Restart)
        {
            let gap = Gap { began: down.began, ended: now, cause: down.cause, missed: down.missed };
            let duration = gap.duration().map_or_else(|| "unknown".to_owned(), |d| d.as_millis().to_string());
            let missed = gap.missed.map_or_else(String::new, |missed| format!(" missed={missed}"));
            info!("event=gap cause={} duration_ms={duration}{missed}", gap.cause);
            self.metrics.gap(gap);
        }
        self.opened_before = true;
    }

    /// Speaks of the queue when there is something to say, now and then.
    fn report_queue(&mut self, blocked: bool) {
        let dropped = self.metrics.dropped();
        if !blocked && dropped == self.dropped_logged {
            return;
        }
        let now = Instant::now();
        if self.queue_logged.is_some_and(|at| now.duration_since(at) < QUEUE_LOG_INTERVAL) {
            return;
        }
        self.queue_logged = Some(now);
        let (records, bytes) = self.metrics.queue();
        if dropped > self.dropped_logged {
            warn!(
                "event=message_dropped count={} total={dropped} queue_records={records}",
                dropped - self.dropped_logged
            );
            self.dropped_logged = dropped;
        } else {
            warn!("event=queue_high_utilization queue_records={records} queue_bytes={bytes} reading=paused");
        }
    }
}

/// The future's output, or the sentence of its panic, which ends it.
async fn panics_as_errors<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = pin!(future);
    // What it worked on is given up with it, so nothing half changed is seen later.
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic_sentence(&*panic))),
    })
    .await
}

fn panic_sentence(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the session panicked: {}; this is a bug, please report it", text.unwrap_or("without a message"))
}

/// Lets everything run that can, without a look at timers and sockets, which costs system calls.
async fn let_others_run() {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Waits until stopping is asked for; answers the deadline.
async fn stopping(stop: &mut watch::Receiver<Option<Instant>>) {
    // An error means that the task is gone, which is a stop too.
    let _ = stop.wait_for(Option::is_some).await;
}

/// Whether an answer will hardly change. A name that worked once will again: that is an outage.
fn is_hopeless(error: &OpenError, opened_before: bool) -> bool {
    match error.kind {
        OpenErrorKind::Status(400..=407 | 410)
        | OpenErrorKind::ProxyStatus(_)
        | OpenErrorKind::ProxyRefused
        | OpenErrorKind::CertificateExpired
        | OpenErrorKind::Certificate
        | OpenErrorKind::Handshake => true,
        OpenErrorKind::NameUnknown | OpenErrorKind::NameUnresolved => !opened_before,
        OpenErrorKind::Status(_) | OpenErrorKind::Tcp | OpenErrorKind::Tls | OpenErrorKind::TimedOut => false,
    }
}

/// One connection's life between the handshakes.
struct Reader<'a> {
    session: &'a mut Session,
    connection: Connection,
    batch: Batch,
    opened: Instant,
    received: Received,
    timers: Timers,
    /// Set once we have said goodbye.
    stop_by: Option<Instant>,
}

/// What came in, for metrics and for the begin of the next gap.
struct Received {
    last_bytes: SystemTime,
    any_message: bool,
    /// Not yet added to the metrics.
    messages: u64,
    bytes: u64,
    skipped: u64,
}

/// The moments at which something is due.
struct Timers {
    ping: Option<Instant>,
    pong: Option<Instant>,
    idle: Option<Instant>,
    /// Not before this is read again.
    read: Instant,
}

impl Timers {
    /// While the queue is full nothing is read, so nothing is the server's fault.
    fn shift(&mut self, by: Duration) {
        for timer in [&mut self.pong, &mut self.idle].into_iter().flatten() {
            *timer += by;
        }
    }
}

impl<'a> Reader<'a> {
    fn new(session: &'a mut Session, connection: Connection) -> Reader<'a> {
        let opened = Instant::now();
        let config = &session.config;
        let timers = Timers {
            ping: config.ping_interval.map(|interval| opened + interval),
            pong: None,
            idle: config.idle_timeout.map(|timeout| opened + timeout),
            read: opened,
        };
        let received =
            Received { last_bytes: SystemTime::now(), any_message: false, messages: 0, bytes: 0, skipped: 0 };
        Reader { session, connection, batch: Batch::default(), opened, received, timers, stop_by: None }
    }

    async fn run(mut self) -> End {
        self.subscribe();
        let end = self.read().await;
        if end.is_err() {
            // After a Close of either side this does nothing (RFC 6455 §7.1.1: a connection is not left without one).
            self.connection.send_close(1001, "");
        }
        let failure = match end {
            Ok(()) => None,
            Err((cause, message)) => Some(Failure {
                cause,
                message,
                retry_after: None,
                hopeless: false,
                delivered: self.received.any_message.then(|| self.opened.elapsed()),
            }),
        };
        self.connection.farewell().await;
        info!("event=websocket_closed lived_ms={}", self.opened.elapsed().as_millis());
        if self.stop_by.is_some() {
            return End::Stopped;
        }
        match failure {
            None => End::Stopped,
            Some(failure) => {
                self.session.down =
                    Some(Down { began: Some(self.received.last_bytes), cause: failure.cause, missed: None });
                End::Failed(failure)
            }
        }
    }

    /// Sends the subscription, which may hold a secret, unless a redirect led to another origin.
    fn subscribe(&mut self) {
        let Some(message) = self.session.config.subscription_message.clone() else {
            return;
        };
        if self.connection.at_configured_origin() {
            self.connection.send_text(message.reveal().as_bytes());
            info!("event=subscription_sent bytes={}", message.reveal().len());
        } else {
            warn!(
                "event=subscription_withheld reason=\"the feed redirects to another origin; set websocket.url to that one \
                 if you trust it\""
            );
        }
    }

    /// Reads until the end: the server's, or ours after a stop.
    async fn read(&mut self) -> Result<(), (Cause, String)> {
        let mut stop = self.session.stop.clone();
        loop {
            let burst = self.take_in().await?;
            let now = Instant::now();
            if let Some(by) = *stop.borrow_and_update() {
                self.begin_stop(by);
            }
            if self.stop_by.is_some_and(|by| now >= by) {
                return Ok(());
            }
            self.check_timers(now)?;
            let linger =
                if burst || self.stop_by.is_some() { Duration::ZERO } else { self.session.config.receive_linger };
            self.timers.read = now + linger;
            if burst {
                // The host's side of the queue may run on this very thread.
                tokio::task::yield_now().await;
            }
            self.fill(&mut stop).await?;
        }
    }

    /// Says goodbye, once. Reading goes on until the server's Close: what it sent before is still ours (RFC 6455 §7.1.2).
    /// The deadline may come closer later.
    fn begin_stop(&mut self, by: Instant) {
        if self.stop_by.replace(by).is_none() {
            self.connection.send_close(1000, "");
            self.session.queue.widen();
            info!("event=websocket_closing code=1000 by=client");
        }
    }

    /// Waits for bytes, for a timer or for the stop, whichever comes first.
    async fn fill(&mut self, stop: &mut watch::Receiver<Option<Instant>>) -> Result<(), (Cause, String)> {
        if Instant::now() < self.timers.read {
            // Our own frames do not wait for the linger.
            if self.connection.unsent_since().is_some() {
                tokio::time::timeout_at(self.timers.read, self.connection.flush())
                    .await
                    .unwrap_or(Ok(()))
                    .map_err(lost)?;
            }
            self.connection.rest();
            if self.session.config.receive_linger <= THREAD_SLEEP {
                let_others_run().await;
                self.connection.sleep(self.timers.read.saturating_duration_since(Instant::now()));
            } else {
                tokio::select! {
                    _ = stop.changed() => return Ok(()),
                    () = sleep_until(self.timers.read) => {}
                }
            }
        }
        let wake = self.next_wake();
        let read = tokio::select! {
            biased;
            read = self.connection.fill() => read.map_err(lost)?,
            _ = stop.changed() => return Ok(()),
            () = sleep_until(wake) => return Ok(()),
        };
        if read == 0 {
            return Err((Cause::EndOfStream, "the server ended the connection without a Close frame".into()));
        }
        self.received.last_bytes = SystemTime::now();
        Ok(())
    }

    fn next_wake(&self) -> Instant {
        if let Some(by) = self.stop_by {
            return by;
        }
        let unsent = self.connection.unsent_since().map(|since| since + WRITE_TIMEOUT);
        let timers = [self.timers.ping, self.timers.pong, self.timers.idle, unsent];
        let far = Instant::now() + Duration::from_secs(3600);
        timers.into_iter().flatten().min().unwrap_or(far)
    }

    /// After our Close the server need not answer pings any more, and the stop's deadline bounds all.
    fn check_timers(&mut self, now: Instant) -> Result<(), (Cause, String)> {
        if self.stop_by.is_some() {
            return Ok(());
        }
        let config = &self.session.config;
        if self.connection.unsent_since().is_some_and(|since| now >= since + WRITE_TIMEOUT) {
            let secs = WRITE_TIMEOUT.as_secs();
            return Err((Cause::ConnectionError, format!("the server has taken nothing we sent for {secs} s")));
        }
        if self.timers.pong.is_some_and(|at| now >= at) {
            let ms = config.pong_timeout.as_millis();
            return Err((Cause::PongTimeout, format!("no pong came within websocket.pong.timeout.ms = {ms}")));
        }
        if let (Some(at), Some(timeout)) = (self.timers.idle, config.idle_timeout)
            && now >= at
        {
            let ms = timeout.as_millis();
            return Err((Cause::IdleTimeout, format!("no message came within websocket.idle.timeout.ms = {ms}")));
        }
        if let (Some(at), Some(interval)) = (self.timers.ping, config.ping_interval)
            && now >= at
        {
            self.connection.send_ping(b"");
            self.timers.ping = Some(now + interval);
            self.timers.pong.get_or_insert(now + config.pong_timeout);
        }
        Ok(())
    }

    /// Takes all that was read into the queue; answers whether it was so much that more is surely waiting.
    async fn take_in(&mut self) -> Result<bool, (Cause, String)> {
        let (max_records, max_bytes) = self.session.queue.batch_limits();
        let timestamp_ms = epoch_ms(self.received.last_bytes);
        let mut bytes = 0;
        let end = loop {
            match self.connection.next() {
                Ok(None) => break None,
                Ok(Some(Event::Text(text))) => {
                    self.received.messages += 1;
                    bytes += text.len();
                    self.received.bytes += text.len() as u64;
                    self.batch.push(ValueKind::Text, text, timestamp_ms);
                }
                Ok(Some(Event::Binary(data))) => {
                    self.received.messages += 1;
                    bytes += data.len();
                    self.received.bytes += data.len() as u64;
                    let taken = push_binary(&mut self.batch, self.session.config.binary, data, timestamp_ms);
                    self.received.skipped += u64::from(!taken);
                }
                Ok(Some(Event::Pong(_))) => self.timers.pong = None,
                Ok(Some(Event::Ping(_))) => {}
                Ok(Some(Event::Close(close))) => break Some(Err(closed_by_server(&close, &self.session.config))),
                Err(violation) => break Some(Err((Cause::ProtocolError, violation.message))),
            }
            if self.batch.len() >= max_records || self.batch.bytes() >= max_bytes {
                self.account(timestamp_ms);
                self.hand_over().await?;
            }
        };
        self.account(timestamp_ms);
        if !self.batch.is_empty() {
            self.hand_over().await?;
        }
        end.unwrap_or(Ok(bytes >= BURST_BYTES))
    }

    /// Adds what was received to the metrics: before it is handed over, so that no record is polled that was not received.
    fn account(&mut self, timestamp_ms: i64) {
        let received = &mut self.received;
        if received.messages > 0 {
            received.any_message = true;
            self.session.metrics.received(received.messages, received.bytes, timestamp_ms);
            self.session.metrics.count(Counter::BinaryMessagesSkipped, received.skipped);
            (received.messages, received.bytes, received.skipped) = (0, 0, 0);
            self.timers.idle = self.session.config.idle_timeout.map(|timeout| Instant::now() + timeout);
        }
    }

    /// Gives the batch to the queue. With back-pressure it waits here for room, and so stops reading the socket; pings and
    /// the Close of ours still go out.
    async fn hand_over(&mut self) -> Result<(), (Cause, String)> {
        let mut batch = std::mem::take(&mut self.batch);
        if batch.bytes() > self.session.queue.max_bytes()
            && let Some(last) = batch.split_last()
        {
            // The large message that came last waits for its own room.
            self.put(batch).await?;
            batch = last;
        }
        self.put(batch).await
    }

    async fn put(&mut self, mut batch: Batch) -> Result<(), (Cause, String)> {
        let began = Instant::now();
        let mut stop = self.session.stop.clone();
        let mut sending = true;
        loop {
            if let Some(by) = *stop.borrow_and_update() {
                self.begin_stop(by);
            }
            batch = match self.session.queue.push(batch) {
                Ok(()) => break,
                Err(batch) => batch,
            };
            self.session.report_queue(true);
            let now = Instant::now();
            if self.stop_by.is_some_and(|by| now >= by) {
                let values = batch.iter().map(|record| record.value.len() as u64).sum();
                let reason = "the queue stayed full until the stop's deadline";
                handover::leave_behind(&self.session.config, &self.session.metrics, batch.len() as u64, values, reason);
                return Err((Cause::ServerClose, "stopped".into()));
            }
            if let (Some(at), Some(interval)) = (self.timers.ping, self.session.config.ping_interval)
                && now >= at
            {
                self.connection.send_ping(b"");
                self.timers.ping = Some(now + interval);
            }
            let wake = [self.stop_by, self.timers.ping].into_iter().flatten().min();
            let wake = wake.unwrap_or(now + Duration::from_secs(60));
            tokio::select! {
                () = self.session.queue.emptied() => {}
                sent = self.connection.flush(), if sending && self.connection.unsent_since().is_some() => {
                    // A connection that is lost shows when reading goes on: what it brought before is still ours.
                    sending = sent.is_ok();
                }
                _ = stop.changed() => {}
                () = sleep_until(wake) => {}
            }
        }
        self.timers.shift(began.elapsed());
        self.session.report_queue(false);
        Ok(())
    }
}

/// Answers whether the message became a record.
fn push_binary(batch: &mut Batch, as_what: BinaryMessages, data: &[u8], timestamp_ms: i64) -> bool {
    match as_what {
        BinaryMessages::Bytes => batch.push(ValueKind::Bytes, data, timestamp_ms),
        BinaryMessages::Text => batch.push(ValueKind::Text, String::from_utf8_lossy(data).as_bytes(), timestamp_ms),
        BinaryMessages::Base64 => {
            batch.push_with(ValueKind::Text, timestamp_ms, |out| out.extend_from_slice(BASE64.encode(data).as_bytes()));
        }
        BinaryMessages::Skip => return false,
    }
    true
}

fn closed_by_server(close: &Close, config: &Config) -> (Cause, String) {
    let code = close.code.map_or_else(|| "without a code".to_owned(), |code| format!("with code {code}"));
    let reason = config.redactor.foreign(&close.reason, MAX_CLOSE_REASON_CHARS);
    let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    info!("event=websocket_closing by=server code={}", close.code.unwrap_or(1005));
    (Cause::ServerClose, format!("the server closed the connection {code}{reason}"))
}

fn lost(error: std::io::Error) -> (Cause, String) {
    (Cause::ConnectionError, format!("the connection was lost: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_with_its_message() {
        async fn after_a_while(panic: fn()) -> u8 {
            tokio::task::yield_now().await;
            panic();
            7
        }
        assert_eq!(panics_as_errors(after_a_while(|| ())).await, Ok(7));
        let panics: [(fn(), &str); 2] =
            [(|| panic!("lost the thread"), "lost the thread"), (|| panic!("{} frames", 3 + 4), "7 frames")];
        for (panic, message) in panics {
            let why = panics_as_errors(after_a_while(panic)).await.unwrap_err();
            assert!(why.contains(message) && why.contains("this is a bug"), "{why}");
        }
        let why = panics_as_errors(after_a_while(|| std::panic::panic_any(5))).await.unwrap_err();
        assert!(why.contains("without a message"), "{why}");
    }

    fn error(kind: OpenErrorKind) -> OpenError {
        OpenError { kind, message: String::new(), retry_after: None, answer: None }
    }

    #[test]
    fn answers_that_will_hardly_change_are_told_from_outages() {
        for status in [401, 403, 404] {
            assert!(is_hopeless(&error(OpenErrorKind::Status(status)), true));
        }
        for status in [429, 500, 502, 503] {
            assert!(!is_hopeless(&error(OpenErrorKind::Status(status)), false));
        }
        assert!(is_hopeless(&error(OpenErrorKind::NameUnknown), false));
        assert!(!is_hopeless(&error(OpenErrorKind::NameUnknown), true), "a name that worked once is an outage");
        assert!(!is_hopeless(&error(OpenErrorKind::Tcp), false));
    }

    #[test]
    fn binary_messages_become_what_is_asked_for() {
        let become_ = |as_what| {
            let mut batch = Batch::default();
            push_binary(&mut batch, as_what, b"a\xff", 0);
            batch.get(0).map(|record| (record.kind, record.value.to_vec()))
        };
        assert_eq!(become_(BinaryMessages::Bytes), Some((ValueKind::Bytes, b"a\xff".to_vec())));
        assert_eq!(become_(BinaryMessages::Base64), Some((ValueKind::Text, b"Yf8=".to_vec())));
        assert_eq!(become_(BinaryMessages::Text), Some((ValueKind::Text, "a\u{fffd}".as_bytes().to_vec())));
        assert_eq!(become_(BinaryMessages::Skip), None);
    }
}
