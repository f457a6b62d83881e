//! `GET /metrics`: Prometheus text from snapshots; nothing here touches the data path.
//!
//! Three families of names. Connect's own metrics and the existing connector's MBean stand under the names that the
//! Prometheus JMX exporter gives them by default, so that dashboards go on; what is new begins with `connect_websocket_`.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use connect_websocket_engine::metrics::LATENCY_BUCKETS_MS;

use crate::framework::VERSION;
use crate::task::{TaskMetrics, TaskState};

/// One connector as the herder sees it.
pub struct ConnectorMetrics {
    pub name: String,
    /// Connect's word, in lower case: running, paused, stopped, failed.
    pub status: &'static str,
    pub task: Option<(TaskState, TaskMetrics)>,
}

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page.
pub fn render(connectors: &[ConnectorMetrics]) -> String {
    let mut page = Page::default();
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    worker(&mut page, connectors);
    let tasks: Vec<Task<'_>> = connectors.iter().filter_map(Task::of).collect();
    connect(&mut page, &tasks);
    mbean(&mut page, &tasks, now_ms);
    ours(&mut page, &tasks, now_ms);
    page.text
}

struct Task<'a> {
    connector: &'a str,
    state: TaskState,
    metrics: &'a TaskMetrics,
}

impl<'a> Task<'a> {
    fn of(connector: &'a ConnectorMetrics) -> Option<Task<'a>> {
        let (state, metrics) = connector.task.as_ref()?;
        Some(Task { connector: &connector.name, state: *state, metrics })
    }
}

type Value<'a> = &'a dyn Fn(&Task<'_>) -> f64;

fn worker(page: &mut Page, connectors: &[ConnectorMetrics]) {
    page.family("connect_websocket_build_info", "gauge", "The version of this worker.");
    page.sample("connect_websocket_build_info", &[("version", VERSION)], 1.0);
    let count = "kafka_connect_connect_worker_metrics_connector_count";
    page.family(count, "gauge", "Connectors of this worker.");
    page.sample(count, &[], connectors.len() as f64);
    let count = "kafka_connect_connect_worker_metrics_task_count";
    page.family(count, "gauge", "Tasks of this worker.");
    page.sample(count, &[], connectors.iter().filter(|connector| connector.task.is_some()).count() as f64);
    let status = "kafka_connect_connector_metrics_status";
    page.family(status, "gauge", "1 for the status that the connector has.");
    for connector in connectors {
        page.sample(status, &[("connector", &connector.name), ("status", connector.status)], 1.0);
    }
}

/// `kafka.connect:type=source-task-metrics`, `connector-task-metrics` and `task-error-metrics`.
fn connect(page: &mut Page, tasks: &[Task<'_>]) {
    let families: [(&str, &str, &str, Value<'_>); 9] = [
        ("source_task_metrics_source_record_poll_total", "counter", "Records polled from the feed.", &|t| {
            t.metrics.engine.records_polled as f64
        }),
        ("source_task_metrics_source_record_write_total", "counter", "Records that Kafka has acknowledged.", &|t| {
            t.metrics.records_acknowledged as f64
        }),
        ("source_task_metrics_source_record_active_count", "gauge", "Records sent and not yet acknowledged.", &|t| {
            t.metrics.in_flight as f64
        }),
        ("connector_task_metrics_offset_commit_success_total", "counter", "Offset commits.", &|t| {
            t.metrics.offset_commits as f64
        }),
        ("connector_task_metrics_offset_commit_failure_total", "counter", "Offset commits that failed.", &|t| {
            t.metrics.offset_commit_failures as f64
        }),
        ("connector_task_metrics_running", "gauge", "Whether the task is RUNNING.", &|t| {
            flag(t.state == TaskState::Running)
        }),
        ("connector_task_metrics_failed", "gauge", "Whether the task is FAILED.", &|t| {
            flag(t.state == TaskState::Failed)
        }),
        ("task_error_metrics_total_record_failures", "counter", "Records refused by a converter or by Kafka.", &|t| {
            t.metrics.record_errors as f64
        }),
        (
            "task_error_metrics_total_records_skipped",
            "counter",
            "Refused records that errors.tolerance=all let pass.",
            &|t| t.metrics.records_skipped as f64,
        ),
    ];
    for (name, kind, help, value) in families {
        let name = format!("kafka_connect_{name}");
        page.family(&name, kind, help);
        for task in tasks {
            page.sample(&name, &[("connector", task.connector), ("task", "0")], value(task));
        }
    }
}

/// `io.conduktor.connect.websocket:type=WebSocketConnector`: the existing connector's attributes.
fn mbean(page: &mut Page, tasks: &[Task<'_>], now_ms: i64) {
    let since = |ms: Option<i64>| ms.map(|ms| (now_ms - ms).max(0) as f64);
    let families: [(&str, Value<'_>); 12] = [
        ("MessagesReceived", &|t| t.metrics.engine.messages_received as f64),
        ("MessagesDropped", &|t| t.metrics.engine.dropped() as f64),
        ("RecordsProduced", &|t| t.metrics.records_acknowledged as f64),
        ("QueueSize", &|t| t.metrics.engine.queue_records as f64),
        ("QueueCapacity", &|t| t.metrics.engine.queue_capacity_records as f64),
        ("QueueUtilizationPercent", &|t| {
            percent(t.metrics.engine.queue_records as f64, t.metrics.engine.queue_capacity_records as f64)
        }),
        ("Connected", &|t| flag(t.metrics.engine.connected_since_ms.is_some())),
        ("MillisSinceLastMessage", &|t| since(t.metrics.engine.last_message_ms).unwrap_or(-1.0)),
        ("UptimeMillis", &|t| since(t.metrics.engine.connected_since_ms).unwrap_or(0.0)),
        ("TotalReconnects", &|t| t.metrics.engine.reconnects_total() as f64),
        ("LagCount", &|t| t.metrics.engine.messages_received.saturating_sub(t.metrics.records_acknowledged) as f64),
        ("DropRate", &|t| percent(t.metrics.engine.dropped() as f64, t.metrics.engine.messages_received as f64)),
    ];
    for (attribute, value) in families {
        let name = format!("io_conduktor_connect_websocket_WebSocketConnector_{attribute}");
        page.family(&name, "untyped", "An attribute of the existing connector's MBean.");
        for task in tasks {
            page.sample(&name, &[("name", task.connector), ("url", &mbean_url(&task.metrics.url))], value(task));
        }
    }
}

fn ours(page: &mut Page, tasks: &[Task<'_>], now_ms: i64) {
    let families: [(&str, &str, &str, Value<'_>); 12] = [
        ("messages_received_total", "counter", "Messages received.", &|t| t.metrics.engine.messages_received as f64),
        ("received_bytes_total", "counter", "Bytes of messages received.", &|t| t.metrics.engine.bytes_received as f64),
        ("records_committed_total", "counter", "Records whose offset may be committed.", &|t| {
            t.metrics.engine.records_committed as f64
        }),
        ("records_taken_over_total", "counter", "Records that the task before received and this one emitted.", &|t| {
            t.metrics.engine.records_taken_over as f64
        }),
        ("gap_missed_messages_total", "counter", "Messages missing in gaps, where the number is known.", &|t| {
            t.metrics.engine.gap_missed as f64
        }),
        ("connections_total", "counter", "Connections opened.", &|t| t.metrics.engine.connections as f64),
        ("connected", "gauge", "Whether the connection is open.", &|t| {
            flag(t.metrics.engine.connected_since_ms.is_some())
        }),
        ("queue_records", "gauge", "Records that wait in the queue.", &|t| t.metrics.engine.queue_records as f64),
        ("queue_bytes", "gauge", "Bytes that wait in the queue.", &|t| t.metrics.engine.queue_bytes as f64),
        ("queue_capacity_bytes", "gauge", "The queue's bound in bytes.", &|t| {
            t.metrics.engine.queue_capacity_bytes as f64
        }),
        ("gap_seconds_total", "counter", "The sum of all gaps whose begin is known.", &|t| {
            t.metrics.engine.gap_duration.as_secs_f64()
        }),
        ("last_message_age_seconds", "gauge", "Time since the last message; -1 before the first.", &|t| {
            t.metrics.engine.last_message_ms.map_or(-1.0, |ms| (now_ms - ms).max(0) as f64 / 1000.0)
        }),
    ];
    for (name, kind, help, value) in families {
        let name = format!("connect_websocket_{name}");
        page.family(&name, kind, help);
        for task in tasks {
            page.sample(&name, &[("connector", task.connector), ("task", "0")], value(task));
        }
    }
    let dropped = "connect_websocket_messages_dropped_total";
    page.family(dropped, "counter", "Messages that did not become records, by cause.");
    for task in tasks {
        let engine = &task.metrics.engine;
        for (cause, count) in [
            ("queue_full_oldest", engine.dropped_oldest),
            ("queue_full_newest", engine.dropped_newest),
            ("binary_skipped", engine.binary_skipped),
        ] {
            page.sample(dropped, &[("connector", task.connector), ("task", "0"), ("cause", cause)], count as f64);
        }
    }
    for (name, help) in [
        ("connect_websocket_reconnects_total", "Reconnects, by what made them necessary."),
        ("connect_websocket_gaps_total", "Gaps in which messages may have been missed, by cause."),
    ] {
        page.family(name, "counter", help);
        for task in tasks {
            let engine = &task.metrics.engine;
            let counts = if name.contains("gaps") { &engine.gap_counts } else { &engine.reconnects };
            for (cause, count) in counts {
                let labels = [("connector", task.connector), ("task", "0"), ("cause", cause.as_str())];
                page.sample(name, &labels, *count as f64);
            }
        }
    }
    latency(page, tasks);
}

/// Receipt to acknowledgement, as a histogram.
fn latency(page: &mut Page, tasks: &[Task<'_>]) {
    let name = "connect_websocket_latency_seconds";
    page.family(name, "histogram", "Time from the receipt of a record's batch to its acknowledgement by Kafka.");
    for task in tasks {
        let engine = &task.metrics.engine;
        let mut sum = 0;
        for (index, count) in engine.latency_counts.iter().enumerate() {
            sum += count;
            let bound = LATENCY_BUCKETS_MS.get(index).map(|&ms| (ms as f64 / 1000.0).to_string());
            let le = bound.as_deref().unwrap_or("+Inf");
            page.sample(
                &format!("{name}_bucket"),
                &[("connector", task.connector), ("task", "0"), ("le", le)],
                sum as f64,
            );
        }
        let labels = [("connector", task.connector), ("task", "0")];
        page.sample(&format!("{name}_sum"), &labels, engine.latency_sum_ms as f64 / 1000.0);
        page.sample(&format!("{name}_count"), &labels, sum as f64);
    }
}

/// The url part of the existing connector's object name: without the scheme, other characters than `a-zA-Z0-9._-` as
/// `_`, at most 50 of them.
fn mbean_url(url: &str) -> String {
    let bare = url.strip_prefix("ws://").or_else(|| url.strip_prefix("wss://")).unwrap_or(url);
    let legal = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    bare.chars().map(legal).take(50).collect()
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part * 100.0 / whole } else { 0.0 }
}

/// The text format of Prometheus.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{open}{label}=\"{value}\"");
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connect_websocket_engine::metrics::{Cause, Snapshot};

    fn page() -> String {
        let engine = Snapshot {
            messages_received: 12,
            records_polled: 11,
            queue_records: 1,
            queue_capacity_records: 4,
            gap_counts: vec![(Cause::Restart, 1)],
            latency_counts: vec![5, 0, 6],
            latency_sum_ms: 70,
            ..Snapshot::default()
        };
        let metrics = TaskMetrics { engine, url: "wss://h:9443/a?k=***".into(), ..TaskMetrics::default() };
        let task = Some((TaskState::Running, metrics));
        render(&[ConnectorMetrics { name: "a\"b".into(), status: "running", task }])
    }

    #[test]
    fn the_names_of_connect_of_the_mbean_and_ours_are_there() {
        let page = page();
        for line in [
            r#"kafka_connect_source_task_metrics_source_record_poll_total{connector="a\"b",task="0"} 11"#,
            r#"io_conduktor_connect_websocket_WebSocketConnector_MessagesReceived{name="a\"b",url="h_9443_a_k____"} 12"#,
            r#"io_conduktor_connect_websocket_WebSocketConnector_QueueUtilizationPercent{name="a\"b",url="h_9443_a_k____"} 25"#,
            r#"connect_websocket_gaps_total{connector="a\"b",task="0",cause="restart"} 1"#,
            r#"kafka_connect_connector_metrics_status{connector="a\"b",status="running"} 1"#,
            "kafka_connect_connect_worker_metrics_connector_count 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
        }
    }

    #[test]
    fn the_histogram_is_cumulative() {
        let page = page();
        let bucket =
            |le: &str| format!(r#"connect_websocket_latency_seconds_bucket{{connector="a\"b",task="0",le="{le}"}}"#);
        assert!(page.contains(&format!("{} 5\n", bucket("0.001"))), "{page}");
        assert!(page.contains(&format!("{} 11\n", bucket("0.005"))), "{page}");
    }

    #[test]
    fn a_long_url_is_cut() {
        assert_eq!(mbean_url(&format!("ws://{}", "x".repeat(80))).len(), 50);
    }
}
