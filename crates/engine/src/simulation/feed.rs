//! A feed that knows what it sent.

use std::fmt::Write as _;
use std::sync::Arc;

use super::shape::{Form, KEYS, Shape};
use crate::random::Random;

/// Each time a key's numbering begins anew, it does so this much lower.
pub(super) const ERA: u64 = 1000;
const FIRST_ERA: u64 = 1000 * ERA;

pub(super) struct Feed {
    /// All messages; the first one has the cursor 1.
    pub(super) log: Vec<Message>,
    /// What is before it has been thrown away.
    pub(super) oldest: u64,
    numbers: [u64; KEYS.len()],
    /// How often it could not go on from a cursor, and said so; and without a word.
    pub(super) refusals: u64,
    pub(super) clamps: u64,
    /// The acknowledgements, and what Kafka had of their messages.
    pub(super) acknowledged: Vec<(u64, u8)>,
}

pub(super) struct Message {
    /// Its cursor.
    pub(super) n: u64,
    pub(super) key: usize,
    /// Its number among those of its key.
    pub(super) number: u64,
    pub(super) records: u8,
    /// The records that the connector's filter drops, bit by bit.
    filtered: u8,
    /// The records that Kafka has, bit by bit.
    pub(super) in_kafka: u8,
    /// The records of which the host has told the task that Kafka has them, bit by bit.
    pub(super) told: u8,
    /// The connection on which it was sent first.
    pub(super) first_on: Option<u64>,
    pub(super) is_acknowledged: bool,
    /// It was thrown away before it was acknowledged.
    pub(super) is_given_up: bool,
    /// When it was sent.
    pub(super) sent: u64,
    pub(super) sent_wall: u64,
    pub(super) text: Arc<str>,
}

impl Message {
    /// Which of its records have to be somewhere.
    pub(super) fn wanted(&self) -> impl Iterator<Item = u8> + '_ {
        (0..self.records).filter(|i| self.filtered >> i & 1 == 0)
    }

    /// Whether the task knows that Kafka has all of it, and the feed does not.
    fn is_owed_to(&self, connection: u64) -> bool {
        let is_whole = self.told != 0 && self.wanted().all(|i| self.told >> i & 1 == 1);
        is_whole && self.first_on == Some(connection) && !self.is_acknowledged
    }
}

impl Feed {
    pub(super) fn new() -> Feed {
        Feed {
            log: Vec::with_capacity(256),
            oldest: 1,
            numbers: [FIRST_ERA; KEYS.len()],
            refusals: 0,
            clamps: 0,
            acknowledged: Vec::new(),
        }
    }

    pub(super) fn newest(&self) -> u64 {
        self.log.len() as u64
    }

    pub(super) fn get(&self, n: u64) -> Option<&Message> {
        self.log.get(usize::try_from(n.checked_sub(1)?).ok()?)
    }

    pub(super) fn get_mut(&mut self, n: u64) -> Option<&mut Message> {
        self.log.get_mut(usize::try_from(n.checked_sub(1)?).ok()?)
    }

    /// The numbering of a key begins anew.
    pub(super) fn begin_anew(&mut self, key: usize) {
        self.numbers[key] = (self.numbers[key] / ERA - 1) * ERA;
    }

    /// What is older than the newest so many messages is thrown away.
    pub(super) fn throw_away(&mut self, but: u64) {
        self.oldest = (self.newest() + 1).saturating_sub(but).max(self.oldest);
        let gone = self.log.iter_mut().take_while(|message| message.n < self.oldest);
        gone.for_each(|message| message.is_given_up |= !message.is_acknowledged);
    }

    /// The engine has acknowledged a message.
    pub(super) fn acknowledge(&mut self, n: u64) {
        let Some(message) = self.get_mut(n).filter(|message| !message.is_acknowledged) else { return };
        message.is_acknowledged = true;
        let in_kafka = message.in_kafka;
        self.acknowledged.push((n, in_kafka));
    }

    /// The task that is told is gone.
    pub(super) fn forget_told(&mut self) {
        self.log.iter_mut().for_each(|message| message.told = 0);
    }

    /// A message that the task could have acknowledged on this connection and has not.
    pub(super) fn owed_to(&self, connection: u64) -> Option<u64> {
        self.log.iter().find(|message| message.is_owed_to(connection)).map(|message| message.n)
    }

    /// Another message comes to be.
    pub(super) fn make(&mut self, shape: &Shape, random: &mut Random, now: u64, wall: u64) -> &Message {
        let key = random.below(shape.keys());
        self.make_of(key, shape, random, now, wall)
    }

    pub(super) fn make_of(&mut self, key: usize, shape: &Shape, random: &mut Random, now: u64, wall: u64) -> &Message {
        let n = self.newest() + 1;
        self.numbers[key] += 1;
        let number = self.numbers[key];
        let is_heartbeat = shape.heartbeats && random.percent(15);
        let most = if shape.form == Form::Whole { 1 } else { 4 };
        let records = if is_heartbeat { 0 } else { 1 + random.below(most) as u8 };
        let filtered = if shape.filter && random.percent(30) { random.below(16) as u8 } else { 0 };
        let text = text(shape.form, KEYS[key], n, number, records, filtered).into();
        self.log.push(Message {
            n,
            key,
            number,
            records,
            filtered,
            in_kafka: 0,
            told: 0,
            first_on: None,
            is_acknowledged: false,
            is_given_up: false,
            sent: now,
            sent_wall: wall,
            text,
        });
        &self.log[n as usize - 1]
    }
}

/// A message as it is sent.
fn text(form: Form, key: &str, n: u64, number: u64, records: u8, filtered: u8) -> String {
    let mut text = String::with_capacity(64 * usize::from(records.max(1)));
    // To a String all can be written.
    if records == 0 {
        let _ = write!(text, r#"{{"hb":1,"k":"{key}","n":{n},"s":{number}}}"#);
        return text;
    }
    let _ = match form {
        Form::Whole => Ok(()),
        Form::Array => write!(text, "["),
        Form::Picked => write!(text, r#"{{"n":{n},"r":["#),
    };
    for i in 0..records {
        let comma = if i > 0 { "," } else { "" };
        let f = filtered >> i & 1;
        let _ = write!(text, r#"{comma}{{"k":"{key}","n":{n},"i":{i},"f":{f},"s":{number}}}"#);
    }
    text.push_str(match form {
        Form::Whole => "",
        Form::Array => "]",
        Form::Picked => "]}",
    });
    text
}
