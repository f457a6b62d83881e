//! What an option is, and how its text becomes a value: the rules of Kafka's `ConfigDef`.
//!
//! The connector's table is [`crate::config::OPTIONS`]. The worker has the framework's keys (`name`, `tasks.max`, …) in
//! a table of the same type. Error texts are Kafka's, because clients and people search for them.

use std::fmt;

use indexmap::IndexMap;

/// Replaces a secret value, as in Kafka's `Password`.
pub const HIDDEN: &str = "[hidden]";

/// The mask of an option whose value is never shown.
pub fn hide(_: &str) -> String {
    HIDDEN.to_owned()
}

/// A configuration as in Kafka Connect: names and texts of options, in the order in which they were written.
pub type Properties = IndexMap<String, String>;

/// Checks the trimmed text of an option. Returns why it is refused.
pub type Check = fn(&str) -> Result<(), String>;

/// An option. Everything about it is here, and nowhere else.
#[derive(Debug, Clone, Copy)]
pub struct ConfigKey {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Default,
    pub importance: Importance,
    pub group: &'static str,
    pub width: Width,
    pub display_name: &'static str,
    pub documentation: &'static str,
    /// The only possible values. Empty if others are possible.
    pub choices: &'static [&'static str],
    /// Values to offer in a form, if others are possible.
    pub recommended: &'static [&'static str],
    /// The smallest number.
    pub at_least: Option<i64>,
    /// The largest number.
    pub at_most: Option<i64>,
    /// Whether its text is a template or a condition.
    pub has_expressions: bool,
    /// A further rule.
    pub check: Option<Check>,
    /// Which part of a value may be shown, if not all of it. (A password is never shown.)
    pub mask: Option<fn(&str) -> String>,
}

/// The types of `ConfigDef.Type` that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    String,
    Int,
    Long,
    List,
    Class,
    Password,
}

impl Kind {
    /// Returns the name in JSON and in error texts.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Boolean => "BOOLEAN",
            Kind::String => "STRING",
            Kind::Int => "INT",
            Kind::Long => "LONG",
            Kind::List => "LIST",
            Kind::Class => "CLASS",
            Kind::Password => "PASSWORD",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// The option is required.
    Required,
    /// The default is null.
    Null,
    Value(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Importance {
    High,
    Medium,
    Low,
}

impl Importance {
    pub fn as_str(self) -> &'static str {
        match self {
            Importance::High => "HIGH",
            Importance::Medium => "MEDIUM",
            Importance::Low => "LOW",
        }
    }
}

/// The width of a form field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    Short,
    Medium,
    Long,
}

impl Width {
    pub fn as_str(self) -> &'static str {
        match self {
            Width::Short => "SHORT",
            Width::Medium => "MEDIUM",
            Width::Long => "LONG",
        }
    }
}

/// How much of a value an error shows. An option can have a megabyte, and many errors.
const MAX_SHOWN_BYTES: usize = 1024;

/// Why an option is refused, in Kafka's words. It names the option, the value unless it is secret, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub option: String,
    pub message: String,
}

impl ConfigError {
    pub fn new(option: impl Into<String>, message: impl Into<String>) -> Self {
        ConfigError { option: option.into(), message: message.into() }
    }

    /// Kafka's `Invalid value {value} for configuration {option}: {why}`.
    /// Of a very long value, only the beginning is shown.
    pub fn invalid(option: &str, value: &str, why: impl fmt::Display) -> Self {
        let shown = &value[..value.floor_char_boundary(MAX_SHOWN_BYTES)];
        let rest = if shown.len() < value.len() { "…" } else { "" };
        ConfigError::new(option, format!("Invalid value {shown}{rest} for configuration {option}: {why}"))
    }

    /// The same, for a value that must not be shown.
    pub fn invalid_secret(option: &str, why: impl fmt::Display) -> Self {
        ConfigError::invalid(option, HIDDEN, why)
    }

    /// Returns the error for a missing option without a default.
    pub fn missing(option: &str) -> Self {
        ConfigError::new(option, format!("Missing required configuration \"{option}\" which has no default value."))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

impl ConfigKey {
    /// The values of most options. Tables set what is different.
    pub const BASE: ConfigKey = ConfigKey {
        name: "",
        kind: Kind::String,
        default: Default::Null,
        importance: Importance::Low,
        group: "",
        width: Width::Medium,
        display_name: "",
        documentation: "",
        choices: &[],
        recommended: &[],
        at_least: None,
        at_most: None,
        has_expressions: false,
        check: None,
        mask: None,
    };

    /// Returns the effective text: the given one, or the default. It is trimmed, as `ConfigDef.parseType` does.
    /// `Ok(None)` is null.
    ///
    /// # Errors
    /// All errors of the text. No sentence shows the value of a password.
    pub fn value<'a>(&self, given: Option<&'a str>) -> Result<Option<&'a str>, Vec<ConfigError>>
    where
        'static: 'a,
    {
        let Some(text) = given.map(str::trim) else {
            return match self.default {
                Default::Required => Err(vec![ConfigError::missing(self.name)]),
                Default::Null => Ok(None),
                Default::Value(text) => Ok(Some(text)),
            };
        };
        let checked = self
            .check_type(text)
            .and_then(|()| self.check_bounds(text))
            .and_then(|()| self.check_choices(text))
            .and_then(|()| self.check.map_or(Ok(()), |check| check(text)));
        match checked {
            Ok(()) => Ok(Some(text)),
            Err(why) => Err(vec![self.refuse(text, &why)]),
        }
    }

    /// Returns the error for a refused value.
    pub fn refuse(&self, value: &str, why: &str) -> ConfigError {
        ConfigError::invalid(self.name, &self.shown(value), why)
    }

    /// Returns the value as errors and REST responses may show it.
    pub fn shown(&self, value: &str) -> String {
        match (self.kind, self.mask) {
            (Kind::Password, _) => HIDDEN.to_owned(),
            (_, Some(mask)) => mask(value),
            (_, None) => value.to_owned(),
        }
    }

    /// Returns the default as JSON and documentation show it.
    pub fn default_text(&self) -> Option<&'static str> {
        match self.default {
            Default::Value(text) => Some(text),
            Default::Required | Default::Null => None,
        }
    }

    /// Returns the values to offer in a form.
    pub fn offered(&self) -> impl Iterator<Item = &'static str> {
        self.choices.iter().chain(self.recommended).copied().filter(|value| !value.is_empty())
    }

    pub fn required(&self) -> bool {
        self.default == Default::Required
    }

    fn check_type(&self, text: &str) -> Result<(), String> {
        let fits = match self.kind {
            Kind::Boolean => {
                return if parse_boolean(text).is_some() {
                    Ok(())
                } else {
                    Err("Expected value to be either true or false".into())
                };
            }
            Kind::Int => text.parse::<i32>().is_ok(),
            Kind::Long => text.parse::<i64>().is_ok(),
            Kind::String | Kind::List | Kind::Class | Kind::Password => true,
        };
        if fits { Ok(()) } else { Err(format!("Not a number of type {}", self.kind.as_str())) }
    }

    fn check_bounds(&self, text: &str) -> Result<(), String> {
        let value = text.parse::<i64>().ok();
        match (value, self.at_least, self.at_most) {
            (Some(value), Some(least), _) if value < least => Err(format!("Value must be at least {least}")),
            (Some(value), _, Some(most)) if value > most => Err(format!("Value must be no more than {most}")),
            _ => Ok(()),
        }
    }

    fn check_choices(&self, text: &str) -> Result<(), String> {
        if self.choices.is_empty() { Ok(()) } else { one_of(text, self.choices) }
    }
}

/// Parses `true` or `false`, in any letter case.
pub fn parse_boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// Checks for one of these values, for rows that offer no values in a form, as Connect's own. Other rows use
/// [`ConfigKey::choices`].
///
/// # Errors
/// Kafka's sentence, if the text is not one of them.
pub fn one_of(text: &str, allowed: &[&str]) -> Result<(), String> {
    if allowed.contains(&text) {
        return Ok(());
    }
    let named: Vec<&str> = allowed.iter().copied().filter(|value| !value.is_empty()).collect();
    Err(format!("String must be one of: {}", named.join(", ")))
}

/// Reads a LIST: split at commas, with trimmed entries. An empty text is an empty list.
pub fn parse_list(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split(',').map(str::trim).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: ConfigKey = ConfigKey {
        name: "count",
        kind: Kind::Int,
        default: Default::Value("3"),
        importance: Importance::Low,
        group: "g",
        width: Width::Short,
        display_name: "Count",
        documentation: "how many",
        at_least: Some(0),
        ..ConfigKey::BASE
    };

    #[test]
    fn numbers_are_trimmed_and_checked_by_type_then_by_rule() {
        assert_eq!(COUNT.value(Some(" 7 ")), Ok(Some("7")));
        assert_eq!(COUNT.value(None), Ok(Some("3")));
        let errors = COUNT.value(Some("many")).unwrap_err();
        assert_eq!(errors[0].message, "Invalid value many for configuration count: Not a number of type INT");
        let errors = COUNT.value(Some("-1")).unwrap_err();
        assert_eq!(errors[0].message, "Invalid value -1 for configuration count: Value must be at least 0");
    }

    #[test]
    fn a_missing_required_option_has_kafkas_sentence() {
        let key = ConfigKey { default: Default::Required, ..COUNT };
        assert_eq!(
            key.value(None).unwrap_err()[0].message,
            "Missing required configuration \"count\" which has no default value."
        );
    }

    #[test]
    fn a_refused_password_is_not_shown() {
        let key = ConfigKey { kind: Kind::Password, check: Some(|_| Err("too short".into())), ..COUNT };
        let message = key.value(Some("hunter2")).unwrap_err()[0].message.clone();
        assert!(!message.contains("hunter2") && message.contains("[hidden]"), "{message}");
    }

    #[test]
    fn booleans_take_any_case_and_nothing_else() {
        assert_eq!(parse_boolean("TRUE"), Some(true));
        assert_eq!(parse_boolean("false"), Some(false));
        assert_eq!(parse_boolean("yes"), None);
    }

    #[test]
    fn lists_split_at_commas() {
        assert_eq!(parse_list("a , b,c"), ["a", "b", "c"]);
        assert!(parse_list("").is_empty());
    }
}
