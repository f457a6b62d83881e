//! Whether exactly-once (KIP-618) is possible: every record once, also after a kill.
//!
//! Kafka Connect stores records and their offset in one transaction. A task that starts from a stored offset must then
//! get exactly the records that follow. So the feed must resume from there, and nothing may depend on what is only in
//! memory. Options that drop records because of their content, such as a filter, are allowed, because they drop the
//! same records every time.

use super::messages::QUEUE_FULL;
use super::resume::{CURSOR, CURSOR_INCLUSIVE, CURSOR_REWIND, DEDUP_KEY, RESUME_VARIABLES, SEQUENCE_ACTION};
use super::values::Values;
use crate::config_def::ConfigError;
use crate::dialogue::variables::is_secret;
use crate::dialogue::{Plan, list};

/// Returns why exactly-once is not possible, with the option that has to change.
pub(super) fn obstacle(values: &Values<'_>, plan: &Plan) -> Option<ConfigError> {
    if values.text(SEQUENCE_ACTION) == Some("backfill") {
        let why = "=backfill fetches from a history, which may not have everything that is missing";
        return Some(ConfigError::new(SEQUENCE_ACTION, format!("{SEQUENCE_ACTION}{why}")));
    }
    if values.non_empty(CURSOR).is_none() {
        let why = "is not given, so the feed cannot resume after a record";
        return Some(ConfigError::new(CURSOR, format!("{CURSOR} {why}")));
    }
    if !plan.asks_from_cursor() {
        let why = "no URL, header, subprotocol or step uses {{cursor}}, so the feed cannot resume after a record";
        return Some(ConfigError::new(CURSOR, why));
    }
    if !values.is_given(CURSOR_INCLUSIVE) {
        let why = "is not given: true if the feed sends the record of the cursor again, false if it begins after it";
        return Some(ConfigError::new(CURSOR_INCLUSIVE, format!("{CURSOR_INCLUSIVE} {why}")));
    }
    let in_memory =
        |option: &str, what: &str| Some(ConfigError::new(option, format!("{what} is known only in memory")));
    if values.number(CURSOR_REWIND) > 0 {
        return in_memory(
            CURSOR_REWIND,
            &format!("which of the records that {CURSOR_REWIND} brings again are duplicates"),
        );
    }
    if values.non_empty(DEDUP_KEY).is_some() {
        return in_memory(DEDUP_KEY, &format!("what {DEDUP_KEY} has seen"));
    }
    let variables = values.non_empty(RESUME_VARIABLES).map(list::split).unwrap_or_default();
    if let Some(secret) = variables.iter().find(|name| is_secret(name)) {
        return in_memory(RESUME_VARIABLES, &format!("{secret} of {RESUME_VARIABLES}, which is secret,"));
    }
    let policy = values.text(QUEUE_FULL).filter(|policy| policy.starts_with("drop."))?;
    Some(ConfigError::new(QUEUE_FULL, format!("{QUEUE_FULL}={policy} drops messages while Kafka is slow")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::tests::properties;

    const RESUMING: [(&str, &str); 3] = [
        ("websocket.url", "wss://host/feed?cursor={{cursor}}"),
        ("websocket.cursor", "{{/seq}}"),
        ("websocket.cursor.inclusive", "false"),
    ];

    fn obstacle_of(pairs: &[(&str, &str)]) -> Option<ConfigError> {
        Config::parse(&properties(pairs)).unwrap_or_else(|errors| panic!("{errors:?}")).no_exactly_once
    }

    #[test]
    fn a_feed_that_is_asked_for_what_follows_a_unique_cursor_can_be_exactly_once() {
        assert_eq!(obstacle_of(&RESUMING), None);
        let by_message = [
            ("websocket.cursor", "{{/seq}}"),
            ("websocket.cursor.key", "{{/topic}}"),
            ("websocket.cursor.inclusive", "true"),
            ("websocket.subscription.topics", "a,b"),
            ("websocket.subscription.message", "{{topic}} from {{cursor ?? null}}"),
        ];
        assert_eq!(obstacle_of(&by_message), None);
    }

    #[test]
    fn what_a_message_says_may_leave_it_out() {
        let left_out = [
            ("websocket.record.pointer", "/payload"),
            ("websocket.record.filter", "/kind == 'x'"),
            ("websocket.record.timestamp", "{{/time}}"),
            ("websocket.record.missing", "skip"),
            ("websocket.record.max.bytes", "1000000"),
            ("websocket.frame.binary", "skip"),
            ("websocket.text.invalid", "replace"),
        ];
        assert_eq!(obstacle_of(&[&RESUMING[..], &left_out].concat()), None);
    }

    #[test]
    fn whatever_only_memory_has_or_the_feed_is_not_asked_for_is_an_obstacle_by_the_options_name() {
        let without = |name: &str| RESUMING.into_iter().filter(|(option, _)| *option != name).collect::<Vec<_>>();
        let session = [
            ("websocket.session.steps", "connect,hello"),
            ("websocket.session.hello.on", "/token exists"),
            ("websocket.session.hello.capture", "secret.token=/token"),
            ("websocket.resume.variables", "secret.token"),
        ];
        let backfill = [
            ("websocket.sequence", "{{/n}}"),
            ("websocket.sequence.action", "backfill"),
            ("websocket.backfill.http", "GET https://host/?from={{from}}"),
        ];
        let with = |more: &[(&'static str, &'static str)]| [&RESUMING[..], more].concat();
        for (config, option, words) in [
            (vec![], CURSOR, "is not given"),
            (backfill.to_vec(), SEQUENCE_ACTION, "may not have everything"),
            (without("websocket.url"), CURSOR, "{{cursor}}"),
            (without("websocket.cursor.inclusive"), CURSOR_INCLUSIVE, "begins after it"),
            (with(&[("websocket.cursor.rewind", "5")]), CURSOR_REWIND, "only in memory"),
            (with(&[("websocket.dedup.key", "{{/seq}}")]), DEDUP_KEY, "only in memory"),
            (with(&session), RESUME_VARIABLES, "secret.token"),
            (with(&[("websocket.message.queue.full", "drop.oldest")]), QUEUE_FULL, "drop.oldest drops messages"),
        ] {
            let why = obstacle_of(&config).unwrap_or_else(|| panic!("no obstacle at {option}"));
            assert!(why.option == option && why.message.contains(words), "{why:?}");
        }
    }
}
