//! Topic, key, timestamp and headers of a record, each from a template.

use std::collections::HashSet;

use regex::Regex;

use crate::calendar;
use crate::dialogue::expression::{Failure, Problem, Scope, Values};
use crate::dialogue::template::{Position, Template};
use crate::dialogue::variables::is_secret;
use crate::record::{Key, Part, RecordWriter};

/// The longest topic name of Kafka.
const MAX_TOPIC: usize = 249;

/// `websocket.record.missing`: what happens with a record whose topic or timestamp has no value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Missing {
    /// The task fails.
    #[default]
    Fail,
    /// The record is dropped and counted.
    Skip,
    /// The timestamp is the time of receipt. In a topic, `_` replaces what is missing.
    Default,
}

/// The unit of a timestamp.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    #[default]
    Millis,
    Micros,
    Nanos,
    Iso,
}

impl Unit {
    pub const NAMES: [&str; 5] = ["s", "ms", "us", "ns", "iso"];

    pub fn find(name: &str) -> Option<Unit> {
        let all = [Unit::Seconds, Unit::Millis, Unit::Micros, Unit::Nanos, Unit::Iso];
        Unit::NAMES.iter().position(|own| *own == name).map(|at| all[at])
    }

    /// Returns milliseconds since the epoch, rounded down. `None` if the text is not such a time, or is out of Kafka's
    /// range.
    pub fn millis(self, text: &str) -> Option<i64> {
        let nanos = match self {
            Unit::Iso => calendar::parse_iso(text)?,
            Unit::Seconds => decimal_nanos(text, 9)?,
            Unit::Millis => decimal_nanos(text, 6)?,
            Unit::Micros => decimal_nanos(text, 3)?,
            Unit::Nanos => decimal_nanos(text, 0)?,
        };
        // Kafka refuses times before the epoch.
        i64::try_from(nanos.div_euclid(1_000_000)).ok().filter(|&ms| ms >= 0)
    }
}

/// Returns a decimal number times ten to the power of `shift`, as an integer. The number may have an exponent.
fn decimal_nanos(text: &str, shift: i32) -> Option<i128> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let shift = shift.checked_add(exponent.parse::<i32>().ok()?)?;
    let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let point = i64::try_from(whole.len()).ok()? + i64::from(shift);
    // No time in Kafka's range is longer in nanoseconds.
    let digits = usize::try_from(point.max(0)).ok().filter(|&digits| digits <= 30)?;
    let mut number: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()).chain(std::iter::repeat(b'0')).take(digits) {
        number = number.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    Some(if negative { -number } else { number })
}

/// The templates of a record's fields.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    /// `None`: all records have the configured topic.
    pub topic: Option<Topic>,
    pub key: Option<Template>,
    /// Whether the key has the schema BYTES.
    pub key_bytes: bool,
    pub timestamp: Option<(Template, Unit)>,
    pub headers: Vec<(String, Template)>,
    pub missing: Missing,
}

/// A topic that comes from the record.
#[derive(Debug, Clone)]
pub struct Topic {
    pub template: Template,
    pub allowed: Option<Regex>,
    /// The most topics.
    pub max: usize,
}

/// Why a record has no fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// `websocket.record.missing=skip`.
    Skipped,
    /// The task fails with this.
    Fatal(String),
}

/// The fields of one record after another. The buffers are reused.
#[derive(Debug, Default)]
pub struct Rendered {
    topics: HashSet<String>,
    topic: String,
    key: String,
    has_key: bool,
    timestamp_ms: Option<i64>,
    /// The values of all headers in one buffer, and the end of each. `None`: the header is missing.
    headers: String,
    ends: Vec<Option<usize>>,
}

impl Rendered {
    /// Renders all fields of a record.
    ///
    /// # Errors
    /// A required field is missing, or a value is not allowed.
    pub fn render(&mut self, fields: &Fields, values: &Values<'_>) -> Result<(), Refused> {
        self.topic.clear();
        if let Some(topic) = &fields.topic {
            self.render_topic(topic, fields.missing, values)?;
        }
        self.key.clear();
        self.has_key = match &fields.key {
            Some(key) => present(&"websocket.record.key", key.write(values, &mut self.key)).map_err(Refused::Fatal)?,
            None => false,
        };
        self.timestamp_ms = match &fields.timestamp {
            Some((template, unit)) => self.render_timestamp(template, *unit, fields.missing, values)?,
            None => None,
        };
        self.headers.clear();
        self.ends.clear();
        for (name, template) in &fields.headers {
            let written = template.write(values, &mut self.headers);
            let there = present(&format_args!("websocket.record.header.{name}"), written).map_err(Refused::Fatal)?;
            self.ends.push(there.then_some(self.headers.len()));
        }
        Ok(())
    }

    /// Returns the bytes of key and headers.
    pub fn size(&self, fields: &Fields) -> usize {
        let names = fields.headers.iter().zip(&self.ends).filter(|(_, end)| end.is_some());
        let key = if self.has_key { self.key.len() } else { 0 };
        key + self.headers.len() + names.map(|((name, _), _)| name.len()).sum::<usize>()
    }

    fn render_topic(&mut self, topic: &Topic, missing: Missing, values: &Values<'_>) -> Result<(), Refused> {
        let instead = (missing == Missing::Default).then_some("_");
        match topic.template.write_or(values, instead, &mut self.topic) {
            Ok(()) => {}
            Err(failure @ Failure::Missing(_)) => return Err(refuse(missing, "kafka.topic", &failure)),
            Err(failure) => return Err(fatal("kafka.topic", &failure)),
        }
        make_legal(&mut self.topic);
        if self.topics.contains(&self.topic) {
            return Ok(());
        }
        let shown = &self.topic;
        if topic.allowed.as_ref().is_some_and(|allowed| !allowed.is_match(shown)) {
            let why = format!("the topic {shown} does not match websocket.topics.allowed");
            return Err(refuse(missing_of_topic(missing), "kafka.topic", &why));
        }
        if self.topics.len() >= topic.max {
            let why = format!("the topic {shown} would be one more than websocket.topics.max = {}", topic.max);
            return Err(refuse(missing_of_topic(missing), "kafka.topic", &why));
        }
        self.topics.insert(self.topic.clone());
        Ok(())
    }

    fn render_timestamp(
        &mut self,
        template: &Template,
        unit: Unit,
        missing: Missing,
        values: &Values<'_>,
    ) -> Result<Option<i64>, Refused> {
        const NAME: &str = "websocket.record.timestamp";
        // Its text is not kept. So it uses the buffer of the headers, which come later.
        self.headers.clear();
        let why = match template.write(values, &mut self.headers) {
            Ok(()) => match unit.millis(&self.headers) {
                Some(ms) => return Ok(Some(ms)),
                None => {
                    format!("{} is not a time in the unit of websocket.record.timestamp.unit", shortened(&self.headers))
                }
            },
            Err(failure @ Failure::Missing(_)) => failure.to_string(),
            Err(failure) => return Err(fatal(NAME, &failure)),
        };
        match missing {
            Missing::Default => Ok(None),
            missing => Err(refuse(missing, NAME, &why)),
        }
    }

    /// Adds the fields to a record.
    pub fn write(&self, fields: &Fields, record: &mut RecordWriter<'_>) {
        if fields.topic.is_some() {
            record.part(Part::Topic(&self.topic));
        }
        if self.has_key {
            let text = Key::Text(&self.key);
            record.part(Part::Key(if fields.key_bytes { Key::Bytes(self.key.as_bytes()) } else { text }));
        }
        if let Some(ms) = self.timestamp_ms {
            record.part(Part::Timestamp(ms));
        }
        let mut start = 0;
        for ((name, _), end) in fields.headers.iter().zip(&self.ends) {
            if let Some(end) = *end {
                record.part(Part::Header { name, value: &self.headers[start..end] });
                start = end;
            }
        }
    }
}

/// Whether a field has a value.
pub(super) fn present(name: &dyn std::fmt::Display, written: Result<(), Failure>) -> Result<bool, String> {
    match written {
        Ok(()) => Ok(true),
        Err(Failure::Missing(_)) => Ok(false),
        Err(failure) => Err(format!("{name}: {failure}")),
    }
}

fn fatal(name: &str, failure: &Failure) -> Refused {
    Refused::Fatal(format!("{name}: {failure}"))
}

fn refuse(missing: Missing, name: &str, why: &dyn std::fmt::Display) -> Refused {
    match missing {
        Missing::Skip => Refused::Skipped,
        Missing::Fail | Missing::Default => {
            Refused::Fatal(format!("{name}: {why}; websocket.record.missing=skip drops such records and counts them"))
        }
    }
}

/// For a topic that is not allowed, `default` has no other topic. So it fails the task too.
fn missing_of_topic(missing: Missing) -> Missing {
    if missing == Missing::Skip { Missing::Skip } else { Missing::Fail }
}

/// Returns a value of the feed, as an error shows it.
fn shortened(text: &str) -> String {
    let short: String = text.chars().take(40).map(|char| if char.is_control() { '\u{FFFD}' } else { char }).collect();
    if short.len() < text.len() { short + "…" } else { short }
}

/// Kafka's rule for topic names (`org.apache.kafka.common.internals.Topic`): what is illegal becomes `_`.
fn make_legal(topic: &mut String) {
    let legal = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
    if !topic.chars().all(legal) {
        *topic = topic.chars().map(|char| if legal(char) { char } else { '_' }).collect();
    }
    topic.truncate(MAX_TOPIC);
    if topic.chars().all(|char| char == '.') && topic.len() < 3 {
        *topic = "_".repeat(topic.len().max(1));
    }
}

/// Compiles the template of an option. A problem is added to the list.
pub(super) fn field(
    name: &str,
    text: &str,
    scope: &mut Scope<'_>,
    problems: &mut Vec<(String, Problem)>,
) -> Option<Template> {
    let compiled = Template::compile(text, Position::Field, scope).and_then(|template| {
        let secret = template.used().find(|name| is_secret(name)).cloned();
        match secret {
            Some(name) => Err(Problem::new(1, format!("{name} is secret, and a record would show it"))),
            None if template.constant().is_some() && !may_be_constant(name, text) => {
                let remedy = "it is the same text for each record; {{/a}} inserts the field /a of the message";
                Err(Problem::new(1, remedy))
            }
            None => Ok(template),
        }
    });
    compiled.map_err(|problem| problems.push((name.to_owned(), problem))).ok()
}

/// Whether this text may be the same in each record. A pointer without braces is a mistake.
fn may_be_constant(name: &str, text: &str) -> bool {
    match name {
        "websocket.record.key" => !text.starts_with('/'),
        name => name == "kafka.topic" || name.starts_with("websocket.record.header."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_has_a_unit_and_fractions_are_taken() {
        for (unit, text, ms) in [
            (Unit::Seconds, "1606292218", 1_606_292_218_000),
            (Unit::Seconds, "1606292218.231", 1_606_292_218_231),
            (Unit::Seconds, "1606292218.2319", 1_606_292_218_231),
            (Unit::Millis, "1606292218213.4578", 1_606_292_218_213),
            (Unit::Micros, "1606292218231999", 1_606_292_218_231),
            (Unit::Nanos, "1606292218231999999", 1_606_292_218_231),
            (Unit::Seconds, "1.606292218231e9", 1_606_292_218_231),
            (Unit::Seconds, "1606292218231E-3", 1_606_292_218_231),
            (Unit::Iso, "2020-11-25T08:16:58.231Z", 1_606_292_218_231),
            (Unit::Iso, "2020-11-25T08:16:58.231999999Z", 1_606_292_218_231),
            (Unit::Millis, "0", 0),
            (Unit::Nanos, "0.9", 0),
        ] {
            assert_eq!(unit.millis(text), Some(ms), "{text}");
        }
        for (unit, text) in [
            (Unit::Millis, ""),
            (Unit::Millis, "-1"),
            (Unit::Millis, "x"),
            (Unit::Millis, "1e999999999"),
            (Unit::Millis, "1e99999999999999"),
            (Unit::Millis, "99999999999999999999"),
            (Unit::Millis, "1.2.3"),
            (Unit::Millis, ".5"),
            (Unit::Iso, "1606292218"),
        ] {
            assert_eq!(unit.millis(text), None, "{text}");
        }
    }

    #[test]
    fn units_are_named_and_found() {
        let all = [Unit::Seconds, Unit::Millis, Unit::Micros, Unit::Nanos, Unit::Iso];
        assert_eq!(Unit::NAMES.map(|name| Unit::find(name).unwrap()), all);
        assert_eq!(Unit::find("min"), None);
    }

    #[test]
    fn illegal_characters_of_a_topic_become_underscores() {
        for (rendered, legal) in [
            ("trades-BTC/USD", "trades-BTC_USD"),
            ("a b:c@ä", "a_b_c__"),
            (".", "_"),
            ("..", "__"),
            ("...", "..."),
            ("", "_"),
            ("ok.fine_1-2", "ok.fine_1-2"),
        ] {
            let mut topic = rendered.to_owned();
            make_legal(&mut topic);
            assert_eq!(topic, legal);
        }
        let mut long = "x".repeat(1000);
        make_legal(&mut long);
        assert_eq!(long.len(), MAX_TOPIC);
    }
}
