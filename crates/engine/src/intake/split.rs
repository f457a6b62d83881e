//! Splits a message that contains several. From then on, each part is a message.

use std::ops::Range;

use crate::dialogue::expression::pointer;
use crate::json::{Found, PointerId, Pointers, Scanned, Scanner};

/// How a message is split. There is no automatic choice, because in many feeds an array is one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Each element of an array is a message. Anything else is one message.
    JsonArray,
    Lines,
    /// At each such byte.
    Byte(u8),
}

impl Split {
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Split, String> {
        let is_byte = |digits: &&str| digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let byte = |digits: &str| u8::from_str_radix(digits, 16).ok();
        match text {
            "json.array" => Ok(Split::JsonArray),
            "lines" => Ok(Split::Lines),
            _ => text.strip_prefix("byte:").filter(is_byte).and_then(byte).map(Split::Byte).ok_or_else(|| {
                "expected json.array, lines, or byte: and two hexadecimal digits, such as byte:1e".to_owned()
            }),
        }
    }
}

/// Splits one message after another.
#[derive(Debug)]
pub struct Splitter {
    split: Split,
    elements: Scanner,
    each: PointerId,
    found: Found,
    parts: Vec<Range<usize>>,
}

/// The room for parts that is kept from one message to the next.
const KEPT_PARTS: usize = 4096;

impl Splitter {
    /// # Errors
    /// None in practice: one pointer always compiles.
    pub fn new(split: Split) -> Result<Splitter, String> {
        let mut pointers = Pointers::default();
        let each = pointers.add(pointer("/*").map_err(|problem| problem.to_string())?);
        Ok(Splitter { split, elements: pointers.build()?, each, found: Found::default(), parts: Vec::new() })
    }

    /// Returns where the parts are, without empty ones. `text` is the message, if it is UTF-8.
    pub fn split(&mut self, message: &[u8], text: Option<&str>) -> &[Range<usize>] {
        self.parts.clear();
        self.parts.shrink_to(KEPT_PARTS);
        match self.split {
            Split::JsonArray => self.array(message, text),
            Split::Lines => {
                self.at_each(message, b'\n');
                for part in &mut self.parts {
                    part.end -= usize::from(message[part.clone()].ends_with(b"\r"));
                }
            }
            Split::Byte(byte) => self.at_each(message, byte),
        }
        self.parts.retain(|part| !part.is_empty());
        &self.parts
    }

    fn array(&mut self, message: &[u8], text: Option<&str>) {
        let text = text.filter(|text| text.trim_start().starts_with('['));
        match text {
            Some(text) if self.elements.scan(text, &mut self.found) => {
                self.parts.extend(Scanned::new(text, &self.found).spans(self.each));
            }
            _ => self.parts.push(0..message.len()),
        }
    }

    fn at_each(&mut self, message: &[u8], separator: u8) {
        let mut start = 0;
        for part in message.split(|&byte| byte == separator) {
            self.parts.push(start..start + part.len());
            start += part.len() + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(how: &str, message: &str) -> Vec<String> {
        let mut splitter = Splitter::new(Split::parse(how).unwrap()).unwrap();
        splitter.split(b"[1]", Some("[1]"));
        let parts = splitter.split(message.as_bytes(), Some(message)).to_vec();
        parts.into_iter().map(|part| message[part].to_owned()).collect()
    }

    #[test]
    fn json_array_gives_each_element() {
        assert_eq!(split("json.array", r#" [{"a":[1]}, "x,y" ,3] "#), [r#"{"a":[1]}"#, r#""x,y""#, "3"]);
        assert!(split("json.array", "[]").is_empty());
    }

    #[test]
    fn what_is_no_array_passes_json_array_as_one() {
        for message in [r#"{"a":[1,2]}"#, "pong", "[1,2", "42[1,2]", "7"] {
            assert_eq!(split("json.array", message), [message]);
        }
        let mut splitter = Splitter::new(Split::JsonArray).unwrap();
        assert_eq!(splitter.split(&[b'[', 0xFF], None).to_vec(), vec![Range { start: 0, end: 2 }]);
    }

    #[test]
    fn lines_end_with_lf_or_crlf_and_empty_parts_are_left_out() {
        assert_eq!(split("lines", "{\"a\":1}\r\n\n{\"b\":2}\n\r\n"), ["{\"a\":1}", "{\"b\":2}"]);
        assert!(split("lines", "").is_empty());
    }

    #[test]
    fn a_byte_separates() {
        assert_eq!(split("byte:1e", "{}\u{1e}{\"type\":6}\u{1e}"), ["{}", "{\"type\":6}"]);
        assert_eq!(split("byte:1E", "a"), ["a"]);
    }

    #[test]
    fn another_split_is_refused_with_what_was_expected() {
        for text in ["", "array", "byte:", "byte:1", "byte:xyz", "byte:+1"] {
            assert!(Split::parse(text).unwrap_err().contains("such as byte:1e"), "{text}");
        }
    }
}
