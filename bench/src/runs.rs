//! The runs: each runs one program once, against a feed and a topic of its own.

use std::time::{Duration, Instant};

use crate::arrivals::Topic;
use crate::feed::{End, Feed, Shape, Transport};
use crate::jvm::Jvm;
use crate::program::{Job, Kind, Program, Source};
use crate::running::Running;
use crate::sample::{Integrity, Outcome, Sample};

const START_WITHIN: Duration = Duration::from_secs(120);
/// After so long without a further record in Kafka, what is missing is lost.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// The deliveries of the last batch are handled within this time.
const SETTLE: Duration = Duration::from_millis(300);

/// What is restarted by the REST API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restart {
    /// DELETE of the connector, and POST of the same.
    Connector,
    /// POST of the task's restart.
    Task,
}

pub(crate) fn burst(
    program: &Program,
    topic: &Topic,
    transport: Transport,
    size: usize,
    messages: u64,
) -> Outcome<Sample> {
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

pub(crate) fn paced(program: &Program, topic: &Topic, rate: u32, size: usize, seconds: u64) -> Outcome<Sample> {
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

pub(crate) fn idle(program: &Program, topic: &Topic, rate: Option<u32>, seconds: u64) -> Outcome<Sample> {
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

pub(crate) fn ends(program: &Program, topic: &Topic, end: End, rate: u32, every: u64, seconds: u64) -> Outcome<Sample> {
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

pub(crate) fn stop(program: &Program, topic: &Topic, rate: u32) -> Outcome<Sample> {
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

pub(crate) fn restart(program: &Program, topic: &Topic, what: Restart, rate: u32) -> Outcome<Sample> {
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
    running.wait_compiled()
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

/// The value below which this share of the sorted values lies (nearest rank).
fn percentile(sorted: &[u64], share: f64) -> Option<u64> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentile_is_the_nearest_rank() {
        let values: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&values, 0.5), Some(50));
        assert_eq!(percentile(&values, 0.99), Some(99));
        assert_eq!(percentile(&[7], 0.99), Some(7));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
