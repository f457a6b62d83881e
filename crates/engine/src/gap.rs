//! Gaps: times in which the feed may have sent what was not received, and their causes.

use std::fmt;
use std::time::{Duration, SystemTime};

use ring::digest;

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
    /// The feed's numbering has a hole.
    Sequence,
    /// The feed's numbering went back.
    Reset,
    /// The feed could not go on from where we were.
    ResumeLost,
    /// The feed went on from a later place than it was asked to.
    Clamped,
    /// The queue was full, and messages were dropped.
    Dropped,
    /// Records that were refused, and left out.
    Skipped,
    /// Records that were larger than allowed, and left out.
    TooLarge,
}

impl Cause {
    pub const ALL: [Cause; 17] = [
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
        Cause::Sequence,
        Cause::Reset,
        Cause::ResumeLost,
        Cause::Clamped,
        Cause::Dropped,
        Cause::Skipped,
        Cause::TooLarge,
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
            Cause::Sequence => "sequence",
            Cause::Reset => "reset",
            Cause::ResumeLost => "resume_lost",
            Cause::Clamped => "clamped",
            Cause::Dropped => "dropped",
            Cause::Skipped => "skipped",
            Cause::TooLarge => "too_large",
        }
    }

    /// Neither a restart nor what is found in the messages is a reconnect.
    pub fn begins_a_reconnect(self) -> bool {
        use Cause::{Clamped, Dropped, Reset, Restart, ResumeLost, Skipped, TooLarge};
        !matches!(self, Reset | Restart | ResumeLost | Clamped | Dropped | Skipped | TooLarge)
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
    /// Unique; a gap that is reported again after a crash has the same.
    pub id: String,
    /// When the last byte before it was received; for a restart when offsets were last written. `None` if unknown.
    pub began: Option<SystemTime>,
    pub ended: SystemTime,
    pub cause: Cause,
    /// How many messages are missing, where that is known: for a restart, those that were received before and lost.
    pub missed: Option<u64>,
    /// Which messages, where the feed numbers them.
    pub range: Option<Range>,
    /// The feed's history had all that was missing.
    pub repaired: bool,
}

/// Messages that are missing, by the feed's own numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Of the numbering; empty if there is but one.
    pub key: String,
    pub from: String,
    pub to: String,
}

impl Gap {
    /// An id that is the same for the same words.
    pub(crate) fn id_of(words: &[&str]) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        for word in words {
            context.update(&(word.len() as u64).to_be_bytes());
            context.update(word.as_bytes());
        }
        context.finish().as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn random_id() -> String {
        uuid::Uuid::new_v4().simple().to_string()
    }

    pub fn duration(&self) -> Option<Duration> {
        self.began.and_then(|began| self.ended.duration_since(began).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_give_the_same_id() {
        assert_eq!(Gap::id_of(&["a", "bc"]), Gap::id_of(&["a", "bc"]));
        assert_ne!(Gap::id_of(&["a", "bc"]), Gap::id_of(&["ab", "c"]));
        assert_eq!((Gap::id_of(&[]).len(), Gap::random_id().len()), (32, 32));
    }

    #[test]
    fn causes_index_their_own_counter() {
        for (index, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index);
        }
    }
}
