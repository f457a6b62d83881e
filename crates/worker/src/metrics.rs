//! `GET /metrics`: Prometheus text from snapshots. It never makes records wait.
//!
//! Names and labels are those that the Prometheus JMX exporter gives the plugin's metrics with the rules of
//! docs/reference/metrics.md: Connect's own metrics, the existing connector's MBean, and the new ones, which begin with
//! `connect_websocket_`. So the same dashboard works for both hosts.

use std::fmt::Write as _;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use connect_websocket_engine::figures::{self, ATTRIBUTES, Counter, Figure, Host, PREFIX};
use connect_websocket_engine::task_id::TaskId;

use crate::connector::framework::VERSION;
use crate::task::{TaskMetrics, TaskState};

/// One connector as the herder sees it.
pub struct ConnectorMetrics {
    pub name: String,
    /// Connect's state in lower case: running, paused, stopped, failed.
    pub status: &'static str,
    pub task: Option<(TaskId, TaskState, TaskMetrics)>,
}

const BUILD_INFO: &str = "connect_websocket_build_info";
/// The prefix of Connect's own metrics.
const CONNECT: &str = "kafka_connect_";
/// The type that the exporter gives metrics without a rule. It also removes their `_total`.
const UNTYPED: &str = "untyped";

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns the page.
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
    page.family(BUILD_INFO, "gauge", "The version of this worker.");
    page.sample(BUILD_INFO, &[("version", VERSION)], 1.0);
    let tasks = connectors.iter().filter(|connector| connector.task.is_some()).count();
    for (name, help, count) in [
        ("connect_worker_metrics_connector_count", "Connectors of this worker.", connectors.len()),
        ("connect_worker_metrics_task_count", "Tasks of this worker.", tasks),
    ] {
        let name = format!("{CONNECT}{name}");
        page.family(&name, UNTYPED, help);
        page.sample(&name, &[], count as f64);
    }
    for (name, state, help) in [
        ("running", TaskState::Running, "Tasks of the connector that are RUNNING."),
        ("paused", TaskState::Paused, "Tasks of the connector that are PAUSED."),
        ("failed", TaskState::Failed, "Tasks of the connector that have FAILED."),
    ] {
        let name = format!("{CONNECT}connect_worker_metrics_connector_{name}_task_count");
        page.family(&name, UNTYPED, help);
        for connector in connectors {
            let is = connector.task.as_ref().is_some_and(|(_, of, _)| *of == state);
            page.sample(&name, &[("connector", &connector.name)], f64::from(u8::from(is)));
        }
    }
    let status = format!("{CONNECT}connector_metrics_status");
    page.family(&status, UNTYPED, "1 for the status that the connector has.");
    for connector in connectors {
        page.sample(&status, &[("connector", &connector.name), ("status", connector.status)], 1.0);
    }
}

/// `kafka.connect:type=source-task-metrics`, `connector-task-metrics` and `task-error-metrics`.
fn connect(page: &mut Page, tasks: &[Task<'_>]) {
    let count = |counter: &AtomicU64| counter.load(Relaxed) as f64;
    let commits =
        |t: &Task<'_>| t.metrics.counters.commits.lock().unwrap_or_else(PoisonError::into_inner).shares(Instant::now());
    let families: [(&str, &str, Value<'_>); 7] = [
        ("source_task_metrics_source_record_poll", "Records polled from the feed.", &|t| {
            t.metrics.engine[Counter::RecordsPolled] as f64
        }),
        ("source_task_metrics_source_record_write", "Records that Kafka has acknowledged.", &|t| {
            count(&t.metrics.counters.records_acknowledged)
        }),
        ("source_task_metrics_source_record_active_count", "Records sent and not yet acknowledged.", &|t| {
            count(&t.metrics.counters.in_flight)
        }),
        ("connector_task_metrics_offset_commit_success_percentage", "Of the last minute's commits, 0 to 1.", &|t| {
            commits(t).0
        }),
        ("connector_task_metrics_offset_commit_failure_percentage", "Of the last minute's commits, 0 to 1.", &|t| {
            commits(t).1
        }),
        ("task_error_metrics_total_record_failures", "Records refused by a converter or by Kafka.", &|t| {
            count(&t.metrics.counters.record_errors)
        }),
        ("task_error_metrics_total_records_skipped", "Records refused by a converter that were skipped.", &|t| {
            count(&t.metrics.counters.records_skipped)
        }),
    ];
    for (name, help, value) in families {
        let name = format!("{CONNECT}{name}");
        page.family(&name, UNTYPED, help);
        for task in tasks {
            page.sample(&name, &[("connector", task.connector), ("task", &task.number)], value(task));
        }
    }
    let status = format!("{CONNECT}connector_task_metrics_status");
    page.family(&status, UNTYPED, "1 for the status that the task has.");
    for task in tasks {
        let state = task.state.as_str().to_lowercase();
        page.sample(&status, &[("connector", task.connector), ("task", &task.number), ("status", &state)], 1.0);
    }
}

/// The MBean of the existing connector.
fn existing_connector(page: &mut Page, tasks: &[Task<'_>]) {
    for attribute in ATTRIBUTES {
        let name = format!("io_conduktor_connect_websocket_WebSocketConnector_{}", attribute.name);
        page.family(&name, UNTYPED, attribute.help);
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
                labels.extend(figure.label);
                page.sample(&name, &labels, figure.value(&task.metrics.engine));
            }
        }
    }
}

/// Returns the url part of the existing connector's object name: without the scheme, with `_` in place of characters
/// other than `a-zA-Z0-9._-`, and at most 50 characters long.
fn mbean_url(url: &str) -> String {
    let bare = url.strip_prefix("ws://").or_else(|| url.strip_prefix("wss://")).unwrap_or(url);
    let legal = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    bare.chars().map(legal).take(50).collect()
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
        let task = Some((TaskId::only("a\"b"), TaskState::Failed, metrics));
        render(&[ConnectorMetrics { name: "a\"b".into(), status: "running", task }])
    }

    #[test]
    fn the_names_of_connect_of_the_mbean_and_ours_are_there() {
        let page = page();
        for line in [
            r#"kafka_connect_source_task_metrics_source_record_poll{connector="a\"b",task="0"} 11"#,
            r#"io_conduktor_connect_websocket_WebSocketConnector_MessagesReceived{name="a\"b",url="h_9443_a_k____"} 12"#,
            r#"io_conduktor_connect_websocket_WebSocketConnector_QueueUtilizationPercent{name="a\"b",url="h_9443_a_k____"} 25"#,
            r#"connect_websocket_gaps_total{connector="a\"b",task="0",cause="restart"} 1"#,
            r#"kafka_connect_connector_metrics_status{connector="a\"b",status="running"} 1"#,
            r#"kafka_connect_connector_task_metrics_status{connector="a\"b",task="0",status="failed"} 1"#,
            r#"kafka_connect_connect_worker_metrics_connector_failed_task_count{connector="a\"b"} 1"#,
            r#"kafka_connect_connect_worker_metrics_connector_running_task_count{connector="a\"b"} 0"#,
            "kafka_connect_connect_worker_metrics_connector_count 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
        }
    }

    #[test]
    fn buckets_of_the_latency_are_cumulative() {
        let page = page();
        for (le, count) in [("0.001", 5), ("0.002", 5), ("0.005", 11), ("+Inf", 11)] {
            let line =
                format!(r#"connect_websocket_latency_records_total{{connector="a\"b",task="0",le="{le}"}} {count}"#);
            assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
        }
    }

    #[test]
    fn a_long_url_is_cut() {
        assert_eq!(mbean_url(&format!("ws://{}", "x".repeat(80))).len(), 50);
    }
}
