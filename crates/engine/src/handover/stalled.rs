//! Hand-over files that get nowhere: the host is given their first record run after run, and brings nothing to Kafka. It
//! may be that Kafka is away, or that it will never take that record, which Kafka Connect reports to no task.
//!
//! So the first records are let others go before them. Once Kafka takes something they come after all, as if they were
//! received now: a host that fails on one then has had it, and it is in no file any more.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::task_id::TaskId;

/// So many runs without progress are bad luck.
const ENDURED: u32 = 1;
/// More records are never set aside, and more tasks than this are not remembered.
const MOST: u32 = 64;
const TASKS: usize = 1024;

/// Where a task's file began when it got nowhere, and in how many runs in a row.
static STALLS: Mutex<BTreeMap<TaskId, (i64, u32)>> = Mutex::new(BTreeMap::new());

/// A run has ended in which the host was given records from this sequence on and brought none to Kafka.
pub(super) fn note(task: &TaskId, first_sequence: i64) {
    let mut stalls = stalls();
    if stalls.len() >= TASKS && !stalls.contains_key(task) {
        stalls.clear();
    }
    let (first, runs) = stalls.entry(task.clone()).or_insert((first_sequence, 0));
    *runs = if *first == first_sequence { *runs + 1 } else { 1 };
    *first = first_sequence;
}

/// Returns how many records of a file that begins here others should go before.
pub(super) fn records_to_set_aside(task: &TaskId, first_sequence: i64) -> usize {
    let runs = stalls().get(task).filter(|(first, _)| *first == first_sequence).map_or(0, |(_, runs)| *runs);
    runs.saturating_sub(ENDURED).min(MOST) as usize
}

/// The task got somewhere.
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
