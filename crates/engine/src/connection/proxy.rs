//! To a server through a proxy: HTTP CONNECT or SOCKS5. Every error says that it is the proxy's.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_socks::tcp::Socks5Stream;

use super::addresses::Addresses;
use super::dial::dial;
use super::open_error::{OpenError, OpenErrorKind};
use crate::config::{Proxy, ProxyScheme};
use crate::endpoint::Endpoint;

/// A proxy's answer to CONNECT may have this many bytes.
const MAX_ANSWER_BYTES: usize = 16 << 10;
const CREDENTIALS: &str = "; see websocket.proxy.username and websocket.proxy.password";

/// A tunnel to the endpoint, and the proxy's address.
pub(super) async fn connect(
    proxy: &Proxy,
    endpoint: &Endpoint,
    addresses: &mut Addresses,
) -> Result<(TcpStream, SocketAddr), OpenError> {
    let (tcp, address) = dial(&format!("the proxy {}", proxy.host), &proxy.host, proxy.port, addresses).await?;
    let tunnel = match proxy.scheme {
        ProxyScheme::Http => through_http(tcp, proxy, endpoint).await?,
        ProxyScheme::Socks5 => through_socks5(tcp, proxy, endpoint).await?,
    };
    Ok((tunnel, address))
}

/// HTTP CONNECT (RFC 9110 §9.3.6).
async fn through_http(mut tcp: TcpStream, proxy: &Proxy, endpoint: &Endpoint) -> Result<TcpStream, OpenError> {
    let target = target(endpoint);
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some((user, password)) = &proxy.credentials {
        let pair = BASE64.encode(format!("{user}:{}", password.reveal()));
        request.push_str(&format!("Proxy-Authorization: Basic {pair}\r\n"));
    }
    request.push_str("\r\n");
    let broken = |what: String| OpenError::new(OpenErrorKind::Tcp, format!("the proxy {}: {what}", proxy.host));
    tcp.write_all(request.as_bytes()).await.map_err(|error| broken(error.to_string()))?;
    let mut answer = Vec::new();
    loop {
        // Neither TLS nor WebSocket lets the server speak first, so nothing beyond the answer can be read here.
        if tcp.read_buf(&mut answer).await.map_err(|error| broken(error.to_string()))? == 0 {
            return Err(broken("it closed the connection".into()));
        }
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(&answer) {
            Ok(httparse::Status::Complete(_)) => {
                return match response.code.unwrap_or_default() {
                    200..=299 => Ok(tcp),
                    status => Err(refused(proxy, &target, status)),
                };
            }
            Ok(httparse::Status::Partial) if answer.len() < MAX_ANSWER_BYTES => {}
            _ => return Err(broken("its answer is not HTTP".into())),
        }
    }
}

fn refused(proxy: &Proxy, target: &str, status: u16) -> OpenError {
    let remedy = if status == 407 { CREDENTIALS } else { "" };
    let message = format!("the proxy {} answered CONNECT to {target} with status {status}{remedy}", proxy.host);
    OpenError::new(OpenErrorKind::ProxyStatus(status), message)
}

/// SOCKS5 (RFC 1928) with a user name and password if there are some (RFC 1929); the proxy resolves the name.
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
        let message = format!("the proxy {} opens no connection to {}: {error}{remedy}", proxy.host, target(endpoint));
        OpenError::new(kind, message)
    })
}

/// Host and port; an IPv6 address in brackets (RFC 3986 §3.2.2).
fn target(endpoint: &Endpoint) -> String {
    match endpoint.host() {
        v6 if v6.contains(':') => format!("[{v6}]:{}", endpoint.port()),
        host => format!("{host}:{}", endpoint.port()),
    }
}
