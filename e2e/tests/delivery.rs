//! What a feed sends arrives in Kafka, with `connect-websocket` as host; the scenarios are in [`delivery`].

use std::time::Duration;

use connect_websocket_e2e::delivery::{assert_nothing_lost, config, serve, steady};
use connect_websocket_e2e::{
    Connect, Consumer, Kafka, Rest, Worker, WorkerBuilder, delivery_tests, offsets_file, resume,
};
use connect_websocket_testkit::{Messages, Play, Server};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(60);
const CONNECTOR: &str = "feed";

delivery_tests! { Worker, &Worker::builder(&Kafka::shared().bootstrap()).start() }

#[test]
fn after_sigkill_a_feed_that_resumes_is_missing_nothing() {
    resume::after_sigkill_nothing_is_missing_and_only_what_was_not_stored_comes_twice::<Worker>();
}

#[test]
fn restarts_of_a_feed_that_resumes_lose_and_double_nothing() {
    resume::restarts_of_task_and_connector_lose_and_double_nothing::<Worker>();
}

#[test]
fn kafka_away_while_a_feed_that_resumes_resets_costs_and_doubles_nothing() {
    resume::a_kafka_that_is_away_while_the_feed_resets_costs_and_doubles_nothing::<Worker>();
}

#[test]
fn after_sigkill_inside_a_split_message_the_rest_of_it_comes() {
    resume::after_sigkill_inside_a_split_message_the_rest_of_it_comes::<Worker>("2000");
}

#[test]
fn offsets_that_are_changed_by_hand_say_where_a_feed_goes_on() {
    resume::offsets_that_are_changed_by_hand_say_where_the_feed_goes_on::<Worker>();
}

fn worker(kafka: &Kafka, feed: &Server, topic: &str) -> WorkerBuilder {
    Worker::builder(&kafka.bootstrap()).connector(CONNECTOR, config(feed, topic))
}

#[test]
fn a_million_messages_as_fast_as_possible_all_arrive_in_bounded_memory() {
    const COUNT: u64 = 1_000_000;
    let kafka = Kafka::shared();
    let feed = serve(Play::accept().send(Messages::count(COUNT).size(200)));
    let mut worker = worker(kafka, &feed, "million").start();

    let consumer = Consumer::new(&kafka.bootstrap());
    consumer.numbers_until("million", COUNT, Duration::from_secs(300)).assert_complete(0..=COUNT - 1);
    let peak = worker.process().peak_rss_bytes();
    assert!(peak < 200 << 20, "{} MiB were resident at the peak", peak >> 20);
    assert_eq!(worker.terminate(), 0);
    consumer.numbers_now("million", WITHIN).assert_complete(0..=COUNT - 1);
}

#[test]
fn apache_connect_and_the_worker_take_over_each_others_offsets() {
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    let feed = serve(steady());
    let mut worker = worker(kafka, &feed, "swapped").start();
    consumer.wait_count("swapped", 1_000, WITHIN);
    assert_eq!(worker.terminate(), 0);
    let file = worker.offsets_file();
    let stored = offsets_file::sequence(&file, CONNECTOR);
    assert!(stored.is_some(), "a graceful stop stores the offset");

    // Apache Connect reads what the worker wrote and writes another position.
    let apache = || {
        let connect = Connect::builder(&kafka.bootstrap())
            .with_sample_source()
            .property("offset.storage.file.filename", &file.display().to_string())
            .start();
        let created = connect.rest().post_json(
            "/connectors",
            &json!({"name": CONNECTOR, "initial_state": "STOPPED", "config": Connect::sample_source()}),
        );
        assert_eq!(created.status, 201, "{}", created.text);
        connect
    };
    let mut connect = apache();
    let mut offsets = offsets_of(connect.rest());
    assert_eq!(offsets["offsets"][0]["partition"], json!({"websocket_url": feed.url()}));
    assert_eq!(offsets["offsets"][0]["offset"]["sequence"].as_u64(), stored);
    offsets["offsets"][0]["offset"]["sequence"] = json!(500_000);
    let altered = connect.rest().patch_json(&format!("/connectors/{CONNECTOR}/offsets"), &offsets);
    assert_eq!(altered.status, 200, "{}", altered.text);
    connect.terminate();

    // The worker goes on from there.
    let before = consumer.count("swapped");
    worker.start_again();
    consumer.wait_count("swapped", before + 1_000, WITHIN);
    assert_eq!(worker.terminate(), 0);
    let stored = offsets_file::sequence(&file, CONNECTOR).unwrap_or_default();
    let added = consumer.count("swapped") - before;
    assert!((500_000 + added - 1..=500_000 + added).contains(&stored), "{stored} after {added} records from 500000 on");

    // A reset by Apache Connect leaves a null in the file, and the worker begins anew.
    let mut connect = apache();
    let reset = connect.rest().delete(&format!("/connectors/{CONNECTOR}/offsets"));
    assert_eq!(reset.status, 200, "{}", reset.text);
    connect.terminate();
    assert_eq!(offsets_file::sequence(&file, CONNECTOR), None);
    let before = consumer.count("swapped");
    worker.start_again();
    consumer.wait_count("swapped", before + 1_000, WITHIN);
    assert_eq!(worker.terminate(), 0);
    let stored = offsets_file::sequence(&file, CONNECTOR).unwrap_or_default();
    assert!(stored > 0 && stored <= consumer.count("swapped") - before, "{stored} after a reset");
    assert_nothing_lost(&feed, &consumer, "swapped");
}

fn offsets_of(rest: &Rest) -> Value {
    let answer = rest.get(&format!("/connectors/{CONNECTOR}/offsets"));
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}
