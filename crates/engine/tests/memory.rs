//! What a hostile or overwhelming server can make the process hold. In a process of its own: resident memory is measured.

use std::time::Duration;

use connect_websocket_engine::config::Config;
use connect_websocket_engine::config_def::Properties;
use connect_websocket_engine::figures::Counter;
use connect_websocket_engine::gap::Cause;
use connect_websocket_engine::intake::dedupe::Window;
use connect_websocket_engine::task::SourceTask;
use connect_websocket_testkit::{Deflate, Messages, OnClose, Play, Script, Server, Stats, Step};
use tokio::runtime::Handle;
use tokio::time::Instant;

const DEADLINE: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

fn start(server: &Server, more: &[(&str, &str)]) -> SourceTask {
    let base = [
        ("websocket.url", server.url()),
        ("kafka.topic", "messages"),
        ("websocket.reconnect.interval.ms", "10"),
        ("websocket.reconnect.backoff.max.ms", "10"),
    ];
    let properties: Properties =
        base.iter().chain(more).map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    SourceTask::start(Config::parse(&properties).unwrap(), None, &Handle::current()).unwrap()
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).unwrap() * 1024
}

/// Lets the task run until the condition holds, and returns how much memory it took at most. Nothing is polled.
async fn growth(server: &Server, mut until: impl FnMut(&Stats) -> bool) -> usize {
    let before = resident();
    let (mut most, deadline) = (before, Instant::now() + DEADLINE);
    while !until(&server.stats()) {
        assert!(Instant::now() < deadline, "not in time: {:?}", server.stats());
        most = most.max(resident());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    most.max(resident()) - before
}

/// Again and again the same attack: each connection costs as little as the first.
async fn hostile(step: Step, allowed: usize) {
    let play = Play::accept_deflate(Deflate::default()).step(step.clone());
    let server = Server::start(Script::every(play)).unwrap();
    let task = start(&server, &[]);
    let grown = growth(&server, |stats| stats.accepted > 5).await;
    assert!(grown < allowed, "{step:?} took {} KiB", grown / 1024);
    let now = task.metrics().snapshot();
    assert!(now.reconnects.iter().all(|(cause, _)| *cause == Cause::ProtocolError), "{now:?}");
}

/// One test, so that nothing else runs beside a measurement.
#[tokio::test]
async fn memory_stays_bounded() {
    // A warm-up, so that what the runtimes take once is not counted.
    hostile(Step::HugeLength { length: 1 << 62 }, usize::MAX).await;

    a_hand_over_file_takes_no_memory_when_it_is_written_and_read().await;
    a_window_of_doubles_is_small();

    hostile(Step::HugeLength { length: 1 << 62 }, 4 * MIB).await;
    hostile(Step::HugeLength { length: (1 << 24) + 1 }, 4 * MIB).await;
    hostile(Step::EndlessFrame, 8 * MIB).await;
    hostile(Step::EmptyFragments { count: None }, 4 * MIB).await;
    hostile(Step::PingFlood { count: None }, 8 * MIB).await;
    // Up to the limit of 16 MiB a message may grow, in a buffer that doubles.
    hostile(Step::EndlessFragments { size: 16_000 }, 48 * MIB).await;
    hostile(Step::DeflateBomb { size: 1 << 26 }, 64 * MIB).await;

    a_full_queue_holds_no_more_than_its_bytes().await;
    dropping_empty_messages_takes_nothing().await;
}

/// Many windows, so that what is measured is more than a page here and there.
fn a_window_of_doubles_is_small() {
    const WINDOWS: usize = 32;
    let before = resident();
    let mut windows: Vec<Window> = (0..WINDOWS).map(|_| Window::new(10_000)).collect();
    for window in &mut windows {
        assert!((0..50_000).all(|number| window.is_new(&number.to_string())));
    }
    let each = (resident() - before) / WINDOWS;
    assert!(each < 2 * MIB, "a window of 10,000 keys takes {} KiB", each / 1024);
    println!("a window of 10,000 keys takes {} KiB", each / 1024);
}

/// First of all, while nothing was freed yet that could be taken again.
async fn a_hand_over_file_takes_no_memory_when_it_is_written_and_read() {
    const COUNT: u64 = 10_000;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("handover").display().to_string();
    let options = [("websocket.handover.dir", dir.as_str()), ("websocket.message.queue.max.bytes", "1000000")];
    let options = [options.as_slice(), &[("websocket.message.max.bytes", "100000")]].concat();
    let play = Play::accept().send(Messages::count(1).size(10_000)).on_close(OnClose::GoOnSending { count: COUNT - 1 });
    let server = Server::start(Script::every(play)).unwrap();

    let before = resident();
    let mut task = start(&server, &options);
    let metrics = task.metrics();
    growth(&server, |_| metrics.snapshot().queue_records == 1).await;
    let left = task.hand_over(std::time::Instant::now() + DEADLINE).await;
    assert_eq!((left.records, left.bytes), (COUNT, 10_000 * COUNT));
    drop(task);

    let mut task = start(&server, &options);
    let (mut taken, mut most) = (0, 0);
    while taken < COUNT {
        taken += task.poll(DEADLINE).await.unwrap().map_or(0, |batch| batch.len() as u64);
        most = most.max(resident());
    }
    let grown = most - before;
    assert!(grown < 16 * MIB, "100 MB took {} KiB", grown / 1024);
}

async fn a_full_queue_holds_no_more_than_its_bytes() {
    let server = Server::start(Script::every(Play::accept().send(Messages::forever().size(1000)))).unwrap();
    let options = [("websocket.message.queue.max.bytes", "20000000"), ("websocket.message.queue.size", "1000000")];
    let task = start(&server, &options);
    let mut quiet = (0, 0);
    let grown = growth(&server, |stats| {
        // Until the server has not sent anything for a while.
        quiet = if quiet.0 == stats.sent() { (quiet.0, quiet.1 + 1) } else { (stats.sent(), 0) };
        quiet.0 > 0 && quiet.1 > 300
    })
    .await;
    assert!(task.metrics().snapshot().queue_bytes > 19_000_000);
    assert!(grown < 48 * MIB, "{} KiB", grown / 1024);
}

async fn dropping_empty_messages_takes_nothing() {
    // Two bytes each: an empty text message.
    let empty = Step::Raw { hex: "8100".repeat(20_000) };
    let play = Play::accept().step(Step::Loop { count: Some(50), steps: vec![empty] }).send(Messages::count(1));
    let server = Server::start(Script::every(play)).unwrap();
    let options = [("websocket.message.queue.size", "10"), ("websocket.message.queue.full", "drop.oldest")];
    let task = start(&server, &options);
    let metrics = task.metrics();
    let grown = growth(&server, |_| metrics.snapshot()[Counter::MessagesReceived] == 1_000_001).await;
    assert_eq!(metrics.snapshot()[Counter::MessagesDroppedOldest], 1_000_001 - 10);
    assert!(grown < 8 * MIB, "{} KiB", grown / 1024);
}
