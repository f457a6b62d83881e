//! Java Object Serialization of `HashMap<byte[], byte[]>`, as far as an offset file needs it.

use super::{Entries, MAX_FILE_BYTES};

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
const MAP_CLASS: &[u8] =
    b"sr\x00\x11java.util.HashMap\x05\x07\xda\xc1\xc3\x16\x60\xd1\x03\x00\x02F\x00\x0aloadFactorI\x00\x09thresholdxp";
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
    let mut reader = Reader { bytes, at: 0, arrays: Vec::new(), class_seen: false, content: 0 };
    reader.expect(STREAM, "no Java serialization stream")?;
    reader.expect(MAP_CLASS, "not a java.util.HashMap")?;
    let load_factor = f32::from_bits(reader.u32()?);
    if load_factor.is_nan() || load_factor <= 0.0 {
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
    /// Bytes of all keys and values so far; references to one large array could otherwise add up to any size.
    content: usize,
}

impl<'a> Reader<'a> {
    fn array(&mut self) -> Result<Option<Vec<u8>>, DecodeError> {
        match self.u8()? {
            TC_NULL => Ok(None),
            TC_REFERENCE => {
                let handle = self.u32()?;
                let index = handle.checked_sub(ARRAY_CLASS_HANDLE + 1);
                match index.and_then(|index| self.arrays.get(index as usize).copied()) {
                    Some(array) => self.copy(array),
                    None => Err(self.garbage(format!("a reference to handle {handle:#x}, which is not a byte array"))),
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
                self.copy(array)
            }
            other => Err(self.garbage(format!("type code {other:#04x} where a byte array or null belongs"))),
        }
    }

    fn copy(&mut self, array: &[u8]) -> Result<Option<Vec<u8>>, DecodeError> {
        self.content += array.len();
        if self.content > MAX_FILE_BYTES {
            return Err(self.garbage(format!("more than {MAX_FILE_BYTES} bytes of keys and values")));
        }
        Ok(Some(array.to_vec()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
    }

    fn entries(pairs: &[(Option<&str>, Option<&str>)]) -> Entries {
        let bytes = |text: &Option<&str>| text.map(|text| text.as_bytes().to_vec());
        pairs.iter().map(|(key, value)| (bytes(key), bytes(value))).collect()
    }

    /// What Java 17 writes for `new HashMap<byte[], byte[]>()` up to the entries.
    const HEAD: &str = "aced0005 73 72 0011 6a6176612e7574696c2e486173684d6170 0507dac1c31660d1 03 0002
        46000a6c6f6164466163746f72 4900097468726573686f6c64 78 70 3f400000";
    const ARRAY_CLASS_HEX: &str = "72 0002 5b42 acf317f8060854e0 02 0000 78 70";

    #[test]
    fn an_empty_map_has_the_bytes_of_java() {
        let java = hex(&format!("{HEAD} 00000000 7708 00000010 00000000 78"));
        assert_eq!(encode(&Entries::new()), java);
        assert_eq!(decode(&java), Ok(Entries::new()));
    }

    #[test]
    fn a_map_of_one_entry_has_the_bytes_of_java() {
        let java = hex(&format!(
            "{HEAD} 0000000c 7708 00000010 00000001 75 {ARRAY_CLASS_HEX} 00000001 6b 75 71 007e0002 00000002 7631 78"
        ));
        let map = entries(&[(Some("k"), Some("v1"))]);
        assert_eq!(encode(&map), java);
        assert_eq!(decode(&java), Ok(map));
    }

    #[test]
    fn references_nulls_and_foreign_sizes_are_read() {
        // Threshold 7, capacity 64; the second value is the first key again, the third key and value are null.
        let java = hex(&format!(
            "{HEAD} 00000007 7708 00000040 00000003 75 {ARRAY_CLASS_HEX} 00000001 6b 70
             75 71 007e0002 00000001 6c 71 007e0003 70 70 78 ffff"
        ));
        let map = entries(&[(Some("k"), None), (Some("l"), Some("k")), (None, None)]);
        assert_eq!(decode(&java), Ok(map.clone()));
        assert_eq!(decode(&encode(&map)), Ok(map));
    }

    #[test]
    fn capacity_grows_with_the_size() {
        let header = |size: usize| {
            let map: Entries = (0..size).map(|at| (Some(at.to_string().into_bytes()), None)).collect();
            let bytes = encode(&map);
            let at = STREAM.len() + MAP_CLASS.len() + 4;
            let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
            assert_eq!(decode(&bytes), Ok(map));
            (number(at), number(at + 6), number(at + 10))
        };
        assert_eq!(header(12), (12, 16, 12));
        assert_eq!(header(13), (24, 32, 13));
        assert_eq!(header(25), (48, 64, 25));
    }

    #[test]
    fn garbage_says_what_and_where() {
        let garbage = |text: &str| match decode(&hex(text)) {
            Err(DecodeError::Garbage(reason)) => reason,
            other => panic!("{other:?}"),
        };
        let map = |rest: &str| format!("{HEAD} 0000000c 7708 00000010 {rest}");
        assert_eq!(garbage("7b7d"), "no Java serialization stream at byte 0");
        assert_eq!(garbage("aced0005 7400"), "not a java.util.HashMap at byte 4");
        assert!(garbage(&map("ffffffff")).starts_with("negative map size -1"));
        assert!(garbage(&map("00000001 74")).starts_with("type code 0x74 where"));
        assert!(garbage(&map("00000001 71 007e0001")).starts_with("a reference to handle 0x7e0001"));
        assert!(garbage(&map("00000001 71 00000001")).starts_with("a reference to handle 0x1"));
        assert!(garbage(&map("00000001 75 71 007e0002")).starts_with("type code 0x71 where the class"));
        assert!(garbage(&map(&format!("00000001 75 {ARRAY_CLASS_HEX} ffffffff"))).starts_with("negative array length"));
        assert!(garbage(&map("00000000 00")).starts_with("no end of the map"));
        assert!(garbage(&HEAD.replace("3f400000", "00000000 0000000c")).starts_with("load factor 0"));
    }

    #[test]
    fn announced_lengths_allocate_nothing() {
        for rest in ["7fffffff", &format!("00000001 75 {ARRAY_CLASS_HEX} 7fffffff 00")] {
            let bytes = hex(&format!("{HEAD} 0000000c 7708 7fffffff {rest}"));
            assert_eq!(decode(&bytes), Err(DecodeError::Truncated));
        }
    }

    #[test]
    fn references_cannot_multiply_a_large_array() {
        let mut bytes = hex(&format!("{HEAD} 0000000c 7708 00000010 00000200 75 {ARRAY_CLASS_HEX}"));
        let large = MAX_FILE_BYTES / 16;
        bytes.extend_from_slice(&(large as u32).to_be_bytes());
        bytes.resize(bytes.len() + large, b'x');
        bytes.push(TC_NULL);
        for at in 0..40u8 {
            bytes.extend_from_slice(&hex("75 71 007e0002 00000001"));
            bytes.push(at);
            bytes.extend_from_slice(&hex("71 007e0003"));
        }
        assert!(matches!(decode(&bytes), Err(DecodeError::Garbage(reason)) if reason.contains("keys and values")));
    }
}
