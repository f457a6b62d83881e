//! Each documented alert fires on the fault that it names, and none on a healthy connector: promtool plays the figures.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use connect_websocket_e2e::prometheus::documented;
use serde_json::{Value, json};

type Labels = &'static [(&'static str, &'static str)];

/// The figures of a healthy connector over more than an hour, one value every 15 s: it waits a minute for its first
/// message, is restarted by a deployment, reconnects, and Kafka is slow once.
const HEALTHY: &[(&str, Labels, &str)] = &[
    ("up", &[("job", "connect-websocket")], "1x99 0x1 1x200"),
    (FAILED_TASKS, &[("connector", "c")], "0x300"),
    (STATUS, &[("connector", "c"), ("status", "running")], "1x300"),
    (STATUS, &[("connector", "c"), ("status", "failed")], "_x300"),
    ("connect_websocket_connected", TASK, "0x4 1x95 0x2 1x200"),
    (AGE, TASK, "-1x4 0x94 -1x4 2x60 200x1 3x200"),
    ("connect_websocket_queue_bytes", TASK, "0x150 900x2 0x200"),
    ("connect_websocket_queue_capacity_bytes", TASK, "1000x300"),
    ("connect_websocket_queue_records", TASK, "0x150 90x2 0x200"),
    ("connect_websocket_queue_capacity_records", TASK, "100x300"),
    (DROPPED, &[("connector", "c"), ("task", "0"), ("cause", "queue_full_newest")], "0x300"),
    (DROPPED, &[("connector", "c"), ("task", "0"), ("cause", "filtered")], "0+10x300"),
    ("connect_websocket_records_skipped_total", TASK, "0x300"),
    ("connect_websocket_gap_missed_messages_total", TASK, "0x300"),
    ("connect_websocket_gap_seconds_total", TASK, "0x60 9x40 2x100 13x100"),
    (COMMITS_FAILED, TASK, "0x300"),
];

/// The alert, the figure that differs from [`HEALTHY`] and how.
const FAULTS: &[(&str, usize, &str)] = &[
    ("HostGone", 0, "1x220 0x80"),
    ("TaskFailed", 1, "0x230 1x70"),
    ("ConnectorFailed", 3, "_x230 1x70"),
    ("Disconnected", 4, "1x220 0x80"),
    ("Silent", 5, "0x200 0+15x100"),
    ("NothingReceived", 5, "-1x300"),
    ("QueueFillsBytes", 6, "0x220 900x80"),
    ("QueueFillsRecords", 8, "0x220 90x80"),
    ("MessagesDropped", 10, "0x230 7x70"),
    ("RecordsSkipped", 12, "0x230 1x70"),
    ("MessagesMissed", 13, "0x150 3x150"),
    ("Gaps", 14, "0x150 120x150"),
    ("OffsetsNotWritten", 15, "0x230 0.2x70"),
];

const TASK: Labels = &[("connector", "c"), ("task", "0")];
const AGE: &str = "connect_websocket_last_message_age_seconds";
const DROPPED: &str = "connect_websocket_messages_dropped_total";
const FAILED_TASKS: &str = "kafka_connect_connect_worker_metrics_connector_failed_task_count";
const STATUS: &str = "kafka_connect_connector_metrics_status";
const COMMITS_FAILED: &str = "kafka_connect_connector_task_metrics_offset_commit_failure_percentage";

#[test]
fn each_alert_fires_on_its_fault_alone_and_none_on_a_healthy_connector() {
    let rules = documented("alerts");
    let names: Vec<&str> = rules.split("alert: ").skip(1).filter_map(|rest| rest.split(',').next()).collect();
    assert_eq!(names, FAULTS.iter().map(|(alert, ..)| *alert).collect::<Vec<_>>(), "each alert has its fault here");

    let healthy = history("healthy", &names, None);
    let faults = FAULTS.iter().map(|fault| history(fault.0, &names, Some(fault)));
    let tests: Vec<Value> = std::iter::once(healthy).chain(faults).collect();
    play(&rules, &tests);
}

/// Its counters begin in a series of another instance, with what the move has cost.
#[test]
fn what_a_move_to_another_worker_costs_is_noticed() {
    let moved = |figure: &str, alert: &str| {
        let series = |instance: &str, values: &str| {
            let labels = format!(r#"connector="c",task="0",instance="{instance}""#);
            json!({"series": format!("{figure}{{{labels}}}"), "values": values})
        };
        let expected = json!([{"exp_labels": {"connector": "c", "task": "0"}}]);
        let fires = json!({"eval_time": "40m", "alertname": alert, "exp_alerts": expected});
        let series = [series("a", "2x100 stale"), series("b", "_x110 300x100")];
        json!({"name": alert, "interval": "15s", "input_series": series, "alert_rule_test": [fires]})
    };
    let lost = moved("connect_websocket_gap_missed_messages_total", "MessagesMissed");
    let away = moved("connect_websocket_gap_seconds_total", "Gaps");
    play(&documented("alerts"), &[lost, away]);
}

/// Has promtool play the histories.
fn play(rules: &str, histories: &[Value]) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("alerts.yml"), rules).unwrap();
    let test = json!({"rule_files": ["alerts.yml"], "evaluation_interval": "15s", "tests": histories});
    fs::write(dir.path().join("test.yml"), test.to_string()).unwrap();
    let output = Command::new("promtool").args(["test", "rules", "test.yml"]).current_dir(dir.path()).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{said}");
}

/// A test of promtool's: with this fault its alert fires after an hour and no other; without one none fires at any minute.
fn history(name: &str, alerts: &[&str], fault: Option<&(&str, usize, &str)>) -> Value {
    let series = HEALTHY.iter().enumerate().map(|(at, (figure, labels, values))| {
        let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let values = fault.filter(|fault| fault.1 == at).map_or(*values, |fault| fault.2);
        json!({"series": format!("{figure}{{{}}}", labels.join(",")), "values": values})
    });
    let minutes = if fault.is_some() { 60..=60 } else { 1..=70 };
    let checks = minutes.flat_map(|minute| {
        alerts.iter().map(move |alert| {
            let labels = fault.filter(|fault| fault.0 == *alert).map(|fault| HEALTHY[fault.1].1);
            let expected =
                labels.map(|labels| json!({"exp_labels": labels.iter().copied().collect::<BTreeMap<_, _>>()}));
            json!({"eval_time": format!("{minute}m"), "alertname": alert, "exp_alerts": Vec::from_iter(expected)})
        })
    });
    json!({"name": name, "interval": "15s", "input_series": series.collect::<Vec<_>>(), "alert_rule_test": checks.collect::<Vec<_>>()})
}
