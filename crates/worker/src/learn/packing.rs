//! Finds how binary messages are packed: the chain of codecs that unpacks all of them.

use std::borrow::Cow;

use connect_websocket_engine::intake::decode::{Codec, DecodeError, Decoder};

use super::sample::Kept;
use super::{About, Certainty, Finding, in_of, structure};

/// The chains that feeds use. The first is empty. A chain without a checksum counts only if the result is text.
const CHAINS: &[&[Codec]] = &[
    &[],
    &[Codec::Gzip],
    &[Codec::Zlib],
    &[Codec::Zstd],
    &[Codec::Deflate],
    &[Codec::Base64],
    &[Codec::Base64, Codec::Gzip],
    &[Codec::Base64, Codec::Zlib],
    &[Codec::Base64, Codec::Zstd],
    &[Codec::Base64, Codec::Deflate],
];
/// With how many messages a chain is found.
const TRIED: usize = 50;
/// A message that gets larger when it is unpacked is ignored.
const MAX_UNPACKED: usize = 1 << 20;
/// The most bytes that are unpacked in all.
const MAX_ALL: usize = 32 << 20;

/// The messages of a sample that are text.
pub(super) struct Unpacked<'a> {
    /// `None`: not text, or ignored.
    pub(super) texts: Vec<Option<Cow<'a, str>>>,
    pub(super) finding: Option<Finding>,
}

/// Unpacks a sample. `is_unpacked`: the configuration has done that already.
pub(super) fn unpack(sample: &[Kept], is_unpacked: bool) -> Unpacked<'_> {
    let packed: Vec<&Kept> = sample.iter().filter(|kept| !kept.is_text).collect();
    let of_text: Vec<&Kept> = sample.iter().filter(|kept| kept.is_text).collect();
    let chains = if is_unpacked { &CHAINS[..1] } else { CHAINS };
    let chain = if packed.is_empty() { base64_of_text(&of_text, chains) } else { chain_of(&packed, chains) };
    let Some(chain) = chain else {
        let finding = (!packed.is_empty()).then(|| unknown(&packed));
        return Unpacked { texts: texts(sample, None), finding };
    };
    let texts = texts(sample, Some(chain));
    let looked_at = if packed.is_empty() { of_text.len() } else { packed.len() };
    let is_looked_at = |kept: &Kept| kept.is_text == packed.is_empty();
    let read = sample.iter().zip(&texts).filter(|(kept, text)| is_looked_at(kept) && text.is_some()).count();
    let finding = (!packed.is_empty() || !chain.is_empty()).then(|| found(chain, read, looked_at));
    Unpacked { texts, finding }
}

/// Returns the first chain that unpacks the first messages.
fn chain_of(messages: &[&Kept], chains: &[&'static [Codec]]) -> Option<&'static [Codec]> {
    let tried = &messages[..messages.len().min(TRIED)];
    chains.iter().copied().find(|chain| {
        let Some(mut decoder) = decoder(chain) else { return false };
        let fits = |kept: &&&Kept| {
            let text = read(&mut decoder, chain, &kept.bytes);
            text.is_some_and(|text| !text.is_empty() && (has_checksum(chain) || is_readable(&text)))
        };
        // One message in twenty may be of another kind.
        tried.iter().filter(fits).count() * 20 >= tried.len() * 19
    })
}

/// Texts count as packed only if all are base64, of something packed or of JSON.
fn base64_of_text(messages: &[&Kept], chains: &[&'static [Codec]]) -> Option<&'static [Codec]> {
    let first = messages.first()?;
    if matches!(first.bytes.first(), Some(b'{' | b'[')) || first.bytes.len() < 16 {
        return Some(&[]);
    }
    let is_json = |text: &str| matches!(text.trim_start().bytes().next(), Some(b'{' | b'['));
    let base64 = chains.iter().copied().filter(|chain| chain.first() == Some(&Codec::Base64)).find(|chain| {
        let Some(mut decoder) = decoder(chain) else { return false };
        let tried = &messages[..messages.len().min(TRIED)];
        tried.iter().all(|kept| read(&mut decoder, chain, &kept.bytes).is_some_and(|text| is_json(&text)))
    });
    base64.or(Some(&[]))
}

fn decoder(chain: &[Codec]) -> Option<Decoder> {
    Decoder::new(chain, &[], MAX_UNPACKED).ok()
}

fn read<'a>(decoder: &mut Decoder, chain: &[Codec], bytes: &'a [u8]) -> Option<Cow<'a, str>> {
    if chain.is_empty() {
        return str::from_utf8(bytes).ok().map(Cow::Borrowed);
    }
    let unpacked = decoder.decode(bytes).ok()?;
    Some(Cow::Owned(str::from_utf8(unpacked).ok()?.to_owned()))
}

fn has_checksum(chain: &[Codec]) -> bool {
    matches!(chain.last(), Some(Codec::Gzip | Codec::Zlib | Codec::Zstd))
}

fn is_readable(text: &str) -> bool {
    !text.chars().any(|char| char.is_control() && !matches!(char, '\n' | '\r' | '\t' | '\u{1e}' | '\0'))
}

/// Without a chain, no binary message is text. Some may be UTF-8 by chance.
fn texts<'a>(sample: &'a [Kept], chain: Option<&[Codec]>) -> Vec<Option<Cow<'a, str>>> {
    let mut decoder = chain.and_then(decoder);
    let chain = chain.unwrap_or_default();
    let takes_text = chain.first() == Some(&Codec::Base64);
    let mut all = 0;
    let text = |kept: &'a Kept| {
        if kept.is_text && !takes_text {
            return str::from_utf8(&kept.bytes).ok().map(Cow::Borrowed);
        }
        if all >= MAX_ALL {
            return None;
        }
        let text = read(decoder.as_mut()?, chain, &kept.bytes);
        // Without a text, the limit of bytes may have been reached.
        all += text.as_ref().map_or(MAX_UNPACKED / 16, |text| text.len());
        text
    };
    sample.iter().map(text).collect()
}

fn found(chain: &[Codec], read: usize, all: usize) -> Finding {
    let certainty = if read == all { Certainty::Certain } else { Certainty::Likely };
    if chain.is_empty() {
        let says = format!("Binary messages are UTF-8 text {}.", in_of(read, all, "messages"));
        return Finding::new(About::Packing, certainty, says).line("websocket.frame.binary", "text");
    }
    let names: Vec<&str> = chain.iter().map(|codec| name(*codec)).collect();
    let says =
        format!("Messages are packed with {}: text came out {}.", names.join(", then "), in_of(read, all, "messages"));
    Finding::new(About::Packing, certainty, says)
        .line("websocket.frame.decode", names.join(","))
        .line("websocket.frame.binary", "text")
}

fn name(codec: Codec) -> &'static str {
    Codec::NAMES.into_iter().find(|name| Codec::find(name) == Some(codec)).unwrap_or_default()
}

/// Returns the finding about binary messages that no chain unpacks to text.
fn unknown(messages: &[&Kept]) -> Finding {
    let all = messages.len();
    let of_dictionary = messages.iter().filter(|kept| needs_dictionary(&kept.bytes)).count();
    if of_dictionary * 20 >= all * 19 {
        let says = format!("Messages are zstd with a dictionary {}.", in_of(of_dictionary, all, "messages"));
        return Finding::new(About::Packing, Certainty::Certain, says)
            .line("websocket.frame.decode", "zstd")
            .line("websocket.frame.binary", "text")
            .caveat("websocket.frame.decode.dictionary has to name the file of the dictionary, which the feed gives");
    }
    let packed = CHAINS.iter().copied().skip(1).filter(|chain| has_checksum(chain)).find(|chain| {
        let Some(mut decoder) = decoder(chain) else { return false };
        let tried = &messages[..all.min(TRIED)];
        tried.iter().all(|kept| matches!(decoder.decode(&kept.bytes), Ok(_) | Err(DecodeError::TooBig)))
    });
    if let Some(chain) = packed {
        let names: Vec<&str> = chain.iter().map(|codec| name(*codec)).collect();
        let says = format!("Messages are packed with {}; what comes out is not text.", names.join(", then "));
        return Finding::new(About::Packing, Certainty::Likely, says).line("websocket.frame.decode", names.join(","));
    }
    let form = structure::form(&messages[0].bytes);
    let of_form = messages.iter().filter(|kept| form.is_some() && structure::form(&kept.bytes) == form).count();
    let says = match form {
        Some(form) if of_form * 20 >= all * 19 => format!(
            "Binary messages are {form} {}, which is not read: they become records as they are.",
            in_of(of_form, all, "messages")
        ),
        _ => format!(
            "Binary messages are neither text nor packed in a way that can be undone, {}: they become records as they are.",
            in_of(all, all, "messages")
        ),
    };
    Finding::new(About::Packing, Certainty::Likely, says)
}

/// Whether it is a zstd frame whose header names a dictionary (RFC 8878 §3.1.1.1).
fn needs_dictionary(message: &[u8]) -> bool {
    matches!(message, [0x28, 0xB5, 0x2F, 0xFD, descriptor, ..] if descriptor & 3 != 0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Message;
    use super::super::sample::Sample;
    use super::*;

    fn lines(messages: &[Message<'_>]) -> Vec<String> {
        let mut sample = Sample::default();
        messages.iter().for_each(|message| sample.message(Duration::ZERO, *message));
        let finding = unpack(sample.kept(), false).finding;
        finding.iter().flat_map(|finding| &finding.lines).map(|line| format!("{}={}", line.key, line.value)).collect()
    }

    #[test]
    fn text_needs_no_unpacking() {
        assert!(lines(&[Message::Text("{}"), Message::Text("pong")]).is_empty());
        assert_eq!(lines(&[Message::Binary(b"{}")]), ["websocket.frame.binary=text"]);
    }

    #[test]
    fn codecs_are_known_by_what_they_undo() {
        // Each of {"a":1}.
        let gzip = *b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01\x07\0\xf8\xff{\"a\":1}\xaf\xac\x1b\x56\x07\0\0\0";
        let deflate = *b"\x01\x07\0\xf8\xff{\"a\":1}";
        assert_eq!(
            lines(&[Message::Binary(&deflate)]),
            ["websocket.frame.decode=deflate", "websocket.frame.binary=text"]
        );
        assert_eq!(
            lines(&[Message::Text("eyJhIjoxLCJiIjoyfQ==")]),
            ["websocket.frame.decode=base64", "websocket.frame.binary=text"]
        );
        assert_eq!(lines(&[Message::Binary(&gzip)])[0], "websocket.frame.decode=gzip");
    }

    #[test]
    fn a_dictionary_is_asked_for_and_other_bytes_are_left_alone() {
        assert_eq!(
            lines(&[Message::Binary(&[0x28, 0xB5, 0x2F, 0xFD, 0x23, 1, 2, 3, 4, 5])])[0],
            "websocket.frame.decode=zstd"
        );
        assert!(lines(&[Message::Binary(&[0xA2, 0x61, 0x74, 0xFF, 0x00, 0x80])]).is_empty());
    }

    #[test]
    fn bytes_of_an_unknown_form_are_no_text_even_if_some_could_be() {
        let mut sample = Sample::default();
        for message in [Message::Binary(b"\x0A\x01A"), Message::Binary(&[0x0A, 0xFF]), Message::Text("{}")] {
            sample.message(Duration::ZERO, message);
        }
        let texts = unpack(sample.kept(), false).texts;
        assert_eq!(texts, [None, None, Some(Cow::Borrowed("{}"))]);
    }
}
