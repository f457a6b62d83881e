//! A scriptable WebSocket server that misbehaves in every way a real one can, proxies that break the path to it, and a feed that
//! knows exactly what it sent.
//!
//! It uses no WebSocket library: every frame, right or wrong, is written by hand onto a tokio socket. [`Server`], [`Proxy`] and
//! [`Feed`] each run on a small runtime of their own, so all methods are plain functions that work from any test, async or not, and a
//! drop ends everything.
//!
//! # Example
//!
//! The first connection waits for a subscription, gets 1,000 numbered messages, then Close 1001; every later one is turned away.
//!
//! ```
//! use std::time::Duration;
//! use connect_websocket_testkit::{Messages, Play, Script, Server};
//!
//! let server = Server::start(Script::plays([
//!     Play::accept()
//!         .expect_text("subscribe")
//!         .send_text(r#"{"event":"subscribed"}"#)
//!         .send(Messages::count(1000).size(512))
//!         .close(1001),
//!     Play::reject(503),
//! ]))?;
//! // Let the client under test connect to server.url(), then compare what it has with what was sent:
//! let nobody_came = server.wait_until(|stats| stats.sent() == 1000, Duration::ZERO);
//! assert!(nobody_came.is_err());
//! assert_eq!(server.stop().next_n, 0);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! The same script in JSON, for the binary `websocket-testkit --script script.json` or `PUT /_script`:
//!
//! ```
//! # let json = r#"
//! {"plays": [
//!   {"handshake": {"do": "accept"},
//!    "steps": [
//!      {"do": "expect_text", "contains": "subscribe"},
//!      {"do": "send_text", "text": "{\"event\":\"subscribed\"}"},
//!      {"do": "send", "count": 1000, "size": 512},
//!      {"do": "close", "code": 1001}]},
//!   {"handshake": {"do": "reject", "status": 503}}
//! ]}
//! # "#;
//! # connect_websocket_testkit::Script::from_json(json)?;
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! # Where to look
//!
//! | wanted | look at |
//! |---|---|
//! | how a handshake is answered, refused, delayed, broken | [`Handshake`], [`Accept`], [`Reject`] |
//! | what happens on the open connection (with a table) | [`Step`] |
//! | numbered data: rate, size, fragments, time stamps | [`Messages`] |
//! | compression | [`Deflate`] |
//! | broken frames, one rule each | [`Violation`] |
//! | what the client's Close brings about | [`OnClose`] |
//! | what was seen and sent, exactly | [`Stats`], [`ConnectionStats`] |
//! | from the test to open connections | [`Server::signal`], [`Server::reset_all`], [`Server::close_all`] |
//! | an outage of the server | [`Server::stop`], then [`Server::bind`] on the same address |
//! | a stalled, slow or cut path, also to Kafka; HTTP and SOCKS5 proxies | [`Proxy`] |
//! | certificates, good and bad | [`TestPki`], [`TlsProfile`] |
//! | a feed of trades | [`Feed`] |
//! | recorded traffic of real feeds | [`recordings`] |
//! | a real feed as its documentation describes it, log-in and heartbeats included | [`Simulation`], [`SIMULATORS`] |
//!
//! # Is anything lost?
//!
//! The server's counter gives each numbered message an n, over all connections. A message that was not written in full gives its n
//! back, so the set of sent numbers has no gap and no double ([`ConnectionStats::ranges`]). What the socket took before a reset may
//! never have reached the client; [`ConnectionStats::in_doubt`] says how much, and [`Stats::in_doubt`] in all. After a closing
//! handshake nothing is in doubt: everything in `sent_before_close` must be there.

mod batch;
mod deflate;
mod desk;
mod feed;
mod frame;
mod handshake;
mod host;
mod link;
mod play;
mod proxy;
pub mod recordings;
mod script;
mod server;
mod shared;
mod simulation;
mod simulator;
mod simulators;
mod stats;
mod step;
mod tls;
mod trades;

pub use feed::{Feed, FeedConfig, FeedConnection, FeedSummary};
pub use proxy::{Proxy, ProxyRequest};
pub use script::{Accept, Deflate, Handshake, OnClose, Play, Reject, Script};
pub use server::{Server, TimedOut};
pub use simulation::Simulation;
pub use simulator::signature::secret_forms;
pub use simulator::{Expected, RECORDS, Simulator, Wrong};
pub use simulators::SIMULATORS;
pub use stats::{CloseFrame, ConnectionStats, Ended, Request, Stats};
pub use step::{Close, Content, Kind, Messages, Step, Violation};
pub use tls::{TestPki, TlsProfile};
