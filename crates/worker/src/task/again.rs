//! Records that are sent again after Kafka has refused a batch: to find the record that caused it, or until the clocks
//! of this machine and of the brokers agree.
//!
//! Kafka refuses a batch as a whole, and does not always name the record that caused it. So all records are sent again
//! in runs, before anything new. After a refused run, the next one has half the length. After an accepted run, it has
//! twice the length. A record that is refused alone is the cause.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The wait before a record is sent again if Kafka refuses every timestamp, because a clock is wrong.
const CLOCK_RETRY: Duration = Duration::from_secs(1);

/// Why Kafka has refused a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Against {
    /// `message.timestamp.after.max.ms` or `message.timestamp.before.max.ms`.
    Timestamp,
    /// Its size, a missing key, …
    Record,
}

/// What to do after a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    SendAgain,
    /// Send it again later: Kafka refuses every timestamp that this machine can give.
    WaitForTheClock,
    /// Kafka will never take this record.
    Refused,
}

/// The timestamp of a record that is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamp {
    /// The time of receipt, or the present time if that is earlier: then the clock was wrong.
    Received,
    Now,
}

impl Stamp {
    pub(super) fn of(self, received_ms: i64, now_ms: i64) -> i64 {
        match self {
            Stamp::Received => received_ms.min(now_ms),
            Stamp::Now => now_ms,
        }
    }
}

/// The records to send again, by sequence.
#[derive(Debug)]
pub(super) struct Again {
    waiting: BTreeSet<i64>,
    /// Records that were sent again and are not acknowledged yet.
    run: BTreeSet<i64>,
    /// The length of the next run.
    length: usize,
    /// The kind of timestamp for the next records.
    stamp: Stamp,
    /// Nothing is sent before this time.
    not_before: Option<Instant>,
}

impl Again {
    pub(super) fn new() -> Again {
        Again {
            waiting: BTreeSet::new(),
            run: BTreeSet::new(),
            length: usize::MAX,
            stamp: Stamp::Received,
            not_before: None,
        }
    }

    /// Whether no record has to be sent again or waits for its acknowledgement.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.run.is_empty()
    }

    /// Takes a record whose batch Kafka has refused. Another record can be the cause.
    pub(super) fn refused(&mut self, sequence: i64, against: Against, now: Instant) -> Verdict {
        let alone = self.run.len() == 1 && self.run.contains(&sequence);
        let verdict = match (against, self.stamp) {
            _ if !alone => Verdict::SendAgain,
            (Against::Record, _) => Verdict::Refused,
            (Against::Timestamp, Stamp::Received) => {
                self.stamp = Stamp::Now;
                Verdict::SendAgain
            }
            (Against::Timestamp, Stamp::Now) => {
                self.stamp = Stamp::Received;
                self.not_before = Some(now + CLOCK_RETRY);
                Verdict::WaitForTheClock
            }
        };
        if verdict != Verdict::Refused {
            self.waiting.insert(sequence);
        }
        verdict
    }

    /// Returns the records to send now, with their timestamp. Call it when Kafka has answered for everything that was
    /// sent.
    pub(super) fn next_run(&mut self, now: Instant) -> (Vec<i64>, Stamp) {
        if self.not_before.is_some_and(|at| now < at) {
            return (Vec::new(), self.stamp);
        }
        self.not_before = None;
        if !self.run.is_empty() {
            let refused = !self.run.is_disjoint(&self.waiting);
            // A single record that was finally refused no longer waits. The next ones are tried together.
            self.length = if refused { (self.run.len() / 2).max(1) } else { self.run.len().saturating_mul(2) };
        }
        self.run = self.waiting.iter().take(self.length).copied().collect();
        self.run.iter().for_each(|sequence| _ = self.waiting.remove(sequence));
        if self.run.is_empty() {
            *self = Again::new();
        }
        (self.run.iter().copied().collect(), self.stamp)
    }

    /// Notes that the producer has taken the run only up to this record.
    pub(super) fn not_taken(&mut self, from: i64) {
        self.waiting.append(&mut self.run.split_off(&from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends everything again until nothing waits; `kafka` returns why it refuses a run. Which were refused, and the runs.
    fn settle(
        first: impl Iterator<Item = i64>,
        kafka: impl Fn(&[i64], Stamp, Instant) -> Option<Against>,
    ) -> (Vec<i64>, Vec<usize>) {
        let (mut again, mut now) = (Again::new(), Instant::now());
        let against = Against::Record;
        first.for_each(|sequence| assert_eq!(again.refused(sequence, against, now), Verdict::SendAgain));
        let (mut refused, mut runs) = (Vec::new(), Vec::new());
        while !again.is_empty() {
            let (run, stamp) = again.next_run(now);
            if run.is_empty() {
                now += CLOCK_RETRY;
                continue;
            }
            runs.push(run.len());
            let Some(against) = kafka(&run, stamp, now) else { continue };
            refused
                .extend(run.into_iter().filter(|&sequence| again.refused(sequence, against, now) == Verdict::Refused));
        }
        (refused, runs)
    }

    #[test]
    fn the_records_that_are_meant_are_found_and_all_others_pass() {
        let bad = [0, 1, 2, 4_999, 7_000];
        let (refused, runs) =
            settle(0..10_000, |run, _, _| run.iter().any(|sequence| bad.contains(sequence)).then_some(Against::Record));
        assert_eq!(refused, bad);
        assert!(runs.len() < 150, "{} requests", runs.len());
    }

    #[test]
    fn a_topic_that_takes_nothing_refuses_each() {
        let (refused, _) = settle(0..100, |_, _, _| Some(Against::Record));
        assert_eq!(refused, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_wrong_clock_is_waited_for_and_nothing_is_refused() {
        let healed = Instant::now() + 5 * CLOCK_RETRY;
        let (refused, runs) = settle(0..1_000, |_, _, now| (now < healed).then_some(Against::Timestamp));
        assert_eq!(refused, Vec::<i64>::new());
        assert!(runs.len() < 60, "{} requests", runs.len());
    }

    #[test]
    fn a_record_that_is_too_old_is_given_the_time_of_now() {
        let (refused, _) = settle(0..3, |_, stamp, _| (stamp == Stamp::Received).then_some(Against::Timestamp));
        assert_eq!(refused, Vec::<i64>::new());
        assert_eq!([Stamp::Received.of(5, 9), Stamp::Received.of(9, 5), Stamp::Now.of(5, 9)], [5, 5, 9]);
    }

    #[test]
    fn what_the_producer_did_not_take_comes_next() {
        let mut again = Again::new();
        let now = Instant::now();
        (0..4).for_each(|sequence| _ = again.refused(sequence, Against::Record, now));
        assert_eq!(again.next_run(now).0, [0, 1, 2, 3]);
        again.not_taken(2);
        assert_eq!(again.next_run(now).0, [2, 3]);
        assert!(!again.is_empty(), "nothing new before these have passed");
        assert_eq!(again.next_run(now).0, [0; 0]);
        assert!(again.is_empty());
    }
}
