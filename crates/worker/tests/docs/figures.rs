//! `docs/reference/metrics.md` has every figure and attribute, `docs/reference/log.md` every event.

use std::fmt::Write as _;
use std::fs;

use connect_websocket_engine::figures::{self, ATTRIBUTES, Host, PREFIX};

use super::{check, parts_of_sources, root};

#[test]
fn metrics_md_has_every_figure_and_attribute_with_its_meaning() {
    let page = fs::read_to_string(root().join("docs/reference/metrics.md")).unwrap();
    let page = with_part(&page, "figures", &figures_table());
    check("docs/reference/metrics.md", &with_part(&page, "attributes", &attributes_table()));
}

/// A figure that is split by a label is one row.
fn figures_table() -> String {
    let mut table = String::from("| in Prometheus | type | in JMX | meaning |\n|---|---|---|---|\n");
    let both = figures::figures(Host::Worker).into_iter().chain(figures::figures(Host::Plugin));
    let mut seen = Vec::new();
    for figure in both {
        if seen.contains(&figure.name) {
            continue;
        }
        seen.push(figure.name);
        let host = figure.only.unwrap_or(Host::Worker);
        let family = figures::figures(host).into_iter().filter(|other| other.name == figure.name);
        let attributes: Vec<String> = family.clone().map(|figure| format!("`{}`", figure.attribute())).collect();
        let attributes = match &attributes[..] {
            _ if figure.only == Some(Host::Worker) => "-".to_owned(),
            [first, .., last] if attributes.len() > 5 => format!("{first} … {last}"),
            all => all.join(", "),
        };
        let values: Vec<&str> = family.filter_map(|figure| figure.label).map(|(_, value)| value).collect();
        let labels = match figure.label {
            Some((label @ "le", _)) => format!("; label `{label}`, in seconds"),
            Some((label, _)) => format!("; label `{label}`: {}", values.join(", ")),
            None => String::new(),
        };
        let host = match figure.only {
            Some(Host::Worker) => "worker: ",
            Some(Host::Plugin) => "plugin: ",
            None => "",
        };
        let (name, kind) = (figure.name, figure.kind.as_str());
        let _ = writeln!(table, "| `{PREFIX}{name}` | {kind} | {attributes} | {host}{}{labels} |", figure.help);
    }
    table
}

fn attributes_table() -> String {
    let mut table = String::from("| attribute | type | meaning |\n|---|---|---|\n");
    for attribute in ATTRIBUTES {
        let _ = writeln!(table, "| `{}` | {} | {} |", attribute.name, attribute.java_type, attribute.help);
    }
    table.push_str("| `ConnectorName` | String | not in Prometheus |\n");
    table.push_str(
        "| `resetCounters()` | operation | sets `MessagesReceived`, `MessagesDropped` and `RecordsProduced` to 0 |\n",
    );
    table
}

#[test]
fn metrics_md_names_every_metric_that_only_the_worker_makes() {
    let text = fs::read_to_string(root().join("docs/reference/metrics.md")).unwrap();
    let page = connect_websocket::metrics::render(&[]);
    let families: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(families.len() > 30, "{families:?}");
    for family in families.into_iter().filter(|family| !family.starts_with("io_conduktor_")) {
        assert!(text.contains(&format!("`{family}`")), "docs/reference/metrics.md does not name the metric {family}");
    }
}

#[test]
fn log_md_names_every_event_of_the_log() {
    let text = fs::read_to_string(root().join("docs/reference/log.md")).unwrap();
    let mut events = parts_of_sources("crates/engine/src", "(\"event=", |c| !(c.is_ascii_lowercase() || c == '_'));
    for sources in ["crates/worker/src", "crates/plugin/src", "crates/plugin/java/src/main/java"] {
        events.extend(parts_of_sources(sources, "\"event=", |c| !(c.is_ascii_lowercase() || c == '_')));
    }
    events.retain(|event| event.len() > 1); // `event=x` is the sample of a test.
    assert!(events.len() > 30, "{events:?}");
    for event in events {
        assert!(text.contains(&format!("`{event}`")), "docs/reference/log.md does not name event={event}");
    }
}

/// The page with what stands between the marks of this name replaced.
fn with_part(page: &str, name: &str, part: &str) -> String {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->\n"));
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("the mark {begin} is missing"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("the mark {end} is missing"));
    format!("{before}{begin}{part}{end}{after}")
}
