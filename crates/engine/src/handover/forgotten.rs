//! Losses that no hand-over file contains. The next start in this process reports them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::task_id::TaskId;

/// The most tasks whose loss is kept. Beyond that, the oldest loss is forgotten.
const TASKS: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) records: u64,
    pub(super) since: SystemTime,
}

static LOSSES: Mutex<BTreeMap<TaskId, Loss>> = Mutex::new(BTreeMap::new());

pub(super) fn remember(task: &TaskId, loss: Loss) {
    add(&mut losses(), task, loss);
}

/// Returns the loss of this task, and forgets it.
pub(super) fn take(task: &TaskId) -> Option<Loss> {
    losses().remove(task)
}

fn add(losses: &mut BTreeMap<TaskId, Loss>, task: &TaskId, loss: Loss) {
    if let Some(known) = losses.get_mut(task) {
        known.records = known.records.saturating_add(loss.records);
        known.since = known.since.min(loss.since);
        return;
    }
    if losses.len() == TASKS
        && let Some(oldest) = losses.iter().min_by_key(|(_, loss)| loss.since).map(|(task, _)| task.clone())
    {
        losses.remove(&oldest);
    }
    losses.insert(task.clone(), loss);
}

fn losses() -> MutexGuard<'static, BTreeMap<TaskId, Loss>> {
    LOSSES.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn loss(records: u64, secs: u64) -> Loss {
        Loss { records, since: SystemTime::UNIX_EPOCH + Duration::from_secs(secs) }
    }

    #[test]
    fn losses_add_up_and_are_reported_once() {
        remember(&TaskId::only("adding"), loss(2, 50));
        remember(&TaskId::only("adding"), loss(3, 40));
        assert_eq!(take(&TaskId::only("adding")), Some(loss(5, 40)));
        assert_eq!(take(&TaskId::only("adding")), None);
    }

    #[test]
    fn the_oldest_is_forgotten_at_the_bound() {
        let mut losses = BTreeMap::new();
        for n in 0..=TASKS as u64 {
            add(&mut losses, &TaskId::only(format!("c{n}")), loss(1, if n == 7 { 0 } else { n + 1 }));
        }
        assert_eq!(losses.len(), TASKS);
        let known = |name| losses.contains_key(&TaskId::only(name));
        assert!(!known("c7") && known("c0") && known("c1024"));
    }
}
