//! The worker's own options: one table, and the typed [`WorkerConfig`] made from it.
//!
//! Names, defaults and meaning are those of `connect-standalone` (`StandaloneConfig`, `RestServerConfig`).

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use connect_websocket_engine::config::option;
use connect_websocket_engine::config::warnings::looks_garbled;
use connect_websocket_engine::config_def::{ConfigError, ConfigKey, Default, HIDDEN, Importance, Kind};
use indexmap::IndexMap;

use crate::convert::{self, Converter};
use crate::kafka::client_properties;
use crate::kafka::override_policy::{self, OverridePolicy};
use crate::rest::config::RestConfig;

mod ignored;
pub mod provider;
pub(crate) mod values;

use provider::{Providers, Resolved};
use values::{BASE, Values};

const BOOTSTRAP_SERVERS: &str = "bootstrap.servers";
const KEY_CONVERTER: &str = "key.converter";
const VALUE_CONVERTER: &str = "value.converter";
const HEADER_CONVERTER: &str = "header.converter";
const OFFSETS_FILE: &str = "offset.storage.file.filename";
const FLUSH_INTERVAL_MS: &str = "offset.flush.interval.ms";
const FLUSH_TIMEOUT_MS: &str = "offset.flush.timeout.ms";
const SHUTDOWN_TIMEOUT_MS: &str = "task.shutdown.graceful.timeout.ms";
const TOPIC_CREATION: &str = "topic.creation.enable";
const TOPIC_TRACKING: &str = "topic.tracking.enable";
const TOPIC_TRACKING_RESET: &str = "topic.tracking.allow.reset";
const OVERRIDE_POLICY: &str = "connector.client.config.override.policy";
const OVERRIDE_ALLOWLIST: &str = "connector.client.config.override.allowlist";
const PASSWORDS_HIDDEN: &str = "rest.config.passwords.hidden";

/// The options of the worker itself. Other modules read client properties (`producer.*`, `sasl.*`, `ssl.*`, …) and
/// `config.providers.*`. Those of the REST server are in [`crate::rest::config::OPTIONS`].
pub const OPTIONS: &[ConfigKey] = &[
    ConfigKey {
        name: BOOTSTRAP_SERVERS,
        kind: Kind::List,
        default: Default::Required,
        importance: Importance::High,
        documentation: "Kafka brokers to connect to first: host1:port1,host2:port2.",
        check: Some(not_empty),
        ..BASE
    },
    ConfigKey {
        name: KEY_CONVERTER,
        kind: Kind::Class,
        default: Default::Required,
        importance: Importance::High,
        documentation: "The converter of record keys, for connectors that set none.",
        ..BASE
    },
    ConfigKey {
        name: VALUE_CONVERTER,
        kind: Kind::Class,
        default: Default::Required,
        importance: Importance::High,
        documentation: "The converter of record values, for connectors that set none.",
        ..BASE
    },
    ConfigKey {
        name: HEADER_CONVERTER,
        kind: Kind::Class,
        default: Default::Value("org.apache.kafka.connect.storage.SimpleHeaderConverter"),
        documentation: "The converter of record headers, for connectors that set none.",
        ..BASE
    },
    ConfigKey {
        name: OFFSETS_FILE,
        default: Default::Required,
        importance: Importance::High,
        documentation: "The file of source offsets, in the format of a standalone Connect worker.",
        check: Some(not_empty),
        ..BASE
    },
    ConfigKey {
        name: FLUSH_INTERVAL_MS,
        kind: Kind::Long,
        default: Default::Value("60000"),
        documentation: "How often source offsets are written to the file, in milliseconds.",
        at_least: Some(1),
        ..BASE
    },
    ConfigKey {
        name: FLUSH_TIMEOUT_MS,
        kind: Kind::Long,
        default: Default::Value("5000"),
        documentation: "No effect. A stopping task uses task.shutdown.graceful.timeout.ms.",
        at_least: Some(1),
        ..BASE
    },
    ConfigKey {
        name: SHUTDOWN_TIMEOUT_MS,
        kind: Kind::Long,
        default: Default::Value("5000"),
        documentation: "How long all tasks together may take to stop, in milliseconds.",
        at_least: Some(0),
        ..BASE
    },
    ConfigKey {
        name: TOPIC_CREATION,
        kind: Kind::Boolean,
        default: Default::Value("true"),
        documentation: "Whether topic.creation.* of connectors is used (KIP-158).",
        ..BASE
    },
    ConfigKey {
        name: TOPIC_TRACKING,
        kind: Kind::Boolean,
        default: Default::Value("true"),
        documentation: "Whether the topics that a connector writes to are tracked (KIP-558).",
        ..BASE
    },
    ConfigKey {
        name: TOPIC_TRACKING_RESET,
        kind: Kind::Boolean,
        default: Default::Value("true"),
        documentation: "Whether tracked topics may be reset over REST (KIP-558).",
        ..BASE
    },
    ConfigKey {
        name: OVERRIDE_POLICY,
        default: Default::Value("All"),
        documentation: "Which producer.override.* and admin.override.* a connector may set: All, None, Principal or \
                        Allowlist (KIP-458).",
        recommended: &["All", "None", "Principal", "Allowlist"],
        check: Some(override_policy::check),
        ..BASE
    },
    ConfigKey {
        name: OVERRIDE_ALLOWLIST,
        kind: Kind::List,
        default: Default::Value(""),
        documentation: "The client properties that the policy Allowlist permits.",
        ..BASE
    },
    ConfigKey {
        name: PASSWORDS_HIDDEN,
        kind: Kind::Boolean,
        default: Default::Value("false"),
        documentation: "Whether REST responses hide passwords and other secrets in connector configurations. If a client sends the hidden value \
                        back, the stored value is kept. Not an option of Kafka Connect.",
        ..BASE
    },
];

/// A worker's properties, checked and typed.
#[derive(Clone)]
pub struct WorkerConfig {
    /// All properties with resolved references, for the Kafka clients and converters. They may contain secrets.
    pub properties: IndexMap<String, String>,
    /// The properties as in the file, with unresolved references.
    pub given: IndexMap<String, String>,
    pub bootstrap_servers: String,
    pub offset_storage_file: PathBuf,
    pub offset_flush_interval: Duration,
    pub offset_flush_timeout: Duration,
    /// For all tasks together.
    pub task_shutdown_graceful_timeout: Duration,
    pub topic_creation: bool,
    pub topic_tracking: bool,
    pub topic_tracking_reset: bool,
    pub override_policy: OverridePolicy,
    pub passwords_hidden: bool,
    pub providers: Arc<Providers>,
    pub rest: RestConfig,
}

impl WorkerConfig {
    /// Checks and types a worker's properties.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the table.
    pub fn parse(properties: &IndexMap<String, String>) -> Result<WorkerConfig, Vec<ConfigError>> {
        let (providers, provider_errors) = match Providers::from_worker(properties) {
            Ok(providers) => (Some(providers), Vec::new()),
            Err(errors) => (None, errors),
        };
        let (resolved, reference_errors) = match providers.as_ref().map(|providers| providers.resolve(properties)) {
            Some(Ok(Resolved { values, provided })) => {
                let left = provided.not_replaced(&values, |_| true);
                (values, left)
            }
            Some(Err(error)) => (properties.clone(), vec![error]),
            None => (properties.clone(), Vec::new()),
        };
        let errors = provider_errors.into_iter().chain(reference_errors).collect();
        let mut values = Values::new(&resolved, errors);
        values.check(OPTIONS);
        check_converters(&mut values);
        let rest = RestConfig::parse(&mut values);
        check_clients(&mut values);
        check_guarded(&mut values);
        let (Some(providers), true) = (providers, values.errors.is_empty()) else {
            return Err(values.errors);
        };
        Ok(WorkerConfig {
            bootstrap_servers: values.text(BOOTSTRAP_SERVERS).to_owned(),
            offset_storage_file: PathBuf::from(values.text(OFFSETS_FILE)),
            offset_flush_interval: values.millis(FLUSH_INTERVAL_MS),
            offset_flush_timeout: values.millis(FLUSH_TIMEOUT_MS),
            task_shutdown_graceful_timeout: values.millis(SHUTDOWN_TIMEOUT_MS),
            topic_creation: values.boolean(TOPIC_CREATION),
            topic_tracking: values.boolean(TOPIC_TRACKING),
            topic_tracking_reset: values.boolean(TOPIC_TRACKING_RESET),
            override_policy: OverridePolicy::new(values.text(OVERRIDE_POLICY), &values.list(OVERRIDE_ALLOWLIST)),
            passwords_hidden: values.boolean(PASSWORDS_HIDDEN),
            providers: Arc::new(providers),
            rest,
            properties: resolved.clone(),
            given: properties.clone(),
        })
    }

    /// Returns the options of the file that seem to be written in UTF-8, which Java does not expect there.
    pub fn garbled(&self) -> impl Iterator<Item = &str> {
        self.given.iter().filter(|(_, value)| looks_garbled(value)).map(|(name, _)| name.as_str())
    }

    /// Returns the given options that only a JVM or a cluster of workers can use. They have no effect here.
    pub fn ignored(&self) -> Vec<&str> {
        self.properties.keys().map(String::as_str).filter(|name| ignored::is_ignored(name)).collect()
    }

    /// Returns the settings for the log: one line each, without secrets.
    pub fn shown(&self) -> Vec<String> {
        let known = OPTIONS.iter().chain(crate::rest::config::OPTIONS).map(|key| {
            let value = self.given.get(key.name).map(String::as_str).or(key.default_text());
            format!("{} = {}", key.name, value.map_or("null".to_owned(), |text| key.shown(text)))
        });
        let others = self.given.iter().filter(|(name, _)| table_row(name).is_none());
        known.chain(others.map(|(name, value)| format!("{name} = {}", shown_client_property(name, value)))).collect()
    }
}

impl fmt::Debug for WorkerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.shown()).finish()
    }
}

/// Returns a client property as logs and REST responses may show it.
pub(crate) fn shown_client_property(name: &str, value: &str) -> String {
    if is_secret(name) { HIDDEN.to_owned() } else { value.to_owned() }
}

/// Whether the value of a client property is hidden: everything of SASL except the mechanism, TLS keys and passwords,
/// and names that sound like a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let sasl = name.contains("sasl.") && !name.ends_with("sasl.mechanism") && !name.ends_with("service.name");
    sasl || ["password", "secret", "token", "credential", "ssl.keystore.key", ".param.", "basic.auth"]
        .iter()
        .any(|word| name.contains(word))
}

/// Returns an error for each of a connector's options that the Kafka clients read, or that is a secret, and that still
/// contains a reference to a config provider. The engine checks the options of the connector's own table.
pub(crate) fn check_references(connector: &Resolved) -> Vec<ConfigError> {
    let is_client = |name: &str| name.starts_with("producer.override.") || name.starts_with("admin.override.");
    let is_checked = |name: &str| option(name).is_none() && (is_client(name) || is_secret(name));
    connector.provided.not_replaced(&connector.values, is_checked)
}

fn table_row(name: &str) -> Option<&'static ConfigKey> {
    OPTIONS.iter().chain(crate::rest::config::OPTIONS).find(|key| key.name == name)
}

fn check_converters(values: &mut Values<'_>) {
    let none = IndexMap::new();
    for kind in [convert::Kind::Key, convert::Kind::Value, convert::Kind::Header] {
        let required = kind != convert::Kind::Header;
        if required && !values.properties.contains_key(kind.option()) {
            continue;
        }
        if let Err(error) = Converter::select(kind, &none, values.properties) {
            values.errors.push(error);
        }
    }
}

/// Returns what the worker's Kafka clients would refuse, without a connector's overrides.
fn check_clients(values: &mut Values<'_>) {
    let admin = client_properties::worker_admin_settings(values.properties);
    let (none, any) = (IndexMap::new(), OverridePolicy::All);
    let producer = client_properties::producer_settings(values.properties, &none, "", 0, &any);
    let errors = admin.err().into_iter().chain(producer.err()).flatten();
    for error in errors {
        if !values.errors.contains(&error) {
            values.errors.push(error);
        }
    }
}

fn check_guarded(values: &mut Values<'_>) {
    let refused = values.properties.keys().filter(|name| table_row(name).is_none() && ignored::is_refused(name));
    let why = "this worker does not have this option, and options about access control are never ignored; see docs/reference/options.md";
    values.errors.extend(refused.map(|name| ConfigError::new(name, format!("Unknown configuration {name}: {why}"))));
}

fn not_empty(text: &str) -> Result<(), String> {
    if text.is_empty() { Err("String must be non-empty".into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(more: &[(&str, &str)]) -> IndexMap<String, String> {
        let string = "org.apache.kafka.connect.storage.StringConverter";
        let base = [
            (BOOTSTRAP_SERVERS, "h:9092"),
            (KEY_CONVERTER, string),
            (VALUE_CONVERTER, string),
            (OFFSETS_FILE, "/tmp/connect.offsets"),
        ];
        base.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn defaults_are_those_of_connect_standalone() {
        let config = WorkerConfig::parse(&properties(&[])).unwrap();
        assert_eq!(config.offset_flush_interval, Duration::from_secs(60));
        assert_eq!(config.offset_flush_timeout, Duration::from_secs(5));
        assert_eq!(config.task_shutdown_graceful_timeout, Duration::from_secs(5));
        assert!(config.topic_creation && config.topic_tracking && config.topic_tracking_reset);
        assert!(!config.passwords_hidden);
        assert_eq!(config.override_policy, OverridePolicy::All);
        assert_eq!(config.rest.listeners[0].to_string(), "http://:8083");
    }

    #[test]
    fn every_error_is_told_at_once() {
        let wrong = [
            (FLUSH_INTERVAL_MS, "0"),
            (TOPIC_TRACKING, "perhaps"),
            (OVERRIDE_POLICY, "com.example.Mine"),
            ("listeners", "ftp://h:1"),
            ("config.providers", "v"),
            ("header.converter", "com.example.Mine"),
            ("rest.extension.classes", "com.example.Audit"),
            ("rest.port", "8080"),
        ];
        let errors = WorkerConfig::parse(&properties(&wrong)).unwrap_err();
        for option in wrong.map(|(option, _)| option) {
            let reported = errors.iter().any(|error| error.message.contains(option));
            assert!(reported, "{option} is not in {errors:?}");
        }
    }

    #[test]
    fn what_is_shown_holds_no_secret_and_no_resolved_reference() {
        let config = WorkerConfig::parse(&properties(&[
            ("producer.sasl.jaas.config", "a.PlainLoginModule required username=\"u\" password=\"hunter2\";"),
            ("producer.sasl.mechanism", "PLAIN"),
            ("producer.security.protocol", "SASL_PLAINTEXT"),
            ("config.providers", "env"),
            ("config.providers.env.class", "EnvVarConfigProvider"),
            ("producer.client.id", "${env:PATH}"),
        ]))
        .unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && shown.contains("producer.client.id = ${env:PATH}"), "{shown}");
        assert_ne!(config.properties["producer.client.id"], "${env:PATH}");
    }

    #[test]
    fn a_reference_that_was_not_replaced_is_refused_in_any_option() {
        for (option, value) in [
            ("producer.sasl.jaas.config", "${env:NO_SUCH_VARIABLE}"),
            ("ssl.keystore.password", "x${vault:a:b}"),
            ("producer.client.id", "${file:/no/such:key}"),
        ] {
            let errors = WorkerConfig::parse(&properties(&[(option, value)])).unwrap_err();
            let reported = |error: &ConfigError| error.option == option && error.message.contains("was not replaced");
            assert!(errors.iter().any(reported), "{errors:?}");
        }
    }

    #[test]
    fn a_connectors_kafka_clients_are_sent_no_reference() {
        let config = WorkerConfig::parse(&properties(&[])).unwrap();
        let refused = |option: &str| {
            let given = [(option.to_owned(), "a${env:NO_SUCH_VARIABLE}".to_owned())].into();
            check_references(&config.providers.resolve(&given).unwrap()).len()
        };
        assert_eq!(refused("producer.override.sasl.jaas.config"), 1);
        assert_eq!(refused("admin.override.client.id"), 1);
        assert_eq!(refused("value.converter.basic.auth.user.info"), 1);
        assert_eq!(refused("kafka.topic"), 0, "the engine reports it");
        assert_eq!(refused("transforms.replace.replacement"), 0);
    }

    #[test]
    fn what_is_for_a_jvm_is_ignored_by_name() {
        let config = WorkerConfig::parse(&properties(&[("plugin.path", "/opt"), ("group.id", "g")])).unwrap();
        assert_eq!(config.ignored(), ["plugin.path", "group.id"]);
    }
}
