//! What can be learned about a feed from its messages: which options fit it. No I/O and no clock; what is kept is bounded.
//!
//! ```text
//! Learner::message … ─▶ sample  ─▶ packing ─▶ split ─▶ control ─▶ batch ─▶ table ─▶ key, timestamp, sequence, cursor
//!                   └─▶ silence
//! Learner::findings: what each of them says
//! ```
//!
//! The sample is bounded, and looked at as a whole, several times over. A finding never guesses silently: it says in how
//! many messages it held.

mod batch;
mod condition;
mod control;
mod cursor;
mod field;
mod key;
mod packing;
mod sample;
mod sequence;
mod silence;
mod split;
mod structure;
mod table;
mod time;
mod timestamp;

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use connect_websocket_engine::intake::split::{Split, Splitter};
use serde::Serialize;
use serde_json::Value;

use batch::{Batch, Batches};
use control::Controls;
use field::Field;
use sample::{Kept, Sample};
use silence::Silence;
use table::Table;

/// So many records are enough to be certain.
const ENOUGH: usize = 30;

/// A message as it came.
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
    /// Whether the sample is enough.
    Sample,
    /// How binary messages are packed.
    Packing,
    /// Whether a message holds several.
    Split,
    /// Where in a message its records are.
    Record,
    /// Messages that are no data: acknowledgements, heartbeats.
    Control,
    Key,
    Timestamp,
    Sequence,
    Cursor,
    /// How long a connection may be silent.
    Idle,
}

/// How sure a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// It held often, and never did not.
    Certain,
    /// It held, with exceptions or in a small sample.
    Likely,
    /// The messages alone cannot say.
    Possible,
}

/// An option as it stands in a properties file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    pub key: &'static str,
    pub value: String,
}

/// One thing that was learned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub about: About,
    /// A sentence, with the counts that it stands on.
    pub says: String,
    /// Options to paste; none if the default fits or nothing was found.
    pub lines: Vec<Line>,
    pub certainty: Certainty,
    /// What else fits, the better one first: an expression, and why.
    pub others: Vec<String>,
    /// What somebody has to check before the lines are used.
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

    /// Of few records nothing is certain.
    fn seen_in(self, records: usize) -> Finding {
        let certainty = if records < ENOUGH { self.certainty.max(Certainty::Likely) } else { self.certainty };
        Finding { certainty, ..self }
    }

    fn caveat(self, caveat: &str) -> Finding {
        Finding { caveat: Some(caveat.to_owned()), ..self }
    }
}

/// Sees messages, and says what it learned from them.
#[derive(Debug, Default)]
pub struct Learner {
    started: Option<SystemTime>,
    sample: Sample,
    silence: Silence,
}

impl Learner {
    pub fn new() -> Learner {
        Learner::default()
    }

    /// Knows the date too, so that times in messages can be compared with their receipt.
    pub fn started_at(started: SystemTime) -> Learner {
        Learner { started: Some(started), ..Learner::default() }
    }

    /// Looks at a message, given when it came. Messages come in their order.
    pub fn message(&mut self, since_start: Duration, message: Message<'_>) {
        self.silence.message(since_start);
        self.sample.message(since_start, message);
    }

    /// Returns what was learned so far, in the order in which a message is read.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        findings.extend(self.sample.finding());
        let unpacked = packing::unpack(self.sample.kept());
        findings.extend(unpacked.finding);
        let (split, finding) = split::find(&unpacked.texts);
        findings.extend(finding);
        findings
            .extend(of_records(&Messages { kept: self.sample.kept(), texts: &unpacked.texts, split }, self.started));
        findings.extend(self.silence.finding());
        findings
    }
}

/// The messages of the sample behind packing and split.
struct Messages<'a> {
    kept: &'a [Kept],
    texts: &'a [Option<Cow<'a, str>>],
    split: Option<Split>,
}

impl Messages<'_> {
    /// Shows each message to `look`, as JSON if it is that, until it has seen enough.
    fn each(&self, mut look: impl FnMut(Duration, &str, Option<&Value>) -> bool) {
        let mut splitter = self.split.and_then(|split| Splitter::new(split).ok());
        for (kept, text) in self.kept.iter().zip(self.texts) {
            let Some(text) = text else { continue };
            for part in split::parts(splitter.as_mut(), text) {
                if !look(kept.at, part, split::parse(part).as_ref()) {
                    return;
                }
            }
        }
    }

    /// Each message as a row.
    fn table(&self) -> Table {
        let mut table = Table::default();
        self.each(|at, text, value| {
            match value {
                Some(value) => table.message(at, value, false),
                None => table.text(at, text),
            }
            !table.is_full()
        });
        table.finish()
    }
}

/// What is learned from messages that are JSON.
fn of_records(messages: &Messages<'_>, started: Option<SystemTime>) -> Vec<Finding> {
    let whole = messages.table();
    let controls = Controls::find(&whole);
    let data = whole.rows() - controls.count();
    let batches = batches(messages, &controls);
    let batch = batches.find();
    let records = records(messages, &controls, batch.as_ref());
    let is_in_all = batch.as_ref().is_some_and(|batch| batch.messages >= data);
    let are_skipped = is_in_all && !batch.as_ref().is_some_and(|batch| batch.is_in_controls);
    let control = controls.finding(&whole, are_skipped, batch.is_some());
    let is_filtered = are_skipped || control.as_ref().is_none_or(|control| !control.lines.is_empty());
    let keys = key::candidates(&records);
    let times = timestamp::candidates(&records, started);
    let time_fields: Vec<Field> = times.iter().map(|time| time.field.clone()).collect();
    let (numbered, among): (_, &[bool]) =
        if batch.is_some() { (&records, &[]) } else { (&whole, &controls.is_control) };
    let findings = [
        batch.as_ref().map_or_else(|| batches.doubt(data), |batch| batches.finding(batch, data)),
        control,
        key::finding(&records, &keys),
        timestamp::finding(&records, &times, !is_filtered),
        sequence::finding(numbered, among, &keys, &time_fields),
        cursor::finding(&records),
    ];
    findings.into_iter().flatten().map(|finding| finding.seen_in(records.rows())).collect()
}

/// The arrays in messages.
fn batches(messages: &Messages<'_>, controls: &Controls) -> Batches {
    let mut batches = Batches::default();
    let mut is_control = controls.is_control.iter();
    messages.each(|_, _, value| {
        let Some(is_control) = is_control.next() else { return false };
        if let Some(value) = value {
            batches.message(value, *is_control);
        }
        true
    });
    batches
}

/// The records of the messages with data.
fn records(messages: &Messages<'_>, controls: &Controls, batch: Option<&Batch>) -> Table {
    let mut table = Table::default();
    let mut is_control = controls.is_control.iter();
    messages.each(|at, text, value| {
        match (is_control.next(), value) {
            // The table of messages was full.
            (None, _) => return false,
            (Some(true), _) => {}
            (Some(false), None) => table.text(at, text),
            (Some(false), Some(value)) => match batch.and_then(|batch| batch.records(value)) {
                Some(records) => records.iter().for_each(|record| table.record(at, record, value)),
                None => table.message(at, value, batch.is_some()),
            },
        }
        !table.is_full()
    });
    table.finish()
}

/// A number of people: with commas between thousands.
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
