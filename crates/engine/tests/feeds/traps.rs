//! What real feeds do that one would not expect, by number.

use std::time::Duration;

use connect_websocket_engine::config_def::Properties;
use connect_websocket_engine::gap::Cause;
use connect_websocket_testkit::{Messages, Play, SIMULATORS, Script, Server, Simulator};

use crate::Run;
use crate::running::Running;

const LIMIT: Duration = Duration::from_secs(60);

fn serve(play: Play) -> Server {
    Server::start(Script::every(play)).unwrap()
}

fn start(server: &Server, options: &[(&str, &str)]) -> Running {
    let options = options.iter().map(|(key, value)| ((*key).to_owned(), value.replace("SERVER", server.url())));
    let mut properties: Properties = options.collect();
    properties.entry("websocket.url".to_owned()).or_insert_with(|| server.url().to_owned());
    Running::start(&properties).unwrap()
}

fn values(running: &mut Running, count: usize) -> Vec<String> {
    running.records(count).unwrap().into_iter().map(|record| record.value).collect()
}

fn simulator(feed: &str) -> &'static Simulator {
    SIMULATORS.iter().find(|simulator| simulator.feed == feed).unwrap()
}

const SUBSCRIBE: &[(&str, &str)] = &[
    ("websocket.session.steps", "connect,subscribe"),
    ("websocket.subscription.topics", "a,b"),
    ("websocket.subscription.message", r#"{"sub":[{{topics}}]}"#),
    ("websocket.session.subscribe.expect", "/ack exists"),
];

fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    SUBSCRIBE.iter().chain(more).copied().collect()
}

#[test]
fn trap_01_an_acknowledgement_may_carry_data() {
    let play = || Play::accept().expect_text("sub").send_text(r#"{"ack":1,"missed":[1,2]}"#).send_text(r#"{"n":3}"#);
    let server = serve(play());
    let mut dropped = start(&server, SUBSCRIBE);
    assert_eq!(values(&mut dropped, 1), [r#"{"n":3}"#]);
    let server = serve(play());
    let mut kept = start(
        &server,
        &with(&[("websocket.session.subscribe.drop", "false"), ("websocket.record.pointer", "/missed/*,/n")]),
    );
    assert_eq!(values(&mut kept, 3), ["1", "2", "3"]);
}

#[test]
fn trap_02_data_before_the_last_acknowledgement_are_records() {
    let play = Play::accept()
        .expect_text(r#""a","b""#)
        .send_text(r#"{"n":1}"#)
        .send_text(r#"{"ack":"a"}"#)
        .send_text(r#"{"n":2}"#)
        .send_text(r#"{"ack":"b"}"#)
        .send_text(r#"{"n":3}"#);
    let server = serve(play);
    let mut running = start(&server, &with(&[("websocket.session.subscribe.count", "topics")]));
    assert_eq!(values(&mut running, 3), [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#]);
}

#[test]
fn trap_03_one_request_has_several_acknowledgements_that_look_alike() {
    let play = Play::accept()
        .expect_text("sub")
        .send_text(r#"{"ack":1}"#)
        .send_text(r#"{"n":1}"#)
        .await_signal()
        .send_text(r#"{"ack":1}"#)
        .expect_text("go")
        .send_text(r#"{"n":2}"#);
    let server = serve(play);
    let mut running = start(
        &server,
        &with(&[
            ("websocket.session.steps", "connect,subscribe,go"),
            ("websocket.session.subscribe.count", "topics"),
            ("websocket.session.go.send", "go"),
        ]),
    );
    assert_eq!(values(&mut running, 1), [r#"{"n":1}"#]);
    assert_eq!(server.stats().connections[0].texts.len(), 1, "the next step waits for the second acknowledgement");
    server.signal();
    assert_eq!(values(&mut running, 1), [r#"{"n":2}"#]);
}

#[test]
fn trap_04_numbers_are_those_of_a_channel_and_may_have_holes_where_the_feed_filters() {
    let messages = [("A", 1), ("A", 2), ("B", 7), ("A", 3), ("B", 8), ("B", 10)];
    let message = |(channel, n): &(&str, u64)| format!(r#"{{"s":"{channel}","n":{n}}}"#);
    let server = serve(messages.iter().fold(Play::accept(), |play, one| play.send_text(message(one))));
    let numbers = [("websocket.sequence", "{{/n}}"), ("websocket.sequence.key", "{{/s}}")];
    for (holes, gaps) in [("gap", &[Cause::Sequence][..]), ("legal", &[])] {
        let mut running = start(&server, &[numbers[0], numbers[1], ("websocket.sequence.holes", holes)]);
        running.records(messages.len()).unwrap();
        assert_eq!(running.gaps_of_the_feed(), gaps, "{holes}");
    }
}

#[test]
fn trap_05_numbers_that_begin_anew_with_each_connection_are_no_gap() {
    let numbered = |play: Play| (0..3).fold(play, |play, n| play.send_text(format!(r#"{{"n":{n}}}"#)));
    let server = serve(numbered(Play::accept()).close(1001));
    for (scope, gaps) in [("connection", false), ("feed", true)] {
        let mut running = start(&server, &[("websocket.sequence", "{{/n}}"), ("websocket.sequence.scope", scope)]);
        running.records(9).unwrap();
        assert_eq!(!running.gaps_of_the_feed().is_empty(), gaps, "{scope}");
    }
}

const CURSOR: &[(&str, &str)] = &[("websocket.url", "SERVER?cursor={{cursor}}"), ("websocket.cursor", "{{/seq}}")];

fn event(seq: u64) -> String {
    format!(r#"{{"seq":{seq}}}"#)
}

#[test]
fn trap_06_a_cursor_that_is_too_old_is_a_gap_whether_the_feed_says_so_or_not() {
    let first = || Play::accept().send_text(event(1)).send_text(event(2)).close(1001);
    let says_so = Play::accept().send_text(r##"{"info":"OutdatedCursor"}"##).send_text(event(9));
    let lost = [
        ("websocket.resume.lost", "/info == 'OutdatedCursor'"),
        ("websocket.resume.lost.action", "continue"),
        ("websocket.record.filter", "/seq exists"),
    ];
    let server = Server::start(Script::plays([first(), says_so])).unwrap();
    let mut running = start(&server, &[CURSOR, &lost].concat());
    assert_eq!(values(&mut running, 3), [event(1), event(2), event(9)]);
    assert_eq!(running.gaps_of_the_feed(), [Cause::ResumeLost]);
    let clamps = Play::accept().send_text(event(9));
    let server = Server::start(Script::plays([first(), clamps])).unwrap();
    let mut running = start(&server, &[CURSOR, &[("websocket.cursor.inclusive", "true")]].concat());
    assert_eq!(values(&mut running, 3), [event(1), event(2), event(9)]);
    assert_eq!(running.gaps_of_the_feed(), [Cause::Clamped]);
}

#[test]
fn trap_07_a_feed_sends_the_record_of_the_cursor_again_or_does_not() {
    let first = || Play::accept().send_text(event(1)).send_text(event(2)).close(1001);
    for (inclusive, again) in [("true", Some(2)), ("false", None)] {
        let second = again.into_iter().chain([3]).fold(Play::accept(), |play, seq| play.send_text(event(seq)));
        let server = Server::start(Script::plays([first(), second])).unwrap();
        let mut running = start(&server, &[CURSOR, &[("websocket.cursor.inclusive", inclusive)]].concat());
        assert_eq!(values(&mut running, 3), [event(1), event(2), event(3)], "{inclusive}");
        assert_eq!(running.gaps_of_the_feed(), [], "{inclusive}");
    }
}

#[test]
fn trap_08_numbers_of_more_than_64_bits_stay_exact() {
    let id = "102490002331112600000000003.50";
    let server = serve(Play::accept().send_text(format!(r#"{{"id":{id}}}"#)));
    let mut running = start(&server, &[("websocket.record.key", "{{/id}}")]);
    assert_eq!(running.records(1).unwrap()[0].key.as_deref(), Some(id));
}

#[test]
fn trap_09_the_close_code_of_a_shutdown_is_a_choice() {
    let server = serve(Play::accept().send_text("hello"));
    let mut running = start(&server, &[("websocket.close.code", "4900")]);
    assert_eq!(values(&mut running, 1), ["hello"]);
    running.stop();
    let stats = server.wait_until(|stats| stats.open == 0, LIMIT).unwrap();
    assert_eq!(stats.connections[0].close_received.as_ref().and_then(|close| close.code), Some(4900));
}

#[test]
fn trap_10_a_feed_that_takes_log_ins_and_turns_us_away_sees_few_of_them() {
    let play = || Play::accept().expect_text("identify").send_text(r#"{"op":"ready"}"#).close(4004);
    let server = serve(play());
    let mut running = start(
        &server,
        &[
            ("websocket.session.steps", "connect,identify"),
            ("websocket.session.identify.send", "identify"),
            ("websocket.session.identify.expect", "/op == 'ready'"),
        ],
    );
    assert!(running.error().unwrap().contains("4004"));
    let log_ins = |server: &Server| server.stats().connections.iter().map(|one| one.texts.len()).sum::<usize>();
    assert_eq!(log_ins(&server), 5, "five in a row are enough");
    let server = serve(play());
    let mut running = start(
        &server,
        &[
            ("websocket.session.steps", "connect,identify"),
            ("websocket.session.identify.send", "identify"),
            ("websocket.close.fatal.codes", "4004,4010-4014"),
        ],
    );
    assert!(running.error().unwrap().contains("4004"));
    assert_eq!(log_ins(&server), 1, "with this code one is enough");
}

#[test]
fn trap_11_pings_count_against_a_limit_of_messages() {
    // Ten subscriptions and a ping every 100 ms, where five messages a second are allowed.
    let topics: Vec<String> = (0..10).map(|n| format!("s{n}@trade")).collect();
    let topics = topics.join(",");
    let run = Run::start(
        simulator("binance"),
        &[
            ("websocket.subscription.topics", &topics),
            ("websocket.subscription.batch.size", "1"),
            ("websocket.ping.interval.ms", "100"),
        ],
    );
    let mut running = Running::start(&run.properties).unwrap();
    running
        .until(|_| {
            let stats = run.simulation.stats();
            stats.connections.iter().any(|connection| connection.texts.len() == 10 && connection.pings_received > 0)
        })
        .unwrap();
    assert_eq!(run.simulation.faults(), [""; 0]);
}

#[test]
fn trap_12_a_feed_that_cuts_slow_readers_is_read_whatever_becomes_of_its_records() {
    let count = 40_000;
    let server = serve(Play::accept().send(Messages::count(count).size(1000)).send_text("the end"));
    let mut running =
        start(&server, &[("websocket.message.queue.size", "10"), ("websocket.message.queue.full", "drop.oldest")]);
    // Far more than all buffers between hold.
    running.without_polls(|| server.stats().sent() >= count);
    running.until(|record| record.is_some_and(|record| record.value == b"the end")).unwrap();
    assert_eq!(server.stats().accepted, 1);
}

#[test]
fn trap_13_json_may_stand_in_a_string() {
    let server = serve(Play::accept().send_text(r#"{"event":"update","payload":"{\"id\":\"7\",\"x\":[1]}"}"#));
    let mut running = start(
        &server,
        &[("websocket.record.pointer", "/payload"), ("websocket.record.key", "{{json(envelope(/payload), '/id')}}")],
    );
    let record = running.records(1).unwrap().remove(0);
    assert_eq!((record.value.as_str(), record.key.as_deref()), (r#"{"id":"7","x":[1]}"#, Some("7")));
}

#[test]
fn trap_14_text_may_come_in_binary_frames() {
    let base64 = "eyJuIjoxfQ==".to_owned();
    let server = serve(Play::accept().step(connect_websocket_testkit::Step::SendBinary { base64 }));
    let mut running = start(&server, &[("websocket.frame.binary", "text"), ("websocket.record.key", "{{/n}}")]);
    let record = running.records(1).unwrap().remove(0);
    assert_eq!((record.value.as_str(), record.key.as_deref()), (r#"{"n":1}"#, Some("1")));
}

#[test]
fn trap_15_what_a_connection_brings_before_it_is_left_is_a_record_and_is_acknowledged_on_it() {
    let event = |id: u64| format!(r#"{{"envelope":{id}}}"#);
    let acknowledged = |id: u64| format!(r#"{{"ack":{id}}}"#);
    // All of it may come in one read, and each event comes on one connection alone.
    let first = Play::accept()
        .send_text(event(1))
        .send_text(event(2))
        .send_text(r#"{"type":"disconnect"}"#)
        .expect_text(acknowledged(1))
        .expect_text(acknowledged(2));
    let second = Play::accept().send_text(event(3)).expect_text(acknowledged(3)).send_text("acknowledged");
    let server = Server::start(Script::plays([first, second])).unwrap();
    let mut running = start(
        &server,
        &[
            ("websocket.session.steps", "connect,ack,move"),
            ("websocket.session.ack.on", "/envelope exists"),
            ("websocket.session.ack.send", r#"{"ack":{{/envelope}}}"#),
            ("websocket.session.ack.drop", "false"),
            ("websocket.session.move.on", "/type == 'disconnect'"),
            ("websocket.session.move.then", "reconnect"),
        ],
    );
    assert_eq!(values(&mut running, 4), [event(1), event(2), event(3), "acknowledged".to_owned()]);
    let texts: Vec<usize> = server.stats().connections.iter().map(|one| one.texts.len()).collect();
    assert_eq!(texts, [2, 1]);
}

#[test]
fn trap_16_pings_may_be_forbidden_or_wanted() {
    let server = serve(Play::accept().send_text("hello").await_signal().send_text("bye"));
    let mut silent = start(&server, &[("websocket.ping.interval.ms", "0")]);
    let mut talkative = start(&server, &[("websocket.ping.interval.ms", "20")]);
    assert_eq!(
        (values(&mut silent, 1), values(&mut talkative, 1)),
        (vec!["hello".to_owned()], vec!["hello".to_owned()])
    );
    talkative.until(|_| server.stats().connections[1].pings_received > 3).unwrap();
    server.signal();
    server.signal();
    assert_eq!(values(&mut silent, 1), ["bye"]);
    assert_eq!(server.stats().connections[0].pings_received, 0);
}

#[test]
fn trap_17_data_may_refer_to_what_only_the_acknowledgement_says() {
    let play = |ids: [u64; 2]| {
        let [a, b] = ids;
        Play::accept()
            .expect_text(r#""a""#)
            .send_text(format!(r#"{{"ack":"a","id":{a}}}"#))
            .expect_text(r#""b""#)
            .send_text(format!(r#"{{"ack":"b","id":{b}}}"#))
            .send_text(format!("[{b},1]"))
            .send_text(format!("[{a},2]"))
    };
    // The numbers change with the connection.
    let server = Server::start(Script::plays([play([7, 8]).close(1001), play([8, 7])])).unwrap();
    let mut running = start(
        &server,
        &[
            ("websocket.session.steps", "connect,subscribe"),
            ("websocket.subscription.topics", "a,b"),
            ("websocket.subscription.message", r#"{"sub":"{{topic}}"}"#),
            ("websocket.session.subscribe.expect", "/ack == topic"),
            ("websocket.session.subscribe.capture", "id=/id"),
            ("websocket.record.key", "{{topic_of(id, /0)}}"),
        ],
    );
    let keys: Vec<_> = running.records(4).unwrap().into_iter().map(|record| record.key.unwrap()).collect();
    assert_eq!(keys, ["b", "a", "b", "a"]);
}

#[test]
fn trap_18_records_keep_the_order_in_which_they_came_whatever_their_times_say() {
    let times = [1_785_579_630_000_300_u64, 1_785_579_630_000_100, 1_785_579_631_000_000, 1_785_579_630_999_999];
    let event = |time: &u64| format!(r#"{{"did":"did:plc:a","time_us":{time}}}"#);
    let server = serve(times.iter().fold(Play::accept(), |play, time| play.send_text(event(time))));
    let mut running =
        start(&server, &[("websocket.record.timestamp", "{{/time_us}}"), ("websocket.record.timestamp.unit", "us")]);
    let records = running.records(times.len()).unwrap();
    let (values, stamps): (Vec<_>, Vec<_>) =
        records.into_iter().map(|record| (record.value, record.timestamp.unwrap_or_default())).unzip();
    assert_eq!(values, times.iter().map(event).collect::<Vec<_>>());
    assert_eq!(stamps, times.map(|time| i64::try_from(time / 1000).unwrap()));
}
