//! The mutation check: the simulation finds every deliberate bug. What it does not find it would not find in earnest either.

use super::history;
use crate::mutation::{Mutation, ON};

/// Each bug is found within so many histories.
const SEEDS: u64 = 20_000;

/// Returns the first seed that fails with this bug, and why.
fn first_failure(mutation: Mutation) -> Option<(u64, String)> {
    ON.set(Some(mutation));
    let failure = |seed| Some((seed, history::play(seed, false).failure?));
    let first = (0..SEEDS).find_map(failure);
    ON.set(None);
    first
}

#[test]
fn every_deliberate_bug_is_found() {
    let found = Mutation::ALL.map(|mutation| (mutation, first_failure(mutation)));
    for (mutation, failure) in &found {
        let words = failure.as_ref().map_or("NOT FOUND".to_owned(), |(seed, why)| format!("seed {seed}: {why}"));
        println!("{mutation:?}: {words}");
    }
    let missed: Vec<_> = found.iter().filter(|(_, failure)| failure.is_none()).map(|(mutation, _)| mutation).collect();
    assert!(missed.is_empty(), "not found within {SEEDS} histories: {missed:?}");
}
