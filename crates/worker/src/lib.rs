//! The worker: it replaces `connect-standalone` for the WebSocket source connector.
//!
//! It has what the engine ([`connect_websocket_engine`]) does not contain: Kafka, offsets, converters, REST,
//! configuration files.
//!
//! ```text
//!  command::standalone ─┬─ config, connector                                      files and options
//!                       ├─ rest ─▶ herder ─┬─ metrics                             control plane, a runtime of its own
//!                       │                  │ wanted state ▼   ▲ status, counters
//!                       │                  task  (a thread each)                  data path
//!                       │     engine ─batch─▶ convert ─▶ submitted ─▶ producer ─▶ Kafka
//!                       │                                    │ longest acknowledged prefix
//!                       └─ store  ◀──────────────────────────┘                    the offset file
//! ```
//!
//! Where to begin reading: [`task`] is the way of a record from poll to offset. [`herder`] does what REST requests
//! want. [`command::standalone`] is the process from start to end. All options are in three tables:
//! [`config::OPTIONS`], [`rest::config::OPTIONS`] and [`connector::framework::KEYS`].
//!
//! | module | in Kafka Connect |
//! |---|---|
//! | [`command::standalone`] | `ConnectStandalone` |
//! | [`herder`] | `StandaloneHerder` |
//! | [`task`] | `WorkerSourceTask` |
//! | `task::submitted` | `SubmittedRecords` |
//! | [`store`] | `FileOffsetBackingStore` |
//! | [`connector::framework`] | `ConnectorConfig`, `SourceConnectorConfig` |
//! | [`rest`] | `RestServer` and its resources |
//!
//! This is not a library for others: the modules are public for the binary and the tests.

pub mod command;
pub mod config;
pub mod connector;
pub mod convert;
mod descriptors;
pub mod entities;
pub mod herder;
pub mod kafka;
pub mod learn;
pub mod logging;
pub mod metrics;
mod new_file;
pub mod properties;
pub mod rest;
pub mod store;
pub mod tape;
pub mod task;
