//! How a connection is opened: transport, opening handshake, redirects, within the time that the options give.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::addresses::Addresses;
use super::frame::Decoder;
use super::handshake::{self, Answer, Offer, Refusal};
use super::inflate::Inflate;
use super::open_error::{OpenError, OpenErrorKind};
use super::request::Request;
use super::transport::{self, Transport};
use super::{Connection, ControlFrames, INPUT_BYTES, Outgoing};
use crate::endpoint::Endpoint;

/// So much is shown of a text that a server wrote.
const MAX_FOREIGN_CHARS: usize = 200;
/// Redirects that are followed in a row.
const MAX_REDIRECTS: usize = 5;

enum Handshake {
    Open(Box<Connection>),
    Redirect(String),
}

impl Connection {
    /// Opens a connection as requested, following redirects.
    ///
    /// # Errors
    /// What failed; it never shows a secret.
    pub async fn open(
        request: &Request,
        tls: &Arc<ClientConfig>,
        addresses: &mut Addresses,
    ) -> Result<Connection, OpenError> {
        let deadline = Instant::now() + request.timeout;
        let opened = timeout_at(deadline, follow(request, tls, addresses)).await;
        opened.unwrap_or_else(|_| {
            let ms = request.timeout.as_millis();
            let message = format!("{} did not answer within websocket.connection.timeout.ms = {ms}", request.endpoint);
            Err(OpenError::new(OpenErrorKind::TimedOut, message))
        })
    }
}

async fn follow(
    request: &Request,
    tls: &Arc<ClientConfig>,
    addresses: &mut Addresses,
) -> Result<Connection, OpenError> {
    let mut endpoint = request.endpoint.clone();
    for _ in 0..=MAX_REDIRECTS {
        match shake_hands(request, &endpoint, tls, addresses).await? {
            Handshake::Open(connection) => return Ok(*connection),
            Handshake::Redirect(location) => {
                let target = endpoint.redirect(&location).map_err(|why| {
                    let why = request.redactor.foreign(&why, MAX_FOREIGN_CHARS);
                    OpenError::new(OpenErrorKind::Handshake, why)
                })?;
                endpoint = target.as_foreign(&request.redactor);
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
) -> Result<Handshake, OpenError> {
    let mut transport = Transport::open(endpoint, request.proxy.as_ref(), tls, addresses).await?;
    let at_configured_origin = endpoint.same_origin(&request.endpoint);
    let offer = Offer {
        endpoint,
        subprotocols: &request.subprotocols,
        compression: request.compression,
        headers: if at_configured_origin { &request.headers } else { &[] },
        key: handshake::random_key(),
    };
    let broken = |error: io::Error| {
        if transport::is_certificate_problem(&error) {
            // With TLS 1.3 the server's verdict on our certificate comes after the TLS handshake.
            return transport::tls_error(endpoint, &error);
        }
        OpenError::new(OpenErrorKind::Tcp, format!("the handshake with {endpoint} failed: {error}"))
    };
    transport.write_all(&offer.request()).await.map_err(broken)?;
    transport.flush().await.map_err(broken)?;
    let mut input = vec![0; INPUT_BYTES].into_boxed_slice();
    let mut filled = 0;
    loop {
        let read = transport.read(&mut input[filled..]).await.map_err(broken)?;
        if read == 0 {
            return Err(broken(io::Error::other("the server closed the connection before it answered")));
        }
        filled += read;
        match offer.read_answer(&input[..filled]) {
            Ok(None) => {}
            Ok(Some((len, answer, agreement))) => {
                let inflate = agreement.deflate.map(|deflate| Inflate::new(deflate.server_no_context_takeover));
                return Ok(Handshake::Open(Box::new(Connection {
                    transport,
                    decoder: Decoder::new(request.message_max_bytes, inflate),
                    input,
                    unread: len..filled,
                    outgoing: Outgoing::default(),
                    control_frames: ControlFrames::default(),
                    answer,
                    agreement,
                    at_configured_origin,
                })));
            }
            Err(Refusal::Status { answer, .. }) if answer.redirects() => {
                return Ok(Handshake::Redirect(answer.header("location").unwrap_or_default()));
            }
            Err(Refusal::Status { answer, reason }) => return Err(refused(request, endpoint, answer, &reason)),
            Err(Refusal::Invalid(why)) => {
                return Err(OpenError::new(
                    OpenErrorKind::Handshake,
                    format!(
                        "the handshake with {endpoint} failed: {}",
                        request.redactor.foreign(&why, MAX_FOREIGN_CHARS)
                    ),
                ));
            }
        }
    }
}

/// The server answered with a status of its own.
fn refused(request: &Request, endpoint: &Endpoint, answer: Answer, reason: &str) -> OpenError {
    let status = answer.status;
    let reason = request.redactor.foreign(reason, MAX_FOREIGN_CHARS);
    let message = format!("{endpoint} answered the handshake with status {status} {reason}");
    OpenError {
        kind: OpenErrorKind::Status(status),
        message: message.trim_end().to_owned(),
        retry_after: answer.header("retry-after").and_then(|value| handshake::retry_after(&value)),
        answer: Some(Box::new(answer)),
    }
}
