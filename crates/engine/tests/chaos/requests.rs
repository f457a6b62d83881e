//! Requests of steps over HTTP: tokens in time, and bounds on what a server may answer.

use connect_websocket_testkit::{Handshake, Messages, Play, Proxy, Reject, Script, Server, TestPki, TlsProfile};

use crate::harness::Feed;
use crate::log_lines::LogLines;

/// What base64 makes of `id:c1ient-secret`.
const BASIC: &str = "Basic aWQ6YzFpZW50LXNlY3JldA==";

fn answer(status: u16, body: impl Into<String>) -> Play {
    Play::handshake(Handshake::Reject(Reject { status, body: body.into(), ..Reject::default() }))
}

fn token(n: u64) -> Play {
    answer(200, format!(r#"{{"access_token":"t0ken-number-{n}","expires_in":3600}}"#))
}

fn serve(plays: impl IntoIterator<Item = Play>) -> Server {
    Server::start(Script::plays(plays)).unwrap()
}

/// A session that asks `tokens` for a token before it connects to `feed`.
fn start(feed: &Server, tokens: &str, more: &[(&str, &str)]) -> Feed {
    let request = format!("POST {tokens}");
    let options = [
        ("websocket.session.steps", "token,connect,login"),
        ("websocket.session.token.http", request.as_str()),
        (
            "websocket.session.token.http.headers",
            "Authorization:Basic {{base64('id:' + secret.client)}},Content-Type:application/x-www-form-urlencoded",
        ),
        ("websocket.session.token.http.body", "grant_type=client_credentials"),
        ("websocket.session.token.capture", "secret.token=/access_token"),
        ("websocket.session.login.send", r#"{"token":"{{secret.token}}"}"#),
        ("websocket.secret.client", "c1ient-secret"),
    ];
    Feed::start(feed.url(), &[&options[..], more].concat())
}

fn http(server: &Server) -> String {
    format!("http://{}/token", server.addr())
}

/// Fails for what the tokens' server does, without a connection to the feed; returns why.
async fn fails(tokens: Play, more: &[(&str, &str)]) -> String {
    let (feed, tokens) = (serve([]), serve([tokens]));
    let error = start(&feed, &http(&tokens), more).until_failed().await;
    assert_eq!(feed.stats().accepted, 0);
    error
}

#[tokio::test]
async fn a_token_of_client_credentials_is_renewed_in_band_before_it_expires() {
    let log = LogLines::collect();
    let tokens = serve((0..100).map(token));
    let feed = serve([Play::accept()]);
    let renewal = format!("POST {}", http(&tokens));
    let mut running = start(
        &feed,
        &http(&tokens),
        &[
            ("websocket.session.steps", "token,connect,login,renew,again"),
            ("websocket.session.token.http.cache", "3600s"),
            ("websocket.session.renew.every.ms", "50"),
            ("websocket.session.renew.http", &renewal),
            ("websocket.session.renew.http.headers", "Authorization:Basic {{base64('id:' + secret.client)}}"),
            ("websocket.session.renew.capture", "secret.token=/access_token"),
            ("websocket.session.again.every.ms", "50"),
            ("websocket.session.again.send", r#"{"token":"{{secret.token}}"}"#),
        ],
    );
    let renewed = |text: &String| text == r#"{"token":"t0ken-number-2"}"#;
    let stats =
        running.until_server(&feed, |stats| stats.connections[..].iter().any(|c| c.texts.iter().any(renewed))).await;
    assert_eq!(stats.connections[0].texts[0], r#"{"token":"t0ken-number-0"}"#);
    assert_eq!(stats.accepted, 1, "all on one connection");
    assert!(tokens.stats().requests().all(|request| request.header("Authorization") == Some(BASIC)));
    running.stop(crate::harness::DEADLINE).await;
    for line in log.all() {
        assert!(!line.contains("t0ken") && !line.contains("c1ient") && !line.contains(BASIC), "{line}");
    }
}

#[tokio::test]
async fn an_answer_may_have_a_mebibyte_and_not_a_byte_more() {
    let padded = |length: usize| {
        let token = r#"{"access_token":"t0ken-of-a-mebibyte"}"#;
        answer(200, format!("{token}{}", " ".repeat(length - token.len())))
    };
    let (feed, tokens) =
        (serve([Play::accept().expect_text("t0ken-of-a-mebibyte").send(Messages::count(1))]), serve([padded(1 << 20)]));
    start(&feed, &http(&tokens), &[]).until_records(1).await;

    let error = fails(padded((1 << 20) + 1), &[("websocket.reconnect.max.attempts", "1")]).await;
    assert!(error.contains("1048576 bytes"), "{error}");
}

#[tokio::test]
async fn a_request_without_an_answer_ends_with_its_time() {
    let short = [("websocket.session.token.timeout.ms", "100"), ("websocket.reconnect.max.attempts", "1")];
    let error = fails(Play::handshake(Handshake::Hang { before_request: false }), &short).await;
    assert!(error.contains("did not answer within 100 ms"), "{error}");
}

#[tokio::test]
async fn no_redirect_is_followed_and_no_credentials_go_elsewhere() {
    let elsewhere = serve([token(0)]);
    let redirect = Handshake::Redirect { status: 307, location: http(&elsewhere) };
    let error = fails(Play::handshake(redirect), &[]).await;
    assert!(error.contains("307"), "{error}");
    assert_eq!(elsewhere.stats().accepted, 0);
}

#[tokio::test]
async fn a_refusal_shows_its_status_and_the_first_200_characters_of_its_body_cleaned() {
    let body = format!("no such\u{1b}[31m client\r\nevent=forged {}END", "x".repeat(300));
    let error = fails(answer(401, body), &[]).await;
    assert!(error.contains("401") && error.contains("no such") && error.contains("xxx"), "{error}");
    assert!(!error.contains("END") && !error.contains(&"x".repeat(200)), "{error}");
    assert!(!error.contains(['\u{1b}', '\r', '\n']), "{error}");
}

#[tokio::test]
async fn a_request_goes_through_the_feeds_proxy_and_trusts_its_authority() {
    let (directory, pki) = (tempfile::tempdir().unwrap(), TestPki::new().unwrap());
    pki.write_to(directory.path()).unwrap();
    let ca = directory.path().join("ca.pem").to_str().unwrap().to_owned();
    let tokens = Server::start_tls(Script::every(token(7)), &pki, TlsProfile::Good).unwrap();
    let feed = serve([Play::accept().expect_text("t0ken-number-7").send(Messages::count(1))]);
    let proxy = Proxy::http(None).unwrap();
    let proxy_url = proxy.url();
    let url = tokens.url().replace("wss://", "https://");
    let options = [("websocket.proxy.url", proxy_url.as_str()), ("websocket.ssl.ca.location", ca.as_str())];
    start(&feed, &url, &options).until_records(1).await;
    let targets: Vec<String> = proxy.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, [format!("localhost:{}", tokens.addr().port()), feed.addr().to_string()]);

    let error = start(&feed, &url, &options[..1]).until_failed().await;
    assert!(error.contains("TLS with localhost"), "{error}");
}

#[tokio::test]
async fn a_request_goes_on_beside_a_feed_that_never_pauses() {
    let lingering = [("websocket.receive.linger.ms", "5")];
    for (messages, more) in [(Messages::forever(), &[][..]), (Messages::forever().rate(2000.0), &lingering)] {
        let tokens = serve((0..100).map(token));
        let feed = serve([Play::accept().send(messages)]);
        let renewal = format!("POST {}", http(&tokens));
        let steps = [
            ("websocket.session.steps", "connect,renew"),
            ("websocket.session.renew.every.ms", "10"),
            ("websocket.session.renew.http", renewal.as_str()),
        ];
        let mut running = Feed::start(feed.url(), &[&steps[..], more].concat());
        running.until_server(&tokens, |stats| stats.requests().count() >= 100).await;
    }
}
