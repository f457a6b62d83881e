//! The order of changes: for each connector, one at a time, in the order in which they came.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

type Queue = Arc<tokio::sync::Mutex<()>>;

/// The connectors for which a change runs or waits.
#[derive(Debug, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<String, Queue>>>);

/// A place among the changes of one connector.
pub(super) struct Turn {
    name: String,
    queue: Queue,
    turns: Turns,
}

/// Held while the change runs. The guard is dropped first.
pub(super) struct Taken {
    _guard: OwnedMutexGuard<()>,
    _turn: Turn,
}

impl Turns {
    pub(super) fn of(&self, name: &str) -> Turn {
        let queue = self.lock().entry(name.to_owned()).or_default().clone();
        Turn { name: name.to_owned(), queue, turns: Turns(self.0.clone()) }
    }

    /// Waits until all changes that run or wait now are done.
    pub(super) async fn all_taken(&self) {
        let queues: Vec<Queue> = self.lock().values().cloned().collect();
        for queue in queues {
            drop(queue.lock().await);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Waits for the changes that came before.
    pub(super) async fn taken(self) -> Taken {
        Taken { _guard: self.queue.clone().lock_owned().await, _turn: self }
    }
}

impl Drop for Turn {
    /// Removes the entry of a connector after its last change.
    fn drop(&mut self) {
        let mut turns = self.turns.lock();
        // This reference and the map's.
        if Arc::strong_count(&self.queue) == 2 {
            turns.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_of_one_connector_wait_for_each_other_and_others_do_not() {
        let turns = Turns::default();
        let first = turns.of("a").taken().await;
        let mut second = tokio::spawn(turns.of("a").taken());
        drop(turns.of("b").taken().await);
        tokio::select! {
            biased;
            _ = &mut second => panic!("two changes of one connector at a time"),
            () = tokio::task::yield_now() => {}
        }
        drop(first);
        drop(second.await.unwrap());
        turns.all_taken().await;
        assert!(turns.lock().is_empty());
    }
}
