//! What can be learned about a feed from its messages: which options fit it. No I/O and no clock; what is kept is bounded.
//!
//! ```text
//! Learner::message … ─▶ sample ─▶ packing ─▶ split ─▶ batch ─▶ table ─▶ control, key, timestamp, sequence, cursor
//!                   └─▶ silence                                                └─────────▶ Learner::findings
//! ```
//!
//! A finding never guesses silently: it says in how many messages it held.

mod sample;
mod silence;

use std::time::Duration;

use serde::Serialize;

use sample::Sample;
use silence::Silence;

/// A message as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

impl Message<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum About {
    /// Whether the sample is enough.
    Sample,
    /// How binary messages are packed.
    Packing,
    /// Whether a message holds several.
    Split,
    /// Where in a message its records are.
    Record,
    /// Messages that are no data: acknowledgements, heartbeats.
    Control,
    Key,
    Timestamp,
    Sequence,
    Cursor,
    /// How long a connection may be silent.
    Idle,
}

/// How sure a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// It held often, and never did not.
    Certain,
    /// It held, with exceptions or in a small sample.
    Likely,
    /// The messages alone cannot say.
    Possible,
}

/// An option as it stands in a properties file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    pub key: &'static str,
    pub value: String,
}

impl Line {
    fn new(key: &'static str, value: impl Into<String>) -> Line {
        Line { key, value: value.into() }
    }
}

/// One thing that was learned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub about: About,
    /// A sentence, with the counts that it stands on.
    pub says: String,
    /// Options to paste; none if the default fits or nothing was found.
    pub lines: Vec<Line>,
    pub certainty: Certainty,
    /// What else fits, the better one first: an expression, and why.
    pub others: Vec<String>,
    /// What somebody has to check before the lines are used.
    pub caveat: Option<String>,
}

/// Sees messages, and says what it learned from them.
#[derive(Debug, Default)]
pub struct Learner {
    sample: Sample,
    silence: Silence,
}

impl Learner {
    pub fn new() -> Learner {
        Learner::default()
    }

    /// Looks at a message, given when it came. Messages come in their order.
    pub fn message(&mut self, since_start: Duration, message: Message<'_>) {
        self.silence.message(since_start);
        self.sample.message(since_start, message);
    }

    /// Returns what was learned so far, in the order in which a message is read.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        findings.extend(self.sample.finding());
        findings.extend(self.silence.finding());
        findings
    }
}

/// A number of people: with commas between thousands.
fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `in 4,690 of 4,690 messages`.
fn in_of(some: usize, all: usize, what: &str) -> String {
    format!("in {} of {} {what}", count(some), count(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas_between_thousands() {
        assert_eq!(in_of(7, 1_234_567, "messages"), "in 7 of 1,234,567 messages");
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(4_690), "4,690");
    }

    #[test]
    fn without_messages_nothing_is_suggested() {
        let findings = Learner::new().findings();
        assert!(findings.iter().all(|finding| finding.lines.is_empty()), "{findings:?}");
    }
}
