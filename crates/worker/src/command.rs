//! The commands: the worker itself, and `validate`, `feeds`, `probe`, `record`, `replay` and `demo`.

pub mod demo;
pub mod feeds;
mod interrupt;
pub mod probe;
pub mod record;
pub mod replay;
pub mod say;
pub mod standalone;
mod time;
pub mod validate;
