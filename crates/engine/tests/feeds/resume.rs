//! Every profile that resumes, against its simulator with a history: whatever becomes of its connections and of the task, nothing is
//! missing and nothing comes twice; and a position that the feed does not have any more is a gap in the ledger.

use std::collections::{HashMap, HashSet};

use connect_websocket_engine::config::Config;
use connect_websocket_engine::feeds::Profile;
use connect_websocket_engine::offset::StoredOffset;
use connect_websocket_testkit::{SIMULATORS, Simulation, Simulator};
use tokio::runtime::Builder;

use crate::harness::{Feed, Received};
use crate::{all, meeting};

/// No test publishes more than so many records.
const MOST: u64 = 10_000;
/// So many of them the feed keeps.
const WINDOW: u64 = 500;

/// What a feed does when it cannot go on from a position: the cause of the gap, or nothing where the feed has no such case.
struct Lost {
    feed: &'static str,
    /// The records behind the position are gone.
    too_old: Option<&'static str>,
    /// The position was never reached: the server was restored from a backup.
    future: Option<&'static str>,
    /// The session or epoch is gone.
    session: Option<&'static str>,
}

/// It is asked for a time some minutes back, and what was seen is not kept over a restart: there records come twice.
const FORGETS_WHAT_IT_SAW: &str = "nostr";

const LOST: &[Lost] = &[
    Lost { feed: "azure-web-pubsub", too_old: None, future: None, session: Some("resume_lost") },
    Lost { feed: "jetstream-v1", too_old: Some("clamped"), future: Some("clamped"), session: None },
    Lost { feed: "jetstream-v2", too_old: Some("resume_lost"), future: Some("resume_lost"), session: None },
    Lost { feed: "discord", too_old: Some("resume_lost"), future: Some("resume_lost"), session: Some("resume_lost") },
    Lost {
        feed: "mattermost",
        too_old: Some("resume_lost"),
        future: Some("resume_lost"),
        session: Some("resume_lost"),
    },
    Lost {
        feed: "centrifugo",
        too_old: Some("resume_lost"),
        future: Some("resume_lost"),
        session: Some("resume_lost"),
    },
    // A server that was restored sends nothing until it has come to the version.
    Lost { feed: "kubernetes", too_old: Some("resume_lost"), future: None, session: None },
    // A relay is asked for a time, and says nothing of what it has deleted.
    Lost { feed: "nostr", too_old: None, future: None, session: None },
    Lost { feed: "direct-line", too_old: None, future: None, session: Some("resume_lost") },
    Lost { feed: "ably", too_old: Some("resume_lost"), future: Some("resume_lost"), session: Some("resume_lost") },
    Lost {
        feed: "ringcentral",
        too_old: Some("resume_lost"),
        future: Some("resume_lost"),
        session: Some("resume_lost"),
    },
    Lost { feed: "anycable", too_old: Some("resume_lost"), future: Some("resume_lost"), session: Some("resume_lost") },
    // An application says nothing of what it does not have any more.
    Lost { feed: "phoenix", too_old: None, future: None, session: None },
    // A reader begins with the oldest message that there is, and nobody says so.
    Lost { feed: "pulsar", too_old: None, future: None, session: None },
    Lost { feed: "socketio", too_old: Some("resume_lost"), future: Some("resume_lost"), session: Some("resume_lost") },
];

#[test]
fn a_feed_that_resumes_misses_nothing_and_doubles_nothing() {
    all(resuming().map(|simulator| (simulator.feed.to_owned(), move || on_a_runtime(goes_on(simulator)))));
}

/// A case of a test: it runs on a thread of its own.
type Case = Box<dyn FnOnce() -> Result<(), String> + Send>;

#[test]
fn a_position_that_is_gone_is_one_gap_in_the_ledger() {
    let of =
        |feed| resuming().find(|simulator| simulator.feed == feed).unwrap_or_else(|| panic!("{feed} does not resume"));
    let case = |lost: &'static Lost, what: &str| (format!("{}, {what}", lost.feed), of(lost.feed));
    let mut cases: Vec<(String, Case)> = Vec::new();
    for lost in LOST {
        if let Some(cause) = lost.too_old {
            let (name, simulator) = case(lost, "too old");
            cases.push((name, Box::new(move || on_a_runtime(too_old(simulator, cause)))));
        }
        if let Some(cause) = lost.session {
            let (name, simulator) = case(lost, "session lost");
            cases.push((name, Box::new(move || on_a_runtime(session_lost(simulator, cause)))));
        }
        if let Some(cause) = lost.future {
            let (name, simulator) = case(lost, "in the future");
            cases.push((name, Box::new(move || on_a_runtime(in_the_future(simulator, cause)))));
        }
    }
    all(cases.into_iter());
}

#[test]
fn every_feed_that_resumes_says_how_it_loses_its_position() {
    let missing: Vec<_> =
        resuming().map(|simulator| simulator.feed).filter(|feed| LOST.iter().all(|lost| lost.feed != *feed)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Those whose profile or user gives a cursor, or variables to resume with.
fn resuming() -> impl Iterator<Item = &'static Simulator> {
    let resumes =
        |simulator: &&Simulator| option(simulator, "websocket.cursor").is_some() || !variables(simulator).is_empty();
    SIMULATORS.iter().copied().filter(resumes)
}

fn option(simulator: &Simulator, name: &str) -> Option<String> {
    let given = simulator.right.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let profile = Profile::named(simulator.feed)?;
    given.or_else(|| profile.options.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone()))
}

fn variables(simulator: &Simulator) -> String {
    option(simulator, "websocket.resume.variables").unwrap_or_default()
}

pub(crate) fn on_a_runtime(test: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?.block_on(test)
}

async fn goes_on(simulator: &'static Simulator) -> Result<(), String> {
    let mut course = Course::begin(simulator).await;
    // In the middle of what is sent.
    course.simulation.publish(30);
    course.until(10).await;
    course.simulation.publish(30);
    course.simulation.reset();
    course.until_all().await;
    course.publish_while_refused(Simulation::reset).await;
    // The server is there and says nothing: only the missing pong shows it.
    course.simulation.fall_silent();
    course.simulation.publish(20);
    course.until_all().await;
    course.simulation.publish(10);
    course.simulation.end_as_planned();
    course.simulation.publish(20);
    course.until_all().await;
    // What is secret is not stored, so such a feed resumes within one process only.
    if !variables(simulator).contains("secret.") {
        course.simulation.publish(40);
        course.until(course.simulation.published() - 20).await;
        course.restart(7).await;
    }
    course.publish_while_refused(Simulation::end_as_planned).await;
    course.has_all()
}

async fn too_old(simulator: &'static Simulator, cause: &str) -> Result<(), String> {
    let mut course = Course::begin(simulator).await;
    course.simulation.publish(21);
    course.until_all().await;
    course.publish_while_refused_then(Simulation::reset, Simulation::forget).await;
    course.until_live().await;
    course.has_gap(cause, 21..51)
}

async fn session_lost(simulator: &'static Simulator, cause: &str) -> Result<(), String> {
    let mut course = Course::begin(simulator).await;
    course.simulation.publish(21);
    course.until_all().await;
    let forget = |simulation: &Simulation| {
        simulation.forget();
        simulation.forget_sessions();
    };
    course.publish_while_refused_then(Simulation::reset, forget).await;
    course.until_live().await;
    course.has_gap(cause, 21..51)
}

async fn in_the_future(simulator: &'static Simulator, cause: &str) -> Result<(), String> {
    let mut course = Course::begin(simulator).await;
    course.simulation.publish(60);
    course.until_all().await;
    course.publish_while_refused_then(Simulation::reset, |simulation| simulation.restore(12)).await;
    course.kept.append(&mut course.feed.records);
    course.until_live().await;
    course.has_gap(cause, 0..0)
}

/// A task and its feed, through all that happens to them.
struct Course {
    simulator: &'static Simulator,
    simulation: Simulation,
    feed: Feed,
    /// What Kafka has of the tasks before this one.
    kept: Vec<Received>,
    numbers: HashMap<Vec<u8>, u64>,
}

impl Course {
    /// Starts, and waits for the subscription.
    async fn begin(simulator: &'static Simulator) -> Course {
        let numbers = (0..MOST).map(|n| ((simulator.record)(n).value.into_bytes(), n)).collect();
        let simulation = Simulation::start_with_history(simulator, WINDOW).unwrap();
        let feed = start(simulator, &simulation, None);
        let mut course = Course { simulator, simulation, feed, kept: Vec::new(), numbers };
        let Course { simulation, feed, .. } = &mut course;
        feed.until(|_| simulation.has_begun()).await;
        course
    }

    /// Waits until so many different records of the feed have come.
    async fn until(&mut self, count: u64) {
        let Course { feed, kept, .. } = self;
        feed.until(|feed| {
            let records = kept.iter().chain(&feed.records).filter(|record| is_of_feed(record));
            records.map(|record| &record.value).collect::<HashSet<_>>().len() as u64 >= count
        })
        .await;
    }

    async fn until_all(&mut self) {
        self.until(self.simulation.published()).await;
    }

    /// Waits until records come as they are published.
    async fn until_live(&mut self) {
        let Course { simulation, feed, numbers, .. } = self;
        let before = simulation.published();
        feed.until(|feed| {
            simulation.publish(1);
            feed.records.iter().any(|record| numbers.get(&record.value).is_some_and(|n| *n >= before))
        })
        .await;
    }

    /// The connection ends, and records are published before the next one may be opened.
    async fn publish_while_refused(&mut self, end: impl FnOnce(&Simulation)) {
        self.publish_while_refused_then(end, |_| {}).await;
        self.until_all().await;
    }

    async fn publish_while_refused_then(&mut self, end: impl FnOnce(&Simulation), then: impl FnOnce(&Simulation)) {
        let refused = self.simulation.refused();
        self.simulation.refuse(true);
        end(&self.simulation);
        let simulation = &self.simulation;
        self.feed.until(|_| simulation.refused() > refused).await;
        self.simulation.publish(30);
        then(&self.simulation);
        self.simulation.refuse(false);
    }

    /// The task dies, and Kafka has all but its last records; then it starts again.
    async fn restart(&mut self, lost: usize) {
        self.kept.append(&mut self.feed.records);
        self.kept.truncate(self.kept.len() - lost);
        let stored = self.stored();
        self.feed = start(self.simulator, &self.simulation, stored);
        self.simulation.publish(20);
        self.until_all().await;
    }

    /// What the host has stored of what Kafka has.
    fn stored(&self) -> Option<StoredOffset> {
        self.kept.iter().chain(&self.feed.records).fold(None, |before, record| record.stored(before))
    }

    /// The numbers of all records, in their order.
    fn numbers(&self) -> Result<Vec<u64>, String> {
        let records = self.kept.iter().chain(&self.feed.records).filter(|record| is_of_feed(record));
        let number = |record: &Received| {
            let number = self.numbers.get(&record.value).copied();
            number.ok_or_else(|| format!("no record of the feed: {}", String::from_utf8_lossy(&record.value)))
        };
        records.map(number).collect()
    }

    /// All that was published is here, once, and no gap was told.
    fn has_all(&self) -> Result<(), String> {
        let mut numbers = self.numbers()?;
        if self.simulator.feed == FORGETS_WHAT_IT_SAW {
            let restarted = numbers.split_off(self.kept.len());
            let before: HashSet<u64> = numbers.iter().copied().collect();
            numbers.extend(restarted.into_iter().filter(|n| !before.contains(n)));
        }
        numbers.sort_unstable();
        let missing: Vec<u64> =
            (0..self.simulation.published()).filter(|n| numbers.binary_search(n).is_err()).collect();
        let doubled: Vec<u64> = numbers.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        if !missing.is_empty() || !doubled.is_empty() {
            return Err(format!("missing {missing:?}, doubled {doubled:?}"));
        }
        match (self.ledger(), self.simulation.faults()) {
            (gaps, _) if !gaps.is_empty() => Err(format!("gaps were told: {gaps:?}")),
            (_, faults) if !faults.is_empty() => Err(format!("the feed had to complain: {faults:?}")),
            _ => Ok(()),
        }
    }

    /// The ledger has one gap, of this cause, and none of these records came.
    fn has_gap(&self, cause: &str, missing: std::ops::Range<u64>) -> Result<(), String> {
        let came: Vec<u64> = self.numbers()?.into_iter().filter(|n| missing.contains(n)).collect();
        let gaps = self.ledger();
        let is_one = matches!(&gaps[..], [gap] if gap["cause"] == cause && gap["id"].is_string());
        if is_one && came.is_empty() {
            Ok(())
        } else {
            Err(format!("the ledger has {gaps:?}; of {missing:?} came {came:?}"))
        }
    }

    fn ledger(&self) -> Vec<serde_json::Value> {
        let records = self.kept.iter().chain(&self.feed.records).filter(|record| !is_of_feed(record));
        records.map(|record| serde_json::from_slice(&record.value).unwrap_or_default()).collect()
    }
}

const LEDGER: &str = "gaps";

pub(crate) fn is_of_feed(record: &Received) -> bool {
    record.topic.as_deref() != Some(LEDGER)
}

/// Starts a task with short times and no hand-over.
pub(crate) fn start(simulator: &Simulator, simulation: &Simulation, stored: Option<StoredOffset>) -> Feed {
    let short = [
        ("name", "feed"),
        ("kafka.topic", "feed"),
        ("websocket.gaps.topic", LEDGER),
        ("websocket.handover.dir", ""),
        ("websocket.reconnect.interval.ms", "20"),
        ("websocket.reconnect.backoff.max.ms", "50"),
        ("websocket.ping.interval.ms", "500"),
        ("websocket.pong.timeout.ms", "1000"),
    ];
    let mut properties = meeting(simulator, &simulation.host(), 1);
    properties.extend(short.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    let config = Config::parse(&properties).unwrap_or_else(|errors| panic!("{}: {errors:?}", simulator.feed));
    Feed::with(config, stored)
}
