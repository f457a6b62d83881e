//! What the intake costs, per message: `cargo run --release --example intake -p connect-websocket-engine`.
//! The minimum of many runs, each so short that another process hardly gets in between.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use connect_websocket_engine::dialogue::expression::{Condition, Message, Paths, Scope, Values};
use connect_websocket_engine::dialogue::variables::{Made, Names, Variables};
use connect_websocket_engine::intake::split::Split;
use connect_websocket_engine::intake::{Frame, Ground, Intake, Origin, Part, Plan, Settings, Steps};
use connect_websocket_engine::json::{Found, Scanned};
use connect_websocket_engine::record::Batch;

/// 238 bytes.
const TRADE: &str = r#"{"topic":"/market/match:BTC-USDT","type":"message","subject":"trade.l3match","data":{"symbol":"BTC-USDT","side":"sell","type":"match","sequence":"1545896669145","price":"0.082000000000000000","size":"0.0102220700","time":"1545913818099"}}"#;

fn main() {
    assert_eq!(TRADE.len(), 238);
    plain();
    profile();
    split();
    hostile();
}

/// Runs `work` over `count` messages so many times; prints the least time per message.
fn report(what: &str, runs: u32, count: u32, mut work: impl FnMut()) {
    let once = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    let least = (0..runs).map(|_| once(&mut work)).min().unwrap_or(Duration::ZERO);
    println!("{what}: {:.0} ns", least.as_secs_f64() * 1e9 / f64::from(count));
}

fn settings() -> Settings {
    Settings { topic: "feed".into(), ..Settings::default() }
}

/// Steps that are conditions which match no message.
struct Conditions<'a> {
    conditions: Vec<Condition>,
    names: &'a Names,
    variables: Variables,
    made: Made,
    count: Cell<u64>,
}

impl Steps for Conditions<'_> {
    fn look(&mut self, part: &Part<'_>) -> bool {
        let Conditions { names, variables, made, count, .. } = self;
        let values = Values::new(names, variables, made, SystemTime::UNIX_EPOCH, &|_| {}, count);
        let values = Values { message: part.scanned, ..values };
        !self.conditions.iter().any(|condition| condition.holds(&values))
    }

    fn variables(&self) -> (&Variables, &Cell<u64>) {
        (&self.variables, &self.count)
    }
}

/// Feeds a message again and again, as one batch after another.
fn feed(what: &str, settings: Settings, conditions: &[&str], message: &str, records: u32) {
    const MESSAGES: u32 = 1_000;
    let (names, variables, made, count) = (Names::default(), Variables::default(), Made::default(), Cell::new(0));
    let mut paths = Paths::default();
    let plan = Plan::compile(settings, &names, &mut paths).unwrap_or_else(|problems| panic!("{problems:?}"));
    let mut scope = Scope { names: &names, given: &[], message: Message::Whole, answer: false, paths: &mut paths };
    let compile = |text: &&str| Condition::compile(text, &mut scope).unwrap_or_else(|problem| panic!("{problem}"));
    let conditions: Vec<Condition> = conditions.iter().map(compile).collect();
    let mut intake = Intake::new(Arc::new(plan), &paths, !conditions.is_empty()).unwrap_or_else(|why| panic!("{why}"));
    let ground = Ground { names: &names, now: SystemTime::now(), chance: &|_| {} };
    let mut steps = Conditions { conditions, names: &names, variables, made, count };
    let origin = Origin::default();
    report(what, 500, MESSAGES * records, || {
        let mut batch = Batch::default();
        for _ in 0..MESSAGES {
            let taken = intake.take(Frame::Text(message.as_bytes()), &ground, &origin, &mut batch, &mut steps);
            taken.unwrap_or_else(|refusal| panic!("{refusal:?}"));
            if batch.len() >= 4096 {
                assert_eq!(batch.len() % records as usize, 0);
                batch = black_box(Batch::default());
            }
        }
    });
}

fn plain() {
    feed("no option", settings(), &[], TRADE, 1);
}

/// KuCoin's three conditions, and key, timestamp and two headers: four pointers more.
fn profile() {
    let conditions = ["/type == 'welcome'", "/type == 'ack'", "/type == 'pong'"];
    let fields = Settings {
        key: Some("{{/topic}}".into()),
        timestamp: Some("{{/data/time}}".into()),
        headers: vec![("side".into(), "{{/data/side}}".into()), ("sequence".into(), "{{/data/sequence}}".into())],
        ..settings()
    };
    feed("3 conditions", settings(), &conditions, TRADE, 1);
    feed("3 conditions, key and timestamp", Settings { headers: Vec::new(), ..fields.clone() }, &conditions, TRADE, 1);
    feed("3 conditions, 4 pointers more", fields, &conditions, TRADE, 1);
}

fn split() {
    let array = format!("[{}]", [TRADE; 10].join(","));
    let settings = Settings { split: Some(Split::JsonArray), ..settings() };
    feed("an array of ten, per record", settings.clone(), &[], &array, 10);
    let key = Settings { key: Some("{{/topic}}".into()), ..settings };
    feed("an array of ten with a key, per record", key, &[], &array, 10);
}

/// What should cost time in proportion to its length, and no more.
fn hostile() {
    let mut paths = Paths::default();
    let names = Names::default();
    let mut scope = Scope { names: &names, given: &[], message: Message::Whole, answer: false, paths: &mut paths };
    for pointer in ["/a == 1", "/b/c == 1", "/k9999 == 1", "/*/x == 1"] {
        Condition::compile(pointer, &mut scope).unwrap_or_else(|problem| panic!("{problem}"));
    }
    let scanner = paths.message.build().unwrap_or_else(|why| panic!("{why}"));
    let keys = |count: usize| (0..count).map(|n| format!("\"k{n}\":{{\"x\":{n}}}")).collect::<Vec<_>>().join(",");
    for (what, message) in [
        ("100,000 brackets", "[".repeat(100_000)),
        ("1,000,000 brackets", "[".repeat(1_000_000)),
        ("400 levels, 10,000 times", format!("[{}1]", ("[".repeat(400) + &"]".repeat(400) + ",").repeat(10_000))),
        ("10,000 keys", format!("{{{}}}", keys(10_000))),
        ("100,000 keys", format!("{{{}}}", keys(100_000))),
        ("the same key 100,000 times", format!("{{{}}}", "\"k\":{\"x\":1},".repeat(100_000) + "\"k\":2")),
        ("a number of 10 MB", format!("[{}]", "7".repeat(10_000_000))),
        ("a text of 10 MB", format!("[\"{}\"]", "x".repeat(10_000_000))),
        ("10 MB of escapes", format!("[\"{}\"]", "\\n".repeat(5_000_000))),
    ] {
        let mut found = Found::default();
        let bytes = u32::try_from(message.len()).unwrap_or(u32::MAX);
        report(&format!("{what}, {bytes} B, per KiB"), 20, bytes.div_ceil(1024), || {
            black_box(scanner.scan(&message, &mut found));
            black_box(Scanned::new(&message, &found));
        });
    }
}
