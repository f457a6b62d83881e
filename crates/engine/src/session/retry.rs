//! Whether to connect again, and when: one decision for every end of a connection and every attempt that failed.
//!
//! A feed that has worked once is tried without limit. If a feed has never worked and another attempt can hardly help,
//! the task fails after a few attempts. If `websocket.reconnect.max.attempts` is set, it alone decides.

use std::time::{Duration, SystemTime};

use super::backoff::Backoff;
use crate::config::{Attempts, Reconnect};
use crate::error::Error;
use crate::gap::Cause;
use crate::mutation::Mutation;

/// The task fails after so many refusals in a row that another attempt can hardly change.
const HOPELESS_ATTEMPTS: u32 = 5;
/// A connection has worked when its steps are done and it has lived for this long.
pub(super) const WORKED: Duration = Duration::from_secs(10);
/// After a connection that delivered messages and lived for this long, the first attempt follows at once.
const PROVEN: Duration = Duration::from_secs(1);

/// How a connection, or an attempt at one, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    pub(super) message: String,
    /// How long to wait, as the server says (`Retry-After`).
    pub(super) retry_after: Option<Duration>,
    pub(super) outlook: Outlook,
    /// `None`: no connection was made.
    pub(super) life: Option<Life>,
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlook {
    /// It can.
    Outage,
    /// It can hardly help, unless the feed has worked before.
    Hopeless,
    /// The server accepted the connection and then closed it with 1008 or 4000 to 4999.
    TurnedAway,
    /// A step requested a new connection. That is a failure only if it does so again before a connection has worked.
    Planned,
    /// The configuration says that the task fails.
    Final,
}

/// How a connection has worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) lived: Duration,
    /// Its steps were done.
    pub(super) ready: bool,
    /// At least one message came.
    pub(super) delivered: bool,
}

impl Life {
    pub(super) fn worked(&self) -> bool {
        self.ready && self.lived >= WORKED
    }
}

/// The history that decides: failures in a row, since when, and whether a connection has ever worked.
#[derive(Debug)]
pub(super) struct Retry {
    backoff: Backoff,
    /// Refusals in a row that another attempt can hardly change.
    refused: u32,
    turned_away: u32,
    /// A step has requested a new connection, and no connection has worked since.
    planned: bool,
    worked: bool,
    failing_since: Option<SystemTime>,
}

impl Retry {
    /// `worked`: an offset is stored, so the feed was read before.
    pub(super) fn new(worked: bool) -> Retry {
        Retry { backoff: Backoff::default(), refused: 0, turned_away: 0, planned: false, worked, failing_since: None }
    }

    /// Returns the number of failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.backoff.failures()
    }

    /// Returns when the first of these failures was.
    pub(super) fn failing_since(&self) -> Option<SystemTime> {
        self.failing_since
    }

    /// Whether to log the present failure: the first five, and then each whose number is a power of two.
    pub(super) fn is_worth_a_line(&self) -> bool {
        let failures = self.failures();
        failures <= HOPELESS_ATTEMPTS || failures.is_power_of_two()
    }

    /// Notes that a connection has worked. From now on, every failure is tried again without limit.
    pub(super) fn has_worked(&mut self) {
        *self = Retry::new(true);
    }

    /// Returns how long to wait before the next attempt; `jitter` is 0 to 1.
    ///
    /// # Errors
    /// The failure itself with the reason why there is no next attempt.
    pub(super) fn after(
        &mut self,
        failure: &Failure,
        reconnect: &Reconnect,
        at: SystemTime,
        jitter: f64,
    ) -> Result<Duration, Error> {
        let message = &failure.message;
        if failure.outlook == Outlook::Planned && !std::mem::replace(&mut self.planned, true) {
            return Ok(reconnect.first_delay.mul_f64(jitter.clamp(0.0, 1.0)));
        }
        if !reconnect.enabled {
            return Err(Error::fatal(format!("{message}; websocket.reconnect.enabled is false")));
        }
        if failure.outlook == Outlook::Final {
            return Err(Error::fatal(message.clone()));
        }
        if failure.life.is_some_and(|life| life.worked() || life.delivered && Mutation::BackoffEndsWithAMessage.is_on())
        {
            self.has_worked();
        }
        self.failing_since.get_or_insert(at);
        let first = self.failures() == 0;
        let backoff = self.backoff.after_failure(reconnect, jitter);
        self.refused = if failure.outlook == Outlook::Hopeless { self.refused + 1 } else { 0 };
        self.turned_away = if failure.outlook == Outlook::TurnedAway { self.turned_away + 1 } else { 0 };
        self.check_attempts(failure, reconnect)?;
        if first && failure.life.is_some_and(|life| life.worked() || life.delivered && life.lived >= PROVEN) {
            return Ok(reconnect.first_delay.mul_f64(jitter.clamp(0.0, 1.0)));
        }
        Ok(failure.retry_after.map_or(backoff, |wait| wait.max(backoff)))
    }

    fn check_attempts(&self, failure: &Failure, reconnect: &Reconnect) -> Result<(), Error> {
        let failures = self.failures();
        let given_up = match reconnect.attempts {
            Attempts::AtMost(most) => {
                (failures > most).then(|| format!("gave up after websocket.reconnect.max.attempts = {most}"))
            }
            Attempts::WithoutEnd => None,
            Attempts::Unset if self.turned_away >= HOPELESS_ATTEMPTS => {
                Some(format!("the server said so {HOPELESS_ATTEMPTS} times in a row"))
            }
            Attempts::Unset if !self.worked && self.refused >= HOPELESS_ATTEMPTS => {
                Some(format!("gave up after {HOPELESS_ATTEMPTS} attempts"))
            }
            Attempts::Unset => None,
        };
        given_up.map_or(Ok(()), |why| Err(Error::fatal(format!("{}; {why}", failure.message))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reconnect(attempts: Attempts) -> Reconnect {
        Reconnect {
            enabled: true,
            first_delay: Duration::from_millis(2),
            interval: Duration::from_secs(5),
            backoff_max: Duration::from_secs(60),
            attempts,
        }
    }

    fn failure(outlook: Outlook, life: Option<Life>) -> Failure {
        Failure { cause: Cause::ServerClose, message: "no".into(), retry_after: None, outlook, life }
    }

    fn life(seconds: u64, ready: bool) -> Option<Life> {
        Some(Life { lived: Duration::from_secs(seconds), ready, delivered: true })
    }

    /// The delays in seconds of the same failure again and again, until it is final.
    fn delays(retry: &mut Retry, failure: &Failure, attempts: Attempts, times: usize) -> Vec<u64> {
        let once = |retry: &mut Retry| retry.after(failure, &reconnect(attempts), SystemTime::UNIX_EPOCH, 0.0);
        (0..times).map_while(|_| once(retry).ok()).map(|delay| delay.as_secs()).collect()
    }

    #[test]
    fn what_never_worked_and_will_hardly_change_is_final_after_five_attempts() {
        let hopeless = failure(Outlook::Hopeless, None);
        assert_eq!(delays(&mut Retry::new(false), &hopeless, Attempts::Unset, 100), [5, 10, 20, 40]);
    }

    #[test]
    fn what_has_worked_once_is_tried_without_end_at_the_cap() {
        let hopeless = failure(Outlook::Hopeless, None);
        let all = delays(&mut Retry::new(true), &hopeless, Attempts::Unset, 100);
        assert_eq!((all.len(), all[99]), (100, 60), "a stored offset says that it worked");
        let mut retry = Retry::new(false);
        delays(&mut retry, &failure(Outlook::Outage, life(10, true)), Attempts::Unset, 1);
        assert_eq!(delays(&mut retry, &hopeless, Attempts::Unset, 100).len(), 100, "a connection has worked");
    }

    #[test]
    fn refusals_count_only_in_a_row() {
        let mut retry = Retry::new(false);
        for _ in 0..3 {
            assert_eq!(delays(&mut retry, &failure(Outlook::Outage, None), Attempts::Unset, 20).len(), 20);
            assert_eq!(delays(&mut retry, &failure(Outlook::Hopeless, None), Attempts::Unset, 4).len(), 4);
        }
    }

    #[test]
    fn a_planned_end_is_no_failure_unless_it_comes_again_before_anything_worked() {
        let planned = failure(Outlook::Planned, life(0, true));
        let mut retry = Retry::new(false);
        assert_eq!(delays(&mut retry, &planned, Attempts::AtMost(1), 100), [0, 5]);
        retry.has_worked();
        assert_eq!(delays(&mut retry, &planned, Attempts::AtMost(1), 1), [0]);
        assert_eq!(retry.failures(), 0);
    }

    #[test]
    fn an_outage_is_never_final_also_at_the_very_first_start() {
        assert_eq!(delays(&mut Retry::new(false), &failure(Outlook::Outage, None), Attempts::Unset, 100).len(), 100);
    }

    #[test]
    fn a_server_that_greets_and_closes_makes_the_delays_grow() {
        let greeted = failure(Outlook::Outage, life(9, true));
        assert_eq!(delays(&mut Retry::new(true), &greeted, Attempts::Unset, 6), [0, 10, 20, 40, 60, 60]);
        let at_once = failure(Outlook::Outage, life(0, true));
        assert_eq!(delays(&mut Retry::new(true), &at_once, Attempts::Unset, 3), [5, 10, 20]);
        let before_its_steps_were_done = failure(Outlook::Outage, life(60, false));
        assert_eq!(delays(&mut Retry::new(true), &before_its_steps_were_done, Attempts::Unset, 3), [0, 10, 20]);
    }

    #[test]
    fn ten_seconds_of_life_after_the_steps_begin_the_delays_anew() {
        let mut retry = Retry::new(true);
        delays(&mut retry, &failure(Outlook::Outage, None), Attempts::Unset, 5);
        let quiet = Life { lived: WORKED, ready: true, delivered: false };
        assert_eq!(delays(&mut retry, &failure(Outlook::Outage, Some(quiet)), Attempts::Unset, 1), [0]);
        assert_eq!(delays(&mut retry, &failure(Outlook::Outage, None), Attempts::Unset, 2), [10, 20]);
    }

    #[test]
    fn five_closes_in_a_row_that_turn_us_away_are_final_with_the_servers_reason() {
        let away = failure(Outlook::TurnedAway, life(2, true));
        let mut retry = Retry::new(true);
        assert_eq!(delays(&mut retry, &away, Attempts::Unset, 100).len(), 4);
        let mut retry = Retry::new(true);
        for _ in 0..10 {
            assert_eq!(delays(&mut retry, &away, Attempts::Unset, 4).len(), 4);
            assert_eq!(delays(&mut retry, &failure(Outlook::Outage, None), Attempts::Unset, 1).len(), 1);
        }
        let last = retry.after(&failure(Outlook::Final, None), &reconnect(Attempts::Unset), SystemTime::now(), 0.0);
        assert_eq!(last.unwrap_err().to_string(), "no");
    }

    #[test]
    fn a_connection_that_worked_and_was_then_turned_away_begins_a_new_row() {
        let away = failure(Outlook::TurnedAway, life(11, true));
        assert_eq!(delays(&mut Retry::new(false), &away, Attempts::Unset, 100), [0; 100]);
    }

    #[test]
    fn an_explicit_number_of_attempts_decides_alone() {
        for outlook in [Outlook::Outage, Outlook::Hopeless, Outlook::TurnedAway] {
            let failure = failure(outlook, life(2, true));
            assert_eq!(delays(&mut Retry::new(true), &failure, Attempts::AtMost(3), 100).len(), 3, "{outlook:?}");
            assert_eq!(delays(&mut Retry::new(false), &failure, Attempts::WithoutEnd, 100).len(), 100, "{outlook:?}");
        }
    }

    #[test]
    fn a_server_may_ask_for_more_patience() {
        let patience = Failure { retry_after: Some(Duration::from_secs(7)), ..failure(Outlook::Outage, None) };
        assert_eq!(delays(&mut Retry::new(false), &patience, Attempts::Unset, 3), [7, 10, 20]);
    }

    #[test]
    fn the_log_hears_of_a_long_row_less_and_less_often() {
        let mut retry = Retry::new(true);
        let lines = (1..=100).filter(|_| {
            delays(&mut retry, &failure(Outlook::Outage, None), Attempts::Unset, 1);
            retry.is_worth_a_line()
        });
        assert_eq!(lines.collect::<Vec<u32>>(), [1, 2, 3, 4, 5, 8, 16, 32, 64]);
        assert_eq!(retry.failing_since(), Some(SystemTime::UNIX_EPOCH));
    }
}
