//! What a new connection resumes from: the cursor, and captured variables that are kept.

use super::expression::{Condition, Values};
use super::seen::Seen;
use super::variables::{VariableId, is_secret};
use super::{Dialogue, End, Made, Moment, Target};
use crate::intake::memory::Memory;

/// The options about resuming.
#[derive(Debug, Default)]
pub struct Plan {
    /// Whether a cursor is configured.
    pub(crate) has_cursor: bool,
    /// Whether each topic has its own cursor.
    pub(crate) keyed: bool,
    pub(crate) initial: Option<String>,
    /// How far before the cursor to resume.
    pub(crate) rewind: u64,
    /// Captured variables that are kept for later connections.
    pub(crate) variables: Vec<VariableId>,
    pub(crate) lost: Option<Condition>,
    pub(crate) lost_action: LostAction,
    /// Whether a step of an open connection uses the cursor.
    pub(crate) says_cursor: bool,
    /// Whether the address, a header or a step uses the cursor. Otherwise the feed cannot resume.
    pub(crate) asks: bool,
}

/// `websocket.resume.lost.action`: what to do if the feed cannot resume from the cursor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LostAction {
    Continue,
    #[default]
    Fresh,
    Fail,
}

impl Plan {
    fn is_used(&self) -> bool {
        self.has_cursor || !self.variables.is_empty()
    }

    /// Returns the cursor for a new connection, from the newest one.
    fn said(&self, cursor: Option<&str>, resumes: bool) -> Option<String> {
        cursor.filter(|_| resumes).map_or_else(|| self.initial.clone(), |cursor| Some(self.rewound(cursor)))
    }

    fn rewound(&self, cursor: &str) -> String {
        match cursor.parse::<i128>() {
            Ok(number) if self.rewind > 0 => number.saturating_sub(i128::from(self.rewind)).max(0).to_string(),
            _ => cursor.to_owned(),
        }
    }
}

impl Dialogue {
    /// Sets the variables to what the last connection has passed on. If all of them are known, this connection resumes.
    pub(super) fn go_on_from(&mut self, memory: &Memory) {
        let plan = self.plan.clone();
        let own = &plan.resume;
        for ((topic, id), value) in &self.carried.resume {
            match topic {
                Some(topic) => self.variables.set_of(topic, *id, value),
                None => self.variables.set(*id, value),
            }
        }
        let (cursor_id, resuming_id) = (plan.names.id("cursor"), plan.names.id("resuming"));
        if own.keyed {
            for topic in &plan.topics {
                let cursor = memory.cursor(Some(topic));
                let resumes = self.resumes(Some(topic), cursor);
                self.resuming |= resumes;
                self.partly |= !resumes;
                resuming_id.iter().for_each(|id| self.variables.set_of(topic, *id, &resumes.to_string()));
                if let (Some(id), Some(cursor)) = (cursor_id, own.said(cursor, resumes)) {
                    self.variables.set_of(topic, id, &cursor);
                }
            }
        } else {
            let cursor = memory.cursor(None);
            self.resuming = self.resumes(None, cursor);
            if let (Some(id), Some(cursor)) = (cursor_id, own.said(cursor, self.resuming)) {
                self.variables.set(id, &cursor);
            }
        }
        resuming_id.iter().for_each(|id| self.variables.set(*id, &self.resuming.to_string()));
    }

    /// Whether everything is known that the feed, or one of its topics, needs to resume.
    fn resumes(&self, topic: Option<&str>, cursor: Option<&str>) -> bool {
        let own = &self.plan.resume;
        let variables_known = own.variables.iter().all(|id| self.variables.get(topic, *id).is_some());
        own.is_used() && own.asks && variables_known && (!own.has_cursor || cursor.is_some())
    }

    /// Updates the cursor variables.
    pub(crate) fn came_to(&mut self, memory: &Memory) {
        if !self.plan.resume.says_cursor {
            return;
        }
        let plan = self.plan.clone();
        let Some(id) = plan.names.id("cursor") else { return };
        if plan.resume.keyed {
            for topic in &plan.topics {
                let cursor = memory.cursor(Some(topic));
                let moved = cursor.filter(|cursor| self.variables.get(Some(topic), id) != Some(*cursor));
                moved.iter().for_each(|cursor| self.variables.set_of(topic, id, cursor));
            }
        } else if let Some(cursor) = memory.cursor(None)
            && self.variables.get(None, id) != Some(cursor)
        {
            self.variables.set(id, cursor);
        }
    }

    /// Whether this connection resumes.
    pub(crate) fn is_resuming(&self) -> bool {
        self.resuming
    }

    /// Whether only some topics have a position to resume from.
    pub(crate) fn is_resuming_in_part(&self) -> bool {
        self.resuming && self.partly
    }

    /// Returns true once after the position in the feed was lost.
    pub(crate) fn is_void(&mut self) -> bool {
        std::mem::take(&mut self.void)
    }

    /// Returns the topics whose position was lost since the last call.
    pub(crate) fn void_topics(&mut self) -> Vec<String> {
        std::mem::take(&mut self.void_topics)
    }

    /// Returns true once after the feed could not resume, and the connection is kept.
    pub(crate) fn was_lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    /// Takes a captured variable. If it is kept for later connections and its value has changed, the cursor is lost. A
    /// secret variable may change: a feed that resumes can give another key (Ably RTN15e).
    pub(super) fn keep_on(&mut self, topic: Option<&str>, id: VariableId, value: &str) {
        if !self.plan.resume.variables.contains(&id) {
            return;
        }
        let before = self.carried.resume.insert((topic.map(str::to_owned), id), value.to_owned());
        match topic {
            _ if before.as_deref() == Some(value) => {}
            _ if self.resuming && is_secret(self.plan.names.name(id)) => {}
            Some(topic) if self.plan.resume.keyed => self.void_topics.push(topic.to_owned()),
            _ => self.void = true,
        }
    }

    /// Forgets what a new connection would resume from.
    pub(crate) fn forget_position(&mut self) {
        self.carried.resume.clear();
        (self.void, self.resuming) = (true, false);
    }

    /// Notes that the feed cannot resume, with its words. This connection ends.
    pub(crate) fn lose(&mut self, words: &str) -> End {
        let said = format!("the feed cannot resume from the stored position: {words}");
        if self.plan.resume.lost_action == LostAction::Fail {
            return End::Final(said);
        }
        self.forget_position();
        End::Lost(said)
    }

    /// Checks whether a message, or an answer for `target`, means that the feed cannot resume.
    ///
    /// # Errors
    /// The connection has to end.
    pub(super) fn check_lost(&mut self, target: &Target, seen: &Seen<'_>, moment: &Moment<'_>) -> Result<(), End> {
        if !self.resuming || !self.says_lost(&seen.values(self.values(&Made::default(), target, "", moment))) {
            return Ok(());
        }
        // A refusal ends the connection, so it cannot continue without a position.
        let lives = seen.status.is_none_or(|status| status < 400);
        if lives && self.plan.resume.lost_action == LostAction::Continue {
            // Other topics may be lost too.
            (self.resuming, self.lost) = (self.plan.resume.keyed, true);
            return Ok(());
        }
        Err(self.lose(&self.shown(seen)))
    }

    fn says_lost(&self, values: &Values<'_>) -> bool {
        self.plan.resume.lost.as_ref().is_some_and(|lost| lost.holds(values))
    }
}
