//! The byte stream below a WebSocket: TCP, perhaps through a proxy, perhaps under TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_socks::tcp::Socks5Stream;

use super::addresses::Addresses;
use super::open_error::{OpenError, OpenErrorKind};
use super::socket::Socket;
use crate::config::{Proxy, ProxyScheme};
use crate::endpoint::Endpoint;

/// A proxy's answer to CONNECT may have this many bytes.
const MAX_PROXY_ANSWER_BYTES: usize = 16 << 10;
/// An address of a host that has others is given up after this.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) enum Transport {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl Transport {
    pub(super) async fn open(
        endpoint: &Endpoint,
        proxy: Option<&Proxy>,
        tls: &Arc<ClientConfig>,
        addresses: &mut Addresses,
    ) -> Result<Transport, OpenError> {
        let tcp = match proxy {
            None => dial(endpoint.host(), endpoint.port(), addresses).await?,
            Some(proxy) => match proxy.scheme {
                ProxyScheme::Http => connect_through_http(proxy, endpoint, addresses).await?,
                ProxyScheme::Socks5 => connect_through_socks5(proxy, endpoint, addresses).await?,
            },
        };
        prepare(&tcp)
            .map_err(|error| OpenError::new(OpenErrorKind::Tcp, format!("the socket cannot be set up: {error}")))?;
        let socket = Socket::new(tcp);
        if !endpoint.is_tls() {
            return Ok(Transport::Plain(socket));
        }
        let name = ServerName::try_from(endpoint.host().to_owned()).map_err(|_| {
            OpenError::new(OpenErrorKind::Certificate, format!("{} is not a name that TLS can check", endpoint.host()))
        })?;
        match TlsConnector::from(tls.clone()).connect(name, socket).await {
            Ok(stream) => Ok(Transport::Tls(Box::new(stream))),
            Err(error) => Err(tls_error(endpoint, &error)),
        }
    }
}

impl Transport {
    pub(super) fn socket(&mut self) -> &mut Socket {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(tls) => tls.get_mut().0,
        }
    }
}

/// Small frames go out at once, and a peer that vanished is noticed even without pings.
fn prepare(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let keepalive =
        socket2::TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    socket2::SockRef::from(tcp).set_tcp_keepalive(&keepalive)
}

async fn dial(host: &str, port: u16, addresses: &mut Addresses) -> Result<TcpStream, OpenError> {
    let resolved = lookup_host((host, port)).await.map_err(|error| unresolved(host, &error))?;
    let in_turn = addresses.in_turn(host, resolved.collect());
    let mut failures = Vec::new();
    for (index, address) in in_turn.iter().enumerate() {
        addresses.trying(host, *address);
        // A dead address, of a broken IPv6 route perhaps, must not use up the time of those behind it (RFC 8305).
        let patience = if index + 1 < in_turn.len() { ADDRESS_PATIENCE } else { Duration::MAX };
        match tokio::time::timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => failures.push(format!("{address}: {error}")),
            Err(_) => failures.push(format!("{address}: it does not answer")),
        }
    }
    let message = match &failures[..] {
        [] => format!("the name {host} has no address"),
        failures => format!("no connection to {host} at {}", failures.join("; ")),
    };
    Err(OpenError::new(OpenErrorKind::Tcp, message))
}

fn unresolved(host: &str, error: &io::Error) -> OpenError {
    let text = error.to_string();
    // The resolver's code is in the text alone: glibc's, musl's and macOS's words for EAI_NONAME and EAI_NODATA. Words
    // that are not known, a translation for one, count as an outage.
    let unknown = ["Name or service not known", "No address associated", "does not resolve", "nodename nor servname"];
    let kind = if unknown.iter().any(|words| text.contains(words)) {
        OpenErrorKind::NameUnknown
    } else {
        OpenErrorKind::NameUnresolved
    };
    OpenError::new(kind, format!("the name {host} cannot be resolved: {error}"))
}

/// HTTP CONNECT (RFC 9110 §9.3.6).
async fn connect_through_http(
    proxy: &Proxy,
    endpoint: &Endpoint,
    addresses: &mut Addresses,
) -> Result<TcpStream, OpenError> {
    let mut tcp = dial(&proxy.host, proxy.port, addresses).await?;
    let target = match endpoint.host() {
        v6 if v6.contains(':') => format!("[{v6}]:{}", endpoint.port()),
        host => format!("{host}:{}", endpoint.port()),
    };
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
                return match response.code {
                    Some(200..=299) => Ok(tcp),
                    code => {
                        let status = code.unwrap_or_default();
                        Err(OpenError::new(
                            OpenErrorKind::ProxyStatus(status),
                            format!("the proxy {} answered CONNECT with status {status}", proxy.host),
                        ))
                    }
                };
            }
            Ok(httparse::Status::Partial) if answer.len() < MAX_PROXY_ANSWER_BYTES => {}
            _ => return Err(broken("its answer is not HTTP".into())),
        }
    }
}

/// SOCKS5 (RFC 1928) with a user name and password if there are some (RFC 1929); the proxy resolves the name.
async fn connect_through_socks5(
    proxy: &Proxy,
    endpoint: &Endpoint,
    addresses: &mut Addresses,
) -> Result<TcpStream, OpenError> {
    let tcp = dial(&proxy.host, proxy.port, addresses).await?;
    let target = (endpoint.host(), endpoint.port());
    let opened = match &proxy.credentials {
        Some((user, password)) => {
            Socks5Stream::connect_with_password_and_socket(tcp, target, user, password.reveal()).await
        }
        None => Socks5Stream::connect_with_socket(tcp, target).await,
    };
    opened.map(Socks5Stream::into_inner).map_err(|error| {
        use tokio_socks::Error;
        let kind = match error {
            Error::PasswordAuthFailure(_) | Error::NoAcceptableAuthMethods | Error::AuthorizationRequired => {
                OpenErrorKind::ProxyRefused
            }
            _ => OpenErrorKind::Tcp,
        };
        OpenError::new(kind, format!("the proxy {}: {error}", proxy.host))
    })
}

fn tls_cause(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// Whether a certificate was refused, by us or by the server.
pub(super) fn is_certificate_problem(error: &io::Error) -> bool {
    matches!(tls_cause(error), Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_)))
}

pub(super) fn tls_error(endpoint: &Endpoint, error: &io::Error) -> OpenError {
    let cause = tls_cause(error);
    let kind = match cause {
        Some(rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        )) => OpenErrorKind::CertificateExpired,
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_)) => OpenErrorKind::Certificate,
        Some(_) => OpenErrorKind::Tls,
        None => OpenErrorKind::Tcp,
    };
    let remedy = match cause {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
            "; to trust its authority, name it in websocket.ssl.ca.location"
        }
        Some(rustls::Error::AlertReceived(_)) => "; it may want a certificate: see websocket.ssl.certificate.location",
        _ => "",
    };
    OpenError::new(kind, format!("TLS with {} failed: {error}{remedy}", endpoint.host()))
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Transport::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Transport::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Transport::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Transport::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
