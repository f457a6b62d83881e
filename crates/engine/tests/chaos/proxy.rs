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
            assert!(why.contains("proxy") && why.contains("5 attempts") && !why.contains("wr0ng"), "{why}");
            assert_eq!((proxy.accepted(), server.stats().accepted), (5, 0), "{why}");
        }
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
