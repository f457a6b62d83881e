//! What a simulator is: one feed as its documentation describes it, as a state machine without sockets or clocks.
//!
//! A [`Simulator`] answers HTTP requests and opening handshakes. Each open connection has a [`Peer`], which gets what the client
//! sent and which of its timers ran out, and decides with its [`Turn`] what the server does. What the connections share is the [`World`].
//! A simulator is as strict as the feed: what the feed would punish becomes a fault, which the test of the right configuration
//! looks for. [`Simulation`](crate::Simulation) puts it on a socket; the unit tests rehearse it with a clock of their own.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use serde_json::Value;

use self::deliveries::Deliveries;
use self::history::{Asked, History};
use self::session::RecoverableSession;
use crate::stats::Request;

pub(crate) mod channels;
pub(crate) mod deliveries;
pub(crate) mod history;
pub(crate) mod limit;
#[cfg(test)]
pub(crate) mod rehearsal;
pub(crate) mod session;
pub(crate) mod signature;

/// How many numbered records each simulator sends, from 0.
pub const RECORDS: u64 = 12;
/// Those of them that come before the last subscription is acknowledged; they are the first topic's.
pub(crate) const EARLY: u64 = 2;

/// One feed: how it behaves, what a client of it sets, and what must become of its messages.
pub struct Simulator {
    /// The name of its profile.
    pub feed: &'static str,
    /// Hosts, with their ports, that stand in the profile for this server.
    pub hosts: &'static [&'static str],
    /// What a user of the profile sets. `{ws}` and `{http}` stand for the simulator's address.
    pub right: &'static [(&'static str, &'static str)],
    /// Options of the profile that hold the interval of a heartbeat in milliseconds.
    pub beats: &'static [&'static str],
    /// Configurations that the feed refuses.
    pub wrong: &'static [Wrong],
    /// What the n-th record must be.
    pub record: fn(u64) -> Expected,
    /// Returns the response to a request that asks for no WebSocket.
    pub(crate) http: fn(&HttpRequest, &mut World) -> Answer,
    /// Returns the response to an opening handshake.
    pub(crate) connect: fn(&HttpRequest, &mut World) -> Result<Accepted, Answer>,
}

/// A configuration that the feed refuses.
#[derive(Debug, Clone, Copy)]
pub struct Wrong {
    /// What is wrong, for the test's output.
    pub what: &'static str,
    /// What differs from the right configuration.
    pub set: &'static [(&'static str, &'static str)],
    /// The server's words, which the user must see.
    pub words: &'static str,
}

/// A record as the profile promises it.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// The value, byte for byte.
    pub value: String,
    /// The key.
    pub key: Option<String>,
    /// The topic; `None`: the one that the user set.
    pub topic: Option<String>,
    /// Milliseconds since 1970; `None`: the time of reception.
    pub timestamp: Option<i64>,
}

impl Expected {
    /// A record with a key and a timestamp, in the user's topic.
    pub(crate) fn new(value: impl Into<String>, key: impl Into<String>, timestamp: i64) -> Expected {
        Expected { value: value.into(), key: Some(key.into()), topic: None, timestamp: Some(timestamp) }
    }
}

impl Simulator {
    /// What to set beside `websocket.feed`, so that the profile meets this simulator: what a user sets, and each of the profile's
    /// addresses and heartbeats that has to change. `profile` is the profile's own text, key by key; `host` is the simulator's
    /// address; heartbeats are `speed` times as fast.
    pub fn settings<'a>(
        &self,
        profile: impl IntoIterator<Item = (&'a str, &'a str)>,
        host: &str,
        speed: u32,
    ) -> HashMap<String, String> {
        let mut settings = HashMap::new();
        for (key, value) in profile {
            let moved = self.hosts.iter().fold(value.to_owned(), |value, feed| {
                let value = value.replace(&format!("wss://{feed}"), &format!("ws://{host}"));
                value.replace(&format!("https://{feed}"), &format!("http://{host}"))
            });
            let quick = value.parse::<u64>().ok().filter(|_| self.beats.contains(&key));
            let moved = quick.map_or(moved, |interval| (interval / u64::from(speed)).to_string());
            if moved != value {
                settings.insert(key.to_owned(), moved);
            }
        }
        for (key, value) in self.right {
            settings.insert((*key).to_owned(), Simulator::at(value, host));
        }
        settings
    }

    /// A value of [`Simulator::right`] or [`Wrong::set`] with the simulator's address in it.
    pub fn at(value: &str, host: &str) -> String {
        value.replace("{ws}", &format!("ws://{host}")).replace("{http}", &format!("http://{host}"))
    }

    /// For feeds without HTTP.
    pub(crate) fn no_http(_: &HttpRequest, _: &mut World) -> Answer {
        Answer::text(404, "not found")
    }
}

/// A request of HTTP, the opening handshake too.
#[derive(Debug, Clone, Default)]
pub(crate) struct HttpRequest {
    pub(crate) head: Request,
    pub(crate) body: Vec<u8>,
}

impl HttpRequest {
    pub(crate) fn method(&self) -> &str {
        self.head.line.split(' ').next().unwrap_or_default()
    }

    pub(crate) fn path(&self) -> &str {
        self.target().split('?').next().unwrap_or_default()
    }

    /// The value of a query parameter, percent-decoded.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target().split_once('?')?;
        query.split('&').find_map(|pair| match pair.split_once('=') {
            Some((key, value)) if key == name => Some(percent_decode(value)),
            _ => None,
        })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The token of `Authorization: Bearer`.
    pub(crate) fn bearer(&self) -> Option<&str> {
        self.header("Authorization")?.strip_prefix("Bearer ")
    }

    /// Whether the request is made with this token.
    pub(crate) fn is_of_bearer(&self, token: &str) -> bool {
        self.bearer() == Some(token)
    }

    /// Whether this subprotocol is offered.
    pub(crate) fn offers(&self, subprotocol: &str) -> bool {
        self.head.joined("Sec-WebSocket-Protocol").split(',').any(|offer| offer.trim() == subprotocol)
    }

    fn target(&self) -> &str {
        self.head.line.split(' ').nth(1).unwrap_or_default()
    }
}

fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits: String = bytes.by_ref().take(2).map(char::from).collect();
        out.push(u8::from_str_radix(&digits, 16).unwrap_or(b'?'));
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// An answer of HTTP that is no WebSocket.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(status: u16, body: impl ToString) -> Answer {
        Answer { body: body.to_string(), ..Answer::with_type(status, "application/json") }
    }

    pub(crate) fn text(status: u16, body: impl Into<String>) -> Answer {
        Answer { body: body.into(), ..Answer::with_type(status, "text/plain") }
    }

    pub(crate) fn with(mut self, header: &str, value: impl ToString) -> Answer {
        self.headers.push((header.to_owned(), value.to_string()));
        self
    }

    fn with_type(status: u16, media_type: &str) -> Answer {
        let headers = vec![("Content-Type".to_owned(), media_type.to_owned())];
        Answer { status, headers, body: String::new() }
    }
}

/// A handshake that is answered with 101.
pub(crate) struct Accepted {
    pub(crate) peer: Box<dyn Peer>,
    pub(crate) subprotocol: Option<&'static str>,
    /// Whether permessage-deflate is agreed, if the client offers it.
    pub(crate) deflate: bool,
}

impl Accepted {
    pub(crate) fn by(peer: impl Peer + 'static) -> Result<Accepted, Answer> {
        Ok(Accepted { peer: Box::new(peer), subprotocol: None, deflate: false })
    }
}

/// The server's side of one open connection.
pub(crate) trait Peer: Send {
    /// The handshake is done.
    fn opened(&mut self, _: &mut Turn<'_>) {}

    /// A text message of the client.
    fn text(&mut self, text: &str, turn: &mut Turn<'_>);

    /// A binary message of the client.
    fn binary(&mut self, _: &[u8], turn: &mut Turn<'_>) {
        turn.refuse(1003, "a binary message is not understood");
    }

    /// A ping of the client, which is answered already.
    fn pinged(&mut self, _: &mut Turn<'_>) {}

    /// A pong of the client.
    fn ponged(&mut self, _: &mut Turn<'_>) {}

    /// A timer of [`Turn::after`] ran out.
    fn time(&mut self, _timer: &'static str, _: &mut Turn<'_>) {}

    /// In a feed with a history, more records were published.
    fn published(&mut self, _: &mut Turn<'_>) {}

    /// The connection is to end as the feed announces it.
    fn planned_end(&mut self, turn: &mut Turn<'_>) {
        turn.close(1001, "going away");
    }

    /// The connection is over.
    fn gone(&mut self, _: &mut World) {}
}

/// What the connections of a simulator share.
#[derive(Debug, Default)]
pub(crate) struct World {
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
    /// Heartbeats are asked for this many times as often as the documentation says.
    pub(crate) speed: u32,
    /// Milliseconds since 1970.
    pub(crate) unix_ms: u64,
    /// Connections that were opened so far.
    pub(crate) opened: u64,
    /// Connections that are open.
    pub(crate) open: u64,
    /// Tokens, tickets and the like that were given out, and what for.
    pub(crate) issued: HashMap<String, String>,
    /// All tokens that were ever given out.
    pub(crate) given_out: Vec<String>,
    /// Who is logged in on an open connection.
    pub(crate) users: Vec<String>,
    /// How often clients were told that a connection is about to end.
    pub(crate) notices: u64,
    /// What clients did that the feed does not forgive.
    pub(crate) faults: Vec<String>,
    /// Of a feed that has one.
    pub(crate) history: Option<History>,
    /// Sessions that can be recovered, by their id.
    pub(crate) sessions: HashMap<String, RecoverableSession>,
    /// Of a feed that wants acknowledgements.
    pub(crate) deliveries: Deliveries,
    next: u64,
}

impl World {
    pub(crate) fn new(host: &str, speed: u32) -> World {
        World { host: host.to_owned(), speed, ..World::default() }
    }

    /// A heartbeat's time, made as much faster as the simulation is.
    pub(crate) fn quick(&self, documented: Duration) -> Duration {
        documented / self.speed.max(1)
    }

    /// Gives out a token that no one could guess.
    pub(crate) fn issue(&mut self, what_for: &str) -> String {
        let token = self.issue_id(what_for);
        self.given_out.push(token.clone());
        token
    }

    /// Gives out an id that opens nothing by itself, so that clients may store it.
    pub(crate) fn issue_id(&mut self, what_for: &str) -> String {
        let id = format!("{what_for}-{}-{}", self.issued.len(), signature::random_hex(12));
        self.issued.insert(id.clone(), what_for.to_owned());
        id
    }

    /// Takes a token back: it is good for one use.
    pub(crate) fn redeem(&mut self, token: &str, what_for: &str) -> bool {
        if self.issued.get(token).is_none_or(|issued| issued != what_for) {
            return false;
        }
        self.issued.remove(token).is_some()
    }

    /// The same with a token that stands in the query.
    pub(crate) fn redeem_from(&mut self, request: &HttpRequest, parameter: &str, what_for: &str) -> bool {
        request.query(parameter).is_some_and(|token| self.redeem(&token, what_for))
    }

    /// Answers a request to the history with the records that it has, unless it may not be asked now; no more than `most`
    /// requests are allowed in a second.
    pub(crate) fn ask(&mut self, most: usize, answer: impl FnOnce(&History) -> Answer) -> Answer {
        let now_ms = self.unix_ms;
        let Some(history) = &mut self.history else { return Answer::text(404, "not found") };
        match history.ask(now_ms, most) {
            Asked::Yes => answer(history),
            Asked::Busy => Answer::json(429, r#"{"message":"too many requests"}"#).with("Retry-After", "1"),
            Asked::Fault(what) => {
                self.faults.push(what.to_owned());
                Answer::text(429, what)
            }
        }
    }

    /// The end of what is to be sent now: after an announced end of a connection, all.
    fn end_now(&self, end: u64) -> u64 {
        if self.notices > 0 && end > EARLY { RECORDS } else { end }
    }

    /// How many records were sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.next
    }
}

/// What a peer does, and when: the client's message or a timer made it its turn.
pub(crate) struct Turn<'a> {
    /// Since the simulation began.
    pub(crate) now: Duration,
    pub(crate) world: &'a mut World,
    pub(crate) timers: &'a mut Timers,
    /// Where this connection stands in a feed with a history: the next record to send; `None` before it has subscribed.
    pub(crate) place: &'a mut Option<u64>,
    pub(crate) actions: Vec<Action>,
}

/// What the server does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Text(String),
    Binary(Vec<u8>),
    Ping,
    /// A Close frame with this code and reason.
    Close(u16, String),
    /// The end of TCP without a Close.
    Cut,
}

impl Turn<'_> {
    pub(crate) fn send(&mut self, text: impl ToString) {
        self.actions.push(Action::Text(text.to_string()));
    }

    pub(crate) fn send_binary(&mut self, bytes: Vec<u8>) {
        self.actions.push(Action::Binary(bytes));
    }

    pub(crate) fn ping(&mut self) {
        self.actions.push(Action::Ping);
    }

    pub(crate) fn close(&mut self, code: u16, reason: &str) {
        self.actions.push(Action::Close(code, reason.to_owned()));
    }

    /// Ends the connection for what the client did, with a Close.
    pub(crate) fn refuse(&mut self, code: u16, fault: &str) {
        self.fault(fault);
        self.close(code, fault);
    }

    /// Ends the connection for what the client did, without a word.
    pub(crate) fn cut(&mut self, fault: &str) {
        self.fault(fault);
        self.actions.push(Action::Cut);
    }

    /// Notes what the client did wrong.
    pub(crate) fn fault(&mut self, what: impl ToString) {
        self.world.faults.push(what.to_string());
    }

    /// Starts a timer, or starts it anew.
    pub(crate) fn after(&mut self, delay: Duration, timer: &'static str) {
        self.timers.start(self.now + delay, timer);
    }

    /// The same with a heartbeat's time, which goes as fast as the simulation.
    pub(crate) fn after_quick(&mut self, documented: Duration, timer: &'static str) {
        self.after(self.world.quick(documented), timer);
    }

    pub(crate) fn cancel(&mut self, timer: &'static str) {
        self.timers.cancel(timer);
    }

    /// The numbers of the records to send now, so that `end` are out. After an announced end of a connection, all that are left go
    /// out on the next one when its subscriptions are there. In a feed with a history, all that this connection has not had.
    pub(crate) fn numbers_to(&mut self, end: u64) -> Range<u64> {
        if let Some(history) = &mut self.world.history {
            history.begin();
            history.subscriptions += u64::from(self.place.is_none());
            let start = self.place.unwrap_or(history.published());
            *self.place = Some(history.published());
            self.world.next = self.world.next.max(history.published());
            return start..history.published();
        }
        let end = self.world.end_now(end);
        let start = self.world.next;
        self.world.next = start.max(end);
        start..self.world.next
    }

    /// The same without those that a feed with a history loses on their way.
    pub(crate) fn records_to(&mut self, end: u64) -> Vec<u64> {
        let numbers = self.numbers_to(end);
        let history = &self.world.history;
        numbers.filter(|number| history.as_ref().is_none_or(|history| history.is_sent(*number))).collect()
    }

    /// This connection gets the records from this one on.
    pub(crate) fn start_at(&mut self, next: u64) {
        *self.place = Some(next);
    }

    /// The same in twos: records 0 and 1, 2 and 3, and so on, for feeds whose messages hold several.
    pub(crate) fn pairs_to(&mut self, end: u64) -> Vec<Range<u64>> {
        let numbers = self.numbers_to(end);
        numbers.clone().step_by(2).map(|first| first..(first + 2).min(numbers.end)).collect()
    }
}

/// When a peer wants to be woken.
#[derive(Debug, Default)]
pub(crate) struct Timers(Vec<(Duration, &'static str)>);

impl Timers {
    fn start(&mut self, at: Duration, timer: &'static str) {
        self.cancel(timer);
        self.0.push((at, timer));
    }

    fn cancel(&mut self, timer: &'static str) {
        self.0.retain(|(_, name)| *name != timer);
    }

    /// When the next one runs out.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.0.iter().map(|(at, _)| *at).min()
    }

    /// Takes the first one that has run out.
    pub(crate) fn take_due(&mut self, now: Duration) -> Option<&'static str> {
        let (index, _) = self.0.iter().enumerate().filter(|(_, (at, _))| *at <= now).min_by_key(|(_, (at, _))| *at)?;
        Some(self.0.remove(index).1)
    }
}

/// A client's text as JSON; null for what is none.
pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// The strings of a JSON array; nothing for what is none.
pub(crate) fn strings(array: &Value) -> Vec<&str> {
    array.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

pub(crate) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_out_once_and_all_after_a_notice() {
        let (mut world, mut timers, mut place) = (World::new("x", 1), Timers::default(), None);
        let (world, timers, place) = (&mut world, &mut timers, &mut place);
        let mut turn = Turn { now: Duration::ZERO, world, timers, place, actions: Vec::new() };
        assert_eq!(turn.numbers_to(3), 0..3);
        assert_eq!(turn.numbers_to(2), 3..3);
        assert_eq!(turn.pairs_to(6), [3..5, 5..6]);
        turn.world.notices = 1;
        assert_eq!(turn.numbers_to(7), 6..RECORDS);
    }

    #[test]
    fn in_a_history_a_connection_has_what_is_published_from_its_place_on() {
        let (mut world, mut timers, mut place) = (World::new("x", 1), Timers::default(), None);
        let mut history = History::new(100);
        history.publish(8, 0);
        world.history = Some(history);
        let (world, timers, place) = (&mut world, &mut timers, &mut place);
        let mut turn = Turn { now: Duration::ZERO, world, timers, place, actions: Vec::new() };
        assert_eq!(turn.numbers_to(0), 8..8);
        turn.start_at(5);
        assert_eq!((turn.numbers_to(0), turn.numbers_to(0), turn.world.sent()), (5..8, 8..8, 8));
    }

    #[test]
    fn timers_run_out_in_order_and_start_anew() {
        let mut timers = Timers::default();
        timers.start(seconds(3), "a");
        timers.start(seconds(2), "b");
        timers.start(seconds(1), "a");
        assert_eq!(timers.next(), Some(seconds(1)));
        assert_eq!(timers.take_due(seconds(2)), Some("a"));
        assert_eq!(timers.take_due(seconds(2)), Some("b"));
        assert_eq!(timers.take_due(seconds(9)), None);
    }

    #[test]
    fn a_query_is_taken_apart() {
        let line = "GET /ws?token=a%2Fb&x= HTTP/1.1".to_owned();
        let request = HttpRequest { head: Request { line, headers: Vec::new() }, body: Vec::new() };
        assert_eq!((request.method(), request.path()), ("GET", "/ws"));
        assert_eq!(request.query("token").as_deref(), Some("a/b"));
        assert_eq!(request.query("x").as_deref(), Some(""));
        assert_eq!(request.query("y"), None);
    }

    #[test]
    fn a_token_is_good_once_and_for_one_thing() {
        let mut world = World::new("x", 1);
        let token = world.issue("stream");
        assert!(!world.redeem(&token, "orders"));
        assert!(world.redeem(&token, "stream"));
        assert!(!world.redeem(&token, "stream"));
    }
}
