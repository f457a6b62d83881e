//! Which of the feed's numbers are in the topic. It needs little memory if they are in order.

use connect_websocket_testkit::FeedSummary;

/// The numbers from 0. Each is expected once and in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    /// Every lower number was seen or is in a hole.
    next: u64,
    /// First and last number of each hole.
    holes: Vec<(u64, u64)>,
    duplicates: u64,
    out_of_order: u64,
}

impl Ledger {
    pub(super) fn record(&mut self, n: u64) {
        if n >= self.next {
            if n > self.next {
                self.holes.push((self.next, n - 1));
            }
            self.next = n + 1;
            return;
        }
        let Some(index) = self.holes.iter().position(|&(first, last)| (first..=last).contains(&n)) else {
            self.duplicates += 1;
            return;
        };
        self.out_of_order += 1;
        let (first, last) = self.holes.remove(index);
        let rest = [(first, n.wrapping_sub(1)), (n + 1, last)];
        self.holes.extend(rest.into_iter().filter(|&(a, b)| a <= b && b != u64::MAX));
    }

    /// Returns how many numbers were seen.
    pub(super) fn distinct(&self) -> u64 {
        self.next - self.holes.iter().map(|(first, last)| last - first + 1).sum::<u64>()
    }

    pub(super) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    pub(super) fn out_of_order(&self) -> u64 {
        self.out_of_order
    }

    /// Returns how many numbers are missing that must have arrived.
    pub(super) fn missing(&self, sent: &FeedSummary) -> u64 {
        let last = sent.connections.iter().flat_map(|c| &c.sent).map(|&(_, last)| last).max();
        let beyond = last.filter(|&last| last >= self.next).map(|last| (self.next, last));
        let absent = self.holes.iter().copied().chain(beyond);
        absent.flat_map(|(first, last)| first..=last).filter(|&n| sent.must_have_arrived(n)).count() as u64
    }

    /// Whether everything that must arrive has arrived.
    pub(super) fn covers(&self, sent: &FeedSummary, last: u64) -> bool {
        self.next > last || self.missing(sent) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connect_websocket_testkit::FeedConnection;

    fn sent(ranges: &[(u64, u64)], in_doubt: &[(u64, u64)]) -> FeedSummary {
        let connection = FeedConnection { sent: ranges.to_vec(), in_doubt: in_doubt.to_vec(), ended: None };
        FeedSummary { connections: vec![connection], ..FeedSummary::default() }
    }

    fn ledger(numbers: &[u64]) -> Ledger {
        let mut ledger = Ledger::default();
        numbers.iter().for_each(|&n| ledger.record(n));
        ledger
    }

    #[test]
    fn holes_duplicates_and_disorder_are_told_apart() {
        let ledger = ledger(&[0, 1, 4, 3, 4, 0, 7]);
        assert_eq!((ledger.distinct(), ledger.duplicates(), ledger.out_of_order()), (5, 2, 1));
        assert_eq!(ledger.missing(&sent(&[(0, 9)], &[])), 5, "2, 5, 6, 8 and 9");
        assert_eq!(ledger.missing(&sent(&[(0, 7)], &[(5, 6)])), 1, "2; what is in doubt need not arrive");
    }

    #[test]
    fn a_whole_row_has_no_holes() {
        let ledger = ledger(&[0, 1, 2, 3]);
        assert!(ledger.covers(&sent(&[(0, 3)], &[]), 3));
        assert_eq!((ledger.distinct(), ledger.missing(&sent(&[(0, 3)], &[]))), (4, 0));
    }
}
