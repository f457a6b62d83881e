//! Finds the simplest condition that distinguishes some rows of a table from others.

use std::collections::BTreeSet;
use std::fmt;

use super::field::{Field, Origin, literal};
use super::table::{Column, Table};

/// Names of fields that contain the type of a message.
pub(super) const KIND_NAMES: [&str; 18] = [
    "type",
    "event",
    "e",
    "ev",
    "op",
    "action",
    "method",
    "channel",
    "T",
    "kind",
    "subject",
    "cmd",
    "command",
    "messageType",
    "message_type",
    "event_type",
    "eventType",
    "MessageType",
];
/// The most values in a condition.
const MAX_VALUES: usize = 6;

/// Returns a word in lower case and without punctuation.
pub(super) fn bare(word: &str) -> impl Iterator<Item = char> {
    word.chars().filter(|char| char.is_alphanumeric()).flat_map(char::to_lowercase)
}

/// Whether a field has the name of a type.
pub(super) fn names_kind(field: &Field) -> bool {
    KIND_NAMES.contains(&field.name.as_str())
}

/// What a condition must be for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// It must hold,
    Wanted,
    /// it must not hold,
    Unwanted,
    /// or it does not matter.
    Either,
}

/// The test of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    field: Field,
    is_not: bool,
    /// The text after the field: `exists`, `== 'trade'`.
    test: String,
}

impl Condition {
    pub(super) fn exists(field: &Field) -> Condition {
        Condition { field: field.clone(), is_not: false, test: "exists".to_owned() }
    }

    fn is_missing(field: &Field) -> Condition {
        Condition { is_not: true, ..Condition::exists(field) }
    }

    /// Returns the same test for the message that contains the record.
    pub(super) fn of_envelope(&self) -> Condition {
        Condition { field: self.field.of_envelope(), ..self.clone() }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Condition { field, test, .. } = self;
        if self.is_not { write!(f, "!({field} {test})") } else { write!(f, "{field} {test}") }
    }
}

/// Returns a condition that holds for all wanted rows and for no unwanted one. The name of a kind is best, then a field
/// that only some have.
pub(super) fn telling_apart(table: &Table, sides: &[Side]) -> Option<Condition> {
    let of = |wanted: Side| sides.iter().filter(|side| **side == wanted).count();
    let (wanted, unwanted) = (of(Side::Wanted), of(Side::Unwanted));
    let columns: Vec<Counted<'_>> = table.columns.iter().map(|column| Counted::of(column, sides)).collect();
    let simplest = |test: &dyn Fn(&Counted<'_>) -> Option<Condition>| {
        let best = columns.iter().filter_map(test);
        best.min_by_key(|condition| (condition.field.depth, !names_kind(&condition.field)))
    };
    simplest(&|counted| counted.equals(wanted))
        .or_else(|| simplest(&|counted| counted.is_in_all(wanted).then(|| Condition::exists(counted.field))))
        .or_else(|| simplest(&|counted| counted.is_in_none(unwanted).then(|| Condition::is_missing(counted.field))))
        .or_else(|| simplest(&|counted| counted.is_among(wanted)))
        .or_else(|| simplest(&|counted| counted.is_not_among(unwanted)))
}

/// In how many rows of each side a field exists, and with which texts.
struct Counted<'t> {
    field: &'t Field,
    wanted: usize,
    unwanted: usize,
    texts: BTreeSet<&'t str>,
    other_texts: BTreeSet<&'t str>,
    /// Whether all values of that side are texts.
    is_text: bool,
    is_other_text: bool,
}

impl<'t> Counted<'t> {
    fn of(column: &'t Column, sides: &[Side]) -> Counted<'t> {
        let mut counted = Counted {
            field: &column.field,
            wanted: 0,
            unwanted: 0,
            texts: BTreeSet::new(),
            other_texts: BTreeSet::new(),
            is_text: true,
            is_other_text: true,
        };
        for (row, datum) in &column.values {
            let (count, texts, is_text) = match sides[*row] {
                Side::Wanted => (&mut counted.wanted, &mut counted.texts, &mut counted.is_text),
                Side::Unwanted => (&mut counted.unwanted, &mut counted.other_texts, &mut counted.is_other_text),
                Side::Either => continue,
            };
            *count += 1;
            *is_text &= datum.text().is_some();
            if texts.len() <= MAX_VALUES {
                texts.extend(datum.text());
            }
        }
        counted
    }

    fn is_in_all(&self, wanted: usize) -> bool {
        self.wanted == wanted && self.unwanted == 0 && self.is_of_object()
    }

    fn is_in_none(&self, unwanted: usize) -> bool {
        self.wanted == 0 && self.unwanted == unwanted && self.is_of_object()
    }

    /// Whether `exists` can be used. It is not used for positions of an array.
    fn is_of_object(&self) -> bool {
        self.field.place.is_none() && self.field.depth > 0
    }

    /// Whether no text is on both sides. False if not all texts are known.
    fn is_apart(&self) -> bool {
        let few = self.texts.len() <= MAX_VALUES && self.other_texts.len() <= MAX_VALUES;
        few && self.texts.is_disjoint(&self.other_texts)
    }

    fn equals(&self, wanted: usize) -> Option<Condition> {
        let fits = self.wanted == wanted && self.is_text && self.is_apart() && names_kind(self.field);
        let text = self.texts.first().filter(|_| fits && self.texts.len() == 1)?;
        Some(self.condition(false, format!("== {}", literal(text)?)))
    }

    fn is_among(&self, wanted: usize) -> Option<Condition> {
        let fits = self.wanted == wanted && self.is_text && self.is_apart() && names_kind(self.field);
        let list = list(&self.texts).filter(|_| fits)?;
        Some(self.condition(false, format!("in {list}")))
    }

    fn is_not_among(&self, unwanted: usize) -> Option<Condition> {
        let is_element = self.field.place.is_some() && self.field.depth == 1;
        let is_named = names_kind(self.field) || is_element || self.field.origin == Origin::Text;
        let fits = self.unwanted == unwanted && self.is_other_text && self.is_apart() && is_named;
        let text = self.other_texts.first().filter(|_| fits)?;
        Some(match self.other_texts.len() {
            1 => self.condition(false, format!("!= {}", literal(text)?)),
            _ => self.condition(true, format!("in {}", list(&self.other_texts)?)),
        })
    }

    fn condition(&self, is_not: bool, test: String) -> Condition {
        Condition { field: self.field.clone(), is_not, test }
    }
}

fn list(texts: &BTreeSet<&str>) -> Option<String> {
    let literals: Option<Vec<String>> = texts.iter().map(|text| literal(text)).collect();
    literals.filter(|literals| !literals.is_empty()).map(|literals| format!("[{}]", literals.join(",")))
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn condition(wanted: &[Value], unwanted: &[Value]) -> Option<String> {
        let mut table = Table::default();
        wanted.iter().chain(unwanted).for_each(|message| table.message(Duration::ZERO, message, false));
        let mut sides = vec![Side::Wanted; wanted.len()];
        sides.resize(wanted.len() + unwanted.len(), Side::Unwanted);
        telling_apart(&table.finish(), &sides).map(|condition| condition.to_string())
    }

    #[test]
    fn the_simplest_condition_is_found() {
        let found = |wanted: &[Value], unwanted: &[Value]| condition(wanted, unwanted).unwrap_or_default();
        let (trade, quote) = (json!({"type": "trade", "p": 1}), json!({"type": "quote", "p": 1}));
        let (ack, ping) = (json!({"type": "ack"}), json!({"type": "ping"}));
        assert_eq!(found(from_ref(&trade), &[ack.clone(), quote.clone()]), "/type == 'trade'");
        assert_eq!(found(&[trade, quote], &[ack.clone(), ping]), "/p exists");
        assert_eq!(found(&[json!([1, "a"])], &[json!({"event": "x"})]), "!(/event exists)");
        let bare = |kind: &str| json!({"type": kind});
        assert_eq!(found(&[bare("a"), bare("b")], from_ref(&ack)), "/type in ['a','b']");
        assert_eq!(found(&[json!([1, [2]])], &[json!([1, "hb"])]), "/1 != 'hb'");
    }

    #[test]
    fn without_a_simple_one_there_is_none() {
        assert_eq!(condition(&[json!({"a": 1})], &[json!({"a": 2})]), None);
        assert_eq!(condition(&[json!({"user": "x"})], &[json!({"user": "y"})]), None, "a value that may be private");
    }
}
