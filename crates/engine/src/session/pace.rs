//! When to read again: on a busy feed the cost is wake-ups, not bytes, so after a small read the session lingers.

use std::time::Duration;

use tokio::time::Instant;

/// A read of at least this much is part of a burst: read on at once.
const BURST_BYTES: usize = 48 << 10;
/// A linger up to this is slept by the task's own thread: the runtime's timer would wake it twice more (decision 002).
const THREAD_SLEEP: Duration = Duration::from_millis(20);

pub(super) struct Pace {
    linger: Duration,
    /// Not before this is read again.
    read_at: Instant,
}

/// What to do until the next read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Linger {
    No,
    /// The thread sleeps.
    Sleep(Instant),
    /// Everything else goes on.
    Wait(Instant),
}

impl Pace {
    pub(super) fn new(linger: Duration, now: Instant) -> Pace {
        Pace { linger, read_at: now }
    }

    pub(super) fn is_burst(bytes: usize) -> bool {
        bytes >= BURST_BYTES
    }

    /// So many bytes of messages were read and taken in.
    pub(super) fn took_in(&mut self, bytes: usize, now: Instant) {
        self.read_at = if Pace::is_burst(bytes) { now } else { now + self.linger };
    }

    pub(super) fn linger(&self, now: Instant) -> Linger {
        match self.read_at {
            at if at <= now => Linger::No,
            at if self.linger <= THREAD_SLEEP => Linger::Sleep(at),
            at => Linger::Wait(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_read_lingers_and_a_burst_does_not() {
        let (now, ms) = (Instant::now(), Duration::from_millis);
        let mut pace = Pace::new(ms(7), now);
        assert_eq!(pace.linger(now), Linger::No);
        pace.took_in(100, now);
        assert_eq!(pace.linger(now), Linger::Sleep(now + ms(7)));
        assert_eq!(pace.linger(now + ms(7)), Linger::No);
        pace.took_in(BURST_BYTES, now);
        assert_eq!(pace.linger(now), Linger::No);
        let mut pace = Pace::new(ms(100), now);
        pace.took_in(100, now);
        assert_eq!(pace.linger(now), Linger::Wait(now + ms(100)));
    }
}
