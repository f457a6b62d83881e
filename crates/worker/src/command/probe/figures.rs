//! Counts and measures messages, in limited memory.

use std::time::Duration;

use serde::Serialize;

/// Sizes below this are counted exactly. Larger ones are counted in classes with a width of a thirty-second of the
/// size.
const EXACT: usize = 64;
const CLASSES_PER_DOUBLING: usize = 32;

/// The counters while the probe runs.
#[derive(Default)]
pub(super) struct Figures {
    /// When the present connection was opened.
    opened: Option<Duration>,
    /// How long the earlier connections were open.
    connected: Duration,
    last: Option<Duration>,
    longest_silence: Duration,
    text: u64,
    binary: u64,
    bytes: u64,
    wire_bytes: u64,
    compressed: bool,
    sizes: Sizes,
    pings: u64,
    first_ping: Option<Duration>,
    last_ping: Option<Duration>,
    connections: u64,
}

/// The results at the end.
#[derive(Serialize, Debug, Clone, PartialEq)]
pub(super) struct Summary {
    /// How long connections were open, in total.
    pub(super) connected_seconds: f64,
    pub(super) connections: u64,
    pub(super) messages: u64,
    pub(super) text_messages: u64,
    pub(super) binary_messages: u64,
    /// Records that would be in Kafka.
    pub(super) records: u64,
    pub(super) messages_per_second: f64,
    pub(super) bytes_per_second: f64,
    pub(super) message_bytes: u64,
    /// Received bytes: compressed, with the headers of frames.
    pub(super) wire_bytes: u64,
    /// How much compression has saved, in percent. `None` without compression.
    pub(super) compression_saved_percent: Option<f64>,
    pub(super) size_p50: usize,
    pub(super) size_p99: usize,
    pub(super) size_max: usize,
    pub(super) server_pings: u64,
    /// The mean time between pings.
    pub(super) server_ping_every_seconds: Option<f64>,
    pub(super) longest_silence_seconds: f64,
    /// How many messages look like errors, and the first of them.
    pub(super) errors: usize,
    pub(super) first_error: Option<String>,
}

impl Figures {
    pub(super) fn opened(&mut self, at: Duration, compressed: bool) {
        self.connections += 1;
        self.compressed |= compressed;
        self.opened = Some(at);
        self.last = Some(at);
    }

    pub(super) fn is_opened(&self) -> bool {
        self.connections > 0
    }

    pub(super) fn read(&mut self, bytes: usize) {
        self.wire_bytes += bytes as u64;
    }

    pub(super) fn message(&mut self, at: Duration, is_text: bool, bytes: usize) {
        self.silent_until(at);
        self.last = Some(at);
        *(if is_text { &mut self.text } else { &mut self.binary }) += 1;
        self.bytes += bytes as u64;
        self.sizes.add(bytes);
    }

    pub(super) fn messages(&self) -> u64 {
        self.text + self.binary
    }

    pub(super) fn ping(&mut self, at: Duration) {
        self.pings += 1;
        self.first_ping.get_or_insert(at);
        self.last_ping = Some(at);
    }

    /// Notes the end of a connection. From now on, silence is not that of the feed.
    pub(super) fn closed(&mut self, at: Duration) {
        self.silent_until(at);
        self.last = None;
        self.connected += self.open_for(at);
        self.opened = None;
    }

    fn open_for(&self, until: Duration) -> Duration {
        self.opened.map_or(Duration::ZERO, |opened| until.saturating_sub(opened))
    }

    fn silent_until(&mut self, at: Duration) {
        if let Some(last) = self.last {
            self.longest_silence = self.longest_silence.max(at.saturating_sub(last));
        }
    }

    pub(super) fn summary(&mut self, end: Duration, records: u64) -> Summary {
        self.silent_until(end);
        let connected = (self.connected + self.open_for(end)).as_secs_f64();
        let per_second = |count: u64| if connected > 0.0 { rounded(count as f64 / connected, 1) } else { 0.0 };
        let saved = || 100.0 * (1.0 - self.wire_bytes as f64 / self.bytes as f64);
        let between = self.last_ping.unwrap_or_default().saturating_sub(self.first_ping.unwrap_or_default());
        Summary {
            connected_seconds: rounded(connected, 3),
            connections: self.connections,
            messages: self.messages(),
            text_messages: self.text,
            binary_messages: self.binary,
            records,
            messages_per_second: per_second(self.messages()),
            bytes_per_second: per_second(self.bytes),
            message_bytes: self.bytes,
            wire_bytes: self.wire_bytes,
            compression_saved_percent: (self.compressed && self.bytes > 0).then(|| rounded(saved(), 1)),
            size_p50: self.sizes.quantile(0.5),
            size_p99: self.sizes.quantile(0.99),
            size_max: self.sizes.max,
            server_pings: self.pings,
            server_ping_every_seconds: (self.pings > 1)
                .then(|| rounded(between.as_secs_f64() / (self.pings - 1) as f64, 3)),
            longest_silence_seconds: rounded(self.longest_silence.as_secs_f64(), 3),
            errors: 0,
            first_error: None,
        }
    }
}

pub(super) fn rounded(number: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (number * scale).round() / scale
}

/// The distribution of sizes.
#[derive(Default)]
struct Sizes {
    counts: Vec<u64>,
    all: u64,
    max: usize,
}

impl Sizes {
    fn add(&mut self, size: usize) {
        let class = class(size);
        if self.counts.len() <= class {
            self.counts.resize(class + 1, 0);
        }
        self.counts[class] += 1;
        self.all += 1;
        self.max = self.max.max(size);
    }

    /// Returns the size that this share of the messages does not exceed: the largest size of its class.
    fn quantile(&self, share: f64) -> usize {
        let wanted = (self.all as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (class, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return largest_of(class).min(self.max);
            }
        }
        self.max
    }
}

fn class(size: usize) -> usize {
    if size < EXACT {
        return size;
    }
    let doubling = (size / EXACT).ilog2() as usize;
    let width = (EXACT / CLASSES_PER_DOUBLING) << doubling;
    EXACT + doubling * CLASSES_PER_DOUBLING + (size - (EXACT << doubling)) / width
}

fn largest_of(class: usize) -> usize {
    if class < EXACT {
        return class;
    }
    let (doubling, place) = ((class - EXACT) / CLASSES_PER_DOUBLING, (class - EXACT) % CLASSES_PER_DOUBLING);
    (EXACT << doubling) + (place + 1) * ((EXACT / CLASSES_PER_DOUBLING) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn sizes_are_exact_when_small_and_near_when_large() {
        let mut sizes = Sizes::default();
        (1..=100_000).for_each(|size| sizes.add(size));
        for (share, expected) in [(0.5, 50_000.0), (0.99, 99_000.0)] {
            let found = sizes.quantile(share) as f64;
            assert!((found / expected - 1.0).abs() < 0.04, "{share}: {found}");
        }
        assert_eq!(sizes.max, 100_000);
        assert!(sizes.counts.len() < 1000);
        let mut small = Sizes::default();
        [3, 5, 5, 9].iter().for_each(|&size| small.add(size));
        assert_eq!((small.quantile(0.5), small.quantile(0.99)), (5, 9));
        assert_eq!(Sizes::default().quantile(0.5), 0);
    }

    #[test]
    fn every_size_is_in_its_class() {
        for size in (0..5000).chain([1 << 20, (1 << 20) + 1, usize::MAX / 4]) {
            assert!(largest_of(class(size)) >= size, "{size}");
            assert!(class(size) == 0 || largest_of(class(size) - 1) < size, "{size}");
        }
    }

    #[test]
    fn rates_are_those_of_the_connected_time() {
        let mut figures = Figures::default();
        figures.opened(at(1000), false);
        (1..=10).for_each(|n| figures.message(at(1000 + 100 * n), n % 2 == 0, 50));
        let summary = figures.summary(at(3000), 10);
        assert_eq!((summary.messages_per_second, summary.bytes_per_second), (5.0, 250.0));
        assert_eq!((summary.text_messages, summary.binary_messages), (5, 5));
        assert_eq!(summary.longest_silence_seconds, 1.0);
        assert_eq!(summary.compression_saved_percent, None);
    }

    #[test]
    fn what_compression_saves_is_said_if_it_is_agreed() {
        let mut figures = Figures::default();
        figures.opened(at(0), true);
        figures.read(300);
        figures.message(at(10), true, 1000);
        assert_eq!(figures.summary(at(20), 1).compression_saved_percent, Some(70.0));
    }

    #[test]
    fn the_time_without_a_connection_is_none_of_the_feed() {
        let mut figures = Figures::default();
        figures.opened(at(0), false);
        figures.message(at(10), true, 1);
        figures.closed(at(20));
        figures.opened(at(5000), false);
        figures.message(at(5030), true, 1);
        let summary = figures.summary(at(5030), 2);
        assert_eq!((summary.longest_silence_seconds, summary.connected_seconds), (0.03, 0.05));
    }

    #[test]
    fn pings_have_an_interval_from_the_second_on() {
        let mut figures = Figures::default();
        figures.opened(at(0), false);
        figures.ping(at(100));
        assert_eq!(figures.summary(at(200), 0).server_ping_every_seconds, None);
        figures.ping(at(2100));
        figures.ping(at(4100));
        assert_eq!(figures.summary(at(5000), 0).server_ping_every_seconds, Some(2.0));
    }
}
