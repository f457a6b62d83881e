//! What the intake costs, per message: `cargo run --release --example intake -p connect-websocket-engine`.
//! The minimum of many runs, each so short that another process hardly gets in between. `CAPTURES` names a folder with
//! cryptofeed's recordings; without it KuCoin's messages are made, in the same shape.

use std::cell::Cell;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use connect_websocket_engine::config::Config;
use connect_websocket_engine::dialogue::expression::{Condition, Message, Paths, Scope, Values};
use connect_websocket_engine::dialogue::variables::{Made, Names, Variables};
use connect_websocket_engine::dialogue::{Action, Carried, Dialogue, End, HttpAnswer, Moment};
use connect_websocket_engine::intake::memory::Memory;
use connect_websocket_engine::intake::split::Split;
use connect_websocket_engine::intake::{Frame, Ground, Intake, Origin, Part, Plan, Settings, Steps};
use connect_websocket_engine::json::{Found, Scanned};
use connect_websocket_engine::record::Batch;
use rustix::time::{ClockId, clock_gettime};

/// 238 bytes.
const TRADE: &str = r#"{"topic":"/market/match:BTC-USDT","type":"message","subject":"trade.l3match","data":{"symbol":"BTC-USDT","side":"sell","type":"match","sequence":"1545896669145","price":"0.082000000000000000","size":"0.0102220700","time":"1545913818099"}}"#;

fn main() {
    assert_eq!(TRADE.len(), 238);
    plain();
    kucoin();
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
    let mut intake = Intake::new(Arc::new(plan), &paths, !conditions.is_empty(), Memory::default())
        .unwrap_or_else(|why| panic!("{why}"));
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

/// KuCoin's recorded messages, a million of them, without any option and with the whole profile: processor time.
fn kucoin() {
    const MESSAGES: usize = 1_000_000;
    let (messages, origin) = match recorded() {
        Some(messages) => (messages, "recorded"),
        None => ((0..4_700).map(made).collect(), "made"),
    };
    // Three times, under topics of their own: more than a window of doubles holds, so that no message is one.
    let other = |copy: usize, message: &String| message.replace("/market/", &format!("/market{copy}/"));
    let messages: Vec<String> =
        (0..3).flat_map(|copy| messages.iter().map(move |message| other(copy, message))).collect();
    let bytes = messages.iter().map(String::len).sum::<usize>() / messages.len();
    let seconds = |options: &[(&str, &str)]| {
        let least = (0..5).map(|_| million(options, &messages, MESSAGES)).min();
        least.unwrap_or_default().as_secs_f64()
    };
    let without = seconds(&[("websocket.url", "ws://host/")]);
    let profile = [("websocket.feed", "kucoin"), ("websocket.subscription.topics", "/market/match:BTC-USDT")];
    let numbered = seconds(&profile);
    let unset = ["websocket.sequence", "websocket.sequence.first", "websocket.sequence.key"].map(|name| (name, ""));
    let with = seconds(&[&profile[..], &unset].concat());
    let (more, for_numbers) = (with - without, numbered - with);
    let memory = [
        ("websocket.cursor", "{{/data/sequenceEnd ?? /data/sequence}}"),
        ("websocket.dedup.key", "{{/topic}} {{/data/sequenceEnd ?? /data/sequence}}"),
        ("websocket.dedup.window", "10000"),
    ];
    let remembering = seconds(&[&profile[..], &memory].concat());
    let for_all = remembering - with;
    println!("a million of KuCoin's messages, {origin}, {bytes} B on average, without any option: {without:.3} CPU s");
    println!("the same with the profile, without numbers: {with:.3} CPU s, {more:.3} more");
    println!("the same with the numbers: {numbered:.3} CPU s, {for_numbers:.3} more");
    println!(
        "the same with cursor, numbers and doubles: {remembering:.3} CPU s, {for_all:.3} more than without the three"
    );
}

/// The processor time that a connection needs for so many messages, from frame to batch.
fn million(options: &[(&str, &str)], messages: &[String], count: usize) -> Duration {
    let given = options.iter().chain(&[("kafka.topic", "t")]);
    let properties = given.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let config = Config::parse(&properties).unwrap_or_else(|errors| panic!("{errors:?}"));
    let moment = Moment { now: tokio::time::Instant::now(), at: SystemTime::now(), chance: &|bytes| bytes.fill(7) };
    let mut dialogue =
        Dialogue::begin(config.plan.clone(), config.redactor.clone(), Carried::default(), &Memory::default());
    open(&mut dialogue, &moment);
    let mut intake = Intake::new(config.intake.clone(), &config.plan.paths, config.plan.listens(), Memory::default())
        .unwrap_or_else(|why| panic!("{why}"));
    let ground = Ground { names: &config.plan.names, now: moment.at, chance: moment.chance };
    let mut batch = Batch::default();
    let start = processor_time();
    for message in messages.iter().cycle().take(count) {
        let mut listening = Listening { dialogue: &mut dialogue, moment: &moment };
        let frame = Frame::Text(message.as_bytes());
        let taken = intake.take(frame, &ground, &Origin::default(), &mut batch, &mut listening);
        taken.unwrap_or_else(|refusal| panic!("{refusal:?}"));
        black_box(intake.findings());
        if batch.len() >= 4096 || batch.bytes() >= 256 << 10 {
            batch = black_box(Batch::default());
        }
    }
    processor_time() - start
}

/// KuCoin's token, and the opening handshake.
fn open(dialogue: &mut Dialogue, moment: &Moment<'_>) {
    const TOKEN: &str = r#"{"code":"200000","data":{"token":"t0k3n","instanceServers":[{"endpoint":"wss://push.test/endpoint","pingInterval":18000}]}}"#;
    let good = |result: Result<(), End>| result.unwrap_or_else(|end| panic!("{end:?}"));
    good(dialogue.proceed(moment, true));
    while let Some(action) = dialogue.next_action() {
        match action {
            Action::Http(_) => good(dialogue.answered(&HttpAnswer { status: 200, headers: &[], body: TOKEN }, moment)),
            Action::Connect(_) => good(dialogue.opened(&[], moment)),
            Action::Text(_) | Action::Binary(_) => {}
        }
    }
}

/// A connection's own steps.
struct Listening<'a> {
    dialogue: &'a mut Dialogue,
    moment: &'a Moment<'a>,
}

impl Steps for Listening<'_> {
    fn look(&mut self, part: &Part<'_>) -> bool {
        let (is_record, end) = self.dialogue.message(part.scanned, self.moment);
        assert!(end.is_none(), "{end:?}");
        is_record
    }

    fn variables(&self) -> (&Variables, &Cell<u64>) {
        (self.dialogue.variables(), self.dialogue.count())
    }
}

/// What KuCoin sent, of a recording: lines `<time>: <message>`.
fn recorded() -> Option<Vec<String>> {
    let folder = std::env::var_os("CAPTURES")?;
    let text = std::fs::read_to_string(Path::new(&folder).join("cryptofeed/KUCOIN.ws.1.0")).ok()?;
    let received = text.lines().filter(|line| !line.starts_with("ws"));
    Some(received.filter_map(|line| Some(line.split_once(": ")?.1.to_owned())).collect())
}

/// A message as KuCoin sends it: the dialogue's first, then two changes of the order book to each trade.
fn made(n: usize) -> String {
    let time = 1_619_378_326_000_usize + n;
    match n {
        0 => r#"{"id":"1","type":"welcome"}"#.to_owned(),
        1 => r#"{"id":"1","type":"ack"}"#.to_owned(),
        _ if n.is_multiple_of(3) => TRADE.replace("1545913818099", &time.to_string()),
        _ => format!(
            r#"{{"data":{{"sequenceStart":{n},"symbol":"BTC-USDT","changes":{{"asks":[["54023.7","0","{n}"]],"bids":[]}},"sequenceEnd":{n},"time":{time}}},"subject":"trade.l2update","topic":"/market/level2:BTC-USDT","type":"message"}}"#
        ),
    }
}

/// Of this thread.
fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
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
    for pointer in ["/a == 1", "/b/c == 1", "/k9999 == 1", "/*/x == 1", "/*/*/y == 1"] {
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
