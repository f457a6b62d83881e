//! A server's answer to the opening handshake: no panic on any bytes; a complete answer stays what it is when more follows.

#![no_main]

use connect_websocket_engine::connection::fuzzing::read_handshake_answer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &[u8])| {
    let (compression, bytes) = input;
    // The right key, so that the rest of the answer is looked at: most inputs would end at a wrong one.
    let text = String::from_utf8_lossy(bytes).replace("$ACCEPT", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    for bytes in [bytes, text.as_bytes()] {
        let answer = read_handshake_answer(bytes, compression);
        if let Ok(Some(taken)) = answer {
            assert!(taken <= bytes.len());
            assert_eq!(read_handshake_answer(&bytes[..taken], compression), answer);
            assert_eq!(read_handshake_answer(&[bytes, b"\x81\x00"].concat(), compression), answer);
        }
    }
});
