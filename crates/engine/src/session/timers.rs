//! The moments at which a link has something to do.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Config;

pub(super) struct Timers {
    pub(super) ping: Option<Instant>,
    /// The pong to our ping is missing after this.
    pub(super) pong: Option<Instant>,
    /// A message is missing after this.
    pub(super) idle: Option<Instant>,
    /// The cursor wants to be stored without a record of the feed after this.
    pub(super) cursor: Option<Instant>,
    /// A record is missing after this.
    pub(super) idle_record: Option<Instant>,
}

impl Timers {
    pub(super) fn new(config: &Config, opened: Instant) -> Timers {
        Timers {
            ping: config.ping_interval.map(|interval| opened + interval),
            pong: None,
            idle: config.idle_timeout.map(|timeout| opened + timeout),
            cursor: config.resume.heartbeat.map(|interval| opened + interval),
            idle_record: config.idle_record_timeout.map(|timeout| opened + timeout),
        }
    }

    /// Whether to send a ping now; it sets the time of the next one and of its pong.
    pub(super) fn ping_is_due(&mut self, config: &Config, now: Instant) -> bool {
        let Some((_, interval)) = self.ping.zip(config.ping_interval).filter(|(at, _)| now >= *at) else {
            return false;
        };
        self.ping = Some(now + interval);
        self.pong.get_or_insert(now + config.pong_timeout);
        true
    }

    /// While nothing is read nothing is the server's fault.
    pub(super) fn shift(&mut self, by: Duration) {
        for timer in [&mut self.pong, &mut self.idle, &mut self.idle_record].into_iter().flatten() {
            *timer += by;
        }
    }
}
