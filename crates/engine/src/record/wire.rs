//! The byte form of a record: in a batch, in the plugin's buffer and in a hand-over file.
//!
//! ```text
//! record  head, body
//! head    kind: u8 (1 text, 2 bytes, 3 JSON; plus 0x80 if the record has parts), sequence: i64, received, in ms: i64
//! body    parts, if there are any: u32 length, and one after another, in any order; value: u32 length and bytes
//!         (of JSON in the form of `record/value.rs`)
//! part    1 topic: text · 2 key, schema STRING: text · 3 key, schema BYTES: u32 length and bytes
//!         4 timestamp, in ms: i64 · 5 header, schema STRING: name and value, text each
//!         6 entry of the source offset: name and text · 7 the same: name and i64
//!         8 key of the source partition: text · 9 number of the message: i64
//! text    u32 length and UTF-8
//! ```
//!
//! Numbers are big endian. There is at most one topic, key, timestamp, partition and message. A batch has parts and
//! value in this form, so that they can be copied together. `Wire.java` reads it too.

use std::io::{self, Write};

use super::{Key, OffsetValue, Part, Record, ValueKind};

pub(crate) const HEAD_BYTES: usize = 1 + 8 + 8;
const LENGTH_BYTES: usize = 4;

const TEXT: u8 = 1;
const BYTES: u8 = 2;
const JSON: u8 = 3;
const HAS_PARTS: u8 = 0x80;

const TOPIC: u8 = 1;
const TEXT_KEY: u8 = 2;
const BYTES_KEY: u8 = 3;
const TIMESTAMP: u8 = 4;
const HEADER: u8 = 5;
const TEXT_ENTRY: u8 = 6;
const NUMBER_ENTRY: u8 = 7;
const PARTITION: u8 = 8;
const MESSAGE: u8 = 9;

/// Returns the length of a record in bytes.
pub fn size(record: &Record<'_>) -> usize {
    let parts = record.parts.0.len();
    let parts = if parts > 0 { LENGTH_BYTES + parts } else { 0 };
    HEAD_BYTES + parts + LENGTH_BYTES + record.value.len()
}

/// Writes one record.
///
/// # Errors
/// The errors of the output.
pub fn write(record: &Record<'_>, out: &mut impl Write) -> io::Result<()> {
    let parts = record.parts.0;
    let mut head = [0; HEAD_BYTES];
    head[0] = kind_code(record.kind) | if parts.is_empty() { 0 } else { HAS_PARTS };
    head[1..9].copy_from_slice(&record.sequence.to_be_bytes());
    head[9..].copy_from_slice(&record.received_ms.to_be_bytes());
    out.write_all(&head)?;
    if !parts.is_empty() {
        out.write_all(&length(parts)?)?;
        out.write_all(parts)?;
    }
    out.write_all(&length(record.value)?)?;
    out.write_all(record.value)
}

fn length(bytes: &[u8]) -> io::Result<[u8; LENGTH_BYTES]> {
    u32::try_from(bytes.len()).map(u32::to_be_bytes).map_err(io::Error::other)
}

fn kind_code(kind: ValueKind) -> u8 {
    match kind {
        ValueKind::Text => TEXT,
        ValueKind::Bytes => BYTES,
        ValueKind::Json => JSON,
    }
}

/// Returns the meaning of the first byte of a record: its kind, and whether it has parts. `None` for an unknown kind.
pub(crate) fn kind(first: u8) -> Option<(ValueKind, bool)> {
    let kind = match first & !HAS_PARTS {
        TEXT => ValueKind::Text,
        BYTES => ValueKind::Bytes,
        JSON => ValueKind::Json,
        _ => return None,
    };
    Some((kind, first & HAS_PARTS != 0))
}

/// The other parts of a record, in the byte form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    /// Takes bytes that [`Parts::check`] has accepted.
    pub(crate) fn checked(bytes: &'a [u8]) -> Parts<'a> {
        Parts(bytes)
    }

    #[cfg(test)]
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Checks bytes that may be invalid.
    ///
    /// # Errors
    /// Which rule of the form they violate.
    pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
        let (mut topic, mut key, mut timestamp, mut partition, mut message) = (false, false, false, false, false);
        let mut rest = bytes;
        while !rest.is_empty() {
            let second = match take_part(&mut rest).ok_or("a part of a record is broken")? {
                Part::Topic(_) => std::mem::replace(&mut topic, true),
                Part::Key(_) => std::mem::replace(&mut key, true),
                Part::Timestamp(_) => std::mem::replace(&mut timestamp, true),
                Part::Partition(_) => std::mem::replace(&mut partition, true),
                Part::Message(_) => std::mem::replace(&mut message, true),
                Part::Header { .. } | Part::OffsetEntry { .. } => false,
            };
            if second {
                return Err("a record has a part twice".into());
            }
        }
        Ok(())
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Part<'a>> {
        let mut rest = self.0;
        // The bytes were checked before, so the iteration never ends early.
        std::iter::from_fn(move || take_part(&mut rest))
    }
}

/// Splits the bytes of [`put_parts`] and a value.
pub(super) fn split(bytes: &[u8]) -> (Parts<'_>, &[u8]) {
    let split = take_bytes(&mut { bytes }).map(|parts| bytes.split_at(LENGTH_BYTES + parts.len()));
    split.map_or((Parts::default(), bytes), |(parts, value)| (Parts(&parts[LENGTH_BYTES..]), value))
}

/// Appends the length 0 of parts. [`put_part`] adds parts to it.
pub(super) fn begin_parts(out: &mut Vec<u8>) {
    out.extend([0; LENGTH_BYTES]);
}

/// Writes the length of the complete parts that begin at `start`.
pub(super) fn end_parts(out: &mut [u8], start: usize) {
    let length = out.len() - start - LENGTH_BYTES;
    out[start..start + LENGTH_BYTES].copy_from_slice(&(length as u32).to_be_bytes());
}

/// Appends parts from another batch or a file.
pub(super) fn put_parts(out: &mut Vec<u8>, parts: Parts<'_>) {
    put_bytes(out, parts.0);
}

/// Appends a part.
pub(super) fn put_part(out: &mut Vec<u8>, part: Part<'_>) {
    match part {
        Part::Topic(topic) => {
            out.push(TOPIC);
            put_bytes(out, topic.as_bytes());
        }
        Part::Key(Key::Text(key)) => {
            out.push(TEXT_KEY);
            put_bytes(out, key.as_bytes());
        }
        Part::Key(Key::Bytes(key)) => {
            out.push(BYTES_KEY);
            put_bytes(out, key);
        }
        Part::Timestamp(ms) => {
            out.push(TIMESTAMP);
            out.extend(ms.to_be_bytes());
        }
        Part::Header { name, value } => {
            out.push(HEADER);
            put_bytes(out, name.as_bytes());
            put_bytes(out, value.as_bytes());
        }
        Part::OffsetEntry { name, value: OffsetValue::Text(text) } => {
            out.push(TEXT_ENTRY);
            put_bytes(out, name.as_bytes());
            put_bytes(out, text.as_bytes());
        }
        Part::OffsetEntry { name, value: OffsetValue::Number(number) } => {
            out.push(NUMBER_ENTRY);
            put_bytes(out, name.as_bytes());
            out.extend(number.to_be_bytes());
        }
        Part::Partition(key) => {
            out.push(PARTITION);
            put_bytes(out, key.as_bytes());
        }
        Part::Message(id) => {
            out.push(MESSAGE);
            out.extend(id.to_be_bytes());
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Removes and returns the first part. `None` if there is none or it is broken.
fn take_part<'a>(bytes: &mut &'a [u8]) -> Option<Part<'a>> {
    let (kind, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(match *kind {
        TOPIC => Part::Topic(take_text(bytes)?),
        TEXT_KEY => Part::Key(Key::Text(take_text(bytes)?)),
        BYTES_KEY => Part::Key(Key::Bytes(take_bytes(bytes)?)),
        TIMESTAMP => Part::Timestamp(i64::from_be_bytes(take_array(bytes)?)),
        HEADER => Part::Header { name: take_text(bytes)?, value: take_text(bytes)? },
        TEXT_ENTRY => Part::OffsetEntry { name: take_text(bytes)?, value: OffsetValue::Text(take_text(bytes)?) },
        NUMBER_ENTRY => Part::OffsetEntry {
            name: take_text(bytes)?,
            value: OffsetValue::Number(i64::from_be_bytes(take_array(bytes)?)),
        },
        PARTITION => Part::Partition(take_text(bytes)?),
        MESSAGE => Part::Message(i64::from_be_bytes(take_array(bytes)?)),
        _ => return None,
    })
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    str::from_utf8(take_bytes(bytes)?).ok()
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_be_bytes(take_array(bytes)?) as usize;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (array, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*array)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: [Part<'static>; 9] = [
        Part::Header { name: "a", value: "" },
        Part::Topic("trades.\u{20ac}"),
        Part::Timestamp(-1),
        Part::Key(Key::Bytes(&[0, 255])),
        Part::Header { name: "", value: "b" },
        Part::OffsetEntry { name: "cursor", value: OffsetValue::Text("c") },
        Part::OffsetEntry { name: "part", value: OffsetValue::Number(-3) },
        Part::Partition("k"),
        Part::Message(7),
    ];

    fn bytes_of(parts: &[Part<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        parts.iter().for_each(|part| put_part(&mut bytes, *part));
        bytes
    }

    #[test]
    fn parts_come_out_as_they_went_in() {
        let bytes = bytes_of(&PARTS);
        assert_eq!(Parts::check(&bytes), Ok(()));
        assert_eq!(Parts(&bytes).iter().collect::<Vec<_>>(), PARTS);
    }

    #[test]
    fn record_takes_the_bytes_that_its_size_says() {
        let bytes = bytes_of(&PARTS);
        for parts in [Parts::default(), Parts(&bytes)] {
            let record = Record { kind: ValueKind::Text, value: b"value", parts, received_ms: 5, sequence: 7 };
            let mut out = Vec::new();
            write(&record, &mut out).unwrap();
            assert_eq!(out.len(), size(&record));
            let (kind, has_parts) = kind(out[0]).unwrap();
            assert_eq!((kind, has_parts), (ValueKind::Text, !parts.0.is_empty()));
            assert_eq!(out[1..HEAD_BYTES], [7_i64.to_be_bytes(), 5_i64.to_be_bytes()].concat());
            assert!(out.ends_with(b"\0\0\0\x05value"));
            assert!(write(&record, &mut &mut out[1..]).is_err(), "a buffer that is too small is no panic");
        }
    }

    #[test]
    fn broken_parts_are_refused() {
        let bytes = bytes_of(&PARTS);
        for end in 1..bytes.len() {
            let whole = PARTS.iter().scan(0, |end, part| {
                *end += bytes_of(&[*part]).len();
                Some(*end)
            });
            assert_eq!(Parts::check(&bytes[..end]).is_ok(), whole.into_iter().any(|part_end| part_end == end), "{end}");
        }
        for twice in
            [Part::Topic("t"), Part::Key(Key::Text("k")), Part::Timestamp(1), Part::Partition("k"), Part::Message(1)]
        {
            assert!(Parts::check(&bytes_of(&[twice, twice])).is_err(), "{twice:?}");
        }
        for broken in [&[0][..], &[10], &[TOPIC, 0, 0, 0, 1, 0xff], &[HEADER, 0xff, 0xff, 0xff, 0xff]] {
            assert!(Parts::check(broken).is_err(), "{broken:?}");
        }
    }
}
