//! The table of a task's figures. The worker's page `/metrics`, the plugin's MBeans and the tables of
//! docs/reference/metrics.md are made from it. A new counter is a row in `counters.rs` and the place that counts it.

use crate::counters;
pub use crate::counters::{Counter, Host};
use crate::gap::Cause;
use crate::metrics::{LATENCY_BUCKETS, Snapshot};

/// The prefix of all names in Prometheus.
pub const PREFIX: &str = "connect_websocket_";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from the start of the task.
    Counter,
    Gauge,
}

impl Kind {
    /// The type's name in Prometheus.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone)]
pub struct Figure {
    /// The name in Prometheus after [`PREFIX`]. It ends with the unit, and with `_total` for a counter.
    pub name: &'static str,
    /// A label and its value, if the figure is split by a label. Its rows follow one another.
    pub label: Option<(&'static str, &'static str)>,
    pub kind: Kind,
    pub help: &'static str,
    /// The only host that shows it. `None`: both.
    pub only: Option<Host>,
    value: Value,
}

#[derive(Debug, Clone, Copy)]
enum Value {
    Counter(Counter),
    Reconnects(Cause),
    Gaps(Cause),
    /// Records that were committed within the time of this bucket.
    CommittedWithin(usize),
    Of(fn(&Snapshot) -> f64),
}

impl Figure {
    pub fn value(&self, now: &Snapshot) -> f64 {
        match self.value {
            Value::Counter(counter) => now[counter] as f64,
            Value::Reconnects(cause) => count_of(&now.reconnects, cause),
            Value::Gaps(cause) => count_of(&now.gap_counts, cause),
            Value::CommittedWithin(bucket) => now.latency_counts.iter().take(bucket + 1).sum::<u64>() as f64,
            Value::Of(value) => value(now),
        }
    }

    /// Returns the name of its attribute in JMX: `gaps_total` by `server_close` is `GapsTotalServerClose`, and
    /// `le="0.005"` ends with `Le0_005`. The rules of docs/reference/metrics.md make the name and the label of it
    /// again.
    pub fn attribute(&self) -> String {
        let end = match self.label {
            None => String::new(),
            Some((label, "+Inf")) => camel_case(&format!("{label}_inf")),
            Some((label @ "le", value)) => camel_case(label) + &value.replace('.', "_"),
            Some((_, value)) => camel_case(value),
        };
        camel_case(self.name) + &end
    }

    /// Returns the Java type of that attribute.
    pub fn java_type(&self) -> &'static str {
        if self.name.contains("seconds") { "double" } else { "long" }
    }
}

fn camel_case(snake_case: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    snake_case.split('_').map(word).collect()
}

fn count_of(counts: &[(Cause, u64)], cause: Cause) -> f64 {
    counts.iter().find(|&&(of, _)| of == cause).map_or(0.0, |&(_, count)| count as f64)
}

/// Returns all figures that a host shows.
pub fn figures(host: Host) -> Vec<Figure> {
    let by_cause = Cause::ALL.into_iter();
    let reconnects = by_cause.clone().filter(|cause| cause.begins_a_reconnect()).map(reconnects);
    let gaps = by_cause.filter(|cause| cause.begins_a_gap()).map(gaps);
    let latencies = (0..LATENCY_BUCKETS.len()).map(latency);
    let all = counters::ROWS
        .iter()
        .map(counter)
        .chain(reconnects)
        .chain(gaps)
        .chain(latencies)
        .chain(MEASURES.iter().cloned());
    all.filter(|figure| figure.only.is_none_or(|only| only == host)).collect()
}

fn counter(row: &counters::Row) -> Figure {
    let label = row.cause.map(|cause| ("cause", cause));
    let value = Value::Counter(row.counter);
    Figure { name: row.name, label, kind: Kind::Counter, help: row.help, only: row.only, value }
}

fn reconnects(cause: Cause) -> Figure {
    let help = "scheduled reconnect attempts";
    let (label, value) = (Some(("cause", cause.as_str())), Value::Reconnects(cause));
    Figure { name: "reconnects_total", label, kind: Kind::Counter, help, only: None, value }
}

fn gaps(cause: Cause) -> Figure {
    let help = "times in which the feed may have sent messages that were not received";
    let (label, value) = (Some(("cause", cause.as_str())), Value::Gaps(cause));
    Figure { name: "gaps_total", label, kind: Kind::Counter, help, only: None, value }
}

/// The buckets of a histogram. For Prometheus they are counters, because the JMX exporter cannot make a histogram.
fn latency(bucket: usize) -> Figure {
    let help = "committed records by the time from receipt (of the oldest in a batch) to Kafka's acknowledgement";
    let (label, value) = (Some(("le", LATENCY_BUCKETS[bucket].1)), Value::CommittedWithin(bucket));
    Figure { name: "latency_records_total", label, kind: Kind::Counter, help, only: None, value }
}

const fn gauge(name: &'static str, help: &'static str, value: fn(&Snapshot) -> f64) -> Figure {
    Figure { name, label: None, kind: Kind::Gauge, help, only: None, value: Value::Of(value) }
}

/// Figures that are measured, not counted.
const MEASURES: &[Figure] = &[
    Figure {
        kind: Kind::Counter,
        ..gauge("gap_seconds_total", "total length of all gaps whose beginning is known", |now| {
            now.gap_duration.as_secs_f64()
        })
    },
    gauge("connected", "1 while a connection is open", |now| flag(now.connected_since_ms.is_some())),
    gauge("last_message_age_seconds", "time since the last message; -1 before the first", |now| {
        now.ms_since(now.last_message_ms).map_or(-1.0, |ms| ms as f64 / 1000.0)
    }),
    gauge("consecutive_failures", "failed connections and attempts since the last one that worked", |now| {
        now.failures as f64
    }),
    gauge("failing_seconds", "time since the first of these failures; 0 if there is none", |now| {
        now.ms_since(now.failing_since_ms).map_or(0.0, |ms| ms as f64 / 1000.0)
    }),
    Figure {
        kind: Kind::Counter,
        ..gauge(
            "latency_seconds_total",
            "time from receipt to Kafka's acknowledgement, summed over all committed records",
            |now| now.latency_sum_ms as f64 / 1000.0,
        )
    },
    gauge("records_in_flight", "polled records that Kafka has not acknowledged yet", |now| {
        let answered = [Counter::RecordsCommitted, Counter::RecordsSkipped, Counter::RecordsFiltered];
        now[Counter::RecordsPolled].saturating_sub(answered.iter().map(|&counter| now[counter]).sum()) as f64
    }),
    gauge("queue_records", "records in the queue", |now| now.queue_records as f64),
    gauge("queue_bytes", "bytes in the queue", |now| now.queue_bytes as f64),
    gauge("queue_capacity_records", "the size limit of the queue in records", |now| now.queue_capacity_records as f64),
    gauge("queue_capacity_bytes", "the size limit of the queue in bytes", |now| now.queue_capacity_bytes as f64),
];

/// An attribute of the existing connector's MBean.
pub struct Attribute {
    pub name: &'static str,
    pub java_type: &'static str,
    pub help: &'static str,
    pub value: fn(&Snapshot) -> f64,
}

/// `io.conduktor.connect.websocket:type=WebSocketConnector`, but for its text `ConnectorName`.
pub const ATTRIBUTES: &[Attribute] = &[
    attribute("MessagesReceived", "long", "messages received", |now| now.since_reset(Counter::MessagesReceived) as f64),
    attribute("MessagesDropped", "long", "messages dropped by a full queue", |now| dropped(now) as f64),
    attribute("RecordsProduced", "long", "records that Kafka has", |now| {
        now.since_reset(Counter::RecordsCommitted) as f64
    }),
    attribute("QueueSize", "int", "records in the queue", |now| now.queue_records as f64),
    attribute("QueueCapacity", "int", "the size limit of the queue in records", |now| {
        now.queue_capacity_records as f64
    }),
    attribute("QueueUtilizationPercent", "double", "how full the queue is in records, 0 to 100", |now| {
        percent(now.queue_records as u64, now.queue_capacity_records as u64)
    }),
    attribute("Connected", "boolean", "whether a connection is open", |now| flag(now.connected_since_ms.is_some())),
    attribute("MillisSinceLastMessage", "long", "milliseconds since the last message; -1 before the first", |now| {
        now.ms_since(now.last_message_ms).map_or(-1.0, |ms| ms as f64)
    }),
    attribute(
        "UptimeMillis",
        "long",
        "milliseconds since the present connection was opened; 0 if there is none",
        |now| now.ms_since(now.connected_since_ms).unwrap_or_default() as f64,
    ),
    attribute("TotalReconnects", "long", "scheduled reconnect attempts", |now| now.reconnects_total() as f64),
    attribute(
        "LagCount",
        "long",
        "received minus produced; dropped, skipped and filtered messages stay in it",
        |now| {
            now.since_reset(Counter::MessagesReceived).saturating_sub(now.since_reset(Counter::RecordsCommitted)) as f64
        },
    ),
    attribute("DropRate", "double", "dropped messages in percent of received ones", |now| {
        percent(dropped(now), now.since_reset(Counter::MessagesReceived))
    }),
];

fn dropped(now: &Snapshot) -> u64 {
    now.since_reset(Counter::MessagesDroppedOldest) + now.since_reset(Counter::MessagesDroppedNewest)
}

const fn attribute(
    name: &'static str,
    java_type: &'static str,
    help: &'static str,
    value: fn(&Snapshot) -> f64,
) -> Attribute {
    Attribute { name, java_type, help, value }
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
    fn rows_of_one_name_follow_one_another_and_differ_in_their_cause() {
        for host in [Host::Worker, Host::Plugin] {
            let figures = figures(host);
            let families: Vec<&[Figure]> = figures.chunk_by(|a, b| a.name == b.name).collect();
            let mut names: Vec<&str> = families.iter().map(|family| family[0].name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), families.len(), "a name is in two places");
            for family in families {
                assert!(family.len() == 1 || family.iter().all(|figure| figure.label.is_some()), "{family:?}");
                assert!(family.iter().all(|figure| (figure.kind, figure.help) == (family[0].kind, family[0].help)));
            }
        }
    }

    #[test]
    fn an_attribute_is_its_name_and_label_in_camel_case() {
        let attributes: Vec<String> = figures(Host::Plugin).iter().map(Figure::attribute).collect();
        for attribute in
            ["MessagesReceivedTotal", "GapsTotalServerClose", "LatencyRecordsTotalLe0_005", "LatencyRecordsTotalLeInf"]
        {
            assert!(attributes.iter().any(|found| found == attribute), "{attribute} is not in {attributes:?}");
        }
        // The exporter's snake case knows no words of one letter.
        let ambiguous = |name: &&String| name.as_bytes().windows(2).any(|pair| pair.iter().all(u8::is_ascii_uppercase));
        assert_eq!(attributes.iter().find(ambiguous), None);
        let unique: std::collections::BTreeSet<&String> = attributes.iter().collect();
        assert_eq!(unique.len(), attributes.len(), "{attributes:?}");
    }

    #[test]
    fn a_reset_sets_the_existing_connectors_counters_to_zero_and_no_other() {
        let metrics = crate::metrics::Metrics::new(1, 1);
        metrics.count(Counter::MessagesReceived, 7);
        metrics.reset();
        metrics.count(Counter::MessagesReceived, 2);
        metrics.count(Counter::MessagesDroppedNewest, 1);
        let now = metrics.snapshot();
        let value = |name: &str| (ATTRIBUTES.iter().find(|attribute| attribute.name == name).unwrap().value)(&now);
        assert_eq!([value("MessagesReceived"), value("MessagesDropped"), value("DropRate")], [2.0, 1.0, 50.0]);
        assert_eq!(now[Counter::MessagesReceived], 9);
    }

    #[test]
    fn counters_alone_end_with_total() {
        for figure in figures(Host::Worker).iter().chain(&figures(Host::Plugin)) {
            assert_eq!(figure.name.ends_with("_total"), figure.kind == Kind::Counter, "{figure:?}");
        }
    }
}
