//! A deterministic simulation: the engine's own session and task between a model of a feed and a model of a host, over a
//! simulated network, clock and source of chance. One seed is one history: no socket, no thread, no sleeping.
//!
//! ```text
//! SEEDS=1000000 make simulate     prints seeds a second, and the first seed that fails
//! SEED=4711 make simulate         plays one history, and shows what happens in it
//! ```

mod feed;
mod history;
mod host;
mod mutations;
mod network;
mod shape;
mod verdict;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Histories that are played in every run, from the first seed on.
const FIXED: u64 = 10_000;
/// And such that nobody has played before.
const FRESH: u64 = 2_000;

/// Seeds that failed once: a gap after a kill began too late, or after a full queue; a topic without a cursor was left out; a
/// lost position was told from its refusal on, or not at all while stopping; one topic's lost position made another topic's record come twice; what
/// was skipped last was not told; behind a clamp, records were taken for stored ones; a full queue and a repair made a loop without a wait.
/// With each change of the model a seed becomes another history: these are the numbers under which they were found.
const FAILED_ONCE: &[u64] = &[
    24, 55, 76, 85, 101, 113, 132, 152, 165, 166, 183, 194, 390, 421, 597, 895, 5386, 6988, 100_994, 307_996,
    50_004_272, 90_000_633,
];

/// What a row of histories was.
struct Row {
    seeds: u64,
    events: u64,
    took: Duration,
    /// The first seed that failed, and why.
    failed: Option<(u64, String)>,
}

/// Plays the histories of these seeds, on so many threads, until one fails.
fn play_all(seeds: std::ops::Range<u64>, threads: u64) -> Row {
    let (next, events, stop) = (AtomicU64::new(seeds.start), AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    let work = || {
        while !stop.load(Relaxed) {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end {
                break;
            }
            let outcome = history::play(seed, false);
            events.fetch_add(outcome.events, Relaxed);
            if let Some(why) = outcome.failure {
                stop.store(true, Relaxed);
                return Some((seed, why));
            }
        }
        None
    };
    let failed = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().unwrap_or(None)).min()
    });
    let played = next.load(Relaxed).min(seeds.end) - seeds.start;
    Row { seeds: played, events: events.load(Relaxed), took: began.elapsed(), failed }
}

fn assert_all_hold(what: &str, seeds: std::ops::Range<u64>, threads: u64) {
    let row = play_all(seeds.clone(), threads);
    let rate = row.seeds as f64 / row.took.as_secs_f64();
    println!(
        "{what}: {} histories from seed {} on in {:.1} s, {rate:.0} a second, {} events each",
        row.seeds,
        seeds.start,
        row.took.as_secs_f64(),
        row.events / row.seeds.max(1),
    );
    if let Some((seed, why)) = row.failed {
        panic!("seed {seed}: {why}; SEED={seed} make simulate shows it");
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn fixed_histories_hold() {
    assert_all_hold("fixed", 0..FIXED, 2);
}

#[test]
fn fresh_histories_hold() {
    let first = u64::from(rand::random::<u32>()) << 16;
    assert_all_hold("fresh", first..first + FRESH, 1);
}

#[test]
fn histories_that_failed_once_hold() {
    for &seed in FAILED_ONCE {
        assert_eq!(history::play(seed, false).failure, None, "seed {seed}");
    }
}

#[test]
#[ignore = "long; make simulate"]
fn as_many_as_wanted_hold() {
    if let Some(seed) = from_environment("SEED") {
        let outcome = history::play(seed, true);
        assert_eq!(outcome.failure, None, "seed {seed}");
        return;
    }
    let seeds = from_environment("SEEDS").unwrap_or(100_000);
    let first = from_environment("FIRST").unwrap_or_else(|| u64::from(rand::random::<u32>()) << 16);
    let threads = from_environment("THREADS").unwrap_or(1);
    // ALL=1 goes on behind a failure.
    if std::env::var_os("ALL").is_some() {
        for seed in first..first + seeds {
            history::play(seed, false).failure.into_iter().for_each(|why| println!("seed {seed}: {why}"));
        }
        return;
    }
    assert_all_hold("simulation", first..first + seeds, threads);
}
