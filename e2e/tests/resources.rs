//! Processor time when little happens, and memory when much has happened: guards against a spin and a leak, not a benchmark.

use std::time::{Duration, Instant};

use connect_websocket_e2e::{Consumer, Kafka, Worker, source_config};
use connect_websocket_testkit::{Messages, Play, Script, Server};

const WITHIN: Duration = Duration::from_secs(60);
const MEBIBYTE: u64 = 1 << 20;

fn serve(play: Play) -> Server {
    Server::start(Script::every(play)).unwrap_or_else(|e| panic!("the feed cannot be served: {e}"))
}

/// The share of a processor that the worker takes while `feed` sends ten more messages, one a second.
fn processor_share(worker: &Worker, feed: &Server) -> f64 {
    let (cpu, clock) = (worker.cpu_seconds(), Instant::now());
    let sent = feed.stats().sent();
    feed.wait_until(|stats| stats.sent() >= sent + 10, WITHIN).unwrap_or_else(|e| panic!("{e}"));
    (worker.cpu_seconds() - cpu) / clock.elapsed().as_secs_f64()
}

#[test]
fn quiet_feed_costs_almost_no_processor_time_running_or_paused_or_failed() {
    let kafka = Kafka::shared();
    let feed = serve(Play::accept().send(Messages::forever().rate(1.0)));
    let closing = serve(Play::accept().close(1000));
    let mut worker = Worker::builder(&kafka.bootstrap())
        .connector("quiet", source_config(feed.url(), "quiet", &[]))
        // Waits in its backoff, and ends FAILED.
        .connector("failed", source_config(closing.url(), "quiet", &[("websocket.reconnect.enabled", "false")]))
        .start();
    Consumer::new(&kafka.bootstrap()).wait_count("quiet", 3, WITHIN);

    let running = processor_share(&worker, &feed);
    assert!(running < 0.05, "{:.1} % of a processor for a message a second", running * 100.0);

    assert_eq!(worker.rest().put("/connectors/quiet/pause").status, 202);
    worker.wait_state("quiet", "PAUSED");
    let paused = processor_share(&worker, &feed);
    assert!(paused < 0.05, "{:.1} % of a processor while paused", paused * 100.0);
    assert_eq!(worker.terminate(), 0);
}

#[test]
fn memory_does_not_grow_from_the_two_hundred_thousandth_to_the_millionth_message() {
    let kafka = Kafka::shared();
    let messages = |count| Messages::count(count).size(200);
    let feed = serve(Play::accept().send(messages(200_000)).await_signal().send(messages(800_000)));
    let mut worker =
        Worker::builder(&kafka.bootstrap()).connector("busy", source_config(feed.url(), "memory", &[])).start();
    let consumer = Consumer::new(&kafka.bootstrap());

    consumer.wait_count("memory", 200_000, WITHIN);
    let early = worker.rss_bytes();
    feed.signal();
    consumer.wait_count("memory", 1_000_000, Duration::from_secs(180));
    let late = worker.rss_bytes();

    assert!(
        late < early + 24 * MEBIBYTE,
        "resident memory grew from {} MiB to {} MiB",
        early / MEBIBYTE,
        late / MEBIBYTE
    );
    assert_eq!(worker.terminate(), 0);
    consumer.numbers_now("memory", WITHIN).assert_complete(0..=999_999);
}
