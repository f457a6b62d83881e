//! The state of one connection after the opening handshake, without I/O: it takes events and the time, and returns
//! actions. Session and tests have sockets, clock and chance.

mod gaps;
mod held;
mod history;
mod listener;

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tracing::{info, warn};

use super::ending::Ending;
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
use crate::dialogue::{self, Carried, Dialogue, End, HttpAnswer, HttpRequest, Moment};
use crate::figures::Counter;
use crate::gap::{Cause, Gap};
use crate::intake::memory::{Findings, Memory};
use crate::intake::{Counts, Frame, Ground, Intake, Origin, Refusal};
use crate::metrics::Metrics;
use crate::mutation::Mutation;
use crate::record::{Batch, epoch_ms};
use held::Held;
use listener::Listener;

/// A peer that accepts no data for this long is dead. The existing connector has the same write timeout.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of a key logs and errors show.
pub(super) const MAX_KEY_CHARS: usize = 100;
/// The longest reason of a Close (RFC 6455 §5.5).
const MAX_CLOSE_REASON_CHARS: usize = 123;

/// What to do about the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    /// An HTTP request of a step. Its response goes to [`Link::answered`].
    Http(HttpRequest),
    Ping,
    /// The connector's Close, with its code.
    Close(u16),
}

pub(super) struct Link {
    config: Arc<Config>,
    opened: Instant,
    dialogue: Dialogue,
    /// Makes the records, or the reason why it cannot be built.
    intake: Result<Intake, String>,
    /// The connection's name in records: when it was opened, in milliseconds since the epoch.
    name: String,
    /// A redirect led to another origin, so nothing that may contain a secret is sent.
    withholds: bool,
    /// Something was not sent because of that, and the log says so.
    withheld: bool,
    actions: VecDeque<Action>,
    /// Records that are not in the queue yet.
    batch: Batch,
    /// Records of the last message, while its gaps are reported: their records in the ledger must come first, since a
    /// stored offset means that everything before it is stored.
    aside: Option<Batch>,
    /// How many records the batch had before the last message.
    before: usize,
    received: Received,
    timers: Timers,
    /// Watches the keys of `websocket.idle.key`.
    silence: Option<Silence>,
    /// Batches that go to the queue before `batch`.
    ready: VecDeque<Batch>,
    held: Held,
    /// Gaps whose repair has ended, and that are not reported yet.
    repaired: Vec<Gap>,
    /// What the messages have shown, and is not reported yet.
    findings: Findings,
    /// Whether [`Link::has_worked`] has returned true.
    worked: bool,
    /// Which messages Kafka has, if the feed is acknowledged.
    commits: Option<Arc<Commits>>,
    /// The deadline of a stop, once one was requested.
    stop_by: Option<Instant>,
    /// Until then, the Close of a stop waits for Kafka's acknowledgements.
    close_by: Option<Instant>,
}

/// What was received, for the metrics and for the beginning of the next gap.
struct Received {
    last_bytes: SystemTime,
    /// Everything that had arrived up to then was read.
    heard: SystemTime,
    /// Reading was paused, and what has arrived since then may need several reads.
    backlog: bool,
    any_message: bool,
    /// Not yet added to the metrics.
    messages: u64,
    bytes: u64,
    counts: Counts,
}

impl Link {
    /// `dialogue` knows that the connection is open. `memory` is what the intake of the last connection has passed on.
    /// `at_configured_origin`: no redirect led to another origin, which must not get a secret.
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

    /// Ends the connection. Returns what the next one continues from.
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

    /// Whether this connection resumes from the position of the last one, as far as the feed has said.
    pub(super) fn is_resuming(&self) -> bool {
        self.dialogue.is_resuming()
    }

    /// Whether only some topics have a position to resume from.
    pub(super) fn is_resuming_in_part(&self) -> bool {
        self.dialogue.is_resuming_in_part()
    }

    /// Subscribes again. Topics with a cursor resume from it.
    fn resubscribe(&mut self, moment: &Moment<'_>) -> Result<(), Ending> {
        if let Ok(intake) = &mut self.intake {
            self.dialogue.came_to(intake.memory());
        }
        Ok(self.dialogue.resubscribe(moment)?)
    }

    /// Returns what to do next, or `None` if there is nothing to do for now.
    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.next_said().or_else(|| self.actions.pop_front())
    }

    /// Returns the next action of a step. After the connector's Close there is none.
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

    /// Acknowledges to the feed what Kafka has acknowledged since the last call.
    ///
    /// # Errors
    /// The acknowledgement cannot be rendered.
    pub(super) fn committed(&mut self, moment: &Moment<'_>) -> Result<(), Ending> {
        let Some(commits) = &self.commits else { return Ok(()) };
        let (committed, settled) = commits.take();
        let is_new = committed != Committed::default();
        // While the Close waits, nothing else sends what waits for the rate.
        let said = if is_new || self.close_by.is_some() { self.dialogue.committed(&committed, moment) } else { Ok(()) };
        let all_said = settled && !self.dialogue.is_acknowledging();
        if self.close_by.is_some_and(|by| all_said || moment.now >= by) {
            self.close();
        }
        said.or_else(|end| if self.is_stopping() { Ok(()) } else { Err(end.into()) })
    }

    /// Whether nothing may be sent, because a redirect led to another origin and a message may contain a secret. Logs
    /// that once.
    fn withheld(&mut self) -> bool {
        if self.withholds && !std::mem::replace(&mut self.withheld, true) {
            warn!(
                "event=subscription_withheld reason=\"the feed redirects to another origin; set websocket.url to that one \
                 if you trust it\""
            );
        }
        self.withholds
    }

    /// Takes the response to an HTTP request of a step.
    ///
    /// # Errors
    /// The step has failed, or the next one cannot be done.
    pub(super) fn answered(
        &mut self,
        answer: Result<HttpResponse, OpenError>,
        moment: &Moment<'_>,
    ) -> Result<(), Ending> {
        // During a stop, a failed step must not end the reading: messages may still come before the server's Close.
        dialogue_answered(&mut self.dialogue, answer, moment)
            .or_else(|end| if self.is_stopping() { Ok(()) } else { Err(end) })
    }

    /// Notes a read, whose time is the time of receipt of its messages. `waited`: the read had to wait for the bytes.
    /// Otherwise they may have arrived at any time since the last read, or since reading was paused.
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

    /// Takes an event of the connection. Returns the bytes of the message, if it is one.
    ///
    /// # Errors
    /// The server sent a Close, or a step ends the connection because of the message.
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
            // Messages may still come until the server's Close. The gap is before them, so it is reported now.
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

    /// Adds what was received to the metrics. Call it before the records are in the queue, so that the metrics never
    /// show more polled records than received messages.
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

    /// The records that are not in the queue yet.
    pub(super) fn batch(&self) -> &Batch {
        &self.batch
    }

    pub(super) fn has_records(&self) -> bool {
        !self.batch.is_empty() || !self.ready.is_empty()
    }

    pub(super) fn take_batch(&mut self) -> Batch {
        self.ready.pop_front().unwrap_or_else(|| std::mem::take(&mut self.batch))
    }

    /// Does what is due. `unsent`: since when the peer has not accepted data. `reading`: whether the socket is read; if
    /// not, missing messages are not the server's fault.
    ///
    /// # Errors
    /// The server is dead, or was silent for too long.
    pub(super) fn on_time(
        &mut self,
        moment: &Moment<'_>,
        unsent: Option<Instant>,
        reading: bool,
    ) -> Result<(), Ending> {
        let now = moment.now;
        // After the connector's Close the server does not have to answer pings, and the stop has its own deadline.
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

    /// Does what `websocket.idle.action` says, if no record came in time, or none with one of the keys.
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
            let steps = self.close_by.and_then(|_| self.dialogue.next_wake(now, false));
            return [self.stop_by, self.close_by, steps].into_iter().flatten().min();
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

    /// Moves all deadlines by the time in which the queue was full, because nothing was read then.
    pub(super) fn was_blocked(&mut self, time: Duration) {
        self.received.backlog = true;
        self.timers.shift(time);
        self.silence.iter_mut().for_each(|silence| silence.shift(time));
        self.dialogue.shift(time);
    }

    /// Begins to stop: sends a Close. If the feed is acknowledged, the Close first waits for Kafka's acknowledgements,
    /// for half of the time at most. Reading goes on until the server's Close (RFC 6455 §7.1.2). A later call can set
    /// an earlier deadline. Returns whether it was the first call.
    pub(super) fn stop(&mut self, by: Instant, now: Instant) -> bool {
        let before = self.stop_by.replace(by);
        let first = before.is_none();
        self.release_all();
        if first && (self.commits.is_none() || Mutation::StopClosesAtOnce.is_on()) {
            self.close();
        } else if first || self.close_by.is_some() && before > Some(by) {
            self.close_by = Some(now + by.saturating_duration_since(now) / 2);
        }
        first
    }

    /// Sends the Close, after everything that steps want to send before it.
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

    /// Whether the deadline of the stop has passed.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.stop_by.is_some_and(|by| now >= by)
    }

    /// Whether at least one message came.
    pub(super) fn has_delivered(&self) -> bool {
        self.received.any_message
    }

    /// Returns when the newest cursor was received. If the position is lost, messages may be missing since then.
    pub(super) fn since(&mut self) -> Option<SystemTime> {
        self.intake.as_mut().ok().and_then(|intake| intake.memory().since())
    }

    /// Returns since when messages may be missing, if the connection ends now.
    pub(super) fn heard(&self) -> SystemTime {
        self.received.heard
    }

    pub(super) fn lived(&self, now: Instant) -> Duration {
        now.duration_since(self.opened)
    }

    /// Returns the failure that this ending is, together with how the connection has worked.
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

/// Returns the earlier of two moments, as far as they are known.
pub(super) fn earlier(one: Option<SystemTime>, other: Option<SystemTime>) -> Option<SystemTime> {
    [one, other].into_iter().flatten().min()
}

/// Gives a dialogue the response to its HTTP request, or the reason why there is none.
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
    fn a_stop_that_has_to_end_sooner_waits_less_for_kafka() {
        let now = Instant::now();
        let steps = [
            ("websocket.session.steps", "connect,ack"),
            ("websocket.session.ack.on.commit", "/id exists"),
            ("websocket.session.ack.send", "ack {{/id}}"),
        ];
        let mut link = link(&steps, now);
        let commits = Arc::<Commits>::default();
        let open = commits.begin_message();
        commits.received(open, 1);
        link.commits = Some(commits);
        link.stop(now + 8 * SECOND, now);
        assert_eq!(link.next_wake(now, None, true), Some(now + 4 * SECOND));
        link.stop(now + 2 * SECOND, now);
        link.stop(now + 2 * SECOND, now + SECOND / 2);
        assert_eq!(link.next_wake(now, None, true), Some(now + SECOND));
        link.committed(&moment(now + SECOND)).unwrap();
        assert_eq!((link.next_action(), link.next_action()), (Some(Action::Close(1000)), None));
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
