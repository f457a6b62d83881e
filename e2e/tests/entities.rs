//! Kafka Connect's own classes read our answers, see `e2e/kafka/EntityCheck.java`.

use std::time::Duration;

use connect_websocket_e2e::delivery::serve;
use connect_websocket_e2e::{
    Connect, Consumer, Host, Kafka, Worker, java_source, plugin_dir, source_config, wait_until,
};
use connect_websocket_testkit::{Messages, Play};

const WITHIN: Duration = Duration::from_secs(60);

#[test]
fn connects_own_classes_read_every_answer() {
    check::<Worker>("entities");
}

/// The check itself is right: what Connect writes passes.
#[test]
fn connects_own_classes_read_every_answer_of_connect() {
    plugin_dir();
    check::<Connect>("entities-connect");
}

fn check<H: Host>(connector: &str) {
    let kafka = Kafka::shared();
    let feed = serve(Play::accept().send(Messages::forever().rate(100.0)));
    let host = H::start(&kafka.bootstrap(), connector, source_config(feed.url(), connector, &[]));
    host.wait_state(connector, "RUNNING");
    Consumer::new(&kafka.bootstrap()).wait_count(connector, 1, WITHIN);
    let offsets = format!("/connectors/{connector}/offsets");
    wait_until("an offset to be stored", WITHIN, || {
        let offsets = host.rest().get(&offsets).json();
        offsets["offsets"].as_array().filter(|offsets| !offsets.is_empty()).map(|_| ())
    });

    let (ended_well, output) = java_source("EntityCheck.java", &[host.rest().base(), connector]);

    assert!(ended_well, "{output}");
    assert!(output.contains(&format!("ok GET {offsets}")), "{output}");
}
