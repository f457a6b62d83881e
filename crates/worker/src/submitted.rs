//! Records given to the producer and not yet acknowledged: what may be committed is the longest acknowledged prefix.
//!
//! Connect's `SubmittedRecords` for the one source partition that a task has: sequences are all but dense, so a record is a
//! place in a ring.

use std::collections::VecDeque;

/// In-flight records of one source partition, in the order in which they were polled.
#[derive(Debug)]
pub struct Submitted {
    /// The sequence of the front of `acked`.
    first: i64,
    acked: VecDeque<bool>,
}

impl Submitted {
    /// Nothing is in flight; the next record has `first` or more.
    pub fn new(first: i64) -> Submitted {
        Submitted { first, acked: VecDeque::new() }
    }

    /// The next record goes to the producer. Sequences that are left out need no acknowledgement: a hand-over file leaves
    /// out what Kafka had before.
    pub fn submit(&mut self, sequence: i64) {
        if self.acked.is_empty() {
            self.first = self.first.max(sequence);
        }
        while self.first + (self.acked.len() as i64) < sequence {
            self.acked.push_back(true);
        }
        self.acked.push_back(false);
    }

    /// The producer did not take the record after all: undoes the last [`Submitted::submit`].
    pub fn take_back(&mut self) {
        self.acked.pop_back();
    }

    /// Kafka has these records, or they are skipped for good. In any order, each once.
    pub fn ack(&mut self, first: i64, last: i64) {
        for sequence in first..=last {
            let place = usize::try_from(sequence - self.first).ok().and_then(|index| self.acked.get_mut(index));
            if let Some(acked) = place {
                *acked = true;
            }
        }
        while self.acked.front() == Some(&true) {
            self.acked.pop_front();
            self.first += 1;
        }
    }

    /// Whether this record is with the producer and Kafka has not acknowledged it.
    pub fn is_open(&self, sequence: i64) -> bool {
        let place = usize::try_from(sequence - self.first).ok().and_then(|index| self.acked.get(index));
        place == Some(&false)
    }

    /// Every record up to and including this one is acknowledged.
    pub fn committable(&self) -> i64 {
        self.first - 1
    }

    pub fn in_flight(&self) -> usize {
        self.acked.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_acknowledged_prefix_is_committable() {
        let mut submitted = Submitted::new(10);
        assert_eq!(submitted.committable(), 9);
        (10..=12).for_each(|sequence| submitted.submit(sequence));
        submitted.ack(11, 12);
        assert_eq!((submitted.committable(), submitted.in_flight()), (9, 3));
        assert_eq!([9, 10, 11, 12, 13].map(|sequence| submitted.is_open(sequence)), [false, true, false, false, false]);
        submitted.ack(10, 10);
        assert_eq!((submitted.committable(), submitted.in_flight()), (12, 0));
    }

    #[test]
    fn a_record_that_was_taken_back_was_never_there() {
        let mut submitted = Submitted::new(1);
        submitted.submit(1);
        submitted.submit(2);
        submitted.take_back();
        submitted.ack(1, 1);
        assert_eq!((submitted.committable(), submitted.in_flight()), (1, 0));
        submitted.submit(2);
        assert!(submitted.is_open(2));
    }

    #[test]
    fn an_unknown_sequence_changes_nothing() {
        let mut submitted = Submitted::new(5);
        submitted.submit(5);
        submitted.ack(1, 4);
        submitted.ack(6, 9);
        assert_eq!((submitted.committable(), submitted.in_flight()), (4, 1));
    }

    #[test]
    fn sequences_that_are_left_out_need_no_acknowledgement() {
        let mut submitted = Submitted::new(1);
        for sequence in [4, 5, 8] {
            submitted.submit(sequence);
        }
        assert_eq!(submitted.committable(), 3);
        submitted.ack(5, 5);
        submitted.ack(4, 4);
        assert_eq!((submitted.committable(), submitted.in_flight()), (7, 1));
        submitted.ack(8, 8);
        assert_eq!((submitted.committable(), submitted.in_flight()), (8, 0));
    }
}
