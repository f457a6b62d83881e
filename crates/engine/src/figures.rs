//! THE table of a task's figures. The worker's page `/metrics`, the plugin's MBeans and the tables of docs/operations.md are
//! made from it. A new counter is a row in [`counters!`] and the place that counts it with [`Metrics::count`].
//!
//! [`Metrics::count`]: crate::metrics::Metrics::count

use crate::gap::Cause;
use crate::metrics::Snapshot;

/// What the name of every figure begins with in Prometheus.
pub const PREFIX: &str = "connect_websocket_";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from the start of the task.
    Counter,
    Gauge,
}

impl Kind {
    /// Prometheus' word.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        }
    }
}

/// Which host shows a figure; in the other it would always be 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    Worker,
    Plugin,
}

/// One row of the table.
#[derive(Debug, Clone)]
pub struct Figure {
    /// In Prometheus, after [`PREFIX`]; its end is the unit, and `_total` for a counter.
    pub name: &'static str,
    /// The value of the label `cause`, in a figure that is split by it: its rows follow one another.
    pub cause: Option<&'static str>,
    pub kind: Kind,
    pub help: &'static str,
    /// `None` is both.
    pub only: Option<Host>,
    value: Value,
}

#[derive(Debug, Clone, Copy)]
enum Value {
    Counter(Counter),
    Reconnects(Cause),
    Gaps(Cause),
    Of(fn(&Snapshot) -> f64),
}

impl Figure {
    pub fn value(&self, now: &Snapshot) -> f64 {
        match self.value {
            Value::Counter(counter) => now[counter] as f64,
            Value::Reconnects(cause) => count_of(&now.reconnects, cause),
            Value::Gaps(cause) => count_of(&now.gap_counts, cause),
            Value::Of(value) => value(now),
        }
    }
}

fn count_of(counts: &[(Cause, u64)], cause: Cause) -> f64 {
    counts.iter().find(|&&(of, _)| of == cause).map_or(0.0, |&(_, count)| count as f64)
}

/// All figures that a host shows.
pub fn figures(host: Host) -> Vec<Figure> {
    let by_cause = Cause::ALL.into_iter();
    let reconnects = by_cause.clone().filter(|cause| cause.begins_a_reconnect()).map(reconnects);
    let gaps = by_cause.filter(|cause| cause.begins_a_gap()).map(gaps);
    let all = COUNTERS.iter().cloned().chain(reconnects).chain(gaps).chain(MEASURES.iter().cloned());
    all.filter(|figure| figure.only.is_none_or(|only| only == host)).collect()
}

fn reconnects(cause: Cause) -> Figure {
    let help = "attempts to connect again that were scheduled";
    let value = Value::Reconnects(cause);
    Figure { name: "reconnects_total", cause: Some(cause.as_str()), kind: Kind::Counter, help, only: None, value }
}

fn gaps(cause: Cause) -> Figure {
    let help = "times in which the feed may have sent what was not received";
    let value = Value::Gaps(cause);
    Figure { name: "gaps_total", cause: Some(cause.as_str()), kind: Kind::Counter, help, only: None, value }
}

macro_rules! optional {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

/// Makes [`Counter`] and the figure of each: a row is the counter, the figure's name and, if it has one, cause, then the
/// only host that shows it, if it is one, and what it means.
macro_rules! counters {
    ($($counter:ident $name:literal $(cause $cause:literal)? $(only $host:ident)?: $help:literal;)*) => {
        /// What a task counts from its start.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Counter {
            $(#[doc = $help] $counter,)*
        }

        pub(crate) const COUNTERS: &[Figure] = &[$(Figure {
            name: $name,
            cause: optional!($($cause)?),
            kind: Kind::Counter,
            help: $help,
            only: optional!($(Host::$host)?),
            value: Value::Counter(Counter::$counter),
        },)*];
    };
}

counters! {
    MessagesReceived "messages_received_total": "messages received";
    BytesReceived "received_bytes_total": "bytes of messages received, decompressed";
    RecordsPolled "records_polled_total": "records given to the host";
    RecordsCommitted "records_committed_total": "records that Kafka has, and all before them";
    RecordsTakenOver "records_taken_over_total": "records that came out of a hand-over file";
    RecordsLeftBehind "records_left_behind_total" only Worker:
        "records received that found a place neither in Kafka nor in a hand-over file when the task ended";
    MessagesDroppedOldest "messages_dropped_total" cause "queue_full_oldest": "messages that did not become records";
    MessagesDroppedNewest "messages_dropped_total" cause "queue_full_newest": "messages that did not become records";
    BinaryMessagesSkipped "messages_dropped_total" cause "binary_skipped": "messages that did not become records";
    Connections "connections_total": "connections opened";
    MessagesMissed "gap_missed_messages_total": "messages known to be missing in gaps";
}

const fn gauge(name: &'static str, help: &'static str, value: fn(&Snapshot) -> f64) -> Figure {
    Figure { name, cause: None, kind: Kind::Gauge, help, only: None, value: Value::Of(value) }
}

/// What is measured, not counted.
const MEASURES: &[Figure] = &[
    Figure {
        kind: Kind::Counter,
        ..gauge("gap_seconds_total", "the sum of all gaps whose begin is known", |now| now.gap_duration.as_secs_f64())
    },
    gauge("connected", "1 while a connection is open", |now| flag(now.connected_since_ms.is_some())),
    gauge("last_message_age_seconds", "time since the last message; -1 before the first", |now| {
        now.ms_since(now.last_message_ms).map_or(-1.0, |ms| ms as f64 / 1000.0)
    }),
    gauge("failures_in_a_row", "connections and attempts that failed since one last worked", |now| now.failures as f64),
    gauge("failing_seconds", "time since the first of them; 0 while none fails", |now| {
        now.ms_since(now.failing_since_ms).map_or(0.0, |ms| ms as f64 / 1000.0)
    }),
    gauge("queue_records", "records that wait in the queue", |now| now.queue_records as f64),
    gauge("queue_bytes", "their memory", |now| now.queue_bytes as f64),
    gauge("queue_capacity_records", "the bound of the queue in records", |now| now.queue_capacity_records as f64),
    gauge("queue_capacity_bytes", "the bound of the queue in bytes", |now| now.queue_capacity_bytes as f64),
];

/// An attribute of the existing connector's MBean, which dashboards know.
pub struct Attribute {
    pub name: &'static str,
    /// The Java type.
    pub kind: &'static str,
    pub help: &'static str,
    pub value: fn(&Snapshot) -> f64,
}

/// `io.conduktor.connect.websocket:type=WebSocketConnector`, but for its text `ConnectorName`.
pub const ATTRIBUTES: &[Attribute] = &[
    attribute("MessagesReceived", "long", "messages received", |now| now[Counter::MessagesReceived] as f64),
    attribute("MessagesDropped", "long", "messages dropped by a full queue", |now| now.dropped() as f64),
    attribute("RecordsProduced", "long", "records that Kafka has", |now| now[Counter::RecordsCommitted] as f64),
    attribute("QueueSize", "int", "records in the queue", |now| now.queue_records as f64),
    attribute("QueueCapacity", "int", "its bound in records", |now| now.queue_capacity_records as f64),
    attribute("QueueUtilizationPercent", "double", "of records, 0 to 100", |now| {
        percent(now.queue_records as u64, now.queue_capacity_records as u64)
    }),
    attribute("Connected", "boolean", "whether a connection is open", |now| flag(now.connected_since_ms.is_some())),
    attribute("MillisSinceLastMessage", "long", "-1 before the first", |now| {
        now.ms_since(now.last_message_ms).map_or(-1.0, |ms| ms as f64)
    }),
    attribute("UptimeMillis", "long", "of the present connection; 0 when there is none", |now| {
        now.ms_since(now.connected_since_ms).unwrap_or_default() as f64
    }),
    attribute("TotalReconnects", "long", "attempts to connect again that were scheduled", |now| {
        now.reconnects_total() as f64
    }),
    attribute("LagCount", "long", "received less produced", |now| {
        now[Counter::MessagesReceived].saturating_sub(now[Counter::RecordsCommitted]) as f64
    }),
    attribute("DropRate", "double", "dropped in percent of received", |now| {
        percent(now.dropped(), now[Counter::MessagesReceived])
    }),
];

const fn attribute(
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&Snapshot) -> f64,
) -> Attribute {
    Attribute { name, kind, help, value }
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_index_their_own_row() {
        for (index, figure) in COUNTERS.iter().enumerate() {
            assert!(matches!(figure.value, Value::Counter(counter) if counter as usize == index), "{figure:?}");
        }
    }

    #[test]
    fn rows_of_one_name_follow_one_another_and_differ_in_their_cause() {
        for host in [Host::Worker, Host::Plugin] {
            let figures = figures(host);
            let families: Vec<&[Figure]> = figures.chunk_by(|a, b| a.name == b.name).collect();
            let mut names: Vec<&str> = families.iter().map(|family| family[0].name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), families.len(), "a name is in two places");
            for family in families {
                assert!(family.len() == 1 || family.iter().all(|figure| figure.cause.is_some()), "{family:?}");
                assert!(family.iter().all(|figure| (figure.kind, figure.help) == (family[0].kind, family[0].help)));
            }
        }
    }

    #[test]
    fn counters_alone_end_with_total() {
        for figure in figures(Host::Worker).iter().chain(&figures(Host::Plugin)) {
            assert_eq!(figure.name.ends_with("_total"), figure.kind == Kind::Counter, "{figure:?}");
        }
    }
}
