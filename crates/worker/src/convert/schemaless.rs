//! Schemaless Connect data (the engine's `record/value.rs`) as JsonConverter and StringConverter write it.

use std::io::Write as _;

use connect_websocket_engine::record::value::{Token, Tokens, write_double};

use super::json;

/// The form of a value's text.
struct Style {
    comma: &'static str,
    colon: &'static str,
    text: fn(&mut Vec<u8>, &str),
}

/// Appends a value as JSON.
pub(super) fn write_json(out: &mut Vec<u8>, value: &[u8]) {
    write(&mut Tokens::new(value), out, &Style { comma: ",", colon: ":", text: json::write_json_string });
}

/// Appends a value as Java's `toString` writes it: `{a=1, b=[x, null]}`.
pub(super) fn write_java_text(out: &mut Vec<u8>, value: &[u8]) {
    let text = |out: &mut Vec<u8>, text: &str| out.extend_from_slice(text.as_bytes());
    write(&mut Tokens::new(value), out, &Style { comma: ", ", colon: "=", text });
}

/// Appends a value. The engine limits its depth.
fn write(tokens: &mut Tokens<'_>, out: &mut Vec<u8>, style: &Style) {
    match tokens.next() {
        // The engine makes no broken value. The rest of one would be missing.
        None => {}
        Some(Token::Null) => out.extend_from_slice(b"null"),
        Some(Token::Boolean(boolean)) => out.extend_from_slice(if boolean { b"true" } else { b"false" }),
        Some(Token::Long(long)) => _ = write!(out, "{long}"),
        Some(Token::Double(double)) => write_double(double, out),
        Some(Token::Text(text)) => (style.text)(out, text),
        Some(Token::List(count)) => {
            out.push(b'[');
            for at in 0..count {
                separate(out, at, style);
                write(tokens, out, style);
            }
            out.push(b']');
        }
        Some(Token::Map(count)) => {
            out.push(b'{');
            for at in 0..count {
                separate(out, at, style);
                (style.text)(out, tokens.key().unwrap_or_default());
                out.extend_from_slice(style.colon.as_bytes());
                write(tokens, out, style);
            }
            out.push(b'}');
        }
    }
}

fn separate(out: &mut Vec<u8>, at: u32, style: &Style) {
    if at > 0 {
        out.extend_from_slice(style.comma.as_bytes());
    }
}
