//! The position of a record in the feed, from which a new connection can resume.
//!
//! A message's cursor is stored with its last record only. The offsets of the records before that have the cursor of
//! the previous message, and how many records of this message are stored (`part`).

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::SystemTime;

use crate::dialogue::decimal;
use crate::dialogue::expression::Values;
use crate::dialogue::template::Template;
use crate::dialogue::variables::VariableId;
use crate::mutation::Mutation;
use crate::offset::{CURSOR, PART, Position};
use crate::record::{OffsetValue, Part, RecordWriter};

/// The options of the cursor, not compiled.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub cursor: Option<String>,
    /// The key of a record, if each key has its own cursor.
    pub key: Option<String>,
    /// The keys.
    pub keys: Vec<String>,
    /// How far before the cursor to resume.
    pub rewind: u64,
    /// Whether the server sends the record of the cursor again.
    pub inclusive: bool,
    /// Captured variables that are kept for later connections.
    pub variables: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub cursor: Option<Template>,
    pub key: Option<Template>,
    pub keys: Vec<String>,
    pub rewind: u64,
    pub inclusive: bool,
    /// Variables that are kept for later connections. Secret ones are not stored.
    pub variables: Vec<(VariableId, String)>,
    /// The cursor is only the feed's number, for requests to the history. The feed does not resume from it.
    pub is_number: bool,
    /// A lower cursor is ignored.
    pub only_forward: bool,
}

impl Plan {
    /// The keys, each with its own source partition.
    pub fn partition_keys(&self) -> &[String] {
        if self.key.is_some() { &self.keys } else { &[] }
    }
}

/// The position in the feed, or of each key.
#[derive(Debug, Default)]
pub struct Cursors {
    places: Places,
    /// Counts messages.
    message: u64,
    /// Records of the message are still to come.
    under_way: bool,
    text: String,
    /// The key of the last record.
    key: String,
    /// When the cursor before the last record was received.
    before: Option<SystemTime>,
}

#[derive(Debug, Default)]
struct Places {
    only: Place,
    keyed: HashMap<String, Place>,
}

#[derive(Debug, Default)]
struct Place {
    newest: Option<String>,
    /// The newest cursor is not in the offset of any record yet.
    ahead: bool,
    /// When it was received.
    at: Option<SystemTime>,
    /// The newest cursor of the messages before the present one.
    before: Option<String>,
    message: u64,
    /// How many records of the present message are in the batch.
    records: u64,
    awaited: Awaited,
    /// How many records after the cursor are stored already, and come again.
    stored: u64,
    /// The same number before the present message.
    stored_before: u64,
}

/// What is known about the record of the cursor, if the server sends it again first.
#[derive(Debug, Default)]
enum Awaited {
    #[default]
    Nothing,
    NotYet(String),
    /// More than one record may come again.
    Came(String),
}

/// What a record is on a connection that resumes from a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    New,
    /// It is stored already.
    Again,
    /// It is new, but the server has not sent the record of the cursor before it.
    Clamped,
}

impl Cursors {
    /// Continues from a stored offset.
    pub fn stored(position: Position, keyed: HashMap<String, Position>) -> Cursors {
        let place = |position: Position| Place {
            stored: if position.cursor.is_some() { position.part } else { 0 },
            newest: position.cursor,
            at: position.at,
            ..Place::default()
        };
        let keyed = keyed.into_iter().map(|(key, position)| (key, place(position))).collect();
        Cursors { places: Places { only: place(position), keyed }, ..Cursors::default() }
    }

    /// Begins a new connection. `resuming`: it resumes from the newest cursor.
    pub fn connected(&mut self, plan: &Plan, resuming: bool) {
        // With `websocket.cursor.rewind`, more records than that of the cursor come again.
        let comes_again = resuming && plan.inclusive && plan.rewind == 0;
        for place in self.places.all() {
            if !resuming {
                place.stored = 0;
            }
            place.awaited = match &place.newest {
                Some(newest) if comes_again => Awaited::NotYet(newest.clone()),
                _ => Awaited::Nothing,
            };
        }
    }

    /// Forgets the position.
    pub fn forget(&mut self) {
        self.places = Places::default();
    }

    /// Forgets the position of one key.
    pub fn forget_key(&mut self, key: &str) {
        self.places.keyed.remove(key);
    }

    /// Returns the key of the last record.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Notes that the server has not resumed, so no record comes again. If the last message has a key, that is true for
    /// this key only.
    pub fn await_nothing(&mut self) {
        if let Some(place) = self.places.keyed.get_mut(&self.key) {
            (place.awaited, place.stored) = (Awaited::Nothing, 0);
            return;
        }
        for place in self.places.all() {
            (place.awaited, place.stored) = (Awaited::Nothing, 0);
        }
    }

    /// Returns the newest cursor of the feed, or of each key, with the time at which it was received.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str, Option<SystemTime>)> {
        let keyed = self.places.keyed.iter().map(|(key, place)| (key.as_str(), place));
        keyed
            .chain([("", &self.places.only)])
            .filter_map(|(key, place)| Some((key, place.newest.as_deref()?, place.at)))
    }

    /// Returns when the newest cursor was received. With several keys, the earliest of these times.
    pub fn since(&self) -> Option<SystemTime> {
        self.places.keyed.values().chain([&self.places.only]).filter_map(|place| place.at).min()
    }

    /// Returns the same for the key of the last record, as it was before that record.
    pub fn since_before(&self) -> Option<SystemTime> {
        self.before
    }

    /// Returns the newest cursor of the feed, or of a key.
    pub fn newest(&self, key: Option<&str>) -> Option<&str> {
        let place = key.map_or(Some(&self.places.only), |key| self.places.keyed.get(key))?;
        place.newest.as_deref()
    }

    /// Returns the key and the cursor of the last record.
    pub fn last(&self, plan: &Plan) -> Option<(&str, &str)> {
        let key = plan.key.as_ref().map(|_| self.key.as_str());
        Some((key.unwrap_or_default(), self.newest(key)?))
    }

    /// Whether the feed's newest cursor is not in the offset of any record yet.
    pub fn is_ahead(&self) -> bool {
        self.places.only.ahead
    }

    /// Begins the next message.
    pub fn begin_message(&mut self) {
        self.message += 1;
        self.under_way = true;
    }

    /// Ends a message: all its records are in the batch.
    pub fn end_message(&mut self) {
        self.under_way = false;
    }

    /// Notes that a record was dropped as a duplicate. It may be the record of the cursor.
    pub fn came_again(&mut self, plan: &Plan, values: &Values<'_>) {
        self.read_key(plan, values);
        self.text.clear();
        if let Some(place) = self.places.of(plan, &self.key)
            && plan.cursor.as_ref().is_some_and(|cursor| cursor.write(values, &mut self.text).is_ok())
            && matches!(&place.awaited, Awaited::NotYet(awaited) if *awaited == self.text)
        {
            place.awaited = Awaited::Came(self.text.clone());
        }
    }

    fn read_key(&mut self, plan: &Plan, values: &Values<'_>) {
        self.key.clear();
        if let Some(key) = &plan.key {
            if key.write(values, &mut self.key).is_err() {
                self.key.clear();
            }
            // Only keys that are topics have a stored position.
            if !self.places.keyed.contains_key(&self.key) && plan.keys.contains(&self.key) {
                self.places.keyed.insert(self.key.clone(), Place::default());
            }
        }
    }

    /// Reads the cursor of a record, or of a message without records.
    pub fn look(&mut self, plan: &Plan, values: &Values<'_>, is_record: bool) -> Standing {
        self.read_key(plan, values);
        let Some(place) = self.places.of(plan, &self.key) else { return Standing::New };
        place.enter(self.message);
        self.text.clear();
        if plan.cursor.as_ref().is_none_or(|cursor| cursor.write(values, &mut self.text).is_err()) {
            return Standing::New;
        }
        let goes_back = |newest: &String| decimal::compare(&self.text, newest) != Ordering::Greater;
        if plan.only_forward && place.newest.as_ref().is_some_and(goes_back) {
            return Standing::New;
        }
        let standing = if is_record { place.awaited.meet(&self.text) } else { Standing::New };
        if standing == Standing::Clamped {
            // The server has not sent the stored records after the cursor again.
            place.stored = 0;
        }
        place.ahead = place.newest.as_ref() != Some(&self.text);
        self.before = place.at;
        if standing != Standing::Again {
            place.at = Some(values.now);
        }
        match &mut place.newest {
            Some(newest) => newest.clone_from(&self.text),
            none => *none = Some(self.text.clone()),
        }
        Mutation::PartBehindItsOwnCursor.does(|| place.before.clone_from(&place.newest));
        standing
    }

    /// Reads the cursor of a record from the feed's history. The position does not change.
    pub fn look_back(&mut self, plan: &Plan, values: &Values<'_>) {
        self.read_key(plan, values);
        self.text.clear();
        if plan.cursor.as_ref().is_none_or(|cursor| cursor.write(values, &mut self.text).is_err()) {
            self.text.clear();
        }
    }

    /// Writes the offset entries of a record from the feed's history. `overtakes`: newer records still wait, so a start
    /// with this offset has to resume after this record. Returns whether the entries contain the record's own cursor.
    pub fn write_back(&self, plan: &Plan, overtakes: bool, record: &mut RecordWriter<'_>) -> bool {
        let place = if plan.key.is_some() { self.places.keyed.get(&self.key) } else { Some(&self.places.only) };
        let Some(place) = place else { return false };
        let own = Some(&self.text).filter(|text| overtakes && !text.is_empty());
        if let Some(cursor) = own.or(place.newest.as_ref()) {
            record.part(Part::OffsetEntry { name: CURSOR, value: OffsetValue::Text(cursor) });
        }
        if plan.key.is_some() {
            record.part(Part::Partition(&self.key));
        }
        own.is_some()
    }

    /// Whether a new record that passed the filter is one of those after the cursor that are stored already.
    pub fn is_stored(&mut self, plan: &Plan) -> bool {
        let Some(place) = self.places.of(plan, &self.key).filter(|place| place.stored > 0) else { return false };
        place.stored -= 1;
        place.records += 1;
        true
    }

    /// Writes the offset entries of the last record. `last`: it is the last one of its message.
    pub fn write(&mut self, plan: &Plan, last: bool, record: &mut RecordWriter<'_>) {
        let Some(place) = self.places.of(plan, &self.key) else { return };
        let last = last || Mutation::CursorBeforeItsMessage.is_on();
        place.records += 1;
        place.ahead &= !last;
        place.write(Some(place.records).filter(|_| !last), last, record);
        if plan.key.is_some() {
            record.part(Part::Partition(&self.key));
        }
    }

    /// Writes the offset entries of a record of the ledger that goes before the records of the last message. Its
    /// partition is that of the message's last record.
    pub fn write_before(&mut self, plan: &Plan, record: &mut RecordWriter<'_>) {
        let message = self.message;
        match self.places.of(plan, &self.key) {
            Some(place) if place.message == message => {
                place.write(Some(place.stored_before).filter(|&stored| stored > 0), false, record);
                if plan.key.is_some() {
                    record.part(Part::Partition(&self.key));
                }
            }
            _ => self.write_beside(record),
        }
    }

    /// Writes the offset entries of a record of the ledger.
    pub fn write_beside(&mut self, record: &mut RecordWriter<'_>) {
        let place = &mut self.places.only;
        place.ahead &= self.under_way;
        if self.under_way && place.message == self.message {
            place.write(Some(place.records), false, record);
        } else {
            place.write(Some(place.stored).filter(|&stored| stored > 0), true, record);
        }
    }
}

impl Places {
    /// Returns the position of a key, or `None` for a key without a cursor.
    fn of(&mut self, plan: &Plan, key: &str) -> Option<&mut Place> {
        if plan.key.is_some() { self.keyed.get_mut(key) } else { Some(&mut self.only) }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Place> {
        self.keyed.values_mut().chain([&mut self.only])
    }
}

impl Place {
    /// Counts a record of the present message.
    fn enter(&mut self, message: u64) {
        if self.message != message {
            (self.message, self.records) = (message, 0);
            self.stored_before = self.stored;
            self.before.clone_from(&self.newest);
        }
    }
}

impl Place {
    /// Writes a record's position. `part`: how many records after the cursor are stored with it.
    fn write(&self, part: Option<u64>, is_whole: bool, record: &mut RecordWriter<'_>) {
        if let Some(cursor) = if is_whole { &self.newest } else { &self.before } {
            record.part(Part::OffsetEntry { name: CURSOR, value: OffsetValue::Text(cursor) });
        }
        if let Some(part) = part {
            let part = i64::try_from(part).unwrap_or(i64::MAX) - i64::from(Mutation::PartOneLess.is_on());
            record.part(Part::OffsetEntry { name: PART, value: OffsetValue::Number(part) });
        }
    }
}

impl Awaited {
    fn meet(&mut self, cursor: &str) -> Standing {
        let (same, not_yet) = match self {
            Awaited::Nothing => return Standing::New,
            Awaited::NotYet(awaited) => (awaited == cursor, true),
            Awaited::Came(awaited) => (awaited == cursor, false),
        };
        *self = if same { Awaited::Came(cursor.to_owned()) } else { Awaited::Nothing };
        match (same, not_yet) {
            (true, _) if Mutation::InclusiveDoubleStays.is_on() => Standing::New,
            (true, _) => Standing::Again,
            (false, true) => Standing::Clamped,
            (false, false) => Standing::New,
        }
    }
}
