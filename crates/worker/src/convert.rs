//! Converters: from a record's key, value or header to bytes, byte for byte as Apache Kafka's converters write them.
//!
//! A record of this connector has text (schema STRING, required), bytes (schema BYTES, required) or JSON (no schema).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use indexmap::IndexMap;
use thiserror::Error;

use connect_websocket_engine::config_def::ConfigError;
use connect_websocket_engine::record::ValueKind;
use connect_websocket_engine::record::value::{Token, Tokens};

mod encoding;
mod json;
mod schemaless;

use encoding::Encoding;
pub(crate) use json::{write_json_string, write_object};

const SIMPLE_HEADER: &str = "org.apache.kafka.connect.storage.SimpleHeaderConverter";

/// What a converter is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `key.converter`.
    Key,
    /// `value.converter`.
    Value,
    /// `header.converter`.
    Header,
}

impl Kind {
    /// The option for the class. With a dot after it, the prefix of the converter's own options.
    pub fn option(self) -> &'static str {
        match self {
            Self::Key => "key.converter",
            Self::Value => "value.converter",
            Self::Header => "header.converter",
        }
    }
}

/// A value that the converter cannot write. In Connect this is an error of the conversion stage, which
/// `errors.tolerance` may tolerate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ConvertError(String);

/// One configured converter.
#[derive(Clone, Debug)]
pub struct Converter {
    kind: Kind,
    form: Form,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    String(Encoding),
    ByteArray,
    Json {
        schemas: bool,
    },
    SimpleHeader,
    /// The converter for a Java number or boolean. Here it can only write null.
    Primitive(&'static str),
}

impl Converter {
    /// Returns the converter of a connector. If the connector sets a class, its options with that prefix apply.
    /// Otherwise the worker's class and options apply. The two are not mixed.
    pub fn select(
        kind: Kind,
        connector: &IndexMap<String, String>,
        worker: &IndexMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let (class, properties) = selected(kind, connector, worker)?;
        Self::from_config(kind, class, &properties)
    }

    /// Returns a converter of the Java class `class`. Its options have no prefix (`schemas.enable`, not
    /// `value.converter.schemas.enable`).
    pub fn from_config(kind: Kind, class: &str, properties: &IndexMap<String, String>) -> Result<Self, ConfigError> {
        let class = class.trim();
        let form = match class.strip_prefix("org.apache.kafka.connect.").unwrap_or(class) {
            "storage.StringConverter" | "StringConverter" | "String" => Form::String(encoding(kind, properties)?),
            "converters.ByteArrayConverter" | "ByteArrayConverter" | "ByteArray" => Form::ByteArray,
            "json.JsonConverter" | "JsonConverter" | "Json" => Form::Json { schemas: json_options(kind, properties)? },
            "storage.SimpleHeaderConverter" | "SimpleHeaderConverter" | "Simple" if kind == Kind::Header => {
                Form::SimpleHeader
            }
            "storage.SimpleHeaderConverter" | "SimpleHeaderConverter" | "Simple" => {
                let why = "it converts headers only; use org.apache.kafka.connect.storage.StringConverter";
                return Err(ConfigError::invalid(kind.option(), class, why));
            }
            "converters.BooleanConverter" | "BooleanConverter" | "Boolean" => Form::Primitive("Boolean"),
            "converters.DoubleConverter" | "DoubleConverter" | "Double" => Form::Primitive("Double"),
            "converters.FloatConverter" | "FloatConverter" | "Float" => Form::Primitive("Float"),
            "converters.IntegerConverter" | "IntegerConverter" | "Integer" => Form::Primitive("Integer"),
            "converters.LongConverter" | "LongConverter" | "Long" => Form::Primitive("Long"),
            "converters.ShortConverter" | "ShortConverter" | "Short" => Form::Primitive("Short"),
            _ => {
                let why = format!(
                    "Class {class} could not be found. This worker runs no Java classes: use \
                     org.apache.kafka.connect.storage.StringConverter, org.apache.kafka.connect.json.JsonConverter or \
                     org.apache.kafka.connect.converters.ByteArrayConverter, or run the connector in Kafka Connect"
                );
                return Err(ConfigError::invalid(kind.option(), class, why));
            }
        };
        Ok(Self { kind, form })
    }

    /// Converts one payload. `None` is Kafka's null.
    ///
    /// StringConverter (UTF-8) and ByteArrayConverter return `payload` itself. The others write into `scratch`, whose
    /// content they replace.
    pub fn value<'a>(
        &self,
        kind: ValueKind,
        payload: &'a [u8],
        scratch: &'a mut Vec<u8>,
    ) -> Result<Option<&'a [u8]>, ConvertError> {
        scratch.clear();
        match (&self.form, kind) {
            // Without schema and value every converter writes Kafka's null.
            (_, ValueKind::Json) if Tokens::new(payload).next() == Some(Token::Null) => return Ok(None),
            (Form::String(Encoding::Utf8) | Form::SimpleHeader, ValueKind::Text)
            | (Form::ByteArray, ValueKind::Bytes) => return Ok(Some(payload)),
            // Java writes an array's `toString` here, which nobody needs. The bytes themselves lose nothing.
            (Form::String(_), ValueKind::Bytes) => return Ok(Some(payload)),
            (Form::String(encoding), ValueKind::Text) => {
                let text = std::str::from_utf8(payload)
                    .map_err(|error| ConvertError(format!("text is not UTF-8 at byte {}", error.valid_up_to())))?;
                encoding.encode(text, scratch);
            }
            (Form::String(Encoding::Utf8), ValueKind::Json) => schemaless::write_java_text(scratch, payload),
            (Form::String(encoding), ValueKind::Json) => {
                let mut text = Vec::new();
                schemaless::write_java_text(&mut text, payload);
                encoding.encode(&String::from_utf8_lossy(&text), scratch);
            }
            (Form::SimpleHeader, ValueKind::Bytes) => write_base64(scratch, payload),
            (Form::Json { schemas: false }, ValueKind::Text) => json::write_text(scratch, payload),
            (Form::Json { schemas: false }, ValueKind::Bytes) => write_quoted_base64(scratch, payload),
            (Form::Json { schemas: true }, ValueKind::Text) => {
                scratch.extend_from_slice(br#"{"schema":{"type":"string","optional":false},"payload":"#);
                json::write_text(scratch, payload);
                scratch.push(b'}');
            }
            (Form::Json { schemas: true }, ValueKind::Bytes) => {
                scratch.extend_from_slice(br#"{"schema":{"type":"bytes","optional":false},"payload":"#);
                write_quoted_base64(scratch, payload);
                scratch.push(b'}');
            }
            (Form::Json { schemas: false }, ValueKind::Json) => schemaless::write_json(scratch, payload),
            (Form::Json { schemas: true }, ValueKind::Json) => {
                scratch.extend_from_slice(br#"{"schema":null,"payload":"#);
                schemaless::write_json(scratch, payload);
                scratch.push(b'}');
            }
            (Form::ByteArray | Form::SimpleHeader | Form::Primitive(_), ValueKind::Json) => {
                let name = self.class().rsplit('.').next().unwrap_or_default();
                return Err(self.refuse(&format!(
                    "{name} is not compatible with JSON; set {{option}} to \
                     org.apache.kafka.connect.json.JsonConverter, or websocket.record.value to string or bytes"
                )));
            }
            (Form::ByteArray, ValueKind::Text) => {
                let as_bytes = match self.kind {
                    Kind::Key => "websocket.record.key.type=bytes, or ",
                    Kind::Value => "websocket.record.value=bytes, or ",
                    Kind::Header => "",
                };
                return Err(self.refuse(&format!(
                    "Invalid schema type for ByteArrayConverter: STRING; set {as_bytes}{{option}} to \
                     org.apache.kafka.connect.storage.StringConverter, which writes the same bytes"
                )));
            }
            (Form::Primitive(name), ValueKind::Text | ValueKind::Bytes) => {
                let schema = if kind == ValueKind::Text { "STRING" } else { "BYTES" };
                return Err(self.refuse(&format!(
                    "Invalid schema type for {name}Converter: {schema}; set {{option}} to \
                     org.apache.kafka.connect.storage.StringConverter or \
                     org.apache.kafka.connect.converters.ByteArrayConverter"
                )));
            }
        }
        Ok(Some(scratch))
    }

    /// Returns the full name of the corresponding Java class, for error logs.
    pub fn class(&self) -> &'static str {
        match self.form {
            Form::String(_) => "org.apache.kafka.connect.storage.StringConverter",
            Form::ByteArray => "org.apache.kafka.connect.converters.ByteArrayConverter",
            Form::Json { .. } => "org.apache.kafka.connect.json.JsonConverter",
            Form::SimpleHeader => SIMPLE_HEADER,
            Form::Primitive("Boolean") => "org.apache.kafka.connect.converters.BooleanConverter",
            Form::Primitive("Double") => "org.apache.kafka.connect.converters.DoubleConverter",
            Form::Primitive("Float") => "org.apache.kafka.connect.converters.FloatConverter",
            Form::Primitive("Integer") => "org.apache.kafka.connect.converters.IntegerConverter",
            Form::Primitive("Long") => "org.apache.kafka.connect.converters.LongConverter",
            Form::Primitive(_) => "org.apache.kafka.connect.converters.ShortConverter",
        }
    }

    fn refuse(&self, sentence: &str) -> ConvertError {
        ConvertError(sentence.replace("{option}", self.kind.option()))
    }
}

/// Returns a value as a person reads it in a log.
pub fn shown(kind: ValueKind, value: &[u8]) -> String {
    match kind {
        ValueKind::Text | ValueKind::Bytes => String::from_utf8_lossy(value).into_owned(),
        ValueKind::Json => {
            let mut text = Vec::new();
            schemaless::write_json(&mut text, value);
            String::from_utf8_lossy(&text).into_owned()
        }
    }
}

/// Returns the class and the options (without prefix) that apply to a connector: see [`Converter::select`].
pub fn selected<'a>(
    kind: Kind,
    connector: &'a IndexMap<String, String>,
    worker: &'a IndexMap<String, String>,
) -> Result<(&'a str, IndexMap<String, String>), ConfigError> {
    let option = kind.option();
    let (class, source) = match (connector.get(option), worker.get(option)) {
        (Some(class), _) => (class.as_str(), connector),
        (None, Some(class)) => (class.as_str(), worker),
        (None, None) if kind == Kind::Header => (SIMPLE_HEADER, worker),
        (None, None) => return Err(ConfigError::missing(option)),
    };
    let own = |key: &str| Some(key.strip_prefix(option)?.strip_prefix('.')?.to_owned());
    let properties = source.iter().filter_map(|(key, value)| Some((own(key)?, value.clone()))).collect();
    Ok((class, properties))
}

fn encoding(kind: Kind, properties: &IndexMap<String, String>) -> Result<Encoding, ConfigError> {
    const KEY: &str = "converter.encoding";
    let Some(name) = properties.get(KEY) else {
        return Ok(Encoding::Utf8);
    };
    Encoding::by_name(name.trim()).ok_or_else(|| {
        let why = "this worker knows UTF-8, ISO-8859-1, US-ASCII, UTF-16, UTF-16BE and UTF-16LE";
        ConfigError::invalid(&format!("{}.{KEY}", kind.option()), name, why)
    })
}

/// Checks all options of JsonConverter and returns `schemas.enable`, the only one that matters to text and bytes.
fn json_options(kind: Kind, properties: &IndexMap<String, String>) -> Result<bool, ConfigError> {
    let invalid =
        |key: &str, value: &str, why: &str| Err(ConfigError::invalid(&format!("{}.{key}", kind.option()), value, why));
    let boolean = |key: &str, default: bool| match properties.get(key) {
        None => Ok(default),
        Some(text) if text.trim().eq_ignore_ascii_case("true") => Ok(true),
        Some(text) if text.trim().eq_ignore_ascii_case("false") => Ok(false),
        Some(text) => invalid(key, text, "Expected value to be either true or false").map(|()| default),
    };
    boolean("replace.null.with.default", true)?;
    if let Some(text) = properties.get("schemas.cache.size").filter(|text| text.trim().parse::<i32>().is_err()) {
        invalid("schemas.cache.size", text, "Not a number of type INT")?;
    }
    let known = |text: &str| ["NUMERIC", "BASE64"].iter().any(|known| known.eq_ignore_ascii_case(text.trim()));
    if let Some(text) = properties.get("decimal.format").filter(|text| !known(text)) {
        invalid("decimal.format", text, "String must be one of (case insensitive): NUMERIC, BASE64")?;
    }
    boolean("schemas.enable", true)
}

fn write_quoted_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    write_base64(out, bytes);
    out.push(b'"');
}

fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The buffer has the exact size, so this cannot fail.
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or_default();
    out.truncate(start + written);
}

#[cfg(test)]
mod tests {
    use connect_websocket_engine::record::value::Parser;

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> IndexMap<String, String> {
        pairs.iter().map(|(option, value)| ((*option).to_owned(), (*value).to_owned())).collect()
    }

    fn converter(class: &str, properties: &[(&str, &str)]) -> Converter {
        Converter::from_config(Kind::Value, class, &map(properties)).unwrap()
    }

    fn bytes(converter: &Converter, kind: ValueKind, payload: &[u8]) -> Vec<u8> {
        converter.value(kind, payload, &mut Vec::new()).unwrap().unwrap().to_vec()
    }

    fn text(converter: &Converter, payload: &str) -> String {
        String::from_utf8(bytes(converter, ValueKind::Text, payload.as_bytes())).unwrap()
    }

    const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";
    const BYTE_ARRAY: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";
    const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";

    #[test]
    fn string_and_byte_array_do_not_copy() {
        for (class, kind) in [(STRING, ValueKind::Text), (STRING, ValueKind::Bytes), (BYTE_ARRAY, ValueKind::Bytes)] {
            let payload = b"{\"a\":1}";
            let mut scratch = b"old".to_vec();
            let converter = converter(class, &[]);
            let converted = converter.value(kind, payload, &mut scratch).unwrap().unwrap();
            assert_eq!(converted, payload);
            assert!(std::ptr::eq(converted, &payload[..]));
        }
    }

    #[test]
    fn json_with_and_without_envelope() {
        let with = converter(JSON, &[]);
        assert_eq!(text(&with, "{\"a\":1}"), r#"{"schema":{"type":"string","optional":false},"payload":"{\"a\":1}"}"#);
        assert_eq!(
            bytes(&with, ValueKind::Bytes, b"hi?"),
            br#"{"schema":{"type":"bytes","optional":false},"payload":"aGk/"}"#
        );
        let without = converter(JSON, &[("schemas.enable", " FALSE ")]);
        assert_eq!(text(&without, "{\"a\":1}"), r#""{\"a\":1}""#);
        assert_eq!(bytes(&without, ValueKind::Bytes, b"hi?>>>>"), br#""aGk/Pj4+Pg==""#);
    }

    #[test]
    fn scratch_holds_only_the_last_value() {
        let json = converter(JSON, &[("schemas.enable", "false")]);
        let mut scratch = Vec::new();
        json.value(ValueKind::Text, b"first and long", &mut scratch).unwrap();
        assert_eq!(json.value(ValueKind::Text, b"2", &mut scratch).unwrap(), Some(&b"\"2\""[..]));
    }

    fn json_value(text: &str) -> Vec<u8> {
        let mut value = Vec::new();
        Parser::default().parse(text, &mut value).unwrap();
        value
    }

    #[test]
    fn null_is_null_in_every_converter() {
        for class in [STRING, BYTE_ARRAY, JSON, "org.apache.kafka.connect.converters.LongConverter"] {
            let null = json_value("null");
            assert_eq!(converter(class, &[]).value(ValueKind::Json, &null, &mut Vec::new()), Ok(None));
        }
    }

    /// What Kafka's converters write for the same Map.
    #[test]
    fn json_is_written_as_connect_writes_schemaless_data() {
        let value = json_value(r#"{"b":"\"\u0001","a":[1,2.5e10,null,true,123456789012345678901234567],"c":{"":[]}}"#);
        let written = |class: &str, options: &[(&str, &str)]| {
            String::from_utf8(bytes(&converter(class, options), ValueKind::Json, &value)).unwrap()
        };
        let json = r#"{"b":"\"\u0001","a":[1,2.5E10,null,true,"123456789012345678901234567"],"c":{"":[]}}"#;
        assert_eq!(written(JSON, &[("schemas.enable", "false")]), json);
        assert_eq!(written(JSON, &[]), format!(r#"{{"schema":null,"payload":{json}}}"#));
        let text = "{b=\"\u{1}, a=[1, 2.5E10, null, true, 123456789012345678901234567], c={=[]}}";
        assert_eq!(written(STRING, &[]), text);
        let utf16 = bytes(&converter(STRING, &[("converter.encoding", "UTF-16BE")]), ValueKind::Json, &value);
        assert_eq!(utf16, text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>());
        for class in [BYTE_ARRAY, "org.apache.kafka.connect.converters.LongConverter"] {
            let refused = converter(class, &[]).value(ValueKind::Json, &value, &mut Vec::new()).unwrap_err();
            assert!(refused.to_string().contains("is not compatible with JSON; set value.converter to"), "{refused}");
        }
    }

    #[test]
    fn simple_header_writes_text_raw_and_bytes_as_base64() {
        let header = Converter::from_config(Kind::Header, SIMPLE_HEADER, &map(&[])).unwrap();
        assert_eq!(text(&header, "a\"b"), "a\"b");
        assert_eq!(bytes(&header, ValueKind::Bytes, b"hi"), b"aGk=");
        assert!(Converter::from_config(Kind::Value, SIMPLE_HEADER, &map(&[])).is_err());
    }

    /// What `getBytes` of Java 17 returns.
    #[test]
    fn encodings_are_those_of_java() {
        for (name, expected) in [
            ("UTF8", &b"a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z"[..]),
            ("ISO-8859-1", b"a\xe9??z"),
            ("us-ascii", b"a???z"),
            ("UTF-16", b"\xfe\xff\0a\0\xe9\x20\xac\xd8\x3d\xde\0\0z"),
            ("UTF-16BE", b"\0a\0\xe9\x20\xac\xd8\x3d\xde\0\0z"),
            ("UTF-16LE", b"a\0\xe9\0\xac\x20\x3d\xd8\0\xdez\0"),
        ] {
            let converter = converter(STRING, &[("converter.encoding", name)]);
            assert_eq!(bytes(&converter, ValueKind::Text, "a\u{e9}\u{20ac}\u{1f600}z".as_bytes()), expected, "{name}");
            assert_eq!(bytes(&converter, ValueKind::Text, b""), b"", "{name}");
        }
        let error = Converter::from_config(Kind::Value, STRING, &map(&[("converter.encoding", "EBCDIC")])).unwrap_err();
        assert!(
            error.message.starts_with("Invalid value EBCDIC for configuration value.converter.converter.encoding: ")
        );
    }

    #[test]
    fn what_a_converter_cannot_write_comes_with_a_remedy() {
        let refused =
            |class: &str, kind| converter(class, &[]).value(kind, b"x", &mut Vec::new()).unwrap_err().to_string();
        assert!(
            refused(BYTE_ARRAY, ValueKind::Text)
                .starts_with("Invalid schema type for ByteArrayConverter: STRING; set websocket.record.value=bytes")
        );
        assert!(
            refused("LongConverter", ValueKind::Text)
                .starts_with("Invalid schema type for LongConverter: STRING; set value.converter")
        );
    }

    #[test]
    fn an_unknown_class_is_refused_by_name() {
        let error =
            Converter::from_config(Kind::Key, "io.confluent.connect.avro.AvroConverter", &map(&[])).unwrap_err();
        assert!(error.message.starts_with(
            "Invalid value io.confluent.connect.avro.AvroConverter for configuration key.converter: \
             Class io.confluent.connect.avro.AvroConverter could not be found."
        ));
    }

    #[test]
    fn json_options_are_checked() {
        for (key, value, why) in [
            ("schemas.enable", "maybe", "Expected value to be either true or false"),
            ("replace.null.with.default", "x", "Expected value to be either true or false"),
            ("schemas.cache.size", "x", "Not a number of type INT"),
            ("decimal.format", "x", "String must be one of (case insensitive): NUMERIC, BASE64"),
        ] {
            let error = Converter::from_config(Kind::Value, JSON, &map(&[(key, value)])).unwrap_err();
            assert_eq!(error.message, format!("Invalid value {value} for configuration value.converter.{key}: {why}"));
        }
    }

    #[test]
    fn a_converter_of_the_connector_inherits_no_options() {
        let worker =
            map(&[("value.converter", JSON), ("value.converter.schemas.enable", "false"), ("value.converterx.y", "z")]);
        let chosen = |connector: &[(&str, &str)]| {
            let connector = map(connector);
            let (class, properties) = selected(Kind::Value, &connector, &worker).unwrap();
            (class.to_owned(), properties)
        };
        assert_eq!(
            chosen(&[("value.converter.schemas.enable", "true")]),
            (JSON.to_owned(), map(&[("schemas.enable", "false")]))
        );
        assert_eq!(chosen(&[("value.converter", "JsonConverter")]), ("JsonConverter".to_owned(), map(&[])));
        assert_eq!(Converter::select(Kind::Header, &map(&[]), &worker).unwrap().class(), SIMPLE_HEADER);
        assert_eq!(
            Converter::select(Kind::Key, &map(&[]), &worker).unwrap_err(),
            ConfigError::missing("key.converter")
        );
    }
}
