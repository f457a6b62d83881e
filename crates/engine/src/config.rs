//! The connector's options: one table, and the typed [`Config`] made from it.
//!
//! REST validation, Java's `ConfigDef` and `docs/reference/options.md` are made from [`OPTIONS`]. To add an option, add
//! a row to the file of its group, and a field below or in the group's type.

mod backfill;
mod connection;
mod converter;
mod exactly_once;
mod headers;
#[cfg(test)]
mod hostile;
mod intake;
mod liveness;
mod messages;
mod provided;
mod reconnect;
mod restart;
mod resume;
mod security;
mod session;
mod steps;
mod table;
mod together;
mod values;
pub mod warnings;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use url::Url;

use crate::config_def::{ConfigError, ConfigKey, Properties};
use crate::connection::frame::OnInvalidText;
use crate::dialogue::rate::{self, Limit};
use crate::dialogue::{Paths, Plan};
use crate::endpoint::Endpoint;
use crate::feeds;
use crate::intake::BinaryMessages;
use crate::redact::Redactor;
use crate::secret::Secret;
use crate::task_id::TaskId;
use crate::tls;

pub use connection::{Proxy, ProxyScheme, URL};
pub use converter::{check_value_converter, warning_of_bytes};
pub use liveness::IdleAction;
pub use messages::{FRAME_BINARY, QueueBounds, TOPIC, WhenFull};
pub use provided::{NOT_REPLACED, PROVIDED, Provided};
pub use reconnect::{Attempts, Reconnect};
pub(crate) use restart::directory as handover_directory;
pub use restart::{HANDOVER_DIR, Handover};
pub use resume::{Ledger, Resume};

use table::Table;
use values::Values;

/// All options of the connector, by group, the most important first.
pub static OPTIONS: LazyLock<Vec<ConfigKey>> = LazyLock::new(|| {
    [
        connection::OPTIONS,
        reconnect::OPTIONS,
        liveness::OPTIONS,
        messages::OPTIONS,
        intake::OPTIONS,
        restart::OPTIONS,
        security::OPTIONS,
        session::OPTIONS,
        resume::OPTIONS,
        backfill::OPTIONS,
    ]
    .concat()
});

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::new(&OPTIONS, &[session::FAMILIES, intake::FAMILIES]));

/// Returns the option of this name.
pub fn option(name: &str) -> Option<&'static ConfigKey> {
    TABLE.find(name)
}

/// Whether the name has the prefix of a family of options, whose rest the user chooses.
pub fn is_of_a_family(name: &str) -> bool {
    TABLE.is_of_a_family(name)
}

/// A connector's configuration, checked and typed. The modules that open sockets use only this, and no text.
#[derive(Clone)]
pub struct Config {
    /// The connector's name (`name` in Kafka Connect), for logs and metrics.
    pub name: String,
    pub topic: String,
    pub endpoint: Endpoint,
    /// The source partition: the URL without secrets, or `feed:<name>` if the URL is a profile's.
    pub partition: String,
    /// Source partitions under which offsets may be stored: the full URL, by the existing connector, and the URL with a
    /// path from a config provider, by earlier versions. Secret.
    pub former_partitions: Vec<Secret>,
    pub subscription_message: Option<Secret>,
    /// Names and values of headers. Values may be secret.
    pub headers: Vec<(String, Secret)>,
    pub auth_token: Option<Secret>,
    pub subprotocols: Vec<String>,
    pub compression: bool,
    pub connection_timeout: Duration,
    pub reconnect: Reconnect,
    /// The steps of the session.
    pub plan: Arc<Plan>,
    /// How often the process may connect to the feed's host.
    pub connect_rate: Vec<Limit>,
    /// The code of the connector's Close.
    pub close_code: u16,
    /// A Close of the server with one of these codes fails the task.
    pub fatal_codes: Vec<RangeInclusive<u16>>,
    /// Close codes that mean that the feed cannot resume from the cursor.
    pub fresh_codes: Vec<RangeInclusive<u16>>,
    pub ping_interval: Option<Duration>,
    pub pong_timeout: Duration,
    pub idle_timeout: Option<Duration>,
    pub idle_record_timeout: Option<Duration>,
    pub idle_action: IdleAction,
    pub queue: QueueBounds,
    pub message_max_bytes: usize,
    pub binary: BinaryMessages,
    pub on_invalid_text: OnInvalidText,
    pub receive_linger: Duration,
    /// How messages become records.
    pub intake: Arc<crate::intake::Plan>,
    pub resume: Resume,
    /// How to request missing messages from the feed's history, if that is configured.
    pub backfill: Option<Arc<crate::backfill::Plan>>,
    /// The ledger of gaps, in addition to log and metrics.
    pub ledger: Option<Ledger>,
    /// Why exactly-once is not possible. `None` if it is.
    pub no_exactly_once: Option<ConfigError>,
    /// `None` is off.
    pub handover: Option<Handover>,
    pub tls: tls::Settings,
    pub proxy: Option<Proxy>,
    /// Hides all secrets of the configuration, and those that are added later.
    pub redactor: Arc<Redactor>,
}

/// Shows no values, because a config provider can put a secret into any option.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Config({} from {})", self.name, self.endpoint)
    }
}

impl Config {
    /// Returns which task the configuration is for: a connector has one.
    pub fn task_id(&self) -> TaskId {
        TaskId::only(&*self.name)
    }

    /// Returns the topic of all records, or `None` if each record has its own.
    pub fn fixed_topic(&self) -> Option<&str> {
        Some(self.topic.as_str()).filter(|_| !self.intake.names_topics())
    }

    /// Returns the keys with their own source partitions.
    pub fn partition_keys(&self) -> &[String] {
        self.intake.memory().map_or(&[], |memory| memory.cursor.partition_keys())
    }

    /// Returns whether a start resumes from the stored cursor. Then received records that are not in Kafka come again.
    pub fn resumes(&self) -> bool {
        self.intake.memory().is_some_and(crate::intake::memory::Plan::resumes_over_restarts)
    }

    /// Checks and types a configuration.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the table.
    pub fn parse(properties: &Properties) -> Result<Config, Vec<ConfigError>> {
        Config::parse_provided(properties, &Provided::default())
    }

    /// The same as [`Config::parse`], for a configuration whose references were replaced.
    ///
    /// # Errors
    /// The same as [`Config::parse`].
    pub fn parse_provided(properties: &Properties, provided: &Provided) -> Result<Config, Vec<ConfigError>> {
        Config::typed(properties, provided).map_err(|errors| feeds::name_what_is_missing(properties, errors))
    }

    fn typed(properties: &Properties, provided: &Provided) -> Result<Config, Vec<ConfigError>> {
        let merged = feeds::merge(properties).map_err(|error| vec![error])?;
        let values = Values::of(&merged, &TABLE);
        let mut errors = values.problems(provided);
        errors.extend(together::problems(&values));
        if !values.is_given(URL) {
            errors.insert(0, ConfigError::missing(URL));
        }
        let values_are_right = errors.is_empty();
        let plan = steps::plan(&values).map_err(|more| errors.extend(more)).ok();
        errors.extend(steps::check_used(properties, &values));
        if values_are_right && !errors.is_empty() {
            errors.extend(records_refused(&values));
        }
        let Some(mut plan) = plan.filter(|_| errors.is_empty()) else { return Err(errors) };
        let intake = intake::plan(&values, &plan.names, &mut plan.paths)?;
        let backfill = backfill::plan(&values, &plan.names)?;
        let url = values.text(URL).unwrap_or_default();
        let parse = if plan.renders_url() { Endpoint::of_template } else { Endpoint::parse };
        let shown = parse(url).map_err(|why| vec![ConfigError::new(URL, why)])?;
        let endpoint = match provided.redacted.get(URL) {
            Some(redacted) => shown.clone().hiding_what_differs(url, redacted.trim()),
            None => shown.clone(),
        };
        let (partition, mut former_partitions) = match feeds::partition(properties, URL) {
            Some(partition) => (partition, Vec::new()),
            None => (endpoint.redacted().to_owned(), vec![url, shown.redacted()]),
        };
        former_partitions.dedup();
        former_partitions.retain(|former| *former != partition);
        let mut config = Config {
            name: properties.get("name").cloned().unwrap_or_default(),
            topic: values.text(TOPIC).unwrap_or_default().to_owned(),
            partition,
            former_partitions: former_partitions.into_iter().map(Secret::new).collect(),
            endpoint,
            subscription_message: values.non_empty(connection::SUBSCRIPTION_MESSAGE).map(Secret::new),
            headers: connection::headers(&values),
            auth_token: values.non_empty(security::AUTH_TOKEN).map(Secret::new),
            subprotocols: connection::subprotocols(&values),
            compression: values.text(connection::COMPRESSION) == Some("permessage-deflate"),
            connection_timeout: values
                .millis_or_off(connection::CONNECTION_TIMEOUT_MS)
                .unwrap_or(Duration::from_secs(600)),
            reconnect: reconnect::reconnect(&values),
            no_exactly_once: exactly_once::obstacle(&values, &plan),
            plan: Arc::new(plan),
            connect_rate: rate::parse(values.text(session::CONNECT_RATE).unwrap_or_default()).unwrap_or_default(),
            close_code: u16::try_from(values.number(session::CLOSE_CODE)).unwrap_or(1000),
            fatal_codes: session::codes(&values, session::CLOSE_FATAL_CODES),
            fresh_codes: session::codes(&values, session::CLOSE_FRESH_CODES),
            ping_interval: values.millis_or_off(liveness::PING_INTERVAL_MS),
            pong_timeout: values.millis(liveness::PONG_TIMEOUT_MS),
            idle_timeout: values.millis_or_off(liveness::IDLE_TIMEOUT_MS),
            idle_record_timeout: values.millis_or_off(liveness::IDLE_RECORD_TIMEOUT_MS),
            idle_action: liveness::idle_action(&values),
            queue: messages::queue(&values),
            message_max_bytes: values.size(messages::MESSAGE_MAX_BYTES),
            binary: messages::binary(&values),
            on_invalid_text: messages::on_invalid_text(&values),
            receive_linger: values.millis(messages::RECEIVE_LINGER_MS),
            intake: Arc::new(intake),
            resume: resume::resume(&values),
            backfill: backfill.map(Arc::new),
            ledger: resume::ledger(&values, intake::key_bytes(&values)),
            handover: restart::handover(&values),
            tls: security::tls(&values),
            proxy: connection::proxy(&values),
            redactor: Arc::default(),
        };
        config.redactor = Arc::new(config.redactor(provided));
        Ok(config)
    }

    /// Whether a source partition of an offset or a file is that of this feed.
    pub(crate) fn is_partition(&self, partition: &str) -> bool {
        partition == self.partition || self.former_partitions.iter().any(|known| known.reveal() == partition)
    }

    /// Returns the redactor with all secrets of the configuration.
    fn redactor(&self, provided: &Provided) -> Redactor {
        let redactor = Redactor::default();
        for secret in &provided.secrets {
            match Url::parse(secret.reveal()) {
                // Scheme and host are not secret, so that errors can name them.
                Ok(url) if url.has_host() => {
                    redactor.add(url.path());
                    redactor.add_url(&url);
                }
                _ => redactor.add(secret.reveal()),
            }
        }
        redactor.add_url(self.endpoint.url());
        self.headers.iter().for_each(|(name, value)| redactor.add_header(name, value.reveal()));
        self.plan.secrets().for_each(|secret| redactor.add(secret.reveal()));
        self.auth_token.iter().for_each(|token| redactor.add(token.reveal()));
        self.subscription_message.iter().for_each(|message| redactor.add_message(message.reveal()));
        for (user, password) in self.proxy.iter().flat_map(|proxy| &proxy.credentials) {
            redactor.add(password.reveal());
            redactor.add(&format!("{user}:{}", password.reveal()));
        }
        redactor
    }
}

/// Returns the errors of the options of records, if the session has errors too.
fn records_refused(values: &Values<'_>) -> Vec<ConfigError> {
    let Some(names) = steps::names(values) else { return Vec::new() };
    let intake = intake::plan(values, &names, &mut Paths::default()).err();
    let backfill = backfill::plan(values, &names).err();
    [intake, backfill].into_iter().flatten().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::connection::{CONNECTION_TIMEOUT_MS, HEADERS, PROXY_URL, SUBPROTOCOLS, SUBSCRIPTION_MESSAGE};
    use super::messages::{MESSAGE_MAX_BYTES, QUEUE_FULL, QUEUE_MAX_BYTES, QUEUE_SIZE};
    use super::reconnect::{
        RECONNECT_BACKOFF_MAX_MS, RECONNECT_ENABLED, RECONNECT_INTERVAL_MS, RECONNECT_MAX_ATTEMPTS,
    };
    use super::security::{AUTH_TOKEN, PROXY_PASSWORD, PROXY_USERNAME, SSL_CA, SSL_CERTIFICATE, SSL_KEY};
    use super::*;
    use crate::config_def::{Default, Importance, Kind};

    pub(super) fn properties(pairs: &[(&str, &str)]) -> Properties {
        let base = [(URL, "wss://host/feed"), (TOPIC, "trades")];
        base.iter().chain(pairs).map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    pub(super) fn errors(pairs: &[(&str, &str)]) -> Vec<String> {
        Config::parse(&properties(pairs)).unwrap_err().into_iter().map(|e| e.message).collect()
    }

    #[test]
    fn the_table_is_sound() {
        let mut names: Vec<&str> = OPTIONS.iter().map(|key| key.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OPTIONS.len(), "an option stands twice");
        for key in OPTIONS.iter() {
            assert!(!key.documentation.is_empty() && !key.display_name.is_empty(), "{} is not described", key.name);
            assert!(key.name.starts_with("websocket.") || key.name == TOPIC, "{}", key.name);
            if let Some(default) = key.default_text() {
                assert!(key.value(None).is_ok() && key.value(Some(default)).is_ok(), "default of {}", key.name);
            }
            for value in key.offered() {
                assert!(key.value(Some(value)).is_ok(), "{} recommends {value} and refuses it", key.name);
            }
        }
    }

    #[test]
    fn the_existing_connectors_options_keep_type_default_and_importance() {
        use Importance::{High, Low, Medium};
        use Kind::{Boolean, Int, Long, Password, String};
        for (name, kind, default, importance) in [
            (URL, String, Default::Null, High),
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
        assert_eq!(config.reconnect.attempts, Attempts::Unset);
        assert_eq!(config.ping_interval, Some(Duration::from_secs(30)));
        assert_eq!(config.idle_timeout, None);
        assert_eq!((config.queue.records, config.queue.bytes), (10_000, 64 << 20));
        assert_eq!(config.queue.when_full, WhenFull::Backpressure);
        assert_eq!(config.message_max_bytes, 16 << 20);
        assert_eq!(config.binary, BinaryMessages::Bytes);
        assert!(config.compression && config.tls.check_host && config.proxy.is_none());
    }

    #[test]
    fn every_error_is_reported_at_once_with_option_value_and_remedy() {
        let all = errors(&[
            (URL, "http://host"),
            (TOPIC, "a b"),
            (QUEUE_SIZE, "many"),
            (RECONNECT_ENABLED, "perhaps"),
            (QUEUE_FULL, "explode"),
        ]);
        assert_eq!(all.len(), 5, "{all:?}");
        assert!(all[0].contains("websocket.url") && all[0].contains("must be ws or wss"));
        assert!(all.iter().any(|e| e.contains("kafka.topic") && e.contains("a b")));
        assert!(all.iter().any(|e| e.contains("explode") && e.contains("backpressure, drop.oldest, drop.newest")));
    }

    #[test]
    fn errors_of_records_are_reported_together_with_those_of_the_session() {
        let all = errors(&[
            ("websocket.session.steps", "connect,login"),
            ("websocket.session.login.send", "{{secret.key}}"),
            ("websocket.session.login.capture", "session=/session"),
            ("websocket.record.key", "{{/a"),
            ("websocket.record.header.session", "{{session}}"),
        ]);
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(all[0].contains("login.send") && all[1].contains("websocket.record.key"), "{all:?}");
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
            config.redactor.hide("bad token-1-long, token-1, pass word, pass%20word, k3y-value of alice: code 1001"),
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
            config.redactor.hide("cannot subscribe to trades of BTC-USD: bad key AK1234567, session 5e55-10n-1d"),
            "cannot subscribe to trades of BTC-USD: bad key ***, session ***"
        );
    }

    #[test]
    fn what_a_config_provider_put_somewhere_is_secret_wherever_it_stands() {
        let given = [(URL, "wss://host/pathpart/feed"), (SUBPROTOCOLS, "v1,swordfish")];
        let redacted = [(URL, "wss://host/***/feed"), (SUBPROTOCOLS, "v1,***")];
        let provided = Provided {
            secrets: vec![Secret::new("pathpart"), Secret::new("swordfish")],
            redacted: redacted.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        };
        let config = Config::parse_provided(&properties(&given), &provided).unwrap();
        assert_eq!(config.endpoint.redacted(), "wss://host/***/feed");
        assert_eq!(config.endpoint.resource(), "/pathpart/feed");
        assert_eq!(config.former_partitions, [Secret::new("wss://host/pathpart/feed")]);
        assert!(config.is_partition("wss://host/***/feed") && config.is_partition("wss://host/pathpart/feed"));
        assert_eq!(config.redactor.hide("no swordfish at /pathpart"), "no *** at /***");
        assert!(!format!("{provided:?} {config:?}").contains("pathpart"));
    }

    #[test]
    fn a_reference_that_was_not_replaced_is_refused_and_named() {
        for (option, value) in [
            (URL, "wss://${env:HOST}/x"),
            (AUTH_TOKEN, "${env:TOKEN}"),
            (SUBSCRIPTION_MESSAGE, r#"{"key":"${file:/no:k}"}"#),
            ("websocket.secret.key", "${env:KEY}"),
        ] {
            let errors = errors(&[(option, value)]);
            assert!(errors.len() == 1 && errors[0].contains(option), "{errors:?}");
            assert!(errors[0].contains("was not replaced") && errors[0].contains("${"), "{errors:?}");
        }
        let mut provided = Provided::default();
        provided.redacted.insert(AUTH_TOKEN.to_owned(), "***".to_owned());
        let resolved = properties(&[(AUTH_TOKEN, "looks like ${env:TOKEN}")]);
        assert!(Config::parse_provided(&resolved, &provided).is_ok(), "a provider's value is not looked at again");
    }

    #[test]
    fn a_proxys_credentials_are_hidden_in_either_form() {
        let config = Config::parse(&properties(&[
            (PROXY_URL, "http://p:1"),
            (PROXY_USERNAME, "alice"),
            (PROXY_PASSWORD, "swordfish"),
        ]))
        .unwrap();
        assert_eq!(config.redactor.hide("no swordfish, no YWxpY2U6c3dvcmRmaXNo"), "no ***, no ***");
    }

    #[test]
    fn a_device_in_the_place_of_a_file_is_refused_unread() {
        for given in [
            &[(SSL_CA, "/dev/zero")][..],
            &[(SSL_CERTIFICATE, "/dev/zero"), (SSL_KEY, "/dev/zero")],
            &[("websocket.frame.decode", "zstd"), ("websocket.frame.decode.dictionary", "/dev/zero")],
            &[("websocket.feed", "/dev/zero")],
        ] {
            let errors = errors(given);
            assert!(
                errors[0].contains("/dev/zero") && errors[0].contains("not a regular file"),
                "{given:?}: {errors:?}"
            );
        }
    }

    #[test]
    fn options_that_belong_together_are_checked_together() {
        assert!(errors(&[(SSL_KEY, "/k.pem")])[0].contains("must be given together"));
        assert!(errors(&[(PROXY_PASSWORD, "x")])[0].contains(PROXY_USERNAME));
        assert!(errors(&[(QUEUE_MAX_BYTES, "1000")])[0].contains(MESSAGE_MAX_BYTES));
        assert!(errors(&[(PROXY_URL, "ftp://h")])[0].contains("socks5"));
    }
}
