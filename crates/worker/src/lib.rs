//! The native worker: a drop-in for `connect-standalone` for the WebSocket source connector.
//!
//! It brings what the engine ([`connect_websocket_engine`]) does not know: Kafka, offsets, converters, REST, configuration files.
//!
//! ```text
//!  command line ─▶ standalone ─┬─ config, framework, validate, provider, properties      files and options
//!                              ├─ rest ─▶ herder ─┬─ metrics                             control plane, a runtime of its own
//!                              │                  │ wanted state ▼   ▲ status, counters
//!                              │                  task  (a thread each)                  data path
//!                              │     engine ─batch─▶ convert ─▶ submitted ─▶ producer ─▶ Kafka
//!                              │                                    │ longest acknowledged prefix
//!                              └─ store  ◀──────────────────────────┘                    the offset file
//! ```
//!
//! Where to begin reading: [`task`] is the hot path, one page from poll to offset; [`herder`] is what REST requests do to it;
//! [`standalone`] is the process from start to end. What exists as an option stands in three tables: [`config::OPTIONS`],
//! [`rest::config::OPTIONS`] and [`framework::KEYS`].
//!
//! | module | in Kafka Connect |
//! |---|---|
//! | [`standalone`] | `ConnectStandalone` |
//! | [`herder`] | `StandaloneHerder` |
//! | [`task`] | `WorkerSourceTask` |
//! | [`submitted`] | `SubmittedRecords` |
//! | [`store`] | `FileOffsetBackingStore` |
//! | [`framework`] | `ConnectorConfig`, `SourceConnectorConfig` |
//! | [`rest`] | `RestServer` and its resources |
//!
//! The process has no API to link against: these modules are public for the binary and the tests.

pub mod check;
pub mod client_properties;
pub mod config;
pub mod convert;
pub mod demo;
mod descriptors;
pub mod feeds;
pub mod framework;
pub mod herder;
pub mod hidden;
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
