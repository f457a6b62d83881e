//! Finds the options that fit a feed in its messages. No I/O and no clock. What is kept is limited.
//!
//! ```text
//! Learner::part, dropped, record ─▶ sample ─▶ packing ─▶ split ─▶ control ─▶ batch ─▶ table ─▶ key, timestamp, sequence, cursor
//! Learner::received ─▶ silence
//! Learner::findings: the result of each, compared with the given options
//! ```
//!
//! Each finding is searched where its option applies: silence in everything that is received; packing in frames; key,
//! timestamp and cursor in records; numbers in records, in those that the filter drops, and in messages without a
//! record.
//!
//! The sample is limited, and is checked as a whole, several times. Each finding says for how many messages it is true.

mod batch;
mod condition;
mod control;
mod cursor;
mod errors;
mod field;
mod given;
mod key;
mod maps;
mod packing;
mod sample;
mod sequence;
mod silence;
mod split;
mod structure;
mod table;
mod texts;
mod time;
mod timestamp;

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime};

use connect_websocket_engine::config_def::Properties;
use connect_websocket_engine::intake::split::{Split, Splitter};
use serde::Serialize;
use serde_json::Value;

use batch::{Batch, Batches};
use control::{Controls, Role};
pub use errors::Errors;
use field::Field;
use given::Given;
use maps::Maps;
use sample::{Kept, Made, Sample};
use silence::Silence;
use table::Table;
use texts::Texts;

/// With this number of records, a finding can be certain.
const ENOUGH: usize = 30;

/// A message as it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

impl Message<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum About {
    /// Whether all messages were checked.
    Sample,
    /// How binary messages are packed.
    Packing,
    /// Whether a message contains several.
    Split,
    /// Where in a message its records are.
    Record,
    /// Messages without data: acknowledgements, heartbeats.
    Control,
    Key,
    Timestamp,
    Sequence,
    Cursor,
    /// How long a connection may be silent.
    Idle,
}

/// How certain a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// True for all messages, and there were enough.
    Certain,
    /// True with exceptions, or for few messages.
    Likely,
    /// The messages alone cannot decide it.
    Possible,
}

/// An option, as in a properties file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    pub key: &'static str,
    pub value: String,
}

/// The line of a properties file. Kafka reads these as ISO-8859-1, so other characters are written as `\u` escapes.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.key)?;
        for char in self.value.chars() {
            match char {
                '\\' => f.write_str("\\\\")?,
                ' '..='~' => f.write_char(char)?,
                _ => char.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(f, "\\u{unit:04x}"))?,
            }
        }
        Ok(())
    }
}

/// One thing that was learned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub about: About,
    /// A sentence with the counts.
    pub says: String,
    /// Options to copy. There are none if the default fits or nothing was found.
    pub lines: Vec<Line>,
    pub certainty: Certainty,
    /// What else fits, the best first: an expression, and why.
    pub others: Vec<String>,
    /// What to check before the lines are used.
    pub caveat: Option<String>,
}

impl Finding {
    fn new(about: About, certainty: Certainty, says: impl Into<String>) -> Finding {
        Finding { about, says: says.into(), lines: Vec::new(), certainty, others: Vec::new(), caveat: None }
    }

    fn line(mut self, key: &'static str, value: impl Into<String>) -> Finding {
        self.lines.push(Line { key, value: value.into() });
        self
    }

    /// With few records, nothing is certain.
    fn seen_in(self, records: usize) -> Finding {
        let certainty = if records < ENOUGH { self.certainty.max(Certainty::Likely) } else { self.certainty };
        Finding { certainty, ..self }
    }

    fn caveat(self, caveat: &str) -> Finding {
        Finding { caveat: Some(caveat.to_owned()), ..self }
    }

    /// Adds to what has to be checked.
    fn also_check(self, why: &str) -> Finding {
        let caveat = self.caveat.as_ref().map_or_else(|| why.to_owned(), |caveat| format!("{caveat}; {why}"));
        self.caveat(&caveat)
    }
}

/// Takes messages, and returns findings.
#[derive(Debug, Default)]
pub struct Learner {
    started: Option<SystemTime>,
    given: Given,
    sample: Sample,
    silence: Silence,
}

impl Learner {
    pub fn new() -> Learner {
        Learner::default()
    }

    /// With the date of the start, times in messages can be compared with their receipt.
    pub fn started_at(started: SystemTime) -> Learner {
        Learner { started: Some(started), ..Learner::default() }
    }

    /// Sets the given options, with which the messages were received.
    #[must_use]
    pub fn under(self, options: Properties) -> Learner {
        Learner { given: Given(options), ..self }
    }

    /// Takes a message that no option changes. Messages are given in their order.
    pub fn message(&mut self, since_start: Duration, message: Message<'_>) {
        self.received(since_start);
        self.part(since_start, message);
        self.record(None, true);
    }

    /// Notes a new connection. The next messages come over it.
    pub fn connected(&mut self, since_start: Duration) {
        self.silence.connected(since_start);
        self.sample.connected();
    }

    /// Notes the time of a message, whether it becomes a record or not.
    pub fn received(&mut self, since_start: Duration) {
        self.silence.message(since_start);
    }

    /// Takes a message after the configured decoding and split.
    pub fn part(&mut self, since_start: Duration, message: Message<'_>) {
        self.sample.message(since_start, message);
    }

    /// Notes that a step has dropped the last message, so it is not a record.
    pub fn dropped(&mut self) {
        self.sample.drop_last();
    }

    /// Takes a record of the last message. `text` is `None` for binary ones. `is_kept`: it passes the configured
    /// filter.
    pub fn record(&mut self, text: Option<&str>, is_kept: bool) {
        self.sample.record(text.filter(|_| self.given.picks()), is_kept);
    }

    /// Returns which messages so far look like errors, `None` if no message does. Messages that steps drop count too.
    pub fn errors(&self) -> Option<Errors> {
        let texts = packing::unpack(self.sample.kept(), self.given.unpacks()).texts;
        let (split, _) = self.split(&texts);
        let messages = Messages { kept: self.sample.kept(), texts: &texts, split, is_picked: false };
        let (mut of, mut errors) = (0, None::<Errors>);
        messages.each(|seen| {
            of += 1;
            if errors::is_error(seen.text, seen.value.as_ref()) {
                let first = || Errors { count: 0, of: 0, first: seen.text.to_owned() };
                errors.get_or_insert_with(first).count += 1;
            }
            true
        });
        errors.map(|errors| Errors { of, ..errors })
    }

    /// Returns the findings so far, in the order of the stages of a message.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        findings.extend(self.sample.finding());
        let unpacked = packing::unpack(self.sample.kept(), self.given.unpacks());
        findings.extend(unpacked.finding);
        let (split, finding) = self.split(&unpacked.texts);
        findings.extend(finding);
        let (kept, texts, is_picked) = (self.sample.kept(), &unpacked.texts, self.given.picks());
        findings.extend(of_records(&Messages { kept, texts, split, is_picked }, self.started));
        findings.extend(self.silence.finding());
        findings.into_iter().map(|finding| self.given.beside(finding)).collect()
    }

    /// Returns how messages are split further. A configured pointer is for the message as it is.
    fn split(&self, texts: &[Option<Cow<'_, str>>]) -> (Option<Split>, Option<Finding>) {
        if self.given.splits() || self.given.picks() { (None, None) } else { split::find(texts) }
    }
}

/// The messages of the sample after unpacking and split.
struct Messages<'a> {
    kept: &'a [Kept],
    texts: &'a [Option<Cow<'a, str>>],
    split: Option<Split>,
    /// Whether the configuration says where the record is.
    is_picked: bool,
}

/// One of them.
struct Seen<'a> {
    at: Duration,
    connection: u32,
    text: &'a str,
    /// `None`: not JSON.
    value: Option<Value>,
    is_record: bool,
    /// The records that the configuration makes from it.
    records: &'a [Made],
}

impl Messages<'_> {
    /// Gives each message to `look`, until that returns false.
    fn each(&self, mut look: impl FnMut(&Seen<'_>) -> bool) {
        let mut splitter = self.split.and_then(|split| Splitter::new(split).ok());
        for (kept, text) in self.kept.iter().zip(self.texts) {
            let Some(text) = text else { continue };
            let (at, connection, is_record, records) = (kept.at, kept.connection, kept.is_record(), &kept.records[..]);
            for text in split::parts(splitter.as_mut(), text) {
                if !look(&Seen { at, connection, text, value: split::parse(text), is_record, records }) {
                    return;
                }
            }
        }
    }

    /// Returns the number of messages with text, if none of them is a JSON object or array.
    fn without_json(&self) -> Option<usize> {
        let (mut texts, mut is_json) = (0, false);
        self.each(|seen| {
            texts += 1;
            is_json = seen.value.as_ref().is_some_and(|value| value.is_object() || value.is_array());
            !is_json
        });
        (texts > 0 && !is_json).then_some(texts)
    }

    /// Returns each message as a row, and which of them are records or contain some.
    fn table(&self) -> (Table, Vec<bool>) {
        let (mut table, mut are_records) = (Table::default(), Vec::new());
        self.each(|seen| {
            table.over(seen.connection);
            match &seen.value {
                Some(value) => table.message(seen.at, value, false),
                None => table.text(seen.at, seen.text),
            }
            are_records.push(seen.is_record);
            !table.is_full()
        });
        (table.finish(), are_records)
    }
}

/// Returns the findings about JSON messages.
fn of_records(messages: &Messages<'_>, started: Option<SystemTime>) -> Vec<Finding> {
    let (whole, are_records) = messages.table();
    let controls = Controls::find(&whole, &are_records);
    let data = controls.data();
    let inside = if messages.is_picked { Inside::default() } else { inside(messages, &controls) };
    let batch = inside.batches.find().or_else(|| inside.texts.find(data));
    let is_apart = messages.is_picked || batch.is_some();
    let records = records(messages, &controls, batch.as_ref());
    let is_in_all = batch.as_ref().is_some_and(|batch| batch.messages >= data);
    let are_skipped = is_in_all && !batch.as_ref().is_some_and(|batch| batch.is_in_controls);
    let control = controls.finding(&whole, are_skipped, is_apart);
    let is_in_words = control.as_ref().is_some_and(|control| control.lines.is_empty());
    let is_filtered = are_skipped || !controls.are_some() || !is_in_words;
    let keys = key::candidates(&records);
    let times = timestamp::candidates(&records, started);
    let time_fields: Vec<Field> = times.iter().map(|time| time.field.clone()).collect();
    let (numbered, among) =
        if is_apart { numbered(messages, &controls, batch.as_ref()) } else { (whole, controls.are_no_data()) };
    let findings = [
        inside.finding(batch.as_ref(), data),
        control,
        key::finding(&records, &keys),
        timestamp::finding(&records, &times, !is_filtered),
        sequence::finding(&numbered, &among, &keys, &time_fields),
        cursor::finding(&records),
    ];
    let findings: Vec<Finding> = findings.into_iter().flatten().collect();
    let findings = match messages.without_json() {
        Some(texts) if findings.iter().all(|finding| finding.lines.is_empty()) => vec![no_json(texts)],
        _ => findings,
    };
    let findings = findings.into_iter().map(|finding| finding.seen_in(records.rows()));
    match batch {
        Some(_) => findings.collect(),
        None => findings.map(|finding| inside.maps.beside(data, finding)).collect(),
    }
}

/// Returns the only finding about records if there is no JSON in which fields could be found.
fn no_json(texts: usize) -> Finding {
    let says = format!(
        "No message is a JSON object or array, {}: keys, times and numbers are found in these alone.",
        in_of(texts, texts, "messages")
    );
    Finding::new(About::Record, Certainty::Certain, says)
}

/// What may be the records inside messages.
#[derive(Default)]
struct Inside {
    batches: Batches,
    texts: Texts,
    maps: Maps,
}

impl Inside {
    /// Returns the finding about `batch`, which is the records, or about what may be.
    fn finding(&self, batch: Option<&Batch>, data: usize) -> Option<Finding> {
        match batch {
            Some(text) if text.is_text => self.texts.finding(text, data),
            Some(array) => self.batches.finding(array, data),
            None => {
                let doubt = self.batches.doubt(data).or_else(|| self.texts.doubt(data));
                doubt.or_else(|| self.maps.doubt(data))
            }
        }
    }
}

/// Returns what is inside messages.
fn inside(messages: &Messages<'_>, controls: &Controls) -> Inside {
    let mut inside = Inside::default();
    let mut roles = controls.roles.iter();
    messages.each(|seen| {
        // Messages for which the table had no room.
        let Some(role) = roles.next() else { return false };
        if let (Some(value), Role::Data | Role::Control) = (&seen.value, role) {
            let is_control = *role == Role::Control;
            inside.batches.message(value, is_control);
            inside.texts.message(value, is_control);
            if !is_control {
                inside.maps.message(value);
            }
        }
        true
    });
    inside
}

/// Returns the records of the messages with data.
fn records(messages: &Messages<'_>, controls: &Controls, batch: Option<&Batch>) -> Table {
    let mut table = Table::default();
    let mut roles = controls.roles.iter();
    messages.each(|seen| {
        let Some(role) = roles.next() else { return false };
        table.over(seen.connection);
        if *role == Role::Data {
            match &seen.value {
                Some(value) => rows(&mut table, messages, seen, value, batch, |made| made.is_kept),
                None => table.text(seen.at, seen.text),
            }
        }
        !table.is_full()
    });
    table.finish()
}

/// Returns where to search numbers if records are picked out of messages: in all records, and in messages without one.
/// With each, whether it has no data.
fn numbered(messages: &Messages<'_>, controls: &Controls, batch: Option<&Batch>) -> (Table, Vec<bool>) {
    let (mut table, mut are_no_data) = (Table::default(), Vec::new());
    let mut roles = controls.roles.iter();
    messages.each(|seen| {
        let Some(role) = roles.next() else { return false };
        table.over(seen.connection);
        match &seen.value {
            Some(value) if seen.records.is_empty() => table.message(seen.at, value, true),
            Some(value) => rows(&mut table, messages, seen, value, batch, |_| true),
            None => table.text(seen.at, seen.text),
        }
        are_no_data.resize(table.rows(), *role != Role::Data);
        !table.is_full()
    });
    (table.finish(), are_no_data)
}

/// Adds the records of a message to a table.
fn rows(
    table: &mut Table,
    messages: &Messages<'_>,
    seen: &Seen<'_>,
    message: &Value,
    batch: Option<&Batch>,
    wanted: impl Fn(&Made) -> bool,
) {
    if messages.is_picked {
        for made in seen.records.iter().filter(|made| wanted(made)) {
            let record = made.picked.as_deref().and_then(split::parse).unwrap_or_default();
            table.record(seen.at, &record, message);
        }
        return;
    }
    match batch.and_then(|batch| batch.records(message)) {
        Some(records) => records.iter().for_each(|record| table.record(seen.at, record, message)),
        None => table.message(seen.at, message, batch.is_some()),
    }
}

/// Returns a number with commas between thousands.
fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `in 4,690 of 4,690 messages`.
fn in_of(some: usize, all: usize, what: &str) -> String {
    format!("in {} of {} {what}", count(some), count(all))
}

#[cfg(test)]
mod tests {
    use connect_websocket_engine::config::Config;
    use connect_websocket_engine::config_def::Properties;

    use super::*;

    #[test]
    fn counts_have_commas_between_thousands() {
        assert_eq!(in_of(7, 1_234_567, "messages"), "in 7 of 1,234,567 messages");
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(4_690), "4,690");
    }

    fn under(options: &[(&str, &str)]) -> Learner {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Learner::new().under(options)
    }

    fn lines(learner: &Learner) -> Vec<String> {
        let lines = learner.findings().into_iter().flat_map(|finding| finding.lines);
        lines.map(|line| format!("{}={}", line.key, line.value)).collect()
    }

    /// A feed in envelopes under a pointer; every third message is a heartbeat that a step answers, and all are numbered.
    fn in_envelopes(learner: &mut Learner) {
        for n in 0..90_u64 {
            let at = Duration::from_secs(n);
            learner.received(at);
            if n % 3 == 0 {
                learner.part(at, Message::Text(&format!(r#"{{"type":"heartbeat","seq":{}}}"#, n + 9)));
                learner.dropped();
                continue;
            }
            let record = format!(r#"{{"price":"{n}.5","time":{}}}"#, 1_783_166_400_000 + n * 1000);
            let symbol = ["BTC", "ETH"][n as usize / 3 % 2];
            let message = format!(r#"{{"seq":{},"symbol":"{symbol}","data":[{record},{{"deleted":true}}]}}"#, n + 9);
            learner.part(at, Message::Text(&message));
            learner.record(Some(&record), true);
            learner.record(Some(r#"{"deleted":true}"#), false);
        }
    }

    #[test]
    fn what_is_suggested_stands_where_the_given_pointer_needs_it() {
        let mut learner = under(&[
            ("websocket.record.pointer", "/data/*"),
            ("websocket.record.filter", "/price exists"),
            ("websocket.session.steps", "connect,beat"),
        ]);
        in_envelopes(&mut learner);
        assert_eq!(
            lines(&learner),
            [
                "websocket.record.key={{envelope(/symbol)}}",
                "websocket.record.timestamp={{/time}}",
                // To a record that is the message around it, to a message without a record the message itself.
                "websocket.sequence={{envelope(/seq)}}",
                "websocket.idle.timeout.ms=30000",
            ]
        );
    }

    #[test]
    fn messages_that_are_no_json_are_told_once_and_not_searched() {
        let says = |text: &str| {
            let mut learner = Learner::new();
            for n in 0..30 {
                learner.message(Duration::from_secs(n), Message::Text(&text.replace('#', &n.to_string())));
            }
            learner.findings().into_iter().map(|finding| finding.says).collect::<Vec<_>>()
        };
        let [no_json, idle] = &says("price #")[..] else { panic!("{:?}", says("price #")) };
        assert!(no_json.contains("No message is a JSON object or array, in 30 of 30 messages"), "{no_json}");
        assert!(idle.contains("longest silence"), "{idle}");
        assert_eq!(says("\"{\\\"price\\\":#}\"")[0], *no_json, "JSON in a text");
        assert!(!says(r#"{"price":#}"#).iter().any(|says| says.contains("No message is")));
    }

    #[test]
    fn data_under_names_that_are_not_looked_at_is_data() {
        let told = |name: &dyn Fn(u64) -> String| {
            let mut learner = Learner::new();
            for n in 0..900 {
                let name = if n % 2 == 0 { "symbol".to_owned() } else { name(n) };
                learner.message(Duration::from_secs(n), Message::Text(&format!(r#"{{"{name}":"{}"}}"#, n % 5)));
            }
            learner.findings().into_iter().filter(|finding| finding.about == About::Control).count()
        };
        assert_eq!(told(&|_| "it's".to_owned()), 0);
        assert_eq!(told(&|_| "x".repeat(100)), 0);
        assert_eq!(told(&|n| format!("id{n}")), 0, "more names than there is room for");
    }

    #[test]
    fn silence_is_that_of_everything_that_comes() {
        let mut learner = Learner::new();
        for n in 0..60 {
            learner.received(Duration::from_secs(n));
        }
        assert_eq!(
            lines(&learner),
            ["websocket.idle.timeout.ms=30000"],
            "no record came, and the connection was alive"
        );
    }

    #[test]
    fn numbers_of_messages_that_steps_and_filters_drop_count() {
        let mut learner = under(&[("websocket.record.filter", "/price exists")]);
        for n in 5..65_u64 {
            let message = match n % 3 {
                0 => format!(r#"{{"type":"heartbeat","seq":{n}}}"#),
                1 => format!(r#"{{"type":"note","seq":{n}}}"#),
                _ => format!(r#"{{"type":"trade","seq":{n},"price":1.5}}"#),
            };
            learner.part(Duration::ZERO, Message::Text(&message));
            match n % 3 {
                0 => learner.dropped(),
                kind => learner.record(Some(&message), kind == 2),
            }
        }
        assert_eq!(lines(&learner), ["websocket.sequence={{/seq}}", "websocket.cursor={{/seq}}"]);
    }

    #[test]
    fn a_pasted_line_is_read_as_it_was_meant() {
        for value in ["{{/données/'номер'}}", "/a == 'x\\u0041' && /b == '😀'", "{{/a}}"] {
            let pasted = Line { key: "websocket.record.key", value: value.to_owned() }.to_string();
            assert!(pasted.is_ascii(), "{pasted}");
            let read = connect_websocket_engine::properties::parse(pasted.as_bytes()).unwrap();
            assert_eq!(read["websocket.record.key"], value);
        }
    }

    #[test]
    fn without_messages_nothing_is_suggested() {
        let findings = Learner::new().findings();
        assert!(findings.iter().all(|finding| finding.lines.is_empty()), "{findings:?}");
    }

    /// Splitmix64.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        }

        fn below(&mut self, bound: u64) -> u64 {
            self.next() % bound
        }

        /// Pieces of JSON in any order, and bytes that are none.
        fn message(&mut self) -> Vec<u8> {
            const PIECES: [&[u8]; 20] = [
                b"{",
                b"}",
                b"[",
                b"]",
                b",",
                b":",
                b"\"a\"",
                b"\"type\"",
                b"\"ts\"",
                b"1783166400000",
                b"\"x\"",
                b"null",
                b"-1",
                b"1e400",
                b"\n",
                b"\x1e",
                b"\x1f\x8b\x08\0",
                b"\x28\xB5\x2F\xFD",
                b"\xFF\xFE",
                b"99999999999999999999999999999999999999999",
            ];
            if self.below(2) == 0 {
                return self.json(3).into_bytes();
            }
            let pieces = self.below(30);
            (0..pieces).flat_map(|_| PIECES[self.below(20) as usize].iter().copied()).collect()
        }

        fn json(&mut self, depth: u64) -> String {
            let few = self.below(5);
            match self.below(if depth == 0 { 4 } else { 6 }) {
                0 => self.next().to_string(),
                1 => format!(
                    "\"{}\"",
                    ["", "ack", "BTC", "2026-07-04T12:00:00Z", "{{x}}", "it's"][self.below(6) as usize]
                ),
                2 => format!("{}", 1_783_166_400_000 + self.below(10_000)),
                3 => self.below(20).to_string(),
                4 => format!("[{}]", (0..few).map(|_| self.json(depth - 1)).collect::<Vec<_>>().join(",")),
                _ => {
                    let member = |random: &mut Random| {
                        let name = ["a", "seq", "id", "type", "data", "{{", "'", "-1", "*", "result"]
                            [random.below(10) as usize];
                        format!("\"{name}\":{}", random.json(depth - 1))
                    };
                    format!("{{{}}}", (0..few).map(|_| member(self)).collect::<Vec<_>>().join(","))
                }
            }
        }
    }

    #[test]
    fn any_messages_are_looked_at_and_what_is_suggested_is_valid() {
        for seed in 0..200 {
            let mut random = Random(seed);
            let mut learner = Learner::new();
            for number in 0..random.below(60) {
                let bytes = random.message();
                let at = Duration::from_millis(number * random.below(2000));
                match str::from_utf8(&bytes) {
                    Ok(text) if random.below(4) > 0 => learner.message(at, Message::Text(text)),
                    _ => learner.message(at, Message::Binary(&bytes)),
                }
            }
            let lines = learner.findings().into_iter().flat_map(|finding| finding.lines);
            let given = [("name", "x"), ("kafka.topic", "x"), ("websocket.url", "wss://feed.test/?cursor={{cursor}}")];
            let given = given.map(|(key, value)| (key.to_owned(), value.to_owned()));
            let mut options: Properties =
                given.into_iter().chain(lines.map(|line| (line.key.to_owned(), line.value))).collect();
            if !options.contains_key("websocket.cursor") {
                options.insert("websocket.url".to_owned(), "wss://feed.test/".to_owned());
            }
            if let Err(errors) = Config::parse(&options) {
                panic!("seed {seed}: {options:?}: {errors:?}");
            }
        }
    }

    #[test]
    fn many_and_large_messages_take_bounded_memory() {
        let mut learner = Learner::new();
        let elements = vec![r#"{"a":1}"#; 100_000].join(",");
        let large = format!("[{elements}]");
        for number in 0..40 {
            learner.message(Duration::from_secs(number), Message::Text(&large));
            learner.message(Duration::from_secs(number), Message::Text("{}"));
        }
        let kept: usize = learner.sample.kept().iter().map(|kept| kept.bytes.len()).sum();
        assert!(kept <= 8 << 20, "{kept}");
        assert!(learner.findings().iter().any(|finding| finding.about == About::Split));
    }
}
