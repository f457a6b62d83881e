//! Opens a connection: transport, opening handshake and redirects, within `websocket.connection.timeout.ms`.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::addresses::Addresses;
use super::body;
use super::frame::Decoder;
use super::handshake::{self, Offer, Refusal};
use super::http::{Answer, retry_after};
use super::inflate::Inflate;
use super::open_error::{OpenError, OpenErrorKind};
use super::request::Request;
use super::tls_error::{self, tls_error};
use super::transport::{Transport, way};
use super::{Connection, ControlFrames, Discarded, INPUT_BYTES, Unsent};
use crate::endpoint::Endpoint;
use crate::observer::Sight;

/// The most characters of a server's text in an error.
const MAX_FOREIGN_CHARS: usize = 200;
/// The most redirects that are followed.
const MAX_REDIRECTS: usize = 5;
/// How long to wait for the body of a refusal.
const BODY_PATIENCE: Duration = Duration::from_secs(1);

enum Handshake {
    Open(Box<Connection>),
    Redirect(String),
}

impl Connection {
    /// Opens a connection as requested, following redirects.
    ///
    /// # Errors
    /// What has failed, without secrets.
    pub async fn open(
        request: &Request,
        tls: &Arc<ClientConfig>,
        addresses: &mut Addresses,
    ) -> Result<Connection, OpenError> {
        let deadline = Instant::now() + request.timeout;
        match timeout_at(deadline, follow(request, tls, addresses, deadline)).await {
            Ok(opened) => opened,
            Err(_) => Err(timed_out(request, addresses)),
        }
    }
}

fn timed_out(request: &Request, addresses: &Addresses) -> OpenError {
    let (endpoint, proxy) = (&request.endpoint, request.proxy.as_ref());
    let host = proxy.map_or(endpoint.host(), |proxy| &proxy.host);
    let way = addresses.last(host).map_or_else(String::new, |address| way(endpoint, proxy, address));
    let ms = request.timeout.as_millis();
    let message = format!("{endpoint}{way} did not answer within websocket.connection.timeout.ms = {ms}");
    OpenError::new(OpenErrorKind::TimedOut, message)
}

async fn follow(
    request: &Request,
    tls: &Arc<ClientConfig>,
    addresses: &mut Addresses,
    deadline: Instant,
) -> Result<Connection, OpenError> {
    let mut endpoint = request.endpoint.clone();
    let mut is_foreign = false;
    for _ in 0..=MAX_REDIRECTS {
        let answer = shake_hands(request, &endpoint, tls, addresses, deadline).await;
        match answer.map_err(|error| if is_foreign { error.hiding(&request.redactor) } else { error })? {
            Handshake::Open(connection) => return Ok(*connection),
            Handshake::Redirect(location) => {
                let target = endpoint.redirect(&location).map_err(|why| {
                    let why = request.redactor.foreign(&why, MAX_FOREIGN_CHARS);
                    OpenError::new(OpenErrorKind::Handshake, why)
                })?;
                endpoint = target.as_foreign(&request.redactor);
                request.watched.tell(Sight::Redirected(endpoint.redacted()));
                is_foreign = true;
            }
        }
    }
    Err(OpenError::new(OpenErrorKind::Handshake, format!("{endpoint} redirects more than {MAX_REDIRECTS} times")))
}

async fn shake_hands(
    request: &Request,
    endpoint: &Endpoint,
    tls: &Arc<ClientConfig>,
    addresses: &mut Addresses,
    deadline: Instant,
) -> Result<Handshake, OpenError> {
    let proxy = request.proxy.as_ref();
    let (mut transport, address) = Transport::open(request, endpoint, tls, addresses).await?;
    let offer = Offer { request, endpoint, key: handshake::random_key() };
    let whom = format!("{endpoint}{}", way(endpoint, proxy, address));
    let broken = |error: io::Error| match tls_error::cause(&error) {
        // With TLS 1.3, the server may refuse the client certificate after the TLS handshake.
        Some(_) => tls_error(&whom, &error),
        None => OpenError::new(OpenErrorKind::Tcp, format!("the handshake with {whom} failed: {error}")),
    };
    // If the server closes the connection while the request is sent, its response or TLS alert says why.
    let mut unsent = send(&mut transport, &offer.request()).await.err();
    let mut input = vec![0; INPUT_BYTES].into_boxed_slice();
    let mut filled = 0;
    loop {
        let closed = || io::Error::other("the server closed the connection before it answered");
        let read = match transport.read(&mut input[filled..]).await {
            Ok(0) => return Err(broken(unsent.take().unwrap_or_else(closed))),
            Ok(read) => read,
            // The same without close_notify (RFC 8446 §6.1).
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(broken(closed())),
            Err(error) if tls_error::cause(&error).is_some() => return Err(broken(error)),
            Err(error) => return Err(broken(unsent.take().unwrap_or(error))),
        };
        filled += read;
        match offer.read_answer(&input[..filled]) {
            Ok(None) => {}
            Ok(Some((len, answer, agreement))) => {
                let inflate = agreement.deflate.map(|deflate| Inflate::new(deflate.server_no_context_takeover));
                let mut decoder = Decoder::new(request.message_max_bytes, inflate);
                decoder.on_invalid_text(request.on_invalid_text);
                return Ok(Handshake::Open(Box::new(Connection {
                    transport,
                    decoder,
                    input,
                    unread: len..filled,
                    unsent: Unsent::default(),
                    control_frames: ControlFrames::default(),
                    answer,
                    agreement,
                    at_configured_origin: endpoint.same_origin(&request.endpoint),
                    address,
                    readable: true,
                    discarded: Discarded::default(),
                    invalid_text_logged: None,
                })));
            }
            Err(Refusal::Status { answer, .. }) if answer.redirects() => {
                return Ok(Handshake::Redirect(answer.header("location").unwrap_or_default()));
            }
            Err(Refusal::Status { mut answer, reason, len }) => {
                let patience = BODY_PATIENCE.min(deadline.saturating_duration_since(Instant::now()) / 2);
                answer.body = read_body(&mut transport, &answer, &input[len..filled], patience).await;
                return Err(refused(request, &whom, answer, &reason));
            }
            Err(Refusal::Invalid(why)) => {
                return Err(OpenError::new(
                    OpenErrorKind::Handshake,
                    format!("the handshake with {whom} failed: {}", request.redactor.foreign(&why, MAX_FOREIGN_CHARS)),
                ));
            }
        }
    }
}

async fn send(transport: &mut Transport, bytes: &[u8]) -> io::Result<()> {
    transport.write_all(bytes).await?;
    transport.flush().await
}

/// Returns the part of a refusal's body that comes in time.
async fn read_body(transport: &mut Transport, answer: &Answer, begin: &[u8], patience: Duration) -> Vec<u8> {
    let deadline = Instant::now() + patience;
    let mut received = begin.to_vec();
    loop {
        let (body, complete) = body::of(answer, &received);
        // The framing of chunks can be as large as their content.
        if complete || received.len() > 2 * body::MAX_BODY_BYTES {
            return body;
        }
        match timeout_at(deadline, transport.read_buf(&mut received)).await {
            Ok(Ok(1..)) => {}
            _ => return body,
        }
    }
}

/// Returns the error for a status other than 101.
fn refused(request: &Request, whom: &str, answer: Answer, reason: &str) -> OpenError {
    let shown = |text: &str| request.redactor.foreign(text, MAX_FOREIGN_CHARS);
    let status = answer.status;
    let message = format!("{whom} answered the handshake with status {status} {}", shown(reason));
    let body = shown(&String::from_utf8_lossy(&answer.body));
    let body = if body.is_empty() { body } else { format!(": {body}") };
    OpenError {
        kind: OpenErrorKind::Status(status),
        message: format!("{}{body}", message.trim_end()),
        retry_after: answer.header("retry-after").and_then(|value| retry_after(&value)),
        answer: Some(Box::new(answer)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_answer_is_read_although_the_request_could_not_be_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::parse(&format!("ws://{}/", listener.local_addr().unwrap())).unwrap();
        let server = std::thread::spawn(move || {
            use std::io::{Read as _, Write as _};
            let mut tcp = listener.accept().unwrap().0;
            // Sockets hold less than the request, so it cannot be sent to its end.
            tcp.read_exact(&mut [0; 100]).unwrap();
            tcp.write_all(b"HTTP/1.1 431 Too Large\r\nContent-Length: 4\r\n\r\nhuge").unwrap();
        });
        let headers = vec![("X-Huge".to_owned(), crate::secret::Secret::new("x".repeat(64 << 20)))];
        let request = Request { headers, ..Request::to(endpoint) };
        let tls = crate::tls::Settings::default().client_config().unwrap();
        let error = Connection::open(&request, &tls, &mut Addresses::default()).await.unwrap_err();
        server.join().unwrap();
        assert_eq!(error.kind, OpenErrorKind::Status(431), "{error}");
        assert!(error.message.contains("431 Too Large: huge"), "{error}");
        assert_eq!(error.answer.unwrap().body, b"huge");
    }
}
