//! What the threads of a JVM spend: memory that they allocate, processor time by what they do.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::sample::Outcome;

/// The parts of a Kafka Connect process, and the names by which the kernel knows their threads (at most 15 bytes).
const PARTS: [(&str, &[&str]); 5] = [
    // Takes records from the source task, converts them, hands them to the producer.
    ("task thread", &["task-thread"]),
    // The plugin's native thread.
    ("socket thread", &["websocket-"]),
    // Sends, and reports each record's delivery.
    ("producer thread", &["kafka-producer-"]),
    ("garbage collector", &["GC Thread", "G1 "]),
    ("compiler", &["C1 Compiler", "C2 Compiler"]),
];
const COMPILER: usize = 4;

/// USER_HZ is 100 on every Linux that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// All that was spent up to one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Jvm {
    /// Bytes that the living Java threads have allocated on the heap.
    allocated: f64,
    /// Processor seconds of each of [`PARTS`].
    parts: [f64; PARTS.len()],
}

impl Jvm {
    /// Titles of the values of [`Jvm::per_message`].
    pub(crate) const TITLES: [&str; 1 + PARTS.len()] =
        ["allocated B/record", PARTS[0].0, PARTS[1].0, PARTS[2].0, PARTS[3].0, PARTS[COMPILER].0];

    /// Asks a JVM. This costs it a thread dump, so not while its processor time is measured.
    pub(crate) fn of(pid: u32) -> Outcome<Jvm> {
        let fail = |e: &dyn std::fmt::Display| format!("jcmd of the JDK prints nothing about process {pid}: {e}");
        let dump =
            Command::new("jcmd").args([&pid.to_string(), "Thread.print", "-e"]).output().map_err(|e| fail(&e))?;
        let text = String::from_utf8_lossy(&dump.stdout);
        if !dump.status.success() {
            return Err(fail(&text));
        }
        let allocated = allocated(&text);
        if allocated == 0.0 {
            return Err(fail(&"no thread has allocated anything"));
        }
        Ok(Jvm { allocated, parts: parts(pid)? })
    }

    /// Between two moments: bytes per message, then for each part the processor seconds per million messages.
    pub(crate) fn per_message(&self, before: &Jvm, messages: u64) -> Vec<f64> {
        let messages = messages as f64;
        let mut values = vec![(self.allocated - before.allocated) / messages];
        values.extend(self.parts.iter().zip(before.parts).map(|(after, before)| (after - before) * 1e6 / messages));
        values
    }
}

/// Waits until a JVM has compiled what was to be compiled: its compilers rest for a second. After a minute it is used as it
/// is; a compiler that works on shows in its column.
pub(crate) fn wait_compiled(pid: u32) -> Outcome<()> {
    let start = Instant::now();
    let mut last = parts(pid)?[COMPILER];
    while start.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_secs(1));
        let now = parts(pid)?[COMPILER];
        if now <= last {
            break;
        }
        last = now;
    }
    Ok(())
}

/// Sum over the threads of an extended thread dump: `"main" #1 … cpu=12.34ms elapsed=1.23s allocated=345K …`.
fn allocated(dump: &str) -> f64 {
    let sizes = dump.lines().filter(|line| line.starts_with('"')).filter_map(|line| {
        let size = line.split(" allocated=").nth(1)?.split(' ').next()?;
        let digits = size.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match &size[digits.len()..] {
            "K" => 10,
            "M" => 20,
            "G" => 30,
            _ => 0,
        };
        Some(digits.parse::<f64>().ok()? * f64::from(1u32 << unit))
    });
    sizes.sum()
}

fn parts(pid: u32) -> Outcome<[f64; PARTS.len()]> {
    let tasks = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&tasks).map_err(|e| format!("{tasks} cannot be read: {e}"))?;
    let mut seconds = [0.0; PARTS.len()];
    // A thread may end between being listed and being read.
    for stat in threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok()) {
        if let Some((name, ticks)) = name_and_ticks(&stat) {
            let part = PARTS.iter().position(|(_, names)| names.iter().any(|start| name.starts_with(start)));
            part.into_iter().for_each(|part| seconds[part] += ticks / TICKS_PER_SECOND);
        }
    }
    Ok(seconds)
}

/// proc(5): the second field is the name in parentheses, which may hold anything; 14 and 15 are utime and stime.
fn name_and_ticks(stat: &str) -> Option<(&str, f64)> {
    let (start, rest) = stat.rsplit_once(") ")?;
    let (_, name) = start.split_once('(')?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((name, ticks(11)? + ticks(12)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocated_is_the_sum_over_java_threads() {
        let dump = "2026-01-01 12:00:00\nFull thread dump:\n\n\
            \"main\" #1 prio=5 os_prio=0 cpu=80.98ms elapsed=4.40s allocated=3M defined_classes=527 tid=0x1 waiting\n\
            \"a b\" #2 daemon prio=5 os_prio=0 cpu=0.98ms elapsed=4.40s allocated=120K defined_classes=0 tid=0x2\n\
            \"c\" #3 daemon prio=5 os_prio=0 cpu=0.98ms elapsed=4.40s allocated=96B defined_classes=0 tid=0x3\n\
            \tat java.lang.Object.wait allocated=7G\n\
            \"GC Thread#0\" os_prio=0 cpu=3.92ms elapsed=4.44s tid=0x4 nid=0x5 runnable\n";
        assert_eq!(allocated(dump), f64::from((3 << 20) + (120 << 10) + 96));
    }

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "77 (C2 (x) y) S 1 2 3 0 -1 0 0 0 0 0 163 18 0 0 20 0 1 0 13 0";
        assert_eq!(name_and_ticks(stat), Some(("C2 (x) y", 181.0)));
        assert_eq!(name_and_ticks(""), None);
    }

    #[test]
    fn what_was_spent_between_is_told_per_message() {
        let before = Jvm { allocated: 1e6, parts: [1.0, 0.0, 2.0, 0.5, 0.0] };
        let after = Jvm { allocated: 3e6, parts: [2.0, 0.5, 2.25, 0.5, 1.0] };
        assert_eq!(after.per_message(&before, 1_000), [2000.0, 1000.0, 500.0, 250.0, 0.0, 1000.0]);
    }
}
