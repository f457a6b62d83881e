//! The lines of `probe`: each is something that happened. `--json` prints them with these fields, which
//! docs/reference/probe.md lists.

use connect_websocket_engine::redact::is_invisible;
use serde::Serialize;

use super::certificate::Certificate;
use super::figures::Summary;
use crate::learn::Finding;

/// A line, and its time.
#[derive(Serialize)]
pub(super) struct Timed<'a> {
    /// Since the start.
    pub(super) seconds: f64,
    #[serde(flatten)]
    pub(super) line: &'a Line,
}

/// Something that happened. It contains no secret, and texts of the server are shortened to what is shown.
#[derive(Serialize, Debug)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Line {
    Start { url: String, feed: Option<String> },
    Address { host: Option<String>, address: String, state: AddressState, reason: Option<String> },
    Certificate(Certificate),
    Tls { version: String, cipher: String },
    Redirect { url: String },
    Handshake { status: u16, subprotocol: Option<String>, compression: bool },
    Step { step: String, state: StepState, milliseconds: Option<f64> },
    Sent { step: String, kind: Kind, bytes: usize, text: Option<String> },
    Request { step: String, method: String, url: String },
    Answer { step: String, status: u16, bytes: usize },
    Heard { step: String, record: bool, text: Option<String> },
    Sample(Sample),
    Close { code: Option<u16>, reason: String },
    Gap { cause: &'static str, missed: Option<u64>, key: Option<String>, from: Option<String>, to: Option<String> },
    Ended { cause: &'static str, reason: String, planned: bool, retry_milliseconds: Option<u64> },
    Tape { path: String, messages: u64, bytes: u64, full: bool },
    Summary(Summary),
    Finding(Finding),
    Result { exit_code: u8, reason: String },
}

#[derive(Serialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum AddressState {
    Trying,
    Connected,
    Failed,
}

#[derive(Serialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum StepState {
    Begun,
    Done,
}

#[derive(Serialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    #[default]
    Text,
    Binary,
}

/// A record as it would go to Kafka.
#[derive(Serialize, Debug)]
pub(super) struct Sample {
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) bytes: usize,
    /// `None` if the bytes are not text.
    pub(super) text: Option<String>,
    pub(super) base64: Option<String>,
    /// Whether it was cut.
    pub(super) cut: bool,
    pub(super) key: Option<String>,
    /// Its topic, if it is not the configured one.
    pub(super) topic: Option<String>,
    /// Milliseconds since 1970.
    pub(super) timestamp: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) headers: Vec<(String, String)>,
}

impl Timed<'_> {
    pub(super) fn json(&self) -> String {
        // In JSON, these characters are only in strings.
        harmless(&serde_json::to_string(self).unwrap_or_default())
    }
}

/// Returns the text with a `\u` escape of JSON for each character that could move a terminal's cursor, change the
/// direction of text, or is invisible.
pub(in crate::command) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_invisible(c) || matches!(c, '\u{2028}' | '\u{2029}') {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_a_cursor_or_hides_is_escaped_as_json_does() {
        assert_eq!(
            harmless("a\u{1b}[2Jb\u{9b}c\u{202e}d\u{e0041}é世"),
            "a\\u001b[2Jb\\u009bc\\u202ed\\udb40\\udc41é世"
        );
        let line = Line::Close { code: None, reason: "\u{9b}31m\u{1b}\n\u{e0041}".to_owned() };
        let json = Timed { seconds: 1.5, line: &line }.json();
        assert!(!json.chars().any(|c| c.is_control() || is_invisible(c)), "{json:?}");
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["reason"], "\u{9b}31m\u{1b}\n\u{e0041}");
        assert_eq!(read["event"], "close");
        assert_eq!(read["seconds"].to_string(), "1.5");
    }
}
