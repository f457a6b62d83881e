//! What a record's value is for Kafka Connect.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::record::value::Parser;
use crate::record::{RecordWriter, ValueKind};

/// `websocket.record.value`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ValueForm {
    /// Text becomes STRING, binary BYTES.
    #[default]
    AsReceived,
    String,
    Bytes,
    /// JSON becomes schemaless data. Text that is not valid JSON becomes STRING.
    Json,
}

impl ValueForm {
    pub const NAMES: [&str; 4] = ["as.received", "string", "bytes", "json"];

    pub fn find(name: &str) -> Option<ValueForm> {
        let all = [ValueForm::AsReceived, ValueForm::String, ValueForm::Bytes, ValueForm::Json];
        ValueForm::NAMES.iter().position(|own| *own == name).map(|at| all[at])
    }
}

/// A record's content, as the stages before have made it.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    pub bytes: &'a [u8],
    /// The same as text, if it is UTF-8.
    pub text: Option<&'a str>,
    pub binary: bool,
    /// `websocket.frame.binary=base64`.
    pub base64: bool,
}

/// Reads JSON. The memory is reused.
#[derive(Debug, Default)]
pub struct Json {
    parser: Parser,
    form: Vec<u8>,
}

/// A larger buffer is freed.
const KEPT_BUFFER: usize = 1 << 20;

impl Json {
    fn read(&mut self, text: &str) -> Option<&[u8]> {
        self.form.clear();
        self.form.shrink_to(KEPT_BUFFER);
        self.parser.parse(text, &mut self.form).ok()?;
        Some(&self.form)
    }
}

/// Ends a record with its value.
pub fn write(form: ValueForm, content: Content<'_>, json: &mut Json, record: RecordWriter<'_>) {
    if content.binary && content.base64 {
        let encoded = BASE64.encode(content.bytes);
        let kind = if form == ValueForm::Bytes { ValueKind::Bytes } else { ValueKind::Text };
        return record.value(kind, encoded.as_bytes());
    }
    match form {
        ValueForm::AsReceived if content.binary => record.value(ValueKind::Bytes, content.bytes),
        ValueForm::Bytes => record.value(ValueKind::Bytes, content.bytes),
        ValueForm::AsReceived | ValueForm::String => record.value(ValueKind::Text, lossy(content).as_bytes()),
        ValueForm::Json => match content.text.and_then(|text| json.read(text)) {
            Some(value) => record.value(ValueKind::Json, value),
            None => record.value(ValueKind::Text, lossy(content).as_bytes()),
        },
    }
}

/// Returns the bytes of the value that [`write`](write()) makes; of JSON, those of its text.
pub fn size(form: ValueForm, content: Content<'_>) -> usize {
    match form {
        _ if content.binary && content.base64 => content.bytes.len().div_ceil(3) * 4,
        ValueForm::AsReceived if content.binary => content.bytes.len(),
        ValueForm::Bytes => content.bytes.len(),
        ValueForm::AsReceived | ValueForm::String | ValueForm::Json => lossy(content).len(),
    }
}

/// Returns the text, in which U+FFFD replaces bytes that are not UTF-8.
fn lossy(content: Content<'_>) -> Cow<'_, str> {
    content.text.map_or_else(|| String::from_utf8_lossy(content.bytes), Cow::Borrowed)
}
