//! How often this process connects to a host, all tasks together (`websocket.connect.rate`).

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use tokio::time::Instant;

use crate::dialogue::rate::{Limit, Rate};

/// The most hosts (with port) that are counted. Beyond that, the oldest counts are forgotten.
const MAX_HOSTS: usize = 1000;

static HOSTS: LazyLock<Mutex<HashMap<String, Rate>>> = LazyLock::new(Mutex::default);

/// Counts an attempt, or returns when it may be made.
pub(super) fn attempt(host: &str, limits: &[Limit], now: Instant) -> Result<(), Instant> {
    if limits.is_empty() {
        return Ok(());
    }
    let mut hosts = HOSTS.lock().unwrap_or_else(PoisonError::into_inner);
    if hosts.len() >= MAX_HOSTS && !hosts.contains_key(host) {
        hosts.clear();
    }
    let rate = hosts.entry(host.to_owned()).or_default();
    rate.set_limits(limits);
    match rate.next(now) {
        free if free <= now => {
            rate.count(now);
            Ok(())
        }
        later => Err(later),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialogue::rate;

    #[test]
    fn tasks_of_one_host_share_its_rate() {
        let (now, limits) = (Instant::now(), rate::parse("2/1m").unwrap());
        let attempt = |host, at| attempt(host, &limits, at);
        assert_eq!((attempt("shared.test", now), attempt("shared.test", now)), (Ok(()), Ok(())));
        let later = now + limits[0].kept_for();
        assert_eq!(attempt("shared.test", now), Err(later));
        assert_eq!(attempt("other.test", now), Ok(()));
        assert_eq!(attempt("shared.test", later), Ok(()));
    }
}
