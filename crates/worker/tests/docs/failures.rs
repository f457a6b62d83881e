//! `docs/troubleshooting.md` has every sentence with which a task can fail.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{root, sorted};

/// Where such sentences are written: files, and folders with all that is below them.
const SOURCES: &[&str] = &[
    "crates/engine/src/connection",
    "crates/engine/src/dialogue.rs",
    "crates/engine/src/dialogue/expression.rs",
    "crates/engine/src/dialogue/keep.rs",
    "crates/engine/src/dialogue/render.rs",
    "crates/engine/src/dialogue/resume.rs",
    "crates/engine/src/dialogue/signature.rs",
    "crates/engine/src/dialogue/template.rs",
    "crates/engine/src/intake.rs",
    "crates/engine/src/intake/decode.rs",
    "crates/engine/src/intake/fields.rs",
    "crates/engine/src/intake/records.rs",
    "crates/engine/src/panic.rs",
    "crates/engine/src/record/value/parse.rs",
    "crates/engine/src/session.rs",
    "crates/engine/src/session",
    "crates/engine/src/tls.rs",
    "crates/plugin/java/src/main/java/io/conduktor/connect/websocket/NativeLibrary.java",
    "crates/plugin/java/src/main/java/io/conduktor/connect/websocket/Wire.java",
    "crates/plugin/src/failure.rs",
    "crates/plugin/src/task.rs",
    "crates/worker/src/config/provider.rs",
    "crates/worker/src/convert.rs",
    "crates/worker/src/descriptors.rs",
    "crates/worker/src/kafka/producer.rs",
    "crates/worker/src/kafka/topics.rs",
    "crates/worker/src/task.rs",
    "crates/worker/src/task",
];

/// Texts of these files that are no sentence of a failed task: what is only looked for, logged, or said at validation.
const OTHER_TEXTS: &[&str] = &[
    "Name or service not known",
    "No address associated",
    "does not resolve",
    "nodename nor servname",
    "BEGIN ENCRYPTED PRIVATE KEY",
    "EC PRIVATE KEY",
    "RSA PRIVATE KEY",
    "OS can't spawn worker thread",
    "handshake failed: Local:",
    "Proxy-Authorization: Basic …",
    "without a code",
    "without a message",
    "a template has at most … bytes",
    "the answer has nothing at websocket.backfill.records",
    "… is secret, and a record would show it",
    "the queue stayed full until the stop's deadline",
    "with code …",
    "step … url",
    "Path … does not exist",
    "Path … is not absolute",
    "The path … is not a directory",
    "The path … is not allowed to be accessed",
    "this worker runs no Java classes; use FileConfigProvider, DirectoryConfigProvider or EnvVarConfigProvider of \
     org.apache.kafka.common.config.provider",
    ", where source record is = …",
    "Error encountered in task …. Executing stage '…' with class '…'…. …",
    "it converts headers only; use org.apache.kafka.connect.storage.StringConverter",
    "Class … could not be found. This worker runs no Java classes: use org.apache.kafka.connect.storage.StringConverter, \
     org.apache.kafka.connect.json.JsonConverter or org.apache.kafka.connect.converters.ByteArrayConverter, or run the connector in \
     Kafka Connect",
    "this worker knows UTF-8, ISO-8859-1, US-ASCII, UTF-16, UTF-16BE and UTF-16LE",
    "Expected value to be either true or false",
    "Not a number of type INT",
    "String must be one of (case insensitive): NUMERIC, BASE64",
    "… was asked to panic",
];

#[test]
fn troubleshooting_md_has_every_sentence_with_which_a_task_can_fail() {
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let sentences = sentences();
    assert!(sentences.len() > 120, "{sentences:?}");
    let missing: Vec<&String> = sentences.iter().filter(|sentence| !page.contains(sentence.as_str())).collect();
    assert!(
        missing.is_empty(),
        "docs/troubleshooting.md does not have these sentences: give each a row there, or name it in OTHER_TEXTS if no task fails with \
         it:\n{missing:#?}"
    );
}

#[test]
fn what_is_named_as_no_sentence_of_a_failed_task_is_still_in_the_code() {
    let all = all_texts();
    let gone: Vec<&&str> = OTHER_TEXTS.iter().filter(|text| !all.contains(**text)).collect();
    assert!(gone.is_empty(), "take these out of OTHER_TEXTS: {gone:?}");
}

fn sentences() -> BTreeSet<String> {
    all_texts().into_iter().filter(|text| !OTHER_TEXTS.contains(&text.as_str())).collect()
}

/// Every text of the sources that may be read as a sentence, with `…` for each value.
fn all_texts() -> BTreeSet<String> {
    let files = SOURCES.iter().flat_map(|source| files(&root().join(source)));
    let texts = files.flat_map(|path| {
        let source = fs::read_to_string(&path).unwrap();
        let code = source.split("\nmod tests {").next().unwrap().to_owned();
        literals(&code)
            .into_iter()
            .map(|text| with_ellipses(&text))
            .filter(|text| is_sentence(text))
            .collect::<Vec<_>>()
    });
    texts.collect()
}

fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    sorted(path).iter().flat_map(|path| files(path)).collect()
}

fn is_sentence(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| word.len() >= 2).count();
    words >= 2
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

/// The string literals of Rust or Java code that are not raw, with their escapes undone.
fn literals(code: &str) -> Vec<String> {
    let (mut rest, mut found) = (code, Vec::new());
    while let Some(at) = rest.find(['"', '/', '\'', '#']) {
        rest = &rest[at..];
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if let Some(raw) = rest.strip_prefix("#\"") {
            rest = &raw[raw.find("\"#").map_or(raw.len(), |end| end + 2)..];
        } else if rest.starts_with("'\"'") {
            rest = &rest[3..];
        } else if let Some(literal) = rest.strip_prefix('"') {
            let (text, len) = literal_text(literal);
            found.push(text);
            rest = &literal[len..];
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
