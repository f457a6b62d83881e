//! `wss://` with certificates good and bad.

use connect_websocket_engine::gap::Cause;
use connect_websocket_engine::offset::StoredOffset;
use connect_websocket_testkit::{Handshake, Messages, Play, Script, Server, TestPki, TlsProfile};
use tempfile::TempDir;

use crate::harness::Feed;
use crate::log_lines::LogLines;

struct Files {
    directory: TempDir,
    pki: TestPki,
}

impl Files {
    fn new() -> Files {
        let (directory, pki) = (tempfile::tempdir().unwrap(), TestPki::new().unwrap());
        pki.write_to(directory.path()).unwrap();
        Files { directory, pki }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    fn server(&self, play: Play, profile: TlsProfile) -> Server {
        Server::start_tls(Script::every(play), &self.pki, profile).unwrap()
    }

    fn feed(&self, server: &Server, more: &[(&str, &str)]) -> Feed {
        let ca = self.path("ca.pem");
        Feed::start(server.url(), &[&[("websocket.ssl.ca.location", ca.as_str())], more].concat())
    }
}

fn one() -> Play {
    Play::accept().send(Messages::count(1))
}

#[tokio::test]
async fn an_extra_authority_is_trusted() {
    let files = Files::new();
    let server = files.server(Play::accept().send(Messages::count(20_000)), TlsProfile::Good);
    let mut feed = files.feed(&server, &[("websocket.message.queue.size", "100")]);
    feed.until_records(20_000).await;
    feed.assert_complete(20_000);
    feed.stop(crate::harness::DEADLINE).await;
    assert_eq!(server.stats().connections[0].close_received.as_ref().and_then(|close| close.code), Some(1000));
}

#[tokio::test]
async fn a_stream_that_ends_without_the_goodbye_of_tls_is_one_that_ends() {
    let files = Files::new();
    let log = LogLines::collect();
    let server = files.server(Play::accept().send(Messages::count(1)).close_tcp(), TlsProfile::Good);
    let mut feed = files.feed(&server, &[]);
    feed.until_records(2).await;
    assert_eq!(feed.snapshot().reconnects[0].0, Cause::EndOfStream, "{:?}", log.all());
    assert!(log.all().iter().any(|line| line.contains("the server ended the connection without a Close frame")));
}

#[tokio::test]
async fn certificates_that_do_not_hold_fail_the_task_after_five_attempts() {
    for (profile, why) in [
        (TlsProfile::Expired, "expired"),
        (TlsProfile::WrongHost, "not valid for name"),
        (TlsProfile::UnknownCa, "TLS with localhost at 127.0.0.1:"),
    ] {
        let files = Files::new();
        let server = files.server(one(), profile);
        let mut feed = files.feed(&server, &[]);
        let error = feed.until_failed().await;
        assert!(error.contains(why) && error.contains("5 attempts"), "{profile:?}: {error}");
        assert_eq!(server.stats().accepted, 5);
        assert!(feed.records.is_empty());
    }
}

#[tokio::test]
async fn a_certificate_that_expires_on_a_feed_that_was_read_before_is_waited_out() {
    let files = Files::new();
    let server = files.server(one(), TlsProfile::Expired);
    let ca = files.path("ca.pem");
    let options = [("websocket.ssl.ca.location", ca.as_str())];
    let mut feed = Feed::resume(server.url(), &options, Some(StoredOffset::default()));
    // More than what never worked gets.
    feed.until_reconnects(Cause::ConnectFailed, 7).await;
    assert!(feed.error.is_none());
}

#[tokio::test]
async fn a_self_signed_certificate_that_is_named_is_trusted_for_what_it_is() {
    let files = Files::new();
    let named = |profile: TlsProfile| {
        let path = files.path(&format!("{profile:?}.pem"));
        std::fs::write(&path, files.pki.self_signed_pem(profile).unwrap()).unwrap();
        path
    };
    let off = ("websocket.ssl.endpoint.identification.algorithm", "none");
    let feed = |server: &Server, profile, more: &[(&str, &str)]| {
        let path = named(profile);
        Feed::start(server.url(), &[&[("websocket.ssl.ca.location", path.as_str())], more].concat())
    };
    let server = files.server(one(), TlsProfile::SelfSigned);
    feed(&server, TlsProfile::SelfSigned, &[]).until_records(1).await;
    let server = files.server(one(), TlsProfile::SelfSignedWrongHost);
    feed(&server, TlsProfile::SelfSignedWrongHost, &[off]).until_records(1).await;
    for (profile, more, why) in [
        (TlsProfile::SelfSignedWrongHost, &[][..], "not valid for name"),
        (TlsProfile::SelfSignedExpired, &[], "expired"),
        (TlsProfile::SelfSignedExpired, &[off], "expired"),
    ] {
        let server = files.server(one(), profile);
        let error = feed(&server, profile, more).until_failed().await;
        assert!(error.contains(why), "{profile:?}: {error}");
    }
    // Naming one trusts no other.
    let server = files.server(one(), TlsProfile::SelfSigned);
    let error = feed(&server, TlsProfile::SelfSignedWrongHost, &[off]).until_failed().await;
    assert!(error.contains("a self-signed certificate itself, name it in websocket.ssl.ca.location"), "{error}");
}

#[tokio::test]
async fn an_alert_is_told_although_the_request_could_not_be_sent() {
    let files = Files::new();
    let server = files.server(one(), TlsProfile::ClientCertRequired);
    // More than the sockets hold: it is still being written when the server hangs up.
    let url = format!("{}?{}", server.url(), "x".repeat(32 << 20));
    let error = files.feed(&server, &[("websocket.url", &url)]).until_failed().await;
    assert!(error.contains("websocket.ssl.certificate.location"), "{error}");
}

#[tokio::test]
async fn an_alert_of_version_or_cipher_says_nothing_of_certificates() {
    for (alert, words) in [(70, "neither TLS 1.2 nor TLS 1.3"), (40, "no cipher suite")] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("wss://localhost:{}/", listener.local_addr().unwrap().port());
        let server = std::thread::spawn(move || {
            use std::io::{Read, Write};
            for _ in 0..2 {
                let mut tcp = listener.accept().unwrap().0;
                // The client's hello; then a fatal alert (RFC 8446 §6).
                let _ = tcp.read(&mut [0; 4096]).unwrap();
                tcp.write_all(&[21, 3, 3, 0, 2, 2, alert]).unwrap();
            }
        });
        let error = Feed::start(&url, &[("websocket.reconnect.max.attempts", "1")]).until_failed().await;
        server.join().unwrap();
        assert!(error.contains(words) && !error.contains("certificate"), "{error}");
    }
}

#[test]
fn a_key_that_cannot_be_used_is_told_at_validation() {
    let (files, other) = (Files::new(), Files::new());
    let encrypted = files.path("encrypted.key");
    std::fs::write(&encrypted, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n")
        .unwrap();
    let certificate = files.path("client.pem");
    for (key, why) in [
        (files.path("client.key"), None),
        (other.path("client.key"), Some("the key does not belong to the certificate in ")),
        (encrypted, Some("the key is encrypted; give an unencrypted one")),
    ] {
        let options = [
            ("websocket.url", "wss://localhost/"),
            ("kafka.topic", "t"),
            ("websocket.ssl.certificate.location", certificate.as_str()),
            ("websocket.ssl.key.location", key.as_str()),
        ];
        let properties = options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let errors = connect_websocket_engine::config::Config::parse(&properties).err().unwrap_or_default();
        match why {
            None => assert!(errors.is_empty(), "{errors:?}"),
            Some(why) => {
                assert_eq!((errors.len(), errors[0].option.as_str()), (1, "websocket.ssl.key.location"), "{errors:?}");
                assert!(errors[0].message.contains(why), "{errors:?}");
            }
        }
    }
}

#[test]
fn an_authority_that_tls_cannot_use_is_told_at_validation() {
    let files = Files::new();
    let unfit = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let good = std::fs::read_to_string(files.path("ca.pem")).unwrap();
    for (name, content, fits) in [("unfit.pem", unfit, false), ("bundle.pem", &format!("{unfit}{good}"), true)] {
        std::fs::write(files.path(name), content).unwrap();
        let ca = files.path(name);
        let options =
            [("websocket.url", "wss://localhost/"), ("kafka.topic", "t"), ("websocket.ssl.ca.location", ca.as_str())];
        let properties = options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let errors = connect_websocket_engine::config::Config::parse(&properties).err().unwrap_or_default();
        assert_eq!(errors.is_empty(), fits, "{name}: {errors:?}");
        assert!(fits || errors[0].message.contains("no certificate that TLS can use"), "{errors:?}");
    }
}

#[tokio::test]
async fn without_the_extra_authority_the_error_names_the_option() {
    let files = Files::new();
    let server = files.server(one(), TlsProfile::Good);
    let mut feed = Feed::start(server.url(), &[]);
    let error = feed.until_failed().await;
    assert!(error.contains("websocket.ssl.ca.location"), "{error}");
}

#[tokio::test]
async fn with_the_host_check_off_only_the_name_is_not_checked() {
    for off in ["none", ""] {
        let files = Files::new();
        let option = [("websocket.ssl.endpoint.identification.algorithm", off)];
        let server = files.server(one(), TlsProfile::WrongHost);
        files.feed(&server, &option).until_records(1).await;
        for profile in [TlsProfile::Expired, TlsProfile::UnknownCa] {
            let server = files.server(one(), profile);
            let error = files.feed(&server, &option).until_failed().await;
            assert!(error.contains("TLS"), "{profile:?}: {error}");
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_when_it_is_asked_for() {
    let files = Files::new();
    let server = files.server(one(), TlsProfile::ClientCertRequired);
    let (certificate, key) = (files.path("client.pem"), files.path("client.key"));
    let options =
        [("websocket.ssl.certificate.location", certificate.as_str()), ("websocket.ssl.key.location", key.as_str())];
    files.feed(&server, &options).until_records(1).await;
}

#[tokio::test]
async fn a_missing_client_certificate_fails_the_task_and_the_error_names_the_option() {
    let files = Files::new();
    let server = files.server(one(), TlsProfile::ClientCertRequired);
    let error = files.feed(&server, &[]).until_failed().await;
    assert!(error.contains("websocket.ssl.certificate.location") && error.contains("5 attempts"), "{error}");
}

#[tokio::test]
async fn a_redirect_never_leaves_tls() {
    for scheme in ["ws", "http"] {
        let plain = Server::start(Script::every(one())).unwrap();
        let location = format!("{scheme}://{}/", plain.addr());
        let files = Files::new();
        let server = files.server(Play::handshake(Handshake::Redirect { status: 302, location }), TlsProfile::Good);
        let error = files.feed(&server, &[]).until_failed().await;
        assert!(error.contains("leave TLS"), "{error}");
        assert_eq!(plain.stats().accepted, 0);
    }
}

#[tokio::test]
async fn a_redirect_may_enter_tls() {
    let files = Files::new();
    let tls = files.server(one(), TlsProfile::Good);
    let location = tls.url().replace("wss://", "https://");
    let plain = Server::start(Script::every(Play::handshake(Handshake::Redirect { status: 308, location }))).unwrap();
    files.feed(&plain, &[]).until_records(1).await;
    assert_eq!(tls.stats().accepted, 1);
}

#[tokio::test]
async fn a_plain_server_behind_wss_is_an_error_and_not_a_hang() {
    let plain = Server::start(Script::every(Play::handshake(Handshake::Garbage {
        hex: String::new(),
        text: "HTTP/1.1 400 Bad Request\r\n\r\n".into(),
    })))
    .unwrap();
    let url = plain.url().replace("ws://", "wss://");
    let mut feed =
        Feed::start(&url, &[("websocket.reconnect.max.attempts", "1"), ("websocket.connection.timeout.ms", "500")]);
    let error = feed.until_failed().await;
    assert!(error.contains("TLS") || error.contains("did not answer"), "{error}");
}
