//! `GET /metrics`: Prometheus text from snapshots; nothing here touches the data path.
//!
//! Three families of names. Connect's own metrics and the existing connector's MBean stand under the names that the
//! Prometheus JMX exporter gives them by default, so that dashboards go on; what is new begins with `connect_websocket_`.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use connect_websocket_engine::figures::{self, ATTRIBUTES, Counter, Figure, Host, PREFIX};
use connect_websocket_engine::metrics::LATENCY_BUCKETS_MS;
use connect_websocket_engine::task_id::TaskId;

use crate::framework::VERSION;
use crate::task::{TaskMetrics, TaskState};

/// One connector as the herder sees it.
pub struct ConnectorMetrics {
    pub name: String,
    /// Connect's word, in lower case: running, paused, stopped, failed.
    pub status: &'static str,
    pub task: Option<(TaskId, TaskState, TaskMetrics)>,
}

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page.
pub fn render(connectors: &[ConnectorMetrics]) -> String {
    let mut page = Page::default();
    worker(&mut page, connectors);
    let tasks: Vec<Task<'_>> = connectors.iter().filter_map(Task::of).collect();
    connect(&mut page, &tasks);
    existing_connector(&mut page, &tasks);
    ours(&mut page, &tasks);
    page.text
}

struct Task<'a> {
    connector: &'a str,
    number: String,
    state: TaskState,
    metrics: &'a TaskMetrics,
}

impl<'a> Task<'a> {
    fn of(connector: &'a ConnectorMetrics) -> Option<Task<'a>> {
        let (id, state, metrics) = connector.task.as_ref()?;
        Some(Task { connector: &id.connector, number: id.number.to_string(), state: *state, metrics })
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
    let count = |counter: &AtomicU64| counter.load(Relaxed) as f64;
    let families: [(&str, &str, &str, Value<'_>); 9] = [
        ("source_task_metrics_source_record_poll_total", "counter", "Records polled from the feed.", &|t| {
            t.metrics.engine[Counter::RecordsPolled] as f64
        }),
        ("source_task_metrics_source_record_write_total", "counter", "Records that Kafka has acknowledged.", &|t| {
            count(&t.metrics.counters.records_acknowledged)
        }),
        ("source_task_metrics_source_record_active_count", "gauge", "Records sent and not yet acknowledged.", &|t| {
            count(&t.metrics.counters.in_flight)
        }),
        ("connector_task_metrics_offset_commit_success_total", "counter", "Offset commits.", &|t| {
            count(&t.metrics.counters.offset_commits)
        }),
        ("connector_task_metrics_offset_commit_failure_total", "counter", "Offset commits that failed.", &|t| {
            count(&t.metrics.counters.offset_commit_failures)
        }),
        ("connector_task_metrics_running", "gauge", "Whether the task is RUNNING.", &|t| {
            flag(t.state == TaskState::Running)
        }),
        ("connector_task_metrics_failed", "gauge", "Whether the task is FAILED.", &|t| {
            flag(t.state == TaskState::Failed)
        }),
        ("task_error_metrics_total_record_failures", "counter", "Records refused by a converter or by Kafka.", &|t| {
            count(&t.metrics.counters.record_errors)
        }),
        (
            "task_error_metrics_total_records_skipped",
            "counter",
            "Refused records that errors.tolerance=all let pass.",
            &|t| count(&t.metrics.counters.records_skipped),
        ),
    ];
    for (name, kind, help, value) in families {
        let name = format!("kafka_connect_{name}");
        page.family(&name, kind, help);
        for task in tasks {
            page.sample(&name, &[("connector", task.connector), ("task", &task.number)], value(task));
        }
    }
}

/// The MBean of the existing connector.
fn existing_connector(page: &mut Page, tasks: &[Task<'_>]) {
    for attribute in ATTRIBUTES {
        let name = format!("io_conduktor_connect_websocket_WebSocketConnector_{}", attribute.name);
        page.family(&name, "untyped", attribute.help);
        for task in tasks {
            let value = (attribute.value)(&task.metrics.engine);
            page.sample(&name, &[("name", task.connector), ("url", &mbean_url(&task.metrics.url))], value);
        }
    }
}

fn ours(page: &mut Page, tasks: &[Task<'_>]) {
    for family in figures::figures(Host::Worker).chunk_by(|a, b| a.name == b.name) {
        let Figure { name, kind, help, .. } = family[0];
        let name = format!("{PREFIX}{name}");
        page.family(&name, kind.as_str(), help);
        for task in tasks {
            for figure in family {
                let mut labels = vec![("connector", task.connector), ("task", &task.number)];
                labels.extend(figure.cause.map(|cause| ("cause", cause)));
                page.sample(&name, &labels, figure.value(&task.metrics.engine));
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
                &[("connector", task.connector), ("task", &task.number), ("le", le)],
                sum as f64,
            );
        }
        let labels = [("connector", task.connector), ("task", &task.number)];
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
    use connect_websocket_engine::gap::Cause;
    use connect_websocket_engine::metrics::Metrics;

    fn page() -> String {
        let counted = Metrics::new(4, 64);
        counted.count(Counter::MessagesReceived, 12);
        counted.count(Counter::RecordsPolled, 11);
        let mut engine = counted.snapshot();
        engine.queue_records = 1;
        engine.gap_counts = vec![(Cause::Restart, 1)];
        engine.latency_counts = vec![5, 0, 6];
        engine.latency_sum_ms = 70;
        let metrics = TaskMetrics { engine, url: "wss://h:9443/a?k=***".into(), ..TaskMetrics::default() };
        let task = Some((TaskId::only("a\"b"), TaskState::Running, metrics));
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
