//! Hidden values (`rest.config.passwords.hidden`): a client gets marks in place of secrets, and keeps a secret if it
//! sends the mark back. A client that may change a configuration must not be able to read its secrets that way, or to
//! have them sent elsewhere.

use std::collections::BTreeSet;

use connect_websocket_engine::config;
use connect_websocket_engine::config_def::{ConfigError, HIDDEN};
use indexmap::IndexMap;

use crate::config::shown_client_property;
use crate::connector::SentConfig;

/// A stored configuration: as it was sent, with unresolved references.
type Stored = IndexMap<String, String>;

/// The result for the marks in a configuration.
#[derive(Debug, Default)]
pub struct Kept {
    /// The options that got their stored values back.
    pub options: BTreeSet<String>,
    /// Why others did not.
    pub errors: Vec<ConfigError>,
}

/// Returns the value of an option for a response that hides secrets.
pub fn shown(name: &str, value: &str) -> String {
    if is_reference(value) {
        return value.to_owned();
    }
    match config::option(name) {
        Some(key) => key.shown(value),
        None => shown_client_property(name, value),
    }
}

/// Replaces the marks that a client has sent back by the stored values. If secrets would be sent to another address
/// than before, the client has to send them again.
pub fn keep(sent: &mut SentConfig, stored: &Stored) -> Kept {
    let is_mark = |name: &str, sent: Option<&str>| {
        let known = stored.get(name);
        known.is_some_and(|known| sent == Some(shown(name, known).as_str()) && sent != Some(known))
    };
    let marked: BTreeSet<String> =
        sent.iter().filter(|(name, value)| is_mark(name, value.as_deref())).map(|(name, _)| name.clone()).collect();
    if let Some(moved) = changed_destination(sent, stored, &marked) {
        let why = format!("{moved} changes, and stored secrets are not sent to a new address; send the value itself");
        let refuse = |name: &String| {
            let shown = shown(name, stored.get(name).map_or("", String::as_str));
            ConfigError::invalid(name, &shown, &why)
        };
        return Kept { errors: marked.iter().map(refuse).collect(), options: BTreeSet::new() };
    }
    for name in &marked {
        sent.insert(name.clone(), stored.get(name).cloned());
    }
    Kept { options: marked, errors: Vec::new() }
}

/// Refuses marks that have no stored value: they were copied from a response.
pub fn check_marks(given: &IndexMap<String, String>, kept: &Kept) -> Vec<ConfigError> {
    let why = "it is the mark of a hidden value and no value is stored for it; send the value itself";
    let refused = |name: &str| kept.errors.iter().any(|error| error.option == name);
    let left = given.iter().filter(|(name, value)| is_left_mark(name, value.trim()) && !refused(name));
    let left = left.map(|(name, value)| ConfigError::invalid(name, &shown(name, value), why));
    kept.errors.iter().cloned().chain(left).collect()
}

fn is_left_mark(name: &str, value: &str) -> bool {
    let hides_all = || shown(name, "x") == HIDDEN;
    let hides_a_part = || (value.contains("***@") || value.ends_with("?***")) && shown(name, value) == value;
    value == HIDDEN && hides_all() || is_destination(name) && hides_a_part()
}

/// Returns the first option about where secrets are sent that has another value than before.
fn changed_destination<'a>(sent: &'a SentConfig, stored: &'a Stored, marked: &BTreeSet<String>) -> Option<&'a str> {
    let mut names = sent.keys().chain(stored.keys()).filter(|name| is_destination(name) && !marked.contains(*name));
    let changed = |name: &&String| {
        let value = |text: Option<&'a String>| text.map_or("", |text| text.trim());
        value(sent.get(*name).and_then(Option::as_ref)) != value(stored.get(*name))
    };
    names.find(changed).map(String::as_str)
}

/// Whether an option decides where secrets are sent: a server, a proxy, a request, a feed with a profile, Kafka.
fn is_destination(name: &str) -> bool {
    name.ends_with(".url") || name.contains(".http") || name == "websocket.feed" || name.ends_with("bootstrap.servers")
}

fn is_reference(value: &str) -> bool {
    value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).is_some_and(|inner| !inner.contains(['{', '}']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "websocket.url";
    const TOKEN: &str = "websocket.auth.token";
    const JAAS: &str = "producer.override.sasl.jaas.config";

    fn stored() -> Stored {
        let pairs = [
            (URL, "wss://host/?key=hunter2"),
            (TOKEN, "hunter2"),
            (JAAS, "module required password=\"hunter2\";"),
            ("producer.override.bootstrap.servers", "kafka:9092"),
            ("kafka.topic", "trades"),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    fn sent_back(changes: &[(&str, &str)]) -> SentConfig {
        let mut sent: SentConfig =
            stored().into_iter().map(|(name, value)| (name.clone(), Some(shown(&name, &value)))).collect();
        sent.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))));
        sent
    }

    #[test]
    fn what_is_sent_back_as_it_was_shown_is_kept() {
        let mut sent = sent_back(&[("kafka.topic", "others")]);
        assert!(!format!("{sent:?}").contains("hunter2"), "{sent:?}");
        let kept = keep(&mut sent, &stored());
        assert_eq!(kept.options, BTreeSet::from([URL, TOKEN, JAAS].map(str::to_owned)));
        assert!(kept.errors.is_empty());
        assert_eq!(sent[TOKEN].as_deref(), Some("hunter2"));
        assert_eq!(sent["kafka.topic"].as_deref(), Some("others"));
    }

    #[test]
    fn secrets_do_not_follow_to_a_new_place() {
        for (option, value) in [
            (URL, "wss://other/"),
            (URL, "wss://host/other?key=1"),
            ("websocket.proxy.url", "http://proxy:3128"),
            ("websocket.feed", "kraken"),
            ("websocket.session.token.http", "POST https://other/"),
            ("producer.override.bootstrap.servers", "other:9092"),
        ] {
            let mut sent = sent_back(&[(option, value)]);
            let kept = keep(&mut sent, &stored());
            assert!(kept.options.is_empty() && !format!("{sent:?}").contains("hunter2"), "{option}: {sent:?}");
            let token = kept.errors.iter().find(|error| error.option == TOKEN).expect(option);
            assert!(token.message.contains(&format!("{option} changes")), "{}", token.message);
        }
        let mut sent = sent_back(&[(URL, "wss://other/"), (TOKEN, "mine"), (JAAS, "mine")]);
        assert!(keep(&mut sent, &stored()).errors.is_empty(), "all was sent anew");
    }

    #[test]
    fn a_mark_is_never_a_value() {
        for (option, value) in
            [(TOKEN, " [hidden] "), (JAAS, "[hidden]"), (URL, "wss://host/x?***"), (URL, "wss://***@host/")]
        {
            let given = Stored::from([(option.to_owned(), value.to_owned())]);
            assert_eq!(check_marks(&given, &Kept::default()).len(), 1, "{option}={value}");
        }
        let topic = Stored::from([("kafka.topic".to_owned(), "[hidden]".to_owned())]);
        assert!(check_marks(&topic, &Kept::default()).is_empty());
        assert!(check_marks(&stored(), &Kept::default()).is_empty());
    }
}
