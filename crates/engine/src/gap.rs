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
    /// Reading or writing failed, for example because of a TCP reset.
    ConnectionError,
    PongTimeout,
    IdleTimeout,
    /// The server violated the protocol or a limit.
    ProtocolError,
    /// TCP, TLS, name, proxy or handshake failed.
    ConnectFailed,
    /// The task was started again.
    Restart,
    /// A step of the session failed.
    StepFailed,
    /// A step of the session requested a new connection.
    StepReconnects,
    /// The feed's numbering has a hole.
    Sequence,
    /// The feed's numbering went back.
    Reset,
    /// The feed could not resume from the stored position.
    ResumeLost,
    /// The feed resumed from a later position than requested.
    Clamped,
    /// The queue was full, and messages were dropped.
    Dropped,
    /// Records were refused and skipped.
    Skipped,
    /// A record was larger than allowed, and was dropped.
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

    /// A restart and findings in messages are not reconnects.
    pub fn begins_a_reconnect(self) -> bool {
        use Cause::{Clamped, Dropped, Reset, Restart, ResumeLost, Skipped, TooLarge};
        !matches!(self, Reset | Restart | ResumeLost | Clamped | Dropped | Skipped | TooLarge)
    }

    /// A failed attempt is part of the gap that is open already.
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
    /// Unique. A gap that is reported again after a crash has the same id.
    pub id: String,
    /// When the last byte before the gap was received. For a restart: when the last stored record was received, or when
    /// the hand-over file was written. `None` if not known.
    pub began: Option<SystemTime>,
    pub ended: SystemTime,
    pub cause: Cause,
    /// How many messages are missing, if known. For a restart: received records that were lost.
    pub missed: Option<u64>,
    /// Which messages are missing, if the feed numbers them.
    pub range: Option<Range>,
    /// Whether the feed's history had everything that was missing.
    pub repaired: bool,
}

/// The feed's numbers of missing messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The key of the numbers. Empty if there is only one numbering.
    pub key: String,
    pub from: String,
    pub to: String,
}

impl Gap {
    /// Returns an id that is the same for the same words.
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
