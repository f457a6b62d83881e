//! Through HTTP (CONNECT) and SOCKS5 proxies.

use connect_websocket_testkit::{Messages, Play, Proxy, Script, Server, TestPki, TlsProfile};

use crate::harness::Feed;

const CREDENTIALS: (&str, &str) = ("alice", "pr0xy:secret");

fn server() -> Server {
    Server::start(Script::every(Play::accept().send(Messages::count(3)))).unwrap()
}

fn proxies(credentials: Option<(&str, &str)>) -> [Proxy; 2] {
    [Proxy::http(credentials).unwrap(), Proxy::socks5(credentials).unwrap()]
}

#[tokio::test]
async fn a_feed_is_read_through_a_proxy_which_resolves_the_name() {
    for proxy in proxies(None) {
        let server = server();
        proxy.route("feed.example", server.addr());
        let url = format!("ws://feed.example:{}/", server.addr().port());
        let mut feed = Feed::start(&url, &[("websocket.proxy.url", &proxy.url())]);
        feed.until_records(3).await;
        let requests = proxy.requests();
        assert_eq!(requests.len(), 1);
        assert!(requests[0].by_name && requests[0].accepted && requests[0].user.is_none(), "{requests:?}");
        assert_eq!(requests[0].target, format!("feed.example:{}", server.addr().port()));
    }
}

#[tokio::test]
async fn right_credentials_open_a_proxy() {
    for proxy in proxies(Some(CREDENTIALS)) {
        let server = server();
        let url = proxy.url();
        let options = [
            ("websocket.proxy.url", url.as_str()),
            ("websocket.proxy.username", CREDENTIALS.0),
            ("websocket.proxy.password", CREDENTIALS.1),
        ];
        let mut feed = Feed::start(server.url(), &options);
        feed.until_records(3).await;
        assert_eq!(proxy.requests()[0].user.as_deref(), Some(CREDENTIALS.0));
        // They are the proxy's alone.
        let stats = server.stats();
        let request = stats.requests().next().unwrap();
        assert_eq!((request.header("Proxy-Authorization"), request.header("Authorization")), (None, None));
    }
}

#[tokio::test]
async fn wrong_or_missing_credentials_fail_the_task_after_five_attempts() {
    for credentials in [&[][..], &[("websocket.proxy.username", "alice"), ("websocket.proxy.password", "wr0ng")][..]] {
        for proxy in proxies(Some(CREDENTIALS)) {
            let server = server();
            let url = proxy.url();
            let options = [&[("websocket.proxy.url", url.as_str())][..], credentials].concat();
            let mut feed = Feed::start(server.url(), &options);
            let why = feed.until_failed().await;
            assert!(
                why.contains("websocket.proxy.username") && why.contains("5 attempts") && !why.contains("wr0ng"),
                "{why}"
            );
            assert_eq!((proxy.accepted(), server.stats().accepted), (5, 0), "{why}");
        }
    }
}

#[tokio::test]
async fn proxy_and_feed_may_have_ipv6_addresses() {
    for proxy in proxies(None) {
        let v6 = || (std::net::Ipv6Addr::LOCALHOST, 0).into();
        let server = Server::bind(v6(), Script::every(Play::accept().send(Messages::count(3)))).unwrap();
        let front = Proxy::bind(v6(), proxy.addr()).unwrap();
        let url = format!("{}{}", proxy.url().split("127").next().unwrap(), front.addr());
        let mut feed = Feed::start(server.url(), &[("websocket.proxy.url", &url)]);
        feed.until_records(3).await;
        assert_eq!(
            proxy.requests()[0].target.replace(['[', ']'], ""),
            server.addr().to_string().replace(['[', ']'], "")
        );
        let host = server.stats().requests().next().unwrap().header("Host").map(str::to_owned);
        assert_eq!(host, Some(server.addr().to_string()));
    }
}

#[tokio::test]
async fn errors_say_that_it_is_the_proxy() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = server();
    for (scheme, host, why) in [
        ("http", "no-such-proxy.invalid", "the name of the proxy no-such-proxy.invalid cannot be resolved"),
        ("http", "127.0.0.1", "no connection to the proxy 127.0.0.1"),
        ("socks5", "127.0.0.1", "no connection to the proxy 127.0.0.1"),
    ] {
        let proxy = format!("{scheme}://{host}:{}", closed.port());
        let options = [("websocket.proxy.url", proxy.as_str()), ("websocket.reconnect.max.attempts", "1")];
        let error = Feed::start(server.url(), &options).until_failed().await;
        assert!(error.contains(why), "{error}");
    }
    let (http, socks5) = (Proxy::http(None).unwrap(), Proxy::socks5(None).unwrap());
    let feed = format!("ws://127.0.0.1:{}/", closed.port());
    for (proxy, why) in [
        (http.url(), format!("the proxy 127.0.0.1 answered CONNECT to 127.0.0.1:{} with status 502", closed.port())),
        (socks5.url(), format!("the proxy 127.0.0.1 does not open a connection to 127.0.0.1:{}", closed.port())),
    ] {
        let options = [("websocket.proxy.url", proxy.as_str()), ("websocket.reconnect.max.attempts", "1")];
        let error = Feed::start(&feed, &options).until_failed().await;
        assert!(error.contains(&why), "{error}");
    }
}

#[tokio::test]
async fn a_failure_behind_a_proxy_names_the_proxy() {
    for proxy in proxies(None) {
        let pki = TestPki::new().unwrap();
        let tls = Server::start_tls(Script::every(Play::accept()), &pki, TlsProfile::Good).unwrap();
        let refusing = Server::start(Script::every(Play::reject(403))).unwrap();
        let url = proxy.url();
        let options = [("websocket.proxy.url", url.as_str()), ("websocket.reconnect.max.attempts", "1")];
        let error = Feed::start(tls.url(), &options).until_failed().await;
        assert!(error.contains("TLS with localhost through the proxy 127.0.0.1 failed"), "{error}");
        let error = Feed::start(refusing.url(), &options).until_failed().await;
        assert!(error.contains("through the proxy 127.0.0.1 answered the handshake with status 403"), "{error}");
    }
}

#[tokio::test]
async fn tls_goes_through_a_proxy_end_to_end() {
    for proxy in proxies(None) {
        let pki = TestPki::new().unwrap();
        let files = tempfile::tempdir().unwrap();
        pki.write_to(files.path()).unwrap();
        let play = Play::accept().send(Messages::count(3));
        let server = Server::start_tls(Script::every(play), &pki, TlsProfile::Good).unwrap();
        let ca = files.path().join("ca.pem");
        let url = proxy.url();
        let options = [("websocket.proxy.url", url.as_str()), ("websocket.ssl.ca.location", ca.to_str().unwrap())];
        let mut feed = Feed::start(server.url(), &options);
        feed.until_records(3).await;
        assert_eq!(proxy.accepted(), 1);
    }
}

#[tokio::test]
async fn a_proxy_that_is_away_is_waited_for() {
    for proxy in proxies(None) {
        let server = server();
        proxy.refuse().unwrap();
        let mut feed = Feed::start(server.url(), &[("websocket.proxy.url", &proxy.url())]);
        feed.until_reconnects(connect_websocket_engine::gap::Cause::ConnectFailed, 6).await;
        proxy.resume().unwrap();
        feed.until_records(3).await;
    }
}

#[tokio::test]
async fn a_proxy_that_answers_502_is_waited_for_also_at_the_very_first_start() {
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::http(None).unwrap();
    let mut feed = Feed::start(&format!("ws://{away}/"), &[("websocket.proxy.url", &proxy.url())]);
    // More than an answer gets that will hardly change.
    feed.until_reconnects(connect_websocket_engine::gap::Cause::ConnectFailed, 7).await;
    let _server = Server::bind(away, Script::every(Play::accept().send(Messages::count(3)))).unwrap();
    feed.until_records(3).await;
}
