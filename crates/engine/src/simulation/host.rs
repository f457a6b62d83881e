//! A host with Kafka Connect's rules: which offset is stored, and when, beside what Kafka has.

use std::collections::VecDeque;
use std::sync::Arc;

use super::network::{Net, Shared, lock};
use super::shape::KEYS;
use crate::commits::Commits;
use crate::intake::records::BACKFILLED;
use crate::offset::{AT, CURSOR, PART, SEQUENCE, SESSION_ID, StoredOffset};
use crate::record::{Batch, OffsetValue, Record};
use crate::task::SourceTask;

/// Records that wait for Kafka: beyond so many nothing is polled.
const MAX_IN_FLIGHT: usize = 60;
/// One for each key, and one for the ledger.
const LANES: usize = KEYS.len() + 1;
const LEDGER: usize = KEYS.len();

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Offsets of the acknowledged prefix are stored at intervals, and with them the time (the worker).
    Worker,
    /// The same without the time; transformations may drop records, which then have no offset (Kafka Connect).
    Connect,
    /// The records of a poll and their offset are one transaction (Kafka Connect, KIP-618).
    ExactlyOnce,
}

/// A record of a feed's message in Kafka.
#[derive(Debug, Clone, Copy)]
pub(super) struct Landed {
    pub(super) key: usize,
    pub(super) n: u64,
    pub(super) i: u8,
    pub(super) generation: u32,
    /// It was asked for.
    pub(super) of_history: bool,
}

/// A record of the ledger in Kafka.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) id: String,
    pub(super) cause: String,
    pub(super) begin: Option<u64>,
    pub(super) end: u64,
    pub(super) key: Option<String>,
    pub(super) range: Option<(i128, i128)>,
    pub(super) missing: Option<u64>,
    pub(super) generation: u32,
    /// When it was in Kafka.
    pub(super) at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    InKafka,
    Acknowledged,
    /// A transformation has dropped it.
    Filtered,
    /// Kafka does not take it, and it is left out.
    Refused,
}

impl State {
    /// Nothing more becomes of it.
    fn is_done(self) -> bool {
        matches!(self, State::Acknowledged | State::Filtered | State::Refused)
    }
}

struct Sent {
    batch: Batch,
    states: Vec<(usize, State)>,
    /// Which of the feed's records they are, if they are.
    names: Vec<Option<Name>>,
}

pub(super) struct Host {
    pub(super) mode: Mode,
    pub(super) filters: bool,
    /// Kafka refuses some records, which are left out.
    pub(super) refuses: bool,
    /// How many.
    pub(super) refused: u64,
    pub(super) stored: Option<StoredOffset>,
    pub(super) topic: Vec<Landed>,
    pub(super) ledger: Vec<Told>,
    /// From where on messages must be somewhere: the first stored offset.
    pub(super) base: Option<Base>,
    /// What was stored when each generation began, by key: what is before it must not come again.
    pub(super) generations: Vec<[Option<u64>; KEYS.len()]>,
    /// When it ended in the middle of something.
    pub(super) deaths: Vec<u64>,
    commits: Option<Arc<Commits>>,
    sent: VecDeque<Sent>,
    in_flight: usize,
    committed: i64,
    last_polled: i64,
    pub(super) kafka_away_until: u64,
    pub(super) paused_until: u64,
    flush_at: u64,
    transaction_until: u64,
    /// The newest message of each key that is stored.
    newest_stored: [Option<u64>; KEYS.len()],
    /// And of those that may be stored.
    newest_unstored: [Option<u64>; KEYS.len()],
    /// What may be stored.
    ahead: Option<StoredOffset>,
    session_id: Arc<str>,
    pub(super) wrong: Option<String>,
}

/// What was stored first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base {
    pub(super) at: u64,
    pub(super) newest: [Option<u64>; KEYS.len()],
}

/// What a record of a message says of itself.
#[derive(Debug, Clone, Copy)]
struct Name {
    key: usize,
    n: u64,
    i: u8,
}

impl Host {
    pub(super) fn new(mode: Mode, filters: bool, refuses: bool) -> Host {
        Host {
            mode,
            filters,
            refuses,
            refused: 0,
            stored: None,
            topic: Vec::new(),
            ledger: Vec::new(),
            base: None,
            generations: Vec::new(),
            deaths: Vec::new(),
            commits: None,
            sent: VecDeque::new(),
            in_flight: 0,
            committed: 0,
            last_polled: 0,
            kafka_away_until: 0,
            paused_until: 0,
            flush_at: 0,
            transaction_until: 0,
            newest_stored: [None; KEYS.len()],
            newest_unstored: [None; KEYS.len()],
            ahead: None,
            session_id: "".into(),
            wrong: None,
        }
    }

    /// A task is started with the stored offset.
    pub(super) fn begin(&mut self, task: &SourceTask) {
        (self.session_id, self.commits) = (task.session_id().clone(), task.commits());
        self.generations.push(self.newest_stored);
        self.committed = self.stored.as_ref().map_or(0, |stored| stored.sequence);
        self.last_polled = self.committed;
    }

    fn generation(&self) -> u32 {
        self.generations.len() as u32
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight == 0
    }

    pub(super) fn may_poll(&self, now: u64) -> bool {
        let room = match self.mode {
            Mode::ExactlyOnce => self.in_flight == 0,
            Mode::Worker | Mode::Connect => self.in_flight < MAX_IN_FLIGHT,
        };
        room && now >= self.paused_until
    }

    /// A batch was polled.
    pub(super) fn take(&mut self, batch: Batch, net: &mut Net) {
        if batch.first_sequence() <= self.last_polled {
            self.wrong.get_or_insert(format!(
                "the sequence {} came after {}",
                batch.first_sequence(),
                self.last_polled
            ));
        }
        self.last_polled = batch.last_sequence();
        net.say(|| format!("poll   {} to {}", batch.first_sequence(), batch.last_sequence()));
        let names: Vec<_> = batch.iter().map(|record| name(&record)).collect();
        let state = |(record, name): (Record<'_>, &Option<Name>)| {
            let state = match *name {
                Some(Name { n, i, .. }) if self.is_filtered(n, i) => State::Filtered,
                Some(Name { n, i, .. }) if self.is_refused(n, i) => State::Refused,
                _ => State::Waits,
            };
            // Nobody waits for what is left out.
            if state != State::Waits {
                self.tell_commits(&record, *name, net);
            }
            (name.map_or(LEDGER, |name| name.key), state)
        };
        let states: Vec<_> = batch.iter().zip(&names).map(state).collect();
        self.in_flight += states.len();
        net.events += states.len() as u64;
        self.transaction_until = net.now + net.random.between(1, 60);
        self.sent.push_back(Sent { batch, states, names });
    }

    /// Whether a transformation drops this record, today as tomorrow.
    pub(super) fn is_filtered(&self, n: u64, i: u8) -> bool {
        self.filters && (n * 7 + u64::from(i)).is_multiple_of(5)
    }

    /// Whether Kafka refuses this record, today as tomorrow.
    pub(super) fn is_refused(&self, n: u64, i: u8) -> bool {
        self.refuses && (n * 3 + u64::from(i)).is_multiple_of(17)
    }

    /// A feed may want to hear that Kafka has this record, or never will.
    fn tell_commits(&self, record: &Record<'_>, name: Option<Name>, net: &mut Net) {
        let (Some(commits), Some(message)) = (&self.commits, record.message()) else { return };
        commits.acknowledged(message, 1);
        let named = name.and_then(|Name { n, i, .. }| Some((net.feed.get_mut(n)?, i)));
        named.into_iter().for_each(|(message, i)| message.told |= 1 << i);
    }

    /// Kafka does something, and so does the host with what it says.
    pub(super) fn step(&mut self, task: &mut SourceTask, net: &Shared) {
        let mut net = lock(net);
        if net.now >= self.kafka_away_until {
            match self.mode {
                Mode::ExactlyOnce => self.commit_transaction(task, &mut net),
                Mode::Worker | Mode::Connect => {
                    self.land(&mut net);
                    self.acknowledge(&mut net);
                    self.take_prefix(task, &mut net);
                }
            }
        }
        if self.mode != Mode::ExactlyOnce && net.now >= self.flush_at {
            self.flush_at = net.now + 5000;
            self.flush(&mut net);
        }
    }

    fn commit_transaction(&mut self, task: &mut SourceTask, net: &mut Net) {
        if self.sent.is_empty() || net.now < self.transaction_until {
            return;
        }
        for at in 0..self.sent.len() {
            for index in 0..self.sent[at].states.len() {
                if self.sent[at].states[index].1 == State::Waits {
                    self.append(at, index, net);
                    self.acknowledge_one(at, index, net);
                }
            }
        }
        self.finish(self.sent.len(), task, net);
        self.flush(net);
    }

    /// Kafka takes some of what was sent: of each lane the first ones.
    pub(super) fn land(&mut self, net: &mut Net) {
        let mut room: [usize; LANES] = std::array::from_fn(|_| net.random.below(12));
        for at in 0..self.sent.len() {
            for index in 0..self.sent[at].states.len() {
                let (lane, state) = self.sent[at].states[index];
                if state == State::Waits && room[lane] > 0 {
                    room[lane] -= 1;
                    self.append(at, index, net);
                }
            }
        }
    }

    fn append(&mut self, at: usize, index: usize, net: &mut Net) {
        self.sent[at].states[index].1 = State::InKafka;
        let Some(record) = self.sent[at].batch.get(index) else { return };
        net.events += 1;
        let Some(Name { key, n, i }) = self.sent[at].names[index] else {
            // What the feed says of itself is a record too.
            if record.topic() != Some("gaps") {
                return;
            }
            net.say(|| format!("ledger {}", String::from_utf8_lossy(record.value)));
            match told(record.value, self.generation(), net.now) {
                Some(told) => self.ledger.push(told),
                None => drop(self.wrong.get_or_insert("a record of the ledger cannot be read".to_owned())),
            }
            return;
        };
        net.say(|| format!("kafka  {n}-{i} as {}", record.sequence));
        net.feed.get_mut(n).into_iter().for_each(|message| message.in_kafka |= 1 << i);
        let of_history = record.headers().any(|(name, _)| name == BACKFILLED);
        self.topic.push(Landed { key, n, i, generation: self.generation(), of_history });
    }

    /// Some acknowledgements arrive.
    fn acknowledge(&mut self, net: &mut Net) {
        let mut room: [usize; LANES] = std::array::from_fn(|_| net.random.below(12));
        for at in 0..self.sent.len() {
            for index in 0..self.sent[at].states.len() {
                let (lane, state) = self.sent[at].states[index];
                if state == State::InKafka && room[lane] > 0 {
                    room[lane] -= 1;
                    self.acknowledge_one(at, index, net);
                }
            }
        }
    }

    fn acknowledge_one(&mut self, at: usize, index: usize, net: &mut Net) {
        self.sent[at].states[index].1 = State::Acknowledged;
        net.events += 1;
        if let Some(record) = self.sent[at].batch.get(index) {
            self.tell_commits(&record, self.sent[at].names[index], net);
        }
    }

    /// Whole batches at the front that are done with.
    fn take_prefix(&mut self, task: &mut SourceTask, net: &mut Net) {
        let is_done = |sent: &&Sent| sent.states.iter().all(|(_, state)| state.is_done());
        let done = self.sent.iter().take_while(is_done).count();
        if done > 0 {
            self.finish(done, task, net);
            return;
        }
        // A prefix of the first batch may be stored too.
        if let Some(sent) = self.sent.front() {
            let records = sent.states.iter().take_while(|(_, state)| state.is_done()).count();
            let last = sent.batch.first_sequence() + records as i64 - 1;
            if last > self.committed {
                self.note(0, records);
                self.leave_out(0, records, task);
                self.tell_engine(last, task, net);
            }
        }
    }

    fn finish(&mut self, batches: usize, task: &mut SourceTask, net: &mut Net) {
        for at in 0..batches {
            self.note(at, self.sent[at].states.len());
            self.leave_out(at, self.sent[at].states.len(), task);
        }
        let last = self.sent[batches - 1].batch.last_sequence();
        self.in_flight -= self.sent.drain(..batches).map(|sent| sent.states.len()).sum::<usize>();
        self.tell_engine(last, task, net);
    }

    /// Tells which of these records Kafka will never have.
    fn leave_out(&mut self, at: usize, records: usize, task: &mut SourceTask) {
        let Sent { batch, states, .. } = &self.sent[at];
        let told = (self.committed + 1 - batch.first_sequence()).max(0) as usize;
        let count = |what| states[..records].iter().skip(told).filter(|(_, state)| *state == what).count() as u64;
        let (refused, filtered) = (count(State::Refused), count(State::Filtered));
        self.refused += refused;
        task.left_out(refused, filtered);
    }

    fn tell_engine(&mut self, sequence: i64, task: &mut SourceTask, net: &mut Net) {
        self.committed = sequence;
        task.commit(sequence, net.at());
    }

    /// The offsets of these records may be stored: of each partition the last dispatched one's.
    fn note(&mut self, at: usize, records: usize) {
        let sent = &self.sent[at];
        let mut seen: [bool; LANES] = [false; LANES];
        let mut found = Vec::new();
        for index in (0..records).rev() {
            let state = sent.states[index].1;
            let Some(record) = sent.batch.get(index).filter(|_| state != State::Filtered) else { continue };
            if record.sequence <= self.committed {
                break;
            }
            let place =
                record.partition_key().and_then(|key| KEYS.iter().position(|own| *own == key)).unwrap_or(LEDGER);
            if !std::mem::replace(&mut seen[place], true) {
                found.push(index);
            }
            // Without a cursor, a part of the first message is no place to go on from.
            let is_part = record.offset_entries().any(|(name, _)| name == PART);
            let is_place = !is_part || record.offset_entries().any(|(name, _)| name == CURSOR);
            if let Some(name) = sent.names[index].filter(|_| is_place) {
                let newest = &mut self.newest_unstored[name.key];
                *newest = (*newest).max(Some(name.n));
            }
        }
        for index in found.into_iter().rev() {
            if let Some(record) = sent.batch.get(index) {
                self.ahead = Some(add(self.ahead.take().or_else(|| self.stored.clone()), &record, &self.session_id));
            }
        }
    }

    /// What may be stored is.
    pub(super) fn flush(&mut self, net: &mut Net) {
        if let Some(ahead) = self.ahead.take() {
            net.events += 1;
            net.say(|| format!("store  {ahead:?}"));
            self.stored = Some(ahead);
            self.newest_stored = self.newest_unstored;
            self.base.get_or_insert(Base { at: net.now, newest: self.newest_stored });
        }
        if self.mode == Mode::Worker
            && let Some(stored) = &mut self.stored
        {
            // The worker's file is written also without a new offset, while the feed is connected.
            stored.written_at = Some(net.at());
        }
    }

    /// The host dies, or gives up its task: what Kafka has not is gone, and what is not stored too.
    pub(super) fn die(&mut self, is_drained: bool, net: &mut Net) {
        if !is_drained || !self.is_idle() {
            self.deaths.push(net.now);
        }
        if self.mode != Mode::ExactlyOnce && net.random.percent(50) {
            // It was on its way.
            self.land(net);
        }
        self.sent.clear();
        self.in_flight = 0;
        self.commits = None;
        net.feed.forget_told();
        self.ahead = None;
        self.newest_unstored = self.newest_stored;
    }
}

/// The offset as a host gives it back.
fn add(found: Option<StoredOffset>, record: &Record<'_>, session_id: &Arc<str>) -> StoredOffset {
    let own = [
        (SESSION_ID, OffsetValue::Text(session_id)),
        (SEQUENCE, OffsetValue::Number(record.sequence)),
        (AT, OffsetValue::Number(record.received_ms)),
    ];
    StoredOffset::add(found, record.partition_key(), own.into_iter().chain(record.offset_entries())).unwrap_or_default()
}

/// Reads which record of which message this is; nothing for one of the ledger.
fn name(record: &Record<'_>) -> Option<Name> {
    let (number, rest) =
        (|bytes: &[u8]| bytes.iter().fold(0, |n, digit| n * 10 + u64::from(digit - b'0')), record.value);
    let (key, rest) = rest.strip_prefix(br#"{"k":""#)?.split_first()?;
    let key = KEYS.iter().position(|own| own.as_bytes() == [*key])?;
    let rest = rest.strip_prefix(br#"","n":"#)?;
    let (n, rest) = rest.split_at(rest.iter().take_while(|byte| byte.is_ascii_digit()).count());
    let rest = rest.strip_prefix(br#","i":"#)?;
    let i = &rest[..rest.iter().take_while(|byte| byte.is_ascii_digit()).count()];
    Some(Name { key, n: number(n), i: number(i) as u8 })
}

fn told(value: &[u8], generation: u32, at: u64) -> Option<Told> {
    let json: serde_json::Value = serde_json::from_slice(value).ok()?;
    let text = |name: &str| json[name].as_str().map(str::to_owned);
    let number = |name: &str| json[name].as_str().and_then(|text| text.parse().ok());
    Some(Told {
        id: text("id")?,
        cause: text("cause")?,
        begin: json["begin"].as_u64(),
        end: json["end"].as_u64()?,
        key: text("key"),
        range: number("from").zip(number("to")),
        missing: json["missing"].as_u64(),
        generation,
        at,
    })
}
