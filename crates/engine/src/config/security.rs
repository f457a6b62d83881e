//! Options of credentials and TLS.

use std::path::PathBuf;

use super::headers::check_header_value;
use super::values::Values;
use crate::config_def::{ConfigKey, Default, Importance, Kind, Width};
use crate::tls;

pub(super) const AUTH_TOKEN: &str = "websocket.auth.token";
pub(super) const SSL_CA: &str = "websocket.ssl.ca.location";
pub(super) const SSL_CERTIFICATE: &str = "websocket.ssl.certificate.location";
pub(super) const SSL_KEY: &str = "websocket.ssl.key.location";
pub(super) const SSL_HOST_CHECK: &str = "websocket.ssl.endpoint.identification.algorithm";
pub(super) const PROXY_USERNAME: &str = "websocket.proxy.username";
pub(super) const PROXY_PASSWORD: &str = "websocket.proxy.password";

const BASE: ConfigKey = ConfigKey { group: "Security", ..ConfigKey::BASE };

pub(super) const OPTIONS: &[ConfigKey] = &[
    ConfigKey {
        name: AUTH_TOKEN,
        kind: Kind::Password,
        importance: Importance::Medium,
        display_name: "Bearer token",
        documentation: "A token, sent as `Authorization: Bearer <token>`. It replaces an Authorization header of websocket.headers.",
        check: Some(check_header_value),
        ..BASE
    },
    ConfigKey {
        name: SSL_CA,
        display_name: "CA file",
        documentation: "A PEM file of certificates to trust in addition to the platform's: a private authority's, or a server's self-signed \
                        certificate.",
        ..BASE
    },
    ConfigKey {
        name: SSL_CERTIFICATE,
        display_name: "Client certificate",
        documentation: "A PEM file with the client's certificate chain, for servers that require one.",
        ..BASE
    },
    ConfigKey {
        name: SSL_KEY,
        display_name: "Client key",
        documentation: "A PEM file with the private key of the client's certificate, not encrypted.",
        ..BASE
    },
    ConfigKey {
        name: SSL_HOST_CHECK,
        default: Default::Value("https"),
        width: Width::Short,
        display_name: "Host name check",
        documentation: "https: check that the server's certificate is for the URL's host. none or empty: do not check; then anyone with a trusted \
                        certificate can pose as the server.",
        choices: &["https", "none", ""],
        ..BASE
    },
    ConfigKey {
        name: PROXY_USERNAME,
        display_name: "Proxy user",
        documentation: "The user name for the proxy.",
        ..BASE
    },
    ConfigKey {
        name: PROXY_PASSWORD,
        kind: Kind::Password,
        display_name: "Proxy password",
        documentation: "The password for the proxy.",
        ..BASE
    },
];

pub(super) fn tls(values: &Values<'_>) -> tls::Settings {
    let file = |name| values.non_empty(name).map(PathBuf::from);
    tls::Settings {
        ca: file(SSL_CA),
        certificate: file(SSL_CERTIFICATE),
        key: file(SSL_KEY),
        check_host: values.text(SSL_HOST_CHECK) == Some("https"),
    }
}

/// Returns the option for a file.
pub(super) fn option_of(part: tls::Part) -> &'static str {
    match part {
        tls::Part::Ca => SSL_CA,
        tls::Part::Certificate => SSL_CERTIFICATE,
        tls::Part::Key => SSL_KEY,
    }
}
