//! The texts of a worker's options, checked by their tables and then typed.

use std::time::Duration;

use connect_websocket_engine::config_def::{ConfigError, ConfigKey, parse_boolean, parse_list};
use indexmap::IndexMap;

/// A row with the values of most rows.
pub(crate) const BASE: ConfigKey = ConfigKey { group: "Worker", ..ConfigKey::BASE };

/// The checked text of each option. A refused text counts as empty, because its error is kept already.
pub(crate) struct Values<'a> {
    pub(crate) properties: &'a IndexMap<String, String>,
    pub(crate) errors: Vec<ConfigError>,
    tables: Vec<&'static [ConfigKey]>,
}

impl<'a> Values<'a> {
    pub(crate) fn new(properties: &'a IndexMap<String, String>, errors: Vec<ConfigError>) -> Values<'a> {
        Values { properties, errors, tables: Vec::new() }
    }

    /// Checks the options of a table. Their values can be read afterwards.
    pub(crate) fn check(&mut self, table: &'static [ConfigKey]) {
        for key in table {
            if let Err(errors) = key.value(self.properties.get(key.name).map(String::as_str)) {
                self.errors.extend(errors);
            }
        }
        self.tables.push(table);
    }

    pub(crate) fn optional(&self, name: &str) -> Option<&str> {
        let row = self.tables.iter().copied().flatten().find(|key| key.name == name)?;
        row.value(self.properties.get(name).map(String::as_str)).ok().flatten()
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.optional(name).unwrap_or_default()
    }

    pub(crate) fn boolean(&self, name: &str) -> bool {
        parse_boolean(self.text(name)).unwrap_or_default()
    }

    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        parse_list(self.text(name))
    }

    pub(crate) fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.text(name).parse().unwrap_or_default())
    }
}
