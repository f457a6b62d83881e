//! Rates such as `websocket.send.rate`: at most a number of messages in a time, with several limits at once.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The largest count of a limit, because the time of each message is kept.
const MAX_COUNT: usize = 10_000;
/// The most by which a period is made longer, for messages that are delayed on their way.
const MAX_MARGIN: Duration = Duration::from_millis(500);

/// At most `count` messages in any period of `time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub count: usize,
    pub time: Duration,
}

impl Limit {
    /// Returns the period that is used. It is a little longer than configured: a message that is delayed on its way
    /// arrives closer to the next one, and the feed counts what arrives.
    pub fn kept_for(&self) -> Duration {
        self.time + (self.time / 10).min(MAX_MARGIN)
    }
}

/// Reads `5/1s` or `3/1s,480/1h`. The units are ms, s, m and h.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse(text: &str) -> Result<Vec<Limit>, String> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(parse_one).collect()
}

fn parse_one(text: &str) -> Result<Limit, String> {
    let wrong = || format!("expected a rate such as 5/1s or 480/1h instead of '{text}'");
    let (count, time) = text.split_once('/').ok_or_else(wrong)?;
    let count = count.trim().parse().ok().filter(|count| (1..=MAX_COUNT).contains(count)).ok_or_else(wrong)?;
    let time = duration(time.trim()).filter(|time| !time.is_zero()).ok_or_else(wrong)?;
    Ok(Limit { count, time })
}

/// Reads a time with its unit.
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit.trim() {
        "ms" => number,
        "s" => number.checked_mul(1000)?,
        "m" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        _ => return None,
    };
    Some(Duration::from_millis(millis))
}

/// Reads a number of milliseconds, possibly with a fraction.
pub fn millis(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|ms| ms.is_finite() && *ms >= 0.0)
}

/// Reads a time with its unit, or a number of seconds.
pub fn seconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    duration(text).or_else(|| text.parse().ok().map(Duration::from_secs))
}

/// The times of the last messages, as far back as the limits need them.
#[derive(Debug, Clone, Default)]
pub struct Rate {
    limits: Vec<Limit>,
    /// How many times are kept: the largest count of a limit.
    most: usize,
    /// The oldest first.
    sent: VecDeque<Instant>,
}

impl Rate {
    pub fn new(limits: Vec<Limit>) -> Rate {
        let mut rate = Rate::default();
        rate.set_limits(&limits);
        rate
    }

    /// Sets the limits. Messages sent before still count.
    pub fn set_limits(&mut self, limits: &[Limit]) {
        self.limits = limits.to_vec();
        self.most = limits.iter().map(|limit| limit.count).fold(self.most, usize::max);
    }

    /// Returns when the next message may be sent. It is not in the future if that is now.
    pub fn next(&self, now: Instant) -> Instant {
        let free = |limit: &Limit| {
            let oldest = self.sent.len().checked_sub(limit.count).and_then(|at| self.sent.get(at));
            oldest.map_or(now, |&at| at + limit.kept_for())
        };
        self.limits.iter().map(free).max().unwrap_or(now)
    }

    /// Counts a message.
    pub fn count(&mut self, now: Instant) {
        self.sent.push_back(now);
        while self.sent.len() > self.most {
            self.sent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn rates_have_a_count_and_a_time_with_its_unit() {
        let limit = |count, time| Limit { count, time };
        assert_eq!(parse("5/1s"), Ok(vec![limit(5, SECOND)]));
        assert_eq!(parse("3/500ms, 480/1h"), Ok(vec![limit(3, SECOND / 2), limit(480, 3600 * SECOND)]));
        assert_eq!(parse(""), Ok(vec![]));
        for wrong in ["5", "0/1s", "5/0s", "5/1", "x/1s", "5/1d", "99999/1s"] {
            assert!(parse(wrong).unwrap_err().contains("such as 5/1s"), "{wrong}");
        }
    }

    #[test]
    fn every_limit_is_kept_and_a_little_longer() {
        let now = Instant::now();
        let mut rate = Rate::new(parse("2/1s,3/10s").unwrap());
        for _ in 0..2 {
            assert!(rate.next(now) <= now);
            rate.count(now);
        }
        let later = now + Duration::from_millis(1100);
        assert_eq!(rate.next(now), later);
        rate.count(later);
        assert_eq!(rate.next(later), now + Duration::from_millis(10_500));
        assert!(Rate::default().next(now) <= now);
    }
}
