//! Start, offsets, gaps and the end of a task.

use std::time::{Duration, SystemTime};

use connect_websocket_engine::error::ErrorKind;
use connect_websocket_engine::figures::Counter;
use connect_websocket_engine::gap::Cause;
use connect_websocket_engine::offset::StoredOffset;
use connect_websocket_testkit::{Messages, Play, Script, Server, Step, Violation};

use crate::harness::{DEADLINE, Feed};

#[tokio::test]
async fn sequences_begin_at_one_and_go_on_over_reconnects() {
    let play = Play::accept().send(Messages::count(3)).close(1000);
    let server = Server::start(Script::plays([play.clone(), play, Play::accept()])).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(6).await;
    assert_eq!(feed.records.iter().map(|record| record.sequence).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_stored_offset_is_continued_and_the_restart_is_a_gap_from_when_it_was_written() {
    let server = Server::start(Script::every(Play::accept().send(Messages::count(2)))).unwrap();
    let written_at = SystemTime::now() - Duration::from_secs(90);
    let stored = StoredOffset { sequence: 41, written_at: Some(written_at), ..StoredOffset::default() };
    let mut feed = Feed::resume(server.url(), &[], Some(stored));
    feed.until_records(2).await;
    assert_eq!(feed.records.iter().map(|record| record.sequence).collect::<Vec<_>>(), [42, 43]);
    let now = feed.snapshot();
    assert_eq!(now.gap_counts, [(Cause::Restart, 1)]);
    assert_eq!(now.gaps[0].began, Some(written_at));
    assert!(now.gap_duration >= Duration::from_secs(90));
}

#[tokio::test]
async fn a_restart_whose_begin_is_unknown_is_a_gap_without_duration() {
    let server = Server::start(Script::every(Play::accept().send(Messages::count(1)))).unwrap();
    let stored = StoredOffset { sequence: i64::MAX - 5, ..StoredOffset::default() };
    let mut feed = Feed::resume(server.url(), &[], Some(stored));
    feed.until_records(1).await;
    let now = feed.snapshot();
    assert_eq!((now.gap_counts, now.gap_duration), (vec![(Cause::Restart, 1)], Duration::ZERO));
    assert_eq!(now.gaps[0].duration(), None);
}

#[tokio::test]
async fn a_restart_into_an_outage_is_one_gap_whose_cause_stays_restart() {
    let server = Server::start(Script::plays([Play::reject(503), Play::accept().send(Messages::count(1))])).unwrap();
    let stored = StoredOffset { sequence: 1, written_at: Some(SystemTime::now()), ..StoredOffset::default() };
    let mut feed = Feed::resume(server.url(), &[], Some(stored));
    feed.until_records(1).await;
    assert_eq!(feed.snapshot().gap_counts, [(Cause::Restart, 1)]);
}

#[tokio::test]
async fn a_first_start_misses_nothing() {
    let server = Server::start(Script::plays([Play::reject(503), Play::accept().send(Messages::count(1))])).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(1).await;
    assert!(feed.snapshot().gaps.is_empty());
}

#[tokio::test]
async fn every_gap_has_its_cause_its_begin_and_its_end() {
    let one = || Play::accept().send(Messages::count(1));
    let server = Server::start(Script::plays([
        one().close(1001),
        one().close_tcp(),
        one().step(Step::Violate { rule: Violation::MaskedFrame }),
        one().step(Step::WithholdPongs { on: true }).step(Step::Mute { ms: None }),
        // What comes after the first failure does not rename the gap.
        Play::reject(503),
        one(),
    ]))
    .unwrap();
    let options = [("websocket.ping.interval.ms", "20"), ("websocket.pong.timeout.ms", "200")];
    let before = SystemTime::now();
    let mut feed = Feed::start(server.url(), &options);
    feed.until_records(5).await;
    let now = feed.snapshot();
    let causes: Vec<Cause> = now.gaps.iter().map(|gap| gap.cause).collect();
    assert_eq!(causes, [Cause::ServerClose, Cause::EndOfStream, Cause::ProtocolError, Cause::PongTimeout]);
    let mut earlier = before;
    for gap in &now.gaps {
        let began = gap.began.unwrap();
        assert!(earlier <= began && began <= gap.ended && gap.ended <= SystemTime::now(), "{gap:?}");
        assert_eq!(gap.missed, None);
        earlier = gap.ended;
    }
    assert_eq!(now.gap_counts.iter().map(|(_, count)| count).sum::<u64>(), 4);
    assert_eq!(now[Counter::Connections], 5);
}

#[tokio::test]
async fn without_reconnects_the_task_fails_after_all_records_and_stays_failed() {
    let server = Server::start(Script::every(Play::accept().send(Messages::count(100)).close(1001))).unwrap();
    let options = [("websocket.reconnect.enabled", "false"), ("websocket.message.queue.size", "10")];
    let mut feed = Feed::start(server.url(), &options);
    let why = feed.until_failed().await;
    assert!(why.contains("1001") && why.contains("websocket.reconnect.enabled"), "{why}");
    feed.assert_complete(100);
    assert_eq!(feed.error.as_ref().map(|error| error.kind()), Some(ErrorKind::Fatal));
    let again = feed.task.poll(Duration::ZERO).await.unwrap_err();
    assert_eq!(again.to_string(), why);
    assert_eq!(server.stats().accepted, 1);
    assert!(feed.task.is_drained());
}

#[tokio::test]
async fn after_max_attempts_the_task_fails() {
    let server = Server::start(Script::every(Play::reject(503))).unwrap();
    let mut feed = Feed::start(server.url(), &[("websocket.reconnect.max.attempts", "2")]);
    let why = feed.until_failed().await;
    assert!(why.contains("503") && why.contains("websocket.reconnect.max.attempts = 2"), "{why}");
    assert_eq!(server.stats().accepted, 3, "the first attempt and two more");
}

#[tokio::test]
async fn messages_do_not_begin_the_count_of_attempts_anew() {
    let plays = (0..4).map(|_| Play::accept().send(Messages::count(1)).close(1000));
    let server = Server::start(Script::plays(plays.chain([Play::accept()]))).unwrap();
    let mut feed = Feed::start(server.url(), &[("websocket.reconnect.max.attempts", "3")]);
    let why = feed.until_failed().await;
    assert!(why.contains("max.attempts = 3") && feed.records.len() == 4, "{why}");
}

#[tokio::test]
async fn ten_seconds_of_life_begin_the_count_of_attempts_anew() {
    let plays = [Play::reject(503), Play::accept().wait_ms(10_200).close(1000), Play::reject(503), Play::accept()];
    let server = Server::start(Script::plays(plays)).unwrap();
    let mut feed = Feed::start(server.url(), &[("websocket.reconnect.max.attempts", "2")]);
    feed.until_server(&server, |stats| stats.accepted == 4).await;
}

#[tokio::test]
async fn a_dropped_task_ends_its_connection() {
    let server = Server::start(Script::every(Play::accept().send(Messages::count(1)))).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(1).await;
    drop(feed);
    server.until(|stats| stats.open == 0, DEADLINE).await.unwrap();
}

#[tokio::test]
async fn poll_without_records_answers_none_within_its_wait() {
    let server = Server::start(Script::every(Play::accept())).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_server(&server, |stats| stats.open == 1).await;
    assert!(feed.task.poll(Duration::from_millis(20)).await.unwrap().is_none());
    assert!(!feed.task.is_drained());
}

#[tokio::test]
async fn the_longest_times_of_every_option_do_no_harm() {
    let server =
        Server::start(Script::plays([Play::accept().send(Messages::count(1)).close(1000), Play::accept()])).unwrap();
    let longest = "9223372036854775807";
    let options = [
        "websocket.connection.timeout.ms",
        "websocket.reconnect.interval.ms",
        "websocket.reconnect.backoff.max.ms",
        "websocket.reconnect.first.delay.ms",
        "websocket.ping.interval.ms",
        "websocket.pong.timeout.ms",
        "websocket.idle.timeout.ms",
        "websocket.message.queue.max.bytes",
    ]
    .map(|name| (name, longest));
    let mut feed = Feed::start(server.url(), &options);
    feed.until_reconnects(Cause::ServerClose, 1).await;
    feed.stop(DEADLINE).await;
    feed.assert_complete(1);
}

#[tokio::test]
async fn committed_records_are_counted_with_the_time_they_took() {
    let server = Server::start(Script::every(Play::accept().send(Messages::count(10)))).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.until_records(10).await;
    let now = feed.snapshot();
    assert_eq!(
        (now[Counter::MessagesReceived], now[Counter::RecordsPolled], now[Counter::RecordsCommitted]),
        (10, 10, 10)
    );
    assert_eq!(now.latency_counts.iter().sum::<u64>(), 10);
    assert_eq!(now[Counter::BytesReceived], 640);
}

#[tokio::test]
async fn records_that_were_left_out_are_not_committed() {
    let server = Server::start(Script::every(Play::accept().send(Messages::count(10)))).unwrap();
    let mut feed = Feed::start(server.url(), &[]);
    feed.without_polls(|now| now[Counter::MessagesReceived] == 10).await;
    let mut polled = 0;
    while polled < 10 {
        polled += feed.task.poll(DEADLINE).await.unwrap().map_or(0, |batch| batch.len());
    }
    feed.task.left_out(2, 1);
    feed.task.commit(10, SystemTime::now());
    let now = feed.snapshot();
    let counted = [Counter::RecordsCommitted, Counter::RecordsSkipped, Counter::RecordsFiltered].map(|of| now[of]);
    assert_eq!(counted, [7, 2, 1]);
    assert_eq!(now.latency_counts.iter().sum::<u64>(), 7);
}
