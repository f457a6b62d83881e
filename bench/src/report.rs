//! Markdown tables of medians, ranges and ratios.

use std::fmt::Write as _;

use crate::program::Group;
use crate::sample::{Integrity, Outcome, Sample};
use crate::scenario::{Metric, Scenario};

/// All runs of one program in one scenario.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub program: String,
    pub group: Group,
    pub runs: Vec<Outcome<Sample>>,
}

/// The heading of a report: where and how it was measured.
pub(crate) fn heading(mode: &str, when: &str, revision: &str) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "# Benchmark of {when}\n\nRevision {revision}, {mode} mode. {cores} cores ({model}), Linux {}; load average at the \
         start {}.\nFeed, Kafka, program and consumer share the machine: ratios count, not the figures themselves. \
         Median (least–most) over the runs.\n",
        kernel.trim(),
        load_average()
    )
}

/// So that a reader can judge a figure.
fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

/// One scenario's section: a table for each group of programs that took part.
pub(crate) fn section(scenario: &Scenario, rows: &[Row]) -> String {
    let mut out = format!("\n## {scenario}\n");
    for group in Group::ALL {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.group == group).collect();
        if !rows.is_empty() {
            table(&mut out, scenario, group, &rows);
        }
    }
    out
}

/// Ratios are to the first of the group's references that took part.
fn table(out: &mut String, scenario: &Scenario, group: Group, rows: &[&Row]) {
    let metrics = scenario.metrics(group);
    let reference = group.references().iter().find_map(|name| rows.iter().find(|row| row.program == *name).copied());
    let _ = write!(out, "\n{}", group.title());
    if let Some(reference) = reference {
        let _ = write!(out, "; ratios are to {}", reference.program);
    }
    out.push_str("\n\n| program |");
    for metric in &metrics {
        let _ = write!(out, " {} |", metric.title);
        if metric.ratio {
            out.push_str(" ratio |");
        }
    }
    out.push_str(" runs | complete |\n|---|");
    for metric in &metrics {
        out.push_str(if metric.ratio { "---:|---:|" } else { "---:|" });
    }
    out.push_str("---:|---|\n");
    for row in rows {
        let _ = writeln!(out, "{}", line(scenario, &metrics, row, reference));
    }
    for row in rows {
        let mut errors: Vec<&String> = row.runs.iter().filter_map(|run| run.as_ref().err()).collect();
        errors.dedup();
        for error in errors {
            let _ = write!(out, "\n{}: a run failed: {error}\n", row.program);
        }
    }
}

fn line(scenario: &Scenario, metrics: &[Metric], row: &Row, reference: Option<&Row>) -> String {
    let samples: Vec<&Sample> = row.runs.iter().filter_map(|run| run.as_ref().ok()).collect();
    let mut out = format!("| {} |", row.program);
    for (index, metric) in metrics.iter().enumerate() {
        let mut values: Vec<f64> = samples.iter().map(|sample| sample.values[index]).collect();
        let _ = write!(out, " {} |", range(&mut values, metric.decimals));
        if metric.ratio {
            let _ = write!(out, " {} |", ratio(median_of(row, index), reference.and_then(|row| median_of(row, index))));
        }
    }
    let _ = write!(out, " {} of {} | {} |", samples.len(), row.runs.len(), completeness(scenario, &samples));
    out
}

/// Whether everything arrived, or the worst run's faults.
fn completeness(scenario: &Scenario, samples: &[&Sample]) -> String {
    if samples.is_empty() {
        return "no run".to_owned();
    }
    let worst = samples.iter().fold(Integrity::default(), |worst, sample| worst.worst(sample.integrity));
    let mut faults = Vec::new();
    if scenario.expects_all() && worst.lost > 0 {
        faults.push(format!("**{} lost**", worst.lost));
    }
    if worst.duplicated > 0 {
        faults.push(format!("{} doubled", worst.duplicated));
    }
    if worst.out_of_order > 0 {
        faults.push(format!("{} out of order", worst.out_of_order));
    }
    let note = samples.iter().find_map(|sample| sample.note);
    faults.extend(note.map(str::to_owned));
    match (faults.is_empty(), scenario.expects_all()) {
        (true, true) => "yes".to_owned(),
        (true, false) => "no doubles, in order".to_owned(),
        (false, _) => faults.join(", "),
    }
}

fn range(values: &mut [f64], decimals: usize) -> String {
    values.sort_unstable_by(f64::total_cmp);
    match values {
        [] => "–".to_owned(),
        // Not measured, such as the latency of records that nobody sent.
        values if values.iter().any(|value| value.is_nan()) => "–".to_owned(),
        [only] => format!("{only:.decimals$}"),
        [least, .., most] => {
            let (least, most) = (*least, *most);
            format!("{:.decimals$} ({least:.decimals$}–{most:.decimals$})", median(values))
        }
    }
}

fn ratio(value: Option<f64>, reference: Option<f64>) -> String {
    match (value, reference) {
        (Some(value), Some(reference)) if value.is_finite() && reference > 0.0 => format!("{:.2}", value / reference),
        _ => "–".to_owned(),
    }
}

fn median_of(row: &Row, index: usize) -> Option<f64> {
    let mut values: Vec<f64> = row.runs.iter().flatten().map(|sample| sample.values[index]).collect();
    values.sort_unstable_by(f64::total_cmp);
    (!values.is_empty()).then(|| median(&values))
}

/// Of sorted values, at least one.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Transport;

    fn row(program: &str, group: Group, values: &[&[f64]], lost: u64) -> Row {
        let integrity = Integrity { lost, ..Integrity::default() };
        let runs = values.iter().map(|values| Ok(Sample { values: values.to_vec(), integrity, note: None }));
        Row { program: program.to_owned(), group, runs: runs.collect() }
    }

    fn native(program: &str, cpu: &[f64], lost: u64) -> Row {
        let values: Vec<[f64; 3]> = cpu.iter().map(|&cpu| [cpu, 1000.0, 10.0]).collect();
        let values: Vec<&[f64]> = values.iter().map(<[f64; 3]>::as_slice).collect();
        row(program, Group::Native, &values, lost)
    }

    #[test]
    fn table_shows_medians_ranges_and_ratios_and_says_what_was_lost() {
        let scenario = Scenario::Burst { transport: Transport::Plain, size: 512, messages: 10 };
        let mut broken = native("broken", &[], 0);
        broken.runs.push(Err("it ended".to_owned()));
        let text = section(&scenario, &[native("plain", &[3.0, 1.0, 2.0], 0), native("other", &[4.0, 6.0], 7), broken]);
        assert!(text.contains("| plain | 2.00 (1.00–3.00) | 1.00 | 1000 (1000–1000) | 1.00 |"), "{text}");
        assert!(text.contains("| other | 5.00 (4.00–6.00) | 2.50 |"), "{text}");
        assert!(text.contains("2 of 2 | **7 lost** |"), "{text}");
        assert!(text.contains("| broken | – | – |"), "{text}");
        assert!(text.contains("broken: a run failed: it ended"), "{text}");
    }

    #[test]
    fn each_group_is_compared_with_its_own_reference() {
        let scenario = Scenario::Paced { rate: 1_000, size: 512, seconds: 1 };
        let floor = [f64::NAN, f64::NAN, 10.0, 1.0, 100.0, 1000.0, 1.0, 0.0, 1.0, 0.0, 0.0];
        let plugin = [5.0, 9.0, 12.0, 1.0, 100.0, 1500.0, 1.0, 0.0, 1.0, 0.0, 0.0];
        let rows = [
            row("plain", Group::Native, &[&[1.0, 1.0, 1.0, 1.0, 1.0]], 0),
            row("connect-floor", Group::ConnectText, &[&floor], 0),
            row("plugin", Group::ConnectText, &[&plugin], 0),
        ];
        let text = section(&scenario, &rows);
        assert!(text.contains("ratios are to plain\n"), "{text}");
        assert!(text.contains("ratios are to connect-floor\n"), "{text}");
        assert!(text.contains("| connect-floor | – | – | – | – | 10.00 | 1.00 |"), "{text}");
        assert!(text.contains("| plugin | 5.00 | – | 9.00 | – | 12.00 | 1.20 |"), "{text}");
        assert!(text.contains("| 1500 | 1.50 |"), "{text}");
    }
}
