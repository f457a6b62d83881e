//! The properties of one client during their translation to librdkafka's settings.

use std::ops::RangeInclusive;

use indexmap::IndexMap;

use connect_websocket_engine::config_def::ConfigError;

/// A Java client property.
#[derive(Clone)]
pub(super) struct Property {
    /// The value, trimmed as in Kafka.
    pub(super) value: String,
    /// The full name of the option that set it, for example `producer.override.acks`.
    pub(super) option: String,
}

/// The properties that are not translated yet, and the results so far.
#[derive(Default)]
pub(super) struct Translation {
    /// The prefix under which the worker's file sets this client's properties, for errors about missing ones.
    pub(super) prefix: &'static str,
    pub(super) properties: IndexMap<String, Property>,
    pub(super) settings: Vec<(String, String)>,
    pub(super) warnings: Vec<String>,
    pub(super) errors: Vec<ConfigError>,
}

/// A numeric property: what Java accepts, and what librdkafka accepts.
pub(super) struct Number {
    /// Java's name.
    pub(super) name: &'static str,
    /// Java's type, INT or LONG, and the smallest value.
    pub(super) java: (&'static str, i64),
    /// librdkafka's name.
    pub(super) setting: &'static str,
    /// librdkafka's range. For a value outside, the nearest limit is used, with a warning.
    pub(super) range: RangeInclusive<i64>,
    /// Java's default, if librdkafka has another one.
    pub(super) default: Option<i64>,
}

impl Translation {
    /// Adds a layer of properties. Later layers replace earlier ones.
    pub(super) fn layer<'a>(&mut self, prefix: &str, properties: impl Iterator<Item = (&'a str, &'a str)>) {
        for (name, value) in properties {
            let property = Property { value: value.trim().to_owned(), option: format!("{prefix}{name}") };
            self.properties.insert(name.to_owned(), property);
        }
    }

    /// Takes a property, also an empty one.
    pub(super) fn take(&mut self, name: &str) -> Option<Property> {
        self.properties.shift_remove(name)
    }

    /// Takes a property. An empty one counts as not set.
    pub(super) fn take_text(&mut self, name: &str) -> Option<Property> {
        self.take(name).filter(|property| !property.value.is_empty())
    }

    /// Takes all properties whose names begin with `prefix`.
    pub(super) fn take_prefix(&mut self, prefix: &str) -> Vec<(String, Property)> {
        let all = std::mem::take(&mut self.properties);
        let (taken, rest): (IndexMap<_, _>, _) = all.into_iter().partition(|(name, _)| name.starts_with(prefix));
        self.properties = rest;
        taken.into_iter().collect()
    }

    /// Takes one of a few words. An unknown one is an error.
    pub(super) fn take_word(&mut self, name: &str, words: &[&str]) -> Option<Property> {
        let mut property = self.take(name)?;
        match words.iter().find(|word| word.eq_ignore_ascii_case(&property.value)) {
            Some(word) => {
                property.value = (*word).to_owned();
                Some(property)
            }
            None => {
                let why = match words {
                    ["true", "false"] => "Expected value to be either true or false".to_owned(),
                    _ => format!("String must be one of (case insensitive): {}", words.join(", ")),
                };
                self.errors.push(ConfigError::invalid(&property.option, &property.value, why));
                None
            }
        }
    }

    /// Returns a number without taking it. A wrong one is reported when it is taken.
    pub(super) fn peek_number(&self, name: &str) -> Option<i64> {
        self.properties.get(name)?.value.parse().ok().filter(|number: &i64| (0..=i64::from(i32::MAX)).contains(number))
    }

    /// Takes a number that Java accepts.
    pub(super) fn take_number(&mut self, name: &str, (java_type, least): (&str, i64)) -> Option<(i64, String)> {
        let property = self.take(name)?;
        let largest = if java_type == "INT" { i64::from(i32::MAX) } else { i64::MAX };
        let why = match property.value.parse::<i64>() {
            Ok(number) if number < least => format!("Value must be at least {least}"),
            Ok(number) if number <= largest => return Some((number, property.option)),
            _ => format!("Not a number of type {java_type}"),
        };
        self.errors.push(ConfigError::invalid(&property.option, &property.value, why));
        None
    }

    /// Takes and sets a number, or sets its default. Returns its value for Java.
    pub(super) fn number(&mut self, number: &Number) -> Option<i64> {
        match self.take_number(number.name, number.java) {
            Some((value, option)) => {
                self.set_limited(number.setting, value, &number.range, &option);
                Some(value)
            }
            None => {
                let value = number.default?;
                self.set(number.setting, value.to_string());
                Some(value)
            }
        }
    }

    /// Sets a number from `option`, limited to librdkafka's range. If -1 means "no value", it can become 0 without a
    /// warning.
    pub(super) fn set_limited(&mut self, setting: &str, value: i64, range: &RangeInclusive<i64>, option: &str) {
        let limited = value.clamp(*range.start(), *range.end());
        if limited != value && (value, limited) != (-1, 0) {
            let (start, end) = (range.start(), range.end());
            self.warnings
                .push(format!("{option}={value} is taken as {limited}: the Kafka client here knows {start} to {end}"));
        }
        self.set(setting, limited.to_string());
    }

    /// Sets a setting of librdkafka.
    pub(super) fn set(&mut self, setting: &str, value: impl Into<String>) {
        self.settings.push((setting.to_owned(), value.into()));
    }
}
