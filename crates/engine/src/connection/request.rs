//! What an opening handshake is made of. From the options it is made here, and nowhere else.

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

/// All that opening one connection needs to know, beside TLS.
#[derive(Clone)]
pub struct Request {
    pub endpoint: Endpoint,
    /// Headers of the options, `Authorization` among them: for the origin of `endpoint` alone, never for another one that
    /// a redirect leads to.
    pub headers: Vec<(String, Secret)>,
    pub subprotocols: Vec<String>,
    /// Whether to offer permessage-deflate.
    pub compression: bool,
    pub message_max_bytes: usize,
    pub on_invalid_text: OnInvalidText,
    /// For all of it: proxy, TCP, TLS, handshake, redirects.
    pub timeout: Duration,
    pub proxy: Option<Proxy>,
    /// All foreign text passes it: a server may repeat what we sent.
    pub redactor: Arc<Redactor>,
    /// Who is told how it goes.
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

    /// A request without anything that an option adds, for tests and fuzz targets.
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
    /// The same request with what was rendered for this connection.
    ///
    /// # Errors
    /// What was rendered is no URL, or no header.
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

/// The configured headers and the credentials: a token, else what `websocket.headers` says, else the URL's user info.
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
