//! Records over a restart: what a stop leaves is emitted first by the next start, or counted.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use connect_websocket_engine::figures::Counter;
use connect_websocket_engine::gap::{Cause, Gap};
use connect_websocket_engine::handover::{self, HandedOver};
use connect_websocket_engine::offset::StoredOffset;
use connect_websocket_engine::record::Batch;
use connect_websocket_testkit::{Messages, OnClose, Play, Script, Server, Stats};
use tempfile::TempDir;

use crate::harness::{DEADLINE, Feed, Received, close_code};
use crate::log_lines::LogLines;

/// Bytes of a numbered message.
const MESSAGE: u64 = 64;

/// One connector on one machine, with its offsets, over many starts.
struct Machine {
    name: String,
    dir: TempDir,
    server: Server,
    stored: Option<StoredOffset>,
}

impl Machine {
    /// Every connection gets messages, numbered on and on.
    fn new(name: &str, play: Play) -> Machine {
        let server = Server::start(Script::every(play)).unwrap();
        Machine { name: name.to_owned(), dir: tempfile::tempdir().unwrap(), server, stored: None }
    }

    fn start(&self) -> Feed {
        self.start_with(&[])
    }

    fn start_with(&self, more: &[(&str, &str)]) -> Feed {
        let dir = self.directory().display().to_string();
        let mut options = vec![("name", self.name.as_str()), ("websocket.handover.dir", dir.as_str())];
        options.extend(more);
        Feed::resume(self.server.url(), &options, self.stored.clone())
    }

    fn directory(&self) -> PathBuf {
        self.dir.path().join("handover")
    }

    fn files(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.directory()) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    fn file(&self) -> PathBuf {
        let files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }

    /// Kafka, and the host's offset storage, have what was polled up to this sequence.
    fn store(&mut self, feed: &Feed, sequence: i64) {
        let session_id = Some(feed.task.session_id().clone());
        self.stored = Some(StoredOffset { sequence, session_id, ..StoredOffset::default() });
    }

    /// A task receives so many and stops before anything is polled.
    async fn leave(&self, more: &[(&str, &str)], count: usize) -> (Feed, HandedOver) {
        let mut feed = self.start_with(more);
        feed.without_polls(|now| now.queue_records == count).await;
        let handed_over = hand_over(&mut feed).await;
        (feed, handed_over)
    }
}

async fn hand_over(feed: &mut Feed) -> HandedOver {
    feed.task.stop(DEADLINE);
    let handed_over = feed.task.hand_over(Instant::now() + DEADLINE).await;
    assert!(feed.task.is_drained());
    handed_over
}

fn handed_over(records: u64, left_behind: u64) -> HandedOver {
    HandedOver { records, bytes: records * MESSAGE, left_behind }
}

fn keep(records: &mut Vec<Received>, batch: &Batch) {
    records.extend(batch.iter().map(Received::from));
}

fn sequences(feed: &Feed) -> Vec<i64> {
    feed.records.iter().map(|record| record.sequence).collect()
}

/// The gap of the restart, once there is a connection.
async fn restart_gap(feed: &mut Feed) -> Gap {
    feed.until(|feed| feed.snapshot()[Counter::Connections] > 0).await;
    let gaps = feed.snapshot().gaps;
    assert_eq!(gaps.iter().map(|gap| gap.cause).collect::<Vec<_>>(), [Cause::Restart]);
    gaps[0].clone()
}

/// A connector whose file holds five records, none of which Kafka has.
async fn left_five(name: &str) -> Machine {
    let machine = Machine::new(name, Play::accept().send(Messages::count(5)));
    assert_eq!(machine.leave(&[], 5).await.1, handed_over(5, 0));
    machine
}

#[tokio::test]
async fn what_a_stop_leaves_comes_first_at_the_next_start_in_order_and_with_its_timestamps() {
    let play = Play::accept().send(Messages::count(3000)).on_close(OnClose::GoOnSending { count: 700 });
    let mut machine = Machine::new("restarted", play);
    let logged = LogLines::collect();
    let mut feed = machine.start();
    let first = feed.task.poll(DEADLINE).await.unwrap().unwrap();
    keep(&mut feed.records, &first);
    feed.task.commit(first.last_sequence(), SystemTime::now());
    machine.store(&feed, first.last_sequence());
    let before = SystemTime::now();
    // The closing handshake brings another 700.
    feed.without_polls(|now| now[Counter::MessagesReceived] == 3000).await;
    let left = hand_over(&mut feed).await;
    assert_eq!(left, handed_over(3700 - first.len() as u64, 0));
    assert!(feed.task.poll(Duration::ZERO).await.unwrap().is_none());
    let after = SystemTime::now();
    let file = machine.file();

    let mut again = machine.start();
    assert_eq!(again.task.first_sequence(), first.last_sequence() + 1);
    again.until(|feed| feed.records.len() as u64 >= left.records).await;
    assert!(!file.exists(), "all of it is committed");
    again.until(|feed| feed.records.len() as u64 >= left.records + 3000).await;
    assert_eq!(again.snapshot()[Counter::RecordsTakenOver], left.records);
    let gap = restart_gap(&mut again).await;
    assert!(before <= gap.began.unwrap() + Duration::from_millis(1) && gap.began.unwrap() <= after, "{gap:?}");
    assert_eq!(gap.missed, None);

    feed.records.append(&mut again.records);
    feed.assert_complete(6700);
    assert_eq!(sequences(&feed), (1..=6700).collect::<Vec<_>>());
    let ms = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64;
    assert!(feed.records[..3700].iter().all(|record| record.timestamp_ms <= ms(after)), "received before the restart");
    assert!(feed.records.is_sorted_by_key(|record| record.timestamp_ms));
    for (event, name) in
        [("handover_written", "records"), ("handover_found", "records"), ("handover_delivered", "records")]
    {
        assert_eq!(logged.numbers(event, name), [left.records], "{event}");
    }
    assert_eq!(logged.numbers("handover_found", "bytes"), [left.bytes]);
}

#[tokio::test]
async fn the_session_goes_on_so_that_a_crash_before_the_removal_repeats_only_what_kafka_does_not_have() {
    let mut machine = left_five("crashed").await;
    let copy = fs::read(machine.file()).unwrap();
    for (stored, repeated) in [(None, 1..6), (Some(2), 3..6), (Some(5), 6..6), (Some(8), 9..9)] {
        fs::write(machine.file(), &copy).unwrap();
        let feed = machine.start();
        if let Some(sequence) = stored {
            machine.store(&feed, sequence);
        }
        drop(feed);
        // The file is there again, as if the process had died before it was removed.
        fs::write(machine.directory().join("crashed-0.handover"), &copy).unwrap();
        let mut feed = machine.start();
        let count = repeated.clone().count();
        feed.until_records(count + 5).await;
        let next = stored.unwrap_or(0).max(5) + 1;
        let expected: Vec<i64> = repeated.chain(next..next + 5).collect();
        assert_eq!(sequences(&feed), expected, "stored {stored:?}");
        assert_eq!(machine.files(), Vec::<PathBuf>::new(), "stored {stored:?}");
        assert_eq!(feed.snapshot().gaps[0].missed, None);
        fs::write(machine.directory().join("crashed-0.handover"), &copy).unwrap();
    }
}

#[tokio::test]
async fn what_was_polled_of_a_file_and_not_committed_is_in_the_next() {
    let machine = left_five("twice").await;
    let file = fs::read(machine.file()).unwrap();
    // Polled, given to a host that could do nothing with it, and nothing new received: the file stays as it is.
    machine.server.set_script(Script::every(Play::accept()));
    let mut feed = machine.start();
    assert_eq!(feed.task.poll(DEADLINE).await.unwrap().unwrap().len(), 5);
    feed.until(|feed| feed.snapshot()[Counter::Connections] > 0).await;
    assert_eq!(hand_over(&mut feed).await, handed_over(5, 0));
    assert_eq!(fs::read(machine.file()).unwrap(), file);

    // Two are committed, three are new.
    machine.server.set_script(Script::every(Play::accept().send(Messages::count(3))));
    let mut feed = machine.start();
    assert_eq!(feed.task.poll(DEADLINE).await.unwrap().unwrap().len(), 5);
    feed.task.commit(2, SystemTime::now());
    feed.without_polls(|now| now.queue_records == 3).await;
    assert_eq!(hand_over(&mut feed).await, handed_over(6, 0));

    // Nothing was polled this time, and nothing came.
    machine.server.set_script(Script::every(Play::accept()));
    assert_eq!(machine.leave(&[], 0).await.1, handed_over(6, 0));
    let mut feed = machine.start();
    feed.until_records(6).await;
    assert_eq!(sequences(&feed), [3, 4, 5, 6, 7, 8]);
    assert_eq!(feed.numbers(), [2, 3, 4, 5, 6, 7]);
    assert!(machine.files().is_empty());
}

#[tokio::test]
async fn records_that_a_host_returns_come_before_the_queue_and_leave_out_what_kafka_has() {
    let play = Play::accept().send(Messages::count(10)).await_signal().send(Messages::count(4));
    let mut machine = Machine::new("returned", play);
    let mut feed = machine.start();
    feed.without_polls(|now| now.queue_records == 10).await;
    let batch = feed.task.poll(DEADLINE).await.unwrap().unwrap();
    machine.server.signal();
    feed.without_polls(|now| now.queue_records == 4).await;
    feed.task.commit(3, SystemTime::now());
    machine.store(&feed, 3);
    feed.task.stop(DEADLINE);
    let returned = batch.iter().filter(|record| record.sequence > 3 && record.sequence != 6);
    let left = feed.task.hand_over_with(returned, &BTreeSet::new(), Instant::now() + DEADLINE).await;
    assert_eq!(left, handed_over(10, 0));
    machine.server.set_script(Script::every(Play::accept()));
    let mut feed = machine.start();
    assert_eq!(feed.task.first_sequence(), 4);
    feed.until_records(10).await;
    assert_eq!(sequences(&feed), [4, 5, 7, 8, 9, 10, 11, 12, 13, 14]);
    assert_eq!(feed.numbers(), [3, 4, 6, 7, 8, 9, 10, 11, 12, 13]);
}

#[tokio::test]
async fn what_kafka_has_refused_is_in_no_file_any_more() {
    let machine = left_five("refused").await;
    machine.server.set_script(Script::every(Play::accept()));
    // Nothing new was received: the file is written anew all the same.
    for (refused, left) in [(vec![2, 4], 3), (vec![1, 3, 5], 0)] {
        let mut feed = machine.start();
        assert!(feed.task.poll(DEADLINE).await.unwrap().is_some());
        feed.task.stop(DEADLINE);
        let refused = BTreeSet::from_iter(refused);
        let handed = feed.task.hand_over_with(std::iter::empty(), &refused, Instant::now() + DEADLINE).await;
        assert_eq!(handed, handed_over(left, 0));
    }
    drop(machine.start());
    assert_eq!(machine.files(), Vec::<PathBuf>::new());
}

/// Kafka Connect reports to no task which record it has failed on.
#[tokio::test]
async fn a_record_that_a_host_fails_on_run_after_run_lets_the_others_pass_and_is_given_once_more() {
    let machine = left_five("poisoned").await;
    machine.server.set_script(Script::every(Play::accept()));
    let logged = LogLines::collect();
    for _ in 0..2 {
        let mut feed = machine.start();
        assert_eq!(feed.task.poll(DEADLINE).await.unwrap().unwrap().len(), 5);
        assert_eq!(hand_over(&mut feed).await, handed_over(5, 0));
    }
    let mut feed = machine.start();
    let others = feed.task.poll(DEADLINE).await.unwrap().unwrap();
    keep(&mut feed.records, &others);
    assert_eq!((sequences(&feed), feed.numbers()), (vec![2, 3, 4, 5], vec![1, 2, 3, 4]));
    assert!(feed.task.poll(Duration::ZERO).await.unwrap().is_none(), "Kafka has taken nothing yet");
    assert_eq!(logged.numbers("handover_set_aside", "records"), [1]);
    // A stop here loses nothing.
    assert_eq!(hand_over(&mut feed).await, handed_over(5, 0));

    let mut feed = machine.start();
    feed.until_records(5).await;
    assert_eq!(feed.numbers(), [2, 3, 4, 0, 1], "two were set aside this time");
    assert_eq!(sequences(&feed), [3, 4, 5, 6, 7]);
    assert_eq!(machine.files(), Vec::<PathBuf>::new(), "the host has had them all");
}

#[tokio::test]
async fn the_file_of_a_deleted_connector_is_gone() {
    let machine = left_five("deleted").await;
    let dir = machine.directory().display().to_string();
    handover::delete("other", Some(&dir));
    assert_eq!(machine.files().len(), 1);
    handover::delete("deleted", Some(&dir));
    assert_eq!(machine.files(), Vec::<PathBuf>::new());
    // It is not reported any more.
    let mut feed = machine.start();
    feed.until_records(5).await;
    assert_eq!(sequences(&feed), [1, 2, 3, 4, 5]);
    assert!(feed.snapshot().gaps.is_empty());
}

#[tokio::test]
async fn a_file_that_does_not_continue_the_stored_offset_is_counted_and_removed() {
    let foreign = Some(StoredOffset { sequence: 3, session_id: Some(Arc::from("other")), ..StoredOffset::default() });
    for stored in [foreign, Some(StoredOffset { sequence: 7, session_id: None, ..StoredOffset::default() })] {
        let mut machine = left_five("foreign-offset").await;
        machine.stored = stored;
        assert_refused(&machine, "does not continue the stored offset", Some(5)).await;
    }
}

#[tokio::test]
async fn a_file_of_another_connector_or_url_is_counted_and_removed() {
    let mut machine = left_five("moved").await;
    machine.server = Server::start(Script::every(Play::accept().send(Messages::count(5)))).unwrap();
    assert_refused(&machine, "to another connector or URL", Some(5)).await;
    let mut machine = left_five("named").await;
    machine.name = "renamed".into();
    fs::rename(machine.file(), machine.directory().join("renamed-0.handover")).unwrap();
    assert_refused(&machine, "to another connector or URL", Some(5)).await;
}

#[tokio::test]
async fn a_damaged_file_is_counted_and_removed() {
    let damages: [fn(&mut Vec<u8>); 3] = [|bytes| bytes.truncate(200), |bytes| bytes[150] ^= 1, Vec::clear];
    for damage in damages {
        let machine = left_five("damaged").await;
        let mut bytes = fs::read(machine.file()).unwrap();
        damage(&mut bytes);
        fs::write(machine.file(), bytes).unwrap();
        assert_refused(&machine, "", None).await;
    }
}

#[tokio::test]
async fn a_file_that_breaks_while_it_is_read_gives_what_it_can_and_the_rest_is_counted() {
    let machine = Machine::new("breaking", Play::accept().send(Messages::count(3000)));
    assert_eq!(machine.leave(&[], 3000).await.1, handed_over(3000, 0));
    machine.server.set_script(Script::every(Play::accept().send(Messages::count(10))));
    let mut feed = machine.start();
    let file = fs::OpenOptions::new().write(true).open(machine.file()).unwrap();
    file.set_len(150_000).unwrap();
    feed.without_polls(|now| now.queue_records == 10).await;
    let first = feed.task.poll(DEADLINE).await.unwrap().unwrap();
    let whole = first.len() as u64;
    assert!((1000..2000).contains(&whole), "{whole} records in the half that is there");
    keep(&mut feed.records, &first);
    feed.until_records(whole as usize + 10).await;
    let now = feed.snapshot();
    assert_eq!(now[Counter::RecordsTakenOver], whole);
    assert_eq!(now.gaps.iter().filter_map(|gap| gap.missed).collect::<Vec<_>>(), [3000 - whole]);
    assert!(machine.files().is_empty());
    // New records have the sequences behind those that are lost.
    assert_eq!(sequences(&feed)[whole as usize..], (3001..=3010).collect::<Vec<_>>());
}

#[tokio::test]
async fn records_that_a_host_was_given_and_never_stored_do_not_hide_the_rest() {
    let play = Play::accept().send(Messages::count(3)).await_signal().send(Messages::count(2));
    let mut machine = Machine::new("unstored", play);
    machine.stored =
        Some(StoredOffset { sequence: 10, session_id: Some(Arc::from("earlier")), ..StoredOffset::default() });
    let mut feed = machine.start();
    feed.without_polls(|now| now.queue_records == 3).await;
    assert_eq!(feed.task.poll(DEADLINE).await.unwrap().unwrap().len(), 3);
    machine.server.signal();
    feed.without_polls(|now| now.queue_records == 2).await;
    assert_eq!(hand_over(&mut feed).await, handed_over(2, 0));
    // The host's offset is still the one before this session.
    machine.server.set_script(Script::every(Play::accept()));
    let mut feed = machine.start();
    feed.until_records(2).await;
    assert_eq!((sequences(&feed), feed.numbers()), (vec![14, 15], vec![3, 4]));
}

#[tokio::test]
async fn a_task_whose_feed_sends_everything_again_keeps_the_file_that_another_task_has_written() {
    let machine = left_five("acknowledged").await;
    let acknowledged = [
        ("websocket.session.steps", "connect,ack"),
        ("websocket.session.ack.on.commit", "/n exists"),
        ("websocket.session.ack.send", "{{/n}}"),
    ];
    let mut first = machine.start_with(&acknowledged);
    let (file, copy) = (machine.file(), machine.dir.path().join("copy"));
    fs::copy(&file, &copy).unwrap();
    fs::rename(&copy, &file).unwrap();
    hand_over(&mut first).await;
    assert_eq!(machine.files(), [file]);
    hand_over(&mut machine.start_with(&acknowledged)).await;
    assert_eq!(machine.files(), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn a_file_larger_than_the_bound_is_counted_and_removed() {
    let machine = left_five("too-large").await;
    let logged = LogLines::collect();
    let mut feed = machine.start_with(&[("websocket.handover.max.bytes", "300")]);
    assert_eq!(restart_gap(&mut feed).await.missed, Some(5));
    assert!(machine.files().is_empty());
    assert!(logged.all().iter().any(|line| line.contains("larger than websocket.handover.max.bytes = 300")));
}

/// The next start says why, counts so many, removes the file, and works.
async fn assert_refused(machine: &Machine, why: &str, records: Option<u64>) {
    let logged = LogLines::collect();
    let mut feed = machine.start();
    assert!(machine.files().is_empty());
    let gap = restart_gap(&mut feed).await;
    assert_eq!(gap.missed, records);
    let lines = logged.all();
    let line = lines.iter().find(|line| line.contains("event=handover_refused ")).unwrap();
    assert!(line.contains(why), "{line}");
    assert_eq!(logged.numbers("handover_refused", "records"), records.into_iter().collect::<Vec<_>>());
    feed.until_records(5).await;
    assert_eq!(feed.snapshot()[Counter::RecordsTakenOver], 0);
}

#[tokio::test]
async fn at_the_bound_the_oldest_are_kept_and_the_rest_is_counted_exactly() {
    let machine = Machine::new("bounded", Play::accept().send(Messages::count(100)));
    let (feed, left) = machine.leave(&[], 100).await;
    assert_eq!(left, handed_over(100, 0));
    let whole = fs::metadata(machine.file()).unwrap().len();
    let per_record = MESSAGE + 21;
    drop(feed);
    for (kept, max_bytes) in [(99, whole - 1), (99, whole - per_record), (40, whole - 60 * per_record)] {
        fs::remove_file(machine.file()).unwrap();
        let logged = LogLines::collect();
        let max_bytes = max_bytes.to_string();
        let bound = [("websocket.handover.max.bytes", max_bytes.as_str())];
        let (feed, left) = machine.leave(&bound, 100).await;
        assert_eq!(left, handed_over(kept, 100 - kept));
        assert_eq!(feed.snapshot()[Counter::RecordsLeftBehind], 100 - kept);
        assert_eq!(logged.numbers("records_left", "records"), [100 - kept]);
        assert_eq!(logged.numbers("records_left", "bytes"), [(100 - kept) * MESSAGE]);
        let reason = format!("reason=\"websocket.handover.max.bytes = {max_bytes} is reached\"");
        assert!(logged.all().iter().any(|line| line.contains(&reason)));
        assert!(fs::metadata(machine.file()).unwrap().len() <= max_bytes.parse().unwrap());

        let mut again = machine.start_with(&bound);
        again.until_records(kept as usize + 100).await;
        // The server counts on and on, by a hundred at each connection.
        let numbers = again.numbers();
        let first = numbers[0];
        assert_eq!(numbers[..kept as usize], (first..first + kept).collect::<Vec<_>>());
        assert_eq!((first % 100, numbers[kept as usize]), (0, first + 100));
        assert_eq!(restart_gap(&mut again).await.missed, Some(100 - kept));
        fs::write(machine.directory().join("bounded-0.handover"), "").unwrap();
    }
}

#[tokio::test]
async fn without_a_file_the_process_remembers_the_count_for_the_next_start() {
    let machine = Machine::new("nowhere", Play::accept().send(Messages::count(7)));
    fs::write(machine.directory(), "a file where the directory should be").unwrap();
    let off = [("websocket.handover.dir", "")];
    for (more, why) in [(&[][..], "cannot be made"), (&off[..], "websocket.handover.dir is empty")] {
        let logged = LogLines::collect();
        let (feed, left) = machine.leave(more, 7).await;
        assert_eq!(left, handed_over(0, 7));
        assert_eq!(feed.snapshot()[Counter::RecordsLeftBehind], 7);
        assert_eq!(logged.numbers("records_left", "records"), [7]);
        assert!(logged.all().iter().any(|line| line.contains("event=records_left ") && line.contains(why)));
        let stopped = SystemTime::now();
        let mut again = machine.start_with(more);
        again.until_records(7).await;
        let gap = restart_gap(&mut again).await;
        assert_eq!(gap.missed, Some(7));
        assert!(gap.began.unwrap() <= stopped);
        drop(again);
        let mut third = machine.start_with(more);
        third.until_records(7).await;
        assert!(third.snapshot().gaps.is_empty(), "it is reported once");
    }
}

#[tokio::test]
async fn a_directory_that_others_can_write_is_not_used() {
    let machine = Machine::new("exposed", Play::accept().send(Messages::count(3)));
    fs::create_dir(machine.directory()).unwrap();
    fs::set_permissions(machine.directory(), fs::Permissions::from_mode(0o777)).unwrap();
    let logged = LogLines::collect();
    let warnings = || logged.all().iter().filter(|line| line.contains("event=handover_unusable ")).count();
    drop(machine.start());
    assert_eq!(warnings(), 1, "the start warns, before anything is lost");
    assert_eq!(machine.leave(&[], 3).await.1, handed_over(0, 3));
    assert_eq!(warnings(), 1, "once");
    assert!(logged.all().iter().any(|line| line.contains("can be written by other users")));
    assert!(machine.files().is_empty());
}

#[tokio::test]
async fn a_task_that_comes_back_from_another_machine_does_not_know_how_long_nobody_read() {
    let mut machine = Machine::new("wanderer", Play::accept().send(Messages::count(5)));
    let other = machine.dir.path().join("other").display().to_string();
    let elsewhere = [("websocket.handover.dir", other.as_str())];
    let mut feed = machine.start();
    feed.until_records(5).await;
    machine.store(&feed, 5);
    hand_over(&mut feed).await;
    // Here five are left in a file, there five others are read and stored.
    assert_eq!(machine.leave(&[], 5).await.1, handed_over(5, 0));
    let mut feed = machine.start_with(&elsewhere);
    feed.until_records(5).await;
    machine.store(&feed, 10);
    hand_over(&mut feed).await;

    let mut feed = machine.start();
    let gap = restart_gap(&mut feed).await;
    assert_eq!((gap.began, gap.missed), (None, Some(5)), "the file's time is long past");
}

#[tokio::test]
async fn a_new_file_that_cannot_be_made_leaves_the_old_one_and_counts_only_what_is_new() {
    let machine = left_five("stuck").await;
    // Something that is in the way of the new file, and that is not removed like a file.
    let in_the_way = machine.directory().join("stuck-0.handover.tmp");
    fs::create_dir(&in_the_way).unwrap();
    let (feed, left) = machine.leave(&[], 5).await;
    assert_eq!(left, handed_over(5, 5));
    assert_eq!(feed.snapshot()[Counter::RecordsLeftBehind], 5);
    drop(feed);
    let mut feed = machine.start();
    feed.until_records(10).await;
    // The first five of the feed, and those of this start; the five between were left.
    assert_eq!(feed.numbers(), [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]);
    assert_eq!(sequences(&feed), (1..=10).collect::<Vec<_>>());
    assert_eq!(restart_gap(&mut feed).await.missed, Some(5));
    assert_eq!(machine.files(), [in_the_way]);
}

#[tokio::test]
async fn a_file_that_cannot_be_put_in_force_is_counted_and_nothing_unfinished_stays() {
    let machine = Machine::new("blocked", Play::accept().send(Messages::count(4)));
    let in_the_way = machine.directory().join("blocked-0.handover");
    let feed = machine.start();
    feed.without_polls(|now| now.queue_records == 4).await;
    fs::create_dir(&in_the_way).unwrap();
    let mut feed = feed;
    assert_eq!(hand_over(&mut feed).await, handed_over(0, 4));
    drop(feed);
    assert_eq!(machine.files().len(), 1);
    fs::remove_dir(in_the_way).unwrap();
    let mut feed = machine.start();
    feed.until_records(4).await;
    assert_eq!(restart_gap(&mut feed).await.missed, Some(4));
}

#[tokio::test]
async fn what_comes_after_the_deadline_is_not_waited_for() {
    let play = Play::accept().send(Messages::count(8)).on_close(OnClose::Ignore);
    let machine = Machine::new("hurried", play);
    let logged = LogLines::collect();
    let mut feed = machine.start();
    feed.without_polls(|now| now.queue_records == 8).await;
    // The server never answers our Close, and the grace is long; then the host has less time than it thought.
    feed.task.stop(DEADLINE);
    let closing = |stats: &Stats| close_code(stats, 0) == Some(1000);
    machine.server.until(closing, DEADLINE).await.unwrap();
    assert_eq!(feed.task.hand_over(Instant::now() + Duration::from_millis(50)).await, handed_over(8, 0));
    let closed = |line: &String| line.contains("event=websocket_closed ");
    assert!(logged.all().iter().any(closed), "the session ended by itself");
    machine.server.until(|stats| stats.open == 0, DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_loss_that_no_connection_could_tell_yet_is_told_later() {
    let machine = Machine::new("patient", Play::accept().send(Messages::count(6)));
    let off = [("websocket.handover.dir", "")];
    assert_eq!(machine.leave(&off, 6).await.1, handed_over(0, 6));
    machine.server.set_script(Script::every(Play::reject(503)));
    // Once it is dropped, once it is stopped: the count outlives both, the second time in a file.
    let mut feed = machine.start();
    feed.until_reconnects(Cause::ConnectFailed, 1).await;
    drop(feed);
    let mut feed = machine.start();
    feed.until_reconnects(Cause::ConnectFailed, 1).await;
    assert_eq!(hand_over(&mut feed).await, handed_over(0, 0));
    drop(feed);
    assert_eq!(machine.files().len(), 1);
    machine.server.set_script(Script::every(Play::accept().send(Messages::count(1))));
    let mut feed = machine.start();
    feed.until_records(1).await;
    assert_eq!(restart_gap(&mut feed).await.missed, Some(6));
    assert!(machine.files().is_empty());
}

#[tokio::test]
async fn two_hundred_restarts_lose_nothing_and_leave_no_file() {
    let play = Play::accept().send(Messages::count(5)).on_close(OnClose::GoOnSending { count: 2 });
    let mut machine = Machine::new("restless", play);
    let mut all = Vec::new();
    for n in 0..200 {
        let mut feed = machine.start();
        // Some stop before the first poll, some after one, some when all is polled.
        match n % 3 {
            0 => _ = feed.without_polls(|now| now.queue_records > 0).await,
            1 => feed.poll().await,
            _ => {
                feed.until(|feed| feed.snapshot()[Counter::MessagesReceived] >= 5 && feed.snapshot().queue_records == 0)
                    .await
            }
        }
        let last = feed.records.last().map(|record| record.sequence);
        if let Some(last) = last {
            machine.store(&feed, last);
        }
        all.append(&mut feed.records);
        hand_over(&mut feed).await;
    }
    machine.server.set_script(Script::every(Play::accept()));
    let mut feed = machine.start();
    feed.until(|feed| feed.snapshot()[Counter::Connections] > 0).await;
    // The server is done with all connections but this one.
    let sent = feed.until_server(&machine.server, |stats| stats.open == 1).await.sent();
    feed.until(|feed| (all.len() + feed.records.len()) as u64 >= sent).await;
    all.append(&mut feed.records);
    feed.records = all;
    feed.assert_complete(sent);
    assert_eq!(hand_over(&mut feed).await, handed_over(0, 0));
    assert_eq!(machine.files(), Vec::<PathBuf>::new());
}
