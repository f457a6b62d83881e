//! What is secret shows in no log line, no error and no metric, whatever happens to the connection.

use connect_websocket_testkit::{Close, Handshake, Messages, Play, Proxy, Reject, Script, Server, Step, Violation};

use crate::harness::Feed;
use crate::log_lines::LogLines;

/// In every option that may hold a secret.
const SECRET: &str = "hunter2";
/// What basic authentication makes of `bob` and the secret.
const BASIC: &str = "Ym9iOmh1bnRlcjI=";

fn url(server: &Server) -> String {
    server.url().replace("ws://", "ws://bob:hunter2@") + "feed?apikey=hunter2&hunter2"
}

const OPTIONS: [(&str, &str); 4] = [
    ("websocket.auth.token", SECRET),
    ("websocket.headers", "X-Api-Key:hunter2,nocolonhunter2,Cookie:a=hunter2"),
    ("websocket.subscription.message", r#"{"login":"hunter2"}"#),
    ("websocket.reconnect.max.attempts", "20"),
];

fn assert_hidden(what: &str, text: &str) {
    for secret in [SECRET, BASIC, "bob"] {
        assert!(!text.contains(secret), "{what} shows {secret}: {text}");
    }
}

async fn watch(mut feed: Feed, log: &LogLines) {
    let error = feed.until_failed().await;
    assert_hidden("the error", &error);
    assert_hidden("the error's debug form", &format!("{:?}", feed.error));
    assert_hidden("the metrics", &format!("{:?}", feed.snapshot()));
    assert_hidden("the configuration's debug form", &format!("{:?}", feed.task.config()));
    assert_hidden("the offset", &format!("{:?}", feed.task.offset(1)));
    let lines = log.all();
    assert!(lines.iter().any(|line| line.contains("websocket_failure")), "nothing was logged");
    lines.iter().for_each(|line| assert_hidden("the log", line));
}

#[tokio::test]
async fn connects_failures_and_redirects_show_no_secret() {
    let log = LogLines::collect();
    let other = Server::start(Script::every(Play::reject(403))).unwrap();
    let with_secret = |location: String| Play::handshake(Handshake::Redirect { status: 302, location });
    let plays = [
        Play::accept().send(Messages::count(1)).close(1001),
        Play::accept().close_tcp(),
        Play::accept().send(Messages::count(1)).reset(),
        // A reset may destroy the message before it. Received, one begins the count of failures in a row anew.
        Play::accept().send(Messages::count(1)).close(1001),
        Play::accept().step(Step::Violate { rule: Violation::MaskedFrame }),
        Play::handshake(Handshake::TcpReset { before_request: false }),
        Play::handshake(Handshake::Garbage { hex: String::new(), text: "hunter2\r\n\r\n".into() }),
        Play::handshake(Handshake::RedirectLoop { status: 302 }),
        Play::accept().send(Messages::count(1)).close(1001),
        with_secret("ftp://bob:hunter2@127.0.0.1/?hunter2".into()),
        with_secret("//bob:hunter2@[::1/".into()),
        Play::accept().send(Messages::count(1)).close(1001),
        Play::reject(429),
        Play::reject(401),
        with_secret(other.url().replace("ws://", "ws://bob:hunter2@") + "?token=hunter2"),
    ];
    let server = Server::start(Script::plays(plays)).unwrap();
    watch(Feed::start(&url(&server), &OPTIONS), &log).await;
    assert!(server.stats().accepted > 10 && other.stats().accepted > 0);
}

#[tokio::test]
async fn a_server_that_repeats_our_secrets_does_not_bring_them_into_the_log() {
    let log = LogLines::collect();
    let close = Close { code: Some(1008), reason: "bad token hunter2".into(), ..Close::default() };
    let accept = |header: &str| {
        Play::accept_with(connect_websocket_testkit::Accept {
            subprotocol: Some(header.into()),
            extensions: Some(header.into()),
            ..Default::default()
        })
    };
    let plays = [
        Play::accept().send(Messages::count(1)).step(Step::Close(close)),
        accept(SECRET),
        Play::handshake(Handshake::Garbage {
            hex: String::new(),
            text: "HTTP/1.1 401 No access with hunter2\r\n\r\n".into(),
        }),
    ];
    let server = Server::start(Script::plays(plays)).unwrap();
    let options = [OPTIONS[0], OPTIONS[1], OPTIONS[2], ("websocket.subprotocols", "v1")];
    watch(Feed::start(&url(&server), &options), &log).await;
}

#[tokio::test]
async fn a_proxys_credentials_are_not_shown() {
    for proxy in [Proxy::http(Some(("alice", "right"))).unwrap(), Proxy::socks5(Some(("alice", "right"))).unwrap()] {
        let log = LogLines::collect();
        let server = Server::start(Script::default()).unwrap();
        let proxy_url = proxy.url();
        let options = [
            ("websocket.proxy.url", proxy_url.as_str()),
            ("websocket.proxy.username", "alice"),
            ("websocket.proxy.password", SECRET),
        ];
        watch(Feed::start(&url(&server), &options), &log).await;
    }
}

#[tokio::test]
async fn an_outage_shows_no_secret() {
    let log = LogLines::collect();
    let reject = Reject { status: 503, body: SECRET.into(), ..Reject::default() };
    let server = Server::start(Script::every(Play::handshake(Handshake::Reject(reject)))).unwrap();
    let mut options = OPTIONS;
    options[3].1 = "2";
    watch(Feed::start(&url(&server), &options), &log).await;
    let url = url(&server);
    server.stop();
    watch(Feed::start(&url, &options), &log).await;
}
