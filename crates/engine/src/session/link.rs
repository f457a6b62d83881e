//! One connection's life between the handshakes, without the connection: events and time in, actions out. Session and
//! tests bring sockets, clock and chance.

mod held;
mod history;

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::time::Instant;
use tracing::{info, warn};

use super::outlook;
use super::pace::Pace;
use super::retry::{Failure, Life, Outlook, WORKED};
use super::silence::Silence;
use super::timers::Timers;
use crate::commits::{Commits, Committed};
use crate::config::{Config, IdleAction};
use crate::connection::OpenError;
use crate::connection::frame::{Close, Event};
use crate::connection::http_request::HttpResponse;
use crate::dialogue::{self, Carried, Dialogue, End, HttpAnswer, HttpRequest, Moment, Variables};
use crate::figures::Counter;
use crate::gap::{Cause, Gap, Range};
use crate::intake::memory::{Findings, Memory};
use crate::intake::sequence::{self, Hole};
use crate::intake::{Counts, Frame, Ground, Intake, Origin, Part, Refusal, Steps};
use crate::ledger;
use crate::metrics::Metrics;
use crate::mutation::Mutation;
use crate::record::{Batch, epoch_ms};
use held::Held;

/// A peer that takes nothing for this long is dead; the existing connector's write timeout.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// So much of a key is shown.
pub(super) const MAX_KEY_CHARS: usize = 100;
/// A Close has room for so much (RFC 6455 §5.5).
const MAX_CLOSE_REASON_CHARS: usize = 123;

/// What to do about the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    /// A request of a step; its answer goes to [`Link::answered`].
    Http(HttpRequest),
    Ping,
    /// Our Close.
    Close(u16),
}

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) cause: Cause,
    pub(super) message: String,
    pub(super) outlook: Outlook,
    /// Of our Close, if it is not the usual one.
    pub(super) close_code: Option<u16>,
}

impl Ending {
    pub(super) fn new(cause: Cause, message: impl Into<String>) -> Ending {
        Ending { cause, message: message.into(), outlook: Outlook::Outage, close_code: None }
    }
}

impl From<End> for Ending {
    fn from(end: End) -> Ending {
        match end {
            End::Failed(message) => Ending { outlook: Outlook::Hopeless, ..Ending::new(Cause::StepFailed, message) },
            End::Final(message) => Ending { outlook: Outlook::Final, ..Ending::new(Cause::StepFailed, message) },
            End::Outage(message) => Ending::new(Cause::StepFailed, message),
            End::Lost(message) => Ending { outlook: Outlook::Planned, ..Ending::new(Cause::ResumeLost, message) },
            End::Reconnect(message) => {
                Ending { outlook: Outlook::Planned, ..Ending::new(Cause::StepReconnects, message) }
            }
        }
    }
}

pub(super) struct Link {
    config: Arc<Config>,
    opened: Instant,
    dialogue: Dialogue,
    /// Makes the records; or why it cannot.
    intake: Result<Intake, String>,
    /// When it was opened, milliseconds since the epoch: the connection's name in records.
    name: String,
    /// A redirect led to another origin, which must learn no secret.
    withholds: bool,
    /// Something was withheld.
    withheld: bool,
    actions: VecDeque<Action>,
    /// Records that are not in the queue yet.
    batch: Batch,
    /// Of the last message, while what it has shown is told: a record that is stored has everything before it stored.
    aside: Option<Batch>,
    /// So many records were in the batch before the last message.
    before: usize,
    received: Received,
    timers: Timers,
    /// With `websocket.idle.key`.
    silence: Option<Silence>,
    /// Records that go to the queue before those of the batch.
    ready: VecDeque<Batch>,
    held: Held,
    /// Gaps that were repaired or given up, and are not told yet.
    repaired: Vec<Gap>,
    /// What was found in the messages and is not reported yet.
    findings: Findings,
    /// The session knows that this connection has worked.
    worked: bool,
    /// What Kafka has, if the feed wants to hear it.
    commits: Option<Arc<Commits>>,
    /// Set once stopping was asked for.
    stop_by: Option<Instant>,
    /// Our Close waits until Kafka has what was received, up to this moment.
    close_by: Option<Instant>,
}

/// What came in, for metrics and for the begin of the next gap.
struct Received {
    last_bytes: SystemTime,
    /// Up to this moment all that the server had sent was read.
    heard: SystemTime,
    /// Nothing was read for a while, and what waits since then may take several reads.
    backlog: bool,
    any_message: bool,
    /// Not yet added to the metrics.
    messages: u64,
    bytes: u64,
    counts: Counts,
}

impl Link {
    /// The dialogue knows of the open connection; `memory` is what the last one's intake left. `at_configured_origin`: no redirect led to another origin, which
    /// must learn no secret.
    pub(super) fn new(
        config: Arc<Config>,
        dialogue: Dialogue,
        mut memory: Memory,
        commits: Option<Arc<Commits>>,
        at_configured_origin: bool,
        now: Instant,
        at: SystemTime,
    ) -> Link {
        if let Some(plan) = config.intake.memory() {
            memory.connected(plan, dialogue.is_resuming());
        }
        if let Some(plan) = &config.backfill {
            memory.backfill.connected(&plan.rate, config.partition_keys());
        }
        commits.iter().for_each(|commits| commits.begin_link());
        let timers = Timers::new(&config, now);
        let silence = config.idle_record_timeout.filter(|_| config.intake.sees_keys());
        let received = Received {
            last_bytes: at,
            heard: at,
            backlog: false,
            any_message: false,
            messages: 0,
            bytes: 0,
            counts: Counts::default(),
        };
        let intake = Intake::new(config.intake.clone(), &config.plan.paths, config.plan.listens(), memory);
        Link {
            intake: intake.map(|intake| intake.watched_by(dialogue.watched())),
            name: epoch_ms(at).to_string(),
            withholds: !at_configured_origin,
            withheld: false,
            config,
            opened: now,
            dialogue,
            actions: VecDeque::new(),
            batch: Batch::default(),
            aside: None,
            before: 0,
            received,
            timers,
            silence: silence.map(|timeout| Silence::new(timeout, now)),
            ready: VecDeque::new(),
            held: Held::default(),
            repaired: Vec::new(),
            findings: Findings::default(),
            worked: false,
            stop_by: None,
            close_by: None,
            commits,
        }
    }

    /// The connection is over: what the next one goes on with.
    pub(super) fn end(mut self) -> (Carried, Memory) {
        let is_void = self.dialogue.is_void();
        let mut memory = self.intake.map(Intake::into_memory).unwrap_or_default();
        memory.at = Some(self.received.last_bytes);
        if is_void {
            memory.forget_position();
        }
        self.dialogue.void_topics().iter().for_each(|topic| memory.forget_position_of(topic));
        (self.dialogue.end(self.worked), memory)
    }

    /// Whether this connection goes on from where the last one was, as far as the feed has said.
    pub(super) fn is_resuming(&self) -> bool {
        self.dialogue.is_resuming()
    }

    /// Whether some topics have nothing to go on from, while others have.
    pub(super) fn is_resuming_in_part(&self) -> bool {
        self.dialogue.is_resuming_in_part()
    }

    /// Returns the gaps that the messages have shown since the last call. `began`: since when nothing was received before
    /// this connection.
    pub(super) fn gaps(&mut self, began: Option<SystemTime>) -> Vec<Gap> {
        let ended = self.received.last_bytes;
        let began = earlier(began, self.findings.since.take());
        let mut gaps = Vec::new();
        let mut unknown = |cause| {
            gaps.push(Gap { id: Gap::random_id(), began, ended, cause, missed: None, range: None, repaired: false });
        };
        if std::mem::take(&mut self.findings.clamped) {
            unknown(Cause::Clamped);
        }
        if std::mem::take(&mut self.findings.lost) {
            unknown(Cause::ResumeLost);
        }
        let too_large = std::mem::take(&mut self.findings.too_large);
        gaps.extend(too_large.into_iter().map(|place| self.gap_of_too_large(place.as_deref())));
        let holes = std::mem::take(&mut self.findings.holes);
        gaps.extend(holes.into_iter().map(|hole| self.gap_of(hole, ended)));
        gaps.append(&mut self.repaired);
        gaps
    }

    /// A record that comes again, and is left out again, is the same gap.
    fn gap_of_too_large(&self, place: Option<&str>) -> Gap {
        let (cause, at) = (Cause::TooLarge, self.received.last_bytes);
        let id = |place| Gap::id_of(&[&self.config.name, &self.config.partition, cause.as_str(), place]);
        let id = place.map_or_else(Gap::random_id, id);
        Gap { id, began: Some(at), ended: at, cause, missed: Some(1), range: None, repaired: false }
    }

    fn gap_of(&self, hole: Hole, at: SystemTime) -> Gap {
        let Hole { cause, key, from, to, missing, .. } = hole;
        let (from, to) = (from.to_string(), to.to_string());
        // Numbers of one connection say nothing to another.
        let anew = self.sequence().is_some_and(|sequence| sequence.per_connection);
        let numbering = if anew { self.name.as_str() } else { "" };
        let id = Gap::id_of(&[&self.config.name, &self.config.partition, cause.as_str(), numbering, &key, &from, &to]);
        let range = Some(Range { key: key.into(), from, to });
        Gap { id, began: Some(at), ended: at, cause, missed: missing, range, repaired: false }
    }

    fn sequence(&self) -> Option<&sequence::Plan> {
        self.config.intake.memory()?.sequence.as_ref()
    }

    /// Whether the last message has shown a hole before it.
    pub(super) fn has_found_hole(&self) -> bool {
        !self.findings.holes.is_empty()
    }

    /// Takes the records of the last message out of the batch, so that what it has shown goes before them. While records wait for
    /// a repair it goes behind them.
    pub(super) fn set_aside(&mut self) {
        if self.held.is_empty() {
            self.aside = Some(self.batch.split_off(self.before.min(self.batch.len())));
        }
    }

    pub(super) fn put_back(&mut self) {
        if let Some(records) = self.aside.take() {
            self.batch.append(&records);
        }
    }

    /// Adds a gap to the ledger, if there is one. Returns its entry.
    pub(super) fn note(&mut self, gap: &Gap) -> Value {
        let Link { config, intake, dialogue, name, batch, held, aside, .. } = self;
        let entry = ledger::entry(gap, Some(name), &config.task_id());
        if let Some(ledger) = &config.ledger {
            let mut behind = Batch::default();
            let batch = if held.is_empty() { batch } else { &mut behind };
            ledger::add(ledger, gap, &entry, batch, |record| {
                if let (Ok(intake), Some(plan)) = (intake, config.intake.memory()) {
                    match aside {
                        Some(_) => intake.memory().write_before(plan, dialogue.variables(), record),
                        None => intake.memory().write_beside(plan, dialogue.variables(), record),
                    }
                }
            });
            // It says how far the feed has come, so it must not overtake.
            held.add(behind);
        }
        entry
    }

    /// Stores a cursor that moved while a filter dropped all records, with a record of the ledger.
    fn store_cursor(&mut self, moment: &Moment<'_>) {
        let Some(interval) = self.config.resume.heartbeat.filter(|_| self.timers.cursor <= Some(moment.now)) else {
            return;
        };
        self.timers.cursor = Some(moment.now + interval);
        let Link { config, intake, dialogue, batch, .. } = self;
        let (Some(ledger), Some(plan), Ok(intake)) = (&config.ledger, config.intake.memory(), intake) else { return };
        if intake.memory().is_ahead() && self.held.is_empty() {
            ledger::add_cursor(ledger, &config.task_id(), moment.at, batch, |record| {
                intake.memory().write_beside(plan, dialogue.variables(), record);
            });
        }
    }

    /// Does what is configured when messages are missing.
    fn act_on_holes(&mut self, moment: &Moment<'_>) -> Result<(), Ending> {
        let Some(hole) = self.findings.holes.first().filter(|hole| hole.cause == Cause::Sequence) else {
            return Ok(());
        };
        let words = format!("messages are missing: {} to {} of {}", hole.from, hole.to, self.shown_key(&hole.key));
        match self.sequence().map(|sequence| sequence.action) {
            // What can be repaired is not told as a hole.
            None | Some(sequence::Action::Count | sequence::Action::Backfill) => Ok(()),
            Some(sequence::Action::Fail) => {
                Err(Ending { outlook: Outlook::Final, ..Ending::new(Cause::Sequence, words) })
            }
            Some(sequence::Action::Reconnect) => {
                Err(Ending { outlook: Outlook::Planned, ..Ending::new(Cause::Sequence, words) })
            }
            Some(sequence::Action::Resubscribe) => self.resubscribe(moment),
        }
    }

    fn shown_key(&self, key: &str) -> String {
        if key.is_empty() { "the feed".to_owned() } else { self.config.redactor.foreign(key, MAX_KEY_CHARS) }
    }

    /// Subscribes anew: topics with a cursor go on from it.
    fn resubscribe(&mut self, moment: &Moment<'_>) -> Result<(), Ending> {
        if let Ok(intake) = &mut self.intake {
            self.dialogue.came_to(intake.memory());
        }
        Ok(self.dialogue.resubscribe(moment)?)
    }

    /// What to do next; `None` until something happens.
    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.next_said().or_else(|| self.actions.pop_front())
    }

    /// The next thing that a step says. After our Close there is none.
    fn next_said(&mut self) -> Option<Action> {
        while let Some(action) = self.dialogue.next_action() {
            if self.has_closed() || self.withheld() {
                continue;
            }
            match action {
                dialogue::Action::Text(text) => return Some(Action::Text(text)),
                dialogue::Action::Binary(data) => return Some(Action::Binary(data)),
                dialogue::Action::Http(request) => return Some(Action::Http(request)),
                dialogue::Action::Connect(_) => {}
            }
        }
        None
    }

    /// Kafka has more of what was received: acknowledges it, if the feed wants that.
    ///
    /// # Errors
    /// It cannot be acknowledged.
    pub(super) fn committed(&mut self, moment: &Moment<'_>) -> Result<(), Ending> {
        let Some(commits) = &self.commits else { return Ok(()) };
        let (committed, settled) = commits.take();
        let said = if committed == Committed::default() { Ok(()) } else { self.dialogue.committed(&committed, moment) };
        if self.close_by.is_some_and(|by| settled || moment.now >= by) {
            self.close();
        }
        said.or_else(|end| if self.is_stopping() { Ok(()) } else { Err(end.into()) })
    }

    /// A message may hold a secret. It is logged once.
    fn withheld(&mut self) -> bool {
        if self.withholds && !std::mem::replace(&mut self.withheld, true) {
            warn!(
                "event=subscription_withheld reason=\"the feed redirects to another origin; set websocket.url to that one \
                 if you trust it\""
            );
        }
        self.withholds
    }

    /// The answer to a request of a step.
    ///
    /// # Errors
    /// The answer means no, or what follows cannot be done.
    pub(super) fn answered(
        &mut self,
        answer: Result<HttpResponse, OpenError>,
        moment: &Moment<'_>,
    ) -> Result<(), Ending> {
        // During the closing handshake, what the server sent before its Close is still ours.
        dialogue_answered(&mut self.dialogue, answer, moment)
            .or_else(|end| if self.is_stopping() { Ok(()) } else { Err(end) })
    }

    /// So many bytes were read at that moment; the messages in them have it as their time of receipt. `waited`: nothing was
    /// there before. Else they may have come at any time since the read before them, or since reading was stopped.
    pub(super) fn read_at(&mut self, at: SystemTime, bytes: usize, waited: bool) {
        let received = &mut self.received;
        let before = std::mem::replace(&mut received.last_bytes, at);
        if waited {
            (received.heard, received.backlog) = (at, false);
        } else if !received.backlog {
            received.heard = before;
        } else {
            received.backlog = Pace::is_burst(bytes);
        }
    }

    /// Takes what was decoded. Returns the bytes of the message, if it is one.
    ///
    /// # Errors
    /// The server's Close, or what a step makes of the message.
    pub(super) fn take(&mut self, event: &Event<'_>, moment: &Moment<'_>) -> Result<usize, Ending> {
        match event {
            Event::Text(text) => self.message(Frame::Text(text), text.len(), moment),
            Event::Binary(data) => self.message(Frame::Binary(data), data.len(), moment),
            Event::Pong(_) => {
                self.timers.pong = None;
                Ok(0)
            }
            Event::Ping(_) => {
                self.dialogue.count_send(moment.now);
                Ok(0)
            }
            Event::Close(close) => Err(self.closed_by_server(close)),
        }
    }

    /// Shows a message to the steps, and makes records of it.
    fn message(&mut self, frame: Frame<'_>, bytes: usize, moment: &Moment<'_>) -> Result<usize, Ending> {
        self.received.messages += 1;
        self.received.bytes += bytes as u64;
        self.before = self.batch.len();
        let intake = self.intake.as_mut().map_err(|why| Ending::from(Refusal::Fatal(why.clone())))?;
        let ground = Ground { names: &self.config.plan.names, now: self.received.last_bytes, chance: moment.chance };
        let origin = Origin { connection: &self.name, feed: &self.config.partition };
        let (dialogue, commits) = (&mut self.dialogue, self.commits.as_deref());
        let mut listener = Listener { dialogue, moment, end: None, commits, message: None };
        let taken = intake.take(frame, &ground, &origin, &mut self.batch, &mut listener);
        let end = listener.end;
        self.received.counts += intake.counts();
        if let Some(silence) = &mut self.silence {
            intake.seen().keys().for_each(|key| silence.saw(key, moment.now));
        }
        intake.seen().clear();
        if self.config.intake.memory().is_some() {
            self.findings.add(intake.findings());
            if self.dialogue.was_lost() {
                self.findings.lost = true;
                self.findings.since = intake.memory().since();
                intake.memory().not_resumed();
            }
            self.dialogue.came_to(intake.memory());
        }
        if !self.findings.repairs.is_empty() || !self.held.is_empty() {
            self.hold(moment.now);
        }
        taken?;
        match end {
            Some(end) if !self.is_stopping() => return Err(end.into()),
            // What comes until the server's Close is behind what is lost, so it has to be told now.
            Some(End::Lost(_)) => {
                self.findings.lost = true;
                self.findings.since = self.since();
            }
            _ => {}
        }
        if !self.findings.holes.is_empty() {
            self.act_on_holes(moment)?;
        }
        Ok(bytes)
    }

    /// Adds what was received to the metrics: before it is in the queue, so that no record is polled that was not received.
    pub(super) fn account(&mut self, metrics: &Metrics, now: Instant) {
        let received = &mut self.received;
        if received.messages > 0 {
            received.any_message = true;
            metrics.received(received.messages, received.bytes, epoch_ms(received.last_bytes));
            let Counts { skipped, without_record, filtered, incomplete, too_large, backfilled } =
                std::mem::take(&mut received.counts);
            metrics.count(Counter::BinaryMessagesSkipped, skipped);
            metrics.count(Counter::MessagesWithoutRecord, without_record);
            metrics.count(Counter::MessagesFiltered, filtered);
            metrics.count(Counter::MessagesIncomplete, incomplete);
            metrics.count(Counter::MessagesTooLarge, too_large);
            metrics.count(Counter::MessagesBackfilled, backfilled);
            metrics.count(Counter::MessagesDuplicate, std::mem::take(&mut self.findings.duplicates));
            (received.messages, received.bytes) = (0, 0);
            self.timers.idle = self.config.idle_timeout.map(|timeout| now + timeout);
            if !self.batch.is_empty() {
                self.timers.cursor = self.config.resume.heartbeat.map(|interval| now + interval);
            }
            if !self.batch.is_empty() || !self.held.is_empty() {
                self.timers.idle_record = self.config.idle_record_timeout.map(|timeout| now + timeout);
            }
        }
    }

    /// The records so far.
    pub(super) fn batch(&self) -> &Batch {
        &self.batch
    }

    pub(super) fn has_records(&self) -> bool {
        !self.batch.is_empty() || !self.ready.is_empty()
    }

    pub(super) fn take_batch(&mut self) -> Batch {
        self.ready.pop_front().unwrap_or_else(|| std::mem::take(&mut self.batch))
    }

    /// Does what is due. `unsent`: since when the peer has not taken what we want to send; `reading`: whether we read, since
    /// nothing else is the server's fault.
    ///
    /// # Errors
    /// The server is dead, or too quiet.
    pub(super) fn on_time(
        &mut self,
        moment: &Moment<'_>,
        unsent: Option<Instant>,
        reading: bool,
    ) -> Result<(), Ending> {
        let now = moment.now;
        // After our Close the server need not answer pings any more, and the stop's deadline bounds all.
        if self.stop_by.is_some() {
            return Ok(());
        }
        if reading {
            self.check(now, unsent)?;
            self.check_records(moment)?;
            self.store_cursor(moment);
        }
        self.dialogue.proceed(moment, reading)?;
        if self.dialogue.next_send(now) <= now && self.timers.ping_is_due(&self.config, now) {
            self.dialogue.count_send(now);
            self.actions.push_back(Action::Ping);
        }
        Ok(())
    }

    fn check(&self, now: Instant, unsent: Option<Instant>) -> Result<(), Ending> {
        let due = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        if due(unsent.map(|since| since + WRITE_TIMEOUT)) {
            let secs = WRITE_TIMEOUT.as_secs();
            let message = format!("the server has not accepted any data for {secs} s");
            return Err(Ending::new(Cause::ConnectionError, message));
        }
        if due(self.timers.pong) {
            let ms = self.config.pong_timeout.as_millis();
            let message = format!(
                "no pong came within websocket.pong.timeout.ms = {ms}; for a server that answers no pings, set \
                 websocket.ping.interval.ms=0"
            );
            return Err(Ending::new(Cause::PongTimeout, message));
        }
        if due(self.timers.idle) {
            let ms = self.config.idle_timeout.unwrap_or_default().as_millis();
            let message = format!("no message came within websocket.idle.timeout.ms = {ms}");
            return Err(Ending::new(Cause::IdleTimeout, message));
        }
        Ok(())
    }

    /// Does what is configured when no record came, or none with one of the keys.
    fn check_records(&mut self, moment: &Moment<'_>) -> Result<(), Ending> {
        let Some(timeout) = self.config.idle_record_timeout else { return Ok(()) };
        let what = if self.timers.idle_record <= Some(moment.now) {
            "no record".to_owned()
        } else if let Some(key) = self.silence.as_mut().and_then(|silence| silence.too_long(moment.now)) {
            let key = self.config.redactor.foreign(&key, MAX_KEY_CHARS);
            format!("no record with the key {key} of websocket.idle.key")
        } else {
            return Ok(());
        };
        let message = format!("{what} came within websocket.idle.record.timeout.ms = {}", timeout.as_millis());
        match self.config.idle_action {
            IdleAction::Reconnect => Err(Ending::new(Cause::IdleTimeout, message)),
            IdleAction::Resubscribe => {
                info!("event=resubscribing reason=\"{message}\"");
                self.timers.idle_record = Some(moment.now + timeout);
                self.silence.iter_mut().for_each(|silence| silence.begin_anew(moment.now));
                self.resubscribe(moment)
            }
        }
    }

    /// When [`Link::on_time`] has something to do.
    pub(super) fn next_wake(&self, now: Instant, unsent: Option<Instant>, reading: bool) -> Option<Instant> {
        if self.stop_by.is_some() {
            return self.stop_by.min(self.close_by.or(self.stop_by));
        }
        let works = Some(self.opened + WORKED).filter(|at| !self.worked && *at > now);
        let deadlines = [
            self.timers.pong,
            self.timers.idle,
            self.timers.cursor,
            self.timers.idle_record,
            unsent.map(|since| since + WRITE_TIMEOUT),
        ];
        let silence = self.silence.as_ref().and_then(Silence::next_look);
        let ping = self.timers.ping.map(|at| at.max(self.dialogue.next_send(now)));
        let (steps, history) = (self.dialogue.next_wake(now, reading), self.history_wake(now));
        deadlines.into_iter().chain([silence]).filter(|_| reading).chain([ping, works, steps, history]).flatten().min()
    }

    /// Returns true once, when the connection has worked.
    pub(super) fn has_worked(&mut self, now: Instant) -> bool {
        !self.worked && self.life(now).worked() && !std::mem::replace(&mut self.worked, true)
    }

    /// While the queue was full nothing was read.
    pub(super) fn was_blocked(&mut self, time: Duration) {
        self.received.backlog = true;
        self.timers.shift(time);
        self.silence.iter_mut().for_each(|silence| silence.shift(time));
        self.dialogue.shift(time);
    }

    /// Begins to stop: sends our Close, but not before the feed has heard what Kafka has, for half of the time at most.
    /// Reading goes on until the server's Close: what it sent before is still ours (RFC 6455 §7.1.2). The deadline may come
    /// closer later. Returns whether it is the first time.
    pub(super) fn stop(&mut self, by: Instant, now: Instant) -> bool {
        let first = self.stop_by.replace(by).is_none();
        self.release_all();
        if first && self.commits.is_some() && !Mutation::StopClosesAtOnce.is_on() {
            self.close_by = Some(now + by.saturating_duration_since(now) / 2);
        } else if first {
            self.close();
        }
        first
    }

    /// Sends our Close, after all that was to be said before it.
    fn close(&mut self) {
        while let Some(said) = self.next_said() {
            self.actions.push_back(said);
        }
        self.close_by = None;
        let code = self.config.close_code;
        self.actions.push_back(Action::Close(code));
        info!("event=websocket_closing code={code} by=client");
    }

    fn has_closed(&self) -> bool {
        self.is_stopping() && self.close_by.is_none()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop_by.is_some()
    }

    /// Whether the stop's deadline is over.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.stop_by.is_some_and(|by| now >= by)
    }

    /// Whether any message came.
    pub(super) fn has_delivered(&self) -> bool {
        self.received.any_message
    }

    /// When the newest cursor was received: since then messages may be missing, if the position is lost.
    pub(super) fn since(&mut self) -> Option<SystemTime> {
        self.intake.as_mut().ok().and_then(|intake| intake.memory().since())
    }

    /// Since when messages may be missing, if the connection is over now.
    pub(super) fn heard(&self) -> SystemTime {
        self.received.heard
    }

    pub(super) fn lived(&self, now: Instant) -> Duration {
        now.duration_since(self.opened)
    }

    /// The ending with what the connection did before.
    pub(super) fn failure(&self, ending: Ending, now: Instant) -> Failure {
        let Ending { cause, message, outlook, .. } = ending;
        Failure { cause, message, retry_after: None, outlook, life: Some(self.life(now)) }
    }

    fn life(&self, now: Instant) -> Life {
        Life { lived: self.lived(now), ready: self.dialogue.is_ready(), delivered: self.received.any_message }
    }

    fn closed_by_server(&mut self, close: &Close) -> Ending {
        let code = close.code.map_or_else(|| "without a code".to_owned(), |code| format!("with code {code}"));
        let reason = self.config.redactor.foreign(&close.reason, MAX_CLOSE_REASON_CHARS);
        let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
        info!("event=websocket_closing by=server code={}", close.code.unwrap_or(1005));
        let message = format!("the server closed the connection {code}{reason}");
        let is_one_of =
            |codes: &[RangeInclusive<u16>]| close.code.is_some_and(|code| codes.iter().any(|own| own.contains(&code)));
        if is_one_of(&self.config.fresh_codes) {
            return self.dialogue.lose(&message).into();
        }
        let outlook = match close.code {
            _ if is_one_of(&self.config.fatal_codes) => Outlook::Final,
            Some(1008 | 4000..=4999) => Outlook::TurnedAway,
            _ => Outlook::Outage,
        };
        Ending { outlook, ..Ending::new(Cause::ServerClose, message) }
    }
}

/// The steps, while a message becomes records.
struct Listener<'a> {
    dialogue: &'a mut Dialogue,
    moment: &'a Moment<'a>,
    /// A step asked for the end: what comes behind it in the message is not looked at.
    end: Option<End>,
    commits: Option<&'a Commits>,
    /// The number of the message, if the feed wants to hear when Kafka has it.
    message: Option<i64>,
}

impl Steps for Listener<'_> {
    fn look(&mut self, part: &Part<'_>) -> bool {
        if self.end.is_some() {
            return false;
        }
        let (is_record, end) = self.dialogue.message(part.scanned, self.moment);
        self.end = end;
        if let Some(commits) = self.commits {
            let id = commits.begin_message();
            match self.dialogue.owe(id, part.scanned, self.moment) {
                Ok(()) => self.message = Some(id),
                Err(end) => drop(self.end.get_or_insert(end)),
            }
        }
        is_record
    }

    fn message(&self) -> Option<i64> {
        self.message
    }

    fn became(&mut self, records: u64) {
        if let Some((commits, message)) = self.commits.zip(self.message.take()) {
            commits.received(message, records);
        }
    }

    fn begins_anew(&mut self) -> bool {
        self.dialogue.is_void()
    }

    fn topics_that_begin_anew(&mut self) -> Vec<String> {
        self.dialogue.void_topics()
    }

    fn variables(&self) -> (&Variables, &Cell<u64>) {
        (self.dialogue.variables(), self.dialogue.count())
    }
}

impl From<Refusal> for Ending {
    fn from(refusal: Refusal) -> Ending {
        match refusal {
            Refusal::Violation { code, message } => {
                Ending { close_code: Some(code), ..Ending::new(Cause::ProtocolError, message) }
            }
            Refusal::Fatal(message) => Ending { outlook: Outlook::Final, ..Ending::new(Cause::ProtocolError, message) },
        }
    }
}

/// The earlier of two moments, as far as they are known.
pub(super) fn earlier(one: Option<SystemTime>, other: Option<SystemTime>) -> Option<SystemTime> {
    [one, other].into_iter().flatten().min()
}

/// Tells a dialogue what became of its request.
pub(super) fn dialogue_answered(
    dialogue: &mut Dialogue,
    answer: Result<HttpResponse, OpenError>,
    moment: &Moment<'_>,
) -> Result<(), Ending> {
    match answer {
        Ok(HttpResponse { status, headers, body }) => {
            Ok(dialogue.answered(&HttpAnswer { status, headers: &headers, body: &body }, moment)?)
        }
        Err(error) => {
            let outlook = outlook(&error);
            Err(Ending { outlook, ..Ending::from(dialogue.unanswered(&error.message)) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_def::Properties;

    fn link(options: &[(&str, &str)], now: Instant) -> Link {
        let base = [("websocket.url", "ws://host/"), ("kafka.topic", "t")];
        let properties: Properties = base.iter().chain(options).map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let config = Arc::new(crate::config::Config::parse(&properties).unwrap());
        let memory = Memory::default();
        let mut dialogue = Dialogue::begin(config.plan.clone(), config.redactor.clone(), Carried::default(), &memory);
        dialogue.proceed(&moment(now), true).unwrap();
        dialogue.next_action();
        dialogue.opened(&[], &moment(now)).unwrap();
        Link::new(config, dialogue, memory, None, true, now, SystemTime::UNIX_EPOCH)
    }

    fn moment(now: Instant) -> Moment<'static> {
        Moment { now, at: SystemTime::UNIX_EPOCH, chance: &|bytes| bytes.fill(7) }
    }

    fn cause(result: Result<(), Ending>) -> Option<Cause> {
        result.err().map(|ending| ending.cause)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_ping_is_sent_when_it_is_due_and_wants_its_pong() {
        let now = Instant::now();
        let mut link = link(&[("websocket.ping.interval.ms", "1000"), ("websocket.pong.timeout.ms", "1500")], now);
        assert_eq!(link.next_wake(now, None, true), Some(now + SECOND));
        link.on_time(&moment(now + SECOND), None, true).unwrap();
        assert_eq!((link.next_action(), link.next_action()), (Some(Action::Ping), None));
        assert_eq!(cause(link.on_time(&moment(now + SECOND * 5 / 2), None, true)), Some(Cause::PongTimeout));
        link.take(&Event::Pong(b""), &moment(now)).unwrap();
        assert_eq!(cause(link.on_time(&moment(now + SECOND * 5 / 2), None, true)), None);
    }

    #[test]
    fn while_nothing_is_read_nothing_is_the_servers_fault_and_pings_go_on() {
        let now = Instant::now();
        let mut link = link(&[("websocket.idle.timeout.ms", "1000"), ("websocket.ping.interval.ms", "3000")], now);
        assert_eq!(link.next_wake(now, None, false), Some(now + 3 * SECOND));
        link.on_time(&moment(now + 3 * SECOND), None, false).unwrap();
        assert_eq!(link.next_action(), Some(Action::Ping));
        link.was_blocked(3 * SECOND);
        assert_eq!(cause(link.on_time(&moment(now + 3 * SECOND), None, true)), None);
        assert_eq!(cause(link.on_time(&moment(now + 4 * SECOND), None, true)), Some(Cause::IdleTimeout));
    }

    #[test]
    fn without_records_a_link_ends_or_subscribes_anew_whatever_else_comes() {
        let now = Instant::now();
        let idle = ("websocket.idle.record.timeout.ms", "1000");
        let steps = [
            ("websocket.session.steps", "connect,subscribe,beat"),
            ("websocket.subscription.topics", "a"),
            ("websocket.subscription.message", "sub {{topic}}"),
            ("websocket.session.beat.on", "/beat exists"),
        ];
        for (action, ends) in [("reconnect", true), ("resubscribe", false)] {
            let mut link = link(&[&steps[..], &[idle, ("websocket.idle.action", action)]].concat(), now);
            assert_eq!(link.next_action(), Some(Action::Text(b"sub a".to_vec())));
            link.take(&Event::Text(b"{\"beat\":1}"), &moment(now)).unwrap();
            link.account(&Metrics::new(1, 1), now + SECOND / 2);
            let due = link.on_time(&moment(now + SECOND), None, true);
            assert_eq!(cause(due), ends.then_some(Cause::IdleTimeout));
            assert_eq!(link.next_action(), (!ends).then(|| Action::Text(b"sub a".to_vec())));
        }
    }

    #[test]
    fn a_key_that_falls_silent_while_others_flow_ends_the_link_or_subscribes_anew() {
        let now = Instant::now();
        let options = [
            ("websocket.subscription.topics", "a"),
            ("websocket.subscription.message", "sub {{topic}}"),
            ("websocket.idle.record.timeout.ms", "1000"),
            ("websocket.idle.key", "{{/s}}"),
        ];
        for (action, ends) in [("reconnect", true), ("resubscribe", false)] {
            let mut link = link(&[&options[..], &[("websocket.idle.action", action)]].concat(), now);
            assert_eq!(link.next_action(), Some(Action::Text(b"sub a".to_vec())));
            for (message, at) in [(r#"{"s":"A"}"#, now), (r#"{"s":"B"}"#, now), (r#"{"s":"B"}"#, now + SECOND / 2)] {
                link.take(&Event::Text(message.as_bytes()), &moment(at)).unwrap();
                link.account(&Metrics::new(1, 1), at);
            }
            link.take_batch();
            link.on_time(&moment(now + SECOND / 2), None, true).unwrap();
            assert_eq!(link.next_wake(now, None, true), Some(now + SECOND));
            let due = link.on_time(&moment(now + SECOND), None, true);
            let words = due.as_ref().err().map(|ending| ending.message.clone()).unwrap_or_default();
            assert_eq!(words.contains("no record with the key A of websocket.idle.key"), ends, "{words}");
            assert_eq!(cause(due), ends.then_some(Cause::IdleTimeout));
            assert_eq!(link.next_action(), (!ends).then(|| Action::Text(b"sub a".to_vec())));
        }
    }

    #[test]
    fn while_what_was_repaired_waits_for_room_nothing_more_is_asked_for_or_waited_for() {
        let now = Instant::now();
        let options = [
            ("websocket.sequence", "{{/n}}"),
            ("websocket.sequence.action", "backfill"),
            ("websocket.backfill.http", "GET http://host/?from={{from}}"),
            ("websocket.backfill.rate", "100/1s"),
        ];
        let mut link = link(&options, now);
        for message in [r#"{"n":1}"#, r#"{"n":3}"#, r#"{"n":5}"#] {
            link.take(&Event::Text(message.as_bytes()), &moment(now)).unwrap();
        }
        assert!(link.next_question(&moment(now)).is_some());
        let answer = HttpResponse { status: 200, headers: Vec::new(), body: r#"[{"n":2}]"#.to_owned() };
        link.history_answered(Ok(answer), &moment(now)).unwrap();
        assert!(link.next_question(&moment(now)).is_none());
        assert!(link.next_wake(now, None, false) > Some(now));
        while link.has_records() {
            link.take_batch();
        }
        assert_eq!(link.next_wake(now, None, false), Some(now));
        assert!(link.next_question(&moment(now)).is_some());
    }

    #[test]
    fn a_peer_that_takes_nothing_is_dead() {
        let now = Instant::now();
        let mut link = link(&[], now);
        assert_eq!(link.next_wake(now, Some(now), true), Some(now + WRITE_TIMEOUT));
        assert_eq!(cause(link.on_time(&moment(now + WRITE_TIMEOUT), Some(now), true)), Some(Cause::ConnectionError));
    }

    #[test]
    fn a_stop_sends_one_close_and_ends_by_its_deadline_alone() {
        let now = Instant::now();
        let mut link = link(&[("websocket.idle.timeout.ms", "1")], now);
        assert!(link.stop(now + 9 * SECOND, now) && !link.stop(now + SECOND, now));
        assert_eq!((link.next_action(), link.next_action()), (Some(Action::Close(1000)), None));
        link.on_time(&moment(now + SECOND / 2), Some(now), true).unwrap();
        assert_eq!(link.next_wake(now, None, true), Some(now + SECOND));
        assert!(!link.is_overdue(now) && link.is_overdue(now + SECOND));
    }

    #[test]
    fn a_close_that_turns_us_away_is_no_outage() {
        let mut link = link(&[], Instant::now());
        let mut outlook = |code| link.closed_by_server(&Close { code, reason: String::new(), valid: true }).outlook;
        for code in [1008, 4000, 4999] {
            assert_eq!(outlook(Some(code)), Outlook::TurnedAway);
        }
        for code in [None, Some(1000), Some(1001), Some(1011), Some(3999)] {
            assert_eq!(outlook(code), Outlook::Outage);
        }
    }
}
