//! Servers that break the protocol: each gets a Close with the reason, and a new connection.

use connect_websocket_engine::gap::Cause;
use connect_websocket_testkit::{Deflate, Messages, Play, Script, Server, Step, Violation};

use crate::harness::{Feed, close_code};

/// The server gets a Close with `code`, and the task has the messages before and after.
async fn refused_with(code: u16, options: &[(&str, &str)], play: Play) {
    let steps = play.steps.clone();
    let server = Server::start(Script::plays([play, Play::accept().send_text("again")])).unwrap();
    let mut feed = Feed::start(server.url(), options);
    feed.until(|feed| feed.texts().last().is_some_and(|text| text == "again")).await;
    assert_eq!(feed.texts(), ["before", "again"], "{steps:?}");
    assert_eq!(feed.snapshot().reconnects, [(Cause::ProtocolError, 1)], "{steps:?}");
    let stats = feed.until_server(&server, |stats| stats.connections[0].ended.is_some()).await;
    assert_eq!(close_code(&stats, 0), Some(code), "{steps:?}: {:?}", stats.connections[0]);
}

fn before() -> Play {
    Play::accept().send_text("before")
}

#[tokio::test]
async fn every_broken_rule_is_answered_with_its_close_code() {
    for rule in Violation::ALL {
        let (code, play) = match rule {
            Violation::InvalidUtf8 | Violation::InvalidUtf8Fragmented => (1007, before()),
            Violation::CorruptDeflate => (1007, Play::accept_deflate(Deflate::default()).send_text("before")),
            _ => (1002, before()),
        };
        refused_with(code, &[], play.step(Step::Violate { rule })).await;
    }
}

#[tokio::test]
async fn close_frames_that_must_not_be_sent_are_protocol_errors() {
    for (hex, code) in [
        ("03", 1002),
        ("0000", 1002),
        ("03e7", 1002),
        ("03ec", 1002),
        ("03ed", 1002),
        ("03ee", 1002),
        ("03f7", 1002),
        ("0bb7", 1002),
        ("1388", 1002),
    ] {
        refused_with(code, &[], before().step(Step::CloseRaw { hex: hex.into() })).await;
    }
}

#[tokio::test]
async fn a_closes_code_survives_a_reason_that_is_not_utf8() {
    let server = Server::start(Script::every(Play::accept().step(Step::CloseRaw { hex: "0fa1ff".into() }))).unwrap();
    let mut feed = Feed::start(server.url(), &[("websocket.reconnect.max.attempts", "1")]);
    let error = feed.until_failed().await;
    assert!(error.contains("closed the connection with code 4001"), "{error}");
    let stats = server.stats();
    assert_eq!(close_code(&stats, 0), Some(1007));
}

#[tokio::test]
async fn announced_lengths_beyond_the_limit_are_refused_at_once() {
    for length in [(16 << 20) + 1, 1 << 32, (1 << 63) - 1] {
        refused_with(1009, &[], before().step(Step::HugeLength { length })).await;
    }
}

#[tokio::test]
async fn what_never_ends_is_ended() {
    let limit = [("websocket.message.max.bytes", "100000")];
    refused_with(1009, &limit, before().step(Step::EndlessFrame)).await;
    refused_with(1009, &limit, before().step(Step::EndlessFragments { size: 1000 })).await;
    refused_with(1009, &limit, before().step(Step::EndlessFragments { size: 1 })).await;
    refused_with(1008, &limit, before().step(Step::EmptyFragments { count: None })).await;
}

#[tokio::test]
async fn a_flood_of_pings_is_refused() {
    refused_with(1008, &[], before().step(Step::PingFlood { count: None })).await;
}

#[tokio::test]
async fn many_pings_are_not_yet_a_flood() {
    let play = Play::accept().step(Step::PingFlood { count: Some(5000) }).send_text("after");
    let server = Server::start(Script::every(play)).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(1).await;
    assert_eq!(server.stats().accepted, 1);
}

#[tokio::test]
async fn a_frame_that_stands_still_is_left_after_the_pong_timeout() {
    let half = Step::Raw { hex: "81 7e 03 e8 61 62 63".into() };
    let play = before().step(half).step(Step::BlackHole { ms: None });
    let server = Server::start(Script::plays([play, Play::accept().send(Messages::count(1))])).unwrap();
    let options = [("websocket.ping.interval.ms", "20"), ("websocket.pong.timeout.ms", "200")];
    let mut feed = Feed::start(server.url(), &options);
    feed.until_records(2).await;
    assert_eq!(feed.snapshot().reconnects, [(Cause::PongTimeout, 1)]);
}

#[tokio::test]
async fn a_message_that_drips_for_ever_is_left_after_the_idle_timeout() {
    let drip = Step::SlowDrip { text: "x".repeat(60_000), bytes: 1, every_ms: 5 };
    let server = Server::start(Script::plays([before().step(drip), Play::accept().send_text("again")])).unwrap();
    let mut feed = Feed::start(server.url(), &[("websocket.idle.timeout.ms", "300")]);
    feed.until_records(2).await;
    assert_eq!(feed.texts(), ["before", "again"]);
    assert_eq!(feed.snapshot().reconnects, [(Cause::IdleTimeout, 1)]);
}

#[tokio::test]
async fn a_cut_message_never_becomes_a_record() {
    let first_fragment = Step::Raw { hex: "01 03 61 62 63".into() };
    let half_frame = Step::Raw { hex: "81 05 61 62".into() };
    for cut in [first_fragment, half_frame] {
        let play = before().step(cut).close_tcp();
        let server = Server::start(Script::plays([play, Play::accept().send_text("again")])).unwrap();
        let mut feed = Feed::start(server.url(), &[]);
        feed.until_records(2).await;
        assert_eq!(feed.texts(), ["before", "again"]);
    }
}
