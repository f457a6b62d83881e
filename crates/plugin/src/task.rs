//! The tasks that Java has started, by handle. A handle is never used again, so that a late call (`commitRecord` after
//! `stop`, a JMX client) finds no task, and not another one.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant, SystemTime};

use connect_websocket_engine::commits::Commits;
use connect_websocket_engine::config::Config;
use connect_websocket_engine::error::Error;
use connect_websocket_engine::handover::HandedOver;
use connect_websocket_engine::metrics::Metrics;
use connect_websocket_engine::offset::StoredOffset;
use connect_websocket_engine::panic::no_thread;
use connect_websocket_engine::record::{Batch, ValueKind};
use connect_websocket_engine::task::SourceTask;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tracing::{Span, warn};

use crate::{batch, failure, log};

/// How long an idle poll waits. Connect polls again at once, and checks between two polls whether to stop.
const POLL_WAIT: Duration = Duration::from_secs(1);
/// The time for the closing handshake and the hand-over file. Connect gives a task five seconds
/// (`task.shutdown.graceful.timeout.ms`), of which a poll may have used one.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// How much of it the server may take to reply to the Close.
const CLOSING: Duration = Duration::from_millis(1500);

static TASKS: Mutex<BTreeMap<i64, Arc<Task>>> = Mutex::new(BTreeMap::new());
static NEXT_HANDLE: AtomicI64 = AtomicI64::new(1);

/// A running task. Its session has its own thread with a single-threaded runtime, so a task that is busy or broken does
/// not disturb others.
pub(crate) struct Task {
    handle: i64,
    source: Mutex<Source>,
    metrics: Arc<Metrics>,
    /// Where to report records that Kafka has, if the feed is acknowledged.
    commits: Option<Arc<Commits>>,
    /// What Java shows and stores: the URL without secrets, the session's id, the topic, the source partition.
    pub(crate) identity: [String; 4],
    runtime: Handle,
    /// The runtime ends when this is dropped.
    _running: oneshot::Sender<()>,
    span: Span,
}

struct Source {
    task: SourceTask,
    /// A polled batch that did not fit into the buffer.
    too_large: Option<Batch>,
    /// The counts that the engine has got already.
    left_out: LeftOut,
    /// The warning that is logged with the first record of bytes.
    warning_of_bytes: Option<String>,
}

/// What Kafka has acknowledged, as Java reports it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    /// Up to which sequence Kafka has everything, except records that were left out, and since when.
    committed: Option<(i64, SystemTime)>,
    left_out: LeftOut,
}

/// How many of the records up to the committed sequence are not in Kafka, since the start.
#[derive(Debug, Clone, Copy, Default)]
struct LeftOut {
    skipped: u64,
    filtered: u64,
}

impl Progress {
    pub(crate) fn new(committed: i64, at_ms: i64, [skipped, filtered]: [i64; 2]) -> Progress {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(at_ms).unwrap_or_default());
        let count = |count| u64::try_from(count).unwrap_or_default();
        Progress {
            committed: (committed >= 0).then_some((committed, at)),
            left_out: LeftOut { skipped: count(skipped), filtered: count(filtered) },
        }
    }
}

impl Source {
    fn warn_of_bytes(&mut self, batch: &Batch) {
        if self.warning_of_bytes.is_some()
            && batch.iter().any(|record| record.kind == ValueKind::Bytes)
            && let Some(warning) = self.warning_of_bytes.take()
        {
            warn!("event=binary_message message=\"{warning}\"");
        }
    }

    fn commit(&mut self, Progress { committed, left_out }: Progress) {
        let Some((sequence, at)) = committed else { return };
        let counted = std::mem::replace(&mut self.left_out, left_out);
        self.task.left_out(
            left_out.skipped.saturating_sub(counted.skipped),
            left_out.filtered.saturating_sub(counted.filtered),
        );
        self.task.commit(sequence, at);
    }
}

/// The result of a poll.
pub(crate) enum Polled {
    /// This number of records is in the buffer.
    Records(usize),
    /// A batch waits for a buffer of this size.
    NeedsBuffer(usize),
}

/// Starts a task and returns its handle.
///
/// # Errors
/// TLS files that cannot be used, or no thread or runtime.
pub(crate) fn start(
    config: Config,
    stored: Option<StoredOffset>,
    warning_of_bytes: Option<String>,
) -> Result<i64, Error> {
    let handle = NEXT_HANDLE.fetch_add(1, Relaxed);
    let span = log::open(handle);
    let started = Task::start(handle, config, stored, warning_of_bytes, span).inspect_err(|_| log::close(handle))?;
    tasks().insert(handle, Arc::new(started));
    Ok(handle)
}

/// Returns the task with this handle, unless it is closed.
pub(crate) fn get(handle: i64) -> Option<Arc<Task>> {
    tasks().get(&handle).cloned()
}

/// Forgets a task. Its thread ends with the last call that uses the task, usually this one.
pub(crate) fn close(handle: i64) {
    drop(tasks().remove(&handle));
    log::close(handle);
}

fn tasks() -> MutexGuard<'static, BTreeMap<i64, Arc<Task>>> {
    lock(&TASKS)
}

/// A poisoned lock is used all the same: no call depends on a change that a panic can have interrupted.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Task {
    fn start(
        handle: i64,
        config: Config,
        stored: Option<StoredOffset>,
        warning_of_bytes: Option<String>,
        span: Span,
    ) -> Result<Task, Error> {
        let (running, stopped) = oneshot::channel::<()>();
        let (sender, receiver) = mpsc::channel();
        std::thread::Builder::new()
            .name(format!("websocket-{}", config.name))
            .spawn(move || {
                let runtime = Builder::new_current_thread().enable_all().build();
                let _ =
                    sender.send(runtime.as_ref().map(|runtime| runtime.handle().clone()).map_err(|e| e.to_string()));
                if let Ok(runtime) = runtime {
                    // Waits until the sender is dropped, which is an error here. Nothing is ever sent.
                    let _ = runtime.block_on(stopped);
                }
            })
            .map_err(|error| Error::retriable(no_thread(&error)))?;
        let runtime = receiver
            .recv()
            .unwrap_or_else(|error| Err(error.to_string()))
            .map_err(|error| Error::retriable(format!("no runtime can be started for the task: {error}")))?;
        let (url, topic) = (config.endpoint.redacted().to_owned(), config.topic.clone());
        let partition = config.partition.clone();
        let task = span.in_scope(|| SourceTask::start(config, stored, &runtime))?;
        let identity = [url, task.session_id().to_string(), topic, partition];
        Ok(Task {
            handle,
            metrics: task.metrics(),
            commits: task.commits(),
            source: Mutex::new(Source { task, too_large: None, left_out: LeftOut::default(), warning_of_bytes }),
            identity,
            runtime,
            _running: running,
            span,
        })
    }

    /// Waits for records and writes them into the buffer.
    ///
    /// # Errors
    /// Why the session cannot continue. It is returned after everything that was received. A panic too, without
    /// secrets.
    pub(crate) fn poll(&self, buffer: &mut [u8], progress: Progress) -> Result<Polled, Error> {
        catch_unwind(AssertUnwindSafe(|| self.poll_source(buffer, progress))).unwrap_or_else(|panic| {
            let sentence = failure::panic_sentence(panic.as_ref());
            Err(Error::fatal(lock(&self.source).task.config().redactor.hide(&sentence)))
        })
    }

    /// Whether Java should fetch log lines.
    pub(crate) fn log_lines_wait(&self) -> bool {
        log::is_waiting(self.handle)
    }

    fn poll_source(&self, buffer: &mut [u8], progress: Progress) -> Result<Polled, Error> {
        let mut source = lock(&self.source);
        let _in_span = self.span.enter();
        #[cfg(debug_assertions)]
        panic_if_asked(&source.task.config().name);
        source.commit(progress);
        let batch = match source.too_large.take() {
            Some(batch) => Some(batch),
            None => self.runtime.block_on(source.task.poll(POLL_WAIT))?,
        };
        let Some(batch) = batch else {
            return Ok(Polled::Records(0));
        };
        if batch::write(&batch, buffer).is_err() {
            let size = batch::size(&batch);
            source.too_large = Some(batch);
            return Ok(Polled::NeedsBuffer(size));
        }
        source.warn_of_bytes(&batch);
        Ok(Polled::Records(batch.len()))
    }

    /// Closes the connection, and keeps the records that Connect no longer takes for the next start.
    pub(crate) fn stop(&self, progress: Progress) -> HandedOver {
        let mut source = lock(&self.source);
        let _in_span = self.span.enter();
        source.commit(progress);
        let source = &mut *source;
        let too_large = source.too_large.take();
        let returned = too_large.iter().flat_map(Batch::iter);
        source.task.stop(CLOSING);
        self.runtime.block_on(source.task.hand_over_with(returned, &BTreeSet::new(), Instant::now() + STOP_WITHIN))
    }

    /// Notes acknowledged records of a message. Connect's producer calls it, also during a poll.
    pub(crate) fn acknowledged(&self, message: i64, records: u64) {
        if let Some(commits) = &self.commits {
            commits.acknowledged(message, records);
        }
    }

    pub(crate) fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }
}

/// In a debug build, panics for one connector, so that tests can check what follows.
#[cfg(debug_assertions)]
fn panic_if_asked(connector: &str) {
    assert!(
        std::env::var("CONNECT_WEBSOCKET_TEST_PANIC").as_deref() != Ok(connector),
        "{connector} was asked to panic"
    );
}
