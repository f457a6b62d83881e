//! Where in the feed a record stands, so that a new connection can go on from there.
//!
//! A cursor counts only when the whole of its message is stored: all records of a message but the last have the cursor of
//! the message before it, and say how many records of the message are stored with them.

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
    /// Where each key has a cursor of its own.
    pub key: Option<String>,
    /// The keys that there are.
    pub keys: Vec<String>,
    /// How far to go back.
    pub rewind: u64,
    /// The server sends the stored record again.
    pub inclusive: bool,
    /// Captured variables that live on.
    pub variables: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub cursor: Option<Template>,
    pub key: Option<Template>,
    pub keys: Vec<String>,
    pub rewind: u64,
    pub inclusive: bool,
    /// Those that live on; secret ones are not stored.
    pub variables: Vec<(VariableId, String)>,
    /// It is the feed's number, for its history: nothing is asked to go on from it.
    pub is_number: bool,
    /// A lower one does not move it.
    pub only_forward: bool,
}

impl Plan {
    /// The keys that each have a source partition.
    pub fn partition_keys(&self) -> &[String] {
        if self.key.is_some() { &self.keys } else { &[] }
    }
}

/// Where the feed stands, or each of its keys.
#[derive(Debug, Default)]
pub struct Cursors {
    places: Places,
    /// Counts messages.
    message: u64,
    /// The message is not whole in the batch yet.
    under_way: bool,
    text: String,
    /// Of the record that was looked at last.
    key: String,
    /// When the cursor before it was received.
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
    /// No record has the newest cursor.
    ahead: bool,
    /// When it was received.
    at: Option<SystemTime>,
    /// The newest of the messages before the one under way.
    before: Option<String>,
    message: u64,
    /// Records of the message under way that are in the batch.
    records: u64,
    awaited: Awaited,
    /// Records behind the cursor that are stored, and come again.
    stored: u64,
    /// The same before the message under way.
    stored_before: u64,
}

/// Where a server sends the record of the cursor again, and then what follows.
#[derive(Debug, Default)]
enum Awaited {
    #[default]
    Nothing,
    NotYet(String),
    /// It may be more than one.
    Came(String),
}

/// What a record is on a connection that goes on from a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    New,
    /// It is stored.
    Again,
    /// It is new, and the record that the server had to send again did not come.
    Clamped,
}

impl Cursors {
    /// Goes on from what is stored.
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

    /// A new connection is there. `resuming`: it goes on from the newest cursor.
    pub fn connected(&mut self, plan: &Plan, resuming: bool) {
        // Further back than the cursor, more than its record comes again.
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

    /// The position is gone.
    pub fn forget(&mut self) {
        self.places = Places::default();
    }

    /// The position of one key is gone.
    pub fn forget_key(&mut self, key: &str) {
        self.places.keyed.remove(key);
    }

    /// The key of the record that was looked at last.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Nothing comes again: the server has not gone on from the cursor, as the last message said; of its key, if it has one.
    pub fn await_nothing(&mut self) {
        if let Some(place) = self.places.keyed.get_mut(&self.key) {
            (place.awaited, place.stored) = (Awaited::Nothing, 0);
            return;
        }
        for place in self.places.all() {
            (place.awaited, place.stored) = (Awaited::Nothing, 0);
        }
    }

    /// The newest cursor of the feed, or of each key, and when it was received.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str, Option<SystemTime>)> {
        let keyed = self.places.keyed.iter().map(|(key, place)| (key.as_str(), place));
        keyed
            .chain([("", &self.places.only)])
            .filter_map(|(key, place)| Some((key, place.newest.as_deref()?, place.at)))
    }

    /// When the newest cursor was received; of several keys the oldest one's.
    pub fn since(&self) -> Option<SystemTime> {
        self.places.keyed.values().chain([&self.places.only]).filter_map(|place| place.at).min()
    }

    /// The same of the record that was looked at last, before it came.
    pub fn since_before(&self) -> Option<SystemTime> {
        self.before
    }

    /// The newest cursor of the feed, or of a key.
    pub fn newest(&self, key: Option<&str>) -> Option<&str> {
        let place = key.map_or(Some(&self.places.only), |key| self.places.keyed.get(key))?;
        place.newest.as_deref()
    }

    /// The key and the cursor of the record that was looked at last.
    pub fn last(&self, plan: &Plan) -> Option<(&str, &str)> {
        let key = plan.key.as_ref().map(|_| self.key.as_str());
        Some((key.unwrap_or_default(), self.newest(key)?))
    }

    /// Whether the feed's cursor has moved, and no record has it.
    pub fn is_ahead(&self) -> bool {
        self.places.only.ahead
    }

    /// The next message begins.
    pub fn begin_message(&mut self) {
        self.message += 1;
        self.under_way = true;
    }

    /// All of the message is in the batch.
    pub fn end_message(&mut self) {
        self.under_way = false;
    }

    /// A record was dropped because its key was seen: it may be the one that had to come again.
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
            // A key that is no topic has nothing to go on from.
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
            // What was stored of the message behind the cursor does not come.
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

    /// Reads where a record out of the feed's history stands. It moves nothing.
    pub fn look_back(&mut self, plan: &Plan, values: &Values<'_>) {
        self.read_key(plan, values);
        self.text.clear();
        if plan.cursor.as_ref().is_none_or(|cursor| cursor.write(values, &mut self.text).is_err()) {
            self.text.clear();
        }
    }

    /// Writes the offset entries of a record out of the feed's history. `overtakes`: newer ones are not on their way yet, so a
    /// start that finds its offset has to go on behind it. Returns whether the record says so.
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

    /// Whether a new record that no filter has dropped is one of those behind the cursor that are stored.
    pub fn is_stored(&mut self, plan: &Plan) -> bool {
        let Some(place) = self.places.of(plan, &self.key).filter(|place| place.stored > 0) else { return false };
        place.stored -= 1;
        place.records += 1;
        true
    }

    /// Writes the offset entries of the record that was looked at. `last`: it is the last of its message.
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

    /// Writes the offset entries of a record that is none of the feed's and goes before those of the last message, into the
    /// partition of that one's last record.
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

    /// Writes the offset entries of a record that is none of the feed's.
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
    /// The place of a key; nothing for a key that has no cursor.
    fn of(&mut self, plan: &Plan, key: &str) -> Option<&mut Place> {
        if plan.key.is_some() { self.keyed.get_mut(key) } else { Some(&mut self.only) }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Place> {
        self.keyed.values_mut().chain([&mut self.only])
    }
}

impl Place {
    /// A record of this message comes.
    fn enter(&mut self, message: u64) {
        if self.message != message {
            (self.message, self.records) = (message, 0);
            self.stored_before = self.stored;
            self.before.clone_from(&self.newest);
        }
    }
}

impl Place {
    /// Writes where a record stands. `part`: so many records of a message that is not whole are stored with it, or of one
    /// that comes again.
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
