//! Validation of a connector's configuration, for `PUT …/config/validate`, `GET …/config` and every create and change.
//!
//! Results contain no secret. If an option's value came from a config provider, only the reference is shown, and an
//! error does not show the value, as in Kafka Connect since 4.3.2.

use std::collections::BTreeMap;

use connect_websocket_engine::config::{self, Config, OPTIONS, Provided};
use connect_websocket_engine::config_def::{ConfigError, ConfigKey, Kind, parse_boolean, parse_list};
use connect_websocket_engine::redact::Redactor;
use indexmap::IndexMap;

use crate::config::{WorkerConfig, check_references};
use crate::connector::SentConfig;
use crate::connector::framework::{self, OrderedKey};
use crate::connector::hidden::{Kept, check_marks, shown};
use crate::convert::{self, Converter};
use crate::entities::{ConfigInfo, ConfigInfos, ConfigKeyInfo, ConfigValueInfo};
use crate::kafka::client_properties;
use crate::kafka::topic_creation::TopicCreation;

const PRODUCER_OVERRIDE: &str = "producer.override.";
const ADMIN_OVERRIDE: &str = "admin.override.";

/// The most options of a connector. Real connectors have less than a tenth of that.
const MAX_OPTIONS: usize = 1000;

/// The result of a validation.
#[derive(Debug)]
pub struct Validation {
    pub infos: ConfigInfos,
    /// Settings that are accepted but probably mistakes, for the log.
    pub warnings: Vec<String>,
}

impl Validation {
    /// Returns Connect's sentence for a refused configuration, or `None` if it is accepted.
    pub fn refusal(&self) -> Option<String> {
        if self.infos.error_count == 0 {
            return None;
        }
        let mut sentence = format!(
            "Connector configuration is invalid and contains the following {} error(s):",
            self.infos.error_count
        );
        for error in self.errors() {
            sentence.push('\n');
            sentence.push_str(error);
        }
        sentence.push_str(
            "\nYou can also find the above list of errors at the endpoint `/connector-plugins/{connectorType}/config/validate`",
        );
        Some(sentence)
    }

    /// Returns all errors, in the order of the response.
    pub fn errors(&self) -> impl Iterator<Item = &str> {
        self.infos.configs.iter().flat_map(|info| info.value.errors.iter().map(String::as_str))
    }
}

/// Validates a connector's configuration for this worker. `kept`: options that got their stored values back. Reads the
/// files of references.
///
/// # Errors
/// A sentence if validation is not possible: no class, an unknown class, or a reference that cannot be read.
pub fn validate(worker: &WorkerConfig, sent: &SentConfig, kept: &Kept) -> Result<Validation, String> {
    check_count(sent)?;
    let class = check_class(sent)?;
    let given: IndexMap<String, String> =
        sent.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect();
    let resolved = worker.providers.resolve(&given).map_err(|error| error.message)?;
    let mut errors = Errors::hiding(&given, &resolved.provided, kept);
    errors.add(framework::check(&resolved.values));
    errors.add(Config::parse_provided(&resolved.values, &resolved.provided).err().unwrap_or_default());
    errors.add(check_references(&resolved));
    errors.add(check_marks(&given, kept));
    errors.add(check_converters(worker, &resolved.values));
    if worker.topic_creation {
        errors.add(TopicCreation::from_config(&resolved.values).err().unwrap_or_default());
    }
    errors.add(check_overrides(worker, &resolved.values));
    for name in sent.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name) {
        errors
            .by_option
            .insert(name.clone(), vec!["Null value can not be supplied as the configuration value.".to_owned()]);
    }

    let warnings = config::warnings::of(&resolved.values, value_converter(worker, &resolved.values));
    let warnings = warnings.iter().map(|warning| errors.redactor.hide(warning)).collect();
    let mut answer = Answer { resolved: &resolved.values, errors, infos: Vec::new(), groups: Vec::new() };
    let worker_converters = |key: &ConfigKey| match convert_kind(key.name) {
        Some(kind) => {
            convert::selected(kind, &IndexMap::new(), &worker.properties).ok().map(|(class, _)| class.to_owned())
        }
        None => key.default_text().map(str::to_owned),
    };
    for ordered in framework::KEYS {
        answer.table_key("", ordered, worker_converters(&ordered.key));
    }
    for ordered in connector_keys() {
        answer.table_key("", &ordered, ordered.key.default_text().map(str::to_owned));
    }
    let counted_by_message = answer.error_messages();
    let first_of_others = answer.infos.len();
    let overrides = override_prefixes(worker, &resolved.values);
    for (name, value) in &resolved.values {
        if overrides.iter().any(|prefix| name.starts_with(prefix)) {
            answer.free_key(name, Some(value));
        }
    }
    for kind in [convert::Kind::Header, convert::Kind::Key, convert::Kind::Value] {
        if let Some(class) =
            resolved.values.get(kind.option()).filter(|class| framework::converter_class(class.trim()).is_some())
        {
            let prefix = format!("{}.", kind.option());
            for ordered in framework::converter_keys(class) {
                answer.table_key(&prefix, ordered, ordered.key.default_text().map(str::to_owned));
            }
        }
    }
    // Errors of options that are in no table: a null, a topic.creation.* of a group, …
    let left: Vec<String> = answer.errors.by_option.keys().cloned().collect();
    for name in left {
        let value = resolved.values.get(&name).cloned();
        answer.free_key(&name, value.as_ref());
    }
    let keys_with_errors = answer.infos[first_of_others..].iter().filter(|info| !info.value.errors.is_empty()).count();
    let infos = ConfigInfos {
        name: class,
        error_count: counted_by_message + keys_with_errors,
        groups: answer.groups,
        configs: answer.infos,
    };
    Ok(Validation { infos, warnings })
}

/// Returns the definitions of a plugin's options for `GET /connector-plugins/{p}/config`, or `None` for an unknown
/// plugin.
pub fn plugin_config(plugin: &str) -> Option<Vec<ConfigKeyInfo>> {
    if framework::is_connector_class(plugin) {
        let keys = connector_keys().chain(framework::KEYS.iter().copied());
        // The default of a converter's version depends on its class, which is known only in a configuration.
        let default = |key: &ConfigKey| match key.name.ends_with(".converter.plugin.version") {
            true => None,
            false => key.default_text().map(str::to_owned),
        };
        return Some(keys.map(|ordered| definition("", &ordered, default(&ordered.key))).collect());
    }
    let keys = framework::converter_keys(framework::converter_class(plugin)?);
    Some(keys.iter().map(|ordered| definition("", ordered, ordered.key.default_text().map(str::to_owned))).collect())
}

fn check_count(sent: &SentConfig) -> Result<(), String> {
    if sent.len() <= MAX_OPTIONS {
        return Ok(());
    }
    Err(format!("the configuration has {} options, which is more than the limit of {MAX_OPTIONS}", sent.len()))
}

fn check_class(sent: &SentConfig) -> Result<String, String> {
    let Some(class) = sent.get(framework::CLASS).and_then(Option::as_deref) else {
        return Err("Connector config contains no connector type".to_owned());
    };
    if framework::is_connector_class(class.trim()) {
        return Ok(framework::CONNECTOR_CLASS.to_owned());
    }
    Err(format!(
        "Failed to find any class that implements Connector and which name matches {class}, available connectors are: {}. \
         This worker runs no Java classes: run other connectors on Kafka Connect",
        framework::CONNECTOR_CLASS
    ))
}

/// The connector's own options. Their order in a group is that of the table.
fn connector_keys() -> impl Iterator<Item = OrderedKey> {
    OPTIONS.iter().enumerate().map(|(at, key)| {
        let before = OPTIONS[..at].iter().filter(|other| other.group == key.group).count();
        OrderedKey { key: *key, order: i32::try_from(before).unwrap_or(i32::MAX - 1) + 1 }
    })
}

fn convert_kind(option: &str) -> Option<convert::Kind> {
    [convert::Kind::Key, convert::Kind::Value, convert::Kind::Header].into_iter().find(|kind| kind.option() == option)
}

// --- rules that are not in a table -------------------------------------------------------------------------------------

fn check_converters(worker: &WorkerConfig, config: &IndexMap<String, String>) -> Vec<ConfigError> {
    let kinds = [convert::Kind::Key, convert::Kind::Value, convert::Kind::Header];
    let mut errors: Vec<ConfigError> =
        kinds.into_iter().filter_map(|kind| Converter::select(kind, config, &worker.properties).err()).collect();
    if let Some(class) = value_converter(worker, config) {
        errors.extend(config::check_value_converter(config, class).err());
    }
    errors
}

/// Returns the class of the value converter.
fn value_converter<'a>(worker: &'a WorkerConfig, config: &'a IndexMap<String, String>) -> Option<&'a str> {
    convert::selected(convert::Kind::Value, config, &worker.properties).ok().map(|(class, _)| class)
}

/// The prefixes of client properties that this connector uses. The admin client only creates topics.
fn override_prefixes(worker: &WorkerConfig, config: &IndexMap<String, String>) -> &'static [&'static str] {
    let creates_topics = worker.topic_creation && config.keys().any(|name| name.starts_with("topic.creation."));
    if creates_topics { &[PRODUCER_OVERRIDE, ADMIN_OVERRIDE] } else { &[PRODUCER_OVERRIDE] }
}

/// Returns what the override policy forbids, and what the Kafka clients would refuse. The worker's own properties were
/// checked at its start.
fn check_overrides(worker: &WorkerConfig, config: &IndexMap<String, String>) -> Vec<ConfigError> {
    let (properties, policy) = (&worker.properties, &worker.override_policy);
    let producer = client_properties::producer_settings(properties, config, "", 0, policy).err();
    let admin = client_properties::admin_settings(properties, config, "", 0, policy).err();
    let errors = producer.into_iter().chain(admin).flatten();
    let overrides = override_prefixes(worker, config);
    errors.filter(|error| overrides.iter().any(|prefix| error.option.starts_with(prefix))).collect()
}

// --- the result --------------------------------------------------------------------------------------------------------

struct Errors {
    by_option: BTreeMap<String, Vec<String>>,
    /// The options whose value the client did not send. Results and errors do not show these values.
    hidden: BTreeMap<String, (String, &'static str)>,
    /// Hides these values, which errors about other options may contain.
    redactor: Redactor,
}

impl Errors {
    fn hiding(given: &IndexMap<String, String>, provided: &Provided, kept: &Kept) -> Errors {
        let (mut hidden, redactor) = (BTreeMap::new(), Redactor::default());
        provided.secrets.iter().for_each(|secret| redactor.add(secret.reveal()));
        for option in provided.redacted.keys() {
            let reference = given.get(option).cloned().unwrap_or_default();
            let why = "the value resolved from the config provider reference failed validation";
            hidden.insert(option.clone(), (reference, why));
        }
        for option in &kept.options {
            let value = given.get(option).map_or("", String::as_str);
            redactor.add_header(option, value);
            hidden.insert(option.clone(), (shown(option, value), "the stored value failed validation"));
        }
        Errors { by_option: BTreeMap::new(), hidden, redactor }
    }

    fn add(&mut self, errors: impl IntoIterator<Item = ConfigError>) {
        for ConfigError { option, message } in errors {
            let (message, known) = match self.hidden.get(&option) {
                Some((_, why)) => {
                    let message = format!("Invalid value for configuration '{option}': {why}");
                    (message, self.by_option.contains_key(&option))
                }
                None => (self.redactor.hide(&message), false),
            };
            if !known {
                self.by_option.entry(option).or_default().push(message);
            }
        }
    }
}

struct Answer<'a> {
    resolved: &'a IndexMap<String, String>,
    errors: Errors,
    infos: Vec<ConfigInfo>,
    groups: Vec<&'static str>,
}

impl Answer<'_> {
    fn table_key(&mut self, prefix: &str, ordered: &OrderedKey, default: Option<String>) {
        let key = &ordered.key;
        let name = format!("{prefix}{}", key.name);
        if !key.group.is_empty() && !self.groups.contains(&key.group) {
            self.groups.push(key.group);
        }
        let errors = self.errors.by_option.remove(&name).unwrap_or_default();
        let hidden = self.errors.hidden.get(&name).map(|(shown, _)| shown.clone());
        let recommended_values = if hidden.is_some() { Vec::new() } else { key.offered().collect() };
        let value = hidden.or_else(|| match self.resolved.get(&name) {
            Some(text) => as_parsed(key, text.trim()).map(|text| key.shown(&text)),
            None if key.name == "converter.type" => prefix.split('.').next().map(str::to_owned),
            None => default.clone(),
        });
        self.infos.push(ConfigInfo {
            definition: Some(definition(prefix, ordered, default)),
            value: ConfigValueInfo { name, value, recommended_values, errors, visible: true },
        });
    }

    fn free_key(&mut self, name: &str, value: Option<&String>) {
        let errors = self.errors.by_option.remove(name).unwrap_or_default();
        let hidden = self.errors.hidden.get(name).map(|(shown, _)| shown.clone());
        let value = hidden.or_else(|| value.map(|value| shown(name, value)));
        let value =
            ConfigValueInfo { name: name.to_owned(), value, recommended_values: Vec::new(), errors, visible: true };
        self.infos.push(ConfigInfo { definition: None, value });
    }

    fn error_messages(&self) -> usize {
        self.infos.iter().map(|info| info.value.errors.len()).sum()
    }
}

/// Returns the parsed value as `ConfigDef` prints it, or `None` if the text is not of the type.
fn as_parsed(key: &ConfigKey, text: &str) -> Option<String> {
    match key.kind {
        Kind::Boolean => parse_boolean(text).map(|value| value.to_string()),
        Kind::Int => text.parse::<i32>().ok().map(|value| value.to_string()),
        Kind::Long => text.parse::<i64>().ok().map(|value| value.to_string()),
        Kind::List => Some(parse_list(text).join(",")),
        Kind::String | Kind::Class | Kind::Password => Some(text.to_owned()),
    }
}

fn definition(prefix: &str, ordered: &OrderedKey, default: Option<String>) -> ConfigKeyInfo {
    let key = &ordered.key;
    ConfigKeyInfo {
        name: format!("{prefix}{}", key.name),
        kind: key.kind.as_str(),
        required: key.required(),
        default_value: default,
        importance: key.importance.as_str(),
        documentation: key.documentation,
        group: Some(key.group).filter(|group| !group.is_empty()),
        order_in_group: ordered.order,
        width: key.width.as_str(),
        display_name: key.display_name,
        dependents: [],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validated(more: impl IntoIterator<Item = (String, String)>) -> Result<Validation, String> {
        let string = "org.apache.kafka.connect.storage.StringConverter";
        let worker = [
            ("bootstrap.servers", "h:9092"),
            ("key.converter", string),
            ("value.converter", string),
            ("offset.storage.file.filename", "connect.offsets"),
        ];
        let worker = worker.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let connector = [
            ("name", "feed"),
            ("connector.class", framework::CONNECTOR_CLASS),
            ("websocket.url", "ws://127.0.0.1:1/"),
            ("kafka.topic", "trades"),
        ];
        let connector = connector.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let sent: SentConfig = connector.into_iter().chain(more).map(|(name, value)| (name, Some(value))).collect();
        validate(&WorkerConfig::parse(&worker).unwrap(), &sent, &Kept::default())
    }

    #[test]
    fn more_options_than_any_connector_has_are_refused_unread() {
        let options = |count: usize| (0..count).map(|at| (format!("x{at}"), String::new()));
        assert!(validated(options(MAX_OPTIONS - 4)).is_ok());
        let why = validated(options(MAX_OPTIONS - 3)).unwrap_err();
        assert!(why.contains("1001 options") && why.contains("limit of 1000"), "{why}");
    }

    #[test]
    fn a_reference_that_was_not_replaced_is_no_password_for_kafka() {
        let option = "producer.override.sasl.jaas.config";
        let validation = validated([(option.to_owned(), "${env:NO_SUCH_VARIABLE}".to_owned())]).unwrap();
        let reported = |error: &str| error.contains(option) && error.contains("was not replaced");
        assert!(validation.errors().any(reported), "{:?}", validation.refusal());
    }
}
