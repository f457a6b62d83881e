//! The steps of a session, built by [`crate::config`].

use std::sync::Arc;
use std::time::Duration;

use super::expression::{Condition, Expression, Paths};
use super::rate::Limit;
use super::resume;
use super::template::Template;
use super::variables::{Names, VariableId, is_secret};
use crate::json::Scanner;
use crate::secret::Secret;

/// Of the opening handshake.
pub const CONNECT: &str = "connect";
pub(crate) const SUBSCRIBE: &str = "subscribe";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A session: what to say, in which order, and what to wait for.
#[derive(Debug)]
pub struct Plan {
    pub names: Names,
    /// What steps read of a message; the intake adds what it reads.
    pub paths: Paths,
    /// For HTTP answers.
    pub(crate) scanner: Scanner,
    pub(crate) steps: Vec<Step>,
    /// Where the connection goes, if that is a template.
    pub(crate) url: Option<Template>,
    pub(crate) headers: Vec<(String, Template)>,
    pub(crate) subprotocols: Vec<Template>,
    pub(crate) topics: Vec<String>,
    pub(crate) item: Template,
    pub(crate) batch_size: usize,
    pub(crate) unsubscribe: Option<Template>,
    pub(crate) secrets: Vec<(VariableId, Secret)>,
    pub(crate) send_rate: Vec<Limit>,
    /// Some configured address is `wss://` or `https://`, so none that is rendered may be without TLS.
    pub(crate) wants_tls: bool,
    pub(crate) resume: resume::Plan,
}

#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: Arc<str>,
    pub(crate) when: Option<Condition>,
    pub(crate) trigger: Trigger,
    pub(crate) act: Act,
    pub(crate) spread: Spread,
    pub(crate) expect: Option<Condition>,
    /// The answer is awaited once for each topic of a message.
    pub(crate) counts_topics: bool,
    pub(crate) timeout: Option<Template>,
    pub(crate) fail: Option<Condition>,
    pub(crate) fail_final: Option<Condition>,
    pub(crate) capture: Vec<Capture>,
    pub(crate) then: Option<Then>,
    pub(crate) url: Option<Template>,
    pub(crate) drop: bool,
}

/// When a step is done.
#[derive(Debug)]
pub(crate) enum Trigger {
    /// Once, at its place.
    InOrder,
    /// Again and again, from its place on.
    Every { ms: Template, jitter: f64 },
    /// Whenever a message matches.
    On(Condition),
    /// When Kafka has all records of a message that matches; `latest`: of several the newest alone.
    OnCommit { condition: Condition, latest: bool },
}

impl Trigger {
    /// Whether a message begins the step, whatever its place.
    pub(crate) fn reacts(&self) -> bool {
        matches!(self, Trigger::On(_) | Trigger::OnCommit { .. })
    }
}

#[derive(Debug)]
pub(crate) enum Act {
    Wait,
    Connect,
    Send { text: Template, binary: bool },
    Http(Box<Http>),
}

#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) method: String,
    pub(crate) url: Template,
    pub(crate) headers: Vec<(String, Template)>,
    pub(crate) body: Option<Template>,
    pub(crate) cache: Option<Template>,
}

/// How often a step's message or request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spread {
    Once,
    Topics,
    Batches,
}

#[derive(Debug)]
pub(crate) struct Capture {
    pub(crate) id: VariableId,
    pub(crate) name: String,
    pub(crate) value: Expression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Reconnect,
    Resubscribe,
    /// Forget where we were, and reconnect.
    Fresh,
    Fail,
}

impl Step {
    pub(super) fn waits(&self) -> bool {
        self.expect.is_some() || matches!(self.act, Act::Http(_) | Act::Connect)
    }

    pub(super) fn default_timeout() -> Duration {
        DEFAULT_TIMEOUT
    }
}

impl Plan {
    /// Whether steps look at messages.
    pub fn listens(&self) -> bool {
        let listens = |step: &Step| {
            let waits = step.expect.is_some() || step.fail.is_some() || step.fail_final.is_some();
            step.trigger.reacts() || waits && !matches!(step.act, Act::Http(_) | Act::Connect)
        };
        self.resume.lost.is_some() || self.steps.iter().any(listens)
    }

    /// Whether the feed wants to hear what Kafka has: what it does not hear of comes again.
    pub fn acknowledges(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.trigger, Trigger::OnCommit { .. }))
    }

    /// Whether the address of the connection is known only when it is made.
    pub fn renders_url(&self) -> bool {
        self.url.is_some()
    }

    /// Whether a new connection says where the feed is to go on.
    pub fn asks_from_cursor(&self) -> bool {
        let headers = self.headers.iter().map(|(_, value)| value);
        let mut handshake = headers.chain(&self.url).chain(&self.subprotocols);
        handshake.any(|template| template.uses("cursor"))
            || self.steps.iter().any(|step| {
                // Heartbeats and acknowledgements ask for nothing.
                let asks = matches!(step.trigger, Trigger::InOrder | Trigger::On(_));
                asks && (step.act.uses("cursor") || step.url.as_ref().is_some_and(|url| url.uses("cursor")))
            })
    }

    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.secrets.iter().map(|(_, secret)| secret)
    }

    pub(super) fn names_topics(&self, step: usize) -> bool {
        self.steps[step].spread != Spread::Once
    }

    pub(super) fn is_for_each_topic(&self, step: usize) -> bool {
        self.steps[step].spread == Spread::Topics
    }
}

impl Act {
    pub(crate) fn uses(&self, variable: &str) -> bool {
        match self {
            Act::Send { text, .. } => text.uses(variable),
            Act::Http(http) => http.uses(variable),
            Act::Wait | Act::Connect => false,
        }
    }
}

impl Http {
    fn uses(&self, variable: &str) -> bool {
        let headers = self.headers.iter().map(|(_, value)| value);
        headers.chain([&self.url]).chain(&self.body).any(|template| template.uses(variable))
    }
}

impl Capture {
    pub(super) fn is_secret(&self) -> bool {
        is_secret(&self.name)
    }
}
