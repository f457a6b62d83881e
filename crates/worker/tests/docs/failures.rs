//! The pages of `docs/troubleshooting*` have every sentence with which something is refused or fails, and no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{root, sorted};

const PAGES: &[&str] =
    &["docs/troubleshooting.md", "docs/troubleshooting/configuration.md", "docs/troubleshooting/worker.md"];

/// Where sentences are written, with all that is below.
const SOURCES: &[&str] = &[
    "crates/broker/src",
    "crates/engine/src",
    "crates/plugin/src",
    "crates/plugin/java/src/main/java",
    "crates/worker/src",
];

/// Files and folders that refuse nothing: figures, what `probe` shows and learns, the simulation.
const WITHOUT_ERRORS: &[&str] = &[
    "crates/engine/src/counters.rs",
    "crates/engine/src/feeds/words.rs",
    "crates/engine/src/figures.rs",
    "crates/engine/src/simulation",
    "crates/engine/src/simulation.rs",
    "crates/plugin/java/src/main/java/io/conduktor/connect/websocket/Figures.java",
    "crates/worker/src/command/probe/certificate.rs",
    "crates/worker/src/command/probe/screen.rs",
    "crates/worker/src/learn",
    "crates/worker/src/learn.rs",
    "crates/worker/src/metrics.rs",
];

/// What stands before texts of the option tables, which are on the page of the options.
const OF_OPTIONS: &[&str] = &["documentation:", "display_name:", "group:"];

/// Texts that are no such sentence: what is only looked for, logged, or said when all went well.
const OTHER_TEXTS: &[&str] = &[
    "the response is not JSON",
    "Config(… from …)",
    "the event borrows from the connection",
    "Name or service not known",
    "No address associated",
    "does not resolve",
    "nodename nor servname",
    "Proxy-Authorization: Basic …",
    "step … url",
    "not a template",
    "OS can't spawn worker thread",
    "without a message",
    "batches are cut long before this",
    "without a code",
    "with code …",
    "BEGIN ENCRYPTED PRIVATE KEY",
    "\": \"<url>\"…; got the keys",
    "\": <integer, 0 or more>, …; got the sequence",
    "the configuration is not valid",
    "… was asked to panic",
    "connect-websocket record [OPTIONS] [FILE|URL] <tape.jsonl>",
    "your own feed, without Kafka        … probe wss://…",
    "known feeds, with three options     … feeds",
    "records in your own Kafka           make build; docs/start/worker.md",
    "(built in: trades, pings, a Close every 20 s, a reset sometimes)",
    "(in this process and in memory: the topic is gone when the demo ends)",
    "connecting to Kafka at … …",
    "REST API   http://…/connectors/…/status",
    "Ctrl-C ends it.",
    "the task has FAILED: …",
    "… and … more",
    "rate …/s   total …   reconnects …   gaps …   lag …   memory … MB",
    "stopping: a Close to the feed, the last records to Kafka …",
    "… messages were read back from the topic in … s; the connector had received … before the stop",
    "port 8083 is taken, so REST has another one: …",
    "the feed sent      … messages over … connections in … s, … of them ended by a reset",
    "the topic holds    … of them",
    "more than once     …",
    "out of order       …",
    "lost in a reset    …  (written by the feed, and never delivered by TCP)",
    "reconnecting took  … ms in all",
    "proven: every message the feed delivered is in the topic, once, in order",
    "… (as of …)",
    "Good to know:",
    "What happens on each connection:",
    "Connector file: … What the profile sets:",
    "… is written: replace the examples with your own values, then start the worker with it",
    "…: … of …, recorded …",
    "serving it at … Ctrl-C ends it.",
    "the end of the tape is reached",
    "…: the configuration of connector … is valid",
    "a secret stands where it says ***",
    "Exactly Once Support",
    "Key converter version",
    "Value converter version",
    "Header converter version",
    "The offsets for this connector have been altered successfully",
    "The offsets for this connector have been reset successfully",
    "handshake failed: Local:",
    "Invalid value for configuration …: …",
    "Streams WebSocket feeds into Apache Kafka. Replaces connect-standalone for the WebSocket source connector",
    "Exit codes of the worker: 0 stopped by a signal; 1 wrong arguments; 2 the worker cannot start; 3 a connector of the command line \
     cannot be created; 129, 130, 143 ended at once by a second signal. validate: 0 all valid, 1 at least one not valid, 2 wrong \
     arguments, or a file that cannot be read. probe and record: 0 messages came, 1 refused, 2 wrong arguments or configuration, 3 \
     connected, but no message came.",
    "a new connector",
    "Basic realm=\"connect\", charset=\"UTF-8\"",
    "an entry of offsets",
    "Worker has completed startup and is ready to handle requests.",
    "the client takes nothing of its answer",
];

#[test]
fn every_sentence_that_refuses_or_fails_is_on_a_page_about_errors() {
    let pages = pages();
    let sentences = sentences();
    assert!(sentences.len() > 500, "{sentences:?}");
    let missing: Vec<&String> = sentences.iter().filter(|sentence| !pages.contains(sentence.as_str())).collect();
    assert!(
        missing.is_empty(),
        "no page of {PAGES:?} has these sentences: give each a row on one of them, or name it in OTHER_TEXTS if nothing is refused \
         with it:\n{missing:#?}"
    );
}

#[test]
fn every_row_about_an_error_has_a_sentence_of_the_code() {
    let texts: Vec<String> = sources().flat_map(|path| texts(&path, &[])).collect();
    let rows = pages().lines().flat_map(first_cell).collect::<Vec<_>>();
    assert!(rows.len() > 500, "{rows:?}");
    let is_said = |part: &str| texts.iter().any(|text| text.contains(part));
    let stale: Vec<&String> = rows.iter().filter(|row| !fixed_parts(row).all(is_said)).collect();
    assert!(stale.is_empty(), "nothing in the code says this any more: take these rows out, or mend them:\n{stale:#?}");
}

#[test]
fn what_is_named_as_no_such_sentence_is_still_in_the_code() {
    let all = all_texts();
    let gone: Vec<&&str> = OTHER_TEXTS.iter().filter(|text| !all.contains(**text)).collect();
    assert!(gone.is_empty(), "take these out of OTHER_TEXTS: {gone:?}");
}

/// All pages, with the bars that a table has to escape.
fn pages() -> String {
    PAGES.iter().map(|page| fs::read_to_string(root().join(page)).unwrap().replace("\\|", "|")).collect()
}

/// The sentences in the first cell of a row of a table.
fn first_cell(line: &str) -> Vec<String> {
    let Some(cell) = line.strip_prefix("| ").filter(|rest| rest.starts_with('`')) else { return Vec::new() };
    let cell = cell.split(" | ").next().unwrap_or_default();
    let fence = if cell.starts_with("``") { "``" } else { "`" };
    cell.split(fence).skip(1).step_by(2).map(str::to_owned).collect()
}

/// What stands between the values of a sentence, if it is more than a word.
fn fixed_parts(sentence: &str) -> impl Iterator<Item = &str> {
    let parts = sentence.split('…').map(|part| part.trim_matches(|char: char| " ;:,.()'\"=".contains(char)));
    parts.filter(|part| words(part) >= 2)
}

fn sentences() -> BTreeSet<String> {
    all_texts().into_iter().filter(|text| !OTHER_TEXTS.contains(&text.as_str())).collect()
}

/// Every text of the sources that may be read as a sentence.
fn all_texts() -> BTreeSet<String> {
    sources().flat_map(|path| texts(&path, OF_OPTIONS)).filter(|text| is_sentence(text)).collect()
}

fn sources() -> impl Iterator<Item = PathBuf> {
    let is_of_tests = |path: &Path| ["tests.rs", "hostile.rs", "fixture.rs"].iter().any(|name| path.ends_with(name));
    let has_none = |path: &Path| WITHOUT_ERRORS.iter().any(|none| path.starts_with(root().join(none)));
    let refuses = move |path: &PathBuf| !is_of_tests(path) && !has_none(path);
    SOURCES.iter().flat_map(|source| files(&root().join(source))).filter(refuses)
}

/// The texts of a file, with `…` for each value, but for those behind some words.
fn texts(path: &Path, but: &[&str]) -> Vec<String> {
    let source = fs::read_to_string(path).unwrap();
    let code = source.split("\nmod tests {").next().unwrap_or_default();
    literals(code, but).iter().map(|text| with_ellipses(text)).collect()
}

fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    sorted(path).iter().flat_map(|path| files(path)).collect()
}

fn words(text: &str) -> usize {
    text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| word.len() >= 2).count()
}

fn is_sentence(text: &str) -> bool {
    words(text) >= 2
        && text.split_whitespace().count() >= 3
        && !text.starts_with("event=")
        && !text.starts_with("key=")
        && !text.contains("HTTP/1.1")
}

/// Each placeholder becomes an ellipsis, and what stands side by side is one.
fn with_ellipses(text: &str) -> String {
    let (mut out, mut depth) = (String::new(), 0_u32);
    for char in text.chars() {
        match char {
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && !out.ends_with('…') {
                    out.push('…');
                }
            }
            _ if depth == 0 => out.push(char),
            _ => {}
        }
    }
    out.trim().to_owned()
}

/// The string literals of Rust or Java code, with their escapes undone, but for those that stand behind some words. What Java joins
/// with a plus is one.
fn literals(code: &str, but: &[&str]) -> Vec<String> {
    let (mut rest, mut found) = (code, Vec::new());
    while let Some(at) = rest.find(['"', '/', '\'', '#']) {
        let before = rest[..at].trim_end();
        rest = &rest[at..];
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if let Some(raw) = rest.strip_prefix("#\"") {
            let end = raw.find("\"#").unwrap_or(raw.len());
            found.push(raw[..end].to_owned());
            rest = raw.get(end + 2..).unwrap_or_default();
        } else if rest.starts_with("'\"'") {
            rest = &rest[3..];
        } else if let Some(literal) = rest.strip_prefix('"') {
            let (mut text, len) = literal_text(literal);
            rest = &literal[len..];
            while let Some(more) =
                rest.trim_start().strip_prefix('+').and_then(|more| more.trim_start().strip_prefix('"'))
            {
                let (joined, len) = literal_text(more);
                text.push_str(&joined);
                rest = &more[len..];
            }
            if !but.iter().any(|words| before.ends_with(words)) {
                found.push(text);
            }
        } else {
            rest = &rest[1..];
        }
    }
    found
}

/// A literal's text from behind its first quote on, and how long it is with its last one.
fn literal_text(literal: &str) -> (String, usize) {
    let (mut text, mut chars) = (String::new(), literal.char_indices().peekable());
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (text, at + 1),
            '\\' => match chars.next() {
                Some((_, '\n')) => while chars.next_if(|(_, char)| char.is_whitespace()).is_some() {},
                Some((_, 'n' | 'r')) => text.push(' '),
                Some((_, other)) => text.push(other),
                None => {}
            },
            _ => text.push(char),
        }
    }
    (text, literal.len())
}
