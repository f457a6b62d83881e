//! JSON values as schemaless Connect data, in a byte form that both hosts read without a parser.
//!
//! ```text
//! value   0 null · 1 false · 2 true · 3 Long: i64 · 4 Double: f64 · 5 String: text
//!         6 List: u32 count, and as many values · 7 Map: u32 count, and as many members
//! member  key: text, and its value; no key comes twice
//! text    u32 length and UTF-8
//! ```
//!
//! Numbers are big endian. In Java, they become Long, Double, String, Boolean, List and Map.

mod double;
mod parse;

pub use double::write_double;
pub use parse::Parser;

use crate::json::MAX_DEPTH;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const LONG: u8 = 3;
const DOUBLE: u8 = 4;
const TEXT: u8 = 5;
const LIST: u8 = 6;
const MAP: u8 = 7;

/// A value, or the number of its values that follow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Token<'a> {
    Null,
    Boolean(bool),
    Long(i64),
    Double(f64),
    Text(&'a str),
    List(u32),
    /// The number of keys. Each is a [`Token::Text`], and its value follows.
    Map(u32),
}

/// Reads a value from its form, token by token.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'a>(&'a [u8]);

impl<'a> Tokens<'a> {
    pub fn new(value: &'a [u8]) -> Tokens<'a> {
        Tokens(value)
    }

    /// Returns a map's next key.
    pub fn key(&mut self) -> Option<&'a str> {
        let length = u32::from_be_bytes(self.array()?) as usize;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        str::from_utf8(text).ok()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    /// Moves over a value that may be invalid.
    fn check(&mut self, depth: usize) -> Option<()> {
        let members = match self.next()? {
            Token::List(_) | Token::Map(_) if depth == MAX_DEPTH => return None,
            Token::List(count) => {
                return (0..count).try_for_each(|_| self.check(depth + 1));
            }
            Token::Map(count) => count,
            _ => return Some(()),
        };
        (0..members).try_for_each(|_| {
            self.key()?;
            self.check(depth + 1)
        })
    }
}

/// Returns the next token. `None` after the last one, and if the form is broken.
impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let [tag] = self.array()?;
        Some(match tag {
            NULL => Token::Null,
            FALSE => Token::Boolean(false),
            TRUE => Token::Boolean(true),
            LONG => Token::Long(i64::from_be_bytes(self.array()?)),
            DOUBLE => Token::Double(f64::from_be_bytes(self.array()?)),
            TEXT => Token::Text(self.key()?),
            LIST => Token::List(u32::from_be_bytes(self.array()?)),
            MAP => Token::Map(u32::from_be_bytes(self.array()?)),
            _ => return None,
        })
    }
}

/// Whether these bytes, which may be invalid, are one value.
pub(crate) fn is_value(bytes: &[u8]) -> bool {
    let mut tokens = Tokens(bytes);
    tokens.check(0).is_some() && tokens.0.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_values_of_bounded_depth_are_values() {
        let mut value = Vec::new();
        Parser::default().parse(r#"{"a":[1,2.5,"x",null,true,false],"b":{}}"#, &mut value).unwrap();
        assert!(is_value(&value));
        for end in 0..value.len() {
            assert!(!is_value(&value[..end]), "{end}");
        }
        assert!(!is_value(&[value.as_slice(), &[NULL]].concat()));
        assert!(!is_value(&[8]));
        assert!(!is_value(&[TEXT, 0, 0, 0, 1, 0xff]));
        let nested = |depth: usize| [[LIST, 0, 0, 0, 1].repeat(depth), vec![NULL]].concat();
        assert!(is_value(&nested(MAX_DEPTH)));
        assert!(!is_value(&nested(MAX_DEPTH + 1)));
    }

    #[test]
    fn announced_count_takes_no_time() {
        assert!(!is_value(&[LIST, 0xff, 0xff, 0xff, 0xff]));
        assert!(!is_value(&[MAP, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]));
    }
}
