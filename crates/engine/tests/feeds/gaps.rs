//! Every profile of a feed that numbers its messages and cannot be asked for them, against its simulator, which leaves out some once:
//! exactly those are in the ledger.

use connect_websocket_engine::feeds::Profile;
use connect_websocket_testkit::{RECORDS, SIMULATORS};
use serde_json::Value;

use crate::running::Running;
use crate::{Run, all};

const LEDGER: &str = "gaps";

/// What a simulator leaves out.
struct Hole {
    feed: &'static str,
    /// Of the numbering; `None` if there is but one.
    key: Option<&'static str>,
    from: u64,
    to: u64,
}

const HOLES: &[Hole] = &[
    Hole { feed: "bitfinex", key: None, from: 2, to: 4 },
    Hole { feed: "coinbase-advanced", key: None, from: 8, to: 10 },
    Hole { feed: "coinbase-advanced-user", key: None, from: 8, to: 10 },
    Hole { feed: "gate", key: Some("BTC_USDT"), from: 5, to: 7 },
    Hole { feed: "gemini", key: None, from: 10, to: 12 },
    Hole { feed: "kucoin", key: Some("/market/level2:BTC-USDT"), from: 5, to: 7 },
];

#[test]
fn what_a_feed_leaves_out_is_in_the_ledger_by_key_and_number() {
    all(HOLES.iter().map(|hole| (hole.feed.to_owned(), || tells(hole))));
}

#[test]
fn every_profile_that_counts_missing_messages_is_looked_at() {
    // Of one that resumes or can be asked, other tests look at what is missing.
    let otherwise = ["websocket.cursor", "websocket.backfill.rate"];
    let counts = |profile: &Profile| {
        let option = |name: &str| profile.options.get(name).map(String::as_str);
        let is_here = otherwise.iter().all(|name| option(name).is_none());
        is_here && option("websocket.sequence").is_some() && option("websocket.sequence.holes") != Some("legal")
    };
    let counting: Vec<String> = Profile::all().filter(counts).map(|profile| profile.name).collect();
    let looked_at: Vec<&str> = HOLES.iter().map(|hole| hole.feed).collect();
    assert_eq!(counting, looked_at);
}

fn tells(hole: &Hole) -> Result<(), String> {
    let simulator = SIMULATORS.iter().find(|simulator| simulator.feed == hole.feed).ok_or("no simulator")?;
    let run = Run::start(simulator, &[("websocket.gaps.topic", LEDGER)]);
    let mut running = Running::start(&run.properties)?;
    let (mut records, mut gaps) = (0, Vec::new());
    let done = running.until(|record| {
        match record {
            Some(record) if record.topic() == Some(LEDGER) => {
                gaps.push(serde_json::from_slice::<Value>(record.value).unwrap_or_default());
            }
            Some(_) => records += 1,
            None => {}
        }
        records >= RECORDS
    });
    done.map_err(|why| format!("{why}; faults {:?}", run.simulation.faults()))?;
    // The feed may also have ended a connection as planned, which is a gap of its own.
    gaps.retain(|gap| matches!(gap["cause"].as_str(), Some("sequence" | "reset")));
    let is_told = |gap: &Value| {
        let number = |name: &str| gap[name].as_str().and_then(|number| number.parse().ok());
        (gap["key"].as_str(), number("from"), number("to"), gap["missing"].as_u64())
            == (hole.key, Some(hole.from), Some(hole.to), Some(hole.to - hole.from + 1))
    };
    match &gaps[..] {
        [gap] if is_told(gap) => Ok(()),
        _ => Err(format!("the ledger has {gaps:?}")),
    }
}
