//! Java `.properties` text and Connect's connector files.
//!
//! The syntax is that of `java.util.Properties.load` (JDK 17 documentation of that method).

use std::fmt;

use indexmap::IndexMap;
use serde_json::{Map, Value};
use thiserror::Error;

/// The largest properties or connector file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 10 * 1024 * 1024;

/// Why a properties text was refused. `line` counts natural lines from 1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PropertiesError {
    /// A `\u` that is not followed by four hexadecimal digits.
    #[error(
        "malformed \\uxxxx escape in line {line}: write four hexadecimal digits after \\u, or \\\\u for a plain backslash"
    )]
    Escape {
        /// The line in which the logical line begins.
        line: usize,
    },
    /// Half of a UTF-16 pair, which no UTF-8 text can hold.
    #[error("half a surrogate pair in line {line}: write both \\uD8xx and \\uDCxx escapes of the character")]
    Surrogate {
        /// The line in which the logical line begins.
        line: usize,
    },
    /// More than [`MAX_FILE_BYTES`].
    #[error("the text has {0} bytes, which is more than the limit of {MAX_FILE_BYTES}")]
    TooLarge(usize),
}

/// Parses ISO-8859-1 bytes, as `Properties.load(InputStream)`: the form of worker and connector files.
/// A later value of a key replaces an earlier one. Trailing blanks of a value are kept.
pub fn parse(bytes: &[u8]) -> Result<IndexMap<String, String>, PropertiesError> {
    check_size(bytes.len())?;
    parse_units(bytes.iter().map(|byte| u16::from(*byte)))
}

/// Parses UTF-8 text, as `Properties.load(Reader)`: the form of the files of `FileConfigProvider`.
pub fn parse_text(text: &str) -> Result<IndexMap<String, String>, PropertiesError> {
    check_size(text.len())?;
    parse_units(text.encode_utf16())
}

fn check_size(bytes: usize) -> Result<(), PropertiesError> {
    if bytes > MAX_FILE_BYTES { Err(PropertiesError::TooLarge(bytes)) } else { Ok(()) }
}

const TAB: u16 = b'\t' as u16;
const LF: u16 = b'\n' as u16;
const FF: u16 = 0x0c;
const CR: u16 = b'\r' as u16;
const SPACE: u16 = b' ' as u16;
const HASH: u16 = b'#' as u16;
const BANG: u16 = b'!' as u16;
const COLON: u16 = b':' as u16;
const EQUALS: u16 = b'=' as u16;
const BACKSLASH: u16 = b'\\' as u16;

fn is_blank(unit: u16) -> bool {
    matches!(unit, SPACE | TAB | FF)
}

fn parse_units(units: impl Iterator<Item = u16>) -> Result<IndexMap<String, String>, PropertiesError> {
    let mut lines = LogicalLines { units: units.peekable(), line: 1 };
    let mut buffer = Vec::new();
    let mut properties = IndexMap::new();
    while let Some(line) = lines.next_into(&mut buffer) {
        let (key, value) = split(&buffer);
        properties.insert(unescape(key, line)?, unescape(value, line)?);
    }
    Ok(properties)
}

struct LogicalLines<I: Iterator<Item = u16>> {
    units: std::iter::Peekable<I>,
    line: usize,
}

impl<I: Iterator<Item = u16>> LogicalLines<I> {
    /// Reads the next line that is neither blank nor a comment, its continuation lines joined;
    /// returns the number of the natural line where it begins, or `None` at the end.
    fn next_into(&mut self, buffer: &mut Vec<u16>) -> Option<usize> {
        buffer.clear();
        let mut begin = self.line;
        let mut skip_blanks = true;
        let mut escaped = false;
        while let Some(unit) = self.units.next() {
            if skip_blanks && is_blank(unit) {
                continue;
            }
            skip_blanks = false;
            if unit == LF || unit == CR {
                let at_end = self.units.peek().is_none();
                if unit == CR && self.units.peek() == Some(&LF) {
                    self.units.next();
                }
                self.line += 1;
                if buffer.is_empty() {
                    skip_blanks = true;
                } else if !escaped {
                    return Some(begin);
                } else {
                    buffer.pop();
                    if at_end {
                        return Some(begin);
                    }
                    escaped = false;
                    skip_blanks = true;
                }
                continue;
            }
            if buffer.is_empty() {
                begin = self.line;
                if unit == HASH || unit == BANG {
                    while self.units.next_if(|next| *next != LF && *next != CR).is_some() {}
                    continue;
                }
            }
            buffer.push(unit);
            escaped = unit == BACKSLASH && !escaped;
        }
        if escaped {
            buffer.pop();
        } else if buffer.is_empty() {
            return None;
        }
        Some(begin)
    }
}

fn split(line: &[u16]) -> (&[u16], &[u16]) {
    let mut escaped = false;
    let mut key_end = line.len();
    for (at, unit) in line.iter().enumerate() {
        if !escaped && (is_blank(*unit) || *unit == EQUALS || *unit == COLON) {
            key_end = at;
            break;
        }
        escaped = *unit == BACKSLASH && !escaped;
    }
    // Between key and value: blanks, and at most one separator among them.
    let mut separator_seen = false;
    let mut value_start = key_end;
    while let Some(unit) = line.get(value_start) {
        if !is_blank(*unit) {
            if separator_seen || !(*unit == EQUALS || *unit == COLON) {
                break;
            }
            separator_seen = true;
        }
        value_start += 1;
    }
    (&line[..key_end], &line[value_start..])
}

fn unescape(units: &[u16], line: usize) -> Result<String, PropertiesError> {
    let mut out = Vec::with_capacity(units.len());
    let mut rest = units.iter().copied();
    while let Some(unit) = rest.next() {
        if unit != BACKSLASH {
            out.push(unit);
            continue;
        }
        let Some(escaped) = rest.next() else { break };
        match u8::try_from(escaped) {
            Ok(b'u') => {
                let mut code = 0;
                for _ in 0..4 {
                    let digit = rest.next().and_then(|unit| char::from_u32(unit.into())).and_then(|c| c.to_digit(16));
                    code = code << 4 | digit.ok_or(PropertiesError::Escape { line })?;
                }
                out.push(code as u16);
            }
            Ok(b't') => out.push(TAB),
            Ok(b'n') => out.push(LF),
            Ok(b'r') => out.push(CR),
            Ok(b'f') => out.push(FF),
            _ => out.push(escaped),
        }
    }
    String::from_utf16(&out).map_err(|_| PropertiesError::Surrogate { line })
}

/// What a connector file says.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectorFile {
    /// The connector's name.
    pub name: String,
    /// Its configuration, `name` included.
    pub config: IndexMap<String, String>,
    /// The state to create it in; `None` means running.
    pub initial_state: Option<InitialState>,
}

impl fmt::Debug for ConnectorFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorFile")
            .field("name", &self.name)
            .field("config", &self.config.keys())
            .field("initial_state", &self.initial_state)
            .finish()
    }
}

/// The state in which a connector is created (KIP-980).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitialState {
    /// Started at once.
    Running,
    /// Created, not started, resumable.
    Paused,
    /// Created, not started, offsets can be altered.
    Stopped,
}

impl std::str::FromStr for InitialState {
    type Err = String;

    /// Any letter case.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_uppercase().as_str() {
            "RUNNING" => Ok(Self::Running),
            "PAUSED" => Ok(Self::Paused),
            "STOPPED" => Ok(Self::Stopped),
            _ => Err(format!("initial_state {text} is unknown: use RUNNING, PAUSED or STOPPED")),
        }
    }
}

/// Why a connector file was refused. The sentences name the file and never a value of its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConnectorFileError {
    /// No `name`; for a text that looks like JSON, `hint` says why it was not read as JSON.
    #[error("Connector configuration at '{path}' is missing the mandatory 'name' configuration{hint}")]
    MissingName {
        /// The file.
        path: String,
        /// Empty, or a remark that begins with a blank.
        hint: String,
    },
    /// The POST shape whose `config.name` is another name.
    #[error("Connector name configuration in 'config' doesn't match the one specified in 'name' at '{path}'")]
    NameMismatch {
        /// The file.
        path: String,
    },
    /// A JSON null as an option's value.
    #[error("option {option} in connector configuration at '{path}' is null: give it a value or remove it")]
    NullValue {
        /// The file.
        path: String,
        /// The option.
        option: String,
    },
    /// A JSON object or array as an option's value.
    #[error("option {option} in connector configuration at '{path}' is a JSON object or array: write it as one string")]
    NestedValue {
        /// The file.
        path: String,
        /// The option.
        option: String,
    },
    /// An `initial_state` that does not exist.
    #[error("connector configuration at '{path}': {reason}")]
    InitialState {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Not readable as properties.
    #[error("connector configuration at '{path}': {source}")]
    Properties {
        /// The file.
        path: String,
        /// What is wrong.
        source: PropertiesError,
    },
}

/// Reads a connector file in one of Connect's three forms, tried in this order: a JSON object of strings, the JSON
/// body of `POST /connectors`, Java properties. `path` is only named in errors.
///
/// As in Connect, JSON numbers and booleans become their text and unknown fields of the POST form are ignored.
pub fn connector_file(path: &str, bytes: &[u8]) -> Result<ConnectorFile, ConnectorFileError> {
    let path = path.to_owned();
    if let Err(source) = check_size(bytes.len()) {
        return Err(ConnectorFileError::Properties { path, source });
    }
    let mut hint = String::new();
    match serde_json::from_slice::<Map<String, Value>>(bytes) {
        Ok(object) if object.values().all(|value| !value.is_object() && !value.is_array()) => {
            let config = string_map(&path, object)?;
            return named(path, config, hint);
        }
        Ok(object) if object.get("config").is_some_and(Value::is_object) => {
            return post_form(path, object);
        }
        Ok(_) => {
            hint = " (it is JSON, but neither an object of strings nor an object with 'name' and 'config')".to_owned();
        }
        Err(error) if bytes.trim_ascii_start().starts_with(b"{") && !error.is_data() => {
            hint = format!(" (it looks like JSON, but is not: line {}, column {})", error.line(), error.column());
        }
        Err(_) => {}
    }
    match parse(bytes) {
        Ok(config) => named(path, config, hint),
        Err(source) => Err(ConnectorFileError::Properties { path, source }),
    }
}

fn named(path: String, config: IndexMap<String, String>, hint: String) -> Result<ConnectorFile, ConnectorFileError> {
    match config.get("name") {
        Some(name) => Ok(ConnectorFile { name: name.clone(), config, initial_state: None }),
        None => Err(ConnectorFileError::MissingName { path, hint }),
    }
}

fn post_form(path: String, mut object: Map<String, Value>) -> Result<ConnectorFile, ConnectorFileError> {
    let initial_state = match object.remove("initial_state") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => match text.parse() {
            Ok(state) => Some(state),
            Err(reason) => return Err(ConnectorFileError::InitialState { path, reason }),
        },
        Some(_) => {
            let reason = "initial_state is no string: use RUNNING, PAUSED or STOPPED".to_owned();
            return Err(ConnectorFileError::InitialState { path, reason });
        }
    };
    let Some(name) = object.get("name").and_then(scalar_text) else {
        return Err(ConnectorFileError::MissingName { path, hint: String::new() });
    };
    let Some(Value::Object(config)) = object.remove("config") else {
        return Err(ConnectorFileError::MissingName { path, hint: String::new() });
    };
    let mut config = string_map(&path, config)?;
    match config.get("name") {
        Some(inner) if *inner != name => return Err(ConnectorFileError::NameMismatch { path }),
        Some(_) => {}
        None => {
            config.insert("name".to_owned(), name.clone());
        }
    }
    Ok(ConnectorFile { name, config, initial_state })
}

fn string_map(path: &str, object: Map<String, Value>) -> Result<IndexMap<String, String>, ConnectorFileError> {
    object
        .into_iter()
        .map(|(option, value)| match scalar_text(&value) {
            Some(text) => Ok((option, text)),
            None if value.is_null() => Err(ConnectorFileError::NullValue { path: path.to_owned(), option }),
            None => Err(ConnectorFileError::NestedValue { path: path.to_owned(), option }),
        })
        .collect()
}

fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &[u8]) -> Vec<(String, String)> {
        parse(text).unwrap().into_iter().collect()
    }

    fn one(text: &[u8]) -> (String, String) {
        let mut all = pairs(text);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn key_ends_at_the_first_separator_or_blank() {
        assert_eq!(one(b"a=b"), pair("a", "b"));
        assert_eq!(one(b"  a : b"), pair("a", "b"));
        assert_eq!(one(b"a b"), pair("a", "b"));
        assert_eq!(one(b"a \t= b=c"), pair("a", "b=c"));
        assert_eq!(one(b"a == b"), pair("a", "= b"));
        assert_eq!(one(b"a"), pair("a", ""));
        assert_eq!(one(b"=b"), pair("", "b"));
        assert_eq!(one(b"a\\:b\\ c=d"), pair("a:b c", "d"));
    }

    #[test]
    fn trailing_blanks_of_a_value_are_kept() {
        assert_eq!(one(b"a =  b \t \r\n"), pair("a", "b \t "));
    }

    #[test]
    fn comments_and_blank_lines_are_skipped() {
        assert_eq!(one(b"# x=1\n  ! y=2 \\\n\n \t\x0c\ra=b#c\n"), pair("a", "b#c"));
    }

    #[test]
    fn continuation_lines_lose_their_leading_blanks() {
        assert_eq!(one(b"a=b\\\n   c\\\r\n\td"), pair("a", "bcd"));
        assert_eq!(one(b"a=b\\\n#c"), pair("a", "b#c"));
        assert_eq!(pairs(b"a=b\\\n  \nc=d"), [pair("a", "b"), pair("c", "d")]);
        assert_eq!(pairs(b"a=b\\\\\nc=d"), [pair("a", "b\\"), pair("c", "d")]);
        assert_eq!(one(b"a=b\\"), pair("a", "b"));
    }

    #[test]
    fn escapes_and_latin_1() {
        assert_eq!(
            one(b"a=\\t\\n\\r\\f\\q\\\"\\u00E9\xe9\\ud83D\\uDE00"),
            pair("a", "\t\n\r\u{c}q\"\u{e9}\u{e9}\u{1f600}")
        );
        assert_eq!(parse_text("a=\u{e9}\\\u{1f600}").unwrap()["a"], "\u{e9}\u{1f600}");
    }

    #[test]
    fn a_later_value_wins() {
        assert_eq!(one(b"a=1\na=2"), pair("a", "2"));
    }

    #[test]
    fn a_bad_escape_names_its_line() {
        assert_eq!(parse(b"a=1\n\n# \\u\nb=\\\n\\u12G4"), Err(PropertiesError::Escape { line: 4 }));
        assert_eq!(parse(b"a=\\u123"), Err(PropertiesError::Escape { line: 1 }));
        assert_eq!(parse(b"a=\\ud83dx"), Err(PropertiesError::Surrogate { line: 1 }));
    }

    #[test]
    fn an_oversized_text_is_refused() {
        let text = vec![b'#'; MAX_FILE_BYTES + 1];
        assert_eq!(parse(&text), Err(PropertiesError::TooLarge(MAX_FILE_BYTES + 1)));
        assert!(connector_file("f", &text).unwrap_err().to_string().contains("limit"));
    }

    #[test]
    fn connector_file_as_a_json_object_of_strings() {
        let file = connector_file("c.json", br#"{"name":"c","tasks.max":1,"x":true,"y":1e+21}"#).unwrap();
        assert_eq!(file.name, "c");
        assert_eq!(file.config["tasks.max"], "1");
        assert_eq!(file.config["x"], "true");
        assert_eq!(file.config["y"], "1e+21");
        assert_eq!(file.initial_state, None);
    }

    #[test]
    fn connector_file_in_the_post_form() {
        let text = br#"{"name":"c","config":{"a":"b"},"initial_state":"paused","other":[]}"#;
        let file = connector_file("c.json", text).unwrap();
        assert_eq!((file.name.as_str(), file.config["name"].as_str()), ("c", "c"));
        assert_eq!(file.initial_state, Some(InitialState::Paused));

        let mismatch = connector_file("c.json", br#"{"name":"c","config":{"name":"d"}}"#).unwrap_err();
        assert_eq!(
            mismatch.to_string(),
            "Connector name configuration in 'config' doesn't match the one specified in 'name' at 'c.json'"
        );
        let state = connector_file("c.json", br#"{"name":"c","config":{},"initial_state":"gone"}"#).unwrap_err();
        assert!(state.to_string().contains("RUNNING, PAUSED or STOPPED"), "{state}");
    }

    #[test]
    fn connector_file_as_properties() {
        let file = connector_file("c.properties", b"name=c\nwebsocket.url=ws://h/\n").unwrap();
        assert_eq!((file.name.as_str(), file.config["websocket.url"].as_str()), ("c", "ws://h/"));
    }

    #[test]
    fn a_missing_name_is_reported_in_every_form() {
        for text in [&b"a=b"[..], br#"{"a":"b"}"#, br#"{"config":{"a":"b"}}"#, b""] {
            assert_eq!(
                connector_file("c", text).unwrap_err().to_string(),
                "Connector configuration at 'c' is missing the mandatory 'name' configuration"
            );
        }
        let broken = connector_file("c", b"{\"name\": \"c\",\n\"a\": }").unwrap_err().to_string();
        assert!(broken.contains("looks like JSON, but is not: line 2, column 6"), "{broken}");
    }

    #[test]
    fn no_value_is_shown() {
        let file = connector_file("c", br#"{"name":"c","websocket.auth.token":"s3cret"}"#).unwrap();
        assert!(!format!("{file:?}").contains("s3cret"));
        let null = connector_file("c", br#"{"name":"c","a":null,"websocket.auth.token":"s3cret"}"#).unwrap_err();
        assert_eq!(
            null.to_string(),
            "option a in connector configuration at 'c' is null: give it a value or remove it"
        );
    }
}
