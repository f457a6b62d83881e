//! Java Object Serialization of `HashMap<byte[], byte[]>`, as far as an offset file needs it.

use super::Entries;

/// Why bytes are not a serialized map of byte arrays.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DecodeError {
    /// The bytes end before the map does. Connect takes such a file for an empty one.
    Truncated,
    /// Something else; the text says what and where.
    Garbage(String),
}

/// Stream magic and version 5.
const STREAM: &[u8] = &[0xac, 0xed, 0x00, 0x05];
/// Object of class `java.util.HashMap`: serialVersionUID, flags, the fields `float loadFactor` and `int threshold`.
const MAP_CLASS: &[u8] = b"sr\x00\x11java.util.HashMap\x05\x07\xda\xc1\xc3\x16\x60\xd1\x03\x00\x02F\x00\x0aloadFactorI\x00\x09thresholdxp";
/// Class descriptor of `byte[]`: serialVersionUID, flags, no fields.
const ARRAY_CLASS: &[u8] = b"r\x00\x02[B\xac\xf3\x17\xf8\x06\x08\x54\xe0\x02\x00\x00xp";

const TC_NULL: u8 = 0x70;
const TC_REFERENCE: u8 = 0x71;
const TC_CLASSDESC: u8 = 0x72;
const TC_ARRAY: u8 = 0x75;
const TC_BLOCKDATA: u8 = 0x77;
const TC_ENDBLOCKDATA: u8 = 0x78;

const FIRST_HANDLE: u32 = 0x7e_0000;
/// Handles 0 and 1 are the map's class and the map; the class of `byte[]` is the next object in the stream.
const ARRAY_CLASS_HANDLE: u32 = FIRST_HANDLE + 2;

const LOAD_FACTOR: f32 = 0.75;
const MIN_CAPACITY: u32 = 16;

/// Writes the map as Java does; byte for byte the same for up to one entry, beyond it only the order may differ.
pub(super) fn encode(entries: &Entries) -> Vec<u8> {
    let size = entries.len() as u32;
    let mut capacity = MIN_CAPACITY;
    while size > capacity / 4 * 3 {
        capacity *= 2;
    }
    let threshold = if size == 0 { 0 } else { capacity / 4 * 3 };
    let content: usize = entries.iter().map(|(key, value)| array_len(key) + array_len(value)).sum();
    let mut out = Vec::with_capacity(STREAM.len() + MAP_CLASS.len() + ARRAY_CLASS.len() + 32 + content);
    out.extend_from_slice(STREAM);
    out.extend_from_slice(MAP_CLASS);
    out.extend_from_slice(&LOAD_FACTOR.to_be_bytes());
    out.extend_from_slice(&threshold.to_be_bytes());
    out.extend_from_slice(&[TC_BLOCKDATA, 8]);
    out.extend_from_slice(&capacity.to_be_bytes());
    out.extend_from_slice(&size.to_be_bytes());
    let mut class_written = false;
    for array in entries.iter().flat_map(|(key, value)| [key, value]) {
        let Some(bytes) = array else {
            out.push(TC_NULL);
            continue;
        };
        out.push(TC_ARRAY);
        if class_written {
            out.push(TC_REFERENCE);
            out.extend_from_slice(&ARRAY_CLASS_HANDLE.to_be_bytes());
        } else {
            out.extend_from_slice(ARRAY_CLASS);
            class_written = true;
        }
        out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        out.extend_from_slice(bytes);
    }
    out.push(TC_ENDBLOCKDATA);
    out
}

fn array_len(array: &Option<Vec<u8>>) -> usize {
    array.as_ref().map_or(1, |bytes| bytes.len() + 10)
}

/// Reads a map of any capacity, threshold and order. Bytes after the map are ignored, as Java ignores them.
/// Allocates no more than the bytes at hand call for, whatever the length fields announce.
pub(super) fn decode(bytes: &[u8]) -> Result<Entries, DecodeError> {
    let mut reader = Reader { bytes, at: 0, arrays: Vec::new(), class_seen: false };
    reader.expect(STREAM, "no Java serialization stream")?;
    reader.expect(MAP_CLASS, "not a java.util.HashMap")?;
    let load_factor = f32::from_bits(reader.u32()?);
    if !(load_factor > 0.0) {
        return Err(reader.garbage(format!("load factor {load_factor}")));
    }
    reader.u32()?;
    reader.expect(&[TC_BLOCKDATA, 8], "no size of the map")?;
    reader.u32()?;
    let size = reader.u32()?;
    if size > i32::MAX as u32 {
        return Err(reader.garbage(format!("negative map size {}", size as i32)));
    }
    let mut entries = Entries::new();
    for _ in 0..size {
        let key = reader.array()?;
        let value = reader.array()?;
        entries.insert(key, value);
    }
    reader.expect(&[TC_ENDBLOCKDATA], "no end of the map")?;
    Ok(entries)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Arrays by handle, from the one after the array class on.
    arrays: Vec<&'a [u8]>,
    class_seen: bool,
}

impl<'a> Reader<'a> {
    fn array(&mut self) -> Result<Option<Vec<u8>>, DecodeError> {
        match self.u8()? {
            TC_NULL => Ok(None),
            TC_REFERENCE => {
                let handle = self.u32()?;
                let index = handle.checked_sub(ARRAY_CLASS_HANDLE + 1);
                match index.and_then(|index| self.arrays.get(index as usize)) {
                    Some(array) => Ok(Some(array.to_vec())),
                    None => Err(self.garbage(format!("a reference to handle {handle:#x}, which is no byte array"))),
                }
            }
            TC_ARRAY => {
                self.array_class()?;
                let length = self.u32()?;
                if length > i32::MAX as u32 {
                    return Err(self.garbage(format!("negative array length {}", length as i32)));
                }
                let array = self.take(length as usize)?;
                self.arrays.push(array);
                Ok(Some(array.to_vec()))
            }
            other => Err(self.garbage(format!("type code {other:#04x} where a byte array or null belongs"))),
        }
    }

    fn array_class(&mut self) -> Result<(), DecodeError> {
        match self.bytes.get(self.at) {
            None => Err(DecodeError::Truncated),
            Some(&TC_CLASSDESC) if !self.class_seen => {
                self.class_seen = true;
                self.expect(ARRAY_CLASS, "an array of another type than byte")
            }
            Some(&TC_REFERENCE) if self.class_seen => {
                self.at += 1;
                let handle = self.u32()?;
                if handle == ARRAY_CLASS_HANDLE {
                    Ok(())
                } else {
                    Err(self.garbage(format!("an array whose class is handle {handle:#x}")))
                }
            }
            Some(other) => Err(self.garbage(format!("type code {other:#04x} where the class of an array belongs"))),
        }
    }

    fn expect(&mut self, expected: &[u8], otherwise: &str) -> Result<(), DecodeError> {
        let rest = &self.bytes[self.at..];
        if rest.starts_with(expected) {
            self.at += expected.len();
            Ok(())
        } else if expected.starts_with(rest) {
            Err(DecodeError::Truncated)
        } else {
            Err(self.garbage(otherwise.to_owned()))
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..length).ok_or(DecodeError::Truncated)?;
        self.at += length;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.take(1).map(|byte| byte[0])
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.take(4).map(|bytes| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn garbage(&self, what: String) -> DecodeError {
        DecodeError::Garbage(format!("{what} at byte {}", self.at))
    }
}
