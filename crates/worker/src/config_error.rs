//! One wrong option, worded the way Kafka's own `ConfigException` words it.

use std::fmt;

/// A configuration error that names its option.
///
/// `message` is the whole sentence that a user or a REST client sees; it never holds a secret value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The full option name, for example `value.converter.schemas.enable`.
    pub option: String,
    /// What is wrong and, where there is one, the remedy.
    pub message: String,
}

impl ConfigError {
    /// `Invalid value {value} for configuration {option}: {why}`.
    pub fn invalid(option: &str, value: &str, why: impl fmt::Display) -> Self {
        Self::sentence(option, format!("Invalid value {value} for configuration {option}: {why}"))
    }

    /// As [`ConfigError::invalid`] for a value that must not be shown.
    pub fn invalid_secret(option: &str, why: impl fmt::Display) -> Self {
        Self::invalid(option, "[hidden]", why)
    }

    /// An option without a default that was not given.
    pub fn missing(option: &str) -> Self {
        Self::sentence(option, format!("Missing required configuration \"{option}\" which has no default value."))
    }

    /// A sentence of its own about this option.
    pub fn sentence(option: &str, message: impl Into<String>) -> Self {
        Self { option: option.to_owned(), message: message.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_errors_as_kafka_does() {
        assert_eq!(
            ConfigError::invalid("tasks.max", "x", "Not a number of type INT").to_string(),
            "Invalid value x for configuration tasks.max: Not a number of type INT"
        );
        assert_eq!(
            ConfigError::missing("name").to_string(),
            "Missing required configuration \"name\" which has no default value."
        );
    }

    #[test]
    fn hides_a_secret_value() {
        let error = ConfigError::invalid_secret("sasl.jaas.config", "not terminated");
        assert_eq!(error.message, "Invalid value [hidden] for configuration sasl.jaas.config: not terminated");
    }
}
