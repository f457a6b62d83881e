//! The interface to the host. Its methods are named as in Kafka Connect: start, poll, commit, stop.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, info, info_span};

use crate::commits::Commits;
use crate::config::Config;
use crate::dialogue::Carried;
use crate::error::Error;
use crate::figures::Counter;
use crate::gap::{Cause, Gap};
use crate::handover::{self, Found, HandedOver, Outgoing, SessionStart, Takeover};
use crate::intake::memory::Memory;
use crate::ledger;
use crate::losses::Losses;
use crate::metrics::Metrics;
use crate::mutation::Mutation;
use crate::observer::{Observer, Watched};
use crate::offset::StoredOffset;
use crate::queue::{Popped, Queue};
use crate::record::{Batch, Record, epoch_ms};
use crate::session::observed::ObservedWorld;
use crate::session::world::{Sockets, World};
use crate::session::{Down, Past, Session};

/// How often the log gets a line of metrics while there are records.
const METRICS_LOG_INTERVAL: Duration = Duration::from_secs(30);
/// How long a session may take for its last steps after its deadline.
const LAST_STEPS: Duration = Duration::from_secs(1);

/// A running task. Dropping it ends the connection without a closing handshake. [`SourceTask::stop`] makes one.
pub struct SourceTask {
    config: Arc<Config>,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    stop: watch::Sender<Option<Instant>>,
    /// `None` if the session does not run on the host's runtime, but in a simulation.
    session: Option<AbortHandle>,
    /// Only if the feed is acknowledged.
    commits: Option<Arc<Commits>>,
    session_start: SessionStart,
    /// The hand-over file of the last task, until Kafka has all its records.
    takeover: Option<Takeover>,
    /// Records of that file that are set aside until Kafka has taken a record.
    aside: Option<Batch>,
    /// The stored sequence at the start.
    stored: i64,
    /// How many records of the hand-over file were polled.
    taken_over: u64,
    /// Records lost before the start, which the first connection's gap reports.
    missed: u64,
    next_sequence: i64,
    committed: i64,
    /// How many of the records that the next commit covers are not in Kafka.
    left_out: u64,
    /// Polled batches that are not committed, oldest first.
    uncommitted: VecDeque<Uncommitted>,
    drained: bool,
    losses: Losses,
    metrics_logged: Instant,
}

struct Uncommitted {
    last_sequence: i64,
    received_ms: i64,
    records: u64,
}

impl SourceTask {
    /// Starts the session on the host's runtime, which then connects, and returns. Before that, it reads the hand-over
    /// file of the last task once to check it. For 128 MiB this takes about 100 ms.
    ///
    /// # Errors
    /// TLS files that cannot be used. [`Config::parse`] has refused everything else.
    pub fn start(config: Config, stored: Option<StoredOffset>, runtime: &Handle) -> Result<SourceTask, Error> {
        let config = Arc::new(config);
        let tls = config.tls.client_config().map_err(Error::fatal)?;
        let found = {
            let _in_span = info_span!("handover", connector_name = %config.name).entered();
            handover::find(&config, stored.as_ref())
        };
        let sockets = Sockets::new(&config, tls);
        let (task, session) = SourceTask::new(sockets, config, stored, found);
        Ok(task.run(session, runtime))
    }

    /// Starts a session with an observer, without an offset and without a hand-over file.
    ///
    /// # Errors
    /// TLS files that cannot be used.
    pub fn start_watched(config: Config, observer: Arc<dyn Observer>, runtime: &Handle) -> Result<SourceTask, Error> {
        let config = Arc::new(Config { handover: None, ..config });
        let watched = Watched::by(observer);
        let tls = config.tls.watched_config(watched.clone()).map_err(Error::fatal)?;
        let world = Sockets::new(&config, tls).watched_by(watched.clone());
        let (task, session) = SourceTask::new(ObservedWorld { world, watched }, config, None, Found::default());
        Ok(task.run(session, runtime))
    }

    fn run<W: World + Send + Sync + 'static>(mut self, session: Session<W>, runtime: &Handle) -> SourceTask
    where
        W::Wire: Send,
    {
        let task = &mut self;
        let config = &task.config;
        let (session_id, sequence) = (task.session_id(), task.next_sequence);
        let span = info_span!(
            "session",
            connector_name = %config.name,
            websocket_url = %config.endpoint,
            kafka_topic = %config.topic,
            session_id = %session_id,
        );
        {
            let _in_span = span.enter();
            info!("event=task_starting url={} topic={}", config.endpoint, config.topic);
            info!("event=session_initialized session_id={session_id} sequence={sequence}");
        }
        task.session = Some(runtime.spawn(session.run().instrument(span)).abort_handle());
        self
    }

    /// Returns a task and its session. The caller runs the session.
    pub(crate) fn new<W: World>(
        world: W,
        config: Arc<Config>,
        stored: Option<StoredOffset>,
        found: Found,
    ) -> (SourceTask, Session<W>) {
        let Found { takeover, aside, session, written_at, lost, position } = found;
        let metrics = Arc::new(Metrics::new(config.queue.records, config.queue.bytes));
        let queue = Arc::new(Queue::new(config.queue, metrics.clone()));
        let (stop, stopped) = watch::channel(None);
        let stored_sequence = stored.as_ref().map_or(0, |stored| stored.sequence);
        let resumed = stored_sequence.saturating_add(1);
        let session_start = session
            .unwrap_or_else(|| SessionStart { id: uuid::Uuid::new_v4().to_string().into(), first_sequence: resumed });
        let next_sequence = takeover.as_ref().map_or(resumed, |file| file.last_sequence().saturating_add(1));
        // Everything received before the last stored record, or before the hand-over file was written, is in Kafka or
        // in that file. That is not so for the time at which offsets were last written: Kafka may not have had
        // everything by then.
        let began = written_at.max(stored.as_ref().and_then(StoredOffset::at));
        let began = began.filter(|_| !Mutation::RestartBeginsWithTheFlush.is_on());
        let began = began.or(stored.as_ref().and_then(|stored| stored.written_at));
        let began = began.or(lost.as_ref().and_then(|lost| lost.since));
        let missed = lost.as_ref().and_then(|lost| lost.records);
        let down = (stored.is_some() || takeover.is_some() || lost.is_some()).then(|| Down {
            began,
            cause: Cause::Restart,
            missed,
            id: Some(restart_id(&config, stored.as_ref())),
        });
        let past = past(&config, stored.as_ref(), position.as_ref(), down);
        let commits = config.plan.acknowledges().then(Arc::<Commits>::default);
        let session =
            Session::new(world, config.clone(), queue.clone(), metrics.clone(), stopped, commits.clone(), past);
        let task = SourceTask {
            config,
            queue,
            metrics,
            stop,
            session: None,
            commits,
            session_start,
            takeover,
            aside,
            taken_over: 0,
            stored: stored_sequence,
            missed: missed.unwrap_or_default(),
            next_sequence,
            committed: stored_sequence,
            left_out: 0,
            uncommitted: VecDeque::new(),
            drained: false,
            losses: Losses::default(),
            metrics_logged: Instant::now(),
        };
        (task, session)
    }

    /// Returns the next records, or `None` if there were none within `max_wait`. Records of a hand-over file come
    /// first. Cancel safe.
    ///
    /// # Errors
    /// Why the session cannot continue. It is returned after everything that was received.
    pub async fn poll(&mut self, max_wait: Duration) -> Result<Option<Batch>, Error> {
        let deadline = Instant::now() + max_wait;
        loop {
            if let Some(polled) = self.poll_now(Instant::now(), SystemTime::now()) {
                return polled;
            }
            if timeout_at(deadline, self.queue.filled()).await.is_err() {
                return Ok(None);
            }
        }
    }

    /// The same without waiting. Returns `None` if there is neither a batch nor the end.
    pub(crate) fn poll_now(&mut self, now: Instant, at: SystemTime) -> Option<Result<Option<Batch>, Error>> {
        if let Some(batch) = self.take_over(now) {
            return Some(Ok(Some(batch)));
        }
        if let Some(batch) = self.aside.take_if(|_| self.committed > self.stored) {
            self.metrics.count(Counter::RecordsTakenOver, batch.len() as u64);
            let batch = self.number(batch);
            return Some(Ok(Some(self.give_out(batch, now))));
        }
        let popped = self.queue.pop();
        if let Popped::Batch(batch) = popped {
            let batch = self.number(batch);
            return Some(Ok(Some(self.give_out(batch, now))));
        }
        if let Some(batch) = self.tell_losses(now, at, matches!(popped, Popped::End(_))) {
            return Some(Ok(Some(batch)));
        }
        match popped {
            Popped::End(result) => {
                self.drained = true;
                Some(result.map(|()| None))
            }
            Popped::Batch(_) | Popped::Empty => None,
        }
    }

    /// Whether there is a batch to poll, or the end.
    #[cfg(test)]
    pub(crate) fn has_something(&self) -> bool {
        self.queue.has_something()
    }

    /// Waits until the queue has got something since the last call. Cancel safe.
    pub async fn received(&self) {
        self.queue.filled().await;
    }

    /// Notes how many of the records that the next [`SourceTask::commit`] covers are not in Kafka: they were refused
    /// and skipped, which is a loss, or filtered on purpose.
    pub fn left_out(&mut self, skipped: u64, filtered: u64) {
        self.metrics.count(Counter::RecordsSkipped, skipped);
        self.metrics.count(Counter::RecordsFiltered, filtered);
        self.left_out += skipped + filtered;
    }

    /// Notes that Kafka has acknowledged every record up to and including this sequence, except those that were left
    /// out. `at`: when it did.
    pub fn commit(&mut self, sequence: i64, at: SystemTime) {
        let at_ms = epoch_ms(at);
        self.committed = self.committed.max(sequence);
        if let Some(file) = self.takeover.take_if(|file| file.last_sequence() <= sequence) {
            file.delivered();
        }
        while let Some(batch) = self.uncommitted.front_mut() {
            let open = (batch.last_sequence - sequence).max(0) as u64;
            let done = batch.records.saturating_sub(open);
            let left_out = done.min(self.left_out);
            self.left_out -= left_out;
            self.metrics.committed(done - left_out, at_ms.saturating_sub(batch.received_ms).max(0) as u64);
            batch.records -= done;
            if batch.records > 0 {
                break;
            }
            self.uncommitted.pop_front();
        }
    }

    /// Begins to stop: sends a Close and receives until the server replies, for `grace` at most. Continue to poll until
    /// [`SourceTask::is_drained`], or let [`SourceTask::hand_over`] keep the rest for the next start.
    pub fn stop(&mut self, grace: Duration) {
        self.stop_by(Instant::now() + grace);
    }

    /// The same, with a deadline.
    pub(crate) fn stop_by(&mut self, deadline: Instant) {
        self.stop.send_if_modified(|by| {
            let first = by.is_none();
            by.get_or_insert(deadline);
            first
        });
    }

    /// After [`SourceTask::stop`]: receives until the session ends, or until `deadline`, and writes everything that was
    /// not polled to the hand-over file. Writing blocks the thread. Nothing can be polled afterwards.
    pub async fn hand_over(&mut self, deadline: StdInstant) -> HandedOver {
        self.hand_over_with(std::iter::empty(), &BTreeSet::new(), deadline).await
    }

    /// The same, with `returned`: all records that were polled and are not in Kafka, in the order of their sequences.
    /// Records that Kafka has finally `refused` are not written, and neither are those in an older file.
    pub async fn hand_over_with<'a>(
        &mut self,
        returned: impl Iterator<Item = Record<'a>>,
        refused: &BTreeSet<i64>,
        deadline: StdInstant,
    ) -> HandedOver {
        let deadline = Instant::from_std(deadline);
        self.stop.send_modify(|by| *by = Some(by.map_or(deadline, |by| by.min(deadline))));
        let (config, session_start) = (self.config.clone(), self.session_start.clone());
        if self.commits.is_some() || self.committed > 0 && config.resumes() {
            return self.leave_to_the_feed(returned, deadline).await;
        }
        if let Some(file) = self.takeover.as_ref().filter(|_| self.taken_over > 0) {
            handover::note_progress(&config, file, self.committed);
        }
        // Without progress, the records that were set aside are still in the old file.
        let aside = self.aside.take().filter(|_| self.committed > self.stored).map(|batch| self.number(batch));
        let mut outgoing = Outgoing::new(&config, &session_start, self.committed, self.takeover.take(), refused);
        returned.for_each(|record| outgoing.add(&record));
        aside.iter().flat_map(Batch::iter).for_each(|record| outgoing.add(&record));
        while let Some(batch) = self.last_batch(deadline).await {
            self.number(batch).iter().for_each(|record| outgoing.add(&record));
        }
        if let Some(batch) = self.tell_losses(Instant::now(), SystemTime::now(), true) {
            batch.iter().for_each(|record| outgoing.add(&record));
        }
        self.drained = true;
        let unreported = self.unreported();
        outgoing.finish(&self.metrics, unreported)
    }

    /// Drops everything that is not in Kafka. The feed sends it again, because the next start resumes from the stored
    /// position, or because it was not acknowledged.
    async fn leave_to_the_feed<'a>(
        &mut self,
        returned: impl Iterator<Item = Record<'a>>,
        deadline: Instant,
    ) -> HandedOver {
        let mut left = returned.count();
        if let Some(file) = self.takeover.take() {
            file.superseded();
        }
        left += self.aside.take().map_or(0, |batch| batch.len());
        while let Some(batch) = self.last_batch(deadline).await {
            left += batch.len();
        }
        self.drained = true;
        if left > 0 {
            info!("event=records_left_to_the_feed records={left}");
        }
        HandedOver::default()
    }

    /// Returns the next batch of a session that is stopping, or `None` at its end or at the deadline.
    async fn last_batch(&mut self, deadline: Instant) -> Option<Batch> {
        loop {
            match self.queue.pop() {
                Popped::Batch(batch) => return Some(batch),
                Popped::End(_) => return None,
                Popped::Empty => {
                    if timeout_at(deadline + LAST_STEPS, self.queue.filled()).await.is_err() {
                        self.session.iter().for_each(AbortHandle::abort);
                        return None;
                    }
                }
            }
        }
    }

    /// Whether the session has ended, and everything it received was polled, with the ledger's records of losses.
    pub fn is_drained(&self) -> bool {
        let loses = self.config.ledger.is_some() && self.losses.are_untold(self.lost());
        self.drained && !loses
    }

    /// Returns where the host reports single records that Kafka has, if the feed is acknowledged. It can be used in any
    /// thread.
    pub fn commits(&self) -> Option<Arc<Commits>> {
        self.commits.clone()
    }

    /// The session's id, which is part of every source offset.
    pub fn session_id(&self) -> &Arc<str> {
        &self.session_start.id
    }

    /// The sequence of the first polled record. Sequences grow by one. In records of a hand-over file, numbers can be
    /// missing.
    pub fn first_sequence(&self) -> i64 {
        self.takeover.as_ref().map_or(self.next_sequence, Takeover::first_sequence)
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The task's metrics. They can be read in any thread, also after the end of the task.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// Returns the next batch of the last task's hand-over file.
    fn take_over(&mut self, now: Instant) -> Option<Batch> {
        match self.takeover.as_mut()?.next_batch() {
            Ok(Some(batch)) => {
                self.taken_over += batch.len() as u64;
                self.metrics.count(Counter::RecordsTakenOver, batch.len() as u64);
                Some(self.give_out(batch, now))
            }
            Ok(None) => None,
            Err(why) => {
                // The file was valid when the task started. So the disk has failed since then.
                let lost = self.takeover.take()?.broken(why, self.taken_over);
                let (ended, cause) = (SystemTime::now(), Cause::Restart);
                let (id, began, missed) = (Gap::random_id(), lost.since, lost.records);
                let gap = Gap { id, began, ended, cause, missed, range: None, repaired: false };
                let entry = ledger::entry(&gap, None, &self.config.task_id());
                self.metrics.gap(gap, entry);
                None
            }
        }
    }

    /// Returns records of the ledger about received and lost records, if they are due. They do not go through the
    /// queue, which may be full.
    fn tell_losses(&mut self, now: Instant, at: SystemTime, last: bool) -> Option<Batch> {
        let config = self.config.clone();
        let ledger = config.ledger.as_ref()?;
        let gaps = self.losses.due(self.lost(), now, at, last);
        let mut batch = Batch::default();
        for gap in gaps {
            let entry = ledger::entry(&gap, None, &config.task_id());
            info!("event=gap cause={} missed={}", gap.cause, gap.missed.unwrap_or_default());
            ledger::add(ledger, &gap, &entry, &mut batch, |record| self.losses.write_beside(record));
            self.metrics.gap(gap, entry);
        }
        if batch.is_empty() {
            return None;
        }
        let batch = self.number(batch);
        Some(self.give_out(batch, now))
    }

    /// Returns how many records were dropped, and how many were skipped.
    fn lost(&self) -> [u64; 2] {
        [self.metrics.dropped(), self.metrics.skipped()]
    }

    /// Gives the records of a batch their sequences.
    fn number(&mut self, mut batch: Batch) -> Batch {
        batch.set_first_sequence(self.next_sequence);
        self.next_sequence += batch.len() as i64;
        batch
    }

    /// Returns how many records were lost and not reported by a gap yet, because there was no connection yet.
    fn unreported(&mut self) -> u64 {
        // Called for every batch, so the check is short once there is nothing to report.
        let missed = std::mem::take(&mut self.missed);
        if missed == 0 || self.metrics.snapshot()[Counter::Connections] > 0 { 0 } else { missed }
    }

    fn give_out(&mut self, batch: Batch, now: Instant) -> Batch {
        self.metrics.count(Counter::RecordsPolled, batch.len() as u64);
        if self.config.ledger.is_some() {
            self.losses.given_out(&batch);
        }
        self.uncommitted.push_back(Uncommitted {
            last_sequence: batch.last_sequence(),
            received_ms: batch.oldest_received_ms().unwrap_or_default(),
            records: batch.len() as u64,
        });
        if now.saturating_duration_since(self.metrics_logged) >= METRICS_LOG_INTERVAL {
            self.metrics_logged = now;
            let now = self.metrics.snapshot();
            info!(
                "event=task_metrics messages_received={} records_produced={} messages_dropped={} queue_records={} queue_bytes={} reconnects={}",
                now[Counter::MessagesReceived],
                now[Counter::RecordsCommitted],
                now.dropped(),
                now.queue_records,
                now.queue_bytes,
                now.reconnects_total(),
            );
        }
        batch
    }
}

/// What a new session resumes from: the position of the hand-over file's last record, or otherwise the stored offset.
fn past(config: &Config, stored: Option<&StoredOffset>, file: Option<&StoredOffset>, down: Option<Down>) -> Past {
    let from = file.or(stored).cloned().unwrap_or_default();
    let carried = Carried::stored(&config.plan, &from.position, &from.keyed);
    Past { worked: stored.is_some(), down, carried, memory: Memory::stored(from) }
}

/// Returns the id of a restart's gap. It depends on the stored offset, so a gap that is reported twice has the same id.
fn restart_id(config: &Config, stored: Option<&StoredOffset>) -> String {
    let session = stored.and_then(|stored| stored.session_id.as_deref()).unwrap_or_default();
    let sequence = stored.map_or(0, |stored| stored.sequence).to_string();
    Gap::id_of(&[&config.name, &config.partition, Cause::Restart.as_str(), session, &sequence])
}

impl Drop for SourceTask {
    fn drop(&mut self) {
        self.session.iter().for_each(AbortHandle::abort);
        let unreported = self.unreported();
        handover::carry(&self.config, unreported);
    }
}
