//! The testkit against a raw client: what is announced must be on the wire, and the books must be right.

mod client;
mod feed;
mod handshake;
mod processes;
mod proxies;
mod simulations;
mod steps;
