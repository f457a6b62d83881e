//! permessage-deflate: arbitrary data neither panics nor outgrows the limit, and what a server compressed comes back.

#![no_main]

use connect_websocket_engine::connection::frame::{Decoder, Event};
use connect_websocket_engine::connection::inflate::Inflate;
use flate2::{Compress, Compression, FlushCompress};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 16;

fuzz_target!(|input: (bool, u8, Vec<Vec<u8>>)| {
    let (forget, level, payloads) = input;
    arbitrary(forget, &payloads);
    round_trip(forget, level, &payloads);
});

fn frame(payload: &[u8], out: &mut Vec<u8>) {
    // Final, RSV1, binary; always with a 64-bit or shorter length as RFC 6455 §5.2 wants it.
    out.push(0xC2);
    match payload.len() {
        len @ 0..=125 => out.push(len as u8),
        len @ 126..=0xFFFF => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// Payloads as they are, as if they were compressed.
fn arbitrary(forget: bool, payloads: &[Vec<u8>]) {
    let mut decoder = Decoder::new(LIMIT, Some(Inflate::new(forget)));
    let mut bytes = Vec::new();
    payloads.iter().for_each(|payload| frame(payload, &mut bytes));
    let mut rest = &bytes[..];
    while let Ok((taken, Some(event))) = decoder.decode(rest) {
        let Event::Binary(message) = event else { panic!("{event:?} was not sent") };
        assert!(message.len() <= LIMIT);
        rest = &rest[taken..];
    }
}

/// Payloads compressed as a server does.
fn round_trip(forget: bool, level: u8, payloads: &[Vec<u8>]) {
    let mut decoder = Decoder::new(LIMIT, Some(Inflate::new(forget)));
    let mut server = Compress::new(Compression::new(u32::from(level % 10)), false);
    for payload in payloads.iter().filter(|payload| payload.len() <= LIMIT) {
        let mut compressed = Vec::with_capacity(payload.len() * 2 + 1024);
        server.compress_vec(payload, &mut compressed, FlushCompress::Sync).unwrap();
        if forget {
            server.reset();
        }
        compressed.truncate(compressed.len().saturating_sub(4));
        if compressed.is_empty() {
            // Two flushes in a row are one to zlib; an empty message is one byte (RFC 7692 §7.2.3.6).
            compressed.push(0);
        }
        let mut bytes = Vec::new();
        frame(&compressed, &mut bytes);
        let (taken, event) = decoder.decode(&bytes).unwrap();
        assert_eq!(taken, bytes.len());
        assert_eq!(event, Some(Event::Binary(payload)));
    }
}
