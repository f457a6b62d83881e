//! What the engine's tables say, in rows of strings for Java: options, errors, figures. Nothing of it is written there again.

use connect_websocket_engine::config::{self, Config, OPTIONS, Secret};
use connect_websocket_engine::config_def::{ConfigKey, Default, Properties};
use connect_websocket_engine::figures::Counter;
use connect_websocket_engine::gap::Cause;
use connect_websocket_engine::metrics::Snapshot;

use crate::strings;

/// One row for each option: name, type, default or null, whether it is required, importance, documentation, group, width,
/// display name, recommended values separated by commas.
pub(crate) fn options() -> Vec<u8> {
    let mut rows = Vec::new();
    for key in OPTIONS.iter() {
        let default = match key.default {
            Default::Value(text) => Some(text),
            Default::Required | Default::Null => None,
        };
        for text in [
            Some(key.name),
            Some(key.kind.as_str()),
            default,
            Some(if key.required() { "true" } else { "false" }),
            Some(key.importance.as_str()),
            Some(key.documentation),
            Some(key.group),
            Some(key.width.as_str()),
            Some(key.display_name),
            Some(key.offered().collect::<Vec<_>>().join(",").as_str()),
        ] {
            strings::put(&mut rows, text);
        }
    }
    rows
}

/// Rows of an option's name and why it is refused: all that is wrong.
pub(crate) fn errors(config: &Properties) -> Vec<u8> {
    let errors = Config::parse(config).err().unwrap_or_default();
    strings::encode(errors.iter().flat_map(|error| [Some(error.option.as_str()), Some(error.message.as_str())]))
}

/// Rows of an option's name and the value that may be shown, for those that must not be shown in full.
pub(crate) fn masked(config: &Properties) -> Vec<u8> {
    let shown = |key: &'static ConfigKey| {
        let value = config.get(key.name)?;
        key.mask.is_some().then(|| (key.name, key.shown(value)))
    };
    let rows: Vec<(&str, String)> = OPTIONS.iter().filter_map(shown).collect();
    strings::encode(rows.iter().flat_map(|(name, value)| [Some(*name), Some(value.as_str())]))
}

/// Sentences about what works, but not as its author will have meant it. Connect shows a plugin only the connector's own
/// configuration: of the worker's converters nothing is known.
pub(crate) fn warnings(config: &Properties) -> Vec<u8> {
    let text = |name: &str| config.get(name).map_or("", |text| text.trim());
    let converter = text("value.converter").rsplit('.').next().unwrap_or_default();
    let binary = text(config::FRAME_BINARY);
    let mut warnings = Vec::new();
    match converter {
        "StringConverter" if binary == "bytes" => warnings.push(
            "StringConverter writes a binary message as Java's [B@…; use \
             org.apache.kafka.connect.converters.ByteArrayConverter, or set websocket.frame.binary to text or base64"
                .to_owned(),
        ),
        "ByteArrayConverter" if binary != "bytes" => warnings.push(
            "ByteArrayConverter fails on text messages; use org.apache.kafka.connect.storage.StringConverter, or set \
             websocket.frame.binary=bytes if the feed is binary"
                .to_owned(),
        ),
        "JsonConverter" => warnings.push(
            "JsonConverter wraps a text message into a JSON string once more; use \
             org.apache.kafka.connect.storage.StringConverter to write messages as they are"
                .to_owned(),
        ),
        _ => {}
    }
    if text("tasks.max").parse::<i32>().is_ok_and(|tasks| tasks > 1) {
        warnings.push("tasks.max is more than 1; one feed is one task".to_owned());
    }
    let unknown = |name: &&String| name.starts_with("websocket.") && config::option(name).is_none();
    for name in config.keys().filter(unknown) {
        warnings.push(format!("{name} is not an option of this connector and has no effect"));
    }
    strings::encode(warnings.iter().map(|warning| Some(warning.as_str())))
}

/// What offsets may be stored under: the source partition, and former ones.
/// An invalid configuration has none.
pub(crate) fn partitions(config: &Properties) -> Vec<u8> {
    let Ok(config) = Config::parse(config) else {
        return Vec::new();
    };
    let former = config.former_partitions.iter().map(Secret::reveal);
    strings::encode([config.partition.as_str()].into_iter().chain(former).map(Some))
}

/// A figure of a task: its JMX attribute's name, what it means, and its value; -1 is unknown.
struct Figure {
    name: &'static str,
    meaning: &'static str,
    value: fn(&Snapshot) -> i64,
}

const FIGURES: &[Figure] = &[
    Figure { name: "MessagesReceived", meaning: "messages received", value: |s| s[Counter::MessagesReceived] as i64 },
    Figure {
        name: "BytesReceived",
        meaning: "bytes of messages received",
        value: |s| s[Counter::BytesReceived] as i64,
    },
    Figure {
        name: "RecordsPolled",
        meaning: "records given to Kafka Connect",
        value: |s| s[Counter::RecordsPolled] as i64,
    },
    Figure {
        name: "RecordsCommitted",
        meaning: "records that Kafka has",
        value: |s| s[Counter::RecordsCommitted] as i64,
    },
    Figure {
        name: "MessagesDroppedOldest",
        meaning: "messages dropped by websocket.message.queue.full=drop.oldest",
        value: |s| s[Counter::MessagesDroppedOldest] as i64,
    },
    Figure {
        name: "MessagesDroppedNewest",
        meaning: "messages dropped by websocket.message.queue.full=drop.newest",
        value: |s| s[Counter::MessagesDroppedNewest] as i64,
    },
    Figure {
        name: "BinaryMessagesSkipped",
        meaning: "binary messages skipped by websocket.frame.binary=skip",
        value: |s| s[Counter::BinaryMessagesSkipped] as i64,
    },
    Figure {
        name: "RecordsTakenOver",
        meaning: "records that the task before received and this one emitted",
        value: |s| s[Counter::RecordsTakenOver] as i64,
    },
    Figure {
        name: "MessagesMissed",
        meaning: "messages that are known to be missing, of all gaps where that is known",
        value: |s| s[Counter::MessagesMissed] as i64,
    },
    Figure {
        name: "ConnectionsOpened",
        meaning: "connections that were opened",
        value: |s| s[Counter::Connections] as i64,
    },
    Figure {
        name: "ConnectedSinceMillis",
        meaning: "when the connection was opened, milliseconds since the epoch; -1 if there is none",
        value: |s| s.connected_since_ms.unwrap_or(-1),
    },
    Figure {
        name: "LastMessageMillis",
        meaning: "when the last message was received, milliseconds since the epoch; -1 before the first",
        value: |s| s.last_message_ms.unwrap_or(-1),
    },
    Figure { name: "QueueRecords", meaning: "records that wait in memory", value: |s| s.queue_records as i64 },
    Figure { name: "QueueBytes", meaning: "bytes that wait in memory", value: |s| s.queue_bytes as i64 },
    Figure {
        name: "QueueCapacityRecords",
        meaning: "websocket.message.queue.size",
        value: |s| s.queue_capacity_records as i64,
    },
    Figure {
        name: "QueueCapacityBytes",
        meaning: "websocket.message.queue.max.bytes",
        value: |s| s.queue_capacity_bytes as i64,
    },
    Figure {
        name: "Gaps",
        meaning: "times in which the feed may have sent what was not received",
        value: |s| s.gap_counts.iter().map(|(_, count)| *count as i64).sum(),
    },
    Figure {
        name: "GapMillis",
        meaning: "the sum of all gaps whose begin is known, in milliseconds",
        value: |s| s.gap_duration.as_millis() as i64,
    },
    Figure {
        name: "Reconnects",
        meaning: "reconnects, whatever made them necessary",
        value: |s| s.reconnects_total() as i64,
    },
    Figure {
        name: "LatencySumMillis",
        meaning: "time from receipt to Kafka's acknowledgement, summed over all committed records, in milliseconds",
        value: |s| s.latency_sum_ms as i64,
    },
];

/// Rows of a figure's name and meaning, in the order of [`figures`].
pub(crate) fn figure_names() -> Vec<u8> {
    let mut rows = strings::encode(FIGURES.iter().flat_map(|figure| [Some(figure.name), Some(figure.meaning)]));
    for (prefix, meaning) in [("Reconnects", "reconnects"), ("Gaps", "gaps")] {
        for cause in Cause::ALL {
            strings::put(&mut rows, Some(&format!("{prefix}{}", camel_case(cause.as_str()))));
            strings::put(&mut rows, Some(&format!("{meaning} whose cause is {cause}")));
        }
    }
    rows
}

/// All figures at this moment.
pub(crate) fn figures(now: &Snapshot) -> Vec<i64> {
    let mut values: Vec<i64> = FIGURES.iter().map(|figure| (figure.value)(now)).collect();
    for counts in [&now.reconnects, &now.gap_counts] {
        let count = |cause| counts.iter().find(|(of, _)| *of == cause).map_or(0, |(_, count)| *count as i64);
        values.extend(Cause::ALL.into_iter().map(count));
    }
    values
}

/// `server_close` is `ServerClose` in JMX.
fn camel_case(snake_case: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    snake_case.split('_').filter(|part| !part.is_empty()).map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_a_name_of_its_own_and_a_value() {
        let names: Vec<String> = strings::decode(&figure_names()).into_iter().step_by(2).flatten().collect();
        assert_eq!(names.len(), figures(&Snapshot::default()).len());
        let unique: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(unique.len(), names.len(), "{names:?}");
        assert!(names.contains(&"GapsServerClose".to_owned()));
    }

    #[test]
    fn operations_md_has_every_figure_with_its_meaning() {
        const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
        const BEGIN: &str = "<!-- generated: begin -->\n";
        const END: &str = "<!-- generated: end -->";
        let mut table = String::from("| attribute | meaning |\n|---|---|\n");
        let texts: Vec<String> = strings::decode(&figure_names()).into_iter().flatten().collect();
        for row in texts.chunks(2) {
            table.push_str(&format!("| `{}` | {} |\n", row[0], row[1]));
        }
        let page = std::fs::read_to_string(PAGE).unwrap();
        let (before, rest) = page.split_once(BEGIN).expect("the page has lost the mark of its generated part");
        let (_, after) = rest.split_once(END).expect("the page has lost the mark of its generated part");
        let expected = format!("{before}{BEGIN}{table}{END}{after}");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(PAGE, &expected).unwrap();
        } else {
            let remedy = "run UPDATE=1 cargo test --workspace --lib operations_md and commit the file";
            assert!(page == expected, "docs/operations.md has not the figures of the code: {remedy}");
        }
    }

    #[test]
    fn what_a_configuration_will_hardly_mean_is_warned_about() {
        let warned = |pairs: &[(&str, &str)]| {
            let config = pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
            strings::decode(&warnings(&config)).len()
        };
        let (string, json) =
            ("org.apache.kafka.connect.storage.StringConverter", "org.apache.kafka.connect.json.JsonConverter");
        assert_eq!(warned(&[("value.converter", string)]), 0);
        assert_eq!(warned(&[("value.converter", string), ("websocket.frame.binary", "bytes")]), 1);
        assert_eq!(warned(&[("value.converter", json), ("tasks.max", "2"), ("websocket.urls", "")]), 3);
    }

    #[test]
    fn options_have_ten_strings_each() {
        assert_eq!(strings::decode(&options()).len(), OPTIONS.len() * 10);
    }

    #[test]
    fn what_is_masked_is_shown_without_its_secret() {
        let mut config = Properties::new();
        config.insert("websocket.url".into(), "ws://h/?token=hunter2".into());
        config.insert("websocket.headers".into(), "X-Key:hunter2".into());
        let shown = strings::decode(&masked(&config));
        assert_eq!(shown.len(), 4);
        assert!(shown.iter().flatten().all(|text| !text.contains("hunter2")), "{shown:?}");
    }
}
