//! A connector's configuration: its file, the keys of Connect, validation, and hidden values.

pub mod file;
pub mod framework;
pub mod hidden;
pub mod validation;

use indexmap::IndexMap;

/// A configuration as a client has sent it. Null is possible in JSON, but Connect refuses it.
pub type SentConfig = IndexMap<String, Option<String>>;
