//! What is measured, and what each figure is called.

use std::fmt;

use connect_websocket_e2e::Kafka;
use connect_websocket_testkit::Kind as Frame;

use crate::arrivals::Topic;
use crate::feed::{End, Transport};
use crate::jvm::Jvm;
use crate::program::{Group, Kind, Program, Source};
use crate::runs::{self, Restart};
use crate::sample::{Outcome, Sample};

/// One thing to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scenario {
    /// As many messages as fast as the socket takes them.
    Burst { transport: Transport, size: usize, messages: u64 },
    /// A steady rate: latency and processor time.
    Paced { rate: u32, size: usize, seconds: u64 },
    /// One message a second, or none.
    Idle { rate: Option<u32>, seconds: u64 },
    /// A live feed that ends its connections.
    Ends { end: End, rate: u32, every: u64, seconds: u64 },
    /// SIGTERM in mid-stream.
    Stop { rate: u32 },
    /// The connector or its task ends and starts in mid-stream, in the same process.
    Restart { what: Restart, rate: u32 },
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric {
    pub title: &'static str,
    pub decimals: usize,
    /// Whether the ratio to the reference program is shown.
    pub ratio: bool,
}

const fn metric(title: &'static str, decimals: usize, ratio: bool) -> Metric {
    Metric { title, decimals, ratio }
}

const BURST: &[Metric] =
    &[metric("CPU s per million", 2, true), metric("messages/s", 0, true), metric("peak RSS MiB", 1, false)];
const PACED: &[Metric] = &[
    metric("latency p50 ms", 2, true),
    metric("latency p99 ms", 2, true),
    metric("CPU % of a core", 2, true),
    metric("CPU s per million", 2, false),
    metric("peak RSS MiB", 1, false),
];
const IDLE: &[Metric] = &[metric("CPU % of a core", 3, true), metric("peak RSS MiB", 1, false)];
const ENDS: &[Metric] = &[metric("missed %", 3, true), metric("connections", 0, false)];
const STOP: &[Metric] =
    &[metric("lost messages", 0, false), metric("time to stop ms", 0, false), metric("exit code", 0, false)];

const RESTART: &[Metric] =
    &[metric("lost messages", 0, false), metric("REST calls ms", 0, false), metric("connections", 0, false)];

impl Scenario {
    /// The name by which `--scenarios` selects it.
    pub(crate) fn group(&self) -> &'static str {
        match self {
            Scenario::Burst { .. } => "burst",
            Scenario::Paced { .. } => "paced",
            Scenario::Idle { .. } => "idle",
            Scenario::Ends { .. } => "ends",
            Scenario::Stop { .. } => "stop",
            Scenario::Restart { .. } => "restart",
        }
    }

    /// The values of each [`Sample`] of these programs.
    pub(crate) fn metrics(&self, group: Group) -> Vec<Metric> {
        let (all, per_message) = match self {
            Scenario::Burst { .. } => (BURST, true),
            Scenario::Paced { .. } => (PACED, true),
            Scenario::Idle { .. } => (IDLE, false),
            Scenario::Ends { .. } => (ENDS, false),
            Scenario::Stop { .. } => (STOP, false),
            Scenario::Restart { .. } => (RESTART, false),
        };
        let mut metrics = all.to_vec();
        if per_message && group != Group::Native {
            metrics.extend(Jvm::TITLES.iter().enumerate().map(|(at, title)| match at {
                0 => metric(title, 0, true),
                _ => metric(title, 2, false),
            }));
        }
        metrics
    }

    /// Whether lost messages are a fault of the run; where they are the figure itself, they aren't reported twice.
    pub(crate) fn expects_all(&self) -> bool {
        !matches!(self, Scenario::Ends { .. } | Scenario::Stop { .. } | Scenario::Restart { .. })
    }

    /// Whether the program can do it at all.
    pub(crate) fn suits(&self, program: &Program) -> bool {
        let is_plain_burst = matches!(self, Scenario::Burst { transport: Transport::Plain, .. });
        match &program.kind {
            Kind::FloorSocket(_) => matches!(self, Scenario::Burst { .. }),
            Kind::FloorProducer(_) => is_plain_burst,
            Kind::Connect { source: Source::None, .. } => matches!(self, Scenario::Idle { .. }),
            // The converter makes no difference elsewhere.
            Kind::Connect { source: Source::Floor, .. } | Kind::Connect { frame: Frame::Binary, .. } => {
                is_plain_burst || matches!(self, Scenario::Paced { .. })
            }
            Kind::Connect { source: Source::Plugin, .. } | Kind::Worker(_) => true,
            // It has no REST API.
            Kind::Plain(_) => !matches!(self, Scenario::Restart { .. }),
        }
    }

    /// Runs the program once.
    pub(crate) fn run(&self, program: &Program, kafka: &Kafka, topic: &str) -> Outcome<Sample> {
        let topic = Topic::create(kafka, topic)?;
        match *self {
            Scenario::Burst { transport, size, messages } => runs::burst(program, &topic, transport, size, messages),
            Scenario::Paced { rate, size, seconds } => runs::paced(program, &topic, rate, size, seconds),
            Scenario::Idle { rate, seconds } => runs::idle(program, &topic, rate, seconds),
            Scenario::Ends { end, rate, every, seconds } => runs::ends(program, &topic, end, rate, every, seconds),
            Scenario::Stop { rate } => runs::stop(program, &topic, rate),
            Scenario::Restart { what, rate } => runs::restart(program, &topic, what, rate),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scenario::Burst { transport, size, messages } => {
                write!(f, "Burst: {messages} messages of {size} B, {}", transport.name())
            }
            Scenario::Paced { rate, size, seconds } => {
                write!(f, "Steady: {rate} messages/s of {size} B for {seconds} s")
            }
            Scenario::Idle { rate: Some(rate), seconds } => write!(f, "Idle: {rate} message/s for {seconds} s"),
            Scenario::Idle { rate: None, seconds } => write!(f, "Idle: no message for {seconds} s"),
            Scenario::Ends { end, rate, every, seconds } => {
                let end = if *end == End::Close { "Close 1001" } else { "TCP reset" };
                write!(f, "Live feed of {rate} messages/s, {end} every {every} s, for {seconds} s")
            }
            Scenario::Stop { rate } => write!(f, "SIGTERM at {rate} messages/s"),
            Scenario::Restart { what: Restart::Connector, rate } => {
                write!(f, "DELETE of the connector and POST of the same at {rate} messages/s")
            }
            Scenario::Restart { what: Restart::Task, rate } => write!(f, "Restart of the task at {rate} messages/s"),
        }
    }
}
