//! Recorded traffic of real feeds. The recordings are no part of the project: `CAPTURES` names their folder, whose README says what they
//! are. Without them a test has nothing to do.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use crate::Step;

/// A message that a feed sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Of a text frame.
    Text(String),
    /// Of a binary frame.
    Binary(Vec<u8>),
}

impl Message {
    /// What it holds.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    /// The step that sends it again.
    pub fn step(&self) -> Step {
        match self {
            Message::Text(text) => Step::SendText { text: text.clone(), fragments: 1, ping_between: false },
            Message::Binary(bytes) => Step::SendBinary { base64: BASE64.encode(bytes) },
        }
    }
}

/// Where the recordings are; says so if they are not there.
pub fn folder() -> Option<PathBuf> {
    let beside = |above: &Path| Some(above.join("shared/captures")).filter(|folder| folder.is_dir());
    let named = std::env::var_os("CAPTURES").map(PathBuf::from).filter(|folder| folder.is_dir());
    let folder = named.or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find_map(beside));
    if folder.is_none() {
        // Not eprintln!, which a passing test keeps to itself.
        let _ = writeln!(io::stderr(), "skipped: no recordings in shared/captures; CAPTURES names another folder");
    }
    folder
}

/// The messages received in a recording of cryptofeed: lines `<time>: <message>`, beside `<url> <-> …` and `<url> <- …`.
///
/// # Panics
/// If it is no such recording.
pub fn received(folder: &Path, name: &str) -> Vec<Message> {
    received_at(folder, name).into_iter().map(|(_, message)| message).collect()
}

/// The same, and when each was received.
///
/// # Panics
/// If it is no such recording.
pub fn received_at(folder: &Path, name: &str) -> Vec<(SystemTime, Message)> {
    let text = text(folder, name);
    let received = text.split('\n').filter(|line| !line.is_empty() && !line.starts_with("ws"));
    let message = |line: &str| {
        let (time, message) = line.split_once(": ").unwrap_or_else(|| panic!("no time in {line}"));
        let seconds = time.parse().unwrap_or_else(|e| panic!("{time} is no time: {e}"));
        let message = python_bytes(message).map_or_else(|| Message::Text(message.to_owned()), Message::Binary);
        (SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds), message)
    };
    received.map(message).collect()
}

/// What the client said in a recording of cryptofeed: lines `<url> <- <time>: <JSON>`.
///
/// # Panics
/// If it is no such recording.
pub fn said(folder: &Path, name: &str) -> Vec<Value> {
    let text = text(folder, name);
    let sent = text.split('\n').filter(|line| line.starts_with("ws")).filter_map(|line| line.split_once(" <- "));
    let json = |line: &str| serde_json::from_str(line.split_once(": ")?.1).ok();
    sent.map(|(_, line)| json(line).unwrap_or_else(|| panic!("no JSON in {line}"))).collect()
}

fn text(folder: &Path, name: &str) -> String {
    let path = folder.join("cryptofeed").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{} cannot be read: {e}", path.display()))
}

/// The bytes of a Python literal `b'…'` or `b"…"`; `None` if it is something else.
fn python_bytes(text: &str) -> Option<Vec<u8>> {
    let quote = text.strip_prefix('b')?.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let mut rest = text.strip_prefix('b')?.strip_prefix(quote)?.strip_suffix(quote)?.bytes();
    let mut bytes = Vec::new();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let digits = [rest.next()?, rest.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                other => other,
            },
            other => other,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_of_python_are_read() {
        assert_eq!(python_bytes(r"b'\x1f\x8b\x00a\\\'\n'").as_deref(), Some(b"\x1f\x8b\0a\\'\n".as_slice()));
        assert_eq!(python_bytes("b\"it's\"").as_deref(), Some(b"it's".as_slice()));
        assert_eq!(python_bytes("{\"b\":1}"), None);
    }
}
