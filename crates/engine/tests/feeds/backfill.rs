//! Profiles that can ask the feed's history for what is missing, against simulators that lose records on their way: what is
//! missing comes back, in order and once, and what the history does not have stays a gap in the ledger.

use std::collections::BTreeMap;
use std::ops::Range;

use connect_websocket_engine::config::Config;
use connect_websocket_engine::offset::StoredOffset;
use connect_websocket_testkit::{SIMULATORS, Simulation, Simulator};
use serde_json::Value;
use tokio::runtime::Builder;

use crate::harness::{Feed, Received};
use crate::{all, meeting};

/// The profile, and the pointer to the number that it gives its records.
const FEEDS: [(&str, &str); 3] =
    [("binance", "/data/t"), ("coinbase-exchange", "/trade_id"), ("deribit", "/trade_seq")];
const LEDGER: &str = "gaps";
/// A feed has two keys, whose records come in twos.
const KEYS: usize = 2;
/// So many records come as they should.
const FIRST: u64 = 20;
const PATIENT: &str = "60000";

#[test]
fn what_is_missing_comes_back_in_its_place_once() {
    each(PATIENT, async |course| {
        course.publish(FIRST).await;
        // More than a page of each key.
        course.lose(40).await;
        course.has_repaired(20..60, &[]).await
    });
}

#[test]
fn what_is_missed_while_the_connection_is_away_comes_back_too() {
    each(PATIENT, async |course| {
        course.publish(FIRST).await;
        let refused = course.simulation.refused();
        course.simulation.refuse(true);
        course.simulation.reset();
        let Course { simulation, feed, .. } = course;
        feed.until(|_| simulation.refused() > refused).await;
        simulation.publish(20);
        simulation.refuse(false);
        // Until the subscription is there nobody gets what is published.
        feed.until(|feed| {
            simulation.publish(4);
            feed.records.len() > 21
        })
        .await;
        course.until_all(0).await;
        course.has_all(&[])
    });
}

#[test]
fn what_the_history_does_not_have_stays_a_gap_and_the_rest_comes() {
    each(PATIENT, async |course| {
        course.publish(FIRST).await;
        course.simulation.erase(24..28);
        course.lose(20).await;
        course.has_repaired(20..40, &[24, 25, 26, 27]).await
    });
}

#[test]
fn a_server_that_is_busy_is_asked_when_it_says() {
    each(PATIENT, async |course| {
        course.publish(FIRST).await;
        course.simulation.be_busy(2);
        course.lose(20).await;
        course.has_repaired(20..40, &[]).await
    });
}

#[test]
fn a_repair_that_takes_too_long_holds_nothing_up_and_goes_on_after_a_restart() {
    each("1", async |course| {
        course.publish(FIRST).await;
        course.simulation.be_busy(u64::MAX);
        course.lose(20).await;
        course.until_all(20).await;
        course.simulation.be_busy(0);
        course.restart();
        course.until_all(0).await;
        course.ledger_of(KEYS).await;
        let mut numbers = course.numbers();
        numbers.values_mut().for_each(|of_key| of_key.sort_unstable());
        course.are_all(&numbers, &[])
    });
}

/// Runs a test for each feed; `hold`: how long records wait for a repair.
fn each(hold: &'static str, test: impl AsyncFn(&mut Course) -> Result<(), String> + Copy + Send + 'static) {
    all(FEEDS.into_iter().map(|(feed, number)| {
        let run = move || {
            let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
            runtime.block_on(async { test(&mut Course::begin(feed, number, hold).await).await })
        };
        (feed.to_owned(), run)
    }));
}

/// A task and its feed.
struct Course {
    simulator: &'static Simulator,
    number: &'static str,
    hold: &'static str,
    simulation: Simulation,
    feed: Feed,
    /// Of the tasks before this one.
    kept: Vec<Received>,
}

impl Course {
    /// Starts, and waits for the subscription.
    async fn begin(feed: &str, number: &'static str, hold: &'static str) -> Course {
        let simulator = SIMULATORS.iter().copied().find(|simulator| simulator.feed == feed).unwrap();
        let simulation = Simulation::start_with_history(simulator, 10_000).unwrap();
        let feed = start(simulator, &simulation, hold, None);
        let mut course = Course { simulator, number, hold, simulation, feed, kept: Vec::new() };
        let Course { simulation, feed, .. } = &mut course;
        feed.until(|_| simulation.has_begun()).await;
        course
    }

    async fn publish(&mut self, count: u64) {
        self.simulation.publish(count);
        self.until_all(0).await;
    }

    /// So many records are lost on their way; then two of each key come.
    async fn lose(&mut self, count: u64) {
        let first = self.simulation.published();
        self.simulation.lose(first..first + count);
        self.simulation.publish(count);
        self.simulation.publish(4);
    }

    /// Waits until all records but so many have come.
    async fn until_all(&mut self, but: u64) {
        let Course { simulation, feed, kept, .. } = self;
        let count = |records: &[Received]| records.iter().filter(|record| is_of_feed(record)).count() as u64;
        let kept = count(kept);
        feed.until(|feed| kept + count(&feed.records) >= simulation.published() - but).await;
    }

    /// The task dies; Kafka has all its records.
    fn restart(&mut self) {
        self.kept.append(&mut self.feed.records);
        let stored = self.kept.iter().fold(None, |before, record| record.stored(before));
        self.feed = start(self.simulator, &self.simulation, self.hold, stored);
    }

    /// All came in order, these out of the history, but for those that are gone; and the ledger says so.
    async fn has_repaired(&mut self, lost: Range<u64>, gone: &[u64]) -> Result<(), String> {
        self.until_all(gone.len() as u64).await;
        let ledger = self.ledger_of(KEYS).await;
        let missing = (gone.len() / KEYS) as u64;
        for gap in &ledger {
            if gap["missing"] != missing || gap["repaired"] != (missing == 0) || gap["cause"] != "sequence" {
                return Err(format!("{missing} of each key are missing, and the ledger has {ledger:?}"));
            }
        }
        let backfilled = self.feed.records.iter().filter(|record| record.backfilled).count();
        let expected = lost.count() - gone.len();
        if backfilled != expected {
            return Err(format!("{backfilled} records are out of the history, expected {expected}"));
        }
        self.has_all(gone)
    }

    /// Waits until the ledger has so many holes behind the first records.
    async fn ledger_of(&mut self, count: usize) -> Vec<Value> {
        let is_behind = |from: &Value| from.as_str().and_then(|from| from.parse::<u64>().ok()) >= Some(FIRST / 2);
        let holes = |feed: &Feed| {
            let records = feed.records.iter().filter(|record| !is_of_feed(record));
            let gaps = records.map(|record| serde_json::from_slice::<Value>(&record.value).unwrap());
            gaps.filter(|gap| gap["cause"] == "sequence" && is_behind(&gap["from"])).collect::<Vec<_>>()
        };
        self.feed.until(|feed| holes(feed).len() >= count).await;
        holes(&self.feed)
    }

    fn has_all(&self, gone: &[u64]) -> Result<(), String> {
        match self.simulation.faults() {
            faults if faults.is_empty() => self.are_all(&self.numbers(), gone),
            faults => Err(format!("the feed had to complain: {faults:?}")),
        }
    }

    fn are_all(&self, numbers: &BTreeMap<String, Vec<u64>>, gone: &[u64]) -> Result<(), String> {
        let mut expected: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for n in (0..self.simulation.published()).filter(|n| !gone.contains(n)) {
            let record = (self.simulator.record)(n);
            let number = self.number_of(record.value.as_bytes());
            expected.entry(record.key.unwrap_or_default()).or_default().push(number);
        }
        if *numbers == expected { Ok(()) } else { Err(format!("came {numbers:?}, expected {expected:?}")) }
    }

    /// The numbers of each key, as they came.
    fn numbers(&self) -> BTreeMap<String, Vec<u64>> {
        let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for record in self.kept.iter().chain(&self.feed.records).filter(|record| is_of_feed(record)) {
            numbers.entry(record.key.clone().unwrap_or_default()).or_default().push(self.number_of(&record.value));
        }
        numbers
    }

    fn number_of(&self, value: &[u8]) -> u64 {
        let value: Value = serde_json::from_slice(value).unwrap();
        value.pointer(self.number).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number in {value}"))
    }
}

fn is_of_feed(record: &Received) -> bool {
    record.topic.as_deref() != Some(LEDGER)
}

/// Starts a task with short times and no hand-over.
fn start(simulator: &Simulator, simulation: &Simulation, hold: &str, stored: Option<StoredOffset>) -> Feed {
    let own = [
        ("name", "feed"),
        ("kafka.topic", "feed"),
        ("websocket.gaps.topic", LEDGER),
        ("websocket.sequence.action", "backfill"),
        ("websocket.backfill.hold.ms", hold),
        ("websocket.handover.dir", ""),
        ("websocket.reconnect.interval.ms", "20"),
        ("websocket.reconnect.backoff.max.ms", "50"),
    ];
    let mut properties = meeting(simulator, &simulation.host(), 1);
    properties.extend(own.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    let config = Config::parse(&properties).unwrap_or_else(|errors| panic!("{}: {errors:?}", simulator.feed));
    Feed::with(config, stored)
}
