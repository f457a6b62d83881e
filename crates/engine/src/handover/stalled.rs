//! Hand-over files without progress: several runs have sent the first record, and Kafka has taken nothing. Either Kafka
//! is not reachable, or it refuses that record. Kafka Connect does not tell a task which record was refused.
//!
//! So the first records are set aside, and the others are sent first. Once Kafka takes a record, those that were set
//! aside are sent with new sequences. If one of them then fails the task, the host has taken it, and it is no longer in
//! a file.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::task_id::TaskId;

/// After this number of runs without progress, nothing is set aside yet.
const ENDURED: u32 = 1;
/// The most records that are set aside, and the most tasks for which runs are counted.
const MOST: u32 = 64;
const TASKS: usize = 1024;

/// For each task: the first sequence of its file, and the number of runs in a row without progress.
static STALLS: Mutex<BTreeMap<TaskId, (i64, u32)>> = Mutex::new(BTreeMap::new());

/// Notes a run without progress. `first_sequence`: the first record that the host got.
pub(super) fn note(task: &TaskId, first_sequence: i64) {
    let mut stalls = stalls();
    if stalls.len() >= TASKS && !stalls.contains_key(task) {
        stalls.clear();
    }
    let (first, runs) = stalls.entry(task.clone()).or_insert((first_sequence, 0));
    *runs = if *first == first_sequence { *runs + 1 } else { 1 };
    *first = first_sequence;
}

/// Returns how many of the first records of a file to set aside.
pub(super) fn records_to_set_aside(task: &TaskId, first_sequence: i64) -> usize {
    let runs = stalls().get(task).filter(|(first, _)| *first == first_sequence).map_or(0, |(_, runs)| *runs);
    runs.saturating_sub(ENDURED).min(MOST) as usize
}

/// Notes that Kafka has taken a record.
pub(super) fn forget(task: &TaskId) {
    stalls().remove(task);
}

fn stalls() -> MutexGuard<'static, BTreeMap<TaskId, (i64, u32)>> {
    STALLS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_record_is_set_aside_with_every_run_in_vain() {
        let task = TaskId::only("stalling");
        let mut aside = Vec::new();
        for _ in 0..4 {
            note(&task, 7);
            aside.push(records_to_set_aside(&task, 7));
        }
        assert_eq!(aside, [0, 1, 2, 3]);
        assert_eq!(records_to_set_aside(&task, 8), 0, "it got somewhere");
        note(&task, 8);
        assert_eq!(records_to_set_aside(&task, 8), 0);
        note(&task, 8);
        forget(&task);
        assert_eq!(records_to_set_aside(&task, 8), 0);
    }
}
