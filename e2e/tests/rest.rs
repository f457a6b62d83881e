//! The REST API, scenario by scenario; see `e2e/scenarios/rest`.

use std::fs;
use std::path::{Path, PathBuf};

use connect_websocket_e2e::scenario::{Host, play};
use connect_websocket_e2e::{ConnectStandalone, Kafka, Rest, Worker};
use connect_websocket_testkit::{Messages, Play, Script, Server};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/rest")
}

/// Plays one file and expects nothing to differ.
fn check(name: &str, rest: &Rest, host: Host, feed: &str) {
    let variables = [
        ("ws", feed),
        ("topic", &format!("rest-{name}")),
        ("class", "io.conduktor.connect.websocket.WebSocketSourceConnector"),
    ];
    let played =
        play(&directory().join(format!("{name}.json")), rest, host, &variables).unwrap_or_else(|e| panic!("{e}"));
    assert!(played.wrong.is_empty(), "{name}: {} steps differ:\n{}", played.wrong.len(), played.wrong.join("\n"));
}

/// Plays one file against a worker of its own.
fn scenario(name: &str) {
    let feed = Server::start(Script::every(Play::accept().send(Messages::forever().rate(100.0))))
        .unwrap_or_else(|e| panic!("the feed cannot be served: {e}"));
    let worker = Worker::builder(&Kafka::shared().bootstrap()).start();
    check(name, worker.rest(), Host::Worker, feed.url());
}

/// The scenarios that need no plugin show that they, and their notes on Apache Connect, are true.
#[test]
fn apache_connect_answers_as_the_scenarios_say() {
    let connect = ConnectStandalone::builder(&Kafka::shared().bootstrap()).start();
    for name in ["surface", "unknown_connector", "loggers"] {
        check(name, connect.rest(), Host::ApacheConnect, "ws://127.0.0.1:1/");
    }
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
