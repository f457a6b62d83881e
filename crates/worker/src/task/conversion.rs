//! Converts a record of the engine: headers, key and value, in Connect's order.

use connect_websocket_engine::config_def::{ConfigError, Properties};
use connect_websocket_engine::record::{Key, Parts, Record, ValueKind};
use rdkafka::message::{Header, OwnedHeaders};

use super::errors::StageError;
use crate::convert::{Converter, Kind};

pub(super) struct Conversion {
    key: Converter,
    value: Converter,
    header: Converter,
    /// The buffers of converters that change bytes.
    key_bytes: Vec<u8>,
    value_bytes: Vec<u8>,
    header_bytes: Vec<u8>,
}

/// A record as Kafka gets it. `None` is null.
#[derive(Debug)]
pub(super) struct Converted<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: Option<OwnedHeaders>,
}

impl Conversion {
    pub(super) fn select(connector: &Properties, worker: &Properties) -> Result<Conversion, ConfigError> {
        Ok(Conversion {
            key: Converter::select(Kind::Key, connector, worker)?,
            value: Converter::select(Kind::Value, connector, worker)?,
            header: Converter::select(Kind::Header, connector, worker)?,
            key_bytes: Vec::new(),
            value_bytes: Vec::new(),
            header_bytes: Vec::new(),
        })
    }

    pub(super) fn convert<'a>(&'a mut self, record: &Record<'a>) -> Result<Converted<'a>, StageError> {
        let mut converted = Converted { key: None, value: None, headers: None };
        if record.parts != Parts::default() {
            converted.headers = headers(&self.header, record, &mut self.header_bytes)?;
            if let Some(key) = record.key() {
                let (kind, key) = match key {
                    Key::Text(key) => (ValueKind::Text, key.as_bytes()),
                    Key::Bytes(key) => (ValueKind::Bytes, key),
                };
                converted.key = convert("KEY_CONVERTER", &self.key, kind, key, &mut self.key_bytes)?;
            }
        }
        converted.value = convert("VALUE_CONVERTER", &self.value, record.kind, record.value, &mut self.value_bytes)?;
        Ok(converted)
    }
}

fn headers(
    converter: &Converter,
    record: &Record<'_>,
    scratch: &mut Vec<u8>,
) -> Result<Option<OwnedHeaders>, StageError> {
    let mut headers = None;
    for (name, value) in record.headers() {
        let value = convert("HEADER_CONVERTER", converter, ValueKind::Text, value.as_bytes(), scratch)?;
        let before = headers.take().unwrap_or_else(OwnedHeaders::new);
        headers = Some(before.insert(Header { key: name, value }));
    }
    Ok(headers)
}

fn convert<'a>(
    stage: &'static str,
    converter: &Converter,
    kind: ValueKind,
    payload: &'a [u8],
    scratch: &'a mut Vec<u8>,
) -> Result<Option<&'a [u8]>, StageError> {
    let failed =
        |why: crate::convert::ConvertError| StageError { stage, class: converter.class(), why: why.to_string() };
    converter.value(kind, payload, scratch).map_err(failed)
}

#[cfg(test)]
mod tests {
    use connect_websocket_engine::record::{Batch, Part};
    use rdkafka::message::Headers as _;

    use super::*;

    const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";
    const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";
    const BYTE_ARRAY: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";

    fn conversion(key: &str, header: Option<&str>) -> Conversion {
        let mut worker = Properties::new();
        worker.insert("key.converter".into(), key.into());
        worker.insert("value.converter".into(), STRING.into());
        header.map(|class| worker.insert("header.converter".into(), class.into()));
        Conversion::select(&Properties::new(), &worker).unwrap()
    }

    fn batch(parts: &[Part<'_>]) -> Batch {
        let mut batch = Batch::default();
        let mut record = batch.add(1);
        parts.iter().for_each(|part| record.part(*part));
        record.value(ValueKind::Text, b"value");
        batch
    }

    fn header_values(converted: &Converted<'_>) -> Vec<(String, String)> {
        let headers = converted.headers.iter().flat_map(|headers| headers.iter());
        let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
        headers.map(|header| (header.key.to_owned(), text(header.value))).collect()
    }

    #[test]
    fn record_without_parts_has_neither_key_nor_headers() {
        let batch = batch(&[]);
        let mut conversion = conversion(JSON, None);
        let converted = conversion.convert(&batch.get(0).unwrap()).unwrap();
        assert_eq!((converted.key, converted.value), (None, Some(&b"value"[..])));
        assert!(converted.headers.is_none());
    }

    #[test]
    fn key_goes_through_the_key_converter_and_headers_through_the_header_converter() {
        let parts = [
            Part::Header { name: "a", value: "1" },
            Part::Key(Key::Text("k")),
            Part::Header { name: "a", value: "\u{20ac}" },
        ];
        let batch = batch(&parts);
        let record = batch.get(0).unwrap();
        let headers = |values: [&str; 2]| values.map(|value| ("a".to_owned(), value.to_owned())).to_vec();

        let mut simple = conversion(STRING, None);
        let converted = simple.convert(&record).unwrap();
        assert_eq!(converted.key, Some(&b"k"[..]));
        assert_eq!(header_values(&converted), headers(["1", "\u{20ac}"]));

        let mut json = conversion(JSON, Some(JSON));
        let converted = json.convert(&record).unwrap();
        let envelope = |text: &str| format!(r#"{{"schema":{{"type":"string","optional":false}},"payload":"{text}"}}"#);
        assert_eq!(converted.key, Some(envelope("k").as_bytes()));
        assert_eq!(header_values(&converted), headers([envelope("1").as_str(), envelope("\u{20ac}").as_str()]));
    }

    #[test]
    fn what_a_converter_refuses_names_its_stage() {
        let text_key = batch(&[Part::Key(Key::Text("k"))]);
        let mut bytes = conversion(BYTE_ARRAY, None);
        let refused = bytes.convert(&text_key.get(0).unwrap()).unwrap_err();
        assert_eq!((refused.stage, refused.class), ("KEY_CONVERTER", BYTE_ARRAY));
        assert!(refused.why.contains("set websocket.record.key.type=bytes, or key.converter to"), "{}", refused.why);
        let bytes_key = batch(&[Part::Key(Key::Bytes(&[0, 255]))]);
        assert_eq!(bytes.convert(&bytes_key.get(0).unwrap()).unwrap().key, Some(&[0, 255][..]));

        let header = batch(&[Part::Header { name: "a", value: "1" }]);
        let refused = conversion(STRING, Some(BYTE_ARRAY)).convert(&header.get(0).unwrap()).unwrap_err();
        assert_eq!((refused.stage, refused.class), ("HEADER_CONVERTER", BYTE_ARRAY));
    }
}
