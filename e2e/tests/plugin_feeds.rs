//! A dozen profiles of different kinds on the plugin, all in one Kafka Connect; the scenarios are in [`connect_websocket_e2e::feeds`].

use connect_websocket_e2e::feeds::Run;
use connect_websocket_e2e::{Connect, Consumer, Kafka, plugin_dir};
use connect_websocket_testkit::{SIMULATORS, Simulator};
use serde_json::json;

/// A token by HTTP, signed log-ins, heartbeats both ways, reconnects that are asked for, subprotocols, compressed frames, text that is no
/// JSON alone, topics by template, records inside of envelopes.
const FEEDS: [&str; 15] = [
    "binance",
    "coinbase-advanced",
    "kucoin",
    "htx",
    "bitfinex",
    "deribit",
    "jetstream-v1",
    "graphql-transport-ws",
    "socketio",
    "signalr",
    "phoenix",
    "slack",
    "pulsar",
    "twitch",
    "home-assistant",
];

fn simulators() -> impl Iterator<Item = &'static Simulator> {
    FEEDS.iter().map(|feed| {
        let simulator = SIMULATORS.iter().find(|simulator| simulator.feed == *feed);
        *simulator.unwrap_or_else(|| panic!("there is no simulator {feed}"))
    })
}

/// A worker that logs all that the plugin has to say.
fn connect() -> Connect {
    plugin_dir();
    let connect = Connect::builder(&Kafka::shared().bootstrap()).start();
    let logger = "/admin/loggers/io.conduktor.connect.websocket";
    assert_eq!(connect.rest().put_json(logger, &json!({"level": "TRACE"})).status, 200);
    connect
}

/// No secret of any run is in what Connect shows.
fn assert_silent(connect: &Connect, runs: &[Run]) {
    let offsets = std::fs::read(connect.offsets_file()).unwrap_or_default();
    let shown = [
        ("the log".to_owned(), connect.log()),
        ("the offsets".to_owned(), String::from_utf8_lossy(&offsets).into_owned()),
    ];
    for run in runs {
        run.is_silent(&shown);
        run.is_silent(&run.answers(connect.rest()));
    }
}

#[test]
fn every_right_configuration_brings_what_its_profile_promises() {
    let connect = connect();
    let consumer = Consumer::new(&Kafka::shared().bootstrap());
    let runs: Vec<Run> = simulators().map(Run::right).collect();
    runs.iter().for_each(|run| run.create(connect.rest()));
    for run in &runs {
        run.delivers(&consumer);
    }
    assert_silent(&connect, &runs);
}

#[test]
fn every_wrong_configuration_fails_with_the_servers_words() {
    let connect = connect();
    let runs: Vec<Run> = simulators().flat_map(Run::wrong).collect();
    runs.iter().for_each(|run| run.create(connect.rest()));
    for run in &runs {
        run.fails(connect.rest());
    }
    assert_silent(&connect, &runs);
}
