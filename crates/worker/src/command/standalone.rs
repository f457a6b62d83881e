//! The worker from start to end: configuration, Kafka, REST, connectors of the command line, signals, stop.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use connect_websocket_engine::config::warnings::garbled_warning;
use indexmap::IndexMap;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind};
use tracing::{error, info, warn};

use crate::command::interrupt::listen;
use crate::config::WorkerConfig;
use crate::connector::file::{InitialState, connector_file};
use crate::connector::framework::{self, VERSION};
use crate::descriptors;
use crate::herder::Herder;
use crate::kafka::cluster::kafka_cluster_id;
use crate::logging::Levels;
use crate::properties;
use crate::rest::config::{Admin, Listener};
use crate::rest::server::{Bound, Endpoint, Limits, Server};
use crate::rest::{self, Api, Resources};
use crate::store::OffsetStore;

/// The worker could not start.
pub const START_FAILED: u8 = 2;
/// A connector of the command line could not be created.
const CONNECTOR_FAILED: u8 = 3;
/// A second signal ends the process at once, with the shell's exit codes for these signals.
const HUNG_UP: i32 = 129;
const INTERRUPTED: i32 = 130;
const TERMINATED: i32 = 143;

/// How long requests in progress may take when the worker stops.
const REST_GRACE: Duration = Duration::from_secs(5);

/// Runs a worker until a signal ends it.
pub fn run(worker: &Path, connectors: &[PathBuf], levels: Arc<Levels>) -> ExitCode {
    let started = start(worker);
    let (runtime, herder) = match started {
        Ok(started) => started,
        Err(why) => {
            log_reason("Stopping due to error: ", &why);
            return ExitCode::from(START_FAILED);
        }
    };
    finish(runtime, serve(herder, connectors, levels))
}

/// Runs the worker. At the end, a thread that waits for a file or a host name does not delay the process.
fn finish<T>(runtime: Runtime, work: impl Future<Output = T>) -> T {
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

/// Logs each sentence of a reason on its own line.
fn log_reason(begin: &str, why: &str) {
    let mut lines = why.lines();
    error!("{begin}{}", lines.next().unwrap_or_default());
    lines.for_each(|line| error!("    {line}"));
}

/// Does everything before REST: configuration and offsets. Blocks.
fn start(worker: &Path) -> Result<(Runtime, Arc<Herder>), String> {
    info!("event=worker_starting version={VERSION} file={}", worker.display());
    descriptors::raise_limit();
    let config = Arc::new(read_worker(worker)?);
    for line in config.shown() {
        info!("    {line}");
    }
    let ignored = config.ignored();
    if !ignored.is_empty() {
        warn!("event=options_ignored without effect in this worker: {}", ignored.join(", "));
    }
    for name in config.garbled() {
        warn!("event=config_warning {}", garbled_warning(name));
    }
    let offsets = OffsetStore::open(&config.offset_storage_file).map_err(|error| error.to_string())?;
    let runtime = Builder::new_multi_thread().enable_all().thread_name("worker").build();
    let runtime = runtime.map_err(|error| format!("the threads of the worker cannot be started: {error}"))?;
    let herder = Herder::new(config, Arc::new(offsets));
    Ok((runtime, herder))
}

/// Reads and checks a worker's properties. The error has one line for each problem.
pub(crate) fn read_worker(path: &Path) -> Result<WorkerConfig, String> {
    let properties = read_properties(path)?;
    WorkerConfig::parse(&properties).map_err(|errors| {
        let mut sentences: Vec<String> = errors.iter().map(ToString::to_string).collect();
        if properties.contains_key(framework::CLASS) {
            sentences.push("It looks like a connector's file: the worker's file comes first".to_owned());
        }
        format!("the worker's properties {} are not valid:\n{}", path.display(), sentences.join("\n"))
    })
}

fn read_properties(path: &Path) -> Result<IndexMap<String, String>, String> {
    let bytes = properties::read_file(path)
        .map_err(|error| format!("the worker's properties {} cannot be read: {error}{}", path.display(), hint(path)))?;
    properties::parse(&bytes).map_err(|error| format!("the worker's properties {}: {error}", path.display()))
}

/// A word instead of the worker's file may be meant as a command.
fn hint(path: &Path) -> &'static str {
    let is_word = path.extension().is_none() && path.components().count() == 1;
    if is_word { "; if it is meant as a command, connect-websocket --help lists them" } else { "" }
}

async fn serve(herder: Arc<Herder>, connectors: &[PathBuf], levels: Arc<Levels>) -> ExitCode {
    let started = async { Ok::<_, String>((Signals::new()?, start_rest(&herder, levels).await?)) };
    let (mut signals, server) = match started.await {
        Ok(started) => started,
        Err(why) => {
            log_reason("Stopping due to error: ", &why);
            return ExitCode::from(START_FAILED);
        }
    };
    let begun = tokio::select! {
        begun = begin(&herder, connectors) => Some(begun),
        code = signals.next() => {
            info!("event=worker_stopping signal={}", code - 128);
            None
        }
    };
    let code = match begun {
        Some(Ok(())) => {
            herder.set_ready();
            info!("event=worker_started connectors={}", connectors.len());
            let code = signals.next().await;
            info!("event=worker_stopping signal={}", code - 128);
            ExitCode::SUCCESS
        }
        Some(Err(NotBegun::Kafka(why))) => {
            log_reason("Stopping due to error: ", &why);
            ExitCode::from(START_FAILED)
        }
        Some(Err(NotBegun::Connector(why))) => {
            log_reason("", &why);
            error!("Stopping after connector error");
            ExitCode::from(CONNECTOR_FAILED)
        }
        None => ExitCode::SUCCESS,
    };
    let drained = async {
        server.stop(REST_GRACE).await;
        herder.shut_down().await;
    };
    tokio::select! {
        () = drained => info!("event=worker_stopped"),
        code = signals.next() => {
            warn!("event=worker_killed by a second signal; records in flight are not committed");
            std::process::exit(code);
        }
    }
    code
}

pub(crate) async fn start_rest(herder: &Arc<Herder>, levels: Arc<Levels>) -> Result<Server, String> {
    let config = &herder.worker().rest;
    let open = async |listener: &Listener, tls: &Option<_>, served| -> Result<Endpoint, String> {
        let bound = Bound::bind(listener).await?;
        let api = Api { herder: Arc::clone(herder), levels: Arc::clone(&levels), listener: listener.clone() };
        Ok(Endpoint { tls: tls.clone().filter(|_| bound.is_https()), router: rest::router(api, served), bound })
    };
    let (main, admin) = match &config.admin {
        Admin::WithTheRest => (Resources::All, [].as_slice()),
        Admin::Off => (Resources::WithoutAdmin, [].as_slice()),
        Admin::Listeners(listeners) => (Resources::WithoutAdmin, listeners.as_slice()),
    };
    let mut endpoints = Vec::new();
    for listener in &config.listeners {
        endpoints.push(open(listener, &config.tls, main).await?);
    }
    let bounds = endpoints.iter().map(|endpoint| &endpoint.bound);
    let preferred = bounds.clone().find(|bound| bound.is_https() == config.advertise_https);
    if let Some(advertised) = preferred.or(bounds.clone().next()) {
        herder.set_worker_id(advertised.advertised(config));
    }
    for listener in admin {
        endpoints.push(open(listener, &config.admin_tls, Resources::AdminOnly).await?);
    }
    let urls: Vec<String> = endpoints.iter().map(|endpoint| endpoint.bound.url()).collect();
    let limits = Limits::within(descriptors::for_rest(), endpoints.len());
    let server = Server::start(endpoints, limits);
    for url in urls {
        info!("event=rest_started url={url}");
    }
    Ok(server)
}

/// Why a worker that serves REST already cannot continue.
enum NotBegun {
    Kafka(String),
    Connector(String),
}

/// What `/health` waits for: Kafka, and the connectors of the command line.
async fn begin(herder: &Arc<Herder>, connectors: &[PathBuf]) -> Result<(), NotBegun> {
    let worker = Arc::clone(herder.worker());
    let cluster = tokio::task::spawn_blocking(move || kafka_cluster_id(&worker)).await;
    let cluster = cluster.unwrap_or_else(|error| Err(error.to_string())).map_err(NotBegun::Kafka)?;
    info!("event=kafka_connected cluster_id={cluster}");
    herder.set_kafka_cluster_id(cluster);
    create_connectors(herder, connectors).await.map_err(NotBegun::Connector)
}

async fn create_connectors(herder: &Arc<Herder>, files: &[PathBuf]) -> Result<(), String> {
    for path in files {
        let shown = path.display().to_string();
        let bytes = properties::read_file(path)
            .map_err(|error| format!("connector configuration at '{shown}' cannot be read: {error}"))?;
        let file = connector_file(&shown, &bytes).map_err(|error| error.to_string())?;
        let config = file.config.into_iter().map(|(name, value)| (name, Some(value))).collect();
        let created = herder.create(file.name, config, file.initial_state.unwrap_or(InitialState::Running)).await;
        created.map_err(|error| format!("Failed to create connector for {shown}: {error}"))?;
    }
    Ok(())
}

/// The signals that end the worker: SIGTERM, SIGINT, and SIGHUP when its terminal is closed.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// `None` under `nohup`, so that the worker outlives its terminal.
    hang_up: Option<Signal>,
}

impl Signals {
    fn new() -> Result<Signals, String> {
        Ok(Signals {
            hang_up: if hang_up_is_ignored() { None } else { Some(listen(SignalKind::hangup())?) },
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal. Returns its exit code, for the case that it ends the process at once.
    async fn next(&mut self) -> i32 {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => TERMINATED,
            _ = self.interrupt.recv() => INTERRUPTED,
            _ = hang_up => HUNG_UP,
        }
    }
}

/// Whether the process was started with SIGHUP ignored. Without /proc the answer is no.
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    let bit = SignalKind::hangup().as_raw_value() - 1;
    mask >> bit & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_thread_does_not_keep_the_worker() {
        let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (_never_sent, receiver) = std::sync::mpsc::channel::<()>();
        runtime.spawn_blocking(move || receiver.recv());
        assert_eq!(finish(runtime, async { 7 }), 7);
    }
}
