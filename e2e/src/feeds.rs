//! Every profile against the simulator of its feed, on both hosts: the right configuration brings what the profile promises to Kafka, a wrong one
//! ends FAILED with the server's words, and no secret is anywhere.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use connect_websocket_engine::feeds::Profile;
use connect_websocket_testkit::{Expected, RECORDS, Simulation, Simulator, secret_forms};
use serde_json::{Map, Value};

use crate::consumer::{Consumer, Record};
use crate::process::wait_until;
use crate::rest::Rest;
use crate::source::source_config;

/// Heartbeats come this many times as often as the feeds' documentation says.
const SPEED: u32 = 5;
/// Records that a feed with a history keeps.
const WINDOW: u64 = 1_000;
/// All simulators run at the same time, on a machine that may be busy.
const WITHIN: Duration = Duration::from_secs(180);

/// A simulator, and the connector that reads it.
pub struct Run {
    simulator: &'static Simulator,
    simulation: Simulation,
    /// The connector's name, and its topic.
    pub name: String,
    config: Value,
    words: Option<&'static str>,
}

impl Run {
    /// What a user of the profile would configure.
    ///
    /// # Panics
    /// If the simulator cannot be started or has no profile.
    pub fn right(simulator: &'static Simulator) -> Run {
        Run::start(simulator, simulator.feed.to_owned(), &[], None)
    }

    /// The same under another name, with a feed whose records are those that the test publishes, and with more options.
    ///
    /// # Panics
    /// As [`Run::right`].
    pub fn with_history(simulator: &'static Simulator, name: &str, more: &[(&str, &str)]) -> Run {
        let simulation = Simulation::start_with_history(simulator, WINDOW);
        Run::of(simulator, simulation, name.to_owned(), more, None)
    }

    /// The connector's configuration.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// The values of the records that were published, and their numbers.
    pub fn published(&self) -> HashMap<String, u64> {
        (0..self.simulation.published()).map(|n| ((self.simulator.record)(n).value, n)).collect()
    }

    /// The feed.
    pub fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    /// Each configuration that the feed refuses.
    ///
    /// # Panics
    /// As [`Run::right`].
    pub fn wrong(simulator: &'static Simulator) -> impl Iterator<Item = Run> {
        simulator.wrong.iter().enumerate().map(move |(at, wrong)| {
            Run::start(simulator, format!("{}-wrong-{at}", simulator.feed), wrong.set, Some(wrong.words))
        })
    }

    fn start(
        simulator: &'static Simulator,
        name: String,
        changed: &[(&str, &str)],
        words: Option<&'static str>,
    ) -> Run {
        Run::of(simulator, Simulation::start(simulator, SPEED), name, changed, words)
    }

    fn of(
        simulator: &'static Simulator,
        simulation: io::Result<Simulation>,
        name: String,
        changed: &[(&str, &str)],
        words: Option<&'static str>,
    ) -> Run {
        let simulation = simulation.unwrap_or_else(|e| panic!("{} cannot be simulated: {e}", simulator.feed));
        let host = simulation.host();
        let mut config = configuration(simulator, &host, SPEED, &name);
        for (key, value) in changed {
            config[*key] = Simulator::at(value, &host).into();
        }
        Run { simulator, simulation, name, config, words }
    }

    /// Creates the connector.
    ///
    /// # Panics
    /// If it is refused.
    pub fn create(&self, rest: &Rest) {
        let path = format!("/connectors/{}/config", self.name);
        let answer = rest.put_json(&path, &self.config);
        assert!([200, 201].contains(&answer.status), "{}: {}", self.name, answer.text);
    }

    /// Waits for the records of a right configuration.
    ///
    /// # Panics
    /// If they do not come, or are not what the profile promises, or the feed had to complain.
    pub fn delivers(&self, consumer: &Consumer) {
        let faults = || self.simulation.faults();
        if let Err(late) = self.simulation.wait_until_over(WITHIN) {
            panic!("{} has not sent every record; complaints {:?}; {late}", self.name, faults());
        }
        let topic_of = |expected: &Expected| expected.topic.clone().unwrap_or_else(|| self.name.clone());
        let expected: Vec<Expected> = (0..RECORDS).map(self.simulator.record).collect();
        let mut topics: Vec<String> = expected.iter().map(topic_of).collect();
        topics.sort_unstable();
        topics.dedup();
        for topic in topics {
            let expected: Vec<&Expected> = expected.iter().filter(|expected| topic_of(expected) == topic).collect();
            let records = consumer.read_until(&topic, expected.len(), WITHIN);
            for (at, (record, expected)) in records.iter().zip(expected).enumerate() {
                assert_eq!(as_expected(record, expected), *expected, "record {at} of {topic}");
            }
        }
        assert_eq!(faults(), [""; 0], "what {} had to complain of", self.name);
    }

    /// Waits until a wrong configuration has failed.
    ///
    /// # Panics
    /// If it does not fail, or not with the server's words.
    pub fn fails(&self, rest: &Rest) {
        let words = self.words.unwrap_or_default();
        let trace = wait_until(&format!("{} to fail", self.name), WITHIN, || {
            let status = rest.get(&format!("/connectors/{}/status", self.name)).json();
            let task = &status["tasks"][0];
            (task["state"] == "FAILED").then(|| task["trace"].as_str().unwrap_or_default().to_owned())
        });
        assert!(trace.contains(words), "{} failed without the words \"{words}\": {trace}", self.name);
    }

    /// No secret of the configuration, and none that the feed gave out, is in these texts.
    ///
    /// # Panics
    /// If one is.
    pub fn is_silent(&self, texts: &[(String, String)]) {
        let config = self.config.as_object().cloned().unwrap_or_else(Map::new);
        let configured = config.iter().filter(|(key, _)| key.starts_with("websocket.secret."));
        let configured = configured.filter_map(|(_, value)| value.as_str().map(str::to_owned));
        for secret in configured.chain(self.simulation.issued()) {
            for form in secret_forms(&secret) {
                for (place, text) in texts {
                    let line = text.lines().find(|line| line.contains(&form));
                    assert!(line.is_none(), "{place} shows {form}: {}", line.unwrap_or_default());
                }
            }
        }
    }

    /// The connector's answers that people see, beside its configuration.
    pub fn answers(&self, rest: &Rest) -> Vec<(String, String)> {
        let paths =
            ["status", "tasks/0/status", "topics", "offsets"].map(|path| format!("/connectors/{}/{path}", self.name));
        paths.into_iter().map(|path| (path.clone(), rest.get(&path).text)).collect()
    }
}

/// The right configuration for a feed, whose simulator is at `host`.
pub(crate) fn configuration(simulator: &Simulator, host: &str, speed: u32, topic: &str) -> Value {
    let feed = simulator.feed;
    let profile = Profile::named(feed).unwrap_or_else(|| panic!("there is no profile {feed}"));
    let given = profile.options.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let mut config = source_config("", topic, &[("websocket.feed", feed), ("websocket.handover.dir", "")]);
    // The profile's.
    config.as_object_mut().and_then(|config| config.remove("websocket.url"));
    for (key, value) in simulator.settings(given, host, speed) {
        config[key] = value.into();
    }
    config
}

/// A record of Kafka, to be compared: without a time of its own it has that of its reception.
fn as_expected(record: &Record, expected: &Expected) -> Expected {
    Expected {
        value: record.text(),
        key: record.key.as_ref().map(|key| String::from_utf8_lossy(key).into_owned()),
        topic: expected.topic.clone(),
        timestamp: expected.timestamp.and(record.timestamp),
    }
}
