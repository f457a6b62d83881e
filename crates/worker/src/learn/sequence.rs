//! Finds how a feed numbers its messages: contiguously, in ranges, or as a chain; over all messages, or for each key. A
//! suggestion was checked over the whole sample.

use std::collections::HashMap;
use std::iter;

use super::condition::{Condition, Side, names_kind, telling_apart};
use super::field::Field;
use super::key::Candidate;
use super::table::{Column, Table};
use super::{About, Certainty, Finding, count};

/// Names of the first number of a range, in lower case.
const FIRST_NAMES: [&str; 4] = ["first", "start", "begin", "from"];

/// Names, and parts of names, of a message's number,
const NUMBER_NAMES: [&str; 4] = ["seq", "offset", "number", "nonce"];
/// and of other numbers that can grow by one. In lower case.
const MEASURE_NAMES: [&str; 16] = [
    "price", "px", "p", "qty", "q", "quantity", "size", "amount", "volume", "v", "count", "age", "level", "bid", "ask",
    "last",
];

/// The fewest numbers that must follow one another,
const LEAST: usize = 3;
/// and how many make the numbering certain, if none is missing.
const SURE: usize = 20;
/// How many percent of the numbers may not follow, because the feed may have lost messages.
const MAX_BROKEN_PERCENT: usize = 5;
/// The most fields with integers, and the most keys, that are checked.
const MAX_FIELDS: usize = 40;
const MAX_KEYS: usize = 4;
/// The most kinds of records that are checked separately.
const MAX_KINDS: usize = 16;

/// A column of integers.
struct Numbers<'t> {
    field: Field,
    by_row: Vec<Option<i128>>,
    connections: &'t [u32],
}

/// How a message names the one before it.
#[derive(Clone, Copy)]
enum Link<'n> {
    /// Its number is one more.
    Contiguous,
    /// Its first number is one more than the last of the one before.
    First(&'n Numbers<'n>),
    /// It contains the number of the one before.
    Previous(&'n Numbers<'n>),
}

/// How often a rule was true.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Course {
    followed: usize,
    broken: usize,
    /// How often a number was that of the record before. It says nothing for or against the rule.
    repeated: usize,
}

impl Course {
    fn holds(self) -> bool {
        self.followed >= LEAST && self.broken * 100 <= (self.followed + self.broken) * MAX_BROKEN_PERCENT
    }

    /// A larger value is better.
    fn rank(self) -> (bool, usize) {
        (self.broken == 0, self.followed)
    }
}

/// A rule that was true.
struct Rule<'n> {
    number: &'n Numbers<'n>,
    link: Link<'n>,
    /// The fields of its key. None: all records are numbered together.
    key: &'n [&'n Candidate],
    course: Course,
    /// The condition of the numbered records, if not all records with a number are.
    condition: Option<Condition>,
}

impl Rule<'_> {
    /// Whether both are of the same kind, for the same key.
    fn is_beside(&self, other: &Rule<'_>) -> bool {
        matches!((self.link, other.link), (Link::Contiguous, Link::Contiguous)) && self.has_key_of(other)
    }

    fn has_key_of(&self, other: &Rule<'_>) -> bool {
        self.key.iter().map(|key| &key.field).eq(other.key.iter().map(|key| &key.field))
    }
}

/// Returns the finding. `records` may be messages, some of them acknowledgements and heartbeats (`is_control`), because
/// many feeds number those too.
pub(super) fn finding(records: &Table, is_control: &[bool], keys: &[Candidate], times: &[Field]) -> Option<Finding> {
    let numbers = numbers(records, is_control, times);
    let keys: Vec<&Candidate> = keys.iter().take(MAX_KEYS).collect();
    let pairs = keys.iter().enumerate().flat_map(|(at, first)| keys[at + 1..].iter().map(|second| [*first, *second]));
    let pairs: Vec<[&Candidate; 2]> = pairs.collect();
    let (none, one) = (&keys[..0], keys.chunks(1));
    let mut rules: Vec<Rule<'_>> =
        iter::once(none).chain(one).flat_map(|key| rules_of_key(records, &numbers, key)).collect();
    // Two fields are a key only if one is not enough. Repeated numbers may be those of different keys.
    if best(&rules).is_none_or(|best| best.condition.is_some() || best.course.repeated > 0) {
        let of_pairs = pairs.iter().flat_map(|key| rules_of_key(records, &numbers, key));
        rules.extend(of_pairs.filter(|rule| rule.condition.is_none() && rule.course.followed * 2 > records.rows()));
    }
    if let Some(best) = best(&rules) {
        return Some(told(best, &rules));
    }
    let says = "No field numbers the records one after another: a record that is lost is not noticed.";
    (records.rows() > LEAST).then(|| Finding::new(About::Sequence, Certainty::Likely, says))
}

fn numbers<'t>(records: &'t Table, is_control: &[bool], times: &[Field]) -> Vec<Numbers<'t>> {
    let whole = records.columns.iter().filter(|column| !times.contains(&column.field));
    let whole = whole.filter_map(|column| {
        let mut by_row = vec![None; records.rows()];
        for (row, datum) in &column.values {
            by_row[*row] = datum.integer();
        }
        let of_data = by_row.iter().enumerate().filter(|(row, _)| is_control.get(*row) != Some(&true));
        let there = of_data.filter(|(_, number)| number.is_some()).count();
        (there > LEAST).then(|| Numbers { field: column.field.clone(), by_row, connections: &records.connections })
    });
    whole.take(MAX_FIELDS).collect()
}

/// Returns which records are numbered together: those with the same number.
fn keys_of_rows(records: &Table, key: &[&Candidate]) -> Vec<Option<usize>> {
    let rows = records.rows();
    let mut of_row = vec![Some(0); rows];
    for part in key {
        let column = records.columns.iter().find(|column| column.field == part.field);
        let values = column.map_or_else(|| vec![None; rows], |column| values(column, rows));
        for (key, value) in of_row.iter_mut().zip(values) {
            *key = key.zip(value).map(|(key, value)| key * rows + value);
        }
    }
    of_row
}

/// Returns each record's value as a number, or `None` if it has none.
fn values(column: &Column, rows: usize) -> Vec<Option<usize>> {
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut of_row = vec![None; rows];
    for (row, datum) in &column.values {
        let next = known.len();
        of_row[*row] = datum.rendered().map(|text| *known.entry(text).or_insert(next));
    }
    of_row
}

fn rules_of_key<'n>(records: &Table, numbers: &'n [Numbers<'n>], key: &'n [&'n Candidate]) -> Vec<Rule<'n>> {
    let of_row = &keys_of_rows(records, key);
    let (mut pairs, mut alone) = (Vec::new(), Vec::new());
    for number in numbers {
        if let Some(pair) = best_pair(numbers, number, key, of_row) {
            pairs.push(pair);
            continue;
        }
        let link = Link::Contiguous;
        let course = follow(number, link, of_row, None);
        if course.holds() {
            alone.push(Rule { number, link, key, course, condition: None });
        } else if let Some((course, condition)) = of_a_kind(records, number, of_row) {
            alone.push(Rule { number, link, key, course, condition: Some(condition) });
        }
    }
    // If both are true, a pair says more.
    pairs.extend(alone);
    pairs
}

/// Returns the field that best names the number before.
fn best_pair<'n>(
    numbers: &'n [Numbers<'n>],
    number: &'n Numbers<'n>,
    key: &'n [&'n Candidate],
    of_row: &[Option<usize>],
) -> Option<Rule<'n>> {
    let mut rules = Vec::new();
    for other in numbers.iter().filter(|other| other.field != number.field) {
        for link in [Link::First(other), Link::Previous(other)] {
            let course = follow(number, link, of_row, None);
            if course.holds() && is_a_pair(number, other, link) {
                let condition = if matches!(link, Link::First(_)) { other.condition_of(number) } else { None };
                rules.push(Rule { number, link, key, course, condition });
            }
        }
    }
    rules.into_iter().max_by_key(|rule| rule.course.rank())
}

/// Whether the two sometimes differ, and the first or previous number is never the greater one.
fn is_a_pair(number: &Numbers<'_>, other: &Numbers<'_>, link: Link<'_>) -> bool {
    let pairs = || number.by_row.iter().zip(&other.by_row).filter_map(|(number, other)| Some(((*number)?, (*other)?)));
    let in_order = match link {
        Link::Previous(_) => pairs().all(|(number, previous)| previous <= number),
        _ => pairs().all(|(last, first)| first <= last),
    };
    // Otherwise the contiguous rule says the same, unless a name says that it is a range.
    let says_more = match link {
        Link::Previous(_) => pairs().any(|(number, previous)| previous.checked_add(1) != Some(number)),
        _ => pairs().any(|(last, first)| first < last) || names_first(&other.field),
    };
    in_order && says_more
}

fn names_first(field: &Field) -> bool {
    let name = field.name.to_lowercase();
    FIRST_NAMES.iter().any(|first| name.contains(first))
}

impl Numbers<'_> {
    fn is_named(&self) -> bool {
        let name = self.field.name.to_lowercase();
        NUMBER_NAMES.iter().any(|number| name.contains(number))
    }

    fn is_measure(&self) -> bool {
        MEASURE_NAMES.contains(&self.field.name.to_lowercase().as_str())
    }

    /// Whether the numbers begin anew with a connection, or with 0 or 1. A feed is probably older, so these are rather a
    /// counter of the connection.
    fn begins_anew(&self) -> bool {
        let numbered = self.by_row.iter().zip(self.connections).filter_map(|(number, of)| Some((of, (*number)?)));
        let mut firsts: Vec<(&u32, i128)> = numbered.collect();
        firsts.dedup_by_key(|(of, _)| *of);
        let Some(((_, first), later)) = firsts.split_first() else { return false };
        (0..=1).contains(first) || later.iter().any(|(_, number)| number <= first)
    }

    /// The condition for the field of the first number, if not all records have it.
    fn condition_of(&self, number: &Numbers<'_>) -> Option<Condition> {
        let alone = number.by_row.iter().zip(&self.by_row).any(|(number, other)| number.is_some() && other.is_none());
        alone.then(|| Condition::exists(&self.field))
    }
}

/// Checks a numbering over all records, or over `only` some. Stops early if it is clearly none. Numbers missed between
/// two connections do not count against it.
fn follow(number: &Numbers<'_>, link: Link<'_>, of_row: &[Option<usize>], only: Option<&[bool]>) -> Course {
    let mut last: HashMap<usize, i128> = HashMap::new();
    let mut course = Course::default();
    let mut connection = 0;
    for (row, value) in number.by_row.iter().enumerate() {
        if number.connections[row] != connection {
            connection = number.connections[row];
            last.clear();
        }
        let (Some(value), Some(key)) = (value, of_row[row]) else { continue };
        if only.is_some_and(|only| !only[row]) {
            continue;
        }
        let other = match link {
            Link::Contiguous => Some(*value),
            Link::First(other) | Link::Previous(other) => other.by_row[row],
        };
        let Some(other) = other else {
            if matches!(link, Link::Previous(_)) {
                // The numbers begin anew.
                last.insert(key, *value);
            }
            continue;
        };
        let Some(before) = last.insert(key, *value) else { continue };
        if before == *value {
            course.repeated += 1;
            continue;
        }
        let follows = match link {
            Link::Previous(_) => other == before,
            _ => before.checked_add(1) == Some(other),
        };
        if follows {
            course.followed += 1;
        } else {
            course.broken += 1;
        }
        if course.broken > 20 && course.broken > course.followed {
            return course;
        }
    }
    course
}

/// Finds numbers that are contiguous in one kind of records only.
fn of_a_kind(records: &Table, number: &Numbers<'_>, of_row: &[Option<usize>]) -> Option<(Course, Condition)> {
    let rows = records.rows();
    let kinds = records.columns.iter().filter(|column| names_kind(&column.field));
    for column in kinds {
        let of_kind = values(column, rows);
        let kinds = of_kind.iter().flatten().max().map_or(0, |most| most + 1);
        if !(2..=MAX_KINDS).contains(&kinds) {
            continue;
        }
        for kind in 0..kinds {
            let only: Vec<bool> = of_kind.iter().map(|own| *own == Some(kind)).collect();
            let course = follow(number, Link::Contiguous, of_row, Some(&only));
            if !course.holds() {
                continue;
            }
            let side = |row: usize| match (number.by_row[row].is_some(), only[row]) {
                (true, true) => Side::Wanted,
                (true, false) => Side::Unwanted,
                (false, _) => Side::Either,
            };
            let sides: Vec<Side> = (0..rows).map(side).collect();
            return Some((course, telling_apart(records, &sides)?));
        }
    }
    None
}

/// Returns the rule that is true most often: one without a key if a key adds nothing, otherwise the one with the best
/// key.
fn best<'r, 'n>(rules: &'r [Rule<'n>]) -> Option<&'r Rule<'n>> {
    let mut best: Option<&Rule<'_>> = None;
    for rule in rules {
        // The rules are in the order of keys, so a later one must be better.
        let is_better = best.is_none_or(|best| {
            if rule.number.is_measure() != best.number.is_measure() {
                return best.number.is_measure();
            }
            let ((whole, followed), (best_whole, best_followed)) = (rule.course.rank(), best.course.rank());
            let is_better_named = rule.is_beside(best) && rule.number.is_named() && !best.number.is_named();
            (whole && !best_whole)
                || (whole == best_whole && followed > best_followed + best_followed / 10)
                || (whole == best_whole && followed >= best_followed && is_better_named)
        });
        if is_better {
            best = Some(rule);
        }
    }
    best
}

fn told(rule: &Rule<'_>, rules: &[Rule<'_>]) -> Finding {
    let Rule { number, link, key, course, condition } = rule;
    let how = match link {
        Link::Contiguous => format!("{} numbers records without holes", number.field),
        Link::First(first) => {
            format!("{} to {} is a range of numbers that goes on where the one before ended", first.field, number.field)
        }
        Link::Previous(previous) => format!("{} names the {} of the record before", previous.field, number.field),
    };
    let joined = |parts: Vec<String>, by: &str| (!parts.is_empty()).then(|| parts.join(by));
    let per = joined(key.iter().map(|key| key.field.to_string()).collect(), " and ");
    let per = per.map_or(String::new(), |key| format!(", for each {key} on its own"));
    let whose = condition.as_ref().map_or(String::new(), |condition| format!(", where {condition}"));
    let repeated = match course.repeated {
        0 => String::new(),
        repeated => format!(", {} repeated the one before", count(repeated)),
    };
    let says =
        format!("{how}{per}{whose}: {} followed, {} did not{repeated}.", count(course.followed), count(course.broken));
    let certainty = match course {
        _ if number.is_measure() => Certainty::Possible,
        Course { followed: SURE.., broken: 0, .. } => Certainty::Certain,
        Course { broken: 0, .. } => Certainty::Likely,
        _ => Certainty::Possible,
    };
    let template = match condition {
        Some(condition) => format!("{{{{when({condition}, {})}}}}", number.field),
        None => number.field.template(),
    };
    let mut finding = Finding::new(About::Sequence, certainty, says).line("websocket.sequence", template);
    finding = match link {
        Link::Contiguous => finding,
        Link::First(first) => finding.line("websocket.sequence.first", first.field.template()),
        Link::Previous(previous) => finding.line("websocket.sequence.previous", previous.field.template()),
    };
    if let Some(key) = joined(key.iter().map(|key| key.field.template()).collect(), "/") {
        finding = finding.line("websocket.sequence.key", key);
    }
    if key.is_empty() && number.begins_anew() {
        finding.says.push_str(" It begins with the connection.");
        finding = finding.line("websocket.sequence.scope", "connection");
    }
    if course.broken > 0 {
        finding = finding.caveat("some numbers did not follow: either messages were lost, or it is not a numbering");
    }
    if number.is_measure() {
        finding = finding.caveat("its name is that of a measure, which may go up by one now and then");
    }
    let is_of_pair = |field: &Field| match link {
        Link::Contiguous => *field == number.field,
        Link::First(other) | Link::Previous(other) => *field == number.field || *field == other.field,
    };
    let is_other =
        |other: &&Rule<'_>| rule.has_key_of(other) && other.course.broken == 0 && !is_of_pair(&other.number.field);
    let others = rules.iter().filter(is_other);
    finding.others = others
        .take(3)
        .map(|other| match &other.condition {
            Some(condition) => {
                format!("{} where {condition}: {} followed", other.number.field, count(other.course.followed))
            }
            None => format!("{}: {} followed", other.number.field, count(other.course.followed)),
        })
        .collect();
    finding
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::super::{Line, key};
    use super::*;

    fn lines(messages: impl IntoIterator<Item = Value>) -> Vec<String> {
        let mut table = Table::default();
        messages.into_iter().for_each(|message| table.message(Duration::ZERO, &message, false));
        let finding = finding(&table, &[], &key::candidates(&table), &[]).unwrap();
        finding.lines.iter().map(|Line { key, value }| format!("{key}={value}")).collect()
    }

    fn symbol(number: usize) -> &'static str {
        ["A", "B"][number % 2]
    }

    #[test]
    fn contiguous_numbers_are_found_with_and_without_a_key() {
        assert_eq!(
            lines((0..30).map(|n| json!({"s": symbol(n), "seq": n, "p": n * n}))),
            ["websocket.sequence={{/seq}}", "websocket.sequence.scope=connection"]
        );
        let per_symbol = (0..30).map(|n| json!({"s": symbol(n), "seq": n / 2 + 100 * (n % 2)}));
        assert_eq!(lines(per_symbol), ["websocket.sequence={{/seq}}", "websocket.sequence.key={{/s}}"]);
        let beyond_64_bits = (0..30).map(|n| json!({"seq": (10_u128.pow(25) + n).to_string()}));
        assert_eq!(lines(beyond_64_bits), ["websocket.sequence={{/seq}}"]);
    }

    #[test]
    fn a_key_has_two_fields_only_if_one_is_not_enough() {
        let mut next = [100_u64, 200, 300, 400];
        let both = (0..80_usize).map(|n| {
            let at = [0, 2, 1, 3, 3, 0, 1, 2, 0, 1, 3, 2][n % 12];
            next[at] += 1;
            let channel = if at < 2 { "trade" } else { "book" };
            json!({"channel": channel, "symbol": symbol(at), "seq": next[at]})
        });
        let [sequence, key] = &lines(both)[..] else { panic!("no key") };
        assert_eq!(sequence, "websocket.sequence={{/seq}}");
        assert!(key.contains("{{/channel}}") && key.contains("{{/symbol}}"), "{key}");
    }

    #[test]
    fn numbers_that_begin_anew_with_each_connection_are_those_of_the_connection() {
        let over_three = |by: u64| {
            let mut table = Table::default();
            for n in 0..90 {
                table.over(n as u32 / 30);
                table.message(Duration::ZERO, &json!({"seq": 100 + n % 30 + n / 30 * by}), false);
            }
            let lines = finding(&table, &[], &[], &[]).unwrap().lines;
            lines.iter().any(|line| line.key == "websocket.sequence.scope")
        };
        assert!(over_three(0));
        assert!(!over_three(30), "they go on");
        assert!(!over_three(25), "the feed sends some messages again");
    }

    #[test]
    fn numbers_that_come_again_are_those_of_another_key_or_are_told() {
        let venues = |n: usize| json!({"s": symbol(n / 2), "venue": symbol(n), "seq": 1000 + n / 4});
        assert!(lines((0..80).map(venues)).contains(&"websocket.sequence.key={{/s}}/{{/venue}}".to_owned()));
        let mut table = Table::default();
        (0..80).for_each(|n| table.message(Duration::ZERO, &json!({"seq": 1000 + n / 2}), false));
        let says = finding(&table, &[], &[], &[]).unwrap().says;
        assert!(says.ends_with("39 followed, 0 did not, 40 repeated the one before."), "{says}");
    }

    #[test]
    fn ranges_are_found_and_apart_from_numbers_without_a_first() {
        let depth = |n: u64| json!({"U": n * 3 + 7, "u": n * 3 + 9});
        let ranges = ["websocket.sequence={{/u}}", "websocket.sequence.first={{/U}}"];
        assert_eq!(lines((0..30).map(depth)), ranges);
        let mixed = (0..30).flat_map(|n| [depth(n), json!({"u": n * 3 + 8})]);
        assert_eq!(lines(mixed), ["websocket.sequence={{when(/U exists, /u)}}", ranges[1]]);
    }

    #[test]
    fn a_range_of_one_is_known_by_its_names() {
        let one = (0..30).map(|n| json!({"sequenceStart": n + 7, "sequenceEnd": n + 7}));
        assert_eq!(lines(one), ["websocket.sequence={{/sequenceEnd}}", "websocket.sequence.first={{/sequenceStart}}"]);
    }

    #[test]
    fn a_chain_begins_anew_without_a_previous_number() {
        let chain = (0..30).map(|n| match n {
            0 => json!({"id": 9}),
            n => json!({"id": n * n + 9, "prev": (n - 1) * (n - 1) + 9}),
        });
        assert_eq!(lines(chain), ["websocket.sequence={{/id}}", "websocket.sequence.previous={{/prev}}"]);
    }

    #[test]
    fn what_is_numbered_in_one_kind_only_gets_a_condition() {
        let mixed = (0..60_u64).map(|n| match n % 2 {
            0 => json!({"e": "trade", "t": n / 2 + 9}),
            _ => json!({"e": "order", "t": n.wrapping_mul(0x9E37_79B9) % 1000}),
        });
        assert_eq!(lines(mixed.clone()), ["websocket.sequence={{when(/e == 'trade', /t)}}"]);
        let mut table = Table::default();
        mixed.for_each(|message| table.message(Duration::ZERO, &message, false));
        let says = finding(&table, &[], &[], &[]).unwrap().says;
        assert!(says.contains("without holes, where /e == 'trade': 29 followed"), "{says}");
    }

    #[test]
    fn a_price_that_goes_up_by_one_is_no_number_of_a_message() {
        let both = (0..30).map(|n| json!({"price": 100 + n, "trade": n + 7, "seq": n + 5}));
        assert_eq!(lines(both), ["websocket.sequence={{/seq}}"]);
        let mut table = Table::default();
        (0..30).for_each(|n| table.message(Duration::ZERO, &json!({"price": 100 + n}), false));
        let finding = finding(&table, &[], &[], &[]).unwrap();
        assert_eq!(finding.certainty, Certainty::Possible, "{finding:?}");
        assert!(finding.caveat.is_some_and(|caveat| caveat.contains("a measure")));
    }

    #[test]
    fn what_was_missed_between_two_connections_breaks_no_rule() {
        let mut table = Table::default();
        for n in 0..40 {
            table.over(n / 20);
            table.message(Duration::ZERO, &json!({"seq": n + 5 + n / 20 * 900}), false);
        }
        let finding = finding(&table, &[], &[], &[]).unwrap();
        assert!(
            finding.says.contains("38 followed, 0 did not") && finding.certainty == Certainty::Certain,
            "{finding:?}"
        );
    }

    #[test]
    fn numbers_that_jump_are_no_sequence_and_a_few_holes_are_told() {
        assert!(lines((0..50_u64).map(|n| json!({"id": n * 7}))).is_empty());
        let mut table = Table::default();
        let holes = (0..100_u64).filter(|n| *n != 40);
        holes.for_each(|n| table.message(Duration::ZERO, &json!({"seq": n}), false));
        let finding = finding(&table, &[], &[], &[]).unwrap();
        assert_eq!(finding.certainty, Certainty::Possible);
        assert!(finding.says.contains("97 followed, 1 did not") && finding.caveat.is_some(), "{finding:?}");
    }
}
