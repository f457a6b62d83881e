//! A feed with a history: its records are published whether anybody is connected or not, and kept for a while.

use std::ops::Range;

/// What a feed has published, and what of it can still be had.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// When each record was published, in seconds since 1970.
    times: Vec<u64>,
    /// The newest so many are kept.
    window: u64,
    /// Those before it are gone, whatever the window.
    forgotten: u64,
    /// Grows when the feed forgets its sessions.
    generation: u64,
    /// A client has subscribed: from now on it must not miss anything.
    begun: bool,
    /// So many connections have subscribed.
    pub(crate) subscriptions: u64,
    /// Opening handshakes are refused.
    pub(crate) refuses: bool,
    /// So many were.
    pub(crate) refused: u64,
    /// Records that no connection gets, though they were published.
    pub(crate) lost: Vec<Range<u64>>,
    /// Records that nobody can have.
    pub(crate) erased: Vec<Range<u64>>,
    /// So many requests are refused with 429 and Retry-After.
    pub(crate) busy: u64,
    /// Requests before this moment (milliseconds since 1970) do not heed Retry-After.
    closed_until_ms: u64,
    /// When requests came.
    requests: Vec<u64>,
}

/// What 429 says, in seconds.
const RETRY_AFTER_S: u64 = 1;

/// Whether the history may be asked.
pub(crate) enum Asked {
    Yes,
    /// Later.
    Busy,
    /// The client does not keep to what it was told.
    Fault(&'static str),
}

/// Whether the records from some number on can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    All,
    /// Only those from this one on.
    From(u64),
    /// The number was never reached.
    Future,
}

impl History {
    pub(crate) fn new(window: u64) -> History {
        History { window, ..History::default() }
    }

    pub(crate) fn publish(&mut self, count: u64, unix_s: u64) {
        self.times.extend((0..count).map(|_| unix_s));
    }

    /// How many records were published: the number of the next one.
    pub(crate) fn published(&self) -> u64 {
        self.times.len() as u64
    }

    /// The first record that is kept and was published then or later.
    pub(crate) fn since(&self, unix_s: u64) -> u64 {
        (self.times.partition_point(|time| *time < unix_s) as u64).max(self.oldest())
    }

    /// Whether a client that has those before `next` gets all that follow.
    pub(crate) fn held(&self, next: u64) -> Held {
        let oldest = self.oldest();
        if next > self.published() {
            Held::Future
        } else if next < oldest {
            Held::From(oldest)
        } else {
            Held::All
        }
    }

    /// When a record was published, in seconds since 1970.
    pub(crate) fn published_at(&self, number: u64) -> u64 {
        usize::try_from(number).ok().and_then(|at| self.times.get(at)).copied().unwrap_or_default()
    }

    /// The oldest record that is kept.
    pub(crate) fn oldest(&self) -> u64 {
        self.published().saturating_sub(self.window).max(self.forgotten)
    }

    /// Whether connections get this record.
    pub(crate) fn is_sent(&self, number: u64) -> bool {
        !self.lost.iter().any(|lost| lost.contains(&number))
    }

    /// Whether this record can be asked for.
    pub(crate) fn has(&self, number: u64) -> bool {
        let is_erased = self.erased.iter().any(|erased| erased.contains(&number));
        (self.oldest()..self.published()).contains(&number) && !is_erased
    }

    /// A request comes; no more than `most` are allowed in a second.
    pub(crate) fn ask(&mut self, now_ms: u64, most: usize) -> Asked {
        if now_ms < self.closed_until_ms {
            return Asked::Fault("a request came before Retry-After was over");
        }
        if self.busy > 0 {
            self.busy -= 1;
            self.closed_until_ms = now_ms + RETRY_AFTER_S * 1000;
            return Asked::Busy;
        }
        self.requests.push(now_ms);
        let of_late = self.requests.iter().filter(|at| **at + 1000 > now_ms).count();
        if of_late > most { Asked::Fault("more requests in a second than are allowed") } else { Asked::Yes }
    }

    /// How many requests were answered.
    pub(crate) fn requests(&self) -> usize {
        self.requests.len()
    }

    /// What was published so far is gone.
    pub(crate) fn forget(&mut self) {
        self.forgotten = self.published();
    }

    /// Only so many records were ever published.
    pub(crate) fn restore(&mut self, published: u64) {
        self.times.truncate(usize::try_from(published).unwrap_or(usize::MAX));
    }

    /// The sessions are gone.
    pub(crate) fn forget_sessions(&mut self) {
        self.generation += 1;
    }

    /// The name of a session or an epoch, which is another one after the sessions are gone.
    pub(crate) fn named(&self, name: &str) -> String {
        format!("{name}{}", self.generation)
    }

    pub(crate) fn begin(&mut self) {
        self.begun = true;
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_a_window_that_moves() {
        let mut history = History::new(10);
        history.publish(8, 100);
        assert_eq!([0, 8, 9].map(|next| history.held(next)), [Held::All, Held::All, Held::Future]);
        history.publish(7, 200);
        assert_eq!([100, 150, 201].map(|time| history.since(time)), [5, 8, 15]);
        assert_eq!([4, 5].map(|next| history.held(next)), [Held::From(5), Held::All]);
        history.forget();
        assert_eq!([14, 15].map(|next| history.held(next)), [Held::From(15), Held::All]);
    }
}
