//! The native worker: a drop-in for `connect-standalone` for the WebSocket source connector.

pub mod check;
pub mod client_properties;
pub mod config;
pub mod convert;
pub mod demo;
pub mod framework;
pub mod herder;
pub mod kafka;
pub mod logging;
pub mod metrics;
pub mod producer;
pub mod properties;
pub mod provider;
pub mod rest;
pub mod standalone;
pub mod store;
pub mod submitted;
pub mod task;
pub mod topic_creation;
pub mod topics;
pub mod validate;
