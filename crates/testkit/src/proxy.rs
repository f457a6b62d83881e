//! TCP proxies that put faults between a client and a server: plain, HTTP CONNECT, SOCKS5.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::handshake;
use crate::host::Host;
use crate::link::Io;
use crate::script::Reject;

/// How long [`Proxy::refuse`] and [`Proxy::resume`] wait for the port to close or open.
const PORT_LIMIT: Duration = Duration::from_secs(10);

/// A proxy on 127.0.0.1 with faults on demand, on a runtime of its own; dropping it ends every connection.
///
/// In front of Kafka, start it on a known port ([`Proxy::bind`]) and let the broker advertise that.
pub struct Proxy {
    addr: SocketAddr,
    scheme: &'static str,
    mode: watch::Sender<Mode>,
    cuts: watch::Sender<u64>,
    shared: Arc<Shared>,
    // Last, so that the tasks end before what they use.
    _host: Host,
}

/// What a client asked an HTTP or SOCKS5 proxy for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyRequest {
    /// `host:port`
    pub target: String,
    /// Whether the host was a name, which the proxy is to look up.
    pub by_name: bool,
    /// The user that was given; the password is not kept.
    pub user: Option<String>,
    /// Whether the credentials were right and the target was reached.
    pub accepted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Mode {
    forwarding: bool,
    listening: bool,
    delay: Duration,
}

enum Kind {
    Plain(String),
    Http(Option<Credentials>),
    Socks5(Option<Credentials>),
}

struct Credentials {
    user: String,
    password: String,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    listening: bool,
    accepted: u64,
    requests: Vec<ProxyRequest>,
    routes: HashMap<String, SocketAddr>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

impl Proxy {
    /// Forwards every connection to `target` (`host:port`).
    pub fn start(target: impl ToString) -> io::Result<Proxy> {
        Proxy::bind((Ipv4Addr::LOCALHOST, 0).into(), target)
    }

    /// The same on a known address.
    pub fn bind(addr: SocketAddr, target: impl ToString) -> io::Result<Proxy> {
        Proxy::open(addr, Kind::Plain(target.to_string()), "tcp")
    }

    /// An HTTP proxy that knows CONNECT only; `credentials`: user and password that it demands (Basic).
    pub fn http(credentials: Option<(&str, &str)>) -> io::Result<Proxy> {
        Proxy::open((Ipv4Addr::LOCALHOST, 0).into(), Kind::Http(credentials.map(Credentials::from)), "http")
    }

    /// A SOCKS5 proxy (RFC 1928); `credentials`: user and password that it demands (RFC 1929).
    pub fn socks5(credentials: Option<(&str, &str)>) -> io::Result<Proxy> {
        Proxy::open((Ipv4Addr::LOCALHOST, 0).into(), Kind::Socks5(credentials.map(Credentials::from)), "socks5")
    }

    fn open(addr: SocketAddr, kind: Kind, scheme: &'static str) -> io::Result<Proxy> {
        let listener = StdListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let mode = watch::Sender::new(Mode { forwarding: true, listening: true, delay: Duration::ZERO });
        let cuts = watch::Sender::new(0);
        let shared = Arc::new(Shared::default());
        shared.change(|state| state.listening = true);
        let seat = Arc::new(Seat { kind, mode: mode.subscribe(), cuts: cuts.clone(), shared: shared.clone() });
        let host = Host::start("ws-testkit-proxy", accept(listener, addr, seat))?;
        Ok(Proxy { addr, scheme, mode, cuts, shared, _host: host })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `tcp://…`, `http://…` or `socks5://…`, without credentials.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.addr)
    }

    /// Stops forwarding both ways; nothing is closed, not even when a peer closes. New connections are accepted and stay silent.
    pub fn pause(&self) {
        self.mode.send_modify(|mode| mode.forwarding = false);
    }

    /// Forwards again without delay and listens again.
    pub fn resume(&self) -> io::Result<()> {
        self.mode.send_replace(Mode { forwarding: true, listening: true, delay: Duration::ZERO });
        self.await_listening(true)
    }

    /// Resets (RST) every open connection on both sides; new ones are forwarded.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Closes the port, so that new connections are refused; open ones go on (see [`Proxy::cut`]).
    pub fn refuse(&self) -> io::Result<()> {
        self.mode.send_modify(|mode| mode.listening = false);
        self.await_listening(false)
    }

    /// Delivers everything this much later, both ways, in order and without limiting the rate (up to 32 reads under way).
    pub fn delay(&self, delay: Duration) {
        self.mode.send_modify(|mode| mode.delay = delay);
    }

    /// TCP connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.lock().accepted
    }

    /// What HTTP and SOCKS5 clients asked for so far.
    pub fn requests(&self) -> Vec<ProxyRequest> {
        self.shared.lock().requests.clone()
    }

    /// Takes connections to `host` (any port) to this address, as if the proxy had looked it up.
    pub fn route(&self, host: &str, addr: SocketAddr) {
        self.shared.change(|state| {
            state.routes.insert(host.to_owned(), addr);
        });
    }

    fn await_listening(&self, listening: bool) -> io::Result<()> {
        let state = self.shared.lock();
        let (_state, waited) = self
            .shared
            .changed
            .wait_timeout_while(state, PORT_LIMIT, |state| state.listening != listening)
            .unwrap_or_else(PoisonError::into_inner);
        match waited.timed_out() {
            false => Ok(()),
            true => Err(io::Error::other(format!("port {} could not be opened again in time", self.addr.port()))),
        }
    }
}

impl From<(&str, &str)> for Credentials {
    fn from((user, password): (&str, &str)) -> Credentials {
        Credentials { user: user.to_owned(), password: password.to_owned() }
    }
}

/// What every connection needs.
struct Seat {
    kind: Kind,
    mode: watch::Receiver<Mode>,
    cuts: watch::Sender<u64>,
    shared: Arc<Shared>,
}

async fn accept(listener: StdListener, addr: SocketAddr, seat: Arc<Seat>) {
    let mut mode = seat.mode.clone();
    let mut listener = TcpListener::from_std(listener).ok();
    loop {
        let wanted = mode.borrow_and_update().listening;
        if !wanted {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(addr).await.ok();
        }
        seat.shared.change(|state| state.listening = listener.is_some());
        match &listener {
            Some(listener) => tokio::select! {
                accepted = listener.accept() => if let Ok((tcp, _)) = accepted {
                    seat.shared.change(|state| state.accepted += 1);
                    tokio::spawn(connection(tcp, seat.clone(), seat.cuts.subscribe()));
                },
                _ = mode.changed() => {}
            },
            // Another socket may hold the port for a moment.
            None if wanted => tokio::time::sleep(Duration::from_millis(5)).await,
            None => {
                if mode.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn connection(client: TcpStream, seat: Arc<Seat>, mut cuts: watch::Receiver<u64>) {
    // Latency is the test's to set, not Nagle's.
    let _ = client.set_nodelay(true);
    let opened = tokio::select! {
        opened = open_upstream(client, &seat) => opened,
        _ = cuts.changed() => return,
    };
    // A failure has been answered and recorded.
    let Ok(Some((mut client, mut upstream))) = opened else {
        return;
    };
    let _ = upstream.set_nodelay(true);
    let relayed = {
        let (client_read, client_write) = client.split();
        let (upstream_read, upstream_write) = upstream.split();
        tokio::select! {
            relayed = async {
                tokio::try_join!(
                    forward(client_read, upstream_write, seat.mode.clone()),
                    forward(upstream_read, client_write, seat.mode.clone()),
                )
            } => relayed.is_ok(),
            _ = cuts.changed() => false,
        }
    };
    if !relayed {
        // It fails only on a socket that is gone.
        let _ = client.set_zero_linger();
        let _ = upstream.set_zero_linger();
    }
}

/// The client and the connection to its target, both ready to be joined.
async fn open_upstream(client: TcpStream, seat: &Seat) -> io::Result<Option<(TcpStream, TcpStream)>> {
    match &seat.kind {
        Kind::Plain(target) => match TcpStream::connect(target).await {
            Ok(upstream) => Ok(Some((client, upstream))),
            Err(error) => {
                // The target refuses: so does the proxy, as well as it can after having accepted.
                client.set_zero_linger()?;
                Err(error)
            }
        },
        Kind::Http(credentials) => http_connect(client, credentials.as_ref(), &seat.shared).await,
        Kind::Socks5(credentials) => socks5_connect(client, credentials.as_ref(), &seat.shared).await,
    }
}

/// Copies one direction, as the mode says; FIN is passed on, an error ends both directions.
async fn forward(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mode: watch::Receiver<Mode>) -> io::Result<()> {
    let (chunks, mut due_chunks) = mpsc::channel::<(Instant, Vec<u8>)>(32);
    let mut read_mode = mode.clone();
    let mut write_mode = mode;
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            forwarding(&mut read_mode).await;
            let count = from.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            let due = Instant::now() + read_mode.borrow().delay;
            if chunks.send((due, buffer[..count].to_vec())).await.is_err() {
                return io::Result::Ok(());
            }
        }
    };
    let write = async move {
        while let Some((due, chunk)) = due_chunks.recv().await {
            sleep_until(due).await;
            forwarding(&mut write_mode).await;
            to.write_all(&chunk).await?;
        }
        forwarding(&mut write_mode).await;
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(|_| ())
}

/// Waits while the proxy is paused.
async fn forwarding(mode: &mut watch::Receiver<Mode>) {
    // An error means that the proxy is being dropped.
    let _ = mode.wait_for(|mode| mode.forwarding).await;
}

async fn connect(shared: &Shared, host: &str, port: u16) -> io::Result<TcpStream> {
    let route = shared.lock().routes.get(host).copied();
    match route {
        Some(addr) => TcpStream::connect(addr).await,
        None => TcpStream::connect((host, port)).await,
    }
}

async fn http_connect(
    client: TcpStream,
    credentials: Option<&Credentials>,
    shared: &Shared,
) -> io::Result<Option<(TcpStream, TcpStream)>> {
    let mut io = Io::Plain(client);
    let Some(incoming) = handshake::read_request(&mut io).await? else {
        return Ok(None);
    };
    let request = incoming.request;
    let mut words = request.line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default().to_owned());
    let given = request
        .header("Proxy-Authorization")
        .and_then(|value| value.strip_prefix("Basic "))
        .and_then(|value| STANDARD.decode(value.trim()).ok())
        .and_then(|value| String::from_utf8(value).ok());
    let right = credentials.is_none_or(|wanted| given == Some(format!("{}:{}", wanted.user, wanted.password)));
    let user = given.as_deref().and_then(|given| given.split(':').next()).map(str::to_owned);
    let (host, port) = target.rsplit_once(':').unwrap_or((&target, ""));
    let host = host.trim_matches(['[', ']']);
    let mut record = ProxyRequest {
        target: target.clone(),
        by_name: host.parse::<std::net::IpAddr>().is_err(),
        user,
        accepted: false,
    };
    let refusal = if method != "CONNECT" {
        405
    } else if !right {
        407
    } else {
        match (port.parse(), host) {
            (Ok(port), host) => match connect(shared, host, port).await {
                Ok(mut upstream) => {
                    record.accepted = true;
                    shared.change(|state| state.requests.push(record));
                    io.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
                    upstream.write_all(&incoming.rest).await?;
                    return Ok(io.into_plain().map(|client| (client, upstream)));
                }
                Err(_) => 502,
            },
            (Err(_), _) => 400,
        }
    };
    shared.change(|state| state.requests.push(record));
    let headers = match refusal {
        407 => vec![("Proxy-Authenticate".to_owned(), "Basic realm=\"testkit\"".to_owned())],
        _ => Vec::new(),
    };
    handshake::write_response(&mut io, &Reject { status: refusal, headers, body: String::new() }).await?;
    io.shutdown().await?;
    Ok(None)
}

async fn socks5_connect(
    mut client: TcpStream,
    credentials: Option<&Credentials>,
    shared: &Shared,
) -> io::Result<Option<(TcpStream, TcpStream)>> {
    const NO_AUTH: u8 = 0;
    const PASSWORD: u8 = 2;
    const NONE_ACCEPTABLE: u8 = 0xff;
    const BY_NAME: u8 = 3;
    let mut head = [0; 2];
    client.read_exact(&mut head).await?;
    let mut methods = vec![0; usize::from(head[1])];
    client.read_exact(&mut methods).await?;
    let wanted = if credentials.is_some() { PASSWORD } else { NO_AUTH };
    if head[0] != 5 || !methods.contains(&wanted) {
        client.write_all(&[5, NONE_ACCEPTABLE]).await?;
        return Ok(None);
    }
    client.write_all(&[5, wanted]).await?;
    let mut user = None;
    if let Some(credentials) = credentials {
        client.read_u8().await?;
        let given_user = short_text(&mut client).await?;
        let given_password = short_text(&mut client).await?;
        let right = given_user == credentials.user && given_password == credentials.password;
        client.write_all(&[1, u8::from(!right)]).await?;
        user = Some(given_user);
        if !right {
            let record = ProxyRequest { target: String::new(), by_name: false, user, accepted: false };
            shared.change(|state| state.requests.push(record));
            return Ok(None);
        }
    }
    let mut request = [0; 4];
    client.read_exact(&mut request).await?;
    let host = match request[3] {
        1 => Ipv4Addr::from(client.read_u32().await?).to_string(),
        4 => std::net::Ipv6Addr::from(client.read_u128().await?).to_string(),
        BY_NAME => short_text(&mut client).await?,
        _ => return Ok(None),
    };
    let port = client.read_u16().await?;
    // 0 succeeded, 5 connection refused, 7 command not supported
    let (reply, upstream) = match request[1] {
        1 => match connect(shared, &host, port).await {
            Ok(upstream) => (0, Some(upstream)),
            Err(_) => (5, None),
        },
        _ => (7, None),
    };
    let by_name = request[3] == BY_NAME;
    let record = ProxyRequest { target: format!("{host}:{port}"), by_name, user, accepted: upstream.is_some() };
    shared.change(|state| state.requests.push(record));
    client.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    Ok(upstream.map(|upstream| (client, upstream)))
}

/// One byte of length, then so many bytes.
async fn short_text(client: &mut TcpStream) -> io::Result<String> {
    let mut bytes = vec![0; usize::from(client.read_u8().await?)];
    client.read_exact(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
