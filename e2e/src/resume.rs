//! Scenarios of a feed that goes on from a cursor, for both hosts: nothing is missing in Kafka whatever is killed, started again or away.
//!
//! In each, the name of the connector is that of its topic.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use connect_websocket_testkit::{ConnectionStats, Play, SIMULATORS, Script, Server, Simulation, Simulator};
use serde_json::{Value, json};

use crate::consumer::Consumer;
use crate::feeds::configuration;
use crate::host::Host;
use crate::kafka::Kafka;
use crate::offsets_file;
use crate::process::wait_until;
use crate::source::source_config;

const WITHIN: Duration = Duration::from_secs(90);
/// As many as the feed keeps.
const MOST: u64 = 20_000;

/// A feed with a history, and the consumer of its topic.
struct Scene {
    simulator: &'static Simulator,
    simulation: Simulation,
    consumer: Consumer,
    topic: &'static str,
}

impl Scene {
    fn start(topic: &'static str) -> Scene {
        Scene::at(Kafka::shared(), topic)
    }

    fn at(kafka: &Kafka, topic: &'static str) -> Scene {
        let simulator = SIMULATORS.iter().find(|simulator| simulator.feed == "jetstream-v2");
        let simulator = *simulator.unwrap_or_else(|| panic!("there is no simulator of Jetstream"));
        let simulation = Simulation::start_with_history(simulator, MOST).unwrap_or_else(|e| panic!("{e}"));
        // The feed's timestamps are of some day, and Kafka would begin to delete them.
        kafka.create_topic_with(topic, 1, &[("retention.ms", "-1")]);
        Scene { simulator, simulation, consumer: Consumer::new(&kafka.bootstrap()), topic }
    }

    fn config(&self) -> Value {
        configuration(self.simulator, &self.simulation.host(), 1, self.topic)
    }

    fn wait_begun(&self) {
        wait_until("the client to subscribe", WITHIN, || self.simulation.has_begun().then_some(()));
    }

    /// Resets the connection in the middle of what is published, and the next one too.
    fn reset_twice(&self) {
        for _ in 0..2 {
            let accepted = self.simulation.stats().accepted;
            self.simulation.publish(300);
            self.simulation.reset();
            self.simulation.publish(300);
            wait_until("another connection", WITHIN, || (self.simulation.stats().accepted > accepted).then_some(()));
        }
    }

    /// Waits until the newest record is in Kafka. Returns the numbers of all that are, in their order.
    fn numbers(&self) -> Vec<u64> {
        let number: HashMap<String, u64> = (0..MOST).map(|n| ((self.simulator.record)(n).value, n)).collect();
        let last = self.simulation.published() - 1;
        wait_until("the newest record to be in Kafka", WITHIN, || {
            let records = self.consumer.read_all(self.topic, WITHIN);
            let numbers: Vec<u64> = records.iter().map(|record| number[&record.text()]).collect();
            numbers.contains(&last).then_some(numbers)
        })
    }
}

/// # Panics
/// If a record is missing, or one came twice that was stored, or that Kafka did not have yet.
pub fn after_sigkill_nothing_is_missing_and_only_what_was_not_stored_comes_twice<H: Host>() {
    let scene = Scene::start("resumed-after-sigkill");
    let mut host = H::start(&Kafka::shared().bootstrap(), scene.topic, scene.config());
    scene.wait_begun();
    scene.simulation.publish(2_000);
    // Connect does not replace the file at a stroke: it may be half written.
    wait_until("an offset to be stored", WITHIN, || {
        let stored = offsets_file::read(&host.offsets_file()).ok()?;
        stored.iter().find(|entry| entry.connector == scene.topic)?.offset.clone()
    });
    scene.simulation.publish(2_000);
    scene.consumer.wait_count(scene.topic, 2_500, WITHIN);
    host.kill9();
    let arrived = scene.consumer.count(scene.topic);
    let stored = offsets_file::sequence(&host.offsets_file(), scene.topic).unwrap_or_default();
    scene.simulation.publish(1_000);
    host.start_again();
    host.wait_state(scene.topic, "RUNNING");

    let numbers = scene.numbers();
    let expected: Vec<u64> = (0..arrived).chain(stored..scene.simulation.published()).collect();
    assert_eq!(numbers, expected, "{stored} were stored, and {arrived} in Kafka");
    assert_eq!(scene.simulation.faults(), [""; 0]);
    host.terminate();
}

/// # Panics
/// If a record is missing or comes twice.
pub fn restarts_of_task_and_connector_lose_and_double_nothing<H: Host>() {
    let scene = Scene::start("resumed-after-restarts");
    let mut host = H::start(&Kafka::shared().bootstrap(), scene.topic, scene.config());
    scene.wait_begun();
    let path = |of: &str| format!("/connectors/{}/{of}", scene.topic);
    let restarts = ["tasks/0/restart", "restart?includeTasks=true", "pause", "resume", "stop"];
    for what in restarts {
        scene.simulation.publish(500);
        let rest = host.rest();
        let answer = if what.contains("restart") { rest.post(&path(what)) } else { rest.put(&path(what)) };
        let status = answer.status;
        assert!((200..300).contains(&status), "{what}: {status}");
        scene.simulation.publish(500);
    }
    host.wait_state(scene.topic, "STOPPED");
    assert_eq!(host.rest().put(&path("resume")).status, 202);
    host.wait_state(scene.topic, "RUNNING");
    scene.numbers();
    scene.simulation.publish(500);
    host.terminate();
    scene.simulation.publish(500);
    host.start_again();

    assert_eq!(scene.numbers(), (0..scene.simulation.published()).collect::<Vec<_>>());
    assert_eq!(scene.simulation.faults(), [""; 0]);
    host.terminate();
}

/// # Panics
/// If a record is missing or comes twice.
pub fn a_kafka_that_is_away_while_the_feed_resets_costs_and_doubles_nothing<H: Host>() {
    let mut kafka = Kafka::start();
    let scene = Scene::at(&kafka, "resumed-without-kafka");
    let mut config = scene.config();
    // Connect's own producer repeats what Kafka did not answer.
    config["producer.override.enable.idempotence"] = "true".into();
    let host = H::start(&kafka.bootstrap(), scene.topic, config);
    scene.wait_begun();
    scene.simulation.publish(500);
    scene.numbers();
    kafka.suspend();
    scene.reset_twice();
    kafka.resume();
    scene.numbers();
    kafka.stop();
    scene.reset_twice();
    kafka.start_again();

    assert_eq!(scene.numbers(), (0..scene.simulation.published()).collect::<Vec<_>>());
    assert_eq!(host.gaps(scene.topic, None), 0, "nothing was missed");
    assert_eq!(scene.simulation.faults(), [""; 0]);
}

/// Kills the host when Kafka has a part of a message that becomes many records, and the offset says so. `batch_size`: of the producer, small.
///
/// # Panics
/// If a record is missing, or one came twice that was stored, or that Kafka did not have yet.
pub fn after_sigkill_inside_a_split_message_the_rest_of_it_comes<H: Host>(batch_size: &str) {
    const TOPIC: &str = "split-and-killed";
    /// The message's records are those from 1 to this one.
    const LAST: u64 = 6_000;
    let record = |n: u64| json!({"n": n, "text": "x".repeat(80)}).to_string();
    let message = |seq: u64, numbers: RangeInclusive<u64>| {
        let records: Vec<String> = numbers.map(record).collect();
        format!(r#"{{"seq":{seq},"data":[{}]}}"#, records.join(","))
    };
    let whole = message(1, 1..=LAST);
    let first = Play::accept().send_text(message(0, 0..=0)).send_text(whole.as_str());
    let again = Play::accept().send_text(whole.as_str()).send_text(message(2, LAST + 1..=LAST + 1));
    let feed = Server::start(Script::plays([first, again])).unwrap_or_else(|e| panic!("no feed: {e}"));
    let options = [
        ("websocket.record.pointer", "/data/*"),
        ("websocket.cursor", "{{envelope(/seq)}}"),
        ("websocket.cursor.inclusive", "false"),
        ("websocket.handover.dir", ""),
        // Many small requests, so that there is time.
        ("producer.override.batch.size", batch_size),
        ("producer.override.linger.ms", "0"),
    ];
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    let url = format!("{}?cursor={{{{cursor}}}}", feed.url());
    let mut host = H::start(&kafka.bootstrap(), TOPIC, source_config(&url, TOPIC, &options));
    let stored = |host: &H| {
        let stored = offsets_file::read(&host.offsets_file()).ok()?;
        stored.into_iter().find(|entry| entry.connector == TOPIC)?.offset
    };
    wait_until("a part of the message to be stored", WITHIN, || {
        stored(&host).filter(|offset| offset["part"].as_u64().is_some_and(|part| part > 0))
    });
    host.kill9();
    let (arrived, offset) = (consumer.count(TOPIC), stored(&host).unwrap_or_default());
    assert!(arrived <= LAST, "the whole message was in Kafka already");
    let (cursor, part) = (&offset["cursor"], offset["part"].as_u64().unwrap_or_default());
    assert_eq!((cursor, offset["sequence"].as_u64()), (&json!("0"), Some(part + 1)), "{offset}");

    host.start_again();
    let numbers: Vec<u64> = wait_until("the message after it to be in Kafka", WITHIN, || {
        let number = |text: String| serde_json::from_str::<Value>(&text).ok()?["n"].as_u64();
        let records = consumer.read_all(TOPIC, WITHIN);
        let numbers: Vec<u64> = records.iter().filter_map(|record| number(record.text())).collect();
        numbers.contains(&(LAST + 1)).then_some(numbers)
    });
    let expected: Vec<u64> = (0..arrived).chain(part + 1..=LAST + 1).collect();
    assert!(numbers == expected, "{part} of the message were stored, {arrived} records in Kafka, {}", numbers.len());
    host.terminate();
}

/// # Panics
/// If the feed is not asked for what follows the cursor that somebody has set, or for the newest once offsets were deleted.
pub fn offsets_that_are_changed_by_hand_say_where_the_feed_goes_on<H: Host>() {
    const TOPIC: &str = "resumed-by-hand";
    let sends = |numbers: RangeInclusive<u64>| {
        numbers.fold(Play::accept(), |play, n| play.send_text(json!({"n": n}).to_string()))
    };
    let plays = [sends(0..=4), sends(3..=5), sends(9..=9)];
    let feed = Server::start(Script::plays(plays)).unwrap_or_else(|e| panic!("no feed: {e}"));
    let options =
        [("websocket.cursor", "{{/n}}"), ("websocket.cursor.inclusive", "false"), ("websocket.handover.dir", "")];
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    let url = format!("{}?cursor={{{{cursor}}}}", feed.url());
    let mut host = H::start(&kafka.bootstrap(), TOPIC, source_config(&url, TOPIC, &options));
    let path = |of: &str| format!("/connectors/{TOPIC}/{of}");
    let stop = |host: &H| {
        assert_eq!(host.rest().put(&path("stop")).status, 204);
        host.wait_state(TOPIC, "STOPPED");
    };
    consumer.wait_count(TOPIC, 5, WITHIN);
    stop(&host);
    let mut offsets = host.rest().get(&path("offsets")).json();
    offsets["offsets"][0]["offset"]["cursor"] = json!("2");
    let answer = host.rest().patch_json(&path("offsets"), &offsets);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(host.rest().put(&path("resume")).status, 202);
    consumer.wait_count(TOPIC, 8, WITHIN);
    stop(&host);
    let answer = host.rest().delete(&path("offsets"));
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(host.rest().put(&path("resume")).status, 202);
    consumer.wait_count(TOPIC, 9, WITHIN);
    consumer.read_until(TOPIC, 9, WITHIN);
    let asked: Vec<String> = feed.stats().connections.iter().filter_map(asked_for).collect();
    assert_eq!(asked, ["/", "/?cursor=2", "/"]);
    host.terminate();
}

/// What an opening handshake has asked for.
fn asked_for(connection: &ConnectionStats) -> Option<String> {
    Some(connection.request.as_ref()?.line.split(' ').nth(1)?.to_owned())
}
