//! One task of a connector: its own thread, on which everything between socket and producer happens.

use std::sync::Arc;
use std::time::Instant;

use connect_websocket_engine::config_def::Properties;

use crate::config::WorkerConfig;

/// What a task is made from; all of it checked before.
pub struct TaskSpec {
    pub connector: String,
    /// The connector's configuration with provider references resolved: may hold secrets, is never shown.
    pub config: Properties,
    pub worker: Arc<WorkerConfig>,
    pub paused: bool,
}

/// The states of `AbstractStatus.State` that a task can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    Unassigned,
    Running,
    Paused,
    Failed,
    Restarting,
}

/// What REST shows of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    pub state: TaskState,
    /// Why it failed.
    pub trace: Option<String>,
}

pub struct Task {}

impl Task {
    /// Starts the task on a thread of its own; never blocks. What goes wrong shows in [`Task::status`].
    pub fn start(_spec: TaskSpec) -> Task {
        Task {}
    }

    /// Stops polling: the queue fills, the socket is read no more, nothing is lost.
    pub fn pause(&self) {}

    pub fn resume(&self) {}

    pub fn status(&self) -> TaskStatus {
        TaskStatus { state: TaskState::Running, trace: None }
    }

    /// Closes the connection, brings all that was received to Kafka and commits offsets, by the deadline at the latest.
    pub async fn stop(&self, _deadline: Instant) {}

    /// Topics that a record was acknowledged for.
    pub fn active_topics(&self) -> Vec<String> {
        Vec::new()
    }
}
