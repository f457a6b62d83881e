//! The steps of the session, as the intake sees them.

use std::cell::Cell;

use crate::commits::Commits;
use crate::dialogue::{Dialogue, End, Moment, Variables};
use crate::intake::{Part, Steps};

/// Shows each part of a message to the dialogue, and numbers it if the feed is acknowledged.
pub(super) struct Listener<'a> {
    pub(super) dialogue: &'a mut Dialogue,
    pub(super) moment: &'a Moment<'a>,
    /// A step ends the connection. The rest of the message is ignored.
    pub(super) end: Option<End>,
    pub(super) commits: Option<&'a Commits>,
    /// The number of the message, if the feed is acknowledged.
    pub(super) message: Option<i64>,
}

impl Steps for Listener<'_> {
    fn look(&mut self, part: &Part<'_>) -> bool {
        if self.end.is_some() {
            return false;
        }
        let (is_record, end) = self.dialogue.message(part.scanned, self.moment);
        self.end = end;
        if let Some(commits) = self.commits {
            let id = commits.begin_message();
            match self.dialogue.owe(id, part.scanned, self.moment) {
                Ok(()) => self.message = Some(id),
                Err(end) => drop(self.end.get_or_insert(end)),
            }
        }
        is_record
    }

    fn message(&self) -> Option<i64> {
        self.message
    }

    fn became(&mut self, records: u64) {
        if let Some((commits, message)) = self.commits.zip(self.message.take()) {
            commits.received(message, records);
        }
    }

    fn begins_anew(&mut self) -> bool {
        self.dialogue.is_void()
    }

    fn topics_that_begin_anew(&mut self) -> Vec<String> {
        self.dialogue.void_topics()
    }

    fn variables(&self) -> (&Variables, &Cell<u64>) {
        (self.dialogue.variables(), self.dialogue.count())
    }
}
