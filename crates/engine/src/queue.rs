//! The queue from a session to `poll`: bounded in records and in bytes.
//!
//! `websocket.message.queue.full` decides what happens when it is full: the session waits, and so stops reading the
//! socket, or messages are dropped and counted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::config::{QueueBounds, WhenFull};
use crate::error::Error;
use crate::figures::Counter;
use crate::metrics::Metrics;
use crate::record::Batch;

/// Batches are joined up to this size, so that a slow feed does not make a batch for each message.
const JOIN_BYTES: usize = 64 << 10;

/// One producer (the session), one consumer (the task).
pub(crate) struct Queue {
    bounds: QueueBounds,
    state: Mutex<State>,
    metrics: Arc<Metrics>,
    /// There is a batch to pop, or the end.
    filled: Notify,
    /// A batch was popped.
    emptied: Notify,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Batch>,
    records: usize,
    bytes: usize,
    end: Option<Result<(), Error>>,
    /// The closing handshake has begun.
    closing: bool,
}

/// What the consumer gets.
pub(crate) enum Popped {
    Batch(Batch),
    Empty,
    /// The session has ended, and everything it received was popped.
    End(Result<(), Error>),
}

impl Queue {
    pub(crate) fn new(bounds: QueueBounds, metrics: Arc<Metrics>) -> Queue {
        Queue { bounds, state: Mutex::default(), metrics, filled: Notify::new(), emptied: Notify::new() }
    }

    /// Adds a batch. With [`WhenFull::Backpressure`], a batch that does not fit is returned: wait for
    /// [`Queue::emptied`] and try again. An empty queue takes a batch of any size.
    pub(crate) fn push(&self, mut batch: Batch) -> Result<(), Batch> {
        let mut state = self.state();
        match self.bounds.when_full {
            WhenFull::Backpressure if !state.batches.is_empty() && !self.fits(&state, &batch) => {
                return Err(batch);
            }
            WhenFull::Backpressure => {}
            WhenFull::DropNewest => {
                let dropped = self.cut_to_room(&state, &mut batch);
                self.metrics.count(Counter::MessagesDroppedNewest, dropped);
                if batch.is_empty() {
                    return Ok(());
                }
            }
            WhenFull::DropOldest => {
                let dropped = self.make_room(&mut state, &mut batch);
                self.metrics.count(Counter::MessagesDroppedOldest, dropped);
            }
        }
        state.records += batch.len();
        state.bytes += batch.bytes();
        match state.batches.back_mut() {
            Some(last) if last.has_room_for(&batch, JOIN_BYTES) => last.append(&batch),
            _ => state.batches.push_back(batch),
        }
        self.metrics.set_queue(state.records, state.bytes);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    pub(crate) fn pop(&self) -> Popped {
        let mut state = self.state();
        let Some(batch) = state.batches.pop_front() else {
            return state.end.clone().map_or(Popped::Empty, Popped::End);
        };
        state.records -= batch.len();
        state.bytes -= batch.bytes();
        self.metrics.set_queue(state.records, state.bytes);
        drop(state);
        self.emptied.notify_one();
        Popped::Batch(batch)
    }

    #[cfg(test)]
    pub(crate) fn has_something(&self) -> bool {
        let state = self.state();
        !state.batches.is_empty() || state.end.is_some()
    }

    /// Raises the limits to twice the bytes and any number of records, until the session ends. So the server's last
    /// messages and its Close can be received while Kafka takes nothing.
    pub(crate) fn widen(&self) {
        self.state().closing = true;
    }

    /// Ends the queue. Its batches can still be popped.
    pub(crate) fn end(&self, result: Result<(), Error>) {
        self.state().end.get_or_insert(result);
        self.filled.notify_one();
    }

    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    pub(crate) async fn emptied(&self) {
        self.emptied.notified().await;
    }

    /// The limits of a batch, so that the limits of the queue are exact.
    pub(crate) fn batch_limits(&self) -> (usize, usize) {
        self.bounds.of_a_batch()
    }

    /// The limit of bytes. A single record may be larger, if the queue is empty.
    pub(crate) fn max_bytes(&self) -> usize {
        self.bounds.bytes
    }

    fn fits(&self, state: &State, batch: &Batch) -> bool {
        let QueueBounds { records, bytes, .. } = self.bounds;
        let (records, bytes) = if state.closing { (usize::MAX, bytes.saturating_mul(2)) } else { (records, bytes) };
        state.records + batch.len() <= records && state.bytes + batch.bytes() <= bytes
    }

    /// Drops records from the front of the queue, and then of the batch, until everything fits. Returns how many.
    fn make_room(&self, state: &mut State, batch: &mut Batch) -> u64 {
        let mut dropped = 0;
        while !self.fits(state, batch) {
            let Some(front) = state.batches.front_mut() else {
                break;
            };
            match front.drop_oldest() {
                Some(bytes) => {
                    state.records -= 1;
                    state.bytes -= bytes;
                    dropped += 1;
                }
                None => {
                    state.batches.pop_front();
                }
            }
        }
        while state.batches.front().is_some_and(Batch::is_empty) {
            state.batches.pop_front();
        }
        while batch.len() > 1 && !self.fits(state, batch) {
            batch.drop_oldest();
            dropped += 1;
        }
        dropped
    }

    /// Drops records from the end of the batch until it fits. Returns how many.
    fn cut_to_room(&self, state: &State, batch: &mut Batch) -> u64 {
        let mut dropped = 0;
        let at_least = usize::from(state.batches.is_empty());
        while batch.len() > at_least && !self.fits(state, batch) {
            batch.drop_newest();
            dropped += 1;
        }
        dropped
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, so the state is consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ValueKind;

    fn queue(records: usize, bytes: usize, when_full: WhenFull) -> Queue {
        Queue::new(QueueBounds { records, bytes, when_full }, Arc::new(Metrics::new(records, bytes)))
    }

    fn batch(values: &[&str]) -> Batch {
        let mut batch = Batch::default();
        values.iter().for_each(|value| batch.push(ValueKind::Text, value.as_bytes(), 0));
        batch
    }

    fn drain(queue: &Queue) -> Vec<String> {
        let mut values = Vec::new();
        while let Popped::Batch(batch) = queue.pop() {
            values.extend(batch.iter().map(|r| String::from_utf8_lossy(r.value).into_owned()));
        }
        values
    }

    #[test]
    fn backpressure_gives_the_batch_back_until_there_is_room() {
        let queue = queue(3, 1 << 20, WhenFull::Backpressure);
        assert!(queue.push(batch(&["1", "2"])).is_ok());
        let refused = queue.push(batch(&["3", "4"])).unwrap_err();
        assert_eq!(drain(&queue), ["1", "2"]);
        assert!(queue.push(refused).is_ok());
        assert_eq!(drain(&queue), ["3", "4"]);
    }

    #[test]
    fn queue_that_is_closing_holds_any_number_of_records_and_twice_the_bytes() {
        let queue = queue(1, 100, WhenFull::Backpressure);
        assert!(queue.push(batch(&["x".repeat(60).as_str()])).is_ok());
        assert!(queue.push(batch(&["1"])).is_err());
        queue.widen();
        assert!(queue.push(batch(&["1", "2"])).is_ok());
        assert!(queue.push(batch(&["y".repeat(100).as_str()])).is_err());
    }

    #[test]
    fn bytes_are_a_bound_too() {
        let queue = queue(100, 100, WhenFull::Backpressure);
        assert!(queue.push(batch(&["x".repeat(60).as_str()])).is_ok());
        assert!(queue.push(batch(&["y".repeat(60).as_str()])).is_err());
    }

    #[test]
    fn drop_newest_keeps_what_is_queued_and_counts() {
        let queue = queue(2, 1 << 20, WhenFull::DropNewest);
        assert!(queue.push(batch(&["1"])).is_ok());
        assert!(queue.push(batch(&["2", "3", "4"])).is_ok());
        assert!(queue.push(batch(&["5"])).is_ok());
        assert_eq!(queue.metrics.snapshot()[Counter::MessagesDroppedNewest], 3);
        assert_eq!(drain(&queue), ["1", "2"]);
    }

    #[test]
    fn drop_oldest_makes_room_record_by_record_and_counts() {
        let queue = queue(3, 1 << 20, WhenFull::DropOldest);
        assert!(queue.push(batch(&["1", "2"])).is_ok());
        assert!(queue.push(batch(&["3", "4"])).is_ok());
        assert!(queue.push(batch(&["5", "6", "7", "8"])).is_ok());
        assert_eq!(drain(&queue), ["6", "7", "8"]);
        assert_eq!(queue.metrics.snapshot()[Counter::MessagesDroppedOldest], 5);
    }

    #[test]
    fn the_end_comes_after_what_was_received() {
        let queue = queue(3, 1 << 20, WhenFull::Backpressure);
        assert!(queue.push(batch(&["1"])).is_ok());
        queue.end(Err(Error::fatal("gone")));
        assert_eq!(drain(&queue), ["1"]);
        assert!(matches!(queue.pop(), Popped::End(Err(error)) if error.to_string() == "gone"));
    }

    #[test]
    fn a_trickle_is_joined_into_one_batch() {
        let queue = queue(100, 1 << 20, WhenFull::Backpressure);
        for _ in 0..5 {
            assert!(queue.push(batch(&["x"])).is_ok());
        }
        assert!(matches!(queue.pop(), Popped::Batch(batch) if batch.len() == 5));
    }
}
