//! The ledger: a record for each gap in a Kafka topic of its own (`websocket.gaps.topic`).
//!
//! It goes the way of all records, so it is in Kafka at least once, and its key is the gap's id. The REST API of the worker
//! shows the latest entries.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::config::Ledger;
use crate::gap::Gap;
use crate::record::value::Parser;
use crate::record::{Batch, Key, Part, RecordWriter, ValueKind, epoch_ms};
use crate::task_id::TaskId;

/// Adds the record of a gap. `beside` adds what every record has beside topic, key and value.
pub(crate) fn add(
    ledger: &Ledger,
    gap: &Gap,
    entry: &Value,
    batch: &mut Batch,
    beside: impl FnOnce(&mut RecordWriter<'_>),
) {
    put(ledger, &gap.id, &entry.to_string(), gap.ended, batch, beside);
}

/// Adds a record that is no gap: it stores how far a feed has come of which a filter drops all records. Each task has one key.
pub(crate) fn add_cursor(
    ledger: &Ledger,
    task: &TaskId,
    at: SystemTime,
    batch: &mut Batch,
    beside: impl FnOnce(&mut RecordWriter<'_>),
) {
    let text = json!({"cursor": true, "at": epoch_ms(at), "task": task.number}).to_string();
    put(ledger, &format!("cursor-{task}"), &text, at, batch, beside);
}

fn put(
    ledger: &Ledger,
    key: &str,
    text: &str,
    at: SystemTime,
    batch: &mut Batch,
    beside: impl FnOnce(&mut RecordWriter<'_>),
) {
    let mut record = batch.add(epoch_ms(at));
    record.part(Part::Topic(&ledger.topic));
    record.part(Part::Key(if ledger.key_bytes { Key::Bytes(key.as_bytes()) } else { Key::Text(key) }));
    beside(&mut record);
    match ledger.value {
        // What is made here is JSON, so there is nothing that could be wrong with it.
        ValueKind::Json => drop(record.value_with(ValueKind::Json, |out| Parser::default().parse(text, out))),
        kind => record.value(kind, text.as_bytes()),
    }
}

/// The gap as JSON: times in milliseconds since the epoch, numbers of the feed as text. `connection`: the one that told it, if there
/// was one.
pub(crate) fn entry(gap: &Gap, connection: Option<&str>, task: &TaskId) -> Value {
    let range = gap.range.as_ref();
    json!({
        "id": gap.id,
        "begin": gap.began.map(epoch_ms),
        "end": epoch_ms(gap.ended),
        "cause": gap.cause.as_str(),
        "key": range.map(|range| &range.key).filter(|key| !key.is_empty()),
        "from": range.map(|range| &range.from),
        "to": range.map(|range| &range.to),
        "missing": gap.missed,
        "repaired": gap.repaired,
        "connection": connection,
        "task": task.number,
    })
}
