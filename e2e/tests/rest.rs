//! The REST API, scenario by scenario; see `e2e/scenarios/rest`.

use std::fs;
use std::path::{Path, PathBuf};

use connect_websocket_e2e::scenario::{Host, play};
use connect_websocket_e2e::{Kafka, Worker};
use connect_websocket_testkit::{Messages, Play, Script, Server};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/rest")
}

/// Plays one file against a worker of its own and expects nothing to differ; `rest_differences.rs` plays them against
/// Kafka Connect, too.
fn scenario(name: &str) {
    let feed = Server::start(Script::every(Play::accept().send(Messages::forever().rate(100.0))))
        .unwrap_or_else(|e| panic!("the feed cannot be served: {e}"));
    let worker = Worker::builder(&Kafka::shared().bootstrap()).start();
    let variables = [
        ("ws", feed.url()),
        ("topic", &format!("rest-{name}")),
        ("class", "io.conduktor.connect.websocket.WebSocketSourceConnector"),
    ];
    let file = directory().join(format!("{name}.json"));
    let played = play(&file, worker.rest(), Host::Worker, &variables).unwrap_or_else(|e| panic!("{e}"));
    assert!(played.wrong.is_empty(), "{name}: {} steps differ:\n{}", played.wrong.len(), played.wrong.join("\n"));
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        $(#[test] fn $name() { scenario(stringify!($name)); })*

        #[test]
        fn every_scenario_file_is_played() {
            let mut files: Vec<String> = fs::read_dir(directory())
                .unwrap_or_else(|e| panic!("no scenarios: {e}"))
                .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_string_lossy().into_owned()))
                .collect();
            files.sort();
            assert_eq!(files, [$(stringify!($name)),*], "list the scenario files in alphabetical order in this test");
        }
    };
}

scenarios! {
    config
    create
    create_refused
    delete
    initial_state
    list
    loggers
    names
    offsets
    offsets_refused
    pause_resume
    plugins
    restart
    stop
    surface
    topics
    unknown_connector
    validate
}
