//! What is missing is asked for over HTTP, from the feed's history. No I/O here: answers, the time and chance come in.
//!
//! Holes are repaired one after the other, each with as many requests as it has pages:
//!
//! ```text
//! hole ─▶ question ─▶ request ─▶ answer ─▶ a page of records, by number ─▶ … ─▶ all that history has of the hole
//! ```
//!
//! What waits for its repair is listed in every record's offset, so that a new start goes on with it.

mod plan;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::dialogue::rate::{Limit, Rate};
use crate::gap::Cause;
use crate::intake::sequence::Hole;
use crate::record::epoch_ms;

pub use plan::{Page, Plan, Session, Settings};

/// More holes do not wait: those beyond are gaps at once. All of them are in every offset.
const MAX_HOLES: usize = 64;
/// A key that is longer is not kept in offsets.
const MAX_KEY_BYTES: usize = 256;
/// More is not fetched for one hole.
const MAX_PAGES: u32 = 1000;
const MAX_BYTES: usize = 32 << 20;
/// So often a request may fail, one time after the other, before its hole is given up.
const MAX_FAILURES: u32 = 8;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What one request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub key: Box<str>,
    pub from: i128,
    pub to: i128,
    /// `None` is the first page.
    pub page: Option<String>,
}

/// The holes that are to be repaired, and what has come of the first of them.
#[derive(Debug, Default)]
pub struct Backfill {
    repairs: VecDeque<Repair>,
    /// Of the newest repair.
    number: u64,
    rate: Rate,
    not_before: Option<Instant>,
    failures: u32,
    /// A request is under way.
    is_asked: bool,
    /// The repairs as text, for offsets; empty if there is none.
    entry: String,
}

/// One hole.
#[derive(Debug)]
struct Repair {
    number: u64,
    hole: Hole,
    /// When it was found.
    at: SystemTime,
    page: Option<String>,
    pages: u32,
    found: BTreeMap<i128, String>,
    bytes: usize,
}

/// What became of a hole.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Of the repair.
    pub number: u64,
    pub hole: Hole,
    pub at: SystemTime,
    /// In the order of their numbers.
    pub records: Vec<String>,
    pub requests: u32,
    /// How many are still missing, if the numbers say so.
    pub missing: Option<u64>,
}

/// What an answer's status means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Take,
    /// The request is to be made again.
    Later,
    Never,
}

/// 418 is Binance's word for a client that did not heed 429.
pub fn verdict(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Take,
        408 | 418 | 425 | 429 | 500..=599 => Verdict::Later,
        _ => Verdict::Never,
    }
}

impl Backfill {
    /// Goes on with what an offset lists. What is no such list is nothing.
    pub fn stored(text: &str) -> Backfill {
        let mut backfill = Backfill::default();
        let listed: Vec<(String, String, String, Option<u64>, u64)> = serde_json::from_str(text).unwrap_or_default();
        for (key, from, to, missing, at) in listed {
            let (Ok(from), Ok(to)) = (from.parse(), to.parse()) else { continue };
            let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at);
            let hole = Hole { cause: Cause::Sequence, key: key.into(), from, to, missing };
            // More than there may be were never listed.
            let _ = backfill.add(hole, at);
        }
        backfill
    }

    /// Adds a hole; returns the number of its repair.
    ///
    /// # Errors
    /// The hole itself, if too many wait already.
    pub fn add(&mut self, hole: Hole, at: SystemTime) -> Result<u64, Hole> {
        if self.repairs.len() >= MAX_HOLES || hole.key.len() > MAX_KEY_BYTES {
            return Err(hole);
        }
        self.number += 1;
        let (number, found) = (self.number, BTreeMap::new());
        self.repairs.push_back(Repair { number, hole, at, page: None, pages: 0, found, bytes: 0 });
        self.list();
        Ok(number)
    }

    /// The repairs as text, for offsets.
    pub fn entry(&self) -> Option<&str> {
        Some(&*self.entry).filter(|entry| !entry.is_empty())
    }

    /// A new connection is there: a request that was under way is made again.
    pub fn connected(&mut self, rate: &[Limit]) {
        self.is_asked = false;
        self.rate.set_limits(rate);
    }

    /// When the next request may be made; `None` if there is nothing to ask for, or a request is under way.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let wants = !self.is_asked && !self.repairs.is_empty();
        wants.then(|| self.rate.next(now).max(self.not_before.unwrap_or(now)))
    }

    /// Returns what to ask for, if it may be asked now.
    pub fn ask(&mut self, now: Instant) -> Option<Question> {
        self.due(now).filter(|due| *due <= now)?;
        let repair = self.repairs.front_mut()?;
        repair.pages += 1;
        self.is_asked = true;
        self.rate.count(now);
        let Hole { key, from, to, .. } = &repair.hole;
        Some(Question { key: key.clone(), from: *from, to: *to, page: repair.page.clone() })
    }

    /// What the request under way asks for.
    pub fn asked(&self) -> Option<Question> {
        let Repair { hole: Hole { key, from, to, .. }, page, .. } = self.repairs.front().filter(|_| self.is_asked)?;
        Some(Question { key: key.clone(), from: *from, to: *to, page: page.clone() })
    }

    /// Takes a page: records of the hole's key beside their numbers. Returns whether it was the last.
    pub fn take_page(&mut self, records: Vec<(i128, String)>, next: Option<String>) -> bool {
        (self.is_asked, self.failures, self.not_before) = (false, 0, None);
        let Some(repair) = self.repairs.front_mut() else { return false };
        let numbers = || records.iter().map(|(number, _)| *number);
        let (first, last) = (numbers().next(), numbers().next_back());
        // Beyond the end of the hole, in the direction in which the pages go, nothing of it comes.
        let is_past = match (first, last) {
            (Some(first), Some(last)) if first < last => last >= repair.hole.to,
            (Some(first), Some(last)) if first > last => last <= repair.hole.from,
            (first, _) => first.is_none(),
        };
        for (number, record) in records {
            if repair.wants(number) {
                repair.bytes += record.len();
                repair.found.insert(number, record);
            }
        }
        let stays = next.is_none() || next == repair.page;
        repair.page = next;
        is_past || stays || repair.is_complete() || repair.pages >= MAX_PAGES || repair.bytes >= MAX_BYTES
    }

    /// The request failed. Returns how long to wait for the next one; `None` if there is to be none.
    pub fn put_off(&mut self, now: Instant, retry_after: Option<Duration>) -> Option<Duration> {
        self.is_asked = false;
        self.failures += 1;
        if self.failures >= MAX_FAILURES {
            return None;
        }
        let backoff = FIRST_WAIT.saturating_mul(1 << (self.failures - 1)).min(LONGEST_WAIT);
        let wait = retry_after.map_or(backoff, |wait| wait.max(backoff));
        self.not_before = Some(now + wait);
        Some(wait)
    }

    /// Takes what was found of the first hole, which stays in the list until [`Backfill::forget`].
    pub fn outcome(&mut self) -> Option<Outcome> {
        (self.is_asked, self.failures) = (false, 0);
        let repair = self.repairs.front_mut()?;
        let missing = repair.missing();
        let records = std::mem::take(&mut repair.found).into_values().collect();
        let Repair { number, hole, at, pages, .. } = repair;
        Some(Outcome { number: *number, hole: hole.clone(), at: *at, records, requests: *pages, missing })
    }

    /// The first hole is done with.
    pub fn forget(&mut self) {
        self.repairs.pop_front();
        self.list();
    }

    /// Writes the list of repairs anew.
    fn list(&mut self) {
        self.entry.clear();
        if self.repairs.is_empty() {
            return;
        }
        let listed = |Repair { hole, at, .. }: &Repair| {
            let Hole { key, from, to, missing, .. } = hole;
            serde_json::json!([key, from.to_string(), to.to_string(), missing, epoch_ms(*at)])
        };
        self.entry = serde_json::Value::Array(self.repairs.iter().map(listed).collect()).to_string();
    }
}

impl Repair {
    /// Of a chain, which does not say how many are missing, the number before the hole is known.
    fn wants(&self, number: i128) -> bool {
        let Hole { from, to, missing, .. } = &self.hole;
        (*from < number || missing.is_some() && *from == number) && number <= *to
    }

    fn missing(&self) -> Option<u64> {
        match self.hole.missing {
            Some(missing) => Some(missing.saturating_sub(self.found.len() as u64)),
            None => self.found.contains_key(&self.hole.to).then_some(0),
        }
    }

    fn is_complete(&self) -> bool {
        self.hole.missing.is_some() && self.missing() == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialogue::rate;

    const SECOND: Duration = Duration::from_secs(1);

    fn hole(key: &str, from: i128, to: i128) -> Hole {
        let missing = to.checked_sub(from).and_then(|span| u64::try_from(span + 1).ok());
        Hole { cause: Cause::Sequence, key: key.into(), from, to, missing }
    }

    fn page(numbers: impl IntoIterator<Item = i128>) -> Vec<(i128, String)> {
        numbers.into_iter().map(|number| (number, number.to_string())).collect()
    }

    fn with(holes: &[Hole]) -> Backfill {
        let mut backfill = Backfill::default();
        for hole in holes {
            backfill.add(hole.clone(), SystemTime::UNIX_EPOCH).unwrap();
        }
        backfill
    }

    /// The numbers of the records, and how many are missing.
    fn end(backfill: &mut Backfill) -> (Vec<String>, Option<u64>) {
        let Outcome { records, missing, .. } = backfill.outcome().unwrap();
        backfill.forget();
        (records, missing)
    }

    #[test]
    fn holes_are_repaired_one_after_the_other_and_each_page_by_page() {
        let now = Instant::now();
        let mut backfill = with(&[hole("a", 5, 8), hole("b", 1, 1)]);
        assert_eq!(backfill.ask(now).unwrap(), Question { key: "a".into(), from: 5, to: 8, page: None });
        assert_eq!((backfill.due(now), backfill.ask(now)), (None, None), "one request at a time");
        assert!(!backfill.take_page(page([5, 6]), Some("7".into())));
        assert_eq!(backfill.ask(now).unwrap().page.as_deref(), Some("7"));
        assert!(backfill.take_page(page([7, 8, 9, 10]), Some("11".into())));
        assert_eq!(end(&mut backfill), (["5", "6", "7", "8"].map(str::to_owned).to_vec(), Some(0)));
        assert_eq!(&*backfill.ask(now).unwrap().key, "b");
        assert!(backfill.take_page(page([1]), None));
        assert_eq!(end(&mut backfill), (vec!["1".to_owned()], Some(0)));
        assert_eq!((backfill.due(now), backfill.entry()), (None, None));
    }

    #[test]
    fn pages_may_go_backwards_and_may_overlap() {
        let now = Instant::now();
        let mut backfill = with(&[hole("", 5, 8)]);
        backfill.ask(now);
        assert!(!backfill.take_page(page([8, 7, 6]), Some("6".into())));
        backfill.ask(now);
        assert!(backfill.take_page(page([6, 5, 4, 3]), Some("3".into())));
        assert_eq!(end(&mut backfill), (["5", "6", "7", "8"].map(str::to_owned).to_vec(), Some(0)));
    }

    #[test]
    fn what_history_does_not_have_stays_missing() {
        let now = Instant::now();
        // Beyond the hole; nothing at all; the last page; the same page again.
        for (numbers, next, missing) in
            [(vec![5, 8, 9], Some("10"), 2), (vec![], Some("10"), 4), (vec![5, 6, 7], None, 1)]
        {
            let mut backfill = with(&[hole("", 5, 8)]);
            backfill.ask(now);
            assert!(backfill.take_page(page(numbers.clone()), next.map(str::to_owned)), "{numbers:?}");
            assert_eq!(end(&mut backfill).1, Some(missing), "{numbers:?}");
        }
        let mut backfill = with(&[hole("", 5, 8)]);
        backfill.ask(now);
        assert!(!backfill.take_page(page([5]), Some("x".into())));
        backfill.ask(now);
        assert!(backfill.take_page(page([5]), Some("x".into())));
    }

    #[test]
    fn of_a_chain_the_number_before_is_known_and_the_last_one_is_the_end() {
        let now = Instant::now();
        for (numbers, records, missing) in [([5, 7, 9], ["7", "9"], Some(0)), ([5, 6, 7], ["6", "7"], None)] {
            let mut backfill = with(&[Hole { missing: None, ..hole("", 5, 9) }]);
            backfill.ask(now);
            assert!(backfill.take_page(page(numbers), None));
            assert_eq!(end(&mut backfill), (records.map(str::to_owned).to_vec(), missing));
        }
    }

    #[test]
    fn the_rate_is_kept_and_a_server_that_says_when_is_obeyed() {
        let now = Instant::now();
        let mut backfill = with(&[hole("", 1, 9)]);
        backfill.connected(&rate::parse("2/10s").unwrap());
        backfill.ask(now).unwrap();
        backfill.take_page(page([1]), Some("2".into()));
        backfill.ask(now).unwrap();
        backfill.take_page(page([2]), Some("3".into()));
        assert_eq!((backfill.ask(now), backfill.due(now)), (None, Some(now + 10 * SECOND)));
        let now = now + 10 * SECOND;
        backfill.ask(now).unwrap();
        assert_eq!(backfill.put_off(now, Some(30 * SECOND)), Some(30 * SECOND));
        assert_eq!(backfill.due(now), Some(now + 30 * SECOND));
        assert_eq!(backfill.ask(now + 30 * SECOND).unwrap().page.as_deref(), Some("3"), "the same page again");
    }

    #[test]
    fn a_request_that_keeps_failing_is_given_up_with_what_was_found() {
        let now = Instant::now();
        let mut backfill = with(&[hole("", 1, 3)]);
        backfill.ask(now);
        backfill.take_page(page([1]), Some("2".into()));
        let waits: Vec<_> = std::iter::from_fn(|| backfill.put_off(now, None)).map(|wait| wait.as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60]);
        assert_eq!(end(&mut backfill), (vec!["1".to_owned()], Some(2)));
        let verdicts = [200, 204, 429, 418, 503, 404, 401, 302].map(verdict);
        use Verdict::{Later, Never, Take};
        assert_eq!(verdicts, [Take, Take, Later, Later, Later, Never, Never, Never]);
    }

    #[test]
    fn what_waits_is_in_the_offset_and_comes_back_from_it() {
        let holes = [hole("a\"b", 5, 8), Hole { missing: None, ..hole("", -3, 1 << 90) }];
        let backfill = with(&holes);
        let stored = Backfill::stored(backfill.entry().unwrap());
        assert_eq!(stored.entry(), backfill.entry());
        assert_eq!(stored.repairs.iter().map(|repair| repair.hole.clone()).collect::<Vec<_>>(), holes);
        for no_list in ["", "[", "{}", r#"[["a"]]"#, r#"[["a","x","y",1,2]]"#] {
            assert_eq!(Backfill::stored(no_list).entry(), None, "{no_list}");
        }
    }

    #[test]
    fn too_many_holes_do_not_wait() {
        let mut backfill = with(&vec![hole("", 1, 1); MAX_HOLES]);
        assert!(backfill.add(hole("", 1, 1), SystemTime::UNIX_EPOCH).is_err());
        assert!(with(&[]).add(hole(&"k".repeat(MAX_KEY_BYTES + 1), 1, 1), SystemTime::UNIX_EPOCH).is_err());
    }
}
