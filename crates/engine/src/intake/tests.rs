use std::cell::{Cell, RefCell};
use std::time::{Duration, UNIX_EPOCH};

use regex::Regex;

use super::fields::Unit;
use super::split::Split;
use super::value::ValueForm;
use super::*;
use crate::dialogue::variables::{Names, Variables};
use crate::record::Key;

const NOW_MS: i64 = 1_700_000_000_123;

/// An intake over one connection, and what became of its messages.
struct Rig {
    names: Names,
    variables: Variables,
    intake: Intake,
    batch: Batch,
}

impl Rig {
    fn new(settings: Settings) -> Rig {
        Rig::with(settings, Names::default(), false)
    }

    fn with(settings: Settings, names: Names, looked_at: bool) -> Rig {
        let mut paths = Paths::default();
        let plan = Plan::compile(settings, &names, &mut paths).unwrap();
        let intake = Intake::new(Arc::new(plan), &paths, looked_at, Memory::default()).unwrap();
        Rig { names, variables: Variables::default(), intake, batch: Batch::default() }
    }

    fn take(&mut self, frame: Frame<'_>) -> Result<(), Refusal> {
        self.take_looking(frame, |_| true)
    }

    fn take_looking(&mut self, frame: Frame<'_>, look: impl FnMut(&Part<'_>) -> bool) -> Result<(), Refusal> {
        let count = Cell::new(0);
        let now = UNIX_EPOCH + Duration::from_millis(NOW_MS as u64);
        let chance = |bytes: &mut [u8]| bytes.fill(1);
        let ground = Ground { names: &self.names, now, chance: &chance };
        let origin = Origin { connection: "7", feed: "kucoin" };
        let mut steps = Looking { look, variables: &self.variables, count };
        self.intake.take(frame, &ground, &origin, &mut self.batch, &mut steps)
    }

    fn text(&mut self, message: &str) {
        self.take(Frame::Text(message.as_bytes())).unwrap();
    }

    fn values(&self) -> Vec<String> {
        self.batch.iter().map(|record| String::from_utf8_lossy(record.value).into_owned()).collect()
    }
}

/// Steps that are one function.
struct Looking<'a, F> {
    look: F,
    variables: &'a Variables,
    count: Cell<u64>,
}

impl<F: FnMut(&Part<'_>) -> bool> Steps for Looking<'_, F> {
    fn look(&mut self, part: &Part<'_>) -> bool {
        (self.look)(part)
    }

    fn variables(&self) -> (&Variables, &Cell<u64>) {
        (self.variables, &self.count)
    }
}

fn settings() -> Settings {
    Settings { topic: "feed".into(), ..Settings::default() }
}

fn picking(pointers: &[&str]) -> Settings {
    Settings { pointers: pointers.iter().map(|&text| text.to_owned()).collect(), ..settings() }
}

fn fatal(result: Result<(), Refusal>) -> String {
    match result {
        Err(Refusal::Fatal(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_secret_goes_into_a_record() {
    let mut names = Names::default();
    names.hold("secret.k").unwrap();
    names.declare(&[("v", "x{{secret.k}}")]).unwrap();
    for key in ["{{secret.k}}", "{{v}}"] {
        let settings = Settings { key: Some(key.into()), ..settings() };
        let problems = Plan::compile(settings, &names, &mut Paths::default()).unwrap_err();
        assert!(problems[0].1.message.contains("secret.k is secret"), "{key}: {problems:?}");
    }
}

#[test]
fn a_feed_without_any_option_takes_one_branch() {
    let mut rig = Rig::new(settings());
    assert!(rig.intake.plain);
    rig.text("anything");
    rig.take(Frame::Binary(&[0xFF])).unwrap();
    let records: Vec<_> = rig.batch.iter().map(|record| (record.kind, record.value, record.timestamp_ms())).collect();
    assert_eq!(records, [(ValueKind::Text, &b"anything"[..], NOW_MS), (ValueKind::Bytes, &[0xFF][..], NOW_MS)]);
}

#[test]
fn binary_messages_become_what_the_option_says_with_and_without_stages() {
    for looked_at in [false, true] {
        for (binary, kind, value) in [
            (BinaryMessages::Bytes, ValueKind::Bytes, &[b'a', 0xFF][..]),
            (BinaryMessages::Base64, ValueKind::Text, b"Yf8="),
            (BinaryMessages::Text, ValueKind::Text, "a\u{FFFD}".as_bytes()),
        ] {
            let mut rig = Rig::with(Settings { binary, ..settings() }, Names::default(), looked_at);
            rig.take(Frame::Binary(&[b'a', 0xFF])).unwrap();
            let record = rig.batch.get(0).unwrap();
            assert_eq!((record.kind, record.value), (kind, value), "{binary:?} {looked_at}");
        }
        let mut rig = Rig::with(Settings { binary: BinaryMessages::Skip, ..settings() }, Names::default(), looked_at);
        rig.take(Frame::Binary(&[1])).unwrap();
        assert_eq!((rig.batch.len(), rig.intake.counts().skipped), (0, 1));
        assert_eq!(rig.intake.counts(), Counts::default());
    }
}

#[test]
fn decoding_applies_to_binary_messages_and_base64_to_text_too() {
    let mut rig = Rig::new(Settings { decode: vec![Codec::Base64], ..settings() });
    rig.text("aGk=");
    rig.take(Frame::Binary(b"aG8=")).unwrap();
    assert_eq!(rig.values(), ["hi", "ho"]);
    let mut rig = Rig::new(Settings { decode: vec![Codec::Gzip, Codec::Base64], ..settings() });
    rig.text("not packed");
    assert_eq!(rig.values(), ["not packed"]);
}

#[test]
fn what_cannot_be_decoded_closes_the_connection() {
    let mut rig = Rig::new(Settings { decode: vec![Codec::Gzip], ..settings() });
    let Err(Refusal::Violation { code: 1007, message }) = rig.take(Frame::Binary(b"x")) else { panic!() };
    assert_eq!(message, "a message is not valid gzip, which websocket.frame.decode expects");
    let mut rig = Rig::new(Settings { decode: vec![Codec::Base64], message_max_bytes: 2, ..settings() });
    let Err(Refusal::Violation { code: 1009, message }) = rig.take(Frame::Text(b"YWJj")) else { panic!() };
    assert_eq!(message, "a decoded message is larger than websocket.message.max.bytes = 2");
}

#[test]
fn what_comes_out_of_a_decoder_is_binary_and_pointers_read_it() {
    let settings =
        Settings { decode: vec![Codec::Base64], key: Some("{{envelope(/ch)}}".into()), ..picking(&["/tick/data/*"]) };
    let mut rig = Rig::new(settings);
    rig.text(&BASE64.encode(r#"{"ch":"btc","tick":{"data":[{"id":1},{"id":123456789012345678901234567}]}}"#));
    assert_eq!(rig.values(), [r#"{"id":1}"#, r#"{"id":123456789012345678901234567}"#]);
    assert!(rig.batch.iter().all(|record| record.kind == ValueKind::Bytes && record.key() == Some(Key::Text("btc"))));
}

#[test]
fn a_record_that_is_too_large_with_its_key_and_headers_is_left_out_and_counted() {
    let sized = |max_bytes| Settings {
        key: Some("{{/k}}".into()),
        headers: vec![("side".into(), "{{/s}}".into())],
        max_bytes: Some(max_bytes),
        ..settings()
    };
    let message = r#"{"k":"btc","s":"buy"}"#;
    let size = message.len() + "btc".len() + "side".len() + "buy".len();
    for (max_bytes, records) in [(size, 1), (size - 1, 0)] {
        let mut rig = Rig::new(sized(max_bytes));
        rig.text(message);
        assert_eq!((rig.batch.len(), rig.intake.counts().too_large), (records, 1 - records as u64));
    }
    let mut rig = Rig::new(Settings { binary: BinaryMessages::Base64, max_bytes: Some(7), ..settings() });
    rig.take(Frame::Binary(&[0; 4])).unwrap();
    rig.take(Frame::Binary(&[0; 3])).unwrap();
    assert_eq!((rig.values(), rig.intake.findings().too_large), (vec!["AAAA".to_owned()], vec![None]));
}

#[test]
fn from_the_split_on_a_message_is_one_part() {
    let settings = Settings {
        split: Some(Split::JsonArray),
        key: Some("{{/s}}:{{index}}".into()),
        filter: Some("/T == 't'".into()),
        ..settings()
    };
    let mut rig = Rig::with(settings, Names::default(), true);
    let seen = RefCell::new(Vec::new());
    let look = |part: &Part<'_>| {
        seen.borrow_mut().push((part.index, part.scanned.map(|scanned| scanned.text().to_owned())));
        part.index != Some(1)
    };
    rig.take_looking(
        Frame::Text(br#"[{"T":"t","s":"A"},{"T":"t","s":"B"},{"T":"q","s":"C"},{"T":"t","s":"D"}]"#),
        look,
    )
    .unwrap();
    assert_eq!(seen.borrow().len(), 4);
    assert_eq!(seen.borrow()[1], (Some(1), Some(r#"{"T":"t","s":"B"}"#.to_owned())));
    let keys: Vec<_> = rig.batch.iter().map(|record| record.key()).collect();
    assert_eq!(keys, [Some(Key::Text("A:0")), Some(Key::Text("D:3"))]);
    assert_eq!(rig.intake.counts().filtered, 1);
}

#[test]
fn binary_messages_are_split_at_bytes_whatever_they_hold() {
    let mut rig = Rig::new(Settings { split: Some(Split::Byte(0x1E)), ..settings() });
    rig.take(Frame::Binary(&[0xFF, 0x1E, 0x1E, b'a'])).unwrap();
    assert_eq!(rig.batch.iter().map(|record| record.value.to_vec()).collect::<Vec<_>>(), [vec![0xFF], vec![b'a']]);
}

#[test]
fn the_first_pointer_that_is_there_picks_the_record_and_a_star_each_element() {
    let mut rig =
        Rig::new(Settings { key: Some("{{index}}".into()), ..picking(&["/push/pub", "/subscribe/publications/*"]) });
    rig.text(r#"{"push":{"pub":{"a":1}},"subscribe":{"publications":[9]}}"#);
    rig.text(r#"{"subscribe":{"publications":[{"b":1},{"b":2}]}}"#);
    assert_eq!(rig.values(), [r#"{"a":1}"#, r#"{"b":1}"#, r#"{"b":2}"#]);
    let keys: Vec<_> = rig.batch.iter().map(|record| record.key()).collect();
    assert_eq!(keys, [None, Some(Key::Text("0")), Some(Key::Text("1"))]);
}

#[test]
fn a_string_that_is_picked_gives_its_content_and_record_decode_is_the_chain_after_it() {
    let mut rig = Rig::new(Settings { key: Some("{{/id}}".into()), ..picking(&["/payload"]) });
    rig.text(r#"{"payload":"{\"id\":\"x\\n\"}"}"#);
    assert_eq!(rig.values(), [r#"{"id":"x\n"}"#]);
    assert_eq!(rig.batch.get(0).unwrap().key(), Some(Key::Text("x\n")));

    let settings =
        Settings { record_decode: vec![Codec::Base64], key: Some("{{/id}}".into()), ..picking(&["/payload"]) };
    let mut rig = Rig::new(settings);
    rig.text(&format!(r#"{{"payload":"{}"}}"#, BASE64.encode(r#"{"id":7}"#)));
    assert_eq!(rig.values(), [r#"{"id":7}"#]);
    assert_eq!(rig.batch.get(0).unwrap().key(), Some(Key::Text("7")));
}

#[test]
fn a_record_that_cannot_be_decoded_is_what_record_missing_says() {
    let settings = |missing| Settings { record_decode: vec![Codec::Base64], missing, ..picking(&["/p"]) };
    let mut rig = Rig::new(settings(fields::Missing::Fail));
    assert!(fatal(rig.take(Frame::Text(br#"{"p":"!"}"#))).contains("a record is not valid base64"));
    let mut rig = Rig::new(settings(fields::Missing::Skip));
    rig.text(r#"{"p":"!"}"#);
    assert_eq!((rig.batch.len(), rig.intake.counts().incomplete), (0, 1));
    let mut rig = Rig::new(settings(fields::Missing::Default));
    rig.text(r#"{"p":"!"}"#);
    assert_eq!(rig.values(), ["!"]);
}

#[test]
fn a_message_in_which_no_pointer_is_there_is_no_record_or_whole_or_fails() {
    for message in ["{\"b\":1}", "pong", "{"] {
        let mut rig = Rig::new(picking(&["/a"]));
        rig.text(message);
        assert_eq!((rig.batch.len(), rig.intake.counts().without_record), (0, 1));
        let mut rig = Rig::new(Settings { pointer_missing: pick::Missing::Whole, ..picking(&["/a"]) });
        rig.text(message);
        assert_eq!(rig.values(), [message]);
        let mut rig = Rig::new(Settings { pointer_missing: pick::Missing::Fail, ..picking(&["/a"]) });
        assert!(fatal(rig.take(Frame::Text(message.as_bytes()))).starts_with("websocket.record.pointer: "));
    }
}

#[test]
fn the_filter_sees_the_picked_record_and_its_envelope() {
    let mut rig =
        Rig::new(Settings { filter: Some("envelope(/type) == 'next' && /n > 1".into()), ..picking(&["/data"]) });
    for message in
        [r#"{"type":"next","data":{"n":1}}"#, r#"{"type":"next","data":{"n":2}}"#, r#"{"type":"x","data":{"n":2}}"#]
    {
        rig.text(message);
    }
    assert_eq!(rig.values(), [r#"{"n":2}"#]);
    assert_eq!(rig.intake.counts().filtered, 2);
}

#[test]
fn invalid_json_matches_no_condition_and_the_record_still_passes() {
    let mut rig = Rig::new(Settings { key: Some("{{/a}}".into()), ..settings() });
    rig.text("{\"a\":1");
    assert_eq!(rig.values(), ["{\"a\":1"]);
    assert_eq!(rig.batch.get(0).unwrap().key(), None);
}

#[test]
fn key_topic_timestamp_and_headers_come_from_the_record() {
    let mut names = Names::default();
    names.declare(&[("venue", "kucoin")]).unwrap();
    let settings = Settings {
        topic: "trades-{{/s}}".into(),
        key: Some("{{/s}}:{{/id}}".into()),
        timestamp: Some("{{/t}}".into()),
        timestamp_unit: Unit::Seconds,
        headers: vec![
            ("venue".into(), "{{venue}}".into()),
            ("side".into(), "{{/side}}".into()),
            ("n".into(), "{{/id}}".into()),
        ],
        ..settings()
    };
    let mut rig = Rig::with(settings, names, false);
    rig.text(r#"{"s":"BTC/USD","id":17,"t":1606292218.5,"side":null}"#);
    let record = rig.batch.get(0).unwrap();
    assert_eq!(record.topic(), Some("trades-BTC_USD"));
    assert_eq!(record.key(), Some(Key::Text("BTC/USD:17")));
    assert_eq!(record.timestamp_ms(), 1_606_292_218_500);
    assert_eq!(record.headers().collect::<Vec<_>>(), [("venue", "kucoin"), ("n", "17")]);
    assert_eq!(record.value, br#"{"s":"BTC/USD","id":17,"t":1606292218.5,"side":null}"#);
}

#[test]
fn a_missing_key_is_null_and_a_key_may_be_bytes() {
    let mut rig = Rig::new(Settings { key: Some("{{/k}}".into()), key_bytes: true, ..settings() });
    for message in [r#"{"k":"a"}"#, r#"{"k":null}"#, "{}"] {
        rig.text(message);
    }
    let keys: Vec<_> = rig.batch.iter().map(|record| record.key()).collect();
    assert_eq!(keys, [Some(Key::Bytes(b"a")), None, None]);
}

#[test]
fn a_missing_topic_or_timestamp_fails_skips_or_takes_the_default() {
    let with = |missing| Settings { topic: "t-{{/s}}".into(), timestamp: Some("{{/t}}".into()), missing, ..settings() };
    for (message, option) in [
        (r#"{"t":1}"#, "kafka.topic: /s has no value"),
        (r#"{"s":"a"}"#, "websocket.record.timestamp: /t has no value"),
        (r#"{"s":"a","t":null}"#, "websocket.record.timestamp: /t has no value"),
        (
            r#"{"s":"a","t":"soon"}"#,
            "websocket.record.timestamp: soon is not a time in the unit of websocket.record.timestamp.unit",
        ),
    ] {
        let mut rig = Rig::new(with(fields::Missing::Fail));
        let why = fatal(rig.take(Frame::Text(message.as_bytes())));
        assert_eq!(why, format!("{option}; websocket.record.missing=skip drops such records and counts them"));
        assert!(rig.batch.is_empty());
        let mut rig = Rig::new(with(fields::Missing::Skip));
        rig.text(message);
        assert_eq!((rig.batch.len(), rig.intake.counts().incomplete), (0, 1));
    }
    let mut rig = Rig::new(with(fields::Missing::Default));
    rig.text("{}");
    assert_eq!(rig.batch.get(0).unwrap().topic(), Some("t-_"));
    assert_eq!(rig.batch.get(0).unwrap().timestamp_ms(), NOW_MS);
}

#[test]
fn distinct_topics_are_bounded_and_must_be_allowed() {
    let with = |missing| Settings {
        topic: "{{/s}}".into(),
        topics_max: 2,
        topics_allowed: Some(Regex::new("^(?:[a-z]|zz)$").unwrap()),
        missing,
        ..settings()
    };
    let mut rig = Rig::new(with(fields::Missing::Skip));
    for topic in ["a", "b", "a", "zzz", "c", "b"] {
        rig.text(&format!(r#"{{"s":"{topic}"}}"#));
    }
    let topics: Vec<_> = rig.batch.iter().map(|record| record.topic().unwrap().to_owned()).collect();
    assert_eq!(topics, ["a", "b", "a", "b"]);
    assert_eq!(rig.intake.counts().incomplete, 2);
    let mut rig = Rig::new(with(fields::Missing::Fail));
    assert!(
        fatal(rig.take(Frame::Text(br#"{"s":"AB"}"#))).contains("the topic AB does not match websocket.topics.allowed")
    );
    rig.text(r#"{"s":"a"}"#);
    rig.text(r#"{"s":"b"}"#);
    assert!(fatal(rig.take(Frame::Text(br#"{"s":"c"}"#))).contains("one more than websocket.topics.max = 2"));
}

#[test]
fn the_value_is_as_received_string_bytes_or_json() {
    let take = |value, frame| {
        let mut rig = Rig::with(Settings { value, ..settings() }, Names::default(), true);
        rig.take(frame).unwrap();
        let record = rig.batch.get(0).unwrap();
        (record.kind, record.value.to_vec())
    };
    let (text, binary) = (Frame::Text(b"[1]"), Frame::Binary(b"[1]"));
    assert_eq!(take(ValueForm::AsReceived, text).0, ValueKind::Text);
    assert_eq!(take(ValueForm::AsReceived, binary).0, ValueKind::Bytes);
    assert_eq!(take(ValueForm::String, binary), (ValueKind::Text, b"[1]".to_vec()));
    assert_eq!(take(ValueForm::Bytes, text), (ValueKind::Bytes, b"[1]".to_vec()));
    let (kind, json) = take(ValueForm::Json, binary);
    assert_eq!(kind, ValueKind::Json);
    let mut expected = Vec::new();
    crate::record::value::Parser::default().parse("[1]", &mut expected).unwrap();
    assert_eq!(json, expected);
    assert_eq!(take(ValueForm::Json, Frame::Text(b"pong")), (ValueKind::Text, b"pong".to_vec()));
}

#[test]
fn provenance_is_four_headers() {
    let mut rig = Rig::new(Settings { provenance: true, split: Some(Split::Lines), ..settings() });
    rig.text("a\nb");
    let headers: Vec<_> = rig.batch.get(1).unwrap().headers().collect();
    assert_eq!(
        headers,
        [
            ("websocket.received.ns", "1700000000123000000"),
            ("websocket.connection", "7"),
            ("websocket.number", "2"),
            ("websocket.feed", "kucoin")
        ]
    );
}

#[test]
fn all_problems_are_reported_at_once_with_their_option() {
    let settings = Settings {
        topic: "t-{{topic}}".into(),
        filter: Some("/a".into()),
        key: Some("{{/a".into()),
        timestamp: Some("{{nw_s()}}".into()),
        headers: vec![("x".into(), "{{sha256('')}}".into())],
        ..picking(&["a"])
    };
    let problems = Plan::compile(settings, &Names::default(), &mut Paths::default()).unwrap_err();
    let problems: Vec<String> = problems.into_iter().map(|(option, problem)| format!("{option}: {problem}")).collect();
    assert_eq!(problems.len(), 6, "{problems:#?}");
    assert!(
        problems.iter().any(|problem| problem == "kafka.topic: column 5: topic has no value here"),
        "{problems:#?}"
    );
    assert!(problems.iter().any(|problem| problem.starts_with("websocket.record.header.x: column 3: expected text")));
}

#[test]
fn the_records_of_a_message_have_a_limit_of_bytes() {
    let settings = || Settings {
        pointers: vec!["/data/*".to_owned()],
        key: Some("{{envelope(/channel)}}".to_owned()),
        records_max_bytes: 10_000,
        ..Settings::default()
    };
    let message = |channel: usize, count: usize| {
        format!(r#"{{"channel":"{}","data":[{}0]}}"#, "x".repeat(channel), "1,".repeat(count))
    };
    let mut rig = Rig::new(settings());
    for _ in 0..3 {
        rig.text(&message(100, 50));
    }
    assert_eq!(rig.batch.len(), 3 * 51);
    // A single record is never refused.
    rig.text(&message(20_000, 0));

    let mut rig = Rig::new(settings());
    let refused = rig.take(Frame::Text(message(1000, 1000).as_bytes()));
    let Err(Refusal::Violation { code: 1009, message }) = refused else { panic!("{refused:?}") };
    assert!(message.contains("more than 10000 bytes; raise websocket.message.queue.max.bytes"), "{message}");
    assert!(rig.batch.bytes() < 12_000, "{}", rig.batch.bytes());
}

#[test]
fn the_gaps_of_a_message_have_a_limit() {
    let numbered = memory::Settings {
        sequence: Some(sequence::Settings { number: "{{/n}}".to_owned(), ..sequence::Settings::default() }),
        ..memory::Settings::default()
    };
    let sparse = Settings { split: Some(Split::JsonArray), memory: numbered, ..Settings::default() };
    let tiny = Settings { split: Some(Split::JsonArray), max_bytes: Some(1), ..Settings::default() };
    for settings in [sparse, tiny] {
        let mut rig = Rig::new(settings);
        let records: Vec<String> = (0..30_000).map(|n| format!(r#"{{"n":{}}}"#, n * 2)).collect();
        let refused = rig.take(Frame::Text(format!("[{}]", records.join(",")).as_bytes()));
        let Err(Refusal::Violation { code: 1009, message }) = refused else { panic!("{refused:?}") };
        assert!(message.starts_with("a message shows more than 10000 missing or too large records"), "{message}");
        let findings = rig.intake.findings();
        assert_eq!(findings.holes.len() + findings.too_large.len(), 10_001);
    }
}
