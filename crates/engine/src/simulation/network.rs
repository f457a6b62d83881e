//! The network between the engine and the feed, its clock and its chance: the [`World`] of a simulated session.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::feed::Feed;
use super::shape::{Acks, Cursor, KEYS, RECONNECT_MOST_MS, RECONNECT_MS, Refusal, Shape};
use crate::connection::frame::{Close, Event};
use crate::connection::http_request::HttpResponse;
use crate::connection::violation::Violation;
use crate::connection::{Answer, Discarded, OpenError, OpenErrorKind};
use crate::dialogue::{Handshake, HttpRequest, Moment};
use crate::random::Random;
use crate::session::world::{Asked, Wire, World};

/// When the time of day begins, milliseconds since the epoch.
pub(super) const EPOCH_MS: u64 = 1_700_000_000_000;

/// A connection that lived for so long has worked.
const WORKED_MS: u64 = 10_000;

/// No moment has so many waits that are over.
const MAX_WAKES: u32 = 10_000;
/// So many messages are on a page of the history.
const PAGE: usize = 4;

static BASE: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What the clocks show: the moment of the history, and the time of day, both in milliseconds. It is read without a lock.
#[derive(Debug, Default)]
pub(super) struct Clock {
    now: AtomicU64,
    wall: AtomicU64,
}

/// What the engine sees, and what happens to it. Times are milliseconds since the begin of the history.
pub(super) struct Net {
    pub(super) now: u64,
    clock: Arc<Clock>,
    /// How far the clock on the wall is off.
    pub(super) jumped: i64,
    /// How far it went forward at once, in all.
    pub(super) jumped_forward: u64,
    /// It has gone back.
    pub(super) went_back: bool,
    /// The longest that a message was under way.
    pub(super) longest_way: u64,
    /// And from the moment at which it came to be until it was read, or could have been.
    pub(super) longest_wait: u64,
    pub(super) random: Random,
    /// When the session wants to be woken.
    pub(super) wake: Option<u64>,
    /// How many waits were over at one moment.
    wakes: (u64, u32),
    pub(super) shape: Shape,
    pub(super) feed: Feed,
    pub(super) pipe: Option<Pipe>,
    pub(super) weather: Weather,
    pipes: u64,
    pub(super) attempts: Attempts,
    pub(super) events: u64,
    pub(super) trace: bool,
    pub(super) wrong: Option<String>,
}

/// What is wrong with the network, and until when.
pub(super) struct Weather {
    pub(super) latency: u64,
    pub(super) slow_until: u64,
    pub(super) no_names_until: u64,
    pub(super) refused_until: u64,
    pub(super) refused: u8,
}

/// One connection.
pub(super) struct Pipe {
    id: u64,
    /// What is under way, when it arrives, and when it came to be.
    items: VecDeque<(u64, Item, u64)>,
    last: u64,
    subscribed: [bool; KEYS.len()],
    end: Option<PipeEnd>,
    /// Neither side hears of the other any more.
    half_open: bool,
    /// The messages that were sent on it.
    sent: Vec<u64>,
}

/// How often in a row it did not go well to be connected, and since when there is no connection.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    failures: u32,
    since: u64,
    /// When the connection that is there was opened.
    opened: u64,
    /// The feed has said that it cannot go on: the next attempt is no failure's.
    is_planned: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PipeEnd {
    Fin,
    Reset,
}

#[derive(Debug, Clone)]
enum Item {
    Text(Arc<str>),
    Pong,
    Close(u16),
}

impl Pipe {
    /// Nothing comes behind what is under way.
    fn finish(&mut self) {
        self.end.get_or_insert(PipeEnd::Fin);
    }
}

impl Net {
    pub(super) fn new(random: Random, shape: Shape, latency: u64, trace: bool) -> Net {
        Net {
            now: 0,
            clock: Arc::default(),
            jumped: 0,
            jumped_forward: 0,
            went_back: false,
            longest_way: latency,
            longest_wait: latency,
            random,
            wake: None,
            wakes: (0, 0),
            shape,
            feed: Feed::new(),
            pipe: None,
            weather: Weather { latency, slow_until: 0, no_names_until: 0, refused_until: 0, refused: 0 },
            pipes: 0,
            attempts: Attempts::default(),
            events: 0,
            trace,
            wrong: None,
        }
    }

    pub(super) fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>9.3} {}", self.now as f64 / 1000.0, what());
        }
    }

    pub(super) fn wall(&self) -> u64 {
        (EPOCH_MS + self.now).saturating_add_signed(self.jumped)
    }

    /// Time passes, or the clock on the wall was changed.
    pub(super) fn show_time(&self) {
        self.clock.now.store(self.now, Relaxed);
        self.clock.wall.store(self.wall(), Relaxed);
    }

    /// The time of day.
    pub(super) fn at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.wall())
    }

    pub(super) fn instant(&self, ms: u64) -> Instant {
        *BASE + Duration::from_millis(ms)
    }

    fn ms_of(at: Instant) -> u64 {
        // A moment between two milliseconds is over with the second one.
        let time = at.saturating_duration_since(*BASE);
        time.as_nanos().div_ceil(1_000_000).min(u128::from(u64::MAX)) as u64
    }

    fn delay(&mut self) -> u64 {
        let slow = if self.now < self.weather.slow_until { self.random.between(200, 2000) } else { 0 };
        self.weather.latency + slow
    }

    /// When the next bytes arrive.
    pub(super) fn next_arrival(&self) -> Option<u64> {
        let items = &self.pipe.as_ref().filter(|pipe| !pipe.half_open)?.items;
        let next = items.partition_point(|(at, ..)| *at <= self.now);
        items.get(next).map(|(at, ..)| *at)
    }

    /// The feed sends something on the connection that is there.
    fn send(&mut self, item: Item) {
        self.send_old(item, self.now);
    }

    /// The same with something that came to be before.
    fn send_old(&mut self, item: Item, since: u64) {
        let delay = self.delay();
        let now = self.now;
        if let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.end.is_none()) {
            pipe.last = pipe.last.max(now + delay);
            self.longest_way = self.longest_way.max(pipe.last - now);
            pipe.items.push_back((pipe.last, item, since));
            self.events += 1;
        }
    }

    /// The same with a message.
    fn send_message(&mut self, n: u64) {
        let connection = self.pipe.as_ref().map(|pipe| pipe.id);
        let Some(message) = self.feed.get_mut(n) else { return };
        message.first_on = message.first_on.or(connection);
        let (text, since) = (message.text.clone(), message.sent);
        self.send_old(Item::Text(text), since);
        self.pipe.iter_mut().for_each(|pipe| pipe.sent.push(n));
    }

    /// The feed has a new message.
    pub(super) fn produce(&mut self, key: Option<usize>) {
        let (now, wall) = (self.now, self.wall());
        let Net { feed, shape, random, .. } = self;
        let message = match key {
            Some(key) => feed.make_of(key, shape, random, now, wall),
            None => feed.make(shape, random, now, wall),
        };
        let (n, key, text) = (message.n, message.key, message.text.clone());
        self.events += 1;
        self.say(|| format!("feed   {text}"));
        if self.pipe.as_ref().is_some_and(|pipe| pipe.subscribed[key]) {
            self.send_message(n);
            if self.shape.doubles && self.random.percent(10) {
                self.send_message(n);
            }
        }
    }

    /// The engine is gone, and with it what it has not read.
    pub(super) fn forget_pipe(&mut self) {
        let oldest = self.pipe.take().and_then(|pipe| pipe.items.front().map(|(.., sent)| *sent));
        self.longest_wait = self.longest_wait.max(self.now - oldest.unwrap_or(self.now));
    }

    pub(super) fn break_pipe(&mut self, by_reset: bool) {
        let loses = by_reset && self.random.percent(70);
        let oldest = self.pipe.as_ref().and_then(|pipe| pipe.items.front().map(|(.., sent)| *sent));
        self.longest_wait = self.longest_wait.max(self.now - oldest.unwrap_or(self.now));
        self.say(|| format!("fault  {}", if by_reset { "reset" } else { "end of stream" }));
        if let Some(pipe) = &mut self.pipe {
            if loses {
                pipe.items.clear();
            }
            pipe.end.get_or_insert(if by_reset { PipeEnd::Reset } else { PipeEnd::Fin });
        }
    }

    pub(super) fn half_open(&mut self) {
        self.say(|| "fault  half-open".to_owned());
        self.pipe.iter_mut().for_each(|pipe| pipe.half_open = true);
    }

    pub(super) fn close(&mut self, code: u16) {
        self.say(|| format!("fault  the feed closes with {code}"));
        self.send(Item::Close(code));
        self.pipe.iter_mut().for_each(Pipe::finish);
    }

    /// What becomes of an attempt to connect, and when.
    fn dial(&mut self) -> (u64, Option<OpenError>) {
        let delay = 2 * self.delay();
        let error =
            |kind, retry_after| Some(OpenError { kind, message: "simulated".to_owned(), retry_after, answer: None });
        if self.now < self.weather.no_names_until {
            return (self.now + 20, error(OpenErrorKind::NameUnresolved, None));
        }
        if self.now < self.weather.refused_until {
            return match self.weather.refused {
                0 => (self.now + delay, error(OpenErrorKind::Tcp, None)),
                1 => (self.now + delay, error(OpenErrorKind::Status(503), None)),
                2 => (self.now + delay, error(OpenErrorKind::Status(429), Some(Duration::from_secs(2)))),
                _ => (self.now + 10_000, error(OpenErrorKind::TimedOut, None)),
            };
        }
        (self.now + delay, None)
    }

    /// A connection is made, with the cursor of its URL.
    fn connect(&mut self, url: Option<&str>) -> Result<u64, OpenError> {
        let cursor = url.and_then(|url| url.split_once("cursor=")).and_then(|(_, cursor)| cursor.parse().ok());
        if let Some(cursor) = cursor
            && self.shape.refusal == Refusal::Status
            && self.is_gone(cursor)
        {
            self.feed.refusals += 1;
            self.attempts.is_planned = true;
            self.say(|| format!("feed   410 for cursor {cursor}"));
            let answer = Answer { status: 410, headers: Vec::new(), body: Vec::new() };
            let (kind, message) = (OpenErrorKind::Status(410), "gone".to_owned());
            return Err(OpenError { kind, message, retry_after: None, answer: Some(Box::new(answer)) });
        }
        self.pipes += 1;
        self.say(|| format!("link   {} open, {url:?}", self.pipes));
        self.pipe = Some(Pipe {
            id: self.pipes,
            items: VecDeque::new(),
            last: self.now,
            subscribed: [false; KEYS.len()],
            end: None,
            half_open: false,
            sent: Vec::new(),
        });
        self.attempts.opened = self.now;
        if !self.shape.keyed {
            self.subscribe(None, cursor);
        }
        Ok(self.pipes)
    }

    /// Whether messages behind the cursor, or the inclusive one itself, have been thrown away.
    fn is_gone(&self, cursor: u64) -> bool {
        let first = if self.shape.cursor == Cursor::Inclusive { cursor } else { cursor + 1 };
        first < self.feed.oldest
    }

    fn subscribe(&mut self, key: Option<usize>, cursor: Option<u64>) {
        let mut from = self.feed.newest() + 1;
        if let Some(cursor) = cursor {
            from = if self.shape.cursor == Cursor::Inclusive { cursor } else { cursor + 1 };
            if self.is_gone(cursor) {
                self.say(|| format!("feed   gone: {key:?} {cursor}"));
                match self.shape.refusal {
                    Refusal::Clamps => {
                        from = self.feed.oldest;
                        self.feed.clamps += 1;
                    }
                    Refusal::Message | Refusal::Status => {
                        self.feed.refusals += 1;
                        self.attempts.is_planned = true;
                        from = self.feed.newest() + 1;
                        let words = key.map_or_else(String::new, |key| format!(r#","k":"{}""#, KEYS[key]));
                        self.send(Item::Text(format!(r#"{{"error":"gone"{words}}}"#).into()));
                    }
                }
            }
        }
        if self.shape.acks != Acks::None {
            from = self.feed.oldest;
        }
        for n in from..=self.feed.newest() {
            let Some(message) = self.feed.get(n) else { continue };
            if !message.is_acknowledged && key.is_none_or(|key| key == message.key) {
                self.send_message(n);
            }
        }
        if let Some(pipe) = &mut self.pipe {
            (0..KEYS.len()).filter(|own| key.is_none_or(|key| key == *own)).for_each(|own| pipe.subscribed[own] = true);
        }
    }

    /// A wait is over.
    fn count_wake(&mut self) {
        let Net { now, wakes, .. } = self;
        *wakes = (*now, if wakes.0 == *now { wakes.1 + 1 } else { 0 });
        // A panic ends the loop that it is in.
        assert!(wakes.1 < MAX_WAKES, "the session waits for what is over, again and again");
    }

    /// The answer to a question for what is missing: a page of it.
    fn history(&mut self, url: &str) -> HttpResponse {
        self.events += 1;
        let number =
            |name: &str| url.split_once(name).and_then(|(_, rest)| rest.split('&').next()?.parse::<u64>().ok());
        let from = number("page=").or(number("from=")).unwrap_or_default();
        let to = number("&to=").unwrap_or_default();
        let key = KEYS.iter().position(|key| url.contains(&format!("/{key}?")));
        let kept = self.feed.log.iter().filter(|message| message.n >= self.feed.oldest && Some(message.key) == key);
        let asked = kept.filter(|message| message.records > 0 && (from..=to).contains(&message.number));
        let mut asked: Vec<_> = asked.map(|message| (message.number, &*message.text)).collect();
        let next = asked.get(PAGE).map_or("null".to_owned(), |(number, _)| number.to_string());
        asked.truncate(PAGE);
        let texts = asked.iter().map(|(_, text)| *text).collect::<Vec<_>>().join(",");
        self.say(|| format!("asked  {url}: {} messages, next {next}", asked.len()));
        HttpResponse { status: 200, headers: Vec::new(), body: format!(r#"{{"r":[{texts}],"next":{next}}}"#) }
    }

    /// The engine acknowledges a message.
    fn acknowledged(&mut self, n: u64) {
        if self.pipe.as_ref().is_none_or(|pipe| !pipe.sent.contains(&n)) {
            self.wrong.get_or_insert(format!("{n} is acknowledged on a connection on which it did not come"));
        }
        let first = if self.shape.acks == Acks::Latest { self.feed.oldest } else { n };
        (first..=n).for_each(|n| self.feed.acknowledge(n));
    }

    /// On a connection that the engine closes and nobody else, the feed has heard first what Kafka has.
    fn check_acknowledged(&mut self, connection: u64) {
        let listens = self.pipe(connection).is_some_and(|pipe| !pipe.half_open && pipe.end.is_none());
        if listens
            && self.shape.acks == Acks::Each
            && let Some(n) = self.feed.owed_to(connection)
        {
            self.wrong.get_or_insert(format!("the engine closes and has not acknowledged {n}, which Kafka has"));
        }
    }

    /// The task is gone, and with it what it knew of failures.
    pub(super) fn forget_attempts(&mut self) {
        self.attempts = Attempts::default();
    }

    /// A connection or an attempt has ended. One that lived for long enough was none that failed before.
    fn failed(&mut self, lived: u64) {
        let Attempts { failures, is_planned, .. } = self.attempts;
        let before = if lived >= WORKED_MS { 0 } else { failures };
        let failures = if is_planned { before } else { before + 1 };
        self.attempts = Attempts { failures, since: self.now, opened: 0, is_planned };
    }

    /// A feed that does not let us in must not be hammered.
    fn check_backoff(&mut self) {
        let Attempts { failures, since, .. } = self.attempts;
        if std::mem::take(&mut self.attempts.is_planned) {
            return;
        }
        let least = (RECONNECT_MS << failures.saturating_sub(1).min(10)).min(RECONNECT_MOST_MS);
        if failures >= 2 && self.now - since < least {
            let waited = self.now - since;
            self.wrong
                .get_or_insert(format!("after {failures} failures it waits for {waited} ms, and not for {least} ms"));
        }
    }

    fn pipe(&mut self, id: u64) -> Option<&mut Pipe> {
        self.pipe.as_mut().filter(|pipe| pipe.id == id)
    }
}

/// A network that session and history share.
pub(super) type Shared = Arc<Mutex<Net>>;

pub(super) fn lock(net: &Shared) -> MutexGuard<'_, Net> {
    net.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fills a buffer with random bytes.
type Chance = Box<dyn Fn(&mut [u8]) + Send + Sync>;

pub(super) struct SimulatedWorld {
    net: Shared,
    clock: Arc<Clock>,
    chance: Chance,
}

impl SimulatedWorld {
    pub(super) fn new(net: Shared) -> SimulatedWorld {
        let (source, clock) = (net.clone(), lock(&net).clock.clone());
        let chance = move |bytes: &mut [u8]| {
            let mut net = lock(&source);
            bytes.iter_mut().for_each(|byte| *byte = net.random.below(256) as u8);
        };
        SimulatedWorld { net, clock, chance: Box::new(chance) }
    }
}

impl World for SimulatedWorld {
    type Wire = SimulatedWire;

    fn now(&self) -> Instant {
        *BASE + Duration::from_millis(self.clock.now.load(Relaxed))
    }

    fn at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.clock.wall.load(Relaxed))
    }

    fn moment(&self) -> Moment<'_> {
        Moment { now: self.now(), at: self.at(), chance: &*self.chance }
    }

    fn luck(&self) -> f64 {
        lock(&self.net).random.below(1000) as f64 / 1000.0
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + Send {
        wait_until(&self.net, Net::ms_of(at))
    }

    async fn open(&mut self, handshake: Handshake) -> Result<SimulatedWire, OpenError> {
        lock(&self.net).check_backoff();
        let (at, error) = lock(&self.net).dial();
        wait_until(&self.net, at).await;
        let opened = error.map_or_else(|| lock(&self.net).connect(handshake.url.as_deref()), Err);
        let id = opened.inspect_err(|_| lock(&self.net).failed(0))?;
        Ok(SimulatedWire { net: self.net.clone(), id, inbox: VecDeque::new(), current: None, said_close: false })
    }

    fn ask(&self, request: HttpRequest) -> Asked {
        let net = self.net.clone();
        Box::pin(async move {
            let (at, error) = lock(&net).dial();
            wait_until(&net, at).await;
            match error {
                None => Ok(lock(&net).history(&request.url)),
                Some(OpenError { kind: OpenErrorKind::Status(status), .. }) => {
                    Ok(HttpResponse { status, headers: Vec::new(), body: String::new() })
                }
                Some(error) => Err(error),
            }
        })
    }
}

/// Waits for a moment of the history.
fn wait_until(net: &Shared, until: u64) -> impl Future<Output = ()> + Send {
    poll_fn(move |_| {
        let mut net = lock(net);
        if net.now >= until {
            net.count_wake();
            return Poll::Ready(());
        }
        net.wake = Some(net.wake.map_or(until, |wake| wake.min(until)));
        Poll::Pending
    })
}

pub(super) struct SimulatedWire {
    net: Shared,
    id: u64,
    inbox: VecDeque<Item>,
    current: Option<Item>,
    said_close: bool,
}

impl Wire for SimulatedWire {
    fn headers(&self) -> &[(String, String)] {
        &[]
    }

    fn at_configured_origin(&self) -> bool {
        true
    }

    fn next(&mut self) -> Result<Option<Event<'_>>, Violation> {
        self.current = self.inbox.pop_front();
        Ok(self.current.as_ref().map(|item| match item {
            Item::Text(text) => Event::Text(text.as_bytes()),
            Item::Pong => Event::Pong(b""),
            Item::Close(code) => Event::Close(Close { code: Some(*code), reason: String::new(), valid: true }),
        }))
    }

    fn exchange(&mut self, read: bool) -> impl Future<Output = io::Result<usize>> + Send {
        poll_fn(move |_| {
            let mut net = lock(&self.net);
            let now = net.now;
            let Some(pipe) = net.pipe(self.id).filter(|pipe| read && !pipe.half_open) else { return Poll::Pending };
            let mut bytes = 0;
            let mut longest = 0;
            while pipe.items.front().is_some_and(|(at, ..)| *at <= now) {
                let Some((_, item, sent)) = pipe.items.pop_front() else { break };
                longest = longest.max(now - sent);
                bytes += if let Item::Text(text) = &item { text.len() } else { 2 };
                self.inbox.push_back(item);
            }
            let (end, is_empty) = (pipe.end, pipe.items.is_empty());
            net.longest_wait = net.longest_wait.max(longest);
            match end {
                _ if bytes > 0 => Poll::Ready(Ok(bytes)),
                Some(PipeEnd::Reset) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Some(PipeEnd::Fin) if is_empty => Poll::Ready(Ok(0)),
                _ => Poll::Pending,
            }
        })
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn unsent_since(&self) -> Option<Instant> {
        None
    }

    fn unfinished(&self) -> usize {
        0
    }

    fn send_text(&mut self, text: &[u8]) {
        let mut net = lock(&self.net);
        if self.said_close || net.pipe(self.id).is_none_or(|pipe| pipe.half_open || pipe.end.is_some()) {
            return;
        }
        let text = String::from_utf8_lossy(text);
        net.say(|| format!("engine {text}"));
        if let Some(n) = text.strip_prefix("ack ") {
            return net.acknowledged(n.parse().unwrap_or_default());
        }
        let words = text.split_once(" from ");
        let key = words.and_then(|(key, _)| KEYS.iter().position(|own| *own == key));
        let cursor = words.and_then(|(_, cursor)| cursor.parse().ok());
        net.subscribe(key, cursor);
    }

    fn send_binary(&mut self, _: &[u8]) {}

    fn send_ping(&mut self) {
        let mut net = lock(&self.net);
        if net.pipe(self.id).is_some_and(|pipe| !pipe.half_open) {
            net.send(Item::Pong);
        }
    }

    fn send_close(&mut self, code: u16) {
        if std::mem::replace(&mut self.said_close, true) {
            return;
        }
        let mut net = lock(&self.net);
        net.say(|| format!("engine closes with {code}"));
        net.check_acknowledged(self.id);
        if net.pipe(self.id).is_some_and(|pipe| !pipe.half_open) {
            net.send(Item::Close(code));
            net.pipe(self.id).into_iter().for_each(Pipe::finish);
        }
    }

    fn rest(&mut self) {}

    /// The host's thread sleeps too, so nothing else happens meanwhile.
    fn sleep(&mut self, time: Duration) {
        let mut net = lock(&self.net);
        net.now += time.as_millis() as u64;
        net.show_time();
    }

    async fn farewell(self) -> Discarded {
        let mut net = lock(&self.net);
        if net.pipe(self.id).is_some() {
            net.pipe = None;
        }
        let lived = net.now - net.attempts.opened;
        net.failed(lived);
        let messages = self.inbox.iter().filter(|item| matches!(item, Item::Text(_))).count() as u64;
        Discarded { messages, bytes: 0 }
    }
}
