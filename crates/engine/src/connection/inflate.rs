//! permessage-deflate (RFC 7692), for receiving. Sent messages are never compressed, which the extension allows (§6).

use flate2::{Decompress, FlushDecompress, Status};

use super::violation::Violation;

/// The end of every message's deflate stream (RFC 7692 §7.2.2).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
/// The output grows by at least this much at a time.
const STEP: usize = 4096;

/// Decompresses the messages of one connection, with a window that fits any `server_max_window_bits`.
#[derive(Debug)]
pub struct Inflate {
    stream: Decompress,
    /// With `server_no_context_takeover`, each message begins with an empty window.
    forget: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum InflateError {
    TooBig,
    Corrupt,
}

impl InflateError {
    pub(super) fn violation(&self, limit: usize) -> Violation {
        match self {
            InflateError::TooBig => Violation::new(
                1009,
                format!("a decompressed message is larger than websocket.message.max.bytes = {limit}"),
            ),
            InflateError::Corrupt => Violation::new(
                1007,
                "a compressed message is corrupt; set websocket.compression=none to turn off compression",
            ),
        }
    }
}

impl Inflate {
    pub fn new(server_no_context_takeover: bool) -> Inflate {
        Inflate { stream: Decompress::new(false), forget: server_no_context_takeover }
    }

    /// Appends a decompressed part of a message to `out`, which never gets larger than `limit` bytes and a step.
    pub(super) fn extend(&mut self, mut input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), InflateError> {
        loop {
            if out.len() == out.capacity() {
                out.reserve(STEP.max(out.len().min(limit.saturating_sub(out.len()))));
            }
            let (taken_before, made_before) = (self.stream.total_in(), self.stream.total_out());
            let status =
                self.stream.decompress_vec(input, out, FlushDecompress::Sync).map_err(|_| InflateError::Corrupt)?;
            let taken = (self.stream.total_in() - taken_before) as usize;
            let made = self.stream.total_out() - made_before;
            input = &input[taken..];
            if out.len() > limit {
                return Err(InflateError::TooBig);
            }
            if status == Status::StreamEnd {
                // A block with BFINAL ends the stream (§7.2.3.4). A new one follows.
                self.stream.reset(false);
            }
            let out_full = out.len() == out.capacity();
            if input.is_empty() && !out_full {
                return Ok(());
            }
            if taken == 0 && made == 0 && status != Status::StreamEnd {
                return if input.is_empty() { Ok(()) } else { Err(InflateError::Corrupt) };
            }
        }
    }

    /// Ends a message.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>, limit: usize) -> Result<(), InflateError> {
        self.extend(&TAIL, out, limit)?;
        if self.forget {
            self.stream.reset(false);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress};

    /// Compresses as a server does: sync flush, without the tail.
    fn deflate(stream: &mut Compress, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(message.len() + 1024);
        stream.compress_vec(message, &mut out, FlushCompress::Sync).unwrap();
        assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
        out
    }

    fn inflate(inflate: &mut Inflate, data: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
        let mut out = Vec::new();
        for piece in data.chunks(3) {
            inflate.extend(piece, &mut out, limit)?;
        }
        inflate.finish(&mut out, limit)?;
        Ok(out)
    }

    #[test]
    fn messages_come_back_with_and_without_context_takeover() {
        for forget in [false, true] {
            let mut server = Compress::new(Compression::default(), false);
            let mut ours = Inflate::new(forget);
            for n in 0..50 {
                let message = format!("{{\"n\":{n},\"text\":\"the same again and again\"}}").repeat(n);
                let data = deflate(&mut server, message.as_bytes());
                assert_eq!(inflate(&mut ours, &data, 1 << 20), Ok(message.into_bytes()));
                if forget {
                    server.reset();
                }
            }
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let mut server = Compress::new(Compression::best(), false);
        let bomb = deflate(&mut server, &vec![0; 50 << 20]);
        assert!(bomb.len() < 60_000);
        let mut out = Vec::new();
        assert_eq!(Inflate::new(false).extend(&bomb, &mut out, 1 << 20), Err(InflateError::TooBig));
        assert!(out.capacity() < 3 << 20, "{}", out.capacity());
    }

    #[test]
    fn garbage_is_corrupt() {
        assert_eq!(inflate(&mut Inflate::new(false), &[0xFF; 20], 1000), Err(InflateError::Corrupt));
    }

    #[test]
    fn a_final_block_does_not_end_the_connection() {
        let mut server = Compress::new(Compression::default(), false);
        let mut data = Vec::with_capacity(100);
        server.compress_vec(b"last words", &mut data, FlushCompress::Finish).unwrap();
        data.push(0);
        let mut ours = Inflate::new(false);
        assert_eq!(inflate(&mut ours, &data, 1000), Ok(b"last words".to_vec()));
        let next = deflate(&mut Compress::new(Compression::default(), false), b"and more");
        assert_eq!(inflate(&mut ours, &next, 1000), Ok(b"and more".to_vec()));
    }
}
