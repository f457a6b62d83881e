//! When to read again. Wake-ups cost more than bytes, so after a small read the session waits
//! (`websocket.receive.linger.ms`).

use std::time::Duration;

use tokio::time::Instant;

/// After a read of at least this size, more is read at once.
const BURST_BYTES: usize = 48 << 10;
/// Up to this length, the thread itself sleeps for the linger: the runtime's timer would wake it twice more (decision
/// 002).
const THREAD_SLEEP: Duration = Duration::from_millis(20);

pub(super) struct Pace {
    linger: Duration,
    /// Nothing is read before this.
    read_at: Instant,
}

/// What to do until the next read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Linger {
    No,
    /// Block the thread until then.
    Sleep(Instant),
    /// Do not read until then. Everything else goes on.
    Wait(Instant),
}

impl Pace {
    pub(super) fn new(linger: Duration, now: Instant) -> Pace {
        Pace { linger, read_at: now }
    }

    pub(super) fn is_burst(bytes: usize) -> bool {
        bytes >= BURST_BYTES
    }

    /// Notes how many bytes of messages were read.
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
