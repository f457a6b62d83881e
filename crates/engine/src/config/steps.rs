//! Builds the steps of a session from their options. Finds all errors, with the option's name.

use std::fmt;

use super::headers::parse_headers;
use super::values::Values;
use super::{connection, resume, session as keys};
use crate::config_def::{ConfigError, Properties, parse_boolean};
use crate::dialogue::step::{Act, CONNECT, Capture, Http, SUBSCRIBE, Spread, Step, Then, Trigger};
use crate::dialogue::variables::GIVEN;
use crate::dialogue::{
    self, Condition, Expression, Message, Names, Paths, Plan, Position, Problem, Scope, Template, VariableId, list,
    rate,
};
use crate::secret::Secret;

/// The keys that the step for the opening handshake can have.
const KEYS_OF_CONNECT: [&str; 4] = ["expect", "fail", "fail.final", "capture"];
/// The most steps of a session.
const MAX_STEPS: usize = 100;

/// Builds a session from its options.
///
/// # Errors
/// Everything that is wrong.
pub(super) fn plan(values: &Values<'_>) -> Result<Plan, Vec<ConfigError>> {
    let mut compiler = Compiler::new(values);
    let plan = compiler.plan();
    if compiler.errors.is_empty() { plan.map_err(|error| vec![error]) } else { Err(compiler.errors) }
}

/// Returns the names that records may use, also if the steps have errors. `None` if a name has an error.
pub(super) fn names(values: &Values<'_>) -> Option<Names> {
    let mut compiler = Compiler::new(values);
    compiler.declare(&names_of_steps(values));
    compiler.errors.is_empty().then_some(compiler.names)
}

/// Returns the steps in their order. By default these are the handshake, and the subscription if there is one.
fn names_of_steps(values: &Values<'_>) -> Vec<String> {
    if let Some(text) = values.in_force(keys::STEPS) {
        let mut steps = list::split(text);
        // One more than allowed, so that they are refused.
        steps.truncate(MAX_STEPS + 1);
        return steps;
    }
    let subscribes = [connection::SUBSCRIPTION_MESSAGE, "websocket.session.subscribe.send"]
        .iter()
        .any(|name| values.in_force(name).is_some());
    [CONNECT, SUBSCRIBE].iter().take(1 + usize::from(subscribes)).map(|name| (*name).to_owned()).collect()
}

/// Returns errors for the user's keys of steps that are not in the session. `merged` also has the profile's keys, of
/// which some may be unused.
pub(super) fn check_used(given: &Properties, merged: &Values<'_>) -> Vec<ConfigError> {
    let steps = names_of_steps(merged);
    let unused = |(name, text): (&String, &String)| {
        let step = match name.as_str() {
            connection::SUBSCRIPTION_MESSAGE => SUBSCRIBE,
            name => name.strip_prefix(keys::STEP)?.split_once('.')?.0,
        };
        let is_used = text.trim().is_empty() || steps.iter().any(|own| own == step);
        let steps = keys::STEPS;
        let why = || format!("{name} has no effect: {step} is not in {steps}; add it there, or remove this option");
        (!is_used).then(|| ConfigError::new(name, why()))
    };
    given.iter().filter_map(unused).collect()
}

/// Says what is wrong with the name of a step.
fn wrong_name(step: &String, before: &[String]) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if step.is_empty() || !step.chars().all(legal) {
        return Some(format!("'{step}' is not a name of a step; use letters, digits, '_' and '-'"));
    }
    let is_wrong = step == "steps" || before.contains(step);
    is_wrong.then(|| format!("the step {step} is listed twice, or is not a name of a step"))
}

/// Reads `.then`. The option's row refuses other words.
fn then(text: &str) -> Option<Then> {
    match text {
        "reconnect" => Some(Then::Reconnect),
        "resubscribe" => Some(Then::Resubscribe),
        "fresh" => Some(Then::Fresh),
        "fail" => Some(Then::Fail),
        _ => None,
    }
}

struct Compiler<'a> {
    values: &'a Values<'a>,
    names: Names,
    paths: Paths,
    errors: Vec<ConfigError>,
}

impl<'a> Compiler<'a> {
    fn new(values: &'a Values<'a>) -> Compiler<'a> {
        Compiler { values, names: Names::default(), paths: Paths::default(), errors: Vec::new() }
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.values.in_force(name)
    }

    fn of_step(&self, step: &str, key: &str) -> Option<(String, &'a str)> {
        let name = format!("{}{step}.{key}", keys::STEP);
        self.get(&name).map(|text| (name, text))
    }

    fn refuse(&mut self, name: &str, why: impl fmt::Display) {
        self.errors.push(self.values.refuse(name, why));
    }

    fn plan(&mut self) -> Result<Plan, ConfigError> {
        let steps = self.step_names();
        let secrets = self.declare(&steps);
        let topics = list::split(self.get(keys::TOPICS).unwrap_or_default());
        let connect_at = steps.iter().position(|step| step == CONNECT).unwrap_or_default();
        let steps: Vec<Step> =
            steps.iter().enumerate().map(|(at, name)| self.step(name, at > connect_at, &topics)).collect();
        self.check_resubscribe(&steps);
        let url = self.get(connection::URL).filter(|text| text.contains("{{"));
        let url = url.and_then(|text| self.template(connection::URL, text, Position::Url, Message::None));
        let item =
            self.template(keys::ITEM, self.get(keys::ITEM).unwrap_or("\"{{topic}}\""), Position::Plain, Message::None);
        let unsubscribe = self
            .get(keys::UNSUBSCRIBE)
            .and_then(|text| self.template(keys::UNSUBSCRIBE, text, Position::Plain, Message::None));
        let headers = self.templated_headers("websocket.headers");
        let subprotocols = self.templated_list("websocket.subprotocols");
        let opening = url.iter().chain(headers.iter().map(|(_, value)| value)).chain(&subprotocols);
        let resume = self.resume(&steps, opening);
        let scanner = self.paths.message.build().map_err(|why| ConfigError::new(keys::STEPS, why))?;
        Ok(Plan {
            names: std::mem::take(&mut self.names),
            paths: std::mem::take(&mut self.paths),
            scanner,
            steps,
            url,
            headers,
            subprotocols,
            topics,
            item: item.ok_or_else(|| ConfigError::new(keys::ITEM, "not a template"))?,
            batch_size: self.get(keys::BATCH_SIZE).and_then(|text| text.parse().ok()).unwrap_or_default(),
            unsubscribe,
            secrets,
            wants_tls: self.wants_tls(),
            resume,
            send_rate: self.get(keys::SEND_RATE).and_then(|text| rate::parse(text).ok()).unwrap_or_default(),
        })
    }

    /// The steps in their order.
    fn step_names(&mut self) -> Vec<String> {
        let mut steps = names_of_steps(self.values);
        if steps.len() > MAX_STEPS {
            self.refuse(keys::STEPS, format!("a session has at most {MAX_STEPS} steps"));
            steps.truncate(MAX_STEPS);
        }
        // An error shows the whole list, so there is one for the names.
        if let Some(why) = steps.iter().enumerate().find_map(|(at, step)| wrong_name(step, &steps[..at])) {
            self.refuse(keys::STEPS, why);
        }
        if !steps.iter().any(|step| step == CONNECT) {
            self.refuse(keys::STEPS, "the step connect, which is the opening handshake, is missing");
        }
        steps
    }

    fn wants_tls(&self) -> bool {
        let addresses =
            self.values.properties().iter().filter(|(name, _)| *name == connection::URL || name.ends_with(".http"));
        addresses
            .map(|(_, text)| text.to_ascii_lowercase())
            .any(|text| text.contains("wss://") || text.contains("https://"))
    }

    /// Checks `resubscribe`, which needs a message with topics, and an event that begins it.
    fn check_resubscribe(&mut self, steps: &[Step]) {
        let names_topics = steps.iter().any(|step| step.spread != Spread::Once);
        for step in steps.iter().filter(|step| step.then == Some(Then::Resubscribe)) {
            let option = format!("{}{}.then", keys::STEP, step.name);
            if !matches!(step.trigger, Trigger::On(_)) {
                self.refuse(&option, "resubscribe needs a step with .on");
            } else if !names_topics {
                self.refuse(&option, "resubscribe needs a step whose message names topics");
            }
        }
        if self.get("websocket.idle.action") == Some("resubscribe") && !names_topics {
            self.refuse("websocket.idle.action", "resubscribe needs a step whose message names topics");
        }
    }

    /// `opening`: the templates of the opening handshake.
    fn resume<'t>(&mut self, steps: &[Step], opening: impl Iterator<Item = &'t Template>) -> dialogue::resume::Plan {
        let variables = list::split(self.get(resume::RESUME_VARIABLES).unwrap_or_default());
        let position: Vec<&str> = variables.iter().map(String::as_str).chain(["cursor"]).collect();
        let mut opening = opening.flat_map(Template::used);
        let asks = opening.any(|name| position.contains(&&**name))
            || steps.iter().any(|step| position.iter().any(|name| step.act.uses(name)));
        let lost = self.get(resume::RESUME_LOST).and_then(|text| {
            self.compiled(resume::RESUME_LOST, Message::Whole, true, |scope| Condition::compile(text, scope))
        });
        let connect = steps.iter().position(|step| matches!(step.act, Act::Connect)).unwrap_or_default();
        dialogue::resume::Plan {
            has_cursor: self.get(resume::CURSOR).is_some(),
            keyed: self.get(resume::CURSOR_KEY).is_some(),
            initial: self.get(resume::CURSOR_INITIAL).map(str::to_owned),
            rewind: self.get(resume::CURSOR_REWIND).and_then(|text| text.parse().ok()).unwrap_or_default(),
            variables: variables.iter().filter_map(|name| self.names.id(name)).collect(),
            lost,
            lost_action: resume::lost_action(self.get(resume::RESUME_LOST_ACTION)),
            asks,
            says_cursor: steps[connect.min(steps.len())..].iter().any(|step| step.act.uses("cursor")),
        }
    }

    /// Adds all names of the configuration. Returns the secrets among them.
    fn declare(&mut self, steps: &[String]) -> Vec<(VariableId, Secret)> {
        let secrets = self.secrets();
        self.hold_captured(steps);
        self.declare_variables();
        secrets
    }

    fn secrets(&mut self) -> Vec<(VariableId, Secret)> {
        let mut secrets = Vec::new();
        for (option, value) in self.values.properties() {
            let Some(name) = option.strip_prefix(keys::SECRET) else { continue };
            match self.names.hold(&format!("secret.{name}")) {
                Ok(id) => secrets.push((id, Secret::new(value.trim()))),
                Err(why) => self.refuse(option, why),
            }
        }
        secrets
    }

    fn hold_captured(&mut self, steps: &[String]) {
        for step in steps {
            let Some((option, text)) = self.of_step(step, "capture") else { continue };
            for entry in list::split(text) {
                let held = match entry.split_once('=') {
                    Some((name, _)) => self.names.hold(name.trim()).map(drop),
                    None => Err(format!("expected name=expression instead of '{entry}'")),
                };
                // Each error shows the whole list, so there is one.
                if let Err(why) = held {
                    self.refuse(&option, why);
                    break;
                }
            }
        }
    }

    fn declare_variables(&mut self) {
        let declared: Vec<(&str, &str)> = self
            .values
            .properties()
            .iter()
            .filter_map(|(option, text)| Some((option.strip_prefix(keys::VAR)?, text.trim())))
            .collect();
        if let Err(problems) = self.names.declare(&declared) {
            for (name, problem) in problems {
                self.refuse(&format!("{}{name}", keys::VAR), problem);
            }
        }
    }

    fn step(&mut self, name: &str, connected: bool, topics: &[String]) -> Step {
        let act = self.act(name, connected);
        let spread = self.spread(name, &act, topics);
        // A request that does not compile still counts as one, so that no other error follows from it.
        let is_answer = name == CONNECT || self.of_step(name, "http").is_some();
        let looks_at = if is_answer || connected { Message::Whole } else { Message::None };
        let condition = |this: &mut Compiler<'a>, key: &str, message: Message, answer: bool| {
            let (option, text) = this.of_step(name, key)?;
            this.compiled(&option, message, answer, |scope| Condition::compile(text, scope))
        };
        let when = condition(self, "when", Message::None, false);
        let on = condition(self, "on", Message::Whole, false);
        let expect = condition(self, "expect", looks_at, is_answer);
        let fail = condition(self, "fail", looks_at, is_answer);
        let fail_final = condition(self, "fail.final", looks_at, is_answer);
        let on_commit = condition(self, "on.commit", Message::Whole, false);
        self.check_given(name);
        let trigger = self.trigger(name, on, on_commit, &act);
        let reacts = trigger.reacts();
        let message = if reacts { Message::Whole } else { looks_at };
        let capture = self.capture(name, message, is_answer);
        let then = self.of_step(name, "then").and_then(|(_, text)| then(text));
        let url = self.of_step(name, "url").and_then(|(option, text)| {
            if then != Some(Then::Reconnect) {
                self.refuse(&option, format!("{}{name}.then=reconnect must be given too", keys::STEP));
            }
            self.template(&option, text, Position::Url, message)
        });
        Step {
            name: name.into(),
            when,
            trigger,
            act,
            spread,
            expect,
            counts_topics: self.of_step(name, "count").is_some(),
            timeout: self.of_step(name, "timeout.ms").and_then(|(option, text)| self.millis(&option, text)),
            fail,
            fail_final,
            capture,
            then,
            url,
            drop: self.of_step(name, "drop").and_then(|(_, text)| parse_boolean(text)).unwrap_or(true),
        }
    }

    /// Refuses a step without options, which would do nothing.
    fn check_given(&mut self, name: &str) {
        let own = format!("{}{name}.", keys::STEP);
        let subscribes = name == SUBSCRIBE && self.get(connection::SUBSCRIPTION_MESSAGE).is_some();
        let mut given = self.values.properties().keys();
        if name != CONNECT && !subscribes && !given.any(|option| option.starts_with(&own)) {
            let why = format!("the step {name} has no option; give it one, such as {own}send, or remove it");
            self.refuse(keys::STEPS, why);
        }
    }

    fn trigger(&mut self, name: &str, on: Option<Condition>, on_commit: Option<Condition>, act: &Act) -> Trigger {
        if let Some(condition) = on_commit {
            return self.on_commit(name, condition, act);
        }
        if let Some((option, _)) = self.of_step(name, "on.commit.latest") {
            self.refuse(&option, format!("{}{name}.on.commit must be given too", keys::STEP));
        }
        let every = self.of_step(name, "every.ms");
        if let (Some((option, _)), Some(_)) = (&every, &on) {
            self.refuse(option, format!("{}{name}.on and .every.ms exclude each other", keys::STEP));
        }
        if let Some(condition) = on {
            return Trigger::On(condition);
        }
        let ms = every.and_then(|(option, text)| self.millis(&option, text));
        let jitter = self.of_step(name, "every.jitter").and_then(|(_, text)| text.parse().ok()).unwrap_or_default();
        ms.map_or(Trigger::InOrder, |ms| Trigger::Every { ms, jitter })
    }

    fn on_commit(&mut self, name: &str, condition: Condition, act: &Act) -> Trigger {
        let option = format!("{}{name}.on.commit", keys::STEP);
        for key in ["on", "every.ms", "then", "capture"] {
            if let Some((other, _)) = self.of_step(name, key) {
                self.refuse(&other, format!("{option} excludes it"));
            }
        }
        if !matches!(act, Act::Send { .. }) {
            self.refuse(&option, format!("{}{name}.send must be given too", keys::STEP));
        }
        if act.uses("topic") || act.uses("topics") {
            self.refuse(&option, "its message cannot name topics");
        }
        if self.get("websocket.message.queue.full").is_some_and(|full| full != "backpressure") {
            self.refuse(&option, "websocket.message.queue.full drops messages, which then are never acknowledged");
        }
        let latest = self.of_step(name, "on.commit.latest").and_then(|(_, text)| parse_boolean(text)).unwrap_or(false);
        Trigger::OnCommit { condition, latest }
    }

    fn act(&mut self, name: &str, connected: bool) -> Act {
        let send = match self.of_step(name, "send") {
            None if name == SUBSCRIBE => self
                .get(connection::SUBSCRIPTION_MESSAGE)
                .map(|text| (connection::SUBSCRIPTION_MESSAGE.to_owned(), text)),
            send => send,
        };
        let http = self.of_step(name, "http");
        if name == CONNECT {
            self.check_connect();
            return Act::Connect;
        }
        if let (Some((option, _)), Some(_)) = (&send, &http) {
            self.refuse(option, format!("{}{name}.http and .send exclude each other", keys::STEP));
        }
        if let (Some((option, _)), false) = (&send, connected) {
            self.refuse(option, "a message can be sent only after the step connect");
        }
        let reacts = self.of_step(name, "on").or(self.of_step(name, "on.commit")).is_some();
        let message = if reacts { Message::Whole } else { Message::None };
        if let Some((option, text)) = http {
            return self.http(name, &option, text, message).map_or(Act::Wait, |http| Act::Http(Box::new(http)));
        }
        let binary = self.of_step(name, "send.binary").and_then(|(_, text)| parse_boolean(text)).unwrap_or(false);
        let text = send.and_then(|(option, text)| self.template(&option, text, Position::Plain, message));
        text.map_or(Act::Wait, |text| Act::Send { text, binary })
    }

    fn check_connect(&mut self) {
        for key in keys::of_a_step().filter(|key| !KEYS_OF_CONNECT.contains(key)) {
            let Some((option, _)) = self.of_step(CONNECT, key) else { continue };
            let remedy = match key {
                "timeout.ms" => "websocket.connection.timeout.ms bounds it",
                _ => "move this to another step",
            };
            let has = KEYS_OF_CONNECT.join(", ");
            self.refuse(&option, format!("the step connect is the opening handshake and has only {has}; {remedy}"));
        }
    }

    fn http(&mut self, name: &str, option: &str, text: &str, message: Message) -> Option<Http> {
        let Some((method, url)) = text.split_once(' ').filter(|(method, _)| matches!(*method, "GET" | "POST" | "PUT"))
        else {
            self.refuse(option, "expected GET https://… or POST https://…");
            return None;
        };
        let url = self.template(option, url.trim(), Position::Url, message)?;
        let headers = self.headers_of(&format!("{}{name}.http.headers", keys::STEP), message);
        let mut part = |key: &str| {
            let (option, text) = self.of_step(name, key)?;
            self.template(&option, text, Position::Plain, message)
        };
        let (body, cache) = (part("http.body"), part("http.cache"));
        let fixed = cache.as_ref().and_then(Template::constant);
        if fixed.is_some_and(|text| rate::seconds(&text).is_none()) {
            self.refuse(&format!("{}{name}.http.cache", keys::STEP), "it is not a time, such as 3600s");
        }
        Some(Http { method: method.to_owned(), url, headers, body, cache })
    }

    fn headers_of(&mut self, option: &str, message: Message) -> Vec<(String, Template)> {
        let parsed = parse_headers(self.get(option).unwrap_or_default()).unwrap_or_else(|why| {
            self.refuse(option, why);
            Vec::new()
        });
        let template =
            |(name, value): (String, String)| Some((name, self.template(option, &value, Position::Header, message)?));
        parsed.into_iter().map_while(template).collect()
    }

    /// Returns the headers whose value is a template.
    fn templated_headers(&mut self, option: &str) -> Vec<(String, Template)> {
        if !self.get(option).is_some_and(|text| text.contains("{{")) {
            return Vec::new();
        }
        let headers = self.headers_of(option, Message::None);
        headers.into_iter().filter(|(_, value)| value.constant().is_none()).collect()
    }

    fn templated_list(&mut self, option: &str) -> Vec<Template> {
        let Some(text) = self.get(option).filter(|text| text.contains("{{")) else { return Vec::new() };
        let entries = list::split(text);
        // An error shows the whole list, so the first one is enough.
        entries.iter().map_while(|entry| self.template(option, entry, Position::Header, Message::None)).collect()
    }

    fn capture(&mut self, name: &str, message: Message, answer: bool) -> Vec<Capture> {
        let Some((option, text)) = self.of_step(name, "capture") else { return Vec::new() };
        let mut captures = Vec::new();
        for entry in list::split(text) {
            let Some((name, expression)) = entry.split_once('=') else { continue };
            let (name, expression) = (name.trim(), expression.trim());
            let value = self.compiled(&option, message, answer, |scope| Expression::compile(expression, scope));
            let Some(value) = value else { break };
            let id = self.names.id(name);
            captures.extend(id.map(|id| Capture { id, name: name.to_owned(), value }));
        }
        captures
    }

    fn spread(&mut self, name: &str, act: &Act, topics: &[String]) -> Spread {
        let spread = match (act.uses("topic"), act.uses("topics")) {
            (true, _) => Spread::Topics,
            (false, true) => Spread::Batches,
            _ => return Spread::Once,
        };
        if topics.is_empty() {
            let own = format!("{}{name}.{}", keys::STEP, if matches!(act, Act::Http(_)) { "http" } else { "send" });
            let option = if self.get(&own).is_some() { own } else { connection::SUBSCRIPTION_MESSAGE.to_owned() };
            self.refuse(
                keys::TOPICS,
                format!("it is empty, and {option} names topics; list them, separated by commas"),
            );
        }
        spread
    }

    fn template(&mut self, option: &str, text: &str, position: Position, message: Message) -> Option<Template> {
        self.compiled(option, message, false, |scope| Template::compile(text, position, scope))
    }

    /// Compiles a template of milliseconds. A text without variables is checked at once.
    fn millis(&mut self, option: &str, text: &str) -> Option<Template> {
        let template = self.template(option, text, Position::Plain, Message::None)?;
        if template.constant().is_some_and(|text| rate::millis(&text).is_none()) {
            self.refuse(option, "it is not a number of milliseconds, such as 30000, which is 30 s");
        }
        Some(template)
    }

    fn compiled<T>(
        &mut self,
        option: &str,
        message: Message,
        answer: bool,
        compile: impl FnOnce(&mut Scope<'_>) -> Result<T, Problem>,
    ) -> Option<T> {
        let mut scope = Scope { names: &self.names, given: &GIVEN, message, answer, paths: &mut self.paths };
        match compile(&mut scope) {
            Ok(compiled) => Some(compiled),
            Err(problem) => {
                self.refuse(option, problem);
                None
            }
        }
    }
}
