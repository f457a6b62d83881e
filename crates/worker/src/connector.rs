//! A connector's configuration: its file, the keys that Connect gives it, whether it is valid, what of it is shown.

pub mod file;
pub mod framework;
pub mod hidden;
pub mod validation;

use indexmap::IndexMap;

/// A configuration as a client sent it; null is a value that JSON has and Connect refuses.
pub type SentConfig = IndexMap<String, Option<String>>;
