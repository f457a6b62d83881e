//! What is learned from feeds, recorded and made, is what a person would write. The right answers stand in `learn/answers`, worked
//! out by hand from each feed's documentation.

#[path = "learn/made.rs"]
mod made;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use connect_websocket::learn::{About, Certainty, Finding, Learner, Message};
use connect_websocket_engine::config::Config;
use connect_websocket_engine::dialogue::variables::Variables;
use connect_websocket_engine::intake::decode::{Codec, Decoder};
use connect_websocket_engine::intake::memory::Memory;
use connect_websocket_engine::intake::{Frame, Ground, Intake, Origin, Part, Steps};
use connect_websocket_engine::properties;
use connect_websocket_engine::record::Batch;
use connect_websocket_testkit::recordings::{self, folder, received_at};

use made::{FEEDS, Received};

/// So far a time may be from the receipt.
const NEAR_MS: u64 = 120_000;

/// Each recording, and whose answers are right for it.
const RECORDED: [(&str, &str); 5] = [
    ("BINANCE.ws.1.0", "binance"),
    ("KRAKEN.ws.50.0", "kraken"),
    ("HUOBI.ws.44.0", "htx"),
    ("OKX.ws.1.0", "okx"),
    ("KUCOIN.ws.1.0", "kucoin"),
];

#[test]
fn what_is_learned_of_recorded_feeds_is_what_a_person_would_write() {
    let Some(folder) = folder() else { return };
    let recorded = RECORDED.into_iter().map(|(recording, feed)| (received_at(&folder, recording), feed));
    let all: Vec<(Received, &str)> = recorded.chain([(jetstream(&folder), "jetstream")]).collect();
    for (messages, feed) in all {
        check(feed, &messages);
    }
}

#[test]
fn what_is_learned_of_made_feeds_is_what_a_person_would_write() {
    for (feed, make) in FEEDS {
        check(feed, &make());
    }
}

#[test]
fn messages_of_the_firehose_are_named_and_left_as_they_are() {
    let Some(folder) = folder() else { return };
    let packed = std::fs::read(folder.join("jetstream/frames.bin.zst")).unwrap();
    let mut decoder = Decoder::new(&[Codec::Zstd], &[], 16 << 20).unwrap();
    let mut rest = decoder.decode(&packed).unwrap();
    let mut learner = Learner::new();
    let mut frames = 0;
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let (frame, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
        learner.message(Duration::ZERO, Message::Binary(frame));
        rest = behind;
        frames += 1;
    }
    let findings = learner.findings();
    assert_eq!(lines(&findings), BTreeMap::new());
    assert_eq!(frames, 150);
    let packing = findings.iter().find(|finding| finding.about == About::Packing).unwrap();
    assert!(packing.says.contains("CBOR in 150 of 150 messages"), "{}", packing.says);
}

/// What is suggested is right, valid, and holds: the engine, told so, makes records with the promised key and time of the same
/// messages, and finds no gap.
fn check(feed: &str, messages: &Received) {
    let findings = learned(messages);
    let suggested = lines(&findings);
    let answers = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/learn/answers/{feed}.properties"));
    let answers = std::fs::read(&answers).unwrap_or_else(|e| panic!("{} cannot be read: {e}", answers.display()));
    let right: BTreeMap<String, String> = properties::parse(&answers).unwrap().into_iter().collect();
    assert_eq!(suggested, right, "{feed}: suggested, and right; it said {findings:#?}");
    let cursor = findings.iter().find(|finding| finding.about == About::Cursor);
    assert!(cursor.is_none_or(|cursor| cursor.certainty == Certainty::Possible && cursor.caveat.is_some()), "{feed}");
    let told = done_by_the_engine(&suggested, messages);
    assert_eq!(told.holes, 0, "{feed}");
    assert!(told.records > 0, "{feed}");
    let has = |option: &str| suggested.contains_key(&format!("websocket.{option}"));
    assert_eq!(
        told.with_key,
        if has("record.key") { told.records - told.keyless } else { 0 },
        "{feed}: records with a key"
    );
    assert_eq!(told.with_time > 0, has("record.timestamp"), "{feed}: records with a time of their own");
    if has("record.timestamp") && !has("record.missing") {
        assert_eq!(told.with_time, told.records, "{feed}: records with a time of their own");
    }
    is_accepted_by_validate(feed, &findings, url(&suggested));
}

/// The suggested lines, pasted into a connector's file.
fn is_accepted_by_validate(feed: &str, findings: &[Finding], url: &str) {
    let file = std::env::temp_dir().join(format!("connect-websocket-learned-{}-{feed}.properties", std::process::id()));
    let mut text = format!(
        "name=feed\nconnector.class=io.conduktor.connect.websocket.WebSocketSourceConnector\nkafka.topic=feed\nwebsocket.url={url}\n"
    );
    for line in findings.iter().flat_map(|finding| &finding.lines) {
        text.push_str(&format!("{line}\n"));
    }
    fs::write(&file, text).unwrap();
    let validate = Command::new(env!("CARGO_BIN_EXE_connect-websocket")).arg("validate").arg(&file).output().unwrap();
    fs::remove_file(&file).unwrap();
    let said = String::from_utf8_lossy(&validate.stderr);
    assert!(validate.status.success() && said.is_empty(), "{feed}: {said}");
}

fn url(suggested: &BTreeMap<String, String>) -> &'static str {
    match suggested.contains_key("websocket.cursor") {
        true => "wss://feed.test/?cursor={{cursor}}",
        false => "wss://feed.test/",
    }
}

fn learned(messages: &Received) -> Vec<Finding> {
    let started = messages.first().map_or(SystemTime::UNIX_EPOCH, |(at, _)| *at);
    let mut learner = Learner::started_at(started);
    for (at, message) in messages {
        let since_start = at.duration_since(started).unwrap_or_default();
        learner.message(since_start, as_learned(message));
    }
    assert_eq!(learner.errors(), None);
    learner.findings()
}

fn as_learned(message: &recordings::Message) -> Message<'_> {
    match message {
        recordings::Message::Text(text) => Message::Text(text),
        recordings::Message::Binary(bytes) => Message::Binary(bytes),
    }
}

fn lines(findings: &[Finding]) -> BTreeMap<String, String> {
    let lines = findings.iter().flat_map(|finding| &finding.lines);
    lines.map(|line| (line.key.to_owned(), line.value.clone())).collect()
}

/// The events of Jetstream were recorded without their receipts: each came when the newest before it did.
fn jetstream(folder: &Path) -> Received {
    let path = folder.join("jetstream/expected_v1.jsonl");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{} cannot be read: {e}", path.display()));
    let mut newest = 0;
    let received = text.lines().map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        newest = newest.max(event["time_us"].as_u64().unwrap());
        (SystemTime::UNIX_EPOCH + Duration::from_micros(newest), recordings::Message::Text(line.to_owned()))
    });
    received.collect()
}

#[derive(Default)]
struct Told {
    records: usize,
    with_key: usize,
    /// Records whose key is null in the message.
    keyless: usize,
    /// Records whose time is near the receipt of their message, and not that of the engine.
    with_time: usize,
    holes: usize,
}

fn done_by_the_engine(suggested: &BTreeMap<String, String>, messages: &Received) -> Told {
    let mut options = suggested.clone();
    for (key, value) in [("name", "feed"), ("kafka.topic", "feed"), ("websocket.url", url(suggested))] {
        options.insert(key.to_owned(), value.to_owned());
    }
    let config = Config::parse(&options.into_iter().collect()).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let mut intake = Intake::new(config.intake.clone(), &config.plan.paths, false, Memory::default()).unwrap();
    let mut steps = NoSteps::default();
    let mut told = Told::default();
    for (at, message) in messages {
        let frame = match message {
            recordings::Message::Text(text) => Frame::Text(text.as_bytes()),
            recordings::Message::Binary(bytes) => Frame::Binary(bytes),
        };
        // To the engine each comes a day later.
        let now = *at + Duration::from_secs(86_400);
        let ground = Ground { names: &config.plan.names, now, chance: &|bytes| bytes.fill(0) };
        let mut batch = Batch::default();
        intake.take(frame, &ground, &Origin::default(), &mut batch, &mut steps).unwrap_or_else(|e| panic!("{e:?}"));
        told.records += batch.len();
        told.with_key += batch.iter().filter(|record| record.key().is_some()).count();
        told.keyless += batch.iter().filter(|record| is_keyless(record.value)).count();
        let received = i64::try_from(at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap();
        told.with_time += batch.iter().filter(|record| record.timestamp_ms().abs_diff(received) <= NEAR_MS).count();
    }
    told.holes = intake.findings().holes.len();
    told
}

/// In one made feed a symbol is null now and then.
fn is_keyless(record: &[u8]) -> bool {
    String::from_utf8_lossy(record).contains(r#""symbol":null"#)
}

#[derive(Default)]
struct NoSteps {
    variables: Variables,
    numbers: Cell<u64>,
}

impl Steps for NoSteps {
    fn look(&mut self, _: &Part<'_>) -> bool {
        true
    }

    fn variables(&self) -> (&Variables, &Cell<u64>) {
        (&self.variables, &self.numbers)
    }
}
