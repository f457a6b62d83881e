//! Figures of both hosts in a real Prometheus: the same names and labels, the documented queries, alerts that fire.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use connect_websocket_e2e::prometheus::{Prometheus, documented, monitoring_pages};
use connect_websocket_e2e::{Connect, Consumer, Kafka, Rest, Worker, free_port, source_config, wait_until};
use connect_websocket_testkit::{Messages, Play, Script, Server};
use serde_json::json;

const WITHIN: Duration = Duration::from_secs(60);
const JOBS: [&str; 2] = ["plugin", "worker"];
/// Larger than the producers take that [`TOLERANT`] makes.
const LARGE: usize = 5_000;
const TOLERANT: [(&str, &str); 2] = [("errors.tolerance", "all"), ("producer.override.max.request.size", "4000")];
/// What one host alone has.
const OF_ONE_HOST: [&str; 3] = [
    "connect_websocket_build_info",
    "connect_websocket_records_left_behind_total",
    "connect_websocket_records_filtered_total",
];

/// Both hosts and the Prometheus that scrapes them.
struct Watched {
    connect: Connect,
    worker: Worker,
    prometheus: Prometheus,
}

fn watched() -> &'static Watched {
    static WATCHED: OnceLock<Watched> = OnceLock::new();
    WATCHED.get_or_init(|| {
        let bootstrap = Kafka::shared().bootstrap();
        let connect = Connect::builder(&bootstrap)
            .property("offset.flush.interval.ms", "200")
            .jmx_exporter(&documented("exporter"))
            .start();
        let worker = Worker::builder(&bootstrap).start();
        let address = worker.rest().base().trim_start_matches("http://").to_owned();
        let targets = [("plugin", connect.exporter()), ("worker", address.as_str())];
        let prometheus = Prometheus::start(&targets, &documented("alerts"));
        Watched { connect, worker, prometheus }
    })
}

impl Watched {
    fn hosts(&self) -> [(&'static str, &Rest); 2] {
        [("plugin", self.connect.rest()), ("worker", self.worker.rest())]
    }

    /// The jobs of which the expression has a series now.
    fn jobs(&self, expression: &str) -> BTreeSet<String> {
        let samples = self.prometheus.query(expression);
        samples.iter().map(|sample| sample.labels["job"].as_str().unwrap_or("no job").to_owned()).collect()
    }

    /// Waits until both jobs have a series of the expression.
    fn wait_both(&self, expression: &str) {
        let both = JOBS.map(str::to_owned).into();
        wait_until(&format!("both hosts to have {expression}"), WITHIN, || {
            (self.jobs(expression) == both).then_some(())
        });
    }

    /// The one value of the expression.
    fn value(&self, expression: &str) -> Option<f64> {
        match &self.prometheus.query(expression)[..] {
            [sample] => Some(sample.value),
            _ => None,
        }
    }

    fn wait_value(&self, expression: &str, expected: f64) {
        let mut last = None;
        let reached = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(expression, WITHIN, || {
                last = self.value(expression);
                (last == Some(expected)).then_some(())
            });
        }));
        assert!(reached.is_ok(), "{expression} is {last:?}, not {expected}");
    }
}

fn serve(play: Play) -> Server {
    Server::start(Script::every(play)).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"))
}

/// 100 small messages, and five that are too large among 20 others once [`Server::signal`] is called.
fn with_large_ones() -> Server {
    let large = json!({"n": 1_000_000, "text": "x".repeat(LARGE)}).to_string();
    let play = Play::accept().send(Messages::count(100)).await_signal();
    let play =
        (0..5).fold(play, |play, _| play.send(Messages::count(2)).send_text(large.as_str()).send(Messages::count(2)));
    serve(play)
}

/// The exporter's page of a host, and the worker's.
fn page(watched: &Watched, job: &str) -> String {
    match job {
        "plugin" => Rest::new(&format!("http://{}", watched.connect.exporter())).get("/metrics").text,
        _ => watched.worker.rest().get("/metrics").text,
    }
}

#[test]
fn both_hosts_have_the_same_names_labels_and_types() {
    let watched = watched();
    let feed = serve(Play::accept().send(Messages::count(100)));
    for (job, rest) in watched.hosts() {
        rest.put_connector("same", &source_config(feed.url(), &format!("same-{job}"), &[]));
    }
    watched.wait_both(r#"connect_websocket_records_committed_total{connector="same"} == 100"#);

    let ours = |job| families(&page(watched, job), |name| name.starts_with("connect_websocket_"));
    let [plugin, worker] = JOBS.map(ours);
    assert!(plugin.len() > 40, "{plugin:?}");
    let differences: Vec<_> = plugin.symmetric_difference(&worker).collect();
    assert!(differences.is_empty(), "of one host alone: {differences:#?}");

    let existing = |job| families(&page(watched, job), |name| name.starts_with("io_conduktor_"));
    let [plugin, worker] = JOBS.map(existing);
    assert_eq!(plugin.len(), 12, "{plugin:?}");
    assert_eq!(plugin, worker);

    let connects = |job| families(&page(watched, job), |name| name.starts_with("kafka_connect_"));
    let [plugin, worker] = JOBS.map(connects);
    let invented: Vec<_> = worker.difference(&plugin).collect();
    assert!(worker.len() > 10 && invented.is_empty(), "Connect has no such metric: {invented:#?}");
    for (_, rest) in watched.hosts() {
        assert_eq!(rest.delete("/connectors/same").status, 204);
    }
}

/// Name, type and labels of the samples of the connector `same`, or of none; a status is this test's neighbours' matter.
fn families(page: &str, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let kinds: Vec<(&str, &str)> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let mut families = BTreeSet::new();
    for line in page.lines().filter(|line| !line.starts_with('#') && wanted(line)) {
        let (series, _) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let (name, labels) = series.trim_end_matches('}').split_once('{').unwrap_or((series, ""));
        if OF_ONE_HOST.contains(&name) || (labels.contains('"') && !labels.contains("\"same\"")) {
            continue;
        }
        let mut labels: Vec<&str> = labels.split(',').filter(|label| !label.is_empty()).collect();
        labels.sort_unstable();
        let kind = kinds.iter().find(|(of, _)| *of == name).map_or("none", |(_, kind)| kind);
        families.insert(format!("{name}{{{}}} {kind}", labels.join(",")));
    }
    families
}

#[test]
fn lost_records_are_not_delivered_ones_and_the_alert_fires() {
    let watched = watched();
    let feeds = watched.hosts().map(|(job, rest)| {
        let feed = with_large_ones();
        rest.put_connector("lossy", &source_config(feed.url(), &format!("lossy-{job}"), &TOLERANT));
        feed
    });
    watched.wait_both(r#"connect_websocket_records_committed_total{connector="lossy"} == 100"#);
    watched.wait_both(r#"connect_websocket_records_skipped_total{connector="lossy"} == 0"#);
    let lost = of_connector(&expression("RecordsSkipped"), "lossy");
    assert!(watched.prometheus.query(&lost).is_empty(), "the alert fires before anything is lost");

    feeds.iter().for_each(Server::signal);
    for job in JOBS {
        let figure = |name: &str| format!(r#"{name}{{job="{job}",connector="lossy"}}"#);
        watched.wait_value(&figure("connect_websocket_records_skipped_total"), 5.0);
        watched.wait_value(&figure("connect_websocket_records_committed_total"), 120.0);
        watched.wait_value(&figure("connect_websocket_records_in_flight"), 0.0);
        watched.wait_value(&figure("connect_websocket_messages_received_total"), 125.0);
        watched.wait_value(&figure("kafka_connect_source_task_metrics_source_record_write"), 120.0);
        watched.wait_value(&figure("kafka_connect_task_error_metrics_total_record_failures"), 5.0);
        watched.wait_value(&figure("kafka_connect_task_error_metrics_total_records_skipped"), 0.0);
        let produced =
            format!(r#"io_conduktor_connect_websocket_WebSocketConnector_RecordsProduced{{job="{job}",name="lossy"}}"#);
        watched.wait_value(&produced, 120.0);
        assert_eq!(Consumer::new(&Kafka::shared().bootstrap()).count(&format!("lossy-{job}")), 120);
    }
    watched.wait_both(&lost);
    wait_until("the alert of both hosts", WITHIN, || {
        let alerts = watched.prometheus.alerts();
        JOBS.iter().all(|job| alerts.contains(&("RecordsSkipped".to_owned(), (*job).to_owned()))).then_some(())
    });
    for (_, rest) in watched.hosts() {
        assert_eq!(rest.delete("/connectors/lossy").status, 204);
    }
}

#[test]
fn what_a_transformation_leaves_out_is_neither_delivered_nor_lost() {
    let watched = watched();
    let filter = [
        ("transforms", "drop"),
        ("transforms.drop.type", "org.apache.kafka.connect.transforms.Filter"),
        ("transforms.drop.predicate", "named"),
        ("predicates", "named"),
        ("predicates.named.type", "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"),
        ("predicates.named.pattern", "filtered.*"),
    ];
    let feed = serve(Play::accept().send(Messages::count(50)));
    let filtered = [&filter[..], &[("errors.tolerance", "all")]].concat();
    watched.connect.put_connector("filtered", &source_config(feed.url(), "filtered", &filtered));
    watched.connect.put_connector("filtered-strict", &source_config(feed.url(), "filtered-strict", &filter));
    for connector in ["filtered", "filtered-strict"] {
        let figure = |name: &str| format!(r#"connect_websocket_records_{name}{{connector="{connector}"}}"#);
        watched.wait_value(&figure("filtered_total"), 50.0);
        watched.wait_value(&figure("skipped_total"), 0.0);
        watched.wait_value(&figure("committed_total"), 0.0);
        watched.wait_value(&figure("in_flight"), 0.0);
        assert_eq!(watched.connect.rest().delete(&format!("/connectors/{connector}")).status, 204);
    }
}

/// A router puts the millisecond into the topic, so that a filter leaves out about half.
#[test]
fn filtered_and_lost_records_of_one_connector_are_told_apart() {
    let watched = watched();
    let options = [
        TOLERANT[0],
        TOLERANT[1],
        ("transforms", "stamp,drop,back"),
        ("transforms.stamp.type", "org.apache.kafka.connect.transforms.TimestampRouter"),
        ("transforms.stamp.topic.format", "${topic}-${timestamp}"),
        ("transforms.stamp.timestamp.format", "S"),
        ("transforms.drop.type", "org.apache.kafka.connect.transforms.Filter"),
        ("transforms.drop.predicate", "early"),
        ("predicates", "early"),
        ("predicates.early.type", "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"),
        ("predicates.early.pattern", "mixed-\\d*[0-4]"),
        ("transforms.back.type", "org.apache.kafka.connect.transforms.RegexRouter"),
        ("transforms.back.regex", "mixed-.*"),
        ("transforms.back.replacement", "mixed"),
    ];
    let large = "x".repeat(LARGE);
    let play = (0..40)
        .fold(Play::accept(), |play, _| play.send(Messages::count(4).rate(400.0)).send_text(large.as_str()).wait_ms(3));
    let feed = serve(play);
    watched.connect.put_connector("mixed", &source_config(feed.url(), "mixed", &options));
    let figure = |name: &str| format!(r#"{name}{{connector="mixed"}}"#);
    watched.wait_value(&figure("connect_websocket_records_polled_total"), 200.0);
    watched.wait_value(&figure("connect_websocket_records_in_flight"), 0.0);
    let names = ["skipped", "filtered", "committed"];
    let figures = names.map(|name| watched.value(&figure(&format!("connect_websocket_records_{name}_total"))));
    let [Some(skipped), Some(filtered), Some(committed)] = figures else { panic!("{figures:?}") };
    assert_eq!(skipped + filtered + committed, 200.0);
    assert_eq!(Some(skipped), watched.value(&figure("kafka_connect_task_error_metrics_total_record_failures")));
    assert!(skipped > 0.0 && skipped < 40.0 && filtered > 40.0, "{skipped} are lost, {filtered} are filtered");
    assert_eq!(Consumer::new(&Kafka::shared().bootstrap()).count("mixed") as f64, committed);
    assert_eq!(watched.connect.rest().delete("/connectors/mixed").status, 204);
}

#[test]
fn alerts_of_a_failed_task_an_absent_feed_and_a_full_queue_fire_on_both_hosts() {
    let watched = watched();
    let closing = serve(Play::accept().close(1000));
    let away = format!("ws://127.0.0.1:{}", free_port());
    let dropping = [("websocket.message.queue.size", "10"), ("websocket.message.queue.full", "drop.newest")];
    let floods = watched.hosts().map(|(job, rest)| {
        let failing =
            source_config(closing.url(), &format!("failing-{job}"), &[("websocket.reconnect.enabled", "false")]);
        assert_eq!(rest.put_json("/connectors/failing/config", &failing).status, 201);
        rest.put_connector("away", &source_config(&away, &format!("away-{job}"), &[]));
        let flood = serve(Play::accept().await_signal().send(Messages::count(1000)));
        rest.put_connector("dropping", &source_config(flood.url(), &format!("dropping-{job}"), &dropping));
        flood
    });
    watched.wait_both(r#"connect_websocket_connected{connector="dropping"} == 1"#);
    for (_, rest) in watched.hosts() {
        // Nobody polls any more.
        assert_eq!(rest.put("/connectors/dropping/pause").status, 202);
        rest.wait_state("dropping", "PAUSED", WITHIN);
    }
    let dropped = r#"connect_websocket_messages_dropped_total{connector="dropping",cause="queue_full_newest"}"#;
    watched.wait_both(&format!("{dropped} == 0"));
    floods.iter().for_each(Server::signal);
    watched.wait_both(&of_connector(&expression("MessagesDropped"), "dropping"));
    watched.wait_both(&of_connector(&expression("QueueFillsRecords"), "dropping"));
    watched.wait_both(&of_connector(&expression("Disconnected"), "away"));
    watched.wait_both(&of_connector(&expression("TaskFailed"), "failing"));
    watched.wait_both(r#"kafka_connect_connector_task_metrics_status{connector="failing",status="failed"} == 1"#);
    watched.wait_both(r#"kafka_connect_connector_metrics_status{connector="away",status="running"} == 1"#);
    for (_, rest) in watched.hosts() {
        for connector in ["failing", "away", "dropping"] {
            assert_eq!(rest.delete(&format!("/connectors/{connector}")).status, 204);
        }
    }
}

#[test]
fn every_documented_query_has_an_answer_of_both_hosts() {
    let watched = watched();
    let feed = serve(Play::accept().send(Messages::forever().rate(50.0)));
    for (job, rest) in watched.hosts() {
        rest.put_connector("queried", &source_config(feed.url(), &format!("queried-{job}"), &[]));
    }
    watched.wait_both(r#"connect_websocket_records_committed_total{connector="queried"} > 0"#);
    let page = monitoring_pages();
    let queries = page.split("```promql\n").skip(1).filter_map(|rest| rest.split("```").next()).flat_map(str::lines);
    let queries: Vec<String> = queries.map(str::to_owned).collect();
    assert!(queries.len() >= 4, "{queries:?}");
    for query in &queries {
        wait_until(query, WITHIN, || {
            watched.prometheus.query(query).iter().any(|sample| sample.value.is_finite()).then_some(())
        });
    }
    let alerts = alerts();
    assert!(alerts.len() > 10, "{alerts:?}");
    let written: Vec<&str> = page.split('`').filter(|text| !text.contains(char::is_whitespace)).collect();
    let expressions =
        alerts.iter().map(|(_, expression)| expression.as_str()).chain(queries.iter().map(String::as_str));
    for name in expressions.chain(written).flat_map(metrics) {
        if OF_ONE_HOST.contains(&name.as_str()) || name.ends_with('_') {
            continue;
        }
        watched.wait_both(&name);
    }
    for (_, expression) in &alerts {
        // It may be empty, and is refused if it is wrong.
        watched.prometheus.query(expression);
    }
    for (_, rest) in watched.hosts() {
        assert_eq!(rest.delete("/connectors/queried").status, 204);
    }
}

/// The names of metrics in an expression.
fn metrics(expression: &str) -> Vec<String> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| {
        ["connect_websocket_", "kafka_connect_", "io_conduktor_"].iter().any(|prefix| word.starts_with(prefix))
    });
    ours.map(str::to_owned).collect()
}

/// Names and expressions of the documented alerts.
fn alerts() -> Vec<(String, String)> {
    let rules = documented("alerts");
    let alert = |line: &str| {
        let name = line.split("alert: ").nth(1)?.split(',').next()?;
        let expression = line.split("expr: '").nth(1)?.split('\'').next()?;
        Some((name.to_owned(), expression.to_owned()))
    };
    rules.lines().filter_map(alert).collect()
}

fn expression(alert: &str) -> String {
    let (_, expression) =
        alerts().into_iter().find(|(name, _)| name == alert).unwrap_or_else(|| panic!("no alert is called {alert}"));
    expression
}

/// The same of one connector alone.
fn of_connector(expression: &str, connector: &str) -> String {
    let mut narrowed = expression.to_owned();
    for name in metrics(expression) {
        let end = narrowed.rfind(&name).unwrap_or_default() + name.len();
        let label = format!("connector=\"{connector}\"");
        match narrowed[end..].strip_prefix('{') {
            Some(_) => narrowed.insert_str(end + 1, &format!("{label},")),
            None => narrowed.insert_str(end, &format!("{{{label}}}")),
        }
    }
    narrowed
}
