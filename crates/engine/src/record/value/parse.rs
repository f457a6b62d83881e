//! Parses JSON to values: strictly (RFC 8259), with limited depth, in one pass. The keys of an object stay in order. If
//! a key comes twice, the last value is used, at the place of the first, as in Jackson. A number that Long or Double
//! would change becomes text. Half a surrogate pair is not a character and becomes U+FFFD.

use indexmap::IndexMap;

use super::double::exact_double;
use super::{DOUBLE, FALSE, LIST, LONG, MAP, NULL, TEXT, TRUE};
use crate::json::{Cursor, MAX_DEPTH, unescape};

/// Objects with up to this number of members are searched for duplicate keys without sorting.
const FEW: usize = 16;
/// An object with a duplicate key is written again. This limits the bytes for that, as a multiple of the text: for such
/// objects inside each other, the time would grow with the square.
const REWRITTEN: usize = 8;

/// Parses one text after another. The memory is reused.
#[derive(Debug, Default)]
pub struct Parser {
    /// The members of the objects that are not complete yet.
    members: Vec<Member>,
}

/// The position of a member in the output. It ends at the beginning of the next one.
#[derive(Debug, Clone, Copy)]
struct Member {
    key: usize,
    value: usize,
}

impl Parser {
    /// Appends the value of `text`.
    ///
    /// # Errors
    /// Why it is not valid, and at which byte. `out` then has a part of the value.
    pub fn parse(&mut self, text: &str, out: &mut Vec<u8>) -> Result<(), String> {
        self.members.clear();
        let room = text.len().saturating_mul(REWRITTEN);
        let mut parse = Parse { text, cursor: Cursor::new(text), out, members: &mut self.members, room };
        parse.document().map_err(|what| format!("{what} at byte {}", parse.cursor.at))
    }
}

struct Parse<'a> {
    text: &'a str,
    cursor: Cursor<'a>,
    out: &'a mut Vec<u8>,
    members: &'a mut Vec<Member>,
    /// How many bytes may still be written again.
    room: usize,
}

const INVALID: &str = "it is not valid JSON";

impl Parse<'_> {
    fn document(&mut self) -> Result<(), &'static str> {
        // Lengths in the byte form have 32 bits.
        if u32::try_from(self.text.len()).is_err() {
            return Err("it is too long");
        }
        self.cursor.skip_blanks();
        self.value(0)?;
        self.cursor.skip_blanks();
        if self.cursor.at == self.text.len() { Ok(()) } else { Err(INVALID) }
    }

    fn value(&mut self, depth: usize) -> Result<(), &'static str> {
        match self.cursor.peek() {
            Some(b'"') => {
                self.out.push(TEXT);
                self.string()
            }
            Some(b'{' | b'[') if depth == MAX_DEPTH => Err("it is nested too deep"),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal(b"true", TRUE),
            Some(b'f') => self.literal(b"false", FALSE),
            Some(b'n') => self.literal(b"null", NULL),
            _ => Err(INVALID),
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), &'static str> {
        let start = self.begin(LIST);
        let mut count = 0;
        if !self.closes(b']') {
            loop {
                self.value(depth)?;
                count += 1;
                if !self.goes_on(b']')? {
                    break;
                }
            }
        }
        self.end(start, count);
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), &'static str> {
        let (start, first) = (self.begin(MAP), self.members.len());
        if !self.closes(b'}') {
            loop {
                let key = self.out.len();
                if self.cursor.peek() != Some(b'"') {
                    return Err(INVALID);
                }
                self.string()?;
                self.cursor.skip_blanks();
                self.cursor.expect(b':').ok_or(INVALID)?;
                self.cursor.skip_blanks();
                self.members.push(Member { key, value: self.out.len() });
                self.value(depth)?;
                if !self.goes_on(b'}')? {
                    break;
                }
            }
        }
        let count = self.drop_duplicates(first)?;
        self.end(start, count);
        Ok(())
    }

    fn begin(&mut self, tag: u8) -> usize {
        self.cursor.at += 1;
        self.cursor.skip_blanks();
        self.out.extend([tag, 0, 0, 0, 0]);
        self.out.len() - 4
    }

    fn end(&mut self, start: usize, count: usize) {
        self.out[start..start + 4].copy_from_slice(&(count as u32).to_be_bytes());
    }

    /// Whether the array or object is empty, after its first bracket.
    fn closes(&mut self, bracket: u8) -> bool {
        let empty = self.cursor.peek() == Some(bracket);
        self.cursor.at += usize::from(empty);
        empty
    }

    /// Whether another element or member follows.
    fn goes_on(&mut self, bracket: u8) -> Result<bool, &'static str> {
        self.cursor.skip_blanks();
        match self.cursor.peek() {
            Some(b',') => {
                self.cursor.at += 1;
                self.cursor.skip_blanks();
                Ok(true)
            }
            Some(byte) if byte == bracket => {
                self.cursor.at += 1;
                Ok(false)
            }
            _ => Err(INVALID),
        }
    }

    /// Ends an object whose members are those from `first` on. Returns how many are left.
    fn drop_duplicates(&mut self, first: usize) -> Result<usize, &'static str> {
        let members = &self.members[first..];
        let count = members.len();
        let key = |member: &Member| &self.out[member.key..member.value];
        let differs = |at: usize| members[..at].iter().all(|before| key(before) != key(&members[at]));
        if count <= FEW && (1..count).all(differs) {
            self.members.truncate(first);
            return Ok(count);
        }
        let last: IndexMap<&[u8], usize> = members.iter().enumerate().map(|(at, member)| (key(member), at)).collect();
        let left = last.len();
        if left < count {
            let start = members[0].key;
            self.room = self.room.checked_sub(self.out.len() - start).ok_or("it has too many keys twice")?;
            let end = |at: usize| members.get(at + 1).map_or(self.out.len(), |next| next.key);
            let value = |at: usize| &self.out[members[at].value..end(at)];
            let rewritten: Vec<u8> = last.iter().flat_map(|(key, at)| [key, value(*at)]).flatten().copied().collect();
            self.out.truncate(start);
            self.out.extend_from_slice(&rewritten);
        }
        self.members.truncate(first);
        Ok(left)
    }

    /// Parses a string.
    fn string(&mut self) -> Result<(), &'static str> {
        let (inner, escaped) = self.cursor.string().ok_or(INVALID)?;
        let start = self.out.len();
        self.out.extend([0; 4]);
        if escaped {
            self.out.extend_from_slice(unescape(&self.text[inner]).as_bytes());
        } else {
            self.out.extend_from_slice(self.text[inner].as_bytes());
        }
        let length = self.out.len() - start - 4;
        self.out[start..start + 4].copy_from_slice(&(length as u32).to_be_bytes());
        Ok(())
    }

    fn number(&mut self) -> Result<(), &'static str> {
        let start = self.cursor.at;
        self.cursor.number().ok_or(INVALID)?;
        let text = &self.text[start..self.cursor.at];
        if text.contains(['.', 'e', 'E']) {
            match exact_double(text) {
                Some(double) => self.tagged(DOUBLE, &double.to_be_bytes()),
                None => self.text(text),
            }
        } else {
            match text.parse::<i64>() {
                Ok(long) => self.tagged(LONG, &long.to_be_bytes()),
                Err(_) => self.text(text),
            }
        }
        Ok(())
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.out.push(tag);
        self.out.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.tagged(TEXT, &(text.len() as u32).to_be_bytes());
        self.out.extend_from_slice(text.as_bytes());
    }

    fn literal(&mut self, word: &[u8], tag: u8) -> Result<(), &'static str> {
        self.cursor.literal(word).ok_or(INVALID)?;
        self.out.push(tag);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Token, Tokens, is_value, write_double};
    use super::*;
    use crate::random::Random;

    /// The value as JSON again, in the one form that there is for it.
    fn parsed(text: &str) -> Result<String, String> {
        let mut value = Vec::new();
        Parser::default().parse(text, &mut value)?;
        assert!(is_value(&value), "{text}");
        let (mut tokens, mut out) = (Tokens::new(&value), String::new());
        write(&mut tokens, &mut out);
        Ok(out)
    }

    fn write(tokens: &mut Tokens<'_>, out: &mut String) {
        match tokens.next().unwrap() {
            Token::Null => out.push_str("null"),
            Token::Boolean(boolean) => out.push_str(&boolean.to_string()),
            Token::Long(long) => out.push_str(&long.to_string()),
            Token::Double(double) => {
                let mut text = Vec::new();
                write_double(double, &mut text);
                out.push_str(str::from_utf8(&text).unwrap());
            }
            Token::Text(text) => out.push_str(&serde_json::to_string(text).unwrap()),
            Token::List(count) => {
                out.push('[');
                for at in 0..count {
                    out.push_str(if at > 0 { "," } else { "" });
                    write(tokens, out);
                }
                out.push(']');
            }
            Token::Map(count) => {
                out.push('{');
                for at in 0..count {
                    out.push_str(if at > 0 { "," } else { "" });
                    out.push_str(&serde_json::to_string(tokens.key().unwrap()).unwrap());
                    out.push(':');
                    write(tokens, out);
                }
                out.push('}');
            }
        }
    }

    #[test]
    fn values_come_out_as_they_went_in() {
        for text in [
            r#"{"z":1,"a":[true,false,null,{"":[]},{}],"k\"ey":"\u20ac \n"}"#,
            "[]",
            "\"x\"",
            "null",
            "-12",
            "9223372036854775807",
            "-9223372036854775808",
            "1.5",
            "1.0E10",
        ] {
            let plain = parsed(text).unwrap();
            assert_eq!(plain.replace('\u{20ac}', "\\u20ac"), text);
            assert_eq!(parsed(&format!(" \t\r\n{} ", text.replace(',', " , ").replace(':', " : "))).unwrap(), plain);
        }
    }

    #[test]
    fn numbers_that_java_would_change_become_text() {
        for (text, value) in [
            ("123456789012345678901234567", "\"123456789012345678901234567\""),
            ("9223372036854775808", "\"9223372036854775808\""),
            ("1e400", "\"1e400\""),
            ("1e-400", "\"1e-400\""),
            ("0.30000000000000004440892098500626", "\"0.30000000000000004440892098500626\""),
            ("12345678901234567890.5", "\"12345678901234567890.5\""),
            ("0.10", "0.1"),
            ("1.0", "1.0"),
            ("1e2", "100.0"),
            ("-0", "0"),
            ("-0.0", "-0.0"),
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(value));
        }
    }

    #[test]
    fn of_a_key_that_comes_twice_the_last_value_counts_at_the_place_of_the_first() {
        assert_eq!(parsed(r#"{"a":1,"b":{"x":1},"a":[2],"\u0062":3}"#).unwrap(), r#"{"a":[2],"b":3}"#);
        let many: Vec<String> = (0..40).map(|n| format!("\"k{}\":{n}", n % 20)).collect();
        let left: Vec<String> = (0..20).map(|n| format!("\"k{n}\":{}", n + 20)).collect();
        assert_eq!(
            parsed(&format!("[{{{}}},{{\"a\":1}}]", many.join(","))).unwrap(),
            format!("[{{{}}},{{\"a\":1}}]", left.join(","))
        );
    }

    #[test]
    fn half_a_surrogate_pair_is_no_character() {
        assert_eq!(parsed(r#""\ud83d\ude00""#).unwrap(), "\"\u{1f600}\"");
        assert_eq!(parsed(r#""\ud83d\u0041\ude00""#).unwrap(), "\"\u{fffd}A\u{fffd}\"");
        assert_eq!(parsed(r#""\ud83d""#).unwrap(), "\"\u{fffd}\"");
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "NaN",
            "nul",
            "true1",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u+123\"",
            "\"a\nb\"",
            "[] []",
            "'a'",
            "\u{feff}1",
        ] {
            let why = parsed(text).unwrap_err();
            assert!(why.starts_with("it is not valid JSON at byte "), "{text}: {why}");
        }
        assert_eq!(parsed("[1,x]").unwrap_err(), "it is not valid JSON at byte 3");
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parsed(&nested(MAX_DEPTH)).is_ok());
        for text in [nested(MAX_DEPTH + 1), "[".repeat(100_000), "{\"a\":".repeat(100_000)] {
            assert!(parsed(&text).unwrap_err().starts_with("it is nested too deep"));
        }
    }

    #[test]
    fn duplicates_inside_of_one_another_take_no_time_by_the_square() {
        let text = (0..500).fold("0".to_owned(), |inner, _| format!("{{\"a\":1,\"a\":{inner}}}"));
        assert!(parsed(&text).unwrap_err().starts_with("it has too many keys twice"));
    }

    /// Against serde_json, on mutated texts: the same texts are JSON, and of the same content.
    #[test]
    fn differs_from_serde_json_in_nothing_but_numbers_and_surrogates() {
        let seed = r#"{"a":[1,-2.5,"x\n\u00e9",null,true,false,{"b":{}}],"c":"\"","d":12e-1,"e":[[],[1]]}"#;
        const MUTATIONS: &[u8] = b"{}[]\",:0e-.\\u ";
        let mut random = Random::new();
        let mut random = |bound| random.below(bound);
        let mut valid = 0;
        for _ in 0..50_000 {
            let mut bytes = seed.as_bytes().to_vec();
            for _ in 0..=random(2) {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] = MUTATIONS[random(MUTATIONS.len())],
                    1 => _ = bytes.drain(at..(at + random(6)).min(bytes.len())),
                    _ => bytes.insert(at, MUTATIONS[random(MUTATIONS.len())]),
                }
            }
            let Ok(text) = String::from_utf8(bytes) else { continue };
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            let ours = parsed(&text);
            match &theirs {
                Ok(theirs) => {
                    valid += 1;
                    let ours: serde_json::Value = serde_json::from_str(&ours.unwrap()).unwrap();
                    assert_eq!(ours, numbers_as_here(theirs), "{text}");
                }
                Err(why) => {
                    let text_only = why.to_string().contains("surrogate") || why.to_string().contains("out of range");
                    assert!(ours.is_err() || text_only, "{text}: {why}");
                }
            }
        }
        assert!(valid > 5_000, "only {valid} texts were JSON");
    }

    /// Of serde_json's numbers the small ones, which the mutations make, are the same here but for their form.
    fn numbers_as_here(value: &serde_json::Value) -> serde_json::Value {
        let text = serde_json::to_string(value).unwrap();
        serde_json::from_str(&parsed(&text).unwrap()).unwrap()
    }
}
