//! One feed over many connections: connect, run the steps, read, keep alive, and connect again after a failure.
//!
//! A reconnect is the same as the first connect. Only the backoff, the counters, the open gap, the position (cursor,
//! numbers, keys of duplicates) and what the steps keep for later connections survive. [`link`] is the state of one
//! connection, [`retry`] decides whether and when there is a next one, [`world`] has sockets and clock. This file has
//! the loop.

mod backlog;
mod backoff;
mod connect_rate;
mod ending;
mod link;
pub(crate) mod observed;
mod pace;
mod retry;
mod silence;
mod timers;
mod waiting;
pub(crate) mod world;

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::commits::Commits;
use crate::config::{Config, Resume};
use crate::connection::http_request::HttpResponse;
use crate::connection::{OpenError, OpenErrorKind};
use crate::dialogue::resume::LostAction;
use crate::dialogue::{self, Carried, Dialogue, Handshake, HttpAnswer};
use crate::error::Error;
use crate::gap::{Cause, Gap};
use crate::intake::memory::{Memory, Plan};
use crate::metrics::Metrics;
use crate::mutation::Mutation;
use crate::observer::Sight;
use crate::panic;
use crate::queue::Queue;
use backlog::Backlog;
use ending::Ending;
use link::{Action, Link, MAX_KEY_CHARS, dialogue_answered, earlier};
use pace::{Linger, Pace};
use retry::{Failure, Outlook, Retry};
use waiting::Waiting;
use world::{Asked, Wire, World};

/// Lines about the queue come no more often than this.
const QUEUE_LOG_INTERVAL: Duration = Duration::from_secs(30);
/// The longest sleep of the loop, if nothing is due.
const LOOK_AROUND: Duration = Duration::from_secs(3600);

pub(crate) struct Session<W> {
    world: W,
    config: Arc<Config>,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    /// The deadline of a stop, once one was requested.
    stop: watch::Receiver<Option<Instant>>,
    retry: Retry,
    /// What the steps of one connection pass to the next connection.
    carried: Carried,
    /// What the intake of one connection passes to the next.
    memory: Memory,
    /// Which messages Kafka has, if the feed is acknowledged.
    commits: Option<Arc<Commits>>,
    /// The gap that is open while there is no connection.
    down: Option<Down>,
    opened_before: bool,
    dropped_logged: u64,
    queue_logged: Option<Instant>,
}

/// What the previous session left.
pub(crate) struct Past {
    /// An offset is stored, so the feed was read before.
    pub(crate) worked: bool,
    /// The gap that the restart makes.
    pub(crate) down: Option<Down>,
    /// What its steps and its intake have stored.
    pub(crate) carried: Carried,
    pub(crate) memory: Memory,
}

/// A time without a connection: since when, and why.
pub(crate) struct Down {
    pub(crate) began: Option<SystemTime>,
    pub(crate) cause: Cause,
    /// How many messages are missing, if known.
    pub(crate) missed: Option<u64>,
    /// The gap's id, if the gap may be reported twice.
    pub(crate) id: Option<String>,
}

impl Down {
    /// Returns the gap that ends now. Only the first call returns it with the given id.
    fn gap(&mut self, ended: SystemTime) -> Gap {
        let id = self.id.take().unwrap_or_else(Gap::random_id);
        Gap { id, began: self.began, ended, cause: self.cause, missed: self.missed, range: None, repaired: false }
    }

    /// Records that the position in the feed is lost, which is worse than a lost connection. `since`: when the newest
    /// cursor was received.
    fn lost_if(&mut self, cause: Cause, since: Option<SystemTime>) {
        if cause == Cause::ResumeLost {
            (self.cause, self.began) = (cause, earlier(self.began, since));
        }
    }
}

/// How a connection, or an attempt at one, ended.
enum End {
    Stopped,
    Failed(Failure),
}

/// Ends the queue when the session's future is dropped for any reason, so that `poll` does not wait for ever.
struct EndOnDrop(Arc<Queue>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end(Err(Error::fatal("the session was ended from outside")));
    }
}

impl<W: World> Session<W> {
    pub(crate) fn new(
        world: W,
        config: Arc<Config>,
        queue: Arc<Queue>,
        metrics: Arc<Metrics>,
        stop: watch::Receiver<Option<Instant>>,
        commits: Option<Arc<Commits>>,
        Past { worked, down, carried, memory }: Past,
    ) -> Session<W> {
        Session {
            world,
            config,
            queue,
            metrics,
            stop,
            retry: Retry::new(worked),
            carried,
            memory,
            commits,
            down,
            opened_before: false,
            dropped_logged: 0,
            queue_logged: None,
        }
    }

    /// Runs until it is stopped or cannot continue. The end of the queue says which.
    pub(crate) async fn run(mut self) {
        let end = EndOnDrop(self.queue.clone());
        let config = self.config.clone();
        let result = panics_as_errors(self.live()).await;
        self.metrics.disconnected();
        // A panic's message may contain data of the feed or a secret.
        end.0.end(result.unwrap_or_else(|panic| Err(Error::fatal(config.redactor.hide(&panic)))));
    }

    async fn live(&mut self) -> Result<(), Error> {
        loop {
            let failure = match self.connect_and_read().await {
                End::Stopped => return Ok(()),
                End::Failed(failure) => failure,
            };
            let delay = self.delay_after(&failure)?;
            self.metrics.reconnect(failure.cause);
            let until = self.world.now() + delay;
            tokio::select! {
                biased;
                () = stopping(&mut self.stop) => return Ok(()),
                () = self.world.sleep_until(until) => {}
            }
            debug!("event=reconnect_executing attempt={}", self.retry.failures());
        }
    }

    /// Returns how long to wait before the next attempt. In a long row of failures, only some are logged.
    ///
    /// # Errors
    /// The failure itself, if there is no next attempt.
    fn delay_after(&mut self, failure: &Failure) -> Result<Duration, Error> {
        let delay = self.retry.after(failure, &self.config.reconnect, self.world.at(), self.world.luck());
        let Failure { cause, message, .. } = failure;
        let attempt = self.retry.failures();
        self.metrics.failing(attempt, self.retry.failing_since());
        if delay.is_err() || self.retry.is_worth_a_line() {
            let since =
                self.retry.failing_since().map(|since| self.world.at().duration_since(since).unwrap_or_default());
            let since = since.unwrap_or_default().as_secs();
            // A reconnect that a step requests is not a failure.
            if attempt == 0 && delay.is_ok() {
                info!("event=websocket_reconnecting cause={cause} message=\"{message}\"");
            } else {
                warn!(
                    "event=websocket_failure cause={cause} attempt={attempt} failing_s={since} message=\"{message}\""
                );
            }
        }
        self.world.watched().tell(Sight::Ended {
            cause: *cause,
            sentence: message,
            retry: delay.as_ref().ok().copied(),
            planned: attempt == 0 && delay.is_ok(),
            ready: failure.life.is_some_and(|life| life.ready),
        });
        let delay = delay?;
        let delay_ms = delay.as_millis();
        if self.retry.is_worth_a_line() {
            info!("event=reconnect_scheduled attempt={attempt} delay_ms={delay_ms} cause={cause}");
        } else {
            debug!("event=reconnect_scheduled attempt={attempt} delay_ms={delay_ms} cause={cause}");
        }
        Ok(delay)
    }

    /// One connection: the steps before the opening handshake, the handshake, and all that follows.
    async fn connect_and_read(&mut self) -> End {
        if let Err(failure) = self.check_age() {
            return End::Failed(failure);
        }
        let Config { plan, redactor, .. } = &*self.config;
        let carried = std::mem::take(&mut self.carried);
        let mut dialogue = Dialogue::begin(plan.clone(), redactor.clone(), carried, &self.memory);
        dialogue.watched_by(self.world.watched());
        let mut stop = self.stop.clone();
        let opened = tokio::select! {
            biased;
            () = stopping(&mut stop) => return End::Stopped,
            opened = self.open(&mut dialogue) => opened,
        };
        match opened {
            Ok(connection) => {
                let end = self.live_on(connection, dialogue).await;
                self.metrics.disconnected();
                end
            }
            Err(failure) => {
                let since = self.memory.since();
                self.void_if(dialogue.is_void());
                self.carried = dialogue.end(false);
                let (began, cause) = (Some(self.world.at()), failure.cause);
                Mutation::GapBeginsWithEachAttempt.does(|| self.down = None);
                self.down.get_or_insert(Down { began, cause, missed: None, id: None }).lost_if(cause, since);
                End::Failed(failure)
            }
        }
    }

    /// Treats a cursor that is older than `websocket.resume.max.age.ms` as lost.
    fn check_age(&mut self) -> Result<(), Failure> {
        let Resume { max_age: Some(max_age), lost_action, .. } = self.config.resume else { return Ok(()) };
        let resumes = self.config.intake.memory().is_some_and(Plan::resumes);
        let is_older = |at: &SystemTime| self.world.at().duration_since(*at).is_ok_and(|age| age > max_age);
        let Some(at) = self.memory.at.filter(|at| resumes && is_older(at)) else {
            return Ok(());
        };
        let message =
            format!("the stored position is older than websocket.resume.max.age.ms = {}", max_age.as_millis());
        warn!("event=position_lost reason=\"{message}\"");
        let down = Down { began: Some(at), cause: Cause::ResumeLost, missed: None, id: None };
        self.down.get_or_insert(down).lost_if(Cause::ResumeLost, self.memory.since());
        self.carried.forget_position();
        self.void_if(true);
        let failure =
            Failure { cause: Cause::ResumeLost, message, retry_after: None, outlook: Outlook::Final, life: None };
        if lost_action == LostAction::Fail { Err(failure) } else { Ok(()) }
    }

    /// Forgets the position in the feed, if it is no longer valid.
    fn void_if(&mut self, is_void: bool) {
        if is_void {
            self.memory.forget_position();
        }
    }

    /// Runs the steps up to the opening handshake, and the handshake.
    async fn open(&mut self, dialogue: &mut Dialogue) -> Result<W::Wire, Failure> {
        let failed = |ending: Ending| Failure {
            cause: ending.cause,
            message: ending.message,
            retry_after: None,
            outlook: ending.outlook,
            life: None,
        };
        loop {
            dialogue.proceed(&self.world.moment(), true).map_err(|end| failed(end.into()))?;
            match dialogue.next_action() {
                Some(dialogue::Action::Connect(handshake)) => return self.shake_hands(handshake, dialogue).await,
                Some(dialogue::Action::Http(request)) => {
                    let answer = self.world.ask(request).await;
                    dialogue_answered(dialogue, answer, &self.world.moment()).map_err(failed)?;
                }
                Some(dialogue::Action::Text(_) | dialogue::Action::Binary(_)) => {}
                None => {
                    let now = self.world.now();
                    let wake = dialogue.next_wake(now, true).unwrap_or(now + LOOK_AROUND);
                    self.world.sleep_until(wake).await;
                }
            }
        }
    }

    async fn shake_hands(&mut self, handshake: Handshake, dialogue: &mut Dialogue) -> Result<W::Wire, Failure> {
        let failed = |error: OpenError| Failure {
            cause: Cause::ConnectFailed,
            outlook: outlook(&error),
            message: error.message,
            retry_after: error.retry_after,
            life: None,
        };
        let opened = self.world.open(handshake).await;
        opened.map_err(|error| {
            let refusal = error.answer.as_ref().and_then(|answer| {
                let body = String::from_utf8_lossy(&answer.body);
                let answer = HttpAnswer { status: answer.status, headers: &answer.headers, body: &body };
                dialogue.refusal(&answer, &self.world.moment())
            });
            let failure = failed(error);
            match refusal.map(Ending::from) {
                Some(Ending { cause: Cause::ResumeLost, outlook, message, .. }) => {
                    Failure { cause: Cause::ResumeLost, outlook, message, ..failure }
                }
                Some(Ending { outlook, .. }) => Failure { outlook, ..failure },
                None => failure,
            }
        })
    }

    /// One connection from the opening handshake to its end.
    async fn live_on(&mut self, mut connection: W::Wire, mut dialogue: Dialogue) -> End {
        let began = dialogue.opened(connection.headers(), &self.world.moment());
        self.void_if(dialogue.is_void());
        let at_configured_origin = connection.at_configured_origin();
        let memory = std::mem::take(&mut self.memory);
        let (now, at) = (self.world.now(), self.world.at());
        let (config, commits) = (self.config.clone(), self.commits.clone());
        let mut link = Link::new(config, dialogue, memory, commits, at_configured_origin, now, at);
        self.opened(&mut link, at);
        let mut waiting = Waiting::default();
        let end = match began {
            Ok(()) => self.read(&mut connection, &mut link, &mut waiting).await,
            Err(end) => Err(end.into()),
        };
        if let Err(ending) = &end {
            if matches!(ending.cause, Cause::StepReconnects | Cause::StepFailed) {
                // Sends what the step wanted to send before the connection ends.
                self.act(&mut connection, &mut link, &mut None);
            }
            // RFC 6455 §7.1.1: no connection ends without a Close. If one was sent already, this does nothing.
            let own = Some(self.config.close_code).filter(|&code| code != 1000);
            connection.send_close(ending.close_code.or(own).unwrap_or(1001));
        } else {
            // If the stop left no time for more.
            connection.send_close(self.config.close_code);
        }
        self.let_go(&mut link, waiting).await;
        let lived = link.lived(self.world.now());
        let discarded = connection.farewell().await;
        info!("event=websocket_closed lived_ms={}", lived.as_millis());
        let end = match end {
            Err(ending) if !link.is_stopping() => {
                let failure = link.failure(ending, self.world.now());
                let missed = (discarded.messages > 0).then_some(discarded.messages);
                let down = Down { began: Some(link.heard()), cause: failure.cause, missed, id: None };
                // A connection without a message does not end the gap before it.
                let down = self.down.take().filter(|_| !link.has_delivered()).unwrap_or(down);
                self.down.insert(down).lost_if(failure.cause, link.since());
                End::Failed(failure)
            }
            _ => End::Stopped,
        };
        (self.carried, self.memory) = link.end();
        end
    }

    /// The loop of a connection: gives what was read to the queue, does what is due, sends, and waits for the next
    /// event. While the queue is full, nothing is read, and everything else goes on.
    ///
    /// Returns when the stop's deadline is over. However it ends, records that are not in the queue yet are in
    /// `waiting` and the link.
    ///
    /// # Errors
    /// Why the connection ends.
    async fn read(&mut self, connection: &mut W::Wire, link: &mut Link, waiting: &mut Waiting) -> Result<(), Ending> {
        let mut stop = self.stop.clone();
        let commits = self.commits.clone();
        let mut pace = Pace::new(self.config.receive_linger, self.world.now());
        let (mut has_read, mut can_send) = (true, true);
        let (mut asked, mut history) = (None, None);
        // Whether the next read had to wait for data.
        let mut waited = false;
        // Whether the last wait was one for data: what may wait in the socket is not late.
        let mut looked = true;
        let (mut backlog, mut wakes_at) = (Backlog::default(), self.world.now() + LOOK_AROUND);
        loop {
            if let Some(by) = *stop.borrow_and_update()
                && link.stop(by, self.world.now())
            {
                self.queue.widen();
                Mutation::StopForgetsWaiting.does(|| *waiting = Waiting::default());
            }
            link.release_due(self.world.now());
            let bytes = self.take_in(connection, link, waiting)?;
            let now = self.world.now();
            if link.is_overdue(now) {
                return Ok(());
            }
            if backlog.woke(wakes_at, now, waited) {
                waited = false;
            }
            if std::mem::take(&mut has_read) {
                waited = false;
                // A message that is not complete yet counts as a whole: its rest follows.
                pace.took_in(bytes.max(connection.unfinished()), now);
            }
            let mut reading = !waiting.is_blocked();
            self.report_queue(!reading);
            link.committed(&self.world.moment())?;
            let heard_all = reading && looked && !backlog.may_be(now);
            link.on_time(&self.world.moment(), connection.unsent_since(), heard_all)?;
            if link.has_worked(now) {
                self.retry.has_worked();
                self.metrics.failing(0, None);
                // It has resumed where the connection before it ended.
                self.down = None;
            }
            self.act(connection, link, &mut asked);
            if history.is_none() {
                history = link.next_question(&self.world.moment()).map(|request| self.world.ask(request));
            }
            if Pace::is_burst(bytes) {
                // In the worker, the other side of the queue runs on this thread.
                tokio::task::yield_now().await;
            }
            let (mut slept_until, mut lingers_until) = (now, None);
            match pace.linger(now) {
                _ if !reading || link.is_stopping() => {}
                Linger::No => {}
                // A request that is under way needs the thread.
                Linger::Sleep(until) if asked.is_none() && history.is_none() => {
                    sleep_on_this_thread(&self.world, connection, until).await;
                    slept_until = until;
                }
                Linger::Sleep(until) | Linger::Wait(until) => {
                    connection.rest();
                    (reading, lingers_until) = (false, Some(until));
                }
            }
            let due = link.next_wake(now, connection.unsent_since(), reading);
            let wake = due.into_iter().chain(lingers_until).min().unwrap_or(now + LOOK_AROUND);
            wakes_at = wake.max(slept_until);
            looked = reading;
            tokio::select! {
                biased;
                // Before the reading: a busy feed always has something to read.
                answer = answer_of(&mut asked), if asked.is_some() => {
                    asked = None;
                    link.answered(answer, &self.world.moment())?;
                }
                answer = answer_of(&mut history), if history.is_some() => {
                    history = None;
                    link.history_answered(answer, &self.world.moment())?;
                }
                read = noticing(connection.exchange(reading), reading, &mut waited), if reading || can_send => match read {
                    Ok(0) if reading => {
                        let message = "the server ended the connection without a Close frame";
                        return Err(Ending::new(Cause::EndOfStream, message));
                    }
                    Ok(bytes) if reading => {
                        link.read_at(self.world.at(), bytes, waited);
                        has_read = true;
                    }
                    Err(error) if reading => return Err(lost(&error)),
                    // If the connection is lost, the next read says so. What came before is read first.
                    sent => can_send = sent.is_ok(),
                },
                () = self.queue.emptied(), if waiting.is_blocked() => {}
                () = changed(commits.as_deref()), if commits.is_some() => {}
                _ = stop.changed() => {}
                () = self.world.sleep_until(wake) => {}
            }
        }
    }

    /// Gives everything that was read to the queue, as far as there is room. Returns the bytes of the messages.
    ///
    /// # Errors
    /// Why the connection ends, once everything received before is in the queue.
    fn take_in(&self, connection: &mut W::Wire, link: &mut Link, waiting: &mut Waiting) -> Result<usize, Ending> {
        let mut bytes = 0;
        loop {
            if let Some(blocked) = waiting.give_to(&self.queue, self.world.now()) {
                link.was_blocked(blocked);
            }
            if waiting.is_blocked() {
                return Ok(bytes);
            }
            if let Some(ending) = waiting.take_end() {
                return Err(ending);
            }
            let (taken, more) = self.decode(connection, link, waiting);
            bytes += taken;
            link.account(&self.metrics, self.world.now());
            self.tell_findings(link);
            if !link.has_records() && !more {
                return Ok(bytes);
            }
            waiting.add(link.take_batch(), self.queue.max_bytes());
        }
    }

    /// After the end of a connection: gives everything it received to the queue, also records that waited for the
    /// repair of a gap.
    async fn let_go(&mut self, link: &mut Link, mut waiting: Waiting) {
        link.release_all();
        link.account(&self.metrics, self.world.now());
        self.tell_findings(link);
        while link.has_records() {
            waiting.add(link.take_batch(), self.queue.max_bytes());
        }
        let mut stop = self.stop.clone();
        loop {
            let (by, now) = (*stop.borrow_and_update(), self.world.now());
            if by.is_some() {
                self.queue.widen();
            }
            waiting.give_to(&self.queue, now);
            if !waiting.is_blocked() {
                return;
            }
            if by.is_some_and(|by| now >= by) || stop.has_changed().is_err() {
                return waiting.leave_behind(&self.config, &self.metrics);
            }
            tokio::select! {
                biased;
                () = self.queue.emptied() => {}
                _ = stop.changed() => {}
                () = self.world.sleep_until(by.unwrap_or(now + LOOK_AROUND)) => {}
            }
        }
    }

    /// Decodes what was read, up to the limits of a batch. Returns the bytes of the messages, and whether there may be
    /// more to decode.
    fn decode(&self, connection: &mut W::Wire, link: &mut Link, waiting: &mut Waiting) -> (usize, bool) {
        let (max_records, max_bytes) = self.queue.batch_limits();
        let moment = self.world.moment();
        let mut bytes = 0;
        while link.batch().len() < max_records && link.batch().bytes() < max_bytes {
            let ending = match connection.next() {
                Ok(None) => return (bytes, false),
                Ok(Some(event)) => {
                    let taken = link.take(&event, &moment);
                    if link.has_found_hole() {
                        link.set_aside();
                        self.tell_findings(link);
                        link.put_back();
                    }
                    match taken {
                        Ok(taken) => {
                            bytes += taken;
                            continue;
                        }
                        Err(ending) => ending,
                    }
                }
                Err(violation) => Ending::new(Cause::ProtocolError, violation.message),
            };
            waiting.end(ending);
            break;
        }
        (bytes, true)
    }

    /// Does what the link wants: sends messages, and begins the HTTP request of a step, which runs beside everything
    /// else.
    fn act(&self, connection: &mut W::Wire, link: &mut Link, asked: &mut Option<Asked>) {
        while let Some(action) = link.next_action() {
            match action {
                Action::Text(text) => connection.send_text(&text),
                Action::Binary(data) => connection.send_binary(&data),
                Action::Http(request) => *asked = Some(self.world.ask(request)),
                Action::Ping => connection.send_ping(),
                Action::Close(code) => connection.send_close(code),
            }
        }
    }

    /// After the opening handshake: the gap before this connection ends, unless the connection is to resume.
    fn opened(&mut self, link: &mut Link, now: SystemTime) {
        self.metrics.connected(now);
        let opened_before = std::mem::replace(&mut self.opened_before, true);
        if link.is_resuming() {
            info!("event=resuming");
            if link.is_resuming_in_part()
                && let Some(gap) = self.down.as_mut().map(|down| down.gap(now))
            {
                self.tell(gap, link);
            }
            return;
        }
        // Before the first connection ever, nothing could be missed.
        if let Some(mut down) = self.down.take()
            && (opened_before || matches!(down.cause, Cause::Restart | Cause::ResumeLost))
        {
            self.tell(down.gap(now), link);
        }
    }

    /// Reports the gaps that the messages have shown.
    fn tell_findings(&self, link: &mut Link) {
        let began = self.down.as_ref().and_then(|down| down.began);
        for gap in link.gaps(began) {
            self.tell(gap, link);
        }
    }

    /// Reports a gap to the log, the metrics and the ledger.
    fn tell(&self, gap: Gap, link: &mut Link) {
        let duration = gap.duration().map_or_else(|| "unknown".to_owned(), |d| d.as_millis().to_string());
        let missed = gap.missed.map_or_else(String::new, |missed| format!(" missed={missed}"));
        let range = gap.range.as_ref().map_or_else(String::new, |range| {
            let key = self.config.redactor.foreign(&range.key, MAX_KEY_CHARS);
            format!(" key=\"{key}\" from={} to={}", range.from, range.to)
        });
        info!("event=gap cause={} duration_ms={duration}{missed}{range}", gap.cause);
        self.world.watched().tell(Sight::Gap(&gap));
        let entry = link.note(&gap);
        self.metrics.gap(gap, entry);
    }

    /// Logs at intervals that the queue is full or drops messages.
    fn report_queue(&mut self, blocked: bool) {
        let dropped = self.metrics.dropped();
        if !blocked && dropped == self.dropped_logged {
            return;
        }
        let now = self.world.now();
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

/// Returns the future's output, or its panic as a sentence.
async fn panics_as_errors<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = pin!(future);
    // Unwind safe: the session is dropped after a panic, so nobody sees a half-made change.
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic::sentence("the session", &*panic))),
    })
    .await
}

/// Lets other tasks of the runtime run once. Unlike `yield_now`, it does not make the runtime check timers and sockets,
/// which costs system calls.
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

/// Awaits the future. Sets `waited` if it is a read that is not ready at once.
async fn noticing<T>(future: impl Future<Output = T>, reads: bool, waited: &mut bool) -> T {
    let mut future = pin!(future);
    poll_fn(|context| {
        let poll = future.as_mut().poll(context);
        *waited |= reads && poll.is_pending();
        poll
    })
    .await
}

/// Waits until a stop is requested.
async fn stopping(stop: &mut watch::Receiver<Option<Instant>>) {
    // An error means that the task was dropped, which is a stop too.
    let _ = stop.wait_for(Option::is_some).await;
}

/// Sleeps for the linger, on this thread. Only a hang-up of the server ends it earlier. Frames that wait to be sent are
/// sent first.
async fn sleep_on_this_thread<W: World>(world: &W, connection: &mut W::Wire, until: Instant) {
    if connection.unsent_since().is_some() {
        tokio::select! {
            biased;
            // A connection that is lost shows when it is read.
            _ = connection.flush() => {}
            () = world.sleep_until(until) => {}
        }
    }
    connection.rest();
    let_others_run().await;
    connection.sleep(until.saturating_duration_since(world.now()));
}

/// Waits until Kafka has acknowledged more messages.
async fn changed(commits: Option<&Commits>) {
    match commits {
        Some(commits) => commits.changed().await,
        None => std::future::pending().await,
    }
}

/// Waits for the response to the HTTP request that is under way, if there is one.
async fn answer_of(asked: &mut Option<Asked>) -> Result<HttpResponse, OpenError> {
    match asked {
        Some(asked) => asked.await,
        None => std::future::pending().await,
    }
}

/// Whether another attempt can help after this error.
fn outlook(error: &OpenError) -> Outlook {
    match error.kind {
        OpenErrorKind::Status(400..=407 | 410)
        | OpenErrorKind::ProxyRefused
        | OpenErrorKind::Tls
        | OpenErrorKind::NameUnknown
        | OpenErrorKind::Handshake => Outlook::Hopeless,
        OpenErrorKind::ProxyStatus(status) if !(500..=599).contains(&status) => Outlook::Hopeless,
        OpenErrorKind::ProxyStatus(_)
        | OpenErrorKind::NameUnresolved
        | OpenErrorKind::Status(_)
        | OpenErrorKind::Tcp
        | OpenErrorKind::TimedOut => Outlook::Outage,
    }
}

fn lost(error: &std::io::Error) -> Ending {
    Ending::new(Cause::ConnectionError, format!("the connection was lost: {error}"))
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
            assert!(why.contains(message) && why.contains("which is a bug"), "{why}");
        }
        let why = panics_as_errors(after_a_while(|| std::panic::panic_any(5))).await.unwrap_err();
        assert!(why.contains("without a message"), "{why}");
    }

    fn error(kind: OpenErrorKind) -> OpenError {
        OpenError { kind, message: String::new(), retry_after: None, answer: None }
    }

    #[test]
    fn answers_that_will_hardly_change_are_no_outages() {
        use OpenErrorKind::{NameUnknown, NameUnresolved, ProxyRefused, ProxyStatus, Status, Tcp};
        for kind in [Status(401), Status(403), Status(404), NameUnknown, ProxyRefused, ProxyStatus(403)] {
            assert_eq!(outlook(&error(kind)), Outlook::Hopeless, "{kind:?}");
        }
        for kind in [Status(429), Status(500), Status(503), NameUnresolved, ProxyStatus(502), ProxyStatus(504), Tcp] {
            assert_eq!(outlook(&error(kind)), Outlook::Outage, "{kind:?}");
        }
    }
}
