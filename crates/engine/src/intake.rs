//! From frame to records. No I/O here: bytes, the time and chance come in.
//!
//! ```text
//! frame ─▶ decode ─▶ split ─▶ each part: steps look at it ─▶ pick ─▶ decode ─▶ memory (dedupe, cursor, sequence)
//!       ─▶ filter ─▶ fields ─▶ value ─▶ Batch
//! ```
//!
//! Each stage is absent unless an option asks for it; a feed without any takes one branch. From the split on, a message is
//! one part of it.

pub mod cursor;
pub mod decode;
pub mod dedupe;
pub mod fields;
pub mod memory;
pub mod pick;
pub mod seen;
pub mod sequence;
pub mod split;
pub mod value;

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::{AddAssign, Range};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use regex::Regex;

use crate::dialogue::expression::{Condition, Message, Paths, Problem, Scope, Values};
use crate::dialogue::template::{Position, Template};
use crate::dialogue::variables::{Made, Names, Variables, is_secret};
use crate::json::{Found, Scanned, Scanner};
use crate::observer::{self, Sight, Watched};
use crate::record::{Batch, Part as RecordPart, ValueKind, epoch_ms};

use decode::{Codec, DecodeError, Decoder};
use fields::{Fields, Refused, Rendered, Topic, Unit};
use memory::{Findings, Memory};
use pick::Pick;
use seen::Seen;
use split::{Split, Splitter};
use value::{Content, Json, ValueForm};

/// The header of a record out of the feed's history.
pub(crate) const BACKFILLED: &str = "websocket.backfilled";

/// What a binary message becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryMessages {
    Bytes,
    Base64,
    Text,
    Skip,
}

/// The options of the intake, typed but not compiled.
#[derive(Debug, Clone)]
pub struct Settings {
    pub decode: Vec<Codec>,
    /// Of zstd.
    pub dictionary: Vec<u8>,
    pub message_max_bytes: usize,
    pub binary: BinaryMessages,
    pub split: Option<Split>,
    pub pointers: Vec<String>,
    pub pointer_missing: pick::Missing,
    pub record_decode: Vec<Codec>,
    pub filter: Option<String>,
    pub topic: String,
    pub topics_max: usize,
    /// Has to match a whole name.
    pub topics_allowed: Option<Regex>,
    pub key: Option<String>,
    pub key_bytes: bool,
    pub timestamp: Option<String>,
    pub timestamp_unit: Unit,
    pub headers: Vec<(String, String)>,
    /// Of `websocket.idle.key`.
    pub idle_key: Option<String>,
    pub missing: fields::Missing,
    pub value: ValueForm,
    /// Of value, key and headers.
    pub max_bytes: Option<usize>,
    pub provenance: bool,
    pub memory: memory::Settings,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            decode: Vec::new(),
            dictionary: Vec::new(),
            message_max_bytes: 16 << 20,
            binary: BinaryMessages::Bytes,
            split: None,
            pointers: Vec::new(),
            pointer_missing: pick::Missing::default(),
            record_decode: Vec::new(),
            filter: None,
            topic: String::new(),
            topics_max: 1000,
            topics_allowed: None,
            key: None,
            key_bytes: false,
            timestamp: None,
            timestamp_unit: Unit::default(),
            headers: Vec::new(),
            idle_key: None,
            missing: fields::Missing::default(),
            value: ValueForm::default(),
            max_bytes: None,
            provenance: false,
            memory: memory::Settings::default(),
        }
    }
}

/// The compiled options of the intake.
#[derive(Debug, Clone)]
pub struct Plan {
    settings: Settings,
    pick: Option<Pick>,
    filter: Option<Condition>,
    fields: Fields,
    idle_key: Option<Template>,
    /// `None` remembers nothing.
    memory: Option<memory::Plan>,
    /// Whether a record is something else than its message.
    apart: bool,
    /// Whether no option of the intake is used.
    plain: bool,
}

impl Plan {
    /// Whether records have topics of their own.
    pub fn names_topics(&self) -> bool {
        self.fields.topic.is_some()
    }

    /// Whether records have keys whose silence is noticed.
    pub fn sees_keys(&self) -> bool {
        self.idle_key.is_some()
    }

    /// What is remembered from message to message, if anything.
    pub fn memory(&self) -> Option<&memory::Plan> {
        self.memory.as_ref()
    }

    /// Compiles the options. The pointers go to `paths`, together with those of the steps.
    ///
    /// # Errors
    /// All that is wrong, each beside the option's name.
    pub fn compile(settings: Settings, names: &Names, paths: &mut Paths) -> Result<Plan, Vec<(String, Problem)>> {
        let mut problems = Vec::new();
        let pick = (!settings.pointers.is_empty())
            .then(|| Pick::compile(&settings.pointers, settings.pointer_missing, &mut paths.message))
            .transpose()
            .unwrap_or_else(|problem| {
                problems.push(("websocket.record.pointer".to_owned(), problem));
                None
            });
        let apart = pick.is_some() || !settings.record_decode.is_empty();
        let message = if apart { Message::Record } else { Message::Whole };
        let mut scope = Scope { names, given: &["connection"], message, answer: false, paths };
        let filter = settings.filter.as_ref().map(|text| Condition::compile(text, &mut scope)).transpose();
        let filter = filter.unwrap_or_else(|problem| {
            problems.push(("websocket.record.filter".to_owned(), problem));
            None
        });
        let fields = compile_fields(&settings, &mut scope, &mut problems);
        let idle_key = settings.idle_key.as_ref();
        let idle_key = idle_key.and_then(|text| field("websocket.idle.key", text, &mut scope, &mut problems));
        let memory = memory::Plan::compile(&settings.memory, &mut scope, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let has_fields =
            fields.topic.is_some() || fields.key.is_some() || fields.timestamp.is_some() || !fields.headers.is_empty();
        let changes_value = settings.value != ValueForm::AsReceived || settings.provenance;
        let unpacks = !settings.decode.is_empty() || settings.split.is_some() || apart;
        let watches = idle_key.is_some() || memory.is_some();
        let selects = filter.is_some() || settings.max_bytes.is_some();
        let plain = !unpacks && !selects && !has_fields && !changes_value && !watches;
        Ok(Plan { settings, pick, filter, fields, idle_key, memory, apart, plain })
    }
}

/// Compiles the template of an option over a record; a problem goes to the others.
fn field(name: &str, text: &str, scope: &mut Scope<'_>, problems: &mut Vec<(String, Problem)>) -> Option<Template> {
    let compiled = Template::compile(text, Position::Field, scope).and_then(|template| {
        let secret = template.used().find(|name| is_secret(name)).cloned();
        match secret {
            Some(name) => Err(Problem::new(1, format!("{name} is secret, and a record may show it to anybody"))),
            None => Ok(template),
        }
    });
    compiled.map_err(|problem| problems.push((name.to_owned(), problem))).ok()
}

fn compile_fields(settings: &Settings, scope: &mut Scope<'_>, problems: &mut Vec<(String, Problem)>) -> Fields {
    let mut template = |name: &str, text: &str| field(name, text, scope, problems);
    let topic = template("kafka.topic", &settings.topic).filter(|topic| topic.constant().is_none());
    let key = settings.key.as_ref().and_then(|text| template("websocket.record.key", text));
    let timestamp = settings.timestamp.as_ref().and_then(|text| template("websocket.record.timestamp", text));
    let header = |(name, text): &(String, String)| {
        Some((name.clone(), template(&format!("websocket.record.header.{name}"), text)?))
    };
    let headers = settings.headers.iter().filter_map(header).collect();
    Fields {
        topic: topic.map(|template| Topic {
            template,
            allowed: settings.topics_allowed.clone(),
            max: settings.topics_max,
        }),
        key,
        key_bytes: settings.key_bytes,
        timestamp: timestamp.map(|template| (template, settings.timestamp_unit)),
        headers,
        missing: settings.missing,
    }
}

/// A message as it came in a frame.
#[derive(Debug, Clone, Copy)]
pub enum Frame<'a> {
    /// Valid UTF-8.
    Text(&'a [u8]),
    Binary(&'a [u8]),
}

/// A message behind the split, for those who look at it before it becomes records.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// `None` if it is not UTF-8; then no pointer and no text matches.
    pub scanned: Option<Scanned<'a>>,
    /// The place in the split.
    pub index: Option<usize>,
}

/// Who looks at messages before they become records, and knows the variables.
pub trait Steps {
    /// Returns whether the message may become records.
    fn look(&mut self, part: &Part<'_>) -> bool;

    /// Returns true once after the steps have made the position in the feed void.
    fn begins_anew(&mut self) -> bool {
        false
    }

    /// Returns the topics whose position the steps have made void since the last call.
    fn topics_that_begin_anew(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// The number of the message, if the feed wants to hear when Kafka has its records.
    fn message(&self) -> Option<i64> {
        None
    }

    /// The message has become so many records.
    fn became(&mut self, _records: u64) {}

    /// The variables, and the last number that `n()` gave, once the steps have looked.
    fn variables(&self) -> (&Variables, &Cell<u64>);
}

/// What all records of a message share.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    pub names: &'a Names,
    /// When the message was received.
    pub now: SystemTime,
    /// Fills a buffer with random bytes.
    pub chance: &'a dyn Fn(&mut [u8]),
}

/// Where records come from: for the headers of `websocket.record.provenance`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Origin<'a> {
    pub connection: &'a str,
    /// The feed's name, or the source partition.
    pub feed: &'a str,
}

/// What became of messages that are no records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Binary messages under `websocket.frame.binary=skip`.
    pub skipped: u64,
    /// Messages in which no pointer of `websocket.record.pointer` is.
    pub without_record: u64,
    /// Records that `websocket.record.filter` dropped.
    pub filtered: u64,
    /// Records that `websocket.record.missing=skip` dropped.
    pub incomplete: u64,
    /// Records that `websocket.record.max.bytes` dropped.
    pub too_large: u64,
    /// Records out of the feed's history.
    pub backfilled: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        self.skipped += more.skipped;
        self.without_record += more.without_record;
        self.filtered += more.filtered;
        self.incomplete += more.incomplete;
        self.too_large += more.too_large;
        self.backfilled += more.backfilled;
    }
}

/// Why a message cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The connection is to be closed with this code.
    Violation { code: u16, message: String },
    /// The task fails.
    Fatal(String),
}

/// Makes records of the messages of one connection.
pub struct Intake {
    /// Nothing but a copy is to be done.
    plain: bool,
    decoder: Option<Decoder>,
    splitter: Option<Splitter>,
    records: Records,
}

impl Intake {
    /// `paths` are those of the plan and of the steps; `looked_at`: whether steps look at messages; `memory`: what the last
    /// connection left.
    ///
    /// # Errors
    /// A sentence about what cannot be built.
    pub fn new(plan: Arc<Plan>, paths: &Paths, looked_at: bool, memory: Memory) -> Result<Intake, String> {
        let settings = &plan.settings;
        let decoder = |chain: &[Codec]| {
            let wanted = !chain.is_empty();
            wanted.then(|| Decoder::new(chain, &settings.dictionary, settings.message_max_bytes)).transpose()
        };
        Ok(Intake {
            plain: plan.plain && !looked_at,
            decoder: decoder(&settings.decode)?,
            splitter: settings.split.map(Splitter::new).transpose()?,
            records: Records {
                reads_message: !paths.message.is_empty(),
                message: paths.message.build()?,
                found: Found::default(),
                decoder: decoder(&settings.record_decode)?,
                made: Made::default(),
                maker: Maker {
                    reads_record: !paths.record.is_empty(),
                    record: paths.record.build()?,
                    found: Found::default(),
                    rendered: Rendered::default(),
                    json: Json::default(),
                    seen: Seen::default(),
                    number: 0,
                    message: None,
                    of_history: false,
                    counts: Counts::default(),
                    memory,
                    findings: Findings::default(),
                    watched: Watched::default(),
                },
                plan,
            },
        })
    }

    /// Somebody is told what becomes of messages.
    pub(crate) fn watched_by(mut self, watched: Watched) -> Intake {
        self.plain &= !watched.is_watched();
        self.records.maker.watched = watched;
        self
    }

    /// Returns what was counted since the last call.
    pub fn counts(&mut self) -> Counts {
        std::mem::take(&mut self.records.maker.counts)
    }

    /// The keys of `websocket.idle.key` that records had since these were cleared.
    pub fn seen(&mut self) -> &mut Seen {
        &mut self.records.maker.seen
    }

    /// Returns what was found since the last call.
    pub fn findings(&mut self) -> Findings {
        std::mem::take(&mut self.records.maker.findings)
    }

    pub fn memory(&mut self) -> &mut Memory {
        &mut self.records.maker.memory
    }

    pub fn remembered(&self) -> &Memory {
        &self.records.maker.memory
    }

    /// The connection is over: what the next one goes on with.
    pub fn into_memory(self) -> Memory {
        self.records.maker.memory
    }

    /// Returns the number of a record out of the feed's history, in its form behind the pointer, if it is of this key.
    pub fn number_of(&mut self, record: &str, key: &str, ground: &Ground<'_>, steps: &dyn Steps) -> Option<i128> {
        self.records.number_of(record, key, ground, steps)
    }

    /// Adds a record out of the feed's history to the batch. It moves neither cursor nor numbers.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take_back(
        &mut self,
        record: &str,
        ground: &Ground<'_>,
        origin: &Origin<'_>,
        batch: &mut Batch,
        steps: &dyn Steps,
    ) -> Result<(), Refusal> {
        self.records.take_back(record, ground, origin, batch, steps)
    }

    /// Makes records of a message and adds them to the batch. Each part of it is shown to the steps first, which
    /// say whether it may become records.
    ///
    /// # Errors
    /// What is wrong with the message; records of parts before it are in the batch.
    pub fn take(
        &mut self,
        frame: Frame<'_>,
        ground: &Ground<'_>,
        origin: &Origin<'_>,
        batch: &mut Batch,
        steps: &mut dyn Steps,
    ) -> Result<(), Refusal> {
        let binary_becomes = self.records.plan.settings.binary;
        if self.plain {
            push(frame, binary_becomes, epoch_ms(ground.now), batch, &mut self.records.maker.counts);
            return Ok(());
        }
        self.records.maker.memory.begin_message();
        let (bytes, binary) = unpack(&mut self.decoder, frame, self.records.plan.settings.message_max_bytes)?;
        if binary && binary_becomes == BinaryMessages::Skip {
            self.records.maker.counts.skipped += 1;
            return Ok(());
        }
        let lossy;
        let (bytes, binary) = if binary && binary_becomes == BinaryMessages::Text {
            lossy = String::from_utf8_lossy(bytes);
            (lossy.as_bytes(), false)
        } else {
            (bytes, binary)
        };
        let text = std::str::from_utf8(bytes).ok();
        let Some(splitter) = &mut self.splitter else {
            let input = Input { bytes, text, binary, index: None, last: true };
            self.records.part(input, ground, origin, batch, steps)?;
            self.records.maker.memory.end_message();
            return Ok(());
        };
        let parts = splitter.split(bytes, text);
        for (index, range) in parts.iter().enumerate() {
            let input = Input { last: index + 1 == parts.len(), ..Input::part(bytes, text, binary, range, index) };
            self.records.part(input, ground, origin, batch, steps)?;
        }
        self.records.maker.memory.end_message();
        Ok(())
    }
}

/// The one branch of a feed without options of the intake.
fn push(frame: Frame<'_>, binary: BinaryMessages, received_ms: i64, batch: &mut Batch, counts: &mut Counts) {
    match (frame, binary) {
        (Frame::Text(text), _) => batch.push(ValueKind::Text, text, received_ms),
        (Frame::Binary(data), BinaryMessages::Bytes) => batch.push(ValueKind::Bytes, data, received_ms),
        (Frame::Binary(data), BinaryMessages::Base64) => {
            batch.push(ValueKind::Text, BASE64.encode(data).as_bytes(), received_ms);
        }
        (Frame::Binary(data), BinaryMessages::Text) => {
            batch.push(ValueKind::Text, String::from_utf8_lossy(data).as_bytes(), received_ms);
        }
        (Frame::Binary(_), BinaryMessages::Skip) => counts.skipped += 1,
    }
}

/// What the frame holds, and whether it is binary: what comes out of a decoder is.
fn unpack<'a>(decoder: &'a mut Option<Decoder>, frame: Frame<'a>, limit: usize) -> Result<(&'a [u8], bool), Refusal> {
    let decoder = decoder.as_mut().filter(|decoder| matches!(frame, Frame::Binary(_)) || decoder.takes_text());
    let (bytes, binary) = match frame {
        Frame::Text(text) => (text, false),
        Frame::Binary(data) => (data, true),
    };
    match decoder {
        Some(decoder) => Ok((decoder.decode(bytes).map_err(|error| violation(&error, limit))?, true)),
        None => Ok((bytes, binary)),
    }
}

fn violation(error: &DecodeError, limit: usize) -> Refusal {
    match error {
        DecodeError::TooBig => Refusal::Violation {
            code: 1009,
            message: format!("a decoded message is larger than websocket.message.max.bytes = {limit}"),
        },
        DecodeError::Corrupt(codec) => Refusal::Violation {
            code: 1007,
            message: format!("a message is not valid {codec}, which websocket.frame.decode expects"),
        },
    }
}

/// A message behind decoding and splitting.
#[derive(Clone, Copy)]
struct Input<'a> {
    bytes: &'a [u8],
    text: Option<&'a str>,
    binary: bool,
    index: Option<usize>,
    /// Nothing of its frame comes behind it.
    last: bool,
}

impl<'a> Input<'a> {
    fn part(bytes: &'a [u8], text: Option<&'a str>, binary: bool, range: &Range<usize>, index: usize) -> Input<'a> {
        let bytes = &bytes[range.clone()];
        // Of a message that is not UTF-8 a part may be.
        let text = match text {
            Some(text) => text.get(range.clone()),
            None => std::str::from_utf8(bytes).ok(),
        };
        Input { bytes, text, binary, index: Some(index), last: false }
    }

    fn message(self) -> observer::Message<'a> {
        if self.binary { observer::Message::Binary(self.bytes) } else { observer::Message::Text(self.bytes) }
    }
}

/// Makes records of one part.
struct Records {
    plan: Arc<Plan>,
    reads_message: bool,
    message: Scanner,
    found: Found,
    /// `websocket.record.decode`.
    decoder: Option<Decoder>,
    made: Made,
    maker: Maker,
}

impl Records {
    fn part(
        &mut self,
        input: Input<'_>,
        ground: &Ground<'_>,
        origin: &Origin<'_>,
        batch: &mut Batch,
        steps: &mut dyn Steps,
    ) -> Result<(), Refusal> {
        if self.reads_message {
            self.message.scan(input.text.unwrap_or_default(), &mut self.found);
        }
        self.maker.watched.tell(Sight::Part(input.message()));
        let scanned = input.text.map(|text| Scanned::new(text, &self.found));
        let may_be_records = steps.look(&Part { scanned, index: input.index });
        if steps.begins_anew() {
            self.maker.memory.forget_position();
        }
        steps.topics_that_begin_anew().iter().for_each(|topic| self.maker.memory.forget_position_of(topic));
        self.maker.message = steps.message();
        let before = self.maker.number;
        let made = self.make(input, may_be_records, ground, origin, batch, steps);
        steps.became(self.maker.number - before);
        made
    }

    fn number_of(&mut self, text: &str, key: &str, ground: &Ground<'_>, steps: &dyn Steps) -> Option<i128> {
        let plan = self.plan.memory.as_ref()?;
        self.made.clear();
        let (variables, count) = steps.variables();
        let values = Values::new(ground.names, variables, &self.made, ground.now, ground.chance, count);
        let values = if self.plan.apart {
            self.maker.record.scan(text, &mut self.maker.found);
            Values { record: Some(Scanned::new(text, &self.maker.found)), ..values }
        } else {
            self.message.scan(text, &mut self.found);
            Values { message: Some(Scanned::new(text, &self.found)), ..values }
        };
        self.maker.memory.number_of(plan, key, &values)
    }

    fn take_back(
        &mut self,
        text: &str,
        ground: &Ground<'_>,
        origin: &Origin<'_>,
        batch: &mut Batch,
        steps: &dyn Steps,
    ) -> Result<(), Refusal> {
        self.made.clear();
        // A record that is apart from its message comes without one.
        let message = (!self.plan.apart).then(|| {
            self.message.scan(text, &mut self.found);
            Scanned::new(text, &self.found)
        });
        let (variables, count) = steps.variables();
        let values = Values::new(ground.names, variables, &self.made, ground.now, ground.chance, count);
        let values = Values { message, ..values };
        let input = Input { bytes: text.as_bytes(), text: Some(text), binary: false, index: None, last: true };
        (self.maker.message, self.maker.of_history) = (None, true);
        let made = self.maker.record(&self.plan, input, values, origin, batch, &mut None);
        self.maker.of_history = false;
        made
    }

    /// Makes records of a message that the steps have looked at.
    fn make(
        &mut self,
        input: Input<'_>,
        may_be_records: bool,
        ground: &Ground<'_>,
        origin: &Origin<'_>,
        batch: &mut Batch,
        steps: &dyn Steps,
    ) -> Result<(), Refusal> {
        let scanned = input.text.map(|text| Scanned::new(text, &self.found));
        self.made.clear();
        let (variables, count) = steps.variables();
        let values = Values {
            message: scanned,
            index: input.index,
            ..Values::new(ground.names, variables, &self.made, ground.now, ground.chance, count)
        };
        if !may_be_records {
            self.maker.no_record(&self.plan, input, values, batch.len());
            return Ok(());
        }
        let Some(pick) = &self.plan.pick else {
            return self.maker.record(&self.plan, input, values, origin, batch, &mut self.decoder);
        };
        let picked = scanned.as_ref().and_then(|scanned| pick.pick(scanned));
        let Some((picked, plural)) = picked else {
            return match pick.missing {
                pick::Missing::Whole => {
                    self.maker.record(&self.plan, input, values, origin, batch, &mut self.decoder)
                }
                pick::Missing::Skip => {
                    self.maker.counts.without_record += 1;
                    self.maker.no_record(&self.plan, input, values, batch.len());
                    Ok(())
                }
                pick::Missing::Fail => Err(Refusal::Fatal(
                    "websocket.record.pointer: a message has no such value; websocket.record.pointer.missing=skip drops \
                     such messages and counts them"
                        .into(),
                )),
            };
        };
        let mut picked = picked.enumerate().peekable();
        while let Some((place, raw)) = picked.next() {
            let content = raw.content();
            let index = if plural { Some(place) } else { input.index };
            let last = input.last && picked.peek().is_none();
            let input = Input { bytes: content.as_bytes(), text: Some(&content), binary: input.binary, index, last };
            let values = Values { index, ..values };
            self.maker.record(&self.plan, input, values, origin, batch, &mut self.decoder)?;
        }
        Ok(())
    }
}

/// Makes one record.
struct Maker {
    reads_record: bool,
    record: Scanner,
    found: Found,
    rendered: Rendered,
    json: Json,
    seen: Seen,
    /// Of the last record of this connection.
    number: u64,
    /// Of the message under way, if the feed wants to hear when Kafka has it.
    message: Option<i64>,
    /// The record under way is out of the feed's history.
    of_history: bool,
    counts: Counts,
    memory: Memory,
    findings: Findings,
    watched: Watched,
}

impl Maker {
    /// A message without records may have a cursor and a number.
    fn no_record(&mut self, plan: &Plan, input: Input<'_>, values: Values<'_>, place: usize) {
        let Some(memory) = &plan.memory else { return };
        if self.reads_record {
            self.record.scan(input.text.unwrap_or_default(), &mut self.found);
        }
        let record = input.text.filter(|_| plan.apart).map(|text| Scanned::new(text, &self.found));
        self.memory.look_beside(memory, &Values { record, ..values }, place, &mut self.findings);
    }

    fn record(
        &mut self,
        plan: &Plan,
        input: Input<'_>,
        values: Values<'_>,
        origin: &Origin<'_>,
        batch: &mut Batch,
        decoder: &mut Option<Decoder>,
    ) -> Result<(), Refusal> {
        let settings = &plan.settings;
        let mut input = input;
        if let Some(decoder) = decoder {
            match decoder.decode(input.bytes) {
                Ok(bytes) => input = Input { bytes, text: std::str::from_utf8(bytes).ok(), ..input },
                Err(error) => match self.undecoded(settings, &error)? {
                    true => {}
                    false => return Ok(()),
                },
            }
        }
        if self.reads_record {
            self.record.scan(input.text.unwrap_or_default(), &mut self.found);
        }
        let record = input.text.filter(|_| plan.apart).map(|text| Scanned::new(text, &self.found));
        let values = Values { record, ..values };
        if let Some(memory) = &plan.memory {
            let is_new = match self.of_history {
                true => self.memory.look_back(memory, &values, &mut self.findings),
                false => self.memory.look(memory, &values, batch.len(), &mut self.findings),
            };
            if !is_new {
                return Ok(());
            }
        }
        let is_kept = plan.filter.as_ref().is_none_or(|filter| filter.holds(&values));
        if !self.of_history {
            self.watched.tell(Sight::Record { text: input.text, is_kept });
        }
        if !is_kept {
            self.counts.filtered += 1;
            return Ok(());
        }
        match self.rendered.render(&plan.fields, &values) {
            Ok(()) => {}
            Err(Refused::Skipped) => {
                self.counts.incomplete += 1;
                return Ok(());
            }
            Err(Refused::Fatal(why)) => return Err(Refusal::Fatal(why)),
        }
        let base64 = settings.binary == BinaryMessages::Base64;
        let content = Content { bytes: input.bytes, text: input.text, binary: input.binary, base64 };
        if self.is_too_large(plan, content) {
            self.counts.too_large += 1;
            let place = plan.memory.as_ref().and_then(|memory| self.memory.place(memory, input.index));
            self.findings.too_large.push(place);
            return Ok(());
        }
        if let Some(key) = &plan.idle_key {
            let written = self.seen.add(|text| fields::present(&"websocket.idle.key", key.write(&values, text)));
            written.map_err(Refusal::Fatal)?;
        }
        if let Some(memory) = &plan.memory
            && !self.of_history
            && self.memory.is_stored(memory, &mut self.findings)
        {
            return Ok(());
        }
        self.number += 1;
        let mut writer = batch.add(epoch_ms(values.now));
        self.rendered.write(&plan.fields, &mut writer);
        if let Some(memory) = &plan.memory {
            match self.of_history {
                true => self.memory.write_back(memory, values.variables, &mut writer),
                false => self.memory.write(memory, values.variables, input.last, &mut writer),
            }
        }
        if let Some(message) = self.message {
            writer.part(RecordPart::Message(message));
        }
        if self.of_history {
            self.counts.backfilled += 1;
            writer.part(RecordPart::Header { name: BACKFILLED, value: "true" });
        }
        if settings.provenance {
            for (name, value) in provenance(values.now, origin, self.number) {
                writer.part(RecordPart::Header { name, value: &value });
            }
        }
        value::write(settings.value, content, &mut self.json, writer);
        Ok(())
    }

    /// Whether the record whose fields were rendered is larger than allowed.
    fn is_too_large(&self, plan: &Plan, content: Content<'_>) -> bool {
        let size = || value::size(plan.settings.value, content) + self.rendered.size(&plan.fields);
        plan.settings.max_bytes.is_some_and(|max_bytes| size() > max_bytes)
    }

    /// Whether a record that cannot be decoded is taken as it is.
    fn undecoded(&mut self, settings: &Settings, error: &DecodeError) -> Result<bool, Refusal> {
        match settings.missing {
            fields::Missing::Default => Ok(true),
            fields::Missing::Skip => {
                self.counts.incomplete += 1;
                Ok(false)
            }
            fields::Missing::Fail => {
                let what = match error {
                    DecodeError::TooBig => "larger than websocket.message.max.bytes".to_owned(),
                    DecodeError::Corrupt(codec) => format!("not valid {codec}"),
                };
                Err(Refusal::Fatal(format!(
                    "websocket.record.decode: a record is {what}; websocket.record.missing=skip drops such records and \
                     counts them"
                )))
            }
        }
    }
}

fn provenance<'a>(now: SystemTime, origin: &Origin<'a>, number: u64) -> [(&'static str, Cow<'a, str>); 4] {
    let nanos = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    [
        ("websocket.received.ns", nanos.to_string().into()),
        ("websocket.connection", origin.connection.into()),
        ("websocket.number", number.to_string().into()),
        ("websocket.feed", origin.feed.into()),
    ]
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::time::Duration;

    use super::*;
    use crate::dialogue::variables::Variables;
    use crate::record::Key;

    const NOW_MS: i64 = 1_700_000_000_123;

    /// An intake over one connection, and what became of its messages.
    struct Rig {
        names: Names,
        variables: Variables,
        intake: Intake,
        batch: Batch,
    }

    impl Rig {
        fn new(settings: Settings) -> Rig {
            Rig::with(settings, Names::default(), false)
        }

        fn with(settings: Settings, names: Names, looked_at: bool) -> Rig {
            let mut paths = Paths::default();
            let plan = Plan::compile(settings, &names, &mut paths).unwrap();
            let intake = Intake::new(Arc::new(plan), &paths, looked_at, Memory::default()).unwrap();
            Rig { names, variables: Variables::default(), intake, batch: Batch::default() }
        }

        fn take(&mut self, frame: Frame<'_>) -> Result<(), Refusal> {
            self.take_looking(frame, |_| true)
        }

        fn take_looking(&mut self, frame: Frame<'_>, look: impl FnMut(&Part<'_>) -> bool) -> Result<(), Refusal> {
            let count = Cell::new(0);
            let now = UNIX_EPOCH + Duration::from_millis(NOW_MS as u64);
            let chance = |bytes: &mut [u8]| bytes.fill(1);
            let ground = Ground { names: &self.names, now, chance: &chance };
            let origin = Origin { connection: "7", feed: "kucoin" };
            let mut steps = Looking { look, variables: &self.variables, count };
            self.intake.take(frame, &ground, &origin, &mut self.batch, &mut steps)
        }

        fn text(&mut self, message: &str) {
            self.take(Frame::Text(message.as_bytes())).unwrap();
        }

        fn values(&self) -> Vec<String> {
            self.batch.iter().map(|record| String::from_utf8_lossy(record.value).into_owned()).collect()
        }
    }

    /// Steps that are one function.
    struct Looking<'a, F> {
        look: F,
        variables: &'a Variables,
        count: Cell<u64>,
    }

    impl<F: FnMut(&Part<'_>) -> bool> Steps for Looking<'_, F> {
        fn look(&mut self, part: &Part<'_>) -> bool {
            (self.look)(part)
        }

        fn variables(&self) -> (&Variables, &Cell<u64>) {
            (self.variables, &self.count)
        }
    }

    fn settings() -> Settings {
        Settings { topic: "feed".into(), ..Settings::default() }
    }

    fn picking(pointers: &[&str]) -> Settings {
        Settings { pointers: pointers.iter().map(|&text| text.to_owned()).collect(), ..settings() }
    }

    fn fatal(result: Result<(), Refusal>) -> String {
        match result {
            Err(Refusal::Fatal(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_secret_goes_into_a_record() {
        let mut names = Names::default();
        names.hold("secret.k").unwrap();
        names.declare(&[("v", "x{{secret.k}}")]).unwrap();
        for key in ["{{secret.k}}", "{{v}}"] {
            let settings = Settings { key: Some(key.into()), ..settings() };
            let problems = Plan::compile(settings, &names, &mut Paths::default()).unwrap_err();
            assert!(problems[0].1.message.contains("secret.k is secret"), "{key}: {problems:?}");
        }
    }

    #[test]
    fn a_feed_without_any_option_takes_one_branch() {
        let mut rig = Rig::new(settings());
        assert!(rig.intake.plain);
        rig.text("anything");
        rig.take(Frame::Binary(&[0xFF])).unwrap();
        let records: Vec<_> =
            rig.batch.iter().map(|record| (record.kind, record.value, record.timestamp_ms())).collect();
        assert_eq!(records, [(ValueKind::Text, &b"anything"[..], NOW_MS), (ValueKind::Bytes, &[0xFF][..], NOW_MS)]);
    }

    #[test]
    fn binary_messages_become_what_the_option_says_with_and_without_stages() {
        for looked_at in [false, true] {
            for (binary, kind, value) in [
                (BinaryMessages::Bytes, ValueKind::Bytes, &[b'a', 0xFF][..]),
                (BinaryMessages::Base64, ValueKind::Text, b"Yf8="),
                (BinaryMessages::Text, ValueKind::Text, "a\u{FFFD}".as_bytes()),
            ] {
                let mut rig = Rig::with(Settings { binary, ..settings() }, Names::default(), looked_at);
                rig.take(Frame::Binary(&[b'a', 0xFF])).unwrap();
                let record = rig.batch.get(0).unwrap();
                assert_eq!((record.kind, record.value), (kind, value), "{binary:?} {looked_at}");
            }
            let mut rig =
                Rig::with(Settings { binary: BinaryMessages::Skip, ..settings() }, Names::default(), looked_at);
            rig.take(Frame::Binary(&[1])).unwrap();
            assert_eq!((rig.batch.len(), rig.intake.counts().skipped), (0, 1));
            assert_eq!(rig.intake.counts(), Counts::default());
        }
    }

    #[test]
    fn decoding_applies_to_binary_messages_and_base64_to_text_too() {
        let mut rig = Rig::new(Settings { decode: vec![Codec::Base64], ..settings() });
        rig.text("aGk=");
        rig.take(Frame::Binary(b"aG8=")).unwrap();
        assert_eq!(rig.values(), ["hi", "ho"]);
        let mut rig = Rig::new(Settings { decode: vec![Codec::Gzip, Codec::Base64], ..settings() });
        rig.text("not packed");
        assert_eq!(rig.values(), ["not packed"]);
    }

    #[test]
    fn what_cannot_be_decoded_closes_the_connection() {
        let mut rig = Rig::new(Settings { decode: vec![Codec::Gzip], ..settings() });
        let Err(Refusal::Violation { code: 1007, message }) = rig.take(Frame::Binary(b"x")) else { panic!() };
        assert_eq!(message, "a message is not valid gzip, which websocket.frame.decode expects");
        let mut rig = Rig::new(Settings { decode: vec![Codec::Base64], message_max_bytes: 2, ..settings() });
        let Err(Refusal::Violation { code: 1009, message }) = rig.take(Frame::Text(b"YWJj")) else { panic!() };
        assert_eq!(message, "a decoded message is larger than websocket.message.max.bytes = 2");
    }

    #[test]
    fn what_comes_out_of_a_decoder_is_binary_and_pointers_read_it() {
        let settings = Settings {
            decode: vec![Codec::Base64],
            key: Some("{{envelope(/ch)}}".into()),
            ..picking(&["/tick/data/*"])
        };
        let mut rig = Rig::new(settings);
        rig.text(&BASE64.encode(r#"{"ch":"btc","tick":{"data":[{"id":1},{"id":123456789012345678901234567}]}}"#));
        assert_eq!(rig.values(), [r#"{"id":1}"#, r#"{"id":123456789012345678901234567}"#]);
        assert!(
            rig.batch.iter().all(|record| record.kind == ValueKind::Bytes && record.key() == Some(Key::Text("btc")))
        );
    }

    #[test]
    fn a_record_that_is_too_large_with_its_key_and_headers_is_left_out_and_counted() {
        let sized = |max_bytes| Settings {
            key: Some("{{/k}}".into()),
            headers: vec![("side".into(), "{{/s}}".into())],
            max_bytes: Some(max_bytes),
            ..settings()
        };
        let message = r#"{"k":"btc","s":"buy"}"#;
        let size = message.len() + "btc".len() + "side".len() + "buy".len();
        for (max_bytes, records) in [(size, 1), (size - 1, 0)] {
            let mut rig = Rig::new(sized(max_bytes));
            rig.text(message);
            assert_eq!((rig.batch.len(), rig.intake.counts().too_large), (records, 1 - records as u64));
        }
        let mut rig = Rig::new(Settings { binary: BinaryMessages::Base64, max_bytes: Some(7), ..settings() });
        rig.take(Frame::Binary(&[0; 4])).unwrap();
        rig.take(Frame::Binary(&[0; 3])).unwrap();
        assert_eq!((rig.values(), rig.intake.findings().too_large), (vec!["AAAA".to_owned()], vec![None]));
    }

    #[test]
    fn from_the_split_on_a_message_is_one_part() {
        let settings = Settings {
            split: Some(Split::JsonArray),
            key: Some("{{/s}}:{{index}}".into()),
            filter: Some("/T == 't'".into()),
            ..settings()
        };
        let mut rig = Rig::with(settings, Names::default(), true);
        let seen = RefCell::new(Vec::new());
        let look = |part: &Part<'_>| {
            seen.borrow_mut().push((part.index, part.scanned.map(|scanned| scanned.text().to_owned())));
            part.index != Some(1)
        };
        rig.take_looking(
            Frame::Text(br#"[{"T":"t","s":"A"},{"T":"t","s":"B"},{"T":"q","s":"C"},{"T":"t","s":"D"}]"#),
            look,
        )
        .unwrap();
        assert_eq!(seen.borrow().len(), 4);
        assert_eq!(seen.borrow()[1], (Some(1), Some(r#"{"T":"t","s":"B"}"#.to_owned())));
        let keys: Vec<_> = rig.batch.iter().map(|record| record.key()).collect();
        assert_eq!(keys, [Some(Key::Text("A:0")), Some(Key::Text("D:3"))]);
        assert_eq!(rig.intake.counts().filtered, 1);
    }

    #[test]
    fn binary_messages_are_split_at_bytes_whatever_they_hold() {
        let mut rig = Rig::new(Settings { split: Some(Split::Byte(0x1E)), ..settings() });
        rig.take(Frame::Binary(&[0xFF, 0x1E, 0x1E, b'a'])).unwrap();
        assert_eq!(rig.batch.iter().map(|record| record.value.to_vec()).collect::<Vec<_>>(), [vec![0xFF], vec![b'a']]);
    }

    #[test]
    fn the_first_pointer_that_is_there_picks_the_record_and_a_star_each_element() {
        let mut rig = Rig::new(Settings {
            key: Some("{{index}}".into()),
            ..picking(&["/push/pub", "/subscribe/publications/*"])
        });
        rig.text(r#"{"push":{"pub":{"a":1}},"subscribe":{"publications":[9]}}"#);
        rig.text(r#"{"subscribe":{"publications":[{"b":1},{"b":2}]}}"#);
        assert_eq!(rig.values(), [r#"{"a":1}"#, r#"{"b":1}"#, r#"{"b":2}"#]);
        let keys: Vec<_> = rig.batch.iter().map(|record| record.key()).collect();
        assert_eq!(keys, [None, Some(Key::Text("0")), Some(Key::Text("1"))]);
    }

    #[test]
    fn a_string_that_is_picked_gives_its_content_and_record_decode_is_the_chain_after_it() {
        let mut rig = Rig::new(Settings { key: Some("{{/id}}".into()), ..picking(&["/payload"]) });
        rig.text(r#"{"payload":"{\"id\":\"x\\n\"}"}"#);
        assert_eq!(rig.values(), [r#"{"id":"x\n"}"#]);
        assert_eq!(rig.batch.get(0).unwrap().key(), Some(Key::Text("x\n")));

        let settings =
            Settings { record_decode: vec![Codec::Base64], key: Some("{{/id}}".into()), ..picking(&["/payload"]) };
        let mut rig = Rig::new(settings);
        rig.text(&format!(r#"{{"payload":"{}"}}"#, BASE64.encode(r#"{"id":7}"#)));
        assert_eq!(rig.values(), [r#"{"id":7}"#]);
        assert_eq!(rig.batch.get(0).unwrap().key(), Some(Key::Text("7")));
    }

    #[test]
    fn a_record_that_cannot_be_decoded_is_what_record_missing_says() {
        let settings = |missing| Settings { record_decode: vec![Codec::Base64], missing, ..picking(&["/p"]) };
        let mut rig = Rig::new(settings(fields::Missing::Fail));
        assert!(fatal(rig.take(Frame::Text(br#"{"p":"!"}"#))).contains("a record is not valid base64"));
        let mut rig = Rig::new(settings(fields::Missing::Skip));
        rig.text(r#"{"p":"!"}"#);
        assert_eq!((rig.batch.len(), rig.intake.counts().incomplete), (0, 1));
        let mut rig = Rig::new(settings(fields::Missing::Default));
        rig.text(r#"{"p":"!"}"#);
        assert_eq!(rig.values(), ["!"]);
    }

    #[test]
    fn a_message_in_which_no_pointer_is_there_is_no_record_or_whole_or_fails() {
        for message in ["{\"b\":1}", "pong", "{"] {
            let mut rig = Rig::new(picking(&["/a"]));
            rig.text(message);
            assert_eq!((rig.batch.len(), rig.intake.counts().without_record), (0, 1));
            let mut rig = Rig::new(Settings { pointer_missing: pick::Missing::Whole, ..picking(&["/a"]) });
            rig.text(message);
            assert_eq!(rig.values(), [message]);
            let mut rig = Rig::new(Settings { pointer_missing: pick::Missing::Fail, ..picking(&["/a"]) });
            assert!(fatal(rig.take(Frame::Text(message.as_bytes()))).starts_with("websocket.record.pointer: "));
        }
    }

    #[test]
    fn the_filter_sees_the_picked_record_and_its_envelope() {
        let mut rig =
            Rig::new(Settings { filter: Some("envelope(/type) == 'next' && /n > 1".into()), ..picking(&["/data"]) });
        for message in
            [r#"{"type":"next","data":{"n":1}}"#, r#"{"type":"next","data":{"n":2}}"#, r#"{"type":"x","data":{"n":2}}"#]
        {
            rig.text(message);
        }
        assert_eq!(rig.values(), [r#"{"n":2}"#]);
        assert_eq!(rig.intake.counts().filtered, 2);
    }

    #[test]
    fn invalid_json_matches_no_condition_and_the_record_still_passes() {
        let mut rig = Rig::new(Settings { key: Some("{{/a}}".into()), ..settings() });
        rig.text("{\"a\":1");
        assert_eq!(rig.values(), ["{\"a\":1"]);
        assert_eq!(rig.batch.get(0).unwrap().key(), None);
    }

    #[test]
    fn key_topic_timestamp_and_headers_come_from_the_record() {
        let mut names = Names::default();
        names.declare(&[("venue", "kucoin")]).unwrap();
        let settings = Settings {
            topic: "trades-{{/s}}".into(),
            key: Some("{{/s}}:{{/id}}".into()),
            timestamp: Some("{{/t}}".into()),
            timestamp_unit: Unit::Seconds,
            headers: vec![
                ("venue".into(), "{{venue}}".into()),
                ("side".into(), "{{/side}}".into()),
                ("n".into(), "{{/id}}".into()),
            ],
            ..settings()
        };
        let mut rig = Rig::with(settings, names, false);
        rig.text(r#"{"s":"BTC/USD","id":17,"t":1606292218.5,"side":null}"#);
        let record = rig.batch.get(0).unwrap();
        assert_eq!(record.topic(), Some("trades-BTC_USD"));
        assert_eq!(record.key(), Some(Key::Text("BTC/USD:17")));
        assert_eq!(record.timestamp_ms(), 1_606_292_218_500);
        assert_eq!(record.headers().collect::<Vec<_>>(), [("venue", "kucoin"), ("n", "17")]);
        assert_eq!(record.value, br#"{"s":"BTC/USD","id":17,"t":1606292218.5,"side":null}"#);
    }

    #[test]
    fn a_missing_key_is_null_and_a_key_may_be_bytes() {
        let mut rig = Rig::new(Settings { key: Some("{{/k}}".into()), key_bytes: true, ..settings() });
        for message in [r#"{"k":"a"}"#, r#"{"k":null}"#, "{}"] {
            rig.text(message);
        }
        let keys: Vec<_> = rig.batch.iter().map(|record| record.key()).collect();
        assert_eq!(keys, [Some(Key::Bytes(b"a")), None, None]);
    }

    #[test]
    fn a_missing_topic_or_timestamp_fails_skips_or_takes_the_default() {
        let with =
            |missing| Settings { topic: "t-{{/s}}".into(), timestamp: Some("{{/t}}".into()), missing, ..settings() };
        for (message, option) in [
            (r#"{"t":1}"#, "kafka.topic: /s has no value"),
            (r#"{"s":"a"}"#, "websocket.record.timestamp: /t has no value"),
            (r#"{"s":"a","t":null}"#, "websocket.record.timestamp: /t has no value"),
            (
                r#"{"s":"a","t":"soon"}"#,
                "websocket.record.timestamp: soon is no time in the unit of websocket.record.timestamp.unit",
            ),
        ] {
            let mut rig = Rig::new(with(fields::Missing::Fail));
            let why = fatal(rig.take(Frame::Text(message.as_bytes())));
            assert_eq!(why, format!("{option}; websocket.record.missing=skip drops such records and counts them"));
            assert!(rig.batch.is_empty());
            let mut rig = Rig::new(with(fields::Missing::Skip));
            rig.text(message);
            assert_eq!((rig.batch.len(), rig.intake.counts().incomplete), (0, 1));
        }
        let mut rig = Rig::new(with(fields::Missing::Default));
        rig.text("{}");
        assert_eq!(rig.batch.get(0).unwrap().topic(), Some("t-_"));
        assert_eq!(rig.batch.get(0).unwrap().timestamp_ms(), NOW_MS);
    }

    #[test]
    fn distinct_topics_are_bounded_and_must_be_allowed() {
        let with = |missing| Settings {
            topic: "{{/s}}".into(),
            topics_max: 2,
            topics_allowed: Some(Regex::new("^(?:[a-z]|zz)$").unwrap()),
            missing,
            ..settings()
        };
        let mut rig = Rig::new(with(fields::Missing::Skip));
        for topic in ["a", "b", "a", "zzz", "c", "b"] {
            rig.text(&format!(r#"{{"s":"{topic}"}}"#));
        }
        let topics: Vec<_> = rig.batch.iter().map(|record| record.topic().unwrap().to_owned()).collect();
        assert_eq!(topics, ["a", "b", "a", "b"]);
        assert_eq!(rig.intake.counts().incomplete, 2);
        let mut rig = Rig::new(with(fields::Missing::Fail));
        assert!(
            fatal(rig.take(Frame::Text(br#"{"s":"AB"}"#)))
                .contains("the topic AB does not match websocket.topics.allowed")
        );
        rig.text(r#"{"s":"a"}"#);
        rig.text(r#"{"s":"b"}"#);
        assert!(fatal(rig.take(Frame::Text(br#"{"s":"c"}"#))).contains("one more than websocket.topics.max = 2"));
    }

    #[test]
    fn the_value_is_as_received_string_bytes_or_json() {
        let take = |value, frame| {
            let mut rig = Rig::with(Settings { value, ..settings() }, Names::default(), true);
            rig.take(frame).unwrap();
            let record = rig.batch.get(0).unwrap();
            (record.kind, record.value.to_vec())
        };
        let (text, binary) = (Frame::Text(b"[1]"), Frame::Binary(b"[1]"));
        assert_eq!(take(ValueForm::AsReceived, text).0, ValueKind::Text);
        assert_eq!(take(ValueForm::AsReceived, binary).0, ValueKind::Bytes);
        assert_eq!(take(ValueForm::String, binary), (ValueKind::Text, b"[1]".to_vec()));
        assert_eq!(take(ValueForm::Bytes, text), (ValueKind::Bytes, b"[1]".to_vec()));
        let (kind, json) = take(ValueForm::Json, binary);
        assert_eq!(kind, ValueKind::Json);
        let mut expected = Vec::new();
        crate::record::value::Parser::default().parse("[1]", &mut expected).unwrap();
        assert_eq!(json, expected);
        assert_eq!(take(ValueForm::Json, Frame::Text(b"pong")), (ValueKind::Text, b"pong".to_vec()));
    }

    #[test]
    fn provenance_is_four_headers() {
        let mut rig = Rig::new(Settings { provenance: true, split: Some(Split::Lines), ..settings() });
        rig.text("a\nb");
        let headers: Vec<_> = rig.batch.get(1).unwrap().headers().collect();
        assert_eq!(
            headers,
            [
                ("websocket.received.ns", "1700000000123000000"),
                ("websocket.connection", "7"),
                ("websocket.number", "2"),
                ("websocket.feed", "kucoin")
            ]
        );
    }

    #[test]
    fn all_problems_are_reported_at_once_with_their_option() {
        let settings = Settings {
            topic: "t-{{topic}}".into(),
            filter: Some("/a".into()),
            key: Some("{{/a".into()),
            timestamp: Some("{{nw_s()}}".into()),
            headers: vec![("x".into(), "{{sha256('')}}".into())],
            ..picking(&["a"])
        };
        let problems = Plan::compile(settings, &Names::default(), &mut Paths::default()).unwrap_err();
        let problems: Vec<String> =
            problems.into_iter().map(|(option, problem)| format!("{option}: {problem}")).collect();
        assert_eq!(problems.len(), 6, "{problems:#?}");
        assert!(
            problems.iter().any(|problem| problem == "kafka.topic: column 5: topic has no value here"),
            "{problems:#?}"
        );
        assert!(
            problems.iter().any(|problem| problem.starts_with("websocket.record.header.x: column 3: expected text"))
        );
    }
}
