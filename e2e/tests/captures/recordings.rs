//! Reads the recordings.

use std::fs;
use std::path::Path;

use connect_websocket_testkit::recordings::{Message, received};

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
        let messages = received(folder, name);
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
