//! The keys of `websocket.idle.key` that records had, in one buffer that is reused.

/// A longer key is not watched.
const MAX_KEY_BYTES: usize = 256;
/// The most bytes of keys, because a message can have millions of records.
const MAX_BYTES: usize = 8 << 20;

#[derive(Debug, Default)]
pub struct Seen {
    text: String,
    /// Where each key ends.
    ends: Vec<usize>,
}

impl Seen {
    /// Adds the key that `write` appends, if `write` returns true.
    pub(super) fn add<E>(&mut self, write: impl FnOnce(&mut String) -> Result<bool, E>) -> Result<(), E> {
        let start = self.text.len();
        let there = write(&mut self.text)? && self.text.len() - start <= MAX_KEY_BYTES && self.text.len() <= MAX_BYTES;
        if there && self.keys().next_back() != Some(&self.text[start..]) {
            self.ends.push(self.text.len());
        } else {
            self.text.truncate(start);
        }
        Ok(())
    }

    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &str> {
        let start = |at: usize| if at == 0 { 0 } else { self.ends[at - 1] };
        self.ends.iter().enumerate().map(move |(at, &end)| &self.text[start(at)..end])
    }

    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_in_order_and_those_that_are_missing_or_too_long_are_not() {
        let mut seen = Seen::default();
        let long = "x".repeat(MAX_KEY_BYTES + 1);
        for (key, there) in [("a", true), ("a", true), ("b", false), (&long, true), ("", true), ("c", true)] {
            let write = |text: &mut String| {
                text.push_str(key);
                Ok::<bool, ()>(there)
            };
            seen.add(write).unwrap();
        }
        assert_eq!(seen.keys().collect::<Vec<_>>(), ["a", "", "c"]);
        seen.clear();
        assert_eq!(seen.keys().count(), 0);
    }
}
