//! The parts of the worker that need no running connector: each can be tested and fuzzed by itself.

pub mod client_properties;
pub mod config_error;
pub mod convert;
pub mod properties;
pub mod provider;
pub mod store;
pub mod topic_creation;
