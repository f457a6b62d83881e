//! Options of reconnecting.

use std::time::Duration;

use super::values::Values;
use crate::config_def::{ConfigKey, Default, Importance, Kind, Width, parse_boolean};

pub(super) const RECONNECT_ENABLED: &str = "websocket.reconnect.enabled";
pub(super) const RECONNECT_INTERVAL_MS: &str = "websocket.reconnect.interval.ms";
pub(super) const RECONNECT_BACKOFF_MAX_MS: &str = "websocket.reconnect.backoff.max.ms";
pub(super) const RECONNECT_MAX_ATTEMPTS: &str = "websocket.reconnect.max.attempts";
pub(super) const RECONNECT_FIRST_DELAY_MS: &str = "websocket.reconnect.first.delay.ms";

const BASE: ConfigKey = ConfigKey { group: "Reconnect", ..ConfigKey::BASE };

pub(super) const OPTIONS: &[ConfigKey] = &[
    ConfigKey {
        name: RECONNECT_ENABLED,
        kind: Kind::Boolean,
        default: Default::Value("true"),
        importance: Importance::Medium,
        width: Width::Short,
        display_name: "Reconnect",
        documentation: "Whether to reconnect when a connection ends. If false, the task fails with the reason.",
        ..BASE
    },
    ConfigKey {
        name: RECONNECT_INTERVAL_MS,
        kind: Kind::Long,
        default: Default::Value("5000"),
        importance: Importance::Medium,
        width: Width::Short,
        display_name: "Backoff (ms)",
        documentation: "The delay before the second attempt in a row, in milliseconds; less than 100 counts as 100. It doubles with each failed \
                        attempt, up to websocket.reconnect.backoff.max.ms. Up to 25 % is added at random.",
        at_least: Some(0),
        ..BASE
    },
    ConfigKey {
        name: RECONNECT_BACKOFF_MAX_MS,
        kind: Kind::Long,
        default: Default::Value("60000"),
        importance: Importance::Medium,
        width: Width::Short,
        display_name: "Backoff cap (ms)",
        documentation: "The longest delay between two attempts, in milliseconds, before the random part.",
        at_least: Some(0),
        ..BASE
    },
    ConfigKey {
        name: RECONNECT_MAX_ATTEMPTS,
        kind: Kind::Int,
        default: Default::Value("-1"),
        importance: Importance::Medium,
        width: Width::Short,
        display_name: "Attempts",
        documentation: "How many attempts in a row may fail before the task fails. -1 or 0: no limit. Not set: no limit for a feed that has worked \
                        before, five for one that never worked and refuses the connection. A connection that lived for ten seconds resets the count.",
        ..BASE
    },
    ConfigKey {
        name: RECONNECT_FIRST_DELAY_MS,
        kind: Kind::Long,
        default: Default::Value("2"),
        width: Width::Short,
        display_name: "First delay (ms)",
        documentation: "The longest delay before the first attempt, in milliseconds; the delay is random. It applies after a connection that \
                        delivered messages for a second or longer. Only further attempts wait longer.",
        at_least: Some(0),
        ..BASE
    },
];

/// When to reconnect, and how often.
#[derive(Debug, Clone)]
pub struct Reconnect {
    pub enabled: bool,
    pub first_delay: Duration,
    pub interval: Duration,
    pub backoff_max: Duration,
    pub attempts: Attempts,
}

/// How many attempts in a row may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempts {
    /// The session decides: an outage is tried without limit, a refusal is not.
    Unset,
    WithoutEnd,
    AtMost(u32),
}

pub(super) fn reconnect(values: &Values<'_>) -> Reconnect {
    Reconnect {
        enabled: values.text(RECONNECT_ENABLED).and_then(parse_boolean).unwrap_or(true),
        first_delay: values.millis(RECONNECT_FIRST_DELAY_MS),
        interval: values.millis(RECONNECT_INTERVAL_MS),
        backoff_max: values.millis(RECONNECT_BACKOFF_MAX_MS),
        attempts: attempts(values),
    }
}

fn attempts(values: &Values<'_>) -> Attempts {
    match u32::try_from(values.number(RECONNECT_MAX_ATTEMPTS)) {
        _ if !values.is_given(RECONNECT_MAX_ATTEMPTS) => Attempts::Unset,
        Ok(most @ 1..) => Attempts::AtMost(most),
        Ok(0) | Err(_) => Attempts::WithoutEnd,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::tests::properties;
    use super::*;

    #[test]
    fn attempts_are_without_end_only_where_that_is_said() {
        let attempts = |pairs: &[_]| Config::parse(&properties(pairs)).unwrap().reconnect.attempts;
        assert_eq!(attempts(&[]), Attempts::Unset);
        for text in ["0", "-1", "-7"] {
            assert_eq!(attempts(&[(RECONNECT_MAX_ATTEMPTS, text)]), Attempts::WithoutEnd);
        }
        assert_eq!(attempts(&[(RECONNECT_MAX_ATTEMPTS, "3")]), Attempts::AtMost(3));
    }
}
