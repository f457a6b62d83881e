//! One HTTP request of a step: over the feed's proxy and TLS, without redirects, with a limited response.

use std::sync::Arc;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::time::timeout;

use super::addresses::Addresses;
use super::open_error::{OpenError, OpenErrorKind};
use super::request::Request;
use super::transport::Transport;
use crate::dialogue::HttpRequest;
use crate::endpoint::Endpoint;

/// The most bytes of a response's body.
const MAX_BODY_BYTES: usize = 1 << 20;
/// The most bytes of a response's headers.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// The most characters of an error's text, which may contain the server's words.
const MAX_FOREIGN_CHARS: usize = 200;

/// A response. The texts are the server's, as received.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// Makes the request, with the proxy and the redactor of `like`.
///
/// # Errors
/// A sentence without secrets.
pub(crate) async fn request(
    http: &HttpRequest,
    like: &Request,
    tls: &Arc<ClientConfig>,
) -> Result<HttpResponse, OpenError> {
    let invalid = |why| OpenError::new(OpenErrorKind::Handshake, format!("the request has no URL: {why}"));
    let endpoint = Endpoint::parse_rendered(&http.url).map_err(invalid)?.as_foreign(&like.redactor);
    let answer = timeout(http.timeout, exchange(http, &endpoint, like, tls)).await;
    answer.unwrap_or_else(|_| {
        let ms = http.timeout.as_millis();
        Err(OpenError::new(OpenErrorKind::TimedOut, format!("{} did not answer within {ms} ms", shown(&endpoint))))
    })
}

async fn exchange(
    http: &HttpRequest,
    endpoint: &Endpoint,
    like: &Request,
    tls: &Arc<ClientConfig>,
) -> Result<HttpResponse, OpenError> {
    let failed = |what: String| {
        let what = like.redactor.foreign(&what, MAX_FOREIGN_CHARS);
        OpenError::new(OpenErrorKind::Tcp, format!("the request to {} failed: {what}", shown(endpoint)))
    };
    let mut addresses = Addresses::default();
    let transport = Transport::open(like, endpoint, tls, &mut addresses);
    let (transport, _) = transport.await?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(transport))
        .await
        .map_err(|error| failed(error.to_string()))?;
    let request = build(http, endpoint).map_err(failed)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = answer.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let body = Limited::new(answer.into_body(), MAX_BODY_BYTES).collect().await;
        let body = body.map_err(|error| format!("{error} (an answer may have {MAX_BODY_BYTES} bytes)"))?;
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok::<_, String>(HttpResponse { status, headers, body })
    };
    tokio::pin!(connection, answer);
    // The connection reads and writes. The response can come before the connection ends.
    tokio::select! {
        biased;
        answer = &mut answer => answer.map_err(failed),
        ended = &mut connection => match ended {
            Ok(()) => answer.await.map_err(failed),
            Err(error) => Err(failed(error.to_string())),
        },
    }
}

fn build(http: &HttpRequest, endpoint: &Endpoint) -> Result<hyper::Request<Full<Bytes>>, String> {
    let mut request = hyper::Request::builder()
        .method(http.method.as_str())
        .uri(endpoint.resource())
        .header("Host", endpoint.authority())
        .header("Connection", "close");
    let given = |name: &str| http.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    if !given("user-agent") {
        request = request.header("User-Agent", concat!("connect-websocket/", env!("CARGO_PKG_VERSION")));
    }
    if http.body.is_some() && !given("content-type") {
        request = request.header("Content-Type", "application/json");
    }
    if !given("authorization")
        && let Some(basic) = endpoint.basic_credentials()
    {
        request = request.header("Authorization", format!("Basic {basic}"));
    }
    for (name, value) in &http.headers {
        request = request.header(name, value);
    }
    let body = http.body.clone().unwrap_or_default();
    request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())
}

/// Returns the address with the scheme of HTTP.
fn shown(endpoint: &Endpoint) -> String {
    endpoint.redacted().replacen("ws", "http", 1)
}
