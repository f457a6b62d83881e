//! Warnings: settings that are accepted but probably mistakes. Both hosts log these sentences, and `validate` prints
//! them.

use super::connection::SUBSCRIPTION_MESSAGE;
use super::resume::CURSOR;
use super::{Config, OPTIONS, converter, is_of_a_family, liveness, option};
use crate::config_def::Properties;
use crate::intake::memory::Plan;
use crate::json::{Found, Pointers};
use crate::nearest::nearest;
use crate::redact::printable;

/// Returns the warnings, without values. `value_converter`: the effective class, if it is known.
pub fn of(config: &Properties, value_converter: Option<&str>) -> Vec<String> {
    let asks_for_nothing = stores_a_cursor_in_vain(config);
    // The profile's values are included, because it may be the user's own profile.
    let config = &*converter::in_force(config);
    let mut warnings: Vec<String> =
        value_converter.and_then(|class| converter::warning(config, class)).into_iter().collect();
    if config.get("tasks.max").is_some_and(|text| text.trim().parse::<i32>().is_ok_and(|tasks| tasks > 1)) {
        warnings.push("tasks.max is more than 1; one feed is one task".to_owned());
    }
    // A wrong name in a family is an error, and not a warning.
    let ours = |name: &&String| name.starts_with("websocket.") && !is_of_a_family(name) || name.starts_with("kafka.");
    for name in config.keys().filter(ours).filter(|name| option(name).is_none()) {
        let near = nearest(name, OPTIONS.iter().map(|key| key.name));
        let meant = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        warnings.push(format!("{} is not an option of this connector and has no effect{meant}", printable(name)));
    }
    if config.get(SUBSCRIPTION_MESSAGE).is_some_and(|text| is_broken_json(text)) {
        warnings.push(format!(
            "{SUBSCRIPTION_MESSAGE} begins as JSON and is not valid JSON; the feed will probably refuse it"
        ));
    }
    let is_set = |name| config.get(name).map(|text| text.trim()).is_some_and(|text| !matches!(text, "" | "0"));
    if is_set(liveness::IDLE_KEY) && !is_set(liveness::IDLE_RECORD_TIMEOUT_MS) {
        let (key, timeout) = (liveness::IDLE_KEY, liveness::IDLE_RECORD_TIMEOUT_MS);
        warnings.push(format!("{key} has no effect without {timeout}"));
    }
    if asks_for_nothing {
        warnings.push(format!(
            "{CURSOR} is stored, but it is never sent to the feed: write {{{{cursor}}}} into websocket.url, a header or \
             the message of a step, as the feed's documentation says"
        ));
    }
    for (name, _) in config.iter().filter(|(name, value)| option(name).is_some() && looks_garbled(value)) {
        warnings.push(garbled_warning(name));
    }
    warnings
}

/// Warns about a cursor that is never sent to the feed. Errors are reported elsewhere.
fn stores_a_cursor_in_vain(config: &Properties) -> bool {
    let has_cursor = |config: &Config| config.intake.memory().is_some_and(Plan::has_cursor);
    Config::parse(config).is_ok_and(|config| has_cursor(&config) && !config.plan.asks_from_cursor())
}

/// Warns about a subscription message that is invalid JSON. A template can be valid only when it is rendered.
fn is_broken_json(text: &str) -> bool {
    let begins_as_json = text.trim_start().starts_with(['{', '[']);
    let valid = || Pointers::default().build().is_ok_and(|scanner| scanner.scan(text, &mut Found::default()));
    begins_as_json && !text.contains("{{") && !valid()
}

/// Returns the sentence for an option whose value [looks garbled](looks_garbled).
pub fn garbled_warning(name: &str) -> String {
    format!(
        "{} looks like UTF-8 that was read as ISO-8859-1, as Java reads properties files; write characters beyond ASCII as \
         \\uXXXX, or use the JSON form of the file",
        printable(name)
    )
}

/// Whether the characters of a text are bytes of valid UTF-8.
pub fn looks_garbled(text: &str) -> bool {
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    bytes.is_some_and(|bytes| !bytes.is_ascii() && std::str::from_utf8(&bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(pairs: &[(&str, &str)]) -> Vec<String> {
        of(&pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(), None)
    }

    #[test]
    fn keys_that_do_not_exist_and_tasks_that_are_too_many_are_named() {
        let all = warned(&[("websocket.url", "ws://h"), ("websocket.urls", "x"), ("tasks.max", "2"), ("name", "x")]);
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(
            all[1],
            "websocket.urls is not an option of this connector and has no effect; did you mean websocket.url?"
        );
        let forged = warned(&[("websocket.x\" event=forged\n\u{202e}", "")]);
        assert!(!forged[0].contains(['"', '\n', '\u{202e}']) && !forged[0].contains("event="), "{forged:?}");
    }

    #[test]
    fn a_key_that_nobody_times_is_noticed() {
        let key = ("websocket.idle.key", "{{/s}}");
        assert!(warned(&[key])[0].contains("websocket.idle.record.timeout.ms"));
        assert!(warned(&[key, ("websocket.idle.record.timeout.ms", "1")]).is_empty());
    }

    #[test]
    fn a_cursor_that_the_feed_is_never_asked_for_is_noticed() {
        let warns = |feed: &str, url: &str| {
            let given = [("name", "x"), ("kafka.topic", "x"), ("websocket.feed", feed), ("websocket.url", url)];
            let all = warned(&given);
            all.iter().any(|warning| warning.contains("{{cursor}} into websocket.url"))
        };
        assert!(warns("jetstream-v2", "wss://host/subscribe"));
        assert!(!warns("jetstream-v2", "wss://host/subscribe?cursor={{cursor}}"));
        assert!(!warns("binance", "wss://host/"), "it has none");
    }

    #[test]
    fn a_subscription_that_begins_as_json_and_is_not_is_noticed() {
        for broken in ["{\"op\":\"subscribe\"", "[1,]", " {'op':1}", "{\"a\":1} {"] {
            assert!(warned(&[(SUBSCRIPTION_MESSAGE, broken)])[0].contains("not valid JSON"), "{broken}");
        }
        for fine in ["{\"op\":[1,2]}", "ping", "", " [ ] ", "{\"op\":{{n()}}}", "42[\"a\""] {
            assert!(warned(&[(SUBSCRIPTION_MESSAGE, fine)]).is_empty(), "{fine}");
        }
    }

    #[test]
    fn utf8_that_was_read_byte_by_byte_is_noticed_and_real_text_is_not() {
        let garbled: String = "Zürich €".bytes().map(char::from).collect();
        assert!(warned(&[(SUBSCRIPTION_MESSAGE, &garbled)])[0].contains("\\uXXXX"));
        for text in ["Zürich", "Zürich €", "plain", "é"] {
            assert!(!looks_garbled(text), "{text}");
        }
    }
}
