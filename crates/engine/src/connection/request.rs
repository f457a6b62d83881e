//! The parameters of a connection. Only this module makes them from the options.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::frame::OnInvalidText;
use super::open_error::{OpenError, OpenErrorKind};
use crate::config::{Config, Proxy};
use crate::dialogue::Handshake;
use crate::endpoint::Endpoint;
use crate::observer::Watched;
use crate::redact::Redactor;
use crate::secret::Secret;

/// Everything that opening a connection needs, except TLS.
#[derive(Clone)]
pub struct Request {
    pub endpoint: Endpoint,
    /// The configured headers, with `Authorization`. They are only for the origin of `endpoint`, and not for another
    /// one after a redirect.
    pub headers: Vec<(String, Secret)>,
    pub subprotocols: Vec<String>,
    /// Whether to offer permessage-deflate.
    pub compression: bool,
    pub message_max_bytes: usize,
    pub on_invalid_text: OnInvalidText,
    /// The time limit for proxy, TCP, TLS, handshake and redirects together.
    pub timeout: Duration,
    pub proxy: Option<Proxy>,
    /// For all texts from outside: a server may repeat what it was sent.
    pub redactor: Arc<Redactor>,
    /// The observer, if there is one.
    pub(crate) watched: Watched,
}

impl Request {
    pub fn new(config: &Config) -> Request {
        Request {
            endpoint: config.endpoint.clone(),
            headers: headers(config),
            subprotocols: config.subprotocols.clone(),
            compression: config.compression,
            message_max_bytes: config.message_max_bytes,
            on_invalid_text: config.on_invalid_text,
            timeout: config.connection_timeout,
            proxy: config.proxy.clone(),
            redactor: config.redactor.clone(),
            watched: Watched::default(),
        }
    }

    /// A request with defaults only, for tests and fuzz targets.
    pub(super) fn to(endpoint: Endpoint) -> Request {
        Request {
            endpoint,
            headers: Vec::new(),
            subprotocols: Vec::new(),
            compression: true,
            message_max_bytes: 1 << 20,
            on_invalid_text: OnInvalidText::Refuse,
            timeout: Duration::from_secs(30),
            proxy: None,
            redactor: Arc::default(),
            watched: Watched::default(),
        }
    }
}

impl Request {
    /// Returns the same request with the rendered values for this connection.
    ///
    /// # Errors
    /// A rendered value is not a URL or not a header.
    pub(crate) fn rendered(&self, handshake: Handshake) -> Result<Request, OpenError> {
        let invalid = |why: String| OpenError::new(OpenErrorKind::Handshake, self.redactor.foreign(&why, 200));
        let mut request = self.clone();
        if let Some(url) = &handshake.url {
            let endpoint = Endpoint::parse_rendered(url);
            let endpoint =
                endpoint.map_err(|why| invalid(format!("the template in websocket.url does not give a URL: {why}")))?;
            request.endpoint = endpoint.as_foreign(&self.redactor);
        }
        let rendered = |name: &str| handshake.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        request.headers.retain(|(name, _)| !rendered(name));
        if let Some(basic) = request.endpoint.basic_credentials()
            && !request.headers.iter().map(|(name, _)| name).any(|name| name.eq_ignore_ascii_case("authorization"))
            && !rendered("authorization")
        {
            request.headers.push(("Authorization".into(), Secret::new(format!("Basic {basic}"))));
        }
        request.headers.extend(handshake.headers.iter().map(|(name, value)| (name.clone(), Secret::new(value))));
        if let Some(subprotocols) = handshake.subprotocols {
            request.subprotocols = subprotocols;
        }
        Ok(request)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({})", self.endpoint)
    }
}

/// Returns the configured headers and the credentials: a token, or what `websocket.headers` says, or the URL's user
/// info.
fn headers(config: &Config) -> Vec<(String, Secret)> {
    let is_authorization = |name: &str| name.eq_ignore_ascii_case("authorization");
    let mut headers = config.headers.clone();
    if let Some(token) = &config.auth_token {
        headers.retain(|(name, _)| !is_authorization(name));
        headers.push(("Authorization".into(), Secret::new(format!("Bearer {}", token.reveal()))));
    } else if let Some(basic) = config.endpoint.basic_credentials()
        && !headers.iter().any(|(name, _)| is_authorization(name))
    {
        headers.push(("Authorization".into(), Secret::new(format!("Basic {basic}"))));
    }
    headers
}
