//! Options of messages and records: the topic, the queue, what a binary message becomes.

use super::values::Values;
use crate::config_def::{ConfigKey, Default, Importance, Kind, Width};
use crate::connection::frame::OnInvalidText;
use crate::intake::BinaryMessages;

pub const TOPIC: &str = "kafka.topic";
pub(super) const QUEUE_SIZE: &str = "websocket.message.queue.size";
pub(super) const QUEUE_MAX_BYTES: &str = "websocket.message.queue.max.bytes";
pub(super) const QUEUE_FULL: &str = "websocket.message.queue.full";
pub(super) const MESSAGE_MAX_BYTES: &str = "websocket.message.max.bytes";
pub const FRAME_BINARY: &str = "websocket.frame.binary";
pub(super) const TEXT_INVALID: &str = "websocket.text.invalid";
pub(super) const RECEIVE_LINGER_MS: &str = "websocket.receive.linger.ms";

const BASE: ConfigKey = ConfigKey { group: "Messages", ..ConfigKey::BASE };

pub(super) const OPTIONS: &[ConfigKey] = &[
    ConfigKey {
        name: TOPIC,
        has_expressions: true,
        default: Default::Required,
        importance: Importance::High,
        display_name: "Topic",
        documentation: "The Kafka topic to write to. Can be a template, such as trades-{{/symbol}}: then each record decides its topic.",
        check: Some(check_topic),
        ..BASE
    },
    ConfigKey {
        name: QUEUE_SIZE,
        kind: Kind::Int,
        default: Default::Value("10000"),
        width: Width::Short,
        display_name: "Queue size",
        documentation: "How many messages may wait in memory for Kafka.",
        at_least: Some(1),
        ..BASE
    },
    ConfigKey {
        name: QUEUE_MAX_BYTES,
        kind: Kind::Long,
        default: Default::Value("67108864"),
        width: Width::Short,
        display_name: "Queue bytes",
        documentation: "How many bytes of messages may wait in memory for Kafka. At least websocket.message.max.bytes.",
        at_least: Some(1),
        ..BASE
    },
    ConfigKey {
        name: QUEUE_FULL,
        default: Default::Value("backpressure"),
        width: Width::Short,
        display_name: "When the queue is full",
        documentation: "What to do when the queue is full. backpressure: stop reading the socket; nothing is lost, and TCP slows the server down. \
                        drop.oldest, drop.newest: drop messages and count them.",
        choices: &["backpressure", "drop.oldest", "drop.newest"],
        ..BASE
    },
    ConfigKey {
        name: MESSAGE_MAX_BYTES,
        kind: Kind::Int,
        default: Default::Value("16777216"),
        width: Width::Short,
        display_name: "Largest message (bytes)",
        documentation: "The largest message in bytes, decompressed. A larger one closes the connection with code 1009.",
        at_least: Some(1),
        ..BASE
    },
    ConfigKey {
        name: FRAME_BINARY,
        default: Default::Value("bytes"),
        width: Width::Short,
        display_name: "Binary messages",
        documentation: "What a binary message becomes. bytes: a record of schema BYTES. base64, text: a record of schema STRING; in text, bytes that \
                        are not UTF-8 become U+FFFD. skip: no record; the message is counted.",
        choices: &["bytes", "base64", "text", "skip"],
        ..BASE
    },
    ConfigKey {
        name: TEXT_INVALID,
        default: Default::Value("close"),
        width: Width::Short,
        display_name: "Text that is not UTF-8",
        documentation: "What to do with a text message that is not UTF-8. close: close the connection with code 1007 (RFC 6455 §8.1) and reconnect. \
                        replace: write the message, with U+FFFD in place of each invalid sequence. The log has the message's size and the position \
                        of the invalid byte.",
        choices: &["close", "replace"],
        ..BASE
    },
    ConfigKey {
        name: RECEIVE_LINGER_MS,
        kind: Kind::Long,
        default: Default::Value("7"),
        width: Width::Short,
        display_name: "Receive linger (ms)",
        documentation: "How long to wait before reading again when little was read, in milliseconds. Saves CPU on a busy feed and adds at most this \
                        much latency. 0: no wait. A burst is never delayed.",
        at_least: Some(0),
        at_most: Some(1000),
        ..BASE
    },
];

/// The limits of the queue between socket and `poll`, and what happens when it is full.
#[derive(Debug, Clone, Copy)]
pub struct QueueBounds {
    pub records: usize,
    pub bytes: usize,
    pub when_full: WhenFull,
}

impl QueueBounds {
    /// Returns the limits of a batch.
    pub(crate) fn of_a_batch(&self) -> (usize, usize) {
        (self.records.min(4096), self.bytes.min(256 << 10))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    Backpressure,
    DropOldest,
    DropNewest,
}

pub(super) fn queue(values: &Values<'_>) -> QueueBounds {
    QueueBounds {
        records: values.size(QUEUE_SIZE),
        bytes: values.size(QUEUE_MAX_BYTES),
        when_full: match values.text(QUEUE_FULL) {
            Some("drop.oldest") => WhenFull::DropOldest,
            Some("drop.newest") => WhenFull::DropNewest,
            _ => WhenFull::Backpressure,
        },
    }
}

pub(super) fn binary(values: &Values<'_>) -> BinaryMessages {
    match values.text(FRAME_BINARY) {
        Some("base64") => BinaryMessages::Base64,
        Some("text") => BinaryMessages::Text,
        Some("skip") => BinaryMessages::Skip,
        _ => BinaryMessages::Bytes,
    }
}

pub(super) fn on_invalid_text(values: &Values<'_>) -> OnInvalidText {
    match values.text(TEXT_INVALID) {
        Some("replace") => OnInvalidText::Replace,
        _ => OnInvalidText::Refuse,
    }
}

/// Kafka's rule for topic names (`org.apache.kafka.common.internals.Topic`).
pub(super) fn check_topic(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("String must be non-empty".into());
    }
    // A template is checked when it is compiled, and its value for each record.
    if text.contains("{{") {
        return Ok(());
    }
    let legal = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if !legal || text.len() > 249 || matches!(text, "." | "..") {
        return Err("a topic name has 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-'".into());
    }
    Ok(())
}
