//! What the command line can ask for: the worker itself, and three helps around it.

pub mod demo;
pub mod feeds;
pub mod standalone;
pub mod validate;
