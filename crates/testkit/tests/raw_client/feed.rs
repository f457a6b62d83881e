//! The feed's summary against what a client has.

use std::collections::BTreeSet;
use std::time::Duration;

use connect_websocket_testkit::{Ended, Feed, FeedConfig};

use crate::client::{CLOSE, Client};

#[test]
fn every_trade_that_is_not_in_doubt_arrives_over_closes_and_resets() {
    let config = FeedConfig {
        rate: 5000.0,
        close_every: Some(Duration::from_millis(30)),
        ping_every: Duration::from_millis(5),
        ..FeedConfig::default()
    };
    let feed = Feed::start(&config).unwrap();
    let addr = feed.url().trim_start_matches("ws://").trim_end_matches('/').parse().unwrap();
    let mut received = BTreeSet::new();
    for _ in 0..6 {
        let mut client = Client::to(addr, "");
        while let Ok(message) = client.message() {
            if message.opcode() == CLOSE {
                client.close(1001);
                break;
            }
            assert!(message.text().starts_with(r#"{"type":"trade","n":"#), "{}", message.text());
            assert!(received.insert(message.n()), "{} came twice", message.n());
        }
    }
    let summary = feed.stop();
    assert!(summary.sent > 100, "{summary:?}");
    assert!(summary.connections.iter().any(|connection| connection.ended == Some(Ended::TcpReset)));
    let must = (0..summary.sent).filter(|&n| summary.must_have_arrived(n));
    let missing: Vec<u64> = must.filter(|n| !received.contains(n)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(received.len() as u64 >= summary.sent - summary.in_doubt);
    assert!(received.iter().all(|&n| n < summary.sent));
}
