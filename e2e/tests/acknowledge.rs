//! Feeds that want acknowledgements, with `connect-websocket` as host; the scenarios are in [`acknowledged`].

use std::sync::Mutex;

use connect_websocket_e2e::acknowledged::{self, Stage};
use connect_websocket_e2e::{Kafka, Worker};

/// Plays a scenario when it is its turn: they suspend Kafka.
fn play(scenario: fn(&Stage<Worker>)) {
    static STAGE: Mutex<Option<Stage<Worker>>> = Mutex::new(None);
    let mut stage = STAGE.lock().unwrap_or_else(|_| panic!("the test before left the stage in disorder"));
    scenario(stage.get_or_insert_with(|| {
        let kafka = Kafka::start();
        let host = Worker::builder(&kafka.bootstrap()).start();
        Stage { kafka, host }
    }));
}

#[test]
fn feeds_are_acknowledged_after_kafka_and_slack_in_time_though_kafka_takes_a_second() {
    play(acknowledged::feeds_are_acknowledged_after_kafka_and_slack_in_time_though_kafka_takes_a_second);
}

#[test]
fn what_kafka_does_not_have_is_not_acknowledged_and_comes_again_but_no_record_twice() {
    play(acknowledged::what_kafka_does_not_have_is_not_acknowledged_and_comes_again_but_no_record_twice);
}

#[test]
fn a_paused_feed_with_a_full_queue_is_acknowledged_when_it_goes_on() {
    play(acknowledged::a_paused_feed_with_a_full_queue_is_acknowledged_when_it_goes_on);
}

#[test]
fn after_sigkill_what_was_not_acknowledged_comes_again() {
    play(|stage| acknowledged::after_sigkill_what_was_not_acknowledged_comes_again::<Worker>(&stage.kafka));
}
