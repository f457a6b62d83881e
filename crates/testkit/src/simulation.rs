//! A simulator on a socket: the testkit's server with a feed's behaviour in the place of a script.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::desk::Desk;
use crate::server::{Server, TimedOut};
use crate::simulator::history::History;
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

    /// Starts it as a feed with a history, which keeps the newest `window` records. Its records, from 0, are those that the test
    /// [publishes](Simulation::publish), whether anybody is connected or not. A client that resumes as the feed documents it gets
    /// what follows its position, any other what is published from its subscription on.
    pub fn start_with_history(simulator: &'static Simulator, window: u64) -> io::Result<Simulation> {
        let simulation = Simulation::start(simulator, 1)?;
        simulation.desk.world().history = Some(History::new(window));
        Ok(simulation)
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

    /// The records that the client has acknowledged, in that order, with the time of each in milliseconds since 1970.
    pub fn acknowledged(&self) -> Vec<(u64, u64)> {
        self.desk.world().deliveries.acknowledged().to_vec()
    }

    /// How many records were sent again, since they were not acknowledged.
    pub fn sent_again(&self) -> u64 {
        self.desk.world().deliveries.sent_again()
    }

    /// What the server has seen and done.
    pub fn stats(&self) -> Stats {
        self.server.stats()
    }
}

/// What a test does to a feed with a history.
impl Simulation {
    /// Publishes so many records more.
    pub fn publish(&self, count: u64) {
        let mut world = self.desk.world();
        let now = world.unix_ms / 1000;
        world.history.iter_mut().for_each(|history| history.publish(count, now));
        drop(world);
        self.desk.ask(|asked| asked.news += 1);
    }

    /// How many records were published so far.
    pub fn published(&self) -> u64 {
        self.history(|history| history.published())
    }

    /// Whether a client has ever subscribed: what is published from then on must not be missed.
    pub fn has_begun(&self) -> bool {
        self.history(|history| history.has_begun())
    }

    /// How many connections have subscribed.
    pub fn subscriptions(&self) -> u64 {
        self.history(|history| history.subscriptions)
    }

    /// Resets every open connection (RST).
    pub fn reset(&self) {
        self.server.reset_all();
    }

    /// Makes every open connection half-open: the server reads nothing more, and nothing that it sends arrives.
    pub fn fall_silent(&self) {
        self.desk.ask(|asked| asked.silences += 1);
    }

    /// Ends every open connection as the feed announces it.
    pub fn end_as_planned(&self) {
        self.desk.ask(|asked| asked.planned_ends += 1);
    }

    /// Refuses opening handshakes, or accepts them again.
    pub fn refuse(&self, refuses: bool) {
        self.history(|history| history.refuses = refuses);
    }

    /// How many opening handshakes were refused so far.
    pub fn refused(&self) -> u64 {
        self.history(|history| history.refused)
    }

    /// No connection gets these records; the history has them.
    pub fn lose(&self, records: Range<u64>) {
        self.history(|history| history.lost.push(records));
    }

    /// Nobody can have these records: no connection gets them, and the history does not have them.
    pub fn erase(&self, records: Range<u64>) {
        self.history(|history| {
            history.lost.push(records.clone());
            history.erased.push(records);
        });
    }

    /// Refuses so many requests to the history with 429 and a Retry-After, which the client has to heed.
    pub fn be_busy(&self, requests: u64) {
        self.history(|history| history.busy = requests);
    }

    /// How many requests to the history were answered.
    pub fn asked(&self) -> usize {
        self.history(|history| history.requests())
    }

    /// Forgets the records that were published so far.
    pub fn forget(&self) {
        self.history(History::forget);
    }

    /// Is as it was when so many records were published.
    pub fn restore(&self, published: u64) {
        self.history(|history| history.restore(published));
    }

    /// Forgets the sessions, epochs and the like of its clients.
    pub fn forget_sessions(&self) {
        self.history(History::forget_sessions);
    }

    /// Does nothing to a feed without a history.
    fn history<T: Default>(&self, act: impl FnOnce(&mut History) -> T) -> T {
        self.desk.world().history.as_mut().map(act).unwrap_or_default()
    }
}
