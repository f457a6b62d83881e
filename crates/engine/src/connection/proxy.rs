//! Connects through a proxy: HTTP CONNECT or SOCKS5. Every error says that it is about the proxy.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_socks::tcp::Socks5Stream;

use super::addresses::Addresses;
use super::dial::dial;
use super::handshake::USER_AGENT;
use super::http::read_answer;
use super::open_error::{OpenError, OpenErrorKind};
use super::request::Request;
use crate::config::{Proxy, ProxyScheme};
use crate::endpoint::Endpoint;
use crate::redact::Redactor;

/// The most characters of a proxy's words in an error.
const MAX_FOREIGN_CHARS: usize = 200;
const CREDENTIALS: &str = "; see websocket.proxy.username and websocket.proxy.password";

/// Opens a tunnel to the endpoint. Returns the proxy's address as well.
pub(super) async fn connect(
    proxy: &Proxy,
    endpoint: &Endpoint,
    addresses: &mut Addresses,
    request: &Request,
) -> Result<(TcpStream, SocketAddr), OpenError> {
    let what = format!("the proxy {}", proxy.host);
    let (tcp, address) = dial(&what, &proxy.host, proxy.port, addresses, &request.watched).await?;
    let tunnel = match proxy.scheme {
        ProxyScheme::Http => through_http(tcp, proxy, endpoint, &request.redactor).await?,
        ProxyScheme::Socks5 => through_socks5(tcp, proxy, endpoint).await?,
    };
    Ok((tunnel, address))
}

/// HTTP CONNECT (RFC 9110 §9.3.6).
async fn through_http(
    mut tcp: TcpStream,
    proxy: &Proxy,
    endpoint: &Endpoint,
    redactor: &Redactor,
) -> Result<TcpStream, OpenError> {
    let target = target(endpoint);
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: {USER_AGENT}\r\n");
    if let Some((user, password)) = &proxy.credentials {
        let pair = BASE64.encode(format!("{user}:{}", password.reveal()));
        request.push_str(&format!("Proxy-Authorization: Basic {pair}\r\n"));
    }
    request.push_str("\r\n");
    let broken = |what: String| OpenError::new(OpenErrorKind::Tcp, format!("the proxy {}: {what}", proxy.host));
    tcp.write_all(request.as_bytes()).await.map_err(|error| broken(error.to_string()))?;
    let mut answer = Vec::new();
    loop {
        // With TLS and WebSocket the client speaks first, so nothing follows the response yet.
        if tcp.read_buf(&mut answer).await.map_err(|error| broken(error.to_string()))? == 0 {
            return Err(broken("it closed the connection".into()));
        }
        let (answer, reason) = match read_answer(&answer) {
            Ok(None) => continue,
            Ok(Some((_, answer, reason))) => (answer, reason),
            Err(why) => return Err(broken(why)),
        };
        return match answer.status {
            200..=299 => Ok(tcp),
            status => Err(refused(proxy, &target, status, &redactor.foreign(&reason, MAX_FOREIGN_CHARS))),
        };
    }
}

fn refused(proxy: &Proxy, target: &str, status: u16, reason: &str) -> OpenError {
    let remedy = if status == 407 { CREDENTIALS } else { "" };
    let message = format!("the proxy {} answered CONNECT to {target} with status {status} {reason}", proxy.host);
    OpenError::new(OpenErrorKind::ProxyStatus(status), format!("{}{remedy}", message.trim_end()))
}

/// SOCKS5 (RFC 1928), with user name and password if they are configured (RFC 1929). The proxy resolves the host name.
async fn through_socks5(tcp: TcpStream, proxy: &Proxy, endpoint: &Endpoint) -> Result<TcpStream, OpenError> {
    use tokio_socks::Error;
    let to = (endpoint.host(), endpoint.port());
    let opened = match &proxy.credentials {
        Some((user, password)) => {
            Socks5Stream::connect_with_password_and_socket(tcp, to, user, password.reveal()).await
        }
        None => Socks5Stream::connect_with_socket(tcp, to).await,
    };
    opened.map(Socks5Stream::into_inner).map_err(|error| {
        let (kind, remedy) = match error {
            Error::PasswordAuthFailure(_) | Error::NoAcceptableAuthMethods | Error::AuthorizationRequired => {
                (OpenErrorKind::ProxyRefused, CREDENTIALS)
            }
            Error::ConnectionNotAllowedByRuleset => (OpenErrorKind::ProxyRefused, ""),
            _ => (OpenErrorKind::Tcp, ""),
        };
        let message =
            format!("the proxy {} does not open a connection to {}: {error}{remedy}", proxy.host, target(endpoint));
        OpenError::new(kind, message)
    })
}

/// Returns host and port, with an IPv6 address in brackets (RFC 3986 §3.2.2).
fn target(endpoint: &Endpoint) -> String {
    match endpoint.host() {
        v6 if v6.contains(':') => format!("[{v6}]:{}", endpoint.port()),
        host => format!("{host}:{}", endpoint.port()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Uses a proxy that answers with these bytes. Returns what it was sent as well.
    async fn ask(answer: &'static str) -> (String, Result<(TcpStream, SocketAddr), OpenError>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let mut tcp = listener.accept().unwrap().0;
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                tcp.read_exact(&mut byte).unwrap();
                asked.push(byte[0]);
            }
            tcp.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(asked).unwrap()
        });
        let proxy = Proxy { scheme: ProxyScheme::Http, host: "127.0.0.1".into(), port, credentials: None };
        let endpoint = Endpoint::parse("wss://[::1]:9443/").unwrap();
        let request = Request::to(endpoint.clone());
        request.redactor.add("hunter2-hunter2");
        let opened = connect(&proxy, &endpoint, &mut Addresses::default(), &request).await;
        (server.join().unwrap(), opened)
    }

    #[tokio::test]
    async fn an_untidy_answer_after_an_interim_one_opens_the_tunnel() {
        let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 Connection established\r\nVia : squid\r\n\r\n";
        let (asked, opened) = ask(answer).await;
        assert!(opened.is_ok(), "{opened:?}");
        let begin = "CONNECT [::1]:9443 HTTP/1.1\r\nHost: [::1]:9443\r\nUser-Agent: connect-websocket/";
        assert!(asked.starts_with(begin), "{asked}");
    }

    #[tokio::test]
    async fn a_refusal_has_the_proxys_words_without_secrets() {
        for (answer, kind, words) in [
            ("HTTP/1.1 503 Busy hunter2-hunter2\r\n\r\n", 503, "[::1]:9443 with status 503 Busy ***"),
            ("HTTP/1.1 407 Who?\r\n\r\n", 407, "407 Who?; see websocket.proxy.username"),
        ] {
            let error = ask(answer).await.1.unwrap_err();
            assert_eq!(error.kind, OpenErrorKind::ProxyStatus(kind));
            assert!(error.message.starts_with("the proxy 127.0.0.1 ") && error.message.contains(words), "{error}");
        }
        let error = ask("SSH-2.0-OpenSSH\r\n\r\n").await.1.unwrap_err();
        assert!(error.message.contains("the proxy 127.0.0.1: the answer is not HTTP"), "{error}");
    }
}
