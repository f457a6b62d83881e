//! The native worker: a drop-in for `connect-standalone` for the WebSocket source connector.
//!
//! It brings what the engine ([`connect_websocket_engine`]) does not know: Kafka, offsets, converters, REST, configuration files.
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
//! Where to begin reading: [`task`] is the hot path, one page from poll to offset; [`herder`] is what REST requests do to it;
//! [`command::standalone`] is the process from start to end. What exists as an option stands in three tables: [`config::OPTIONS`],
//! [`rest::config::OPTIONS`] and [`connector::framework::KEYS`].
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
//! The process has no API to link against: these modules are public for the binary and the tests.

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
pub mod properties;
pub mod rest;
pub mod store;
pub mod tape;
pub mod task;
