//! The numbers that a feed gives its messages, and which messages are missing according to them.

use std::collections::HashMap;
use std::time::SystemTime;

use crate::dialogue::expression::Values;
use crate::dialogue::template::Template;
use crate::gap::Cause;
use crate::mutation::Mutation;

/// The most keys whose numbers are checked.
const MAX_KEYS: usize = 100_000;
/// The longest key whose numbers are checked.
const MAX_KEY_BYTES: usize = 256;

/// `websocket.sequence.action`: what to do if messages are missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Action {
    #[default]
    Count,
    Resubscribe,
    Reconnect,
    /// Request them over HTTP.
    Backfill,
    Fail,
}

impl Action {
    pub const NAMES: [&str; 5] = ["count", "resubscribe", "reconnect", "backfill", "fail"];

    pub fn find(name: &str) -> Option<Action> {
        let all = [Action::Count, Action::Resubscribe, Action::Reconnect, Action::Backfill, Action::Fail];
        Action::NAMES.iter().position(|own| *own == name).map(|at| all[at])
    }
}

/// `websocket.sequence.holes`: what missing numbers mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Holes {
    /// Messages are missing.
    #[default]
    Gap,
    /// Nothing. Only a number that goes back is reported.
    Legal,
    /// Nothing within a connection. Between two connections, messages may be missing.
    Reconnect,
}

impl Holes {
    pub const NAMES: [&str; 3] = ["gap", "legal", "reconnect"];

    pub fn find(name: &str) -> Option<Holes> {
        let all = [Holes::Gap, Holes::Legal, Holes::Reconnect];
        Holes::NAMES.iter().position(|own| *own == name).map(|at| all[at])
    }
}

/// The options of the numbering, not compiled.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub number: String,
    pub key: Option<String>,
    pub first: Option<String>,
    pub previous: Option<String>,
    pub holes: Holes,
    /// The numbers begin anew on each connection.
    pub per_connection: bool,
    pub action: Action,
}

/// How a feed numbers its messages.
#[derive(Debug, Clone)]
pub struct Plan {
    pub number: Template,
    pub key: Option<Template>,
    pub link: Link,
    pub holes: Holes,
    pub per_connection: bool,
    pub action: Action,
}

impl Plan {
    /// Whether offsets have the last numbers, so that messages missed during a restart can be requested.
    pub fn is_stored(&self) -> bool {
        self.action == Action::Backfill && !self.per_connection
    }
}

/// How a message names the one before it.
#[derive(Debug, Clone)]
pub enum Link {
    /// Its first number follows the last number of the message before. Without this template, its only number is the
    /// first.
    First(Option<Template>),
    /// It contains the number of the message before. Without that, the numbers begin anew.
    Previous(Template),
}

/// Missing numbers, or a number that went back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    pub cause: Cause,
    /// The key of the numbers. Empty if there is only one numbering.
    pub key: Box<str>,
    /// The first and the last missing number. In a chain: the last number before the hole, and the number that the next
    /// message names. If the number went back: the last number and the new one.
    pub from: i128,
    pub to: i128,
    /// How many messages are missing. `None` if the numbers do not say.
    pub missing: Option<u64>,
    /// Numbers may be left out, so only the feed's history knows whether messages are missing.
    pub open: bool,
    /// When the message before was received.
    pub since: SystemTime,
}

/// The last number of each key.
#[derive(Debug, Default)]
pub struct Sequences {
    last: HashMap<Box<str>, Last>,
    /// Counts connections.
    connection: u64,
    text: String,
    key: String,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    number: i128,
    /// When this number was received.
    at: SystemTime,
    /// The connection on which it was received.
    connection: u64,
    /// An earlier task has received it.
    stored: bool,
    /// A lower number has come since: either old messages come again, or the numbers have begun anew.
    behind: bool,
}

impl Sequences {
    /// Begins a new connection.
    pub fn connected(&mut self, plan: &Plan) {
        self.connection += 1;
        self.last.retain(|_, last| !plan.per_connection && !last.behind);
    }

    /// Whether this is before the first connection.
    pub fn is_new(&self) -> bool {
        self.connection == 0
    }

    /// Adds the last number of an earlier task, with the time at which it was received.
    pub fn stored(&mut self, key: &str, number: &str, at: SystemTime) {
        if let Ok(number) = number.parse() {
            self.last.insert(key.into(), Last { number, at, connection: 0, stored: true, behind: false });
        }
    }

    /// Forgets all numbers.
    pub fn forget(&mut self) {
        self.last.clear();
    }

    /// Forgets the number of one key.
    pub fn forget_key(&mut self, key: &str) {
        self.last.remove(key);
    }

    /// Takes a message. Without a number, it changes nothing.
    pub fn look(&mut self, plan: &Plan, values: &Values<'_>) -> Option<Hole> {
        let number = self.number(&plan.number, values)?;
        self.key.clear();
        if let Some(key) = &plan.key {
            key.write(values, &mut self.key).ok()?;
        }
        if self.key.len() > MAX_KEY_BYTES {
            return None;
        }
        let before = match &plan.link {
            Link::First(None) => Before::Follows(number),
            Link::First(Some(first)) => Before::Follows(self.number(first, values).unwrap_or(number)),
            Link::Previous(previous) => self.number(previous, values).map_or(Before::Nothing, Before::Is),
        };
        let now = Last { number, at: values.now, connection: self.connection, stored: false, behind: false };
        let Some(last) = self.last.get_mut(self.key.as_str()) else {
            if self.last.len() < MAX_KEYS {
                self.last.insert(self.key.as_str().into(), now);
            }
            return None;
        };
        // The first messages of a connection can be old ones. The hole ends with the first higher number.
        let (is_first, is_behind) = (last.connection != self.connection, number <= last.number);
        if is_behind && (last.stored || plan.holes == Holes::Reconnect) {
            last.behind |= last.stored && number < last.number;
            return None;
        }
        let since = last.at;
        let found = match plan.holes {
            Holes::Gap => hole(last.number, number, before),
            Holes::Legal => hole(last.number, number, before).filter(|(cause, ..)| *cause == Cause::Reset),
            Holes::Reconnect => between(last.number, number).filter(|_| is_first),
        };
        let found = found.filter(|found| found.0 != Cause::Reset || !Mutation::ResetNotTold.is_on());
        *last = now;
        let open = plan.holes == Holes::Reconnect;
        found.map(|(cause, from, to, missing)| {
            let key = self.key.as_str().into();
            Hole { cause, key, from, to, missing, open, since }
        })
    }

    /// Returns the number of a record from the feed's history, if the record has this key.
    pub fn number_of(&mut self, plan: &Plan, key: &str, values: &Values<'_>) -> Option<i128> {
        self.key.clear();
        if let Some(template) = &plan.key {
            template.write(values, &mut self.key).ok()?;
        }
        if self.key == key { self.number(&plan.number, values) } else { None }
    }

    fn number(&mut self, template: &Template, values: &Values<'_>) -> Option<i128> {
        self.text.clear();
        template.write(values, &mut self.text).ok()?;
        self.text.parse().ok()
    }
}

/// What a message says about the one before it.
#[derive(Debug, Clone, Copy)]
enum Before {
    /// The number before this one is the last number of the message before.
    Follows(i128),
    Is(i128),
    Nothing,
}

/// The rule: the same number is no hole, a lower one means that the numbers went back, and numbers in between are
/// missing.
fn hole(last: i128, number: i128, before: Before) -> Option<(Cause, i128, i128, Option<u64>)> {
    if number == last {
        return None;
    }
    if number < last {
        return match before {
            Before::Nothing => None,
            _ => Some((Cause::Reset, last, number, None)),
        };
    }
    match before {
        Before::Follows(first) if first > last.saturating_add(1) => {
            let (from, to) = (last + 1, first - 1);
            Some((
                Cause::Sequence,
                from,
                to,
                to.checked_sub(from).and_then(|span| u64::try_from(span).ok()?.checked_add(1)),
            ))
        }
        Before::Is(previous) if previous > last => Some((Cause::Sequence, last, previous, None)),
        _ => None,
    }
}

/// Returns the numbers that may be missing between the last one of a connection and the first one of the next.
fn between(last: i128, number: i128) -> Option<(Cause, i128, i128, Option<u64>)> {
    let (from, to) = (last.checked_add(1)?, number.checked_sub(1)?);
    (from <= to).then_some((Cause::Sequence, from, to, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_two_numbers_is_missing() {
        let follows = |last, number| hole(last, number, Before::Follows(number));
        assert_eq!(follows(5, 6), None);
        assert_eq!(follows(5, 5), None);
        assert_eq!(follows(5, 8), Some((Cause::Sequence, 6, 7, Some(2))));
        assert_eq!(follows(5, 4), Some((Cause::Reset, 5, 4, None)));
        assert_eq!(follows(i128::MAX, 4), Some((Cause::Reset, i128::MAX, 4, None)));
        assert_eq!(follows(i128::MIN, i128::MAX - 1).unwrap().3, None, "more than can be counted");
    }

    #[test]
    fn a_message_may_hold_a_range_of_numbers() {
        assert_eq!(hole(5, 9, Before::Follows(6)), None);
        assert_eq!(hole(5, 9, Before::Follows(3)), None, "it overlaps what is there");
        assert_eq!(hole(5, 9, Before::Follows(8)), Some((Cause::Sequence, 6, 7, Some(2))));
    }

    #[test]
    fn a_chain_names_the_number_before() {
        assert_eq!(hole(5, 9, Before::Is(5)), None);
        assert_eq!(hole(5, 9, Before::Is(7)), Some((Cause::Sequence, 5, 7, None)));
        assert_eq!(hole(5, 9, Before::Is(4)), None, "it overlaps what is there");
        assert_eq!(hole(5, 9, Before::Nothing), None, "it begins anew");
        assert_eq!(hole(5, 2, Before::Nothing), None, "it begins anew");
        assert_eq!(hole(5, 2, Before::Is(1)), Some((Cause::Reset, 5, 2, None)));
    }

    #[test]
    fn between_two_connections_may_be_whatever_lies_between_their_numbers() {
        assert_eq!(between(5, 9), Some((Cause::Sequence, 6, 8, None)));
        assert_eq!(between(5, 6), None);
    }
}
