//! What a feed sends arrives in Kafka, with Kafka Connect and the plugin as host; the scenarios are in [`delivery`].

use std::sync::OnceLock;
use std::time::Duration;

use connect_websocket_e2e::delivery::{assert_nothing_lost, config, serve};
use connect_websocket_e2e::{Connect, Consumer, Kafka, delivery_tests, plugin_dir, resume};
use connect_websocket_testkit::{Messages, Play};

delivery_tests! { Connect, connect() }

#[test]
fn after_sigkill_a_feed_that_resumes_is_missing_nothing() {
    resume::after_sigkill_nothing_is_missing_and_only_what_was_not_stored_comes_twice::<Connect>();
}

#[test]
fn restarts_of_a_feed_that_resumes_lose_and_double_nothing() {
    resume::restarts_of_task_and_connector_lose_and_double_nothing::<Connect>();
}

#[test]
fn kafka_away_while_a_feed_that_resumes_resets_costs_and_doubles_nothing() {
    resume::a_kafka_that_is_away_while_the_feed_resets_costs_and_doubles_nothing::<Connect>();
}

#[test]
fn after_sigkill_inside_a_split_message_the_rest_of_it_comes() {
    resume::after_sigkill_inside_a_split_message_the_rest_of_it_comes::<Connect>("500");
}

/// The worker that scenarios share which only use its REST API.
fn connect() -> &'static Connect {
    static SHARED: OnceLock<Connect> = OnceLock::new();
    SHARED.get_or_init(|| {
        plugin_dir();
        Connect::builder(&Kafka::shared().bootstrap()).start()
    })
}

#[test]
fn messages_as_fast_as_possible_all_arrive() {
    const COUNT: u64 = 200_000;
    let feed = serve(Play::accept().send(Messages::count(COUNT).size(200)));
    connect().put_connector("fast", &config(&feed, "fast"));

    let consumer = Consumer::new(&Kafka::shared().bootstrap());
    consumer.numbers_until("fast", COUNT, Duration::from_secs(120)).assert_complete(0..=COUNT - 1);
    assert_eq!(connect().rest().delete("/connectors/fast").status, 204);
    assert_nothing_lost(&feed, &consumer, "fast");
}
