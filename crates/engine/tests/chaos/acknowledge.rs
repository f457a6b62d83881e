//! Acknowledgement after commit: nothing is acknowledged before Kafka has it.

use std::time::Duration;

use connect_websocket_engine::figures::Counter;
use connect_websocket_testkit::{Play, Script, Server};

use crate::harness::{DEADLINE, Feed};

const STEPS: [(&str, &str); 2] =
    [("websocket.session.steps", "connect,ack"), ("websocket.session.ack.on.commit", "/id exists")];
const ACK: (&str, &str) = ("websocket.session.ack.send", "ack {{/id}}");

fn message(id: u64) -> String {
    format!(r#"{{"id":{id}}}"#)
}

fn sends(ids: impl IntoIterator<Item = u64>) -> Play {
    ids.into_iter().fold(Play::accept(), |play, id| play.send_text(message(id)))
}

/// What the client has said on a connection.
fn said(server: &Server, connection: usize) -> Vec<String> {
    server.stats().connections.get(connection).map(|connection| connection.texts.clone()).unwrap_or_default()
}

fn acknowledge(feed: &Feed, message: i64) {
    feed.task.commits().unwrap().acknowledged(message, 1);
}

#[tokio::test]
async fn a_message_is_acknowledged_when_kafka_has_it_whatever_is_open_before_it() {
    let server = Server::start(Script::every(sends(1..=3))).unwrap();
    let mut feed = Feed::start(server.url(), &[&STEPS[..], &[ACK]].concat());
    feed.until_records(3).await;
    assert_eq!(said(&server, 0), [""; 0]);
    let messages: Vec<i64> = feed.records.iter().filter_map(|record| record.message).collect();
    acknowledge(&feed, messages[1]);
    feed.until(|_| said(&server, 0) == ["ack 2"]).await;
    acknowledge(&feed, messages[0]);
    acknowledge(&feed, messages[2]);
    feed.until(|_| said(&server, 0) == ["ack 2", "ack 1", "ack 3"]).await;
}

#[tokio::test]
async fn a_cumulative_acknowledgement_names_the_newest_up_to_which_kafka_has_everything() {
    let server = Server::start(Script::every(sends(1..=4))).unwrap();
    let latest = ("websocket.session.ack.on.commit.latest", "true");
    let mut feed = Feed::start(server.url(), &[&STEPS[..], &[ACK, latest]].concat());
    feed.until_records(4).await;
    let messages: Vec<i64> = feed.records.iter().filter_map(|record| record.message).collect();
    for at in [2, 1] {
        acknowledge(&feed, messages[at]);
    }
    acknowledge(&feed, messages[0]);
    feed.until(|_| said(&server, 0) == ["ack 3"]).await;
    acknowledge(&feed, messages[3]);
    feed.until(|_| said(&server, 0) == ["ack 3", "ack 4"]).await;
}

#[tokio::test]
async fn a_message_of_several_records_is_acknowledged_once_and_one_of_none_after_those_before_it() {
    let play = Play::accept().send_text(r#"{"id":1,"data":[7,8]}"#).send_text(r#"{"id":2,"data":[]}"#);
    let server = Server::start(Script::every(play)).unwrap();
    let pointer = ("websocket.record.pointer", "/data/*");
    let mut feed = Feed::start(server.url(), &[&STEPS[..], &[ACK, pointer]].concat());
    feed.until_records(2).await;
    let message = feed.records[0].message.unwrap();
    assert_eq!(feed.records[1].message, Some(message));
    acknowledge(&feed, message);
    acknowledge(&feed, message);
    feed.until(|_| said(&server, 0) == ["ack 1", "ack 2"]).await;
}

#[tokio::test]
async fn another_connection_gets_no_acknowledgement_of_what_came_on_the_last_one() {
    let server = Server::start(Script::plays([sends(1..=2).close_tcp(), sends(2..=3)])).unwrap();
    let mut feed = Feed::start(server.url(), &[&STEPS[..], &[ACK, ("websocket.dedup.key", "{{/id}}")]].concat());
    feed.until_records(3).await;
    let messages: Vec<i64> = feed.records.iter().filter_map(|record| record.message).collect();
    acknowledge(&feed, messages[2]);
    feed.until(|_| said(&server, 1) == ["ack 3"]).await;
    // Kafka does not have the second yet, which has come again.
    acknowledge(&feed, messages[0]);
    acknowledge(&feed, messages[1]);
    // The second comes again and is no record; it is acknowledged on the connection on which it came again.
    feed.until(|_| said(&server, 1) == ["ack 3", "ack 2"]).await;
    assert_eq!(said(&server, 0), [""; 0]);
}

#[tokio::test]
async fn acknowledgements_go_out_before_our_close() {
    let server = Server::start(Script::every(sends(1..=2))).unwrap();
    let mut feed = Feed::start(server.url(), &[&STEPS[..], &[ACK]].concat());
    feed.until_records(2).await;
    let messages: Vec<i64> = feed.records.iter().filter_map(|record| record.message).collect();
    feed.begin_stop(Duration::from_secs(30));
    acknowledge(&feed, messages[0]);
    feed.until(|_| said(&server, 0) == ["ack 1"]).await;
    assert!(server.stats().connections[0].close_received.is_none(), "the second is open");
    acknowledge(&feed, messages[1]);
    feed.until(|feed| feed.task.is_drained()).await;
    assert_eq!(said(&server, 0), ["ack 1", "ack 2"]);
    assert!(server.stats().connections[0].close_received.is_some());
}

#[tokio::test]
async fn what_kafka_has_when_the_stop_comes_is_acknowledged_before_our_close() {
    let server = Server::start(Script::every(sends(1..=2))).unwrap();
    let mut feed = Feed::start(server.url(), &[&STEPS[..], &[ACK]].concat());
    feed.until_records(2).await;
    // The session looks at both only after this.
    feed.records.iter().filter_map(|record| record.message).for_each(|message| acknowledge(&feed, message));
    feed.begin_stop(Duration::from_secs(30));
    feed.until(|feed| feed.task.is_drained()).await;
    assert_eq!(said(&server, 0), ["ack 1", "ack 2"]);
    assert!(server.stats().connections[0].close_received.is_some());
}

#[tokio::test]
async fn acknowledgements_that_wait_for_the_rate_go_out_before_our_close() {
    let server = Server::start(Script::every(sends(1..=5))).unwrap();
    let rate = ("websocket.send.rate", "2/1s");
    let mut feed = Feed::start(server.url(), &[&STEPS[..], &[ACK, rate]].concat());
    feed.until_records(5).await;
    feed.records.iter().filter_map(|record| record.message).for_each(|message| acknowledge(&feed, message));
    feed.stop(DEADLINE).await;
    assert_eq!(said(&server, 0), ["ack 1", "ack 2", "ack 3", "ack 4", "ack 5"]);
    assert!(server.stats().connections[0].close_received.is_some());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_what_came_on_an_earlier_connection() {
    let server = Server::start(Script::plays([sends(1..=1).close_tcp(), Play::accept()])).unwrap();
    let mut feed = Feed::start(server.url(), &[&STEPS[..], &[ACK]].concat());
    feed.until_records(1).await;
    feed.until(|feed| feed.snapshot()[Counter::Connections] == 2).await;
    // Half of this, for which acknowledgements are waited for, is longer than the test waits.
    feed.stop(4 * DEADLINE).await;
    assert!(server.stats().connections[1].close_received.is_some());
}
