//! The bytes of a hand-over file: written and read as a stream, with memory for one record.
//!
//! ```text
//! magic   8 bytes, the last one is the version
//! header  connector, source partition (URL without secrets), session id: u32 length and UTF-8 each; first sequence: i64
//! record  kind: u8 (1 text, 2 bytes), sequence: i64, timestamp in ms: i64, length: u32, value
//! end     0: u8
//! footer  records: u64, records left behind: u64, written at, in ms: i64, CRC-32 of all before it: u32
//! ```
//!
//! Numbers are big endian. Sequences grow, and may leave some out: records that Kafka had already.

use std::io::{self, Read, Write};

use crate::record::{Record, ValueKind};

const MAGIC: [u8; 8] = *b"kcws-ho\x01";
const END: u8 = 0;
const TEXT: u8 = 1;
const BYTES: u8 = 2;
const RECORD_BYTES: u64 = 1 + 8 + 8 + 4;
/// The end mark and the footer.
const FOOTER_BYTES: u64 = 1 + 8 + 8 + 8 + 4;

/// Whose records a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) connector: String,
    pub(super) partition: String,
    pub(super) session_id: String,
    /// The sequence of the first record that was given out under this session id.
    pub(super) first_sequence: i64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) records: u64,
    /// Records that found no room.
    pub(super) left_behind: u64,
    pub(super) written_at_ms: i64,
}

/// Writes a file of at most so many bytes.
pub(super) struct Writer<W> {
    out: W,
    crc: crc32fast::Hasher,
    /// Bytes that records may still take.
    room: u64,
    records: u64,
}

impl<W: Write> Writer<W> {
    /// `None` if not even header and footer have room.
    pub(super) fn new(out: W, header: &Header, max_bytes: u64) -> io::Result<Option<Writer<W>>> {
        let mut bytes = MAGIC.to_vec();
        for text in [&header.connector, &header.partition, &header.session_id] {
            let length = u32::try_from(text.len()).map_err(io::Error::other)?;
            bytes.extend(length.to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes.extend(header.first_sequence.to_be_bytes());
        let Some(room) = max_bytes.checked_sub(bytes.len() as u64 + FOOTER_BYTES) else { return Ok(None) };
        let mut writer = Writer { out, crc: crc32fast::Hasher::new(), room, records: 0 };
        writer.put(&bytes)?;
        Ok(Some(writer))
    }

    /// Answers false if the record has no room.
    pub(super) fn record(&mut self, record: &Record<'_>) -> io::Result<bool> {
        let (Some(room), Ok(length)) =
            (self.room.checked_sub(RECORD_BYTES + record.value.len() as u64), u32::try_from(record.value.len()))
        else {
            return Ok(false);
        };
        let mut head = [0; RECORD_BYTES as usize];
        head[0] = match record.kind {
            ValueKind::Text => TEXT,
            ValueKind::Bytes => BYTES,
        };
        head[1..9].copy_from_slice(&record.sequence.to_be_bytes());
        head[9..17].copy_from_slice(&record.timestamp_ms.to_be_bytes());
        head[17..].copy_from_slice(&length.to_be_bytes());
        self.put(&head)?;
        self.put(record.value)?;
        self.room = room;
        self.records += 1;
        Ok(true)
    }

    pub(super) fn finish(mut self, left_behind: u64, written_at_ms: i64) -> io::Result<W> {
        self.put(&[END])?;
        self.put(&self.records.to_be_bytes())?;
        self.put(&left_behind.to_be_bytes())?;
        self.put(&written_at_ms.to_be_bytes())?;
        let crc = self.crc.finalize();
        self.out.write_all(&crc.to_be_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.out.write_all(bytes)
    }
}

/// A record's place in its file; its value is in the buffer that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: ValueKind,
    pub(super) sequence: i64,
    pub(super) timestamp_ms: i64,
}

/// Reads a file that may be anybody's: no length is believed beyond the file's own, and what is wrong is a sentence.
pub(super) struct Reader<R> {
    input: R,
    crc: crc32fast::Hasher,
    /// Bytes of the file that are not read yet.
    left: u64,
    header: Header,
    records: u64,
    last_sequence: Option<i64>,
    footer: Option<Footer>,
}

impl<R: Read> Reader<R> {
    /// `length` is the file's.
    pub(super) fn new(input: R, length: u64) -> Result<Reader<R>, String> {
        let header =
            Header { connector: String::new(), partition: String::new(), session_id: String::new(), first_sequence: 0 };
        let crc = crc32fast::Hasher::new();
        let mut reader = Reader { input, crc, left: length, header, records: 0, last_sequence: None, footer: None };
        if reader.array::<8>()? != MAGIC {
            return Err("it is no hand-over file of this version".into());
        }
        reader.header.connector = reader.text()?;
        reader.header.partition = reader.text()?;
        reader.header.session_id = reader.text()?;
        reader.header.first_sequence = i64::from_be_bytes(reader.array()?);
        Ok(reader)
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// The next record, its value in `value`; `None` at the end, whose footer was checked.
    pub(super) fn next(&mut self, value: &mut Vec<u8>) -> Result<Option<Entry>, String> {
        let kind = match self.array::<1>()? {
            [TEXT] => ValueKind::Text,
            [BYTES] => ValueKind::Bytes,
            [END] => return self.end().map(|()| None),
            [other] => return Err(format!("a record has the unknown kind {other}")),
        };
        let sequence = i64::from_be_bytes(self.array()?);
        let timestamp_ms = i64::from_be_bytes(self.array()?);
        self.bytes(value)?;
        if sequence < self.header.first_sequence || self.last_sequence.is_some_and(|last| sequence <= last) {
            return Err("its sequences do not grow".into());
        }
        if kind == ValueKind::Text && str::from_utf8(value).is_err() {
            return Err("a text is not UTF-8".into());
        }
        self.last_sequence = Some(sequence);
        self.records += 1;
        Ok(Some(Entry { kind, sequence, timestamp_ms }))
    }

    /// The sequence of the last record that was read.
    pub(super) fn last_sequence(&self) -> Option<i64> {
        self.last_sequence
    }

    /// What stands at the end, once [`Reader::next`] came there.
    pub(super) fn footer(&self) -> Option<Footer> {
        self.footer
    }

    fn end(&mut self) -> Result<(), String> {
        let records = u64::from_be_bytes(self.array()?);
        let left_behind = u64::from_be_bytes(self.array()?);
        let written_at_ms = i64::from_be_bytes(self.array()?);
        let expected = self.crc.clone().finalize();
        if u32::from_be_bytes(self.array()?) != expected {
            return Err("its checksum is wrong".into());
        }
        if records != self.records || self.left > 0 {
            return Err("it does not end where it says".into());
        }
        self.footer = Some(Footer { records, left_behind, written_at_ms });
        Ok(())
    }

    fn text(&mut self) -> Result<String, String> {
        let mut bytes = Vec::new();
        self.bytes(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| "a text of its header is not UTF-8".into())
    }

    /// A length and as many bytes. The buffer grows with what is there, not with what is announced.
    fn bytes(&mut self, into: &mut Vec<u8>) -> Result<(), String> {
        let length = u64::from(u32::from_be_bytes(self.array()?));
        self.take(length)?;
        into.clear();
        let read = self.input.by_ref().take(length).read_to_end(into).map_err(unreadable)?;
        if (read as u64) < length {
            return Err(CUT_SHORT.into());
        }
        self.crc.update(into);
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N as u64)?;
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).map_err(unreadable)?;
        self.crc.update(&bytes);
        Ok(bytes)
    }

    fn take(&mut self, bytes: u64) -> Result<(), String> {
        self.left = self.left.checked_sub(bytes).ok_or(CUT_SHORT)?;
        Ok(())
    }
}

const CUT_SHORT: &str = "it is cut short";

fn unreadable(error: io::Error) -> String {
    format!("it cannot be read: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            connector: "trades/ä".into(),
            partition: "wss://host/?key=***".into(),
            session_id: "5e55".into(),
            first_sequence: 7,
        }
    }

    fn records() -> Vec<(Entry, Vec<u8>)> {
        let entry = |kind, sequence, timestamp_ms| Entry { kind, sequence, timestamp_ms };
        vec![
            (entry(ValueKind::Text, 7, 1_000), "a\u{20ac}".into()),
            (entry(ValueKind::Bytes, 8, 1_001), vec![0, 255, 3]),
            (entry(ValueKind::Bytes, 9, 1_001), vec![]),
            (entry(ValueKind::Text, 12, 999), vec![b'x'; 5000]),
        ]
    }

    fn write(max_bytes: u64) -> (Vec<u8>, usize) {
        let mut writer = Writer::new(Vec::new(), &header(), max_bytes).unwrap().unwrap();
        let mut written = 0;
        for (entry, value) in &records() {
            let Entry { kind, sequence, timestamp_ms } = *entry;
            if !writer.record(&Record { kind, value, timestamp_ms, sequence }).unwrap() {
                break;
            }
            written += 1;
        }
        (writer.finish(3, 2_000).unwrap(), written)
    }

    type Content = (Header, Vec<(Entry, Vec<u8>)>, Footer);

    fn read(bytes: &[u8]) -> Result<Content, String> {
        let mut reader = Reader::new(bytes, bytes.len() as u64)?;
        let (mut value, mut all) = (Vec::new(), Vec::new());
        while let Some(entry) = reader.next(&mut value)? {
            all.push((entry, value.clone()));
        }
        Ok((reader.header().clone(), all, reader.footer().unwrap()))
    }

    #[test]
    fn what_was_written_is_read() {
        let (bytes, _) = write(u64::MAX);
        let footer = Footer { records: 4, left_behind: 3, written_at_ms: 2_000 };
        assert_eq!(read(&bytes), Ok((header(), records(), footer)));
    }

    #[test]
    fn a_file_never_grows_beyond_its_bound_and_is_whole_at_every_bound() {
        let (whole, _) = write(u64::MAX);
        let least = whole.len() as u64 - records().iter().map(|(_, v)| RECORD_BYTES + v.len() as u64).sum::<u64>();
        assert!(Writer::new(Vec::new(), &header(), least - 1).unwrap().is_none());
        for max_bytes in least..=whole.len() as u64 {
            let (bytes, written) = write(max_bytes);
            assert!(bytes.len() as u64 <= max_bytes);
            let (_, all, footer) = read(&bytes).unwrap();
            assert_eq!((all.as_slice(), footer.records), (&records()[..written], written as u64));
        }
        assert_eq!(write(whole.len() as u64).1, 4);
        assert_eq!(write(whole.len() as u64 - 1).1, 3);
    }

    #[test]
    fn every_damaged_byte_and_every_cut_is_refused() {
        let (bytes, _) = write(u64::MAX);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(read(&damaged).is_err(), "byte {at}");
            assert!(read(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(read(&[bytes.as_slice(), b"x"].concat()).is_err());
    }

    /// Mutations with a checksum that is right: nothing but the format's own rules stands between them and us.
    #[test]
    fn foreign_bytes_with_a_good_checksum_neither_panic_nor_break_a_rule() {
        let (bytes, _) = write(u64::MAX);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let mut accepted = 0;
        for _ in 0..20_000 {
            let mut mutated = bytes[..bytes.len() - 4].to_vec();
            for _ in 0..=random(3) {
                let head = random(2) == 0;
                let at = random(if head { 160 } else { mutated.len() });
                match random(4) {
                    0 => mutated[at] = [0, 1, 2, 127, 128, 255][random(6)],
                    1 => mutated[at] ^= 1 << random(8),
                    2 => _ = mutated.drain(at..(at + random(9)).min(mutated.len())),
                    _ => mutated.insert(at, random(256) as u8),
                }
            }
            let crc = crc32fast::hash(&mutated);
            mutated.extend(crc.to_be_bytes());
            if let Ok((header, all, footer)) = read(&mutated) {
                accepted += 1;
                assert_eq!(all.len() as u64, footer.records);
                let mut earlier = None;
                for (entry, value) in all {
                    assert!(entry.sequence >= header.first_sequence && earlier < Some(entry.sequence));
                    assert!(entry.kind == ValueKind::Bytes || str::from_utf8(&value).is_ok());
                    earlier = Some(entry.sequence);
                }
            }
        }
        assert!(accepted > 100, "only {accepted} mutations came through, so little was tested");
    }

    #[test]
    fn an_announced_length_takes_no_memory() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(u32::MAX.to_be_bytes());
        assert_eq!(read(&bytes), Err(CUT_SHORT.into()));
        // Not even if the file claims to be long enough.
        assert_eq!(Reader::new(&bytes[..], u64::MAX).map(drop), Err(CUT_SHORT.into()));
    }
}
