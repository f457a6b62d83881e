//! Reads the recordings.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use connect_websocket_testkit::Step;
use serde_json::Value;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    Text(String),
    Binary(Vec<u8>),
}

impl Message {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    pub(crate) fn step(&self) -> Step {
        match self {
            Message::Text(text) => Step::SendText { text: text.clone(), fragments: 1, ping_between: false },
            Message::Binary(bytes) => Step::SendBinary { base64: BASE64.encode(bytes) },
        }
    }
}

/// Where the recordings are; says so if they are not there.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("CAPTURES").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures"));
    if folder.is_dir() {
        return Some(folder);
    }
    // Not eprintln!, which a passing test keeps to itself.
    let _ =
        writeln!(std::io::stderr(), "skipped: no recordings in {}; CAPTURES names another folder", folder.display());
    None
}

/// The messages received in a recording of cryptofeed: lines `<time>: <message>`, beside `<url> <-> …` and `<url> <- …`.
fn cryptofeed(text: &str) -> Vec<Message> {
    let received = text.split('\n').filter(|line| !line.is_empty() && !line.starts_with("ws"));
    let message = |line: &str| {
        let (_, message) = line.split_once(": ").unwrap_or_else(|| panic!("no time in {line}"));
        python_bytes(message).map_or_else(|| Message::Text(message.to_owned()), Message::Binary)
    };
    received.map(message).collect()
}

/// What the client said in a recording of cryptofeed: lines `<url> <- <time>: <JSON>`.
pub(crate) fn said(folder: &Path, name: &str) -> Vec<Value> {
    let path = folder.join("cryptofeed").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{} cannot be read: {e}", path.display()));
    let sent = text.split('\n').filter(|line| line.starts_with("ws")).filter_map(|line| line.split_once(" <- "));
    let json = |line: &str| serde_json::from_str(line.split_once(": ")?.1).ok();
    sent.map(|(_, line)| json(line).unwrap_or_else(|| panic!("no JSON in {line}"))).collect()
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

/// Frames with their length in front, as 32 bits little-endian; all of it compressed with zstd.
fn length_prefixed(compressed: &[u8]) -> Vec<Message> {
    let bytes = zstd::decode_all(compressed).unwrap_or_else(|e| panic!("no zstd: {e}"));
    let mut rest = bytes.as_slice();
    let mut messages = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        messages.push(Message::Binary(after[..length].to_vec()));
        rest = &after[length..];
    }
    messages
}

/// Name, messages, and how many the README says there are.
pub(crate) fn recordings(folder: &Path) -> Vec<(String, Vec<Message>)> {
    let read = |name: &str| fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name} cannot be read: {e}"));
    let text = |name: &str| String::from_utf8(read(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut recordings = Vec::new();
    for (name, count) in [
        ("BINANCE.ws.1.0", 265),
        ("KRAKEN.ws.50.0", 4_321),
        ("OKX.ws.1.0", 410),
        ("KUCOIN.ws.1.0", 4_721),
        ("HUOBI.ws.44.0", 362),
    ] {
        let messages = cryptofeed(&text(&format!("cryptofeed/{name}")));
        assert_eq!(messages.len(), count, "{name}");
        recordings.push((name.to_owned(), messages));
    }
    for (name, count) in [("expected_v1.jsonl", 152), ("golden_v1.jsonl", 10)] {
        let lines = text(&format!("jetstream/{name}"));
        let messages: Vec<Message> = lines.lines().map(|line| Message::Text(line.to_owned())).collect();
        assert_eq!(messages.len(), count, "{name}");
        recordings.push((name.to_owned(), messages));
    }
    let frames = length_prefixed(&read("jetstream/frames.bin.zst"));
    assert_eq!(frames.len(), 150);
    recordings.push(("frames.bin".to_owned(), frames));
    recordings
}

#[test]
fn literals_of_python_are_read() {
    assert_eq!(python_bytes(r"b'\x1f\x8b\x00a\\\'\n'").as_deref(), Some(b"\x1f\x8b\0a\\'\n".as_slice()));
    assert_eq!(python_bytes("b\"it's\"").as_deref(), Some(b"it's".as_slice()));
    assert_eq!(python_bytes("{\"b\":1}"), None);
}
