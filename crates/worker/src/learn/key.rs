//! Finds the field for the record key: a text that comes repeatedly, and says what the record is about.

use std::collections::{BTreeSet, HashMap};

use super::condition::names_kind;
use super::field::{Field, Origin};
use super::table::{Column, Datum, Table};
use super::{About, Certainty, Finding, count, in_of, time};

/// Names of fields that say what a record is about.
const NAMES: [&str; 38] = [
    "account",
    "asset",
    "ch",
    "channel",
    "coin",
    "device",
    "deviceId",
    "device_id",
    "did",
    "entity_id",
    "hex",
    "icao",
    "instId",
    "instrument",
    "instrument_name",
    "instrument_id",
    "id",
    "market",
    "MMSI",
    "mmsi",
    "pair",
    "product_id",
    "productId",
    "room",
    "s",
    "stream",
    "sym",
    "symbol",
    "ticker",
    "topic",
    "user",
    "userId",
    "user_id",
    "contract",
    "currency_pair",
    "repo",
    "asset_id",
    "sensor",
];
/// Those names that only events have, and not parts of events.
const SUBJECTS: [&str; 12] = [
    "currency_pair",
    "instId",
    "instrument",
    "instrument_name",
    "market",
    "pair",
    "product_id",
    "productId",
    "s",
    "sym",
    "symbol",
    "ticker",
];
/// Names of fields with few values that do not say what a record is about.
const NO_NAMES: [&str; 12] = [
    "side",
    "action",
    "type",
    "event",
    "direction",
    "status",
    "version",
    "currency",
    "operation",
    "interval",
    "jsonrpc",
    "method",
];
/// Values that never say what a record is about, whatever the field's name is.
const FLAGS: [&str; 20] = [
    "ask", "b", "bid", "buy", "closed", "down", "false", "long", "maker", "n", "new", "no", "open", "sell", "short",
    "taker", "true", "up", "y", "yes",
];
/// The most different values that are counted.
const MAX_DISTINCT: usize = 10_000;
/// The longest key.
const MAX_KEY: usize = 100;
/// How many other fields are named.
const MAX_OTHERS: usize = 3;

/// A field that may be a key.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) field: Field,
    records: usize,
    distinct: usize,
    is_named: bool,
    /// It contains only the type of the record.
    is_kind: bool,
}

/// Returns the fields that may be a key, the best first.
pub(super) fn candidates(records: &Table) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = records.columns.iter().filter_map(|column| candidate(records, column)).collect();
    found.sort_by_key(|candidate| {
        let in_all = candidate.records == records.rows();
        let far = candidate.field.origin != Origin::Record;
        (
            !in_all,
            candidate.is_kind,
            !candidate.is_named,
            std::cmp::Reverse((candidate.records, candidate.distinct)),
            far,
            candidate.field.depth,
        )
    });
    // If the message is the record, a field has two names.
    let mut one_each: Vec<Candidate> = Vec::new();
    for candidate in found {
        if !one_each.iter().any(|better| better.field.is_beside(&candidate.field)) {
            one_each.push(candidate);
        }
    }
    one_each
}

fn candidate(records: &Table, column: &Column) -> Option<Candidate> {
    let field = &column.field;
    let is_named = NAMES.contains(&field.name.as_str());
    let values = || column.values.iter().map(|(_, datum)| datum).filter(|datum| **datum != Datum::Null);
    let with = values().count();
    if NO_NAMES.contains(&field.name.as_str()) || field.origin == Origin::Text || with * 2 < records.rows() {
        return None;
    }
    let mut distinct = BTreeSet::new();
    for datum in values() {
        let fits = match datum {
            Datum::Text(text) => is_key(text) && time::read(datum).is_none(),
            Datum::Number(number) => is_named && number.parse::<u64>().is_ok(),
            Datum::Null | Datum::Other => false,
        };
        if !fits {
            return None;
        }
        if distinct.len() < MAX_DISTINCT {
            distinct.insert(datum.rendered()?);
        }
    }
    let is_flag = distinct.iter().all(|text| FLAGS.contains(&text.to_lowercase().as_str()));
    let distinct = distinct.len();
    let repeats = distinct * 2 <= with && distinct > 1;
    let repeats_sometimes = is_named && distinct < with;
    if is_flag || !(repeats || repeats_sometimes) {
        return None;
    }
    let is_kind = is_kind(records, column);
    Some(Candidate { field: field.clone(), records: with, distinct, is_named, is_kind })
}

/// Whether a text is a word or an identifier, and not a number such as a price.
fn is_key(text: &str) -> bool {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E'));
    !text.is_empty() && text.len() <= MAX_KEY && !is_number && !text.contains(char::is_whitespace)
}

/// Whether the records of each value have their own shape, or the field has the name of a type.
fn is_kind(records: &Table, column: &Column) -> bool {
    let mut shapes: HashMap<&str, HashMap<u64, usize>> = HashMap::new();
    for (row, datum) in &column.values {
        let Some(text) = datum.rendered() else { continue };
        *shapes.entry(text).or_default().entry(records.shapes[*row]).or_default() += 1;
    }
    let mut most: BTreeSet<u64> = BTreeSet::new();
    let mut is_pure = true;
    for counts in shapes.values() {
        let all: usize = counts.values().sum();
        let Some((shape, count)) = counts.iter().max_by_key(|(shape, count)| (**count, **shape)) else { continue };
        is_pure &= count * 10 >= all * 9;
        most.insert(*shape);
    }
    let own_shapes = is_pure && most.len() == shapes.len() && shapes.len() > 1;
    own_shapes || (names_kind(&column.field) && column.field.name != "channel")
}

/// Whether a field with this name and value says what an event is about.
pub(super) fn is_subject(name: &str, datum: &Datum) -> bool {
    SUBJECTS.contains(&name) && datum.text().is_some_and(is_key)
}

pub(super) fn finding(records: &Table, candidates: &[Candidate]) -> Option<Finding> {
    let Some((best, rest)) = candidates.split_first() else {
        let says = "No field is a text that most records have and that comes again and again: records have no key.";
        return (records.rows() > 0).then(|| Finding::new(About::Key, Certainty::Likely, says));
    };
    let says = format!("{}. It says what a record is about.", describe(best, records));
    let is_clear = best.records == records.rows()
        && best.is_named
        && !best.is_kind
        && best.distinct > 1
        && best.distinct * 2 <= best.records;
    let certainty = match best.is_kind {
        true => Certainty::Possible,
        false if is_clear => Certainty::Certain,
        false => Certainty::Likely,
    };
    let mut finding = Finding::new(About::Key, certainty, says).line("websocket.record.key", best.field.template());
    finding.others = rest.iter().take(MAX_OTHERS).map(|candidate| describe(candidate, records)).collect();
    Some(finding)
}

fn describe(candidate: &Candidate, records: &Table) -> String {
    let Candidate { field, records: with, distinct, .. } = candidate;
    let values = if *distinct == 1 { "one value".to_owned() } else { format!("{} different values", count(*distinct)) };
    format!("{field} has {values} {}", in_of(*with, records.rows(), "records"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn keys(messages: impl IntoIterator<Item = Value>) -> Vec<String> {
        let mut table = Table::default();
        messages.into_iter().for_each(|message| table.message(Duration::ZERO, &message, false));
        candidates(&table.finish()).into_iter().map(|candidate| candidate.field.to_string()).collect()
    }

    fn few(number: usize) -> &'static str {
        ["AB", "CD", "EF", "GH"][number % 4]
    }

    #[test]
    fn the_best_key_is_in_all_records_and_says_what_they_are_about() {
        let trades = (0..40).map(|n| match n {
            0 => json!({"product_id": few(n), "venue": "X"}),
            _ => json!({"product_id": few(n), "venue": few(n / 2), "maker": few(n / 3), "price": format!("0.{n}")}),
        });
        assert_eq!(keys(trades), ["/product_id", "/venue", "/maker"]);
    }

    #[test]
    fn what_only_names_the_kind_comes_last_and_what_is_no_text_not_at_all() {
        let mixed = (0..40).map(|n| match n % 2 {
            0 => json!({"kind": "a", "sensor": few(n / 2), "t": 1.5, "n": n}),
            _ => json!({"kind": "b", "sensor": few(n / 2), "u": "2026-07-04T12:00:00Z"}),
        });
        assert_eq!(keys(mixed), ["/sensor", "/kind"]);
        assert!(keys((0..40).map(|n| json!({"id": format!("x{n}"), "note": "some words", "side": few(n)}))).is_empty());
        let way = |n: usize| if n.is_multiple_of(2) { "buy" } else { "Sell" };
        assert!(keys((0..40).map(|n| json!({"way": way(n)}))).is_empty());
    }

    #[test]
    fn a_null_is_a_record_without_the_key() {
        let trades =
            (0..40).map(|n| json!({"symbol": if n == 7 { Value::Null } else { json!(few(n)) }, "venue": few(n / 2)}));
        assert_eq!(keys(trades), ["/venue", "/symbol"], "one that all have is better");
        assert_eq!(
            keys((0..40).map(|n| json!({"symbol": if n == 7 { Value::Null } else { json!(few(n)) }}))),
            ["/symbol"]
        );
    }
}
