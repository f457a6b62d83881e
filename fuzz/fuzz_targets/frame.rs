//! Arbitrary bytes of a server, cut in arbitrary pieces: no panic, bounded messages, and the same events however they are cut.

#![no_main]

use connect_websocket_engine::connection::frame::{Decoder, Event};
use connect_websocket_engine::connection::inflate::Inflate;
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 4096;

#[derive(Debug, PartialEq)]
enum Seen {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Violation(u16),
}

fuzz_target!(|input: (u8, Vec<u8>, Vec<u8>)| {
    let (options, cuts, bytes) = input;
    let whole = decode(options, &bytes, &[]);
    assert_eq!(decode(options, &bytes, &cuts), whole, "in pieces");
    assert_eq!(decode(options, &bytes, &[1]), whole, "byte by byte");
});

/// The events up to the first violation; the sizes of the pieces are `cuts`, over and over.
fn decode(options: u8, bytes: &[u8], cuts: &[u8]) -> Vec<Seen> {
    let compression = options & 1 != 0;
    let inflate = compression.then(|| Inflate::new(options & 2 != 0));
    let mut decoder = Decoder::new(LIMIT, inflate);
    let (mut seen, mut buffer, mut rest) = (Vec::new(), Vec::new(), bytes);
    let mut cuts = cuts.iter().map(|&cut| usize::from(cut).max(1)).cycle();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(cuts.next().unwrap_or(rest.len()).min(rest.len()));
        rest = after;
        buffer.extend_from_slice(piece);
        loop {
            let (taken, event) = match decoder.decode(&buffer) {
                Ok(decoded) => decoded,
                Err(violation) => {
                    // A compressed message can be too large (1009) and no UTF-8 (1007): the cuts decide which is seen first.
                    let code = if compression && violation.code == 1009 { 1007 } else { violation.code };
                    seen.push(Seen::Violation(code));
                    return seen;
                }
            };
            let event = event.map(own);
            buffer.drain(..taken);
            // What is left is the beginning of a header.
            assert!(event.is_some() || buffer.len() < 10, "{} bytes wait", buffer.len());
            match event {
                Some(event) => seen.push(event),
                None => break,
            }
        }
    }
    seen
}

fn own(event: Event<'_>) -> Seen {
    match event {
        Event::Text(text) => {
            assert!(std::str::from_utf8(text).is_ok() && text.len() <= LIMIT);
            Seen::Text(text.to_vec())
        }
        Event::Binary(data) => {
            assert!(data.len() <= LIMIT);
            Seen::Binary(data.to_vec())
        }
        Event::Ping(payload) => Seen::Ping(payload.to_vec()),
        Event::Pong(payload) => Seen::Pong(payload.to_vec()),
        Event::Close(close) => Seen::Close(close.code, close.reason),
    }
}
