//! The whole API that a host sees, in Kafka Connect's own verbs: start, poll, commit, stop.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, info, info_span, warn};

use crate::config::Config;
use crate::error::Error;
use crate::metrics::{Cause, Metrics};
use crate::offset::{SourceOffset, StoredOffset};
use crate::queue::{Popped, Queue};
use crate::record::{Batch, epoch_ms};
use crate::session::{Down, Session};

/// A line of figures in the log comes this often while records flow.
const METRICS_LOG_INTERVAL: Duration = Duration::from_secs(30);

/// One running feed. Dropping it ends the connection without a goodbye; [`SourceTask::stop`] is the polite way.
pub struct SourceTask {
    config: Arc<Config>,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    stop: watch::Sender<Option<Instant>>,
    session: JoinHandle<()>,
    session_id: Arc<str>,
    next_sequence: i64,
    /// Polled and not committed: the last sequence and the time of receipt of each batch, oldest first.
    uncommitted: VecDeque<Uncommitted>,
    drained: bool,
    metrics_logged: Instant,
}

struct Uncommitted {
    last_sequence: i64,
    received_ms: i64,
    records: u64,
}

impl SourceTask {
    /// Starts the session on the host's runtime and returns at once; connecting happens there.
    ///
    /// # Errors
    /// TLS files that cannot be used; everything else was refused by [`Config::parse`].
    pub fn start(config: Config, stored: Option<StoredOffset>, runtime: &Handle) -> Result<SourceTask, Error> {
        let config = Arc::new(config);
        let tls = config.tls.client_config().map_err(Error::fatal)?;
        let metrics = Arc::new(Metrics::new(config.queue.records, config.queue.bytes));
        let queue = Arc::new(Queue::new(config.queue, metrics.clone()));
        let session_id: Arc<str> = uuid::Uuid::new_v4().to_string().into();
        let (stop, stopped) = watch::channel(None);
        let down = stored.map(|stored| Down { began: stored.written_at, cause: Cause::Restart });
        let session = Session::new(config.clone(), tls, queue.clone(), metrics.clone(), stopped, down);
        let span = info_span!(
            "session",
            connector_name = %config.name,
            websocket_url = %config.endpoint,
            kafka_topic = %config.topic,
            session_id = %session_id,
        );
        let next_sequence = stored.map_or(1, |stored| stored.sequence.saturating_add(1));
        {
            let _in_span = span.enter();
            info!("event=task_starting url={} topic={}", config.endpoint, config.topic);
            info!("event=session_initialized session_id={session_id} sequence={next_sequence}");
            if config.ignored_headers > 0 {
                warn!("event=headers_ignored count={} reason=\"a pair without a colon\"", config.ignored_headers);
            }
        }
        Ok(SourceTask {
            config,
            queue,
            metrics,
            stop,
            session: runtime.spawn(session.run().instrument(span)),
            session_id,
            next_sequence,
            uncommitted: VecDeque::new(),
            drained: false,
            metrics_logged: Instant::now(),
        })
    }

    /// The next records, or `None` if none came within `max_wait`. Cancel safe.
    ///
    /// # Errors
    /// Why the session cannot go on; it comes out after all that was received.
    pub async fn poll(&mut self, max_wait: Duration) -> Result<Option<Batch>, Error> {
        let deadline = Instant::now() + max_wait;
        loop {
            match self.queue.pop() {
                Popped::Batch(batch) => return Ok(Some(self.give_out(batch))),
                Popped::End(result) => {
                    self.drained = true;
                    return result.map(|()| None);
                }
                Popped::Empty => {}
            }
            if timeout_at(deadline, self.queue.filled()).await.is_err() {
                return Ok(None);
            }
        }
    }

    /// Kafka has every record up to and including this sequence.
    pub fn commit(&mut self, sequence: i64) {
        let now_ms = epoch_ms(SystemTime::now());
        while let Some(batch) = self.uncommitted.front_mut() {
            let open = (batch.last_sequence - sequence).max(0) as u64;
            let done = batch.records.saturating_sub(open);
            self.metrics.committed(done, now_ms.saturating_sub(batch.received_ms).max(0) as u64);
            batch.records -= done;
            if batch.records > 0 {
                break;
            }
            self.uncommitted.pop_front();
        }
    }

    /// Begins to stop: says goodbye to the server and goes on receiving until it answers, for `grace` at most. Go on
    /// polling until [`SourceTask::is_drained`].
    pub fn stop(&mut self, grace: Duration) {
        self.stop.send_if_modified(|by| {
            let first = by.is_none();
            by.get_or_insert(Instant::now() + grace);
            first
        });
    }

    /// Whether the session is over and everything it received was polled.
    pub fn is_drained(&self) -> bool {
        self.drained
    }

    pub fn offset(&self, sequence: i64) -> SourceOffset {
        SourceOffset { session_id: self.session_id.clone(), sequence }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// To be read from anywhere, at any time, also after the task is gone.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    fn give_out(&mut self, mut batch: Batch) -> Batch {
        batch.set_first_sequence(self.next_sequence);
        self.next_sequence += batch.len() as i64;
        self.metrics.polled(batch.len() as u64);
        self.uncommitted.push_back(Uncommitted {
            last_sequence: batch.last_sequence(),
            received_ms: batch.oldest_timestamp_ms().unwrap_or_default(),
            records: batch.len() as u64,
        });
        if self.metrics_logged.elapsed() >= METRICS_LOG_INTERVAL {
            self.metrics_logged = Instant::now();
            let now = self.metrics.snapshot();
            info!(
                "event=task_metrics messages_received={} records_produced={} messages_dropped={} queue_records={} queue_bytes={} reconnects={}",
                now.messages_received,
                now.records_committed,
                now.dropped(),
                now.queue_records,
                now.queue_bytes,
                now.reconnects_total(),
            );
        }
        batch
    }
}

impl Drop for SourceTask {
    fn drop(&mut self) {
        self.session.abort();
    }
}
