//! Every profile on the worker, against the simulator of its feed; the scenarios are in [`connect_websocket_e2e::feeds`].

use std::fs;

use connect_websocket_e2e::feeds::Run;
use connect_websocket_e2e::{Consumer, Kafka, Worker};
use connect_websocket_testkit::SIMULATORS;

/// What the worker shows beside the answers of one connector.
fn shown(worker: &Worker) -> Vec<(String, String)> {
    let offsets = fs::read(worker.offsets_file()).unwrap_or_default();
    vec![
        ("the log".to_owned(), worker.log()),
        ("the offsets".to_owned(), String::from_utf8_lossy(&offsets).into_owned()),
        ("/metrics".to_owned(), worker.rest().get("/metrics").text),
    ]
}

#[test]
fn every_right_configuration_brings_what_its_profile_promises() {
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    let worker = Worker::builder(&kafka.bootstrap()).start();
    let runs: Vec<Run> = SIMULATORS.iter().map(|simulator| Run::right(simulator)).collect();
    runs.iter().for_each(|run| run.create(worker.rest()));
    for run in &runs {
        run.delivers(&consumer);
    }
    let shown = shown(&worker);
    for run in &runs {
        run.is_silent(&shown);
        run.is_silent(&run.answers(worker.rest()));
    }
}

#[test]
fn every_wrong_configuration_fails_with_the_servers_words() {
    let worker = Worker::builder(&Kafka::shared().bootstrap()).start();
    let runs: Vec<Run> = SIMULATORS.iter().flat_map(|simulator| Run::wrong(simulator)).collect();
    runs.iter().for_each(|run| run.create(worker.rest()));
    for run in &runs {
        run.fails(worker.rest());
    }
    let shown = shown(&worker);
    for run in &runs {
        run.is_silent(&shown);
        run.is_silent(&run.answers(worker.rest()));
    }
}
