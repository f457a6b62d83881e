//! The connector's options: one table, and the typed [`Config`] made from it.
//!
//! REST validation, Java's `ConfigDef`, `docs/config.md` and the dashboard's form all come from [`OPTIONS`]; to add an
//! option, add a row here and a field below.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::config_def::{
    ConfigError, ConfigKey, Default, HIDDEN, Importance, Kind, Properties, Width, parse_boolean, parse_list,
};
use crate::endpoint::Endpoint;
use crate::tls;

pub const URL: &str = "websocket.url";
pub const TOPIC: &str = "kafka.topic";
const SUBSCRIPTION_MESSAGE: &str = "websocket.subscription.message";
const HEADERS: &str = "websocket.headers";
const AUTH_TOKEN: &str = "websocket.auth.token";
const SUBPROTOCOLS: &str = "websocket.subprotocols";
const COMPRESSION: &str = "websocket.compression";
const CONNECTION_TIMEOUT_MS: &str = "websocket.connection.timeout.ms";
const RECONNECT_ENABLED: &str = "websocket.reconnect.enabled";
const RECONNECT_INTERVAL_MS: &str = "websocket.reconnect.interval.ms";
const RECONNECT_BACKOFF_MAX_MS: &str = "websocket.reconnect.backoff.max.ms";
const RECONNECT_MAX_ATTEMPTS: &str = "websocket.reconnect.max.attempts";
const RECONNECT_FIRST_DELAY_MS: &str = "websocket.reconnect.first.delay.ms";
const PING_INTERVAL_MS: &str = "websocket.ping.interval.ms";
const PONG_TIMEOUT_MS: &str = "websocket.pong.timeout.ms";
const IDLE_TIMEOUT_MS: &str = "websocket.idle.timeout.ms";
const QUEUE_SIZE: &str = "websocket.message.queue.size";
const QUEUE_MAX_BYTES: &str = "websocket.message.queue.max.bytes";
const QUEUE_FULL: &str = "websocket.message.queue.full";
const MESSAGE_MAX_BYTES: &str = "websocket.message.max.bytes";
pub const FRAME_BINARY: &str = "websocket.frame.binary";
const RECEIVE_LINGER_MS: &str = "websocket.receive.linger.ms";
const HANDOVER_DIR: &str = "websocket.handover.dir";
const HANDOVER_MAX_BYTES: &str = "websocket.handover.max.bytes";
const SSL_CA: &str = "websocket.ssl.ca.location";
const SSL_CERTIFICATE: &str = "websocket.ssl.certificate.location";
const SSL_KEY: &str = "websocket.ssl.key.location";
const SSL_HOST_CHECK: &str = "websocket.ssl.endpoint.identification.algorithm";
const PROXY_URL: &str = "websocket.proxy.url";
const PROXY_USERNAME: &str = "websocket.proxy.username";
const PROXY_PASSWORD: &str = "websocket.proxy.password";

const CONNECTION: &str = "Connection";
const RECONNECT: &str = "Reconnect";
const LIVENESS: &str = "Liveness";
const MESSAGES: &str = "Messages";
const RESTART: &str = "Restart";
const SECURITY: &str = "Security";

/// The number of a connector's only task: one connection reads a feed.
pub const TASK_NUMBER: u32 = 0;

const BASE: ConfigKey = ConfigKey { group: CONNECTION, ..ConfigKey::BASE };

/// Every option of the connector, in the order in which people should meet them.
pub const OPTIONS: &[ConfigKey] = &[
    ConfigKey {
        name: URL,
        default: Default::Required,
        importance: Importance::High,
        width: Width::Long,
        display_name: "URL",
        documentation: "The feed's WebSocket URL, ws:// or wss://. User info becomes basic authentication; it and the \
                        values of the query are treated as secrets.",
        check: Some(check_url),
        mask: Some(mask_url),
        ..BASE
    },
    ConfigKey {
        name: TOPIC,
        default: Default::Required,
        importance: Importance::High,
        display_name: "Topic",
        documentation: "The Kafka topic that messages are written to.",
        group: MESSAGES,
        check: Some(check_topic),
        ..BASE
    },
    ConfigKey {
        name: SUBSCRIPTION_MESSAGE,
        importance: Importance::Medium,
        width: Width::Long,
        display_name: "Subscription message",
        documentation: "Sent as one text message after every connect and reconnect. Empty means none.",
        mask: Some(|_| HIDDEN.to_owned()),
        ..BASE
    },
    ConfigKey {
        name: HEADERS,
        width: Width::Long,
        display_name: "Headers",
        documentation: "Extra headers of the opening handshake: name1:value1,name2:value2. Sent to the configured \
                        origin alone, never to another one after a redirect.",
        check: Some(|text| parse_headers(text).map(drop)),
        mask: Some(|_| HIDDEN.to_owned()),
        ..BASE
    },
    ConfigKey {
        name: AUTH_TOKEN,
        kind: Kind::Password,
        importance: Importance::Medium,
        display_name: "Bearer token",
        documentation: "Sent as `Authorization: Bearer <token>`; replaces an Authorization header of websocket.headers.",
        group: SECURITY,
        check: Some(check_header_value),
        ..BASE
    },
    ConfigKey {
        name: SUBPROTOCOLS,
        kind: Kind::List,
        default: Default::Value(""),
        display_name: "Subprotocols",
        documentation: "Subprotocols to offer, in order of preference (RFC 6455 §1.9). A server may choose one or none.",
        check: Some(check_subprotocols),
        ..BASE
    },
    ConfigKey {
        name: COMPRESSION,
        default: Default::Value("permessage-deflate"),
        width: Width::Short,
        display_name: "Compression",
        documentation: "The extension to offer: permessage-deflate (RFC 7692) or none.",
        recommended: &["permessage-deflate", "none"],
        check: Some(|text| one_of(text, &["permessage-deflate", "none"])),
        ..BASE
    },
    ConfigKey {
        name: CONNECTION_TIMEOUT_MS,
        kind: Kind::Long,
        default: Default::Value("30000"),
        width: Width::Short,
        display_name: "Connection timeout (ms)",
        documentation: "How long opening a connection may take: proxy, TCP, TLS and opening handshake together. 0 means \
                        ten minutes.",
        check: Some(not_negative),
        ..BASE
    },
    ConfigKey {
        name: RECONNECT_ENABLED,
        kind: Kind::Boolean,
        default: Default::Value("true"),
        importance: Importance::Medium,
        group: RECONNECT,
        width: Width::Short,
        display_name: "Reconnect",
        documentation: "Whether to connect again when a connection ends. If false, the task fails with the reason.",
        ..BASE
    },
    ConfigKey {
        name: RECONNECT_INTERVAL_MS,
        kind: Kind::Long,
        default: Default::Value("5000"),
        importance: Importance::Medium,
        group: RECONNECT,
        width: Width::Short,
        display_name: "Backoff (ms)",
        documentation: "The base of the backoff: repeated failures wait base × 2^(n-1), up to the cap, plus up to 25 % \
                        jitter. At least 100 ms are waited.",
        check: Some(not_negative),
        ..BASE
    },
    ConfigKey {
        name: RECONNECT_BACKOFF_MAX_MS,
        kind: Kind::Long,
        default: Default::Value("60000"),
        importance: Importance::Medium,
        group: RECONNECT,
        width: Width::Short,
        display_name: "Backoff cap (ms)",
        documentation: "The longest backoff between two attempts, before jitter.",
        check: Some(not_negative),
        ..BASE
    },
    ConfigKey {
        name: RECONNECT_MAX_ATTEMPTS,
        kind: Kind::Int,
        default: Default::Value("-1"),
        importance: Importance::Medium,
        group: RECONNECT,
        width: Width::Short,
        display_name: "Attempts",
        documentation: "How many attempts in a row may fail before the task fails; -1 or 0 means without end. A received \
                        message sets the count back.",
        ..BASE
    },
    ConfigKey {
        name: RECONNECT_FIRST_DELAY_MS,
        kind: Kind::Long,
        default: Default::Value("2"),
        group: RECONNECT,
        width: Width::Short,
        display_name: "First delay (ms)",
        documentation: "A connection that delivered messages for a second or longer is reopened after a random delay \
                        between 0 and this; only then the backoff begins.",
        check: Some(not_negative),
        ..BASE
    },
    ConfigKey {
        name: PING_INTERVAL_MS,
        kind: Kind::Long,
        default: Default::Value("30000"),
        group: LIVENESS,
        width: Width::Short,
        display_name: "Ping interval (ms)",
        documentation: "How often to send a ping (RFC 6455 §5.5.2); 0 sends none, for feeds that forbid it.",
        check: Some(not_negative),
        ..BASE
    },
    ConfigKey {
        name: PONG_TIMEOUT_MS,
        kind: Kind::Long,
        default: Default::Value("30000"),
        group: LIVENESS,
        width: Width::Short,
        display_name: "Pong timeout (ms)",
        documentation: "A connection that has not answered a ping for this long is closed and opened again.",
        check: Some(positive),
        ..BASE
    },
    ConfigKey {
        name: IDLE_TIMEOUT_MS,
        kind: Kind::Long,
        default: Default::Value("0"),
        group: LIVENESS,
        width: Width::Short,
        display_name: "Idle timeout (ms)",
        documentation: "A connection without a message for this long is closed and opened again, even while it answers \
                        pings; 0 is off.",
        check: Some(not_negative),
        ..BASE
    },
    ConfigKey {
        name: QUEUE_SIZE,
        kind: Kind::Int,
        default: Default::Value("10000"),
        group: MESSAGES,
        width: Width::Short,
        display_name: "Queue size",
        documentation: "How many messages may wait in memory.",
        check: Some(positive),
        ..BASE
    },
    ConfigKey {
        name: QUEUE_MAX_BYTES,
        kind: Kind::Long,
        default: Default::Value("67108864"),
        group: MESSAGES,
        width: Width::Short,
        display_name: "Queue bytes",
        documentation: "How many bytes of messages may wait in memory. At least websocket.message.max.bytes.",
        check: Some(positive),
        ..BASE
    },
    ConfigKey {
        name: QUEUE_FULL,
        default: Default::Value("backpressure"),
        group: MESSAGES,
        width: Width::Short,
        display_name: "When the queue is full",
        documentation: "backpressure stops reading the socket, so that nothing is lost and TCP slows the server down; \
                        drop.oldest and drop.newest throw messages away and count them.",
        recommended: &["backpressure", "drop.oldest", "drop.newest"],
        check: Some(|text| one_of(text, &["backpressure", "drop.oldest", "drop.newest"])),
        ..BASE
    },
    ConfigKey {
        name: MESSAGE_MAX_BYTES,
        kind: Kind::Int,
        default: Default::Value("16777216"),
        group: MESSAGES,
        width: Width::Short,
        display_name: "Largest message (bytes)",
        documentation: "The largest message, decompressed. A larger one closes the connection with code 1009.",
        check: Some(positive),
        ..BASE
    },
    ConfigKey {
        name: FRAME_BINARY,
        default: Default::Value("bytes"),
        group: MESSAGES,
        width: Width::Short,
        display_name: "Binary messages",
        documentation: "What a binary message becomes: bytes (a record of schema BYTES), base64 or text (a record of \
                        schema STRING; bytes that are not UTF-8 become U+FFFD), or skip (counted, not written).",
        recommended: &["bytes", "base64", "text", "skip"],
        check: Some(|text| one_of(text, &["bytes", "base64", "text", "skip"])),
        ..BASE
    },
    ConfigKey {
        name: RECEIVE_LINGER_MS,
        kind: Kind::Long,
        default: Default::Value("7"),
        group: MESSAGES,
        width: Width::Short,
        display_name: "Receive linger (ms)",
        documentation: "After reading a little, wait this long before reading again, so that a busy feed costs few \
                        wake-ups. Bounds the added latency; 0 reads at once. A burst is never held back.",
        check: Some(|text| between(text, 0, 1000)),
        ..BASE
    },
    ConfigKey {
        name: HANDOVER_DIR,
        group: RESTART,
        width: Width::Long,
        display_name: "Hand-over directory",
        documentation: "Where a task that stops leaves the messages that it received and could not give to Kafka; the \
                        next start on this machine sends them first. Made with mode 0700; one that others own or can \
                        write to is not used. Not given: kafka-connect-websocket in the system's temporary directory. \
                        Empty: off, and such messages are counted as lost.",
        ..BASE
    },
    ConfigKey {
        name: HANDOVER_MAX_BYTES,
        kind: Kind::Long,
        default: Default::Value("134217728"),
        group: RESTART,
        width: Width::Short,
        display_name: "Hand-over bytes",
        documentation: "The largest hand-over file. What does not fit is counted as lost.",
        check: Some(positive),
        ..BASE
    },
    ConfigKey {
        name: SSL_CA,
        group: SECURITY,
        display_name: "CA file",
        documentation: "A PEM file of certificate authorities to trust beside the platform's.",
        ..BASE
    },
    ConfigKey {
        name: SSL_CERTIFICATE,
        group: SECURITY,
        display_name: "Client certificate",
        documentation: "A PEM file with the client's certificate chain, for servers that ask for one.",
        ..BASE
    },
    ConfigKey {
        name: SSL_KEY,
        group: SECURITY,
        display_name: "Client key",
        documentation: "A PEM file with the client certificate's private key, not encrypted.",
        ..BASE
    },
    ConfigKey {
        name: SSL_HOST_CHECK,
        default: Default::Value("https"),
        group: SECURITY,
        width: Width::Short,
        display_name: "Host name check",
        documentation: "https checks that the server's certificate is for the URL's host; none (or empty) does not, \
                        which lets anyone with a trusted certificate pose as the server.",
        recommended: &["https", "none"],
        check: Some(|text| one_of(text, &["https", "none", ""])),
        ..BASE
    },
    ConfigKey {
        name: PROXY_URL,
        display_name: "Proxy",
        documentation: "A proxy to connect through: http://host:port (HTTP CONNECT) or socks5://host:port (RFC 1928; the \
                        proxy resolves the host name).",
        check: Some(|text| parse_proxy_url(text).map(drop)),
        mask: Some(mask_url),
        ..BASE
    },
    ConfigKey {
        name: PROXY_USERNAME,
        group: SECURITY,
        display_name: "Proxy user",
        documentation: "The user name for the proxy.",
        ..BASE
    },
    ConfigKey {
        name: PROXY_PASSWORD,
        kind: Kind::Password,
        group: SECURITY,
        display_name: "Proxy password",
        documentation: "The password for the proxy.",
        ..BASE
    },
];

/// A connector's configuration, checked and typed. Nothing that opens a socket sees text any more.
#[derive(Debug, Clone)]
pub struct Config {
    /// The connector's name, as Kafka Connect passes it in `name`; for logs and metrics.
    pub name: String,
    pub topic: String,
    pub endpoint: Endpoint,
    /// The configured URL itself: the source partition under which the existing connector stored offsets. Secret.
    pub configured_url: Secret,
    pub subscription_message: Option<Secret>,
    /// Header names and values; values may be secret.
    pub headers: Vec<(String, Secret)>,
    /// Entries of `websocket.headers` without a colon, which are left out.
    pub ignored_headers: usize,
    pub auth_token: Option<Secret>,
    pub subprotocols: Vec<String>,
    pub compression: bool,
    pub connection_timeout: Duration,
    pub reconnect: Reconnect,
    pub ping_interval: Option<Duration>,
    pub pong_timeout: Duration,
    pub idle_timeout: Option<Duration>,
    pub queue: QueueBounds,
    pub message_max_bytes: usize,
    pub binary: BinaryMessages,
    pub receive_linger: Duration,
    /// `None` is off.
    pub handover: Option<Handover>,
    pub tls: tls::Settings,
    pub proxy: Option<Proxy>,
}

/// When and how often to connect again.
#[derive(Debug, Clone)]
pub struct Reconnect {
    pub enabled: bool,
    pub first_delay: Duration,
    pub interval: Duration,
    pub backoff_max: Duration,
    /// Attempts in a row that may fail; `None` is without end.
    pub max_attempts: Option<u32>,
}

/// The bounds of the queue between socket and `poll`, and what happens at them.
#[derive(Debug, Clone, Copy)]
pub struct QueueBounds {
    pub records: usize,
    pub bytes: usize,
    pub when_full: WhenFull,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    Backpressure,
    DropOldest,
    DropNewest,
}

/// What a binary message becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryMessages {
    Bytes,
    Base64,
    Text,
    Skip,
}

/// Where a stopped task leaves records for the next start.
#[derive(Debug, Clone)]
pub struct Handover {
    pub directory: PathBuf,
    pub max_bytes: u64,
}

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

/// A text that no log, error or `Debug` shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the one place that must send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Config {
    /// Checks and types a configuration.
    ///
    /// # Errors
    /// All that is wrong, at once, in the order of the table.
    pub fn parse(properties: &Properties) -> Result<Config, Vec<ConfigError>> {
        let mut values = Values { properties, errors: Vec::new() };
        for key in OPTIONS {
            if let Err(errors) = key.value(properties.get(key.name).map(String::as_str)) {
                values.errors.extend(errors);
            }
        }
        values.check_together();
        if !values.errors.is_empty() {
            return Err(values.errors);
        }
        values.build()
    }

    /// A text of the server's with every secret of ours in it hidden: it may repeat what we sent.
    pub fn without_secrets(&self, text: &str) -> String {
        let url = self.endpoint.url();
        let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user_info = [url.username(), url.password().unwrap_or_default()];
        let query =
            url.query().unwrap_or_default().split('&').map(|part| part.split_once('=').map_or(part, |(_, v)| v));
        let given = [&self.auth_token, &self.subscription_message].into_iter().flatten();
        let given = given.chain(self.headers.iter().map(|(_, value)| value)).map(|secret| secret.reveal().to_owned());
        let proxy =
            self.proxy.iter().flat_map(|proxy| &proxy.credentials).map(|(_, secret)| secret.reveal().to_owned());
        let mut secrets: Vec<String> =
            user_info.into_iter().chain(query).flat_map(|part| [part.to_owned(), decoded(part)]).collect();
        secrets.extend(self.endpoint.basic_credentials());
        secrets.extend(given.chain(proxy).flat_map(|secret| {
            let parts: Vec<String> =
                secret.split(|c| !is_of_key(c)).filter(|part| looks_like_key(part)).map(str::to_owned).collect();
            parts.into_iter().chain([secret])
        }));
        // Short ones are words and numbers that occur by themselves.
        secrets.retain(|secret| secret.len() >= 4);
        // The longest first, since one may hold another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }
}

/// Characters of keys, tokens and signatures; what is between them in a message or header is syntax.
fn is_of_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.~+/".contains(c)
}

/// Whether a part of a message or header may be a key, and not a word such as `subscribe` or a symbol such as `BTC-USD`.
fn looks_like_key(part: &str) -> bool {
    part.len() >= 20 || part.len() >= 8 && part.contains(|c: char| c.is_ascii_digit())
}

/// The checked text of each option, to be typed. A text that fails to become its type was refused by the table before,
/// so what stands here falls back silently.
struct Values<'a> {
    properties: &'a Properties,
    errors: Vec<ConfigError>,
}

impl Values<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        let key = OPTIONS.iter().find(|key| key.name == name)?;
        key.value(self.properties.get(name).map(String::as_str)).ok().flatten()
    }

    fn non_empty(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|text| !text.is_empty())
    }

    fn number(&self, name: &str) -> i64 {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    fn size(&self, name: &str) -> usize {
        usize::try_from(self.number(name)).unwrap_or_default()
    }

    fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(u64::try_from(self.number(name)).unwrap_or_default())
    }

    /// A duration of which 0 means off.
    fn millis_or_off(&self, name: &str) -> Option<Duration> {
        Some(self.millis(name)).filter(|duration| !duration.is_zero())
    }

    /// Rules that concern two options.
    fn check_together(&mut self) {
        let (queue, message) = (self.size(QUEUE_MAX_BYTES), self.size(MESSAGE_MAX_BYTES));
        if queue > 0 && queue < message {
            self.refuse(QUEUE_MAX_BYTES, &format!("Value must be at least {MESSAGE_MAX_BYTES}, which is {message}"));
        }
        if self.non_empty(SSL_CERTIFICATE).is_some() != self.non_empty(SSL_KEY).is_some() {
            let name = if self.non_empty(SSL_KEY).is_some() { SSL_KEY } else { SSL_CERTIFICATE };
            self.refuse(name, &format!("{SSL_CERTIFICATE} and {SSL_KEY} must be given together"));
        }
        if self.non_empty(PROXY_USERNAME).is_some() && self.non_empty(PROXY_URL).is_none() {
            self.refuse(PROXY_USERNAME, &format!("{PROXY_URL} must be given too"));
        }
        if self.non_empty(PROXY_PASSWORD).is_some() && self.non_empty(PROXY_USERNAME).is_none() {
            self.refuse(PROXY_PASSWORD, &format!("{PROXY_USERNAME} must be given too"));
        }
        let tls = self.tls();
        for (option, file, why) in tls.problems() {
            let name = match option {
                tls::Part::Ca => SSL_CA,
                tls::Part::Certificate => SSL_CERTIFICATE,
                tls::Part::Key => SSL_KEY,
            };
            self.errors.push(ConfigError::invalid(name, &file.display().to_string(), why));
        }
    }

    fn refuse(&mut self, name: &str, why: &str) {
        if let Some(key) = OPTIONS.iter().find(|key| key.name == name) {
            let error = key.refuse(self.text(name).unwrap_or_default(), why);
            self.errors.push(error);
        }
    }

    fn tls(&self) -> tls::Settings {
        let file = |name| self.non_empty(name).map(PathBuf::from);
        tls::Settings {
            ca: file(SSL_CA),
            certificate: file(SSL_CERTIFICATE),
            key: file(SSL_KEY),
            check_host: self.text(SSL_HOST_CHECK) == Some("https"),
        }
    }

    fn handover(&self) -> Option<Handover> {
        let directory = match self.text(HANDOVER_DIR) {
            Some("") => return None,
            Some(directory) => PathBuf::from(directory),
            None => std::env::temp_dir().join("kafka-connect-websocket"),
        };
        let max_bytes = u64::try_from(self.number(HANDOVER_MAX_BYTES)).unwrap_or_default();
        Some(Handover { directory, max_bytes })
    }

    fn proxy(&self) -> Option<Proxy> {
        let (scheme, host, port) = parse_proxy_url(self.non_empty(PROXY_URL)?).ok()?;
        let credentials = self
            .non_empty(PROXY_USERNAME)
            .map(|user| (user.to_owned(), Secret::new(self.text(PROXY_PASSWORD).unwrap_or_default())));
        Some(Proxy { scheme, host, port, credentials })
    }

    fn build(self) -> Result<Config, Vec<ConfigError>> {
        let url = self.text(URL).unwrap_or_default();
        let endpoint = Endpoint::parse(url).map_err(|why| vec![ConfigError::new(URL, why)])?;
        let header_text = self.text(HEADERS).unwrap_or_default();
        let headers = parse_headers(header_text).unwrap_or_default();
        let entries = header_text.split(',').filter(|entry| !entry.trim().is_empty()).count();
        Ok(Config {
            name: self.properties.get("name").cloned().unwrap_or_default(),
            topic: self.text(TOPIC).unwrap_or_default().to_owned(),
            configured_url: Secret::new(url),
            endpoint,
            subscription_message: self.non_empty(SUBSCRIPTION_MESSAGE).map(Secret::new),
            ignored_headers: entries - headers.len(),
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), Secret::new(value))).collect(),
            auth_token: self.non_empty(AUTH_TOKEN).map(Secret::new),
            subprotocols: parse_list(self.text(SUBPROTOCOLS).unwrap_or_default())
                .iter()
                .map(|s| s.to_string())
                .collect(),
            compression: self.text(COMPRESSION) == Some("permessage-deflate"),
            connection_timeout: self.millis_or_off(CONNECTION_TIMEOUT_MS).unwrap_or(Duration::from_secs(600)),
            reconnect: Reconnect {
                enabled: self.text(RECONNECT_ENABLED).and_then(parse_boolean).unwrap_or(true),
                first_delay: self.millis(RECONNECT_FIRST_DELAY_MS),
                interval: self.millis(RECONNECT_INTERVAL_MS),
                backoff_max: self.millis(RECONNECT_BACKOFF_MAX_MS),
                max_attempts: u32::try_from(self.number(RECONNECT_MAX_ATTEMPTS)).ok().filter(|&n| n > 0),
            },
            ping_interval: self.millis_or_off(PING_INTERVAL_MS),
            pong_timeout: self.millis(PONG_TIMEOUT_MS),
            idle_timeout: self.millis_or_off(IDLE_TIMEOUT_MS),
            queue: QueueBounds {
                records: self.size(QUEUE_SIZE),
                bytes: self.size(QUEUE_MAX_BYTES),
                when_full: match self.text(QUEUE_FULL) {
                    Some("drop.oldest") => WhenFull::DropOldest,
                    Some("drop.newest") => WhenFull::DropNewest,
                    _ => WhenFull::Backpressure,
                },
            },
            message_max_bytes: self.size(MESSAGE_MAX_BYTES),
            binary: match self.text(FRAME_BINARY) {
                Some("base64") => BinaryMessages::Base64,
                Some("text") => BinaryMessages::Text,
                Some("skip") => BinaryMessages::Skip,
                _ => BinaryMessages::Bytes,
            },
            receive_linger: self.millis(RECEIVE_LINGER_MS),
            handover: self.handover(),
            tls: self.tls(),
            proxy: self.proxy(),
        })
    }
}

// --- rules -----------------------------------------------------------------------------------------------------------

fn check_url(text: &str) -> Result<(), String> {
    Endpoint::parse(text).map(drop)
}

/// A URL, valid or not, without what may be secret in it: user info and query.
fn mask_url(text: &str) -> String {
    let (base, query) = text.split_once('?').map_or((text, ""), |(base, _)| (base, "?***"));
    let (scheme, rest) = base.split_once("://").map_or(("", base), |(scheme, rest)| (scheme, rest));
    let separator = if scheme.is_empty() { "" } else { "://" };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}{separator}***@{host}{query}"),
        None => format!("{base}{query}"),
    }
}

/// Kafka's rule for topic names (`org.apache.kafka.common.internals.Topic`).
fn check_topic(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("String must be non-empty".into());
    }
    let legal = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if !legal || text.len() > 249 || matches!(text, "." | "..") {
        return Err("a topic name has 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-'".into());
    }
    Ok(())
}

/// `name1:value1,name2:value2`. A pair without a colon is left out, as the existing connector does.
pub(crate) fn parse_headers(text: &str) -> Result<Vec<(&str, &str)>, String> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once(':'));
    pairs
        .map(|(name, value)| {
            let (name, value) = (name.trim(), value.trim());
            if !is_token(name) {
                return Err(format!("the header name '{name}' is not a token (RFC 7230 §3.2.6)"));
            }
            check_header_value(value).map_err(|why| format!("the value of header '{name}': {why}"))?;
            Ok((name, value))
        })
        .collect()
}

fn check_header_value(text: &str) -> Result<(), String> {
    if text.chars().any(|c| c.is_ascii_control() && c != '\t') {
        return Err("a header's value must not contain line breaks or other control characters".into());
    }
    Ok(())
}

/// RFC 7230 §3.2.6.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn check_subprotocols(text: &str) -> Result<(), String> {
    match parse_list(text).into_iter().find(|entry| !is_token(entry)) {
        Some(entry) => Err(format!("the subprotocol '{entry}' is not a token (RFC 6455 §4.1)")),
        None => Ok(()),
    }
}

fn parse_proxy_url(text: &str) -> Result<(ProxyScheme, String, u16), String> {
    let remedy = "give http://host:port or socks5://host:port";
    if text.is_empty() {
        return Ok((ProxyScheme::Http, String::new(), 0));
    }
    let url = url::Url::parse(text).map_err(|error| format!("the proxy's URL is not valid ({error}); {remedy}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("credentials belong into {PROXY_USERNAME} and {PROXY_PASSWORD}"));
    }
    let (scheme, default_port) = match url.scheme() {
        "http" => (ProxyScheme::Http, 80),
        "socks5" | "socks5h" => (ProxyScheme::Socks5, 1080),
        other => {
            return Err(format!("the proxy's scheme {other} is not supported; {remedy}"));
        }
    };
    match url.host_str() {
        Some(host) if !host.is_empty() => Ok((scheme, host.to_owned(), url.port().unwrap_or(default_port))),
        _ => Err(format!("the proxy's URL has no host; {remedy}")),
    }
}

fn one_of(text: &str, allowed: &[&str]) -> Result<(), String> {
    if allowed.contains(&text) {
        return Ok(());
    }
    let named: Vec<&str> = allowed.iter().copied().filter(|value| !value.is_empty()).collect();
    Err(format!("String must be one of: {}", named.join(", ")))
}

fn not_negative(text: &str) -> Result<(), String> {
    between(text, 0, i64::MAX)
}

fn positive(text: &str) -> Result<(), String> {
    between(text, 1, i64::MAX)
}

fn between(text: &str, least: i64, most: i64) -> Result<(), String> {
    match text.parse::<i64>() {
        Ok(value) if value < least => Err(format!("Value must be at least {least}")),
        Ok(value) if value > most => Err(format!("Value must be no more than {most}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> Properties {
        let base = [(URL, "wss://host/feed"), (TOPIC, "trades")];
        base.iter().chain(pairs).map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    fn errors(pairs: &[(&str, &str)]) -> Vec<String> {
        Config::parse(&properties(pairs)).unwrap_err().into_iter().map(|e| e.message).collect()
    }

    #[test]
    fn the_table_is_sound() {
        let mut names: Vec<&str> = OPTIONS.iter().map(|key| key.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OPTIONS.len(), "an option stands twice");
        for key in OPTIONS {
            assert!(!key.documentation.is_empty() && !key.display_name.is_empty(), "{} is not described", key.name);
            assert!(key.name.starts_with("websocket.") || key.name == TOPIC, "{}", key.name);
            if let Some(default) = key.default_text() {
                assert!(key.value(None).is_ok() && key.value(Some(default)).is_ok(), "default of {}", key.name);
            }
            for value in key.recommended {
                assert!(key.value(Some(value)).is_ok(), "{} recommends {value} and refuses it", key.name);
            }
        }
    }

    #[test]
    fn the_existing_connectors_options_keep_type_default_and_importance() {
        use Importance::{High, Low, Medium};
        use Kind::{Boolean, Int, Long, Password, String};
        for (name, kind, default, importance) in [
            (URL, String, Default::Required, High),
            (TOPIC, String, Default::Required, High),
            (SUBSCRIPTION_MESSAGE, String, Default::Null, Medium),
            (RECONNECT_ENABLED, Boolean, Default::Value("true"), Medium),
            (RECONNECT_INTERVAL_MS, Long, Default::Value("5000"), Medium),
            (HEADERS, String, Default::Null, Low),
            (AUTH_TOKEN, Password, Default::Null, Medium),
            (QUEUE_SIZE, Int, Default::Value("10000"), Low),
            (CONNECTION_TIMEOUT_MS, Long, Default::Value("30000"), Low),
            (RECONNECT_MAX_ATTEMPTS, Int, Default::Value("-1"), Medium),
            (RECONNECT_BACKOFF_MAX_MS, Long, Default::Value("60000"), Medium),
        ] {
            let key = OPTIONS.iter().find(|key| key.name == name).expect(name);
            assert_eq!((key.kind, key.default, key.importance), (kind, default, importance), "{name}");
        }
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let config = Config::parse(&properties(&[])).unwrap();
        assert_eq!(config.reconnect.interval, Duration::from_secs(5));
        assert_eq!(config.reconnect.max_attempts, None);
        assert_eq!(config.ping_interval, Some(Duration::from_secs(30)));
        assert_eq!(config.idle_timeout, None);
        assert_eq!((config.queue.records, config.queue.bytes), (10_000, 64 << 20));
        assert_eq!(config.queue.when_full, WhenFull::Backpressure);
        assert_eq!(config.message_max_bytes, 16 << 20);
        assert_eq!(config.binary, BinaryMessages::Bytes);
        assert!(config.compression && config.tls.check_host && config.proxy.is_none());
    }

    #[test]
    fn every_error_is_told_at_once_with_option_value_and_remedy() {
        let all = errors(&[
            (URL, "http://host"),
            (TOPIC, "a b"),
            (QUEUE_SIZE, "many"),
            (RECONNECT_ENABLED, "perhaps"),
            (QUEUE_FULL, "explode"),
        ]);
        assert_eq!(all.len(), 5, "{all:?}");
        assert!(all[0].contains("websocket.url") && all[0].contains("must be ws or wss"));
        assert!(all[1].contains("kafka.topic") && all[1].contains("a b"));
        assert!(all.iter().any(|e| e.contains("explode") && e.contains("backpressure, drop.oldest, drop.newest")));
    }

    #[test]
    fn headers_are_split_trimmed_and_checked() {
        assert_eq!(parse_headers(" A : 1:2 ,broken, B:").unwrap(), [("A", "1:2"), ("B", "")]);
        assert!(errors(&[(HEADERS, "bad name:1")])[0].contains("'bad name'"));
        assert!(errors(&[(HEADERS, "A:x\ny")])[0].contains("header 'A'"));
    }

    #[test]
    fn secrets_show_in_no_error_and_no_debug() {
        let config = Config::parse(&properties(&[
            (URL, "wss://u:hunter2@host/?k=hunter2"),
            (AUTH_TOKEN, "hunter2"),
            (HEADERS, "X-Api-Key:hunter2"),
            (SUBSCRIPTION_MESSAGE, "hunter2"),
            (PROXY_URL, "http://p:1"),
            (PROXY_USERNAME, "me"),
            (PROXY_PASSWORD, "hunter2"),
        ]))
        .unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        for pair in
            [(AUTH_TOKEN, "hunter2\r\nX: y"), (HEADERS, "bad name:hunter2"), (URL, "http://u:hunter2@h/?hunter2")]
        {
            assert!(!errors(&[pair])[0].contains("hunter2"), "{pair:?}");
        }
    }

    #[test]
    fn what_a_server_repeats_of_our_secrets_is_hidden() {
        let config = Config::parse(&properties(&[
            (URL, "wss://alice:pass%20word@host/?key=k3y-value&n=1"),
            (AUTH_TOKEN, "token-1"),
            (HEADERS, "X-Api-Key:token-1-long"),
        ]))
        .unwrap();
        assert_eq!(
            config.without_secrets("bad token-1-long, token-1, pass word, pass%20word, k3y-value of alice: code 1001"),
            "bad ***, ***, ***, ***, *** of ***: code 1001"
        );
    }

    #[test]
    fn keys_inside_messages_and_headers_are_hidden_and_words_are_not() {
        let config = Config::parse(&properties(&[
            (URL, "wss://host/"),
            (HEADERS, "Cookie:session=5e55-10n-1d"),
            (SUBSCRIPTION_MESSAGE, r#"{"op":"subscribe","channel":"trades","symbol":"BTC-USD","key":"AK1234567"}"#),
        ]))
        .unwrap();
        assert_eq!(
            config.without_secrets("cannot subscribe to trades of BTC-USD: bad key AK1234567, session 5e55-10n-1d"),
            "cannot subscribe to trades of BTC-USD: bad key ***, session ***"
        );
    }

    #[test]
    fn options_that_belong_together_are_checked_together() {
        assert!(errors(&[(SSL_KEY, "/k.pem")])[0].contains("must be given together"));
        assert!(errors(&[(PROXY_PASSWORD, "x")])[0].contains(PROXY_USERNAME));
        assert!(errors(&[(QUEUE_MAX_BYTES, "1000")])[0].contains(MESSAGE_MAX_BYTES));
        assert!(errors(&[(PROXY_URL, "ftp://h")])[0].contains("socks5"));
    }

    #[test]
    fn the_hand_over_directory_is_the_systems_temporary_one_unless_given_and_empty_is_off() {
        let handover = |pairs: &[_]| Config::parse(&properties(pairs)).unwrap().handover;
        let default = handover(&[]).unwrap();
        assert_eq!(default.directory, std::env::temp_dir().join("kafka-connect-websocket"));
        assert_eq!(default.max_bytes, 128 << 20);
        assert_eq!(handover(&[(HANDOVER_DIR, " /data/a b ")]).unwrap().directory, PathBuf::from("/data/a b"));
        assert!(handover(&[(HANDOVER_DIR, "")]).is_none());
        assert!(errors(&[(HANDOVER_MAX_BYTES, "0")])[0].contains(HANDOVER_MAX_BYTES));
    }

    #[test]
    fn zero_attempts_mean_without_end() {
        for text in ["0", "-1", "-7"] {
            assert_eq!(
                Config::parse(&properties(&[(RECONNECT_MAX_ATTEMPTS, text)])).unwrap().reconnect.max_attempts,
                None
            );
        }
        assert_eq!(
            Config::parse(&properties(&[(RECONNECT_MAX_ATTEMPTS, "3")])).unwrap().reconnect.max_attempts,
            Some(3)
        );
    }
}
