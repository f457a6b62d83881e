//! The ledger: a record for each gap in a Kafka topic of its own (`websocket.gaps.topic`).
//!
//! These records are sent like all others, so each is in Kafka at least once. The record key is the gap's id. The
//! worker's REST API shows the latest entries.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::config::Ledger;
use crate::gap::Gap;
use crate::record::value::Parser;
use crate::record::{Batch, Key, Part, RecordWriter, ValueKind, epoch_ms};
use crate::task_id::TaskId;

/// Adds the record of a gap. `beside` adds the other parts of the record, such as its offset entries.
pub(crate) fn add(
    ledger: &Ledger,
    gap: &Gap,
    entry: &Value,
    batch: &mut Batch,
    beside: impl FnOnce(&mut RecordWriter<'_>),
) {
    put(ledger, &gap.id, &entry.to_string(), gap.ended, batch, beside);
}

/// Adds a record that is not a gap: it stores the cursor while a filter drops all records. Each task has one key for
/// it.
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
        // The text is valid JSON, so this cannot fail.
        ValueKind::Json => drop(record.value_with(ValueKind::Json, |out| Parser::default().parse(text, out))),
        kind => record.value(kind, text.as_bytes()),
    }
}

/// Returns the gap as JSON, with times in milliseconds since the epoch and the feed's numbers as text. `connection`:
/// the connection that has reported it, if there was one.
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
