//! Every profile against the simulator of its feed: the right configuration delivers what the profile promises, a wrong one fails with the
//! server's words, and no secret is anywhere. And what feeds do that one would not expect, each a test.

mod acknowledge;
mod backfill;
mod gaps;
#[path = "../chaos/harness.rs"]
#[allow(dead_code, reason = "the other tests use more of it")]
mod harness;
#[path = "../chaos/log_lines.rs"]
#[allow(dead_code, reason = "the other tests use more of it")]
mod log_lines;
mod resume;
mod running;
mod traps;

use connect_websocket_engine::config::Config;
use connect_websocket_engine::config_def::Properties;
use connect_websocket_engine::feeds::{NAMES, Profile};
use connect_websocket_testkit::{Expected, RECORDS, SIMULATORS, Simulation, Simulator, Wrong, secret_forms};

use running::Running;

/// Heartbeats come this many times as often as the feeds' documentation says.
const SPEED: u32 = 5;

#[test]
fn every_profile_has_a_simulator() {
    let simulated: Vec<&str> = SIMULATORS.iter().map(|simulator| simulator.feed).collect();
    let without: Vec<_> = NAMES.iter().filter(|name| !simulated.contains(name)).collect();
    assert!(without.is_empty(), "no simulator for {without:?}");
    let unknown: Vec<_> = simulated.iter().filter(|feed| !NAMES.contains(feed)).collect();
    assert!(unknown.is_empty(), "no profile for {unknown:?}");
}

#[test]
fn profiles_whose_cursor_is_unique_to_each_record_can_be_exactly_once() {
    let obstacle = |feed: &str| {
        let simulator = SIMULATORS.iter().find(|simulator| simulator.feed == feed).unwrap();
        let mut properties = meeting(simulator, "127.0.0.1:1", 1);
        properties.insert("kafka.topic".to_owned(), "feed".to_owned());
        Config::parse(&properties).unwrap().no_exactly_once
    };
    for feed in ["jetstream-v1", "jetstream-v2", "centrifugo", "mattermost"] {
        assert_eq!(obstacle(feed), None, "{feed}");
    }
    // What exists comes in any order; doubles are known in memory alone; nothing can be asked for.
    for feed in ["kubernetes", "nostr", "binance"] {
        assert!(obstacle(feed).is_some(), "{feed}");
    }
}

#[test]
fn the_right_configuration_delivers_what_the_profile_promises() {
    all(SIMULATORS.iter().map(|simulator| (simulator.feed.to_owned(), || deliver(simulator))));
}

#[test]
fn a_wrong_configuration_fails_with_the_servers_words() {
    let wrong = SIMULATORS.iter().flat_map(|simulator| simulator.wrong.iter().map(move |wrong| (simulator, wrong)));
    all(wrong.map(|(simulator, wrong)| (format!("{}: {}", simulator.feed, wrong.what), || refuse(simulator, wrong))));
}

/// Runs every case on a thread of its own, all at the same time, and reports all that failed.
fn all<F>(cases: impl Iterator<Item = (String, F)>)
where
    F: FnOnce() -> Result<(), String> + Send + 'static,
{
    let started: Vec<_> = cases.map(|(name, case)| (name, std::thread::spawn(case))).collect();
    let result = |(name, case): (String, std::thread::JoinHandle<Result<(), String>>)| {
        let result = case.join().unwrap_or_else(|_| Err("panicked".to_owned()));
        result.err().map(|why| format!("{name}: {why}"))
    };
    let failed: Vec<String> = started.into_iter().filter_map(result).collect();
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

fn deliver(simulator: &'static Simulator) -> Result<(), String> {
    let run = Run::start(simulator, &[]);
    let mut running = Running::start(&run.properties)?;
    let got =
        running.records(RECORDS as usize).map_err(|why| format!("{why}; faults {:?}", run.simulation.faults()))?;
    for (n, (got, expected)) in got.iter().zip((0..RECORDS).map(simulator.record)).enumerate() {
        // Without a time of its own a record has that of its reception.
        let got = Expected { timestamp: expected.timestamp.and(got.timestamp), ..got.clone() };
        if got != expected {
            return Err(format!("record {n} is {got:?}, expected {expected:?}"));
        }
    }
    match run.simulation.faults() {
        faults if faults.is_empty() => run.is_silent(&running, ""),
        faults => Err(format!("the feed had to complain: {faults:?}")),
    }
}

fn refuse(simulator: &'static Simulator, wrong: &Wrong) -> Result<(), String> {
    let run = Run::start(simulator, wrong.set);
    let mut running = Running::start(&run.properties)?;
    let error = running.error()?;
    if !error.contains(wrong.words) {
        return Err(format!("failed with \"{error}\", expected \"{}\"", wrong.words));
    }
    run.is_silent(&running, &error)
}

/// The right configuration for a feed, whose simulator is at `host`.
fn meeting(simulator: &Simulator, host: &str, speed: u32) -> Properties {
    let profile = Profile::named(simulator.feed).unwrap_or_else(|| panic!("there is no profile {}", simulator.feed));
    let given = profile.options.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let mut properties: Properties = simulator.settings(given, host, speed).into_iter().collect();
    properties.insert("websocket.feed".to_owned(), simulator.feed.to_owned());
    properties
}

/// A simulator, and the configuration that meets it.
struct Run {
    simulation: Simulation,
    properties: Properties,
}

impl Run {
    fn start(simulator: &'static Simulator, changed: &[(&str, &str)]) -> Run {
        let simulation = Simulation::start(simulator, SPEED).unwrap();
        let host = simulation.host();
        let mut properties = meeting(simulator, &host, SPEED);
        properties.extend(changed.iter().map(|(key, value)| ((*key).to_owned(), Simulator::at(value, &host))));
        Run { simulation, properties }
    }

    /// No secret of the configuration and none that the feed gave out is in the log or in the error.
    fn is_silent(&self, running: &Running, error: &str) -> Result<(), String> {
        let texts: Vec<String> = running.log().into_iter().chain([error.to_owned()]).collect();
        let configured = self.properties.iter().filter(|(key, _)| key.starts_with("websocket.secret."));
        for secret in configured.map(|(_, value)| value.clone()).chain(self.simulation.issued()) {
            for form in secret_forms(&secret) {
                if let Some(text) = texts.iter().find(|text| text.contains(&form)) {
                    return Err(format!("{form} is seen in: {text}"));
                }
            }
        }
        Ok(())
    }
}
