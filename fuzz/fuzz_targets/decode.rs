//! The decode chain: arbitrary data neither panics nor outgrows the limit, and what was packed comes back.

#![no_main]

use std::io::Write as _;

use connect_websocket_engine::intake::decode::{Codec, Decoder};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 16;

fuzz_target!(|input: (Vec<u8>, Vec<Vec<u8>>)| {
    let (chain, messages) = input;
    let chain: Vec<Codec> =
        chain.iter().take(4).filter_map(|n| Codec::find(Codec::NAMES[usize::from(*n) % 5])).collect();
    let mut decoder = Decoder::new(&chain, &[], LIMIT).expect("no dictionary");
    for message in &messages {
        if let Ok(decoded) = decoder.decode(message) {
            assert!(decoded.len() <= LIMIT);
        }
        let Some(packed) = chain.iter().rev().try_fold(message.clone(), |data, codec| pack(*codec, &data)) else {
            continue;
        };
        if !chain.is_empty() && packed.len() <= LIMIT / 2 && message.len() <= LIMIT / 2 {
            assert_eq!(decoder.decode(&packed), Ok(&message[..]));
        }
    }
});

fn pack(codec: Codec, data: &[u8]) -> Option<Vec<u8>> {
    let level = Compression::fast();
    match codec {
        Codec::Gzip => {
            let mut packer = GzEncoder::new(Vec::new(), level);
            packer.write_all(data).ok()?;
            packer.finish().ok()
        }
        Codec::Zlib => {
            let mut packer = ZlibEncoder::new(Vec::new(), level);
            packer.write_all(data).ok()?;
            packer.finish().ok()
        }
        Codec::Deflate => {
            let mut packer = DeflateEncoder::new(Vec::new(), level);
            packer.write_all(data).ok()?;
            packer.finish().ok()
        }
        // Made elsewhere: what is arbitrary is unpacked above.
        Codec::Zstd | Codec::Base64 => None,
    }
}
