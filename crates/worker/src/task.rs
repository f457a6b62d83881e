//! One task of a connector, as the herder sees it: its thread, its state, its metrics and its stop. What the thread
//! does is in [`line`].
//!
//! The session of the engine runs on the same thread, in the same single-threaded runtime. So a batch wakes no other
//! thread, and a task that is busy or broken does not disturb others.

mod again;
mod commit_window;
mod conversion;
mod destinations;
mod errors;
mod line;
mod offsets;
mod submitted;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use connect_websocket_engine::metrics::{Metrics, Snapshot};
use connect_websocket_engine::panic;
use connect_websocket_engine::redact::printable;
use connect_websocket_engine::task_id::TaskId;
use serde_json::Value;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tracing::{error, info_span};

use crate::config::WorkerConfig;
use crate::config::provider::Resolved;
use crate::store::OffsetStore;
use commit_window::CommitWindow;
use line::Line;

/// What a task is started with. Everything is checked already.
pub struct TaskSpec {
    pub id: TaskId,
    /// The connector's configuration with resolved references. It may contain secrets and is never shown.
    pub config: Resolved,
    pub worker: Arc<WorkerConfig>,
    pub offsets: Arc<OffsetStore>,
    pub paused: bool,
}

/// The states of `AbstractStatus.State` that a task can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    Unassigned,
    Running,
    Paused,
    Failed,
}

impl TaskState {
    /// Returns the state as Connect writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            TaskState::Unassigned => "UNASSIGNED",
            TaskState::Running => "RUNNING",
            TaskState::Paused => "PAUSED",
            TaskState::Failed => "FAILED",
        }
    }
}

/// What REST shows of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    pub state: TaskState,
    /// Why it failed.
    pub trace: Option<String>,
}

/// What the worker counts, in addition to the engine's counters.
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) records_acknowledged: AtomicU64,
    /// Records that a converter refused and `errors.tolerance=all` skipped. As in Connect, records that Kafka refused
    /// are not counted.
    pub(crate) records_skipped: AtomicU64,
    /// Refused records, skipped or not.
    pub(crate) record_errors: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    pub(crate) commits: Mutex<CommitWindow>,
}

/// A task's metrics at one moment.
#[derive(Debug, Clone, Default)]
pub struct TaskMetrics {
    pub engine: Snapshot,
    pub counters: Arc<Counters>,
    /// The feed's URL without secrets.
    pub url: String,
}

/// A running task, seen from the herder.
pub struct Task {
    shared: Arc<Shared>,
    done: watch::Receiver<bool>,
}

struct Shared {
    wanted: watch::Sender<Wanted>,
    status: watch::Sender<TaskStatus>,
    counters: Arc<Counters>,
    engine: OnceLock<(Arc<Metrics>, String)>,
    topics: Mutex<BTreeSet<String>>,
}

#[derive(Debug, Clone, Copy)]
struct Wanted {
    paused: bool,
    stop_by: Option<Instant>,
}

impl Task {
    /// Starts the task on its own thread. Never blocks. [`Task::status`] shows errors.
    pub fn start(spec: TaskSpec) -> Task {
        let state = if spec.paused { TaskState::Paused } else { TaskState::Running };
        let shared = Arc::new(Shared {
            wanted: watch::Sender::new(Wanted { paused: spec.paused, stop_by: None }),
            status: watch::Sender::new(TaskStatus { state, trace: None }),
            counters: Arc::default(),
            engine: OnceLock::new(),
            topics: Mutex::default(),
        });
        let (done_sender, done) = watch::channel(false);
        let (on_thread, id) = (shared.clone(), spec.id.clone());
        let spawned = std::thread::Builder::new().name(format!("task-{}", spec.id)).spawn(move || {
            let span = info_span!("task", connector = %spec.id.connector, task = spec.id.number);
            // A panic unwinds to here and becomes a FAILED task. The process keeps running.
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| span.in_scope(|| run(spec, &on_thread))));
            let result = result.unwrap_or_else(|panic| {
                let bug = || "the task panicked, which is a bug; the cause is in the log".to_owned();
                Err(panic::no_thread_left(&*panic).unwrap_or_else(bug))
            });
            span.in_scope(|| match result {
                Ok(()) => on_thread.set_state(TaskState::Unassigned),
                Err(why) => {
                    error!("event=task_failed reason=\"{}\"", printable(&why));
                    on_thread.status.send_replace(TaskStatus { state: TaskState::Failed, trace: Some(why) });
                }
            });
            done_sender.send_replace(true);
        });
        if let Err(why) = spawned {
            let trace = panic::no_thread(&why);
            error!(connector = id.connector, task = id.number, "event=task_failed reason=\"{trace}\"");
            shared.status.send_replace(TaskStatus { state: TaskState::Failed, trace: Some(trace) });
        }
        Task { shared, done }
    }

    /// Stops polling. The queue fills, and then the socket is no longer read. Nothing is lost.
    pub fn pause(&self) {
        self.shared.wanted.send_modify(|wanted| wanted.paused = true);
    }

    pub fn resume(&self) {
        self.shared.wanted.send_modify(|wanted| wanted.paused = false);
    }

    pub fn status(&self) -> TaskStatus {
        self.shared.status.borrow().clone()
    }

    /// Closes the connection, sends everything that was received to Kafka and stores the offsets, by the deadline at
    /// the latest.
    pub async fn stop(&self, deadline: Instant) {
        self.shared.wanted.send_modify(|wanted| {
            wanted.stop_by.get_or_insert(deadline);
        });
        let mut done = self.done.clone();
        // The thread itself obeys the deadline. The additional second is for its last steps. An error means that it has
        // ended.
        let _ = tokio::time::timeout_at((deadline + Duration::from_secs(1)).into(), done.wait_for(|done| *done)).await;
    }

    /// Returns the topics for which Kafka has acknowledged a record.
    pub fn active_topics(&self) -> Vec<String> {
        self.shared.topics.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Returns the latest entries of the ledger of gaps, oldest first.
    pub fn gaps(&self) -> Vec<Value> {
        self.shared.engine.get().map(|(metrics, _)| metrics.ledger()).unwrap_or_default()
    }

    pub fn metrics(&self) -> TaskMetrics {
        let engine = self.shared.engine.get();
        TaskMetrics {
            engine: engine.map(|(metrics, _)| metrics.snapshot()).unwrap_or_default(),
            counters: self.shared.counters.clone(),
            url: engine.map(|(_, url)| url.clone()).unwrap_or_default(),
        }
    }
}

impl Shared {
    fn set_state(&self, state: TaskState) {
        self.status.send_if_modified(|status| {
            let changed = status.state != state;
            status.state = state;
            changed
        });
    }

    /// Waits until the task is asked to stop.
    async fn stopped(&self) {
        let _ = self.wanted.subscribe().wait_for(|wanted| wanted.stop_by.is_some()).await;
    }
}

/// Runs the task, on its thread.
fn run(spec: TaskSpec, shared: &Arc<Shared>) -> Result<(), String> {
    let shared = shared.clone();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| format!("no runtime can be started for the task: {why}"))?;
    let line = async move {
        if !until_resumed(&shared).await {
            return Ok(());
        }
        let Some(mut line) = Line::open(spec, shared).await? else { return Ok(()) };
        let result = line.run().await;
        if result.is_err() {
            line.abandon().await;
        }
        result
    };
    // Spawned like the session: waking the future of `block_on` needs a system call, even from the same thread.
    runtime.block_on(runtime.spawn(line)).unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// Waits while the task is paused: as in Connect, a paused task connects only when it is resumed. Returns false if it
/// is stopped before.
async fn until_resumed(shared: &Shared) -> bool {
    let mut wanted = shared.wanted.subscribe();
    if wanted.borrow().paused {
        shared.set_state(TaskState::Paused);
    }
    let wanted = wanted.wait_for(|wanted| !wanted.paused || wanted.stop_by.is_some()).await;
    wanted.is_ok_and(|wanted| wanted.stop_by.is_none())
}
