//! The text in force of each option, and how it becomes a type.

use std::time::Duration;

use super::{OPTIONS, Provided, backfill, connection, is_of_a_family, messages, option, resume, security, session};
use crate::config_def::{ConfigError, ConfigKey, Kind, Properties};
use crate::tls;

/// The checked text of each option, to be typed. A text that fails to become its type was refused by the table before, so
/// what stands here falls back silently.
pub(super) struct Values<'a> {
    properties: &'a Properties,
    errors: Vec<ConfigError>,
}

impl<'a> Values<'a> {
    /// Checks every option by its row, and then those that concern each other.
    ///
    /// # Errors
    /// All that is wrong, at once, in the order of the table.
    pub(super) fn check(properties: &'a Properties, provided: &Provided) -> Result<Values<'a>, Vec<ConfigError>> {
        let errors = provided.not_replaced(properties, |name| option(name).is_some());
        let mut values = Values { properties, errors };
        for key in OPTIONS.iter().filter(|key| provided.left(properties, key.name).is_none()) {
            if let Err(errors) = key.value(properties.get(key.name).map(String::as_str)) {
                values.errors.extend(errors);
            }
        }
        values.check_braces();
        values.check_families();
        values.check_together();
        if values.errors.is_empty() { Ok(values) } else { Err(values.errors) }
    }

    /// Where no template is rendered its braces would be sent as they are; a password may have them.
    fn check_braces(&mut self) {
        let plain = |key: &&ConfigKey| !key.has_expressions && key.kind != Kind::Password;
        for key in OPTIONS.iter().filter(plain) {
            if let Some(text) = self.properties.get(key.name).filter(|text| text.contains("{{")) {
                let error = ConfigError::invalid(key.name, &key.shown(text.trim()), "it takes no template, no {{…}}");
                self.errors.push(error);
            }
        }
    }

    /// Options whose name has a part that the user chooses: the rules of their row, and no name that is none.
    fn check_families(&mut self) {
        for (name, text) in self.properties {
            let is_listed = option(name).is_some_and(|key| key.name == name);
            if is_listed || !is_of_a_family(name) {
                continue;
            }
            let Some(key) = option(name) else {
                self.errors.push(ConfigError::new(name, session::unknown(name)));
                continue;
            };
            let refused = key.value(Some(text)).err().unwrap_or_default();
            let named = |error: ConfigError| ConfigError::new(name, error.message.replace(key.name, name));
            self.errors.extend(refused.into_iter().map(named));
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        option(name)?.value(self.properties.get(name).map(String::as_str)).ok().flatten()
    }

    /// Whether the option stands in the configuration, or its default is in force.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.properties.contains_key(name)
    }

    pub(super) fn non_empty(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// The text of an option as it was given.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(|text| text.trim())
    }

    /// Options of a family: what comes behind the prefix, and their texts, if they have one.
    pub(super) fn family(&self, prefix: &str) -> Vec<(String, String)> {
        let rest = self.properties.iter().filter_map(|(name, text)| Some((name.strip_prefix(prefix)?, text.trim())));
        let given = rest.filter(|(name, text)| !name.is_empty() && !text.is_empty());
        given.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
    }

    pub(super) fn number(&self, name: &str) -> i64 {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    pub(super) fn size(&self, name: &str) -> usize {
        usize::try_from(self.number(name)).unwrap_or_default()
    }

    pub(super) fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(u64::try_from(self.number(name)).unwrap_or_default())
    }

    /// A duration of which 0 means off.
    pub(super) fn millis_or_off(&self, name: &str) -> Option<Duration> {
        Some(self.millis(name)).filter(|duration| !duration.is_zero())
    }

    /// Rules that concern two options.
    fn check_together(&mut self) {
        use connection::PROXY_URL;
        use messages::{MESSAGE_MAX_BYTES, QUEUE_MAX_BYTES};
        use security::{PROXY_PASSWORD, PROXY_USERNAME, SSL_CERTIFICATE, SSL_KEY};
        if !self.is_given(connection::URL) {
            self.errors.insert(0, ConfigError::missing(connection::URL));
        }
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
        self.errors.extend(resume::problems(self));
        self.errors.extend(backfill::problems(self));
        let tls: tls::Settings = security::tls(self);
        for (part, file, why) in tls.problems() {
            let error = ConfigError::invalid(security::option_of(part), &file.display().to_string(), why);
            self.errors.push(error);
        }
    }

    fn refuse(&mut self, name: &str, why: &str) {
        if let Some(key) = option(name) {
            let error = key.refuse(self.text(name).unwrap_or_default(), why);
            self.errors.push(error);
        }
    }
}
