//! Requests missing messages over HTTP, from the feed's history. No I/O: the caller gives responses and the time.
//!
//! Holes are repaired one after the other, each with as many requests as it has pages:
//!
//! ```text
//! hole ─▶ question ─▶ request ─▶ answer ─▶ a page of records, by number ─▶ … ─▶ all that history has of the hole
//! ```
//!
//! Every record's offset lists the holes that wait for their repair, so that a restart continues with them.

pub(crate) mod plan;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::dialogue::rate::{Limit, Rate};
use crate::gap::Cause;
use crate::intake::sequence::Hole;
use crate::record::epoch_ms;

pub use plan::{Page, Plan, Session, Settings};

/// The most holes that wait for their repair. Further ones are gaps at once. The limit is low, because every offset
/// lists them all.
const MAX_HOLES: usize = 64;
/// The longest key of a hole that offsets list.
const MAX_KEY_BYTES: usize = 256;
/// The most that is fetched for one hole.
const MAX_PAGES: u32 = 1000;
const MAX_BYTES: usize = 32 << 20;
/// After so many failures in a row, the repair of a hole ends.
const MAX_FAILURES: u32 = 8;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What one request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub key: Box<str>,
    pub from: i128,
    pub to: i128,
    /// When the message before the hole was received.
    pub since: SystemTime,
    /// `None` is the first page.
    pub page: Option<String>,
}

/// The holes that wait for their repair, and what was fetched for the first one.
#[derive(Debug, Default)]
pub struct Backfill {
    repairs: VecDeque<Repair>,
    /// The number of the newest repair.
    number: u64,
    rate: Rate,
    not_before: Option<Instant>,
    failures: u32,
    /// A request is under way.
    is_asked: bool,
    /// The keys that have source partitions of their own.
    partitions: Vec<String>,
    /// The repairs as text, for the offsets of each partition.
    entries: BTreeMap<Option<Box<str>>, String>,
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
    /// The history has nothing more of it.
    is_read: bool,
}

/// The result of a repair.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The number of the repair.
    pub number: u64,
    pub hole: Hole,
    pub at: SystemTime,
    /// Numbers and records, in the order of the numbers.
    pub records: Vec<(i128, String)>,
    pub requests: u32,
    /// How many are still missing, if the numbers say so.
    pub missing: Option<u64>,
}

/// What the status of a response means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Take,
    /// Repeat the request later.
    Later,
    Never,
}

/// Binance answers 418 to a client that has ignored 429.
pub fn verdict(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Take,
        408 | 418 | 425 | 429 | 500..=599 => Verdict::Later,
        _ => Verdict::Never,
    }
}

impl Backfill {
    /// Adds the repairs that an offset lists. A text that is not such a list is ignored.
    pub fn go_on_with(&mut self, text: &str) {
        let listed: Vec<Listed> = serde_json::from_str(text).unwrap_or_default();
        for (key, from, to, missing, at, since, open) in listed {
            let (Ok(from), Ok(to)) = (from.parse(), to.parse()) else { continue };
            let time = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
            let hole = Hole { cause: Cause::Sequence, key: key.into(), from, to, missing, open, since: time(since) };
            // This program never lists more.
            let _ = self.add(hole, time(at));
        }
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
        self.repairs.push_back(Repair { number, hole, at, page: None, pages: 0, found, bytes: 0, is_read: false });
        self.list();
        Ok(number)
    }

    /// Returns the repairs as text, for the offsets of a key's partition, or of the feed's partition.
    pub fn entry(&self, key: Option<&str>) -> Option<&str> {
        if self.entries.is_empty() {
            return None;
        }
        let partition = key.filter(|key| self.partitions.iter().any(|own| own == key));
        let mut entries = self.entries.iter();
        entries.find(|(own, _)| own.as_deref() == partition).map(|(_, entry)| entry.as_str())
    }

    /// Begins a new connection. A request that was under way is repeated. `partitions`: the keys with a source
    /// partition.
    pub fn connected(&mut self, rate: &[Limit], partitions: &[String]) {
        self.is_asked = false;
        self.rate.set_limits(rate);
        self.partitions = partitions.to_vec();
        self.list();
    }

    /// Returns when the next request may be made, or `None` if nothing is missing or a request is under way.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let wants = !self.is_asked && !self.repairs.is_empty();
        wants.then(|| self.rate.next(now).max(self.not_before.unwrap_or(now)))
    }

    /// Returns what to request, if a request may be made now.
    pub fn ask(&mut self, now: Instant) -> Option<Question> {
        self.due(now).filter(|due| *due <= now)?;
        let repair = self.repairs.front_mut()?;
        repair.pages += 1;
        self.is_asked = true;
        self.rate.count(now);
        Some(repair.question())
    }

    /// Returns what the request under way asks for.
    pub fn asked(&self) -> Option<Question> {
        self.repairs.front().filter(|_| self.is_asked).map(Repair::question)
    }

    /// Takes a page: numbers and records of the hole's key. Returns whether it was the last page.
    pub fn take_page(&mut self, records: Vec<(i128, String)>, next: Option<String>) -> bool {
        (self.is_asked, self.failures, self.not_before) = (false, 0, None);
        let Some(repair) = self.repairs.front_mut() else { return false };
        let numbers = || records.iter().map(|(number, _)| *number);
        let (first, last) = (numbers().next(), numbers().next_back());
        // Pages go up or down. Once they have passed the end of the hole, no record of it follows.
        let is_past = match (first, last) {
            // If numbers may be left out, the direction of the pages is not known. Only a page without a next one is
            // the last.
            (Some(_), _) if repair.hole.open => false,
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
        repair.is_read = is_past || stays;
        repair.is_read || repair.is_complete() || repair.pages >= MAX_PAGES || repair.bytes >= MAX_BYTES
    }

    /// Notes that the request has failed. Returns how long to wait before the next one, or `None` if the repair ends.
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

    /// Returns what was fetched for the first hole. The hole stays in the list until [`Backfill::forget`].
    pub fn outcome(&mut self) -> Option<Outcome> {
        (self.is_asked, self.failures) = (false, 0);
        let repair = self.repairs.front_mut()?;
        let missing = repair.missing();
        let records = std::mem::take(&mut repair.found).into_iter().collect();
        let Repair { number, hole, at, pages, .. } = repair;
        Some(Outcome { number: *number, hole: hole.clone(), at: *at, records, requests: *pages, missing })
    }

    /// Notes that the first hole is repaired up to this number.
    pub fn came_to(&mut self, number: i128) {
        let Some(repair) = self.repairs.front_mut() else { return };
        let is_chain = repair.is_chain();
        let hole = &mut repair.hole;
        hole.from = if is_chain { number } else { number.saturating_add(1) };
        hole.missing = hole.missing.and_then(|_| u64::try_from(hole.to.saturating_sub(number)).ok());
        self.list();
    }

    /// Removes the first hole.
    pub fn forget(&mut self) {
        self.repairs.pop_front();
        self.list();
    }

    /// Updates the list of repairs for the offsets.
    fn list(&mut self) {
        let mut lists: BTreeMap<Option<Box<str>>, Vec<Listed>> = BTreeMap::new();
        for repair in self.repairs.iter().filter(|repair| !repair.is_over()) {
            let key = &repair.hole.key;
            let partition = self.partitions.iter().any(|own| **own == **key).then(|| key.clone());
            lists.entry(partition).or_default().push(repair.listed());
        }
        let text = |(partition, list): (_, Vec<Listed>)| Some((partition, as_text(&list)?));
        self.entries = lists.into_iter().filter_map(text).collect();
    }
}

/// A repair in an offset: key, from, to, missing, found at, message before at, open. Numbers of the feed are text.
type Listed = (String, String, String, Option<u64>, u64, u64, bool);

fn as_text(list: &[Listed]) -> Option<String> {
    if list.is_empty() { None } else { serde_json::to_string(list).ok() }
}

/// Returns a list of an offset without this hole, if anything is left of it.
pub fn without(list: &str, hole: &Hole) -> Option<String> {
    let list: Vec<Listed> = serde_json::from_str(list).unwrap_or_default();
    let (key, to) = (&*hole.key, hole.to.to_string());
    // Two holes of a key never end with the same number.
    let rest: Vec<Listed> = list.into_iter().filter(|listed| listed.0 != key || listed.2 != to).collect();
    as_text(&rest)
}

impl Repair {
    fn question(&self) -> Question {
        let Hole { key, from, to, since, .. } = &self.hole;
        Question { key: key.clone(), from: *from, to: *to, since: *since, page: self.page.clone() }
    }

    fn listed(&self) -> Listed {
        let Hole { key, from, to, missing, open, since, .. } = &self.hole;
        let ms = |at: SystemTime| u64::try_from(epoch_ms(at)).unwrap_or_default();
        (key.to_string(), from.to_string(), to.to_string(), *missing, ms(self.at), ms(*since), *open)
    }

    /// Whether the messages name the number before them, so that the numbers do not say how many are missing.
    fn is_chain(&self) -> bool {
        self.hole.missing.is_none() && !self.hole.open
    }

    fn wants(&self, number: i128) -> bool {
        let Hole { from, to, .. } = &self.hole;
        (*from < number || !self.is_chain() && *from == number) && number <= *to
    }

    /// Whether all records of the hole were given to the queue.
    fn is_over(&self) -> bool {
        let Hole { from, to, .. } = &self.hole;
        from > to || self.is_chain() && from == to
    }

    fn missing(&self) -> Option<u64> {
        match self.hole.missing {
            Some(missing) => Some(missing.saturating_sub(self.found.len() as u64)),
            // Numbers may be left out. What the history does not have counts as never sent.
            None if self.hole.open => self.is_read.then_some(0),
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
        Hole { cause: Cause::Sequence, key: key.into(), from, to, missing, open: false, since: SystemTime::UNIX_EPOCH }
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
        (records.into_iter().map(|(_, record)| record).collect(), missing)
    }

    #[test]
    fn holes_are_repaired_one_after_the_other_and_each_page_by_page() {
        let now = Instant::now();
        let mut backfill = with(&[hole("a", 5, 8), hole("b", 1, 1)]);
        assert_eq!(
            backfill.ask(now).unwrap(),
            Question { key: "a".into(), from: 5, to: 8, since: SystemTime::UNIX_EPOCH, page: None }
        );
        assert_eq!((backfill.due(now), backfill.ask(now)), (None, None), "one request at a time");
        assert!(!backfill.take_page(page([5, 6]), Some("7".into())));
        assert_eq!(backfill.ask(now).unwrap().page.as_deref(), Some("7"));
        assert!(backfill.take_page(page([7, 8, 9, 10]), Some("11".into())));
        assert_eq!(end(&mut backfill), (["5", "6", "7", "8"].map(str::to_owned).to_vec(), Some(0)));
        assert_eq!(&*backfill.ask(now).unwrap().key, "b");
        assert!(backfill.take_page(page([1]), None));
        assert_eq!(end(&mut backfill), (vec!["1".to_owned()], Some(0)));
        assert_eq!((backfill.due(now), backfill.entry(None)), (None, None));
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
        let limits = rate::parse("2/10s").unwrap();
        backfill.connected(&limits, &[]);
        backfill.ask(now).unwrap();
        backfill.take_page(page([1]), Some("2".into()));
        backfill.ask(now).unwrap();
        backfill.take_page(page([2]), Some("3".into()));
        let later = now + limits[0].kept_for();
        assert_eq!((backfill.ask(now), backfill.due(now)), (None, Some(later)));
        let now = later;
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
        let stored = |text: &str| {
            let mut backfill = Backfill::default();
            backfill.go_on_with(text);
            backfill
        };
        let again = stored(backfill.entry(None).unwrap());
        assert_eq!(again.entry(None), backfill.entry(None));
        assert_eq!(again.repairs.iter().map(|repair| repair.hole.clone()).collect::<Vec<_>>(), holes);
        for no_list in ["", "[", "{}", r#"[["a"]]"#, r#"[["a","x","y",1,2,3,false]]"#] {
            assert_eq!(stored(no_list).entry(None), None, "{no_list}");
        }
    }

    #[test]
    fn what_waits_is_in_the_offsets_of_its_keys_partition() {
        let mut backfill = with(&[hole("a", 5, 8), hole("b", 1, 2), hole("c", 1, 2)]);
        backfill.connected(&[], &["a".to_owned(), "b".to_owned(), "d".to_owned()]);
        let keys = |partition| {
            let list: Option<Vec<Listed>> = backfill.entry(partition).map(|text| serde_json::from_str(text).unwrap());
            list.unwrap_or_default().into_iter().map(|listed| listed.0).collect::<Vec<_>>()
        };
        assert_eq!(
            (keys(Some("a")), keys(Some("d")), keys(None)),
            (vec!["a".to_owned()], vec![], vec!["c".to_owned()])
        );
    }

    #[test]
    fn where_numbers_may_be_left_out_all_is_there_that_the_history_has() {
        let now = Instant::now();
        let open = |pages: &[(&[i128], Option<&str>)]| {
            let mut backfill = with(&[Hole { missing: None, open: true, ..hole("", 5, 9) }]);
            for (numbers, next) in pages {
                backfill.ask(now);
                backfill.take_page(page(numbers.iter().copied()), next.map(str::to_owned));
            }
            end(&mut backfill)
        };
        assert_eq!(open(&[(&[5, 7], Some("8")), (&[], None)]), (vec!["5".to_owned(), "7".to_owned()], Some(0)));
        assert_eq!(
            open(&[(&[5, 7], Some("8"))]),
            (vec!["5".to_owned(), "7".to_owned()], None),
            "it was not read to its end"
        );
    }

    #[test]
    fn what_is_on_its_way_again_is_no_more_in_the_list() {
        let from = |backfill: &Backfill| {
            let list: Vec<Listed> = serde_json::from_str(backfill.entry(None)?).unwrap();
            Some((list[0].1.clone(), list[0].3))
        };
        let mut backfill = with(&[hole("", 5, 8)]);
        backfill.came_to(6);
        assert_eq!(from(&backfill), Some(("7".to_owned(), Some(2))));
        backfill.came_to(8);
        assert_eq!(from(&backfill), None);
        let mut backfill = with(&[Hole { missing: None, ..hole("", 5, 9) }]);
        backfill.came_to(7);
        assert_eq!(from(&backfill), Some(("7".to_owned(), None)));
        backfill.came_to(9);
        assert_eq!(from(&backfill), None);
        let list = with(&[hole("", 5, 8), hole("a", 5, 8)]).entry(None).unwrap().to_owned();
        let rest = without(&list, &hole("", 7, 8)).unwrap();
        assert_eq!((rest.contains(r#""a""#), without(&rest, &hole("a", 5, 8))), (true, None));
    }

    #[test]
    fn too_many_holes_do_not_wait() {
        let mut backfill = with(&vec![hole("", 1, 1); MAX_HOLES]);
        assert!(backfill.add(hole("", 1, 1), SystemTime::UNIX_EPOCH).is_err());
        assert!(with(&[]).add(hole(&"k".repeat(MAX_KEY_BYTES + 1), 1, 1), SystemTime::UNIX_EPOCH).is_err());
    }
}
