//! What the intake keeps from message to message and from connection to connection: keys of duplicates, the cursor, and
//! the last numbers.

use std::time::SystemTime;

use super::cursor::{self, Cursors, Standing};
use super::dedupe::Window;
use super::fields::field;
use super::sequence::{self, Hole, Sequences};
use crate::backfill::Backfill;
use crate::dialogue::expression::{Problem, Scope, Values};
use crate::dialogue::template::Template;
use crate::dialogue::variables::{Variables, is_secret};
use crate::gap::Cause;
use crate::mutation::Mutation;
use crate::offset::{StoredOffset, UNREPAIRED};
use crate::record::{OffsetValue, Part, RecordWriter};

/// The options, not compiled.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub cursor: cursor::Settings,
    pub dedupe_key: Option<String>,
    pub dedupe_window: usize,
    pub sequence: Option<sequence::Settings>,
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub cursor: cursor::Plan,
    pub dedupe: Option<(Template, usize)>,
    pub sequence: Option<sequence::Plan>,
}

impl Plan {
    /// Compiles the options. Returns `None` if none is set.
    pub(super) fn compile(
        settings: &Settings,
        scope: &mut Scope<'_>,
        problems: &mut Vec<(String, Problem)>,
    ) -> Option<Plan> {
        let mut template = |name: &str, text: &Option<String>| field(name, text.as_deref()?, scope, problems);
        let own = &settings.cursor;
        let cursor = cursor::Plan {
            cursor: template("websocket.cursor", &own.cursor),
            key: template("websocket.cursor.key", &own.key),
            keys: own.keys.clone(),
            rewind: own.rewind,
            inclusive: own.inclusive,
            variables: Vec::new(),
            is_number: false,
            only_forward: false,
        };
        let dedupe = template("websocket.dedup.key", &settings.dedupe_key).map(|key| (key, settings.dedupe_window));
        let sequence = settings.sequence.as_ref().and_then(|own| {
            let first = template("websocket.sequence.first", &own.first);
            Some(sequence::Plan {
                number: template("websocket.sequence", &Some(own.number.clone()))?,
                key: template("websocket.sequence.key", &own.key),
                link: match template("websocket.sequence.previous", &own.previous) {
                    Some(previous) => sequence::Link::Previous(previous),
                    None => sequence::Link::First(first),
                },
                holes: own.holes,
                per_connection: own.per_connection,
                action: own.action,
            })
        });
        let variable = |name: &String| match scope.names.id(name) {
            Some(id) => Ok((id, name.clone())),
            None => Err(Problem::new(1, format!("{name} is not a variable that a step captures"))),
        };
        let variables = own.variables.iter().map(variable).collect::<Result<Vec<_>, _>>();
        let variables = variables.unwrap_or_else(|problem| {
            problems.push(("websocket.resume.variables".to_owned(), problem));
            Vec::new()
        });
        let cursor = match &sequence {
            Some(sequence) if sequence.is_stored() => cursor::Plan {
                cursor: Some(sequence.number.clone()),
                key: sequence.key.clone(),
                is_number: true,
                only_forward: sequence.holes == sequence::Holes::Reconnect,
                ..cursor
            },
            _ => cursor,
        };
        let remembers = cursor.cursor.is_some() || !variables.is_empty() || dedupe.is_some() || sequence.is_some();
        remembers.then_some(Plan { cursor: cursor::Plan { variables, ..cursor }, dedupe, sequence })
    }

    /// Whether a restart resumes from a stored cursor, so everything that it needs may be stored.
    pub fn resumes_over_restarts(&self) -> bool {
        self.has_cursor() && !self.cursor.variables.iter().any(|(_, name)| is_secret(name))
    }

    /// Whether the feed resumes from a cursor.
    pub fn has_cursor(&self) -> bool {
        self.cursor.cursor.is_some() && !self.cursor.is_number
    }

    /// Whether a connection resumes from a cursor or a captured variable.
    pub fn resumes(&self) -> bool {
        self.has_cursor() || !self.cursor.variables.is_empty()
    }
}

/// What is kept from one connection to the next.
#[derive(Debug, Default)]
pub struct Memory {
    cursors: Cursors,
    window: Option<Window>,
    sequences: Sequences,
    /// The holes that wait for their repair.
    pub(crate) backfill: Backfill,
    /// When the last message was received, if there was one.
    pub(crate) at: Option<SystemTime>,
    /// Whether records wait for missing ones before them.
    are_held: bool,
    /// When the last forgotten cursor was received. Kept until the next connection.
    forgotten: Option<SystemTime>,
    text: String,
}

/// What the messages have shown since the last report.
#[derive(Debug, Default)]
pub struct Findings {
    /// How many records were dropped as duplicates.
    pub duplicates: u64,
    pub holes: Vec<Hole>,
    /// The repairs of other holes, each with the number of records in the batch before the hole.
    pub repairs: Vec<(u64, usize)>,
    /// The server has resumed from a later position than requested.
    pub clamped: bool,
    /// Records that were too large: the position of each in the feed, if known.
    pub too_large: Vec<Option<String>>,
    /// The feed cannot resume from the requested position, and the connection is kept.
    pub lost: bool,
    /// For these two: when the message before was received.
    pub since: Option<SystemTime>,
}

impl Findings {
    pub(crate) fn add(&mut self, more: Findings) {
        self.duplicates += more.duplicates;
        self.holes.extend(more.holes);
        self.repairs.extend(more.repairs);
        self.too_large.extend(more.too_large);
        self.clamped |= more.clamped;
        self.lost |= more.lost;
        self.since = [self.since, more.since].into_iter().flatten().min();
    }
}

impl Memory {
    /// Continues from a stored offset.
    pub fn stored(stored: StoredOffset) -> Memory {
        let at = stored.at();
        let StoredOffset { position, keyed, .. } = stored;
        let mut backfill = Backfill::default();
        let lists = keyed.values().chain([&position]).filter_map(|position| position.unrepaired.as_deref());
        lists.for_each(|list| backfill.go_on_with(list));
        Memory { cursors: Cursors::stored(position, keyed), backfill, at, ..Memory::default() }
    }

    /// Begins a new connection. `resuming`: it resumes from the newest cursor.
    pub(crate) fn connected(&mut self, plan: &Plan, resuming: bool) {
        self.forgotten = None;
        Mutation::WindowOfOneConnection.does(|| self.window = None);
        self.cursors.connected(&plan.cursor, resuming);
        let Some(sequence) = &plan.sequence else { return };
        if plan.cursor.is_number && self.sequences.is_new() {
            for (key, number, at) in self.cursors.all() {
                self.sequences.stored(key, number, at.unwrap_or(SystemTime::UNIX_EPOCH));
            }
        }
        self.sequences.connected(sequence);
    }

    /// Says whether records wait for missing ones before them.
    pub(crate) fn are_held(&mut self, are_held: bool) {
        self.are_held = are_held;
    }

    /// Forgets the position in the feed, and the last numbers.
    pub(crate) fn forget_position(&mut self) {
        self.forgotten = self.since();
        self.cursors.forget();
        self.sequences.forget();
    }

    /// Forgets the position of one topic, and its last number.
    pub(crate) fn forget_position_of(&mut self, topic: &str) {
        self.cursors.forget_key(topic);
        self.sequences.forget_key(topic);
    }

    /// Notes that the server has not resumed from the cursor, and the connection is kept. The caller reports the gap.
    pub(crate) fn not_resumed(&mut self) {
        self.cursors.await_nothing();
        self.sequences.forget();
    }

    /// Whether the feed's newest cursor is not in the offset of any record yet.
    pub(crate) fn is_ahead(&self) -> bool {
        self.cursors.is_ahead()
    }

    /// Returns when the newest cursor was received, also if it was forgotten. With several keys, the earliest of these
    /// times.
    pub(crate) fn since(&self) -> Option<SystemTime> {
        self.forgotten.into_iter().chain(self.cursors.since()).min()
    }

    /// Returns the newest cursor of the feed, or of a key.
    pub(crate) fn cursor(&self, key: Option<&str>) -> Option<&str> {
        self.cursors.newest(key)
    }

    pub(super) fn begin_message(&mut self) {
        self.cursors.begin_message();
    }

    pub(super) fn end_message(&mut self) {
        self.cursors.end_message();
    }

    /// Takes a record. `place`: how many records are in the batch before it. Returns whether it is new.
    pub(super) fn look(&mut self, plan: &Plan, values: &Values<'_>, place: usize, findings: &mut Findings) -> bool {
        Mutation::NumberBeforeDedupe.does(|| self.read_number(plan, values, Standing::New, place, findings));
        if !self.is_unseen(plan, values, findings) {
            self.cursors.came_again(&plan.cursor, values);
            return false;
        }
        let standing = self.read_cursor(plan, values, true, findings);
        if standing != Standing::Again {
            self.read_number(plan, values, standing, place, findings);
        }
        standing != Standing::Again
    }

    /// Takes a record from the feed's history, which is not in the order of the live records. Returns whether it is
    /// new.
    pub(super) fn look_back(&mut self, plan: &Plan, values: &Values<'_>, findings: &mut Findings) -> bool {
        self.cursors.look_back(&plan.cursor, values);
        self.is_unseen(plan, values, findings)
    }

    fn is_unseen(&mut self, plan: &Plan, values: &Values<'_>, findings: &mut Findings) -> bool {
        let Some((key, size)) = &plan.dedupe else { return true };
        self.text.clear();
        let window = self.window.get_or_insert_with(|| Window::new(*size));
        let is_new = key.write(values, &mut self.text).is_err() || window.is_new(&self.text);
        findings.duplicates += u64::from(!is_new);
        is_new
    }

    /// Returns the number of a record from the feed's history, if the record has this key.
    pub(super) fn number_of(&mut self, plan: &Plan, key: &str, values: &Values<'_>) -> Option<i128> {
        self.sequences.number_of(plan.sequence.as_ref()?, key, values)
    }

    /// Takes a message without records, because some feeds number their heartbeats too.
    pub(super) fn look_beside(&mut self, plan: &Plan, values: &Values<'_>, place: usize, findings: &mut Findings) {
        let standing = self.read_cursor(plan, values, false, findings);
        self.read_number(plan, values, standing, place, findings);
    }

    fn read_cursor(&mut self, plan: &Plan, values: &Values<'_>, is_record: bool, findings: &mut Findings) -> Standing {
        let standing = self.cursors.look(&plan.cursor, values, is_record);
        findings.duplicates += u64::from(standing == Standing::Again);
        if standing == Standing::Clamped && !Mutation::ClampNotTold.is_on() {
            findings.clamped = true;
            findings.since = self.cursors.since_before();
        }
        standing
    }

    /// Reports a hole at once, or begins its repair.
    fn read_number(
        &mut self,
        plan: &Plan,
        values: &Values<'_>,
        standing: Standing,
        place: usize,
        findings: &mut Findings,
    ) {
        let Some(sequence) = &plan.sequence else { return };
        let Some(hole) = self.sequences.look(sequence, values) else { return };
        // `clamped` is a gap already. That the numbers went back is not a second one.
        if standing == Standing::Clamped && hole.cause == Cause::Reset {
            return;
        }
        if sequence.action != sequence::Action::Backfill || hole.cause != Cause::Sequence {
            // Whether messages are missing is not known, and the gap of the lost connection is reported anyway.
            findings.holes.extend(Some(hole).filter(|hole| !hole.open));
            return;
        }
        match self.backfill.add(hole, values.now) {
            Ok(repair) => findings.repairs.push((repair, place)),
            Err(hole) => findings.holes.push(hole),
        }
    }

    /// Returns the position of the last record in the feed, as a text that no other record has.
    pub(super) fn place(&self, plan: &Plan, index: Option<usize>) -> Option<String> {
        let (key, cursor) = self.cursors.last(&plan.cursor)?;
        Some(format!("{key} {cursor} {}", index.unwrap_or_default()))
    }

    /// Whether a record that passed the filter is one of those after the cursor that are stored already.
    pub(super) fn is_stored(&mut self, plan: &Plan, findings: &mut Findings) -> bool {
        let stored = self.cursors.is_stored(&plan.cursor);
        findings.duplicates += u64::from(stored);
        stored
    }

    /// Writes the offset entries of the last record. `last`: it is the last one of its message.
    pub(super) fn write(&mut self, plan: &Plan, variables: &Variables, last: bool, record: &mut RecordWriter<'_>) {
        if plan.cursor.cursor.is_some() {
            self.cursors.write(&plan.cursor, last, record);
        }
        self.write_rest(plan, variables, self.topic(plan), record);
    }

    /// Writes the offset entries of a record from the feed's history.
    pub(super) fn write_back(&mut self, plan: &Plan, variables: &Variables, record: &mut RecordWriter<'_>) {
        let goes_back = plan.cursor.is_number && self.cursors.write_back(&plan.cursor, self.are_held, record);
        // A start from this offset resumes after this record, so nothing else has to be listed as missing.
        match goes_back {
            true => write_variables(plan, variables, self.topic(plan), record),
            false => self.write_rest(plan, variables, self.topic(plan), record),
        }
    }

    /// Writes the offset entries of a record of the ledger that goes before the records of the last message.
    pub(crate) fn write_before(&mut self, plan: &Plan, variables: &Variables, record: &mut RecordWriter<'_>) {
        self.cursors.write_before(&plan.cursor, record);
        self.write_rest(plan, variables, self.topic(plan), record);
    }

    /// Writes the offset entries of a record of the ledger.
    pub(crate) fn write_beside(&mut self, plan: &Plan, variables: &Variables, record: &mut RecordWriter<'_>) {
        self.cursors.write_beside(record);
        self.write_rest(plan, variables, None, record);
    }

    /// Returns the topic of the last record, if each topic has its own cursor.
    fn topic(&self, plan: &Plan) -> Option<&str> {
        plan.cursor.key.as_ref().map(|_| self.cursors.key())
    }

    /// Writes the other offset entries: unrepaired holes and variables.
    fn write_rest(&self, plan: &Plan, variables: &Variables, topic: Option<&str>, record: &mut RecordWriter<'_>) {
        if let Some(gaps) = self.backfill.entry(topic).filter(|_| !Mutation::RepairsNotStored.is_on()) {
            record.part(Part::OffsetEntry { name: UNREPAIRED, value: OffsetValue::Text(gaps) });
        }
        write_variables(plan, variables, topic, record);
    }
}

fn write_variables(plan: &Plan, variables: &Variables, topic: Option<&str>, record: &mut RecordWriter<'_>) {
    for (id, name) in plan.cursor.variables.iter().filter(|(_, name)| !is_secret(name)) {
        if let Some(value) = variables.get(topic, *id) {
            record.part(Part::OffsetEntry { name, value: OffsetValue::Text(value) });
        }
    }
}
