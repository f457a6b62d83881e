//! Options of the connection: address, handshake, proxy.

use super::headers::{check_subprotocols, parse_headers};
use super::security::{PROXY_PASSWORD, PROXY_USERNAME};
use super::values::Values;
use crate::config_def::{ConfigKey, Default, Importance, Kind, Width, hide};
use crate::dialogue::list;
use crate::endpoint::{Endpoint, mask_url};
use crate::feeds;
use crate::secret::Secret;

pub const URL: &str = "websocket.url";
pub(super) const SUBSCRIPTION_MESSAGE: &str = "websocket.subscription.message";
pub(super) const HEADERS: &str = "websocket.headers";
pub(super) const SUBPROTOCOLS: &str = "websocket.subprotocols";
pub(super) const COMPRESSION: &str = "websocket.compression";
pub(super) const CONNECTION_TIMEOUT_MS: &str = "websocket.connection.timeout.ms";
pub(super) const PROXY_URL: &str = "websocket.proxy.url";

const BASE: ConfigKey = ConfigKey { group: "Connection", ..ConfigKey::BASE };

pub(super) const OPTIONS: &[ConfigKey] = &[
    ConfigKey {
        name: feeds::FEED,
        importance: Importance::High,
        display_name: "Feed",
        documentation: "The name of a known feed. Its profile sets all other options, websocket.url included. An option that you set replaces the \
                        profile's; an empty value removes it. `connect-websocket feeds` prints the list. Can also be the path of your own profile.",
        recommended: feeds::NAMES,
        ..BASE
    },
    ConfigKey {
        name: URL,
        has_expressions: true,
        importance: Importance::High,
        width: Width::Long,
        display_name: "URL",
        documentation: "The feed's WebSocket URL, ws:// or wss://. A template. Required unless websocket.feed sets it. A user name and password in \
                        it are sent as basic authentication. They and the values of the query are treated as secrets.",
        check: Some(check_url),
        mask: Some(mask_url),
        ..BASE
    },
    ConfigKey {
        name: SUBSCRIPTION_MESSAGE,
        has_expressions: true,
        importance: Importance::Medium,
        width: Width::Long,
        display_name: "Subscription message",
        documentation: "A text message to send after every connect and reconnect. A template. Empty: none.",
        mask: Some(hide),
        ..BASE
    },
    ConfigKey {
        name: HEADERS,
        has_expressions: true,
        width: Width::Long,
        display_name: "Headers",
        documentation: "Headers of the opening handshake: name1:value1,name2:value2. A template. Write a comma inside a value as `\\,`. Host, \
                        User-Agent, Origin, Cookie and Sec-WebSocket-Protocol replace the connector's own. After a redirect to another origin, these \
                        headers are not sent.",
        check: Some(|text| parse_headers(text).map(drop)),
        mask: Some(hide),
        ..BASE
    },
    ConfigKey {
        name: SUBPROTOCOLS,
        has_expressions: true,
        kind: Kind::List,
        default: Default::Value(""),
        display_name: "Subprotocols",
        documentation: "Subprotocols to offer, in order of preference (RFC 6455 §1.9). The server chooses one or none.",
        check: Some(check_subprotocols),
        ..BASE
    },
    ConfigKey {
        name: COMPRESSION,
        default: Default::Value("permessage-deflate"),
        width: Width::Short,
        display_name: "Compression",
        documentation: "The compression to offer: permessage-deflate (RFC 7692) or none.",
        choices: &["permessage-deflate", "none"],
        ..BASE
    },
    ConfigKey {
        name: CONNECTION_TIMEOUT_MS,
        kind: Kind::Long,
        default: Default::Value("30000"),
        width: Width::Short,
        display_name: "Connection timeout (ms)",
        documentation: "How long opening a connection may take, in milliseconds: proxy, TCP, TLS and opening handshake together. 0 means ten \
                        minutes.",
        at_least: Some(0),
        ..BASE
    },
    ConfigKey {
        name: PROXY_URL,
        display_name: "Proxy",
        documentation: "A proxy to connect through: http://host:port (HTTP CONNECT) or socks5://host:port (RFC 1928; the proxy resolves the host \
                        name).",
        check: Some(|text| parse_proxy_url(text).map(drop)),
        mask: Some(mask_url),
        ..BASE
    },
];

#[derive(Debug, Clone)]
pub struct Proxy {
    pub scheme: ProxyScheme,
    pub host: String,
    pub port: u16,
    pub credentials: Option<(String, Secret)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyScheme {
    Http,
    Socks5,
}

pub(super) fn headers(values: &Values<'_>) -> Vec<(String, Secret)> {
    let headers = parse_headers(values.text(HEADERS).unwrap_or_default()).unwrap_or_default();
    headers.into_iter().map(|(name, value)| (name, Secret::new(value))).collect()
}

pub(super) fn subprotocols(values: &Values<'_>) -> Vec<String> {
    list::split(values.text(SUBPROTOCOLS).unwrap_or_default())
}

pub(super) fn proxy(values: &Values<'_>) -> Option<Proxy> {
    let (scheme, host, port) = parse_proxy_url(values.non_empty(PROXY_URL)?).ok()?;
    let credentials = values
        .non_empty(PROXY_USERNAME)
        .map(|user| (user.to_owned(), Secret::new(values.text(PROXY_PASSWORD).unwrap_or_default())));
    Some(Proxy { scheme, host, port, credentials })
}

fn check_url(text: &str) -> Result<(), String> {
    // A template is rendered for each connection.
    if text.contains("{{") {
        return Ok(());
    }
    Endpoint::parse(text).map(drop)
}

fn parse_proxy_url(text: &str) -> Result<(ProxyScheme, String, u16), String> {
    let remedy = "give http://host:port or socks5://host:port";
    if text.is_empty() {
        return Ok((ProxyScheme::Http, String::new(), 0));
    }
    let url = url::Url::parse(text).map_err(|error| match error {
        url::ParseError::RelativeUrlWithoutBase => format!("the proxy's URL has no scheme; {remedy}"),
        other => format!("the proxy's URL is not valid ({other}); {remedy}"),
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("credentials belong in {PROXY_USERNAME} and {PROXY_PASSWORD}"));
    }
    let (scheme, default_port) = match url.scheme() {
        "http" => (ProxyScheme::Http, 80),
        "socks5" | "socks5h" => (ProxyScheme::Socks5, 1080),
        other => {
            return Err(format!("the proxy's scheme {other} is not supported; {remedy}"));
        }
    };
    match url.host_str() {
        Some(host) if !host.is_empty() => {
            // A resolver needs an IPv6 address without brackets.
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Ok((scheme, host.to_owned(), url.port().unwrap_or(default_port)))
        }
        _ => Err(format!("the proxy's URL has no host; {remedy}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_may_be_a_proxy() {
        for (url, port) in [("http://[::1]:3128", 3128), ("socks5://[::1]", 1080)] {
            assert_eq!(parse_proxy_url(url).map(|(_, host, port)| (host, port)), Ok(("::1".to_owned(), port)));
        }
    }
}
