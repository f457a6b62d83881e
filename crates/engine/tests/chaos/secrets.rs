//! What is secret shows in no log line, no error and no metric, whatever happens to the connection.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use connect_websocket_engine::config::{Config, Provided};
use connect_websocket_engine::secret::Secret;
use connect_websocket_testkit::{
    Accept, Close, Handshake, Messages, Play, Proxy, Reject, Script, Server, Step, Violation,
};

use crate::harness::{Feed, properties};
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
    ("websocket.headers", "X-Api-Key:hunter2,Cookie:a=hunter2"),
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
    assert_hidden("the offset", feed.task.session_id());
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

/// A token as feeds have them, longer than what is shown of a foreign text.
const JWT: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5\
                   MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c~/+==";

/// The token in the forms in which a server may repeat it.
fn forms(token: &str) -> Vec<String> {
    let percent: String = token.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let json: String = token.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    vec![
        token.to_owned(),
        format!("\"{token}"),
        token[..100].to_owned(),
        token[20..].to_owned(),
        percent,
        json,
        token.replace('/', "\\/"),
        STANDARD.encode(token),
        URL_SAFE.encode(format!("u:{token}")),
        token.bytes().map(|byte| format!("{byte:02x}")).collect(),
    ]
}

/// No eight characters of the token in a row, as they are or encoded.
fn assert_no_part(what: &str, text: &str, token: &str) {
    for form in forms(token) {
        let part = form.as_bytes().windows(24).find(|part| text.as_bytes().windows(24).any(|window| window == *part));
        assert!(part.is_none(), "{what} shows a part of {form}: {text}");
    }
    let part = token.as_bytes().windows(8).find(|part| text.as_bytes().windows(8).any(|window| window == *part));
    assert!(part.is_none(), "{what} shows a part of the token: {text}");
}

#[tokio::test]
async fn a_token_is_hidden_in_every_form_wherever_a_server_puts_it_cut_or_not() {
    for form in forms(JWT) {
        let log = LogLines::collect();
        let cut: String = form.chars().take(110).collect();
        let close = Close { code: Some(1008), reason: format!("bad {cut}"), ..Close::default() };
        let accept = |accept: Accept| Play::accept_with(accept);
        let text = format!("HTTP/1.1 401 No access with {form}\r\n\r\n");
        let location = |prefix: &str| Handshake::Redirect { status: 302, location: format!("{prefix}{form}") };
        let plays = [
            Play::accept().send(Messages::count(1)).step(Step::Close(close)),
            accept(Accept { subprotocol: Some(form.clone()), ..Accept::default() }),
            accept(Accept { extensions: Some(form.clone()), ..Accept::default() }),
            accept(Accept { extensions: Some(format!("permessage-deflate; {form}")), ..Accept::default() }),
            Play::accept().send(Messages::count(1)).close(1001),
            Play::handshake(Handshake::Garbage { hex: String::new(), text: text.clone() }),
            Play::handshake(location("/login/")),
            Play::handshake(Handshake::Garbage { hex: String::new(), text }),
            Play::handshake(location("ftp://127.0.0.1/")),
            Play::accept().send(Messages::count(1)).close(1001),
            Play::handshake(location("")),
            Play::reject(401),
        ];
        let server = Server::start(Script::plays(plays)).unwrap();
        let options = [("websocket.auth.token", JWT), ("websocket.reconnect.max.attempts", "20")];
        let mut feed = Feed::start(server.url(), &options);
        let error = feed.until_failed().await;
        assert_no_part("the error", &error, JWT);
        log.all().iter().for_each(|line| assert_no_part("the log", line, JWT));
    }
}

#[tokio::test]
async fn what_a_provider_put_into_path_and_subprotocol_is_shown_nowhere() {
    let log = LogLines::collect();
    let chosen = Play::accept_with(Accept { subprotocol: Some("*".into()), ..Accept::default() });
    let plays = [chosen.send(Messages::count(1)).close(1001), Play::reject(403)];
    let server = Server::start(Script::plays(plays)).unwrap();
    let url = format!("{}{SECRET}/feed", server.url());
    let properties = properties(&url, &[("websocket.subprotocols", SECRET)]);
    let redacted = [("websocket.url", url.replace(SECRET, "***")), ("websocket.subprotocols", "***".to_owned())];
    let provided = Provided {
        secrets: vec![Secret::new(SECRET)],
        redacted: redacted.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    };
    let config = Config::parse_provided(&properties, &provided).unwrap();
    watch(Feed::with(config, None), &log).await;
    let stats = server.stats();
    let request = stats.requests().next().unwrap();
    assert_eq!(request.line, format!("GET /{SECRET}/feed HTTP/1.1"));
    assert_eq!(request.header("Sec-WebSocket-Protocol"), Some(SECRET));
}

#[tokio::test]
async fn foreign_text_forges_no_field_and_turns_no_line_around() {
    let log = LogLines::collect();
    let reason = "no\" event=forged_one\u{202e}\u{2028}\nevent=forged_two";
    let close = Close { code: Some(1008), reason: reason.into(), ..Close::default() };
    let server = Server::start(Script::plays([
        Play::accept().send(Messages::count(1)).step(Step::Close(close)),
        Play::reject(403),
    ]))
    .unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_failed().await;
    let lines = log.all();
    assert!(lines.iter().any(|line| line.contains("forged_two")), "the reason was not shown");
    for line in lines {
        assert!(!line.contains("event=forged") && !line.contains(['\u{202e}', '\u{2028}', '\n']), "{line}");
    }
}

#[tokio::test]
async fn letters_alone_and_basic_credentials_are_secrets_too() {
    let log = LogLines::collect();
    let repeated = "no bob, swordfish, Ym9iOnN3b3JkZmlzaA==, bob:swordfish, correcthorse";
    let text = format!("HTTP/1.1 401 {repeated}\r\n\r\n");
    let server =
        Server::start(Script::every(Play::handshake(Handshake::Garbage { hex: String::new(), text }))).unwrap();
    let options = [
        ("websocket.headers", "Authorization:Basic Ym9iOnN3b3JkZmlzaA=="),
        ("websocket.subscription.message", r#"{"op":"login","args":["alice","correcthorse"]}"#),
    ];
    let mut feed = Feed::start(server.url(), &options);
    let error = feed.until_failed().await;
    assert!(error.contains("401"), "{error}");
    for line in log.all().into_iter().chain([error]) {
        for secret in ["swordfish", "Ym9i", "correcthorse"] {
            assert!(!line.contains(secret), "{secret}: {line}");
        }
    }
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
