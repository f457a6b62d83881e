//! Finds duplicates: the last `websocket.dedup.window` keys of `websocket.dedup.key`.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

/// The keys of the last records. For each, only a hash of 128 bits is kept, so that all keys need the same room. The
/// hash has a random seed, so that nobody can choose keys with the same hash.
#[derive(Debug)]
pub struct Window {
    size: usize,
    known: HashSet<u128>,
    order: VecDeque<u128>,
    seeds: [RandomState; 2],
}

impl Window {
    pub fn new(size: usize) -> Window {
        Window { size, known: HashSet::new(), order: VecDeque::new(), seeds: [RandomState::new(), RandomState::new()] }
    }

    /// Notes a key. Returns whether it is new.
    pub fn is_new(&mut self, key: &str) -> bool {
        let [high, low] = self.seeds.each_ref().map(|seed| u128::from(seed.hash_one(key)));
        let hash = high << 64 | low;
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > self.size
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_double_as_long_as_the_window_reaches_back() {
        let mut window = Window::new(2);
        let news = ["a", "b", "a", "c", "b", "a"].map(|key| window.is_new(key));
        assert_eq!(news, [true, true, false, true, false, true]);
        assert_eq!((window.known.len(), window.order.len()), (2, 2));
    }
}
