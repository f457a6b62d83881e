//! From a part of a message to records: the steps check the part, and `websocket.record.pointer` picks the records.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::{AddAssign, Range};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::decode::{DecodeError, Decoder};
use super::fields::{self, Refused, Rendered};
use super::memory::{Findings, Memory};
use super::pick;
use super::plan::{BinaryMessages, Plan, Settings};
use super::seen::Seen;
use super::value::{self, Content, Json};
use crate::dialogue::expression::{Paths, Values};
use crate::dialogue::variables::{Made, Names, Variables};
use crate::json::{Found, Scanned, Scanner};
use crate::observer::{self, Sight, Watched};
use crate::record::{Batch, Part as RecordPart, epoch_ms};

/// The header of a record from the feed's history.
pub(crate) const BACKFILLED: &str = "websocket.backfilled";
/// The most bytes of all records of a message, because positions in a batch have 32 bits.
const MAX_RECORDS_BYTES: usize = 1 << 30;
/// The most gaps that a message may show. Each has an entry in the log and in the ledger.
const MAX_GAPS: usize = 10_000;
/// The longest place of a dropped record by which it is known again.
const MAX_PLACE_BYTES: usize = 1024;

/// A message after the split, as the steps see it.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// `None` if it is not UTF-8. Then no pointer has a value.
    pub scanned: Option<Scanned<'a>>,
    /// Its position in the split message.
    pub index: Option<usize>,
}

/// The steps of a session: they check messages before these become records, and know the variables.
pub trait Steps {
    /// Returns whether the message may become records.
    fn look(&mut self, part: &Part<'_>) -> bool;

    /// Returns true once after the steps have declared the position in the feed lost.
    fn begins_anew(&mut self) -> bool {
        false
    }

    /// Returns the topics whose position the steps have declared lost since the last call.
    fn topics_that_begin_anew(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the number of the message, if the feed is acknowledged.
    fn message(&self) -> Option<i64> {
        None
    }

    /// Notes how many records the message has become.
    fn became(&mut self, _records: u64) {}

    /// Returns the variables and the last number that `n()` has returned, after the steps have checked the message.
    fn variables(&self) -> (&Variables, &Cell<u64>);
}

/// Values that all records of a message have in common.
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

/// How many messages and records were dropped or fetched, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Binary messages under `websocket.frame.binary=skip`.
    pub skipped: u64,
    /// Messages without a value at the pointers of `websocket.record.pointer`.
    pub without_record: u64,
    /// Records that `websocket.record.filter` dropped.
    pub filtered: u64,
    /// Records that `websocket.record.missing=skip` dropped.
    pub incomplete: u64,
    /// Records that `websocket.record.max.bytes` dropped.
    pub too_large: u64,
    /// Records from the feed's history.
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

/// Why a message is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Close the connection with this code.
    Violation { code: u16, message: String },
    /// Fail the task.
    Fatal(String),
}

/// A part of a message after decoding and splitting.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) text: Option<&'a str>,
    pub(super) binary: bool,
    pub(super) index: Option<usize>,
    /// Whether it is the last part of its message.
    pub(super) last: bool,
}

impl<'a> Input<'a> {
    pub(super) fn part(
        bytes: &'a [u8],
        text: Option<&'a str>,
        binary: bool,
        range: &Range<usize>,
        index: usize,
    ) -> Input<'a> {
        let bytes = &bytes[range.clone()];
        // A part can be UTF-8 although the message is not.
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
pub(super) struct Records {
    pub(super) plan: Arc<Plan>,
    reads_message: bool,
    message: Scanner,
    found: Found,
    /// `websocket.record.decode`.
    decoder: Option<Decoder>,
    made: Made,
    pub(super) maker: Maker,
}

impl Records {
    /// `decoder` is that of `websocket.record.decode`.
    ///
    /// # Errors
    /// A sentence about what cannot be built.
    pub(super) fn new(
        plan: Arc<Plan>,
        paths: &Paths,
        decoder: Option<Decoder>,
        memory: Memory,
    ) -> Result<Records, String> {
        Ok(Records {
            reads_message: !paths.message.is_empty(),
            message: paths.message.build()?,
            found: Found::default(),
            decoder,
            made: Made::default(),
            maker: Maker {
                reads_record: !paths.record.is_empty(),
                record: paths.record.build()?,
                found: Found::default(),
                rendered: Rendered::default(),
                json: Json::default(),
                seen: Seen::default(),
                number: 0,
                begun: 0,
                message: None,
                of_history: false,
                counts: Counts::default(),
                memory,
                findings: Findings::default(),
                watched: Watched::default(),
            },
            plan,
        })
    }

    pub(super) fn part(
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
        self.maker.check_gaps()?;
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

    pub(super) fn number_of(&mut self, text: &str, key: &str, ground: &Ground<'_>, steps: &dyn Steps) -> Option<i128> {
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

    pub(super) fn take_back(
        &mut self,
        text: &str,
        ground: &Ground<'_>,
        origin: &Origin<'_>,
        batch: &mut Batch,
        steps: &dyn Steps,
    ) -> Result<(), Refusal> {
        self.made.clear();
        // If live records are taken out of messages, a record from the history has no such message.
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

    /// Makes records of a message that the steps have checked.
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
pub(super) struct Maker {
    reads_record: bool,
    record: Scanner,
    found: Found,
    rendered: Rendered,
    json: Json,
    pub(super) seen: Seen,
    /// The number of the connection's last record.
    number: u64,
    /// The bytes in the batch before the records of the present message.
    pub(super) begun: usize,
    /// The number of the present message, if the feed is acknowledged.
    message: Option<i64>,
    /// Whether the present record is from the feed's history.
    of_history: bool,
    pub(super) counts: Counts,
    pub(super) memory: Memory,
    pub(super) findings: Findings,
    pub(super) watched: Watched,
}

impl Maker {
    /// Takes the cursor and the number of a message without records.
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
            self.check_gaps()?;
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
            self.findings.too_large.push(place.filter(|place| place.len() <= MAX_PLACE_BYTES));
            return self.check_gaps();
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
        self.check_room(settings.records_max_bytes, batch)?;
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

    /// Refuses a message that shows very many gaps.
    fn check_gaps(&self) -> Result<(), Refusal> {
        if self.findings.holes.len() + self.findings.too_large.len() <= MAX_GAPS {
            return Ok(());
        }
        Err(Refusal::Violation {
            code: 1009,
            message: format!(
                "a message shows more than {MAX_GAPS} missing or too large records; look at websocket.sequence, \
                 websocket.sequence.key and websocket.record.max.bytes"
            ),
        })
    }

    /// Refuses a message whose records need too much memory: each can repeat a large field of the message. One record is
    /// always taken.
    fn check_room(&self, limit: usize, batch: &Batch) -> Result<(), Refusal> {
        if batch.bytes().saturating_sub(self.begun) <= limit.min(MAX_RECORDS_BYTES) {
            return Ok(());
        }
        Err(Refusal::Violation {
            code: 1009,
            message: format!(
                "the records of a message have more than {limit} bytes; raise websocket.message.queue.max.bytes, or copy \
                 less of the message into each record"
            ),
        })
    }

    /// Whether the present record is larger than `websocket.record.max.bytes`.
    fn is_too_large(&self, plan: &Plan, content: Content<'_>) -> bool {
        let size = || value::size(plan.settings.value, content) + self.rendered.size(&plan.fields);
        plan.settings.max_bytes.is_some_and(|max_bytes| size() > max_bytes)
    }

    /// Whether a record that cannot be decoded is written as it is.
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
