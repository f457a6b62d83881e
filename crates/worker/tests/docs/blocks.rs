//! What can be typed or pasted from the documentation exists: commands, their options, files, routes and configurations.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use connect_websocket::connector::framework;
use connect_websocket::{config, rest};
use connect_websocket_engine::config::{Config, OPTIONS};
use connect_websocket_engine::properties;
use serde_json::Value;
use yaml_rust2::YamlLoader;

use super::links::pages;
use super::{parts_of_sources, root, sorted};

/// What a code block is: its language, its text, and the page that has it.
struct Block {
    page: String,
    language: String,
    text: String,
}

#[test]
fn every_configuration_is_one_that_the_program_takes() {
    let mut whole = 0;
    for Block { page, text, .. } in blocks("properties") {
        let mut properties = properties::parse_text(&text).unwrap();
        for key in properties.keys() {
            assert!(is_option(key), "{page}: there is no option {key} in\n{text}");
        }
        let has = |key: &str| properties.contains_key(key);
        if !has("kafka.topic") || !(has("websocket.url") || has("websocket.feed")) {
            continue;
        }
        // A config provider would have replaced it.
        properties.values_mut().filter(|value| value.contains("${")).for_each(|value| *value = "s3cr3t".to_owned());
        if let Err(errors) = Config::parse(&properties) {
            panic!("{page}: {errors:?} in\n{text}");
        }
        whole += 1;
    }
    assert!(whole >= 60, "{whole}");
}

#[test]
fn every_value_that_a_sentence_gives_an_option_is_one_that_it_takes() {
    let (mut checked, mut wrong) = (0, Vec::new());
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap();
        // Every second piece of a line is code.
        let codes = page.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
        for code in codes.filter(|code| !code.contains(['…', '{', '<', '*'])) {
            let Some((name, value)) = code.split_once('=').filter(|(_, value)| !value.is_empty()) else { continue };
            let Some(row) = OPTIONS.iter().find(|row| row.name == name) else { continue };
            if let Err(errors) = row.value(Some(value)) {
                wrong.push(format!("{}: {code}: {errors:?}", path.display()));
            }
            checked += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked >= 100, "{checked}");
}

/// Whether some table has this option, or it begins as options do whose names the user completes.
fn is_option(key: &str) -> bool {
    const OPEN: &[&str] = &[
        "websocket.session.",
        "websocket.var.",
        "websocket.secret.",
        "websocket.record.header.",
        "producer.",
        "admin.",
        "topic.creation.",
        "key.converter.",
        "value.converter.",
        "config.providers",
        "listeners.https.",
        "security.",
        "sasl.",
        "ssl.",
        "exactly.once.source.support",
        "scheduled.rebalance.max.delay.ms",
    ];
    let tables = OPTIONS.iter().chain(config::OPTIONS).chain(rest::config::OPTIONS).map(|option| option.name);
    tables.chain(framework::KEYS.iter().map(|ordered| ordered.key.name)).any(|name| name == key)
        || OPEN.iter().any(|begin| key.starts_with(begin))
}

#[test]
fn every_json_and_yaml_block_can_be_parsed() {
    for Block { page, text, .. } in blocks("json") {
        serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{page}: {error} in\n{text}"));
    }
    for Block { page, text, .. } in blocks("yaml") {
        YamlLoader::load_from_str(&text).unwrap_or_else(|error| panic!("{page}: {error} in\n{text}"));
    }
}

#[test]
fn a_code_block_in_a_list_is_indented_by_four_so_that_the_site_keeps_it_there() {
    for path in pages() {
        let text = fs::read_to_string(&path).unwrap();
        let fences = text.lines().filter(|line| line.trim_start().starts_with("```"));
        for indent in fences.map(|line| line.len() - line.trim_start().len()) {
            assert!(indent % 4 == 0, "{}: a code block is indented by {indent}", path.display());
        }
    }
}

#[test]
fn every_code_block_says_what_it_is() {
    const KNOWN: &[&str] = &["bash", "properties", "json", "yaml", "promql", "text", "rust", "dockerfile", "ini"];
    for Block { page, language, text } in all_blocks() {
        assert!(KNOWN.contains(&language.as_str()), "{page}: \"{language}\" of the block\n{text}");
    }
}

// --- commands --------------------------------------------------------------------------------------------------------

/// Programs that are not ours.
const OTHERS: &[&str] = &[
    "cargo",
    "cat",
    "cd",
    "cp",
    "curl",
    "docker",
    "exec",
    "export",
    "git",
    "grep",
    "jq",
    "kafka-console-consumer.sh",
    "kill",
    "kubectl",
    "mkdir",
    "openssl",
    "pip",
    "python3",
    "sed",
    "sudo",
    "systemctl",
    "unzip",
];

#[test]
fn every_command_can_be_typed() {
    let (help, targets, routes) = (Help::new(), make_targets(), routes());
    let (mut checked, mut wrong) = (0, Vec::new());
    for Block { page, text, .. } in blocks("bash") {
        let syntax = Command::new("bash").args(["-n", "-c", &text]).output().unwrap();
        assert!(syntax.status.success(), "{page}: {} in\n{text}", String::from_utf8_lossy(&syntax.stderr));
        for command in commands(&text) {
            if let Err(why) = check_command(&command, &help, &targets, &routes) {
                wrong.push(format!("{page}: {why}: {command:?}"));
            }
            checked += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 60, "{checked}");
}

fn check_command(words: &[String], help: &Help, targets: &BTreeSet<String>, routes: &[String]) -> Result<(), String> {
    let words: Vec<&str> = words.iter().map(String::as_str).skip_while(|word| is_assignment(word)).collect();
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    for word in &words {
        check_path(word)?;
    }
    match *program {
        "make" => {
            let known = |word: &&&str| is_assignment(word) || targets.contains(**word);
            arguments.iter().find(|word| !known(word)).map_or(Ok(()), |word| Err(format!("there is no target {word}")))
        }
        "curl" => {
            let address = arguments.iter().find_map(|word| word.split_once("localhost:8083")).map(|(_, path)| path);
            let path = address.map(|path| path.split('?').next().unwrap_or_default());
            if let Some(path) = path.filter(|path| !path.is_empty() && !routes.iter().any(|route| fits(route, path))) {
                return Err(format!("there is no route {path}"));
            }
            let body = arguments.iter().skip_while(|word| **word != "-d").nth(1).filter(|body| !body.starts_with('@'));
            body.map_or(Ok(()), |body| serde_json::from_str::<Value>(body).map(drop).map_err(|error| error.to_string()))
        }
        "bash" => Ok(()),
        _ if program.rsplit('/').next() == Some("connect-websocket") => help.check(arguments),
        _ if OTHERS.contains(program) || program.starts_with("e2e/") => Ok(()),
        _ => Err("this program is not known".to_owned()),
    }
}

/// `NAME=value` before a command.
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit())
    })
}

/// A path below a folder of this repository exists.
fn check_path(word: &str) -> Result<(), String> {
    const FOLDERS: &[&str] = &["examples/", "scripts/", "docs/", "bench/", "e2e/", "crates/", "packaging/", "fuzz/"];
    let is_ours = FOLDERS.iter().any(|folder| word.starts_with(folder)) && !word.starts_with("bench/results");
    if is_ours && !root().join(word).exists() {
        return Err(format!("there is no file {word}"));
    }
    Ok(())
}

fn make_targets() -> BTreeSet<String> {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let names = makefile.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name);
    names.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')).map(str::to_owned).collect()
}

fn routes() -> Vec<String> {
    parts_of_sources("crates/worker/src/rest", ".route(\"", |c| c == '"')
}

fn fits(route: &str, path: &str) -> bool {
    let (route, path): (Vec<&str>, Vec<&str>) = (route.split('/').collect(), path.split('/').collect());
    route.len() == path.len() && route.iter().zip(&path).all(|(one, other)| one == other || one.starts_with('{'))
}

/// What the binary says about its commands and options.
struct Help {
    worker: String,
}

impl Help {
    fn new() -> Help {
        Help { worker: help_of(&[]) }
    }

    fn check(&self, arguments: &[&str]) -> Result<(), String> {
        let first = arguments.first().copied().unwrap_or_default();
        let is_file = first.contains('.') || first.starts_with('-') || first.is_empty();
        let help = if is_file { self.worker.clone() } else { help_of(&[first]) };
        if !is_file && !self.worker.contains(&format!("\n  {first} ")) {
            return Err(format!("there is no command {first}"));
        }
        let options =
            arguments.iter().filter(|word| word.starts_with("--")).map(|word| word.split('=').next().unwrap());
        let unknown = options.into_iter().find(|option| !help.contains(option));
        unknown.map_or(Ok(()), |option| Err(format!("there is no option {option}")))
    }
}

fn help_of(command: &[&str]) -> String {
    let binary = env!("CARGO_BIN_EXE_connect-websocket");
    let output = Command::new(binary).args(command).arg("--help").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

// --- reading ---------------------------------------------------------------------------------------------------------

fn blocks(language: &str) -> Vec<Block> {
    all_blocks().into_iter().filter(|block| block.language == language).collect()
}

fn all_blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for path in pages() {
        let page = path.strip_prefix(root()).unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(language) = line.trim_start().strip_prefix("```") else { continue };
            let indent = line.len() - line.trim_start().len();
            let inside = lines.by_ref().take_while(|line| line.trim_start() != "```");
            let text = inside.map(|line| line.get(indent..).unwrap_or_default().to_owned() + "\n").collect();
            blocks.push(Block { page: page.clone(), language: language.to_owned(), text });
        }
    }
    blocks
}

/// The commands of a script as words, without comments and redirections of the shell.
fn commands(script: &str) -> Vec<Vec<String>> {
    let (mut all, mut words, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let mut chars = script.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\'' | '"' => {
                let text = word.get_or_insert_default();
                while let Some(inside) = chars.next_if(|inside| *inside != char) {
                    let escaped = (inside == '\\' && char == '"').then(|| chars.next()).flatten();
                    text.push(escaped.unwrap_or(inside));
                }
                chars.next();
            }
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(escaped) => word.get_or_insert_default().push(escaped),
            },
            // The output of another command.
            '$' if chars.peek() == Some(&'(') => {
                let text = word.get_or_insert_default();
                text.push(char);
                text.extend(chars.by_ref().take_while(|inside| *inside != ')'));
            }
            '#' if word.is_none() => while chars.next_if(|inside| *inside != '\n').is_some() {},
            ' ' | '\n' | '|' | '&' | ';' => {
                words.extend(word.take());
                if char != ' ' && !words.is_empty() {
                    all.push(std::mem::take(&mut words));
                }
            }
            _ => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    all.push(words);
    all.retain(|words: &Vec<String>| !words.is_empty());
    all
}

#[test]
fn commands_are_read_as_a_shell_reads_them() {
    let script =
        "# a comment\nmake demo A=\"\\\"b c\\\"\"  # the first\ncurl -d '{\"a\": 1}' \\\n  localhost | grep 'x y'\n";
    let expected: &[&[&str]] =
        &[&["make", "demo", "A=\"b c\""], &["curl", "-d", "{\"a\": 1}", "localhost"], &["grep", "x y"]];
    assert_eq!(commands(script), expected);
}

#[test]
fn every_test_that_a_command_names_exists() {
    for Block { page, text, .. } in blocks("bash") {
        for words in commands(&text) {
            let named = words.iter().skip_while(|word| *word != "--test").nth(1);
            if let Some(name) = named {
                let folders =
                    ["crates/engine/tests", "crates/worker/tests", "e2e/tests"].map(|folder| root().join(folder));
                let all: Vec<_> = folders.iter().flat_map(|folder| sorted(folder)).collect();
                let exists = all.iter().any(|path| path.file_stem().is_some_and(|stem| stem == name.as_str()));
                assert!(exists, "{page}: there is no test {name}");
            }
        }
    }
}
