//! Checks a stream of numbered messages for loss, duplicates and order.

use std::fmt;
use std::ops::RangeInclusive;

use serde::Deserialize;

/// How many numbers of each fault a report names.
const EXAMPLES: usize = 10;

/// Which numbers came, one bit each: a million messages take 125 kB.
#[derive(Debug, Default)]
pub struct Numbers {
    seen: Vec<u64>,
    received: u64,
    highest: Option<u64>,
    duplicated: Faults,
    out_of_order: Faults,
}

/// What [`Numbers::check`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Messages received, duplicates included.
    pub received: u64,
    /// How many numbers of the expected range never came.
    pub missing: u64,
    /// How many messages repeated a number.
    pub duplicated: u64,
    /// How many messages came, for the first time, after a higher number.
    pub out_of_order: u64,
    /// How many received numbers lie outside the expected range.
    pub unexpected: u64,
    examples: String,
}

#[derive(Debug, Default)]
struct Faults {
    count: u64,
    first: Vec<u64>,
}

#[derive(Deserialize)]
struct Numbered {
    n: u64,
}

impl Numbers {
    /// Notes the next number, in the order of arrival.
    pub fn add(&mut self, n: u64) {
        let word = usize::try_from(n / 64).unwrap_or_else(|_| panic!("the number {n} is too large to be checked"));
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        let bit = 1 << (n % 64);
        if self.seen[word] & bit != 0 {
            self.duplicated.add(n);
        } else if self.highest.is_some_and(|highest| n < highest) {
            self.out_of_order.add(n);
        }
        self.seen[word] |= bit;
        self.received += 1;
        self.highest = self.highest.max(Some(n));
    }

    /// Notes a message that is a JSON object with a number `n`.
    ///
    /// # Panics
    /// If it is not.
    pub fn add_json(&mut self, message: &[u8]) {
        match serde_json::from_slice::<Numbered>(message) {
            Ok(message) => self.add(message.n),
            Err(e) => panic!("not a numbered message ({e}): {}", String::from_utf8_lossy(message)),
        }
    }

    /// Messages noted so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The highest number so far.
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// Whether `n` has come.
    pub fn contains(&self, n: u64) -> bool {
        usize::try_from(n / 64).is_ok_and(|word| self.seen.get(word).is_some_and(|bits| bits & (1 << (n % 64)) != 0))
    }

    /// Compares what came with what should have come: each number of `expected` once, ascending.
    pub fn check(&self, expected: RangeInclusive<u64>) -> Report {
        let mut missing = Faults::default();
        for n in expected.clone().filter(|&n| !self.contains(n)) {
            missing.add(n);
        }
        let distinct: u64 = self.seen.iter().map(|bits| u64::from(bits.count_ones())).sum();
        let within = (expected.end() + 1).saturating_sub(*expected.start()) - missing.count;
        Report {
            received: self.received,
            missing: missing.count,
            duplicated: self.duplicated.count,
            out_of_order: self.out_of_order.count,
            unexpected: distinct - within,
            examples: format!("missing {missing}; duplicated {}; out of order {}", self.duplicated, self.out_of_order),
        }
    }

    /// Checks that each number of `expected` came once and in order, and nothing else.
    ///
    /// # Panics
    /// If not, with counts and the first numbers of each fault.
    pub fn assert_complete(&self, expected: RangeInclusive<u64>) {
        let report = self.check(expected.clone());
        assert!(report.is_complete(), "numbers {} to {}: {report}", expected.start(), expected.end());
    }

    /// Checks that each number of `expected` came; others may have come, too.
    ///
    /// # Panics
    /// If not, with the first missing ones.
    pub fn assert_contains_all(&self, expected: RangeInclusive<u64>) {
        let report = self.check(expected.clone());
        assert_eq!(report.missing, 0, "numbers {} to {}: {report}", expected.start(), expected.end());
    }
}

impl Report {
    /// Everything came once, in order, and nothing else.
    pub fn is_complete(&self) -> bool {
        self.missing == 0 && self.duplicated == 0 && self.out_of_order == 0 && self.unexpected == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} received, {} outside the range; {}", self.received, self.unexpected, self.examples)
    }
}

impl Faults {
    fn add(&mut self, n: u64) {
        self.count += 1;
        if self.first.len() < EXAMPLES {
            self.first.push(n);
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            0 => write!(f, "none"),
            count => write!(f, "{count} (first {:?})", self.first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Numbers;

    fn of(numbers: &[u64]) -> Numbers {
        let mut all = Numbers::default();
        numbers.iter().for_each(|&n| all.add(n));
        all
    }

    #[test]
    fn complete_stream_passes() {
        assert!(of(&[5, 6, 7]).check(5..=7).is_complete());
        of(&(0..1000).collect::<Vec<_>>()).assert_complete(0..=999);
    }

    #[test]
    fn missing_number_is_found_inside_and_at_the_end() {
        assert_eq!(of(&[0, 1, 3]).check(0..=4).missing, 2);
        assert_eq!(of(&[]).check(0..=4).missing, 5);
    }

    #[test]
    fn duplicate_is_not_taken_for_disorder() {
        let report = of(&[0, 1, 2, 1]).check(0..=2);
        assert_eq!((report.duplicated, report.out_of_order, report.missing), (1, 0, 0));
    }

    #[test]
    fn late_number_is_out_of_order_not_missing() {
        let report = of(&[0, 2, 1]).check(0..=2);
        assert_eq!((report.duplicated, report.out_of_order, report.missing), (0, 1, 0));
    }

    #[test]
    fn number_outside_the_range_is_unexpected() {
        assert_eq!(of(&[0, 1, 9]).check(0..=1).unexpected, 1);
    }

    #[test]
    #[should_panic(expected = "missing 1 (first [1])")]
    fn assertion_names_the_missing_number() {
        of(&[0, 2]).assert_complete(0..=2);
    }

    #[test]
    fn json_message_is_read() {
        let mut numbers = Numbers::default();
        numbers.add_json(br#"{"n":7,"pad":"xx"}"#);
        assert!(numbers.contains(7));
    }
}
