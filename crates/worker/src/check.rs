//! `connect-websocket validate`: every error of a connector's configuration at once, without a worker.

use std::path::Path;
use std::process::ExitCode;

use connect_websocket_engine::config_def::ConfigError;
use indexmap::IndexMap;

use crate::config::WorkerConfig;
use crate::hidden::Kept;
use crate::standalone::read_worker;
use crate::validate::validate;
use crate::{framework, properties};

/// Prints one line for each error and answers 1 if there is any, else one line and 0.
pub fn run(connector: &Path, worker: Option<&Path>) -> ExitCode {
    match errors(connector, worker) {
        Ok((name, warnings)) => {
            for warning in warnings {
                eprintln!("warning: {warning}");
            }
            println!("{}: the configuration of connector {name} is valid", connector.display());
            ExitCode::SUCCESS
        }
        Err(errors) => {
            for error in errors {
                println!("{error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn errors(connector: &Path, worker: Option<&Path>) -> Result<(String, Vec<String>), Vec<String>> {
    let one = |error: String| vec![error];
    let worker = match worker {
        Some(path) => read_worker(path).map_err(one)?,
        None => assumed_worker().map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?,
    };
    let shown = connector.display().to_string();
    let bytes = properties::read_file(connector).map_err(|error| one(format!("{shown} cannot be read: {error}")))?;
    let file = properties::connector_file(&shown, &bytes).map_err(|error| one(error.to_string()))?;
    let mut config: IndexMap<_, _> = file.config.into_iter().map(|(name, value)| (name, Some(value))).collect();
    config.insert(framework::NAME.to_owned(), Some(file.name.clone()));
    let validation = validate(&worker, &config, &Kept::default()).map_err(one)?;
    if validation.infos.error_count > 0 {
        return Err(validation.errors().map(str::to_owned).collect());
    }
    Ok((file.name, validation.warnings))
}

/// The worker that is assumed if none is given: String converters, no config providers.
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
