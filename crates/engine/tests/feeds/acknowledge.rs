//! Every profile that acknowledges, against its simulator: nothing is acknowledged before Kafka has it, and what was not acknowledged
//! comes again and is no second record.

use std::collections::{BTreeSet, HashMap};

use connect_websocket_engine::feeds::Profile;
use connect_websocket_testkit::{SIMULATORS, Simulation, Simulator};

use crate::all;
use crate::harness::{Feed, Received};
use crate::resume::{is_of_feed, on_a_runtime, start};

/// No test publishes more than so many records.
const MOST: u64 = 1_000;

#[test]
fn nothing_is_acknowledged_before_kafka_has_it_and_what_comes_again_is_no_second_record() {
    all(acknowledging().map(|simulator| (simulator.feed.to_owned(), move || on_a_runtime(comes_again(simulator)))));
}

#[test]
fn over_resets_and_planned_ends_every_record_comes_once() {
    all(acknowledging().map(|simulator| (simulator.feed.to_owned(), move || on_a_runtime(goes_on(simulator)))));
}

#[test]
fn what_is_not_acknowledged_in_time_comes_again_on_the_same_connection() {
    let impatient = acknowledging().filter(|simulator| simulator.feed != "azure-web-pubsub");
    all(impatient.map(|simulator| (simulator.feed.to_owned(), move || on_a_runtime(takes_too_long(simulator)))));
}

/// Those whose profile has a step with `.on.commit`.
fn acknowledging() -> impl Iterator<Item = &'static Simulator> {
    let acknowledges = |simulator: &&Simulator| {
        Profile::named(simulator.feed)
            .is_some_and(|profile| profile.options.keys().any(|key| key.ends_with(".on.commit")))
    };
    SIMULATORS.iter().copied().filter(acknowledges)
}

async fn comes_again(simulator: &'static Simulator) -> Result<(), String> {
    let mut course = Course::begin(simulator).await;
    course.simulation.publish(3);
    course.until(usize::MAX, |feed, _| records(feed).count() == 3).await;
    course.simulation.reset();
    course.until(usize::MAX, |_, simulation| simulation.sent_again() >= 3).await;
    // Two of them are in Kafka.
    course.until(1, |feed, _| records(feed).count() == 3).await;
    course.until(0, |_, simulation| simulation.acknowledged().len() >= 3).await;
    course.has_all(3)
}

async fn takes_too_long(simulator: &'static Simulator) -> Result<(), String> {
    let mut course = Course::begin(simulator).await;
    course.simulation.publish(2);
    course.until(usize::MAX, |_, simulation| simulation.sent_again() >= 2).await;
    course.until(0, |_, simulation| simulation.acknowledged().len() >= 2).await;
    course.has_all(2)
}

async fn goes_on(simulator: &'static Simulator) -> Result<(), String> {
    let mut course = Course::begin(simulator).await;
    for round in 1..=4 {
        course.simulation.publish(25);
        // In the middle of what is sent, with two records that Kafka does not have.
        course.until_flowing(2, |feed, _| records(feed).count() as u64 >= round * 25 - 10).await;
        if round % 2 == 0 {
            course.simulation.end_as_planned()
        } else {
            course.simulation.reset()
        }
        // They are in Kafka when the connection is gone.
        course.until(0, |_, _| true).await;
    }
    course.until(0, |_, simulation| simulation.acknowledged().len() >= 100).await;
    course.has_all(100)
}

/// Those of the feed: the lost connections are in the ledger.
fn records(feed: &Feed) -> impl Iterator<Item = &Received> {
    feed.records.iter().filter(|record| is_of_feed(record))
}

/// A task, its feed, and what Kafka has.
struct Course {
    simulation: Simulation,
    feed: Feed,
    numbers: HashMap<Vec<u8>, u64>,
    /// The records that Kafka has.
    kafka: BTreeSet<u64>,
    /// So many records the task was told of.
    told: usize,
    /// So many there were when last looked at.
    seen: usize,
}

impl Course {
    /// Starts, and waits for the subscription.
    async fn begin(simulator: &'static Simulator) -> Course {
        let simulation = Simulation::start_with_history(simulator, MOST).unwrap();
        let numbers = (0..MOST).map(|n| ((simulator.record)(n).value.into_bytes(), n)).collect();
        let feed = start(simulator, &simulation, None);
        let mut course = Course { simulation, feed, numbers, kafka: BTreeSet::new(), told: 0, seen: 0 };
        course.until(0, |_, simulation| simulation.has_begun()).await;
        course
    }

    /// Polls until the condition holds. Kafka gets all records but the newest `open`; what is acknowledged earlier is an error.
    async fn until(&mut self, open: usize, holds: impl Fn(&Feed, &Simulation) -> bool) {
        self.poll(open, false, holds).await;
    }

    /// The same, but Kafka gets the newest too when no others come: a feed may wait for their acknowledgement.
    async fn until_flowing(&mut self, open: usize, holds: impl Fn(&Feed, &Simulation) -> bool) {
        self.poll(open, true, holds).await;
    }

    async fn poll(&mut self, open: usize, flowing: bool, holds: impl Fn(&Feed, &Simulation) -> bool) {
        let Course { simulation, feed, numbers, kafka, told, seen } = self;
        let commits = feed.task.commits().expect("the profile acknowledges");
        feed.until(|feed| {
            let records: Vec<&Received> = records(feed).collect();
            let stands = std::mem::replace(seen, records.len()) == records.len();
            let open = if flowing && stands { 0 } else { open };
            let has = records.len().saturating_sub(open).max(*told);
            for record in &records[*told..has] {
                kafka.insert(numbers[&record.value]);
                commits.acknowledged(record.message.expect("a record of a message"), 1);
            }
            *told = has;
            let acknowledged = simulation.acknowledged();
            let early = acknowledged.iter().find(|(n, _)| !kafka.contains(n));
            assert_eq!(early, None, "it was acknowledged before Kafka had it");
            holds(feed, simulation)
        })
        .await;
    }

    /// All that was published came, once, and was acknowledged.
    fn has_all(&self, count: u64) -> Result<(), String> {
        let sorted = |numbers: &mut Vec<u64>| numbers.sort_unstable();
        let mut came: Vec<u64> = records(&self.feed).map(|record| self.numbers[&record.value]).collect();
        let mut acknowledged: Vec<u64> = self.simulation.acknowledged().iter().map(|(n, _)| *n).collect();
        sorted(&mut came);
        sorted(&mut acknowledged);
        let expected: Vec<u64> = (0..count).collect();
        match self.simulation.faults() {
            faults if !faults.is_empty() => Err(format!("the feed had to complain: {faults:?}")),
            _ if came != expected => Err(format!("{came:?} came")),
            _ if acknowledged != expected => Err(format!("{acknowledged:?} were acknowledged")),
            _ => Ok(()),
        }
    }
}
