//! What `connect-websocket demo` needs beside the worker: nothing here serves production.

pub mod broker;
pub mod memory;
