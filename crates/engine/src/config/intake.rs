//! Options of the intake: how messages become records.

use std::path::Path;

use regex::Regex;

use super::messages::{MESSAGE_MAX_BYTES, QUEUE_MAX_BYTES, TOPIC};
use super::values::Values;
use super::{liveness, messages, resume};
use crate::config_def::{ConfigError, ConfigKey, Default, Importance, Kind, Width, parse_boolean};
use crate::dialogue::{Names, Paths, Problem, list};
use crate::file;
use crate::intake::decode::{Codec, Decoder};
use crate::intake::fields::{self, Unit};
use crate::intake::pick;
use crate::intake::split::Split;
use crate::intake::value::ValueForm;
use crate::intake::{Plan, Settings};

const FRAME_DECODE: &str = "websocket.frame.decode";
const FRAME_DECODE_DICTIONARY: &str = "websocket.frame.decode.dictionary";
const FRAME_SPLIT: &str = "websocket.frame.split";
const RECORD_POINTER: &str = "websocket.record.pointer";
const RECORD_POINTER_MISSING: &str = "websocket.record.pointer.missing";
const RECORD_DECODE: &str = "websocket.record.decode";
const RECORD_FILTER: &str = "websocket.record.filter";
const TOPICS_MAX: &str = "websocket.topics.max";
const TOPICS_ALLOWED: &str = "websocket.topics.allowed";
const RECORD_KEY: &str = "websocket.record.key";
const RECORD_KEY_TYPE: &str = "websocket.record.key.type";
const RECORD_TIMESTAMP: &str = "websocket.record.timestamp";
const RECORD_TIMESTAMP_UNIT: &str = "websocket.record.timestamp.unit";
const RECORD_MISSING: &str = "websocket.record.missing";
const RECORD_VALUE: &str = "websocket.record.value";
const RECORD_MAX_BYTES: &str = "websocket.record.max.bytes";
const RECORD_PROVENANCE: &str = "websocket.record.provenance";
/// The prefix of the options for headers.
const RECORD_HEADER: &str = "websocket.record.header.";

/// The largest dictionary. zstd itself makes no larger ones.
const MAX_DICTIONARY_BYTES: usize = 2 << 20;

/// The records of a message may have so many bytes in any case.
const LEAST_RECORDS_BYTES: usize = 64 << 20;

/// The most formats of a message, one inside the other. Each has a window in memory.
const MAX_CODECS: usize = 8;

const BASE: ConfigKey = ConfigKey { group: "Records", ..ConfigKey::BASE };

pub(super) const OPTIONS: &[ConfigKey] = &[
    ConfigKey {
        name: FRAME_DECODE,
        kind: Kind::List,
        display_name: "Decode messages",
        documentation: "How binary messages are packed: gzip, zlib, deflate, zstd, base64. Several are undone in the order given. If base64 is the \
                        first, text messages are decoded too. The result is binary and has at most websocket.message.max.bytes.",
        recommended: &Codec::NAMES,
        check: Some(|text| codecs(text).map(drop)),
        ..BASE
    },
    ConfigKey {
        name: FRAME_DECODE_DICTIONARY,
        width: Width::Long,
        display_name: "zstd dictionary",
        documentation: "The path of a zstd dictionary.",
        check: Some(check_dictionary),
        ..BASE
    },
    ConfigKey {
        name: FRAME_SPLIT,
        width: Width::Short,
        display_name: "Split messages",
        documentation: "How to split a message that holds several. json.array: at each element; what is not an array stays one message. lines: at \
                        line ends. byte:1e: at this byte, in hexadecimal. Empty parts are left out. All later options see each part as a message.",
        recommended: &["json.array", "lines", "byte:1e"],
        check: Some(|text| if text.is_empty() { Ok(()) } else { Split::parse(text).map(drop) }),
        ..BASE
    },
    ConfigKey {
        name: RECORD_POINTER,
        importance: Importance::Medium,
        width: Width::Long,
        display_name: "Record in the message",
        documentation: "Where the records are in a message: JSON Pointers such as /data/*, separated by commas. The first one that exists is used. \
                        With *, each element or member is a record. A JSON string there becomes its content. Not set: the whole message is the \
                        record.",
        ..BASE
    },
    ConfigKey {
        name: RECORD_POINTER_MISSING,
        default: Default::Value("skip"),
        width: Width::Short,
        display_name: "Message without a record",
        documentation: "What to do with a message in which no pointer of websocket.record.pointer exists. skip: write no record and count the \
                        message. whole: write the whole message. fail: fail the task.",
        choices: &["skip", "whole", "fail"],
        ..BASE
    },
    ConfigKey {
        name: RECORD_DECODE,
        kind: Kind::List,
        display_name: "Decode records",
        documentation: "How a record is packed inside its message, in the form of websocket.frame.decode.",
        recommended: &Codec::NAMES,
        check: Some(|text| codecs(text).map(drop)),
        ..BASE
    },
    ConfigKey {
        name: RECORD_FILTER,
        has_expressions: true,
        width: Width::Long,
        display_name: "Filter",
        documentation: "A condition, such as /type == 'trade'. Records that do not meet it are dropped and counted.",
        ..BASE
    },
    ConfigKey {
        name: TOPICS_MAX,
        kind: Kind::Int,
        default: Default::Value("1000"),
        width: Width::Short,
        display_name: "Topics at most",
        documentation: "How many different topics a template in kafka.topic may name.",
        at_least: Some(1),
        ..BASE
    },
    ConfigKey {
        name: TOPICS_ALLOWED,
        width: Width::Long,
        display_name: "Topics allowed",
        documentation: "A regular expression that the whole name of each topic must match, if kafka.topic is a template.",
        check: Some(|text| whole_pattern(text).map(drop)),
        ..BASE
    },
    ConfigKey {
        name: RECORD_KEY,
        has_expressions: true,
        importance: Importance::Medium,
        width: Width::Long,
        display_name: "Key",
        documentation: "The record key. A template, such as {{/symbol}}. If a value is missing, the key is null.",
        ..BASE
    },
    ConfigKey {
        name: RECORD_KEY_TYPE,
        default: Default::Value("string"),
        width: Width::Short,
        display_name: "Key's schema",
        documentation: "The schema of the key: string (STRING), or bytes (BYTES, for ByteArrayConverter). Applies to records of websocket.gaps.topic \
                        too.",
        choices: &["string", "bytes"],
        ..BASE
    },
    ConfigKey {
        name: RECORD_TIMESTAMP,
        has_expressions: true,
        width: Width::Long,
        display_name: "Timestamp",
        documentation: "The record timestamp. A template, such as {{/time}}. Not set: the time of receipt.",
        ..BASE
    },
    ConfigKey {
        name: RECORD_TIMESTAMP_UNIT,
        default: Default::Value("ms"),
        width: Width::Short,
        display_name: "Timestamp's unit",
        documentation: "The unit of the timestamp: s, ms, us or ns since 1970, with or without a fraction; or iso for ISO 8601.",
        choices: &Unit::NAMES,
        ..BASE
    },
    ConfigKey {
        name: RECORD_MISSING,
        default: Default::Value("fail"),
        width: Width::Short,
        display_name: "Missing topic or timestamp",
        documentation: "What to do with a record whose topic or timestamp is missing or invalid. fail: fail the task. skip: drop and count it. \
                        default: use the time of receipt, and _ for what is missing in the topic.",
        choices: &["fail", "skip", "default"],
        ..BASE
    },
    ConfigKey {
        name: RECORD_VALUE,
        importance: Importance::Medium,
        default: Default::Value("as.received"),
        width: Width::Short,
        display_name: "Value",
        documentation: "What the converter gets as the value. as.received: STRING for text, BYTES for binary. string. bytes: for ByteArrayConverter. \
                        json: data without a schema, for JsonConverter and transformations; numbers that fit neither Long nor Double become text.",
        choices: &ValueForm::NAMES,
        ..BASE
    },
    ConfigKey {
        name: RECORD_MAX_BYTES,
        kind: Kind::Int,
        default: Default::Value("0"),
        width: Width::Short,
        display_name: "Largest record (bytes)",
        documentation: "The largest record in bytes: value, key and headers, before converters and transformations. A larger one is dropped, \
                        counted, and reported in the ledger of gaps. Set it below the producer's max.request.size. 0: no limit.",
        at_least: Some(0),
        ..BASE
    },
    ConfigKey {
        name: RECORD_PROVENANCE,
        kind: Kind::Boolean,
        default: Default::Value("false"),
        width: Width::Short,
        display_name: "Provenance headers",
        documentation: "Whether to add the headers websocket.received.ns, websocket.connection, websocket.number (of the record, per connection) and \
                        websocket.feed.",
        ..BASE
    },
];

/// Returns the headers of a record, whose names the user chooses.
pub(super) const FAMILIES: &[ConfigKey] = &[ConfigKey {
    name: "websocket.record.header.<name>",
    width: Width::Long,
    display_name: "Header",
    documentation: "A header of the record. A template. Left out if a value is missing.",
    ..BASE
}];

/// Compiles the options. The pointers are added to `paths`.
pub(super) fn plan(values: &Values<'_>, names: &Names, paths: &mut Paths) -> Result<Plan, Vec<ConfigError>> {
    let refuse = |(name, problem): (String, Problem)| values.refuse(&name, problem);
    let plan = Plan::compile(settings(values), names, paths);
    plan.map_err(|problems| problems.into_iter().map(refuse).collect())
}

/// Whether the keys of records are bytes.
pub(super) fn key_bytes(values: &Values<'_>) -> bool {
    values.text(RECORD_KEY_TYPE) == Some("bytes")
}

fn settings(values: &Values<'_>) -> Settings {
    let text = |name| values.non_empty(name).map(str::to_owned);
    let chain = |name| values.non_empty(name).and_then(|text| codecs(text).ok()).unwrap_or_default();
    let dictionary = values.non_empty(FRAME_DECODE_DICTIONARY);
    Settings {
        decode: chain(FRAME_DECODE),
        dictionary: dictionary.and_then(|path| read_dictionary(path).ok()).unwrap_or_default(),
        message_max_bytes: values.size(MESSAGE_MAX_BYTES),
        // A small queue takes large messages too.
        records_max_bytes: values.size(QUEUE_MAX_BYTES).max(LEAST_RECORDS_BYTES),
        binary: messages::binary(values),
        split: values.non_empty(FRAME_SPLIT).and_then(|text| Split::parse(text).ok()),
        pointers: values.non_empty(RECORD_POINTER).map(list::split).unwrap_or_default(),
        pointer_missing: match values.text(RECORD_POINTER_MISSING) {
            Some("whole") => pick::Missing::Whole,
            Some("fail") => pick::Missing::Fail,
            _ => pick::Missing::Skip,
        },
        record_decode: chain(RECORD_DECODE),
        filter: text(RECORD_FILTER),
        topic: text(TOPIC).unwrap_or_default(),
        topics_max: values.size(TOPICS_MAX),
        topics_allowed: values.non_empty(TOPICS_ALLOWED).and_then(|text| whole_pattern(text).ok()),
        key: text(RECORD_KEY),
        key_bytes: key_bytes(values),
        timestamp: text(RECORD_TIMESTAMP),
        timestamp_unit: values.text(RECORD_TIMESTAMP_UNIT).and_then(Unit::find).unwrap_or_default(),
        headers: values.family(RECORD_HEADER),
        idle_key: text(liveness::IDLE_KEY),
        missing: match values.text(RECORD_MISSING) {
            Some("skip") => fields::Missing::Skip,
            Some("default") => fields::Missing::Default,
            _ => fields::Missing::Fail,
        },
        value: values.text(RECORD_VALUE).and_then(ValueForm::find).unwrap_or_default(),
        max_bytes: Some(values.size(RECORD_MAX_BYTES)).filter(|&bytes| bytes > 0),
        provenance: values.text(RECORD_PROVENANCE).and_then(parse_boolean).unwrap_or_default(),
        memory: resume::memory(values),
    }
}

fn codecs(text: &str) -> Result<Vec<Codec>, String> {
    let codec =
        |name: String| Codec::find(&name).ok_or_else(|| format!("{name} is none of: {}", Codec::NAMES.join(", ")));
    let chain = list::split(text);
    if chain.len() > MAX_CODECS {
        return Err(format!("expected at most {MAX_CODECS} formats"));
    }
    chain.into_iter().map(codec).collect()
}

/// Compiles the pattern, which has to match the whole name, as everywhere in Kafka.
fn whole_pattern(text: &str) -> Result<Regex, String> {
    Regex::new(&format!("^(?:{text})$")).map_err(|error| {
        let error = error.to_string();
        // The lines before it repeat the pattern.
        let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("it is not a regular expression: {reason}")
    })
}

fn read_dictionary(path: &str) -> Result<Vec<u8>, String> {
    file::read(Path::new(path), MAX_DICTIONARY_BYTES).map_err(|error| format!("the file cannot be read: {error}"))
}

fn check_dictionary(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Ok(());
    }
    Decoder::new(&[Codec::Zstd], &read_dictionary(path)?, 0).map(drop)
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{errors, properties};
    use crate::config::{Config, option};

    #[test]
    fn options_of_the_intake_are_checked_at_once_with_column_and_remedy() {
        let errors = errors(&[
            ("websocket.record.pointer", "/data,x"),
            ("websocket.record.filter", "/type = 'trade'"),
            ("websocket.record.key", "{{/s}"),
            ("websocket.record.header.side", "{{sdie}}"),
            ("kafka.topic", "trades-{{/s"),
        ]);
        assert_eq!(errors.len(), 5, "{errors:#?}");
        assert!(errors.iter().any(|error| {
            error == "Invalid value /type = 'trade' for configuration websocket.record.filter: column 7: expected ==, found ="
        }));
        assert!(errors.iter().any(|error| error.contains("websocket.record.header.side: column 3: sdie is not known")));
    }

    #[test]
    fn what_needs_no_compiling_is_checked_by_its_row() {
        for (name, value, why) in [
            ("websocket.frame.decode", "gzip,brotli", "brotli is none of: gzip, zlib, deflate, zstd, base64"),
            ("websocket.frame.split", "array", "such as byte:1e"),
            ("websocket.topics.allowed", "(", "not a regular expression"),
            ("websocket.frame.decode.dictionary", "/none", "the file cannot be read"),
            ("websocket.record.value", "avro", "as.received"),
        ] {
            let errors = errors(&[(name, value)]);
            assert!(errors.len() == 1 && errors[0].contains(name) && errors[0].contains(why), "{errors:?}");
        }
    }

    #[test]
    fn empty_values_are_absent() {
        let names =
            ["websocket.frame.decode", "websocket.frame.split", "websocket.record.pointer", "websocket.record.key"];
        Config::parse(&properties(&names.map(|name| (name, "")))).unwrap();
    }

    #[test]
    fn headers_are_a_family() {
        assert!(option("websocket.record.header.side").is_some());
        assert!(option("websocket.record.header.").is_none());
    }
}
