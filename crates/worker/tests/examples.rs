//! Every file in `examples/` is accepted by `connect-websocket validate`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const WORKER: &str = "worker.properties";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// All connectors, in the order of their names.
fn connectors() -> Vec<PathBuf> {
    let entries = fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "properties" || extension == "json"))
        .filter(|path| !path.ends_with(WORKER))
        .collect();
    files.sort();
    files
}

/// Exit code 0 and not a word of warning.
fn accepted(arguments: &[&Path]) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_connect-websocket")).arg("validate").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    assert!(!said.contains("warning"), "{arguments:?}: {said}");
}

#[test]
fn every_example_is_valid_on_its_own_and_with_the_worker_beside_it() {
    let connectors = connectors();
    assert!(connectors.len() >= 5, "{connectors:?}");
    for connector in connectors {
        accepted(&[&connector]);
        accepted(&[&connector, Path::new("--worker"), &examples().join(WORKER)]);
    }
}

#[test]
fn every_example_is_listed_and_writes_to_a_topic_of_its_own() {
    let readme = fs::read_to_string(examples().join("README.md")).unwrap();
    let mut topics = Vec::new();
    for connector in connectors() {
        let name = connector.file_name().unwrap().to_string_lossy().into_owned();
        assert!(readme.contains(&format!("({name})")), "examples/README.md does not name {name}");
        let text = fs::read_to_string(&connector).unwrap();
        topics.extend(text.lines().filter_map(|line| line.strip_prefix("kafka.topic=").map(str::to_owned)));
    }
    let count = topics.len();
    topics.sort();
    topics.dedup();
    assert_eq!((topics.len(), count), (count, connectors().len()), "{topics:?}");
}
