//! Scenarios of a feed that goes on from a cursor, for both hosts: nothing is missing in Kafka whatever is killed or started again.
//!
//! In each, the name of the connector is that of its topic.

use std::collections::HashMap;
use std::time::Duration;

use connect_websocket_testkit::{SIMULATORS, Simulation, Simulator};
use serde_json::Value;

use crate::consumer::Consumer;
use crate::feeds::configuration;
use crate::host::Host;
use crate::kafka::Kafka;
use crate::offsets_file;
use crate::process::wait_until;

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
        let simulator = SIMULATORS.iter().find(|simulator| simulator.feed == "jetstream-v2");
        let simulator = *simulator.unwrap_or_else(|| panic!("there is no simulator of Jetstream"));
        let simulation = Simulation::start_with_history(simulator, MOST).unwrap_or_else(|e| panic!("{e}"));
        Scene { simulator, simulation, consumer: Consumer::new(&Kafka::shared().bootstrap()), topic }
    }

    fn config(&self) -> Value {
        configuration(self.simulator, &self.simulation.host(), 1, self.topic)
    }

    fn wait_begun(&self) {
        wait_until("the client to subscribe", WITHIN, || self.simulation.has_begun().then_some(()));
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
