//! The limit of open files, and a reserve for REST and files.

use std::fs;

use rustix::process::{Resource, getrlimit, setrlimit};
use tracing::info;

/// How many a task needs: its sockets, those of its Kafka client, the pipes that wake their threads, and its runtime.
const PER_TASK: u64 = 16;
/// The reserve for REST, the offset file and hand-over files. It is not larger than this part of the limit.
const RESERVE: u64 = 1024;
const RESERVE_PART: u64 = 4;
/// The part of the reserve that the REST server may use. The rest is for files.
const REST_PART: u64 = 2;

/// Raises the limit to the highest one that is allowed without root.
pub(crate) fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    let raised = setrlimit(Resource::Nofile, limit).is_ok();
    let now = if raised { limit.maximum } else { before };
    info!("event=descriptors_limit limit={}", now.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string()));
}

/// Checks that another task can be started.
///
/// # Errors
/// A sentence that names the limit.
pub(crate) fn room_for_another(tasks: usize) -> Result<(), String> {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return Ok(()) };
    check(limit, in_use(), tasks as u64)
}

/// Returns how many descriptors the connections of the REST server may take.
pub(crate) fn for_rest() -> u64 {
    reserve(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)) / REST_PART
}

fn reserve(limit: u64) -> u64 {
    RESERVE.min(limit / RESERVE_PART)
}

fn check(limit: u64, in_use: u64, tasks: u64) -> Result<(), String> {
    let reserve = reserve(limit);
    // Tasks that have just started have not opened their files yet.
    if in_use.max(tasks * PER_TASK) + PER_TASK + reserve <= limit {
        return Ok(());
    }
    Err(format!(
        "the limit of {limit} open files has no room for another connector beside {tasks} ({in_use} are open, {reserve} are \
         kept for the REST API and files); raise it (ulimit -n, or LimitNOFILE of the service)"
    ))
}

fn in_use() -> u64 {
    let own = fs::read_dir("/proc/self/fd").or_else(|_| fs::read_dir("/dev/fd"));
    own.map_or(0, |entries| entries.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_kept() {
        assert!(check(1024, 100, 5).is_ok());
        assert!(check(1024, 752, 5).is_ok());
        let why = check(1024, 753, 5).unwrap_err();
        assert!(why.contains("limit of 1024 open files") && why.contains("LimitNOFILE"), "{why}");
        assert!(check(1024, 20, 48).is_err(), "what was just started counts");
        assert!(check(64, 20, 0).is_ok());
        assert!(check(64, 40, 0).is_err());
    }

    #[test]
    fn rest_has_a_part_of_the_reserve() {
        for limit in [64, 96, 1024, 4096, 1 << 20, u64::MAX] {
            let rest = reserve(limit) / REST_PART;
            assert!(rest > 0 && rest < reserve(limit) && reserve(limit) <= limit / 4, "{limit}");
        }
    }
}
