//! The messages that are looked at: the first ones, up to a bound.

use std::time::Duration;

use super::{About, Certainty, Finding, Message, count};

/// So many messages are kept,
const MAX_MESSAGES: usize = 50_000;
/// and so many bytes of them.
const MAX_BYTES: usize = 8 << 20;
/// A larger message is left out.
const MAX_MESSAGE: usize = 1 << 20;

/// Messages, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Sample {
    kept: Vec<Kept>,
    bytes: usize,
    /// How many there were.
    seen: usize,
    is_full: bool,
}

/// A message that was kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) at: Duration,
    pub(super) is_text: bool,
    pub(super) bytes: Box<[u8]>,
}

impl Sample {
    /// Keeps a message. Once one found no room, none does: a hole in the sample would look like a hole in the feed's numbers.
    pub(super) fn message(&mut self, at: Duration, message: Message<'_>) {
        self.seen += 1;
        let bytes = message.bytes();
        if bytes.len() > MAX_MESSAGE {
            return;
        }
        self.is_full |= self.kept.len() == MAX_MESSAGES || self.bytes + bytes.len() > MAX_BYTES;
        if self.is_full {
            return;
        }
        self.bytes += bytes.len();
        self.kept.push(Kept { at, is_text: matches!(message, Message::Text(_)), bytes: bytes.into() });
    }

    pub(super) fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// Says so if not all messages were looked at.
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
}
