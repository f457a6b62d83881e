//! What is missing, as the messages of a connection show it, and what is written about it.

use std::time::SystemTime;

use serde_json::Value;

use super::{Ending, Link, MAX_KEY_CHARS, Outlook, earlier};
use crate::dialogue::Moment;
use crate::gap::{Cause, Gap, Range};
use crate::intake::sequence::{self, Hole};
use crate::ledger;
use crate::record::Batch;

impl Link {
    /// Returns the gaps that the messages have shown since the last call. `began`: since when nothing was received before
    /// this connection.
    pub(in crate::session) fn gaps(&mut self, began: Option<SystemTime>) -> Vec<Gap> {
        let ended = self.received.last_bytes;
        let began = earlier(began, self.findings.since.take());
        let mut gaps = Vec::new();
        let mut unknown = |cause| {
            gaps.push(Gap { id: Gap::random_id(), began, ended, cause, missed: None, range: None, repaired: false });
        };
        if std::mem::take(&mut self.findings.clamped) {
            unknown(Cause::Clamped);
        }
        if std::mem::take(&mut self.findings.lost) {
            unknown(Cause::ResumeLost);
        }
        let too_large = std::mem::take(&mut self.findings.too_large);
        gaps.extend(too_large.into_iter().map(|place| self.gap_of_too_large(place.as_deref())));
        let holes = std::mem::take(&mut self.findings.holes);
        gaps.extend(holes.into_iter().map(|hole| self.gap_of(hole, ended)));
        gaps.append(&mut self.repaired);
        gaps
    }

    /// A record that comes and is dropped twice is the same gap, so its id depends on the record's place.
    fn gap_of_too_large(&self, place: Option<&str>) -> Gap {
        let (cause, at) = (Cause::TooLarge, self.received.last_bytes);
        let id = |place| Gap::id_of(&[&self.config.name, &self.config.partition, cause.as_str(), place]);
        let id = place.map_or_else(Gap::random_id, id);
        Gap { id, began: Some(at), ended: at, cause, missed: Some(1), range: None, repaired: false }
    }

    pub(super) fn gap_of(&self, hole: Hole, at: SystemTime) -> Gap {
        let Hole { cause, key, from, to, missing, .. } = hole;
        let (from, to) = (from.to_string(), to.to_string());
        // Numbers that begin anew on each connection identify a gap only together with the connection.
        let anew = self.sequence().is_some_and(|sequence| sequence.per_connection);
        let numbering = if anew { self.name.as_str() } else { "" };
        let id = Gap::id_of(&[&self.config.name, &self.config.partition, cause.as_str(), numbering, &key, &from, &to]);
        let range = Some(Range { key: key.into(), from, to });
        Gap { id, began: Some(at), ended: at, cause, missed: missing, range, repaired: false }
    }

    fn sequence(&self) -> Option<&sequence::Plan> {
        self.config.intake.memory()?.sequence.as_ref()
    }

    /// Whether the last message has shown a hole before it.
    pub(in crate::session) fn has_found_hole(&self) -> bool {
        !self.findings.holes.is_empty()
    }

    /// Takes the records of the last message out of the batch, so that the ledger's record of the hole goes before
    /// them. While records wait for a repair, it goes after them.
    pub(in crate::session) fn set_aside(&mut self) {
        if self.held.is_empty() {
            self.aside = Some(self.batch.split_off(self.before.min(self.batch.len())));
        }
    }

    pub(in crate::session) fn put_back(&mut self) {
        if let Some(records) = self.aside.take() {
            self.batch.append(&records);
        }
    }

    /// Adds a gap to the ledger's records, if there is a ledger. Returns the entry.
    pub(in crate::session) fn note(&mut self, gap: &Gap) -> Value {
        let Link { config, intake, dialogue, name, batch, held, aside, .. } = self;
        let entry = ledger::entry(gap, Some(name), &config.task_id());
        if let Some(ledger) = &config.ledger {
            let mut behind = Batch::default();
            let batch = if held.is_empty() { batch } else { &mut behind };
            ledger::add(ledger, gap, &entry, batch, |record| {
                if let (Ok(intake), Some(plan)) = (intake, config.intake.memory()) {
                    match aside {
                        Some(_) => intake.memory().write_before(plan, dialogue.variables(), record),
                        None => intake.memory().write_beside(plan, dialogue.variables(), record),
                    }
                }
            });
            // Its offset says how far the feed has come. So it must not go before the records that wait.
            held.add(behind);
        }
        entry
    }

    /// Adds a record of the ledger that stores the cursor, if the cursor has moved while a filter dropped all records.
    pub(super) fn store_cursor(&mut self, moment: &Moment<'_>) {
        let Some(interval) = self.config.resume.heartbeat.filter(|_| self.timers.cursor <= Some(moment.now)) else {
            return;
        };
        self.timers.cursor = Some(moment.now + interval);
        let Link { config, intake, dialogue, batch, .. } = self;
        let (Some(ledger), Some(plan), Ok(intake)) = (&config.ledger, config.intake.memory(), intake) else { return };
        if intake.memory().is_ahead() && self.held.is_empty() {
            ledger::add_cursor(ledger, &config.task_id(), moment.at, batch, |record| {
                intake.memory().write_beside(plan, dialogue.variables(), record);
            });
        }
    }

    /// Does what `websocket.sequence.action` says, if messages are missing.
    pub(super) fn act_on_holes(&mut self, moment: &Moment<'_>) -> Result<(), Ending> {
        let Some(hole) = self.findings.holes.first().filter(|hole| hole.cause == Cause::Sequence) else {
            return Ok(());
        };
        let words = format!("messages are missing: {} to {} of {}", hole.from, hole.to, self.shown_key(&hole.key));
        match self.sequence().map(|sequence| sequence.action) {
            // A hole that can be repaired is not among the findings' holes.
            None | Some(sequence::Action::Count | sequence::Action::Backfill) => Ok(()),
            Some(sequence::Action::Fail) => {
                Err(Ending { outlook: Outlook::Final, ..Ending::new(Cause::Sequence, words) })
            }
            Some(sequence::Action::Reconnect) => {
                Err(Ending { outlook: Outlook::Planned, ..Ending::new(Cause::Sequence, words) })
            }
            Some(sequence::Action::Resubscribe) => self.resubscribe(moment),
        }
    }

    pub(super) fn shown_key(&self, key: &str) -> String {
        if key.is_empty() { "the feed".to_owned() } else { self.config.redactor.foreign(key, MAX_KEY_CHARS) }
    }
}
