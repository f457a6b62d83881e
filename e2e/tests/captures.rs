//! Recorded traffic of real feeds, replayed byte for byte into Kafka. The recordings are no part of the project: without
//! them there is nothing to do. `CAPTURES` names their folder, whose README says what they are.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use connect_websocket_e2e::{Consumer, Kafka, Worker, source_config};
use connect_websocket_testkit::{Deflate, Play, Script, Server, Step};

const WITHIN: Duration = Duration::from_secs(60);
const BYTE_ARRAY: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";
const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";

#[derive(Debug, Clone, PartialEq)]
enum Message {
    Text(String),
    Binary(Vec<u8>),
}

impl Message {
    fn bytes(&self) -> &[u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    fn step(&self) -> Step {
        match self {
            Message::Text(text) => Step::SendText { text: text.clone(), fragments: 1, ping_between: false },
            Message::Binary(bytes) => Step::SendBinary { base64: BASE64.encode(bytes) },
        }
    }
}

fn folder() -> Option<PathBuf> {
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
fn recordings(folder: &Path) -> Vec<(String, Vec<Message>)> {
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
fn recorded_feeds_arrive_byte_for_byte_plain_and_compressed() {
    let Some(folder) = folder() else { return };
    let kafka = Kafka::shared();
    let consumer = Consumer::new(&kafka.bootstrap());
    let worker = Worker::builder(&kafka.bootstrap()).start();

    let mut running = Vec::new();
    for (name, messages) in recordings(&folder) {
        let binary = messages.iter().all(|message| matches!(message, Message::Binary(_)));
        for (way, play) in [("plain", Play::accept()), ("deflate", Play::accept_deflate(Deflate::default()))] {
            let play = messages.iter().fold(play, |play, message| play.step(message.step()));
            let feed = Server::start(Script::every(play)).unwrap_or_else(|e| panic!("no feed: {e}"));
            let topic = format!("{name}-{way}");
            let converter =
                [("value.converter", if binary { BYTE_ARRAY } else { STRING }), ("websocket.frame.binary", "bytes")];
            worker.put_connector(&topic, &source_config(feed.url(), &topic, &converter));
            running.push((topic, feed, messages.clone()));
        }
    }
    for (topic, feed, messages) in &running {
        let records = consumer.read_until(topic, messages.len(), WITHIN);
        for (i, (record, message)) in records.iter().zip(messages).enumerate() {
            assert!(record.value.as_deref() == Some(message.bytes()), "message {i} of {topic} is another one");
        }
        assert_eq!(consumer.count(topic), messages.len() as u64, "{topic}");
        assert_eq!(feed.stats().connections.len(), 1, "{topic} was interrupted");
        let agreed = feed.stats().connections[0].extensions.is_some();
        assert_eq!(agreed, topic.ends_with("deflate"), "{topic}");
    }
}

#[test]
fn literals_of_python_are_read() {
    assert_eq!(python_bytes(r"b'\x1f\x8b\x00a\\\'\n'").as_deref(), Some(b"\x1f\x8b\0a\\'\n".as_slice()));
    assert_eq!(python_bytes("b\"it's\"").as_deref(), Some(b"it's".as_slice()));
    assert_eq!(python_bytes("{\"b\":1}"), None);
}
