//! The channels of one connection to a feed with a history: each is joined on its own, and goes on from a place of its own.

use super::history::History;

/// The channels that a connection has joined, and how far it is with them.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    joined: Vec<String>,
    /// The records before it went out, those of the joined channels.
    sent: u64,
}

impl Channels {
    /// Joins a channel. Returns its records from `first` on. What the others have to get is taken before.
    pub(crate) fn join(
        &mut self,
        channel: &str,
        first: u64,
        history: &History,
        of: fn(u64) -> &'static str,
    ) -> Vec<u64> {
        self.leave(channel);
        self.joined.push(channel.to_owned());
        (first..history.published()).filter(|n| of(*n) == channel).collect()
    }

    pub(crate) fn leave(&mut self, channel: &str) {
        self.joined.retain(|joined| joined != channel);
    }

    /// Takes the records of the joined channels that were published since the last call.
    pub(crate) fn news(&mut self, history: &History, of: fn(u64) -> &'static str) -> Vec<u64> {
        let from = std::mem::replace(&mut self.sent, history.published());
        (from..history.published()).filter(|n| self.joined.iter().any(|channel| channel == of(*n))).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.joined.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(n: u64) -> &'static str {
        ["a", "b"][(n % 2) as usize]
    }

    #[test]
    fn each_channel_goes_on_from_its_own_place() {
        let (mut channels, mut history) = (Channels::default(), History::new(100));
        history.publish(6, 0);
        assert_eq!(channels.news(&history, of), [0; 0]);
        assert_eq!(channels.join("a", 3, &history, of), [4]);
        history.publish(3, 0);
        assert_eq!(channels.news(&history, of), [6, 8]);
        assert_eq!(channels.join("b", 7, &history, of), [7]);
        history.publish(2, 0);
        assert_eq!((channels.news(&history, of), channels.len()), (vec![9, 10], 2));
    }
}
