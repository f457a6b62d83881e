//! Checks whether a value converter fits the feed's messages. Both hosts use these sentences. A converter is refused
//! only if it could never write a record, because only the feed knows whether its messages are text or binary.

use std::borrow::Cow;

use super::messages::FRAME_BINARY;
use crate::config_def::{ConfigError, Properties};
use crate::feeds;
use crate::record::ValueKind;

const VALUE_CONVERTER: &str = "value.converter";
const RECORD_VALUE: &str = "websocket.record.value";
const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";
const BYTE_ARRAY: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";
/// Converters of one Java type each.
const PRIMITIVES: [&str; 6] = ["Boolean", "Double", "Float", "Integer", "Long", "Short"];

/// Checks whether a value converter can write the possible values.
///
/// # Errors
/// It can write no record of this configuration.
pub fn check_value_converter(config: &Properties, class: &str) -> Result<(), ConfigError> {
    let kinds = kinds(&in_force(config));
    let never = match short_name(class) {
        "ByteArray" => !kinds.contains(&ValueKind::Bytes),
        name => PRIMITIVES.contains(&name),
    };
    if !never {
        return Ok(());
    }
    let why = format!(
        "it cannot write a single record of this configuration; use {STRING} for text, or {BYTE_ARRAY} with \
         {RECORD_VALUE}=bytes for everything"
    );
    Err(ConfigError::invalid(VALUE_CONVERTER, class.trim(), why))
}

/// Returns the warning for the first record of bytes, which Kafka Connect's StringConverter writes as `[B@…`. `None`
/// for other classes. Without a class, the host's converter is used, which is not known.
pub fn warning_of_bytes(class: Option<&str>) -> Option<String> {
    if class.is_some_and(|class| short_name(class) != "String") {
        return None;
    }
    let condition = if class.is_some() { "" } else { "if the worker's value.converter is StringConverter: " };
    Some(format!(
        "{condition}StringConverter writes this binary message and all others as Java's [B@…; set {FRAME_BINARY} to text or \
         base64, or use {BYTE_ARRAY} with {RECORD_VALUE}=bytes"
    ))
}

/// Returns warnings about this value converter: settings that are accepted but probably mistakes.
pub(super) fn warning(config: &Properties, class: &str) -> Option<String> {
    let config = &*in_force(config);
    let kinds = kinds(config);
    let binary_is_expected = config.contains_key(FRAME_BINARY) || !kinds.contains(&ValueKind::Text);
    match short_name(class) {
        "String" if kinds.contains(&ValueKind::Bytes) && binary_is_expected => Some(format!(
            "StringConverter is for text: in Kafka Connect it writes bytes as Java's [B@…; use {BYTE_ARRAY} with \
             {RECORD_VALUE}=bytes, or set {FRAME_BINARY} to text or base64"
        )),
        "String" if kinds.contains(&ValueKind::Json) => Some(format!(
            "StringConverter writes a JSON object as Java's {{a=1}}; use org.apache.kafka.connect.json.JsonConverter with \
             {VALUE_CONVERTER}.schemas.enable=false"
        )),
        "ByteArray" if kinds.contains(&ValueKind::Text) && !binary_is_expected => Some(format!(
            "ByteArrayConverter fails on text messages; set {RECORD_VALUE}=bytes, or {FRAME_BINARY}=bytes if the feed sends \
             nothing but binary messages"
        )),
        "Json" if kinds.contains(&ValueKind::Text) && !has_transformations(config) => Some(format!(
            "JsonConverter writes a text message as a JSON string, in quotes once more; use {STRING} to write messages as \
             they are"
        )),
        _ => None,
    }
}

/// Adds the profile's values. A profile that does not exist is reported elsewhere.
pub(super) fn in_force(config: &Properties) -> Cow<'_, Properties> {
    feeds::merge(config).unwrap_or(Cow::Borrowed(config))
}

/// The possible values of records.
fn kinds(config: &Properties) -> &'static [ValueKind] {
    let text = |name: &str, default| config.get(name).map_or(default, |text| text.trim());
    match (text(RECORD_VALUE, "as.received"), text(FRAME_BINARY, "bytes")) {
        ("as.received", "bytes") => &[ValueKind::Text, ValueKind::Bytes],
        ("as.received" | "string", _) => &[ValueKind::Text],
        ("bytes", _) => &[ValueKind::Bytes],
        _ => &[ValueKind::Json],
    }
}

/// Whether transformations can change the value to a structure, as HoistField does.
fn has_transformations(config: &Properties) -> bool {
    config.get("transforms").is_some_and(|text| !text.trim().is_empty())
}

/// Returns the shortest name of a class. Connect accepts its full name, its simple name, and that without the last
/// part.
fn short_name(class: &str) -> &str {
    let simple = class.trim().rsplit('.').next().unwrap_or_default();
    simple.strip_suffix("Converter").unwrap_or(simple)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn refused(class: &str, pairs: &[(&str, &str)]) -> bool {
        check_value_converter(&config(pairs), class).is_err()
    }

    fn warned(class: &str, pairs: &[(&str, &str)]) -> bool {
        warning(&config(pairs), class).is_some()
    }

    #[test]
    fn what_can_never_write_a_record_is_refused() {
        assert!(!refused(BYTE_ARRAY, &[]), "the feed may be binary");
        assert!(!refused("ByteArray", &[(RECORD_VALUE, "bytes"), (FRAME_BINARY, "skip")]));
        for never in [
            (FRAME_BINARY, "text"),
            (FRAME_BINARY, "base64"),
            (FRAME_BINARY, "skip"),
            (RECORD_VALUE, "string"),
            (RECORD_VALUE, "json"),
        ] {
            assert!(refused(BYTE_ARRAY, &[never]), "{never:?}");
            assert!(!refused(STRING, &[never]), "{never:?}");
        }
        assert!(refused("org.apache.kafka.connect.converters.DoubleConverter", &[]));
        let error = check_value_converter(&config(&[]), "Short").unwrap_err();
        assert!(error.message.contains("value.converter") && error.message.contains("record.value=bytes"), "{error}");
    }

    #[test]
    fn bytes_are_warned_about_unless_the_converter_is_known_to_take_them() {
        assert!(warning_of_bytes(Some("StringConverter")).unwrap().starts_with("StringConverter"));
        assert!(warning_of_bytes(None).unwrap().starts_with("if the worker's"));
        assert_eq!(warning_of_bytes(Some(BYTE_ARRAY)), None);
    }

    #[test]
    fn what_may_be_meant_otherwise_is_warned_about() {
        assert!(warned(BYTE_ARRAY, &[]), "text would fail");
        assert!(!warned(BYTE_ARRAY, &[(FRAME_BINARY, "bytes")]), "the feed is said to be binary");
        assert!(!warned(BYTE_ARRAY, &[(RECORD_VALUE, "bytes")]));
        assert!(!warned(STRING, &[]), "most feeds are text");
        assert!(warned(STRING, &[(FRAME_BINARY, "bytes")]));
        assert!(warned(STRING, &[(RECORD_VALUE, "bytes")]) && warned(STRING, &[(RECORD_VALUE, "json")]));
        assert!(!warned(STRING, &[(FRAME_BINARY, "bytes"), (RECORD_VALUE, "string")]));
        assert!(warned("org.apache.kafka.connect.json.JsonConverter", &[]));
        assert!(!warned("Json", &[("transforms", "hoist")]), "HoistField makes a structure");
        assert!(!warned("io.confluent.connect.avro.AvroConverter", &[]));
    }
}
