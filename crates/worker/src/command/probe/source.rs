//! Which feed the command line means, and its configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use connect_websocket_engine::config::{Config, HANDOVER_DIR, TOPIC, URL, warnings};
use connect_websocket_engine::config_def::{ConfigError, Properties};
use connect_websocket_engine::feeds::{self, FEED};
use connect_websocket_engine::redact::Redactor;
use indexmap::IndexMap;

use crate::command::standalone::read_worker;
use crate::config::provider::{Providers, Resolved};
use crate::connector::file::connector_file;
use crate::connector::framework::NAME;
use crate::{properties, tape};

const TOPICS: &str = "websocket.subscription.topics";
const SUBSCRIPTION: &str = "websocket.subscription.message";
/// The config providers without a worker's file, under their usual names.
const PROVIDERS: [(&str, &str); 4] = [
    ("config.providers", "file,dir,env"),
    ("config.providers.file.class", "org.apache.kafka.common.config.provider.FileConfigProvider"),
    ("config.providers.dir.class", "org.apache.kafka.common.config.provider.DirectoryConfigProvider"),
    ("config.providers.env.class", "org.apache.kafka.common.config.provider.EnvVarConfigProvider"),
];

/// A feed, as the command line names it.
#[derive(Args)]
pub(in crate::command) struct Source {
    /// A known feed: a name in the list of `connect-websocket feeds`, or the path of your own profile.
    #[arg(long)]
    feed: Option<String>,
    /// What to subscribe to, with --feed, separated by commas.
    #[arg(long, value_name = "TOPICS")]
    topics: Option<String>,
    /// A message to send after every connect, which many feeds need.
    #[arg(long, value_name = "TEXT")]
    subscribe: Option<String>,
    /// Any other option of the connector. Give a secret as '${env:NAME}', so that it is not in the shell history.
    #[arg(long = "set", value_name = "OPTION=VALUE")]
    set: Vec<String>,
    /// The worker's file whose config providers replace `${…}`. Default: the providers file, dir and env.
    #[arg(long, value_name = "worker.properties")]
    worker: Option<PathBuf>,
}

/// The feed's configuration.
pub(in crate::command) struct Feed {
    pub(in crate::command) config: Config,
    /// The options in force that it was made of.
    pub(in crate::command) options: Properties,
    /// What is allowed, and hardly meant.
    pub(in crate::command) warnings: Vec<String>,
}

impl Source {
    /// Returns the configuration. `what` is a connector's file or a URL.
    ///
    /// # Errors
    /// Sentences that say what is wrong, without secrets.
    pub(in crate::command) fn feed(&self, what: Option<&str>) -> Result<Feed, Vec<String>> {
        let given = self.given(what).map_err(|why| vec![why])?;
        let providers = self.providers().map_err(|why| vec![why])?;
        let resolved = providers.resolve(&given).map_err(|error| vec![error.message])?;
        let config = Config::parse_provided(&resolved.values, &resolved.provided)
            .map_err(|errors| errors.iter().map(|error| sentence(error, &resolved)).collect::<Vec<_>>())?;
        // What a step says may hold a password that nobody has declared to be one.
        let said = resolved.values.iter().filter(|(option, _)| option.ends_with(".send") || option.ends_with(".body"));
        said.for_each(|(_, template)| config.redactor.add_template(template));
        let in_force = feeds::merge(&resolved.values).map_err(|error| vec![sentence(&error, &resolved)])?;
        let warnings = warnings::of(&resolved.values, None);
        let warnings = warnings.iter().map(|warning| config.redactor.hide(warning)).collect();
        Ok(Feed { config, options: in_force.into_owned(), warnings })
    }

    /// The options, with references to providers as they are.
    fn given(&self, what: Option<&str>) -> Result<IndexMap<String, String>, String> {
        let mut options = match what {
            Some(url) if url.contains("://") => IndexMap::from([(URL.to_owned(), url.to_owned())]),
            Some(file) => read(file)?,
            None if self.feed.is_some() => IndexMap::new(),
            None => return Err(
                "name a feed: a connector's file, a URL, or --feed and a name; record wants the tape's name after it"
                    .to_owned(),
            ),
        };
        for (option, value) in [(FEED, &self.feed), (TOPICS, &self.topics), (SUBSCRIPTION, &self.subscribe)] {
            if let Some(value) = value {
                options.insert(option.to_owned(), value.clone());
            }
        }
        for set in &self.set {
            let set = set.split_once('=').map(|(option, value)| (option.trim(), value));
            let (option, value) = set
                .filter(|(option, _)| !option.is_empty())
                .ok_or("--set needs an option and its value: --set OPTION=VALUE")?;
            options.insert(option.to_owned(), value.to_owned());
        }
        let names_topics = options.iter().any(|(option, text)| *option != TOPICS && text.contains("topic"));
        if self.topics.is_some() && !options.contains_key(FEED) && !names_topics {
            return Err("--topics has no effect: no message names them; give --feed, or a --subscribe with {{topic}}"
                .to_owned());
        }
        options.entry(NAME.to_owned()).or_insert_with(|| "probe".to_owned());
        options.entry(TOPIC.to_owned()).or_insert_with(|| "probe".to_owned());
        // What a connector of this name has left is not ours.
        options.insert(HANDOVER_DIR.to_owned(), String::new());
        Ok(options)
    }

    fn providers(&self) -> Result<Arc<Providers>, String> {
        if let Some(path) = &self.worker {
            return Ok(read_worker(path)?.providers);
        }
        let standard = PROVIDERS.map(|(option, value)| (option.to_owned(), value.to_owned())).into();
        Providers::from_worker(&standard).map(Arc::new).map_err(|errors| {
            let sentences: Vec<String> = errors.iter().map(ToString::to_string).collect();
            sentences.join("\n")
        })
    }
}

fn read(file: &str) -> Result<IndexMap<String, String>, String> {
    let bytes = properties::read_file(Path::new(file)).map_err(|error| {
        // It may be a URL with a wrong scheme, and a secret in its query.
        let shown = file.split_once('?').map_or_else(|| file.to_owned(), |(before, _)| format!("{before}?***"));
        format!("{shown} cannot be read: {error}; a URL begins with ws:// or wss://, and --feed names a known feed")
    })?;
    if tape::is_tape(&bytes) {
        return Err(format!(
            "{file} is a tape; serve it with connect-websocket replay, and give the URL that this prints"
        ));
    }
    connector_file(file, &bytes).map(|file| file.config).map_err(|error| error.to_string())
}

/// The sentence about an option. What a provider has put there is secret.
fn sentence(error: &ConfigError, resolved: &Resolved) -> String {
    let ConfigError { option, message } = error;
    if resolved.provided.redacted.contains_key(option) {
        return format!("{option}: the value that the config provider has given is not valid");
    }
    let redactor = Redactor::default();
    resolved.provided.secrets.iter().for_each(|secret| redactor.add(secret.reveal()));
    redactor.hide(message)
}
