//! Kafka Connect's own classes read our answers, see `e2e/kafka/EntityCheck.java`.

use std::time::Duration;

use connect_websocket_e2e::{Consumer, Kafka, Worker, java_source, offsets_file, source_config, wait_until};
use connect_websocket_testkit::{Messages, Play, Script, Server};

const WITHIN: Duration = Duration::from_secs(60);

#[test]
fn connects_own_classes_read_every_answer() {
    let kafka = Kafka::shared();
    let feed = Server::start(Script::every(Play::accept().send(Messages::forever().rate(100.0))))
        .unwrap_or_else(|e| panic!("the feed cannot be served: {e}"));
    let worker =
        Worker::builder(&kafka.bootstrap()).connector("feed", source_config(feed.url(), "entities", &[])).start();
    Consumer::new(&kafka.bootstrap()).wait_count("entities", 1, WITHIN);
    wait_until("an offset to be stored", WITHIN, || offsets_file::sequence(&worker.offsets_file(), "feed"));

    let (ended_well, output) = java_source("EntityCheck.java", &[worker.rest().base(), "feed"]);

    assert!(ended_well, "{output}");
    assert!(output.contains("ok GET /connectors/feed/offsets"), "{output}");
}
