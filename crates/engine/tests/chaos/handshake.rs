//! The opening handshake (RFC 6455 §4) and what servers make of it.

use connect_websocket_engine::figures::Counter;
use connect_websocket_engine::gap::Cause;
use connect_websocket_testkit::{Accept, Deflate, Handshake, Messages, Play, Reject, Script, Server};

use crate::harness::Feed;
use crate::log_lines::LogLines;

const SECRETS: [(&str, &str); 3] = [
    ("websocket.headers", "X-Api-Key:key-1,X-Other:2"),
    ("websocket.auth.token", "token-1"),
    ("websocket.subscription.message", "hello"),
];

fn redirect(status: u16, location: impl Into<String>) -> Play {
    Play::handshake(Handshake::Redirect { status, location: location.into() })
}

fn one() -> Play {
    Play::accept().send(Messages::count(1))
}

/// The task fails after five attempts with a sentence that holds `why`.
async fn fails_with(play: Play, options: &[(&str, &str)], why: &str) {
    let handshake = play.handshake.clone();
    let server = Server::start(Script::every(play)).unwrap();
    let mut feed = Feed::start(server.url(), options);
    let error = feed.until_failed().await;
    assert!(error.contains(why) && error.contains("5 attempts"), "{handshake:?}: {error}");
    assert_eq!(server.stats().accepted, 5, "{handshake:?}");
}

#[tokio::test]
async fn the_request_carries_what_is_configured() {
    let server = Server::start(Script::every(one())).unwrap();
    let url = server.url().replace("ws://", "ws://bob:open%20sesame@") + "feed?x=1&y=%20#fragment";
    let options = [("websocket.headers", "X-Api-Key:key-1"), ("websocket.subprotocols", "v2.json, v1.json")];
    let mut feed = Feed::start(&url, &options);
    feed.until_records(1).await;
    let stats = server.stats();
    let request = stats.connections[0].request.as_ref().unwrap();
    assert_eq!(request.line, "GET /feed?x=1&y=%20 HTTP/1.1");
    let host = server.addr().to_string();
    for (name, value) in [
        ("Host", host.as_str()),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Protocol", "v2.json, v1.json"),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
        ("X-Api-Key", "key-1"),
        ("Authorization", "Basic Ym9iOm9wZW4gc2VzYW1l"),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn a_token_replaces_every_other_authorization_and_no_connection_repeats_a_key() {
    let server = Server::start(Script::plays([one().close(1001), one()])).unwrap();
    let url = server.url().replace("ws://", "ws://bob:secret@");
    let options = [("websocket.headers", "authorization:Basic eDp5"), ("websocket.auth.token", "t1")];
    let mut feed = Feed::start(&url, &options);
    feed.until_records(2).await;
    let stats = server.stats();
    let mut keys = Vec::new();
    for request in stats.requests() {
        let values: Vec<&str> = request
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(values, ["Bearer t1"]);
        keys.push(request.header("Sec-WebSocket-Key").unwrap());
    }
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test]
async fn an_offered_subprotocol_is_accepted() {
    let accept = Accept { subprotocol: Some("*".into()), ..Accept::default() };
    let server = Server::start(Script::every(Play::accept_with(accept).send(Messages::count(1)))).unwrap();
    let mut feed = Feed::start(server.url(), &[("websocket.subprotocols", "v2.json,v1.json")]);
    feed.until_records(1).await;
}

#[tokio::test]
async fn headers_replace_ours_once_and_a_comma_may_be_part_of_a_value() {
    let accept = Accept { subprotocol: Some("graphql-ws".into()), ..Accept::default() };
    let server = Server::start(Script::every(Play::accept_with(accept).send(Messages::count(1)))).unwrap();
    let headers = r"Host:feed.example.com,User-Agent:Mozilla/5.0 (KHTML\, like Gecko),Origin:https://a.example,Cookie:a=1,Sec-WebSocket-Protocol:graphql-ws";
    let mut feed = Feed::start(server.url(), &[("websocket.headers", headers)]);
    feed.until_records(1).await;
    let stats = server.stats();
    let request = stats.requests().next().unwrap();
    for (name, value) in [
        ("Host", "feed.example.com"),
        ("User-Agent", "Mozilla/5.0 (KHTML, like Gecko)"),
        ("Origin", "https://a.example"),
        ("Cookie", "a=1"),
        ("Sec-WebSocket-Protocol", "graphql-ws"),
    ] {
        let values = request.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        assert_eq!(values.map(|(_, value)| value.as_str()).collect::<Vec<_>>(), [value], "{name}");
    }
}

#[tokio::test]
async fn the_user_agent_says_who_we_are() {
    let server = Server::start(Script::every(one())).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(1).await;
    let agent = server.stats().requests().next().unwrap().header("User-Agent").map(str::to_owned);
    assert!(agent.as_ref().is_some_and(|agent| agent.starts_with("connect-websocket/")), "{agent:?}");
}

#[tokio::test]
async fn untidy_answers_are_taken() {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let accept = Accept {
        before: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".into(),
        headers: vec![
            header("Server ", "nginx"),
            header("X-Folded", "a\r\n b"),
            header("Upgrade", "h2c"),
            header("Connection", "keep-alive"),
        ],
        subprotocol: Some(String::new()),
        ..Accept::default()
    };
    let server = Server::start(Script::every(Play::accept_with(accept).send(Messages::count(1)))).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(1).await;
    assert_eq!(server.stats().accepted, 1);
}

#[tokio::test]
async fn a_refusal_shows_the_beginning_of_its_body() {
    let long = format!("token-1 is not known\u{2028}\u{202e} <br>\r\n{}", "x".repeat(1000));
    let chunked = "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nno such\r\n5\r\n plan\r\n0\r\n\r\n";
    for (handshake, shown) in [
        (
            Handshake::Reject(Reject { status: 403, body: long, ..Reject::default() }),
            "answered the handshake with status 403 Forbidden: *** is not known <br> xxx",
        ),
        (
            Handshake::Garbage { hex: String::new(), text: chunked.into() },
            "answered the handshake with status 403 Forbidden: no such plan; gave up",
        ),
        (
            Handshake::Garbage { hex: String::new(), text: "HTTP/1.1 404 Gone Fishing\r\n\r\nuntil the end".into() },
            "answered the handshake with status 404 Gone Fishing: until the end; gave up",
        ),
    ] {
        let server = Server::start(Script::every(Play::handshake(handshake))).unwrap();
        let mut feed = Feed::start(server.url(), &SECRETS);
        let error = feed.until_failed().await;
        assert!(error.contains(shown) && error.len() < 400, "{error}");
        assert!(!error.contains(['\n', '\u{2028}', '\u{202e}']), "{error:?}");
    }
}

#[tokio::test]
async fn the_log_and_the_errors_say_which_address_it_was() {
    let log = LogLines::collect();
    let server = Server::start(Script::plays([one().close(1001), Play::reject(503), one()])).unwrap();
    // "localhost" may be ::1 too, where nobody listens.
    let url = server.url().replace("127.0.0.1", "localhost");
    let mut feed = Feed::start(&url, &[]);
    feed.until_records(2).await;
    let (address, lines) = (server.addr(), log.all());
    let says = |words: &[&str]| lines.iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(says(&["event=websocket_opened", &format!("address={address}")]), "{lines:?}");
    assert!(says(&[&format!("{url} at {address} answered the handshake with status 503")]), "{lines:?}");
}

#[tokio::test]
async fn compression_none_offers_no_extension() {
    let server = Server::start(Script::every(one())).unwrap();
    let mut feed = Feed::start(server.url(), &[("websocket.compression", "none")]);
    feed.until_records(1).await;
    assert_eq!(server.stats().connections[0].request.as_ref().unwrap().header("Sec-WebSocket-Extensions"), None);
}

#[tokio::test]
async fn answers_that_break_the_protocol_fail_the_task() {
    let accept = |change: fn(&mut Accept)| {
        let mut accept = Accept::default();
        change(&mut accept);
        Play::accept_with(accept)
    };
    let cases = [
        (accept(|accept| accept.accept_key = Some("AAAA".into())), "Sec-WebSocket-Accept"),
        (
            accept(|accept| accept.subprotocol = Some("v9".into())),
            "'v9', which was not offered; name it in websocket.subprotocols",
        ),
        (accept(|accept| accept.extensions = Some("x-webkit-deflate-frame".into())), "websocket.compression=none"),
        (
            accept(|accept| accept.extensions = Some("permessage-deflate; server_max_window_bits=16".into())),
            "permessage-deflate",
        ),
        (
            Play::handshake(Handshake::Garbage { hex: String::new(), text: "SSH-2.0-OpenSSH_9.2\r\n\r\n".into() }),
            "not HTTP",
        ),
        (Play::handshake(Handshake::Garbage { hex: "00ff00ff0d0a0d0a".into(), text: String::new() }), "not HTTP"),
        (Play::handshake(Handshake::EndlessHeaders { every_ms: 0 }), "headers"),
    ];
    for (play, why) in cases {
        fails_with(play, &[], why).await;
    }
    fails_with(
        Play::accept_with(Accept { extensions: Some("permessage-deflate".into()), ..Accept::default() }),
        &[("websocket.compression", "none")],
        "extension",
    )
    .await;
}

#[tokio::test]
async fn another_status_is_not_a_connection_although_all_headers_are_right() {
    let accept = Accept { status: Some(200), ..Accept::default() };
    let server = Server::start(Script::plays([Play::accept_with(accept), one()])).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(1).await;
    assert_eq!(feed.snapshot()[Counter::Connections], 1);
}

#[tokio::test]
async fn frames_that_come_with_the_answer_are_not_lost() {
    for deflate in [None, Some(Deflate::default())] {
        let accept = Accept { pipelined: true, deflate, ..Accept::default() };
        let server = Server::start(Script::every(Play::accept_with(accept).send(Messages::count(1000)))).unwrap();
        let mut feed = Feed::start(server.url(), &[]);
        feed.until_records(1000).await;
        feed.assert_complete(1000);
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_given_up() {
    for handshake in [
        Handshake::Hang { before_request: false },
        Handshake::Hang { before_request: true },
        Handshake::EndlessHeaders { every_ms: 10 },
        Handshake::Accept(Accept { drip_ms: Some(20), ..Accept::default() }),
        Handshake::Accept(Accept { delay_ms: 60_000, ..Accept::default() }),
    ] {
        let server = Server::start(Script::plays([Play::handshake(handshake.clone()), one()])).unwrap();
        let mut feed = Feed::start(server.url(), &[("websocket.connection.timeout.ms", "300")]);
        feed.until_records(1).await;
        assert_eq!(feed.reconnects(Cause::ConnectFailed), 1, "{handshake:?}");
        if handshake == (Handshake::Hang { before_request: false }) {
            // The connection that was given up does not stay behind.
            feed.until_server(&server, |stats| stats.open == 1).await;
        }
    }
}

#[tokio::test]
async fn an_answer_that_drips_in_time_is_taken() {
    let accept = Accept { drip_ms: Some(1), ..Accept::default() };
    let server = Server::start(Script::every(Play::accept_with(accept).send(Messages::count(1)))).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(1).await;
    assert_eq!(server.stats().accepted, 1);
}

#[tokio::test]
async fn redirects_are_followed_and_the_same_origin_gets_the_credentials_again() {
    for status in [301, 302, 303, 307, 308] {
        let server = Server::start(Script::plays([redirect(status, "/elsewhere?a=b"), one()])).unwrap();
        let mut feed = Feed::start(server.url(), &SECRETS);
        feed.until_records(1).await;
        let stats = server.stats();
        let last = stats.connections[1].request.as_ref().unwrap();
        assert_eq!(last.line, "GET /elsewhere?a=b HTTP/1.1", "status {status}");
        assert_eq!(last.header("Authorization"), Some("Bearer token-1"));
        assert_eq!(last.header("X-Api-Key"), Some("key-1"));
        assert_eq!(feed.snapshot().reconnects_total(), 0);
    }
}

#[tokio::test]
async fn another_origin_gets_neither_credentials_nor_configured_headers() {
    for scheme in ["ws", "http"] {
        let other = Server::start(Script::every(one())).unwrap();
        let location = format!("{scheme}://{}/feed", other.addr());
        let server = Server::start(Script::every(redirect(302, location))).unwrap();
        let url = server.url().replace("ws://", "ws://bob:secret@");
        let mut feed = Feed::start(&url, &[SECRETS[0]]);
        feed.until_records(1).await;
        let stats = server.stats();
        let first = stats.requests().next().unwrap();
        assert!(first.header("Authorization").is_some() && first.header("X-Api-Key").is_some());
        let stats = other.stats();
        let second = stats.requests().next().unwrap();
        for name in ["Authorization", "X-Api-Key", "X-Other", "Cookie"] {
            assert_eq!(second.header(name), None);
        }
    }
}

#[tokio::test]
async fn another_origin_gets_no_subscription_message() {
    let log = LogLines::collect();
    let other = Server::start(Script::every(one())).unwrap();
    let moved = redirect(302, other.url());
    let home = Play::accept().expect_text("hello").send(Messages::count(1));
    let server = Server::start(Script::plays([moved, redirect(302, "/moved"), home])).unwrap();
    let options = [SECRETS[2], ("websocket.idle.timeout.ms", "200")];
    let mut feed = Feed::start(server.url(), &options);
    feed.until_records(2).await;
    let connections = other.stats().connections;
    assert!(!connections.is_empty() && connections.iter().all(|seen| seen.texts_received == 0), "{connections:?}");
    assert!(log.all().iter().any(|line| line.contains("subscription_withheld")));
}

#[tokio::test]
async fn every_reconnect_begins_at_the_configured_url() {
    let other = Server::start(Script::every(one().close(1001))).unwrap();
    let server = Server::start(Script::every(redirect(307, other.url()))).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until(|feed| feed.records.len() >= 3).await;
    assert!(server.stats().accepted >= 3);
}

#[tokio::test]
async fn a_redirect_loop_is_left_and_fails_the_task() {
    let server = Server::start(Script::every(Play::handshake(Handshake::RedirectLoop { status: 302 }))).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    let why = feed.until_failed().await;
    assert!(why.contains("redirects more than 5 times"), "{why}");
    assert_eq!(server.stats().accepted, 5 * 6);
}

#[tokio::test]
async fn redirects_that_lead_nowhere_fail_the_task() {
    for location in ["ftp://127.0.0.1/x", "ws://", "http://[::1", "javascript:alert(1)"] {
        let server = Server::start(Script::every(redirect(302, location))).unwrap();
        let mut feed = Feed::start(server.url(), &[]);
        let why = feed.until_failed().await;
        assert!(why.contains("5 attempts"), "{location}: {why}");
        assert_eq!(server.stats().accepted, 5, "{location}");
    }
}
