//! `docs/reference/rest.md` names every route, and every difference to Kafka Connect that the scenarios know.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use super::{check, parts_of_sources, root, sorted};

const BEGIN: &str = "<!-- generated: begin -->\n";
const END: &str = "<!-- generated: end -->\n";

const MALFORMED: &str = "malformed request";

/// Why our answer is another than Connect's: scenario, steps, reason. A new difference needs a reason here.
const REASONS: &[(&str, &[&str], &str)] = &[
    ("config", &["broken JSON"], MALFORMED),
    (
        "create_refused",
        &[
            "no body",
            "null",
            "broken JSON",
            "array",
            "unknown member",
            "object as value",
            "array as value",
            "unknown initial state",
        ],
        MALFORMED,
    ),
    ("create_refused", &["no class"], "the message does not repeat the configuration, which may contain secrets"),
    (
        "offsets_refused",
        &[
            "array",
            "unknown member",
            "object instead of a list",
            "number in the list",
            "unknown member in the list",
            "list as partition",
            "broken JSON",
        ],
        MALFORMED,
    ),
    (
        "restart",
        &["task that is not there"],
        "the message for every task that does not exist is that of Connect's distributed herder",
    ),
    (
        "restart",
        &["no task was made up"],
        "after the previous request, Connect standalone shows a FAILED task 9, which does not exist; the worker does not",
    ),
    ("surface", &["root"], "`worker_version` is the version of this worker, `version` that of the API"),
    (
        "surface",
        &["change that a page of another origin asks for"],
        "a web page may change connectors only if `access.control.allow.origin` contains its origin",
    ),
    (
        "surface",
        &["another name for a loopback listener"],
        "prevents DNS rebinding: by default a loopback listener accepts only loopback names; `rest.allowed.hosts` changes that",
    ),
    ("surface", &["type with a charset"], MALFORMED),
    (
        "unknown_connector",
        &["stop", "restart", "restart of a task"],
        "a connector that does not exist is always 404; Connect standalone answers these requests with 500",
    ),
    (
        "validate",
        &["no class", "nothing"],
        "the request is wrong, so 400; the message does not repeat the configuration, which may contain secrets",
    ),
    ("validate", &["no body"], MALFORMED),
];

#[test]
fn rest_md_lists_every_difference_that_the_scenarios_know() {
    let text = fs::read_to_string(root().join("docs/reference/rest.md")).unwrap();
    let (before, rest) =
        text.split_once(BEGIN).expect("docs/reference/rest.md has lost the mark of its generated part");
    let (_, after) = rest.split_once(END).expect("docs/reference/rest.md has lost the mark of its generated part");
    check("docs/reference/rest.md", &format!("{before}{BEGIN}{}{END}{after}", differences()));
}

/// A table of all steps that have an answer of their own for Connect.
fn differences() -> String {
    let mut table =
        String::from("| request | here | Kafka Connect 4.3.1 | reason | scenario |\n|---|---|---|---|---|\n");
    let mut used = 0;
    for path in sorted(&root().join("e2e/scenarios/rest")) {
        let scenario = path.file_stem().unwrap().to_string_lossy().into_owned();
        let content: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for step in content["steps"].as_array().unwrap().iter().filter(|step| !step["connect"].is_null()) {
            let id = step["id"].as_str().unwrap();
            let reason = REASONS.iter().find(|(file, ids, _)| *file == scenario && ids.contains(&id));
            let (_, _, why) =
                reason.unwrap_or_else(|| panic!("say in REASONS why \"{id}\" of {scenario}.json differs"));
            used += 1;
            let _ = writeln!(
                table,
                "| `{} {}`: {id} | {} | {} | {why} | {scenario} |",
                step["method"].as_str().unwrap(),
                step["path"].as_str().unwrap().replace("{{class}}", "…"),
                answer(&step["expect"]),
                answer(&step["connect"]),
            );
        }
    }
    assert_eq!(used, REASONS.iter().map(|(_, ids, _)| ids.len()).sum::<usize>(), "REASONS names a step that is gone");
    table
}

/// Status and, where the scenario fixes it, the message.
fn answer(expected: &Value) -> String {
    let status = &expected["status"];
    match expected["json"]["message"].as_str() {
        Some(exact) if !exact.starts_with('<') => format!("{status} `` {exact} ``"),
        Some(_) | None => status.to_string(),
    }
}

#[test]
fn rest_md_names_every_route() {
    let text = fs::read_to_string(root().join("docs/reference/rest.md")).unwrap();
    let routes = parts_of_sources("crates/worker/src/rest", ".route(\"", |c| c == '"');
    assert!(routes.len() > 15, "{routes:?}");
    for route in routes {
        assert!(text.contains(&format!("`{route}`")), "docs/reference/rest.md does not name {route}");
    }
}
