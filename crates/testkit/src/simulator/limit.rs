//! Rate limits of feeds.

use std::collections::VecDeque;
use std::time::Duration;

/// At most so many events in any window of this length.
#[derive(Debug)]
pub(crate) struct Limit {
    most: usize,
    window: Duration,
    seen: VecDeque<Duration>,
}

impl Limit {
    pub(crate) fn new(most: usize, window: Duration) -> Limit {
        Limit { most, window, seen: VecDeque::new() }
    }

    /// Counts an event; returns whether it is within the limit.
    pub(crate) fn allows(&mut self, now: Duration) -> bool {
        while self.seen.front().is_some_and(|at| now.saturating_sub(*at) >= self.window) {
            self.seen.pop_front();
        }
        self.seen.push_back(now);
        self.seen.len() <= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_slides() {
        let mut limit = Limit::new(2, Duration::from_millis(1000));
        let mut at = |ms| limit.allows(Duration::from_millis(ms));
        assert!(at(0) && at(500));
        assert!(!at(999));
        assert!(!at(1000), "those of 500 and 999 count");
        assert!(at(2000));
    }
}
