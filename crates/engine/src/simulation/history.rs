//! One history: a feed, a network, a host and the engine's task between them, and what goes wrong.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use super::host::{Host, Mode};
use super::network::{Net, Shared, SimulatedWorld, lock};
use super::shape::{self, KEYS, Shape};
use super::verdict;
use crate::config::Config;
use crate::handover::Found;
use crate::random::Random;
use crate::task::SourceTask;

/// Messages of the feed while things go wrong.
const MESSAGES: u64 = 220;
/// When all is well again, the feed sends these, and everything gets the time to arrive.
const LAST_MESSAGES: u64 = 12;
const LAST_MESSAGES_AFTER_MS: u64 = 45_000;
const LAST_MESSAGES_EVERY_MS: u64 = 1000;
const PEACE_MS: u64 = 140_000;
/// While there is something to do, the host does something this often, at least; and else.
const STEP_MS: u64 = 60;
const IDLE_STEP_MS: u64 = 1000;
/// A session that is polled so often without time passing spins.
const MAX_POLLS: u32 = 10_000;

/// No history has so many moments.
const MAX_TURNS: u32 = 1_000_000;

/// How a history went.
pub(super) struct Outcome {
    pub(super) events: u64,
    pub(super) failure: Option<String>,
}

/// Plays the history of this seed.
pub(super) fn play(seed: u64, trace: bool) -> Outcome {
    let mut random = Random::seeded(seed);
    let made = shape::shape(&mut random);
    let (shape, config) = (&made.0, &made.1);
    let mut history = History::new(random, shape, config.clone(), trace);
    let failure = history.run().or_else(|| {
        let net = lock(&history.net);
        verdict::check(shape, &net, &history.host)
    });
    let events = lock(&history.net).events;
    Outcome { events, failure }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

type Session = Pin<Box<dyn Future<Output = ()>>>;

struct History {
    net: Shared,
    host: Host,
    config: Arc<Config>,
    task: Option<(SourceTask, Session)>,
    woken: Arc<Woken>,
    /// When a task that is not there is started.
    start_at: u64,
    /// A stop is under way, until then.
    stop_by: Option<u64>,
    next_message: u64,
    next_step: u64,
    next_fault: u64,
    /// How long the feed is quiet between two messages.
    quiet: u64,
    /// Messages that come at once.
    burst: u64,
    /// Since when nothing goes wrong.
    peace_since: Option<u64>,
    last_messages: u64,
}

impl History {
    fn new(mut random: Random, shape: &Shape, config: Arc<Config>, trace: bool) -> History {
        let mode = match random.below(3) {
            0 => Mode::Worker,
            1 => Mode::Connect,
            _ => Mode::ExactlyOnce,
        };
        let filters = mode != Mode::Worker && random.percent(30);
        // Under exactly-once a refused record fails the task.
        let refuses = mode != Mode::ExactlyOnce && random.percent(15);
        let latency = random.between(1, 80);
        let quiet = random.between(20, 600);
        let next_fault = random.between(1000, 10_000);
        if trace {
            println!("{shape:?}\n{mode:?}, filters: {filters}, refuses: {refuses}, latency: {latency} ms");
        }
        History {
            net: Arc::new(Mutex::new(Net::new(random, shape.clone(), latency, trace))),
            host: Host::new(mode, filters, refuses),
            config,
            task: None,
            woken: Arc::new(Woken(AtomicBool::new(false))),
            start_at: 0,
            stop_by: None,
            next_message: 500,
            next_step: 0,
            next_fault,
            quiet,
            burst: 0,
            peace_since: None,
            last_messages: 0,
        }
    }

    /// Runs to the end. Returns what went wrong on the way.
    fn run(&mut self) -> Option<String> {
        let (mut turns, mut now) = (0, 0);
        loop {
            if let Err(why) = self.run_session() {
                return Some(why);
            }
            self.hurry(now);
            turns += 1;
            if turns > MAX_TURNS {
                return Some("the history does not end".to_owned());
            }
            now = match self.advance() {
                Ok(now) => now,
                Err(wrong) => return Some(wrong),
            };
            if self.peace_since.is_some_and(|since| now >= since + PEACE_MS) {
                return None;
            }
            if self.task.is_none() && now >= self.start_at {
                self.start();
            }
            if now >= self.next_message {
                self.produce(now);
            }
            if now >= self.next_fault {
                self.fault(now);
            }
            if now >= self.next_step {
                self.step(now);
            }
        }
    }

    /// Lets the session do what it can.
    fn run_session(&mut self) -> Result<(), String> {
        let waker = Waker::from(self.woken.clone());
        let mut polls = 0;
        while self.woken.0.swap(false, Relaxed) {
            let Some((_, session)) = &mut self.task else { return Ok(()) };
            let mut net = lock(&self.net);
            net.wake = None;
            net.events += 1;
            drop(net);
            polls += 1;
            if polls > MAX_POLLS {
                return Err("the session spins".to_owned());
            }
            if session.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                // What it left is in the queue.
                let (task, _) = self.task.take().unzip();
                self.task = task.map(|task| (task, Box::pin(std::future::pending()) as Session));
                lock(&self.net).wake = None;
            }
        }
        Ok(())
    }

    /// Goes to the next moment at which anything happens.
    ///
    /// # Errors
    /// What went wrong in the last one.
    fn advance(&mut self) -> Result<u64, String> {
        let mut net = lock(&self.net);
        if let Some(wrong) = self.host.wrong.take().or_else(|| net.wrong.take()) {
            return Err(wrong);
        }
        let arrival = net.next_arrival();
        let start = self.task.is_none().then_some(self.start_at);
        let own = [Some(self.next_message), Some(self.next_step), Some(self.next_fault), start];
        let next = own.into_iter().chain([net.wake, arrival]).flatten().min().unwrap_or(net.now + 1);
        net.now = net.now.max(next);
        net.show_time();
        let now = net.now;
        if net.wake.is_some_and(|wake| now >= wake) || arrival.is_some_and(|arrival| now >= arrival) {
            self.woken.0.store(true, Relaxed);
        }
        Ok(now)
    }

    fn start(&mut self) {
        let mut net = lock(&self.net);
        net.say(|| format!("start  with {:?}", self.host.stored));
        (net.pipe, net.wake) = (None, None);
        net.forget_attempts();
        drop(net);
        let world = SimulatedWorld::new(self.net.clone());
        let (task, session) = SourceTask::new(world, self.config.clone(), self.host.stored.clone(), Found::default());
        self.host.begin(&task);
        self.task = Some((task, Box::pin(session.run())));
        self.stop_by = None;
        self.woken.0.store(true, Relaxed);
    }

    fn produce(&mut self, now: u64) {
        let mut net = lock(&self.net);
        self.woken.0.store(true, Relaxed);
        if let Some(since) = self.peace_since {
            let keys = net.shape.keys();
            if now < since + LAST_MESSAGES_AFTER_MS || self.last_messages >= LAST_MESSAGES {
                self.next_message =
                    if self.last_messages >= LAST_MESSAGES { u64::MAX } else { since + LAST_MESSAGES_AFTER_MS };
                return;
            }
            net.produce(Some(self.last_messages as usize % keys));
            self.last_messages += 1;
            self.next_message = now + LAST_MESSAGES_EVERY_MS;
            return;
        }
        net.produce(None);
        if net.feed.newest() >= MESSAGES {
            drop(net);
            self.make_peace(now);
            return;
        }
        let quiet = if self.burst > 0 { 0 } else { net.random.between(1, 2 * self.quiet) };
        self.burst = self.burst.saturating_sub(1);
        self.next_message = now + quiet;
    }

    /// Nothing goes wrong any more, but for one last time.
    fn make_peace(&mut self, now: u64) {
        let mut net = lock(&self.net);
        net.say(|| "peace".to_owned());
        let weather = &mut net.weather;
        (weather.slow_until, weather.no_names_until, weather.refused_until) = (0, 0, 0);
        (self.host.kafka_away_until, self.host.paused_until) = (0, 0);
        self.peace_since = Some(now);
        self.next_message = now + LAST_MESSAGES_AFTER_MS;
        self.next_fault = u64::MAX;
        let kills = net.random.percent(50);
        drop(net);
        if kills {
            self.kill(now);
        }
    }

    /// A host that waits is woken by what comes.
    fn hurry(&mut self, now: u64) {
        let waits = self.next_step > now + STEP_MS;
        let has_work = |(task, _): &(SourceTask, Session)| task.has_something();
        if waits && (!self.host.is_idle() || self.stop_by.is_some() || self.task.as_ref().is_some_and(has_work)) {
            self.next_step = now + lock(&self.net).random.between(5, STEP_MS);
        }
    }

    /// The host polls, and Kafka takes and answers.
    fn step(&mut self, now: u64) {
        let (instant, at) = {
            let net = lock(&self.net);
            (net.instant(now), net.at())
        };
        self.next_step = now + IDLE_STEP_MS;
        let Some((task, _)) = &mut self.task else { return };
        let mut failed = None;
        while self.host.may_poll(now) {
            match task.poll_now(instant, at) {
                Some(Ok(Some(batch))) => {
                    self.host.take(batch, &mut lock(&self.net));
                    self.woken.0.store(true, Relaxed);
                }
                Some(Err(error)) => {
                    failed = Some(error.to_string());
                    break;
                }
                Some(Ok(None)) | None => break,
            }
        }
        self.host.step(task, &self.net);
        if let Some(why) = failed {
            lock(&self.net).say(|| format!("failed {why}"));
            if why.contains("which is a bug") {
                self.host.wrong = Some(why);
            }
            self.end(now, 5000);
        } else if let Some(by) = self.stop_by {
            let drained = self.task.as_ref().is_some_and(|(task, _)| task.is_drained());
            if drained && self.host.is_idle() {
                self.host.flush(&mut lock(&self.net));
                self.end(now, 500);
            } else if now >= by {
                self.end(now, 500);
            }
        }
    }

    fn kill(&mut self, now: u64) {
        lock(&self.net).say(|| "fault  kill".to_owned());
        let pause = lock(&self.net).random.between(1, 4000);
        self.end(now, pause);
    }

    /// The task is gone; another one is started after this time.
    fn end(&mut self, now: u64, pause: u64) {
        let mut net = lock(&self.net);
        let is_drained = self.task.as_ref().is_some_and(|(task, _)| task.is_drained());
        self.host.die(is_drained, &mut net);
        net.wake = None;
        drop(net);
        self.task = None;
        lock(&self.net).forget_pipe();
        (self.stop_by, self.start_at) = (None, now + pause);
    }

    fn fault(&mut self, now: u64) {
        let mut net = lock(&self.net);
        net.events += 1;
        self.next_fault = now + net.random.between(10, 8000);
        self.woken.0.store(true, Relaxed);
        let time = net.random.between(500, 15_000);
        match net.random.below(18) {
            0 | 1 => net.break_pipe(true),
            2 => net.break_pipe(false),
            3 => {
                let code = [1000, 1001, 1012, 4000][net.random.below(4)];
                net.close(code);
            }
            4 => net.half_open(),
            5 => {
                net.say(|| format!("fault  slow for {time} ms"));
                net.weather.slow_until = now + time;
            }
            6 => {
                net.weather.refused = net.random.below(4) as u8;
                net.say(|| format!("fault  refused for {time} ms"));
                net.weather.refused_until = now + time;
                net.break_pipe(true);
            }
            7 => {
                net.say(|| format!("fault  no names for {time} ms"));
                net.weather.no_names_until = now + time;
                net.break_pipe(true);
            }
            8 | 9 => {
                net.say(|| format!("fault  Kafka away for {time} ms"));
                self.host.kafka_away_until = now + time;
            }
            10 => {
                net.say(|| format!("fault  paused for {time} ms"));
                self.host.paused_until = now + time;
            }
            11 | 12 => {
                drop(net);
                self.kill(now);
            }
            13 => {
                net.say(|| "fault  stop".to_owned());
                let by = now + 4000;
                if let (Some((task, _)), None) = (&mut self.task, self.stop_by) {
                    task.stop_by(net.instant(now + 3000));
                    self.stop_by = Some(by);
                }
            }
            14 => {
                self.burst = net.random.between(5, 40);
                self.next_message = now;
            }
            15 if net.random.percent(30) => {
                let by = net.random.between(0, 4000) as i64 - 500;
                net.say(|| format!("fault  the clock jumps by {by} s"));
                net.jumped += by * 1000;
                net.went_back |= by < 0;
                net.show_time();
                net.jumped_forward += by.max(0) as u64 * 1000;
            }
            16 if net.random.percent(40) => {
                let back = net.random.between(0, 10);
                net.feed.throw_away(back);
                net.say(|| format!("fault  the feed throws away what is before {}", net.feed.oldest));
            }
            17 if net.shape.resets => {
                let keys = net.shape.keys();
                let key = net.random.below(keys);
                net.say(|| format!("fault  the numbers of {} begin anew", KEYS[key]));
                net.feed.begin_anew(key);
            }
            _ => {}
        }
    }
}
