//! Runs the real things for the tests: an Apache Kafka broker, the built `connect-websocket` binary, an Apache Kafka
//! Connect worker; and looks at what came out.
//!
//! Everything is synchronous and made for tests: what goes wrong ends in a panic whose message says what was awaited, and
//! a broker or worker that is dropped by a panic prints the tail of its log. All processes die with the test program.

pub mod acknowledged;
mod connect;
mod consumer;
pub mod delivery;
pub mod difference;
pub mod failures;
pub mod feeds;
mod host;
mod java;
mod kafka;
mod numbers;
pub mod offsets_file;
mod process;
pub mod prometheus;
mod properties;
mod rest;
pub mod resume;
pub mod scenario;
pub mod secrets;
mod source;
mod worker;

pub use connect::{Connect, ConnectBuilder};
pub use consumer::{Consumer, Record};
pub use host::{Host, records_in_log};
pub use java::{ConnectVersion, java_source, java_source_with, plugin_dir};
pub use kafka::{Kafka, KafkaBuilder, Secured};
pub use nix::sys::signal::Signal;
pub use numbers::{Numbers, Report};
pub use process::{Process, free_port, wait_until};
pub use rest::{Answer, Rest};
pub use source::source_config;
pub use worker::{Worker, WorkerBuilder, binary};
