//! The byte stream of a WebSocket: TCP, possibly through a proxy and with TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::addresses::Addresses;
use super::dial::dial;
use super::open_error::{OpenError, OpenErrorKind};
use super::proxy;
use super::request::Request;
use super::socket::Socket;
use super::tls_error::tls_error;
use crate::config::Proxy;
use crate::endpoint::Endpoint;
use crate::observer::{Sight, Watched};

#[derive(Debug)]
pub(super) enum Transport {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl Transport {
    /// Connects to an endpoint. Returns the address of the connection: the proxy's, if there is one.
    pub(super) async fn open(
        request: &Request,
        endpoint: &Endpoint,
        tls: &Arc<ClientConfig>,
        addresses: &mut Addresses,
    ) -> Result<(Transport, SocketAddr), OpenError> {
        let proxy = request.proxy.as_ref();
        let (tcp, address) = match proxy {
            None => dial(endpoint.host(), endpoint.host(), endpoint.port(), addresses, &request.watched).await?,
            Some(proxy) => proxy::connect(proxy, endpoint, addresses, request).await?,
        };
        prepare(&tcp)
            .map_err(|error| OpenError::new(OpenErrorKind::Tcp, format!("the socket cannot be set up: {error}")))?;
        let socket = Socket::new(tcp);
        if !endpoint.is_tls() {
            return Ok((Transport::Plain(socket), address));
        }
        let name = ServerName::try_from(endpoint.host().to_owned()).map_err(|_| {
            OpenError::new(OpenErrorKind::Tls, format!("{} is not a name that TLS can check", endpoint.host()))
        })?;
        match TlsConnector::from(tls.clone()).connect(name, socket).await {
            Ok(stream) => {
                tell_tls(&request.watched, &stream);
                Ok((Transport::Tls(Box::new(stream)), address))
            }
            Err(error) => {
                let whom = format!("{}{}", endpoint.host(), way(endpoint, proxy, address));
                Err(tls_error(&whom, &error))
            }
        }
    }
}

/// Reports version and cipher of TLS to the observer.
fn tell_tls(watched: &Watched, stream: &TlsStream<Socket>) {
    if !watched.is_watched() {
        return;
    }
    let tls = stream.get_ref().1;
    let version = tls.protocol_version().map_or_else(String::new, |version| format!("{version:?}").replace('_', "."));
    let cipher = tls.negotiated_cipher_suite().map_or_else(String::new, |suite| format!("{:?}", suite.suite()));
    watched.tell(Sight::Tls { version: &version, cipher: &cipher });
}

/// Returns how an endpoint was reached, for errors: through which proxy, at which address.
pub(super) fn way(endpoint: &Endpoint, proxy: Option<&Proxy>, address: SocketAddr) -> String {
    let (host, through) = match proxy {
        None => (endpoint.host(), String::new()),
        Some(proxy) => (proxy.host.as_str(), format!(" through the proxy {}", proxy.host)),
    };
    // If the host is an address, it is not repeated.
    if host.parse::<IpAddr>().is_ok() { through } else { format!("{through} at {address}") }
}

impl Transport {
    pub(super) fn socket(&mut self) -> &mut Socket {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(tls) => tls.get_mut().0,
        }
    }
}

/// Sets the socket's options: small frames are sent at once, and a vanished peer is noticed also without pings.
fn prepare(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let keepalive =
        socket2::TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    socket2::SockRef::from(tcp).set_tcp_keepalive(&keepalive)
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
