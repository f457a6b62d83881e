//! Source partition and source offset: the two maps that Kafka Connect stores for a source.
//!
//! Partition `{"websocket_url": <URL without secrets>}`, offset `{"session_id": <UUID per task start>, "sequence": <i64>}`:
//! the form of the existing connector, so its stored offsets are continued and ours can be read by it. Beside these an offset
//! has `at`, when its record was received (ms), and where the feed can resume `cursor`, `part` and the captured variables.
//! Where each key has a cursor of its own, the partition is the URL, `#` and the key.

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
/// Where the feed stood, as it said.
pub const CURSOR: &str = "cursor";
/// How many records behind the cursor are stored with it.
pub const PART: &str = "part";
/// What is missing, and is still to be asked for.
pub const UNREPAIRED: &str = "unrepaired";
/// The largest sequence that can be continued: half of what the number holds is left for the records to come.
pub const MAX_SEQUENCE: i64 = i64::MAX / 2;

/// The source partition of a key; of no key, the feed's one.
pub fn partition(base: &str, key: Option<&str>) -> String {
    key.map_or_else(|| base.to_owned(), |key| format!("{base}#{key}"))
}

/// Where in the feed a stored offset stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    pub cursor: Option<String>,
    /// Records behind the cursor that are stored too.
    pub part: u64,
    pub at: Option<SystemTime>,
    /// The gaps that are still to be repaired.
    pub unrepaired: Option<String>,
    /// Captured variables, names and values.
    pub variables: Vec<(String, String)>,
}

/// What the host found in its offset storage when the task starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredOffset {
    pub sequence: i64,
    /// The session that the sequence belongs to: a hand-over file of the same session is surely the next.
    pub session_id: Option<Arc<str>>,
    /// When the host last wrote its offsets, if it knows: the begin of the gap that the restart makes, where the offset does
    /// not say when its record was received.
    pub written_at: Option<SystemTime>,
    pub position: Position,
    /// Where the feed's keys stand, each in a partition of its own.
    pub keyed: HashMap<String, Position>,
}

impl StoredOffset {
    /// Adds where a record stands.
    pub(crate) fn add_record(found: Option<StoredOffset>, record: &Record<'_>) -> Option<StoredOffset> {
        let own = [(SEQUENCE, OffsetValue::Number(record.sequence)), (AT, OffsetValue::Number(record.received_ms))];
        StoredOffset::add(found, record.partition_key(), own.into_iter().chain(record.offset_entries()))
    }

    /// Adds what a partition's offset holds; `key` is that of the partition. An offset without a sequence is none.
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
                // Whoever sets it by hand may write a number as one.
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

    /// When the last record that is stored was received.
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
