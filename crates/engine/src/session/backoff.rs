//! How long to wait before the next attempt to connect.

use std::time::Duration;

use crate::config::Reconnect;

/// The shortest wait after a failure, even with an interval of 0.
const FLOOR: Duration = Duration::from_millis(100);

/// Counts failures in a row, so that a server that accepts and closes at once is not tried too often.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Failures in a row so far.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts one more failure and returns `min(interval × 2^(n-1), cap)` plus `jitter` (0 to 1) times a quarter of it.
    pub(super) fn after_failure(&mut self, reconnect: &Reconnect, jitter: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let doubled = reconnect.interval.checked_mul(1u32.checked_shl(self.failures - 1).unwrap_or(u32::MAX));
        let base = doubled.unwrap_or(Duration::MAX).min(reconnect.backoff_max).max(FLOOR);
        base + base.mul_f64(0.25 * jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reconnect(interval_ms: u64, max_ms: u64) -> Reconnect {
        Reconnect {
            enabled: true,
            first_delay: Duration::ZERO,
            interval: Duration::from_millis(interval_ms),
            backoff_max: Duration::from_millis(max_ms),
            attempts: crate::config::Attempts::Unset,
        }
    }

    #[test]
    fn doubles_up_to_the_cap_and_never_overflows() {
        let reconnect = reconnect(5000, 60_000);
        let mut backoff = Backoff::default();
        let delays: Vec<u64> = (0..1000).map(|_| backoff.after_failure(&reconnect, 0.0).as_millis() as u64).collect();
        assert_eq!(delays[..5], [5000, 10_000, 20_000, 40_000, 60_000]);
        assert!(delays[4..].iter().all(|&ms| ms == 60_000));
    }

    #[test]
    fn jitter_adds_at_most_a_quarter() {
        let reconnect = reconnect(1000, 60_000);
        assert_eq!(Backoff::default().after_failure(&reconnect, 1.0), Duration::from_millis(1250));
        assert_eq!(Backoff::default().after_failure(&reconnect, 7.0), Duration::from_millis(1250));
    }

    #[test]
    fn is_never_shorter_than_the_floor() {
        for (interval, max) in [(0, 0), (0, 60_000), (5000, 0)] {
            assert_eq!(Backoff::default().after_failure(&reconnect(interval, max), 0.0), FLOOR);
        }
    }
}
