//! The bytes of a hand-over file: written and read as a stream, with memory for one record.
//!
//! ```text
//! magic   8 bytes, the last one is the version
//! header  connector, source partition (URL without secrets), session id: u32 length and UTF-8 each; first sequence: i64
//! record  as in `record/wire.rs`
//! end     0: u8
//! footer  records: u64, records left behind: u64, written at, in ms: i64, CRC-32 of all before it: u32
//! ```
//!
//! Numbers are big endian. Sequences grow. Numbers can be missing: those of records that Kafka had already. Version 1
//! can be read too: its records are text or bytes without parts.

use std::io::{self, Read, Write};

use crate::record::value::is_value;
use crate::record::wire;
use crate::record::{Parts, Record, ValueKind};

const MAGIC: [u8; 7] = *b"kcws-ho";
const VERSION: u8 = 2;
const FIRST_VERSION: u8 = 1;
const END: u8 = 0;
/// The end mark and the footer.
const FOOTER_BYTES: u64 = 1 + 8 + 8 + 8 + 4;

/// The largest value, and the most bytes of a record's other parts: more does not fit into a batch.
const MOST_BYTES: u64 = i32::MAX as u64;

/// Which connector and session the records of a file belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) connector: String,
    pub(super) partition: String,
    pub(super) session_id: String,
    /// The sequence of the session's first record.
    pub(super) first_sequence: i64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) records: u64,
    /// Records for which there was no room.
    pub(super) left_behind: u64,
    pub(super) written_at_ms: i64,
}

/// Writes a file with a limited size.
pub(super) struct Writer<W> {
    out: Checked<W>,
    /// How many bytes of records still fit.
    room: u64,
    records: u64,
}

/// An output, and the checksum of what was written to it.
struct Checked<W> {
    out: W,
    crc: crc32fast::Hasher,
}

impl<W: Write> Write for Checked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.crc.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write> Writer<W> {
    /// Begins a file. Returns `None` if not even header and footer fit.
    pub(super) fn new(out: W, header: &Header, max_bytes: u64) -> io::Result<Option<Writer<W>>> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        for text in [&header.connector, &header.partition, &header.session_id] {
            let length = u32::try_from(text.len()).map_err(io::Error::other)?;
            bytes.extend(length.to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes.extend(header.first_sequence.to_be_bytes());
        let Some(room) = max_bytes.checked_sub(bytes.len() as u64 + FOOTER_BYTES) else { return Ok(None) };
        let mut out = Checked { out, crc: crc32fast::Hasher::new() };
        out.write_all(&bytes)?;
        Ok(Some(Writer { out, room, records: 0 }))
    }

    /// Writes a record. Returns false if it does not fit.
    pub(super) fn record(&mut self, record: &Record<'_>) -> io::Result<bool> {
        let Some(room) = self.room.checked_sub(wire::size(record) as u64) else { return Ok(false) };
        wire::write(record, &mut self.out)?;
        self.room = room;
        self.records += 1;
        Ok(true)
    }

    pub(super) fn finish(mut self, left_behind: u64, written_at_ms: i64) -> io::Result<W> {
        self.out.write_all(&[END])?;
        self.out.write_all(&self.records.to_be_bytes())?;
        self.out.write_all(&left_behind.to_be_bytes())?;
        self.out.write_all(&written_at_ms.to_be_bytes())?;
        let Checked { mut out, crc } = self.out;
        out.write_all(&crc.finalize().to_be_bytes())?;
        out.flush()?;
        Ok(out)
    }
}

/// The last record that was read. The next one reuses its memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredRecord {
    kind: ValueKind,
    sequence: i64,
    received_ms: i64,
    parts: Vec<u8>,
    value: Vec<u8>,
}

impl StoredRecord {
    pub(super) fn new() -> StoredRecord {
        StoredRecord { kind: ValueKind::Bytes, sequence: 0, received_ms: 0, parts: Vec::new(), value: Vec::new() }
    }

    pub(super) fn record(&self) -> Record<'_> {
        let StoredRecord { kind, sequence, received_ms, ref parts, ref value } = *self;
        Record { kind, value, parts: Parts::checked(parts), received_ms, sequence }
    }
}

/// Reads a file, which anybody may have written: a length in it cannot be larger than the rest of the file, and an
/// error is a sentence.
pub(super) struct Reader<R> {
    input: R,
    crc: crc32fast::Hasher,
    /// Bytes of the file that are not read yet.
    left: u64,
    version: u8,
    header: Header,
    records: u64,
    last_sequence: Option<i64>,
    footer: Option<Footer>,
}

impl<R: Read> Reader<R> {
    /// `length` is the length of the file.
    pub(super) fn new(input: R, length: u64) -> Result<Reader<R>, String> {
        let header =
            Header { connector: String::new(), partition: String::new(), session_id: String::new(), first_sequence: 0 };
        let crc = crc32fast::Hasher::new();
        let mut reader =
            Reader { input, crc, left: length, version: 0, header, records: 0, last_sequence: None, footer: None };
        let magic = reader.array::<7>()?;
        [reader.version] = reader.array()?;
        if magic != MAGIC || ![VERSION, FIRST_VERSION].contains(&reader.version) {
            return Err("it is not a hand-over file of this version".into());
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

    /// Reads the next record. Returns false at the end, after a check of the footer.
    pub(super) fn next(&mut self, into: &mut StoredRecord) -> Result<bool, String> {
        let [first] = self.array()?;
        if first == END {
            return self.end().map(|()| false);
        }
        let known = |&(kind, parts): &(ValueKind, bool)| self.version == VERSION || !parts && kind != ValueKind::Json;
        let Some((kind, has_parts)) = wire::kind(first).filter(known) else {
            return Err(format!("a record has the unknown kind {first}"));
        };
        let sequence = i64::from_be_bytes(self.array()?);
        let received_ms = i64::from_be_bytes(self.array()?);
        into.parts.clear();
        if has_parts {
            self.bytes(&mut into.parts)?;
            Parts::check(&into.parts)?;
        }
        self.bytes(&mut into.value)?;
        if sequence < self.header.first_sequence || self.last_sequence.is_some_and(|last| sequence <= last) {
            return Err("its sequences do not grow".into());
        }
        match kind {
            ValueKind::Text if str::from_utf8(&into.value).is_err() => return Err("a text is not UTF-8".into()),
            ValueKind::Json if !is_value(&into.value) => return Err("a value of JSON is broken".into()),
            _ => {}
        }
        (into.kind, into.sequence, into.received_ms) = (kind, sequence, received_ms);
        self.last_sequence = Some(sequence);
        self.records += 1;
        Ok(true)
    }

    /// Returns the sequence of the last record that was read.
    pub(super) fn last_sequence(&self) -> Option<i64> {
        self.last_sequence
    }

    /// Returns the footer, once [`Reader::next`] has returned false.
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

    /// Reads a length and that many bytes. The buffer grows with the bytes that exist, not with the announced length.
    fn bytes(&mut self, into: &mut Vec<u8>) -> Result<(), String> {
        let length = u64::from(u32::from_be_bytes(self.array()?));
        if length > MOST_BYTES {
            return Err("a record is larger than 2 GiB".into());
        }
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
    use crate::random::Random;
    use crate::record::value::Parser;
    use crate::record::{Batch, Key, Part};

    fn header() -> Header {
        Header {
            connector: "trades/ä".into(),
            partition: "wss://host/?key=***".into(),
            session_id: "5e55".into(),
            first_sequence: 7,
        }
    }

    fn stored(record: &Record<'_>, sequence: i64) -> StoredRecord {
        let Record { kind, value, parts, received_ms, .. } = *record;
        StoredRecord { kind, sequence, received_ms, parts: parts.bytes().to_vec(), value: value.to_vec() }
    }

    /// Records without parts, and with each.
    fn records() -> Vec<StoredRecord> {
        let mut batch = Batch::default();
        batch.push(ValueKind::Text, "a\u{20ac}".as_bytes(), 1_000);
        let mut record = batch.add(1_001);
        record.part(Part::Key(Key::Text("k\u{20ac}")));
        record.part(Part::Topic("trades"));
        record.part(Part::Header { name: "h", value: "" });
        record.part(Part::Timestamp(-5));
        record.value(ValueKind::Bytes, &[0, 255, 3]);
        let mut record = batch.add(1_001);
        record.part(Part::Key(Key::Bytes(&[0, 255])));
        record.value(ValueKind::Bytes, &[]);
        batch.push(ValueKind::Text, &[b'x'; 5000], 999);
        batch.add(5).value_with(ValueKind::Json, |out| Parser::default().parse(r#"{"a":[1,2.5,null]}"#, out)).unwrap();
        batch.iter().zip([7, 8, 9, 12, 13]).map(|(record, sequence)| stored(&record, sequence)).collect()
    }

    fn write(max_bytes: u64) -> (Vec<u8>, usize) {
        let mut writer = Writer::new(Vec::new(), &header(), max_bytes).unwrap().unwrap();
        let written = records().iter().take_while(|stored| writer.record(&stored.record()).unwrap()).count();
        (writer.finish(3, 2_000).unwrap(), written)
    }

    type Content = (Header, Vec<StoredRecord>, Footer);

    fn read(bytes: &[u8]) -> Result<Content, String> {
        let mut reader = Reader::new(bytes, bytes.len() as u64)?;
        let (mut record, mut all) = (StoredRecord::new(), Vec::new());
        while reader.next(&mut record)? {
            all.push(record.clone());
        }
        Ok((reader.header().clone(), all, reader.footer().unwrap()))
    }

    #[test]
    fn what_was_written_is_read() {
        let (bytes, _) = write(u64::MAX);
        let footer = Footer { records: 5, left_behind: 3, written_at_ms: 2_000 };
        assert_eq!(read(&bytes), Ok((header(), records(), footer)));
    }

    #[test]
    fn a_file_never_grows_beyond_its_bound_and_is_whole_at_every_bound() {
        let (whole, _) = write(u64::MAX);
        let least = whole.len() as u64 - records().iter().map(|r| wire::size(&r.record()) as u64).sum::<u64>();
        assert!(Writer::new(Vec::new(), &header(), least - 1).unwrap().is_none());
        for max_bytes in least..=whole.len() as u64 {
            let (bytes, written) = write(max_bytes);
            assert!(bytes.len() as u64 <= max_bytes);
            let (_, all, footer) = read(&bytes).unwrap();
            assert_eq!((all.as_slice(), footer.records), (&records()[..written], written as u64));
        }
        assert_eq!(write(whole.len() as u64).1, 5);
        assert_eq!(write(whole.len() as u64 - 1).1, 4);
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

    /// Damaged files with a correct checksum, so that only the rules of the format can find the damage.
    #[test]
    fn foreign_bytes_with_a_good_checksum_neither_panic_nor_break_a_rule() {
        let (bytes, _) = write(u64::MAX);
        let mut random = Random::new();
        let mut random = |bound| random.below(bound);
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
                for record in all {
                    assert!(record.sequence >= header.first_sequence && earlier < Some(record.sequence));
                    assert!(match record.kind {
                        ValueKind::Text => str::from_utf8(&record.value).is_ok(),
                        ValueKind::Bytes => true,
                        ValueKind::Json => is_value(&record.value),
                    });
                    assert_eq!(Parts::check(&record.parts), Ok(()));
                    earlier = Some(record.sequence);
                }
            }
        }
        assert!(accepted > 100, "only {accepted} mutations came through, so little was tested");
    }

    #[test]
    fn an_announced_length_takes_no_memory() {
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        bytes.extend((MOST_BYTES as u32).to_be_bytes());
        assert_eq!(read(&bytes), Err(CUT_SHORT.into()));
        // Not even if the file claims to be long enough.
        assert_eq!(Reader::new(&bytes[..], u64::MAX).map(drop), Err(CUT_SHORT.into()));
        bytes.truncate(8);
        bytes.extend(u32::MAX.to_be_bytes());
        assert!(Reader::new(&bytes[..], u64::MAX).is_err_and(|why| why.contains("2 GiB")));
    }

    /// A file of version 1.
    #[test]
    fn file_of_version_1_is_read_and_has_no_parts() {
        let one = |kind: u8| {
            let mut bytes = b"kcws-ho\x01".to_vec();
            for text in ["c", "p", "s"] {
                bytes.extend([&1_u32.to_be_bytes(), text.as_bytes()].concat());
            }
            bytes.extend(7_i64.to_be_bytes());
            bytes.push(kind);
            bytes.extend([7_i64.to_be_bytes(), 1_000_i64.to_be_bytes()].concat());
            bytes.extend(*b"\0\0\0\x01v\0");
            bytes.extend([1_u64, 3, 2_000].map(u64::to_be_bytes).concat());
            bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
            read(&bytes)
        };
        let (header, records, footer) = one(2).unwrap();
        assert_eq!((header.connector.as_str(), header.first_sequence), ("c", 7));
        let mut batch = Batch::default();
        batch.push(ValueKind::Bytes, b"v", 1_000);
        assert_eq!(records, [stored(&batch.get(0).unwrap(), 7)]);
        assert_eq!(footer, Footer { records: 1, left_behind: 3, written_at_ms: 2_000 });
        for later in [0x82, 3] {
            assert!(one(later).unwrap_err().contains("unknown kind"));
        }
    }
}
