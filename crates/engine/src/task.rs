//! The whole API that a host sees, in Kafka Connect's own verbs: start, poll, commit, stop.

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

/// A line of figures in the log comes this often while records flow.
const METRICS_LOG_INTERVAL: Duration = Duration::from_secs(30);
/// A session that has to end takes this much longer for its last steps, at most.
const LAST_STEPS: Duration = Duration::from_secs(1);

/// One running feed. Dropping it ends the connection without a closing handshake; [`SourceTask::stop`] has one.
pub struct SourceTask {
    config: Arc<Config>,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    stop: watch::Sender<Option<Instant>>,
    /// `None` if another one than the host's runtime runs it.
    session: Option<AbortHandle>,
    /// If the feed wants to hear what Kafka has.
    commits: Option<Arc<Commits>>,
    session_start: SessionStart,
    /// What the last task left, until Kafka has it all.
    takeover: Option<Takeover>,
    /// Records of it that wait until Kafka has taken something.
    aside: Option<Batch>,
    /// Kafka had everything up to this sequence at the start.
    stored: i64,
    /// How many records of it were polled.
    taken_over: u64,
    /// Records lost before the start, which the first connection's gap reports.
    missed: u64,
    next_sequence: i64,
    committed: i64,
    /// Of the records that the next commit covers, how many Kafka has not.
    left_out: u64,
    /// Polled and not committed: the last sequence and the time of receipt of each batch, oldest first.
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
    /// Starts the session on the host's runtime and returns; connecting happens there. A hand-over file of the last task
    /// is read once to check it, here and now: some 100 ms for one of 128 MiB.
    ///
    /// # Errors
    /// TLS files that cannot be used; everything else was refused by [`Config::parse`].
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

    /// Starts a session that is watched, without an offset and without a hand-over file.
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

    /// The task and its session, which nobody runs yet.
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
        // All that came before the last stored record did, or before the file was written, is there. What came before offsets
        // were last written need not be: Kafka may not have had it yet.
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

    /// The next records, those that the last task handed over first, or `None` if none came within `max_wait`. Cancel safe.
    ///
    /// # Errors
    /// Why the session cannot go on; it comes out after all that was received.
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

    /// The same without waiting; `None` while there is neither a batch nor the end.
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

    /// Whether there is something to poll, or the end.
    #[cfg(test)]
    pub(crate) fn has_something(&self) -> bool {
        self.queue.has_something()
    }

    /// Waits until something was received since the last look into the queue. Cancel safe.
    pub async fn received(&self) {
        self.queue.filled().await;
    }

    /// Of the records that the next [`SourceTask::commit`] covers, so many are not in Kafka: refused and skipped, which is a
    /// loss, or filtered on purpose.
    pub fn left_out(&mut self, skipped: u64, filtered: u64) {
        self.metrics.count(Counter::RecordsSkipped, skipped);
        self.metrics.count(Counter::RecordsFiltered, filtered);
        self.left_out += skipped + filtered;
    }

    /// Kafka has every record up to and including this sequence, but for those that were left out, and said so at that moment.
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

    /// Begins to stop: sends a Close and goes on receiving until it answers, for `grace` at most. Go on
    /// polling until [`SourceTask::is_drained`], or let [`SourceTask::hand_over`] keep the rest for the next start.
    pub fn stop(&mut self, grace: Duration) {
        self.stop_by(Instant::now() + grace);
    }

    /// The same, with the moment at which the grace ends.
    pub(crate) fn stop_by(&mut self, deadline: Instant) {
        self.stop.send_if_modified(|by| {
            let first = by.is_none();
            by.get_or_insert(deadline);
            first
        });
    }

    /// After [`SourceTask::stop`]: receives until the session is over or `deadline`, and writes all that was not polled to
    /// the hand-over file. Writing blocks; it takes as long as the disk takes. Nothing can be polled after it.
    pub async fn hand_over(&mut self, deadline: StdInstant) -> HandedOver {
        self.hand_over_with(std::iter::empty(), &BTreeSet::new(), deadline).await
    }

    /// The same, with records that were polled and are not in Kafka: all of them, in the order of their sequences. What Kafka
    /// has `refused` for good is left out, also of what an older file holds.
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
        // Without progress they are in the old file.
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

    /// Lets go of all that is not in Kafka: the feed sends it again, since the next start goes on from the stored position, or
    /// since it was not acknowledged.
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

    /// The next batch of a session that ends; nothing once it is over, or `deadline`.
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

    /// Whether the session is over and everything it received was polled, and with it what was lost.
    pub fn is_drained(&self) -> bool {
        let loses = self.config.ledger.is_some() && self.losses.are_untold(self.lost());
        self.drained && !loses
    }

    /// Where the host says of single records that Kafka has them, if the feed wants to hear it: from any thread.
    pub fn commits(&self) -> Option<Arc<Commits>> {
        self.commits.clone()
    }

    /// Part of every source offset.
    pub fn session_id(&self) -> &Arc<str> {
        &self.session_start.id
    }

    /// The first sequence that [`SourceTask::poll`] gives after the start. They grow by one, but for the records that a
    /// hand-over file leaves out.
    pub fn first_sequence(&self) -> i64 {
        self.takeover.as_ref().map_or(self.next_sequence, Takeover::first_sequence)
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// To be read from anywhere, at any time, also after the task is gone.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// The next batch of the last task's hand-over file.
    fn take_over(&mut self, now: Instant) -> Option<Batch> {
        match self.takeover.as_mut()?.next_batch() {
            Ok(Some(batch)) => {
                self.taken_over += batch.len() as u64;
                self.metrics.count(Counter::RecordsTakenOver, batch.len() as u64);
                Some(self.give_out(batch, now))
            }
            Ok(None) => None,
            Err(why) => {
                // It was whole when the task started: the disk has failed since.
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

    /// Records of the ledger for what was received and lost, if that is to be told now. They go past the queue, which may be full.
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

    /// How many records were dropped, and how many skipped.
    fn lost(&self) -> [u64; 2] {
        [self.metrics.dropped(), self.metrics.skipped()]
    }

    /// Gives the records of a batch their sequences.
    fn number(&mut self, mut batch: Batch) -> Batch {
        batch.set_first_sequence(self.next_sequence);
        self.next_sequence += batch.len() as i64;
        batch
    }

    /// Records whose loss no gap has reported, because there was no connection yet.
    fn unreported(&mut self) -> u64 {
        // Asked for with every batch, so nothing is looked at once there is nothing to tell.
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

/// What a new session goes on from: where the hand-over file's last record stands, or else the stored offset.
fn past(config: &Config, stored: Option<&StoredOffset>, file: Option<&StoredOffset>, down: Option<Down>) -> Past {
    let from = file.or(stored).cloned().unwrap_or_default();
    let carried = Carried::stored(&config.plan, &from.position, &from.keyed);
    Past { worked: stored.is_some(), down, carried, memory: Memory::stored(from) }
}

/// A restart that is reported twice, since the first one's record did not get its offset stored, has one id.
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
