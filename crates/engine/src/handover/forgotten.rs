//! How many records were left behind without a file to say so; the next start in this process tells.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// More connectors than this are not remembered; the oldest loss goes first.
const CONNECTORS: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) records: u64,
    pub(super) since: SystemTime,
}

static LOSSES: Mutex<BTreeMap<String, Loss>> = Mutex::new(BTreeMap::new());

pub(super) fn remember(connector: &str, loss: Loss) {
    add(&mut losses(), connector, loss);
}

/// What is remembered of this connector, once.
pub(super) fn take(connector: &str) -> Option<Loss> {
    losses().remove(connector)
}

fn add(losses: &mut BTreeMap<String, Loss>, connector: &str, loss: Loss) {
    if let Some(known) = losses.get_mut(connector) {
        known.records = known.records.saturating_add(loss.records);
        known.since = known.since.min(loss.since);
        return;
    }
    if losses.len() == CONNECTORS
        && let Some(oldest) = losses.iter().min_by_key(|(_, loss)| loss.since).map(|(name, _)| name.clone())
    {
        losses.remove(&oldest);
    }
    losses.insert(connector.to_owned(), loss);
}

fn losses() -> MutexGuard<'static, BTreeMap<String, Loss>> {
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
    fn losses_add_up_and_are_told_once() {
        remember("adding", loss(2, 50));
        remember("adding", loss(3, 40));
        assert_eq!(take("adding"), Some(loss(5, 40)));
        assert_eq!(take("adding"), None);
    }

    #[test]
    fn the_oldest_is_forgotten_at_the_bound() {
        let mut losses = BTreeMap::new();
        for n in 0..=CONNECTORS as u64 {
            add(&mut losses, &format!("c{n}"), loss(1, if n == 7 { 0 } else { n + 1 }));
        }
        assert_eq!(losses.len(), CONNECTORS);
        assert!(!losses.contains_key("c7") && losses.contains_key("c0") && losses.contains_key("c1024"));
    }
}
