//! A feed that sends again what is not acknowledged.

use std::collections::BTreeSet;

use super::{Turn, World};

/// What became of the records that such a feed has sent.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    /// To be sent again: not acknowledged in time, or on a connection that is gone.
    back: BTreeSet<u64>,
    /// In the order of the acknowledgements, with the time of each in milliseconds since 1970.
    acknowledged: Vec<(u64, u64)>,
    sent_again: u64,
}

impl Deliveries {
    /// These are not acknowledged, and will be sent again.
    pub(crate) fn give_back(&mut self, numbers: impl IntoIterator<Item = u64>) {
        self.back.extend(numbers);
    }

    /// So many were sent again on a connection that keeps them itself.
    pub(crate) fn note_sent_again(&mut self, count: u64) {
        self.sent_again += count;
    }

    pub(crate) fn acknowledged(&self) -> &[(u64, u64)] {
        &self.acknowledged
    }

    pub(crate) fn sent_again(&self) -> u64 {
        self.sent_again
    }
}

impl World {
    /// The client has acknowledged a record.
    pub(crate) fn acknowledge(&mut self, n: u64) {
        self.deliveries.acknowledged.push((n, self.unix_ms));
    }
}

impl Turn<'_> {
    /// The records to send now, at most so many: first those that come again, then new ones as in [`Turn::numbers_to`]; of a feed
    /// with a history all that were published.
    pub(crate) fn deliver(&mut self, end: u64, most: usize) -> Vec<u64> {
        let end = match &mut self.world.history {
            Some(history) => {
                history.begin();
                history.published()
            }
            None => self.world.end_now(end),
        };
        let World { deliveries, next, .. } = &mut *self.world;
        let mut numbers = Vec::new();
        while numbers.len() < most {
            if let Some(again) = deliveries.back.pop_first() {
                deliveries.sent_again += 1;
                numbers.push(again);
            } else if *next < end {
                numbers.push(*next);
                *next += 1;
            } else {
                break;
            }
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::simulator::Timers;
    use crate::simulator::history::History;

    #[test]
    fn what_was_given_back_is_sent_first_and_no_more_than_there_is_room_for() {
        let (mut world, mut timers, mut place) = (World::new("x", 1), Timers::default(), None);
        world.history = Some(History::new(100));
        world.history.iter_mut().for_each(|history| history.publish(5, 0));
        let (world, timers, place) = (&mut world, &mut timers, &mut place);
        let mut turn = Turn { now: Duration::ZERO, world, timers, place, actions: Vec::new() };
        assert_eq!(turn.deliver(0, 3), [0, 1, 2]);
        turn.world.deliveries.give_back([2, 0]);
        assert_eq!(turn.deliver(0, 3), [0, 2, 3]);
        assert_eq!(turn.deliver(0, 3), [4]);
        assert_eq!(turn.world.deliveries.sent_again(), 2);
    }
}
