//! Finds the field of a record's time, and its unit: close to the time of receipt, and growing with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use connect_websocket_engine::intake::fields::Unit;

use super::condition::{Condition, Side, telling_apart};
use super::field::{Field, Origin};
use super::table::{Column, Datum, Table};
use super::time::{self, Time};
use super::{About, Certainty, Finding, count, in_of};

/// How close most times are to the receipt. Otherwise all must be late by the same time.
const NEAR_MS: i64 = 120_000;
/// A larger difference means a recording of another day.
const SAME_DAY_MS: i64 = 86_400_000;
/// A local time differs from UTC by at least half an hour, less a few minutes of delay.
const NEAREST_ZONE_MS: i64 = 1_500_000;
/// The shortest sample that shows whether times grow.
const ENOUGH_MS: i64 = 3_000;
/// This many consecutive numbers are a counter.
const ENOUGH_COUNTED: usize = 10;
/// How many percent of the records must have the field.
const LEAST_PERCENT: usize = 5;
/// The most fields that are joined by `??`.
const MAX_JOINED: usize = 3;

/// A field with times.
#[derive(Debug)]
pub(super) struct Timestamp {
    pub(super) field: Field,
    unit: Unit,
    /// The rows with a time in this unit.
    rows: Vec<usize>,
    /// The rows with something else in the field.
    strange: Vec<usize>,
    /// Some of them have a time of another unit.
    is_mixed: bool,
    /// ISO 8601 without an offset from UTC.
    is_local: bool,
    /// The median difference to the receipt. `None` if the date of the receipt is not known.
    late_ms: Option<i64>,
    /// Whether it grows at the pace of the receipts.
    goes_forward: bool,
}

/// Returns the fields with the times of records, the best first.
pub(super) fn candidates(records: &Table, started: Option<SystemTime>) -> Vec<Timestamp> {
    let mut found: Vec<Timestamp> =
        records.columns.iter().filter_map(|column| timestamp(records, column, started)).collect();
    found.sort_by_key(|timestamp| {
        let far = timestamp.field.origin != Origin::Record;
        (std::cmp::Reverse(timestamp.rows.len()), far, timestamp.field.depth)
    });
    found
}

fn timestamp(records: &Table, column: &Column, started: Option<SystemTime>) -> Option<Timestamp> {
    let there = column.values.iter().filter(|(_, datum)| *datum != Datum::Null);
    let times: Vec<(usize, Option<Time>)> = there.map(|(row, datum)| (*row, time::read(datum))).collect();
    let unit = most_frequent(&times)?;
    let is_of_unit = |time: &Option<Time>| time.is_some_and(|time| time.unit == unit);
    let is_local =
        unit == Unit::Iso && column.values.iter().all(|(_, datum)| datum.text().is_none_or(is_without_offset));
    let (of_unit, strange): (Vec<_>, Vec<_>) = times.into_iter().partition(|(_, time)| is_of_unit(time));
    if of_unit.len() * 100 < records.rows() * LEAST_PERCENT {
        return None;
    }
    let offsets: Vec<(i64, i64)> = of_unit
        .iter()
        .filter_map(|(row, time)| {
            let at = millis(records.at[*row]);
            Some((at, time.as_ref()?.ms - at))
        })
        .collect();
    let middle = median(offsets.iter().map(|(_, offset)| *offset).collect())?;
    let near = offsets.iter().filter(|(_, offset)| (offset - middle).abs() <= NEAR_MS).count();
    let (elapsed, moved) = course(&offsets);
    // Numbers of messages can have as many digits, but grow at another pace. A recording can be replayed at another
    // pace too.
    let stands_still = elapsed >= ENOUGH_MS && !(elapsed / 3..=elapsed.saturating_mul(30)).contains(&moved);
    let goes_forward = elapsed >= ENOUGH_MS && (moved - elapsed).abs() * 2 <= elapsed;
    if near * 10 < offsets.len() * 9 || stands_still || !goes_forward && is_count(column) {
        return None;
    }
    let start = started.and_then(|started| started.duration_since(UNIX_EPOCH).ok()).map(millis);
    Some(Timestamp {
        field: column.field.clone(),
        unit,
        rows: of_unit.iter().map(|(row, _)| *row).collect(),
        is_mixed: strange.iter().any(|(_, time)| time.is_some()),
        is_local,
        strange: strange.iter().map(|(row, _)| *row).collect(),
        late_ms: start.map(|start| start - middle),
        goes_forward,
    })
}

/// Whether a time in ISO 8601 has neither `Z` nor an offset such as `+02:00`.
fn is_without_offset(iso: &str) -> bool {
    !iso.get(19..).unwrap_or_default().contains(['Z', 'z', '+', '-'])
}

/// Whether each number is one more than the one before. That is a counter, because a clock does so only at a certain
/// rate.
fn is_count(column: &Column) -> bool {
    let one_more = |pair: &[(usize, Datum)]| {
        let (before, after) = (pair[0].1.integer(), pair[1].1.integer());
        before.is_some() && before.and_then(|before| before.checked_add(1)) == after
    };
    column.values.len() >= ENOUGH_COUNTED && column.values.windows(2).all(one_more)
}

fn most_frequent(times: &[(usize, Option<Time>)]) -> Option<Unit> {
    let units = [Unit::Seconds, Unit::Millis, Unit::Micros, Unit::Nanos, Unit::Iso];
    let count = |unit: Unit| times.iter().filter(|(_, time)| time.is_some_and(|time| time.unit == unit)).count();
    units.into_iter().max_by_key(|unit| count(*unit)).filter(|unit| count(*unit) > 0)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

fn median(mut numbers: Vec<i64>) -> Option<i64> {
    let middle = numbers.len() / 2;
    (!numbers.is_empty()).then(|| *numbers.select_nth_unstable(middle).1)
}

/// Returns by how much the receipts and the times have grown, from the middle of the first quarter to that of the last.
fn course(offsets: &[(i64, i64)]) -> (i64, i64) {
    let quarter = offsets.len().div_ceil(4);
    let at = |part: &[(i64, i64)]| median(part.iter().map(|(at, _)| *at).collect()).unwrap_or_default();
    let time = |part: &[(i64, i64)]| median(part.iter().map(|(at, offset)| at + offset).collect()).unwrap_or_default();
    let (first, last) = (&offsets[..quarter], &offsets[offsets.len() - quarter..]);
    (at(last) - at(first), time(last) - time(first))
}

pub(super) fn finding(records: &Table, candidates: &[Timestamp], may_be_missing: bool) -> Option<Finding> {
    let Some(best) = candidates.first() else {
        let says =
            "No field is a time near the receipt of its record: a record's timestamp is the time of its receipt.";
        return (records.rows() > 0).then(|| Finding::new(About::Timestamp, Certainty::Likely, says));
    };
    let mut covered = vec![false; records.rows()];
    let mut parts = Vec::new();
    let (mut is_apart, mut is_misread, mut is_of_others) = (true, false, false);
    for timestamp in candidates.iter().filter(|other| other.unit == best.unit) {
        let adds = timestamp.rows.iter().any(|row| !covered[*row]);
        if !adds || parts.len() == MAX_JOINED {
            continue;
        }
        timestamp.rows.iter().for_each(|row| covered[*row] = true);
        let condition = timestamp.condition(records);
        is_apart &= condition.is_some() || timestamp.strange.is_empty();
        is_misread |= condition.is_none() && timestamp.is_mixed;
        // The same field of a sibling, such as /BTC/t and /ETH/t: others may come.
        is_of_others |= !parts.is_empty() && timestamp.field.name == best.field.name;
        parts.push(match condition {
            Some(condition) => format!("when({condition}, {})", timestamp.field),
            None => timestamp.field.to_string(),
        });
    }
    let covered = covered.iter().filter(|covered| **covered).count();
    let says = format!(
        "{} is a time in {} {}{}{}.",
        best.field,
        unit_in_words(best.unit),
        in_of(best.rows.len(), records.rows(), "records"),
        best.nearness(),
        if best.strange.is_empty() {
            String::new()
        } else {
            format!("; {} records have another unit there", count(best.strange.len()))
        },
    );
    let is_near = best.late_ms.is_none_or(|late| late.abs() <= SAME_DAY_MS);
    let is_elsewhere = best.is_local && best.late_ms.is_some_and(|late| late.abs() >= NEAREST_ZONE_MS);
    let is_near = is_near && !is_elsewhere && !is_misread;
    let certainty = match (is_near, best.goes_forward && is_apart) {
        (true, true) => Certainty::Certain,
        (true, false) => Certainty::Likely,
        (false, _) => Certainty::Possible,
    };
    let mut finding = Finding::new(About::Timestamp, certainty, says)
        .line("websocket.record.timestamp", format!("{{{{{}}}}}", parts.join(" ?? ")));
    if best.unit != Unit::Millis {
        finding = finding.line("websocket.record.timestamp.unit", time::name(best.unit));
    }
    if covered < records.rows() || may_be_missing || !is_apart || is_of_others {
        finding = finding.line("websocket.record.missing", "default");
        finding.says.push_str(" A record without it gets the time of its receipt.");
    }
    if is_misread {
        finding = finding.caveat("times of another unit in the same field would be misread");
    } else if is_elsewhere {
        finding = finding.caveat("these times do not say how far they are from UTC, and would be read as UTC");
    } else if !is_near {
        finding = finding.caveat("these times are of another day than the receipt");
    }
    let is_other = |other: &&Timestamp| other.rows.len() * 2 >= records.rows() && !other.field.is_beside(&best.field);
    let rest = candidates.iter().skip(1).filter(is_other);
    finding.others = rest
        .take(3)
        .map(|other| {
            format!(
                "{} in {} {}",
                other.field,
                unit_in_words(other.unit),
                in_of(other.rows.len(), records.rows(), "records")
            )
        })
        .collect();
    Some(finding)
}

impl Timestamp {
    /// Returns the condition for records with a time in this unit, if others have something else in the field.
    fn condition(&self, records: &Table) -> Option<Condition> {
        if self.strange.is_empty() {
            return None;
        }
        let mut sides = vec![Side::Either; records.rows()];
        self.rows.iter().for_each(|row| sides[*row] = Side::Wanted);
        self.strange.iter().for_each(|row| sides[*row] = Side::Unwanted);
        telling_apart(records, &sides)
    }

    fn nearness(&self) -> String {
        let forward = if self.goes_forward { ", and goes forward with the receipts" } else { "" };
        match self.late_ms {
            Some(late) if late.abs() <= SAME_DAY_MS => {
                format!(", {:.1} s from the receipt at the median{forward}", late.abs() as f64 / 1000.0)
            }
            _ => forward.to_owned(),
        }
    }
}

fn unit_in_words(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "seconds",
        Unit::Millis => "milliseconds",
        Unit::Micros => "microseconds",
        Unit::Nanos => "nanoseconds",
        Unit::Iso => "ISO 8601",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Line;
    use super::*;

    const START_MS: u64 = 1_783_166_400_000;

    fn lines(messages: impl IntoIterator<Item = Value>) -> Vec<String> {
        apart(100, messages)
    }

    fn apart(by_ms: u64, messages: impl IntoIterator<Item = Value>) -> Vec<String> {
        let mut table = Table::default();
        for (number, message) in (0..).zip(messages) {
            table.message(Duration::from_millis(number * by_ms), &message, false);
        }
        let started = UNIX_EPOCH + Duration::from_millis(START_MS);
        let table = table.finish();
        let finding = finding(&table, &candidates(&table, Some(started)), false).unwrap();
        finding.lines.iter().map(|Line { key, value }| format!("{key}={value}")).collect()
    }

    #[test]
    fn a_time_is_near_the_receipt_and_goes_forward_with_it() {
        assert_eq!(
            lines((0..60).map(|n| json!({"t": START_MS + n * 100 - 30}))),
            ["websocket.record.timestamp={{/t}}"]
        );
        let seconds = (0..60).map(|n| json!({"t": format!("{}.5", START_MS / 1000 + n / 10)}));
        let unit = "websocket.record.timestamp.unit=s";
        assert_eq!(lines(seconds), ["websocket.record.timestamp={{/t}}", unit]);
        let replayed = (0..60).map(|n| json!({"t": START_MS + n * 200}));
        assert_eq!(lines(replayed), ["websocket.record.timestamp={{/t}}"], "at twice the pace");
        assert!(lines((0..60).map(|n| json!({"seq": START_MS + n}))).is_empty(), "a number of that size");
        assert!(lines((0..60).map(|_| json!({"opened": START_MS}))).is_empty(), "it stands still");
        assert!(lines((0..60).map(|n| json!({"id": START_MS / 1000 + n}))).is_empty(), "a count");
        let each_second = apart(1000, (0..60).map(|n| json!({"t": START_MS / 1000 + n})));
        assert_eq!(each_second, ["websocket.record.timestamp={{/t}}", unit]);
    }

    fn found(messages: impl IntoIterator<Item = Value>) -> Finding {
        let mut table = Table::default();
        for (number, message) in (0..).zip(messages) {
            table.message(Duration::from_millis(number * 100), &message, false);
        }
        let table = table.finish();
        finding(&table, &candidates(&table, Some(UNIX_EPOCH + Duration::from_millis(START_MS))), false).unwrap()
    }

    #[test]
    fn a_local_time_that_would_be_read_as_utc_is_left_to_the_reader() {
        let at = |hour: u64, zone: &str| {
            let zone = zone.to_owned();
            found(
                (0..60).map(move |n| json!({"t": format!("2026-07-04T{hour:02}:00:{:02}.{}00{zone}", n / 10, n % 10)})),
            )
        };
        // The start is at 12:00 in UTC.
        for (hour, zone, certainty) in [
            (12, "", Certainty::Certain),
            (12, "Z", Certainty::Certain),
            (14, "+02:00", Certainty::Certain),
            (21, "", Certainty::Possible),
        ] {
            let finding = at(hour, zone);
            assert_eq!(finding.certainty, certainty, "{finding:?}");
            assert_eq!(finding.caveat.is_some(), certainty == Certainty::Possible, "{finding:?}");
        }
    }

    #[test]
    fn units_that_nothing_tells_apart_are_left_to_the_reader() {
        let mixed = found((0..60).map(|n| json!({"t": (START_MS + n * 100) * if n % 2 == 0 { 1 } else { 1000 }})));
        assert_eq!(mixed.certainty, Certainty::Possible, "{mixed:?}");
        assert!(mixed.caveat.is_some_and(|caveat| caveat.contains("another unit")));
        let other =
            found((0..60).map(|n| if n % 9 == 0 { json!({"t": "none"}) } else { json!({"t": START_MS + n * 100}) }));
        assert_ne!(other.certainty, Certainty::Possible, "{other:?}");
    }

    #[test]
    fn records_without_a_time_get_that_of_their_receipt() {
        let some = (0..60).map(|n| if n % 2 == 0 { json!({"t": START_MS + n * 100}) } else { json!({"x": n}) });
        assert_eq!(lines(some), ["websocket.record.timestamp={{/t}}", "websocket.record.missing=default"]);
    }

    #[test]
    fn fields_of_one_unit_are_joined_and_another_unit_is_told_apart() {
        let joined = (0..60).map(|n| match n % 3 {
            0 => json!({"T": START_MS + n * 100}),
            _ => json!({"E": START_MS + n * 100}),
        });
        assert_eq!(lines(joined), ["websocket.record.timestamp={{/E ?? /T}}"]);
        let siblings = (0..60).map(|n| match n % 3 {
            0 => json!({"BTC": {"t": START_MS + n * 100}}),
            _ => json!({"ETH": {"t": START_MS + n * 100}}),
        });
        let missing = "websocket.record.missing=default";
        assert_eq!(lines(siblings), ["websocket.record.timestamp={{/ETH/t ?? /BTC/t}}", missing]);
        let units = (0..60).map(|n| match n % 3 {
            0 => json!({"type": "match", "t": (START_MS + n * 100) * 1_000_000}),
            _ => json!({"type": "ticker", "t": START_MS + n * 100}),
        });
        let apart = "websocket.record.timestamp={{when(/type == 'ticker', /t)}}";
        assert_eq!(lines(units), [apart, missing]);
    }
}
