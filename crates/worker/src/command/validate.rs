//! `connect-websocket validate`: checks connectors' configurations without a worker, and reports all errors at once.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use connect_websocket_engine::config::NOT_REPLACED;
use connect_websocket_engine::config_def::ConfigError;
use connect_websocket_engine::feeds::{self, words};
use indexmap::IndexMap;
use serde::Serialize;

use crate::command::say::say;
use crate::command::standalone::read_worker;
use crate::config::WorkerConfig;
use crate::connector::file::connector_file;
use crate::connector::framework;
use crate::connector::hidden::Kept;
use crate::connector::validation::validate;
use crate::properties;

const VALID: u8 = 0;
/// At least one configuration is not valid.
const INVALID: u8 = 1;
/// Nothing was checked: the command line, a file or the worker's file is wrong. Or the output cannot be written.
pub const USAGE: u8 = 2;

#[derive(Args)]
pub struct Options {
    /// The connectors: properties or JSON files, or quoted patterns such as 'connectors/**/*.properties'.
    #[arg(required = true)]
    connectors: Vec<PathBuf>,
    /// The worker's file, whose converters and policies apply.
    #[arg(long, value_name = "worker.properties")]
    worker: Option<PathBuf>,
    /// Prints one JSON document instead of lines.
    #[arg(long)]
    json: bool,
}

/// The report on all files.
#[derive(Serialize)]
struct Report {
    valid: bool,
    /// Why nothing was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    files: Vec<Checked>,
}

/// The result for one file.
#[derive(Serialize)]
struct Checked {
    file: String,
    /// `None` if the file could not be read that far.
    connector: Option<String>,
    valid: bool,
    errors: Vec<Error>,
    warnings: Vec<String>,
    /// The steps of the session in words, in their order, without texts that may contain secrets.
    session: Vec<String>,
}

impl Checked {
    /// Returns a result about which nothing is known yet.
    fn new(shown: &str) -> Checked {
        Checked {
            file: shown.to_owned(),
            connector: None,
            valid: false,
            errors: Vec::new(),
            warnings: Vec::new(),
            session: Vec::new(),
        }
    }
}

#[derive(Serialize)]
struct Error {
    /// `None` if it is about the file as a whole.
    option: Option<String>,
    message: String,
}

fn whole(message: String) -> Vec<Error> {
    vec![Error { option: None, message }]
}

/// Checks all files. Valid ones are reported on standard output, errors and warnings on standard error. With `--json`,
/// everything goes to standard output.
pub fn run(options: &Options) -> ExitCode {
    let prepared = worker(options.worker.as_deref()).and_then(|worker| Ok((worker, files(&options.connectors)?)));
    let (report, code) = match prepared {
        Ok((worker, files)) => check_all(&worker, options.worker.is_some(), &files),
        Err(why) => (Report { valid: false, error: Some(why), files: Vec::new() }, USAGE),
    };
    match show(&report, options.json) {
        Ok(()) => ExitCode::from(code),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(USAGE)
        }
    }
}

/// Returns the report and the exit code. If a file cannot be read, the others are still checked.
fn check_all(worker: &WorkerConfig, is_given: bool, files: &[PathBuf]) -> (Report, u8) {
    let (mut unreadable, mut checked) = (false, Vec::new());
    for file in files {
        let shown = file.display().to_string();
        match properties::read_file(file) {
            Ok(bytes) => checked.push(check(worker, is_given, &shown, &bytes)),
            Err(error) => {
                unreadable = true;
                checked.push(Checked { errors: whole(format!("cannot be read: {error}")), ..Checked::new(&shown) });
            }
        }
    }
    let valid = checked.iter().all(|checked| checked.valid);
    let code = match (unreadable, valid) {
        (true, _) => USAGE,
        (_, true) => VALID,
        (_, false) => INVALID,
    };
    (Report { valid, error: None, files: checked }, code)
}

/// Prints the report.
///
/// # Errors
/// A sentence: it cannot be written.
fn show(report: &Report, json: bool) -> Result<(), String> {
    if json {
        return say(serde_json::to_string_pretty(report).unwrap_or_default()).map(drop);
    }
    report.error.iter().for_each(|why| eprintln!("{why}"));
    report.files.iter().try_for_each(print)
}

fn print(checked: &Checked) -> Result<(), String> {
    let Checked { file, connector, valid, errors, warnings, session } = checked;
    for Error { message, .. } in errors {
        eprintln!("{file}: {message}");
    }
    for warning in warnings {
        eprintln!("{file}: warning: {warning}");
    }
    if *valid {
        say(format!("{file}: the configuration of connector {} is valid", connector.as_deref().unwrap_or_default()))?;
        for (at, step) in session.iter().enumerate() {
            say(format!("{file}: {}. {step}", at + 1))?;
        }
    }
    Ok(())
}

/// Checks one file. Without a worker's file (`is_given`), a reference that no config provider replaces is not an error.
fn check(worker: &WorkerConfig, is_given: bool, shown: &str, bytes: &[u8]) -> Checked {
    let mut checked = Checked::new(shown);
    let file = match connector_file(shown, bytes) {
        Ok(file) => file,
        Err(error) => return Checked { errors: whole(error.to_string()), ..checked },
    };
    checked.session = feeds::merge(&file.config).map(|merged| words::session(&merged)).unwrap_or_default();
    let mut config: IndexMap<_, _> = file.config.into_iter().map(|(name, value)| (name, Some(value))).collect();
    config.insert(framework::NAME.to_owned(), Some(file.name.clone()));
    checked.connector = Some(file.name);
    let validation = match validate(worker, &config, &Kept::default()) {
        Ok(validation) => validation,
        Err(why) => return Checked { errors: whole(why), ..checked },
    };
    for info in validation.infos.configs {
        let option = info.value.name;
        let errors = info.value.errors.into_iter().filter(|message| is_given || !message.ends_with(NOT_REPLACED));
        checked.errors.extend(errors.map(|message| Error { option: Some(option.clone()), message }));
    }
    Checked { valid: checked.errors.is_empty(), warnings: validation.warnings, ..checked }
}

/// Returns the named files, and those that match a pattern that the shell has not replaced.
fn files(named: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in named {
        let pattern = path.to_str().filter(|text| !path.exists() && text.contains(['*', '?', '[']));
        let Some(pattern) = pattern else {
            files.push(path.clone());
            continue;
        };
        let found =
            glob::glob(pattern).map_err(|error| format!("{pattern} is not a pattern of file names: {error}"))?;
        let before = files.len();
        files.extend(found.filter_map(Result::ok).filter(|path| !path.is_dir()));
        if files.len() == before {
            return Err(format!("no file matches {pattern}"));
        }
    }
    Ok(files)
}

fn worker(path: Option<&Path>) -> Result<WorkerConfig, String> {
    match path {
        Some(path) => read_worker(path),
        None => assumed_worker().map_err(|errors| {
            let sentences: Vec<String> = errors.iter().map(ToString::to_string).collect();
            sentences.join("\n")
        }),
    }
}

/// Returns the worker that is assumed if no file is given: String converters, no config providers.
fn assumed_worker() -> Result<WorkerConfig, Vec<ConfigError>> {
    let string = "org.apache.kafka.connect.storage.StringConverter";
    let properties = [
        ("bootstrap.servers", "localhost:9092"),
        ("key.converter", string),
        ("value.converter", string),
        ("offset.storage.file.filename", "connect.offsets"),
    ];
    WorkerConfig::parse(&properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}
