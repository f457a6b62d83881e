//! The native worker: a drop-in for `connect-standalone` for the WebSocket source connector.

pub mod config;
pub mod task;
