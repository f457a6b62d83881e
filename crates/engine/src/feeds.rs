//! Profiles: files of defaults, so that a feed works from `websocket.feed`, its topics and the Kafka topic.
//!
//! A profile is a properties file. It has a head for people (`feed.title`, `feed.docs`, `feed.checked`, `feed.notes`,
//! and `feed.variable.<option>` for each option that the user sets), and values of options. The profiles of the folder
//! `feeds` are part of the program. A user's own profile is a path. The user's options replace those of the profile. An
//! empty value removes one.

use std::borrow::Cow;
use std::path::Path;

use crate::config_def::{ConfigError, Properties};
use crate::file;
use crate::nearest::nearest;
use crate::properties;

pub mod words;

/// The option that names a profile.
pub const FEED: &str = "websocket.feed";

/// The largest profile that is read, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// The reason for a well-known name that is not a feed.
const MQTT: &str = "MQTT is another protocol, which only uses WebSocket as its transport; use an MQTT source connector, such as \
                    io.lenses.streamreactor.connect.mqtt.source.MqttSourceConnector of Stream Reactor";

/// The text before the example of a variable.
const EXAMPLE: &str = " For example: ";

include!(concat!(env!("OUT_DIR"), "/feeds.rs"));

/// A feed's defaults, and what people should know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The name in `websocket.feed`, or that of the user's file.
    pub name: String,
    pub title: String,
    /// The address of the feed's documentation.
    pub docs: String,
    /// The date or year of that documentation.
    pub checked: String,
    /// Notes: a line for each, with code in backticks.
    pub notes: String,
    /// The options that the user sets.
    pub variables: Vec<Variable>,
    /// The defaults.
    pub options: Properties,
}

/// An option that the user of a profile sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    pub option: String,
    pub documentation: String,
    /// An example of its value.
    pub example: String,
}

impl Profile {
    /// Returns the profile of this name that is part of the program.
    pub fn named(name: &str) -> Option<Profile> {
        let at = NAMES.iter().position(|known| *known == name)?;
        Profile::parse(name, TEXTS.get(at)?).ok()
    }

    /// Returns all profiles that are part of the program, by name.
    pub fn all() -> impl Iterator<Item = Profile> {
        NAMES.iter().filter_map(|name| Profile::named(name))
    }

    /// Returns the text of the profile of this name that is part of the program.
    pub fn text(name: &str) -> Option<&'static str> {
        let at = NAMES.iter().position(|known| *known == name)?;
        TEXTS.get(at).copied()
    }

    /// Reads the profile of `websocket.feed`: a name or a path.
    ///
    /// # Errors
    /// Why there is no such profile, or why the file is not a profile.
    pub fn find(feed: &str) -> Result<Profile, String> {
        if let Some(profile) = Profile::named(feed) {
            return Ok(profile);
        }
        if feed == "mqtt" {
            return Err(MQTT.to_owned());
        }
        let path = Path::new(feed);
        if !feed.contains('/') && path.extension().is_none() {
            let meant = meant(feed).map(|near| format!("did you mean {near}? If not, ")).unwrap_or_default();
            let all = NAMES.join(", ");
            return Err(format!("no such feed; {meant}use one of {all}, or the path of your own profile"));
        }
        let text = file::read_text(path, MAX_BYTES).map_err(|error| format!("the profile cannot be read: {error}"))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Profile::parse(&name, &text)
    }

    /// Reads the text of a profile.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(name: &str, text: &str) -> Result<Profile, String> {
        let mut profile = Profile {
            name: name.to_owned(),
            title: String::new(),
            docs: String::new(),
            checked: String::new(),
            notes: String::new(),
            variables: Vec::new(),
            options: Properties::new(),
        };
        for (key, value) in properties::parse_text(text).map_err(|error| format!("the profile: {error}"))? {
            let value = value.trim().to_owned();
            match key.strip_prefix("feed.") {
                None if key == FEED => {
                    return Err(format!("the profile sets {FEED}; a profile cannot name another one"));
                }
                None => drop(profile.options.insert(key, value)),
                Some("title") => profile.title = value,
                Some("docs") => profile.docs = value,
                Some("checked") => profile.checked = value,
                Some("notes") => profile.notes = value,
                Some(other) => match other.strip_prefix("variable.") {
                    Some(option) => profile.variables.push(Variable::parse(option, &value)),
                    None => {
                        return Err(format!(
                            "the profile has the key {key}, which does not exist; use feed.title, feed.docs, \
                             feed.checked, feed.notes or feed.variable.<option>"
                        ));
                    }
                },
            }
        }
        Ok(profile)
    }
}

/// Returns the profile that a wrong name may mean.
fn meant(feed: &str) -> Option<&'static str> {
    let begins = |name: &&&str| feed.starts_with(**name) || name.starts_with(feed);
    nearest(feed, NAMES.iter().copied()).or_else(|| NAMES.iter().find(begins).copied())
}

impl Variable {
    fn parse(option: &str, text: &str) -> Variable {
        let (documentation, example) = text.split_once(EXAMPLE).unwrap_or((text, ""));
        Variable { option: option.to_owned(), documentation: documentation.to_owned(), example: example.to_owned() }
    }

    /// Returns the error for a configuration that does not give it.
    fn wanted_by(&self, profile: &str) -> ConfigError {
        let Variable { option, documentation, example } = self;
        ConfigError::new(
            option,
            format!("the profile {profile} needs {option}: {documentation} For example: {option}={example}"),
        )
    }
}

/// Returns the effective configuration: the profile's options, and the user's, which replace them. Without a profile,
/// the given configuration.
///
/// # Errors
/// Why there is no such profile.
pub fn merge(given: &Properties) -> Result<Cow<'_, Properties>, ConfigError> {
    let Some(feed) = given.get(FEED).map(|feed| feed.trim()).filter(|feed| !feed.is_empty()) else {
        return Ok(Cow::Borrowed(given));
    };
    let mut merged = Profile::find(feed).map_err(|why| ConfigError::invalid(FEED, feed, why))?.options;
    for (key, value) in given {
        if value.trim().is_empty() && merged.contains_key(key) {
            merged.shift_remove(key);
        } else {
            merged.insert(key.clone(), value.clone());
        }
    }
    Ok(Cow::Owned(merged))
}

/// Replaces the errors about a missing option by one in the profile's words, if the profile needs that option.
pub(crate) fn name_what_is_missing(given: &Properties, errors: Vec<ConfigError>) -> Vec<ConfigError> {
    let feed = given.get(FEED).map(|feed| feed.trim());
    let Some(profile) = feed.and_then(|feed| Profile::find(feed).ok()) else { return errors };
    let is_missing = |variable: &&Variable| given.get(&variable.option).is_none_or(|text| text.trim().is_empty());
    let missing: Vec<&Variable> = profile.variables.iter().filter(is_missing).collect();
    let wants = |error: &ConfigError, variable: &Variable| error.message.contains(&variable.option);
    let mut all: Vec<ConfigError> = missing
        .iter()
        .filter(|variable| errors.iter().any(|error| wants(error, variable)))
        .map(|variable| variable.wanted_by(&profile.name))
        .collect();
    all.extend(errors.into_iter().filter(|error| !missing.iter().any(|variable| wants(error, variable))));
    all
}

/// Returns the source partition of a feed whose address is in the profile. It stays the same if a release changes the
/// address. `None` if the user sets the address.
pub fn partition(given: &Properties, url: &str) -> Option<String> {
    let feed = given.get(FEED).map(|feed| feed.trim()).filter(|feed| !feed.is_empty())?;
    if given.contains_key(url) {
        return None;
    }
    let name = Path::new(feed).file_stem().map_or(feed.into(), |name| name.to_string_lossy());
    Some(format!("feed:{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_profile_is_read_and_says_what_people_need() {
        assert!(NAMES.len() > 10 && NAMES.is_sorted(), "{NAMES:?}");
        for name in NAMES {
            let profile =
                Profile::parse(name, Profile::text(name).unwrap()).unwrap_or_else(|why| panic!("{name}: {why}"));
            for (what, text) in [("title", &profile.title), ("docs", &profile.docs), ("checked", &profile.checked)] {
                assert!(!text.is_empty(), "{name} has no feed.{what}");
            }
            assert!(!profile.notes.is_empty(), "{name} has no feed.notes");
            for line in profile.notes.lines() {
                assert!(line.ends_with('.') && line == line.trim(), "{name}: {line}");
            }
            assert!(profile.docs.starts_with("https://"), "{name}: {}", profile.docs);
            for Variable { option, documentation, example } in &profile.variables {
                assert!(documentation.ends_with('.') && !example.is_empty(), "{name}: {option}");
                assert!(!profile.options.contains_key(option), "{name} gives {option} itself");
            }
            for key in profile.options.keys() {
                assert!(key.starts_with("websocket."), "{name}: {key}");
                assert!(!key.starts_with("websocket.secret."), "{name}: {key} is the user's");
            }
        }
    }

    #[test]
    fn what_the_user_sets_wins_and_an_empty_value_unsets() {
        let given = given(&[
            (FEED, "okx"),
            ("kafka.topic", "trades"),
            ("websocket.session.beat.every.ms", "5000"),
            ("websocket.connect.rate", " "),
            ("websocket.auth.token", ""),
        ]);
        let merged = merge(&given).unwrap();
        let profile = Profile::named("okx").unwrap();
        assert_eq!(merged["websocket.url"], profile.options["websocket.url"]);
        assert_eq!(merged["websocket.session.beat.every.ms"], "5000");
        assert_eq!((merged.get("websocket.connect.rate"), merged["websocket.auth.token"].as_str()), (None, ""));
        assert_eq!(merged["kafka.topic"], "trades");
        assert!(merged.keys().all(|key| !key.starts_with("feed.")));
    }

    #[test]
    fn without_a_feed_nothing_changes() {
        let plain = given(&[("websocket.url", "ws://host"), (FEED, "")]);
        assert_eq!(merge(&plain).unwrap(), Cow::Borrowed(&plain));
    }

    #[test]
    fn an_unknown_feed_is_refused_with_those_that_are_known() {
        let error = merge(&given(&[(FEED, "kukoin")])).unwrap_err();
        assert_eq!(error.option, FEED);
        assert!(error.message.contains("kukoin") && error.message.contains("kucoin, "), "{}", error.message);
    }

    #[test]
    fn a_feed_that_is_another_connectors_is_refused_with_its_name() {
        let error = merge(&given(&[(FEED, "mqtt")])).unwrap_err();
        assert_eq!(error.option, FEED);
        assert!(error.message.contains("MqttSourceConnector"), "{}", error.message);
    }

    #[test]
    fn a_users_own_file_is_a_profile_too_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.properties");
        let feed = path.display().to_string();
        std::fs::write(&path, "feed.title=Mine\nwebsocket.url=ws://mine\n").unwrap();
        assert_eq!(merge(&given(&[(FEED, &feed)])).unwrap()["websocket.url"], "ws://mine");
        std::fs::write(&path, "feed.tittle=Mine\n").unwrap();
        assert!(merge(&given(&[(FEED, &feed)])).unwrap_err().message.contains("feed.tittle"));
        std::fs::write(&path, "websocket.feed=okx\n").unwrap();
        assert!(merge(&given(&[(FEED, &feed)])).unwrap_err().message.contains("cannot name another one"));
        std::fs::write(&path, vec![b'#'; MAX_BYTES + 1]).unwrap();
        assert!(merge(&given(&[(FEED, &feed)])).unwrap_err().message.contains("limit"));
        let none = folder.path().join("none.properties").display().to_string();
        assert!(merge(&given(&[(FEED, &none)])).unwrap_err().message.contains("cannot be read"));
    }

    #[test]
    fn offsets_of_a_profile_stand_under_its_name_unless_the_user_gives_the_address() {
        let url = "websocket.url";
        assert_eq!(partition(&given(&[(FEED, "okx")]), url).as_deref(), Some("feed:okx"));
        assert_eq!(partition(&given(&[(FEED, "/etc/feeds/mine.properties")]), url).as_deref(), Some("feed:mine"));
        assert_eq!(partition(&given(&[(FEED, "okx"), (url, "wss://other")]), url), None);
        assert_eq!(partition(&given(&[(url, "wss://other")]), url), None);
    }

    #[test]
    fn every_template_and_condition_of_a_profile_compiles() {
        use crate::dialogue::{Condition, Expression, Message, Names, Paths, Position, Scope, Template, list};
        for profile in Profile::all() {
            let mut names = Names::default();
            for variable in &profile.variables {
                if let Some(secret) = variable.option.strip_prefix("websocket.secret.") {
                    names.hold(&format!("secret.{secret}")).unwrap();
                }
            }
            let captures = profile.options.iter().filter(|(key, _)| key.ends_with(".capture"));
            let captures: Vec<(String, String)> = captures
                .flat_map(|(_, value)| list::split(value))
                .map(|capture| {
                    capture.split_once('=').map(|(name, from)| (name.trim().to_owned(), from.to_owned())).unwrap()
                })
                .collect();
            for (name, _) in &captures {
                names.hold(name).unwrap_or_else(|why| panic!("{}: {name}: {why}", profile.name));
            }
            // The questions to a history have variables of their own.
            let asks = profile.options.iter().any(|(key, _)| key.starts_with("websocket.backfill."));
            for name in ["key", "from", "to", "since", "page"].into_iter().filter(|_| asks) {
                names.hold(name).unwrap_or_else(|why| panic!("{}: {name}: {why}", profile.name));
            }
            let users = profile.variables.iter().map(|variable| (&variable.option, &variable.example));
            let declared: Vec<(&str, &str)> = profile
                .options
                .iter()
                .chain(users)
                .filter_map(|(key, value)| Some((key.strip_prefix("websocket.var.")?, value.as_str())))
                .collect();
            names.declare(&declared).unwrap_or_else(|problems| panic!("{}: {problems:?}", profile.name));
            let (mut paths, given) = (Paths::default(), crate::dialogue::variables::GIVEN);
            let mut scope =
                Scope { names: &names, given: &given, message: Message::Whole, answer: true, paths: &mut paths };
            for (name, from) in &captures {
                Expression::compile(from, &mut scope).unwrap_or_else(|why| panic!("{}: {name}: {why}", profile.name));
            }
            for (key, value) in &profile.options {
                let word = key.rsplit('.').next().unwrap();
                let compiled = match word {
                    "expect" | "fail" | "final" | "on" | "when" | "filter" => {
                        Condition::compile(value, &mut scope).map(drop)
                    }
                    _ if key == "websocket.url" => Template::compile(value, Position::Url, &mut scope).map(drop),
                    _ if key.starts_with("websocket.record.") => {
                        scope.message = Message::Record;
                        let compiled = Template::compile(value, Position::Field, &mut scope).map(drop);
                        scope.message = Message::Whole;
                        compiled
                    }
                    _ => Template::compile(value, Position::Plain, &mut scope).map(drop),
                };
                compiled.unwrap_or_else(|why| panic!("{}: {key}={value}: {why}", profile.name));
            }
        }
    }
}
