//! Reads and writes the offsets file of a standalone worker, independently of the worker's own code.
//!
//! The file is a Java-serialised `HashMap<byte[], byte[]>` (Java Object Serialization Specification, chapter 6, and
//! `java.util.HashMap.writeObject`). Keys are JSON `["<connector>",{source partition}]`, values the source offset as JSON
//! or null.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// One stored source offset.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredOffset {
    pub connector: String,
    pub partition: Value,
    /// `None` is a tombstone: the offset was reset.
    pub offset: Option<Value>,
}

/// Reads the file at `path`.
///
/// # Errors
/// If it cannot be read or is not such a file; the sentence says where it stops to be one.
pub fn read(path: &Path) -> Result<Vec<StoredOffset>, String> {
    let bytes = fs::read(path).map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
    parse(&bytes).map_err(|e| format!("{} is no offsets file: {e}", path.display()))
}

/// The file that holds `entries`, as Java would write it.
pub fn write(entries: &[StoredOffset]) -> Vec<u8> {
    let size = |length: usize| u32::try_from(length).unwrap_or_default().to_be_bytes();
    let mut bytes = HASH_MAP.to_vec();
    // A load factor of 0.75, a threshold of 12 and 16 buckets: the defaults of java.util.HashMap.
    bytes.extend(b"\x3f\x40\x00\x00\x00\x00\x00\x0c\x77\x08\x00\x00\x00\x10");
    bytes.extend(size(entries.len()));
    let mut first = true;
    for entry in entries {
        let key = Value::from(vec![Value::from(entry.connector.as_str()), entry.partition.clone()]);
        for element in [Some(&key), entry.offset.as_ref()] {
            let Some(json) = element.map(Value::to_string) else {
                bytes.push(0x70);
                continue;
            };
            bytes.push(0x75);
            bytes.extend(if std::mem::take(&mut first) { BYTE_ARRAY } else { BYTE_ARRAY_AGAIN });
            bytes.extend(size(json.len()));
            bytes.extend(json.as_bytes());
        }
    }
    bytes.push(0x78);
    bytes
}

/// The `sequence` that the file holds for `connector`, which has one source partition; `None` before the first flush.
///
/// # Panics
/// If the file exists and cannot be understood: it must be intact at any moment.
pub fn sequence(path: &Path, connector: &str) -> Option<u64> {
    if !path.exists() {
        return None;
    }
    let stored = read(path).unwrap_or_else(|e| panic!("{e}"));
    let own = stored.into_iter().find(|entry| entry.connector == connector)?;
    let offset = own.offset?;
    Some(
        offset["sequence"]
            .as_u64()
            .unwrap_or_else(|| panic!("connector {connector} has no sequence in its offset {offset}")),
    )
}

/// TC_OBJECT, TC_CLASSDESC, name, serialVersionUID, flags and the two fields of `java.util.HashMap`, up to the value of
/// `loadFactor`.
const HASH_MAP: &[u8] =
    b"\xac\xed\x00\x05\x73\x72\x00\x11java.util.HashMap\x05\x07\xda\xc1\xc3\x16\x60\xd1\x03\x00\x02\
\x46\x00\x0aloadFactor\x49\x00\x09threshold\x78\x70";
/// Class description of `byte[]`, as the first array carries it.
const BYTE_ARRAY: &[u8] = b"\x72\x00\x02[B\xac\xf3\x17\xf8\x06\x08\x54\xe0\x02\x00\x00\x78\x70";
/// Reference to that description, as later arrays carry it.
const BYTE_ARRAY_AGAIN: &[u8] = b"\x71\x00\x7e\x00\x02";
/// Handle of the first array: those before belong to the map, its class and the class of `byte[]`.
const FIRST_ARRAY: u32 = 0x7e_0003;

fn parse(bytes: &[u8]) -> Result<Vec<StoredOffset>, String> {
    let mut reader = Reader { rest: bytes, arrays: Vec::new() };
    reader.expect(HASH_MAP, "the header of a java.util.HashMap")?;
    reader.take(8)?; // loadFactor and threshold
    reader.expect(&[0x77, 8], "the block with capacity and size")?;
    reader.take(4)?;
    let size = reader.int()?;
    let mut entries = Vec::new();
    for _ in 0..size {
        let key = reader.element()?.ok_or("a key is null")?;
        let key: (String, Value) =
            serde_json::from_slice(&key).map_err(|e| format!("a key is not [connector, partition]: {e}"))?;
        let offset = reader
            .element()?
            .map(|value| serde_json::from_slice(&value).map_err(|e| format!("an offset is not JSON: {e}")))
            .transpose()?;
        entries.push(StoredOffset { connector: key.0, partition: key.1, offset });
    }
    reader.expect(&[0x78], "the end of the map")?;
    if reader.rest.is_empty() { Ok(entries) } else { Err(format!("{} bytes follow the map", reader.rest.len())) }
}

struct Reader<'a> {
    rest: &'a [u8],
    arrays: Vec<Vec<u8>>,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or("it ends too early")?;
        self.rest = rest;
        Ok(taken)
    }

    fn expect(&mut self, bytes: &[u8], what: &str) -> Result<(), String> {
        self.rest = self
            .rest
            .strip_prefix(bytes)
            .ok_or_else(|| format!("{what} is missing with {} bytes left", self.rest.len()))?;
        Ok(())
    }

    fn int(&mut self) -> Result<u32, String> {
        let bytes = self.take(4)?;
        bytes.try_into().map(u32::from_be_bytes).map_err(|_| "an integer is cut off".to_owned())
    }

    /// The next array, or null.
    fn element(&mut self) -> Result<Option<Vec<u8>>, String> {
        match self.take(1)? {
            [0x70] => Ok(None),
            [0x71] => {
                let handle = self.int()?;
                let index = handle.checked_sub(FIRST_ARRAY).and_then(|index| usize::try_from(index).ok());
                let array = index
                    .and_then(|index| self.arrays.get(index))
                    .ok_or_else(|| format!("handle {handle:#x} is unknown"))?;
                Ok(Some(array.clone()))
            }
            [0x75] => {
                let class = if self.arrays.is_empty() { BYTE_ARRAY } else { BYTE_ARRAY_AGAIN };
                self.expect(class, "the class of a byte array")?;
                let length = self.int()?;
                let array = self.take(usize::try_from(length).map_err(|_| "an array is too long")?)?.to_vec();
                self.arrays.push(array.clone());
                Ok(Some(array))
            }
            other => Err(format!("unknown type code {other:?} with {} bytes left", self.rest.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{StoredOffset, parse, write};

    fn stored(connector: &str, partition: serde_json::Value, offset: Option<serde_json::Value>) -> StoredOffset {
        StoredOffset { connector: connector.to_owned(), partition, offset }
    }

    #[test]
    fn entries_and_tombstones_are_read() {
        let entries = [
            stored("a", json!({"websocket_url": "ws://h"}), Some(json!({"sequence": 7}))),
            stored("b", json!({}), None),
        ];
        assert_eq!(parse(&write(&entries)), Ok(entries.to_vec()));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = write(&[stored("a", json!({}), Some(json!({})))]);
        assert!((0..bytes.len()).all(|length| parse(&bytes[..length]).is_err()));
    }
}
