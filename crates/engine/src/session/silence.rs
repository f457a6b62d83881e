//! Which keys of `websocket.idle.key` are silent while others have records: when each key had its last record.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

/// The most keys that are watched.
const MAX_KEYS: usize = 10_000;
/// All keys are checked at most this many times within the timeout.
const LEAST_PART: u32 = 64;

pub(super) struct Silence {
    timeout: Duration,
    opened: Instant,
    /// How long reading was paused. The times below do not include it, because silence then is not the server's fault.
    blocked: Duration,
    /// When each key had its last record, since the connection was opened.
    last: HashMap<String, Duration>,
    /// Before this time, no key can be silent for too long.
    look: Option<Duration>,
    is_full: bool,
}

impl Silence {
    pub(super) fn new(timeout: Duration, opened: Instant) -> Silence {
        Silence { timeout, opened, blocked: Duration::ZERO, last: HashMap::new(), look: None, is_full: false }
    }

    /// Notes that a record has this key.
    pub(super) fn saw(&mut self, key: &str, now: Instant) {
        let time = self.time(now);
        if let Some(last) = self.last.get_mut(key) {
            *last = time;
            return;
        }
        if self.last.len() < MAX_KEYS {
            self.last.insert(key.to_owned(), time);
            self.look.get_or_insert(time + self.timeout);
        } else if !std::mem::replace(&mut self.is_full, true) {
            warn!("event=idle_keys_full keys={MAX_KEYS}");
        }
    }

    /// Returns the key that has been silent for longest, if that is longer than the timeout.
    pub(super) fn too_long(&mut self, now: Instant) -> Option<String> {
        let time = self.time(now);
        if self.look.is_none_or(|look| time < look) {
            return None;
        }
        let (key, last) = self.last.iter().min_by_key(|(_, last)| **last)?;
        let due = *last + self.timeout;
        if due <= time {
            return Some(key.clone());
        }
        self.look = Some(due.max(time + self.timeout / LEAST_PART));
        None
    }

    /// Gives all keys the whole timeout again, after all topics were subscribed again.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        let time = self.time(now);
        self.last.values_mut().for_each(|last| *last = time);
        self.look = Some(time + self.timeout);
    }

    pub(super) fn shift(&mut self, by: Duration) {
        self.blocked += by;
    }

    /// Returns when to call [`Silence::too_long`] next.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.look.map(|look| self.opened + self.blocked + look)
    }

    fn time(&self, now: Instant) -> Duration {
        now.duration_since(self.opened).saturating_sub(self.blocked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_key_without_a_record_for_the_timeout_is_silent_while_others_flow() {
        let now = Instant::now();
        let mut silence = Silence::new(10 * SECOND, now);
        assert_eq!((silence.next_look(), silence.too_long(now + 99 * SECOND)), (None, None), "no key was seen");
        silence.saw("a", now);
        silence.saw("b", now);
        assert_eq!(silence.next_look(), Some(now + 10 * SECOND));
        silence.saw("b", now + 6 * SECOND);
        assert_eq!(silence.too_long(now + 9 * SECOND), None);
        assert_eq!(silence.too_long(now + 10 * SECOND).as_deref(), Some("a"));
        silence.saw("a", now + 12 * SECOND);
        assert_eq!(silence.too_long(now + 12 * SECOND), None);
        assert_eq!(silence.next_look(), Some(now + 16 * SECOND), "then b may be silent");
        assert_eq!(silence.too_long(now + 16 * SECOND).as_deref(), Some("b"));
    }

    #[test]
    fn after_subscribing_anew_every_key_has_the_whole_time_again() {
        let now = Instant::now();
        let mut silence = Silence::new(10 * SECOND, now);
        silence.saw("a", now);
        silence.saw("b", now + SECOND);
        silence.begin_anew(now + 11 * SECOND);
        assert_eq!(silence.too_long(now + 20 * SECOND), None);
        assert!(silence.too_long(now + 21 * SECOND).is_some());
    }

    #[test]
    fn while_nothing_is_read_no_key_is_silent() {
        let now = Instant::now();
        let mut silence = Silence::new(10 * SECOND, now);
        silence.saw("a", now);
        silence.shift(5 * SECOND);
        assert_eq!(silence.next_look(), Some(now + 15 * SECOND));
        assert_eq!(silence.too_long(now + 14 * SECOND), None);
        assert!(silence.too_long(now + 15 * SECOND).is_some());
    }

    #[test]
    fn the_number_of_keys_is_bounded_and_so_is_the_work() {
        let now = Instant::now();
        let mut silence = Silence::new(64 * SECOND, now);
        for n in 0..2 * MAX_KEYS {
            silence.saw(&n.to_string(), now + Duration::from_millis(n as u64));
        }
        assert_eq!(silence.last.len(), MAX_KEYS);
        silence.saw("0", now + 30 * SECOND);
        assert_eq!(silence.too_long(now + 64 * SECOND), None);
        assert_eq!(silence.next_look(), Some(now + 65 * SECOND), "1 is due a millisecond later");
    }
}
