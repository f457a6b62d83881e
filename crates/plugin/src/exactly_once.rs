//! Answers Kafka Connect's questions about exactly-once support (KIP-618). The engine decides whether it is possible.
//! This module has Connect's own options about it.

use connect_websocket_engine::config::Config;
use connect_websocket_engine::config_def::{ConfigError, Properties};

use crate::strings;

/// The option by which a connector requires it.
const SUPPORT: &str = "exactly.once.support";
/// The options for when a transaction ends.
const BOUNDARY: &str = "transaction.boundary";
const BOUNDARY_INTERVAL_MS: &str = "transaction.boundary.interval.ms";
/// The longest interval for acknowledged feeds: some wait only 3 s for an acknowledgement.
const MAX_INTERVAL_MS: u64 = 1000;

/// Returns a row with the reason why exactly-once is not possible, or none if it is.
pub(crate) fn obstacle(config: &Properties) -> Vec<u8> {
    let why = match Config::parse(config) {
        Ok(config) => config.no_exactly_once.map(|why| why.message),
        Err(_) => Some("the configuration is not valid".to_owned()),
    };
    strings::encode(why.iter().map(|why| Some(why.as_str())))
}

/// Returns the errors about exactly-once of a valid configuration.
pub(crate) fn errors(config: &Properties, parsed: &Config) -> Vec<ConfigError> {
    [not_possible(config, parsed), interval(config, parsed)].into_iter().flatten().collect()
}

/// Returns why it is not possible, if it is required. Connect itself does not say why.
fn not_possible(config: &Properties, parsed: &Config) -> Option<ConfigError> {
    let demanded = text(config, SUPPORT).is_some_and(|text| text.eq_ignore_ascii_case("required"));
    let ConfigError { option, message } = parsed.no_exactly_once.clone().filter(|_| demanded)?;
    Some(ConfigError::new(option, format!("{SUPPORT}=required is not possible: {message}")))
}

/// Checks the length of transactions: Kafka has a record when its transaction ends, and an acknowledged feed
/// (`.on.commit`) does not wait for long.
fn interval(config: &Properties, parsed: &Config) -> Option<ConfigError> {
    let by_time = text(config, BOUNDARY).is_some_and(|text| text.eq_ignore_ascii_case("interval"));
    let interval = text(config, BOUNDARY_INTERVAL_MS).and_then(|text| text.parse::<u64>().ok());
    let is_short = interval.is_some_and(|ms| ms <= MAX_INTERVAL_MS);
    if !parsed.plan.acknowledges() || !by_time || is_short {
        return None;
    }
    let why = format!(
        "with {BOUNDARY}=interval a step with .on.commit waits for a whole interval; set {BOUNDARY_INTERVAL_MS} to \
         {MAX_INTERVAL_MS} at most, or {BOUNDARY}=poll"
    );
    Some(ConfigError::new("websocket.session.steps", why))
}

fn text<'a>(config: &'a Properties, name: &str) -> Option<&'a str> {
    config.get(name).map(|text| text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(pairs: &[(&str, &str)]) -> Vec<ConfigError> {
        let base = [("websocket.url", "ws://h"), ("kafka.topic", "t")];
        let config = base.iter().chain(pairs).map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        errors(&config, &Config::parse(&config).unwrap())
    }

    #[test]
    fn only_where_it_is_demanded_it_has_to_be_possible() {
        assert_eq!(refused(&[]), []);
        assert_eq!(refused(&[(SUPPORT, "requested")]), []);
        let why = refused(&[(SUPPORT, " Required ")]);
        assert!(why[0].option == "websocket.cursor" && why[0].message.contains("=required is not possible"), "{why:?}");
        let resuming = [
            (SUPPORT, "required"),
            ("websocket.url", "ws://h?from={{cursor}}"),
            ("websocket.cursor", "{{/n}}"),
            ("websocket.cursor.inclusive", "true"),
        ];
        assert_eq!(refused(&resuming), []);
    }

    #[test]
    fn a_feed_that_is_to_hear_of_commits_gets_short_transactions() {
        let acknowledging = [
            ("websocket.session.steps", "connect,ack"),
            ("websocket.session.ack.on.commit", "/id exists"),
            ("websocket.session.ack.send", "{{/id}}"),
        ];
        let refused = |more: &[(&str, &str)]| refused(&[&acknowledging[..], more].concat()).len();
        assert_eq!(refused(&[(BOUNDARY, "interval")]), 1);
        assert_eq!(refused(&[(BOUNDARY, "INTERVAL"), (BOUNDARY_INTERVAL_MS, "60000")]), 1);
        assert_eq!(refused(&[(BOUNDARY, "interval"), (BOUNDARY_INTERVAL_MS, "500")]), 0);
        assert_eq!(refused(&[(BOUNDARY, "poll")]), 0);
    }
}
