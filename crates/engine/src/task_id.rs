//! Which task of which connector.

use std::fmt;

/// A task's name: its connector's, and its number among the connector's tasks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    pub connector: String,
    pub number: u32,
}

impl TaskId {
    /// Returns the name of a connector's only task: one connection reads a feed.
    pub fn only(connector: impl Into<String>) -> TaskId {
        TaskId { connector: connector.into(), number: 0 }
    }
}

impl fmt::Display for TaskId {
    /// As Kafka Connect writes it: `trades-0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.connector, self.number)
    }
}
