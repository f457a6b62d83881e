//! What the command line can ask for: the worker itself, and `validate`, `feeds` and `demo`.

pub mod demo;
pub mod feeds;
pub mod standalone;
pub mod validate;
