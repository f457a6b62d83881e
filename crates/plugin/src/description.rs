//! The engine's tables as rows of strings for Java: options, errors, figures. Java does not repeat them.

use connect_websocket_engine::config::{self, Config, OPTIONS};
use connect_websocket_engine::config_def::{Default, HIDDEN, Properties};
use connect_websocket_engine::figures::{self, ATTRIBUTES, Host};
use connect_websocket_engine::metrics::Snapshot;

use crate::{exactly_once, offsets, strings};

/// An option of Connect that a connector can also set.
const VALUE_CONVERTER: &str = "value.converter";

/// Returns a row for each option: name, type, default or null, whether it is required, importance, documentation,
/// group, width, display name, recommended values separated by commas.
pub(crate) fn options() -> Vec<u8> {
    let mut rows = Vec::new();
    for key in OPTIONS.iter() {
        let default = match key.default {
            Default::Value(text) => Some(text),
            Default::Required | Default::Null => None,
        };
        for text in [
            Some(key.name),
            Some(key.kind.as_str()),
            default,
            Some(if key.required() { "true" } else { "false" }),
            Some(key.importance.as_str()),
            Some(key.documentation),
            Some(key.group),
            Some(key.width.as_str()),
            Some(key.display_name),
            Some(key.offered().collect::<Vec<_>>().join(",").as_str()),
        ] {
            strings::put(&mut rows, text);
        }
    }
    rows
}

/// Returns all errors: rows of an option's name and the reason.
pub(crate) fn errors(config: &Properties) -> Vec<u8> {
    let mut errors = match Config::parse(config) {
        Ok(parsed) => exactly_once::errors(config, &parsed),
        Err(errors) => errors,
    };
    let converter = config.get(VALUE_CONVERTER).map(|class| config::check_value_converter(config, class));
    errors.extend(converter.and_then(Result::err));
    strings::encode(errors.iter().flat_map(|error| [Some(error.option.as_str()), Some(error.message.as_str())]))
}

/// Returns rows of an option's name and the value that may be shown: for options that must not be shown in full, and
/// for all that are not in [`options`] because the user chooses their names.
pub(crate) fn shown(config: &Properties) -> Vec<u8> {
    let shown = |(name, value): (&String, &String)| {
        let key = config::option(name);
        let is_listed = key.is_some_and(|key| key.name == name);
        let told = key.is_some_and(|key| key.mask.is_some()) || !is_listed && config::is_of_a_family(name);
        told.then(|| (name.clone(), key.map_or_else(|| HIDDEN.to_owned(), |key| key.shown(value))))
    };
    let rows: Vec<(String, String)> = config.iter().filter_map(shown).collect();
    strings::encode(rows.iter().flat_map(|(name, value)| [Some(name.as_str()), Some(value.as_str())]))
}

/// Returns warnings: settings that are accepted but probably mistakes. Connect gives a plugin only the connector's
/// configuration, so the worker's converters are not known.
pub(crate) fn warnings(config: &Properties) -> Vec<u8> {
    let warnings = config::warnings::of(config, config.get(VALUE_CONVERTER).map(String::as_str));
    strings::encode(warnings.iter().map(|warning| Some(warning.as_str())))
}

/// Returns the warning for the first record of bytes, if there is one.
pub(crate) fn warning_of_bytes(config: &Properties) -> Option<String> {
    config::warning_of_bytes(config.get(VALUE_CONVERTER).map(String::as_str))
}

/// Returns the partitions of stored offsets: the source partition, and former ones. An invalid configuration has none.
pub(crate) fn partitions(config: &Properties) -> Vec<u8> {
    let Ok(config) = Config::parse(config) else {
        return Vec::new();
    };
    strings::encode(offsets::partitions(&config).iter().map(|partition| Some(partition.as_str())))
}

/// The types of the two MBeans: all figures, and the existing connector's.
const BEANS: [&str; 2] = ["WebSocketTask", "WebSocketConnector"];

/// Returns the attributes of both MBeans as rows, in the order of [`figures`]: MBean, name, Java type, meaning.
pub(crate) fn figure_names() -> Vec<u8> {
    let mut rows = Vec::new();
    let mut put = |row: [&str; 4]| row.into_iter().for_each(|text| strings::put(&mut rows, Some(text)));
    for figure in figures::figures(Host::Plugin) {
        put([BEANS[0], &figure.attribute(), figure.java_type(), figure.help]);
    }
    for attribute in ATTRIBUTES {
        put([BEANS[1], attribute.name, attribute.java_type, attribute.help]);
    }
    rows
}

/// Returns all figures.
pub(crate) fn figures(now: &Snapshot) -> Vec<f64> {
    let figures = figures::figures(Host::Plugin);
    let ours = figures.iter().map(|figure| figure.value(now));
    ours.chain(ATTRIBUTES.iter().map(|attribute| (attribute.value)(now))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_a_name_of_its_own_and_a_value() {
        let texts: Vec<String> = strings::decode(&figure_names()).into_iter().flatten().collect();
        assert_eq!(texts.len(), 4 * figures(&Snapshot::default()).len());
        let unique: std::collections::BTreeSet<&[String]> = texts.chunks(4).map(|row| &row[..2]).collect();
        assert_eq!(unique.len(), texts.len() / 4, "{texts:?}");
    }

    #[test]
    fn what_a_configuration_will_hardly_mean_is_warned_about() {
        let warned = |pairs: &[(&str, &str)]| {
            let config = pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
            strings::decode(&warnings(&config)).len()
        };
        let (string, json) =
            ("org.apache.kafka.connect.storage.StringConverter", "org.apache.kafka.connect.json.JsonConverter");
        assert_eq!(warned(&[("value.converter", string)]), 0);
        assert_eq!(warned(&[("value.converter", string), ("websocket.frame.binary", "bytes")]), 1);
        assert_eq!(warned(&[("value.converter", json), ("tasks.max", "2"), ("websocket.urls", "")]), 3);
    }

    #[test]
    fn a_converter_that_can_never_write_a_record_is_refused() {
        let refused = |pairs: &[(&str, &str)]| {
            let base = [("websocket.url", "ws://h"), ("kafka.topic", "t"), ("value.converter", "ByteArrayConverter")];
            let config = base.iter().chain(pairs).map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
            strings::decode(&errors(&config))
        };
        assert!(refused(&[]).is_empty() && refused(&[("websocket.record.value", "bytes")]).is_empty());
        assert_eq!(refused(&[("websocket.record.value", "string")])[0].as_deref(), Some("value.converter"));
    }

    #[test]
    fn options_have_ten_strings_each() {
        assert_eq!(strings::decode(&options()).len(), OPTIONS.len() * 10);
    }

    #[test]
    fn what_is_masked_is_shown_without_its_secret() {
        let mut config = Properties::new();
        config.insert("websocket.url".into(), "ws://h/?token=hunter2".into());
        config.insert("websocket.headers".into(), "X-Key:hunter2".into());
        config.insert("websocket.secret.key".into(), "hunter2".into());
        config.insert("websocket.session.login.send".into(), "hunter2".into());
        config.insert("websocket.session.login.sned".into(), "hunter2".into());
        config.insert("websocket.session.login.expect".into(), "/ok exists".into());
        config.insert("kafka.topic".into(), "t".into());
        let shown = strings::decode(&shown(&config));
        assert_eq!(shown.len(), 12);
        assert!(shown.iter().flatten().all(|text| !text.contains("hunter2")), "{shown:?}");
        assert!(shown.contains(&Some("/ok exists".into())), "{shown:?}");
    }
}
