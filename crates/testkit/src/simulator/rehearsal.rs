//! A simulator without sockets and with a clock that the test moves.

use std::time::Duration;

use serde_json::Value;

use super::{Action, Answer, HttpRequest, Peer, RECORDS, Simulator, Timers, Turn, World, json};
use crate::stats::Request;

/// Plays client to a simulator.
pub(crate) struct Rehearsal {
    simulator: &'static Simulator,
    pub(crate) world: World,
    now: Duration,
}

/// One open connection of a [`Rehearsal`].
pub(crate) struct Line {
    peer: Box<dyn Peer>,
    timers: Timers,
    place: Option<u64>,
    heard: Vec<Action>,
}

impl Rehearsal {
    pub(crate) fn of(simulator: &'static Simulator) -> Rehearsal {
        let mut world = World::new("127.0.0.1:1", 1);
        world.unix_ms = 1_767_225_600_000;
        Rehearsal { simulator, world, now: Duration::from_secs(100) }
    }

    pub(crate) fn http(&mut self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let request = HttpRequest { body: body.into(), ..request(line, headers) };
        (self.simulator.http)(&request, &mut self.world)
    }

    /// Opens a connection, which must be accepted.
    pub(crate) fn connect(&mut self, target: &str) -> Line {
        self.connect_with(target, &[]).unwrap_or_else(|answer| panic!("{target}: {answer:?}"))
    }

    pub(crate) fn connect_with(&mut self, target: &str, headers: &[(&str, &str)]) -> Result<Line, Answer> {
        let request = request(&format!("GET {target} HTTP/1.1"), headers);
        let accepted = (self.simulator.connect)(&request, &mut self.world)?;
        self.world.opened += 1;
        self.world.open += 1;
        let mut line = Line { peer: accepted.peer, timers: Timers::default(), place: None, heard: Vec::new() };
        self.turn(&mut line, |peer, turn| peer.opened(turn));
        Ok(line)
    }

    pub(crate) fn say(&mut self, line: &mut Line, text: impl ToString) {
        let text = text.to_string();
        self.turn(line, |peer, turn| peer.text(&text, turn));
    }

    pub(crate) fn ping(&mut self, line: &mut Line) {
        self.turn(line, |peer, turn| peer.pinged(turn));
    }

    pub(crate) fn pong(&mut self, line: &mut Line) {
        self.turn(line, |peer, turn| peer.ponged(turn));
    }

    /// Lets time pass; timers run out in their order.
    pub(crate) fn pass(&mut self, line: &mut Line, time: Duration) {
        let end = self.now + time;
        while let Some(at) = line.timers.next().filter(|at| *at <= end) {
            self.set_now(at);
            if let Some(timer) = line.timers.take_due(at) {
                self.turn(line, |peer, turn| peer.time(timer, turn));
            }
        }
        self.set_now(end);
    }

    fn set_now(&mut self, now: Duration) {
        self.world.unix_ms += (now - self.now).as_millis() as u64;
        self.now = now;
    }

    pub(crate) fn hang_up(&mut self, mut line: Line) {
        self.world.open -= 1;
        line.peer.gone(&mut self.world);
    }

    fn turn(&mut self, line: &mut Line, act: impl FnOnce(&mut dyn Peer, &mut Turn<'_>)) {
        let (world, timers, place) = (&mut self.world, &mut line.timers, &mut line.place);
        let mut turn = Turn { now: self.now, world, timers, place, actions: Vec::new() };
        act(line.peer.as_mut(), &mut turn);
        line.heard.extend(turn.actions);
    }

    /// Nothing was wrong, and everything was sent.
    pub(crate) fn is_over(&self) {
        assert_eq!(self.world.faults, [""; 0]);
        assert_eq!(self.world.sent(), RECORDS);
    }
}

impl Line {
    /// What the server did since the last call.
    pub(crate) fn heard(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.heard)
    }

    /// The texts of the server since the last call, which sent nothing else.
    pub(crate) fn texts(&mut self) -> Vec<String> {
        let text = |action| match action {
            Action::Text(text) => text,
            other => panic!("{other:?} is no text"),
        };
        self.heard().into_iter().map(text).collect()
    }

    /// The same as JSON.
    pub(crate) fn json(&mut self) -> Vec<Value> {
        self.texts().iter().map(|text| json(text)).collect()
    }

    /// The connection's end since the last call, with all that was said before it.
    pub(crate) fn end(&mut self) -> (Vec<Action>, Action) {
        let mut heard = self.heard();
        match heard.pop() {
            Some(end @ (Action::Close(..) | Action::Cut)) => (heard, end),
            other => panic!("after {heard:?} came {other:?}, no end"),
        }
    }
}

fn request(line: &str, headers: &[(&str, &str)]) -> HttpRequest {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    HttpRequest { head: Request { line: line.to_owned(), headers }, body: Vec::new() }
}
