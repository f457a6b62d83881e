//! Numbered messages as frames, many in one buffer, so that one write carries hundreds of them.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::deflate::Deflater;
use crate::frame::{self, BINARY, FIN, TEXT};
use crate::stats::now_us;
use crate::step::{Content, Kind, Messages};
use crate::trades::Trades;

/// The size of a buffer, unless one message is larger.
const BUFFER: usize = 256 * 1024;

/// Where each message of a buffer ends.
pub(crate) enum Ends {
    Every(usize),
    At(Vec<usize>),
}

impl Ends {
    /// How many messages lie wholly before this position.
    pub(crate) fn complete(&self, position: usize) -> u64 {
        match self {
            Ends::Every(stride) => (position / stride) as u64,
            Ends::At(ends) => ends.partition_point(|&end| end <= position) as u64,
        }
    }

    /// The first message end at or after this position.
    pub(crate) fn boundary(&self, position: usize) -> usize {
        match self {
            Ends::Every(stride) => position.div_ceil(*stride) * stride,
            Ends::At(ends) => ends.get(ends.partition_point(|&end| end < position)).copied().unwrap_or(position),
        }
    }
}

/// Makes the frames of a `send` step.
pub(crate) struct Batch<'a> {
    messages: &'a Messages,
    buffer: Vec<u8>,
    ends: Ends,
    pings: u64,
    payload: String,
    /// The frames in `buffer` differ in their numbers only, and each number has so many digits.
    pattern: Option<Pattern>,
}

struct Pattern {
    digits: usize,
    number_at: usize,
    timestamp_at: Option<usize>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(messages: &'a Messages) -> Batch<'a> {
        Batch {
            messages,
            buffer: Vec::new(),
            ends: Ends::At(Vec::new()),
            pings: 0,
            payload: String::new(),
            pattern: None,
        }
    }

    /// How many messages make a buffer.
    pub(crate) fn capacity(&self) -> u64 {
        (BUFFER / self.messages.size.max(32)).max(1) as u64
    }

    /// The last number up to which all have as many digits as `first`, so that their frames are alike; exclusive.
    pub(crate) fn alike_until(first: u64) -> u64 {
        first.max(1).checked_ilog10().and_then(|log| 10u64.checked_pow(log + 1)).unwrap_or(u64::MAX)
    }

    /// The frames of these numbers, and how many pings are among them. All numbers must have the same number of digits.
    pub(crate) fn fill(
        &mut self,
        range: Range<u64>,
        deflater: Option<&mut Deflater>,
        trades: &Mutex<Trades>,
    ) -> (&[u8], &Ends, u64) {
        let messages = self.messages;
        let deflater = deflater.filter(|_| messages.compress);
        if deflater.is_none() && messages.fragments <= 1 && messages.content == Content::Numbered {
            let length = self.patch(range);
            return (&self.buffer[..length], &self.ends, 0);
        }
        self.build(range, deflater, trades);
        (&self.buffer, &self.ends, self.pings)
    }

    /// The quick way: the frames of the last buffer with new numbers.
    fn patch(&mut self, range: Range<u64>) -> usize {
        let count = (range.end - range.start) as usize;
        let digits = range.start.max(1).ilog10() as usize + 1;
        let mut stride = match (&self.pattern, &self.ends) {
            (Some(pattern), Ends::Every(stride)) if pattern.digits == digits => *stride,
            _ => 0,
        };
        if stride == 0 || self.buffer.len() < count * stride {
            self.write_payload(range.start);
            let payload = self.payload.as_bytes();
            let mut one = Vec::new();
            frame::frame(&mut one, FIN | opcode(self.messages.kind), payload);
            stride = one.len();
            let number_at = stride - payload.len() + NUMBER_AT;
            let timestamp_at = self.messages.timestamp.then_some(number_at + digits + TIMESTAMP_KEY.len());
            self.buffer.clear();
            self.buffer.reserve_exact(stride * count);
            for _ in 0..count {
                self.buffer.extend_from_slice(&one);
            }
            self.ends = Ends::Every(stride);
            self.pattern = Some(Pattern { digits, number_at, timestamp_at });
        }
        let Some(pattern) = &self.pattern else {
            return 0;
        };
        let timestamp = pattern.timestamp_at.map(|at| (at, now_us()));
        for (frame, number) in self.buffer.chunks_exact_mut(stride).zip(range) {
            put_number(&mut frame[pattern.number_at..][..digits], number);
            if let Some((at, micros)) = timestamp {
                put_number(&mut frame[at..][..TIMESTAMP_DIGITS], micros);
            }
        }
        stride * count
    }

    fn build(&mut self, range: Range<u64>, mut deflater: Option<&mut Deflater>, trades: &Mutex<Trades>) {
        self.pattern = None;
        self.buffer.clear();
        self.pings = 0;
        let mut ends = Vec::with_capacity((range.end - range.start) as usize);
        let mut trades = trades.lock().unwrap_or_else(PoisonError::into_inner);
        for number in range {
            match self.messages.content {
                Content::Numbered => self.write_payload(number),
                Content::Trades => trades.write(number, &mut self.payload),
            }
            let opcode = opcode(self.messages.kind);
            let compressed = deflater.as_mut().map(|deflater| deflater.message(self.payload.as_bytes()));
            self.pings += frame::message(
                &mut self.buffer,
                opcode,
                compressed.is_some(),
                compressed.as_deref().unwrap_or(self.payload.as_bytes()),
                self.messages.fragments,
                self.messages.ping_between,
            );
            ends.push(self.buffer.len());
        }
        self.ends = Ends::At(ends);
    }

    /// `{"n":1,"ts":…,"pad":"xxx"}`, of the wanted size where that is possible.
    fn write_payload(&mut self, number: u64) {
        let size = self.messages.size;
        let text = &mut self.payload;
        text.clear();
        text.push_str("{\"n\":");
        text.push_str(&number.to_string());
        if self.messages.timestamp {
            text.push_str(TIMESTAMP_KEY);
            text.push_str(&format!("{:0width$}", now_us(), width = TIMESTAMP_DIGITS));
        }
        let pad = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
        if let Some(mut left) = size.checked_sub(text.len() + ",\"pad\":\"\"}".len()) {
            text.push_str(",\"pad\":\"");
            while left > 0 {
                let part = left.min(pad.len());
                text.push_str(&pad[..part]);
                left -= part;
            }
            text.push('"');
        }
        text.push('}');
        while text.len() < size {
            text.push(' ');
        }
    }
}

const NUMBER_AT: usize = "{\"n\":".len();
const TIMESTAMP_KEY: &str = ",\"ts\":";
const TIMESTAMP_DIGITS: usize = 16;

fn opcode(kind: Kind) -> u8 {
    match kind {
        Kind::Text => TEXT,
        Kind::Binary => BINARY,
    }
}

fn put_number(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payloads(messages: &Messages, ranges: &[Range<u64>]) -> Vec<String> {
        let trades = Mutex::new(Trades::default());
        let mut batch = Batch::new(messages);
        let mut texts = Vec::new();
        for range in ranges {
            let (bytes, ends, _) = batch.fill(range.clone(), None, &trades);
            let count = range.end - range.start;
            assert_eq!(ends.complete(bytes.len()), count);
            let mut at = 0;
            for _ in 0..count {
                let (length, start) = match bytes[at + 1] {
                    126 => (usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]])), at + 4),
                    short => (usize::from(short), at + 2),
                };
                texts.push(String::from_utf8(bytes[start..start + length].to_vec()).unwrap());
                at = start + length;
            }
            assert_eq!(at, bytes.len());
        }
        texts
    }

    #[test]
    fn payloads_have_the_number_and_the_size() {
        for size in [0, 9, 12, 17, 18, 64, 125, 126, 512] {
            for timestamp in [false, true] {
                let messages = Messages { timestamp, ..Messages::forever().size(size) };
                let ranges = [0..7, 7..10, 10..30, 30..31, 100..103, 31..33];
                let texts = payloads(&messages, &ranges);
                for (text, n) in texts.iter().zip(ranges.into_iter().flatten()) {
                    let value: serde_json::Value = serde_json::from_str(text).unwrap();
                    assert_eq!(value["n"], n, "{text}");
                    assert_eq!(value.get("ts").is_some(), timestamp);
                    assert!(text.len() == size || size < 35 && text.len() > size, "{size} {text}");
                }
            }
        }
    }

    #[test]
    fn numbers_are_split_where_their_digits_change() {
        assert_eq!([0, 9, 10, 99, 100].map(Batch::alike_until), [10, 10, 100, 100, 1000]);
        assert_eq!(Batch::alike_until(u64::MAX), u64::MAX);
    }

    #[test]
    fn ends_tell_complete_messages_and_the_next_boundary() {
        for ends in [Ends::Every(10), Ends::At(vec![10, 20, 30])] {
            assert_eq!([0, 9, 10, 19, 30].map(|at| ends.complete(at)), [0, 0, 1, 1, 3]);
            assert_eq!([9, 10, 11, 30].map(|at| ends.boundary(at)), [10, 10, 20, 30]);
        }
    }
}
