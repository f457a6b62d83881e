//! A real Prometheus, and the documents' rules for it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Process, free_port, wait_until};
use crate::rest::Rest;
use crate::worker::temporary_directory;

const START_WITHIN: Duration = Duration::from_secs(60);
const JSON_IS_YAML: &str = "prometheus.yml";

/// A Prometheus that scrapes every second.
pub struct Prometheus {
    // Dropped before its directory.
    _process: Process,
    _dir: TempDir,
    rest: Rest,
}

/// One series of an answer: its labels, `__name__` among them, and its value.
#[derive(Debug, Clone)]
pub struct Sample {
    pub labels: Value,
    pub value: f64,
}

impl Prometheus {
    /// Scrapes these targets: for each its job and `host:port`. `rules` is a file of alerts.
    ///
    /// # Panics
    /// If it is not installed, refuses its configuration or rules, or does not come up.
    pub fn start(targets: &[(&str, &str)], rules: &str) -> Prometheus {
        let dir = temporary_directory("prometheus-");
        let jobs =
            targets.iter().map(|(job, target)| json!({"job_name": job, "static_configs": [{"targets": [target]}]}));
        let config = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["alerts.yml"],
            "scrape_configs": jobs.collect::<Vec<_>>(),
        });
        let write = |name: &str, text: &str| {
            fs::write(dir.path().join(name), text).unwrap_or_else(|e| panic!("{name} cannot be written: {e}"));
        };
        write("alerts.yml", rules);
        write(JSON_IS_YAML, &config.to_string());
        let port = free_port();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={JSON_IS_YAML}"))
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(dir.path());
        let process = Process::start("prometheus", &command, &dir.path().join("prometheus.log"));
        let prometheus =
            Prometheus { _process: process, _dir: dir, rest: Rest::new(&format!("http://127.0.0.1:{port}")) };
        wait_until("Prometheus to be ready", START_WITHIN, || {
            prometheus.rest.try_send("GET", "/-/ready", &[], None).ok().filter(|answer| answer.status == 200)
        });
        prometheus
    }

    /// What an expression gives now.
    ///
    /// # Panics
    /// If Prometheus refuses it.
    pub fn query(&self, expression: &str) -> Vec<Sample> {
        let answer = self.rest.get(&format!("/api/v1/query?query={}", percent_encoded(expression)));
        let answer = answer.json();
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let value = |of: &Value| of["value"][1].as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
        series.iter().map(|of| Sample { labels: of["metric"].clone(), value: value(of) }).collect()
    }

    /// The names of the alerts that are pending or firing, with the job of each.
    pub fn alerts(&self) -> Vec<(String, String)> {
        let answer = self.rest.get("/api/v1/alerts").json();
        let text = |of: &Value, label: &str| of["labels"][label].as_str().unwrap_or_default().to_owned();
        let alerts = answer["data"]["alerts"].as_array().cloned().unwrap_or_default();
        alerts.iter().map(|alert| (text(alert, "alertname"), text(alert, "job"))).collect()
    }
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// The code block between the marks `<name>: begin` and `<name>: end` of the pages about figures.
///
/// # Panics
/// If there is none.
pub fn documented(name: &str) -> String {
    let page = monitoring_pages();
    let part = page.split(&format!("<!-- {name}: begin -->\n")).nth(1);
    let part = part.and_then(|rest| rest.split(&format!("<!-- {name}: end -->")).next());
    let block = part.and_then(|part| part.strip_prefix("```yaml\n")?.strip_suffix("```\n"));
    block.unwrap_or_else(|| panic!("docs/ has no block between the marks of {name}")).to_owned()
}

/// The pages that have queries, rules and alerts for Prometheus, one after another.
///
/// # Panics
/// If one cannot be read.
pub fn monitoring_pages() -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let read =
        |page: &str| fs::read_to_string(docs.join(page)).unwrap_or_else(|e| panic!("{page} cannot be read: {e}"));
    ["reference/metrics.md", "operations/alerts.md", "operations/gaps.md", "operations/runbook.md"].map(read).concat()
}
