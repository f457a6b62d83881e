//! The state that a server's connections share: script, numbers, statistics.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};

use crate::batch::Batch;
use crate::script::{Handshake, Play, Plays, Script};
use crate::stats::{ConnectionStats, Ended, Stats, now_ms};
use crate::trades::Trades;

/// What the test asks of every open connection, beside the script.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    Reset,
    Close(u16),
}

pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// One permit for each call of `signal` that no step has used.
    pub(crate) signals: Semaphore,
    /// What every open connection is to do at once.
    pub(crate) orders: watch::Sender<Option<Order>>,
    pub(crate) trades: Mutex<Trades>,
    /// When the first `live` send began.
    live_since: Mutex<Option<Instant>>,
}

struct State {
    plays: Plays,
    next_play: usize,
    numbers: Numbers,
    stats: Stats,
}

impl Shared {
    pub(crate) fn new(script: Script) -> Arc<Shared> {
        let plays = Plays::of(script);
        let state = State { plays, next_play: 0, numbers: Numbers::default(), stats: Stats::default() };
        Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            signals: Semaphore::new(0),
            orders: watch::Sender::new(None),
            trades: Mutex::new(Trades::default()),
            live_since: Mutex::new(None),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the statistics.
    pub(crate) fn stats<T>(&self, change: impl FnOnce(&mut Stats) -> T) -> T {
        let result = change(&mut self.lock().stats);
        self.changed.notify_all();
        result
    }

    pub(crate) fn snapshot(&self) -> Stats {
        let state = self.lock();
        let mut stats = state.stats.clone();
        stats.next_n = state.numbers.next;
        stats
    }

    /// Whether the condition holds now.
    pub(crate) fn holds(&self, condition: &mut impl FnMut(&Stats) -> bool) -> bool {
        let mut state = self.lock();
        state.stats.next_n = state.numbers.next;
        condition(&state.stats)
    }

    /// Blocks until the condition holds or the time is over; returns whether it holds.
    pub(crate) fn wait_until(&self, mut condition: impl FnMut(&Stats) -> bool, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        loop {
            state.stats.next_n = state.numbers.next;
            if condition(&state.stats) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(crate) fn set_script(&self, script: Script) {
        let mut state = self.lock();
        state.plays = Plays::of(script);
        state.next_play = 0;
    }

    /// The next connection's play, if it acts before the request is read; it is then used up.
    pub(crate) fn take_early_play(&self) -> Option<Arc<Play>> {
        let mut state = self.lock();
        let play = state.plays.play(state.next_play);
        play.handshake.acts_before_request().then(|| {
            state.next_play += 1;
            play
        })
    }

    /// Whether web pages are kept out ([`Accept::no_pages`](crate::Accept::no_pages)). Then there are no control requests.
    pub(crate) fn has_no_pages(&self) -> bool {
        let state = self.lock();
        let play = state.plays.play(state.next_play);
        matches!(&play.handshake, Handshake::Accept(accept) if accept.no_pages)
    }

    pub(crate) fn take_play(&self) -> Arc<Play> {
        let mut state = self.lock();
        state.next_play += 1;
        state.plays.play(state.next_play - 1)
    }

    fn book(&self, in_hand: &InHand) {
        let InHand { record, range, written } = in_hand;
        let mut state = self.lock();
        state.stats.connections[record.index].add_sent(range.start, *written);
        state.numbers.give_back(range.start + written..range.end);
        drop(state);
        self.changed.notify_all();
    }

    /// The start of the live feed, after the numbers that nobody heard are skipped; and the next number.
    pub(crate) fn join_live(&self, rate: f64) -> (Instant, u64) {
        let since = *self.live_since.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        let due = (since.elapsed().as_secs_f64() * rate) as u64;
        let mut state = self.lock();
        state.stats.missed += state.numbers.skip_to(due);
        (since, state.numbers.next)
    }

    pub(crate) fn mark_stopped(&self) {
        self.stats(|stats| {
            stats.open = 0;
            for connection in stats.connections.iter_mut().filter(|connection| connection.ended.is_none()) {
                connection.ended = Some(Ended::Stopped);
                connection.closed_ms = Some(now_ms());
            }
        });
    }
}

/// One connection's place in the statistics.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) shared: Arc<Shared>,
    pub(crate) index: usize,
}

impl Record {
    pub(crate) fn new(shared: &Arc<Shared>, first: ConnectionStats) -> Record {
        let index = shared.stats(|stats| {
            stats.connections.push(first);
            stats.connections.len() - 1
        });
        Record { shared: shared.clone(), index }
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut ConnectionStats) -> T) -> T {
        self.shared.stats(|stats| change(&mut stats.connections[self.index]))
    }

    /// Takes up to `max` numbers below `until`, all with the same number of digits; `None`: none are left.
    pub(crate) fn reserve(&self, max: u64, until: Option<u64>) -> Option<InHand> {
        let range = self.shared.lock().numbers.reserve(max, until);
        (!range.is_empty()).then(|| InHand { record: self.clone(), range, written: 0 })
    }

    pub(crate) fn end(&self, ended: Ended) {
        self.shared.stats(|stats| {
            stats.open -= 1;
            let connection = &mut stats.connections[self.index];
            connection.closed_ms = Some(now_ms());
            connection.ended = Some(ended);
        });
    }
}

/// Numbers that are being written. When it is dropped, even with its task, the messages written in full are booked and the other
/// numbers are given back.
pub(crate) struct InHand {
    record: Record,
    pub(crate) range: Range<u64>,
    pub(crate) written: u64,
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.record.shared.book(self);
    }
}

/// Hands out the numbers, each to one message.
#[derive(Default)]
struct Numbers {
    next: u64,
    given_back: Vec<Range<u64>>,
}

impl Numbers {
    fn reserve(&mut self, max: u64, until: Option<u64>) -> Range<u64> {
        let (start, limit) = match self.given_back.pop() {
            Some(range) => (range.start, range.end),
            None => (self.next, until.unwrap_or(u64::MAX).max(self.next)),
        };
        let end = limit.min(start.saturating_add(max)).min(Batch::alike_until(start));
        if start < self.next {
            self.given_back.extend((end < limit).then_some(end..limit));
        } else {
            self.next = end;
        }
        start..end
    }

    fn give_back(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        if range.end == self.next {
            self.next = range.start;
        } else {
            self.given_back.push(range);
        }
    }

    /// Returns how many were skipped.
    fn skip_to(&mut self, number: u64) -> u64 {
        let skipped = number.saturating_sub(self.next);
        self.next += skipped;
        skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_given_back_are_used_again_once() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.reserve(10, None), 0..10);
        numbers.give_back(7..10);
        assert_eq!(numbers.reserve(5, None), 7..10);
        assert_eq!(numbers.reserve(2, None), 10..12);
        assert_eq!(numbers.reserve(5, None), 12..17);
        numbers.give_back(9..12);
        assert_eq!(numbers.reserve(2, None), 9..10);
        assert_eq!(numbers.reserve(1, None), 10..11);
        assert_eq!(numbers.reserve(2, None), 11..12);
        assert_eq!(numbers.reserve(100, Some(20)), 17..20);
        assert!(numbers.reserve(100, Some(20)).is_empty());
        assert_eq!(numbers.skip_to(25), 5);
        assert_eq!(numbers.reserve(100, None), 25..100);
    }
}
