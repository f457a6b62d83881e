//! The share of successful offset commits, measured as in Kafka Connect: over two samples of 30 s.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const SAMPLE: Duration = Duration::from_secs(30);
const SAMPLES: usize = 2;

#[derive(Debug, Default)]
pub(crate) struct CommitWindow {
    /// Oldest first.
    samples: VecDeque<Sample>,
}

#[derive(Debug)]
struct Sample {
    began: Instant,
    succeeded: u32,
    failed: u32,
}

impl CommitWindow {
    pub(super) fn record(&mut self, succeeded: bool, now: Instant) {
        if self.samples.back().is_none_or(|sample| now.duration_since(sample.began) >= SAMPLE) {
            self.samples.push_back(Sample { began: now, succeeded: 0, failed: 0 });
        }
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
        if let Some(sample) = self.samples.back_mut() {
            let count = if succeeded { &mut sample.succeeded } else { &mut sample.failed };
            *count = count.saturating_add(1);
        }
    }

    /// Returns the shares of successful and of failed commits, 0 to 1. Both are 0 if there was none.
    pub(crate) fn shares(&self, now: Instant) -> (f64, f64) {
        let recent = self.samples.iter().filter(|sample| now.duration_since(sample.began) < SAMPLE * SAMPLES as u32);
        let (succeeded, failed) = recent.fold((0.0, 0.0), |(succeeded, failed), sample| {
            (succeeded + f64::from(sample.succeeded), failed + f64::from(sample.failed))
        });
        let all = succeeded + failed;
        if all == 0.0 { (0.0, 0.0) } else { (succeeded / all, failed / all) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_last_minute() {
        let mut window = CommitWindow::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(window.shares(at(0)), (0.0, 0.0));
        for (succeeded, seconds) in [(false, 0), (true, 10), (true, 35), (true, 40)] {
            window.record(succeeded, at(seconds));
        }
        assert_eq!(window.shares(at(50)), (0.75, 0.25));
        window.record(true, at(70));
        assert_eq!(window.shares(at(70)), (1.0, 0.0), "the failure is too old");
        assert_eq!(window.shares(at(200)), (0.0, 0.0));
    }
}
