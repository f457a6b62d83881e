//! What must hold of every history: each message is in Kafka, in order and once, or in the ledger; and nothing else is there.

use std::collections::HashMap;

use super::feed::{ERA, Message};
use super::host::{Base, Host, Mode, Told};
use super::network::Net;
use super::shape::{Acks, Cursor, KEYS, Shape};

/// Losses that a queue or Kafka made are told no less often, while records flow.
const LOSSES_UNTOLD_MS: u64 = 60_000;

/// Looks at a history that is over. Returns what is wrong with it.
pub(super) fn check(shape: &Shape, net: &Net, host: &Host) -> Option<String> {
    let judge = Judge { shape, net, host };
    judge
        .not_settled()
        .or_else(|| judge.missing())
        .or_else(|| judge.unacknowledged())
        .or_else(|| judge.unrepaired())
        .or_else(|| judge.doubled())
        .or_else(|| judge.disordered())
        .or_else(|| judge.reset_not_told())
        .or_else(|| judge.told_falsely())
}

struct Judge<'a> {
    shape: &'a Shape,
    net: &'a Net,
    host: &'a Host,
}

impl Judge<'_> {
    /// With all well again, everything arrives.
    fn not_settled(&self) -> Option<String> {
        if !self.host.is_idle() {
            return Some("records were never acknowledged".to_owned());
        }
        let newest = self.net.feed.newest();
        let last = self.net.feed.log.iter().rev().find(|message| self.taken(message).next().is_some())?;
        let arrived = self.host.topic.iter().any(|landed| landed.n == last.n);
        (!arrived).then(|| format!("nothing arrives any more: {} of {newest} has not", last.n))
    }

    fn wanted<'m>(&'m self, message: &'m Message) -> impl Iterator<Item = u8> + 'm {
        message.wanted().filter(|i| !self.host.is_filtered(message.n, *i))
    }

    /// Those of them that Kafka takes.
    fn taken<'m>(&'m self, message: &'m Message) -> impl Iterator<Item = u8> + 'm {
        self.wanted(message).filter(|i| !self.host.is_refused(message.n, *i))
    }

    fn missing(&self) -> Option<String> {
        let feed = &self.net.feed;
        if self.shape.acks != Acks::None {
            for message in feed.log.iter().filter(|message| !message.is_given_up) {
                if let Some(i) = self.taken(message).find(|i| message.in_kafka >> i & 1 == 0) {
                    return Some(format!(
                        "{}-{i} is lost, although the feed sends again what nobody acknowledged",
                        message.n
                    ));
                }
            }
        }
        let base = self.host.base?;
        for message in feed.log.iter().filter(|message| is_owed(message, &base)) {
            let Some(i) = self.wanted(message).find(|i| message.in_kafka >> i & 1 == 0) else { continue };
            let name = format!("{}-{i} of {}", message.n, KEYS[message.key]);
            let goes_on = self.shape.resumes() && base.newest[message.key].is_some_and(|newest| message.n > newest);
            let drops = self.shape.drops || self.host.is_refused(message.n, i);
            if goes_on && feed.refusals + feed.clamps == 0 && !self.shape.max_age && !drops {
                return Some(format!("{name} is lost, although the feed goes on from any cursor"));
            }
            let is_told = self.host.ledger.iter().any(|told| self.covers(told, message));
            let is_told = is_told || drops && self.died_soon_after(message);
            if !is_told {
                return Some(format!("{name} is neither in Kafka nor in the ledger"));
            }
        }
        None
    }

    /// What was dropped or skipped is told now and then: that it is not yet told dies with the process.
    fn died_soon_after(&self, message: &Message) -> bool {
        let latest = message.sent + self.net.longest_wait + LOSSES_UNTOLD_MS;
        self.host.deaths.iter().any(|death| (message.sent..=latest).contains(death))
    }

    /// Each message is acknowledged, and none before Kafka has it.
    fn unacknowledged(&self) -> Option<String> {
        if self.shape.acks == Acks::None {
            return None;
        }
        let feed = &self.net.feed;
        for (n, in_kafka) in &feed.acknowledged {
            let message = feed.get(*n)?;
            if let Some(i) = self.taken(message).find(|i| in_kafka >> i & 1 == 0) {
                return Some(format!("{n} is acknowledged, and Kafka does not have {n}-{i}"));
            }
        }
        let open = feed.log.iter().find(|message| !message.is_acknowledged && !message.is_given_up)?;
        Some(format!("{} is never acknowledged", open.n))
    }

    /// What lies between two messages of one task is asked for, and comes or is told.
    fn unrepaired(&self) -> Option<String> {
        if !self.shape.backfill || self.shape.drops {
            return None;
        }
        let feed = &self.net.feed;
        let mut last: [(u32, u64); KEYS.len()] = [(0, 0); KEYS.len()];
        for landed in self.host.topic.iter().filter(|landed| !landed.of_history) {
            let (generation, before) = std::mem::replace(&mut last[landed.key], (landed.generation, landed.n));
            // What is missing before a record is stored with it.
            let stored = self.host.generations.get(landed.generation as usize).map(|keys| keys[landed.key]);
            if stored.is_some_and(|stored| stored < Some(landed.n)) {
                continue;
            }
            let first = if generation == landed.generation { before + 1 } else { landed.n };
            let number = feed.get(landed.n)?.number;
            let numbers = feed.get(before).map_or(number, |before| before.number)..number;
            let between = (first..landed.n).filter_map(|n| feed.get(n)).filter(|message| message.key == landed.key);
            let is_lost = |message: &&Message| {
                let is_open = self.taken(message).any(|i| message.in_kafka >> i & 1 == 0);
                is_open && numbers.contains(&message.number)
            };
            let is_told = |message: &Message| self.host.ledger.iter().any(|told| self.counts(told, message));
            if let Some(lost) = between.filter(is_lost).find(|message| !is_told(message)) {
                return Some(format!("{} of {} is neither repaired nor told", lost.n, KEYS[lost.key]));
            }
        }
        None
    }

    /// Where a key's numbers went back between two messages of one task, this is told.
    fn reset_not_told(&self) -> Option<String> {
        let feed = &self.net.feed;
        if !self.shape.resets || self.shape.drops || self.shape.max_age || feed.refusals + feed.clamps > 0 {
            return None;
        }
        let mut last: [(u32, u64); KEYS.len()] = [(0, 0); KEYS.len()];
        for landed in self.host.topic.iter().filter(|landed| !landed.of_history) {
            let era = feed.get(landed.n)?.number / ERA;
            let (generation, before) = std::mem::replace(&mut last[landed.key], (landed.generation, era));
            let tells = |told: &&Told| {
                let is_key = told.cause == "reset" && told.key.as_deref() == Some(KEYS[landed.key]);
                is_key && told.range.is_some_and(|(_, to)| to / i128::from(ERA) == i128::from(era))
            };
            let is_told = self.host.ledger.iter().any(|told| tells(&told)) || self.died_soon_after(feed.get(landed.n)?);
            if generation == landed.generation && era < before && !is_told {
                return Some(format!(
                    "the numbers of {} went back with {}, which is not told",
                    KEYS[landed.key], landed.n
                ));
            }
        }
        None
    }

    /// Whether a record of the ledger tells by its numbers that this message is missing.
    fn counts(&self, told: &Told, message: &Message) -> bool {
        let is_key = told.cause == "sequence" && told.key.as_deref() == Some(KEYS[message.key]);
        let holds = |(from, to): (i128, i128)| (from..=to).contains(&i128::from(message.number));
        is_key && told.missing != Some(0) && told.range.is_some_and(holds)
    }

    /// Whether a record of the ledger tells that this message may be missing.
    fn covers(&self, told: &Told, message: &Message) -> bool {
        if told.range.is_some() && told.cause == "sequence" {
            return self.counts(told, message);
        }
        if self.net.went_back {
            // Times of day say nothing then.
            return told.at >= message.sent;
        }
        // It would have come a little later than it was sent.
        let way = match told.cause.as_str() {
            // The offset says when its record was read. While the queue was full, or after an outage, it may have come, or come
            // to be, long before.
            "restart" | "clamped" | "resume_lost" => self.net.longest_wait,
            // It says when it was lost, and not when it came.
            "dropped" | "skipped" => self.net.longest_wait + LOSSES_UNTOLD_MS,
            _ => self.net.longest_way,
        };
        let latest = message.sent_wall + way + self.net.jumped_forward;
        // A rewound feed sends old messages again, so the moment at which the newest one was read is no bound.
        let is_bound = self.shape.cursor != Cursor::Rewound;
        told.begin.is_none_or(|begin| begin <= latest || !is_bound) && told.end >= message.sent_wall
    }

    /// Twice comes only what was in Kafka and not in the stored offset when the host died.
    fn doubled(&self) -> Option<String> {
        let mut seen = vec![[0; 8]; self.net.feed.log.len() + 1];
        let feed_clamps = self.net.feed.clamps > 0;
        for landed in &self.host.topic {
            let place: &mut u32 = &mut seen[landed.n as usize][usize::from(landed.i)];
            let before = std::mem::replace(place, landed.generation);
            if before == 0 {
                continue;
            }
            let name = format!("{}-{}", landed.n, landed.i);
            if before == landed.generation {
                return Some(format!("{name} is doubled without a restart"));
            }
            // What was seen is remembered in memory alone, so exactly-once is not promised.
            if self.forgets_doubles() {
                continue;
            }
            // Behind a clamp nobody knows whether it is the message of which a part is stored.
            let is_clamped = feed_clamps && self.net.feed.get(landed.n).is_some_and(|message| message.records > 1);
            if self.host.mode == Mode::ExactlyOnce && !is_clamped {
                return Some(format!("{name} is doubled under exactly-once"));
            }
            let stored = self.host.generations.get(landed.generation as usize - 1).and_then(|keys| keys[landed.key]);
            if stored.is_some_and(|stored| landed.n < stored) {
                return Some(format!("{name} came again, although {stored:?} was stored"));
            }
        }
        let mut ids: HashMap<&str, u32> = HashMap::new();
        for told in &self.host.ledger {
            let before = ids.insert(&told.id, told.generation);
            // What was found beside a record that a filter dropped is found again: a record of the ledger does not move the
            // cursor of a key.
            let is_filtered = self.shape.keyed && (self.shape.filter || self.host.filters);
            let comes_again = self.host.mode != Mode::ExactlyOnce || self.forgets_doubles() || is_filtered;
            let allowed = comes_again && before != Some(told.generation);
            if before.is_some() && !allowed {
                return Some(format!("the gap {} is told twice", told.id));
            }
        }
        None
    }

    /// What was seen is known to one task alone.
    fn forgets_doubles(&self) -> bool {
        self.shape.cursor == Cursor::Rewound || self.shape.doubles || self.shape.backfill
    }

    /// What comes for the first time comes in the order of its key.
    fn disordered(&self) -> Option<String> {
        let mut newest: [(u64, u8); KEYS.len()] = [(0, 0); KEYS.len()];
        let mut seen = vec![0_u8; self.net.feed.log.len() + 1];
        let base = self.host.base?;
        for landed in &self.host.topic {
            let place = (landed.n, landed.i);
            let owed = self.net.feed.get(landed.n).is_some_and(|message| is_owed(message, &base));
            let is_new = seen[landed.n as usize] >> landed.i & 1 == 0;
            seen[landed.n as usize] |= 1 << landed.i;
            if owed && is_new {
                // What was told as lost, or was dropped, may come after all.
                let told = |message| self.host.ledger.iter().any(|told| self.covers(told, message));
                let may_come_late = self.shape.drops || self.shape.backfill;
                let is_told = may_come_late || self.net.feed.get(landed.n).is_some_and(told);
                if place < newest[landed.key] && !is_told {
                    return Some(format!(
                        "{}-{} of {} comes behind {:?}",
                        landed.n, landed.i, KEYS[landed.key], newest[landed.key]
                    ));
                }
                newest[landed.key] = newest[landed.key].max(place);
            }
        }
        None
    }

    /// Nothing is told that was not so.
    fn told_falsely(&self) -> Option<String> {
        let feed = &self.net.feed;
        for told in &self.host.ledger {
            match told.cause.as_str() {
                // What is behind the place that it goes back to may be new to it.
                "reset" if !self.shape.resets && self.shape.cursor != Cursor::Rewound => {
                    return Some("numbers that go back are told, and they did not".to_owned());
                }
                "dropped" if !self.shape.drops => {
                    return Some("dropped records are told, and there are none".to_owned());
                }
                "skipped" if !self.host.refuses => {
                    return Some("skipped records are told, and there are none".to_owned());
                }
                "clamped" if feed.clamps + feed.refusals == 0 => {
                    return Some("a clamp is told, and there was none".to_owned());
                }
                "resume_lost" if feed.refusals == 0 && !self.shape.max_age => {
                    return Some("a lost position is told, and there was none".to_owned());
                }
                "sequence" => {
                    let (from, to) = told.range?;
                    let all = to - from + 1;
                    let missing = told.missing.map(i128::from);
                    if missing != Some(all) && !(self.shape.backfill && missing < Some(all)) {
                        return Some(format!("{from} to {to} are not {:?} messages", told.missing));
                    }
                }
                _ => {}
            }
        }
        let skipped = self.host.ledger.iter().filter(|told| told.cause == "skipped");
        let skipped = skipped.map(|told| told.missing.unwrap_or_default()).sum::<u64>();
        let refused = self.host.refused;
        if skipped > refused || skipped < refused && self.host.deaths.is_empty() {
            return Some(format!("{skipped} records are told as skipped, and {refused} were"));
        }
        None
    }
}

/// Whether a message came to be after the first offset was stored.
fn is_owed(message: &Message, base: &Base) -> bool {
    message.sent > base.at || base.newest[message.key].is_some_and(|newest| message.n > newest)
}
