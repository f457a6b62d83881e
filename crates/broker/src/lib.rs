//! A small Kafka broker inside this process, for the worker's `demo`: one node, loopback only, nothing on disk.
//!
//! ```text
//!  Broker ── accept ─▶ connection ── frame ─▶ Node::answer ─▶ one function per API
//!                      (one request at a time)     │          (topics.rs, membership.rs)
//!                                                  ▼ one lock, never held across a wait
//!                            State ┬ topics: name ─▶ partitions ─▶ Log   (log.rs: batches, retention, producers)
//!                                  └ groups: name ─▶ Group               (group.rs: classic protocol, offsets)
//! ```
//!
//! It forgets everything when it stops, and each partition's oldest batches when their bytes are above the cap. It has no
//! TLS, SASL, access lists, transactions, compaction or time-based retention. Record batches are kept as they came.
//!
//! Every API is offered only in versions before the flexible encoding of KIP-482 (ApiVersions and DescribeCluster aside,
//! whose request bodies are not needed). That keeps clients on topic names, and lets `shape` check a request's array
//! lengths before the decoder allocates for them.

mod group;
mod log;
mod membership;
mod shape;
#[cfg(test)]
mod tests;
mod topics;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use group::Group;
use log::Log;

/// Largest Produce request and largest Fetch answer, in bytes: Kafka's `socket.request.max.bytes`.
const MAX_DATA: usize = 100 << 20;
/// Largest request of any other API, in bytes.
const MAX_REQUEST: usize = 1 << 20;
const MAX_CONNECTIONS: usize = 256;
/// Partitions of all topics together.
const MAX_PARTITIONS: usize = 1000;
const MAX_GROUPS: usize = 100;
/// Longest note on a committed offset, in bytes: Kafka's `offset.metadata.max.bytes`.
const MAX_OFFSET_METADATA: usize = 4096;
/// Longest that a client may have an answer held back.
const MAX_WAIT: Duration = Duration::from_secs(60);

const CLUSTER_ID: &str = "connect-websocket-demo";
const NODE_ID: BrokerId = BrokerId(1);
const NO_TRANSACTIONS: &str = "the demo broker has no transactions; use a real Kafka for transactional.id";

/// What is offered: API, lowest and highest version. The lowest version of Produce, Fetch and others is never used,
/// but librdkafka takes it for a sign of what a broker can do (KIP-896).
const APIS: [(ApiKey, i16, i16); 15] = [
    (ApiKey::Produce, 0, 8),
    (ApiKey::Fetch, 0, 11),
    (ApiKey::ListOffsets, 0, 5),
    (ApiKey::Metadata, 0, 8),
    (ApiKey::OffsetCommit, 0, 6),
    (ApiKey::OffsetFetch, 0, 5),
    (ApiKey::FindCoordinator, 0, 2),
    (ApiKey::JoinGroup, 0, 4), // 5 would bring static membership (KIP-345)
    (ApiKey::Heartbeat, 0, 2),
    (ApiKey::LeaveGroup, 0, 2),
    (ApiKey::SyncGroup, 0, 2),
    (ApiKey::ApiVersions, 0, 3),
    (ApiKey::CreateTopics, 0, 4),
    (ApiKey::InitProducerId, 0, 1),
    (ApiKey::DescribeCluster, 0, 0),
];

/// A running broker. It stops when it is dropped.
pub struct Broker {
    addr: SocketAddr,
    accepting: JoinHandle<()>,
}

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Everybody who can reach the broker can read and write: it must not be reachable from elsewhere.
    #[error("the demo broker listens on loopback only, not on {0}: use 127.0.0.1 or [::1]")]
    NotLoopback(SocketAddr),
    /// The port is taken.
    #[error(
        "the demo broker cannot listen on {0}: the port is in use; stop what uses it, or choose another port (0 = any free one)"
    )]
    PortInUse(SocketAddr),
    /// The address cannot be bound for another reason.
    #[error("the demo broker cannot listen on {addr}: {source}")]
    Listen {
        /// The address that was asked for.
        addr: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Broker {
    /// Starts a broker on `addr` (port 0: any free port) that keeps at most `retention` bytes of record batches per
    /// partition. Call it inside a tokio runtime.
    pub async fn start(addr: SocketAddr, retention: usize) -> Result<Self, StartError> {
        if !addr.ip().is_loopback() {
            return Err(StartError::NotLoopback(addr));
        }
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => StartError::PortInUse(addr),
            _ => StartError::Listen { addr, source },
        };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let node = Arc::new(Node { addr, retention, state: Mutex::default() });
        Ok(Self { addr, accepting: tokio::spawn(accept(listener, node)) })
    }

    /// The bound address, which is also the advertised one.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops: closes every connection, frees the port, forgets all data.
    pub async fn stop(mut self) {
        self.accepting.abort();
        // An error here is the cancellation that was just asked for.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Takes connections until it is aborted, which ends them too.
async fn accept(listener: TcpListener, node: Arc<Node>) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                while connections.try_join_next().is_some() {}
                if connections.len() < MAX_CONNECTIONS {
                    connections.spawn(serve(socket, node.clone()));
                } else {
                    tracing::warn!("the demo broker refused a connection: {MAX_CONNECTIONS} are open");
                }
            }
            Err(error) => {
                tracing::warn!("the demo broker cannot take a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await; // out of file descriptors, most likely
            }
        }
    }
}

/// Serves one client's requests in their order, until it goes away or sends what is no request.
async fn serve(socket: TcpStream, node: Arc<Node>) {
    if let Err(error) = converse(socket, &node).await {
        tracing::debug!("the demo broker closed a connection: {error}");
    }
}

async fn converse(socket: TcpStream, node: &Node) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut socket = BufReader::new(socket);
    loop {
        let size = socket.read_i32().await?;
        let api = socket.read_i16().await?;
        let limit = if api == ApiKey::Produce as i16 { MAX_DATA } else { MAX_REQUEST };
        let size = usize::try_from(size).ok().filter(|size| (10..=limit).contains(size));
        let size = size.ok_or_else(|| malformed("the size of a request is out of bounds"))?;
        // Grows with what arrives, not with what was announced.
        let mut request = Vec::new();
        request.put_i16(api);
        if (&mut socket).take(size as u64 - 2).read_to_end(&mut request).await? < size - 2 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(answer) = node.answer(request.into()).await? {
            socket.write_all(&answer).await?;
        }
    }
}

fn malformed(what: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

/// The one node of the cluster.
struct Node {
    addr: SocketAddr,
    retention: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<String, Vec<Log>>,
    groups: BTreeMap<String, Group>,
    last_producer: i64,
    last_member: u64,
}

impl Node {
    /// The framed answer to a request; none to a Produce that wants none. An error ends the connection.
    async fn answer(&self, mut request: Bytes) -> io::Result<Option<BytesMut>> {
        // Header v1; what v2 adds comes after it and only where the body is not read either.
        let header = RequestHeader::decode(&mut request, 1).map_err(malformed)?;
        let (key, version) = (header.request_api_key, header.request_api_version);
        let api = APIS.iter().find(|(api, ..)| *api as i16 == key);
        let supported = api.filter(|(_, low, high)| (*low..=*high).contains(&version));
        let call = Call { correlation: header.correlation_id, version, body: request };
        if key == ApiKey::ApiVersions as i16 {
            return match supported {
                Some(_) => call.reply(&api_versions(None)),
                None => Call { version: 0, ..call }.reply(&api_versions(Some(ResponseError::UnsupportedVersion))),
            };
        }
        let Some((api, ..)) = supported else {
            return Err(malformed(format!("API {key} version {version} is not offered")));
        };
        match api {
            ApiKey::Produce => {
                let request: ProduceRequest = call.decode("shi[s[iB]]")?;
                let acks = request.acks;
                let response = self.produce(request);
                if acks == 0 { Ok(None) } else { call.reply(&response) }
            }
            ApiKey::Fetch => {
                let sessions = if version < 7 { "" } else { "ii" };
                let partition = match version {
                    ..5 => "iqi",
                    5..9 => "iqqi",
                    _ => "iiqqi",
                };
                let forgotten = if version < 7 { "" } else { "[s[i]]" };
                let request = call.decode(&format!("iiiib{sessions}[s[{partition}]]{forgotten}"))?;
                call.reply(&self.fetch(request).await)
            }
            ApiKey::ListOffsets => call.reply(&self.list_offsets(call.decode(match version {
                ..2 => "i[s[iq]]",
                2..4 => "ib[s[iq]]",
                _ => "ib[s[iiq]]",
            })?)),
            ApiKey::Metadata => call.reply(&self.metadata(call.decode("[s]")?, version)),
            ApiKey::OffsetCommit => call.reply(&self.offset_commit(call.decode(match version {
                ..5 => "sisq[s[iqs]]",
                5 => "sis[s[iqs]]",
                _ => "sis[s[iqis]]",
            })?)),
            ApiKey::OffsetFetch => call.reply(&self.offset_fetch(call.decode("s[s[i]]")?)),
            ApiKey::FindCoordinator => call.reply(&self.find_coordinator(call.decode("s")?)),
            ApiKey::JoinGroup => {
                let request = call.decode(if version == 0 { "siss[sB]" } else { "siiss[sB]" })?;
                call.reply(&self.join_group(request, header.client_id.as_deref().unwrap_or_default()).await)
            }
            ApiKey::SyncGroup => call.reply(&self.sync_group(call.decode("sis[sB]")?).await),
            ApiKey::Heartbeat => call.reply(&self.heartbeat(call.decode("sis")?)),
            ApiKey::LeaveGroup => call.reply(&self.leave_group(call.decode("ss")?)),
            ApiKey::InitProducerId => call.reply(&self.init_producer_id(call.decode("si")?)),
            ApiKey::CreateTopics => call.reply(&self.create_topics(call.decode("[sih[i[i]][ss]]")?)),
            ApiKey::DescribeCluster => call.reply(&self.describe_cluster()),
            _ => Err(malformed(format!("API {key} is not offered"))),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn host(&self) -> StrBytes {
        text(&self.addr.ip().to_string())
    }

    fn port(&self) -> i32 {
        self.addr.port().into()
    }
}

/// A request without its header.
struct Call {
    correlation: i32,
    version: i16,
    body: Bytes,
}

impl Call {
    /// The body, if its arrays are as long as they claim to be (see `shape`).
    fn decode<R: Decodable>(&self, shape: &str) -> io::Result<R> {
        if !shape::fits(shape, &self.body) {
            return Err(malformed("a request is shorter than its fields claim, or has too many of them"));
        }
        R::decode(&mut self.body.clone(), self.version).map_err(malformed)
    }

    /// The frame that answers: size, header, body.
    fn reply<R: Encodable + HeaderVersion>(&self, response: &R) -> io::Result<Option<BytesMut>> {
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        let header = ResponseHeader::default().with_correlation_id(self.correlation);
        header.encode(&mut frame, R::header_version(self.version)).map_err(malformed)?;
        response.encode(&mut frame, self.version).map_err(malformed)?;
        let size = i32::try_from(frame.len() - 4).map_err(malformed)?;
        frame[..4].copy_from_slice(&size.to_be_bytes());
        Ok(Some(frame))
    }
}

fn api_versions(error: Option<ResponseError>) -> ApiVersionsResponse {
    let version = |(api, low, high): (ApiKey, i16, i16)| {
        api_versions_response::ApiVersion::default()
            .with_api_key(api as i16)
            .with_min_version(low)
            .with_max_version(high)
    };
    ApiVersionsResponse::default()
        .with_error_code(error.map_or(0, |error| error.code()))
        .with_api_keys(APIS.into_iter().map(version).collect())
}

/// The error code on the wire: 0 for none.
fn code<T>(result: &Result<T, ResponseError>) -> i16 {
    result.as_ref().err().map_or(0, ResponseError::code)
}

/// A duration in milliseconds as clients send it, zero if it is negative.
fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
