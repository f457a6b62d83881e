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

/// The name of the step for the opening handshake.
pub const CONNECT: &str = "connect";
pub(crate) const SUBSCRIBE: &str = "subscribe";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The compiled steps of a session: what to send, in which order, and what to wait for.
#[derive(Debug)]
pub struct Plan {
    pub names: Names,
    /// The pointers into messages that steps read. The intake adds its own.
    pub paths: Paths,
    /// The same for HTTP responses.
    pub(crate) scanner: Scanner,
    pub(crate) steps: Vec<Step>,
    /// The URL, if it is a template.
    pub(crate) url: Option<Template>,
    pub(crate) headers: Vec<(String, Template)>,
    pub(crate) subprotocols: Vec<Template>,
    pub(crate) topics: Vec<String>,
    pub(crate) item: Template,
    pub(crate) batch_size: usize,
    pub(crate) unsubscribe: Option<Template>,
    pub(crate) secrets: Vec<(VariableId, Secret)>,
    pub(crate) send_rate: Vec<Limit>,
    /// Whether a configured address is `wss://` or `https://`. Then rendered addresses must use TLS too.
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
    /// Whether one answer is awaited for each topic of a message.
    pub(crate) counts_topics: bool,
    pub(crate) timeout: Option<Template>,
    pub(crate) fail: Option<Condition>,
    pub(crate) fail_final: Option<Condition>,
    pub(crate) capture: Vec<Capture>,
    pub(crate) then: Option<Then>,
    pub(crate) url: Option<Template>,
    pub(crate) drop: bool,
}

/// When a step runs.
#[derive(Debug)]
pub(crate) enum Trigger {
    /// Once, in its order.
    InOrder,
    /// Repeatedly, after its turn in the order.
    Every { ms: Template, jitter: f64 },
    /// Whenever a message matches.
    On(Condition),
    /// When Kafka has all records of a message that matches. `latest`: only for the newest one of several.
    OnCommit { condition: Condition, latest: bool },
}

impl Trigger {
    /// Whether a message begins the step, and not the order.
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
    /// Forget the position, and reconnect.
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
    /// Whether steps check messages.
    pub fn listens(&self) -> bool {
        let listens = |step: &Step| {
            let waits = step.expect.is_some() || step.fail.is_some() || step.fail_final.is_some();
            step.trigger.reacts() || waits && !matches!(step.act, Act::Http(_) | Act::Connect)
        };
        self.resume.lost.is_some() || self.steps.iter().any(listens)
    }

    /// Whether messages are acknowledged to the feed. The feed sends those again that are not.
    pub fn acknowledges(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.trigger, Trigger::OnCommit { .. }))
    }

    /// Whether the URL is a template, so that the address is known only when a connection is made.
    pub fn renders_url(&self) -> bool {
        self.url.is_some()
    }

    /// Whether a new connection sends the position from which the feed resumes.
    pub fn asks_from_cursor(&self) -> bool {
        let headers = self.headers.iter().map(|(_, value)| value);
        let mut handshake = headers.chain(&self.url).chain(&self.subprotocols);
        handshake.any(|template| template.uses("cursor"))
            || self.steps.iter().any(|step| {
                // A heartbeat or an acknowledgement does not make the feed resume.
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
