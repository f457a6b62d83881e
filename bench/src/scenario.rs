//! What is measured: each scenario runs one program once, against a feed and a topic of its own.

use std::fmt;
use std::time::{Duration, Instant};

use connect_websocket_e2e::{Kafka, Numbers};
use connect_websocket_testkit::Kind as Frame;

use crate::arrivals::Topic;
use crate::feed::{End, Feed, Shape, Transport};
use crate::jvm::Jvm;
use crate::program::{Group, Job, Kind, Outcome, Program, Running, Source};

const START_WITHIN: Duration = Duration::from_secs(120);
/// After so long without a further record in Kafka, what is missing is lost.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// The deliveries of the last batch are handled within this time.
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
    /// The connector or its task ends and starts in mid-stream, in the same process.
    Restart { what: Restart, rate: u32 },
}

/// What is restarted by the REST API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restart {
    /// DELETE of the connector, and POST of the same.
    Connector,
    /// POST of the task's restart.
    Task,
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric {
    pub title: &'static str,
    pub decimals: usize,
    /// Whether the ratio to the reference program is shown.
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

const RESTART: &[Metric] =
    &[metric("lost messages", 0, false), metric("REST calls ms", 0, false), metric("connections", 0, false)];

impl Scenario {
    /// The name by which `--scenarios` selects it.
    pub(crate) fn group(&self) -> &'static str {
        match self {
            Scenario::Burst { .. } => "burst",
            Scenario::Paced { .. } => "paced",
            Scenario::Idle { .. } => "idle",
            Scenario::Ends { .. } => "ends",
            Scenario::Stop { .. } => "stop",
            Scenario::Restart { .. } => "restart",
        }
    }

    /// The values of each [`Sample`] of these programs.
    pub(crate) fn metrics(&self, group: Group) -> Vec<Metric> {
        let (all, per_message) = match self {
            Scenario::Burst { .. } => (BURST, true),
            Scenario::Paced { .. } => (PACED, true),
            Scenario::Idle { .. } => (IDLE, false),
            Scenario::Ends { .. } => (ENDS, false),
            Scenario::Stop { .. } => (STOP, false),
            Scenario::Restart { .. } => (RESTART, false),
        };
        let mut metrics = all.to_vec();
        if per_message && group != Group::Native {
            metrics.extend(Jvm::TITLES.iter().enumerate().map(|(at, title)| match at {
                0 => metric(title, 0, true),
                _ => metric(title, 2, false),
            }));
        }
        metrics
    }

    /// Whether lost messages are a fault of the run; where they are the figure itself, they aren't told twice.
    pub(crate) fn expects_all(&self) -> bool {
        !matches!(self, Scenario::Ends { .. } | Scenario::Stop { .. } | Scenario::Restart { .. })
    }

    /// Whether the program can do it at all.
    pub(crate) fn suits(&self, program: &Program) -> bool {
        let is_plain_burst = matches!(self, Scenario::Burst { transport: Transport::Plain, .. });
        match &program.kind {
            Kind::FloorSocket(_) => matches!(self, Scenario::Burst { .. }),
            Kind::FloorProducer(_) => is_plain_burst,
            Kind::Connect { source: Source::None, .. } => matches!(self, Scenario::Idle { .. }),
            // The converter makes no difference elsewhere.
            Kind::Connect { source: Source::Floor, .. } | Kind::Connect { frame: Frame::Binary, .. } => {
                is_plain_burst || matches!(self, Scenario::Paced { .. })
            }
            Kind::Connect { source: Source::Plugin, .. } | Kind::Worker(_) => true,
            // It has no REST API.
            Kind::Plain(_) => !matches!(self, Scenario::Restart { .. }),
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
            Scenario::Restart { what, rate } => restart(program, &topic, what, rate),
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
            Scenario::Restart { what: Restart::Connector, rate } => {
                write!(f, "DELETE of the connector and POST of the same at {rate} messages/s")
            }
            Scenario::Restart { what: Restart::Task, rate } => write!(f, "Restart of the task at {rate} messages/s"),
        }
    }
}

fn burst(program: &Program, topic: &Topic, transport: Transport, size: usize, messages: u64) -> Outcome<Sample> {
    let shape = shape(program, size);
    let warm_up = shape.warm_up.messages;
    let total = warm_up + messages;
    let feed = Feed::burst(transport, shape, total)?;
    let mut running = start(program, topic, &feed, shape, 0, total)?;
    warmed_up(program, &mut running, topic, &feed, shape, 0)?;

    let jvm_before = running.jvm()?;
    let cpu_before = running.cpu()?;
    let begun = Instant::now();
    let (arrived, elapsed, cpu) = match program.kind {
        Kind::FloorSocket(_) => {
            feed.begin();
            // It says so itself, nothing comes to Kafka.
            let mark = format!("received {total} messages");
            running.wait("the feed to send all", Duration::from_secs(600), || feed.stats().next_n == total)?;
            running.wait_log(&mark, STALLED_AFTER)?;
            (total, begun.elapsed(), running.cpu()?)
        }
        _ => {
            begin(program, &running, &feed)?;
            wait_records(&mut running, topic, total, begun)?
        }
    };
    let mut values = vec![
        (cpu - cpu_before).as_secs_f64() * 1e6 / messages as f64,
        arrived.saturating_sub(warm_up) as f64 / elapsed.as_secs_f64(),
        running.peak_rss_mib()?,
    ];
    values.extend(spent(&running, jvm_before, messages)?);
    // Not every program ends well; how it does is another scenario's figure.
    running.stop().ok();
    let integrity = match program.kind {
        Kind::FloorSocket(_) => Integrity::default(),
        Kind::Connect { source: Source::Floor, .. } => Integrity::of_count(topic.count()?, total),
        _ => Integrity::of(&topic.read_all()?, total),
    };
    let note = (transport == Transport::Deflate && !feed.is_compressed()).then_some("no compression");
    Ok(Sample { values, integrity, note })
}

/// Waits until the topic holds `total` records, or no more come: how many it holds, how long that took, and the processor
/// time then.
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
    Ok(last)
}

fn paced(program: &Program, topic: &Topic, rate: u32, size: usize, seconds: u64) -> Outcome<Sample> {
    let shape = shape(program, size);
    let messages = u64::from(rate) * seconds;
    let total = shape.warm_up.total(rate) + messages;
    let feed = Feed::paced(shape, rate, total)?;
    let follower = topic.follow()?;
    let mut running = start(program, topic, &feed, shape, rate, total)?;
    warmed_up(program, &mut running, topic, &feed, shape, rate)?;

    let jvm_before = running.jvm()?;
    let cpu_before = running.cpu()?;
    let begun = Instant::now();
    begin(program, &running, &feed)?;
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
    let spent = spent(&running, jvm_before, messages)?;
    running.stop().ok();
    let mut arrivals = follower.stop()?;
    let latencies = arrivals.sorted_latencies();
    let ms = |share: f64| percentile(latencies, share).map(|us| us as f64 / 1000.0);
    let (p50, p99, integrity) = match (ms(0.5), ms(0.99)) {
        // Ready-made records have no time.
        _ if program.is_floor() => (f64::NAN, f64::NAN, Integrity::of_count(topic.count()?, total)),
        (Some(p50), Some(p99)) => (p50, p99, Integrity::of(&arrivals.numbers, total)),
        _ => return Err("no message arrived".to_owned()),
    };
    let mut values = vec![p50, p99, cpu * 100.0 / elapsed, cpu * 1e6 / messages as f64, rss];
    values.extend(spent);
    Ok(Sample { values, integrity, note: None })
}

fn idle(program: &Program, topic: &Topic, rate: Option<u32>, seconds: u64) -> Outcome<Sample> {
    let shape = shape(program, 512);
    let feed = Feed::idle(shape, rate)?;
    let mut running = start(program, topic, &feed, shape, 0, shape.warm_up.messages)?;
    warmed_up(program, &mut running, topic, &feed, shape, 0)?;
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
    let shape = shape(program, 512);
    let feed = Feed::live(shape.size, f64::from(rate), Duration::from_secs(every), end)?;
    let follower = topic.follow()?;
    let mut running = start(program, topic, &feed, shape, 0, 0)?;
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
    let shape = shape(program, 512);
    let feed = Feed::steady(shape.size, f64::from(rate), None)?;
    let mut running = start(program, topic, &feed, shape, 0, 0)?;
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

fn restart(program: &Program, topic: &Topic, what: Restart, rate: u32) -> Outcome<Sample> {
    let shape = shape(program, 512);
    let per_second = u64::from(rate);
    let total = 10 * per_second;
    let feed = Feed::steady(shape.size, f64::from(rate), Some(total))?;
    let mut running = start(program, topic, &feed, shape, 0, 0)?;
    running.wait("the stream to flow", START_WITHIN, || topic.count().is_ok_and(|count| count >= 5 * per_second))?;

    let begun = Instant::now();
    match what {
        Restart::Connector => running.recreate_connector()?,
        Restart::Task => running.restart_task()?,
    }
    let took = begun.elapsed();
    running.wait("the feed to send all", START_WITHIN, || feed.stats().next_n >= total)?;
    wait_records(&mut running, topic, total, Instant::now())?;
    let connections = feed.stats().connections.len();
    running.stop().ok();
    let integrity = Integrity::of(&topic.read_all()?, total);
    let values = vec![integrity.lost as f64, took.as_secs_f64() * 1000.0, connections as f64];
    Ok(Sample { values, integrity, note: None })
}

fn shape(program: &Program, size: usize) -> Shape {
    Shape { frame: program.frame(), size, warm_up: program.warm_up() }
}

fn start(program: &Program, topic: &Topic, feed: &Feed, shape: Shape, rate: u32, messages: u64) -> Outcome<Running> {
    program.start(&Job {
        url: feed.url(),
        ca: feed.ca(),
        bootstrap: &topic.bootstrap,
        topic: &topic.name,
        size: shape.size,
        warm_up: shape.warm_up.total(rate),
        warm_up_burst: shape.warm_up.messages,
        messages,
        rate,
    })
}

/// Waits until the warm-up is over, with its paced part if there is a rate.
fn warmed_up(
    program: &Program,
    running: &mut Running,
    topic: &Topic,
    feed: &Feed,
    shape: Shape,
    rate: u32,
) -> Outcome<()> {
    let total = shape.warm_up.total(rate);
    match program.kind {
        Kind::FloorSocket(_) => {
            running.wait("the program to connect", START_WITHIN, || feed.stats().next_n >= total)?
        }
        Kind::Connect { source: Source::None, .. } => running.wait_log("Kafka Connect started", START_WITHIN)?,
        _ => running
            .wait("the warm-up to arrive in Kafka", START_WITHIN, || topic.count().is_ok_and(|count| count >= total))?,
    }
    std::thread::sleep(shape.warm_up.rest);
    Ok(())
}

/// Ends the warm-up.
fn begin(program: &Program, running: &Running, feed: &Feed) -> Outcome<()> {
    if program.is_floor() {
        return running.signal_start();
    }
    feed.begin();
    Ok(())
}

/// What a JVM has spent since `before`, in the order of [`Jvm::TITLES`]; nothing for another program.
fn spent(running: &Running, before: Option<Jvm>, messages: u64) -> Outcome<Vec<f64>> {
    let after = running.jvm()?;
    Ok(after.zip(before).map(|(after, before)| after.per_message(&before, messages)).unwrap_or_default())
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

    /// Compares counts only.
    fn of_count(count: u64, total: u64) -> Integrity {
        Integrity { lost: total.saturating_sub(count), duplicated: count.saturating_sub(total), out_of_order: 0 }
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
