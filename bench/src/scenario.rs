//! What is measured: each scenario runs one program once, against a feed and a topic of its own.

use std::fmt;
use std::time::{Duration, Instant};

use connect_websocket_e2e::{Kafka, Numbers};

use crate::arrivals::Topic;
use crate::feed::{End, Feed, Transport, WARM_UP};
use crate::program::{Job, Kind, Outcome, Program, Running};

const START_WITHIN: Duration = Duration::from_secs(60);
/// After so long without a further record in Kafka, what is missing is lost.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// Start-up work ends and the deliveries of the last batch are handled within this time.
const SETTLE: Duration = Duration::from_millis(300);

/// One thing to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scenario {
    /// As many messages as fast as the socket takes them.
    Burst { transport: Transport, size: usize, messages: u64 },
    /// A steady rate: latency and processor time.
    Paced { rate: u32, size: usize, seconds: u64 },
    /// One message a second, or none.
    Idle { rate: Option<u32>, seconds: u64 },
    /// A live feed that ends its connections.
    Ends { end: End, rate: u32, every: u64, seconds: u64 },
    /// SIGTERM in mid-stream.
    Stop { rate: u32 },
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric {
    pub title: &'static str,
    pub decimals: usize,
    /// Whether the ratio to the plain program is shown.
    pub ratio: bool,
}

/// One run: a value for each metric of its scenario, and whether everything arrived.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub values: Vec<f64>,
    pub integrity: Integrity,
    pub note: Option<&'static str>,
}

/// How far what came differs from what was sent, in messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Integrity {
    pub lost: u64,
    pub duplicated: u64,
    pub out_of_order: u64,
}

const fn metric(title: &'static str, decimals: usize, ratio: bool) -> Metric {
    Metric { title, decimals, ratio }
}

const BURST: &[Metric] =
    &[metric("CPU s per million", 2, true), metric("messages/s", 0, true), metric("peak RSS MiB", 1, false)];
const PACED: &[Metric] = &[
    metric("latency p50 ms", 2, true),
    metric("latency p99 ms", 2, true),
    metric("CPU % of a core", 2, true),
    metric("CPU s per million", 2, false),
    metric("peak RSS MiB", 1, false),
];
const IDLE: &[Metric] = &[metric("CPU % of a core", 3, true), metric("peak RSS MiB", 1, false)];
const ENDS: &[Metric] = &[metric("missed %", 3, true), metric("connections", 0, false)];
const STOP: &[Metric] =
    &[metric("lost messages", 0, false), metric("time to stop ms", 0, false), metric("exit code", 0, false)];

impl Scenario {
    /// The name by which `--scenarios` selects it.
    pub(crate) fn group(&self) -> &'static str {
        match self {
            Scenario::Burst { .. } => "burst",
            Scenario::Paced { .. } => "paced",
            Scenario::Idle { .. } => "idle",
            Scenario::Ends { .. } => "ends",
            Scenario::Stop { .. } => "stop",
        }
    }

    pub(crate) fn metrics(&self) -> &'static [Metric] {
        match self {
            Scenario::Burst { .. } => BURST,
            Scenario::Paced { .. } => PACED,
            Scenario::Idle { .. } => IDLE,
            Scenario::Ends { .. } => ENDS,
            Scenario::Stop { .. } => STOP,
        }
    }

    /// Whether lost messages are a fault of the run; where they are the figure itself, they aren't told twice.
    pub(crate) fn expects_all(&self) -> bool {
        !matches!(self, Scenario::Ends { .. } | Scenario::Stop { .. })
    }

    /// Whether the program can do it at all.
    pub(crate) fn suits(&self, program: &Program) -> bool {
        match (&program.kind, self) {
            (Kind::FloorSocket(_), Scenario::Burst { .. })
            | (Kind::FloorProducer(_), Scenario::Burst { transport: Transport::Plain, .. }) => true,
            _ => !program.is_floor(),
        }
    }

    /// Runs the program once.
    pub(crate) fn run(&self, program: &Program, kafka: &Kafka, topic: &str) -> Outcome<Sample> {
        let topic = Topic::create(kafka, topic)?;
        match *self {
            Scenario::Burst { transport, size, messages } => burst(program, &topic, transport, size, messages),
            Scenario::Paced { rate, size, seconds } => paced(program, &topic, rate, size, seconds),
            Scenario::Idle { rate, seconds } => idle(program, &topic, rate, seconds),
            Scenario::Ends { end, rate, every, seconds } => ends(program, &topic, end, rate, every, seconds),
            Scenario::Stop { rate } => stop(program, &topic, rate),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scenario::Burst { transport, size, messages } => {
                write!(f, "Burst: {messages} messages of {size} B, {}", transport.name())
            }
            Scenario::Paced { rate, size, seconds } => {
                write!(f, "Steady: {rate} messages/s of {size} B for {seconds} s")
            }
            Scenario::Idle { rate: Some(rate), seconds } => write!(f, "Idle: {rate} message/s for {seconds} s"),
            Scenario::Idle { rate: None, seconds } => write!(f, "Idle: no message for {seconds} s"),
            Scenario::Ends { end, rate, every, seconds } => {
                let end = if *end == End::Close { "Close 1001" } else { "TCP reset" };
                write!(f, "Live feed of {rate} messages/s, {end} every {every} s, for {seconds} s")
            }
            Scenario::Stop { rate } => write!(f, "SIGTERM at {rate} messages/s"),
        }
    }
}

fn burst(program: &Program, topic: &Topic, transport: Transport, size: usize, messages: u64) -> Outcome<Sample> {
    let total = WARM_UP + messages;
    let feed = Feed::burst(transport, size, total)?;
    let mut running = start(program, topic, &feed, size, total)?;
    warm_up(program, &mut running, topic, &feed)?;

    let cpu_before = running.cpu()?;
    let begun = Instant::now();
    let (arrived, elapsed, cpu) = match program.kind {
        Kind::FloorSocket(_) => {
            feed.begin();
            // It says so itself, nothing comes to Kafka.
            let mark = format!("received {total} messages");
            running.wait("the feed to send all", Duration::from_secs(600), || feed.stats().next_n == total)?;
            running.wait_log(&mark, STALLED_AFTER)?;
            (messages, begun.elapsed(), running.cpu()?)
        }
        _ => {
            if matches!(program.kind, Kind::FloorProducer(_)) {
                running.signal_start()?
            } else {
                feed.begin()
            }
            wait_records(&mut running, topic, total, begun)?
        }
    };
    let values = vec![
        (cpu - cpu_before).as_secs_f64() * 1e6 / messages as f64,
        arrived as f64 / elapsed.as_secs_f64(),
        running.peak_rss_mib()?,
    ];
    // Not every program ends well; how it does is another scenario's figure.
    running.stop().ok();
    let integrity = match program.kind {
        Kind::FloorSocket(_) => Integrity::default(),
        _ => Integrity::of(&topic.read_all()?, total),
    };
    let note = (transport == Transport::Deflate && !feed.is_compressed()).then_some("no compression");
    Ok(Sample { values, integrity, note })
}

/// Waits until the topic holds `total` records, or no more come: how many came after the warm-up, how long that took, and
/// the processor time then.
fn wait_records(
    running: &mut Running,
    topic: &Topic,
    total: u64,
    begun: Instant,
) -> Outcome<(u64, Duration, Duration)> {
    let mut last = (0, begun.elapsed(), running.cpu()?);
    loop {
        let count = topic.count()?;
        if count > last.0 {
            last = (count, begun.elapsed(), running.cpu()?);
        }
        if count >= total {
            // The last deliveries are handled after Kafka has the records.
            std::thread::sleep(SETTLE);
            last.2 = running.cpu()?;
            break;
        }
        if begun.elapsed() > last.1 + STALLED_AFTER {
            break;
        }
        running.check()?;
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok((last.0.saturating_sub(WARM_UP), last.1, last.2))
}

fn paced(program: &Program, topic: &Topic, rate: u32, size: usize, seconds: u64) -> Outcome<Sample> {
    let messages = u64::from(rate) * seconds;
    let total = WARM_UP + messages;
    let feed = Feed::paced(size, f64::from(rate), total)?;
    let follower = topic.follow()?;
    let mut running = start(program, topic, &feed, size, total)?;
    warm_up(program, &mut running, topic, &feed)?;

    let cpu_before = running.cpu()?;
    let begun = Instant::now();
    feed.begin();
    let mut last = (0, begun);
    while follower.count() < total && last.1.elapsed() < STALLED_AFTER {
        running.check()?;
        if follower.count() > last.0 {
            last = (follower.count(), Instant::now());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let cpu = (running.cpu()? - cpu_before).as_secs_f64();
    let elapsed = begun.elapsed().as_secs_f64();
    let rss = running.peak_rss_mib()?;
    running.stop().ok();
    let mut arrivals = follower.stop()?;
    let latencies = arrivals.sorted_latencies();
    let ms = |share: f64| percentile(latencies, share).map(|us| us as f64 / 1000.0);
    let (Some(p50), Some(p99)) = (ms(0.5), ms(0.99)) else {
        return Err("no message arrived".to_owned());
    };
    let values = vec![p50, p99, cpu * 100.0 / elapsed, cpu * 1e6 / messages as f64, rss];
    Ok(Sample { values, integrity: Integrity::of(&arrivals.numbers, total), note: None })
}

fn idle(program: &Program, topic: &Topic, rate: Option<u32>, seconds: u64) -> Outcome<Sample> {
    let size = 512;
    let feed = Feed::idle(size, rate.map(f64::from))?;
    let mut running = start(program, topic, &feed, size, WARM_UP)?;
    warm_up(program, &mut running, topic, &feed)?;
    feed.begin();
    // What the warm-up has set going comes to rest.
    std::thread::sleep(Duration::from_secs(2));

    let cpu_before = running.cpu()?;
    let begun = Instant::now();
    std::thread::sleep(Duration::from_secs(seconds));
    let cpu = running.cpu()? - cpu_before;
    let share = cpu.as_secs_f64() * 100.0 / begun.elapsed().as_secs_f64();
    let values = vec![share, running.peak_rss_mib()?];
    let sent = feed.stats().next_n;
    running.wait("the last message to arrive", STALLED_AFTER, || topic.count().is_ok_and(|count| count >= sent)).ok();
    running.stop().ok();
    Ok(Sample { values, integrity: Integrity::of(&topic.read_all()?, sent), note: None })
}

fn ends(program: &Program, topic: &Topic, end: End, rate: u32, every: u64, seconds: u64) -> Outcome<Sample> {
    let size = 512;
    let feed = Feed::live(size, f64::from(rate), Duration::from_secs(every), end)?;
    let follower = topic.follow()?;
    let mut running = start(program, topic, &feed, size, 0)?;
    running.wait("the program to connect", START_WITHIN, || feed.stats().next_n > 0)?;

    // The feed's clock began with the first connection.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        running.check()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    let due = u64::from(rate) * seconds;
    // A program that never comes back is not waited for.
    running.wait("the last messages", STALLED_AFTER, || follower.next() >= due).ok();
    let connections = feed.stats().connections.len();
    running.stop().ok();
    let arrivals = follower.stop()?;
    let integrity = Integrity::of(&arrivals.numbers, due);
    Ok(Sample { values: vec![integrity.lost as f64 * 100.0 / due as f64, connections as f64], integrity, note: None })
}

fn stop(program: &Program, topic: &Topic, rate: u32) -> Outcome<Sample> {
    let size = 512;
    let feed = Feed::steady(size, f64::from(rate))?;
    let mut running = start(program, topic, &feed, size, 0)?;
    let mid_stream = u64::from(rate) * 2;
    running.wait("the stream to flow", START_WITHIN, || topic.count().is_ok_and(|count| count >= mid_stream))?;

    let (took, code) = running.stop()?;
    // The feed notices the end of the connection a moment later.
    let ended = Instant::now();
    while feed.stats().open > 0 && ended.elapsed() < STALLED_AFTER {
        std::thread::sleep(Duration::from_millis(5));
    }
    let stats = feed.stats();
    let integrity = Integrity::of(&topic.read_all()?, stats.next_n);
    let values = vec![integrity.lost as f64, took.as_secs_f64() * 1000.0, f64::from(code)];
    Ok(Sample { values, integrity, note: None })
}

fn start(program: &Program, topic: &Topic, feed: &Feed, size: usize, messages: u64) -> Outcome<Running> {
    program.start(&Job {
        url: feed.url(),
        ca: feed.ca(),
        bootstrap: &topic.bootstrap,
        topic: &topic.name,
        size,
        warm_up: WARM_UP,
        messages,
    })
}

fn warm_up(program: &Program, running: &mut Running, topic: &Topic, feed: &Feed) -> Outcome<()> {
    match program.kind {
        Kind::FloorSocket(_) => {
            running.wait("the program to connect", START_WITHIN, || feed.stats().next_n >= WARM_UP)?
        }
        _ => running.wait("the warm-up to arrive in Kafka", START_WITHIN, || {
            topic.count().is_ok_and(|count| count >= WARM_UP)
        })?,
    }
    std::thread::sleep(SETTLE);
    Ok(())
}

impl Integrity {
    /// Compares with the numbers below `total`, each of which should have come once and in order.
    fn of(numbers: &Numbers, total: u64) -> Integrity {
        if total == 0 {
            return Integrity::default();
        }
        let report = numbers.check(0..=total - 1);
        Integrity { lost: report.missing, duplicated: report.duplicated, out_of_order: report.out_of_order }
    }

    /// Field by field the worse of two.
    pub(crate) fn worst(self, other: Integrity) -> Integrity {
        Integrity {
            lost: self.lost.max(other.lost),
            duplicated: self.duplicated.max(other.duplicated),
            out_of_order: self.out_of_order.max(other.out_of_order),
        }
    }
}

/// The value below which this share of the sorted values lies (nearest rank).
fn percentile(sorted: &[u64], share: f64) -> Option<u64> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use connect_websocket_e2e::Numbers;

    use super::{Integrity, percentile};

    #[test]
    fn percentile_is_the_nearest_rank() {
        let values: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&values, 0.5), Some(50));
        assert_eq!(percentile(&values, 0.99), Some(99));
        assert_eq!(percentile(&[7], 0.99), Some(7));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn integrity_counts_what_is_missing_doubled_and_late() {
        let mut numbers = Numbers::default();
        [0, 2, 1, 1].into_iter().for_each(|n| numbers.add(n));
        assert_eq!(Integrity::of(&numbers, 5), Integrity { lost: 2, duplicated: 1, out_of_order: 1 });
        assert_eq!(Integrity::of(&Numbers::default(), 0), Integrity::default());
    }
}
