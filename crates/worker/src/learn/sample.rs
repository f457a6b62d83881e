//! The sample: the first messages, up to a limit.

use std::time::Duration;

use super::{About, Certainty, Finding, Message, count};

/// The most messages,
const MAX_MESSAGES: usize = 50_000;
/// and the most bytes of messages and records.
const MAX_BYTES: usize = 8 << 20;
/// The largest message. Larger ones are left out.
const MAX_MESSAGE: usize = 1 << 20;
/// The memory of a kept record in addition to its text.
const RECORD_BYTES: usize = 64;

/// Messages in the order of receipt.
#[derive(Debug, Default)]
pub(super) struct Sample {
    kept: Vec<Kept>,
    bytes: usize,
    /// How many messages were received.
    seen: usize,
    is_full: bool,
    /// Whether the last message was kept.
    is_last_kept: bool,
    /// The number of the connection.
    connection: u32,
}

/// A message that was kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) at: Duration,
    /// The number of its connection.
    pub(super) connection: u32,
    pub(super) is_text: bool,
    pub(super) bytes: Box<[u8]>,
    /// Whether a step has dropped it.
    pub(super) is_dropped: bool,
    /// What the configuration makes from it.
    pub(super) records: Vec<Made>,
}

/// A record of a message.
#[derive(Debug)]
pub(super) struct Made {
    /// `None`: the message is the record.
    pub(super) picked: Option<Box<str>>,
    /// Whether the configured filter lets it pass.
    pub(super) is_kept: bool,
}

impl Kept {
    /// Whether any of it would be in Kafka.
    pub(super) fn is_record(&self) -> bool {
        !self.is_dropped && self.records.iter().any(|record| record.is_kept)
    }
}

impl Sample {
    /// Notes a new connection.
    pub(super) fn connected(&mut self) {
        self.connection += 1;
    }

    /// Keeps a message. After the first one without room, no further message is kept: a hole in the sample would look
    /// like a hole in the feed's numbers.
    pub(super) fn message(&mut self, at: Duration, message: Message<'_>) {
        self.seen += 1;
        self.is_last_kept = false;
        let bytes = message.bytes();
        if bytes.len() > MAX_MESSAGE {
            return;
        }
        self.is_full |= self.kept.len() == MAX_MESSAGES || self.bytes + bytes.len() > MAX_BYTES;
        if self.is_full {
            return;
        }
        self.is_last_kept = true;
        self.bytes += bytes.len();
        let (connection, is_text) = (self.connection, matches!(message, Message::Text(_)));
        self.kept.push(Kept { at, connection, is_text, bytes: bytes.into(), is_dropped: false, records: Vec::new() });
    }

    /// Notes that the last message is not a record.
    pub(super) fn drop_last(&mut self) {
        if let Some(last) = self.last() {
            last.is_dropped = true;
        }
    }

    /// Adds a record of the last message.
    pub(super) fn record(&mut self, picked: Option<&str>, is_kept: bool) {
        let bytes = picked.map_or(0, |text| text.len() + RECORD_BYTES);
        if self.bytes + bytes > MAX_BYTES {
            self.is_full = true;
            return;
        }
        if let Some(last) = self.last() {
            last.records.push(Made { picked: picked.map(Box::from), is_kept });
            self.bytes += bytes;
        }
    }

    fn last(&mut self) -> Option<&mut Kept> {
        self.kept.last_mut().filter(|_| self.is_last_kept)
    }

    pub(super) fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// Returns a finding if not all messages were kept.
    pub(super) fn finding(&self) -> Option<Finding> {
        let (kept, seen) = (self.kept.len(), self.seen);
        let says = match kept {
            0 if seen == 0 => "No message came, so nothing was learned.".to_owned(),
            _ if kept < seen => format!(
                "What follows was learned from {} of {} messages: from the first {} MiB, without those over 1 MiB.",
                count(kept),
                count(seen),
                MAX_BYTES >> 20,
            ),
            _ => return None,
        };
        Some(Finding::new(About::Sample, Certainty::Certain, says))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_the_rest_is_told() {
        let mut sample = Sample::default();
        sample.message(Duration::ZERO, Message::Binary(&vec![0; MAX_MESSAGE + 1]));
        let large = vec![0; MAX_MESSAGE];
        for _ in 0..20 {
            sample.message(Duration::ZERO, Message::Binary(&large));
            sample.message(Duration::ZERO, Message::Text("{}"));
        }
        assert!(sample.bytes <= MAX_BYTES);
        assert_eq!(
            sample.kept().last().map(|kept| kept.is_text),
            Some(true),
            "none is kept behind the first without room"
        );
        let says = sample.finding().unwrap().says;
        assert!(says.contains("14 of 41 messages"), "{says}");
    }

    #[test]
    fn records_belong_to_the_message_that_came_last_and_are_bounded_too() {
        let mut sample = Sample::default();
        sample.message(Duration::ZERO, Message::Text("[1,2]"));
        for _ in 0..1_000_000 {
            sample.record(Some("1"), true);
        }
        assert!(sample.bytes <= MAX_BYTES && sample.kept()[0].records.len() < 200_000);
        let mut sample = Sample::default();
        sample.message(Duration::ZERO, Message::Text("{}"));
        sample.record(None, true);
        sample.message(Duration::ZERO, Message::Binary(&vec![0; MAX_MESSAGE + 1]));
        sample.drop_last();
        sample.record(None, false);
        assert!(sample.kept()[0].is_record() && sample.kept()[0].records.len() == 1, "the large one was not kept");
    }
}
