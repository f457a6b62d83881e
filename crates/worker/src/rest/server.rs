//! The REST server on the network: bind, accept, serve, stop. A slow or hostile client blocks its own connection only.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::Service;
use tracing::{debug, warn};

use super::config::{Listener, RestConfig};
use super::error::RestError;
use super::timed::Timed;
use super::tls::Tls;

/// The limits for clients.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time, of all listeners.
    pub connections: u32,
    /// Additional connections of each listener, for one request of `/health` each.
    pub for_health: usize,
    /// The same as `head` for these connections, so that idle ones make room.
    pub health_head: Duration,
    /// How long the TLS handshake, the head of a request, and the pause between two requests may take.
    pub head: Duration,
    /// How long a client may read nothing of a response.
    pub stalled: Duration,
}

impl Limits {
    /// Returns limits with which the connections of all listeners together need no more than these descriptors, if each
    /// listener can have one.
    pub fn within(descriptors: u64, listeners: usize) -> Limits {
        let (most, listeners) = (Limits::default(), listeners.max(1));
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX).min(MAX_CONNECTIONS as usize);
        let for_health = (descriptors / HEALTH_PART / listeners).clamp(1, most.for_health);
        let left = descriptors.saturating_sub(for_health * listeners);
        Limits { connections: u32::try_from(left).map_or(most.connections, |left| left.max(1)), for_health, ..most }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: MAX_CONNECTIONS,
            for_health: 16,
            health_head: Duration::from_secs(2),
            head: Duration::from_secs(30),
            stalled: Duration::from_secs(30),
        }
    }
}

const MAX_CONNECTIONS: u32 = 512;
/// The share of the connections that is reserved for `/health`, if there are few.
const HEALTH_PART: usize = 4;
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The wait after a failed accept, for example without file descriptors. Without it, the loop would use a whole core.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// The shortest interval between two log lines about that.
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(30);

/// A listening socket.
pub struct Bound {
    socket: TcpListener,
    listener: Listener,
    pub address: SocketAddr,
}

impl Bound {
    /// # Errors
    /// A sentence that names the address.
    pub async fn bind(listener: &Listener) -> Result<Bound, String> {
        let failed = |error: io::Error| {
            format!("cannot listen on {listener}: {error}; change listeners or stop what uses the port")
        };
        let bound = if listener.host.is_empty() {
            // One socket for IPv6 and IPv4, if the system has both.
            match TcpListener::bind(("::", listener.port)).await {
                Ok(socket) => Ok(socket),
                Err(_) => TcpListener::bind(("0.0.0.0", listener.port)).await,
            }
        } else {
            TcpListener::bind((listener.host.as_str(), listener.port)).await
        };
        let socket = bound.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Bound { socket, listener: listener.clone(), address })
    }

    /// Returns a URL of the listener for this machine.
    pub fn url(&self) -> String {
        let host = if self.listener.host.is_empty() { "127.0.0.1" } else { &self.listener.host };
        format!("{}://{}", self.listener.scheme(), authority(host, self.address.port()))
    }

    pub fn is_https(&self) -> bool {
        self.listener.https
    }

    /// Returns `host:port` for other machines.
    pub fn advertised(&self, config: &RestConfig) -> String {
        let host = match (&config.advertised_host, self.listener.host.as_str()) {
            (Some(host), _) => host.clone(),
            (None, "" | "0.0.0.0" | "::") => own_address().to_string(),
            (None, host) => host.to_owned(),
        };
        authority(&host, config.advertised_port.filter(|port| *port != 0).unwrap_or(self.address.port()))
    }
}

/// A socket and what it serves.
pub struct Endpoint {
    pub bound: Bound,
    pub router: Router,
    /// TLS, for an https listener.
    pub tls: Option<Tls>,
}

/// A running REST server.
pub struct Server {
    stop: watch::Sender<bool>,
    connections: Arc<Semaphore>,
    limits: Limits,
}

impl Server {
    /// Serves all endpoints.
    pub fn start(endpoints: Vec<Endpoint>, limits: Limits) -> Server {
        let (stop, stopping) = watch::channel(false);
        let connections = Arc::new(Semaphore::new(limits.connections as usize));
        for endpoint in endpoints {
            tokio::spawn(accept(endpoint, limits, Arc::clone(&connections), stopping.clone()));
        }
        Server { stop, connections, limits }
    }

    /// Accepts no more connections, and lets running requests finish within `grace`.
    pub async fn stop(self, grace: Duration) {
        let _ = self.stop.send(true);
        let all = self.connections.acquire_many(self.limits.connections);
        if tokio::time::timeout(grace, all).await.is_err() {
            warn!("event=rest_requests_cut requests were still in progress when the REST server stopped");
        }
    }
}

async fn accept(endpoint: Endpoint, limits: Limits, connections: Arc<Semaphore>, mut stopping: watch::Receiver<bool>) {
    let Endpoint { bound, router, tls } = endpoint;
    let acceptor = tls.as_ref().map(Tls::acceptor);
    let for_health = Arc::new(Semaphore::new(limits.for_health));
    let health_limits = Limits { head: limits.health_head, ..limits };
    let mut logged: Option<Instant> = None;
    loop {
        let next = async {
            let reserved = Arc::clone(&for_health).acquire_owned().await;
            (reserved, bound.socket.accept().await)
        };
        let (reserved, accepted) = tokio::select! {
            next = next => next,
            () = stopped(&mut stopping) => return,
        };
        let (stream, reserved) = match (accepted, reserved) {
            (Ok((stream, _)), Ok(reserved)) => (stream, reserved),
            (_, Err(_)) => return,
            (Err(error), _) => {
                if logged.is_none_or(|at| at.elapsed() >= ACCEPT_LOG_INTERVAL) {
                    logged = Some(Instant::now());
                    warn!("event=rest_accept_failed {error}");
                }
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        // A connection for which there is no other place gets a reserved one.
        let (permit, served, limits) = match Arc::clone(&connections).try_acquire_owned() {
            Ok(permit) => (permit, Served::All(router.clone()), limits),
            Err(_) => (reserved, Served::HealthOnce(router.clone()), health_limits),
        };
        let connection = open(stream, acceptor.clone(), served, limits, stopping.clone());
        tokio::spawn(async move {
            connection.await;
            drop(permit);
        });
    }
}

/// Which requests a connection may make.
#[derive(Clone)]
enum Served {
    All(Router),
    HealthOnce(Router),
}

impl Served {
    async fn answer(mut self, request: Request<Incoming>) -> Result<Response, Infallible> {
        match &mut self {
            Served::HealthOnce(_) if request.uri().path() != "/health" => {
                let why = "all connections of the REST server are in use; close some, or try again later";
                Ok(RestError::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response())
            }
            Served::All(router) | Served::HealthOnce(router) => router.call(request.map(Body::new)).await,
        }
    }
}

async fn open(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    served: Served,
    limits: Limits,
    mut stopping: watch::Receiver<bool>,
) {
    // Without it, small responses wait for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let stream = Timed::new(stream, limits.stalled);
    let Some(acceptor) = acceptor else {
        return serve(stream, served, limits, stopping).await;
    };
    let handshake = tokio::time::timeout(limits.head, acceptor.accept(stream));
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        () = stopped(&mut stopping) => return,
    };
    match shaken {
        Ok(Ok(stream)) => serve(stream, served, limits, stopping).await,
        Ok(Err(error)) => debug!("event=rest_tls_failed {error}"),
        Err(_) => debug!("event=rest_tls_failed the handshake took too long"),
    }
}

async fn serve<S>(stream: S, served: Served, limits: Limits, mut stopping: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let keep_alive = matches!(served, Served::All(_));
    let service = service_fn(move |request| served.clone().answer(request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .keep_alive(keep_alive)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!("event=rest_connection_ended {error}");
    }
}

/// Waits for the stop of the server.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the server was dropped, which is a stop too.
    let _ = stopping.wait_for(|stop| *stop).await.map(drop);
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Returns the address that this machine uses for other machines. Connecting a UDP socket sends nothing.
fn own_address() -> IpAddr {
    let address = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    address.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_no_more_descriptors_than_there_are_for_them() {
        let shares = |descriptors, listeners| {
            let limits = Limits::within(descriptors, listeners);
            (limits.connections, limits.for_health)
        };
        assert_eq!(shares(u64::MAX, 1), (496, 16));
        assert_eq!(shares(128, 1), (112, 16));
        assert_eq!(shares(128, 4), (96, 8));
        assert_eq!(shares(12, 1), (9, 3));
        assert_eq!(shares(0, 1), (1, 1), "one each is the least");
        for (descriptors, listeners) in [(8, 1), (12, 3), (64, 2), (512, 30), (4096, 2)] {
            let (connections, for_health) = shares(descriptors, listeners);
            assert!(
                u64::from(connections) + (for_health * listeners) as u64 <= descriptors,
                "{descriptors} {listeners}"
            );
        }
    }
}
