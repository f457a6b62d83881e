//! Unpacks messages: a chain of codecs over a whole message. The output of each codec is limited.

use std::io;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as ZstdStream, Operation};
use zstd::zstd_safe::{InBuffer, OutBuffer};

/// The output grows by at least this much at a time.
const STEP: usize = 4096;
/// The largest window of a zstd frame: 16 MiB.
const ZSTD_WINDOW_LOG: u32 = 24;
/// A larger buffer is freed after the message.
const KEPT_BUFFER: usize = 1 << 20;

const BASE64_CONFIG: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, BASE64_CONFIG);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, BASE64_CONFIG);

/// A format that can be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// RFC 1952.
    Gzip,
    /// RFC 1950.
    Zlib,
    /// RFC 1951, without a header.
    Deflate,
    /// RFC 8878.
    Zstd,
    /// RFC 4648, both alphabets, with or without padding.
    Base64,
}

impl Codec {
    pub const NAMES: [&str; 5] = ["gzip", "zlib", "deflate", "zstd", "base64"];

    pub fn find(name: &str) -> Option<Codec> {
        let all = [Codec::Gzip, Codec::Zlib, Codec::Deflate, Codec::Zstd, Codec::Base64];
        Codec::NAMES.iter().position(|own| *own == name).map(|at| all[at])
    }
}

/// Why a message cannot be unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    TooBig,
    /// The message is not valid in this format.
    Corrupt(&'static str),
}

/// Unpacks one message after another. Streams and buffers are reused.
pub struct Decoder {
    steps: Vec<Step>,
    limit: usize,
    from: Vec<u8>,
    to: Vec<u8>,
}

enum Step {
    Gzip(Decompress),
    Zlib(Decompress),
    Deflate(Decompress),
    Zstd(Box<ZstdStream<'static>>),
    Base64,
}

impl Decoder {
    /// # Errors
    /// The zstd dictionary is not valid.
    pub fn new(chain: &[Codec], dictionary: &[u8], limit: usize) -> Result<Decoder, String> {
        let step = |codec: &Codec| {
            Ok(match codec {
                Codec::Gzip => Step::Gzip(Decompress::new(false)),
                Codec::Zlib => Step::Zlib(Decompress::new(true)),
                Codec::Deflate => Step::Deflate(Decompress::new(false)),
                Codec::Zstd => Step::Zstd(Box::new(zstd_stream(dictionary)?)),
                Codec::Base64 => Step::Base64,
            })
        };
        let steps = chain.iter().map(step).collect::<Result<_, String>>()?;
        Ok(Decoder { steps, limit, from: Vec::new(), to: Vec::new() })
    }

    /// Whether text messages are unpacked too: only if the first format is base64.
    pub fn takes_text(&self) -> bool {
        matches!(self.steps.first(), Some(Step::Base64))
    }

    /// Returns the content of a message.
    ///
    /// # Errors
    /// It is larger than the limit, or is not in the configured format.
    pub fn decode(&mut self, message: &[u8]) -> Result<&[u8], DecodeError> {
        for buffer in [&mut self.from, &mut self.to] {
            buffer.clear();
            buffer.shrink_to(KEPT_BUFFER);
        }
        for (number, step) in self.steps.iter_mut().enumerate() {
            std::mem::swap(&mut self.from, &mut self.to);
            let input = if number == 0 { message } else { &self.from };
            self.to.clear();
            step.run(input, &mut self.to, self.limit)?;
        }
        Ok(if self.steps.is_empty() { &[] } else { &self.to })
    }
}

impl Step {
    fn run(&mut self, input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), DecodeError> {
        match self {
            Step::Gzip(stream) => gunzip(stream, input, out, limit),
            Step::Zlib(stream) => whole(stream, true, "zlib", input, out, limit),
            Step::Deflate(stream) => whole(stream, false, "deflate", input, out, limit),
            Step::Zstd(stream) => unzstd(stream, input, out, limit),
            Step::Base64 => unbase64(input, out, limit),
        }
    }
}

/// Unpacks one stream. No bytes may follow it.
fn whole(
    stream: &mut Decompress,
    header: bool,
    name: &'static str,
    input: &[u8],
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<(), DecodeError> {
    stream.reset(header);
    let taken = inflate(stream, name, input, out, limit)?;
    if taken < input.len() { Err(DecodeError::Corrupt(name)) } else { Ok(()) }
}

/// Inflates one stream to its end. Returns its length in the input.
fn inflate(
    stream: &mut Decompress,
    name: &'static str,
    input: &[u8],
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<usize, DecodeError> {
    loop {
        if out.len() == out.capacity() {
            out.reserve(STEP.max(out.len().min(limit.saturating_sub(out.len()))));
        }
        let taken = stream.total_in() as usize;
        let made = stream.total_out();
        let status = stream
            .decompress_vec(&input[taken..], out, FlushDecompress::None)
            .map_err(|_| DecodeError::Corrupt(name))?;
        if out.len() > limit {
            return Err(DecodeError::TooBig);
        }
        if status == Status::StreamEnd {
            return Ok(stream.total_in() as usize);
        }
        if stream.total_in() as usize == taken && stream.total_out() == made && out.len() < out.capacity() {
            return Err(DecodeError::Corrupt(name));
        }
    }
}

/// Unpacks gzip members, one after another (RFC 1952 §2.2), and checks the length and checksum of each.
fn gunzip(stream: &mut Decompress, input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), DecodeError> {
    let corrupt = DecodeError::Corrupt("gzip");
    let mut rest = input;
    loop {
        rest = gzip_body(rest).ok_or(corrupt.clone())?;
        stream.reset(false);
        let start = out.len();
        let taken = inflate(stream, "gzip", rest, out, limit)?;
        let (trailer, behind) = rest[taken..].split_first_chunk::<8>().ok_or(corrupt.clone())?;
        let made = &out[start..];
        let expected = u64::from(crc32fast::hash(made)) | (made.len() as u64 & 0xFFFF_FFFF) << 32;
        if u64::from_le_bytes(*trailer) != expected {
            return Err(corrupt);
        }
        if behind.is_empty() {
            return Ok(());
        }
        rest = behind;
    }
}

/// Returns what follows the header of a gzip member (RFC 1952 §2.3).
fn gzip_body(member: &[u8]) -> Option<&[u8]> {
    const HEADER_CRC: u8 = 1 << 1;
    const EXTRA: u8 = 1 << 2;
    const NAME: u8 = 1 << 3;
    const COMMENT: u8 = 1 << 4;
    let (&[0x1F, 0x8B, 8, flags, ..], mut rest) = member.split_first_chunk::<10>()? else { return None };
    if flags & EXTRA != 0 {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        rest = behind.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|&byte| byte == 0)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & HEADER_CRC != 0 { rest.get(2..) } else { Some(rest) }
}

fn zstd_stream(dictionary: &[u8]) -> Result<ZstdStream<'static>, String> {
    let stream = ZstdStream::with_dictionary(dictionary).and_then(|mut stream| {
        stream.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
        Ok(stream)
    });
    stream.map_err(|error| format!("the zstd dictionary cannot be used: {error}"))
}

/// Unpacks zstd frames, one after another (RFC 8878 §3.1).
fn unzstd(stream: &mut ZstdStream<'static>, input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), DecodeError> {
    let corrupt = |_: io::Error| DecodeError::Corrupt("zstd");
    stream.reinit().map_err(corrupt)?;
    let mut input = InBuffer::around(input);
    loop {
        let start = out.len();
        out.reserve(STEP.max(start.min(limit.saturating_sub(start))));
        let before = input.pos();
        let hint = stream.run(&mut input, &mut OutBuffer::around_pos(out, start)).map_err(corrupt)?;
        if out.len() > limit {
            return Err(DecodeError::TooBig);
        }
        let rests = input.pos() == before && out.len() == start;
        match (hint, input.pos() == input.src.len()) {
            // The frame was the last one.
            (0, true) => return Ok(()),
            (_, _) if rests => return Err(DecodeError::Corrupt("zstd")),
            _ => {}
        }
    }
}

fn unbase64(input: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), DecodeError> {
    let url = input.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let alphabet = if url { BASE64_URL } else { BASE64 };
    // Four characters are three bytes, so the input limits the output.
    alphabet.decode_vec(input.trim_ascii(), out).map_err(|_| DecodeError::Corrupt("base64"))?;
    if out.len() > limit { Err(DecodeError::TooBig) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    const LIMIT: usize = 1 << 20;

    fn pack(codec: Codec, data: &[u8]) -> Vec<u8> {
        let level = Compression::default();
        match codec {
            Codec::Gzip => {
                let mut packer = GzEncoder::new(Vec::new(), level);
                packer.write_all(data).unwrap();
                packer.finish().unwrap()
            }
            Codec::Zlib => {
                let mut packer = ZlibEncoder::new(Vec::new(), level);
                packer.write_all(data).unwrap();
                packer.finish().unwrap()
            }
            Codec::Deflate => {
                let mut packer = DeflateEncoder::new(Vec::new(), level);
                packer.write_all(data).unwrap();
                packer.finish().unwrap()
            }
            Codec::Zstd => zstd::bulk::compress(data, 3).unwrap(),
            Codec::Base64 => BASE64.encode(data).into_bytes(),
        }
    }

    fn decoder(chain: &[Codec]) -> Decoder {
        Decoder::new(chain, &[], LIMIT).unwrap()
    }

    const ALL: [Codec; 5] = [Codec::Gzip, Codec::Zlib, Codec::Deflate, Codec::Zstd, Codec::Base64];

    #[test]
    fn each_codec_gives_back_what_was_packed_message_after_message() {
        for codec in ALL {
            let mut decoder = decoder(&[codec]);
            for n in [0, 1, 50, 40_000, 7] {
                let message = "{\"n\":1234}".repeat(n).into_bytes();
                assert_eq!(decoder.decode(&pack(codec, &message)), Ok(&message[..]), "{codec:?} {n}");
            }
        }
    }

    #[test]
    fn codecs_are_named_and_found() {
        assert_eq!(Codec::NAMES.map(|name| Codec::find(name).unwrap()), ALL);
        assert_eq!(Codec::find("brotli"), None);
    }

    #[test]
    fn a_chain_is_undone_in_its_order() {
        let packed = pack(Codec::Base64, &pack(Codec::Gzip, &pack(Codec::Zstd, b"hello")));
        let mut decoder = decoder(&[Codec::Base64, Codec::Gzip, Codec::Zstd]);
        assert_eq!(decoder.decode(&packed), Ok(&b"hello"[..]));
        assert!(decoder.takes_text());
        assert!(!super::tests::decoder(&[Codec::Gzip, Codec::Base64]).takes_text());
    }

    #[test]
    fn the_limit_bounds_what_a_message_becomes() {
        for codec in ALL {
            let mut decoder = Decoder::new(&[codec], &[], 1000).unwrap();
            assert_eq!(decoder.decode(&pack(codec, &[b'a'; 1000])).map(<[u8]>::len), Ok(1000), "{codec:?}");
            assert_eq!(decoder.decode(&pack(codec, &[b'a'; 1001])), Err(DecodeError::TooBig), "{codec:?}");
            assert_eq!(decoder.decode(&pack(codec, b"after")), Ok(&b"after"[..]), "{codec:?}");
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_bound() {
        let bomb = vec![0; 200 << 20];
        for codec in [Codec::Gzip, Codec::Zlib, Codec::Deflate, Codec::Zstd] {
            let packed = pack(codec, &bomb);
            assert!(packed.len() < 1 << 20);
            let mut decoder = decoder(&[codec]);
            assert_eq!(decoder.decode(&packed), Err(DecodeError::TooBig), "{codec:?}");
            assert!(decoder.to.capacity() < 4 * LIMIT, "{codec:?}: {}", decoder.to.capacity());
        }
    }

    #[test]
    fn a_zstd_window_has_at_most_16_mib() {
        // A frame that wants 32 MiB: magic, no single segment, exponent 15, an empty last block.
        let frame = |exponent: u8| [0x28, 0xB5, 0x2F, 0xFD, 0x00, exponent << 3, 0x01, 0x00, 0x00];
        let mut decoder = decoder(&[Codec::Zstd]);
        assert_eq!(decoder.decode(&frame(14)), Ok(&[][..]));
        assert_eq!(decoder.decode(&frame(15)), Err(DecodeError::Corrupt("zstd")));
    }

    #[test]
    fn what_is_cut_broken_or_followed_by_more_is_corrupt() {
        for codec in [Codec::Gzip, Codec::Zlib, Codec::Deflate, Codec::Zstd] {
            let message = b"some text that is long enough to be packed, packed, packed";
            let packed = pack(codec, message);
            let mut decoder = decoder(&[codec]);
            for end in 0..packed.len() {
                assert!(matches!(decoder.decode(&packed[..end]), Err(DecodeError::Corrupt(_))), "{codec:?} {end}");
            }
            assert!(decoder.decode(&[&packed[..], b"garbage"].concat()).is_err(), "{codec:?}");
            assert_eq!(decoder.decode(&packed), Ok(&message[..]), "{codec:?}");
        }
        let mut broken = pack(Codec::Gzip, b"checked");
        let last = broken.len() - 8;
        broken[last] ^= 1;
        assert_eq!(decoder(&[Codec::Gzip]).decode(&broken), Err(DecodeError::Corrupt("gzip")));
        assert_eq!(decoder(&[Codec::Base64]).decode(b"!"), Err(DecodeError::Corrupt("base64")));
    }

    #[test]
    fn gzip_headers_and_members_are_read_as_the_rfc_has_them() {
        let mut packer = flate2::GzBuilder::new()
            .filename("a")
            .comment("b")
            .extra(vec![1, 2, 3])
            .write(Vec::new(), Compression::fast());
        packer.write_all(b"one").unwrap();
        let packed = [packer.finish().unwrap(), pack(Codec::Gzip, b"two")].concat();
        assert_eq!(decoder(&[Codec::Gzip]).decode(&packed), Ok(&b"onetwo"[..]));
    }

    #[test]
    fn base64_has_both_alphabets_with_or_without_padding() {
        let mut decoder = decoder(&[Codec::Base64]);
        for text in ["+/+/AA==", "-_-_AA", "+/+/AA", " +/+/AA==\n"] {
            assert_eq!(decoder.decode(text.as_bytes()), Ok(&[0xFB, 0xFF, 0xBF, 0][..]), "{text}");
        }
    }

    #[test]
    fn a_zstd_dictionary_is_used_for_each_message() {
        let dictionary = br#"{"did":"did:plc:","time_us":,"kind":"commit","commit":{"rev":"","operation":"create"}}"#;
        let message = br#"{"did":"did:plc:abc","time_us":1,"kind":"commit","commit":{"rev":"x","operation":"create"}}"#;
        let packed = zstd::bulk::Compressor::with_dictionary(3, dictionary).unwrap().compress(message).unwrap();
        let mut decoder = Decoder::new(&[Codec::Zstd], dictionary, LIMIT).unwrap();
        for _ in 0..3 {
            assert_eq!(decoder.decode(&packed), Ok(&message[..]));
        }
        assert!(Decoder::new(&[Codec::Zstd], &[], LIMIT).unwrap().decode(&packed).is_err());
    }
}
