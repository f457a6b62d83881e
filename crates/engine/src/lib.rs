#![doc = include_str!("flow.md")]

pub mod backfill;
pub mod calendar;
pub mod commits;
pub mod config;
pub mod config_def;
pub mod connection;
mod counters;
pub mod dialogue;
pub mod endpoint;
pub mod error;
pub mod feeds;
pub mod figures;
pub mod file;
pub mod gap;
pub mod handover;
pub mod intake;
pub mod json;
mod ledger;
mod losses;
pub mod metrics;
mod mutation;
mod nearest;
pub mod observer;
pub mod offset;
pub mod panic;
pub mod properties;
mod queue;
#[cfg(test)]
mod random;
pub mod record;
pub mod redact;
pub mod secret;
mod session;
#[cfg(test)]
mod simulation;
pub mod task;
pub mod task_id;
pub mod tls;
