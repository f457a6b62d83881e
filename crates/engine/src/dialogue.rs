//! What we say to a feed and wait for. No I/O here: bytes, the time and chance come in, actions come out.
//!
//! ```text
//! compile:  text + Scope (names, where we are) ─▶ Template | Condition | Expression, and the Paths they read
//! evaluate: Values (message, variables, now, chance) ─▶ text, yes or no; or why not
//! a session: Plan (its steps) ─▶ Dialogue, one for each connection: messages, answers and time in, actions out
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

/// So much is shown of what a server answered.
const MAX_WORDS: usize = 200;
/// A feed that makes us say more at once does not wait for answers.
const MAX_JOBS: usize = 10_000;
/// What is rendered already and waits for the rate.
const MAX_JOBS_BYTES: usize = 1 << 20;
/// A heartbeat comes no more often.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);
/// No wait is longer.
const MOST_INTERVAL: Duration = Duration::from_secs(7 * 24 * 3600);

/// The time, and a source of chance.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    pub now: Instant,
    pub at: SystemTime,
    /// Fills a buffer with random bytes.
    pub chance: &'a dyn Fn(&mut [u8]),
}

/// What to do next. It may hold secrets, so its `Debug` shows kinds and lengths alone.
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

/// A request of a step. Its answer goes to [`Dialogue::answered`].
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    pub timeout: Duration,
}

/// What of the opening handshake was rendered.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Handshake {
    /// `None` is the configured one.
    pub url: Option<String>,
    /// In the place of configured ones of the same name.
    pub headers: Vec<(String, String)>,
    /// `None` are the configured ones.
    pub subprotocols: Option<Vec<String>>,
}

/// What a server answered to a request, or to a handshake.
#[derive(Clone, Copy)]
pub struct HttpAnswer<'a> {
    pub status: u16,
    pub headers: &'a [(String, String)],
    pub body: &'a str,
}

/// Why the connection is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A step has failed, and will hardly succeed unless it did before.
    Failed(String),
    /// A step has failed for a reason that will pass.
    Outage(String),
    /// The task fails.
    Final(String),
    /// A step asks for a new connection.
    Reconnect(String),
    /// The feed cannot go on from where we were; the next connection begins anew.
    Lost(String),
}

/// What outlives a connection: cached answers, and where a step sent us.
#[derive(Default)]
pub struct Carried {
    /// By step and target.
    cache: HashMap<(usize, Target), Cached>,
    moved: Option<String>,
    connections: u64,
    /// Captured variables that live on, of the connection or of a topic.
    resume: HashMap<(Option<String>, VariableId), String>,
}

impl Carried {
    /// Goes on with variables that were stored.
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

    /// Forgets what a new connection would go on from.
    pub fn forget_position(&mut self) {
        self.resume.clear();
    }
}

struct Cached {
    until: Instant,
    variables: Vec<(VariableId, String)>,
}

/// A session's steps on one connection, from its first request to its end.
pub struct Dialogue {
    plan: Arc<Plan>,
    redactor: Arc<Redactor>,
    variables: Variables,
    /// For `n()`.
    count: Cell<u64>,
    rate: Rate,
    /// The step after those that were begun.
    at: usize,
    /// The ordered step that is under way.
    current: Option<usize>,
    jobs: VecDeque<Job>,
    /// A request is under way.
    asked: Option<Job>,
    awaited: VecDeque<Awaited>,
    /// When a step has waited long enough, since its last message.
    deadlines: HashMap<usize, Instant>,
    /// Of the steps that come again and again.
    ticks: HashMap<usize, Instant>,
    /// What `.then` of a step is, made when the message came that began it.
    next: HashMap<usize, Next>,
    opened: bool,
    moved: Option<String>,
    /// This connection goes on from where the last one was.
    resuming: bool,
    /// Some of its topics do not.
    partly: bool,
    /// The position became void.
    void: bool,
    /// Those of these topics did.
    void_topics: Vec<String>,
    /// The feed could not go on, and the connection is kept.
    lost: bool,
    /// What is to be sent once Kafka has a message, by its number.
    owed: BTreeMap<i64, Vec<Owed>>,
    actions: VecDeque<Action>,
    carried: Carried,
    watched: Watched,
}

/// A message or request that is to be made.
#[derive(Clone)]
struct Job {
    step: usize,
    target: Target,
    /// Rendered when its message came, if it answers one.
    rendered: Option<String>,
    /// Whether the step's answer is awaited.
    asks: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Target {
    Once,
    Topic(usize),
    Batch(Range<usize>),
}

/// What comes when a step is done.
struct Next {
    then: Then,
    /// Where the next connection goes.
    url: Option<String>,
    /// Of the server, or none.
    words: String,
}

/// An answer that is awaited.
#[derive(Debug, Clone)]
struct Awaited {
    step: usize,
    target: Target,
    left: usize,
}

impl Dialogue {
    /// Begins a connection's dialogue. `carried` is what [`Dialogue::end`] of the last one returned, `memory` what its
    /// intake left.
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
            carried,
            watched: Watched::default(),
        };
        dialogue.go_on_from(memory);
        dialogue
    }

    /// Somebody is told what the steps do.
    pub(crate) fn watched_by(&mut self, watched: Watched) {
        self.watched = watched;
    }

    pub(crate) fn watched(&self) -> Watched {
        self.watched.clone()
    }

    /// The connection is over, or was not made. What it used is forgotten unless it worked.
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
        self.actions.pop_front()
    }

    /// Whether all ordered steps are done.
    pub fn is_ready(&self) -> bool {
        self.opened && self.current.is_none() && self.at == self.plan.steps.len()
    }

    pub fn variables(&self) -> &Variables {
        &self.variables
    }

    /// The last number that `n()` gave.
    pub fn count(&self) -> &Cell<u64> {
        &self.count
    }

    /// When the feed takes the next ping or message of ours.
    pub fn next_send(&self, now: Instant) -> Instant {
        self.rate.next(now)
    }

    /// A ping or pong goes out beside the steps.
    pub fn count_send(&mut self, now: Instant) {
        self.rate.count(now);
    }

    /// Does what can be done now: the next steps, and what the rate held back. While nothing is read (`reading`), no answer
    /// is late.
    ///
    /// # Errors
    /// A step cannot be done, or has waited long enough.
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

    /// When [`Dialogue::proceed`] has something to do without anything coming in.
    pub fn next_wake(&self, now: Instant, reading: bool) -> Option<Instant> {
        let held = self.jobs.iter().find(|job| self.sends(job.step)).map(|_| self.rate.next(now));
        let deadlines = self.deadlines.values().filter(|_| reading);
        deadlines.chain(self.ticks.values()).copied().chain(held).min()
    }

    /// For this time nothing was read, so no answer is late by it.
    pub fn shift(&mut self, by: Duration) {
        self.deadlines.values_mut().for_each(|at| *at += by);
    }

    /// The handshake is done; `headers` are those of the server's answer.
    ///
    /// # Errors
    /// As [`Dialogue::proceed`].
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

    /// The server refused the handshake. Returns what the conditions of the step connect make of it, and whether the feed
    /// says by it that it cannot go on from where we were.
    pub fn refusal(&mut self, answer: &HttpAnswer<'_>, moment: &Moment<'_>) -> Option<End> {
        let found = self.scan(answer);
        let seen = Seen::answer(answer, &found);
        if let Err(lost) = self.check_lost(&Target::Once, &seen, moment) {
            return Some(lost);
        }
        let connect = self.plan.steps.iter().position(|step| matches!(step.act, Act::Connect))?;
        self.says_no(connect, &Target::Once, &seen, moment)
    }

    /// The answer to the request that [`Dialogue::next_action`] gave last.
    ///
    /// # Errors
    /// The answer is a refusal, or what follows cannot be done.
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

    /// The request has no answer.
    pub fn unanswered(&mut self, why: &str) -> End {
        let name = self.asked.take().map(|job| self.plan.steps[job.step].name.clone()).unwrap_or_default();
        End::Failed(format!("the step {name}: {why}"))
    }

    /// A message came. Returns whether it may become records, and the end if it is a refusal or asks for another connection.
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

    /// Keeps what the matching steps capture of a message, and does what they do.
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
        // Only now are the secrets in it known.
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

    /// Looks for the answers that are awaited; those that say no come first.
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

    /// One awaited answer came.
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

    /// A message matched the step's `.on`.
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

    /// What `.then` is, made while the message that it is about is at hand.
    fn next_of(&mut self, step: usize, message: Option<Scanned<'_>>, moment: &Moment<'_>) -> Result<Option<Next>, End> {
        let plan = self.plan.clone();
        let Step { then: Some(then), url, .. } = &plan.steps[step] else { return Ok(None) };
        let url = url.as_ref().map(|url| self.render(step, url, &Target::Once, message, moment)).transpose()?;
        let words = message.map(|message| self.redactor.foreign(message.text(), MAX_WORDS)).unwrap_or_default();
        Ok(Some(Next { then: *then, url, words }))
    }

    /// Does what `.then` says, if nothing of the step is under way any more.
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

    /// Unsubscribes, then goes on from the first step that names topics.
    ///
    /// # Errors
    /// The message cannot be made.
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

    /// Begins the steps whose interval is over.
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

    /// Begins ordered steps, up to one that is not done at once.
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
        // Heartbeats and replies wait behind no subscription.
        let in_order = |job: &Job| matches!(self.plan.steps[job.step].trigger, Trigger::InOrder);
        let at = if in_order(&job) { None } else { self.jobs.iter().position(in_order) };
        self.jobs.insert(at.unwrap_or(self.jobs.len()), job);
        Ok(())
    }

    fn sends(&self, step: usize) -> bool {
        matches!(self.plan.steps[step].act, Act::Send { .. })
    }

    /// Makes the next message or request. Returns whether there was one and the rate allows it.
    fn work(&mut self, moment: &Moment<'_>) -> Result<bool, End> {
        let may_send = self.rate.next(moment.now) <= moment.now;
        let may = |job: &Job| if self.sends(job.step) { may_send } else { self.asked.is_none() };
        let Some(job) = self.jobs.iter().position(may).and_then(|at| self.jobs.remove(at)) else { return Ok(false) };
        let (plan, step) = (self.plan.clone(), job.step);
        match &plan.steps[step].act {
            Act::Send { text, binary } => {
                let rendered = match &job.rendered {
                    Some(rendered) => rendered.clone(),
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
            // What the server makes us say again must not put the deadline off.
            Trigger::On(_) | Trigger::OnCommit { .. } => drop(self.deadlines.entry(step).or_insert(deadline)),
            Trigger::InOrder | Trigger::Every { .. } => drop(self.deadlines.insert(step, deadline)),
        }
        self.awaited.push_back(Awaited { step, target, left });
        Ok(())
    }
}

/// Of a message, which may hold a secret, only the length is shown.
fn log_sent(step: &str, bytes: usize) {
    if step == step::SUBSCRIBE {
        info!("event=subscription_sent bytes={bytes}");
    } else {
        debug!("event=step_sent step={step} bytes={bytes}");
    }
}

/// A number from 0 to 1.
fn random_fraction(chance: &dyn Fn(&mut [u8])) -> f64 {
    let mut bytes = [0; 4];
    chance(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
