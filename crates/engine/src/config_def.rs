//! What an option is, and how its text becomes a value: the rules of Kafka's `ConfigDef`.
//!
//! The connector's own table is [`crate::config::OPTIONS`]; the worker keeps the framework's keys (`name`, `tasks.max`, …)
//! in a table of the same type. Error texts are Kafka's, since clients and people match on them.

use std::fmt;

use indexmap::IndexMap;

/// Stands for a secret value, as in Kafka's `Password`.
pub const HIDDEN: &str = "[hidden]";

/// The mask of an option of which nothing may be shown.
pub fn hide(_: &str) -> String {
    HIDDEN.to_owned()
}

/// A configuration as Kafka Connect passes it: option name to text, in the order in which it was written.
pub type Properties = IndexMap<String, String>;

/// Sees the trimmed text of an option and answers why it is refused.
pub type Check = fn(&str) -> Result<(), String>;

/// One option. Everything that is known of it stands here and nowhere else.
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
    /// The only values that go; empty where others go too.
    pub choices: &'static [&'static str],
    /// Values to offer in a form, where others go too.
    pub recommended: &'static [&'static str],
    /// The smallest number that goes.
    pub at_least: Option<i64>,
    /// The largest number that goes.
    pub at_most: Option<i64>,
    /// Whether its text is a template or a condition.
    pub has_expressions: bool,
    /// A rule beyond type, choices and bounds.
    pub check: Option<Check>,
    /// How much of a value may be seen, where that is not all of it (a password never is).
    pub mask: Option<fn(&str) -> String>,
}

/// The types of `ConfigDef.Type` that are in use.
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
    /// The name in JSON and in error texts.
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
    /// The option must be given.
    Required,
    /// Absent means null.
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

/// How wide a form field should be.
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

/// Why an option was refused, in Kafka's words: names the option, the value unless it is secret, and the remedy.
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
    pub fn invalid(option: &str, value: &str, why: impl fmt::Display) -> Self {
        ConfigError::new(option, format!("Invalid value {value} for configuration {option}: {why}"))
    }

    /// The same for a value that must not be shown.
    pub fn invalid_secret(option: &str, why: impl fmt::Display) -> Self {
        ConfigError::invalid(option, HIDDEN, why)
    }

    /// An option without a default that was not given.
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
    /// What most options have; a table names what is different.
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

    /// The text in force: what was given, else the default. Trimmed, as `ConfigDef.parseType` does.
    /// `Ok(None)` is a null value.
    ///
    /// # Errors
    /// Every rule the text breaks; none of the sentences shows the value of a password.
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

    /// The sentence for a value that is refused.
    pub fn refuse(&self, value: &str, why: &str) -> ConfigError {
        ConfigError::invalid(self.name, &self.shown(value), why)
    }

    /// The value as errors and REST answers may show it.
    pub fn shown(&self, value: &str) -> String {
        match (self.kind, self.mask) {
            (Kind::Password, _) => HIDDEN.to_owned(),
            (_, Some(mask)) => mask(value),
            (_, None) => value.to_owned(),
        }
    }

    /// The default as JSON and documentation show it.
    pub fn default_text(&self) -> Option<&'static str> {
        match self.default {
            Default::Value(text) => Some(text),
            Default::Required | Default::Null => None,
        }
    }

    /// Values to offer in a form.
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

/// `true` and `false` in any case; nothing else.
pub fn parse_boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// A check for rows that offer no values in a form, as Connect's own do not; else [`ConfigKey::choices`] says it.
///
/// # Errors
/// Kafka's sentence, if the text is none of them.
pub fn one_of(text: &str, allowed: &[&str]) -> Result<(), String> {
    if allowed.contains(&text) {
        return Ok(());
    }
    let named: Vec<&str> = allowed.iter().copied().filter(|value| !value.is_empty()).collect();
    Err(format!("String must be one of: {}", named.join(", ")))
}

/// A LIST: split at commas, each entry trimmed; the empty text is the empty list.
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
