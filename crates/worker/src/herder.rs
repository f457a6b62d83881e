//! The connectors of this worker: their configurations, target states and tasks; Kafka Connect's `StandaloneHerder`.
//!
//! As in Connect, changes of a connector are made one after another. Changes of different connectors do not wait for
//! each other. Reads never wait for a change, also while a slow task stops.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use connect_websocket_engine::config::HANDOVER_DIR;
use connect_websocket_engine::handover;
use connect_websocket_engine::redact::printable;
use connect_websocket_engine::task_id::TaskId;
use indexmap::IndexMap;
use serde_json::Value;
use thiserror::Error;
use tracing::{error, info, info_span, warn};

use crate::config::WorkerConfig;
use crate::config::provider::Resolved;
use crate::connector::SentConfig;
use crate::connector::file::InitialState;
use crate::connector::framework::{self, VERSION};
use crate::connector::hidden::{self, Kept};
use crate::connector::validation::{Validation, validate};
use crate::descriptors;
use crate::entities::{
    ConfigInfos, ConnectorInfo, ConnectorState, ConnectorStateInfo, ConnectorTaskId, TaskInfo, TaskStateInfo,
};
use crate::metrics::ConnectorMetrics;
use crate::store::OffsetStore;
use crate::task::{self, Task, TaskSpec};

mod offsets;
mod turns;

pub use offsets::OffsetChange;
use turns::Turns;

type StoredConfig = IndexMap<String, String>;

/// Why a request is refused. Each reason has one HTTP status.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HerderError {
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    AlreadyExists(String),
    /// It may be possible later.
    #[error("{0}")]
    NoRoom(String),
    #[error("{0}")]
    Internal(String),
}

/// The target state of a connector (`TargetState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TargetState {
    Started,
    Paused,
    Stopped,
}

struct Connector {
    /// The configuration as the client sent it, with unresolved references.
    config: StoredConfig,
    target: TargetState,
    /// Why it could not be started. The connector is then FAILED.
    failure: Option<String>,
    /// Whether a restart request stops and starts it at present.
    restarting: Restarting,
    task: Option<Arc<Task>>,
    /// The topics of tasks that have ended.
    past_topics: BTreeSet<String>,
    /// Whether the topics of the present task are hidden after a reset, until it writes again.
    task_topics_reset: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Restarting {
    connector: bool,
    task: bool,
}

/// Which parts a restart request restarts (KIP-745).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RestartRequest {
    pub include_tasks: bool,
    pub only_failed: bool,
}

const SOURCE: &str = "source";

pub struct Herder {
    worker: Arc<WorkerConfig>,
    /// The cluster's id, once Kafka has answered.
    kafka_cluster_id: OnceLock<String>,
    /// `host:port` of the advertised URL, once the REST server listens.
    worker_id: OnceLock<String>,
    offsets: Arc<OffsetStore>,
    connectors: RwLock<IndexMap<String, Connector>>,
    turns: Turns,
    ready: AtomicBool,
    stopping: AtomicBool,
    /// Tasks that are stopping.
    descriptors_short: AtomicBool,
}

// --- reads -------------------------------------------------------------------------------------------------------------

impl Herder {
    pub fn new(worker: Arc<WorkerConfig>, offsets: Arc<OffsetStore>) -> Arc<Herder> {
        Arc::new(Herder {
            worker,
            kafka_cluster_id: OnceLock::new(),
            worker_id: OnceLock::new(),
            offsets,
            connectors: RwLock::default(),
            turns: Turns::default(),
            ready: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            descriptors_short: AtomicBool::new(false),
        })
    }

    pub fn worker(&self) -> &Arc<WorkerConfig> {
        &self.worker
    }

    /// Call it once, when Kafka has answered.
    pub fn set_kafka_cluster_id(&self, id: String) {
        let _ = self.kafka_cluster_id.set(id);
    }

    pub fn kafka_cluster_id(&self) -> Option<&str> {
        self.kafka_cluster_id.get().map(String::as_str)
    }

    /// Call it once, when the address of the REST server is known.
    pub fn set_worker_id(&self, worker_id: String) {
        let _ = self.worker_id.set(worker_id);
    }

    pub fn worker_id(&self) -> &str {
        self.worker_id.get().map_or("", String::as_str)
    }

    /// Call it when all connectors of the command line were created.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Waits until all changes that run or wait now are done. This shows that the herder can serve requests.
    pub async fn idle(&self) {
        self.turns.all_taken().await;
    }

    pub fn connector_names(&self) -> Vec<String> {
        self.read().keys().cloned().collect()
    }

    pub fn connector_info(&self, name: &str) -> Result<ConnectorInfo, HerderError> {
        let connectors = self.read();
        let connector = connectors.get(name).ok_or_else(|| not_found(name))?;
        Ok(ConnectorInfo {
            name: name.to_owned(),
            config: self.shown_config(&connector.config),
            tasks: connector.task.iter().map(|_| task_id(name)).collect(),
            kind: SOURCE,
        })
    }

    pub fn connector_config(&self, name: &str) -> Result<StoredConfig, HerderError> {
        let connectors = self.read();
        connectors.get(name).map(|connector| self.shown_config(&connector.config)).ok_or_else(|| not_found(name))
    }

    pub fn task_infos(&self, name: &str) -> Result<Vec<TaskInfo>, HerderError> {
        let connectors = self.read();
        let connector = connectors.get(name).ok_or_else(|| not_found(name))?;
        let mut config = self.shown_config(&connector.config);
        config.insert("task.class".to_owned(), framework::TASK_CLASS.to_owned());
        Ok(connector.task.iter().map(|_| TaskInfo { id: task_id(name), config: config.clone() }).collect())
    }

    pub fn connector_status(&self, name: &str) -> Result<ConnectorStateInfo, HerderError> {
        let connectors = self.read();
        let connector = connectors.get(name);
        let connector =
            connector.ok_or_else(|| HerderError::NotFound(format!("No status found for connector {name}")))?;
        Ok(self.status_of(name, connector))
    }

    pub fn task_status(&self, name: &str, task: u32) -> Result<TaskStateInfo, HerderError> {
        let missing = || HerderError::NotFound(format!("No status found for task {name}-{task}"));
        let connectors = self.read();
        let connector = connectors.get(name).ok_or_else(missing)?;
        self.status_of(name, connector).tasks.into_iter().find(|state| state.id == task).ok_or_else(missing)
    }

    /// Returns the topics for which Kafka has acknowledged records of the connector. Empty for an unknown connector, as
    /// in Connect.
    pub fn active_topics(&self, name: &str) -> Result<Vec<String>, HerderError> {
        if !self.worker.topic_tracking {
            return Err(HerderError::Forbidden("Topic tracking is disabled.".to_owned()));
        }
        let connectors = self.read();
        let Some(connector) = connectors.get(name) else {
            return Ok(Vec::new());
        };
        let mut topics = connector.past_topics.clone();
        if let (Some(task), false) = (&connector.task, connector.task_topics_reset) {
            topics.extend(task.active_topics());
        }
        Ok(topics.into_iter().collect())
    }

    /// Returns the latest entries of the ledger of gaps, oldest first. There are none without a task.
    pub fn gaps(&self, name: &str) -> Result<Vec<Value>, HerderError> {
        let connectors = self.read();
        let connector = connectors.get(name).ok_or_else(|| not_found(name))?;
        Ok(connector.task.as_ref().map(|task| task.gaps()).unwrap_or_default())
    }

    /// Returns what `/metrics` shows.
    pub fn metrics(&self) -> Vec<ConnectorMetrics> {
        let connectors = self.read();
        let metrics = |(name, connector): (&String, &Connector)| ConnectorMetrics {
            name: name.clone(),
            status: match (&connector.failure, connector.target) {
                (Some(_), _) => "failed",
                (None, TargetState::Started) => "running",
                (None, TargetState::Paused) => "paused",
                (None, TargetState::Stopped) => "stopped",
            },
            task: connector.task.as_ref().map(|task| (TaskId::only(&**name), task.status().state, task.metrics())),
        };
        connectors.iter().map(metrics).collect()
    }

    /// Forgets the topics. Those of a running task are listed again as soon as it writes to them.
    pub fn reset_active_topics(&self, name: &str) -> Result<(), HerderError> {
        if !self.worker.topic_tracking {
            return Err(HerderError::Forbidden("Topic tracking is disabled.".to_owned()));
        }
        if !self.worker.topic_tracking_reset {
            return Err(HerderError::Forbidden("Topic tracking reset is disabled.".to_owned()));
        }
        if let Some(connector) = self.write().get_mut(name) {
            connector.past_topics.clear();
            connector.task_topics_reset = connector.target != TargetState::Started;
        }
        Ok(())
    }

    /// Validates a configuration. Marks of hidden values mean the values of the connector with its name.
    pub async fn validate(&self, mut sent: SentConfig) -> Result<ConfigInfos, HerderError> {
        let name = sent.get(framework::NAME).cloned().flatten();
        let kept = name.map(|name| self.keep_hidden(&name, &mut sent)).unwrap_or_default();
        self.check_config(sent, kept).await.map(|validation| validation.infos)
    }

    fn status_of(&self, name: &str, connector: &Connector) -> ConnectorStateInfo {
        let state = match (connector.restarting.connector, &connector.failure, connector.target) {
            (true, _, _) => "RESTARTING",
            (_, Some(_), _) => "FAILED",
            (_, _, TargetState::Started) => "RUNNING",
            (_, _, TargetState::Paused) => "PAUSED",
            (_, _, TargetState::Stopped) => "STOPPED",
        };
        let tasks = connector.task.iter().map(|task| {
            let status = task.status();
            TaskStateInfo {
                id: TaskId::only(name).number,
                state: if connector.restarting.task { "RESTARTING" } else { status.state.as_str() },
                worker_id: self.worker_id().to_owned(),
                trace: status.trace.filter(|trace| !trace.is_empty()),
                version: VERSION,
            }
        });
        ConnectorStateInfo {
            name: name.to_owned(),
            connector: ConnectorState {
                state,
                worker_id: self.worker_id().to_owned(),
                trace: connector.failure.clone(),
                version: VERSION,
            },
            tasks: tasks.collect(),
            kind: SOURCE,
        }
    }

    fn shown_config(&self, config: &StoredConfig) -> StoredConfig {
        if !self.worker.passwords_hidden {
            return config.clone();
        }
        config.iter().map(|(name, value)| (name.clone(), hidden::shown(name, value))).collect()
    }

    fn keep_hidden(&self, name: &str, sent: &mut SentConfig) -> Kept {
        match (self.worker.passwords_hidden, self.read().get(name)) {
            (true, Some(connector)) => hidden::keep(sent, &connector.config),
            _ => Kept::default(),
        }
    }

    /// Validates on a blocking thread, because validation reads files.
    async fn check_config(&self, sent: SentConfig, kept: Kept) -> Result<Validation, HerderError> {
        let worker = Arc::clone(&self.worker);
        let validation = tokio::task::spawn_blocking(move || validate(&worker, &sent, &kept)).await;
        validation.map_err(|_| unexpected())?.map_err(HerderError::BadRequest)
    }

    /// No code panics while it holds the lock, so the data are consistent.
    fn read(&self) -> RwLockReadGuard<'_, IndexMap<String, Connector>> {
        self.connectors.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, IndexMap<String, Connector>> {
        self.connectors.write().unwrap_or_else(PoisonError::into_inner)
    }
}

// --- changes -----------------------------------------------------------------------------------------------------------

impl Herder {
    /// Creates a connector.
    pub async fn create(
        self: &Arc<Self>,
        name: String,
        config: SentConfig,
        initial_state: InitialState,
    ) -> Result<ConnectorInfo, HerderError> {
        let target = match initial_state {
            InitialState::Running => TargetState::Started,
            InitialState::Paused => TargetState::Paused,
            InitialState::Stopped => TargetState::Stopped,
        };
        let config = with_name(&name, config)?;
        self.change(&name.clone(), move |herder| async move {
            let config = herder.accepted(&name, config).await?;
            if herder.read().contains_key(&name) {
                return Err(HerderError::AlreadyExists(format!("Connector {name} already exists")));
            }
            herder.room_for_another().map_err(HerderError::NoRoom)?;
            herder.insert(&name, config, target).await;
            herder.connector_info(&name)
        })
        .await
    }

    /// Creates a connector or replaces its configuration. Returns whether it was created.
    pub async fn put_config(
        self: &Arc<Self>,
        name: String,
        config: SentConfig,
    ) -> Result<(ConnectorInfo, bool), HerderError> {
        let config = with_name(&name, config)?;
        self.change(&name.clone(), move |herder| async move { herder.put(&name, config).await }).await
    }

    /// Changes single options of a configuration. Null removes an option (KIP-477).
    pub async fn patch_config(self: &Arc<Self>, name: String, patch: SentConfig) -> Result<ConnectorInfo, HerderError> {
        self.change(&name.clone(), move |herder| async move {
            // A patch keeps the secrets that it does not name, by the same rules as if their marks were sent back.
            let stored = herder.read().get(&name).map(|connector| herder.shown_config(&connector.config));
            let mut config: SentConfig =
                stored.ok_or_else(|| not_found(&name))?.into_iter().map(|(k, v)| (k, Some(v))).collect();
            for (option, value) in patch {
                match value {
                    Some(value) => config.insert(option, Some(value)),
                    None => config.shift_remove(&option),
                };
            }
            herder.put(&name, config).await.map(|(info, _)| info)
        })
        .await
    }

    pub async fn delete(self: &Arc<Self>, name: String) -> Result<(), HerderError> {
        self.change(&name.clone(), move |herder| async move {
            if !herder.read().contains_key(&name) {
                return Err(not_found(&name));
            }
            herder.stop_task(&name).await;
            let removed = herder.write().shift_remove(&name);
            if let Some(connector) = removed {
                herder.delete_handover(&name, connector.config).await;
            }
            info!(connector = name, "event=connector_deleted");
            Ok(())
        })
        .await
    }

    pub async fn pause(self: &Arc<Self>, name: String) -> Result<(), HerderError> {
        self.change(&name.clone(), move |herder| async move {
            let mut connectors = herder.write();
            let connector = connectors.get_mut(&name).ok_or_else(|| unknown(&name))?;
            connector.target = TargetState::Paused;
            if let Some(task) = &connector.task {
                task.pause();
            }
            info!(connector = name, "event=connector_paused");
            Ok(())
        })
        .await
    }

    pub async fn resume(self: &Arc<Self>, name: String) -> Result<(), HerderError> {
        self.change(&name.clone(), move |herder| async move {
            {
                let mut connectors = herder.write();
                let connector = connectors.get_mut(&name).ok_or_else(|| unknown(&name))?;
                connector.target = TargetState::Started;
                connector.task_topics_reset = false;
                if connector.failure.is_some() {
                    warn!(connector = name, "a connector that has failed is not resumed; restart it");
                    return Ok(());
                }
                info!(connector = name, "event=connector_resumed");
                if let Some(task) = &connector.task {
                    task.resume();
                    return Ok(());
                }
            }
            herder.start_task(&name).await;
            Ok(())
        })
        .await
    }

    pub async fn stop(self: &Arc<Self>, name: String) -> Result<(), HerderError> {
        self.change(&name.clone(), move |herder| async move {
            {
                let mut connectors = herder.write();
                let connector = connectors.get_mut(&name).ok_or_else(|| unknown_restart(&name))?;
                connector.target = TargetState::Stopped;
                connector.failure = None;
            }
            herder.stop_task(&name).await;
            info!(connector = name, "event=connector_stopped");
            Ok(())
        })
        .await
    }

    /// Restarts a failed connector, but not its task (`POST …/restart` without parameters).
    pub async fn restart_connector(self: &Arc<Self>, name: String) -> Result<(), HerderError> {
        self.change(&name.clone(), move |herder| async move {
            if !herder.read().contains_key(&name) {
                return Err(unknown_restart(&name));
            }
            herder.start_connector(&name).await;
            Ok(())
        })
        .await
    }

    /// Restarts connector and task, as requested. The response shows them as RESTARTING (KIP-745).
    pub async fn restart(
        self: &Arc<Self>,
        name: String,
        request: RestartRequest,
    ) -> Result<ConnectorStateInfo, HerderError> {
        self.change(&name.clone(), move |herder| async move {
            let (plan, restarting) = {
                let mut connectors = herder.write();
                let connector = connectors.get_mut(&name).ok_or_else(|| unknown_restart(&name))?;
                let task_failed = |task: &Arc<Task>| task.status().state == task::TaskState::Failed;
                connector.restarting = Restarting {
                    connector: !request.only_failed || connector.failure.is_some(),
                    task: request.include_tasks
                        && connector.task.as_ref().is_some_and(|task| !request.only_failed || task_failed(task)),
                };
                let restarting = connector.restarting;
                (herder.status_of(&name, connector), restarting)
            };
            info!(connector = name, "event=connector_restarting with_task={}", restarting.task);
            if restarting.task {
                herder.stop_task(&name).await;
            }
            if restarting.connector {
                herder.start_connector(&name).await;
            }
            if restarting.task {
                herder.start_task(&name).await;
            }
            if let Some(connector) = herder.write().get_mut(&name) {
                connector.restarting = Restarting::default();
            }
            Ok(plan)
        })
        .await
    }

    pub async fn restart_task(self: &Arc<Self>, name: String, task: u32) -> Result<(), HerderError> {
        self.change(&name.clone(), move |herder| async move {
            match herder.read().get(&name) {
                Some(connector) if connector.task.is_some() && task == TaskId::only(&*name).number => {}
                _ => return Err(HerderError::NotFound(format!("Unknown task: {name}-{task}"))),
            }
            info!(connector = name, task, "event=task_restarting");
            herder.stop_task(&name).await;
            herder.start_task(&name).await;
            Ok(())
        })
        .await
    }

    /// Stops all tasks together, within one graceful timeout, and writes the offsets.
    pub async fn shut_down(&self) {
        self.stopping.store(true, Ordering::Release);
        let deadline = Instant::now() + self.worker.task_shutdown_graceful_timeout;
        // A change that runs has its own deadline. This does not wait beyond its own, and no further change begins.
        let _ = tokio::time::timeout_at(deadline.into(), self.turns.all_taken()).await;
        let tasks: Vec<Arc<Task>> = self.write().values_mut().filter_map(|connector| connector.task.take()).collect();
        let mut stops = tokio::task::JoinSet::new();
        for task in tasks {
            stops.spawn(async move { task.stop(deadline).await });
        }
        // A little more than the tasks have. A task that takes longer is abandoned, and its offsets are not written.
        let all = async { while stops.join_next().await.is_some() {} };
        if tokio::time::timeout_at((deadline + Duration::from_secs(1)).into(), all).await.is_err() {
            warn!("event=tasks_not_stopped in time; their records that are not in Kafka are left");
        }
        self.flush_offsets().await.unwrap_or_else(|error| error!("event=offsets_not_written {error}"));
    }

    async fn put(&self, name: &str, config: SentConfig) -> Result<(ConnectorInfo, bool), HerderError> {
        let config = self.accepted(name, config).await?;
        let known = self.read().get(name).map(|connector| connector.config != config);
        match known {
            None => {
                self.room_for_another().map_err(HerderError::NoRoom)?;
                self.insert(name, config, TargetState::Started).await;
            }
            Some(false) => self.start_connector(name).await,
            Some(true) => {
                let had_task = self.stop_task(name).await;
                let target = {
                    let mut connectors = self.write();
                    let connector = connectors.get_mut(name).ok_or_else(|| not_found(name))?;
                    connector.config = config;
                    connector.failure = None;
                    connector.target
                };
                info!(connector = name, "event=connector_changed");
                if had_task || target == TargetState::Started {
                    self.start_task(name).await;
                }
            }
        }
        Ok((self.connector_info(name)?, known.is_none()))
    }

    /// Returns the configuration to store, if it is valid.
    async fn accepted(&self, name: &str, mut sent: SentConfig) -> Result<StoredConfig, HerderError> {
        let kept = self.keep_hidden(name, &mut sent);
        let validation = self.check_config(sent.clone(), kept).await?;
        if let Some(refusal) = validation.refusal() {
            return Err(HerderError::BadRequest(refusal));
        }
        for warning in &validation.warnings {
            warn!(connector = name, "event=config_warning {}", printable(warning));
        }
        Ok(sent.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }

    async fn insert(&self, name: &str, config: StoredConfig, target: TargetState) {
        let connector = Connector {
            config,
            target,
            failure: None,
            restarting: Restarting::default(),
            task: None,
            past_topics: BTreeSet::new(),
            task_topics_reset: false,
        };
        self.write().insert(name.to_owned(), connector);
        info!(connector = name, "event=connector_created");
        if target == TargetState::Started {
            self.start_task(name).await;
        }
    }

    /// Starts the connector, and its task if it should run and does not.
    async fn start_connector(&self, name: &str) {
        let missing = match self.write().get_mut(name) {
            Some(connector) => {
                connector.failure = None;
                connector.target == TargetState::Started && connector.task.is_none()
            }
            None => false,
        };
        if missing {
            self.start_task(name).await;
        }
    }

    /// Starts the task in the connector's target state, unless it runs. References are resolved again, so a changed
    /// secret is used.
    async fn start_task(&self, name: &str) {
        let (config, target) = match self.read().get(name) {
            Some(connector) if connector.task.is_none() => (connector.config.clone(), connector.target),
            Some(_) | None => return,
        };
        if target == TargetState::Stopped {
            return;
        }
        let resolved = self.resolved(config).await;
        let mut connectors = self.write();
        // With the lock: after a stop of the worker, or for the last room, nobody else starts one meanwhile.
        if self.stopping.load(Ordering::Acquire) {
            return;
        }
        let resolved = resolved.and_then(|config| self.room_beside(tasks_of(&connectors)).map(|()| config));
        let Some(connector) = connectors.get_mut(name) else {
            return;
        };
        match resolved {
            Ok(config) => {
                connector.task = Some(Arc::new(Task::start(TaskSpec {
                    id: TaskId::only(name),
                    config,
                    worker: Arc::clone(&self.worker),
                    offsets: Arc::clone(&self.offsets),
                    paused: target == TargetState::Paused,
                })));
            }
            Err(why) => {
                error!(connector = name, "event=connector_failed {}", printable(&why));
                connector.failure = Some(why);
            }
        }
    }

    /// Checks whether one more task can be started: all connectors share the limit of open files.
    fn room_for_another(&self) -> Result<(), String> {
        self.room_beside(tasks_of(&self.read()))
    }

    fn room_beside(&self, tasks: usize) -> Result<(), String> {
        let room = descriptors::room_for_another(tasks);
        match &room {
            Ok(()) => self.descriptors_short.store(false, Ordering::Relaxed),
            Err(why) if !self.descriptors_short.swap(true, Ordering::Relaxed) => {
                warn!("event=descriptors_short reason=\"{why}\"");
            }
            Err(_) => {}
        }
        room
    }

    /// Removes the hand-over file of a deleted connector, which has no next start that could send its records.
    async fn delete_handover(&self, name: &str, config: StoredConfig) {
        // Only this option: another one may be wrong and the reason to delete the connector.
        let directory = config.into_iter().filter(|(option, _)| option == HANDOVER_DIR).collect();
        let mut directory = match self.resolved(directory).await {
            Ok(directory) => directory.values,
            Err(why) => {
                warn!(connector = name, "event=handover_not_removed reason=\"{}\"", printable(&why));
                return;
            }
        };
        let (name, span) = (name.to_owned(), info_span!("delete", connector = name));
        let directory = directory.swap_remove(HANDOVER_DIR);
        let delete = move || span.in_scope(|| handover::delete(&name, directory.as_deref()));
        let _ = tokio::task::spawn_blocking(delete).await;
    }

    /// Resolves the references of a configuration, on a blocking thread because providers read files.
    async fn resolved(&self, config: StoredConfig) -> Result<Resolved, String> {
        let worker = Arc::clone(&self.worker);
        let resolved = tokio::task::spawn_blocking(move || worker.providers.resolve(&config)).await;
        resolved.map_err(|_| unexpected().to_string())?.map_err(|failure| failure.message)
    }

    /// Stops and removes the task. Returns whether there was one. It is visible until it has stopped.
    async fn stop_task(&self, name: &str) -> bool {
        let Some(task) = self.read().get(name).and_then(|connector| connector.task.clone()) else {
            return false;
        };
        task.stop(Instant::now() + self.worker.task_shutdown_graceful_timeout).await;
        let topics = task.active_topics();
        if let Some(connector) = self.write().get_mut(name) {
            if !connector.task_topics_reset {
                connector.past_topics.extend(topics);
            }
            connector.task = None;
        }
        true
    }

    /// Runs one change of a connector, after all its earlier ones. It runs to its end even if the client has
    /// disconnected, so that a connector is never left half changed.
    async fn change<T, F>(
        self: &Arc<Self>,
        name: &str,
        change: impl FnOnce(Arc<Herder>) -> F + Send + 'static,
    ) -> Result<T, HerderError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, HerderError>> + Send + 'static,
    {
        let (herder, turn) = (Arc::clone(self), self.turns.of(name));
        let run = async move {
            let _turn = turn.taken().await;
            if herder.stopping.load(Ordering::Acquire) {
                return Err(HerderError::Internal("the worker is stopping".to_owned()));
            }
            change(Arc::clone(&herder)).await
        };
        tokio::spawn(run).await.unwrap_or_else(|_| Err(unexpected()))
    }
}

/// Adds the connector's name to its configuration.
fn with_name(name: &str, mut config: SentConfig) -> Result<SentConfig, HerderError> {
    match config.get(framework::NAME) {
        Some(Some(given)) if given != name => Err(HerderError::BadRequest(format!(
            "Connector name configuration ({given}) doesn't match connector name in the URL ({name})"
        ))),
        Some(Some(_)) => Ok(config),
        _ => {
            config.insert(framework::NAME.to_owned(), Some(name.to_owned()));
            Ok(config)
        }
    }
}

/// Returns how many tasks there are.
fn tasks_of(connectors: &IndexMap<String, Connector>) -> usize {
    connectors.values().filter(|connector| connector.task.is_some()).count()
}

fn task_id(connector: &str) -> ConnectorTaskId {
    let TaskId { connector, number } = TaskId::only(connector);
    ConnectorTaskId { connector, task: number }
}

fn not_found(name: &str) -> HerderError {
    HerderError::NotFound(format!("Connector {name} not found"))
}

fn unknown(name: &str) -> HerderError {
    HerderError::NotFound(format!("Unknown connector {name}"))
}

fn unknown_restart(name: &str) -> HerderError {
    HerderError::NotFound(format!("Unknown connector: {name}"))
}

fn unexpected() -> HerderError {
    HerderError::Internal("the operation failed inside the worker; its log has the reason".to_owned())
}
