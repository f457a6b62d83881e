//! Numbering, closing, keepalive and violations on an open connection.

use std::io::ErrorKind;
use std::time::Duration;

use crate::client::{CLOSE, Client, LIMIT, PING, PONG, TEXT};
use connect_websocket_testkit::{
    Close, CloseFrame, Deflate, Ended, Messages, OnClose, Play, Script, Server, Stats, Step, Violation,
};
use flate2::{Decompress, FlushDecompress};

fn start(play: Play) -> Server {
    Server::start(Script::every(play)).unwrap()
}

fn all_closed(server: &Server) -> Stats {
    server.wait_until(|stats| stats.open == 0 && !stats.connections.is_empty(), LIMIT).unwrap()
}

#[test]
fn numbers_go_on_over_connections() {
    let server = start(Play::accept().send(Messages::count(1500).size(100)).close(1001));
    let mut all = Vec::new();
    for _ in 0..3 {
        let (numbers, code) = Client::connect(&server).numbers_until_close();
        assert_eq!(code, 1001);
        all.extend(numbers);
    }
    assert_eq!(all, (0..4500).collect::<Vec<u64>>());
    let stats = all_closed(&server);
    assert_eq!((stats.next_n, stats.sent(), stats.in_doubt()), (4500, 4500, 0));
    assert_eq!(stats.connections[1].ranges, [(1500, 2999)]);
    assert_eq!(stats.connections[2].ended, Some(Ended::ClosedByServer));
    assert_eq!(stats.connections[2].close_received, Some(CloseFrame { code: Some(1001), reason: String::new() }));
}

#[test]
fn two_connections_at_once_share_the_numbers_without_gap_or_double() {
    let server = start(Play::accept().send(Messages { until_n: Some(50_000), ..Messages::default() }).close(1000));
    let (mut first, mut second) = (Client::connect(&server), Client::connect(&server));
    let other = std::thread::spawn(move || second.numbers_until_close().0);
    let mut all = first.numbers_until_close().0;
    all.extend(other.join().unwrap());
    all.sort_unstable();
    assert_eq!(all, (0..50_000).collect::<Vec<u64>>());
}

#[test]
fn clients_close_stops_the_send_and_the_books_are_exact() {
    let server = start(Play::accept().send(Messages::forever().size(512)));
    let mut received = Vec::new();
    for round in 0..10 {
        let mut client = Client::connect(&server);
        for _ in 0..100 * round {
            received.push(client.message().unwrap().n());
        }
        client.close(1000);
        let (numbers, code) = client.numbers_until_close();
        assert_eq!(code, 1000);
        received.extend(numbers);
    }
    let stats = all_closed(&server);
    assert_eq!(received, (0..stats.next_n).collect::<Vec<u64>>());
    for connection in &stats.connections {
        assert_eq!(connection.ended, Some(Ended::ClosedByClient));
        assert_eq!(connection.sent_before_close, Some(connection.sent));
        assert_eq!(connection.in_doubt(), 0);
    }
}

#[test]
fn a_client_that_resets_leaves_doubt_but_no_gap() {
    let server = start(Play::accept().send(Messages::forever().size(1000)));
    drop(Client::connect(&server));
    let stats = all_closed(&server);
    assert_eq!(stats.connections[0].ended, Some(Ended::ClientGone));
    assert_eq!(stats.connections[0].in_doubt(), stats.connections[0].sent);
    assert_eq!(Client::connect(&server).message().unwrap().n(), stats.next_n);
}

#[test]
fn go_on_sending_sends_so_many_more_before_the_answer() {
    let server =
        start(Play::accept().send(Messages::count(10).size(40).rate(1e6)).on_close(OnClose::GoOnSending { count: 77 }));
    let mut client = Client::connect(&server);
    for n in 0..10 {
        assert_eq!(client.message().unwrap().n(), n);
    }
    client.close(4321);
    let (numbers, code) = client.numbers_until_close();
    assert_eq!((numbers, code), ((10..87).collect(), 4321));
    assert_eq!(all_closed(&server).connections[0].sent_before_close, Some(87));
}

#[test]
fn ignored_close_is_recorded_and_never_answered() {
    let server = start(Play::accept().await_signal().send_text("still here").on_close(OnClose::Ignore));
    let mut client = Client::connect(&server);
    client.close(1000);
    server.wait_until(|stats| stats.connections[0].close_received.is_some(), LIMIT).unwrap();
    server.signal();
    assert_eq!(client.message().unwrap().text(), "still here");
    assert_eq!(server.stats().connections[0].close_sent, None);
}

#[test]
fn rate_and_time_limit_and_live_numbers() {
    let live = Messages { rate: Some(2000.0), live: true, for_ms: Some(100), ..Messages::default() };
    let server = start(Play::accept().send(live).close(1001));
    let (first, _) = Client::connect(&server).numbers_until_close();
    assert!(!first.is_empty() && first.len() < 2000, "{}", first.len());
    // The feed's clock goes on while nobody is connected.
    std::thread::sleep(Duration::from_millis(20));
    let (second, _) = Client::connect(&server).numbers_until_close();
    let stats = all_closed(&server);
    assert!(second[0] > first[first.len() - 1] + 1, "{first:?} {second:?}");
    assert_eq!(stats.missed + stats.sent(), stats.next_n);
}

#[test]
fn fragments_with_pings_between_make_whole_messages() {
    let messages = Messages { fragments: 4, ping_between: true, ..Messages::count(20) };
    let server = start(Play::accept().send(messages).step(Step::Fragments { count: 1000, size: 7 }).close(1000));
    let mut client = Client::connect(&server);
    for n in 0..20 {
        assert_eq!(client.message().unwrap().n(), n);
    }
    assert_eq!(client.message().unwrap().payload, vec![b'x'; 7000]);
    client.numbers_until_close();
    assert_eq!(all_closed(&server).connections[0].pings_sent, 60);
}

#[test]
fn deflate_with_and_without_context_takeover() {
    for (wish, resets) in [
        (Deflate::default(), false),
        (Deflate { server_no_context_takeover: true, server_max_window_bits: Some(9), ..Deflate::default() }, true),
    ] {
        let play = Play::accept_deflate(wish).send(Messages::count(300).size(300)).send_text("plain end").close(1000);
        let server = start(play);
        let mut client =
            Client::connect_with(&server, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
        assert_eq!(client.head.contains("server_no_context_takeover"), resets);
        let mut inflate = Decompress::new(false);
        for n in 0..=300 {
            let message = client.message().unwrap();
            assert_eq!(message.first, 0x80 | 0x40 | TEXT);
            let mut text = Vec::with_capacity(4096);
            let input = [&message.payload[..], &[0, 0, 0xff, 0xff]].concat();
            inflate.decompress_vec(&input, &mut text, FlushDecompress::Sync).unwrap();
            let text = String::from_utf8(text).unwrap();
            match n {
                300 => assert_eq!(text, "plain end"),
                n => assert_eq!((crate::client::number(&text), text.len()), (n, 300)),
            }
            if resets {
                inflate.reset(false);
            }
        }
        client.numbers_until_close();
    }
    // Not offered: not compressed.
    let server = start(Play::accept_deflate(Deflate::default()).send(Messages::count(1)));
    assert_eq!(Client::connect(&server).message().unwrap().n(), 0);
}

#[test]
fn expected_texts_are_waited_for_in_order() {
    let server = start(Play::accept().expect_text("login").send_text("in").expect_text("subscribe").send_text("on"));
    let mut client = Client::connect(&server);
    client.send(TEXT, b"{\"op\":\"login\"}");
    client.send(TEXT, b"{\"op\":\"subscribe\"}");
    assert_eq!(client.message().unwrap().text(), "in");
    assert_eq!(client.message().unwrap().text(), "on");
    assert_eq!(server.stats().connections[0].texts.len(), 2);

    let server = start(Play::accept().step(Step::ExpectText { contains: "login".to_owned(), timeout_ms: 1 }));
    let close = Client::connect(&server).message().unwrap();
    assert_eq!((close.opcode(), close.close_code()), (CLOSE, 1008));
    assert!(matches!(&all_closed(&server).connections[0].ended, Some(Ended::Failed(what)) if what.contains("login")));
}

#[test]
fn a_client_that_says_nothing_is_waited_for_once() {
    let hear = |timeout_ms| Step::Hear { timeout_ms };
    let server =
        start(Play::accept().step(hear(60_000)).send_text("heard").step(hear(1)).step(hear(600_000)).send_text("on"));
    let mut client = Client::connect(&server);
    client.send(TEXT, b"anything");
    assert_eq!(client.message().unwrap().text(), "heard");
    assert_eq!(client.message().unwrap().text(), "on");
}

#[test]
fn keepalive_in_both_directions() {
    let ping = Step::Ping { count: 2, payload: "hi".to_owned(), every_ms: 0 };
    let server = start(
        Play::accept()
            .send(Messages::count(5))
            .step(ping)
            .step(Step::AwaitPong { timeout_ms: 20_000 })
            .send_text("ok")
            .reset(),
    );
    let mut client = Client::connect(&server);
    for _ in 0..5 {
        client.message().unwrap();
    }
    assert_eq!(client.message().unwrap().text(), "ok");
    assert_eq!(client.ended().kind(), ErrorKind::ConnectionReset);
    let connection = &all_closed(&server).connections[0];
    assert_eq!((connection.pings_sent, connection.pongs_received, connection.confirmed), (2, 2, 5));
    assert_eq!((connection.in_doubt(), &connection.ended), (0, &Some(Ended::TcpReset)));

    let server = start(
        Play::accept()
            .expect_text("1")
            .step(Step::WithholdPongs { on: true })
            .send_text("withholding")
            .expect_text("2")
            .step(Step::DelayPongs { ms: 30 })
            .send_text("delaying"),
    );
    let mut client = Client::connect(&server);
    client.send(PING, b"a");
    assert_eq!(client.frame().unwrap().payload, b"a");
    client.send(TEXT, b"1");
    assert_eq!(client.message().unwrap().text(), "withholding");
    client.send(PING, b"b");
    client.send(TEXT, b"2");
    assert_eq!(client.message().unwrap().text(), "delaying");
    client.send(PING, b"c");
    let pong = client.frame().unwrap();
    assert_eq!((pong.opcode(), pong.payload.as_slice()), (PONG, b"c".as_slice()));
    let connection = &server.stats().connections[0];
    assert_eq!((connection.pings_received, connection.pongs_sent), (3, 2));
}

#[test]
fn closes_of_every_sort() {
    let server = Server::start(Script::plays([
        Play::accept().step(Step::Close(Close::default())),
        Play::accept().step(Step::Close(Close { code: Some(1006), reason: "bye".to_owned(), ..Close::default() })),
        Play::accept().step(Step::CloseRaw { hex: "03".to_owned() }),
        Play::accept().step(Step::Close(Close { wait: false, ..Close::default() })).send_text("after close"),
        Play::accept().send(Messages::count(3)).close_tcp(),
        Play::accept().step(Step::Close(Close { wait_ms: Some(1), ..Close::default() })),
    ]))
    .unwrap();
    assert_eq!(Client::connect(&server).message().unwrap().payload, b"");
    let close = Client::connect(&server).message().unwrap();
    assert_eq!((close.close_code(), &close.payload[2..]), (1006, b"bye".as_slice()));
    assert_eq!(Client::connect(&server).message().unwrap().payload, [3]);
    let mut client = Client::connect(&server);
    assert_eq!(client.message().unwrap().opcode(), CLOSE);
    assert_eq!(client.message().unwrap().text(), "after close");
    drop(client);
    let mut client = Client::connect(&server);
    for n in 0..3 {
        assert_eq!(client.message().unwrap().n(), n);
    }
    assert_eq!(client.ended().kind(), ErrorKind::UnexpectedEof);
    drop(client);
    let mut client = Client::connect(&server);
    assert_eq!(client.message().unwrap().opcode(), CLOSE);
    assert_eq!(client.ended().kind(), ErrorKind::UnexpectedEof);
    drop(client);
    let stats = all_closed(&server);
    let ends: Vec<_> = stats.connections.iter().skip(3).map(|connection| connection.ended.clone().unwrap()).collect();
    assert_eq!(ends, [Ended::CloseUnanswered, Ended::TcpClosed, Ended::CloseUnanswered]);
}

#[test]
fn every_violation_is_on_the_wire() {
    let plays = Violation::ALL.map(|rule| Play::accept().step(Step::Violate { rule }).close(1000));
    let server = Server::start(Script::plays(plays)).unwrap();
    for rule in Violation::ALL {
        let mut client = Client::connect(&server);
        if rule == Violation::LengthHighBit {
            assert_eq!(client.take(3).unwrap(), [0x81, 0x7f, 0x80]);
            continue;
        }
        let frame = client.raw_frame().unwrap();
        let (first, utf8) = (frame.first, std::str::from_utf8(&frame.payload).is_ok());
        let broken = match rule {
            Violation::MaskedFrame => frame.masked,
            Violation::InvalidUtf8 | Violation::InvalidUtf8Fragmented => !utf8,
            Violation::Rsv1 => first == 0xc1,
            Violation::Rsv2 => first == 0xa1,
            Violation::Rsv3 => first == 0x91,
            Violation::Rsv1OnControl => first == 0xc9,
            Violation::ReservedDataOpcode => first == 0x83,
            Violation::ReservedControlOpcode => first == 0x8b,
            Violation::FragmentedControl => first == 0x09,
            Violation::LongControl => frame.payload.len() == 126,
            Violation::LoneContinuation => first == 0x80,
            Violation::InterleavedMessage => first == 0x01 && client.raw_frame().unwrap().first == 0x81,
            Violation::NonMinimalLength => frame.payload == b"hello",
            Violation::CorruptDeflate => first == 0xc1 && frame.payload == [0xff; 40],
            Violation::LengthHighBit => false,
        };
        assert!(broken, "{rule:?} {frame:?}");
    }
}

#[test]
fn too_much_of_everything() {
    let server = Server::start(Script::plays([
        Play::accept().step(Step::EmptyFragments { count: Some(1000) }).close(1000),
        Play::accept().step(Step::EndlessFragments { size: 100 }),
        Play::accept().step(Step::PingFlood { count: Some(2500) }).close(1000),
        Play::accept_deflate(Deflate::default()).step(Step::DeflateBomb { size: 10_000_000 }).close(1000),
        Play::accept().step(Step::SlowDrip { text: "abc".to_owned(), bytes: 1, every_ms: 1 }).close(1000),
        Play::accept().step(Step::EndlessFrame),
    ]))
    .unwrap();
    assert_eq!(Client::connect(&server).message().unwrap().payload, b"");
    let mut client = Client::connect(&server);
    assert_eq!(client.frame().unwrap().first, TEXT);
    for _ in 0..10_000 {
        assert_eq!(client.frame().unwrap().first, 0);
    }
    drop(client);
    let mut client = Client::connect(&server);
    client.answer_pings = false;
    client.numbers_until_close();
    server.wait_until(|stats| stats.connections[2].pings_sent == 2500, LIMIT).unwrap();
    let mut client = Client::connect_with(&server, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    assert!(client.message().unwrap().payload.len() < 50_000);
    let mut client = Client::connect(&server);
    client.send(PING, b"between the bytes");
    let mut frames = [client.frame().unwrap().payload, client.frame().unwrap().payload];
    frames.sort();
    assert!(frames.contains(&b"abc".to_vec()), "{frames:?}");
    drop(client);
    let mut client = Client::connect(&server);
    // 2^63-1 bytes cannot be had; the first megabytes will do.
    let mut bytes = vec![0; 4 << 20];
    std::io::Read::read_exact(&mut client.tcp, &mut bytes).unwrap();
}

#[test]
fn loops_and_orders_from_the_test() {
    let ticks = Step::Loop { count: Some(3), steps: vec![Step::Send(Messages::count(2)), Step::Wait { ms: 1 }] };
    let server = start(Play::accept().step(ticks).close(1000));
    assert_eq!(Client::connect(&server).numbers_until_close().0, [0, 1, 2, 3, 4, 5]);

    let server = start(Play::accept().send(Messages::forever()));
    let mut client = Client::connect(&server);
    client.message().unwrap();
    server.close_all(1012);
    let (numbers, code) = client.numbers_until_close();
    assert_eq!(code, 1012);
    let stats = all_closed(&server);
    assert_eq!((stats.sent(), stats.in_doubt()), (1 + numbers.len() as u64, 0));
    let mut client = Client::connect(&server);
    server.reset_all();
    while client.message().is_ok() {}
    assert_eq!(all_closed(&server).connections[1].ended, Some(Ended::TcpReset));
}

#[test]
fn black_hole_and_stopped_reading_take_nothing() {
    let server = Server::start(Script::plays([
        Play::accept().step(Step::BlackHole { ms: None }),
        Play::accept().step(Step::StopReading { on: true }).send_text("deaf"),
    ]))
    .unwrap();
    let mut hole = Client::connect(&server);
    hole.send(PING, b"anybody?");
    let mut deaf = Client::connect(&server);
    deaf.send(PING, b"anybody?");
    assert_eq!(deaf.message().unwrap().text(), "deaf");
    let stats = server.stats();
    assert_eq!(stats.connections[0].pings_received, 0);
    assert_eq!(stats.connections[1].pongs_sent, 0);
    assert_eq!(stats.open, 2);
}

#[test]
fn a_client_that_does_not_read_holds_the_server_back_and_is_reset_when_stuck() {
    let messages = Messages { stuck_ms: Some(200), ..Messages::forever().size(1000) };
    let server = start(Play::accept().send(messages));
    let client = Client::connect(&server);
    let stats = all_closed(&server);
    assert_eq!(stats.connections[0].ended, Some(Ended::TcpReset));
    // Two socket buffers at most; as fast as it can, the server would make gigabytes in that time.
    assert!(stats.sent() < 100_000, "{}", stats.sent());
    drop(client);
}

#[test]
fn a_server_can_be_used_and_dropped_in_an_async_test() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = start(Play::accept().send(Messages::count(3)));
        let addr = server.addr();
        let client = tokio::task::spawn(async move {
            let mut tcp = tokio::net::TcpStream::connect(addr).await.unwrap();
            let request = crate::client::upgrade("");
            tokio::io::AsyncWriteExt::write_all(&mut tcp, request.as_bytes()).await.unwrap();
            tcp
        });
        let stats = server.until(|stats| stats.sent() == 3, LIMIT).await.unwrap();
        assert_eq!(stats.open, 1);
        let timed_out = server.until(|stats| stats.sent() == 4, Duration::ZERO).await.unwrap_err();
        assert!(timed_out.to_string().contains("sent: 3"), "{timed_out}");
        client.await.unwrap();
    });
}
