//! A feed of made-up trades that knows exactly what it sent, for demonstrations and for proofs of completeness.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::script::{Play, Script};
use crate::server::Server;
use crate::stats::{Ended, Stats};
use crate::step::{Close, Content, Messages, Step};

/// How a [`Feed`] behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedConfig {
    /// Where it listens; port 0: a free one.
    pub addr: SocketAddr,
    /// Trades per second while somebody is connected.
    pub rate: f64,
    /// Ends each connection after this time with Close 1001; `None`: never.
    pub close_every: Option<Duration>,
    /// Every fifth of these ends is a TCP reset instead.
    pub resets: bool,
    /// A ping so often, whose pong confirms what was sent before it.
    pub ping_every: Duration,
}

impl Default for FeedConfig {
    fn default() -> FeedConfig {
        FeedConfig {
            addr: (Ipv4Addr::LOCALHOST, 0).into(),
            rate: 100.0,
            close_every: Some(Duration::from_secs(20)),
            resets: true,
            ping_every: Duration::from_secs(2),
        }
    }
}

/// Sends trades such as
/// `{"type":"trade","n":1,"symbol":"BTC-USD","price":"68012.51","size":"0.0031","side":"buy","ts":1764000000123}`.
///
/// n begins at 0 and goes on over all connections; each n goes to one connection, and only while somebody is connected, so nothing
/// is lost by nobody listening. Dropping the feed ends it.
pub struct Feed {
    server: Server,
}

/// What a feed has sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FeedSummary {
    /// Trades written in full.
    pub sent: u64,
    /// Of these, the ones that perhaps no client got: written but not confirmed on connections that did not end with a closing
    /// handshake (or have not ended yet).
    pub in_doubt: u64,
    /// Time between connections during which nobody was connected (and nothing was produced), in milliseconds.
    pub unconnected_ms: u64,
    /// Every connection in order.
    pub connections: Vec<FeedConnection>,
}

/// What went to one connection; ranges are first and last n.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FeedConnection {
    /// What was written in full.
    pub sent: Vec<(u64, u64)>,
    /// The part of it that is in doubt.
    pub in_doubt: Vec<(u64, u64)>,
    /// How the connection ended; `None`: open.
    pub ended: Option<Ended>,
}

impl FeedSummary {
    /// Whether this n must have arrived: written, and not in doubt.
    pub fn must_have_arrived(&self, n: u64) -> bool {
        let within = |ranges: &[(u64, u64)]| ranges.iter().any(|&(first, last)| (first..=last).contains(&n));
        self.connections.iter().any(|connection| within(&connection.sent) && !within(&connection.in_doubt))
    }

    fn of(stats: &Stats) -> FeedSummary {
        let mut busy_until = None;
        let mut unconnected_ms = 0;
        for connection in &stats.connections {
            if let Some(end) = busy_until {
                unconnected_ms += connection.opened_ms.saturating_sub(end);
            }
            busy_until = busy_until.max(Some(connection.closed_ms.unwrap_or(u64::MAX)));
        }
        let connections = stats.connections.iter().map(|connection| FeedConnection {
            sent: connection.ranges.clone(),
            in_doubt: connection.ranges_in_doubt(),
            ended: connection.ended.clone(),
        });
        FeedSummary {
            sent: stats.sent(),
            in_doubt: stats.in_doubt(),
            unconnected_ms,
            connections: connections.collect(),
        }
    }
}

impl Feed {
    /// Starts it.
    pub fn start(config: &FeedConfig) -> io::Result<Feed> {
        let trades = Messages {
            content: Content::Trades,
            rate: Some(config.rate),
            for_ms: config.close_every.map(|every| every.as_millis() as u64),
            ping_every_ms: Some(config.ping_every.as_millis() as u64),
            ..Messages::default()
        };
        let close = Close {
            code: Some(1001),
            reason: "scheduled reconnect".to_owned(),
            // As a real server, it does not wait for ever.
            wait_ms: Some(10_000),
            ..Close::default()
        };
        let closing = Play::accept().send(trades.clone()).step(Step::Close(close));
        let mut plays = vec![closing; 4];
        if config.resets {
            plays.push(Play::accept().send(trades).reset());
        }
        Ok(Feed { server: Server::bind(config.addr, Script::cycle(plays))? })
    }

    /// `ws://127.0.0.1:PORT/`
    pub fn url(&self) -> &str {
        self.server.url()
    }

    /// What has been sent so far.
    pub fn summary(&self) -> FeedSummary {
        FeedSummary::of(&self.server.stats())
    }

    /// The statistics behind it.
    pub fn stats(&self) -> Stats {
        self.server.stats()
    }

    /// Ends the feed and returns what it sent in all.
    pub fn stop(self) -> FeedSummary {
        FeedSummary::of(&self.server.stop())
    }
}
