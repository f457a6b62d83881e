//! Connector files on the command line (Connect's `ConnectStandalone`).

use std::fmt;

use indexmap::IndexMap;
use serde_json::{Map, Value};
use thiserror::Error;

use connect_websocket_engine::properties::check_size;

use crate::connector::framework::CLASS;
use crate::properties::{PropertiesError, parse};

/// The content of a connector file.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectorFile {
    /// The connector's name.
    pub name: String,
    /// Its configuration, `name` included.
    pub config: IndexMap<String, String>,
    /// The state to create it in; `None` means running.
    pub initial_state: Option<InitialState>,
}

impl fmt::Debug for ConnectorFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorFile")
            .field("name", &self.name)
            .field("config", &self.config.keys())
            .field("initial_state", &self.initial_state)
            .finish()
    }
}

/// The state in which a connector is created (KIP-980).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitialState {
    /// Started at once.
    Running,
    /// Created, not started, resumable.
    Paused,
    /// Created, not started, offsets can be altered.
    Stopped,
}

impl std::str::FromStr for InitialState {
    type Err = String;

    /// Any letter case.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_uppercase().as_str() {
            "RUNNING" => Ok(Self::Running),
            "PAUSED" => Ok(Self::Paused),
            "STOPPED" => Ok(Self::Stopped),
            _ => Err(format!("initial_state {text} is unknown: use RUNNING, PAUSED or STOPPED")),
        }
    }
}

/// Why a connector file is refused. The sentences name the file, but no value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConnectorFileError {
    /// No `name`. `hint` says why a text that looks like JSON was not read as JSON, or what the file looks like.
    #[error("Connector configuration at '{path}' is missing the mandatory 'name' configuration{hint}")]
    MissingName {
        /// The file.
        path: String,
        /// Empty, or a remark that begins with a blank.
        hint: String,
    },
    /// The form of `POST /connectors`, with another name in `config.name`.
    #[error("Connector name configuration in 'config' doesn't match the one specified in 'name' at '{path}'")]
    NameMismatch {
        /// The file.
        path: String,
    },
    /// A JSON null as an option's value.
    #[error("option {option} in connector configuration at '{path}' is null: give it a value or remove it")]
    NullValue {
        /// The file.
        path: String,
        /// The option.
        option: String,
    },
    /// A JSON object or array as an option's value.
    #[error(
        "option {option} in connector configuration at '{path}' is a JSON object or array: write it as one string, with \\\" for each quote"
    )]
    NestedValue {
        /// The file.
        path: String,
        /// The option.
        option: String,
    },
    /// An `initial_state` that does not exist.
    #[error("connector configuration at '{path}': {reason}")]
    InitialState {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Not readable as properties.
    #[error("connector configuration at '{path}': {source}")]
    Properties {
        /// The file.
        path: String,
        /// What is wrong.
        source: PropertiesError,
    },
}

/// Reads a connector file in one of Connect's three forms. They are tried in this order: a JSON object of strings, the
/// JSON body of `POST /connectors`, Java properties. `path` is only for errors.
///
/// As in Connect, JSON numbers and booleans become text, and unknown fields of the POST form are ignored.
pub fn connector_file(path: &str, bytes: &[u8]) -> Result<ConnectorFile, ConnectorFileError> {
    let path = path.to_owned();
    if let Err(source) = check_size(bytes.len()) {
        return Err(ConnectorFileError::Properties { path, source });
    }
    let mut hint = String::new();
    match serde_json::from_slice::<Map<String, Value>>(bytes) {
        Ok(object) if object.values().all(|value| !value.is_object() && !value.is_array()) => {
            let config = string_map(&path, object)?;
            return named(path, config, hint);
        }
        Ok(object) if object.get("config").is_some_and(Value::is_object) => {
            return post_form(path, object);
        }
        Ok(object) if object.contains_key(CLASS) => {
            string_map(&path, object)?;
        }
        Ok(_) => {
            hint = " (it is JSON, but neither an object of strings nor an object with 'name' and 'config')".to_owned();
        }
        Err(error) if bytes.trim_ascii_start().starts_with(b"{") && !error.is_data() => {
            hint = format!(" (it looks like JSON, but is not: {error})");
        }
        Err(_) if bytes.trim_ascii_start().starts_with(b"[") => {
            hint = " (it is a JSON array: write each connector into a file of its own)".to_owned();
        }
        Err(_) if bytes.contains(&0) => {
            hint = " (it is not UTF-8 text, but perhaps UTF-16: save it as UTF-8)".to_owned()
        }
        Err(_) => {}
    }
    match parse(bytes) {
        Ok(config) => named(path, config, hint),
        Err(source) => Err(ConnectorFileError::Properties { path, source }),
    }
}

fn named(path: String, config: IndexMap<String, String>, hint: String) -> Result<ConnectorFile, ConnectorFileError> {
    match config.get("name") {
        Some(name) => Ok(ConnectorFile { name: name.clone(), config, initial_state: None }),
        None if config.contains_key("bootstrap.servers") => {
            let hint = " (it looks like the worker's file, which comes before the connectors' files, or with validate after --worker)";
            Err(ConnectorFileError::MissingName { path, hint: hint.to_owned() })
        }
        None => Err(ConnectorFileError::MissingName { path, hint }),
    }
}

fn post_form(path: String, mut object: Map<String, Value>) -> Result<ConnectorFile, ConnectorFileError> {
    let initial_state = match object.remove("initial_state") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => match text.parse() {
            Ok(state) => Some(state),
            Err(reason) => return Err(ConnectorFileError::InitialState { path, reason }),
        },
        Some(_) => {
            let reason = "initial_state is not a string: use RUNNING, PAUSED or STOPPED".to_owned();
            return Err(ConnectorFileError::InitialState { path, reason });
        }
    };
    let Some(name) = object.get("name").and_then(scalar_text) else {
        return Err(ConnectorFileError::MissingName { path, hint: String::new() });
    };
    let Some(Value::Object(config)) = object.remove("config") else {
        return Err(ConnectorFileError::MissingName { path, hint: String::new() });
    };
    let mut config = string_map(&path, config)?;
    match config.get("name") {
        Some(inner) if *inner != name => return Err(ConnectorFileError::NameMismatch { path }),
        Some(_) => {}
        None => {
            config.insert("name".to_owned(), name.clone());
        }
    }
    Ok(ConnectorFile { name, config, initial_state })
}

fn string_map(path: &str, object: Map<String, Value>) -> Result<IndexMap<String, String>, ConnectorFileError> {
    object
        .into_iter()
        .map(|(option, value)| match scalar_text(&value) {
            Some(text) => Ok((option, text)),
            None if value.is_null() => Err(ConnectorFileError::NullValue { path: path.to_owned(), option }),
            None => Err(ConnectorFileError::NestedValue { path: path.to_owned(), option }),
        })
        .collect()
}

fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties::MAX_FILE_BYTES;

    #[test]
    fn connector_file_as_a_json_object_of_strings() {
        let file = connector_file("c.json", br#"{"name":"c","tasks.max":1,"x":true,"y":1e+21}"#).unwrap();
        assert_eq!(file.name, "c");
        assert_eq!(file.config["tasks.max"], "1");
        assert_eq!(file.config["x"], "true");
        assert_eq!(file.config["y"], "1e+21");
        assert_eq!(file.initial_state, None);
    }

    #[test]
    fn connector_file_in_the_post_form() {
        let text = br#"{"name":"c","config":{"a":"b"},"initial_state":"paused","other":[]}"#;
        let file = connector_file("c.json", text).unwrap();
        assert_eq!((file.name.as_str(), file.config["name"].as_str()), ("c", "c"));
        assert_eq!(file.initial_state, Some(InitialState::Paused));

        let mismatch = connector_file("c.json", br#"{"name":"c","config":{"name":"d"}}"#).unwrap_err();
        assert_eq!(
            mismatch.to_string(),
            "Connector name configuration in 'config' doesn't match the one specified in 'name' at 'c.json'"
        );
        let state = connector_file("c.json", br#"{"name":"c","config":{},"initial_state":"gone"}"#).unwrap_err();
        assert!(state.to_string().contains("RUNNING, PAUSED or STOPPED"), "{state}");
    }

    #[test]
    fn connector_file_as_properties() {
        let file = connector_file("c.properties", b"name=c\nwebsocket.url=ws://h/\n").unwrap();
        assert_eq!((file.name.as_str(), file.config["websocket.url"].as_str()), ("c", "ws://h/"));
    }

    #[test]
    fn a_missing_name_is_reported_in_every_form() {
        for text in [&b"a=b"[..], br#"{"a":"b"}"#, br#"{"config":{"a":"b"}}"#, b""] {
            assert_eq!(
                connector_file("c", text).unwrap_err().to_string(),
                "Connector configuration at 'c' is missing the mandatory 'name' configuration"
            );
        }
        let broken = connector_file("c", b"{\"name\": \"c\",\n\"a\": }").unwrap_err().to_string();
        assert!(broken.contains("looks like JSON, but is not: expected value at line 2 column 6"), "{broken}");
        let worker = connector_file("w", b"bootstrap.servers=localhost:9092").unwrap_err().to_string();
        assert!(worker.contains("looks like the worker's file"), "{worker}");
    }

    #[test]
    fn what_is_no_connector_file_is_told_apart() {
        for (text, words) in [
            (
                &br#"{"name":"c","connector.class":"X","websocket.subscription.message":{"op":"x"}}"#[..],
                "option websocket.subscription.message",
            ),
            (br#"[{"name":"c"}]"#, "is a JSON array"),
            (b"\xff\xfen\0a\0m\0e\0=\0c\0", "perhaps UTF-16"),
            (br#"{"name":"c","configs":{"a":"b"}}"#, "an object with 'name' and 'config'"),
        ] {
            let refused = connector_file("c", text).unwrap_err().to_string();
            assert!(refused.contains(words), "{refused}");
        }
    }

    #[test]
    fn no_value_is_shown() {
        let file = connector_file("c", br#"{"name":"c","websocket.auth.token":"s3cret"}"#).unwrap();
        assert!(!format!("{file:?}").contains("s3cret"));
        let null = connector_file("c", br#"{"name":"c","a":null,"websocket.auth.token":"s3cret"}"#).unwrap_err();
        assert_eq!(
            null.to_string(),
            "option a in connector configuration at 'c' is null: give it a value or remove it"
        );
    }

    #[test]
    fn an_oversized_file_is_refused() {
        let text = vec![b'#'; MAX_FILE_BYTES + 1];
        assert!(connector_file("f", &text).unwrap_err().to_string().contains("limit"));
    }
}
