//! `connect-websocket feeds`: the list of known feeds, one feed with its session in words, and a connector file for it.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use connect_websocket_engine::config::TOPIC;
use connect_websocket_engine::feeds::{FEED, NAMES, Profile, words};

use crate::command::say::say;
use crate::connector::framework::{CLASS, CONNECTOR_CLASS, NAME};
use crate::new_file;

/// Prints the list or one feed, or writes a connector file.
pub fn run(feed: Option<&str>, write: Option<&Path>) -> ExitCode {
    let done = match (feed, write) {
        (None, _) => Ok(list()),
        (Some(feed), None) => find(feed).map(|profile| describe(&profile, feed)),
        (Some(feed), Some(path)) => find(feed).and_then(|profile| save(&profile, feed, path)),
    };
    match done.and_then(|text| say(text.trim_end())) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn find(feed: &str) -> Result<Profile, String> {
    Profile::find(feed).map_err(|why| format!("{feed}: {why}"))
}

fn list() -> String {
    let width = NAMES.iter().map(|name| name.len()).max().unwrap_or_default();
    Profile::all().map(|profile| format!("{:width$}  {}\n", profile.name, profile.title)).collect()
}

/// Returns the notes about a feed, its session in words, a connector file, and all defaults.
fn describe(profile: &Profile, feed: &str) -> String {
    let Profile { name, title, docs, checked, notes, .. } = profile;
    let mut text = format!("{name}: {title}\n");
    // The user's own profile may have neither of these.
    if !docs.is_empty() {
        let _ = writeln!(text, "{docs} (as of {checked})");
    }
    if !notes.is_empty() {
        text.push_str("\nGood to know:\n");
    }
    for line in notes.lines() {
        let _ = writeln!(text, "- {}", line.replace('`', ""));
    }
    text.push_str("\nWhat happens on each connection:\n");
    for (at, step) in words::session(&profile.options).iter().enumerate() {
        let _ = writeln!(text, "{}. {step}", at + 1);
    }
    let _ = write!(text, "\nConnector file:\n{}\nWhat the profile sets:\n", connector_file(profile, feed));
    for (key, value) in &profile.options {
        let _ = writeln!(text, "{key}={value}");
    }
    text
}

/// Writes the connector file. An existing file is not overwritten.
fn save(profile: &Profile, feed: &str, path: &Path) -> Result<String, String> {
    let shown = path.display();
    let mut file = new_file::create(path, path.display())?;
    let written = file.write_all(connector_file(profile, feed).as_bytes());
    written.map_err(|error| {
        // The rest of it would prevent the next attempt.
        let _ = fs::remove_file(path);
        format!("{shown} cannot be written: {error}")
    })?;
    Ok(format!("{shown} is written: replace the examples with your own values, then start the worker with it\n"))
}

/// Returns a connector's properties, with an example for each value that the user sets. `feed`: the name of the profile,
/// or the path of the user's own.
pub fn connector_file(profile: &Profile, feed: &str) -> String {
    let short = profile.name.as_str();
    let about = [profile.title.as_str(), profile.docs.as_str()].into_iter().filter(|part| !part.is_empty());
    let mut text = format!("# {}\n", about.collect::<Vec<_>>().join(": "));
    let _ = writeln!(text, "{NAME}={short}\n{CLASS}={CONNECTOR_CLASS}\n{FEED}={}", feed.replace('\\', "\\\\"));
    for variable in &profile.variables {
        let _ = writeln!(
            text,
            "# {}\n{}={}",
            variable.documentation,
            variable.option,
            variable.example.replace('\\', "\\\\")
        );
    }
    let _ = writeln!(text, "{TOPIC}={short}\nvalue.converter=org.apache.kafka.connect.storage.StringConverter");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::file;

    #[test]
    fn every_feed_is_listed_and_described() {
        let list = list();
        for profile in Profile::all() {
            assert!(list.contains(&profile.title), "{}", profile.name);
            let text = describe(&profile, &profile.name);
            assert!(
                text.contains("1. ") && text.contains(&profile.notes.lines().next().unwrap().replace('`', "")),
                "{text}"
            );
            // Java reads properties as ISO 8859-1.
            assert!(connector_file(&profile, &profile.name).is_ascii(), "{text}");
        }
        assert!(find("nothing").unwrap_err().starts_with("nothing: no such feed; use one of "));
    }

    #[test]
    fn a_connector_file_holds_what_the_user_gives_and_is_not_overwritten() {
        let profile = Profile::named("okx-private").unwrap();
        let text = connector_file(&profile, "okx-private");
        let file = file::connector_file("okx.properties", text.as_bytes()).unwrap();
        assert_eq!((file.name.as_str(), file.config[FEED].as_str()), ("okx-private", "okx-private"));
        assert_eq!(file.config["websocket.secret.key"], "${env:OKX_KEY}");
        assert_eq!(file.config["websocket.subscription.topics"], "SPOT,SWAP");

        let folder = std::env::temp_dir().join(format!("connect-websocket-feeds-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("okx.properties");
        save(&profile, "okx-private", &path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        assert!(save(&profile, "okx-private", &path).unwrap_err().contains("is there already"));

        let own = folder.join("own.properties");
        std::fs::write(&own, "feed.title=Mine\nwebsocket.url=ws://localhost/\n").unwrap();
        let own = own.to_str().unwrap();
        let text = connector_file(&find(own).unwrap(), own);
        let file = file::connector_file("mine.properties", text.as_bytes()).unwrap();
        assert_eq!((file.name.as_str(), file.config[FEED].as_str()), ("own", own));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
