//! A connector's configuration: its file, the keys that Connect gives it, whether it is valid, what of it is shown.

pub mod file;
pub mod framework;
pub mod hidden;
pub mod validation;
