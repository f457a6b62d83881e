//! The queue at its bounds: back-pressure, or messages dropped and counted.

use std::time::{Duration, Instant};

use connect_websocket_engine::figures::Counter;
use connect_websocket_testkit::{Messages, Play, Script, Server};

use crate::harness::{DEADLINE, Feed};

#[tokio::test]
async fn back_pressure_loses_nothing_and_reaches_the_server() {
    // Far more than all the buffers between hold.
    let (count, size) = (40_000, 1000);
    let server = Server::start(Script::every(Play::accept().send(Messages::count(count).size(size)))).unwrap();
    let mut feed =
        Feed::start(server.url(), &[("websocket.message.queue.size", "10"), ("websocket.ping.interval.ms", "20")]);
    // Nothing is polled for thirty of our pings, in which the server could have sent all of it many times.
    server.until(|stats| stats.connections.iter().any(|c| c.pings_received >= 30), DEADLINE).await.unwrap();
    assert_eq!(feed.snapshot().queue_records, 10);
    assert!(server.stats().sent() < count, "all was sent although nothing was polled");
    feed.until_records(count as usize).await;
    feed.assert_complete(count);
    let now = feed.snapshot();
    assert_eq!((now.dropped(), now[Counter::MessagesReceived], now[Counter::Connections]), (0, count, 1));
}

#[tokio::test]
async fn bytes_hold_the_server_up_as_records_do() {
    let server = Server::start(Script::every(Play::accept().send(Messages::count(300).size(50_000)))).unwrap();
    let options = [("websocket.message.queue.max.bytes", "200000"), ("websocket.message.max.bytes", "100000")];
    let mut feed = Feed::start(server.url(), &options);
    feed.until_records(300).await;
    feed.assert_complete(300);
}

#[tokio::test]
async fn the_records_of_a_message_may_be_larger_than_the_queue() {
    let numbers: Vec<String> = (10_000..25_000).map(|n| n.to_string()).collect();
    let message = format!(r#"{{"channel":"channel","data":[{}]}}"#, numbers.join(","));
    let server = Server::start(Script::every(Play::accept().send_text(&message))).unwrap();
    let options = [
        ("websocket.message.queue.max.bytes", "100000"),
        ("websocket.message.max.bytes", "100000"),
        ("websocket.record.pointer", "/data/*"),
        ("websocket.record.key", "{{envelope(/channel)}}"),
    ];
    let mut feed = Feed::start(server.url(), &options);
    feed.until_records(15_000).await;
    assert_eq!(feed.texts(), numbers);
}

#[tokio::test]
async fn a_message_as_large_as_the_queue_passes_alone() {
    let play =
        Play::accept().send(Messages::count(100)).send(Messages::count(5).size(100_000)).send(Messages::count(100));
    let server = Server::start(Script::every(play)).unwrap();
    let options = [("websocket.message.queue.max.bytes", "100000"), ("websocket.message.max.bytes", "100000")];
    for full in ["backpressure", "drop.oldest", "drop.newest"] {
        let mut feed = Feed::start(server.url(), &[options[0], options[1], ("websocket.message.queue.full", full)]);
        feed.until(|feed| {
            let now = feed.snapshot();
            now[Counter::MessagesReceived] == 205 && now[Counter::RecordsPolled] + now.dropped() == 205
        })
        .await;
        assert!(full != "backpressure" || feed.records.len() == 205);
    }
}

#[tokio::test]
async fn a_large_message_behind_small_ones_waits_for_its_own_room() {
    let play = Play::accept().send(Messages::count(100)).send(Messages::count(1).size(99_000));
    let server = Server::start(Script::every(play)).unwrap();
    let options = [("websocket.message.queue.max.bytes", "100000"), ("websocket.message.max.bytes", "100000")];
    let mut feed = Feed::start(server.url(), &options);
    let now = feed.without_polls(|now| now[Counter::MessagesReceived] == 101).await;
    assert!(now.queue_bytes <= 100_000, "{now:?}");
    feed.until_records(101).await;
}

#[tokio::test]
async fn drop_oldest_keeps_the_newest_and_counts_the_rest() {
    let (count, size) = (5000, 10);
    let server = Server::start(Script::every(Play::accept().send(Messages::count(count)))).unwrap();
    let options = [("websocket.message.queue.size", "10"), ("websocket.message.queue.full", "drop.oldest")];
    let mut feed = Feed::start(server.url(), &options);
    feed.without_polls(|now| now[Counter::MessagesReceived] == count).await;
    feed.until(|feed| feed.snapshot().queue_records == 0).await;
    let now = feed.snapshot();
    assert_eq!(
        (now[Counter::MessagesDroppedOldest] + now[Counter::RecordsPolled], now[Counter::MessagesDroppedNewest]),
        (count, 0)
    );
    assert_eq!(now[Counter::RecordsPolled] as usize, feed.records.len());
    let numbers = feed.numbers();
    assert!(numbers.is_sorted() && numbers.ends_with(&(count - size..count).collect::<Vec<_>>()), "{numbers:?}");
    assert!(feed.records.iter().map(|record| record.sequence).eq(1..=numbers.len() as i64));
}

#[tokio::test]
async fn drop_newest_keeps_the_oldest_and_counts_the_rest() {
    let count = 5000;
    let server = Server::start(Script::every(Play::accept().send(Messages::count(count)))).unwrap();
    let options = [("websocket.message.queue.size", "10"), ("websocket.message.queue.full", "drop.newest")];
    let mut feed = Feed::start(server.url(), &options);
    feed.without_polls(|now| now[Counter::MessagesReceived] == count).await;
    feed.until(|feed| feed.snapshot().queue_records == 0).await;
    let now = feed.snapshot();
    assert_eq!(
        (now[Counter::MessagesDroppedNewest] + now[Counter::RecordsPolled], now[Counter::MessagesDroppedOldest]),
        (count, 0)
    );
    assert_eq!(feed.numbers(), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn dropping_never_holds_the_server_up() {
    for full in ["drop.oldest", "drop.newest"] {
        let count = 50_000;
        let server = Server::start(Script::every(Play::accept().send(Messages::count(count).size(500)))).unwrap();
        let options = [("websocket.message.queue.size", "100"), ("websocket.message.queue.full", full)];
        let mut feed = Feed::start(server.url(), &options);
        feed.without_polls(|now| now[Counter::MessagesReceived] == count).await;
        feed.until(|feed| feed.snapshot().queue_records == 0).await;
        let now = feed.snapshot();
        assert_eq!(now.dropped() + feed.records.len() as u64, count, "{full}");
    }
}

#[tokio::test]
async fn a_slow_host_gets_everything_from_a_fast_feed() {
    let server = Server::start(Script::every(Play::accept().send(Messages::count(20_000)))).unwrap();
    let mut feed = Feed::start(server.url(), &[("websocket.message.queue.size", "10")]);
    while feed.records.len() < 20_000 {
        // Other work of the host, between any two polls.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        feed.poll().await;
    }
    feed.assert_complete(20_000);
    assert_eq!(feed.snapshot().dropped(), 0);
}

#[tokio::test]
async fn a_full_queue_over_a_lost_connection_costs_no_work_until_there_is_room() {
    let server = Server::start(Script::plays([
        Play::accept().send(Messages::count(100)).await_signal().reset(),
        Play::accept().send(Messages::count(10)),
    ]))
    .unwrap();
    let options = [("websocket.message.queue.size", "10"), ("websocket.ping.interval.ms", "10")];
    let mut feed = Feed::start(server.url(), &options);
    server.until(|stats| stats.connections.iter().any(|c| c.pings_received > 3), DEADLINE).await.unwrap();
    server.signal();
    server.until(|stats| stats.open == 0, DEADLINE).await.unwrap();
    // A ping falls due on the dead socket. A loop around it would keep this thread busy all the time.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let runtime = tokio::runtime::Handle::current().metrics();
    let (began, busy) = (Instant::now(), runtime.worker_total_busy_duration(0));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let busy = runtime.worker_total_busy_duration(0) - busy;
    assert!(busy < began.elapsed() / 2, "busy for {busy:?} while there was nothing to do");
    feed.until(|feed| feed.records.len() >= 10 && feed.snapshot()[Counter::Connections] == 2).await;
}

#[tokio::test]
async fn dropped_and_skipped_records_are_in_the_ledger() {
    let server = Server::start(Script::every(Play::accept().send(Messages::count(300)))).unwrap();
    let options = [
        ("websocket.message.queue.size", "10"),
        ("websocket.message.queue.full", "drop.oldest"),
        ("websocket.gaps.topic", "gaps"),
    ];
    let mut feed = Feed::start(server.url(), &options);
    feed.without_polls(|now| now[Counter::MessagesReceived] == 300 && now.dropped() == 290).await;
    let is_told = |feed: &Feed| feed.records.iter().filter(|record| record.topic.is_some()).count();
    feed.until(|feed| is_told(feed) == 1).await;
    // What the host refuses is told with the rest at the end.
    feed.task.left_out(2, 1);
    feed.stop(Duration::from_secs(5)).await;
    let ledger = feed.records.iter().filter(|record| record.topic.as_deref() == Some("gaps"));
    let gaps: Vec<serde_json::Value> = ledger.map(|record| serde_json::from_slice(&record.value).unwrap()).collect();
    let told: Vec<_> = gaps.iter().map(|gap| (gap["cause"].as_str().unwrap(), gap["missing"].as_u64())).collect();
    assert_eq!(told, [("dropped", Some(290)), ("skipped", Some(2))]);
    assert_eq!(feed.task.metrics().ledger(), gaps);
}
