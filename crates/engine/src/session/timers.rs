//! The deadlines of a link.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Config;

pub(super) struct Timers {
    pub(super) ping: Option<Instant>,
    /// The last moment for the pong to the connector's ping.
    pub(super) pong: Option<Instant>,
    /// The last moment for a message.
    pub(super) idle: Option<Instant>,
    /// When to store the cursor without a record of the feed.
    pub(super) cursor: Option<Instant>,
    /// The last moment for a record.
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

    /// Whether a ping is due. If so, sets the time of the next ping and of its pong.
    pub(super) fn ping_is_due(&mut self, config: &Config, now: Instant) -> bool {
        let Some((_, interval)) = self.ping.zip(config.ping_interval).filter(|(at, _)| now >= *at) else {
            return false;
        };
        self.ping = Some(now + interval);
        self.pong.get_or_insert(now + config.pong_timeout);
        true
    }

    /// Moves the deadlines by a time in which nothing was read: that is not the server's fault.
    pub(super) fn shift(&mut self, by: Duration) {
        for timer in [&mut self.pong, &mut self.idle, &mut self.idle_record].into_iter().flatten() {
            *timer += by;
        }
    }
}
