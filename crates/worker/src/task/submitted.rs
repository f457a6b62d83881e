//! Records that the producer has and Kafka has not acknowledged. The longest acknowledged prefix can be committed.
//!
//! This is Connect's `SubmittedRecords` for the one source partition of a task. Sequences have few holes, so a record
//! is a place in a ring.

use std::collections::VecDeque;

/// In-flight records of one source partition, in the order in which they were polled.
#[derive(Debug)]
pub(super) struct Submitted {
    /// The sequence of the front of `places`.
    first: i64,
    places: VecDeque<Place>,
    /// Skipped records before the front that [`Submitted::take_skipped`] has not returned yet.
    skipped: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Open,
    Acked,
    Skipped,
}

impl Submitted {
    /// Begins with nothing in flight. The next record has the sequence `first` or a larger one.
    pub(super) fn new(first: i64) -> Submitted {
        Submitted { first, places: VecDeque::new(), skipped: 0 }
    }

    /// Adds the next record for the producer. Sequences in between need no acknowledgement: in a hand-over file,
    /// records are missing that Kafka had already.
    pub(super) fn submit(&mut self, sequence: i64) {
        if self.places.is_empty() {
            self.first = self.first.max(sequence);
        }
        while self.first + (self.places.len() as i64) < sequence {
            self.places.push_back(Place::Acked);
        }
        self.places.push_back(Place::Open);
    }

    /// Undoes the last [`Submitted::submit`], because the producer did not take the record.
    pub(super) fn take_back(&mut self) {
        self.places.pop_back();
    }

    /// Takes acknowledged records, in any order, each once.
    pub(super) fn ack(&mut self, first: i64, last: i64) {
        self.answer(first, last, Place::Acked);
    }

    /// Skips a record that Kafka will never have.
    pub(super) fn skip(&mut self, sequence: i64) {
        self.answer(sequence, sequence, Place::Skipped);
    }

    fn answer(&mut self, first: i64, last: i64, answer: Place) {
        for sequence in first..=last {
            let place = usize::try_from(sequence - self.first).ok().and_then(|index| self.places.get_mut(index));
            if let Some(place) = place {
                *place = answer;
            }
        }
        while let Some(place) = self.places.front().filter(|place| **place != Place::Open) {
            self.first += 1;
            self.skipped += u64::from(*place == Place::Skipped);
            self.places.pop_front();
        }
    }

    /// Returns how many records up to [`Submitted::committable`] were skipped since the last call.
    pub(super) fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }

    /// Whether the producer has this record and Kafka has not acknowledged it.
    pub(super) fn is_open(&self, sequence: i64) -> bool {
        let place = usize::try_from(sequence - self.first).ok().and_then(|index| self.places.get(index));
        place == Some(&Place::Open)
    }

    /// Returns the sequence up to which every record is acknowledged.
    pub(super) fn committable(&self) -> i64 {
        self.first - 1
    }

    pub(super) fn in_flight(&self) -> usize {
        self.places.len()
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
    fn skipped_records_are_counted_once_they_are_committable() {
        let mut submitted = Submitted::new(1);
        (1..=3).for_each(|sequence| submitted.submit(sequence));
        submitted.skip(2);
        assert_eq!((submitted.committable(), submitted.take_skipped()), (0, 0));
        submitted.ack(1, 1);
        assert_eq!((submitted.committable(), submitted.take_skipped(), submitted.take_skipped()), (2, 1, 0));
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
