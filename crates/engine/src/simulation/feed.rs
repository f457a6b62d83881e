//! A feed that knows what it sent.

use std::fmt::Write as _;
use std::sync::Arc;

use super::shape::{KEYS, Shape};
use crate::mutation::Random;

pub(super) struct Feed {
    /// All messages; the first one has the number 1.
    pub(super) log: Vec<Message>,
    /// What is before it has been thrown away.
    pub(super) oldest: u64,
    numbers: [u64; KEYS.len()],
    /// How often it could not go on from a cursor, and said so; and without a word.
    pub(super) refusals: u64,
    pub(super) clamps: u64,
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
}

impl Feed {
    pub(super) fn new() -> Feed {
        Feed { log: Vec::new(), oldest: 1, numbers: [0; KEYS.len()], refusals: 0, clamps: 0 }
    }

    pub(super) fn newest(&self) -> u64 {
        self.log.len() as u64
    }

    pub(super) fn get(&self, n: u64) -> Option<&Message> {
        self.log.get(usize::try_from(n.checked_sub(1)?).ok()?)
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
        let records = if is_heartbeat { 0 } else { 1 + if shape.split { random.below(4) as u8 } else { 0 } };
        let filtered = if shape.filter && random.percent(30) { random.below(16) as u8 } else { 0 };
        let k = KEYS[key];
        let mut text = String::with_capacity(64);
        // To a String all can be written.
        if is_heartbeat {
            let _ = write!(text, r#"{{"hb":1,"k":"{k}","n":{n},"s":{number}}}"#);
        } else {
            text.push_str(if shape.split { "[" } else { "" });
            for i in 0..records {
                let comma = if i > 0 { "," } else { "" };
                let f = filtered >> i & 1;
                let _ = write!(text, r#"{comma}{{"k":"{k}","n":{n},"i":{i},"f":{f},"s":{number}}}"#);
            }
            text.push_str(if shape.split { "]" } else { "" });
        }
        self.log.push(Message { n, key, number, records, filtered, sent: now, sent_wall: wall, text: text.into() });
        &self.log[n as usize - 1]
    }
}
