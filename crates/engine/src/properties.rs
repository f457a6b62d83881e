//! Java `.properties` text, as `java.util.Properties.load` reads it (JDK 17 documentation of that method).

use std::fmt;

use crate::config_def::Properties;

/// The largest properties or connector file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 10 * 1024 * 1024;

/// Why a properties text was refused. `line` counts natural lines from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropertiesError {
    /// A `\u` that is not followed by four hexadecimal digits.
    Escape {
        /// The line in which the logical line begins.
        line: usize,
    },
    /// Half of a UTF-16 pair, which UTF-8 text cannot contain.
    Surrogate {
        /// The line in which the logical line begins.
        line: usize,
    },
    /// More than [`MAX_FILE_BYTES`].
    TooLarge(usize),
}

impl fmt::Display for PropertiesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PropertiesError::Escape { line } => write!(
                f,
                "malformed \\uxxxx escape in line {line}: write four hexadecimal digits after \\u, or \\\\u for a plain \
                 backslash"
            ),
            PropertiesError::Surrogate { line } => write!(
                f,
                "half a surrogate pair in line {line}: write both \\uD8xx and \\uDCxx escapes of the character"
            ),
            PropertiesError::TooLarge(bytes) => {
                write!(f, "the text has {bytes} bytes, which is more than the limit of {MAX_FILE_BYTES}")
            }
        }
    }
}

impl std::error::Error for PropertiesError {}

/// Parses ISO-8859-1 bytes, as `Properties.load(InputStream)`: the form of worker and connector files.
/// A later value of a key replaces an earlier one. Trailing blanks of a value are kept.
pub fn parse(bytes: &[u8]) -> Result<Properties, PropertiesError> {
    check_size(bytes.len())?;
    parse_units(bytes.iter().map(|byte| u16::from(*byte)))
}

/// Parses UTF-8 text, as `Properties.load(Reader)`: the form of the files of `FileConfigProvider`.
pub fn parse_text(text: &str) -> Result<Properties, PropertiesError> {
    check_size(text.len())?;
    parse_units(text.encode_utf16())
}

/// Refuses a text that is too large for a properties file.
///
/// # Errors
/// The size.
pub fn check_size(bytes: usize) -> Result<(), PropertiesError> {
    if bytes > MAX_FILE_BYTES { Err(PropertiesError::TooLarge(bytes)) } else { Ok(()) }
}

const TAB: u16 = b'\t' as u16;
const LF: u16 = b'\n' as u16;
const FF: u16 = 0x0c;
const CR: u16 = b'\r' as u16;
const SPACE: u16 = b' ' as u16;
const HASH: u16 = b'#' as u16;
const BANG: u16 = b'!' as u16;
const COLON: u16 = b':' as u16;
const EQUALS: u16 = b'=' as u16;
const BACKSLASH: u16 = b'\\' as u16;

fn is_blank(unit: u16) -> bool {
    matches!(unit, SPACE | TAB | FF)
}

fn parse_units(units: impl Iterator<Item = u16>) -> Result<Properties, PropertiesError> {
    let mut lines = LogicalLines { units: units.peekable(), line: 1 };
    let mut buffer = Vec::new();
    let mut properties = Properties::new();
    while let Some(line) = lines.next_into(&mut buffer) {
        let (key, value) = split(&buffer);
        properties.insert(unescape(key, line)?, unescape(value, line)?);
    }
    Ok(properties)
}

struct LogicalLines<I: Iterator<Item = u16>> {
    units: std::iter::Peekable<I>,
    line: usize,
}

impl<I: Iterator<Item = u16>> LogicalLines<I> {
    /// Reads the next line that is neither blank nor a comment, with its continuation lines. Returns the number of the
    /// natural line where it begins, or `None` at the end.
    fn next_into(&mut self, buffer: &mut Vec<u16>) -> Option<usize> {
        buffer.clear();
        let mut begin = self.line;
        let mut skip_blanks = true;
        let mut escaped = false;
        while let Some(unit) = self.units.next() {
            if skip_blanks && is_blank(unit) {
                continue;
            }
            skip_blanks = false;
            if unit == LF || unit == CR {
                let at_end = self.units.peek().is_none();
                if unit == CR && self.units.peek() == Some(&LF) {
                    self.units.next();
                }
                self.line += 1;
                if buffer.is_empty() {
                    skip_blanks = true;
                } else if !escaped {
                    return Some(begin);
                } else {
                    buffer.pop();
                    if at_end {
                        return Some(begin);
                    }
                    escaped = false;
                    skip_blanks = true;
                }
                continue;
            }
            if buffer.is_empty() {
                begin = self.line;
                if unit == HASH || unit == BANG {
                    while self.units.next_if(|next| *next != LF && *next != CR).is_some() {}
                    continue;
                }
            }
            buffer.push(unit);
            escaped = unit == BACKSLASH && !escaped;
        }
        if escaped {
            buffer.pop();
        } else if buffer.is_empty() {
            return None;
        }
        Some(begin)
    }
}

fn split(line: &[u16]) -> (&[u16], &[u16]) {
    let mut escaped = false;
    let mut key_end = line.len();
    for (at, unit) in line.iter().enumerate() {
        if !escaped && (is_blank(*unit) || *unit == EQUALS || *unit == COLON) {
            key_end = at;
            break;
        }
        escaped = *unit == BACKSLASH && !escaped;
    }
    // Between key and value: blanks, and at most one separator among them.
    let mut separator_seen = false;
    let mut value_start = key_end;
    while let Some(unit) = line.get(value_start) {
        if !is_blank(*unit) {
            if separator_seen || !(*unit == EQUALS || *unit == COLON) {
                break;
            }
            separator_seen = true;
        }
        value_start += 1;
    }
    (&line[..key_end], &line[value_start..])
}

fn unescape(units: &[u16], line: usize) -> Result<String, PropertiesError> {
    let mut out = Vec::with_capacity(units.len());
    let mut rest = units.iter().copied();
    while let Some(unit) = rest.next() {
        if unit != BACKSLASH {
            out.push(unit);
            continue;
        }
        let Some(escaped) = rest.next() else { break };
        match u8::try_from(escaped) {
            Ok(b'u') => {
                let mut code = 0;
                for _ in 0..4 {
                    let digit = rest.next().and_then(|unit| char::from_u32(unit.into())).and_then(|c| c.to_digit(16));
                    code = code << 4 | digit.ok_or(PropertiesError::Escape { line })?;
                }
                out.push(code as u16);
            }
            Ok(b't') => out.push(TAB),
            Ok(b'n') => out.push(LF),
            Ok(b'r') => out.push(CR),
            Ok(b'f') => out.push(FF),
            _ => out.push(escaped),
        }
    }
    String::from_utf16(&out).map_err(|_| PropertiesError::Surrogate { line })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &[u8]) -> Vec<(String, String)> {
        parse(text).unwrap().into_iter().collect()
    }

    fn one(text: &[u8]) -> (String, String) {
        let mut all = pairs(text);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn key_ends_at_the_first_separator_or_blank() {
        assert_eq!(one(b"a=b"), pair("a", "b"));
        assert_eq!(one(b"  a : b"), pair("a", "b"));
        assert_eq!(one(b"a b"), pair("a", "b"));
        assert_eq!(one(b"a \t= b=c"), pair("a", "b=c"));
        assert_eq!(one(b"a == b"), pair("a", "= b"));
        assert_eq!(one(b"a"), pair("a", ""));
        assert_eq!(one(b"=b"), pair("", "b"));
        assert_eq!(one(b"a\\:b\\ c=d"), pair("a:b c", "d"));
    }

    #[test]
    fn trailing_blanks_of_a_value_are_kept() {
        assert_eq!(one(b"a =  b \t \r\n"), pair("a", "b \t "));
    }

    #[test]
    fn comments_and_blank_lines_are_skipped() {
        assert_eq!(one(b"# x=1\n  ! y=2 \\\n\n \t\x0c\ra=b#c\n"), pair("a", "b#c"));
    }

    #[test]
    fn continuation_lines_lose_their_leading_blanks() {
        assert_eq!(one(b"a=b\\\n   c\\\r\n\td"), pair("a", "bcd"));
        assert_eq!(one(b"a=b\\\n#c"), pair("a", "b#c"));
        assert_eq!(pairs(b"a=b\\\n  \nc=d"), [pair("a", "b"), pair("c", "d")]);
        assert_eq!(pairs(b"a=b\\\\\nc=d"), [pair("a", "b\\"), pair("c", "d")]);
        assert_eq!(one(b"a=b\\"), pair("a", "b"));
    }

    #[test]
    fn escapes_and_latin_1() {
        assert_eq!(
            one(b"a=\\t\\n\\r\\f\\q\\\"\\u00E9\xe9\\ud83D\\uDE00"),
            pair("a", "\t\n\r\u{c}q\"\u{e9}\u{e9}\u{1f600}")
        );
        assert_eq!(parse_text("a=\u{e9}\\\u{1f600}").unwrap()["a"], "\u{e9}\u{1f600}");
    }

    #[test]
    fn a_later_value_wins() {
        assert_eq!(one(b"a=1\na=2"), pair("a", "2"));
    }

    #[test]
    fn a_bad_escape_names_its_line() {
        assert_eq!(parse(b"a=1\n\n# \\u\nb=\\\n\\u12G4"), Err(PropertiesError::Escape { line: 4 }));
        assert_eq!(parse(b"a=\\u123"), Err(PropertiesError::Escape { line: 1 }));
        assert_eq!(parse(b"a=\\ud83dx"), Err(PropertiesError::Surrogate { line: 1 }));
    }

    #[test]
    fn an_oversized_text_is_refused() {
        let text = vec![b'#'; MAX_FILE_BYTES + 1];
        assert_eq!(parse(&text), Err(PropertiesError::TooLarge(MAX_FILE_BYTES + 1)));
    }
}
