//! The URL of a feed, and its form without secrets.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::redact::Redactor;

/// The most characters of a URL from a server that are shown.
const MAX_FOREIGN_CHARS: usize = 200;
/// Shown in place of a secret.
const HIDDEN: &str = "***";

/// A configured `ws://` or `wss://` URL. Its `Display` and `Debug` hide user info and query values. Only the socket
/// gets the full text.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    redacted: String,
}

impl Endpoint {
    /// Reads a URL. The scheme may be in any letter case. A fragment is dropped (RFC 6455 §3).
    ///
    /// # Errors
    /// A sentence that says what is missing, without the text.
    pub fn parse(text: &str) -> Result<Endpoint, String> {
        let remedy = "give a URL such as wss://host[:port]/path";
        if text.is_empty() {
            return Err(format!("the URL is empty; {remedy}"));
        }
        if text.starts_with(['"', '\'']) {
            return Err("the URL is in quotes; remove them".to_owned());
        }
        let mut url = Url::parse(text).map_err(|error| match error {
            url::ParseError::RelativeUrlWithoutBase => format!("the URL has no scheme; {remedy}"),
            url::ParseError::EmptyHost => format!("the URL has no host; {remedy}"),
            other => format!("the URL is not valid ({other}); {remedy}"),
        })?;
        if !matches!(url.scheme(), "ws" | "wss") {
            return Err(format!("the scheme must be ws or wss, not {}; {remedy}", url.scheme()));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(format!("the URL has no host; {remedy}"));
        }
        url.set_fragment(None);
        let redacted = redact(text, &url);
        Ok(Endpoint { url, redacted })
    }

    /// Reads a URL that was rendered or captured: `http` and `https` mean `ws` and `wss`.
    ///
    /// # Errors
    /// The same as [`Endpoint::parse`].
    pub fn parse_rendered(text: &str) -> Result<Endpoint, String> {
        match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => Endpoint::parse(&format!("ws://{rest}")),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => Endpoint::parse(&format!("wss://{rest}")),
            _ => Endpoint::parse(text),
        }
    }

    /// Returns an endpoint for a template, which is rendered for each connection. It is shown as configured, without
    /// the query.
    pub fn of_template(text: &str) -> Result<Endpoint, String> {
        let shown = mask_url(text);
        let placeholder = Endpoint::parse("ws://template.invalid/")?;
        Ok(Endpoint { redacted: shown, ..placeholder })
    }

    /// Returns the URL without secrets: as configured, or with user info and query values replaced. It is the source
    /// partition, and the only form in logs, metrics and errors.
    pub fn redacted(&self) -> &str {
        &self.redacted
    }

    /// Returns the same endpoint, which shows no more of path and query than `redacted`: the text from which it was
    /// parsed, with marks in place of secrets. Host and port are always shown.
    #[must_use]
    pub fn hiding_what_differs(mut self, text: &str, redacted: &str) -> Endpoint {
        let (path, query) = path_and_query(text);
        let (shown_path, shown_query) = path_and_query(redacted);
        // A mark before the path may contain the beginning of the path.
        let path = if shown_path == path || shown_path.contains(HIDDEN) { shown_path } else { "/***" };
        let query = if shown_query == query || shown_query.contains(HIDDEN) { shown_query } else { HIDDEN };
        let query = if query.is_empty() { String::new() } else { redact_query(query) };
        self.redacted = format!("{}{path}{query}", redact_authority(&self.url));
        self
    }

    /// Returns the same endpoint for a URL from a server, which is shown like other text from outside.
    #[must_use]
    pub fn as_foreign(mut self, redactor: &Redactor) -> Endpoint {
        self.redacted = redactor.foreign(&self.redacted, MAX_FOREIGN_CHARS);
        self
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "wss"
    }

    /// Returns the host without the brackets of an IPv6 address, for the resolver and the certificate check.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(80)
    }

    /// Returns the `Host` header, with the port unless it is the scheme's default (RFC 6455 §4.1).
    pub fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Returns path and query, the resource name of RFC 6455 §3.
    pub fn resource(&self) -> String {
        match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        }
    }

    /// Returns the user info as the credentials of basic authentication (RFC 7617), in base64.
    pub(crate) fn basic_credentials(&self) -> Option<String> {
        if self.url.username().is_empty() && self.url.password().is_none() {
            return None;
        }
        let decode = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
        let mut pair = decode(self.url.username());
        pair.push(b':');
        pair.extend(decode(self.url.password().unwrap_or_default()));
        Some(BASE64.encode(pair))
    }

    /// Whether credentials meant for `self` may be sent to `other`.
    pub fn same_origin(&self, other: &Endpoint) -> bool {
        self.url.scheme() == other.url.scheme() && self.host() == other.host() && self.port() == other.port()
    }

    /// Returns the endpoint of a redirect's `Location`, relative or absolute. `http` and `https` mean `ws` and `wss`.
    ///
    /// # Errors
    /// The location is not a WebSocket URL, or has no TLS while this endpoint has.
    pub fn redirect(&self, location: &str) -> Result<Endpoint, String> {
        let mut target =
            self.url.join(location).map_err(|error| format!("the redirect's location is not valid ({error})"))?;
        let scheme = match target.scheme() {
            "http" => "ws",
            "https" => "wss",
            other => other,
        }
        .to_owned();
        if target.set_scheme(&scheme).is_err() {
            // `url` does not change between special and other schemes; ws and http are both special, so this is foreign.
            return Err(format!("the redirect's scheme {} is not a WebSocket's", target.scheme()));
        }
        let target = Endpoint::parse(target.as_str())?;
        if self.is_tls() && !target.is_tls() {
            return Err(format!("the redirect to {target} would leave TLS"));
        }
        Ok(target)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.redacted)
    }
}

fn redact(text: &str, url: &Url) -> String {
    let has_user_info = !url.username().is_empty() || url.password().is_some();
    if !has_user_info && url.query().is_none_or(str::is_empty) {
        return text.split('#').next().unwrap_or(text).to_owned();
    }
    let query = url.query().filter(|query| !query.is_empty()).map(redact_query).unwrap_or_default();
    format!("{}{}{query}", redact_authority(url), url.path())
}

/// Scheme, host and port.
fn redact_authority(url: &Url) -> String {
    let has_user_info = !url.username().is_empty() || url.password().is_some();
    let user_info = if has_user_info { format!("{HIDDEN}@") } else { String::new() };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{user_info}{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// Returns path and query of a URL, which may contain marks.
fn path_and_query(text: &str) -> (&str, &str) {
    let text = text.split('#').next().unwrap_or(text);
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    (rest.find('/').map_or("", |at| &rest[at..]), query)
}

/// Hides the values of a query: `a=1&b=2` becomes `?a=***&b=***`. A part without `=` may be a token, so all of it is
/// hidden.
fn redact_query(query: &str) -> String {
    let parts: Vec<String> = query
        .split('&')
        .map(|part| match part.split_once('=') {
            Some((name, _)) => format!("{name}={HIDDEN}"),
            None => HIDDEN.to_owned(),
        })
        .collect();
    format!("?{}", parts.join("&"))
}

/// Returns a URL, valid or not, without what may be secret: user info and query.
pub(crate) fn mask_url(text: &str) -> String {
    let (base, query) = text.split_once('?').map_or((text, ""), |(base, _)| (base, "?***"));
    let (scheme, rest) = base.split_once("://").map_or(("", base), |(scheme, rest)| (scheme, rest));
    let separator = if scheme.is_empty() { "" } else { "://" };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}{separator}***@{host}{query}"),
        None => format!("{base}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_secrets_is_shown_as_configured() {
        for text in ["ws://host", "WSS://Host:443/Path/", "wss://stream.example.com:9443/ws/btcusdt@trade"] {
            assert_eq!(Endpoint::parse(text).unwrap().redacted(), text);
        }
    }

    #[test]
    fn user_info_and_query_values_are_hidden() {
        let endpoint = Endpoint::parse("wss://bob:s3cret@host:9443/feed?token=abc&x=1&lonesecret").unwrap();
        assert_eq!(endpoint.redacted(), "wss://***@host:9443/feed?token=***&x=***&***");
        assert_eq!(endpoint.resource(), "/feed?token=abc&x=1&lonesecret");
        for secret in ["bob", "s3cret", "abc", "lonesecret"] {
            assert!(!format!("{endpoint} {endpoint:?}").contains(secret));
        }
    }

    #[test]
    fn what_a_provider_put_into_a_url_is_hidden_and_its_host_is_not() {
        for (text, redacted, shown) in [
            ("wss://host/key/feed", "wss://host/***/feed", "wss://host/***/feed"),
            ("wss://host/feed?k=v", "wss://host/feed?k=***", "wss://host/feed?k=***"),
            ("wss://host/feed?k=v", "wss://host/feed?***", "wss://host/feed?***"),
            ("wss://host/key?k=v#f", "***", "wss://host/***?***"),
            ("wss://host:9443/feed", "wss://***:***/feed", "wss://host:9443/feed"),
            ("wss://host/key/feed", "wss://***/feed", "wss://host/***"),
            ("wss://u:p@host/feed", "wss://***@host/feed", "wss://***@host/feed"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap().hiding_what_differs(text, redacted);
            assert_eq!(endpoint.redacted(), shown, "{text} as {redacted}");
        }
    }

    #[test]
    fn user_info_is_basic_authentication() {
        let endpoint = Endpoint::parse("ws://Aladdin:open%20sesame@host/").unwrap();
        assert_eq!(endpoint.basic_credentials().as_deref(), Some("QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        assert_eq!(Endpoint::parse("ws://host/").unwrap().basic_credentials(), None);
    }

    #[test]
    fn errors_name_what_is_missing_and_repeat_nothing() {
        for (text, why) in [
            ("", "is empty"),
            ("host/path", "no scheme"),
            ("http://host", "must be ws or wss"),
            ("ws://", "no host"),
            ("ws://user:hunter2@ho st/", "not valid"),
        ] {
            let error = Endpoint::parse(text).unwrap_err();
            assert!(
                error.contains(why) && error.contains("give a URL") && !error.contains("hunter2"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn default_ports_and_host_header_follow_the_scheme() {
        let plain = Endpoint::parse("ws://host/").unwrap();
        assert_eq!((plain.port(), plain.authority()), (80, "host".to_owned()));
        let tls = Endpoint::parse("wss://[::1]:8443/").unwrap();
        assert_eq!((tls.port(), tls.host(), tls.authority()), (8443, "::1", "[::1]:8443".to_owned()));
    }

    #[test]
    fn redirects_never_leave_tls() {
        let from = Endpoint::parse("wss://a.example/x").unwrap();
        assert_eq!(from.redirect("/y").unwrap().redacted(), "wss://a.example/y");
        assert_eq!(from.redirect("https://b.example/y").unwrap().redacted(), "wss://b.example/y");
        assert!(from.redirect("ws://a.example/y").unwrap_err().contains("leave TLS"));
        assert!(from.redirect("http://a.example/y").unwrap_err().contains("leave TLS"));
        assert!(from.redirect("ftp://a.example/y").is_err());
        let plain = Endpoint::parse("ws://a.example/x").unwrap();
        assert_eq!(plain.redirect("wss://a.example/y").unwrap().redacted(), "wss://a.example/y");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let a = Endpoint::parse("wss://a.example/x").unwrap();
        assert!(a.same_origin(&Endpoint::parse("wss://A.example:443/y").unwrap()));
        assert!(!a.same_origin(&Endpoint::parse("wss://a.example:444/y").unwrap()));
        assert!(!a.same_origin(&Endpoint::parse("wss://b.example/y").unwrap()));
    }
}
