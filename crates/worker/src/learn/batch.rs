//! Finds an array of events inside messages.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

use super::field::{Field, Origin};
use super::table::Datum;
use super::{About, Certainty, Finding, count, in_of, key, texts, time};

/// The depth of the arrays that are checked. Deeper ones are parts of a record.
const MAX_DEPTH: usize = 3;
/// The most different arrays that are checked.
const MAX_ARRAYS: usize = 50;

/// The arrays of objects in messages.
#[derive(Debug, Default)]
pub(super) struct Batches {
    arrays: HashMap<Field, Seen>,
}

/// The counts of one array.
#[derive(Debug, Default)]
struct Seen {
    /// The names of its pointer.
    path: Vec<String>,
    is_in_controls: bool,
    /// How many messages with data have it.
    messages: usize,
    elements: usize,
    with_several: usize,
    /// How many elements have the time of an event,
    timed: usize,
    /// or say what it is about.
    with_subject: usize,
}

/// Where the records are: in an array, or in a text that is JSON itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) field: Field,
    pub(super) path: Vec<String>,
    pub(super) is_text: bool,
    /// How many messages with data have it.
    pub(super) messages: usize,
    /// Whether an acknowledgement or heartbeat has it too.
    pub(super) is_in_controls: bool,
}

impl Batch {
    /// Returns a finding with the options that make it the records.
    pub(super) fn suggestion(&self, certainty: Certainty, says: String, data: usize) -> Finding {
        let pointer = if self.is_text { self.field.to_string() } else { self.field.each() };
        let finding = Finding::new(About::Record, certainty, says).line("websocket.record.pointer", pointer);
        if self.messages < data { finding.line("websocket.record.pointer.missing", "whole") } else { finding }
    }

    /// Returns the records of a message, or `None` if it has no such array or text.
    pub(super) fn records<'m>(&self, message: &'m Value) -> Option<Cow<'m, [Value]>> {
        let place = self.path.iter().try_fold(message, |value, name| value.get(name.as_str()))?;
        if self.is_text {
            return Some(Cow::Owned(vec![texts::parse(place.as_str()?)?]));
        }
        place.as_array().map(|records| Cow::Borrowed(&records[..])).filter(|records| !records.is_empty())
    }
}

impl Batches {
    pub(super) fn message(&mut self, value: &Value, is_control: bool) {
        self.members(&Field::root(Origin::Record), &mut Vec::new(), value, is_control);
    }

    fn members(&mut self, parent: &Field, path: &mut Vec<String>, value: &Value, is_control: bool) {
        let Value::Object(members) = value else { return };
        for (name, value) in members {
            let Some(field) = parent.member(name) else { continue };
            path.push(name.clone());
            match value {
                Value::Array(elements) if !elements.is_empty() && elements.iter().all(Value::is_object) => {
                    self.array(field, path, elements, is_control);
                }
                Value::Object(_) if field.depth < MAX_DEPTH => self.members(&field, path, value, is_control),
                _ => {}
            }
            path.pop();
        }
    }

    fn array(&mut self, field: Field, path: &[String], elements: &[Value], is_control: bool) {
        if self.arrays.len() == MAX_ARRAYS && !self.arrays.contains_key(&field) {
            return;
        }
        let seen = self.arrays.entry(field).or_insert_with(|| Seen { path: path.to_vec(), ..Seen::default() });
        seen.is_in_controls |= is_control;
        if is_control {
            return;
        }
        seen.messages += 1;
        seen.elements += elements.len();
        seen.with_several += usize::from(elements.len() > 1);
        seen.timed += elements.iter().filter(|element| has(element, |_, datum| time::read(datum).is_some())).count();
        seen.with_subject += elements.iter().filter(|element| has(element, key::is_subject)).count();
    }

    /// Returns the array whose elements are events: each has a time, or says what it is about.
    pub(super) fn find(&self) -> Option<Batch> {
        let is_of_events = |seen: &Seen| seen.elements > 0 && seen.timed.max(seen.with_subject) == seen.elements;
        let of_events = self.arrays.iter().filter(|(_, seen)| is_of_events(seen));
        let most = of_events.max_by_key(|(field, seen)| {
            (seen.messages, seen.timed, std::cmp::Reverse((field.depth, field.to_string())))
        });
        most.map(|(array, seen)| Batch {
            field: array.clone(),
            path: seen.path.clone(),
            messages: seen.messages,
            is_in_controls: seen.is_in_controls,
            is_text: false,
        })
    }

    /// Returns the finding about the array.
    pub(super) fn finding(&self, batch: &Batch, data: usize) -> Option<Finding> {
        let seen = self.arrays.get(&batch.field)?;
        let several = match seen.with_several {
            0 => "each had one element, and may have several".to_owned(),
            several => format!("{} of them with several elements", count(several)),
        };
        let own = if seen.timed == seen.elements { "a time" } else { "a subject" };
        let says = format!(
            "{} is an array of events, each with {own} of its own, {}: {several}.",
            batch.field,
            in_of(seen.messages, data, "messages with data"),
        );
        let is_sure = seen.with_several > 0 && seen.timed == seen.elements;
        let certainty = if is_sure { Certainty::Certain } else { Certainty::Likely };
        Some(batch.suggestion(certainty, says, data))
    }

    /// Returns an array of objects in nearly all messages, if it is not clear whether they are events.
    pub(super) fn doubt(&self, data: usize) -> Option<Finding> {
        let mut in_most = self.arrays.iter().filter(|(_, seen)| seen.elements > 0 && seen.messages * 10 >= data * 9);
        let (field, seen) = in_most.next().filter(|_| in_most.next().is_none())?;
        let says = format!(
            "{field} is an array of objects {}, {} in all, which may be parts of one record. \
             If each is a record of its own, set websocket.record.pointer={}.",
            in_of(seen.messages, data, "messages with data"),
            count(seen.elements),
            field.each(),
        );
        Some(Finding::new(About::Record, Certainty::Possible, says))
    }
}

fn has(element: &Value, what: impl Fn(&str, &Datum) -> bool) -> bool {
    let Value::Object(members) = element else { return false };
    members.iter().any(|(name, value)| what(name, &Datum::of(value)))
}
