//! Source partition and source offset: the two maps that Kafka Connect stores for a source.
//!
//! Partition `{"websocket_url": <URL without secrets>}`, offset `{"session_id": <UUID per task start>, "sequence": <i64>}`:
//! the form of the existing connector, so its stored offsets are continued and ours can be read by it.

use std::sync::Arc;
use std::time::SystemTime;

/// The one key of the source partition.
pub const PARTITION_KEY: &str = "websocket_url";
pub const SESSION_ID: &str = "session_id";
pub const SEQUENCE: &str = "sequence";
/// The largest sequence that can be continued: half of what the number holds is left for the records to come.
pub const MAX_SEQUENCE: i64 = i64::MAX / 2;

/// How far a task has come: every record up to and including `sequence`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceOffset {
    /// A random UUID per task start; a task that takes a hand-over file over continues its session.
    pub session_id: Arc<str>,
    /// Grows by one per record, over restarts too.
    pub sequence: i64,
}

/// What the host found in its offset storage when the task starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredOffset {
    pub sequence: i64,
    /// The session that the sequence belongs to: a hand-over file of the same session is surely the next.
    pub session_id: Option<Arc<str>>,
    /// When the host last wrote its offsets, if it knows: the begin of the gap that the restart makes.
    pub written_at: Option<SystemTime>,
}
