//! Which of a feed's messages Kafka has, for steps that acknowledge them (`.on.commit`).
//!
//! A connection reports what it has received. The host reports what Kafka has, in any order and from any thread. The
//! connection takes the messages that are complete.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::mutation::Mutation;

/// The messages of the present connection, and the open ones of earlier connections, from receipt until Kafka has all
/// their records.
#[derive(Debug, Default)]
pub struct Commits {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    last_id: i64,
    /// In the order of receipt.
    waiting: VecDeque<Waiting>,
    committed: Committed,
}

#[derive(Debug)]
struct Waiting {
    message: i64,
    /// How many of its records Kafka does not have. A message without records has none, and waits for the messages
    /// before it.
    open: u64,
    had_records: bool,
    given: bool,
    /// It came on an earlier connection, on which it can no longer be acknowledged. The feed sends it again. That
    /// duplicate has no records, and waits for this message.
    past: bool,
}

/// The messages that have become complete since the last call.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Messages, in the order in which they became complete.
    pub messages: Vec<i64>,
    /// Kafka has every message up to this one.
    pub up_to: Option<i64>,
}

impl Commits {
    /// Begins a new connection. Messages of earlier connections are no longer acknowledged.
    pub(crate) fn begin_link(&self) {
        let mut state = self.state();
        Mutation::NumbersOfMessagesBeginAnew.does(|| state.last_id = 0);
        state.waiting.iter_mut().for_each(|waiting| waiting.past = true);
        state.committed = Committed::default();
    }

    /// Adds a message. Returns its number, which its records contain.
    pub(crate) fn begin_message(&self) -> i64 {
        let mut state = self.state();
        state.last_id += 1;
        state.last_id
    }

    /// Sets how many records the message has become. Call it before the host gets them.
    pub(crate) fn received(&self, message: i64, records: u64) {
        let mut state = self.state();
        state.waiting.push_back(Waiting {
            message,
            open: records,
            had_records: records > 0,
            given: false,
            past: false,
        });
        state.settle();
        self.tell(&state);
    }

    /// Notes that Kafka has more records of a message, or that they were left out.
    pub fn acknowledged(&self, message: i64, records: u64) {
        let mut state = self.state();
        // The numbers grow, so a binary search finds the message.
        let at = state.waiting.partition_point(|waiting| waiting.message < message);
        let State { waiting, committed, .. } = &mut *state;
        let Some(found) = waiting.get_mut(at).filter(|waiting| waiting.message == message) else { return };
        found.open = found.open.saturating_sub(records);
        if found.open == 0 && !std::mem::replace(&mut found.given, true) && !found.past {
            committed.messages.push(message);
            Mutation::CommittedPastAHole.does(|| committed.up_to = Some(message));
        }
        state.settle();
        self.tell(&state);
    }

    /// Returns the messages that have become complete since the last call, and whether Kafka has everything that this
    /// connection received.
    pub(crate) fn take(&self) -> (Committed, bool) {
        let mut state = self.state();
        let settled = state.waiting.back().is_none_or(|last| last.past);
        (std::mem::take(&mut state.committed), settled)
    }

    /// Waits until there is something to take.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn tell(&self, state: &State) {
        if state.committed != Committed::default() {
            self.changed.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Removes the complete messages at the front.
    fn settle(&mut self) {
        while let Some(first) = self.waiting.pop_front_if(|first| first.open == 0) {
            if first.past {
                continue;
            }
            if !first.had_records {
                self.committed.messages.push(first.message);
            }
            self.committed.up_to = Some(first.message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some records are open.
    fn open(messages: &[i64], up_to: Option<i64>) -> (Committed, bool) {
        (Committed { messages: messages.to_vec(), up_to }, false)
    }

    fn settled(messages: &[i64], up_to: Option<i64>) -> (Committed, bool) {
        (Committed { messages: messages.to_vec(), up_to }, true)
    }

    #[test]
    fn a_message_is_complete_with_its_last_record_whatever_is_open_before_it() {
        let commits = Commits::default();
        for records in [1, 2, 1] {
            let message = commits.begin_message();
            commits.received(message, records);
        }
        commits.acknowledged(2, 1);
        assert_eq!(commits.take(), open(&[], None));
        commits.acknowledged(3, 1);
        commits.acknowledged(2, 1);
        assert_eq!(commits.take(), open(&[3, 2], None));
        commits.acknowledged(1, 1);
        assert_eq!(commits.take(), settled(&[1], Some(3)));
    }

    #[test]
    fn a_message_without_records_waits_for_those_before_it() {
        let commits = Commits::default();
        let none = commits.begin_message();
        commits.received(none, 0);
        assert_eq!(commits.take(), settled(&[1], Some(1)));
        for records in [1, 0] {
            let message = commits.begin_message();
            commits.received(message, records);
        }
        assert_eq!(commits.take(), open(&[], None));
        commits.acknowledged(2, 1);
        assert_eq!(commits.take(), settled(&[2, 3], Some(3)));
    }

    #[test]
    fn what_an_earlier_link_received_is_no_longer_acknowledged() {
        let commits = Commits::default();
        let old = commits.begin_message();
        commits.received(old, 1);
        assert_eq!(commits.take(), open(&[], None));
        commits.begin_link();
        assert_eq!(commits.take(), settled(&[], None));
        commits.acknowledged(old, 1);
        assert_eq!(commits.take(), settled(&[], None));
        assert!(commits.begin_message() > old, "numbers are not used again");
    }

    #[test]
    fn what_comes_again_on_a_new_link_waits_for_what_came_on_the_old_one() {
        let commits = Commits::default();
        let old = commits.begin_message();
        commits.received(old, 1);
        commits.begin_link();
        let again = commits.begin_message();
        commits.received(again, 0);
        assert_eq!(commits.take(), open(&[], None));
        commits.acknowledged(old, 1);
        assert_eq!(commits.take(), settled(&[again], Some(again)));
    }
}
