//! The effective text of each option, and its conversion to a type.

use std::fmt;
use std::time::Duration;

use super::provided::Provided;
use super::table::Table;
use crate::config_def::{ConfigError, ConfigKey, HIDDEN, Kind, Properties};

/// The text of each option. A text that cannot be converted was refused by the table already, so the conversions use a
/// default for it.
pub(super) struct Values<'a> {
    properties: &'a Properties,
    table: &'static Table,
}

impl<'a> Values<'a> {
    pub(super) fn of(properties: &'a Properties, table: &'static Table) -> Values<'a> {
        Values { properties, table }
    }

    /// Checks every option by its row. Returns all errors in the order of the table.
    pub(super) fn problems(&self, provided: &Provided) -> Vec<ConfigError> {
        let mut errors = provided.not_replaced(self.properties, |name| self.table.find(name).is_some());
        for key in self.table.options().filter(|key| provided.left(self.properties, key.name).is_none()) {
            let given = self.properties.get(key.name).map(String::as_str);
            match given.filter(|text| has_vain_braces(key, text)) {
                Some(_) => errors.push(self.refuse(key.name, "it cannot be a template; remove {{…}}")),
                None => errors.extend(key.value(given).err().unwrap_or_default()),
            }
        }
        errors.extend(self.families());
        errors
    }

    /// Checks the options of families: the rules of their row, and their names.
    fn families(&self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        for (name, text) in self.properties {
            let is_listed = self.table.find(name).is_some_and(|key| key.name == name);
            if is_listed || !self.table.is_of_a_family(name) {
                continue;
            }
            let Some(key) = self.table.find(name) else {
                errors.push(ConfigError::new(name, self.table.unknown(name)));
                continue;
            };
            let refused = key.value(Some(text)).err().unwrap_or_default();
            let named = |error: ConfigError| ConfigError::new(name, error.message.replace(key.name, name));
            errors.extend(refused.into_iter().map(named));
        }
        errors
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.table.find(name)?.value(self.properties.get(name).map(String::as_str)).ok().flatten()
    }

    /// Whether the option is in the configuration. Otherwise its default is used.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.properties.contains_key(name)
    }

    pub(super) fn non_empty(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// Returns the text of an option as it was given.
    pub(super) fn given(&self, name: &str) -> Option<&'a str> {
        self.properties.get(name).map(|text| text.trim())
    }

    /// Returns the effective text, valid or not. An empty one counts as none.
    pub(super) fn in_force(&self, name: &str) -> Option<&'a str> {
        let default = || self.table.find(name).and_then(|key| key.default_text());
        self.given(name).or_else(default).filter(|text| !text.is_empty())
    }

    pub(super) fn properties(&self) -> &'a Properties {
        self.properties
    }

    /// Returns the options of a family that have a text: the part after the prefix, and the text.
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

    /// Returns a duration, or `None` for 0, which means off.
    pub(super) fn millis_or_off(&self, name: &str) -> Option<Duration> {
        Some(self.millis(name)).filter(|duration| !duration.is_zero())
    }

    /// Returns an error about an option, with its value if that may be shown.
    pub(super) fn refuse(&self, name: &str, why: impl fmt::Display) -> ConfigError {
        let value = self.given(name).or_else(|| self.text(name)).unwrap_or_default();
        let shown = self.table.find(name).map_or_else(|| HIDDEN.to_owned(), |key| key.shown(value));
        ConfigError::invalid(name, &shown, why)
    }
}

/// Refuses templates in options that are used as they are. A password may contain braces.
fn has_vain_braces(key: &ConfigKey, text: &str) -> bool {
    !key.has_expressions && key.kind != Kind::Password && text.contains("{{")
}
