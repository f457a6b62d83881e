//! Finds a text inside messages that is JSON itself: `{"data":"{\"price\":1}"}`.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::Value;

use super::batch::Batch;
use super::field::{Field, Origin};
use super::{About, Certainty, Finding, in_of};

/// The depth of the texts that are checked.
const MAX_DEPTH: usize = 3;
/// The most different texts that are checked.
const MAX_TEXTS: usize = 50;

/// The texts that are JSON.
#[derive(Debug, Default)]
pub(super) struct Texts {
    texts: HashMap<Field, Seen>,
}

/// The counts of one field.
#[derive(Debug, Default)]
struct Seen {
    /// The names of its pointer.
    path: Vec<String>,
    is_in_controls: bool,
    /// How many messages with data have it,
    messages: usize,
    /// how many of them as an object,
    objects: usize,
    /// and beside another object, array or JSON. Then the text is only a part of the record.
    beside_others: usize,
    /// Hashes of the texts. A text that comes again and again only says what the message is about.
    distinct: HashSet<u64>,
    /// A field of the first object.
    example: Option<Field>,
}

impl Texts {
    pub(super) fn message(&mut self, value: &Value, is_control: bool) {
        self.members(&Field::root(Origin::Record), &mut Vec::new(), value, is_control, false);
    }

    /// `has_others`: the object stands beside something else with parts.
    fn members(&mut self, parent: &Field, path: &mut Vec<String>, value: &Value, is_control: bool, has_others: bool) {
        let Value::Object(members) = value else { return };
        let is_part =
            |value: &&Value| value.is_object() || value.is_array() || value.as_str().is_some_and(begins_as_json);
        let has_others = has_others || members.values().filter(is_part).count() > 1;
        for (name, value) in members {
            let Some(field) = parent.member(name) else { continue };
            path.push(name.clone());
            match value {
                Value::String(text) => {
                    if let Some(inner) = parse(text) {
                        self.text(field, path, text, &inner, is_control, has_others);
                    }
                }
                Value::Object(_) if field.depth < MAX_DEPTH => {
                    self.members(&field, path, value, is_control, has_others);
                }
                _ => {}
            }
            path.pop();
        }
    }

    fn text(&mut self, field: Field, path: &[String], text: &str, inner: &Value, is_control: bool, has_others: bool) {
        if self.texts.len() == MAX_TEXTS && !self.texts.contains_key(&field) {
            return;
        }
        let seen = self.texts.entry(field).or_insert_with(|| Seen { path: path.to_vec(), ..Seen::default() });
        seen.is_in_controls |= is_control;
        if is_control {
            return;
        }
        seen.messages += 1;
        seen.objects += usize::from(inner.is_object());
        seen.beside_others += usize::from(has_others);
        seen.distinct.insert(hash(text));
        if seen.example.is_none() {
            let names = inner.as_object().into_iter().flat_map(|members| members.keys());
            let fields = names.filter_map(|name| Field::root(Origin::Record).member(name));
            seen.example = fields.into_iter().find(|field| !field.to_string().contains('\''));
        }
    }

    /// Returns the text that is the record: an object in most messages with data, hardly ever the same, and nothing
    /// else in the message has parts.
    pub(super) fn find(&self, data: usize) -> Option<Batch> {
        let is_record = |seen: &Seen| {
            let is_alone = seen.objects == seen.messages && seen.beside_others == 0;
            is_alone && seen.messages * 2 > data && seen.distinct.len() * 2 > seen.messages
        };
        let (field, seen) = self.most(is_record)?;
        Some(Batch {
            field: field.clone(),
            path: seen.path.clone(),
            messages: seen.messages,
            is_in_controls: seen.is_in_controls,
            is_text: true,
        })
    }

    /// Returns the finding about the text that is the record.
    pub(super) fn finding(&self, text: &Batch, data: usize) -> Option<Finding> {
        let Batch { field, messages, .. } = text;
        let says = format!(
            "{field} is a text that is JSON itself {}: it becomes the record, without what is beside it. To keep the whole \
             message, leave this option out, and read a field with {}.",
            in_of(*messages, data, "messages with data"),
            self.texts.get(field)?.inside(field),
        );
        let certainty = if *messages == data { Certainty::Certain } else { Certainty::Likely };
        Some(text.suggestion(certainty, says, data))
    }

    /// Returns a text of many messages that is JSON, if it is not clear whether it is the record.
    pub(super) fn doubt(&self, data: usize) -> Option<Finding> {
        let (field, seen) = self.most(|seen| seen.messages * 10 >= data)?;
        let says = format!(
            "{field} is a text that is JSON itself {}. A field in it is read with {}. If it is the record, set \
             websocket.record.pointer={field}.",
            in_of(seen.messages, data, "messages with data"),
            seen.inside(field),
        );
        Some(Finding::new(About::Record, Certainty::Possible, says))
    }

    fn most(&self, fits: impl Fn(&Seen) -> bool) -> Option<(&Field, &Seen)> {
        let fitting = self.texts.iter().filter(|(_, seen)| fits(seen));
        fitting.max_by_key(|(field, seen)| (seen.messages, std::cmp::Reverse((field.depth, field.to_string()))))
    }
}

impl Seen {
    /// Returns how a field in the text is read.
    fn inside(&self, field: &Field) -> String {
        let inner = self.example.as_ref().map_or_else(|| "/0".to_owned(), Field::to_string);
        format!("json({field}, '{inner}')")
    }
}

/// Returns the JSON of a text, if it is an object or an array.
pub(super) fn parse(text: &str) -> Option<Value> {
    begins_as_json(text).then(|| serde_json::from_str(text).ok())?
}

fn begins_as_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(message: impl Fn(u64) -> Value) -> Texts {
        let mut texts = Texts::default();
        (0..20).for_each(|n| texts.message(&message(n), false));
        texts
    }

    fn lines(message: impl Fn(u64) -> Value, data: usize) -> Vec<String> {
        let texts = texts(message);
        let finding = texts.find(data).and_then(|text| texts.finding(&text, data));
        let lines = finding.into_iter().flat_map(|finding| finding.lines);
        lines.map(|line| format!("{}={}", line.key, line.value)).collect()
    }

    #[test]
    fn a_text_that_is_an_object_in_each_message_is_the_record() {
        let trade = |n: u64| json!({"channel": "trades", "data": format!(r#"{{"price":{n}}}"#)});
        assert_eq!(lines(trade, 20), ["websocket.record.pointer=/data"]);
        let missing = "websocket.record.pointer.missing=whole";
        assert_eq!(lines(trade, 25), ["websocket.record.pointer=/data", missing]);
        let deep = |n: u64| json!({"a": {"b": format!(" {{\"price\":{n}}}")}});
        assert_eq!(lines(deep, 20), ["websocket.record.pointer=/a/b"]);
        let beside = |n: u64| json!({"a": {"b": format!("{{\"price\":{n}}}")}, "meta": {"n": n}});
        assert!(lines(beside, 20).is_empty());
        let two = |n: u64| json!({"a": format!("{{\"n\":{n}}}"), "b": format!("{{\"n\":{n}}}")});
        assert!(lines(two, 20).is_empty());
    }

    #[test]
    fn what_may_be_a_part_of_the_record_is_told_and_not_suggested() {
        let channel = |n: u64| json!({"identifier": r#"{"channel":"Chat"}"#, "message": {"n": n}});
        let list = |n: u64| json!({"list": format!("[{n}]"), "n": n});
        for (message, how) in
            [(&channel as &dyn Fn(u64) -> Value, "json(/identifier, '/channel')"), (&list, "json(/list, '/0')")]
        {
            let texts = texts(message);
            assert_eq!(texts.find(20), None);
            let doubt = texts.doubt(20).unwrap();
            assert!(doubt.lines.is_empty() && doubt.says.contains(how), "{}", doubt.says);
        }
        let plain = texts(|n| json!({"a": "{x}", "b": "[1", "c": format!("{n}"), "d": "null"}));
        assert_eq!(plain.doubt(20), None);
        let some = texts(|n| json!({"data": if n % 3 == 0 { format!(r#"{{"n":{n}}}"#) } else { "x".to_owned() }}));
        assert!(some.find(20).is_none() && some.doubt(20).is_some());
    }
}
