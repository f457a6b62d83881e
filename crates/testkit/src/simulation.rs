//! A simulator on a socket: the testkit's server with a feed's behaviour in the place of a script.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::desk::Desk;
use crate::server::{Server, TimedOut};
use crate::simulator::{RECORDS, Simulator};
use crate::stats::Stats;

/// A feed that behaves as its documentation says, on a free port of 127.0.0.1; dropping it ends every connection.
///
/// Heartbeats are demanded `speed` times as often as the feed does, so that a test need not wait for minutes. Deadlines for the first
/// message and rate limits are the feed's own.
pub struct Simulation {
    server: Server,
    desk: Arc<Desk>,
}

impl Simulation {
    /// Starts it.
    pub fn start(simulator: &'static Simulator, speed: u32) -> io::Result<Simulation> {
        let (server, desk) = Server::simulate(simulator, speed)?;
        Ok(Simulation { server, desk })
    }

    /// `127.0.0.1:PORT`, for HTTP and WebSocket.
    pub fn host(&self) -> String {
        self.server.addr().to_string()
    }

    /// What clients did that the feed does not forgive.
    pub fn faults(&self) -> Vec<String> {
        self.desk.world().faults.clone()
    }

    /// The tokens and tickets that it gave out: secrets, as those of the configuration are.
    pub fn issued(&self) -> Vec<String> {
        self.desk.world().given_out.clone()
    }

    /// How many records were sent so far.
    pub fn sent(&self) -> u64 {
        self.desk.world().sent()
    }

    /// Whether every record was sent.
    pub fn is_over(&self) -> bool {
        self.sent() == RECORDS
    }

    /// Blocks until every record was sent.
    pub fn wait_until_over(&self, limit: Duration) -> Result<Stats, TimedOut> {
        self.server.wait_until(|_| self.is_over(), limit)
    }

    /// What the server has seen and done.
    pub fn stats(&self) -> Stats {
        self.server.stats()
    }
}
