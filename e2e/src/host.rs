//! What the two hosts of the engine have in common, so that a scenario can be played on both.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::connect::Connect;
use crate::process::wait_until;
use crate::rest::Rest;
use crate::worker::Worker;

/// A running `connect-websocket`, or Kafka Connect standalone with the plugin.
pub trait Host: Sized {
    /// Whether Kafka may hold a message twice after it was away or hung: Connect's producer repeats what was not
    /// acknowledged, by default without idempotence.
    const MAY_REPEAT: bool;
    /// At most so many lines are logged while Kafka is away for ten seconds; Kafka's Java clients log every attempt.
    const LINES_OF_AN_OUTAGE: usize;

    /// Starts it with one connector in a file; it may not be RUNNING yet.
    fn start(bootstrap: &str, connector: &str, config: Value) -> Self;

    fn rest(&self) -> &Rest;

    /// The file of source offsets.
    fn offsets_file(&self) -> PathBuf;

    /// Everything logged since the first start.
    fn log(&self) -> String;

    /// What Prometheus would read.
    ///
    /// # Panics
    /// If the host has no such page: Connect without its exporter.
    fn metrics(&self) -> String;

    /// Ends it in good order.
    ///
    /// # Panics
    /// If the exit code is not that of a graceful stop.
    fn terminate(&mut self);

    /// Sends SIGKILL and waits for the end.
    fn kill9(&mut self);

    /// Starts it again with the same files.
    fn start_again(&mut self);

    /// Gaps of a connector since the last start, of one cause or of all.
    fn gaps(&self, connector: &str, cause: Option<&str>) -> u64;

    /// How many records of a connector were received and then neither written to Kafka nor kept for its next task. The
    /// log says so.
    fn records_left(&self, connector: &str) -> u64 {
        records_in_log(&self.log(), connector, "records_left")
    }

    /// Waits until the connector and its tasks are in `state`.
    ///
    /// # Panics
    /// If they aren't within half a minute.
    fn wait_state(&self, connector: &str, state: &str) {
        self.rest().wait_state(connector, state, Duration::from_secs(30));
    }

    /// Waits until the gaps of one cause are at least `count`.
    ///
    /// # Panics
    /// If they aren't within half a minute.
    fn wait_gaps(&self, connector: &str, cause: &str, count: u64) {
        wait_until(&format!("{count} gaps by {cause}"), Duration::from_secs(30), || {
            (self.gaps(connector, Some(cause)) >= count).then_some(())
        });
    }
}

impl Host for Worker {
    const MAY_REPEAT: bool = false;
    const LINES_OF_AN_OUTAGE: usize = 100;

    fn start(bootstrap: &str, connector: &str, config: Value) -> Worker {
        Worker::builder(bootstrap).connector(connector, config).start()
    }

    fn rest(&self) -> &Rest {
        self.rest()
    }

    fn offsets_file(&self) -> PathBuf {
        self.offsets_file()
    }

    fn log(&self) -> String {
        self.log()
    }

    fn metrics(&self) -> String {
        self.rest().get("/metrics").text
    }

    fn terminate(&mut self) {
        assert_eq!(self.terminate(), 0);
    }

    fn kill9(&mut self) {
        self.kill9();
    }

    fn start_again(&mut self) {
        self.start_again();
    }

    /// By its metric.
    fn gaps(&self, connector: &str, cause: Option<&str>) -> u64 {
        let labels: Vec<(&str, &str)> =
            [Some(("connector", connector)), cause.map(|cause| ("cause", cause))].into_iter().flatten().collect();
        // A counter; there are no fractions to be cut.
        self.metric("connect_websocket_gaps_total", &labels).unwrap_or_default() as u64
    }
}

impl Host for Connect {
    const MAY_REPEAT: bool = true;
    const LINES_OF_AN_OUTAGE: usize = usize::MAX;

    fn start(bootstrap: &str, connector: &str, config: Value) -> Connect {
        Connect::builder(bootstrap).connector(connector, config).start()
    }

    fn rest(&self) -> &Rest {
        self.rest()
    }

    fn offsets_file(&self) -> PathBuf {
        self.offsets_file()
    }

    fn log(&self) -> String {
        self.log()
    }

    fn metrics(&self) -> String {
        Rest::new(&format!("http://{}", self.exporter())).get("/metrics").text
    }

    fn terminate(&mut self) {
        assert_eq!(self.terminate(), 143);
    }

    fn kill9(&mut self) {
        self.kill9();
    }

    fn start_again(&mut self) {
        self.start_again();
    }

    /// By its log.
    fn gaps(&self, connector: &str, cause: Option<&str>) -> u64 {
        gaps_in(self.log_since_start().as_str(), connector, cause)
    }
}

/// The sum of `records=` in the lines of one event of a connector's task.
pub fn records_in_log(log: &str, connector: &str, event: &str) -> u64 {
    let event = format!("event={event} ");
    let lines = log.lines().filter(|line| is_of_task(line, connector) && line.contains(&event));
    lines.filter_map(|line| field(line, "records")?.parse::<u64>().ok()).sum()
}

/// Counts the lines that report a gap.
fn gaps_in(log: &str, connector: &str, cause: Option<&str>) -> u64 {
    let lines = log.lines().filter(|line| {
        is_of_task(line, connector)
            && line.contains("event=gap ")
            && cause.is_none_or(|cause| field(line, "cause") == Some(cause))
    });
    lines.count() as u64
}

/// Whether a line was logged for the connector's task; in Connect, the thread that commits offsets logs it too.
fn is_of_task(line: &str, connector: &str) -> bool {
    ["]", "|offsets]"].iter().any(|end| line.contains(&format!("[{connector}|task-0{end}")))
}

/// The value of `name=value` in a line.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::{gaps_in, records_in_log};

    #[test]
    fn records_of_an_event_are_summed_by_connector() {
        let log = "\
WARN [a|task-0] event=records_left records=4 bytes=9 (x)
WARN [a|task-0] event=records_left records=3 (x)
WARN [b|task-0] event=records_left records=50 (x)
WARN [a|task-0] event=records_left_over records=60 (x)
";
        assert_eq!(records_in_log(log, "a", "records_left"), 7);
        assert_eq!(records_in_log(log, "c", "records_left"), 0);
    }

    #[test]
    fn gaps_are_counted_by_connector_and_cause() {
        let log = "\
[2026-11-24 10:00:00,123] INFO [a|task-0] event=gap cause=server_close duration_ms=5 (x)
[2026-11-24 10:00:00,123] INFO [a|task-0|offsets] event=gap cause=restart duration_ms=unknown (x)
[2026-11-24 10:00:00,123] INFO [aa|task-0] event=gap cause=restart duration_ms=5 (x)
[2026-11-24 10:00:00,123] INFO [a|task-0] event=gaps cause=restart (x)
";
        assert_eq!(gaps_in(log, "a", None), 2);
        assert_eq!(gaps_in(log, "a", Some("restart")), 1);
        assert_eq!(gaps_in(log, "b", None), 0);
    }
}
