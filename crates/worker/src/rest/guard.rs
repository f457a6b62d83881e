//! Refuses requests whose `Host` is not a name of the listener, and changes that a web page of another origin requests.
//! A browser can reach this worker for any page that its user opens.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};

use super::config::{Listener, RestConfig, is_loopback};
use super::error::RestError;

pub(super) struct Guard {
    hosts: Hosts,
    allow_origin: Vec<String>,
}

enum Hosts {
    Any,
    Loopback,
    /// The allowed names, in lower case.
    Listed(Vec<String>),
}

impl Guard {
    pub(super) fn new(config: &RestConfig, listener: &Listener, allow_origin: &[String]) -> Guard {
        let hosts = match &config.allowed_hosts {
            Some(listed) if listed.iter().any(|host| host == "*") => Hosts::Any,
            Some(listed) => Hosts::Listed(listed.iter().map(|host| host.to_ascii_lowercase()).collect()),
            None if listener.is_loopback() => Hosts::Loopback,
            None => Hosts::Any,
        };
        Guard { hosts, allow_origin: allow_origin.to_vec() }
    }

    /// Returns the request's origin, if it is allowed.
    pub(super) fn allowed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        self.allows_origin(origin.to_str().ok()?).then(|| origin.clone())
    }

    fn allows_origin(&self, origin: &str) -> bool {
        self.allow_origin.iter().any(|allowed| allowed == "*" || allowed == origin)
    }

    /// Checks `Host` (RFC 9112 section 3.2) and `Origin` (RFC 6454).
    pub(super) fn check(&self, request: &Request) -> Result<(), RestError> {
        let host = host(request)?;
        for asked in host.iter().chain(request.uri().authority()) {
            if !self.hosts.contain(asked.host()) {
                let why = "the request asks for a host that this listener is not; use the listener's own name, or add \
                           the name to rest.allowed.hosts";
                return Err(RestError::new(StatusCode::FORBIDDEN, why));
            }
        }
        let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
        let own = |origin: &str| self.allows_origin(origin) || host.as_ref().is_some_and(|host| is_of(origin, host));
        let mut origins = request.headers().get_all(header::ORIGIN).iter();
        if changes && !origins.all(|origin| origin.to_str().is_ok_and(own)) {
            let why = "the request comes from a web page of another origin; add the origin to \
                       access.control.allow.origin if it may change connectors";
            return Err(RestError::new(StatusCode::FORBIDDEN, why));
        }
        Ok(())
    }
}

impl Hosts {
    fn contain(&self, host: &str) -> bool {
        let name = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        match self {
            Hosts::Any => true,
            Hosts::Loopback => is_loopback(name),
            // DNS rebinding needs a name. If a page's URL has an address, the page has come from that address.
            Hosts::Listed(hosts) => {
                name.parse::<IpAddr>().is_ok() || hosts.iter().any(|listed| name.eq_ignore_ascii_case(listed))
            }
        }
    }
}

/// Returns the `Host` header. HTTP/1.0 clients may have none.
fn host(request: &Request) -> Result<Option<Authority>, RestError> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        if request.version() < Version::HTTP_11 && !request.headers().contains_key(header::HOST) {
            return Ok(None);
        }
        return Err(RestError::bad_request("an HTTP/1.1 request has exactly one Host header"));
    };
    let parsed = Authority::try_from(host.as_bytes()).ok().filter(|host| !host.as_str().contains('@'));
    parsed.map(Some).ok_or_else(|| RestError::bad_request("the Host header is not a host with a port or without"))
}

/// Whether a page of this origin has come from this host. If the host has no port, the default port of the origin's
/// scheme counts, because a proxy may use another scheme than the browser.
fn is_of(origin: &str, host: &Authority) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let Ok(page) = authority.parse::<Authority>() else { return false };
    let default = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    page.host().eq_ignore_ascii_case(host.host())
        && page.port_u16().unwrap_or(default) == host.port_u16().unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn guard(hosts: Hosts) -> Guard {
        Guard { hosts, allow_origin: vec!["https://ui.example".to_owned()] }
    }

    fn status(guard: &Guard, method: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::builder().method(method).uri("/connectors");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        guard.check(&request.body(Body::empty()).unwrap()).err().map(|error| error.status().as_u16())
    }

    #[test]
    fn a_loopback_listener_is_asked_by_names_of_loopback() {
        let guard = guard(Hosts::Loopback);
        for host in ["localhost", "LOCALHOST:8083", "127.0.0.1:8083", "127.1.2.3", "[::1]:8083", "localhost."] {
            assert_eq!(status(&guard, "GET", &[("host", host)]), None, "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:8083", "127.0.0.1.evil.example", "0.0.0.0"] {
            assert_eq!(status(&guard, "GET", &[("host", host)]), Some(403), "{host}");
        }
    }

    #[test]
    fn listed_names_and_addresses_may_be_asked() {
        let guard = guard(Hosts::Listed(vec!["connect.example".to_owned()]));
        for host in ["Connect.Example:443", "10.0.0.7:8083"] {
            assert_eq!(status(&guard, "GET", &[("host", host)]), None, "{host}");
        }
        assert_eq!(status(&guard, "GET", &[("host", "localhost")]), Some(403));
    }

    #[test]
    fn a_request_has_one_host_that_is_one() {
        let guard = guard(Hosts::Any);
        assert_eq!(status(&guard, "GET", &[]), Some(400));
        for host in ["", "a b", "user@h"] {
            assert_eq!(status(&guard, "GET", &[("host", host)]), Some(400), "{host}");
        }
        assert_eq!(status(&guard, "GET", &[("host", "a"), ("host", "a")]), Some(400));
        let old = Request::builder().version(Version::HTTP_10).body(Body::empty()).unwrap();
        assert!(guard.check(&old).is_ok());
        let absolute = Request::builder().uri("http://evil.example/").header("host", "localhost");
        assert!(self::guard(Hosts::Loopback).check(&absolute.body(Body::empty()).unwrap()).is_err());
    }

    #[test]
    fn a_page_of_another_origin_may_look_and_not_change() {
        let guard = guard(Hosts::Any);
        let from = |origin, method| status(&guard, method, &[("host", "h.example:8083"), ("origin", origin)]);
        for origin in ["http://h.example:8083", "https://ui.example"] {
            assert_eq!(from(origin, "POST"), None, "{origin}");
        }
        for origin in ["http://h.example", "http://evil.example", "null", "", "file://", "http://h.example:8083.evil"] {
            assert_eq!(from(origin, "DELETE"), Some(403), "{origin}");
            assert_eq!(from(origin, "GET"), None, "{origin}");
        }
        let proxied = [("host", "connect.example"), ("origin", "https://connect.example")];
        assert_eq!(status(&guard, "PUT", &proxied), None);
    }
}
