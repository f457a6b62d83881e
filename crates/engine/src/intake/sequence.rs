//! The numbers that a feed gives its messages, and what they say is missing.

use std::collections::HashMap;

use crate::dialogue::expression::Values;
use crate::dialogue::template::Template;
use crate::gap::Cause;
use crate::mutation::Mutation;

/// So many keys are followed; the numbers of further ones are not looked at.
const MAX_KEYS: usize = 100_000;

/// What is done when messages are missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Action {
    #[default]
    Count,
    Resubscribe,
    Reconnect,
    /// What is missing is asked for over HTTP.
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

/// The options of the numbering, not compiled.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub number: String,
    pub key: Option<String>,
    pub first: Option<String>,
    pub previous: Option<String>,
    /// Only going back is reported.
    pub holes_are_legal: bool,
    /// It begins anew with each connection.
    pub per_connection: bool,
    pub action: Action,
}

/// How a feed numbers its messages.
#[derive(Debug, Clone)]
pub struct Plan {
    pub number: Template,
    pub key: Option<Template>,
    pub link: Link,
    pub holes_are_legal: bool,
    pub per_connection: bool,
    pub action: Action,
}

/// How a message says which one is before it.
#[derive(Debug, Clone)]
pub enum Link {
    /// Its first number follows the last one of the message before; not given, it is its number.
    First(Option<Template>),
    /// It names the number of the message before; without it the numbering begins anew.
    Previous(Template),
}

/// What is missing, or that a numbering went back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    pub cause: Cause,
    /// Of the numbering; empty if there is but one.
    pub key: Box<str>,
    /// The first and the last number that are missing. Of a chain, the number before them and the one that should have
    /// been there. Of one that went back, the last number and the one that came.
    pub from: i128,
    pub to: i128,
    /// `None` if the numbers do not say.
    pub missing: Option<u64>,
}

/// The last number of each key.
#[derive(Debug, Default)]
pub struct Sequences {
    last: HashMap<Box<str>, i128>,
    text: String,
    key: String,
}

impl Sequences {
    /// A new connection is there.
    pub fn connected(&mut self, plan: &Plan) {
        if plan.per_connection {
            self.last.clear();
        }
    }

    /// The numbering begins anew.
    pub fn forget(&mut self) {
        self.last.clear();
    }

    /// The numbering of one key begins anew.
    pub fn forget_key(&mut self, key: &str) {
        self.last.remove(key);
    }

    /// Looks at the number of a message. One without a number changes nothing.
    pub fn look(&mut self, plan: &Plan, values: &Values<'_>) -> Option<Hole> {
        let number = self.number(&plan.number, values)?;
        self.key.clear();
        if let Some(key) = &plan.key {
            key.write(values, &mut self.key).ok()?;
        }
        let before = match &plan.link {
            Link::First(None) => Before::Follows(number),
            Link::First(Some(first)) => Before::Follows(self.number(first, values).unwrap_or(number)),
            Link::Previous(previous) => self.number(previous, values).map_or(Before::Nothing, Before::Is),
        };
        let Some(last) = self.last.get_mut(self.key.as_str()) else {
            if self.last.len() < MAX_KEYS {
                self.last.insert(self.key.as_str().into(), number);
            }
            return None;
        };
        let hole = hole(*last, number, before).filter(|hole| !plan.holes_are_legal || hole.0 == Cause::Reset);
        let hole = hole.filter(|hole| hole.0 != Cause::Reset || !Mutation::ResetNotTold.is_on());
        if number != *last {
            *last = number;
        }
        hole.map(|(cause, from, to, missing)| Hole { cause, key: self.key.as_str().into(), from, to, missing })
    }

    /// Returns the number of a record of this key, which is none of those that came in their turn.
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

/// What a message says of the one before it.
#[derive(Debug, Clone, Copy)]
enum Before {
    /// Its number and this one are neighbours.
    Follows(i128),
    Is(i128),
    Nothing,
}

/// The rule: equal is nothing, lower begins anew, and what lies between is missing.
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
}
