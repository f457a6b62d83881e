//! Finds whether a message contains several. In many feeds an array is one message, so its elements must be alike.

use std::borrow::Cow;

use connect_websocket_engine::intake::split::{Split, Splitter};
use serde_json::Value;

use super::{About, Certainty, Finding, count, in_of};

/// The byte at the end of SignalR's messages.
const RECORD_SEPARATOR: char = '\u{1e}';

/// Returns how messages are split, and the finding.
pub(super) fn find(texts: &[Option<Cow<'_, str>>]) -> (Option<Split>, Option<Finding>) {
    let texts: Vec<&str> = texts.iter().flatten().map(AsRef::as_ref).collect();
    let separated = separated(&texts).or_else(|| lines(&texts));
    if let Some((split, finding)) = separated {
        return (Some(split), Some(finding));
    }
    arrays(&texts)
}

fn separated(texts: &[&str]) -> Option<(Split, Finding)> {
    let ended = texts.iter().filter(|text| text.ends_with(RECORD_SEPARATOR)).count();
    if ended == 0 || ended < texts.len() {
        return None;
    }
    let says = format!(
        "Each message ends with the byte 1e, which separates messages, {}.",
        in_of(ended, texts.len(), "messages")
    );
    let finding = Finding::new(About::Split, Certainty::Certain, says).line("websocket.frame.split", "byte:1e");
    Some((Split::Byte(0x1E), finding))
}

/// Whether a message has several lines, each of them JSON. A single value over several lines is not such a message.
fn lines(texts: &[&str]) -> Option<(Split, Finding)> {
    let with_lines = texts.iter().filter(|text| text.trim_end().contains('\n'));
    let with_lines: Vec<&&str> = with_lines.collect();
    let each_is_json = |text: &&&&str| {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        lines.all(|line| parse(line).is_some_and(|value| value.is_object() || value.is_array()))
    };
    let split = with_lines.iter().filter(each_is_json).count();
    if split == 0 || split < with_lines.len() {
        return None;
    }
    let says = format!("Messages hold several lines, each of them JSON, {}.", in_of(split, texts.len(), "messages"));
    let finding = Finding::new(About::Split, Certainty::Certain, says).line("websocket.frame.split", "lines");
    Some((Split::Lines, finding))
}

/// The content of messages that are arrays.
#[derive(Default)]
struct Arrays {
    messages: usize,
    /// Not empty, and each element is an object.
    of_objects: usize,
    with_several: usize,
    elements: usize,
}

fn arrays(texts: &[&str]) -> (Option<Split>, Option<Finding>) {
    let mut arrays = Arrays::default();
    let mut not_empty = 0;
    for text in texts.iter().filter(|text| text.trim_start().starts_with('[')) {
        let Some(Value::Array(elements)) = parse(text) else { continue };
        arrays.messages += 1;
        not_empty += usize::from(!elements.is_empty());
        if !elements.is_empty() && elements.iter().all(Value::is_object) {
            arrays.of_objects += 1;
            arrays.with_several += usize::from(elements.len() > 1);
            arrays.elements += elements.len();
        }
    }
    if not_empty == 0 {
        return (None, None);
    }
    if arrays.of_objects < not_empty {
        let says = format!(
            "A message that is an array is one message, not several: its elements are not all objects {}.",
            in_of(not_empty - arrays.of_objects, arrays.messages, "arrays")
        );
        return (None, Some(Finding::new(About::Split, Certainty::Certain, says)));
    }
    let says = format!(
        "Messages are arrays of objects {}; {} arrays hold more than one, {} objects in all.",
        in_of(arrays.messages, texts.len(), "messages"),
        count(arrays.with_several),
        count(arrays.elements),
    );
    let certainty = if arrays.with_several > 0 { Certainty::Certain } else { Certainty::Likely };
    let finding = Finding::new(About::Split, certainty, says).line("websocket.frame.split", "json.array");
    (Some(Split::JsonArray), Some(finding))
}

/// Returns the JSON of a message. If it begins with a digit, it is read from its first `[` or `{`, as with
/// `websocket.frame.split`.
pub(super) fn parse(text: &str) -> Option<Value> {
    let at = match text.bytes().next() {
        Some(b'0'..=b'9') => text.find(['[', '{']).unwrap_or(0),
        _ => 0,
    };
    serde_json::from_str(&text[at..]).ok()
}

/// Returns the parts of a message.
pub(super) fn parts<'t>(splitter: Option<&mut Splitter>, text: &'t str) -> Vec<&'t str> {
    match splitter {
        None => vec![text],
        Some(splitter) => {
            let parts = splitter.split(text.as_bytes(), Some(text));
            parts.iter().filter_map(|part| text.get(part.clone())).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(texts: &[&str]) -> Option<Split> {
        let texts: Vec<Option<Cow<'_, str>>> = texts.iter().map(|text| Some(Cow::Borrowed(*text))).collect();
        find(&texts).0
    }

    #[test]
    fn arrays_of_objects_are_split_and_others_are_one_message() {
        assert_eq!(split(&[r#"[{"T":"t"},{"T":"q"}]"#, r#"[{"T":"t"}]"#, "[]"]), Some(Split::JsonArray));
        assert_eq!(split(&[r#"[1,{"a":1},"book","XBT/USD"]"#]), None);
        assert_eq!(split(&[r#"[{"T":"t"}]"#, r#"["EVENT",{}]"#]), None);
        assert_eq!(split(&[r#"{"a":[{"b":1},{"b":2}]}"#, "[]"]), None);
    }

    #[test]
    fn lines_are_split_if_each_is_json() {
        assert_eq!(split(&["{\"a\":1}\n{\"a\":2}\n", "{\"a\":1}"]), Some(Split::Lines));
        assert_eq!(split(&["{\n  \"a\": 1\n}"]), None, "one value over several lines");
        assert_eq!(split(&["MESSAGE\nid:1\n\nbody\0"]), None);
    }

    #[test]
    fn a_byte_that_ends_each_message_separates_them() {
        assert_eq!(split(&["{}\u{1e}", "{\"type\":6}\u{1e}{\"type\":1}\u{1e}"]), Some(Split::Byte(0x1E)));
        assert_eq!(split(&["{}\u{1e}", "{}"]), None);
    }
}
