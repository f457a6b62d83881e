//! JSON as Jackson writes it into bytes: no blanks, upper-case hexadecimal digits, and characters outside the Basic
//! Multilingual Plane as two `\u` escapes (`JsonWriteFeature.COMBINE_UNICODE_SURROGATES_IN_UTF8` is off by default).

use serde_json::{Map, Value};

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::String(text) => write_json_string(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_value(out, item);
            }
            out.push(b']');
        }
        Value::Object(fields) => write_object(out, fields),
    }
}

/// Appends a JSON object in the order of its fields.
pub(crate) fn write_object(out: &mut Vec<u8>, fields: &Map<String, Value>) {
    out.push(b'{');
    for (at, (name, field)) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_json_string(out, name);
        out.push(b':');
        write_value(out, field);
    }
    out.push(b'}');
}

/// Appends a JSON string with its quotes.
pub(crate) fn write_json_string(out: &mut Vec<u8>, text: &str) {
    write_text(out, text.as_bytes());
}

/// After a byte that needs an escape, this many bytes are handled one by one, because escapes often come together.
const CLUSTER: usize = 32;

/// Appends a JSON string with its quotes. `text` is UTF-8.
pub(super) fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + text.len() / 4 + 2);
    out.push(b'"');
    let mut rest = text;
    loop {
        let plain = plain_prefix(rest);
        out.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        if rest.is_empty() {
            break;
        }
        let mut cluster = [0; 2 * CLUSTER];
        let mut filled = 0;
        let mut used = 0;
        for &byte in rest.iter().take(CLUSTER) {
            match ESCAPES[usize::from(byte)] {
                NO_ESCAPE => {
                    cluster[filled] = byte;
                    filled += 1;
                }
                LONG_ESCAPE => break,
                short => {
                    cluster[filled] = b'\\';
                    cluster[filled + 1] = short;
                    filled += 2;
                }
            }
            used += 1;
        }
        out.extend_from_slice(&cluster[..filled]);
        rest = &rest[used..];
        if let Some(&byte) = rest.first().filter(|byte| ESCAPES[usize::from(**byte)] == LONG_ESCAPE) {
            rest = &rest[write_long_escape(out, byte, rest)..];
        }
    }
    out.push(b'"');
}

const NO_ESCAPE: u8 = 0;
/// One or two `\u` escapes. Any other entry of the table is the letter after the backslash.
const LONG_ESCAPE: u8 = 1;

const ESCAPES: [u8; 256] = {
    let mut table = [NO_ESCAPE; 256];
    let mut byte = 0;
    while byte < table.len() {
        if byte < 0x20 || byte >= 0xf0 {
            table[byte] = LONG_ESCAPE;
        }
        byte += 1;
    }
    table[0x08] = b'b';
    table[b'\t' as usize] = b't';
    table[b'\n' as usize] = b'n';
    table[0x0c] = b'f';
    table[b'\r' as usize] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

/// Returns the length of the beginning of `text` that needs no escape. It checks eight bytes at a time. In `hits`,
/// bytes that need an escape have their highest bit set. Only the lowest of them is exact.
fn plain_prefix(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let zero_bytes = |x: u64| x.wrapping_sub(ONES) & !x;
    let (words, tail) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let x = u64::from_le_bytes(*word);
        let control = x.wrapping_sub(ONES * 0x20) & !x;
        let quote = zero_bytes(x ^ (ONES * u64::from(b'"')));
        let backslash = zero_bytes(x ^ (ONES * u64::from(b'\\')));
        let four_byte_lead = x & x << 1 & x << 2 & x << 3;
        let hits = (control | quote | backslash | four_byte_lead) & HIGH;
        if hits != 0 {
            return at * 8 + hits.trailing_zeros() as usize / 8;
        }
    }
    let needs_escape = |byte: &u8| ESCAPES[usize::from(*byte)] != NO_ESCAPE;
    text.len() - tail.len() + tail.iter().position(needs_escape).unwrap_or(tail.len())
}

/// Writes the `\u` escapes of the character that begins with `byte`, the first of `rest`. Returns the character's
/// length.
fn write_long_escape(out: &mut Vec<u8>, byte: u8, rest: &[u8]) -> usize {
    if byte < 0x20 {
        write_unit(out, u16::from(byte));
        return 1;
    }
    let character = rest.get(..4).and_then(|bytes| std::str::from_utf8(bytes).ok()?.chars().next());
    match character {
        Some(character) => {
            character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| write_unit(out, *unit));
            4
        }
        // Not UTF-8, which the caller must not give: kept as it is.
        None => {
            out.push(byte);
            1
        }
    }
}

fn write_unit(out: &mut Vec<u8>, unit: u16) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |shift: u16| DIGITS[usize::from(unit >> shift & 0xf)];
    out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        write_json_string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    /// What Jackson 2.21 writes for the same text.
    #[test]
    fn escapes_as_jackson_does() {
        let text: String =
            (0..0x20u8).map(char::from).chain("\"\\/\u{7f}\u{80}é\u{2028}€\u{ffff}😀z".chars()).collect();
        assert_eq!(
            written(&text),
            "\"\\u0000\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007\\b\\t\\n\\u000B\\f\\r\\u000E\\u000F\
             \\u0010\\u0011\\u0012\\u0013\\u0014\\u0015\\u0016\\u0017\\u0018\\u0019\\u001A\\u001B\\u001C\\u001D\\u001E\\u001F\
             \\\"\\\\/\u{7f}\u{80}é\u{2028}€\u{ffff}\\uD83D\\uDE00z\""
        );
    }

    #[test]
    fn finds_every_special_byte_at_every_position() {
        for special in (0..0x20u8).chain([b'"', b'\\']) {
            for before in 0..40 {
                for after in [0, 1, 7, 9] {
                    let plain = |count| "~\u{7f} !#[]\u{c3}".chars().cycle().take(count).collect::<String>();
                    let text = format!("{}{}{}", plain(before), char::from(special), plain(after));
                    let mut expected = serde_json::to_string(&text).unwrap();
                    if let Some(at) = expected.find("\\u00") {
                        let upper = expected[at + 2..at + 6].to_uppercase();
                        expected.replace_range(at + 2..at + 6, &upper);
                    }
                    assert_eq!(written(&text), expected);
                }
            }
        }
    }

    #[test]
    fn pairs_become_two_escapes_at_every_position() {
        for before in 0..40 {
            let plain = "\u{ffff}".repeat(before);
            assert_eq!(written(&format!("{plain}\u{10ffff}x")), format!("\"{plain}\\uDBFF\\uDFFFx\""));
        }
    }

    #[test]
    fn broken_utf_8_does_not_panic() {
        let mut out = Vec::new();
        write_text(&mut out, &[0xf0, 0x9f, b'"', 0xff]);
        assert_eq!(out, [b'"', 0xf0, 0x9f, b'\\', b'"', 0xff, b'"']);
    }

    #[test]
    fn writes_values_compactly_and_keeps_the_text_of_numbers() {
        let text = r#"{"b":1.50,"a":[true,null,9007199254740993,"x\u001f"],"c":{}}"#;
        let mut out = Vec::new();
        write_value(&mut out, &serde_json::from_str(text).unwrap());
        assert_eq!(String::from_utf8(out).unwrap(), text.replace("\\u001f", "\\u001F"));
    }
}
