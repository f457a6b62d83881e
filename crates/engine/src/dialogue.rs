//! The steps of a session: what is sent to a feed, and what is awaited. No I/O: the caller gives bytes, the time and
//! chance, and does the actions.
//!
//! ```text
//! compile:  text + Scope (known names) ─▶ Template | Condition | Expression, and the Paths they read
//! evaluate: Values (message, variables, now, chance) ─▶ text, true or false, or an error
//! a session: Plan (its steps) ─▶ Dialogue, one for each connection: takes messages, responses and the time, returns
//! actions
//! ```

mod acknowledge;
pub mod decimal;
pub mod expression;
#[cfg(test)]
mod fixture;
pub mod function;
mod keep;
pub mod list;
pub mod rate;
mod render;
pub mod resume;
mod seen;
pub mod signature;
pub mod step;
pub mod template;
pub mod variables;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::time::Instant;
use tracing::{debug, info};

pub use expression::{Condition, Expression, Failure, Message, Paths, Problem, Scope, Topics, Values};
pub use step::Plan;
pub use template::{Position, Template};
pub use variables::{Made, Names, VariableId, Variables};

use crate::intake::memory::Memory;
use crate::json::Scanned;
use crate::observer::{self, Sight, Watched};
use crate::offset;
use crate::redact::Redactor;
use acknowledge::Owed;
use rate::Rate;
use seen::Seen;
use step::{Act, Step, Then, Trigger};

/// How many characters of a server's answer an error shows.
const MAX_WORDS: usize = 200;
/// The most messages that wait to be sent, and the most answers that are awaited.
const MAX_JOBS: usize = 10_000;
/// The most bytes of rendered answers to messages that wait to be sent.
const MAX_JOBS_BYTES: usize = 1 << 20;
/// The shortest interval of a repeated step.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);
/// The longest interval or timeout of a step.
const MOST_INTERVAL: Duration = Duration::from_secs(7 * 24 * 3600);

/// The time, and a source of chance.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    pub now: Instant,
    pub at: SystemTime,
    /// Fills a buffer with random bytes.
    pub chance: &'a dyn Fn(&mut [u8]),
}

/// What to do next. It may contain secrets, so its `Debug` shows only kinds and lengths.
#[derive(Clone, PartialEq, Eq)]
pub enum Action {
    Http(HttpRequest),
    Connect(Handshake),
    Text(Vec<u8>),
    Binary(Vec<u8>),
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Http(request) => write!(f, "Http({request:?})"),
            Action::Connect(_) => f.write_str("Connect"),
            Action::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Action::Binary(data) => write!(f, "Binary({} bytes)", data.len()),
        }
    }
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.method)
    }
}

/// An HTTP request of a step. The response goes to [`Dialogue::answered`].
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    pub timeout: Duration,
}

/// The rendered values for the opening handshake.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Handshake {
    /// `None`: the configured URL.
    pub url: Option<String>,
    /// They replace configured headers of the same name.
    pub headers: Vec<(String, String)>,
    /// `None`: the configured subprotocols.
    pub subprotocols: Option<Vec<String>>,
}

/// A server's response to a request or to the opening handshake.
#[derive(Clone, Copy)]
pub struct HttpAnswer<'a> {
    pub status: u16,
    pub headers: &'a [(String, String)],
    pub body: &'a str,
}

/// Why the connection has to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A step has failed, and another attempt can hardly help, unless the feed has worked before.
    Failed(String),
    /// A step has failed, and another attempt can help.
    Outage(String),
    /// The task fails.
    Final(String),
    /// A step requests a new connection.
    Reconnect(String),
    /// The feed cannot resume. The next connection begins without a position.
    Lost(String),
}

/// What is kept from one connection to the next: cached responses, variables, and the address that a step has set.
#[derive(Default)]
pub struct Carried {
    /// Cached responses by step and target.
    cache: HashMap<(usize, Target), Cached>,
    moved: Option<String>,
    connections: u64,
    /// Captured variables that are kept, of the connection or of a topic.
    resume: HashMap<(Option<String>, VariableId), String>,
}

impl Carried {
    /// Continues with stored variables.
    pub fn stored(plan: &Plan, position: &offset::Position, keyed: &HashMap<String, offset::Position>) -> Carried {
        let mut carried = Carried::default();
        let keyed = keyed.iter().map(|(topic, position)| (Some(topic.clone()), position));
        for (topic, position) in keyed.chain([(None, position)]) {
            for (name, value) in &position.variables {
                if let Some(id) = plan.names.id(name).filter(|id| plan.resume.variables.contains(id)) {
                    carried.resume.insert((topic.clone(), id), value.clone());
                }
            }
        }
        carried
    }

    /// Forgets what a new connection would resume from.
    pub fn forget_position(&mut self) {
        self.resume.clear();
    }
}

struct Cached {
    until: Instant,
    variables: Vec<(VariableId, String)>,
}

/// The steps of a session on one connection, from the first request to the end.
pub struct Dialogue {
    plan: Arc<Plan>,
    redactor: Arc<Redactor>,
    variables: Variables,
    /// The last number that `n()` has returned.
    count: Cell<u64>,
    rate: Rate,
    /// The next ordered step to begin.
    at: usize,
    /// The ordered step that is not done yet.
    current: Option<usize>,
    jobs: VecDeque<Job>,
    /// A request is under way.
    asked: Option<Job>,
    awaited: VecDeque<Awaited>,
    /// The deadline of each step for its answers, since its last message.
    deadlines: HashMap<usize, Instant>,
    /// When each repeated step runs next.
    ticks: HashMap<usize, Instant>,
    /// The evaluated `.then` of a step. It is evaluated when the message comes that begins the step.
    next: HashMap<usize, Next>,
    opened: bool,
    moved: Option<String>,
    /// Whether this connection resumes.
    resuming: bool,
    /// Whether some of its topics do not resume.
    partly: bool,
    /// Whether the position was lost.
    void: bool,
    /// The topics whose position was lost.
    void_topics: Vec<String>,
    /// Whether the feed could not resume, and the connection is kept.
    lost: bool,
    /// Acknowledgements to send when Kafka has a message, by the message's number.
    owed: BTreeMap<i64, Vec<Owed>>,
    actions: VecDeque<Action>,
    /// How many of the actions answer messages of the feed, and their bytes. A message can have millions of parts.
    answers: (usize, usize),
    carried: Carried,
    watched: Watched,
}

/// A message or request that waits to be sent.
#[derive(Clone)]
struct Job {
    step: usize,
    target: Target,
    /// The rendered message, if it answers a message of the feed.
    rendered: Option<String>,
    /// Whether an answer is awaited.
    asks: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Target {
    Once,
    Topic(usize),
    Batch(Range<usize>),
}

/// What follows when a step is done.
struct Next {
    then: Then,
    /// The address of the next connection.
    url: Option<String>,
    /// The server's words, if there are any.
    words: String,
}

/// An awaited answer.
#[derive(Debug, Clone)]
struct Awaited {
    step: usize,
    target: Target,
    left: usize,
}

impl Dialogue {
    /// Begins a connection. `carried` is what the last [`Dialogue::end`] has returned, `memory` what the last intake
    /// has passed on.
    pub fn begin(plan: Arc<Plan>, redactor: Arc<Redactor>, mut carried: Carried, memory: &Memory) -> Dialogue {
        let mut variables = Variables::default();
        for (id, secret) in &plan.secrets {
            variables.set(*id, secret.reveal());
        }
        carried.connections += 1;
        let given = [("connection", carried.connections.to_string()), ("moved", carried.moved.is_some().to_string())];
        for (name, value) in given {
            plan.names.id(name).into_iter().for_each(|id| variables.set(id, &value));
        }
        let mut dialogue = Dialogue {
            rate: Rate::new(plan.send_rate.clone()),
            plan,
            redactor,
            variables,
            count: Cell::new(0),
            at: 0,
            current: None,
            jobs: VecDeque::new(),
            asked: None,
            awaited: VecDeque::new(),
            deadlines: HashMap::new(),
            ticks: HashMap::new(),
            next: HashMap::new(),
            opened: false,
            moved: carried.moved.clone(),
            resuming: false,
            partly: false,
            void: false,
            void_topics: Vec::new(),
            lost: false,
            owed: BTreeMap::new(),
            actions: VecDeque::new(),
            answers: (0, 0),
            carried,
            watched: Watched::default(),
        };
        dialogue.go_on_from(memory);
        dialogue
    }

    /// Reports to the observer what the steps do.
    pub(crate) fn watched_by(&mut self, watched: Watched) {
        self.watched = watched;
    }

    pub(crate) fn watched(&self) -> Watched {
        self.watched.clone()
    }

    /// Ends the connection, or the attempt at one. If it has not worked, the cached responses and the address that it
    /// used are forgotten.
    pub fn end(mut self, worked: bool) -> Carried {
        if !worked {
            self.carried.cache.clear();
            if self.carried.moved == self.moved {
                self.carried.moved = None;
            }
        }
        self.carried
    }

    pub fn next_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        if self.actions.is_empty() {
            self.answers = (0, 0);
        }
        action
    }

    /// Whether all ordered steps are done.
    pub fn is_ready(&self) -> bool {
        self.opened && self.current.is_none() && self.at == self.plan.steps.len()
    }

    pub fn variables(&self) -> &Variables {
        &self.variables
    }

    /// Returns the last number that `n()` has returned.
    pub fn count(&self) -> &Cell<u64> {
        &self.count
    }

    /// Returns when `websocket.send.rate` allows the next ping or message.
    pub fn next_send(&self, now: Instant) -> Instant {
        self.rate.next(now)
    }

    /// Counts a ping or pong for `websocket.send.rate`.
    pub fn count_send(&mut self, now: Instant) {
        self.rate.count(now);
    }

    /// Does what can be done now: the next steps, and messages that waited for the rate. `reading`: whether the socket
    /// is read. If not, no answer counts as late.
    ///
    /// # Errors
    /// A step cannot be done, or its answer has not come in time.
    pub fn proceed(&mut self, moment: &Moment<'_>, reading: bool) -> Result<(), End> {
        if reading {
            self.check_deadlines(moment.now)?;
        }
        self.tick(moment)?;
        loop {
            self.advance(moment)?;
            if !self.work(moment)? {
                return Ok(());
            }
        }
    }

    /// Returns when to call [`Dialogue::proceed`] if nothing is received before.
    pub fn next_wake(&self, now: Instant, reading: bool) -> Option<Instant> {
        let held = self.jobs.iter().find(|job| self.sends(job.step)).map(|_| self.rate.next(now));
        let deadlines = self.deadlines.values().filter(|_| reading);
        deadlines.chain(self.ticks.values()).copied().chain(held).min()
    }

    /// Moves the deadlines of answers by a time in which nothing was read.
    pub fn shift(&mut self, by: Duration) {
        self.deadlines.values_mut().for_each(|at| *at += by);
    }

    /// Continues after the opening handshake. `headers`: those of the server's response.
    ///
    /// # Errors
    /// The same as [`Dialogue::proceed`].
    pub fn opened(&mut self, headers: &[(String, String)], moment: &Moment<'_>) -> Result<(), End> {
        let Some(step) = self.current.filter(|&step| matches!(self.plan.steps[step].act, Act::Connect)) else {
            return Ok(());
        };
        self.opened = true;
        let answer = HttpAnswer { status: 101, headers, body: "" };
        let found = self.scan(&answer);
        let seen = Seen::answer(&answer, &found);
        self.judge(step, &Target::Once, &seen, moment)?;
        self.capture_answer(step, &Target::Once, &seen, moment)?;
        self.current = None;
        self.deadlines.remove(&step);
        self.watched.tell(Sight::StepDone { step: &self.plan.steps[step].name });
        self.proceed(moment, true)
    }

    /// Takes the response of a server that refused the handshake. Returns what the conditions of the step `connect` say
    /// about it, and whether it means that the feed cannot resume.
    pub fn refusal(&mut self, answer: &HttpAnswer<'_>, moment: &Moment<'_>) -> Option<End> {
        let found = self.scan(answer);
        let seen = Seen::answer(answer, &found);
        if let Err(lost) = self.check_lost(&Target::Once, &seen, moment) {
            return Some(lost);
        }
        let connect = self.plan.steps.iter().position(|step| matches!(step.act, Act::Connect))?;
        self.says_no(connect, &Target::Once, &seen, moment)
    }

    /// Takes the response to the last request of [`Dialogue::next_action`].
    ///
    /// # Errors
    /// The response is a refusal, or the next step cannot be done.
    pub fn answered(&mut self, answer: &HttpAnswer<'_>, moment: &Moment<'_>) -> Result<(), End> {
        let Some(job) = self.asked.take() else { return Ok(()) };
        let plan = self.plan.clone();
        let step = &plan.steps[job.step];
        let (status, bytes) = (answer.status, answer.body.len());
        self.watched.tell(Sight::Answered { step: &step.name, status, bytes });
        let found = self.scan(answer);
        let seen = Seen::answer(answer, &found);
        self.check_lost(&job.target, &seen, moment)?;
        self.judge(job.step, &job.target, &seen, moment)?;
        let captured = self.capture_answer(job.step, &job.target, &seen, moment)?;
        if let Act::Http(http) = &step.act {
            self.keep_answer(&job, http, captured, moment)?;
        }
        self.conclude(job.step, seen.message, moment)?;
        self.proceed(moment, true)
    }

    /// Notes that there is no response to the request.
    pub fn unanswered(&mut self, why: &str) -> End {
        let name = self.asked.take().map(|job| self.plan.steps[job.step].name.clone()).unwrap_or_default();
        End::Failed(format!("the step {name}: {why}"))
    }

    /// Takes a message. Returns whether it may become records, and the end, if the message refuses something or a step
    /// requests a new connection.
    pub fn message(&mut self, message: Option<Scanned<'_>>, moment: &Moment<'_>) -> (bool, Option<End>) {
        if let Err(end) = self.check_lost(&Target::Once, &Seen { message, ..Seen::default() }, moment) {
            return (false, Some(end));
        }
        let met = match self.awaited_that(message, moment) {
            Ok(met) => met,
            Err(end) => return (false, Some(end)),
        };
        let on = self.matching(message, moment);
        if met.is_empty() && on.is_empty() {
            return (true, None);
        }
        let is_record = met.iter().map(|(step, _)| step).chain(&on).all(|&step| !self.plan.steps[step].drop);
        (is_record, self.act_upon(met, on, message, is_record, moment).err())
    }

    /// Keeps what the matching steps capture from a message, and runs them.
    fn act_upon(
        &mut self,
        met: Vec<(usize, Target)>,
        on: Vec<usize>,
        message: Option<Scanned<'_>>,
        is_record: bool,
        moment: &Moment<'_>,
    ) -> Result<(), End> {
        for (step, target) in met.iter().cloned().chain(on.iter().map(|&step| (step, Target::Once))) {
            let captured = self.captures(step, &target, moment, &Seen { message, ..Seen::default() })?;
            self.keep(&target, captured);
        }
        // The redactor knows the secrets of the message only after the captures.
        for &step in met.iter().map(|(step, _)| step).chain(&on) {
            self.watched.tell(Sight::Heard { step: &self.plan.steps[step].name, is_record });
        }
        for (step, target) in met {
            self.meet(step, &target);
            self.conclude(step, message, moment)?;
        }
        for step in on {
            self.act_on(step, message, moment)?;
        }
        self.proceed(moment, true)
    }

    /// Checks whether a message is an awaited answer. Refusals are checked first.
    fn awaited_that(&self, message: Option<Scanned<'_>>, moment: &Moment<'_>) -> Result<Vec<(usize, Target)>, End> {
        let mut met: Vec<(usize, Target)> = Vec::new();
        for awaited in &self.awaited {
            let step = &self.plan.steps[awaited.step];
            let made = Made::default();
            let values = Values { message, kept: true, ..self.values(&made, &awaited.target, "", moment) };
            let holds =
                |condition: &Option<Condition>| condition.as_ref().is_some_and(|condition| condition.holds(&values));
            let (is_final, fails) = (holds(&step.fail_final), holds(&step.fail));
            if is_final || fails {
                self.learn_captured(awaited.step, &awaited.target, moment, &Seen { message, ..Seen::default() });
                let words = self.refused(step, message);
                return Err(if is_final { End::Final(words) } else { End::Failed(words) });
            }
            if met.iter().all(|(of, _)| *of != awaited.step) && holds(&step.expect) {
                met.push((awaited.step, awaited.target.clone()));
            }
        }
        Ok(met)
    }

    fn matching(&self, message: Option<Scanned<'_>>, moment: &Moment<'_>) -> Vec<usize> {
        let made = Made::default();
        let values = Values { message, ..self.values(&made, &Target::Once, "", moment) };
        let matches = |step: usize| match &self.plan.steps[step].trigger {
            Trigger::On(condition) => condition.holds(&values) && !self.targets(step, moment).is_empty(),
            Trigger::InOrder | Trigger::Every { .. } | Trigger::OnCommit { .. } => false,
        };
        (0..self.plan.steps.len()).filter(|&at| self.opened && matches(at)).collect()
    }

    fn refused(&self, step: &Step, message: Option<Scanned<'_>>) -> String {
        let words = message.map(|message| self.redactor.foreign(message.text(), MAX_WORDS)).unwrap_or_default();
        format!("the step {}: the server answered {words}", step.name)
    }

    /// Takes an awaited answer.
    fn meet(&mut self, step: usize, target: &Target) {
        let Some(at) = self.awaited.iter().position(|awaited| awaited.step == step && awaited.target == *target) else {
            return;
        };
        self.awaited[at].left -= 1;
        if self.awaited[at].left == 0 {
            self.awaited.remove(at);
        }
        if self.awaited.iter().all(|awaited| awaited.step != step) {
            self.deadlines.remove(&step);
        }
    }

    /// Runs a step whose `.on` a message meets.
    fn act_on(&mut self, step: usize, message: Option<Scanned<'_>>, moment: &Moment<'_>) -> Result<(), End> {
        let plan = self.plan.clone();
        let next = self.next_of(step, message, moment)?;
        self.next.extend(next.map(|next| (step, next)));
        for target in self.targets(step, moment) {
            let rendered = match &plan.steps[step].act {
                Act::Send { text, .. } => Some(self.render(step, text, &target, message, moment)?),
                Act::Http(_) => None,
                Act::Wait if plan.steps[step].waits() => {
                    self.await_answer(step, target, moment)?;
                    continue;
                }
                Act::Wait | Act::Connect => continue,
            };
            self.add_job(Job { step, target, rendered, asks: true })?;
        }
        self.conclude(step, message, moment)
    }

    /// Evaluates `.then`, which may use the present message.
    fn next_of(&mut self, step: usize, message: Option<Scanned<'_>>, moment: &Moment<'_>) -> Result<Option<Next>, End> {
        let plan = self.plan.clone();
        let Step { then: Some(then), url, .. } = &plan.steps[step] else { return Ok(None) };
        let url = url.as_ref().map(|url| self.render(step, url, &Target::Once, message, moment)).transpose()?;
        let words = message.map(|message| self.redactor.foreign(message.text(), MAX_WORDS)).unwrap_or_default();
        Ok(Some(Next { then: *then, url, words }))
    }

    /// Does what `.then` says, once everything of the step is sent and answered.
    fn conclude(&mut self, step: usize, message: Option<Scanned<'_>>, moment: &Moment<'_>) -> Result<(), End> {
        if !self.is_done(step) {
            return Ok(());
        }
        self.watched.tell(Sight::StepDone { step: &self.plan.steps[step].name });
        let next = match self.next.remove(&step) {
            Some(next) => next,
            None => match self.next_of(step, message, moment)? {
                Some(next) => next,
                None => return Ok(()),
            },
        };
        let name = &self.plan.steps[step].name;
        let words = next.words;
        match next.then {
            Then::Fail => Err(End::Final(format!("the step {name}: the server answered {words}"))),
            Then::Reconnect => {
                let end = End::Reconnect(format!("the step {name} asks for a new connection: {words}"));
                self.carried.moved = next.url.or(self.carried.moved.take());
                Err(end)
            }
            Then::Resubscribe => self.resubscribe(moment),
            Then::Fresh => {
                let end = End::Lost(format!("the step {name} begins anew: {words}"));
                self.forget_position();
                Err(end)
            }
        }
    }

    /// Unsubscribes, and continues with the first step that uses topics.
    ///
    /// # Errors
    /// The message cannot be rendered.
    pub fn resubscribe(&mut self, moment: &Moment<'_>) -> Result<(), End> {
        let plan = self.plan.clone();
        let Some(first) = (0..plan.steps.len()).find(|&step| plan.names_topics(step)) else { return Ok(()) };
        if self.at <= first {
            return Ok(());
        }
        let goes_on = |step: usize| step < first || plan.steps[step].trigger.reacts();
        self.jobs.retain(|job| goes_on(job.step));
        self.awaited.retain(|awaited| goes_on(awaited.step));
        self.deadlines.retain(|&step, _| goes_on(step));
        self.ticks.retain(|&step, _| goes_on(step));
        self.next.retain(|&step, _| goes_on(step));
        if let Some(template) = &plan.unsubscribe {
            let each_topic = template.uses("topic") || !template.uses("topics") && plan.is_for_each_topic(first);
            for target in if each_topic { self.each_topic() } else { self.each_batch() } {
                let rendered = Some(self.render(first, template, &target, None, moment)?);
                self.add_job(Job { step: first, target, rendered, asks: false })?;
            }
        }
        (self.at, self.current) = (first, None);
        Ok(())
    }

    fn check_deadlines(&self, now: Instant) -> Result<(), End> {
        let Some((&step, _)) = self.deadlines.iter().find(|(_, at)| **at <= now) else { return Ok(()) };
        let step = &self.plan.steps[step];
        Err(End::Failed(format!("the step {}: no answer came within its timeout.ms", step.name)))
    }

    /// Begins the repeated steps that are due.
    fn tick(&mut self, moment: &Moment<'_>) -> Result<(), End> {
        let due: Vec<usize> = self.ticks.iter().filter(|(_, at)| **at <= moment.now).map(|(&step, _)| step).collect();
        for step in due {
            let interval = self.interval(step, moment)?;
            self.ticks.insert(step, moment.now + interval);
            let busy = self.awaited.iter().any(|awaited| awaited.step == step)
                || self.jobs.iter().chain(&self.asked).any(|job| job.step == step);
            if !busy {
                self.begin_step(step, moment)?;
            }
        }
        Ok(())
    }

    /// Begins ordered steps, up to the first one that is not done at once.
    fn advance(&mut self, moment: &Moment<'_>) -> Result<(), End> {
        loop {
            if self.current.is_some_and(|step| !self.is_done(step)) {
                return Ok(());
            }
            self.current = None;
            let step = self.at;
            let plan = self.plan.clone();
            let Some(next) = plan.steps.get(step) else { return Ok(()) };
            self.at += 1;
            match &next.trigger {
                Trigger::On(_) | Trigger::OnCommit { .. } => {}
                Trigger::Every { jitter, .. } => {
                    let interval = self.interval(step, moment)?;
                    let first = interval.mul_f64(1.0 - jitter * (1.0 - random_fraction(moment.chance)));
                    self.ticks.insert(step, moment.now + first);
                }
                Trigger::InOrder => {
                    self.current = Some(step);
                    self.begin_step(step, moment)?;
                }
            }
        }
    }

    fn is_done(&self, step: usize) -> bool {
        if matches!(self.plan.steps[step].act, Act::Connect) {
            return self.opened;
        }
        let is_open = |job: &Job| job.step == step;
        !self.jobs.iter().chain(&self.asked).any(is_open) && self.awaited.iter().all(|awaited| awaited.step != step)
    }

    fn begin_step(&mut self, step: usize, moment: &Moment<'_>) -> Result<(), End> {
        let plan = self.plan.clone();
        let targets = self.targets(step, moment);
        if !targets.is_empty() {
            self.watched.tell(Sight::StepBegan { step: &plan.steps[step].name });
        }
        match &plan.steps[step].act {
            _ if targets.is_empty() => {}
            Act::Connect => {
                let handshake = self.handshake(step, moment)?;
                self.actions.push_back(Action::Connect(handshake));
            }
            Act::Wait if plan.steps[step].waits() => self.await_answer(step, Target::Once, moment)?,
            Act::Wait => self.conclude(step, None, moment)?,
            Act::Send { .. } | Act::Http(_) => {
                for target in targets {
                    if !self.use_cached(step, &target, moment.now) {
                        self.add_job(Job { step, target, rendered: None, asks: true })?;
                    }
                }
            }
        }
        Ok(())
    }

    fn add_job(&mut self, job: Job) -> Result<(), End> {
        let bytes: usize = self.jobs.iter().flat_map(|job| &job.rendered).map(String::len).sum();
        if self.jobs.len() >= MAX_JOBS || bytes > MAX_JOBS_BYTES {
            let (name, waiting) = (&self.plan.steps[job.step].name, self.jobs.len());
            return Err(End::Failed(format!("the step {name}: {waiting} messages wait for websocket.send.rate")));
        }
        // Heartbeats and replies go before waiting subscriptions.
        let in_order = |job: &Job| matches!(self.plan.steps[job.step].trigger, Trigger::InOrder);
        let at = if in_order(&job) { None } else { self.jobs.iter().position(in_order) };
        self.jobs.insert(at.unwrap_or(self.jobs.len()), job);
        Ok(())
    }

    fn sends(&self, step: usize) -> bool {
        matches!(self.plan.steps[step].act, Act::Send { .. })
    }

    /// Renders the next message or request. Returns whether there was one that the rate allows.
    fn work(&mut self, moment: &Moment<'_>) -> Result<bool, End> {
        let may_send = self.rate.next(moment.now) <= moment.now;
        let may = |job: &Job| if self.sends(job.step) { may_send } else { self.asked.is_none() };
        let Some(job) = self.jobs.iter().position(may).and_then(|at| self.jobs.remove(at)) else { return Ok(false) };
        let (plan, step) = (self.plan.clone(), job.step);
        match &plan.steps[step].act {
            Act::Send { text, binary } => {
                let rendered = match &job.rendered {
                    Some(rendered) => {
                        self.count_answer(step, rendered.len())?;
                        rendered.clone()
                    }
                    None => self.render(step, text, &job.target, None, moment)?,
                };
                self.rate.count(moment.now);
                log_sent(&plan.steps[step].name, rendered.len());
                let action = if *binary { self.binary(step, &rendered)? } else { Action::Text(rendered.into_bytes()) };
                self.tell_sent(step, &action);
                self.actions.push_back(action);
                match &plan.steps[step].expect {
                    Some(_) if job.asks => self.await_answer(step, job.target, moment)?,
                    None if job.asks => self.conclude(step, None, moment)?,
                    _ => {}
                }
            }
            Act::Http(http) => {
                let request = self.request(step, http, &job.target, moment)?;
                let (method, url) = (&request.method, &request.url);
                self.watched.tell(Sight::Requested { step: &plan.steps[step].name, method, url });
                self.actions.push_back(Action::Http(request));
                self.asked = Some(job);
            }
            Act::Wait | Act::Connect => {}
        }
        Ok(true)
    }

    fn count_answer(&mut self, step: usize, bytes: usize) -> Result<(), End> {
        let (count, all) = (self.answers.0 + 1, self.answers.1 + bytes);
        if count > MAX_JOBS || all > MAX_JOBS_BYTES {
            let name = &self.plan.steps[step].name;
            return Err(End::Failed(format!("the step {name}: {} answers wait to be sent", count - 1)));
        }
        self.answers = (count, all);
        Ok(())
    }

    fn tell_sent(&self, step: usize, action: &Action) {
        let message = match action {
            Action::Text(text) => observer::Message::Text(text),
            Action::Binary(data) => observer::Message::Binary(data),
            Action::Http(_) | Action::Connect(_) => return,
        };
        self.watched.tell(Sight::Sent { step: &self.plan.steps[step].name, message });
    }

    fn binary(&self, step: usize, text: &str) -> Result<Action, End> {
        BASE64.decode(text.trim()).map(Action::Binary).map_err(|_| {
            End::Failed(format!(
                "the step {}: its message is not base64, which send.binary needs",
                self.plan.steps[step].name
            ))
        })
    }

    fn await_answer(&mut self, step: usize, target: Target, moment: &Moment<'_>) -> Result<(), End> {
        let left = match &target {
            Target::Batch(range) if self.plan.steps[step].counts_topics => range.len(),
            _ => 1,
        };
        let deadline = moment.now + self.timeout(step, moment)?;
        if self.awaited.len() >= MAX_JOBS {
            let name = &self.plan.steps[step].name;
            return Err(End::Failed(format!("the step {name}: {MAX_JOBS} answers have not come")));
        }
        match self.plan.steps[step].trigger {
            // A message of the server can run these steps again. That must not move the deadline of the first answer.
            Trigger::On(_) | Trigger::OnCommit { .. } => drop(self.deadlines.entry(step).or_insert(deadline)),
            Trigger::InOrder | Trigger::Every { .. } => drop(self.deadlines.insert(step, deadline)),
        }
        self.awaited.push_back(Awaited { step, target, left });
        Ok(())
    }
}

/// A message may contain a secret, so the log shows only its length.
fn log_sent(step: &str, bytes: usize) {
    if step == step::SUBSCRIBE {
        info!("event=subscription_sent bytes={bytes}");
    } else {
        debug!("event=step_sent step={step} bytes={bytes}");
    }
}

/// Returns a random number from 0 to 1.
fn random_fraction(chance: &dyn Fn(&mut [u8])) -> f64 {
    let mut bytes = [0; 4];
    chance(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
