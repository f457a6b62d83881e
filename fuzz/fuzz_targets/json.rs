//! JSON Pointers over raw bytes: what is valid, and what each pointer names, is the same for the scanner and for serde_json.

#![no_main]

use connect_websocket_engine::dialogue::expression::pointer;
use connect_websocket_engine::json::{Found, Pointers, Scanned};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: (Vec<String>, Vec<String>)| {
    let (pointers, messages) = input;
    let mut all = Pointers::default();
    let good = pointers.iter().filter_map(|text| Some((tokens(text)?, all.add(pointer(text).ok()?))));
    let good: Vec<_> = good.collect();
    let Ok(scanner) = all.build() else { return };
    let mut found = Found::default();
    for message in &messages {
        let valid = scanner.scan(message, &mut found);
        let whole = read(message);
        let Some(value) = whole else { continue };
        assert_eq!(valid, value.is_some(), "{message}");
        let scanned = Scanned::new(message, &found);
        for (tokens, id) in &good {
            let ours =
                scanned.all(*id).map(|raw| serde_json::from_str::<Value>(raw.text()).expect("a value").to_string());
            let mut ours: Vec<String> = ours.collect();
            let mut theirs = Vec::new();
            value.iter().for_each(|value| walk(value, tokens, &mut theirs));
            // Of a key that comes twice serde_json keeps the first place.
            ours.sort_unstable();
            theirs.sort_unstable();
            assert_eq!(ours, theirs, "{tokens:?} {message}");
        }
    }
});

/// The tokens of a pointer without quotes; the others are only parsed.
fn tokens(pointer: &str) -> Option<Vec<String>> {
    let unescape = |token: &str| token.replace("~1", "/").replace("~0", "~");
    (!pointer.contains('\'')).then(|| pointer.split('/').skip(1).map(unescape).collect())
}

/// serde_json's reading of a message; the outer `None` where it has rules of its own: its depth, and half a surrogate pair.
fn read(message: &str) -> Option<Option<Value>> {
    let digit = message.starts_with(|char: char| char.is_ascii_digit());
    let start = if digit { message.find(['[', '{']).unwrap_or(0) } else { 0 };
    match serde_json::from_str(&message[start..]) {
        Ok(value) => Some(Some(value)),
        Err(error) => {
            let why = error.to_string();
            let own = ["recursion limit", "surrogate", "hex escape"];
            (!own.iter().any(|rule| why.contains(rule))).then_some(None)
        }
    }
}

fn walk(value: &Value, tokens: &[String], out: &mut Vec<String>) {
    let Some((token, rest)) = tokens.split_first() else { return out.push(value.to_string()) };
    match (value, token.as_str()) {
        (Value::Object(members), "*") => members.values().for_each(|value| walk(value, rest, out)),
        (Value::Array(elements), "*") => elements.iter().for_each(|value| walk(value, rest, out)),
        (Value::Array(elements), "-1") => elements.last().into_iter().for_each(|value| walk(value, rest, out)),
        (Value::Object(members), name) => members.get(name).into_iter().for_each(|value| walk(value, rest, out)),
        (Value::Array(elements), name) => {
            let index = name.parse::<usize>().ok().filter(|index| index.to_string() == name);
            index.and_then(|index| elements.get(index)).into_iter().for_each(|value| walk(value, rest, out));
        }
        _ => {}
    }
}
