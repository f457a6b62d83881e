//! When and how often the engine connects again.

use std::net::TcpListener;

use connect_websocket_engine::figures::Counter;
use connect_websocket_engine::gap::Cause;
use connect_websocket_engine::offset::StoredOffset;
use connect_websocket_testkit::{Close, Handshake, Messages, Play, Reject, Script, Server, Step};

use crate::harness::Feed;
use crate::log_lines::LogLines;

const HOUR: &str = "3600000";

#[tokio::test]
async fn a_stream_that_ends_without_a_close_frame_is_opened_again() {
    let play = Play::accept().send(Messages::count(10)).close_tcp();
    let server = Server::start(Script::plays([play, Play::accept().send(Messages::count(10))])).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(20).await;
    feed.assert_complete(20);
    assert_eq!(feed.snapshot().reconnects, [(Cause::EndOfStream, 1)]);
}

#[tokio::test]
async fn a_reset_is_opened_again() {
    let play = Play::accept().send(Messages::count(10)).await_signal().reset();
    let server = Server::start(Script::plays([play, Play::accept().send(Messages::count(10))])).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(10).await;
    server.signal();
    feed.until_records(20).await;
    feed.assert_complete(20);
    assert_eq!(feed.snapshot().reconnects, [(Cause::ConnectionError, 1)]);
}

#[tokio::test]
async fn a_server_that_accepts_and_closes_is_met_with_growing_delays() {
    let log = LogLines::collect();
    let server = Server::start(Script::every(Play::accept().close(1000))).unwrap();
    let options = [("websocket.reconnect.interval.ms", "100"), ("websocket.reconnect.backoff.max.ms", "300")];
    let mut feed = Feed::start(server.url(), &options);
    feed.until_reconnects(Cause::ServerClose, 4).await;
    assert_eq!(log.numbers("reconnect_scheduled", "attempt")[..4], [1, 2, 3, 4]);
    let delays = log.numbers("reconnect_scheduled", "delay_ms");
    for (delay, least) in delays.iter().zip([100, 200, 300, 300]) {
        assert!((least..=least * 5 / 4).contains(delay), "{delays:?}");
    }
    assert!(server.stats().accepted <= 5, "no connection beside those that were scheduled");
}

#[tokio::test]
async fn a_server_that_greets_and_closes_makes_the_delays_grow() {
    let log = LogLines::collect();
    let close = || Play::accept().close(1001);
    let message = Play::accept().send(Messages::count(1)).close(1001);
    let plays = [close(), Play::reject(503), message, close(), Play::accept().send(Messages::count(1))];
    let server = Server::start(Script::plays(plays)).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(2).await;
    assert_eq!(log.numbers("reconnect_scheduled", "attempt"), [1, 2, 3, 4]);
}

#[tokio::test]
async fn five_closes_in_a_row_that_turn_us_away_fail_the_task_with_the_servers_reason() {
    let away = |code| Close { code: Some(code), reason: "token revoked".to_owned(), ..Close::default() };
    for code in [1008, 4001] {
        let greeted = Play::accept().send(Messages::count(1)).step(Step::Close(away(code)));
        let server = Server::start(Script::every(greeted)).unwrap();
        let mut feed = Feed::resume(server.url(), &[], Some(StoredOffset::default()));
        let why = feed.until_failed().await;
        assert!(why.contains(&format!("code {code} (token revoked)")), "{why}");
        assert_eq!((server.stats().accepted, feed.records.len()), (5, 5));
    }
}

#[tokio::test]
async fn what_has_worked_once_is_an_outage_whatever_the_answer() {
    let statuses = [401, 403, 404, 407, 410, 401, 403, 404];
    let plays = statuses.map(Play::reject).into_iter().chain([Play::accept().send(Messages::count(1))]);
    let server = Server::start(Script::plays(plays)).unwrap();
    let mut feed = Feed::resume(server.url(), &[], Some(StoredOffset::default()));
    feed.until_records(1).await;
    assert_eq!(feed.reconnects(Cause::ConnectFailed), statuses.len() as u64);
}

#[tokio::test]
async fn an_outage_is_told_with_its_begin_its_length_and_its_reason() {
    let log = LogLines::collect();
    let server = Server::start(Script::every(Play::reject(503))).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_reconnects(Cause::ConnectFailed, 3).await;
    let now = feed.snapshot();
    assert!(now.failures >= 3 && now.failing_since_ms.is_some(), "{now:?}");
    let lines = log.all();
    let told = |line: &&String| line.contains("event=websocket_failure") && line.contains("attempt=2");
    let line = lines.iter().find(told).unwrap();
    assert!(line.contains("failing_s=") && line.contains("status 503"), "{line}");
}

#[tokio::test]
async fn attempts_without_end_are_without_end_also_for_refusals() {
    let plays = [404; 9].map(Play::reject).into_iter().chain([Play::accept().send(Messages::count(1))]);
    let server = Server::start(Script::plays(plays)).unwrap();
    let mut feed = Feed::start(server.url(), &[("websocket.reconnect.max.attempts", "-1")]);
    feed.until_records(1).await;
}

#[tokio::test]
async fn a_connection_that_has_delivered_is_reopened_at_once() {
    let log = LogLines::collect();
    let play = Play::accept().send(Messages::count(1)).wait_ms(1200).close(1001);
    let server = Server::start(Script::plays([play, Play::accept().send(Messages::count(1))])).unwrap();
    let options = [("websocket.reconnect.interval.ms", HOUR), ("websocket.reconnect.backoff.max.ms", HOUR)];
    let mut feed = Feed::start(server.url(), &options);
    feed.until_records(2).await;
    assert!(log.numbers("reconnect_scheduled", "delay_ms")[0] <= 10);
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    for status in [429, 503] {
        let log = LogLines::collect();
        let headers = vec![("Retry-After".to_owned(), "1".to_owned())];
        let patience = Play::handshake(Handshake::Reject(Reject { status, headers, ..Reject::default() }));
        let server = Server::start(Script::plays([patience, Play::accept().send(Messages::count(1))])).unwrap();
        let mut feed = Feed::start(server.url(), &[]);
        feed.until_records(1).await;
        assert_eq!(log.numbers("reconnect_scheduled", "delay_ms"), [1000], "status {status}");
    }
}

#[tokio::test]
async fn answers_that_will_hardly_change_fail_the_task_after_five_attempts() {
    for status in [400, 401, 403, 404, 407, 410] {
        let server = Server::start(Script::every(Play::reject(status))).unwrap();
        let mut feed = Feed::start(server.url(), &[]);
        let why = feed.until_failed().await;
        assert!(why.contains(&format!("status {status}")) && why.contains("5 attempts"), "{why}");
        assert_eq!(server.stats().accepted, 5);
    }
}

#[tokio::test]
async fn answers_that_will_change_are_waited_for() {
    let statuses = [429, 500, 502, 503, 504, 429, 500];
    let plays = statuses.map(Play::reject).into_iter().chain([Play::accept().send(Messages::count(1))]);
    let server = Server::start(Script::plays(plays)).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(1).await;
    assert_eq!(feed.reconnects(Cause::ConnectFailed), statuses.len() as u64);
}

#[tokio::test]
async fn a_tcp_connection_that_ends_before_the_answer_is_tried_again_for_ever() {
    let plays = [
        Handshake::TcpReset { before_request: true },
        Handshake::TcpClose { before_request: true },
        Handshake::TcpReset { before_request: false },
        Handshake::TcpClose { before_request: false },
        Handshake::TcpReset { before_request: false },
        Handshake::TcpClose { before_request: false },
    ];
    let count = plays.len() as u64;
    let plays = plays.into_iter().map(Play::handshake).chain([Play::accept().send(Messages::count(1))]);
    let server = Server::start(Script::plays(plays)).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(1).await;
    assert_eq!(feed.reconnects(Cause::ConnectFailed), count);
}

#[tokio::test]
async fn a_server_that_comes_back_after_an_outage_is_found() {
    let server = Server::start(Script::every(Play::accept().send(Messages::count(5)))).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(5).await;
    let addr = server.addr();
    server.stop();
    // Refused at once, again and again; no attempt is lost between two.
    feed.until_reconnects(Cause::ConnectFailed, 10).await;
    let _server = Server::bind(addr, Script::every(Play::accept().send(Messages::count(5)))).unwrap();
    feed.until_records(10).await;
    let now = feed.snapshot();
    assert_eq!((now[Counter::Connections], now.gaps.len()), (2, 1), "{now:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for() {
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut feed = Feed::start(&format!("ws://{addr}/"), &[]);
    feed.until_reconnects(Cause::ConnectFailed, 7).await;
    let _server = Server::bind(addr, Script::every(Play::accept().send(Messages::count(5)))).unwrap();
    feed.until_records(5).await;
}

#[tokio::test]
async fn a_name_that_was_never_resolved_fails_the_task() {
    let mut feed = Feed::start("ws://no-such-host.invalid/", &[]);
    let why = feed.until_failed().await;
    assert!(why.contains("no-such-host.invalid") && why.contains("resolved"), "{why}");
}

#[tokio::test]
async fn the_subscription_is_sent_after_every_connect() {
    let subscription = r#"{"subscribe":"trades"}"#;
    let play = || Play::accept().expect_text("subscribe").send(Messages::count(1));
    let server = Server::start(Script::plays([play().close(1001), play().close_tcp(), play()])).unwrap();
    let mut feed = Feed::start(server.url(), &[("websocket.subscription.message", subscription)]);
    feed.until_records(3).await;
    let stats = server.stats();
    assert!(stats.connections.iter().all(|connection| connection.texts == [subscription]), "{stats:?}");
}

#[tokio::test]
async fn without_a_subscription_nothing_is_sent() {
    let server = Server::start(Script::every(Play::accept().send(Messages::count(1)))).unwrap();
    let mut feed = Feed::start(server.url(), &[("websocket.subscription.message", "")]);
    feed.until_records(1).await;
    assert_eq!(server.stats().connections[0].bytes_received, 0);
}

#[tokio::test]
async fn an_attempt_that_waits_for_the_rate_says_so_and_other_ports_do_not_wait_for_it() {
    let log = LogLines::collect();
    let server = || Server::start(Script::every(Play::accept().send(Messages::count(1)).close(1001))).unwrap();
    let rate = ("websocket.connect.rate", "1/1h");
    let (first, second) = (server(), server());
    let mut held_back = Feed::start(first.url(), &[rate]);
    held_back.until_records(1).await;
    held_back.until(|_| log.all().iter().any(|line| line.contains("connect_held_back"))).await;
    Feed::start(second.url(), &[rate]).until_records(1).await;
    assert_eq!(first.stats().accepted, 1);
}

#[tokio::test]
async fn what_a_step_says_before_it_asks_for_a_new_connection_goes_out() {
    let play = Play::accept().send_text(r#"{"bye":1}"#).expect_text("thanks");
    let server = Server::start(Script::plays([play, Play::accept().send_text("again")])).unwrap();
    let options = [
        ("websocket.session.steps", "connect,bye"),
        ("websocket.session.bye.on", "/bye exists"),
        ("websocket.session.bye.send", "thanks"),
        ("websocket.session.bye.then", "reconnect"),
    ];
    let mut feed = Feed::start(server.url(), &options);
    feed.until_records(1).await;
    assert_eq!(feed.texts(), ["again"]);
    assert_eq!(server.stats().connections[0].texts.len(), 1);
}

#[tokio::test]
async fn what_came_before_a_reset_is_taken_although_our_own_bytes_meet_it_first() {
    let play = Play::accept().send_text("1").step(Step::Wait { ms: 50 }).send_text("2").step(Step::Reset);
    let server = Server::start(Script::plays([play, Play::accept()])).unwrap();
    // Nothing is read when the reset comes, and a heartbeat is due.
    let options = [
        ("websocket.receive.linger.ms", "1000"),
        ("websocket.session.steps", "connect,beat"),
        ("websocket.session.beat.every.ms", "10"),
        ("websocket.session.beat.send", "beat"),
    ];
    let mut feed = Feed::start(server.url(), &options);
    feed.until_reconnects(Cause::ConnectionError, 1).await;
    feed.until_records(2).await;
    assert_eq!(feed.texts(), ["1", "2"]);
}
