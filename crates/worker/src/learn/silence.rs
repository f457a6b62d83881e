//! How long a connection was silent, and which timeout fits.

use std::time::Duration;

use super::{About, Certainty, Finding, count};

/// The timeout is this many times the longest silence, because a short probe may see only the feed's busy time.
const FACTOR: u32 = 10;
/// The shortest suggested timeout.
const LEAST: Duration = Duration::from_secs(30);
/// Suggested timeouts are multiples of this.
const STEP: Duration = Duration::from_secs(10);
/// A finding needs at least this time and this number of messages.
const ENOUGH: Duration = Duration::from_secs(10);
const ENOUGH_MESSAGES: usize = 20;

/// The longest time between messages.
#[derive(Debug, Default)]
pub(super) struct Silence {
    first: Option<Duration>,
    last: Duration,
    longest: Duration,
    messages: usize,
}

impl Silence {
    /// Notes a new connection. The time without a connection is not silence of the feed.
    pub(super) fn connected(&mut self, at: Duration) {
        self.last = self.last.max(at);
    }

    pub(super) fn message(&mut self, at: Duration) {
        if self.first.is_some() {
            self.longest = self.longest.max(at.saturating_sub(self.last));
        }
        self.first.get_or_insert(at);
        self.last = self.last.max(at);
        self.messages += 1;
    }

    pub(super) fn finding(&self) -> Option<Finding> {
        let watched = self.last.saturating_sub(self.first?);
        if watched < ENOUGH || self.messages < ENOUGH_MESSAGES {
            let (messages, say) = if self.messages == 1 { ("message", "says") } else { ("messages", "say") };
            let says = format!(
                "{} {messages} in {:.1} s {say} too little of how long a connection may be silent.",
                count(self.messages),
                watched.as_secs_f64(),
            );
            return Some(Finding::new(About::Idle, Certainty::Possible, says));
        }
        let timeout = timeout(self.longest);
        let says = format!(
            "The longest silence between {} messages in {:.0} s was {:.1} s. {FACTOR} times that, at least {} s, is {} s.",
            count(self.messages),
            watched.as_secs_f64(),
            self.longest.as_secs_f64(),
            LEAST.as_secs(),
            timeout.as_secs(),
        );
        let finding = Finding::new(About::Idle, Certainty::Likely, says)
            .line("websocket.idle.timeout.ms", timeout.as_millis().to_string())
            .caveat("a feed without heartbeats may be silent for longer at a quiet time; then use a larger value");
        Some(finding)
    }
}

fn timeout(longest: Duration) -> Duration {
    let wanted = longest.saturating_mul(FACTOR).max(LEAST);
    let steps = wanted.as_millis().div_ceil(STEP.as_millis());
    STEP.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::Line;
    use super::*;

    fn silence(seconds: &[f64]) -> Silence {
        let mut silence = Silence::default();
        for at in seconds {
            silence.message(Duration::from_secs_f64(*at));
        }
        silence
    }

    #[test]
    fn a_timeout_is_ten_times_the_longest_silence_and_thirty_seconds_at_least() {
        assert_eq!(timeout(Duration::from_millis(10)), Duration::from_secs(30));
        assert_eq!(timeout(Duration::from_secs(5)), Duration::from_secs(50));
        assert_eq!(timeout(Duration::from_millis(5001)), Duration::from_secs(60));
        let every_five: Vec<f64> = (0..30).map(|number| f64::from(number) * 5.0).collect();
        let finding = silence(&every_five).finding().unwrap();
        assert_eq!(finding.lines, [Line { key: "websocket.idle.timeout.ms", value: "50000".to_owned() }]);
        assert!(finding.says.contains("was 5.0 s. 10 times that"), "{}", finding.says);
    }

    #[test]
    fn the_time_without_a_connection_is_no_silence() {
        let mut silence = Silence::default();
        (0..20).for_each(|number| silence.message(Duration::from_secs(number)));
        silence.connected(Duration::from_secs(80));
        silence.message(Duration::from_secs(81));
        assert_eq!(silence.longest, Duration::from_secs(1));
    }

    #[test]
    fn a_short_look_suggests_nothing() {
        assert!(silence(&[]).finding().is_none());
        assert_eq!(silence(&[0.0, 60.0]).finding().unwrap().lines, []);
        let fast: Vec<f64> = (0..100).map(|number| f64::from(number) / 100.0).collect();
        assert_eq!(silence(&fast).finding().unwrap().lines, []);
    }
}
