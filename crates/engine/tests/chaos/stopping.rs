//! The closing handshake, ours and the server's (RFC 6455 §7).

use std::time::Duration;

use connect_websocket_engine::figures::Counter;
use connect_websocket_engine::gap::Cause;
use connect_websocket_testkit::{Close, Ended, Handshake, Messages, OnClose, Play, Script, Server, Step};

use crate::harness::{DEADLINE, Feed, close_code};

#[tokio::test]
async fn a_stop_says_1000_and_keeps_what_the_server_sends_before_its_close() {
    for (backlog, queue) in [(0, "10"), (1, "10"), (3000, "10"), (1, "10000"), (1000, "10000"), (50_000, "10000")] {
        let play = Play::accept().send(Messages::count(5)).on_close(OnClose::GoOnSending { count: backlog });
        let server = Server::start(Script::every(play)).unwrap();
        let mut feed = Feed::start(server.url(), &[("websocket.message.queue.size", queue)]);
        feed.until_records(5).await;
        feed.stop(DEADLINE).await;
        feed.assert_complete(5 + backlog);
        let stats = feed.until_server(&server, |stats| stats.connections[0].ended.is_some()).await;
        assert_eq!(stats.connections[0].ended, Some(Ended::ClosedByClient), "backlog {backlog}, queue {queue}");
        assert_eq!(close_code(&stats, 0), Some(1000));
        assert_eq!(stats.accepted, 1);
        assert!(feed.error.is_none());
    }
}

#[tokio::test]
async fn a_stop_amid_a_fast_feed_and_a_full_queue_loses_nothing() {
    for queue in ["1", "10", "500"] {
        let server = Server::start(Script::every(Play::accept().send(Messages::forever()))).unwrap();
        let mut feed = Feed::start(server.url(), &[("websocket.message.queue.size", queue)]);
        feed.until(|feed| feed.records.len() > 1000).await;
        // Until the server is held up by back-pressure nothing is polled.
        server.until(|stats| stats.sent() > 5000, DEADLINE).await.unwrap();
        feed.stop(DEADLINE).await;
        let stats = feed.until_server(&server, |stats| stats.open == 0).await;
        assert_eq!(stats.connections[0].ended, Some(Ended::ClosedByClient));
        feed.assert_complete(stats.sent());
    }
}

#[tokio::test]
async fn a_server_that_never_answers_our_close_is_left_after_the_grace() {
    let play = Play::accept().send(Messages::count(3)).on_close(OnClose::Ignore);
    let server = Server::start(Script::every(play)).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(3).await;
    feed.stop(Duration::from_millis(100)).await;
    let stats = feed.until_server(&server, |stats| stats.open == 0).await;
    assert_eq!(close_code(&stats, 0), Some(1000));
    feed.assert_complete(3);
}

#[tokio::test]
async fn a_stop_without_any_time_says_1000_too() {
    let server = Server::start(Script::every(Play::accept().send(Messages::count(1)))).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(1).await;
    feed.stop(Duration::ZERO).await;
    let stats = feed.until_server(&server, |stats| stats.open == 0).await;
    assert_eq!(close_code(&stats, 0), Some(1000));
}

#[tokio::test]
async fn a_stop_whose_queue_nobody_empties_ends_at_its_grace_and_what_is_queued_can_be_polled() {
    let server = Server::start(Script::every(Play::accept().send(Messages::forever()))).unwrap();
    let mut feed = Feed::start(server.url(), &[("websocket.message.queue.size", "10")]);
    feed.without_polls(|now| now.queue_records == 10).await;
    feed.begin_stop(Duration::from_millis(50));
    server.until(|stats| stats.open == 0, DEADLINE).await.unwrap();
    assert!(!feed.task.is_drained());
    feed.until(|feed| feed.task.is_drained()).await;
    assert!(feed.records.len() >= 10, "{} records", feed.records.len());
    let now = feed.snapshot();
    feed.assert_complete(now[Counter::MessagesReceived] - now[Counter::RecordsLeftBehind]);
}

#[tokio::test]
async fn a_stop_ends_a_handshake_that_hangs_and_a_long_backoff() {
    let server = Server::start(Script::every(Play::handshake(Handshake::Hang { before_request: false }))).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_server(&server, |stats| stats.accepted == 1).await;
    feed.stop(DEADLINE).await;
    feed.until_server(&server, |stats| stats.open == 0).await;

    let server = Server::start(Script::every(Play::reject(503))).unwrap();
    let hour = "3600000";
    let options = [("websocket.reconnect.interval.ms", hour), ("websocket.reconnect.backoff.max.ms", hour)];
    let mut feed = Feed::start(server.url(), &options);
    feed.until_reconnects(Cause::ConnectFailed, 1).await;
    feed.stop(DEADLINE).await;
    assert!(feed.error.is_none());
}

#[tokio::test]
async fn pings_that_fall_due_do_not_end_a_stop_early() {
    // The server does not answer pings any more once it has our Close, and takes its time with the rest.
    let play = Play::accept()
        .step(Step::WithholdPongs { on: true })
        .send(Messages::count(1))
        .send(Messages { count: Some(20), rate: Some(40.0), ..Messages::default() })
        .close(1000)
        .on_close(OnClose::Ignore);
    let server = Server::start(Script::every(play)).unwrap();
    let options = [("websocket.ping.interval.ms", "30"), ("websocket.pong.timeout.ms", "60")];
    let mut feed = Feed::start(server.url(), &options);
    feed.until(|feed| !feed.records.is_empty()).await;
    feed.stop(DEADLINE).await;
    feed.assert_complete(21);
}

#[tokio::test]
async fn a_servers_close_is_answered_with_its_code_and_the_feed_goes_on() {
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 3000, 4000, 4999] {
        closed_by_server(Close { code: Some(code), reason: "because".into(), ..Close::default() }, Some(code)).await;
    }
}

#[tokio::test]
async fn an_empty_close_is_answered_with_an_empty_close() {
    closed_by_server(Close::default(), None).await;
}

async fn closed_by_server(close: Close, answer: Option<u16>) {
    let last = Play::accept().send(Messages::count(2));
    let plays = [Play::accept().send(Messages::count(2)).step(Step::Close(close.clone())), last];
    let server = Server::start(Script::plays(plays)).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(4).await;
    feed.assert_complete(4);
    let stats = server.stats();
    assert_eq!(stats.connections[0].ended, Some(Ended::ClosedByServer), "{close:?}");
    assert_eq!(stats.connections[0].close_received.as_ref().map(|close| close.code), Some(answer));
    assert_eq!(feed.snapshot().reconnects, [(Cause::ServerClose, 1)]);
}

#[tokio::test]
async fn what_came_before_a_servers_close_is_polled_although_the_queue_is_small() {
    let server =
        Server::start(Script::plays([Play::accept().send(Messages::count(5000)).close(1001), Play::accept()])).unwrap();
    let mut feed = Feed::start(server.url(), &[("websocket.message.queue.size", "7")]);
    feed.until_reconnects(Cause::ServerClose, 1).await;
    feed.until_records(5000).await;
    feed.assert_complete(5000);
    let stats = feed.until_server(&server, |stats| stats.connections[0].ended.is_some()).await;
    assert_eq!(stats.connections[0].ended, Some(Ended::ClosedByServer));
}

#[tokio::test]
async fn nothing_that_follows_a_close_is_taken() {
    let close = Close { code: Some(1000), wait: false, ..Close::default() };
    let play = Play::accept().send_text("before").step(Step::Close(close)).send_text("after");
    let server = Server::start(Script::plays([play, Play::accept().send_text("again")])).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(2).await;
    assert_eq!(feed.texts(), ["before", "again"]);
}
