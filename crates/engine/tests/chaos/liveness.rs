//! Connections that look alive and are not, and those that look dead and are alive.

use std::time::Duration;

use connect_websocket_engine::gap::Cause;
use connect_websocket_testkit::{Messages, Play, Proxy, Script, Server, Step};

use crate::harness::{DEADLINE, Feed};
use crate::log_lines::LogLines;

const QUICK_PINGS: [(&str, &str); 2] = [("websocket.ping.interval.ms", "20"), ("websocket.pong.timeout.ms", "200")];

fn one() -> Play {
    Play::accept().send(Messages::count(1))
}

#[tokio::test]
async fn a_half_open_connection_is_noticed_by_its_missing_pong() {
    let server = Server::start(Script::every(one())).unwrap();
    let proxy = Proxy::start(server.addr()).unwrap();
    let options = [QUICK_PINGS[0], QUICK_PINGS[1], ("websocket.connection.timeout.ms", "300")];
    let mut feed = Feed::start(&format!("ws://{}/", proxy.addr()), &options);
    feed.until_records(1).await;
    proxy.pause();
    feed.until_reconnects(Cause::PongTimeout, 1).await;
    proxy.resume().unwrap();
    feed.until(|feed| feed.records.len() >= 2).await;
    assert_eq!(feed.snapshot().gaps[0].cause, Cause::PongTimeout);
}

#[tokio::test]
async fn withheld_pongs_end_a_connection_and_the_log_names_the_remedy() {
    let log = LogLines::collect();
    let play = Play::accept().step(Step::WithholdPongs { on: true }).send(Messages::count(1));
    let server = Server::start(Script::plays([play, one()])).unwrap();
    let mut feed = Feed::start(server.url(), &QUICK_PINGS);
    feed.until_records(2).await;
    assert!(feed.reconnects(Cause::PongTimeout) >= 1);
    let lines = log.all();
    let remedy = |line: &String| line.contains("websocket_failure") && line.contains("websocket.ping.interval.ms=0");
    assert!(lines.iter().any(remedy), "{lines:?}");
}

#[tokio::test]
async fn a_server_that_reads_and_writes_nothing_is_left() {
    let play = one().step(Step::BlackHole { ms: None });
    let server = Server::start(Script::plays([play, one()])).unwrap();
    let mut feed = Feed::start(server.url(), &QUICK_PINGS);
    feed.until_records(2).await;
    assert!(feed.reconnects(Cause::PongTimeout) >= 1);
}

#[tokio::test]
async fn slow_pongs_are_pongs() {
    let play = Play::accept().step(Step::DelayPongs { ms: 60 }).step(Step::Mute { ms: None });
    let server = Server::start(Script::every(play)).unwrap();
    let options = [("websocket.ping.interval.ms", "20"), ("websocket.pong.timeout.ms", "10000")];
    let mut feed = Feed::start(server.url(), &options);
    let stats = feed.until_server(&server, |stats| stats.connections.iter().any(|c| c.pongs_sent >= 10)).await;
    assert_eq!(stats.accepted, 1);
}

#[tokio::test]
async fn a_quiet_feed_that_answers_pings_is_left_alone() {
    let server = Server::start(Script::every(Play::accept())).unwrap();
    let options = [("websocket.ping.interval.ms", "10"), ("websocket.pong.timeout.ms", "10000")];
    let mut feed = Feed::start(server.url(), &options);
    let stats = feed.until_server(&server, |stats| stats.connections.iter().any(|c| c.pongs_sent >= 30)).await;
    assert_eq!((stats.accepted, feed.snapshot().reconnects_total()), (1, 0));
}

#[tokio::test]
async fn a_ping_interval_of_zero_sends_none() {
    let play = Play::accept().step(Step::Ping { count: 10, payload: "hi".into(), every_ms: 10 });
    let server = Server::start(Script::every(play.send(Messages::count(1)))).unwrap();
    let mut feed = Feed::start(server.url(), &[("websocket.ping.interval.ms", "0")]);
    feed.until_records(1).await;
    assert_eq!(server.stats().connections[0].pings_received, 0);
}

#[tokio::test]
async fn a_mute_server_that_answers_pings_is_left_after_the_idle_timeout() {
    let play = one().step(Step::Mute { ms: None });
    let server = Server::start(Script::plays([play, one()])).unwrap();
    let options = [("websocket.ping.interval.ms", "10"), ("websocket.idle.timeout.ms", "200")];
    let mut feed = Feed::start(server.url(), &options);
    feed.until_records(2).await;
    assert!(feed.reconnects(Cause::IdleTimeout) >= 1);
    assert!(server.stats().connections[0].pongs_sent > 0);
}

#[tokio::test]
async fn a_servers_own_pings_do_not_prove_that_the_feed_is_alive() {
    let play = one().step(Step::Ping { count: 1_000_000, payload: String::new(), every_ms: 5 });
    let server = Server::start(Script::plays([play, one()])).unwrap();
    let mut feed = Feed::start(server.url(), &[("websocket.idle.timeout.ms", "200")]);
    feed.until_records(2).await;
    assert!(feed.reconnects(Cause::IdleTimeout) >= 1);
    assert!(server.stats().connections[0].pongs_received > 0);
}

/// One message of A, then messages of B alone.
fn a_falls_silent(play: Play) -> Play {
    let b = Step::SendText { text: r#"{"s":"B"}"#.into(), fragments: 1, ping_between: false };
    play.send_text(r#"{"s":"A"}"#).step(Step::Loop { count: None, steps: vec![b, Step::Wait { ms: 10 }] })
}

const KEYS: [(&str, &str); 2] = [("websocket.idle.record.timeout.ms", "300"), ("websocket.idle.key", "{{/s}}")];

#[tokio::test]
async fn a_connection_is_left_when_one_key_falls_silent_while_others_flow() {
    let again = Play::accept().send_text(r#"{"s":"A"}"#).send_text("the end");
    let server = Server::start(Script::plays([a_falls_silent(Play::accept()), again])).unwrap();
    let mut feed = Feed::start(server.url(), &KEYS);
    feed.until(|feed| feed.texts().iter().any(|text| text == "the end")).await;
    assert!(feed.reconnects(Cause::IdleTimeout) >= 1);
    assert!(feed.texts().iter().filter(|text| text.contains('B')).count() > 3, "others flowed");
}

#[tokio::test]
async fn a_key_that_falls_silent_may_be_subscribed_to_anew_on_the_same_connection() {
    let server = Server::start(Script::every(a_falls_silent(Play::accept().expect_text("sub")))).unwrap();
    let more = [
        ("websocket.subscription.topics", "A,B"),
        ("websocket.subscription.message", "sub {{topics}}"),
        ("websocket.idle.action", "resubscribe"),
    ];
    let mut feed = Feed::start(server.url(), &[&KEYS[..], &more[..]].concat());
    let stats = feed.until_server(&server, |stats| stats.connections.iter().any(|c| c.texts.len() >= 2)).await;
    assert_eq!((stats.accepted, feed.snapshot().reconnects_total()), (1, 0));
}

#[tokio::test]
async fn a_connection_that_is_left_for_its_silence_gets_a_close_frame() {
    let server = Server::start(Script::plays([one().step(Step::Mute { ms: None }), one()])).unwrap();
    let mut feed = Feed::start(server.url(), &[("websocket.idle.timeout.ms", "100")]);
    feed.until_records(2).await;
    let stats = feed.until_server(&server, |stats| stats.connections[0].ended.is_some()).await;
    assert!(stats.connections[0].close_received.is_some(), "{:?}", stats.connections[0]);
}

#[tokio::test]
async fn a_full_queue_is_not_the_servers_silence() {
    let messages = Messages::count(2000);
    let server = Server::start(Script::every(Play::accept().send(messages))).unwrap();
    let options = [
        ("websocket.message.queue.size", "10"),
        ("websocket.ping.interval.ms", "20"),
        ("websocket.pong.timeout.ms", "300"),
        ("websocket.idle.timeout.ms", "300"),
    ];
    let mut feed = Feed::start(server.url(), &options);
    // Our pings go out while nothing is polled, for longer than both timeouts.
    server.until(|stats| stats.connections.iter().any(|c| c.pings_received >= 40), DEADLINE).await.unwrap();
    feed.until_records(2000).await;
    feed.assert_complete(2000);
    assert_eq!(server.stats().accepted, 1);
    assert_eq!(feed.snapshot().reconnects_total(), 0);
}

#[tokio::test]
async fn what_waits_to_be_read_is_not_missing() {
    let server = Server::start(Script::every(Play::accept().send(Messages::forever().rate(50.0)))).unwrap();
    let options = [
        ("websocket.receive.linger.ms", "1000"),
        ("websocket.ping.interval.ms", "50"),
        ("websocket.pong.timeout.ms", "200"),
        ("websocket.idle.timeout.ms", "200"),
    ];
    let mut feed = Feed::start(server.url(), &options);
    let stats = feed.until_server(&server, |stats| stats.connections.iter().any(|c| c.pongs_sent >= 60)).await;
    assert_eq!((stats.accepted, feed.snapshot().reconnects_total()), (1, 0));
}

#[tokio::test]
async fn what_came_while_the_process_was_suspended_is_read_before_anything_is_late() {
    let play = Play::accept().step(Step::DelayPongs { ms: 500 }).send(Messages::forever().rate(2_000.0).size(200));
    let server = Server::start(Script::every(play)).unwrap();
    let options = [
        ("websocket.ping.interval.ms", "50"),
        ("websocket.pong.timeout.ms", "1500"),
        ("websocket.message.queue.size", "100000"),
    ];
    let mut feed = Feed::start(server.url(), &options);
    for _ in 0..2 {
        feed.until_server(&server, |stats| stats.connections.iter().any(|c| c.pings_received > c.pongs_sent)).await;
        // The engine runs on this thread. It stands for two seconds. The pong is behind 200,000 bytes, more than one read takes.
        let sent = server.stats().sent() + 4_000;
        while server.stats().sent() < sent {
            std::thread::sleep(Duration::from_millis(1));
        }
        feed.until(|feed| feed.records.len() as u64 >= sent).await;
    }
    assert_eq!((server.stats().accepted, feed.snapshot().reconnects_total()), (1, 0));
}

#[tokio::test]
async fn pings_are_answered_with_their_payload_within_messages_too() {
    let play = Play::accept()
        .send(Messages { ping_between: true, ..Messages::count(20).fragments(5) })
        .step(Step::Ping { count: 3, payload: "payload".into(), every_ms: 0 })
        .step(Step::AwaitPong { timeout_ms: 60_000 })
        .send_text("all answered");
    let server = Server::start(Script::every(play)).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(21).await;
    assert_eq!(feed.texts()[20], "all answered");
    feed.until_server(&server, |stats| stats.connections[0].pongs_received >= 83).await;
}
