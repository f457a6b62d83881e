//! Going on from a cursor: what a feed is asked for, what comes again, and what is lost.

use std::time::Duration;

use connect_websocket_engine::figures::Counter;
use connect_websocket_engine::gap::Cause;
use connect_websocket_engine::offset::StoredOffset;
use connect_websocket_testkit::{Play, Script, Server, Step};

use crate::harness::{Feed, Received};

const CURSOR: (&str, &str) = ("websocket.cursor", "{{/n}}");
const INCLUSIVE: (&str, &str) = ("websocket.cursor.inclusive", "true");

fn message(n: u64) -> String {
    format!(r#"{{"n":{n}}}"#)
}

/// Sends these numbers, each in a message of its own.
fn sends(numbers: impl IntoIterator<Item = u64>) -> Play {
    numbers.into_iter().fold(Play::accept(), |play, n| play.send_text(message(n)))
}

/// Sends these in one write, so that one read takes them all.
fn sends_at_once(texts: impl IntoIterator<Item = String>) -> Play {
    let frame = |text: String| {
        let header = [0x81, text.len() as u8];
        header.iter().chain(text.as_bytes()).map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    Play::accept().step(Step::Raw { hex: texts.into_iter().map(frame).collect() })
}

/// The address of a feed that is asked for what comes behind a cursor.
fn url(server: &Server) -> String {
    format!("{}?cursor={{{{cursor}}}}", server.url())
}

fn causes(feed: &Feed) -> Vec<Cause> {
    feed.snapshot().gaps.iter().map(|gap| gap.cause).collect()
}

fn requests(server: &Server) -> Vec<String> {
    let target = |line: &str| line.split(' ').nth(1).unwrap_or_default().to_owned();
    let requests = server.stats().connections;
    requests.iter().filter_map(|connection| Some(target(&connection.request.as_ref()?.line))).collect()
}

/// What is stored once Kafka has these records.
fn stored(records: &[Received]) -> Option<StoredOffset> {
    records.iter().fold(None, |before, record| record.stored(before))
}

#[tokio::test]
async fn a_new_connection_goes_on_from_the_newest_cursor_and_is_no_gap() {
    let server = Server::start(Script::plays([sends(0..3).close_tcp(), sends(3..5).close_tcp(), sends(5..6)])).unwrap();
    let mut feed = Feed::start(&url(&server), &[CURSOR]);
    feed.until_records(6).await;
    feed.assert_complete(6);
    assert_eq!(requests(&server), ["/", "/?cursor=2", "/?cursor=4"]);
    assert_eq!(causes(&feed), []);
}

#[tokio::test]
async fn what_waits_for_room_in_the_queue_is_not_lost_when_a_step_fails() {
    let server = Server::start(Script::plays([sends_at_once((0..40).map(message)), sends(20..25)])).unwrap();
    let options = [
        CURSOR,
        ("websocket.message.queue.size", "10"),
        ("websocket.session.steps", "connect,mark,tick"),
        ("websocket.session.mark.on", "/n == 0 || /n > 11"),
        ("websocket.session.mark.capture", "mark=/n"),
        ("websocket.session.mark.drop", "false"),
        // It has nothing to say as soon as more has come than the queue has room for.
        ("websocket.session.tick.every.ms", "5"),
        ("websocket.session.tick.send", "{{when(mark == '0', 'tick')}}"),
    ];
    let mut feed = Feed::start(&url(&server), &options);
    feed.without_polls(|now| now.queue_records == 10 && now[Counter::MessagesReceived] > 12).await;
    // The tick falls due, while nothing is polled.
    tokio::time::sleep(Duration::from_millis(50)).await;
    feed.until(|feed| feed.records.last().is_some_and(|last| last.value.starts_with(b"{\"n\":24"))).await;
    let asked = requests(&server)[1].clone();
    let newest: u64 = asked.split_once('=').unwrap().1.parse().unwrap();
    assert_eq!(feed.numbers(), (0..=newest).chain(20..25).collect::<Vec<_>>());
    assert!(newest > 9, "{asked}");
}

#[tokio::test]
async fn a_gap_is_in_the_ledger_before_the_record_that_shows_it_and_stores_no_more_than_what_is_before_it() {
    let server = Server::start(Script::plays([sends([0, 1, 2, 5, 6])])).unwrap();
    let options = [CURSOR, ("websocket.sequence", "{{/n}}"), ("websocket.gaps.topic", "gaps")];
    let mut feed = Feed::start(&url(&server), &options);
    feed.until_records(6).await;
    let is_ledger: Vec<bool> = feed.records.iter().map(|record| record.topic.is_some()).collect();
    assert_eq!(is_ledger, [false, false, false, true, false, false]);
    let cursors: Vec<&str> = feed.records.iter().map(|record| &*record.offset[0].1).collect();
    assert_eq!(cursors, ["0", "1", "2", "2", "5", "6"]);
}

#[tokio::test]
async fn a_start_goes_on_from_the_stored_cursor() {
    let server = Server::start(Script::plays([sends(0..9), sends(4..9)])).unwrap();
    let mut feed = Feed::start(&url(&server), &[CURSOR]);
    feed.until_records(9).await;
    // Kafka has four of them.
    let stored = stored(&feed.records[..4]);
    drop(feed);
    let mut feed = Feed::resume(&url(&server), &[CURSOR], stored);
    feed.until_records(5).await;
    assert_eq!((feed.numbers(), feed.records[0].sequence), (vec![4, 5, 6, 7, 8], 5));
    assert_eq!(requests(&server)[1], "/?cursor=3");
    assert_eq!(causes(&feed), []);
}

#[tokio::test]
async fn the_record_of_an_inclusive_cursor_is_dropped() {
    let server = Server::start(Script::plays([sends(0..3).close_tcp(), sends(2..5)])).unwrap();
    let mut feed = Feed::start(&url(&server), &[CURSOR, INCLUSIVE]);
    feed.until_records(5).await;
    feed.assert_complete(5);
    assert_eq!((feed.snapshot()[Counter::MessagesDuplicate], causes(&feed)), (1, vec![]));
}

#[tokio::test]
async fn a_feed_that_silently_goes_on_from_a_later_place_is_a_gap() {
    let server = Server::start(Script::plays([sends(0..3).close_tcp(), sends(5..7)])).unwrap();
    let mut feed = Feed::start(&url(&server), &[CURSOR, INCLUSIVE]);
    feed.until_records(5).await;
    assert_eq!((feed.numbers(), causes(&feed)), (vec![0, 1, 2, 5, 6], vec![Cause::Clamped]));
}

#[tokio::test]
async fn behind_a_clamp_nothing_is_taken_for_a_stored_record() {
    let server = Server::start(Script::plays([sends(5..7)])).unwrap();
    let offset = vec![("cursor".into(), "2".into()), ("part".into(), "1".into())];
    let before = Received { offset, sequence: 1, ..received() };
    let mut feed = Feed::resume(&url(&server), &[CURSOR, INCLUSIVE], before.stored(None));
    feed.until_records(2).await;
    assert_eq!((feed.numbers(), causes(&feed)), (vec![5, 6], vec![Cause::Clamped]));
}

#[tokio::test]
async fn a_cursor_counts_only_when_its_whole_message_is_stored() {
    let batches =
        |from: u64| Play::accept().send_text(format!("[{},{},{}]", message(from), message(from), message(from)));
    let split = ("websocket.frame.split", "json.array");
    let server = Server::start(Script::plays([batches(7), batches(7)])).unwrap();
    let initial = ("websocket.cursor.initial", "6");
    let before = Received { offset: vec![("cursor".into(), "6".into())], sequence: 1, ..received() };
    let mut feed = Feed::resume(&url(&server), &[CURSOR, split, initial], before.stored(None));
    feed.until_records(3).await;
    let entries: Vec<Vec<(&str, &str)>> =
        feed.records.iter().map(|record| record.offset.iter().map(|(n, v)| (&**n, &**v)).collect()).collect();
    assert_eq!(
        entries,
        [vec![("cursor", "6"), ("part", "1")], vec![("cursor", "6"), ("part", "2")], vec![("cursor", "7")]]
    );
    // Kafka has two of the three.
    let stored = stored(&feed.records[..2]);
    drop(feed);
    let mut feed = Feed::resume(&url(&server), &[CURSOR, split, initial], stored);
    feed.until_records(1).await;
    assert_eq!((feed.records[0].sequence, feed.snapshot()[Counter::MessagesDuplicate]), (4, 2));
    assert_eq!(requests(&server), ["/?cursor=6", "/?cursor=6"]);
}

fn received() -> Received {
    Received {
        kind: connect_websocket_engine::record::ValueKind::Text,
        value: Vec::new(),
        timestamp_ms: 0,
        sequence: 0,
        topic: None,
        key: None,
        message: None,
        partition_key: None,
        offset: Vec::new(),
        backfilled: false,
    }
}

#[tokio::test]
async fn a_filtered_record_moves_the_cursor_with_the_next_one() {
    let server = Server::start(Script::plays([sends(0..4).close_tcp(), sends(4..6)])).unwrap();
    let filter = ("websocket.record.filter", "/n == 0 || /n > 3");
    let mut feed = Feed::start(&url(&server), &[CURSOR, filter]);
    feed.until_records(3).await;
    assert_eq!((feed.numbers(), &requests(&server)[1][..]), (vec![0, 4, 5], "/?cursor=3"));
}

#[tokio::test]
async fn each_topic_goes_on_from_a_cursor_of_its_own() {
    let of = |topic: &str, n: u64| format!(r#"{{"t":"{topic}","n":{n}}}"#);
    let first = Play::accept().send_text(of("a", 1)).send_text(of("b", 7)).send_text(of("a", 2)).close_tcp();
    let second = || {
        let subscribed = Play::accept().expect_text("a from 2").expect_text("b from 7");
        subscribed.send_text(of("a", 3)).send_text(of("b", 8))
    };
    let server = Server::start(Script::plays([first, second(), second()])).unwrap();
    let options = [
        CURSOR,
        ("websocket.cursor.key", "{{/t}}"),
        ("websocket.subscription.topics", "a,b"),
        ("websocket.subscription.message", "{{topic}} from {{cursor ?? null}}"),
    ];
    let mut feed = Feed::start(server.url(), &options);
    feed.until_records(5).await;
    assert_eq!(feed.numbers(), [1, 7, 2, 3, 8]);
    let keys: Vec<_> = feed.records.iter().map(|record| record.partition_key.as_deref().unwrap_or_default()).collect();
    assert_eq!(keys, ["a", "b", "a", "a", "b"]);
    let stored = stored(&feed.records[..3]);
    drop(feed);
    let mut feed = Feed::resume(server.url(), &options, stored);
    feed.until_records(2).await;
    assert_eq!(feed.numbers(), [3, 8]);
}

#[tokio::test]
async fn what_was_seen_is_dropped_over_connections_too() {
    let server = Server::start(Script::plays([sends(0..4).close_tcp(), sends(2..6)])).unwrap();
    let rewind = ("websocket.cursor.rewind", "2");
    let mut feed = Feed::start(&url(&server), &[CURSOR, rewind, ("websocket.dedup.key", "{{/n}}")]);
    feed.until_records(6).await;
    feed.assert_complete(6);
    assert_eq!((feed.snapshot()[Counter::MessagesDuplicate], &requests(&server)[1][..]), (2, "/?cursor=1"));
}

#[tokio::test]
async fn a_lost_cursor_is_a_gap_and_the_next_connection_begins_anew() {
    let server = Server::start(Script::plays([sends(0..2).close_tcp(), Play::reject(410), sends(9..11)])).unwrap();
    let mut feed = Feed::start(&url(&server), &[CURSOR, ("websocket.resume.lost", "status == 410")]);
    feed.until_records(4).await;
    assert_eq!(requests(&server), ["/", "/?cursor=1", "/"]);
    assert_eq!(causes(&feed), [Cause::ResumeLost]);
}

#[tokio::test]
async fn a_refusal_is_a_new_beginning_although_the_feed_may_continue() {
    let server = Server::start(Script::plays([sends(0..2).close_tcp(), Play::reject(410), sends(9..11)])).unwrap();
    let lost = [("websocket.resume.lost", "status == 410"), ("websocket.resume.lost.action", "continue")];
    let mut feed = Feed::start(&url(&server), &[&[CURSOR][..], &lost].concat());
    feed.until_records(4).await;
    assert_eq!((requests(&server)[2].as_str(), causes(&feed)), ("/", vec![Cause::ResumeLost]));
}

#[tokio::test]
async fn a_close_code_may_say_that_the_cursor_is_lost() {
    let server = Server::start(Script::plays([sends(0..2).close(4009), sends(9..11)])).unwrap();
    let mut feed = Feed::start(&url(&server), &[CURSOR, ("websocket.close.fresh.codes", "4007,4009")]);
    feed.until_records(4).await;
    assert_eq!((requests(&server)[1].as_str(), causes(&feed)), ("/", vec![Cause::ResumeLost]));
}

#[tokio::test]
async fn a_feed_that_is_not_asked_for_what_follows_the_cursor_does_not_resume() {
    let server = Server::start(Script::plays([sends(0..3).await_signal().reset(), sends(5..7)])).unwrap();
    let mut feed = Feed::start(server.url(), &[CURSOR, INCLUSIVE]);
    feed.until_records(3).await;
    // Not before: a reset may overtake what was sent.
    server.signal();
    feed.until_records(5).await;
    assert_eq!(causes(&feed), [Cause::ConnectionError]);
}

#[tokio::test]
async fn a_captured_variable_of_a_topic_is_stored_with_the_topics_cursor() {
    let of = |topic: &str, n: u64| format!(r#"{{"t":"{topic}","n":{n}}}"#);
    let ack = |topic: &str, epoch: &str| format!(r#"{{"ack":"{topic}","epoch":"{epoch}"}}"#);
    let subscribed = |asked: [&'static str; 2], epochs: [&str; 2]| {
        let play = Play::accept().expect_text(asked[0]).send_text(ack("a", epochs[0])).expect_text(asked[1]);
        play.send_text(ack("b", epochs[1]))
    };
    let fresh = subscribed(["a from null of null", "b from null of null"], ["e1", "e2"]);
    let again = subscribed(["a from 1 of e1", "b from 7 of e2"], ["e1", "e3"]);
    // The second topic begins anew.
    let last = subscribed(["a from 2 of e1", "b from null of e3"], ["e1", "e3"]);
    let plays = [
        fresh.send_text(of("a", 1)).send_text(of("b", 7)).await_signal(),
        again.send_text(of("a", 2)).close_tcp(),
        last.send_text(of("a", 3)),
    ];
    let server = Server::start(Script::plays(plays)).unwrap();
    let options = [
        CURSOR,
        ("websocket.cursor.key", "{{/t}}"),
        ("websocket.subscription.topics", "a,b"),
        ("websocket.subscription.message", "{{topic}} from {{cursor ?? null}} of {{epoch ?? null}}"),
        ("websocket.session.subscribe.expect", "/ack == topic"),
        ("websocket.session.subscribe.capture", "epoch=/epoch"),
        ("websocket.resume.variables", "epoch"),
    ];
    let mut feed = Feed::start(server.url(), &options);
    feed.until_records(2).await;
    let stored = stored(&feed.records);
    drop(feed);
    let mut feed = Feed::resume(server.url(), &options, stored);
    feed.until_records(2).await;
    assert_eq!(feed.numbers(), [2, 3]);
}

#[tokio::test]
async fn a_lost_cursor_may_leave_the_connection_as_it_is_or_fail_the_task() {
    for (action, lives) in [("continue", true), ("fail", false)] {
        let late = Play::accept().send_text(r#"{"error":"gone"}"#).send_text(message(9));
        let server = Server::start(Script::plays([sends(0..2).close_tcp(), late])).unwrap();
        let lost = [("websocket.resume.lost", "/error == 'gone'"), ("websocket.resume.lost.action", action)];
        let mut feed = Feed::start(&url(&server), &[&[CURSOR, INCLUSIVE][..], &lost].concat());
        if lives {
            feed.until_records(4).await;
            assert_eq!(causes(&feed), [Cause::ResumeLost]);
        } else {
            let why = feed.until_failed().await;
            assert!(why.contains("cannot resume from the stored position") && why.contains("gone"), "{why}");
        }
    }
}

#[tokio::test]
async fn a_captured_variable_that_lives_on_is_sent_again_and_another_value_voids_the_cursor() {
    let hello = |sid: &str| Play::accept().send_text(format!(r#"{{"hello":"{sid}"}}"#));
    let plays = [
        hello("s1").send_text(message(4)).close_tcp(),
        // It goes on: no hello.
        sends(5..6).close_tcp(),
        // The session is gone: another hello, and numbers begin anew.
        hello("s2").send_text(message(1)).close_tcp(),
        sends(2..3),
    ];
    let server = Server::start(Script::plays(plays)).unwrap();
    let options = [
        CURSOR,
        ("websocket.session.steps", "connect,hello"),
        ("websocket.session.hello.on", "/hello exists"),
        ("websocket.session.hello.capture", "sid=/hello"),
        ("websocket.resume.variables", "sid"),
    ];
    let url = format!("{}?sid={{{{sid}}}}&n={{{{cursor}}}}", server.url());
    let mut feed = Feed::start(&url, &options);
    feed.until_records(4).await;
    assert_eq!(requests(&server), ["/", "/?sid=s1&n=4", "/?sid=s1&n=5", "/?sid=s2&n=1"]);
    assert_eq!(feed.records[3].offset, [("cursor".to_owned(), "2".to_owned()), ("sid".to_owned(), "s2".to_owned())]);
}

#[tokio::test]
async fn a_key_that_a_feed_renews_while_it_goes_on_leaves_the_cursor_good() {
    let hello = |key: &str| Play::accept().send_text(format!(r#"{{"hello":"{key}"}}"#));
    let plays = [
        hello("k1").send_text(message(4)).close_tcp(),
        hello("k2").send_text(message(5)).close_tcp(),
        hello("k3").send_text(message(6)),
    ];
    let server = Server::start(Script::plays(plays)).unwrap();
    let options = [
        CURSOR,
        ("websocket.session.steps", "connect,hello"),
        ("websocket.session.hello.on", "/hello exists"),
        ("websocket.session.hello.capture", "secret.key=/hello"),
        ("websocket.resume.variables", "secret.key"),
    ];
    let mut feed = Feed::start(&format!("{}?key={{{{secret.key}}}}&n={{{{cursor}}}}", server.url()), &options);
    feed.until_records(3).await;
    assert_eq!(requests(&server), ["/", "/?key=k1&n=4", "/?key=k2&n=5"]);
    assert_eq!(feed.records[2].offset, [("cursor".to_owned(), "6".to_owned())]);
}

#[tokio::test]
async fn holes_in_the_numbers_are_in_the_ledger_by_key_and_number() {
    let of = |s: &str, n: u64| format!(r#"{{"s":"{s}","n":{n}}}"#);
    let play = [("x", 1), ("y", 5), ("x", 4), ("y", 6), ("y", 6), ("y", 2)];
    let play = play.iter().fold(Play::accept(), |play, (s, n)| play.send_text(of(s, *n)));
    let server = Server::start(Script::every(play)).unwrap();
    let options =
        [("websocket.sequence", "{{/n}}"), ("websocket.sequence.key", "{{/s}}"), ("websocket.gaps.topic", "gaps")];
    let mut feed = Feed::start(server.url(), &options);
    feed.until_records(8).await;
    let ledger: Vec<&Received> = feed.records.iter().filter(|record| record.topic.as_deref() == Some("gaps")).collect();
    let gaps: Vec<serde_json::Value> =
        ledger.iter().map(|record| serde_json::from_slice(&record.value).unwrap()).collect();
    assert_eq!((&gaps[0]["cause"], &gaps[0]["key"]), (&"sequence".into(), &"x".into()));
    assert_eq!((&gaps[0]["from"], &gaps[0]["to"], &gaps[0]["missing"]), (&"2".into(), &"3".into(), &2.into()));
    assert_eq!((&gaps[1]["cause"], &gaps[1]["from"], &gaps[1]["to"]), (&"reset".into(), &"6".into(), &"2".into()));
    assert_eq!(ledger[0].key.as_deref(), gaps[0]["id"].as_str());
    assert_eq!(feed.snapshot()[Counter::MessagesMissed], 2);
}

#[tokio::test]
async fn a_hole_in_the_numbers_makes_a_new_connection_or_fails_the_task_where_that_is_wanted() {
    let sequence = ("websocket.sequence", "{{/n}}");
    let action = |action| ("websocket.sequence.action", action);
    let server = Server::start(Script::plays([sends([1, 4]), sends([5])])).unwrap();
    let mut feed = Feed::start(server.url(), &[sequence, action("reconnect")]);
    feed.until_records(3).await;
    assert_eq!((feed.numbers(), server.stats().accepted), (vec![1, 4, 5], 2));
    let server = Server::start(Script::every(sends([1, 4]))).unwrap();
    let mut feed = Feed::start(server.url(), &[sequence, action("fail")]);
    let why = feed.until_failed().await;
    assert!(why.contains("messages are missing: 2 to 3"), "{why}");
}

#[tokio::test]
async fn a_record_that_is_too_large_is_in_the_ledger_and_the_cursor_is_behind_it() {
    let large = |n: u64| format!(r#"{{"n":{n},"text":"{}"}}"#, "x".repeat(100));
    let first = sends(0..2).send_text(large(2)).send_text(large(3));
    let server = Server::start(Script::plays([first, sends([4])])).unwrap();
    let options = [CURSOR, ("websocket.record.max.bytes", "100"), ("websocket.gaps.topic", "gaps")];
    let mut feed = Feed::start(&url(&server), &options);
    feed.until_records(4).await;
    let (ledger, records): (Vec<&Received>, Vec<&Received>) =
        feed.records.iter().partition(|record| record.topic.as_deref() == Some("gaps"));
    assert_eq!(records.len(), 2);
    let gaps: Vec<serde_json::Value> =
        ledger.iter().map(|record| serde_json::from_slice(&record.value).unwrap()).collect();
    assert!(gaps.iter().all(|gap| gap["cause"] == "too_large" && gap["missing"] == 1), "{gaps:?}");
    assert_ne!(gaps[0]["id"], gaps[1]["id"]);
    assert_eq!(feed.snapshot()[Counter::MessagesTooLarge], 2);
    let stored = stored(&feed.records);
    drop(feed);
    let mut feed = Feed::resume(&url(&server), &options, stored);
    feed.until_records(1).await;
    assert_eq!((feed.numbers(), &requests(&server)[1][..]), (vec![4], "/?cursor=3"));
}

#[tokio::test]
async fn records_whose_topic_is_not_allowed_are_in_the_ledger_by_their_number() {
    let of = |topic: &str, n: u64| format!(r#"{{"n":{n},"t":"{topic}"}}"#);
    let play = sends_at_once([of("a", 0), of("x", 1), of("y", 2), of("a", 3)]);
    let server = Server::start(Script::every(play)).unwrap();
    let options = [
        CURSOR,
        ("kafka.topic", "{{/t}}"),
        ("websocket.topics.allowed", "a|b"),
        ("websocket.record.missing", "skip"),
        ("websocket.record.key.type", "bytes"),
        ("websocket.gaps.topic", "gaps"),
    ];
    let mut feed = Feed::start(&url(&server), &options);
    feed.until_records(3).await;
    let topics: Vec<Option<&str>> = feed.records.iter().map(|record| record.topic.as_deref()).collect();
    assert_eq!(topics, [Some("a"), Some("a"), Some("gaps")]);
    let gap: serde_json::Value = serde_json::from_slice(&feed.records[2].value).unwrap();
    assert_eq!((&gap["cause"], &gap["missing"]), (&"skipped".into(), &2.into()));
    // It stores what the record before it stores, and its key passes the converter of the others.
    assert_eq!(feed.records[2].offset, feed.records[1].offset);
    assert_eq!(feed.records[2].key.as_deref(), gap["id"].as_str());
}

#[tokio::test]
async fn a_cursor_that_moves_while_all_records_are_filtered_is_stored_with_a_record_of_the_ledger() {
    let server = Server::start(Script::every(sends(0..5))).unwrap();
    let options = [
        CURSOR,
        ("websocket.record.filter", "/n == 0"),
        ("websocket.gaps.topic", "gaps"),
        ("websocket.cursor.heartbeat.ms", "20"),
    ];
    let mut feed = Feed::start(&url(&server), &options);
    feed.until_records(2).await;
    let carrier = &feed.records[1];
    assert_eq!((carrier.topic.as_deref(), &carrier.offset[..]), (Some("gaps"), &[("cursor".into(), "4".into())][..]));
    assert_eq!(feed.snapshot().gaps, []);
}

#[tokio::test]
async fn a_record_that_fails_the_task_is_not_passed_over_by_a_record_of_the_ledger() {
    let play = Play::accept().send_text(r#"{"n":1,"t":5}"#).send_text(r#"{"n":4}"#);
    let server = Server::start(Script::every(play)).unwrap();
    let options = [
        CURSOR,
        ("websocket.sequence", "{{/n}}"),
        ("websocket.gaps.topic", "gaps"),
        ("websocket.record.timestamp", "{{/t}}"),
    ];
    let mut feed = Feed::start(&url(&server), &options);
    let why = feed.until_failed().await;
    assert!(why.contains("websocket.record.timestamp"), "{why}");
    let last = feed.records.last().unwrap();
    assert_eq!(last.offset[0], ("cursor".to_owned(), "1".to_owned()), "{last:?}");
}

#[tokio::test]
async fn a_hole_in_the_numbers_may_subscribe_anew_on_the_same_connection_and_topics_go_on_from_their_cursors() {
    let of = |topic: &str, n: u64| format!(r#"{{"t":"{topic}","n":{n}}}"#);
    let begun = Play::accept().expect_text("a from null").expect_text("b from null");
    let holed = begun.send_text(of("a", 1)).send_text(of("b", 7)).send_text(of("a", 4));
    let play = holed.expect_text("a from 4").expect_text("b from 7").send_text(of("a", 5)).send_text(of("b", 8));
    let server = Server::start(Script::every(play)).unwrap();
    let options = [
        CURSOR,
        ("websocket.cursor.key", "{{/t}}"),
        ("websocket.subscription.topics", "a,b"),
        ("websocket.subscription.message", "{{topic}} from {{cursor ?? null}}"),
        ("websocket.sequence", "{{/n}}"),
        ("websocket.sequence.key", "{{/t}}"),
        ("websocket.sequence.action", "resubscribe"),
    ];
    let mut feed = Feed::start(server.url(), &options);
    feed.until_records(5).await;
    assert_eq!((feed.numbers(), server.stats().accepted), (vec![1, 7, 4, 5, 8], 1));
    assert_eq!(ranges(&feed), [(Cause::Sequence, "2".to_owned(), "3".to_owned())]);
}

#[tokio::test]
async fn numbers_of_a_connection_begin_anew_with_the_next_one_and_those_of_a_feed_go_on() {
    let hole = (Cause::Sequence, "3".to_owned(), "3".to_owned());
    let back = (Cause::Reset, "2".to_owned(), "1".to_owned());
    for (scope, expected) in [("connection", vec![hole.clone()]), ("feed", vec![back, hole])] {
        let server = Server::start(Script::plays([sends([1, 2]).close_tcp(), sends([1, 2, 4])])).unwrap();
        let options = [("websocket.sequence", "{{/n}}"), ("websocket.sequence.scope", scope)];
        let mut feed = Feed::start(server.url(), &options);
        feed.until_records(5).await;
        assert_eq!(ranges(&feed), expected, "{scope}");
    }
}

/// The gaps that have numbers.
fn ranges(feed: &Feed) -> Vec<(Cause, String, String)> {
    let gaps = feed.snapshot().gaps.into_iter();
    gaps.filter_map(|gap| gap.range.map(|range| (gap.cause, range.from, range.to))).collect()
}
