//! The server: accepts connections and gives each its play.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::deflate::{Deflater, Inflater};
use crate::desk::{self, Desk};
use crate::handshake::{self, Incoming};
use crate::host::Host;
use crate::link::{Io, Link, Stop};
use crate::play;
use crate::script::{Accept, Handshake, Play, Reject, Script};
use crate::shared::{Order, Record, Shared};
use crate::simulator::Simulator;
use crate::stats::{ConnectionStats, Ended, Stats, now_ms};
use crate::tls::{TestPki, TlsProfile};

/// The largest body of `PUT /_script`.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// A WebSocket server that plays a [`Script`], on a runtime of its own; dropping it ends every connection and task.
///
/// All methods may be called from any thread, async or not. Other processes use plain HTTP on the same port:
/// `GET /_stats` (the JSON of [`Stats`]), `PUT /_script` (a [`Script`] for the next connections), `POST /_signal`
/// ([`Server::signal`]), `POST /_reset` ([`Server::reset_all`]), `POST /_close/1001` ([`Server::close_all`]).
/// These do not count as connections and use up no play (save for a handshake with `before_request`, which cannot distinguish them).
pub struct Server {
    shared: Arc<Shared>,
    addr: SocketAddr,
    url: String,
    host: Host,
}

/// The condition did not come true in time; shows the statistics at the end.
#[derive(Debug)]
pub struct TimedOut(pub Box<Stats>);

impl std::fmt::Display for TimedOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the server did not get there in time: {:?}", self.0)
    }
}

impl std::error::Error for TimedOut {}

impl Server {
    /// Starts on a free port of 127.0.0.1.
    pub fn start(script: Script) -> io::Result<Server> {
        Server::bind((std::net::Ipv4Addr::LOCALHOST, 0).into(), script)
    }

    /// Starts on this address, for example that of a server that was stopped.
    pub fn bind(addr: SocketAddr, script: Script) -> io::Result<Server> {
        Server::open(addr, script, None)
    }

    /// Starts with TLS on a free port; the URL's host is `localhost`.
    pub fn start_tls(script: Script, pki: &TestPki, profile: TlsProfile) -> io::Result<Server> {
        Server::bind_tls((std::net::Ipv4Addr::LOCALHOST, 0).into(), script, pki, profile)
    }

    /// Starts with TLS on this address.
    pub fn bind_tls(addr: SocketAddr, script: Script, pki: &TestPki, profile: TlsProfile) -> io::Result<Server> {
        Server::open(addr, script, Some(pki.acceptor(profile)?))
    }

    /// Starts on a free port of 127.0.0.1, with a feed's behaviour in the place of a script.
    pub(crate) fn simulate(simulator: &'static Simulator, speed: u32) -> io::Result<(Server, Arc<Desk>)> {
        let listener = StdListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
        let desk = Arc::new(Desk::new(simulator, &listener.local_addr()?.to_string(), speed));
        let server = Server::listen(listener, Script::default(), None, Some(desk.clone()))?;
        Ok((server, desk))
    }

    fn open(addr: SocketAddr, script: Script, tls: Option<TlsAcceptor>) -> io::Result<Server> {
        Server::listen(StdListener::bind(addr)?, script, tls, None)
    }

    fn listen(
        listener: StdListener,
        script: Script,
        tls: Option<TlsAcceptor>,
        desk: Option<Arc<Desk>>,
    ) -> io::Result<Server> {
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let url = match tls {
            Some(_) => format!("wss://localhost:{}/", addr.port()),
            None => format!("ws://{addr}/"),
        };
        let shared = Shared::new(script);
        let seat = Arc::new(Seat { shared: shared.clone(), tls, url: url.clone(), desk });
        let host = Host::start("ws-testkit", async move {
            // It fails only outside of a runtime.
            if let Ok(listener) = TcpListener::from_std(listener) {
                accept(listener, seat).await;
            }
        })?;
        Ok(Server { shared, addr, url, host })
    }

    /// `ws://127.0.0.1:PORT/` or `wss://localhost:PORT/`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A snapshot of what has happened so far.
    pub fn stats(&self) -> Stats {
        self.shared.snapshot()
    }

    /// Changes what the next connections play, from its first play on. Open connections go on as they were.
    pub fn set_script(&self, script: Script) {
        self.shared.set_script(script);
    }

    /// Lets one `await_signal` step go on, now or when it is reached.
    pub fn signal(&self) {
        self.shared.signals.add_permits(1);
    }

    /// Resets every open WebSocket (RST) at once; the next connections play on.
    pub fn reset_all(&self) {
        self.shared.orders.send_replace(Some(Order::Reset));
    }

    /// Closes every open WebSocket with this code after the message in hand.
    pub fn close_all(&self, code: u16) {
        self.shared.orders.send_replace(Some(Order::Close(code)));
    }

    /// Blocks until the condition holds, and returns the statistics. In a test on a single-threaded async runtime whose tasks
    /// must go on meanwhile, use [`Server::until`].
    pub fn wait_until(&self, condition: impl FnMut(&Stats) -> bool, limit: Duration) -> Result<Stats, TimedOut> {
        let holds = self.shared.wait_until(condition, limit);
        self.outcome(holds)
    }

    /// The same for async tests; must be awaited on a tokio runtime with its timer enabled.
    pub async fn until(&self, mut condition: impl FnMut(&Stats) -> bool, limit: Duration) -> Result<Stats, TimedOut> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            if self.shared.holds(&mut condition) {
                return self.outcome(true);
            }
            if tokio::time::Instant::now() >= deadline {
                return self.outcome(false);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn outcome(&self, holds: bool) -> Result<Stats, TimedOut> {
        let stats = self.stats();
        if holds { Ok(stats) } else { Err(TimedOut(Box::new(stats))) }
    }

    /// Ends every connection and frees the port, then returns the final statistics. Dropping does the same.
    pub fn stop(mut self) -> Stats {
        self.host.stop();
        self.shared.mark_stopped();
        self.stats()
    }
}

/// What every connection of a server needs.
struct Seat {
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
    url: String,
    /// A simulator's, which then answers instead of a play.
    desk: Option<Arc<Desk>>,
}

async fn accept(listener: TcpListener, seat: Arc<Seat>) {
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => {
                seat.shared.stats(|stats| {
                    stats.accepted += 1;
                    stats.open += 1;
                });
                tokio::spawn(connection(tcp, seat.clone()));
            }
            // Out of file descriptors, for example: the next try may work.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connection(tcp: TcpStream, seat: Arc<Seat>) {
    let opened = ConnectionStats { opened_ms: now_ms(), ..ConnectionStats::default() };
    // Without it, small frames would wait for the ack of the ones before.
    let _ = tcp.set_nodelay(true);
    if let Some(play) = seat.shared.take_early_play() {
        let record = Record::new(&seat.shared, opened);
        match play.handshake {
            Handshake::TcpReset { .. } => {
                Io::Plain(tcp).reset_on_drop();
                record.end(Ended::TcpReset);
            }
            Handshake::TcpClose { .. } => {
                drop(tcp);
                record.end(Ended::TcpClosed);
            }
            _ => std::future::pending().await,
        }
        return;
    }
    let io = match &seat.tls {
        None => Ok(Io::Plain(tcp)),
        Some(tls) => tls.accept(tcp).await.map(|tls| Io::Tls(Box::new(tls))),
    };
    let mut io = match io {
        Ok(io) => io,
        Err(error) => {
            return Record::new(&seat.shared, opened).end(Ended::Failed(format!("TLS: {error}")));
        }
    };
    let incoming = match handshake::read_request(&mut io).await {
        Ok(Some(incoming)) => incoming,
        Ok(None) => return Record::new(&seat.shared, opened).end(Ended::ClientGone),
        Err(error) => {
            return Record::new(&seat.shared, opened).end(Ended::Failed(error.to_string()));
        }
    };
    if incoming.request.line.split(' ').nth(1).is_some_and(|path| path.starts_with("/_")) {
        seat.shared.stats(|stats| {
            stats.accepted -= 1;
            stats.open -= 1;
        });
        control(io, incoming, &seat.shared).await;
        return;
    }
    let record = Record::new(&seat.shared, ConnectionStats { request: Some(incoming.request.clone()), ..opened });
    if let Some(desk) = &seat.desk {
        let ended = desk::serve(io, incoming, &record, desk).await;
        return record.end(ended);
    }
    let play = seat.shared.take_play();
    let ended = match &play.handshake {
        Handshake::Accept(accept) if accept.no_pages && incoming.request.header("Origin").is_some() => {
            let body = "a request with an Origin is refused: web pages may not read here".to_owned();
            let refusal = Handshake::Reject(Reject { status: 403, body, ..Reject::default() });
            refused(io, incoming, &refusal, &record, &seat.url).await
        }
        Handshake::Accept(accept) => accepted(io, incoming, accept, &play, &record).await,
        other => refused(io, incoming, other, &record, &seat.url).await,
    };
    record.end(ended);
}

async fn accepted(io: Io, incoming: Incoming, accept: &Accept, play: &Play, record: &Record) -> Ended {
    let answer = handshake::answer(accept, &incoming.request);
    record.change(|stats| {
        stats.status = Some(answer.status);
        stats.extensions = answer.extensions.clone();
    });
    // From here on it hears the orders of the test, also while the answer is under way.
    let mut link = Link::new(io, record.clone(), &incoming.rest);
    tokio::time::sleep(Duration::from_millis(accept.delay_ms)).await;
    let written = match accept.drip_ms {
        _ if accept.pipelined => {
            link.hold(&answer.bytes);
            Ok(())
        }
        Some(ms) => handshake::drip(link.io(), &answer.bytes, ms).await,
        None => handshake::write(link.io(), &answer.bytes).await,
    };
    if written.is_err() {
        return Ended::ClientGone;
    }
    link.inflater = answer.deflate.as_ref().map(Inflater::new);
    if let Err(Stop::Failed(what)) = link.take_frames() {
        return Ended::Failed(what);
    }
    play::run(link, play, answer.deflate.as_ref().map(Deflater::new)).await
}

async fn refused(mut io: Io, incoming: Incoming, handshake: &Handshake, record: &Record, url: &str) -> Ended {
    if matches!(handshake, Handshake::TcpReset { .. }) {
        io.reset_on_drop();
        return Ended::TcpReset;
    }
    let mut scratch = [0; 4096];
    if !matches!(handshake, Handshake::Hang { .. }) {
        match handshake::refuse(&mut io, handshake, &incoming.request, url).await {
            Ok(status) => record.change(|stats| stats.status = status),
            Err(_) => return Ended::ClientGone,
        }
        // The client may have gone already, which is as good.
        let _ = io.shutdown().await;
    }
    let until_client_ends = async { while let Ok(1..) = io.read(&mut scratch).await {} };
    if let Handshake::Hang { .. } = handshake {
        until_client_ends.await;
        return Ended::ClientGone;
    }
    // A client that never ends TCP is left after a while.
    let _ = tokio::time::timeout(play::LINGER, until_client_ends).await;
    match handshake {
        Handshake::TcpClose { .. } => Ended::TcpClosed,
        _ => Ended::Refused,
    }
}

/// Serves the requests of other processes.
async fn control(mut io: Io, incoming: Incoming, shared: &Shared) {
    let mut words = incoming.request.line.split(' ');
    let response = match (words.next(), words.next()) {
        _ if shared.has_no_pages() => response(404, String::new()),
        (Some("GET"), Some("/_stats")) => match serde_json::to_string(&shared.snapshot()) {
            Ok(json) => response(200, json),
            Err(error) => response(500, error.to_string()),
        },
        (Some("PUT"), Some("/_script")) => match read_script(&mut io, &incoming).await {
            Ok(script) => {
                shared.set_script(script);
                response(200, String::new())
            }
            Err(error) => response(400, error.to_string()),
        },
        (Some("POST"), Some("/_signal")) => {
            shared.signals.add_permits(1);
            response(200, String::new())
        }
        (Some("POST"), Some("/_reset")) => {
            shared.orders.send_replace(Some(Order::Reset));
            response(200, String::new())
        }
        (Some("POST"), Some(path)) if path.starts_with("/_close/") => {
            match path.trim_start_matches("/_close/").parse() {
                Ok(code) => {
                    shared.orders.send_replace(Some(Order::Close(code)));
                    response(200, String::new())
                }
                Err(_) => response(400, format!("{path} must end in a close code\n")),
            }
        }
        _ => {
            response(404, "know GET /_stats, PUT /_script, POST /_signal, POST /_reset, POST /_close/1001\n".to_owned())
        }
    };
    // The client may have gone; an answer would reach nobody.
    let _ = handshake::write_response(&mut io, &response).await;
    let _ = io.shutdown().await;
}

fn response(status: u16, body: String) -> Reject {
    Reject { status, headers: vec![("Content-Type".to_owned(), "application/json".to_owned())], body }
}

async fn read_script(io: &mut Io, incoming: &Incoming) -> io::Result<Script> {
    Ok(serde_json::from_slice(&handshake::read_body(io, incoming, MAX_BODY).await?)?)
}
