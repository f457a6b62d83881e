//! What a server keeps of a session that goes on over several connections, and is acknowledged up to a sequence id.

use std::collections::BTreeSet;

#[derive(Debug, Default)]
pub(crate) struct RecoverableSession {
    /// Of the server's memory: a session of another one is gone.
    pub(crate) generation: String,
    pub(crate) groups: BTreeSet<String>,
    /// The next record, once the groups are joined.
    pub(crate) next: Option<u64>,
    /// Records of the session, by sequence id from 1 on.
    pub(crate) sent: Vec<u64>,
    /// The highest sequence id that was acknowledged.
    pub(crate) acknowledged: usize,
}
