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
use crate::log_lines::LogLines;
use crate::{all, meeting};

/// A profile, and how it numbers its records.
#[derive(Debug, Clone, Copy)]
struct Numbered {
    feed: &'static str,
    /// What the user of the profile sets beside what every user of it does.
    set: &'static [(&'static str, &'static str)],
    /// Where the number is.
    number: &'static str,
    /// Numbers may be left out: what is missing is known between two connections alone, and what the history does not have
    /// was never there, as far as anybody knows.
    leaves_out: bool,
    /// A start knows the last numbers of the task before.
    stores_numbers: bool,
    /// Of the numbering.
    keys: usize,
}

const COUNTED: Numbered = Numbered {
    feed: "",
    set: &[],
    number: "",
    leaves_out: false,
    stores_numbers: true,
    // Their records come in twos.
    keys: 2,
};
const FEEDS: [Numbered; 6] = [
    Numbered { feed: "binance", number: "/data/t", ..COUNTED },
    Numbered { feed: "coinbase-exchange", number: "/trade_id", ..COUNTED },
    // Its numbers have other keys than its subscriptions.
    Numbered { feed: "deribit", number: "/trade_seq", stores_numbers: false, ..COUNTED },
    Numbered { feed: "kraken", number: "/trade_id", ..COUNTED },
    Numbered {
        feed: "ethereum",
        set: &[("websocket.backfill.http", "POST {http}/v3/{{secret.project}}")],
        number: "/data",
        leaves_out: true,
        ..COUNTED
    },
    Numbered {
        feed: "mastodon",
        set: &[(
            "websocket.backfill.http",
            "GET {http}/api/v1/timelines/public?limit=40&min_id={{page ?? add(from, -1)}}&max_id={{add(to, 1)}}",
        )],
        number: "/id",
        leaves_out: true,
        keys: 1,
        ..COUNTED
    },
];
const LEDGER: &str = "gaps";
/// So many records come as they should.
const FIRST: u64 = 20;
const PATIENT: &str = "60000";

#[test]
fn what_is_missing_comes_back_in_its_place_once() {
    each(
        PATIENT,
        |feed| !feed.leaves_out,
        async |course| {
            course.publish(FIRST).await;
            // More than a page of each key.
            course.lose(40).await;
            course.has_repaired(20..60, &[]).await
        },
    );
}

#[test]
fn what_is_missed_while_the_connection_is_away_comes_back_too() {
    each(
        PATIENT,
        |_| true,
        async |course| {
            course.publish(FIRST).await;
            course.miss(40).await;
            course.until_all(0).await;
            course.has_all(&[])
        },
    );
}

#[test]
fn what_is_missed_while_the_task_is_away_comes_back_too() {
    each(
        PATIENT,
        |feed| feed.stores_numbers,
        async |course| {
            course.publish(FIRST).await;
            course.simulation.refuse(true);
            course.restart();
            course.simulation.publish(40);
            course.simulation.refuse(false);
            course.come_back().await;
            course.until_all(0).await;
            course.has_all(&[])
        },
    );
}

#[test]
fn what_the_history_does_not_have_stays_a_gap_and_the_rest_comes() {
    each(
        PATIENT,
        |feed| !feed.leaves_out,
        async |course| {
            course.publish(FIRST).await;
            course.simulation.erase(24..28);
            course.lose(20).await;
            course.has_repaired(20..40, &[24, 25, 26, 27]).await
        },
    );
}

#[test]
fn a_server_that_is_busy_is_asked_when_it_says() {
    each(
        PATIENT,
        |_| true,
        async |course| {
            course.publish(FIRST).await;
            course.simulation.be_busy(2);
            course.miss(20).await;
            course.until_all(0).await;
            course.has_all(&[])
        },
    );
}

#[test]
fn a_repair_that_takes_too_long_holds_nothing_up_and_goes_on_after_a_restart() {
    each(
        "1",
        |_| true,
        async |course| {
            course.publish(FIRST).await;
            course.simulation.be_busy(u64::MAX);
            course.miss(20).await;
            course.simulation.be_busy(0);
            course.restart();
            course.until_all(0).await;
            course.ledger_of(course.feed_is.keys).await;
            let mut numbers = course.numbers();
            numbers.values_mut().for_each(|of_key| of_key.sort_unstable());
            course.are_all(&numbers, &[])
        },
    );
}

/// Runs a test for each of these feeds; `hold`: how long records wait for a repair.
fn each(
    hold: &'static str,
    feeds: fn(&Numbered) -> bool,
    test: impl AsyncFn(&mut Course) -> Result<(), String> + Copy + Send + 'static,
) {
    all(FEEDS.into_iter().filter(feeds).map(|feed| {
        let run = move || {
            let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
            runtime.block_on(async { test(&mut Course::begin(feed, hold).await).await })
        };
        (feed.feed.to_owned(), run)
    }));
}

/// A task and its feed.
struct Course {
    simulator: &'static Simulator,
    feed_is: Numbered,
    hold: &'static str,
    simulation: Simulation,
    feed: Feed,
    /// Of the tasks before this one.
    kept: Vec<Received>,
    log: LogLines,
}

impl Course {
    /// Starts, and waits for the subscription.
    async fn begin(feed_is: Numbered, hold: &'static str) -> Course {
        let log = LogLines::collect();
        let simulator = SIMULATORS.iter().copied().find(|simulator| simulator.feed == feed_is.feed).unwrap();
        let simulation = Simulation::start_with_history(simulator, 10_000).unwrap();
        let feed = start(simulator, feed_is.set, &simulation, hold, None);
        let mut course = Course { simulator, feed_is, hold, simulation, feed, kept: Vec::new(), log };
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

    /// So many records are published while the connection is away; then more, of each key.
    async fn miss(&mut self, count: u64) {
        let refused = self.simulation.refused();
        self.simulation.refuse(true);
        self.simulation.reset();
        let Course { simulation, feed, .. } = self;
        feed.until(|_| simulation.refused() > refused).await;
        simulation.publish(count);
        self.come_back().await;
    }

    /// The feed refuses nobody any more: once the subscriptions are there, more records come.
    async fn come_back(&mut self) {
        let Course { simulation, feed, simulator, .. } = self;
        let subscriptions = simulation.subscriptions();
        simulation.refuse(false);
        feed.until(|_| simulation.subscriptions() > subscriptions).await;
        simulation.publish(8);
        let last = (simulator.record)(simulation.published() - 1).value;
        feed.until(|feed| feed.records.iter().any(|record| record.value == last.as_bytes())).await;
    }

    /// Waits until all records but so many have come.
    async fn until_all(&mut self, but: u64) {
        let Course { simulation, feed, kept, .. } = self;
        let count = |records: &[Received]| records.iter().filter(|record| is_of_feed(record)).count() as u64;
        let kept = count(kept);
        feed.until(|feed| kept + count(&feed.records) >= simulation.published() - but).await;
    }

    /// The task dies, and another one begins; Kafka has all its records.
    fn restart(&mut self) {
        self.kept.append(&mut self.feed.records);
        let stored = self.kept.iter().fold(None, |before, record| record.stored(before));
        self.feed = start(self.simulator, self.feed_is.set, &self.simulation, self.hold, stored);
    }

    /// All came in order, these out of the history, but for those that are gone; and the ledger says so.
    async fn has_repaired(&mut self, lost: Range<u64>, gone: &[u64]) -> Result<(), String> {
        self.until_all(gone.len() as u64).await;
        let ledger = self.ledger_of(self.feed_is.keys).await;
        let missing = (gone.len() / self.feed_is.keys) as u64;
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
        if let Some(line) = self.log.all().into_iter().find(|line| line.contains("key=\"***")) {
            return Err(format!("the key is hidden in: {line}"));
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
            let (value, key) = (record.value.as_bytes(), record.key.as_deref());
            expected.entry(self.lane_of(value, key)).or_default().push(self.number_of(value));
        }
        if *numbers == expected { Ok(()) } else { Err(format!("came {numbers:?}, expected {expected:?}")) }
    }

    /// The numbers of each key, as they came.
    fn numbers(&self) -> BTreeMap<String, Vec<u64>> {
        let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for record in self.kept.iter().chain(&self.feed.records).filter(|record| is_of_feed(record)) {
            let lane = self.lane_of(&record.value, record.key.as_deref());
            numbers.entry(lane).or_default().push(self.number_of(&record.value));
        }
        numbers
    }

    /// What is numbered on its own: of some feeds each record has another key.
    fn lane_of(&self, value: &[u8], key: Option<&str>) -> String {
        let is_log = String::from_utf8_lossy(value).contains("logIndex");
        if self.feed_is.leaves_out { format!("logs: {is_log}") } else { key.unwrap_or_default().to_owned() }
    }

    fn number_of(&self, value: &[u8]) -> u64 {
        let value: Value = serde_json::from_slice(value).unwrap();
        // A head has another number than a log; of a status that was deleted there is nothing but the id.
        let number = value.pointer(self.feed_is.number).or_else(|| value.pointer("/number")).unwrap_or(&value);
        let text = number.as_str().map_or_else(|| number.to_string(), str::to_owned);
        let number = text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok());
        number.unwrap_or_else(|| panic!("no number in {value}"))
    }
}

fn is_of_feed(record: &Received) -> bool {
    record.topic.as_deref() != Some(LEDGER)
}

/// Starts a task with short times and no hand-over.
fn start(
    simulator: &Simulator,
    set: &[(&str, &str)],
    simulation: &Simulation,
    hold: &str,
    stored: Option<StoredOffset>,
) -> Feed {
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
    let host = simulation.host();
    properties.extend(set.iter().map(|(key, value)| ((*key).to_owned(), Simulator::at(value, &host))));
    let config = Config::parse(&properties).unwrap_or_else(|errors| panic!("{}: {errors:?}", simulator.feed));
    Feed::with(config, stored)
}
