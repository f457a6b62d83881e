//! Options of the REST server (`RestServerConfig` of Kafka Connect).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue};
use connect_websocket_engine::config_def::{ConfigKey, Default, Kind};

use super::tls::Tls;
use super::users::{self, EXTENSIONS, JAAS_FILE, USERS_FILE, Users};
use crate::config::values::{BASE, Values};

const LISTENERS: &str = "listeners";
const ADMIN_LISTENERS: &str = "admin.listeners";
const ADVERTISED_HOST: &str = "rest.advertised.host.name";
const ADVERTISED_PORT: &str = "rest.advertised.port";
const ADVERTISED_LISTENER: &str = "rest.advertised.listener";
const ALLOW_ORIGIN: &str = "access.control.allow.origin";
const ALLOW_METHODS: &str = "access.control.allow.methods";
const ALLOWED_HOSTS: &str = "rest.allowed.hosts";
const HEADERS: &str = "response.http.headers.config";

pub const OPTIONS: &[ConfigKey] = &[
    ConfigKey {
        name: LISTENERS,
        kind: Kind::List,
        default: Default::Value("http://:8083"),
        documentation: "Addresses of the REST API: http://host:port or https://host:port. No host: all interfaces. Port 0: any free port.",
        check: Some(|text| {
            if text.is_empty() {
                Err("give at least one address such as http://:8083".into())
            } else {
                listeners(text).map(drop)
            }
        }),
        ..BASE
    },
    ConfigKey {
        name: ADMIN_LISTENERS,
        kind: Kind::List,
        documentation: "Addresses of /admin. Not set: the same as listeners. Empty: /admin is off. Otherwise /admin is served only there.",
        check: Some(|text| listeners(text).map(drop)),
        ..BASE
    },
    ConfigKey {
        name: ADVERTISED_HOST,
        documentation: "The host in worker_id and in the Location header. Not set: the listener's.",
        ..BASE
    },
    ConfigKey {
        name: ADVERTISED_PORT,
        kind: Kind::Int,
        documentation: "The port in worker_id. Not set: the listener's.",
        check: Some(port),
        ..BASE
    },
    ConfigKey {
        name: ADVERTISED_LISTENER,
        documentation: "Which listener to advertise: http or https.",
        choices: &["http", "https"],
        ..BASE
    },
    ConfigKey {
        name: ALLOW_ORIGIN,
        default: Default::Value(""),
        documentation: "Origins that may use the API from a browser (CORS), separated by commas, or * for all. Empty: none.",
        ..BASE
    },
    ConfigKey {
        name: ALLOW_METHODS,
        default: Default::Value(""),
        documentation: "Methods that these origins may use. Empty: GET, POST and HEAD.",
        ..BASE
    },
    ConfigKey {
        name: ALLOWED_HOSTS,
        kind: Kind::List,
        documentation: "Host names that requests to the API may use, without ports; * allows all. IP addresses are always allowed. Not set: on a \
                        loopback listener only loopback names, elsewhere all. Prevents DNS rebinding. Not an option of Kafka Connect.",
        ..BASE
    },
    ConfigKey {
        name: EXTENSIONS,
        kind: Kind::List,
        default: Default::Value(""),
        documentation: "Extensions of the REST API. BasicAuthSecurityRestExtension is built in. With any other, the worker does not start.",
        check: Some(users::check_extensions),
        ..BASE
    },
    ConfigKey {
        name: USERS_FILE,
        documentation: "A file of the users who may use the REST API (Basic authentication), with hashed passwords: lines as htpasswd -B writes \
                        them, bcrypt with a cost up to 12. Read at the start. Not an option of Kafka Connect.",
        ..BASE
    },
    ConfigKey {
        name: JAAS_FILE,
        documentation: "The JAAS login file of BasicAuthSecurityRestExtension. It has an entry KafkaConnect with PropertyFileLoginModule, whose file \
                        has lines user=password. Not set: the file that -Djava.security.auth.login.config names in the environment variable \
                        KAFKA_OPTS. Not an option of Kafka Connect.",
        ..BASE
    },
    ConfigKey {
        name: HEADERS,
        default: Default::Value(""),
        documentation: "Headers for every response: a comma-separated list of \"[set|add|setDate|addDate] name: value\".",
        check: Some(|text| header_rules(text).map(drop)),
        ..BASE
    },
];

/// Where and how the REST API is served.
#[derive(Debug, Clone)]
pub struct RestConfig {
    pub listeners: Vec<Listener>,
    /// TLS for the https listeners.
    pub tls: Option<Tls>,
    pub admin: Admin,
    pub admin_tls: Option<Tls>,
    /// Whether to advertise an https listener if there are listeners of both schemes.
    pub advertise_https: bool,
    pub advertised_host: Option<String>,
    pub advertised_port: Option<u16>,
    /// Empty: no CORS.
    pub allow_origin: Vec<String>,
    pub allow_methods: Vec<String>,
    /// `None`: the listener's address decides.
    pub allowed_hosts: Option<Vec<String>>,
    /// `None`: no authentication.
    pub users: Option<Arc<Users>>,
    pub headers: Vec<HeaderRule>,
}

/// Where `/admin` is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admin {
    WithTheRest,
    Off,
    Listeners(Vec<Listener>),
}

/// An address to listen on. An empty host means all interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub https: bool,
    pub host: String,
    pub port: u16,
}

/// One entry of `response.http.headers.config`.
#[derive(Debug, Clone)]
pub struct HeaderRule {
    pub name: HeaderName,
    pub value: HeaderRuleValue,
    /// Whether to add the header instead of replacing one of the same name.
    pub add: bool,
}

#[derive(Debug, Clone)]
pub enum HeaderRuleValue {
    Text(HeaderValue),
    /// The present time plus this number of milliseconds, as an HTTP date.
    DateIn(i64),
}

impl RestConfig {
    pub(crate) fn parse(values: &mut Values<'_>) -> RestConfig {
        values.check(OPTIONS);
        let main = listeners(values.text(LISTENERS)).unwrap_or_default();
        let admin = match values.optional(ADMIN_LISTENERS) {
            None => Admin::WithTheRest,
            Some("") => Admin::Off,
            Some(text) => Admin::Listeners(listeners(text).unwrap_or_default()),
        };
        let tls = tls_of(values, &main, "listeners.https.");
        let admin_tls = match &admin {
            Admin::Listeners(listeners) => tls_of(values, listeners, "admin.listeners.https."),
            Admin::WithTheRest | Admin::Off => None,
        };
        let users = Users::configured(values);
        let filled = |name| values.optional(name).filter(|text| !text.is_empty());
        let names = |name| filled(name).map(|text| text.split(',').map(|part| part.trim().to_owned()).collect());
        RestConfig {
            listeners: main,
            tls,
            admin,
            admin_tls,
            advertised_host: filled(ADVERTISED_HOST).map(str::to_owned),
            advertise_https: filled(ADVERTISED_LISTENER) == Some("https"),
            advertised_port: filled(ADVERTISED_PORT).and_then(|text| text.parse().ok()),
            allow_origin: names(ALLOW_ORIGIN).unwrap_or_default(),
            allow_methods: names(ALLOW_METHODS).unwrap_or_else(|| ["GET", "POST", "HEAD"].map(str::to_owned).to_vec()),
            allowed_hosts: names(ALLOWED_HOSTS),
            users,
            headers: header_rules(values.text(HEADERS)).unwrap_or_default(),
        }
    }
}

/// Returns TLS for the https listeners, if there are any.
fn tls_of(values: &mut Values<'_>, listeners: &[Listener], prefix: &str) -> Option<Tls> {
    if !listeners.iter().any(|listener| listener.https) {
        return None;
    }
    Tls::parse(values.properties, prefix).map_err(|errors| values.errors.extend(errors)).ok()
}

impl Listener {
    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme(), self.host, self.port)
    }
}

/// Whether a host name, or an address without brackets, is a loopback one.
pub(super) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Reads `http://host:port,…`. The host may be empty. An IPv6 address is in brackets.
fn listeners(text: &str) -> Result<Vec<Listener>, String> {
    let addresses = text.split(',').map(str::trim).filter(|address| !address.is_empty());
    addresses
        .map(|address| {
            let wrong = || format!("'{address}' is not an address such as http://:8083 or http://127.0.0.1:8083");
            let (scheme, rest) = address.split_once("://").ok_or_else(wrong)?;
            let https = match scheme.to_ascii_lowercase().as_str() {
                "http" => false,
                "https" => true,
                other => return Err(format!("the scheme of a listener must be http or https, not {other}")),
            };
            let (host, port) = rest.trim_end_matches('/').rsplit_once(':').ok_or_else(wrong)?;
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            Ok(Listener { https, host: host.to_owned(), port: port.parse().map_err(|_| wrong())? })
        })
        .collect()
}

/// Reads a list of headers. Commas inside double quotes do not separate, so an entry with a comma is quoted as a whole.
fn header_rules(text: &str) -> Result<Vec<HeaderRule>, String> {
    let mut entries = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => entries.push(String::new()),
            c => entries.iter_mut().last().into_iter().for_each(|entry| entry.push(c)),
        }
    }
    entries.iter().map(|entry| entry.trim()).filter(|entry| !entry.is_empty()).map(header_rule).collect()
}

fn header_rule(entry: &str) -> Result<HeaderRule, String> {
    let wrong = |why: &str| Err(format!("'{entry}' {why}; write '[set|add|setDate|addDate] name: value'"));
    let Some((head, value)) = entry.split_once(':') else {
        return wrong("has no colon");
    };
    let mut words = head.split_whitespace();
    let (Some(action), Some(name), None) = (words.next(), words.next(), words.next()) else {
        return wrong("does not have an action and a header name before its colon");
    };
    let action = action.to_ascii_lowercase();
    if !["set", "add", "setdate", "adddate"].contains(&action.as_str()) {
        return wrong("begins with an unknown action");
    }
    let Ok(name) = HeaderName::try_from(name) else {
        return wrong("has no valid header name");
    };
    let value = value.trim();
    let value = if action.ends_with("date") {
        match value.parse() {
            Ok(millis) => HeaderRuleValue::DateIn(millis),
            Err(_) => return wrong("needs a number of milliseconds from now as its value"),
        }
    } else {
        match HeaderValue::try_from(value) {
            Ok(value) => HeaderRuleValue::Text(value),
            Err(_) => return wrong("has a value that a header cannot hold"),
        }
    };
    Ok(HeaderRule { name, value, add: action.starts_with("add") })
}

fn port(text: &str) -> Result<(), String> {
    if text.parse::<u16>().is_ok() || text.parse::<i32>().is_err() {
        return Ok(());
    }
    Err("a port is a number from 0 to 65535".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_have_scheme_host_and_port() {
        let all = listeners("http://:8083, HTTP://127.0.0.1:0,http://[::1]:9/").unwrap();
        let shown: Vec<_> = all.iter().map(|l| (l.host.as_str(), l.port)).collect();
        assert_eq!(shown, [("", 8083), ("127.0.0.1", 0), ("::1", 9)]);
        for wrong in ["8083", "http://host", "ftp://h:1", "http://h:99999"] {
            assert!(listeners(wrong).is_err(), "{wrong}");
        }
        assert!(listeners("https://:8443").unwrap()[0].https);
    }

    #[test]
    fn header_rules_keep_quoted_commas() {
        let rules =
            header_rules(r#"add X-A: 1, "set Cache-Control: no-cache, no-store", setDate Expires: 31540000000"#)
                .unwrap();
        assert_eq!(rules.len(), 3);
        assert!(rules[0].add && !rules[1].add);
        let HeaderRuleValue::Text(text) = &rules[1].value else { panic!() };
        assert_eq!(text, "no-cache, no-store");
        assert!(matches!(rules[2].value, HeaderRuleValue::DateIn(31_540_000_000)));
        for wrong in ["X-A: 1", "set X A: 1", "drop X: 1", "setDate X: soon", "set X"] {
            assert!(header_rules(wrong).unwrap_err().contains("write '[set|add"), "{wrong}");
        }
    }
}
