//! Writes a hand-over file when a task stops.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter};
use std::time::SystemTime;

use tracing::info;

use super::format::{Header, Writer};
use super::place::Place;
use super::{BUFFER_BYTES, HandedOver, SessionStart, Takeover, carry, forgotten, log_left, place};
use crate::config::Config;
use crate::figures::Counter;
use crate::metrics::Metrics;
use crate::record::{Record, epoch_ms};

/// A hand-over file that is being written. The file is created with its first record.
pub(crate) struct Outgoing<'a> {
    config: &'a Config,
    session: &'a SessionStart,
    /// Kafka has everything up to this sequence.
    committed: i64,
    /// The file from which the task has started. The new file replaces it when it is complete.
    old: Option<Takeover>,
    /// Sequences of records that Kafka has finally refused.
    refused: &'a BTreeSet<i64>,
    file: Option<OpenFile>,
    /// Records of the old file that are in the new one, and those for which there was no room.
    copied: Tally,
    cut: Tally,
    written: Tally,
    left: Tally,
    /// Why nothing more is written.
    reason: Option<String>,
}

struct OpenFile {
    place: Place,
    writer: Writer<BufWriter<File>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    records: u64,
    bytes: u64,
}

impl Tally {
    fn add(&mut self, record: &Record<'_>) {
        self.records += 1;
        self.bytes += record.value.len() as u64;
    }

    fn and(self, other: Tally) -> Tally {
        Tally { records: self.records + other.records, bytes: self.bytes + other.bytes }
    }
}

impl<'a> Outgoing<'a> {
    pub(crate) fn new(
        config: &'a Config,
        session: &'a SessionStart,
        committed: i64,
        old: Option<Takeover>,
        refused: &'a BTreeSet<i64>,
    ) -> Outgoing<'a> {
        let none = Tally::default();
        Outgoing {
            config,
            session,
            committed,
            old,
            refused,
            file: None,
            copied: none,
            cut: none,
            written: none,
            left: none,
            reason: None,
        }
    }

    /// Adds a record, in the order of sequences. Records of the old file are copied before, and are not added again.
    pub(crate) fn add(&mut self, record: &Record<'_>) {
        let in_old = self.old.as_ref().is_some_and(|old| record.sequence <= old.last_sequence());
        if in_old || self.refused.contains(&record.sequence) {
            return;
        }
        self.begin_or_give_up();
        match self.write(record) {
            Ok(true) => self.written.add(record),
            Ok(false) => self.left.add(record),
            Err(why) => {
                self.give_up(why);
                self.left.add(record);
            }
        }
    }

    /// Completes the file, and renames it over the old one. `unreported`: records that were lost before and that no gap
    /// has reported yet.
    pub(crate) fn finish(mut self, metrics: &Metrics, unreported: u64) -> HandedOver {
        let unreported = unreported + forgotten::take(&self.config.task_id()).map_or(0, |loss| loss.records);
        let reported_by_old = self.old.as_ref().map_or(0, |old| old.left_behind);
        let refused_of_old =
            self.old.as_ref().is_some_and(|old| self.refused.iter().any(|&one| one <= old.last_sequence()));
        if self.left.records + unreported != reported_by_old || refused_of_old {
            self.begin_or_give_up();
        }
        let mut in_force = false;
        if let Some(OpenFile { place, writer }) = self.file.take() {
            let left_behind = self.left.and(self.cut).records + unreported;
            let finished = writer
                .finish(left_behind, epoch_ms(SystemTime::now()))
                .and_then(|out| out.into_inner().map_err(|error| error.into_error()))
                .and_then(|file| place.put_in_force(&file));
            match finished {
                Ok(()) => in_force = true,
                Err(error) => {
                    place.discard();
                    self.give_up(cannot_write(&error));
                }
            }
        }
        let handed_over = if in_force { self.copied.and(self.written) } else { self.stays_in_old() };
        let left = self.left.and(self.cut);
        if !in_force {
            carry(self.config, (left.records + unreported).saturating_sub(reported_by_old));
        }
        if handed_over.records > 0 {
            info!("event=handover_written records={} bytes={}", handed_over.records, handed_over.bytes);
        }
        if left.records > 0 {
            log_left(left.records, left.bytes, self.reason.as_deref().unwrap_or_default());
        }
        metrics.count(Counter::RecordsLeftBehind, left.records);
        if let Some(place) = place(self.config) {
            place.directory().sweep_once();
        }
        HandedOver { records: handed_over.records, bytes: handed_over.bytes, left_behind: left.records }
    }

    fn begin_or_give_up(&mut self) {
        if self.file.is_none()
            && self.reason.is_none()
            && let Err(why) = self.begin()
        {
            self.give_up(why);
        }
    }

    /// Creates the new file, and copies the records of the old one that Kafka does not have.
    fn begin(&mut self) -> Result<(), String> {
        let max_bytes = self.config.handover.as_ref().map_or(0, |handover| handover.max_bytes);
        let place = place(self.config).ok_or("websocket.handover.dir is empty")?;
        let out = BufWriter::with_capacity(BUFFER_BYTES, place.create()?);
        let header = Header {
            connector: self.config.name.clone(),
            partition: self.config.partition.clone(),
            session_id: self.session.id.as_ref().to_owned(),
            first_sequence: self.session.first_sequence,
        };
        match Writer::new(out, &header, max_bytes) {
            Ok(Some(writer)) => self.file = Some(OpenFile { place, writer }),
            Ok(None) => {
                place.discard();
                return Err(self.bound_reached());
            }
            Err(error) => {
                place.discard();
                return Err(cannot_write(&error));
            }
        }
        let Some(mut old) = self.old.take() else { return Ok(()) };
        let copied = self.copy(&mut old);
        self.old = Some(old);
        copied
    }

    fn copy(&mut self, old: &mut Takeover) -> Result<(), String> {
        old.rewind(self.committed)?;
        while let Some(batch) = old.next_batch()? {
            for record in batch.iter().filter(|record| !self.refused.contains(&record.sequence)) {
                if self.write(&record)? {
                    self.copied.add(&record);
                } else {
                    self.cut.add(&record);
                }
            }
        }
        Ok(())
    }

    /// Writes a record. Returns false if that is not possible. Then no later record is written either.
    fn write(&mut self, record: &Record<'_>) -> Result<bool, String> {
        let Some(file) = self.file.as_mut().filter(|_| self.reason.is_none()) else { return Ok(false) };
        let written = file.writer.record(record).map_err(|error| cannot_write(&error))?;
        if !written {
            self.reason = Some(self.bound_reached());
        }
        Ok(written)
    }

    /// Gives up the new file. The old file stays, if there is one.
    fn give_up(&mut self, why: String) {
        if let Some(file) = self.file.take() {
            file.place.discard();
        }
        self.left = self.written.and(self.left);
        (self.copied, self.cut, self.written) = Default::default();
        self.reason = Some(why);
    }

    /// Returns how many records the old file still has for the next start.
    fn stays_in_old(&mut self) -> Tally {
        let mut tally = Tally::default();
        let Some(old) = &mut self.old else { return tally };
        if old.rewind(self.committed).is_ok() {
            while let Ok(Some(batch)) = old.next_batch() {
                let kept = batch.iter().filter(|record| !self.refused.contains(&record.sequence));
                kept.for_each(|record| tally.add(&record));
            }
        }
        tally
    }

    fn bound_reached(&self) -> String {
        let most = self.config.handover.as_ref().map_or(0, |handover| handover.max_bytes);
        format!("websocket.handover.max.bytes = {most} is reached")
    }
}

impl Drop for Outgoing<'_> {
    /// Removes an unfinished file.
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            file.place.discard();
        }
    }
}

fn cannot_write(error: &io::Error) -> String {
    format!("the hand-over file cannot be written: {error}")
}
