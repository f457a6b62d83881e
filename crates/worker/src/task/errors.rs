//! A record that cannot be processed, in the terms of Kafka Connect's error handling.

use connect_websocket_engine::config_def::{Properties, parse_boolean};

/// Connect's name of the stage in which Kafka refuses a record.
pub(super) const KAFKA_PRODUCE: &str = "KAFKA_PRODUCE";

/// Why a record cannot be processed, as Connect's error log says it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StageError {
    pub(super) stage: &'static str,
    pub(super) class: &'static str,
    pub(super) why: String,
}

impl StageError {
    /// Kafka has refused the record.
    pub(super) fn of_kafka(why: String) -> StageError {
        // Connect names this class, and not the producer's.
        StageError { stage: KAFKA_PRODUCE, class: "org.apache.kafka.connect.source.SourceTask", why }
    }
}

/// `errors.*`: what happens to a record that cannot be converted or that Kafka refuses.
#[derive(Debug, Clone, Copy)]
pub(super) struct ErrorPolicy {
    pub(super) tolerate: bool,
    pub(super) log: bool,
    pub(super) log_messages: bool,
}

impl ErrorPolicy {
    pub(super) fn parse(config: &Properties) -> ErrorPolicy {
        let flag = |name: &str| config.get(name).and_then(|text| parse_boolean(text.trim())).unwrap_or(false);
        ErrorPolicy {
            tolerate: config.get("errors.tolerance").is_some_and(|text| text.trim() == "all"),
            log: flag("errors.log.enable"),
            log_messages: flag("errors.log.include.messages"),
        }
    }
}
