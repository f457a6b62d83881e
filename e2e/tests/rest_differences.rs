//! The answers of `connect-websocket` and of Kafka Connect with the plugin to the same REST scenarios, field by field: each
//! difference is one that `e2e/scenarios/differences.json` lists, and for which `docs/reference/rest.md` gives the reason.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use connect_websocket_e2e::difference::{Difference, compare};
use connect_websocket_e2e::scenario::{Host, PlayedStep, play};
use connect_websocket_e2e::{Connect, Kafka, Rest, Worker, plugin_dir, wait_until};
use connect_websocket_testkit::{Messages, Play, Script, Server};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

/// Differences that are known.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// Of one scenario only.
    scenario: Option<String>,
    /// An expression that finds the place.
    at: String,
    /// Expressions that find the values, as JSON; `absent` is a value that is not there.
    here: Option<String>,
    connect: Option<String>,
    /// The first cell of the row in `docs/reference/rest.md` that gives the reason.
    row: String,
}

impl Known {
    fn covers(&self, scenario: &str, difference: &Difference) -> bool {
        let found = |expression: &Option<String>, value: &Option<Value>| {
            let text = value.as_ref().map_or("absent".to_owned(), Value::to_string);
            expression.as_ref().is_none_or(|expression| regex(expression).is_match(&text))
        };
        self.scenario.as_ref().is_none_or(|of| of == scenario)
            && regex(&self.at).is_match(&difference.at)
            && found(&self.here, &difference.here)
            && found(&self.connect, &difference.there)
    }
}

fn regex(expression: &str) -> Regex {
    Regex::new(expression).unwrap_or_else(|e| panic!("differences.json has a bad expression: {e}"))
}

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{} cannot be read: {e}", path.display()))
}

fn known() -> Vec<Known> {
    let text = read(&scenarios().join("differences.json"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("differences.json: {e}"))
}

#[test]
fn every_known_difference_has_its_reason_in_the_documentation() {
    let page = read(&scenarios().join("../../docs/reference/rest.md"));
    for known in known() {
        assert!(page.contains(&format!("\n| {} |", known.row)), "docs/reference/rest.md has no row \"{}\"", known.row);
    }
}

#[test]
fn worker_and_apache_connect_answer_alike_but_for_known_differences() {
    plugin_dir();
    let kafka = Kafka::shared();
    let feed = Server::start(Script::every(Play::accept().send(Messages::forever().rate(100.0))))
        .unwrap_or_else(|e| panic!("the feed cannot be served: {e}"));
    let connect = Connect::builder(&kafka.bootstrap()).start();
    let known = known();
    let mut used = vec![false; known.len()];
    let mut faults = Vec::new();
    let mut files: Vec<PathBuf> = fs::read_dir(scenarios().join("rest"))
        .unwrap_or_else(|e| panic!("no scenarios: {e}"))
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    // Connect shows the task that one scenario makes up in the status of every later connector of that name.
    files.sort_by_key(|file| (file.ends_with("restart.json"), file.clone()));
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let topic = format!("rest-{name}");
        let variables = [
            ("ws", feed.url()),
            ("topic", &topic),
            ("class", "io.conduktor.connect.websocket.WebSocketSourceConnector"),
        ];
        let mut play = |rest: &Rest, host: Host| -> Vec<PlayedStep> {
            let played = play(&file, rest, host, &variables).unwrap_or_else(|e| panic!("{e}"));
            faults.extend(played.wrong.iter().map(|wrong| format!("{name} on {host:?}: {wrong}")));
            played.steps
        };
        let worker = Worker::builder(&kafka.bootstrap()).start();
        let here = play(worker.rest(), Host::Worker);
        let there = play(connect.rest(), Host::ApacheConnect);
        forget_all(connect.rest());

        for (here, there) in here.iter().zip(&there).filter(|(here, _)| !here.differs) {
            for difference in compare((&here.answer, worker.rest()), (&there.answer, connect.rest())) {
                match known.iter().position(|known| known.covers(&name, &difference)) {
                    Some(i) => used[i] = true,
                    None => faults.push(sentence(&name, here, &difference)),
                }
            }
        }
    }
    faults.extend(known.iter().zip(used).filter(|(_, used)| !used).map(|(known, _)| format!("is gone: {known:?}")));
    assert!(faults.is_empty(), "{} unexpected:\n{}", faults.len(), faults.join("\n"));
}

fn sentence(scenario: &str, step: &PlayedStep, difference: &Difference) -> String {
    let show = |value: &Option<Value>| value.as_ref().map_or("absent".to_owned(), Value::to_string);
    format!(
        "{scenario} \"{}\" {}: {}\n      here    {}\n      connect {}",
        step.id,
        step.request,
        difference.at,
        show(&difference.here),
        show(&difference.there)
    )
}

/// Deletes all connectors with their offsets, so that the next scenario finds a worker as new.
fn forget_all(rest: &Rest) {
    let names = rest.get("/connectors").json();
    for name in names.as_array().into_iter().flatten().filter_map(Value::as_str) {
        let path = format!("/connectors/{name}");
        // A connector whose name cannot stand in a path stays; no scenario minds it.
        if rest.put(&format!("{path}/stop")).status != 204 {
            continue;
        }
        wait_until("the offsets to be gone", Duration::from_secs(30), || {
            (rest.delete(&format!("{path}/offsets")).status == 200).then_some(())
        });
        rest.put(&format!("{path}/topics/reset"));
        assert_eq!(rest.delete(&path).status, 204, "{name}");
    }
}
