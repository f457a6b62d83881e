//! Records given to the producer and not yet acknowledged: what may be committed is the longest acknowledged prefix.
//!
//! Connect's `SubmittedRecords` for the one source partition that a task has: sequences are dense, so a record is a place
//! in a ring.

use std::collections::VecDeque;

/// In-flight records of one source partition, in the order in which they were polled.
#[derive(Debug)]
pub struct Submitted {
    /// The sequence of the front of `acked`.
    first: i64,
    acked: VecDeque<bool>,
}

impl Submitted {
    /// Nothing is in flight; the next record has `first`.
    pub fn new(first: i64) -> Submitted {
        Submitted { first, acked: VecDeque::new() }
    }

    /// The next record goes to the producer; answers its sequence.
    pub fn submit(&mut self) -> i64 {
        self.acked.push_back(false);
        self.first + self.acked.len() as i64 - 1
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
        assert_eq!((submitted.submit(), submitted.submit(), submitted.submit()), (10, 11, 12));
        submitted.ack(11, 12);
        assert_eq!((submitted.committable(), submitted.in_flight()), (9, 3));
        submitted.ack(10, 10);
        assert_eq!((submitted.committable(), submitted.in_flight()), (12, 0));
    }

    #[test]
    fn a_record_that_was_taken_back_was_never_there() {
        let mut submitted = Submitted::new(1);
        submitted.submit();
        submitted.submit();
        submitted.take_back();
        submitted.ack(1, 1);
        assert_eq!((submitted.committable(), submitted.in_flight()), (1, 0));
        assert_eq!(submitted.submit(), 2);
    }

    #[test]
    fn an_unknown_sequence_changes_nothing() {
        let mut submitted = Submitted::new(5);
        submitted.submit();
        submitted.ack(1, 4);
        submitted.ack(6, 9);
        assert_eq!((submitted.committable(), submitted.in_flight()), (4, 1));
    }
}
