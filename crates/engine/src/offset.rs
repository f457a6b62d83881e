//! Source partition and source offset: the two maps that Kafka Connect stores for a source.
//!
//! Partition `{"websocket_url": <URL without secrets>}`, offset `{"session_id": <UUID per task start>, "sequence": <i64>}`:
//! the form of the existing connector, so either connector can continue the other's offsets. An offset also has `at`,
//! the time of receipt (ms). If the feed can resume, it has `cursor`, `part` and captured variables. If each key has
//! its own cursor, the partition is the URL, `#` and the key.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::record::{OffsetValue, Record};

/// The one key of the source partition.
pub const PARTITION_KEY: &str = "websocket_url";
pub const SESSION_ID: &str = "session_id";
pub const SEQUENCE: &str = "sequence";
/// When the record was received, milliseconds since the epoch.
pub const AT: &str = "at";
/// The record's position in the feed.
pub const CURSOR: &str = "cursor";
/// How many records after the cursor are stored.
pub const PART: &str = "part";
/// Missing messages that are still to be requested.
pub const UNREPAIRED: &str = "unrepaired";
/// The largest sequence that can be continued. It leaves half of the range for new records.
pub const MAX_SEQUENCE: i64 = i64::MAX / 2;

/// Returns the source partition of a key, or without a key that of the feed.
pub fn partition(base: &str, key: Option<&str>) -> String {
    key.map_or_else(|| base.to_owned(), |key| format!("{base}#{key}"))
}

/// The position in the feed of a stored offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    pub cursor: Option<String>,
    /// How many records after the cursor are stored.
    pub part: u64,
    pub at: Option<SystemTime>,
    /// The list of unrepaired gaps.
    pub unrepaired: Option<String>,
    /// Names and values of captured variables.
    pub variables: Vec<(String, String)>,
}

/// What the host found in its offset storage when the task starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredOffset {
    pub sequence: i64,
    /// The session of the sequence. A hand-over file of the same session continues the offset.
    pub session_id: Option<Arc<str>>,
    /// When the host last wrote its offsets, if it knows that. The gap of the restart begins then, if the offset has no
    /// time of receipt.
    pub written_at: Option<SystemTime>,
    pub position: Position,
    /// The positions of the feed's keys, each from its own partition.
    pub keyed: HashMap<String, Position>,
}

impl StoredOffset {
    /// Adds the offset of a record.
    pub(crate) fn add_record(found: Option<StoredOffset>, record: &Record<'_>) -> Option<StoredOffset> {
        let own = [(SEQUENCE, OffsetValue::Number(record.sequence)), (AT, OffsetValue::Number(record.received_ms))];
        StoredOffset::add(found, record.partition_key(), own.into_iter().chain(record.offset_entries()))
    }

    /// Adds a partition's offset. `key` is the key of the partition. An offset without a sequence is ignored.
    pub fn add<'a>(
        found: Option<StoredOffset>,
        key: Option<&str>,
        entries: impl Iterator<Item = (&'a str, OffsetValue<'a>)>,
    ) -> Option<StoredOffset> {
        let (mut sequence, mut session_id, mut position) = (None, None, Position::default());
        for (name, value) in entries {
            match (name, value) {
                (SEQUENCE, OffsetValue::Number(number)) => sequence = Some(number),
                (SESSION_ID, OffsetValue::Text(id)) => session_id = Some(Arc::from(id)),
                (CURSOR, OffsetValue::Text(cursor)) => position.cursor = Some(cursor.to_owned()),
                // A cursor that was set over REST may be a JSON number.
                (CURSOR, OffsetValue::Number(cursor)) => position.cursor = Some(cursor.to_string()),
                (UNREPAIRED, OffsetValue::Text(gaps)) => position.unrepaired = Some(gaps.to_owned()),
                (PART, OffsetValue::Number(part)) => position.part = u64::try_from(part).unwrap_or_default(),
                (AT, OffsetValue::Number(ms)) => {
                    position.at = u64::try_from(ms).ok().map(|ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
                }
                (name, OffsetValue::Text(value)) => position.variables.push((name.to_owned(), value.to_owned())),
                (_, OffsetValue::Number(_)) => {}
            }
        }
        let Some(sequence) = sequence else { return found };
        let first = found.is_none();
        let mut found = found.unwrap_or_default();
        if first || sequence > found.sequence {
            (found.sequence, found.session_id) = (sequence, session_id);
        }
        match key {
            None => found.position = position,
            Some(key) => drop(found.keyed.insert(key.to_owned(), position)),
        }
        Some(found)
    }

    /// Returns when the last stored record was received.
    pub fn at(&self) -> Option<SystemTime> {
        self.keyed.values().map(|position| position.at).chain([self.position.at]).max().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_that_was_set_by_hand_may_be_a_number() {
        let entries = [(SEQUENCE, OffsetValue::Number(3)), (CURSOR, OffsetValue::Number(24_647_190_112))];
        let stored = StoredOffset::add(None, None, entries.into_iter()).unwrap();
        assert_eq!(stored.position.cursor.as_deref(), Some("24647190112"));
    }
}
