//! The feeds: numbered messages of the test kit's server, with scripts for each scenario.

use std::path::{Path, PathBuf};
use std::time::Duration;

use connect_websocket_testkit::{
    Accept, Close, Deflate, Kind as Frame, Messages, OnClose, Play, Script, Server, Stats, Step, TestPki, TlsProfile,
};
use tempfile::TempDir;

use crate::sample::Outcome;

/// What a scenario sends before it measures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WarmUp {
    /// As fast as the socket takes them.
    pub messages: u64,
    /// Then, if the scenario has a rate, for so long at this rate.
    pub seconds: u64,
    /// Then nothing, so that what this has set going comes to rest.
    pub rest: Duration,
}

impl WarmUp {
    /// Connections to Kafka are up and memory is in use then.
    pub(crate) const NATIVE: WarmUp = WarmUp { messages: 1_000, seconds: 0, rest: Duration::from_millis(300) };

    /// A JVM has compiled what is measured then.
    pub(crate) const JVM: WarmUp = WarmUp { messages: 200_000, seconds: 5, rest: Duration::from_secs(2) };

    /// How many messages that is.
    pub(crate) fn total(self, rate: u32) -> u64 {
        self.messages + self.seconds * u64::from(rate)
    }
}

/// How the messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    Tls,
    Deflate,
}

impl Transport {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Transport::Plain => "plain",
            Transport::Tls => "TLS",
            Transport::Deflate => "permessage-deflate",
        }
    }
}

/// How a live feed ends its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Close,
    Reset,
}

/// What all messages of a feed have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub frame: Frame,
    /// Bytes.
    pub size: usize,
    pub warm_up: WarmUp,
}

/// A server of numbered messages.
pub(crate) struct Feed {
    server: Server,
    pki: Option<(TempDir, PathBuf)>,
}

impl Feed {
    /// The warm-up, then, after [`Feed::begin`], as fast as the socket takes them up to `total` in all.
    pub(crate) fn burst(transport: Transport, shape: Shape, total: u64) -> Outcome<Feed> {
        let messages = Messages { until_n: Some(total), ..shape.messages() };
        Feed::start(transport, Script::every(shape.warmed_up(transport, 0).send(messages)))
    }

    /// The same at `rate` per second, with the time of sending in each message.
    pub(crate) fn paced(shape: Shape, rate: u32, total: u64) -> Outcome<Feed> {
        let messages =
            Messages { until_n: Some(total), rate: Some(f64::from(rate)), timestamp: true, ..shape.messages() };
        Feed::start(Transport::Plain, Script::every(shape.warmed_up(Transport::Plain, rate).send(messages)))
    }

    /// The same at `rate` per second without end, or silence; the warm-up has no part at the rate.
    pub(crate) fn idle(shape: Shape, rate: Option<u32>) -> Outcome<Feed> {
        let play = shape.warmed_up(Transport::Plain, 0);
        let play = match rate {
            Some(rate) => play.send(Messages { rate: Some(f64::from(rate)), ..shape.messages() }),
            None => play,
        };
        Feed::start(Transport::Plain, Script::every(play))
    }

    /// `rate` per second whether anybody is connected or not; each connection ends after `every`.
    pub(crate) fn live(size: usize, rate: f64, every: Duration, end: End) -> Outcome<Feed> {
        let for_ms = Some(u64::try_from(every.as_millis()).unwrap_or(u64::MAX));
        let play = Play::accept().send(Messages { rate: Some(rate), live: true, for_ms, ..of(size) });
        let close =
            Close { code: Some(1001), reason: "going away".to_owned(), wait_ms: Some(10_000), ..Close::default() };
        let play = match end {
            End::Close => play.step(Step::Close(close)),
            End::Reset => play.reset(),
        };
        Feed::start(Transport::Plain, Script::every(play))
    }

    /// `rate` per second, without end or up to `total` over all connections; the client's Close is answered after 50
    /// messages more, which were on their way.
    pub(crate) fn steady(size: usize, rate: f64, total: Option<u64>) -> Outcome<Feed> {
        let play = Play::accept().send(Messages { rate: Some(rate), until_n: total, ..of(size) });
        Feed::start(Transport::Plain, Script::every(play.on_close(OnClose::GoOnSending { count: 50 })))
    }

    fn start(transport: Transport, script: Script) -> Outcome<Feed> {
        let fail = |e: std::io::Error| format!("the feed cannot be started: {e}");
        if transport != Transport::Tls {
            return Ok(Feed { server: Server::start(script).map_err(fail)?, pki: None });
        }
        let dir = TempDir::with_prefix("bench-pki-").map_err(fail)?;
        let pki = TestPki::new().map_err(fail)?;
        pki.write_to(dir.path()).map_err(fail)?;
        let server = Server::start_tls(script, &pki, TlsProfile::Good).map_err(fail)?;
        let ca = dir.path().join("ca.pem");
        Ok(Feed { server, pki: Some((dir, ca)) })
    }

    pub(crate) fn url(&self) -> &str {
        self.server.url()
    }

    /// PEM file of the authority to trust, with TLS.
    pub(crate) fn ca(&self) -> Option<&Path> {
        self.pki.as_ref().map(|(_, ca)| ca.as_path())
    }

    pub(crate) fn stats(&self) -> Stats {
        self.server.stats()
    }

    /// Ends the warm-up.
    pub(crate) fn begin(&self) {
        self.server.signal();
    }

    /// Whether compression was agreed on every connection.
    pub(crate) fn is_compressed(&self) -> bool {
        let stats = self.server.stats();
        !stats.connections.is_empty()
            && stats
                .connections
                .iter()
                .all(|c| c.extensions.as_deref().is_some_and(|e| e.contains("permessage-deflate")))
    }
}

fn of(size: usize) -> Messages {
    Messages::forever().size(size)
}

impl Shape {
    fn messages(self) -> Messages {
        Messages { kind: self.frame, ..of(self.size) }
    }

    fn warmed_up(self, transport: Transport, rate: u32) -> Play {
        // The quickest level, so that the feed is not what is measured.
        let deflate = (transport == Transport::Deflate).then(|| Deflate { level: Some(1), ..Deflate::default() });
        let mut play = Play::accept_with(Accept { deflate, ..Accept::default() })
            .send(Messages { until_n: Some(self.warm_up.messages), ..self.messages() });
        let total = self.warm_up.total(rate);
        if total > self.warm_up.messages {
            play = play.send(Messages { until_n: Some(total), rate: Some(f64::from(rate)), ..self.messages() });
        }
        play.step(Step::AwaitSignal)
    }
}
