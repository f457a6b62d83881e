//! From a message to records. No I/O: the caller gives bytes, the time and chance.
//!
//! ```text
//! frame ─▶ decode ─▶ split ─▶ each part: steps check it ─▶ pick ─▶ decode ─▶ memory (dedupe, cursor, sequence)
//!       ─▶ filter ─▶ fields ─▶ value ─▶ Batch
//! ```
//!
//! Each stage exists only if an option sets it. Without such options, one branch copies the message. After the split,
//! *message* means one of the parts.

pub mod cursor;
pub mod decode;
pub mod dedupe;
pub mod fields;
pub mod memory;
pub mod pick;
mod plan;
pub(crate) mod records;
pub mod seen;
pub mod sequence;
pub mod split;
pub mod value;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::dialogue::Paths;
use crate::observer::Watched;
use crate::record::{Batch, ValueKind, epoch_ms};

pub use plan::{BinaryMessages, Plan, Settings};
pub use records::{Counts, Ground, Origin, Part, Refusal, Steps};

use decode::{Codec, DecodeError, Decoder};
use memory::{Findings, Memory};
use records::{Input, Records};
use seen::Seen;
use split::Splitter;

/// A message as it was received.
#[derive(Debug, Clone, Copy)]
pub enum Frame<'a> {
    /// Valid UTF-8.
    Text(&'a [u8]),
    Binary(&'a [u8]),
}

/// Makes records of the messages of one connection.
pub struct Intake {
    /// Whether a message is only copied.
    plain: bool,
    decoder: Option<Decoder>,
    splitter: Option<Splitter>,
    records: Records,
}

impl Intake {
    /// `paths`: the pointers of the plan and of the steps. `looked_at`: whether steps check messages. `memory`: what
    /// the last connection has passed on.
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
            records: Records::new(plan.clone(), paths, decoder(&settings.record_decode)?, memory)?,
        })
    }

    /// Reports to the observer what happens with messages.
    pub(crate) fn watched_by(mut self, watched: Watched) -> Intake {
        self.plain &= !watched.is_watched();
        self.records.maker.watched = watched;
        self
    }

    /// Returns what was counted since the last call.
    pub fn counts(&mut self) -> Counts {
        std::mem::take(&mut self.records.maker.counts)
    }

    /// Returns the keys of `websocket.idle.key` that records had since the last [`Seen::clear`].
    pub fn seen(&mut self) -> &mut Seen {
        &mut self.records.maker.seen
    }

    /// Returns what the messages have shown since the last call.
    pub fn findings(&mut self) -> Findings {
        std::mem::take(&mut self.records.maker.findings)
    }

    pub fn memory(&mut self) -> &mut Memory {
        &mut self.records.maker.memory
    }

    pub fn remembered(&self) -> &Memory {
        &self.records.maker.memory
    }

    /// Ends the connection. Returns what the next one continues with.
    pub fn into_memory(self) -> Memory {
        self.records.maker.memory
    }

    /// Returns the number of a record from the feed's history, if the record has this key.
    pub fn number_of(&mut self, record: &str, key: &str, ground: &Ground<'_>, steps: &dyn Steps) -> Option<i128> {
        self.records.number_of(record, key, ground, steps)
    }

    /// Adds a record from the feed's history to the batch. It changes neither the cursor nor the last number.
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

    /// Makes records from a message and adds them to the batch. The steps check each part first, and decide whether it
    /// may become records.
    ///
    /// # Errors
    /// What is wrong with the message. Records of earlier parts are in the batch.
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
        self.records.maker.begun = batch.bytes();
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

/// Copies a message of a feed without options of the intake.
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

/// Returns the content of a message, and whether it is binary. Decoded content always is.
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

#[cfg(test)]
mod tests;
