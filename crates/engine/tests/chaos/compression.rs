//! permessage-deflate (RFC 7692).

use connect_websocket_engine::gap::Cause;
use connect_websocket_testkit::{Deflate, Messages, Play, Script, Server, Step};

use crate::harness::{Feed, close_code};

async fn a_thousand_messages_come_whole(deflate: Deflate) {
    let play = Play::accept_deflate(deflate.clone())
        .send(Messages::count(1000).size(300))
        .send(Messages { compress: false, ..Messages::count(10) })
        .send(Messages::count(100).size(2000).fragments(7))
        .send(Messages::count(3).size(200_000))
        .step(Step::SendText { text: String::new(), fragments: 1, ping_between: false });
    let server = Server::start(Script::every(play)).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(1114).await;
    assert_eq!(feed.records.pop().unwrap().value, b"", "{deflate:?}");
    feed.assert_complete(1113);
    let sizes = feed.records.iter().map(|record| record.value.len());
    assert_eq!(sizes.sum::<usize>(), 1000 * 300 + 10 * 64 + 100 * 2000 + 3 * 200_000);
    let stats = server.stats();
    assert!(stats.connections[0].extensions.as_ref().unwrap().contains("permessage-deflate"));
    assert_eq!(stats.accepted, 1, "{deflate:?}");
}

#[tokio::test]
async fn messages_are_inflated_with_and_without_context_takeover() {
    for no_context in [false, true] {
        a_thousand_messages_come_whole(Deflate {
            server_no_context_takeover: no_context,
            client_no_context_takeover: no_context,
            ..Deflate::default()
        })
        .await;
    }
}

#[tokio::test]
async fn messages_are_inflated_at_every_window_size() {
    for bits in 8..=15 {
        for server_no_context_takeover in [false, true] {
            a_thousand_messages_come_whole(Deflate {
                server_max_window_bits: Some(bits),
                client_max_window_bits: Some(bits),
                server_no_context_takeover,
                ..Deflate::default()
            })
            .await;
        }
    }
}

#[tokio::test]
async fn each_connection_begins_with_an_empty_window() {
    let play = || Play::accept_deflate(Deflate::default()).send(Messages::count(100).size(500));
    let plain = Play::accept().send(Messages::count(100).size(500));
    let plays = [play().close(1001), play().close_tcp(), plain.close(1001), play()];
    let server = Server::start(Script::plays(plays)).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(400).await;
    feed.assert_complete(400);
}

#[tokio::test]
async fn the_limit_is_for_the_message_and_not_for_its_compressed_form() {
    // Stored blocks: the compressed form is larger than the message.
    for fragments in [1, 5] {
        let play = Play::accept_deflate(Deflate { level: Some(0), ..Deflate::default() })
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
async fn a_bomb_closes_with_1009() {
    for size in [(16 << 20) + 1, 1 << 27] {
        let play = Play::accept_deflate(Deflate::default()).step(Step::DeflateBomb { size });
        let server = Server::start(Script::plays([play, Play::accept().send_text("again")])).unwrap();
        let mut feed = Feed::start(server.url(), &[]);
        feed.until_records(1).await;
        assert_eq!(feed.snapshot().reconnects, [(Cause::ProtocolError, 1)]);
        let stats = feed.until_server(&server, |stats| stats.connections[0].ended.is_some()).await;
        assert_eq!(close_code(&stats, 0), Some(1009));
    }
}

#[tokio::test]
async fn a_large_message_that_compresses_well_is_no_bomb() {
    let play = Play::accept_deflate(Deflate::default()).step(Step::DeflateBomb { size: 16 << 20 }).send_text("next");
    let server = Server::start(Script::every(play)).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(2).await;
    assert_eq!(feed.records[0].value.len(), 16 << 20);
}
