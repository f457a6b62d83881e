//! What the intake costs, without sockets and without Kafka: the engine's example `intake`, whose lines become a table.

use std::path::Path;
use std::process::Command;

use crate::sample::Outcome;

/// Runs the example and returns the section of the report. It reads the recordings in `CAPTURES`, if that is set.
pub(crate) fn section(example: &Path) -> Outcome<String> {
    let output = Command::new(example).output().map_err(|e| format!("{} cannot be run: {e}", example.display()))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("the example intake: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(format!("\n## intake\n\n| what | cost |\n|---|---:|\n{}", rows(&printed)))
}

/// A row for each line `what: cost`.
fn rows(printed: &str) -> String {
    let row = |(what, cost): (&str, &str)| format!("| {what} | {cost} |\n");
    printed.lines().filter_map(|line| line.rsplit_once(": ")).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_with_a_cost_is_a_row() {
        assert_eq!(
            rows("no option: 66 ns\nnothing\na text, 10 B, per KiB: 2 ns\n"),
            "| no option | 66 ns |\n| a text, 10 B, per KiB | 2 ns |\n"
        );
    }
}
