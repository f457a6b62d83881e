//! Finds a field that may be a position from which the feed resumes. Messages cannot show whether the feed can do that.

use std::collections::HashSet;
use std::time::Duration;

use super::field::Origin;
use super::table::{Column, Datum, Table};
use super::time;
use super::{About, Certainty, Finding, count, in_of};

/// Names of positions.
const NAMES: [&str; 12] = [
    "cursor",
    "seq",
    "sequence",
    "offset",
    "time_us",
    "resourceVersion",
    "watermark",
    "position",
    "messageId",
    "stream_id",
    "channelSerial",
    "sequence_num",
];
/// Times that are so exact that hardly two records have the same.
const FINE: [&str; 2] = ["us", "ns"];
/// The fewest records for a finding.
const LEAST: usize = 5;
/// How far an exact time may go back, because a feed may merge several sources.
const MAX_BACK: Duration = Duration::from_secs(1);

pub(super) fn finding(records: &Table) -> Option<Finding> {
    if records.rows() < LEAST {
        return None;
    }
    let found: Vec<Position<'_>> = records.columns.iter().filter_map(|column| position(records, column)).collect();
    let best = found.iter().min_by_key(|position| (!position.is_named, position.column.field.depth))?;
    let field = &best.column.field;
    let course = match best.back {
        _ if best.is_opaque => "it is not an integer, so its order is not known".to_owned(),
        0 => "it only grows".to_owned(),
        back => format!("it went back {} times, by {:.3} s at most", count(back), best.most_back.as_secs_f64()),
    };
    let says = format!(
        "{field} may be a position to go on from: all values differ {}, and {course}.",
        in_of(records.rows(), records.rows(), "records"),
    );
    let mut finding = Finding::new(About::Cursor, Certainty::Possible, says)
        .line("websocket.cursor", field.template())
        .caveat("only if the feed goes on from it: {{cursor}} has to stand in the URL or in a message that subscribes, as the feed's documentation says");
    finding.others = found
        .iter()
        .filter(|other| other.column.field != *field)
        .map(|other| other.column.field.to_string())
        .take(3)
        .collect();
    Some(finding)
}

/// Returns a field that all records have, with different values.
struct Position<'t> {
    column: &'t Column,
    is_named: bool,
    is_opaque: bool,
    back: usize,
    most_back: Duration,
}

fn position<'t>(records: &Table, column: &'t Column) -> Option<Position<'t>> {
    let field = &column.field;
    let is_named = NAMES.contains(&field.name.as_str());
    let is_fine = column
        .values
        .iter()
        .all(|(_, datum)| time::read(datum).is_some_and(|time| FINE.contains(&time::name(time.unit))));
    if column.values.len() < records.rows() || field.origin != Origin::Record || !(is_named || is_fine) {
        return None;
    }
    let mut seen = HashSet::new();
    if !column.values.iter().all(|(_, datum)| datum.rendered().is_some_and(|text| seen.insert(text))) {
        return None;
    }
    let is_opaque = column.values.iter().any(|(_, datum)| datum.integer().is_none());
    if is_opaque {
        return Some(Position { column, is_named, is_opaque, back: 0, most_back: Duration::ZERO });
    }
    let steps_back = column.values.windows(2).filter_map(|pair| step_back(&pair[0].1, &pair[1].1));
    let steps_back: Vec<i128> = steps_back.collect();
    let unit = column
        .values
        .first()
        .and_then(|(_, datum)| time::read(datum))
        .filter(|_| is_fine)
        .map(|time| time::name(time.unit));
    let nanos = |back: i128| match unit {
        Some("us") => back.saturating_mul(1000),
        Some(_) => back,
        None => i128::MAX,
    };
    let most_back = steps_back.iter().map(|back| nanos(*back)).max().unwrap_or_default();
    let most_back = Duration::from_nanos(u64::try_from(most_back).unwrap_or(u64::MAX));
    (most_back <= MAX_BACK).then_some(Position { column, is_named, is_opaque, back: steps_back.len(), most_back })
}

/// Returns by how much the second is less than the first.
fn step_back(first: &Datum, second: &Datum) -> Option<i128> {
    first.integer()?.checked_sub(second.integer()?).filter(|back| *back > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cursor(messages: impl IntoIterator<Item = Value>) -> Option<String> {
        let mut table = Table::default();
        messages.into_iter().for_each(|message| table.message(Duration::ZERO, &message, false));
        finding(&table).map(|finding| finding.lines[0].value.clone())
    }

    #[test]
    fn a_position_is_named_so_or_a_fine_time_and_differs_in_all_records() {
        assert_eq!(cursor((0..20).map(|n| json!({"seq": n * 3, "x": n}))).as_deref(), Some("{{/seq}}"));
        assert_eq!(cursor((0..20).map(|n| json!({"messageId": format!("CAE{n}")}))).as_deref(), Some("{{/messageId}}"));
        let fine = (0..20).map(|n| json!({"t": 1_783_166_400_000_000_u64 + n * 5}));
        assert_eq!(cursor(fine).as_deref(), Some("{{/t}}"));
        assert_eq!(cursor((0..20).map(|n| json!({"seq": n / 2}))), None);
        assert_eq!(cursor((0..20).map(|n| json!({"seq": 20 - n}))), None, "it goes back");
        assert_eq!(cursor((0..20).map(|n| json!({"x": n}))), None);
    }
}
