//! The engine from outside: a task as a host runs it, against a server that misbehaves in every way a real one can.

mod acknowledge;
mod compression;
mod handover;
mod handshake;
mod harness;
mod hostile;
mod lifecycle;
mod liveness;
mod log_lines;
mod messages;
mod observed;
mod proxy;
mod queue;
mod reconnect;
mod requests;
mod resume;
mod secrets;
mod stopping;
mod tls;
