//! The REST server on real sockets: https, clients that take their time, and the stop.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use connect_websocket::config::WorkerConfig;
use connect_websocket::rest::server::{Bound, Endpoint, Limits, Server};
use indexmap::IndexMap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
/// Long enough for the slowest machine; nothing waits for it to pass.
const LONG: Duration = Duration::from_secs(60);

fn worker(more: &[(&str, &str)]) -> WorkerConfig {
    let string = "org.apache.kafka.connect.storage.StringConverter";
    let base = [
        ("bootstrap.servers", "h:1"),
        ("key.converter", string),
        ("value.converter", string),
        ("offset.storage.file.filename", "unused"),
        ("listeners", "http://127.0.0.1:0"),
    ];
    let all = base.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    WorkerConfig::parse(&all.collect::<IndexMap<_, _>>()).unwrap()
}

async fn start(worker: &WorkerConfig, router: Router, limits: Limits) -> (Server, SocketAddr) {
    let bound = Bound::bind(&worker.rest.listeners[0]).await.unwrap();
    let address = bound.address;
    let tls = worker.rest.tls.clone();
    (Server::start(vec![Endpoint { bound, router, tls }], limits), address)
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    stream.write_all(REQUEST).await.unwrap();
    let mut answer = String::new();
    timeout(LONG, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

fn hello() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }).post(|_: String| async { "read" }))
        .route("/health", get(|| async { "healthy" }))
}

/// Waits until `text` is answered, and not that all connections are in use.
async fn served(address: SocketAddr, text: &str) {
    let asked = async {
        while !ask(TcpStream::connect(address).await.unwrap()).await.ends_with(text) {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, asked).await.unwrap();
}

#[tokio::test]
async fn a_client_that_says_nothing_is_cut_and_makes_room() {
    let limits = Limits { connections: 1, head: Duration::from_millis(200), stalled: LONG, ..Limits::default() };
    let (_server, address) = start(&worker(&[]), hello(), limits).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    served(address, "hello").await;
    let mut nothing = Vec::new();
    // An end of the stream or a reset.
    let _ = timeout(LONG, silent.read_to_end(&mut nothing)).await.unwrap();
}

#[tokio::test]
async fn slow_clients_leave_a_place_for_health() {
    let limits =
        Limits { connections: 2, for_health: 1, health_head: Duration::from_millis(200), head: LONG, stalled: LONG };
    let (_server, address) = start(&worker(&[]), hello(), limits).await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{").await.unwrap();
        slow.push(stream);
    }
    // One that says nothing takes the reserved place, for a moment only.
    slow.push(TcpStream::connect(address).await.unwrap());
    let refused = ask(TcpStream::connect(address).await.unwrap()).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("connections"), "{refused}");
    let mut health = TcpStream::connect(address).await.unwrap();
    health.write_all(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(LONG, health.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("healthy"), "{answer}");
}

#[tokio::test]
async fn a_connection_that_is_idle_between_requests_is_cut() {
    let limits = Limits { connections: 1, head: Duration::from_millis(200), stalled: LONG, ..Limits::default() };
    let (_server, address) = start(&worker(&[]), hello(), limits).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(LONG, idle.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_takes_no_new_ones() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, goes_on) = (begun.clone(), go_on.clone());
    let slow = move || async move {
        begins.notify_one();
        goes_on.notified().await;
        "done"
    };
    let (server, address) = start(&worker(&[]), Router::new().route("/", get(slow)), Limits::default()).await;
    let asked = tokio::spawn(ask(TcpStream::connect(address).await.unwrap()));
    timeout(LONG, begun.notified()).await.unwrap();
    let stopped = tokio::spawn(server.stop(LONG));
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    go_on.notify_one();
    assert!(asked.await.unwrap().ends_with("done"));
    timeout(LONG, stopped).await.unwrap().unwrap();
}

#[tokio::test]
async fn https_serves_with_a_pem_file() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let file = std::env::temp_dir().join(format!("connect-websocket-server-{}.pem", std::process::id()));
    fs::write(&file, made.signing_key.serialize_pem() + &made.cert.pem()).unwrap();
    let worker = worker(&[
        ("listeners", "https://127.0.0.1:0"),
        ("listeners.https.ssl.keystore.type", "PEM"),
        ("listeners.https.ssl.keystore.location", file.to_str().unwrap()),
    ]);
    fs::remove_file(&file).unwrap();
    let (_server, address) = start(&worker, hello(), Limits::default()).await;

    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let client =
        client.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connector.connect(name, TcpStream::connect(address).await.unwrap()).await.unwrap();
    assert!(ask(stream).await.ends_with("hello"));
}
