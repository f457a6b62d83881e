//! What came while the session's thread did not run, as when the process was suspended. It may be more than one read
//! takes, so until the socket is empty, nothing that the session waits for is late.

use std::time::Duration;

use tokio::time::Instant;

/// A wake-up that is later than this came late.
const LATE: Duration = Duration::from_millis(100);
/// Reading may take up to this long.
const MAX_READING: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Backlog {
    until: Option<Instant>,
}

impl Backlog {
    /// Notes a wake-up: when it was due at the latest, and whether the socket was empty before it. Returns whether it
    /// came late.
    pub(super) fn woke(&mut self, due: Instant, now: Instant, empty: bool) -> bool {
        let late = now > due + LATE;
        if late {
            self.until = Some(now + MAX_READING);
        } else if empty {
            self.until = None;
        }
        late
    }

    /// Whether the socket may have a backlog.
    pub(super) fn may_be(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_late_wake_up_there_may_be_a_backlog_until_the_socket_is_empty() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut backlog = Backlog::default();
        assert!(!backlog.woke(at(1000), at(1100), false));
        assert!(!backlog.may_be(at(1100)));
        // It was empty before the process was suspended.
        assert!(backlog.woke(at(1000), at(9000), true));
        assert!(backlog.may_be(at(9000)));
        backlog.woke(at(9001), at(9001), false);
        assert!(backlog.may_be(at(9001)));
        backlog.woke(at(9002), at(9002), true);
        assert!(!backlog.may_be(at(9002)));
    }

    #[test]
    fn a_feed_that_never_pauses_is_not_excused_for_ever() {
        let start = Instant::now();
        let mut backlog = Backlog::default();
        backlog.woke(start, start + Duration::from_secs(60), false);
        assert!(backlog.may_be(start + Duration::from_secs(64)));
        assert!(!backlog.may_be(start + Duration::from_secs(65)));
    }
}
