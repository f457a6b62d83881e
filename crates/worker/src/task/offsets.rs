//! A task's offsets in the worker's store: read at the start, written as records are acknowledged.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use connect_websocket_engine::config::Config;
use connect_websocket_engine::offset::{self, AT, PARTITION_KEY, SEQUENCE, SESSION_ID, StoredOffset};
use connect_websocket_engine::record::{Batch, OffsetValue, Record};
use connect_websocket_engine::redact::printable;
use connect_websocket_engine::task::SourceTask;
use serde_json::Value;
use tokio::task::JoinHandle;
use tracing::{error, info};

use super::Counters;
use crate::store::{JsonObject, OffsetStore};

/// The offsets that can be committed, and when they were last written.
pub(super) struct TaskOffsets {
    store: Arc<OffsetStore>,
    connector: String,
    /// The source partition of records without a key.
    partition: String,
    /// Whether each key has its own partition.
    keyed: bool,
    session_id: Arc<str>,
    committable: i64,
    /// The offsets that are not in the store yet, by the key of their partition.
    ahead: BTreeMap<Option<String>, JsonObject>,
    interval: Duration,
    due: Instant,
    flushing: Option<JoinHandle<()>>,
    counters: Arc<Counters>,
}

/// Returns the stored offset. If it was stored under a URL with secrets, moves it to the partition without them.
pub(super) fn stored(store: &OffsetStore, connector: &str, config: &Config) -> Option<StoredOffset> {
    let ours = partition(&config.partition);
    let sequence = |offset: &JsonObject| offset.get(SEQUENCE).and_then(Value::as_i64);
    let mut found = store.get(connector, &ours);
    for former in config.former_partitions.iter().map(|url| partition(url.reveal())) {
        let Some(moved) = store.get(connector, &former) else {
            continue;
        };
        if sequence(&moved) > found.as_ref().and_then(sequence) {
            store.set(connector, &ours, Some(&moved));
            found = Some(moved);
        }
        store.remove(connector, &former);
        info!("event=offset_moved reason=\"its source partition held a secret\"");
    }
    let mut stored = found.and_then(|offset| StoredOffset::add(None, None, entries(&offset)));
    for key in config.partition_keys() {
        let partition = partition(&offset::partition(&config.partition, Some(key)));
        if let Some(offset) = store.get(connector, &partition) {
            stored = StoredOffset::add(stored, Some(key), entries(&offset));
        }
    }
    stored.map(|stored| StoredOffset { written_at: store.written_at(), ..stored })
}

fn entries(offset: &JsonObject) -> impl Iterator<Item = (&str, OffsetValue<'_>)> {
    offset.iter().filter_map(|(name, value)| {
        let text = value.as_str().map(OffsetValue::Text);
        Some((name.as_str(), text.or(value.as_i64().map(OffsetValue::Number))?))
    })
}

/// The source partition: a URL, or `feed:<name>`.
fn partition(url: &str) -> JsonObject {
    JsonObject::from_iter([(PARTITION_KEY.to_owned(), url.into())])
}

impl TaskOffsets {
    pub(super) fn new(
        store: Arc<OffsetStore>,
        connector: String,
        (partition, keyed): (String, bool),
        source: &SourceTask,
        interval: Duration,
        counters: Arc<Counters>,
    ) -> TaskOffsets {
        TaskOffsets {
            store,
            connector,
            partition,
            keyed,
            session_id: source.session_id().clone(),
            committable: 0,
            ahead: BTreeMap::new(),
            interval,
            due: Instant::now() + interval,
            flushing: None,
            counters,
        }
    }

    pub(super) fn committable(&self) -> i64 {
        self.committable
    }

    /// Notes that Kafka has every record up to this one. `batches` contain the records since the last call.
    pub(super) fn commit<'a>(&mut self, sequence: i64, batches: impl Iterator<Item = &'a Batch>) {
        let before = std::mem::replace(&mut self.committable, sequence);
        for batch in batches {
            let last = sequence.min(batch.last_sequence());
            // For each partition, only the last record matters.
            let first = if self.keyed { batch.first_sequence().max(before + 1) } else { last };
            let records = (first..=last).filter_map(|sequence| batch.of_sequence(sequence));
            records.for_each(|record| self.note(&record));
        }
    }

    fn note(&mut self, record: &Record<'_>) {
        let own = [
            (SESSION_ID.to_owned(), Value::from(&*self.session_id)),
            (SEQUENCE.to_owned(), record.sequence.into()),
            (AT.to_owned(), record.received_ms.into()),
        ];
        let entries = record.offset_entries().map(|(name, value)| {
            let value = match value {
                OffsetValue::Text(text) => Value::from(text),
                OffsetValue::Number(number) => Value::from(number),
            };
            (name.to_owned(), value)
        });
        let offset = own.into_iter().chain(entries).collect();
        self.ahead.insert(record.partition_key().map(str::to_owned), offset);
    }

    /// Writes the offsets every `offset.flush.interval.ms`, in the background.
    pub(super) fn flush_when_due(&mut self, source: &SourceTask) {
        let now = Instant::now();
        if now < self.due || self.flushing.as_ref().is_some_and(|flushing| !flushing.is_finished()) {
            return;
        }
        self.due = now + self.interval;
        if source.metrics().snapshot().connected_since_ms.is_some() {
            // Also without a new offset: if an offset has no time of receipt, a restart's gap begins at the time of the
            // file.
            self.store.mark_alive(self.interval / 2);
        }
        self.set();
        if self.store.is_changed() {
            self.flush();
        }
    }

    /// Writes the offsets at the end of a task, and waits for that, for `grace` at most.
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

    fn set(&mut self) {
        for (key, offset) in std::mem::take(&mut self.ahead) {
            let partition = partition(&offset::partition(&self.partition, key.as_deref()));
            self.store.set(&self.connector, &partition, Some(&offset));
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
}
