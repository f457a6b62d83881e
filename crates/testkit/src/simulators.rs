//! The feeds that can be simulated, one file each, written from their documentation.
//!
//! Each connection walks the same way: the log-in, the subscriptions (a few records come before the last acknowledgement), more
//! records, a heartbeat, the rest. A feed that announces the end of a connection does so before the rest, which then comes on the
//! next connection.

use crate::simulator::history::History;
use crate::simulator::{EARLY, Simulator};

mod ably;
mod action_cable;
mod adsbiq;
mod aisstream;
mod alpaca;
mod atproto_firehose;
pub(crate) mod azure_web_pubsub;
mod binance;
mod bitfinex;
mod bybit;
mod centrifugo;
mod certstream;
mod chains;
mod coinbase;
mod coinbase_advanced;
mod coinbase_exchange;
mod deribit;
mod direct_line;
mod discord;
mod finnhub;
mod gate;
mod gemini;
mod graphql;
mod home_assistant;
mod htx;
mod jetstream;
mod kraken;
mod kubernetes;
mod kucoin;
mod massive;
mod mastodon;
mod mattermost;
mod nostr;
mod okx;
mod phoenix;
mod pulsar;
mod pulsar_consumer;
mod pusher;
mod ringcentral;
mod signalr;
mod slack;
mod socketio;
mod stomp;
mod twitch;

/// All of them.
pub static SIMULATORS: &[&Simulator] = &[
    // market data
    &binance::SIMULATOR,
    &coinbase_exchange::SIMULATOR,
    &coinbase_advanced::PUBLIC,
    &coinbase_advanced::USER,
    &kraken::PUBLIC,
    &kraken::PRIVATE,
    &okx::PUBLIC,
    &okx::PRIVATE,
    &bybit::PUBLIC,
    &bybit::PRIVATE,
    &kucoin::SIMULATOR,
    &gate::SIMULATOR,
    &htx::SIMULATOR,
    &bitfinex::SIMULATOR,
    &deribit::SIMULATOR,
    &massive::SIMULATOR,
    &alpaca::SIMULATOR,
    &finnhub::SIMULATOR,
    &gemini::SIMULATOR,
    // frameworks and hosted services
    &graphql::SIMULATOR,
    &socketio::SIMULATOR,
    &signalr::SIMULATOR,
    &phoenix::SIMULATOR,
    &action_cable::ACTION_CABLE,
    &action_cable::ANYCABLE,
    &centrifugo::SIMULATOR,
    &ably::SIMULATOR,
    &pusher::SIMULATOR,
    &azure_web_pubsub::SIMULATOR,
    &mattermost::SIMULATOR,
    &pulsar::SIMULATOR,
    &pulsar_consumer::SIMULATOR,
    &ringcentral::SIMULATOR,
    &direct_line::SIMULATOR,
    // social, chat, events, chains, sensors
    &jetstream::V1,
    &jetstream::V2,
    &atproto_firehose::SIMULATOR,
    &discord::SIMULATOR,
    &slack::SIMULATOR,
    &twitch::SIMULATOR,
    &nostr::SIMULATOR,
    &mastodon::SIMULATOR,
    &home_assistant::SIMULATOR,
    &aisstream::SIMULATOR,
    &adsbiq::SIMULATOR,
    &certstream::SIMULATOR,
    &kubernetes::SIMULATOR,
    &chains::ETHEREUM,
    &chains::SOLANA,
    &stomp::SIMULATOR,
];

/// 2026-01-01T00:00:00Z in milliseconds; record n happened n milliseconds later.
const EPOCH_MS: i64 = 1_767_225_600_000;

/// Records that have come when the subscriptions are there.
const HALF: u64 = 6;

/// When record n happened.
fn time_ms(n: u64) -> i64 {
    EPOCH_MS + n as i64
}

/// The same as text with nine digits of seconds, such as `2026-01-01T00:00:00.007000000Z`.
fn time_iso(n: u64) -> String {
    format!("2026-01-01T00:{:02}:{:02}.{:03}000000Z", n / 60_000, n / 1000 % 60, n % 1000)
}

/// The topic of record n out of two: they come in pairs.
fn turns(n: u64, topics: [&str; 2]) -> &str {
    topics[(n / 2 % 2) as usize]
}

/// Which of its topic's records record n is, from 0.
fn turn_number(n: u64) -> u64 {
    n / 4 * 2 + n % 2
}

/// The numbers of a topic's records that a history has, each beside which record it is.
fn numbers_in(history: &History, topic: usize) -> impl DoubleEndedIterator<Item = (u64, u64)> + '_ {
    let held = (0..history.published()).filter(move |n| n / 2 % 2 == topic as u64 && history.has(*n));
    held.map(|n| (turn_number(n), n))
}

/// So many records a page of a history has.
const PAGE: usize = 7;

/// The first record behind the hole of a feed that numbers its messages: some before it are never sent.
const BEHIND_HOLE: u64 = 9;
/// So many of them.
const HOLE: u64 = 3;

/// The same with the hole.
fn number(n: u64) -> u64 {
    let hole = if n >= BEHIND_HOLE && (n / 2).is_multiple_of(2) { HOLE } else { 0 };
    turn_number(n) + hole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::RECORDS;

    #[test]
    fn every_feed_says_what_is_right_and_what_is_wrong() {
        for simulator in SIMULATORS {
            let feed = simulator.feed;
            assert_eq!(SIMULATORS.iter().filter(|other| other.feed == feed).count(), 1, "{feed}");
            assert!(!simulator.wrong.is_empty(), "{feed} refuses nothing");
            for wrong in simulator.wrong {
                assert!(!wrong.set.is_empty() && !wrong.words.is_empty(), "{feed}: {}", wrong.what);
            }
            let mut values: Vec<_> = (0..RECORDS).map(|n| (simulator.record)(n).value).collect();
            values.sort_unstable();
            values.dedup();
            assert_eq!(values.len() as u64, RECORDS, "{feed} has two equal records");
        }
    }
}
