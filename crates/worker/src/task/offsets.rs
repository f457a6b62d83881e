//! A task's offset in the worker's store: read at the start, written as records are acknowledged.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use connect_websocket_engine::config::Config;
use connect_websocket_engine::offset::{PARTITION_KEY, SEQUENCE, SESSION_ID, SourceOffset, StoredOffset};
use connect_websocket_engine::redact::printable;
use connect_websocket_engine::task::SourceTask;
use tokio::task::JoinHandle;
use tracing::{error, info};

use super::Counters;
use crate::store::{JsonObject, OffsetStore};

/// What is committable, and when it was last written.
pub(super) struct TaskOffsets {
    store: Arc<OffsetStore>,
    connector: String,
    partition: JsonObject,
    session: SourceOffset,
    committable: i64,
    interval: Duration,
    due: Instant,
    flushing: Option<JoinHandle<()>>,
    counters: Arc<Counters>,
}

/// The stored offset to continue from. One that was stored under a URL with secrets is moved to the partition without them.
pub(super) fn stored(store: &OffsetStore, connector: &str, config: &Config) -> Option<StoredOffset> {
    let ours = partition(&config.partition);
    let read = |partition: &JsonObject| {
        let offset = store.get(connector, partition)?;
        let session_id = offset.get(SESSION_ID).and_then(|id| id.as_str()).map(Arc::from);
        Some(StoredOffset { sequence: offset.get(SEQUENCE)?.as_i64()?, session_id, written_at: store.written_at() })
    };
    let mut found = read(&ours);
    for former in config.former_partitions.iter().map(|url| partition(url.reveal())) {
        let Some(offset) = store.get(connector, &former) else {
            continue;
        };
        let moved = read(&former);
        if moved.as_ref().map(|moved| moved.sequence) > found.as_ref().map(|found| found.sequence) {
            found = moved;
            store.set(connector, &ours, Some(&offset));
        }
        store.remove(connector, &former);
        info!("event=offset_moved reason=\"its source partition held a secret\"");
    }
    found
}

/// The source partition: a URL, or `feed:<name>`.
fn partition(url: &str) -> JsonObject {
    JsonObject::from_iter([(PARTITION_KEY.to_owned(), url.into())])
}

impl TaskOffsets {
    pub(super) fn new(
        store: Arc<OffsetStore>,
        connector: String,
        url: &str,
        source: &SourceTask,
        interval: Duration,
        counters: Arc<Counters>,
    ) -> TaskOffsets {
        TaskOffsets {
            store,
            connector,
            partition: partition(url),
            session: source.offset(0),
            committable: 0,
            interval,
            due: Instant::now() + interval,
            flushing: None,
            counters,
        }
    }

    pub(super) fn committable(&self) -> i64 {
        self.committable
    }

    pub(super) fn set_committable(&mut self, sequence: i64) {
        self.committable = sequence;
    }

    /// Writes every `offset.flush.interval.ms`, beside the records and never before them.
    pub(super) fn flush_when_due(&mut self, source: &SourceTask) {
        let now = Instant::now();
        if now < self.due || self.flushing.as_ref().is_some_and(|flushing| !flushing.is_finished()) {
            return;
        }
        self.due = now + self.interval;
        if source.metrics().snapshot().connected_since_ms.is_some() {
            // Also without a new offset: the file's time is the begin of the gap if the worker dies. One task is enough.
            self.store.mark_alive(self.interval / 2);
        }
        self.set();
        if self.store.is_changed() {
            self.flush();
        }
    }

    /// The last write of a task: waits for it, for `grace` at most.
    pub(super) async fn flush_last(&mut self, grace: Duration) {
        self.store.mark_alive(Duration::ZERO);
        let by = tokio::time::Instant::now() + grace;
        if let Some(flushing) = self.flushing.take() {
            let _ = tokio::time::timeout_at(by, flushing).await;
        }
        self.flush();
        if let Some(flushing) = self.flushing.take()
            && tokio::time::timeout_at(by, flushing).await.is_err()
        {
            error!(
                "event=offset_commit_failed reason=\"the offset file was not written within {} ms\"",
                grace.as_millis()
            );
        }
    }

    fn set(&self) {
        if self.committable > 0 {
            self.store.set(&self.connector, &self.partition, Some(&self.offset()));
        }
    }

    fn flush(&mut self) {
        self.set();
        let (store, counters) = (self.store.clone(), self.counters.clone());
        let span = tracing::Span::current();
        self.flushing = Some(tokio::task::spawn_blocking(move || {
            let result = store.flush();
            let mut commits = counters.commits.lock().unwrap_or_else(PoisonError::into_inner);
            commits.record(result.is_ok(), Instant::now());
            if let Err(why) = result {
                span.in_scope(|| error!("event=offset_commit_failed reason=\"{}\"", printable(&why.to_string())));
            }
        }));
    }

    fn offset(&self) -> JsonObject {
        JsonObject::from_iter([
            (SESSION_ID.to_owned(), (&*self.session.session_id).into()),
            (SEQUENCE.to_owned(), self.committable.into()),
        ])
    }
}
