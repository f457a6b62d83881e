//! permessage-deflate (RFC 7692), server side: negotiation, compressor, decompressor.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::script::Deflate;

/// What was agreed for one connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Agreed {
    pub(crate) server_no_context_takeover: bool,
    pub(crate) client_no_context_takeover: bool,
    pub(crate) server_max_window_bits: u8,
    level: u32,
}

/// Returns the answer to the client's `Sec-WebSocket-Extensions` offers (all header values joined by commas), and what it
/// agrees to; `None`: deflate was not offered.
pub(crate) fn negotiate(wanted: &Deflate, offers: &str) -> Option<(String, Agreed)> {
    let offer = offers.split(',').find(|offer| offer.split(';').next().map(str::trim) == Some("permessage-deflate"))?;
    let mut agreed = without_offer(wanted);
    let mut client_bits_offered = false;
    let mut state_server_bits = wanted.server_max_window_bits.is_some();
    for parameter in offer.split(';').skip(1) {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim(), value.trim().trim_matches('"')),
            None => (parameter.trim(), ""),
        };
        match name {
            "server_no_context_takeover" => agreed.server_no_context_takeover = true,
            "client_no_context_takeover" => agreed.client_no_context_takeover = true,
            "client_max_window_bits" => client_bits_offered = true,
            "server_max_window_bits" => {
                let bits = value.parse().unwrap_or(15);
                agreed.server_max_window_bits = agreed.server_max_window_bits.min(bits);
                state_server_bits = true;
            }
            _ => {}
        }
    }
    let mut answer = "permessage-deflate".to_owned();
    if agreed.server_no_context_takeover {
        answer.push_str("; server_no_context_takeover");
    }
    if agreed.client_no_context_takeover {
        answer.push_str("; client_no_context_takeover");
    }
    if state_server_bits {
        answer.push_str(&format!("; server_max_window_bits={}", agreed.server_max_window_bits));
    }
    if let Some(bits) = wanted.client_max_window_bits.filter(|_| client_bits_offered) {
        answer.push_str(&format!("; client_max_window_bits={bits}"));
    }
    Some((answer, agreed))
}

/// What is used when the answer is forced by the script, whatever was offered.
pub(crate) fn without_offer(wanted: &Deflate) -> Agreed {
    Agreed {
        server_no_context_takeover: wanted.server_no_context_takeover,
        client_no_context_takeover: wanted.client_no_context_takeover,
        server_max_window_bits: wanted.server_max_window_bits.unwrap_or(15),
        level: wanted.level.unwrap_or(6),
    }
}

/// Compresses messages with the agreed window and context.
pub(crate) struct Deflater {
    compress: Compress,
    reset_each: bool,
}

impl Deflater {
    pub(crate) fn new(agreed: &Agreed) -> Deflater {
        // zlib has no raw 256-byte window; stored blocks refer to nothing before them and are right for any window.
        let level = if agreed.server_max_window_bits < 9 { 0 } else { agreed.level.min(9) };
        let bits = agreed.server_max_window_bits.clamp(9, 15);
        Deflater {
            compress: Compress::new_with_window_bits(Compression::new(level), false, bits),
            reset_each: agreed.server_no_context_takeover,
        }
    }

    /// One whole message, without the four bytes that RFC 7692 section 7.2.1 leaves out.
    pub(crate) fn message(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len() / 2 + 64);
        self.part(payload, &mut out);
        self.end(&mut out);
        out
    }

    /// A message of `size` blanks, made without holding them.
    pub(crate) fn bomb(&mut self, size: u64) -> Vec<u8> {
        let blanks = vec![b' '; 1 << 20];
        let mut out = Vec::new();
        let mut left = size;
        while left > 0 {
            let part = left.min(blanks.len() as u64);
            self.part(&blanks[..part as usize], &mut out);
            left -= part;
        }
        self.end(&mut out);
        out
    }

    fn part(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        let before = self.compress.total_in();
        while let Some(left) =
            payload.get((self.compress.total_in() - before) as usize..).filter(|left| !left.is_empty())
        {
            out.reserve(left.len() / 8 + 1024);
            if self.compress.compress_vec(left, out, FlushCompress::None).is_err() {
                return;
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        loop {
            out.reserve(1024);
            let room = out.capacity() - out.len();
            let before = out.len();
            // The flush is done once it leaves room in the output.
            let flushed = self.compress.compress_vec(&[], out, FlushCompress::Sync);
            if flushed.is_err() || out.len() - before < room {
                break;
            }
        }
        if out.ends_with(&[0, 0, 0xff, 0xff]) {
            out.truncate(out.len() - 4);
        }
        if out.is_empty() {
            // An empty message after a flush makes no output; RFC 7692 section 7.2.3.6 gives its form.
            out.push(0);
        }
        if self.reset_each {
            self.compress.reset();
        }
    }
}

/// Inflates the client's messages, up to a limit.
pub(crate) struct Inflater {
    decompress: Decompress,
    reset_each: bool,
}

impl Inflater {
    pub(crate) fn new(agreed: &Agreed) -> Inflater {
        Inflater { decompress: Decompress::new(false), reset_each: agreed.client_no_context_takeover }
    }

    pub(crate) fn message(&mut self, payload: &[u8], limit: usize) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let mut input = payload.to_vec();
        input.extend_from_slice(&[0, 0, 0xff, 0xff]);
        let before = self.decompress.total_in();
        loop {
            let left = &input[(self.decompress.total_in() - before) as usize..];
            out.reserve(left.len() * 4 + 1024);
            let length = out.len();
            let consumed = self.decompress.total_in();
            let status = self
                .decompress
                .decompress_vec(left, &mut out, FlushDecompress::Sync)
                .map_err(|error| format!("client message does not inflate: {error}"))?;
            if out.len() > limit {
                return Err(format!("client message inflates to more than {limit} bytes"));
            }
            let stuck = out.len() == length && self.decompress.total_in() == consumed;
            if stuck || status == Status::StreamEnd {
                break;
            }
        }
        if self.reset_each {
            self.decompress.reset(false);
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Deflate {
        Deflate::default()
    }

    #[test]
    fn answer_honours_offer_and_wish() {
        assert!(negotiate(&wanted(), "x-webkit-deflate-frame").is_none());
        assert!(negotiate(&wanted(), "").is_none());
        let (answer, _) = negotiate(&wanted(), "permessage-deflate; client_max_window_bits").unwrap();
        assert_eq!(answer, "permessage-deflate");
        let (answer, agreed) =
            negotiate(&wanted(), "foo, permessage-deflate; server_no_context_takeover; server_max_window_bits=\"11\"")
                .unwrap();
        assert_eq!(answer, "permessage-deflate; server_no_context_takeover; server_max_window_bits=11");
        assert_eq!(agreed.server_max_window_bits, 11);
        let wish = Deflate { client_max_window_bits: Some(10), server_max_window_bits: Some(9), ..wanted() };
        let (answer, _) = negotiate(&wish, "permessage-deflate; client_max_window_bits").unwrap();
        assert_eq!(answer, "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10");
        // client_max_window_bits may be answered only if it was offered (RFC 7692 section 7.1.2.2).
        let (answer, _) = negotiate(&wish, "permessage-deflate").unwrap();
        assert_eq!(answer, "permessage-deflate; server_max_window_bits=9");
    }

    #[test]
    fn messages_survive_with_every_window_and_both_contexts() {
        for bits in 8..=15 {
            for no_context in [false, true] {
                let wish =
                    Deflate { server_no_context_takeover: no_context, server_max_window_bits: Some(bits), ..wanted() };
                let agreed = without_offer(&wish);
                let mut deflater = Deflater::new(&agreed);
                let mut inflater = Inflater::new(&Agreed { client_no_context_takeover: no_context, ..agreed });
                for round in 0..20 {
                    let text = format!("{{\"n\":{round},\"pad\":\"{}\"}}", "abcdefgh".repeat(round * 300));
                    let packed = deflater.message(text.as_bytes());
                    let unpacked = inflater.message(&packed, 1 << 20).unwrap();
                    assert_eq!(unpacked, text.as_bytes(), "window {bits}, round {round}");
                }
            }
        }
    }

    #[test]
    fn context_takeover_makes_repeats_smaller() {
        let text = "the quick brown fox jumps over the lazy dog 0123456789";
        let mut with = Deflater::new(&without_offer(&wanted()));
        let mut without = Deflater::new(&without_offer(&Deflate { server_no_context_takeover: true, ..wanted() }));
        let (first, second) = (with.message(text.as_bytes()).len(), with.message(text.as_bytes()).len());
        assert!(second < first / 2, "{first} {second}");
        assert_eq!(without.message(text.as_bytes()).len(), without.message(text.as_bytes()).len());
    }

    #[test]
    fn a_bomb_is_small_and_inflates_to_its_size() {
        let agreed = without_offer(&wanted());
        let bomb = Deflater::new(&agreed).bomb(5_000_000);
        assert!(bomb.len() < 20_000, "{}", bomb.len());
        assert_eq!(Inflater::new(&agreed).message(&bomb, 6_000_000).unwrap().len(), 5_000_000);
        assert!(Inflater::new(&agreed).message(&bomb, 1_000_000).is_err());
    }

    #[test]
    fn garbage_does_not_inflate() {
        assert!(Inflater::new(&without_offer(&wanted())).message(&[0xff; 40], 1 << 20).is_err());
    }
}
