//! Markdown tables of medians, ranges and ratios.

use std::fmt::Write as _;

use crate::program::{Outcome, load_average};
use crate::scenario::{Integrity, Metric, Sample, Scenario};

/// All runs of one program in one scenario.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub program: String,
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

/// One scenario's table; ratios are to the program named `reference`.
pub(crate) fn table(scenario: &Scenario, rows: &[Row], reference: &str) -> String {
    let metrics = scenario.metrics();
    let mut out = format!("\n## {scenario}\n\n| program |");
    for metric in metrics {
        let _ = write!(out, " {} |", metric.title);
        if metric.ratio {
            out.push_str(" ratio |");
        }
    }
    out.push_str(" runs | complete |\n|---|");
    for metric in metrics {
        out.push_str(if metric.ratio { "---:|---:|" } else { "---:|" });
    }
    out.push_str("---:|---|\n");
    let reference = rows.iter().find(|row| row.program == reference);
    for row in rows {
        let _ = writeln!(out, "{}", line(scenario, metrics, row, reference));
    }
    for row in rows {
        let mut errors: Vec<&String> = row.runs.iter().filter_map(|run| run.as_ref().err()).collect();
        errors.dedup();
        for error in errors {
            let _ = write!(out, "\n{}: a run failed: {error}\n", row.program);
        }
    }
    out
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
        [only] => format!("{only:.decimals$}"),
        [least, .., most] => {
            let (least, most) = (*least, *most);
            format!("{:.decimals$} ({least:.decimals$}–{most:.decimals$})", median(values))
        }
    }
}

fn ratio(value: Option<f64>, reference: Option<f64>) -> String {
    match (value, reference) {
        (Some(value), Some(reference)) if reference > 0.0 => format!("{:.2}", value / reference),
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

    fn row(program: &str, cpu: &[f64], lost: u64) -> Row {
        let integrity = Integrity { lost, ..Integrity::default() };
        let runs = cpu.iter().map(|&cpu| Ok(Sample { values: vec![cpu, 1000.0, 10.0], integrity, note: None }));
        Row { program: program.to_owned(), runs: runs.collect() }
    }

    #[test]
    fn table_shows_medians_ranges_and_ratios_and_says_what_was_lost() {
        let scenario = Scenario::Burst { transport: Transport::Plain, size: 512, messages: 10 };
        let mut broken = row("broken", &[], 0);
        broken.runs.push(Err("it ended".to_owned()));
        let text =
            table(&scenario, &[row("plain", &[3.0, 1.0, 2.0], 0), row("other", &[4.0, 6.0], 7), broken], "plain");
        assert!(text.contains("| plain | 2.00 (1.00–3.00) | 1.00 | 1000 (1000–1000) | 1.00 |"), "{text}");
        assert!(text.contains("| other | 5.00 (4.00–6.00) | 2.50 |"), "{text}");
        assert!(text.contains("2 of 2 | **7 lost** |"), "{text}");
        assert!(text.contains("| broken | – | – |"), "{text}");
        assert!(text.contains("broken: a run failed: it ended"), "{text}");
    }
}
