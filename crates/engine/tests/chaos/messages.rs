//! Messages of every size, kind and cut.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use connect_websocket_engine::figures::Counter;
use connect_websocket_engine::gap::Cause;
use connect_websocket_engine::record::ValueKind;
use connect_websocket_testkit::{Messages, OnClose, Play, Script, Server, Step};

use crate::harness::{Feed, close_code};
use crate::log_lines::LogLines;

#[tokio::test]
async fn messages_of_every_size_come_whole() {
    let sizes = [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 16 << 20];
    let play = sizes.iter().fold(Play::accept(), |play, &size| play.send_text("x".repeat(size)));
    let server = Server::start(Script::every(play)).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(sizes.len()).await;
    assert_eq!(feed.records.iter().map(|record| record.value.len()).collect::<Vec<_>>(), sizes);
    assert!(feed.records.iter().all(|record| record.value.iter().all(|&byte| byte == b'x')));
    assert_eq!(server.stats().accepted, 1);
}

#[tokio::test]
async fn a_message_of_just_the_limit_passes_and_one_byte_more_closes_with_1009() {
    for fragments in [1, 7] {
        let play = Play::accept()
            .send(Messages::count(1).size(100_000).fragments(fragments))
            .send(Messages::count(1).size(100_001).fragments(fragments));
        let server = Server::start(Script::plays([play, Play::accept().send_text("again")])).unwrap();
        let mut feed = Feed::start(server.url(), &[("websocket.message.max.bytes", "100000")]);
        feed.until_records(2).await;
        assert_eq!(feed.records[0].value.len(), 100_000);
        assert_eq!(feed.texts()[1], "again");
        assert_eq!(feed.snapshot().reconnects, [(Cause::ProtocolError, 1)]);
        let stats = feed.until_server(&server, |stats| stats.connections[0].ended.is_some()).await;
        assert_eq!(close_code(&stats, 0), Some(1009));
    }
}

#[tokio::test]
async fn a_hundred_thousand_fragments_are_one_message() {
    let play = Play::accept().step(Step::Fragments { count: 100_000, size: 10 }).send_text("next");
    let server = Server::start(Script::every(play)).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(2).await;
    assert_eq!(feed.records[0].value.len(), 1_000_000);
}

#[tokio::test]
async fn characters_may_be_cut_by_fragments() {
    let text = "grüße, 你好, 🦀 ".repeat(50);
    let play = [1, 2, 3, 7, 100, 997].iter().fold(Play::accept(), |play, &fragments| {
        play.step(Step::SendText { text: text.clone(), fragments, ping_between: true })
    });
    let server = Server::start(Script::every(play)).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(6).await;
    assert!(feed.texts().iter().all(|received| *received == text));
}

#[tokio::test]
async fn messages_that_drip_byte_by_byte_come_whole() {
    let text = "drop by drop, é".to_owned();
    let play = Play::accept().step(Step::SlowDrip { text: text.clone(), bytes: 1, every_ms: 5 }).send_text("next");
    let server = Server::start(Script::every(play)).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(2).await;
    assert_eq!(feed.texts(), [text, "next".to_owned()]);
}

#[tokio::test]
async fn a_burst_comes_whole_and_in_order() {
    for linger in ["0", "5"] {
        let server = Server::start(Script::every(Play::accept().send(Messages::count(100_000)))).unwrap();
        let mut feed = Feed::start(server.url(), &[("websocket.receive.linger.ms", linger)]);
        feed.until_records(100_000).await;
        feed.assert_complete(100_000);
    }
}

#[tokio::test]
async fn the_rest_of_a_large_message_is_read_at_once() {
    // It comes in more than a hundred reads, and time enough is there for a linger after half of them.
    let server = Server::start(Script::every(Play::accept().send(Messages::count(1).size(15 << 20)))).unwrap();
    let mut feed = Feed::start(server.url(), &[("websocket.receive.linger.ms", "1000")]);
    feed.until_records(1).await;
    assert_eq!(feed.records[0].value.len(), 15 << 20);
}

#[tokio::test]
async fn a_record_has_the_time_of_its_receipt() {
    let epoch_ms = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64;
    let server = Server::start(Script::every(Play::accept().send(Messages::count(5)))).unwrap();
    let before = epoch_ms();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(5).await;
    let after = epoch_ms();
    assert!(feed.records.iter().all(|record| (before..=after).contains(&record.timestamp_ms)));
    assert!((before..=after).contains(&feed.snapshot().last_message_ms.unwrap()));
}

#[tokio::test]
async fn a_binary_message_becomes_what_is_configured() {
    let data = [0, 255, b'a', 0xC3];
    let play =
        Play::accept().send_text("text").step(Step::SendBinary { base64: BASE64.encode(data) }).send_text("next");
    for (option, kind, value) in [
        ("bytes", ValueKind::Bytes, data.to_vec()),
        ("base64", ValueKind::Text, b"AP9hww==".to_vec()),
        ("text", ValueKind::Text, "\0\u{fffd}a\u{fffd}".as_bytes().to_vec()),
    ] {
        let server = Server::start(Script::every(play.clone())).unwrap();
        let mut feed = Feed::start(server.url(), &[("websocket.frame.binary", option)]);
        feed.until_records(3).await;
        assert_eq!((feed.records[1].kind, &feed.records[1].value), (kind, &value), "{option}");
        assert_eq!(feed.records[0].kind, ValueKind::Text);
        assert_eq!(feed.snapshot()[Counter::BinaryMessagesSkipped], 0);
    }
}

/// `{"place":"M\xfcnchen"}` in Latin-1, in one frame; and the same in two.
const LATIN_1: &str = "8113 7b22706c616365223a224dfc6e6368656e227d";
const LATIN_1_IN_TWO: &str = "010b 7b22706c616365223a224d 8008 fc6e6368656e227d";

#[tokio::test]
async fn text_that_is_not_utf8_costs_the_connection_and_is_told_with_size_and_place() {
    for bad in [LATIN_1, LATIN_1_IN_TWO] {
        let log = LogLines::collect();
        // A server that goes on sending for a while although it has our Close.
        let play = Play::accept().on_close(OnClose::Ignore).send_text("a").step(Step::Raw { hex: bad.into() });
        let play = play.send_text("b").send_text("c");
        let server = Server::start(Script::plays([play, Play::accept().send_text("again")])).unwrap();
        let mut feed = Feed::start(server.url(), &[]);
        feed.until_records(2).await;
        assert_eq!(feed.texts(), ["a", "again"]);
        let stats = feed.until_server(&server, |stats| stats.connections[0].ended.is_some()).await;
        assert_eq!(close_code(&stats, 0), Some(1007));
        let lines = log.all();
        let failure = lines.iter().find(|line| line.contains("websocket_failure")).unwrap();
        assert!(failure.contains("offset=11") && failure.contains("websocket.text.invalid=replace"), "{failure}");
        // It and what came until the server had our Close is lost, and said to be.
        assert_eq!(log.numbers("messages_discarded", "messages"), [3], "{lines:?}");
        assert_eq!(feed.snapshot().gaps[0].missed, Some(3));
    }
}

#[tokio::test]
async fn what_came_behind_the_message_that_ended_the_connection_is_counted_as_lost() {
    let text =
        |text: &str| format!("81{:02x}{}", text.len(), text.bytes().map(|b| format!("{b:02x}")).collect::<String>());
    let log = LogLines::collect();
    // One write, and so one read.
    let hex = [text("a"), text("bye"), text("b"), text("c")].concat();
    let play = Play::accept().step(Step::Raw { hex });
    let server = Server::start(Script::plays([play, Play::accept().send_text("again")])).unwrap();
    let bye = [
        ("websocket.session.steps", "connect,bye"),
        ("websocket.session.bye.on", "text == 'bye'"),
        ("websocket.session.bye.then", "reconnect"),
    ];
    let mut feed = Feed::start(server.url(), &bye);
    feed.until_records(2).await;
    assert_eq!(feed.texts(), ["a", "again"]);
    assert_eq!(log.numbers("messages_discarded", "messages"), [2], "{:?}", log.all());
    assert_eq!(feed.snapshot().gaps[0].missed, Some(2));
}

#[tokio::test]
async fn a_ping_and_a_close_behind_what_ended_the_connection_are_no_loss() {
    let log = LogLines::collect();
    // "a", "no", a ping, a Close with 1000, in one read.
    let play = Play::accept().step(Step::Raw { hex: "810161 81026e6f 8900 880203e8".into() });
    let server = Server::start(Script::plays([play, Play::accept().send_text("again")])).unwrap();
    let no = [
        ("websocket.session.steps", "connect,no"),
        ("websocket.session.no.on", "text == 'no'"),
        ("websocket.session.no.then", "reconnect"),
    ];
    let mut feed = Feed::start(server.url(), &no);
    feed.until_records(2).await;
    assert_eq!(feed.texts(), ["a", "again"]);
    assert_eq!(log.numbers("messages_discarded", "bytes"), [] as [u64; 0], "{:?}", log.all());
    assert_eq!(feed.snapshot().gaps[0].missed, None);
}

#[tokio::test]
async fn what_follows_the_servers_close_is_no_message() {
    let log = LogLines::collect();
    // "a", a Close with 1000, "b" (RFC 6455 §5.5.1).
    let play = Play::accept().step(Step::Raw { hex: "810161 880203e8 810162".into() });
    let server = Server::start(Script::plays([play, Play::accept().send_text("again")])).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(2).await;
    assert_eq!(feed.texts(), ["a", "again"]);
    assert_eq!(log.numbers("messages_discarded", "messages"), [] as [u64; 0]);
    assert_eq!(feed.snapshot().gaps[0].missed, None);
}

#[tokio::test]
async fn text_that_is_not_utf8_is_replaced_if_asked_for_and_keeps_the_connection() {
    let log = LogLines::collect();
    let bad = |hex: &str| Step::Raw { hex: hex.into() };
    let play = Play::accept().send_text("a").step(bad(LATIN_1)).step(bad(LATIN_1_IN_TWO)).send_text("b");
    let server = Server::start(Script::every(play)).unwrap();
    let mut feed = Feed::start(server.url(), &[("websocket.text.invalid", "replace")]);
    feed.until_records(4).await;
    let munich = "{\"place\":\"M\u{fffd}nchen\"}";
    assert_eq!(feed.texts(), ["a", munich, munich, "b"]);
    assert_eq!(server.stats().accepted, 1);
    assert_eq!(log.numbers("text_invalid", "offset").first(), Some(&11), "{:?}", log.all());
    assert_eq!(log.numbers("text_invalid", "size").first(), Some(&19));
}

#[tokio::test]
async fn after_our_close_one_bad_text_ends_nothing() {
    let log = LogLines::collect();
    let play = Play::accept()
        .on_close(OnClose::Ignore)
        .send_text("a")
        .await_signal()
        .step(Step::Raw { hex: LATIN_1.into() })
        .send(Messages::count(100))
        .close(1000);
    let server = Server::start(Script::every(play)).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(1).await;
    feed.begin_stop(crate::harness::DEADLINE);
    feed.until_server(&server, |stats| stats.connections[0].close_received.is_some()).await;
    server.signal();
    feed.until(|feed| feed.task.is_drained()).await;
    assert_eq!(feed.records.len(), 101);
    assert!(
        log.all().iter().any(|line| line.contains("event=text_invalid") && line.contains("skipped")),
        "{:?}",
        log.all()
    );
}

#[tokio::test]
async fn skipped_binary_messages_are_counted_and_leave_no_hole_in_the_sequence() {
    let binary = || Step::SendBinary { base64: "AAEC".into() };
    let play = Play::accept().send_text("a").step(binary()).step(binary()).send_text("b");
    let server = Server::start(Script::every(play)).unwrap();
    let mut feed = Feed::start(server.url(), &[("websocket.frame.binary", "skip")]);
    feed.until_records(2).await;
    let now = feed.snapshot();
    assert_eq!(
        (now[Counter::MessagesReceived], now[Counter::BinaryMessagesSkipped], now[Counter::RecordsPolled]),
        (4, 2, 2)
    );
    assert_eq!(feed.records.iter().map(|record| record.sequence).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn a_feed_of_skipped_messages_is_alive() {
    let play = Play::accept()
        .send(Messages { rate: Some(50.0), count: Some(20), ..Messages::default() }.binary())
        .send_text("end");
    let server = Server::start(Script::every(play)).unwrap();
    let options = [("websocket.frame.binary", "skip"), ("websocket.idle.timeout.ms", "300")];
    let mut feed = Feed::start(server.url(), &options);
    feed.until_records(1).await;
    assert_eq!(server.stats().accepted, 1);
}
