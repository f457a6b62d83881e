//! A whole configuration, and what a server sends to it: steps and intake without sockets. Any text of an option is refused or
//! compiled; any messages, answers and times then end in actions, records or an error, soon and within the limits.

#![no_main]

use std::cell::Cell;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, UNIX_EPOCH};

use connect_websocket_engine::config::{Config, OPTIONS};
use connect_websocket_engine::config_def::Properties;
use connect_websocket_engine::dialogue::{Action, Carried, Dialogue, HttpAnswer, Moment, Variables};
use connect_websocket_engine::feeds::Profile;
use connect_websocket_engine::intake::memory::Memory;
use connect_websocket_engine::intake::{Frame, Ground, Intake, Origin, Part, Steps};
use connect_websocket_engine::record::Batch;
use libfuzzer_sys::fuzz_target;

/// Options that are compiled, beside those of the table.
const OF_FAMILIES: [&str; 20] = [
    "websocket.var.a",
    "websocket.var.b",
    "websocket.secret.k",
    "websocket.record.header.h",
    "websocket.session.a.send",
    "websocket.session.a.expect",
    "websocket.session.a.capture",
    "websocket.session.a.when",
    "websocket.session.a.fail",
    "websocket.session.b.on",
    "websocket.session.b.send",
    "websocket.session.b.capture",
    "websocket.session.b.then",
    "websocket.session.b.drop",
    "websocket.session.c.every.ms",
    "websocket.session.c.send",
    "websocket.session.h.http",
    "websocket.session.h.capture",
    "websocket.session.connect.capture",
    "websocket.session.connect.expect",
];

/// The names of options. Those that name files or hosts are left out.
static NAMES: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let outside = ["ssl", "proxy", "handover", "dictionary", "websocket.feed", "websocket.url"];
    let own = OPTIONS.iter().map(|key| key.name).filter(|name| !outside.iter().any(|part| name.contains(part)));
    own.chain(OF_FAMILIES).collect()
});

/// Configurations that compile: each profile with its examples.
static PROFILES: LazyLock<Vec<Properties>> = LazyLock::new(|| {
    let example = |profile: Profile| {
        let mut options = profile.options;
        options.extend(profile.variables.into_iter().map(|variable| (variable.option, variable.example)));
        options
    };
    Profile::all().map(example).collect()
});

/// What happens: a message, the answer to a request, or time that passes.
type Event = (u8, String);

fuzz_target!(|input: (u8, Vec<(u8, String)>, Vec<Event>)| {
    let (profile, changes, events) = input;
    let mut options = PROFILES.get(usize::from(profile)).cloned().unwrap_or_default();
    for (name, default) in [
        ("websocket.url", "ws://host/"),
        ("kafka.topic", "t"),
        ("websocket.session.steps", "h,connect,a,b,c"),
        ("websocket.subscription.topics", "x,y"),
    ] {
        if !options.contains_key(name) {
            options.insert(name.to_owned(), default.to_owned());
        }
    }
    for (at, text) in changes {
        options.insert(NAMES[usize::from(at) % NAMES.len()].to_owned(), text);
    }
    let Ok(config) = Config::parse(&options) else { return };
    let Ok(intake) = Intake::new(config.intake.clone(), &config.plan.paths, config.plan.listens(), Memory::default())
    else {
        return;
    };
    Play::new(&config, intake).run(&events);
});

struct Play<'a> {
    config: &'a Config,
    dialogue: Dialogue,
    intake: Intake,
    began: Instant,
    /// How much time has passed.
    passed: Duration,
}

impl<'a> Play<'a> {
    fn new(config: &'a Config, intake: Intake) -> Play<'a> {
        let memory = Memory::default();
        let dialogue = Dialogue::begin(Arc::clone(&config.plan), Arc::clone(&config.redactor), Carried::default(), &memory);
        Play { config, dialogue, intake, began: Instant::now(), passed: Duration::ZERO }
    }

    fn run(mut self, events: &[Event]) {
        let mut batch = Batch::default();
        if self.dialogue.proceed(&self.moment(), true).is_err() || self.act().is_none() {
            return;
        }
        for (kind, text) in events {
            let goes_on = match kind % 4 {
                0 => {
                    self.passed += Duration::from_millis(u64::from(*kind) * 100);
                    self.dialogue.proceed(&self.moment(), true).is_ok()
                }
                1 => self.take(Frame::Binary(text.as_bytes()), &mut batch),
                _ => self.take(Frame::Text(text.as_bytes()), &mut batch),
            };
            if !goes_on || self.act().is_none() {
                break;
            }
        }
        assert!(batch.iter().count() == batch.len());
        let _ = self.dialogue.end(true);
    }

    fn moment(&self) -> Moment<'static> {
        let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000) + self.passed;
        Moment { now: (self.began + self.passed).into(), at, chance: &|bytes| bytes.fill(7) }
    }

    /// Does what the steps want. Each request gets its own words as its answer. `None`: the connection ends.
    fn act(&mut self) -> Option<()> {
        let moment = self.moment();
        while let Some(action) = self.dialogue.next_action() {
            match action {
                Action::Http(request) => {
                    let body = request.body.unwrap_or(request.url);
                    let answer = HttpAnswer { status: 200, headers: &request.headers, body: &body };
                    self.dialogue.answered(&answer, &moment).ok()?;
                }
                Action::Connect(handshake) => self.dialogue.opened(&handshake.headers, &moment).ok()?,
                Action::Text(_) | Action::Binary(_) => {}
            }
        }
        Some(())
    }

    fn take(&mut self, frame: Frame<'_>, batch: &mut Batch) -> bool {
        let moment = self.moment();
        let ground = Ground { names: &self.config.plan.names, now: moment.at, chance: moment.chance };
        let origin = Origin { connection: "1", feed: "fuzz" };
        let mut steps = Heard { dialogue: &mut self.dialogue, moment: &moment, ended: false };
        let taken = self.intake.take(frame, &ground, &origin, batch, &mut steps);
        !steps.ended && taken.is_ok()
    }
}

/// Shows each part of a message to the steps.
struct Heard<'a> {
    dialogue: &'a mut Dialogue,
    moment: &'a Moment<'a>,
    ended: bool,
}

impl Steps for Heard<'_> {
    fn look(&mut self, part: &Part<'_>) -> bool {
        if self.ended {
            return false;
        }
        let (is_record, end) = self.dialogue.message(part.scanned, self.moment);
        self.ended = end.is_some();
        is_record
    }

    fn variables(&self) -> (&Variables, &Cell<u64>) {
        (self.dialogue.variables(), self.dialogue.count())
    }
}
