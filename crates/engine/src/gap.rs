//! Gaps: times in which the feed may have sent what was not received, and their causes.

use std::fmt;
use std::time::{Duration, SystemTime};

/// Why a connection ended or could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The server sent a Close frame.
    ServerClose,
    /// The stream ended without a Close frame.
    EndOfStream,
    /// Reading or writing failed, a TCP reset for one.
    ConnectionError,
    PongTimeout,
    IdleTimeout,
    /// The server broke the protocol or a limit of ours.
    ProtocolError,
    /// TCP, TLS, name, proxy or handshake failed.
    ConnectFailed,
    /// The task was started again.
    Restart,
    /// A step of the session failed.
    StepFailed,
    /// A step of the session asked for a new connection.
    StepReconnects,
}

impl Cause {
    pub const ALL: [Cause; 10] = [
        Cause::ServerClose,
        Cause::EndOfStream,
        Cause::ConnectionError,
        Cause::PongTimeout,
        Cause::IdleTimeout,
        Cause::ProtocolError,
        Cause::ConnectFailed,
        Cause::Restart,
        Cause::StepFailed,
        Cause::StepReconnects,
    ];

    /// The value of the `cause` label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::ServerClose => "server_close",
            Cause::EndOfStream => "end_of_stream",
            Cause::ConnectionError => "connection_error",
            Cause::PongTimeout => "pong_timeout",
            Cause::IdleTimeout => "idle_timeout",
            Cause::ProtocolError => "protocol_error",
            Cause::ConnectFailed => "connect_failed",
            Cause::Restart => "restart",
            Cause::StepFailed => "step_failed",
            Cause::StepReconnects => "step_reconnects",
        }
    }

    /// A restart is no reconnect.
    pub fn begins_a_reconnect(self) -> bool {
        self != Cause::Restart
    }

    /// An attempt that fails goes on with the gap that is there; before the first connection there is none.
    pub fn begins_a_gap(self) -> bool {
        self != Cause::ConnectFailed
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A time in which the feed may have sent what was not received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// When the last byte before it was received; for a restart when offsets were last written. `None` if unknown.
    pub began: Option<SystemTime>,
    pub ended: SystemTime,
    pub cause: Cause,
    /// How many messages are missing, where that is known: for a restart, those that were received before and lost.
    pub missed: Option<u64>,
}

impl Gap {
    pub fn duration(&self) -> Option<Duration> {
        self.began.and_then(|began| self.ended.duration_since(began).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_index_their_own_counter() {
        for (index, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index);
        }
    }
}
