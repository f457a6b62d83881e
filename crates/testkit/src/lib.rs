mod batch;
mod deflate;
mod frame;
mod handshake;
mod host;
mod link;
mod play;
mod script;
mod server;
mod shared;
mod stats;
mod tls;
mod trades;

pub use script::{
    Accept, Close, Content, Deflate, Handshake, Kind, Messages, OnClose, Play, Reject, Script,
    Step, Violation,
};
pub use server::{Server, TimedOut};
pub use stats::{CloseFrame, ConnectionStats, Ended, Request, Stats};
pub use tls::{TestPki, TlsProfile};
