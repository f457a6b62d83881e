//! Records over a restart: what a task received and its host could not give to Kafka goes to a file when it stops, and is
//! emitted first when it starts again on this machine.
//!
//! What is guaranteed is *at least once*: a record is in the file, or given to the host, or counted as left behind. A file
//! is removed when Kafka has all of it; records that Kafka has already, by the stored offset, are not emitted again. What
//! the host was given of an older file and did not commit stays in the file.

mod directory;
mod forgotten;
mod format;
mod outgoing;
mod place;
mod stalled;

use std::fs::File;
use std::io::{BufReader, Seek as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use crate::config::{Config, handover_directory};
use crate::figures::Counter;
use crate::metrics::Metrics;
use crate::offset::StoredOffset;
use crate::record::{Batch, Record, epoch_ms, wire};
use crate::task_id::TaskId;
use forgotten::Loss;
use format::{Footer, Reader, StoredRecord};
pub(crate) use outgoing::Outgoing;
use place::Place;

/// A batch from a file has no more than this, or one record.
const BATCH_BYTES: usize = 256 << 10;
const BATCH_RECORDS: usize = 4096;
const BUFFER_BYTES: usize = 64 << 10;

/// What became of the records that a task had not given to its host when it stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HandedOver {
    /// Records in the file, for the next start.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Records that are lost, and counted as missed by the next start.
    pub left_behind: u64,
}

/// What a start finds.
#[derive(Default)]
pub(crate) struct Found {
    /// Records to be emitted first.
    pub(crate) takeover: Option<Takeover>,
    /// The first records of it, that others go before.
    pub(crate) aside: Option<Batch>,
    /// The session that the file's records belong to, also if Kafka has them all.
    pub(crate) session: Option<SessionStart>,
    pub(crate) written_at: Option<SystemTime>,
    pub(crate) lost: Option<Lost>,
    /// Where in the feed the file's last records stand.
    pub(crate) position: Option<StoredOffset>,
}

/// A session id, and the sequence of the first record that was given out under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionStart {
    pub(crate) id: Arc<str>,
    pub(crate) first_sequence: i64,
}

/// Records that were received before and will never be emitted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// `None` if nobody knows.
    pub(crate) records: Option<u64>,
    pub(crate) since: Option<SystemTime>,
}

impl Lost {
    fn and(self, other: Lost) -> Lost {
        Lost {
            records: self.records.zip(other.records).map(|(a, b)| a.saturating_add(b)),
            since: [self.since, other.since].into_iter().flatten().min(),
        }
    }
}

/// Looks for what the last task of this connector left. Whatever is wrong with it is logged and counted, and no reason not
/// to start.
pub(crate) fn find(config: &Config, stored: Option<&StoredOffset>) -> Found {
    let mut found = Found::default();
    let forgotten = forgotten::take(&config.task_id());
    // With a stored offset nobody knows whether another machine has read the feed since then.
    let since = |at| if stored.is_none() { at } else { None };
    let forgotten = forgotten.map(|loss| Lost { records: Some(loss.records), since: since(Some(loss.since)) });
    let mut lost: Vec<Lost> = forgotten.into_iter().collect();
    if let Some(place) = place(config) {
        place.directory().check_once();
        match Takeover::open(place.clone(), config, stored) {
            Ok(None) => {}
            Ok(Some(mut takeover)) => {
                let age = SystemTime::now().duration_since(takeover.written_at).unwrap_or_default();
                let (records, bytes) = (takeover.records, takeover.bytes);
                info!("event=handover_found records={records} bytes={bytes} age_ms={}", age.as_millis());
                if takeover.left_behind > 0 {
                    lost.push(Lost { records: Some(takeover.left_behind), since: Some(takeover.written_at) });
                }
                found.session = Some(takeover.session.clone());
                found.position = takeover.position.take();
                found.written_at = Some(takeover.written_at);
                if records == 0 {
                    takeover.delivered();
                } else {
                    found.aside =
                        takeover.set_aside(stalled::records_to_set_aside(&config.task_id(), takeover.first_sequence()));
                    found.takeover = Some(takeover);
                }
            }
            Err(refused) => {
                refused.log();
                lost.push(Lost { records: refused.records, since: since(refused.written_at) });
                if let Err(why) = place.remove() {
                    warn!("event=handover_not_removed reason=\"{why}\"");
                }
            }
        }
    }
    found.lost = lost.into_iter().reduce(Lost::and);
    found
}

/// A run ends in which the host was given records of this file; `committed`: Kafka has all up to this sequence.
pub(crate) fn note_progress(config: &Config, file: &Takeover, committed: i64) {
    if committed < file.first_sequence() {
        stalled::note(&config.task_id(), file.first_sequence());
    } else {
        stalled::forget(&config.task_id());
    }
}

/// Removes what the last task of a connector left: the connector is deleted, and with it what it had not brought to Kafka.
/// `directory` is the text of its option, all that matters of a configuration that may not be valid any more.
pub fn delete(connector: &str, directory: Option<&str>) {
    let task = TaskId::only(connector);
    forgotten::take(&task);
    let Some(directory) = handover_directory(directory) else { return };
    let place = Place::new(&directory, &task);
    let removed = match place.open() {
        Ok(None) => return,
        found => found.and_then(|_| place.remove()),
    };
    match removed {
        Ok(()) => info!("event=handover_deleted"),
        Err(why) => warn!("event=handover_not_removed reason=\"{why}\""),
    }
}

/// Counts records that are lost without a file; the next start of this connector in this process reports them.
pub(crate) fn leave_behind(config: &Config, metrics: &Metrics, records: u64, bytes: u64, reason: &str) {
    log_left(records, bytes, reason);
    metrics.count(Counter::RecordsLeftBehind, records);
    carry(config, records);
}

/// Keeps the count of a loss that no gap has reported yet for the next start in this process.
pub(crate) fn carry(config: &Config, records: u64) {
    if records > 0 {
        forgotten::remember(&config.task_id(), Loss { records, since: SystemTime::now() });
    }
}

fn log_left(records: u64, bytes: u64, reason: &str) {
    warn!("event=records_left records={records} bytes={bytes} reason=\"{reason}\"");
}

fn place(config: &Config) -> Option<Place> {
    config.handover.as_ref().map(|handover| Place::new(&handover.directory, &config.task_id()))
}

/// A file that is not taken over.
#[derive(Debug)]
struct Refused {
    reason: String,
    records: Option<u64>,
    written_at: Option<SystemTime>,
}

impl Refused {
    fn log(&self) {
        let records = self.records.map(|records| format!(" records={records}")).unwrap_or_default();
        warn!("event=handover_refused reason=\"{}\"{records}", self.reason);
    }
}

impl From<String> for Refused {
    fn from(reason: String) -> Refused {
        Refused { reason, records: None, written_at: None }
    }
}

/// A whole file of ours, read batch by batch.
pub(crate) struct Takeover {
    place: Place,
    file: File,
    reader: Reader<BufReader<File>>,
    /// Records up to this sequence are passed over: Kafka has them.
    after: i64,
    record: StoredRecord,
    /// `record` did not fit the batch before.
    held: bool,
    /// All was read, or why no more can be.
    end: Option<Result<(), String>>,
    session: SessionStart,
    first_sequence: i64,
    last_sequence: i64,
    /// How many records are to be emitted, and the bytes of their values.
    records: u64,
    bytes: u64,
    left_behind: u64,
    written_at: SystemTime,
    /// Where in the feed its last records stand.
    position: Option<StoredOffset>,
}

impl Takeover {
    /// Checks the whole file before anything of it is believed.
    fn open(place: Place, config: &Config, stored: Option<&StoredOffset>) -> Result<Option<Takeover>, Refused> {
        let Some(file) = place.open()? else { return Ok(None) };
        let after = stored.map_or(0, |stored| stored.sequence);
        let mut reader = read_from_start(&file)?;
        let (mut stored_record, mut pending, mut bytes, mut first_sequence) = (StoredRecord::new(), 0, 0, None);
        let mut position = stored.cloned();
        while reader.next(&mut stored_record)? {
            let record = stored_record.record();
            if record.sequence > after {
                pending += 1;
                bytes += record.value.len() as u64;
                first_sequence.get_or_insert(record.sequence);
                if config.resumes() {
                    position = StoredOffset::add_record(position, &record);
                }
            }
        }
        let header = reader.header();
        let Footer { records, left_behind, written_at_ms } = reader.footer().unwrap_or_default();
        let written_at =
            SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(written_at_ms).unwrap_or_default());
        let refuse = |reason: String, records: u64| Refused {
            reason,
            records: Some(records.saturating_add(left_behind)),
            written_at: Some(written_at),
        };
        if header.connector != config.name || !config.is_partition(&header.partition) {
            return Err(refuse("it belongs to another connector or URL".into(), records));
        }
        let same_session = stored.and_then(|stored| stored.session_id.as_deref()) == Some(header.session_id.as_str());
        if !same_session && header.first_sequence != after.saturating_add(1) {
            return Err(refuse("it does not continue the stored offset".into(), records));
        }
        let most = config.handover.as_ref().map_or(0, |handover| handover.max_bytes);
        if length(&file)? > most {
            return Err(refuse(format!("it is larger than websocket.handover.max.bytes = {most}"), pending));
        }
        let session = SessionStart { id: header.session_id.as_str().into(), first_sequence: header.first_sequence };
        Ok(Some(Takeover {
            place,
            after,
            record: StoredRecord::new(),
            held: false,
            end: None,
            session,
            first_sequence: first_sequence.unwrap_or(after),
            last_sequence: reader.last_sequence().unwrap_or(after),
            records: pending,
            bytes,
            left_behind,
            written_at,
            position,
            reader: read_from_start(&file)?,
            file,
        }))
    }

    /// The next records, with their sequences; `None` once all were given.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Batch>, String> {
        let (mut batch, now_ms) = (Batch::default(), epoch_ms(SystemTime::now()));
        while self.end.is_none() {
            if !std::mem::take(&mut self.held) {
                match self.reader.next(&mut self.record) {
                    Ok(true) => {}
                    end => {
                        self.end = Some(end.map(drop));
                        self.record = StoredRecord::new();
                        break;
                    }
                }
            }
            let record = self.record.record();
            if record.sequence <= self.after {
                continue;
            }
            let full = batch.len() == BATCH_RECORDS || batch.bytes() + wire::size(&record) > BATCH_BYTES;
            if batch.is_empty() {
                batch.set_first_sequence(record.sequence);
            } else if full || record.sequence != batch.last_sequence() + 1 {
                self.held = true;
                break;
            }
            batch.push_record(&not_later_than(record, now_ms));
        }
        match &self.end {
            Some(Err(why)) if batch.is_empty() => Err(why.clone()),
            _ => Ok(Some(batch).filter(|batch| !batch.is_empty())),
        }
    }

    /// Takes so many records from the front, to be given later under new sequences.
    fn set_aside(&mut self, records: usize) -> Option<Batch> {
        let (mut aside, now_ms) = (Batch::default(), epoch_ms(SystemTime::now()));
        while aside.len() < records && self.end.is_none() {
            match self.reader.next(&mut self.record) {
                Ok(true) if self.record.record().sequence <= self.after => {}
                Ok(true) if !aside.is_empty() && aside.bytes() + wire::size(&self.record.record()) > BATCH_BYTES => {
                    self.held = true;
                    break;
                }
                Ok(true) => aside.push_record(&not_later_than(self.record.record(), now_ms)),
                end => self.end = Some(end.map(drop)),
            }
        }
        if !aside.is_empty() {
            warn!(
                "event=handover_set_aside records={} reason=\"Kafka took nothing in several runs: other records are sent first\"",
                aside.len()
            );
        }
        Some(aside).filter(|aside| !aside.is_empty())
    }

    pub(crate) fn first_sequence(&self) -> i64 {
        self.first_sequence
    }

    pub(crate) fn last_sequence(&self) -> i64 {
        self.last_sequence
    }

    /// Kafka has all of it.
    pub(crate) fn delivered(self) {
        // Not the file of a task that was thought dead and has stopped only now.
        let removed = if self.place.is_in_force(&self.file) { self.place.remove() } else { Ok(()) };
        match removed {
            Ok(()) => info!("event=handover_delivered records={}", self.records),
            // Nothing is emitted twice for it: from the stored offset the next start knows that Kafka has the records.
            Err(why) => warn!("event=handover_not_removed reason=\"{why}\""),
        }
    }

    /// The feed will send all of it again.
    pub(crate) fn superseded(self) {
        if let Err(why) = self.place.remove() {
            warn!("event=handover_not_removed reason=\"{why}\"");
        }
    }

    /// The file has become unreadable after `given` of its records; what of them is lost.
    pub(crate) fn broken(self, why: String, given: u64) -> Lost {
        let records = Some(self.records.saturating_sub(given));
        let refused = Refused { reason: why, records, written_at: Some(self.written_at) };
        refused.log();
        let _ = self.place.remove();
        Lost { records, since: refused.written_at }
    }

    /// Begins anew, behind this sequence.
    fn rewind(&mut self, after: i64) -> Result<(), String> {
        self.reader = read_from_start(&self.file)?;
        (self.after, self.held, self.end) = (self.after.max(after), false, None);
        Ok(())
    }
}

/// A record from the future was received while the clock was wrong. Kafka would refuse it, and Connect fail for it.
fn not_later_than(record: Record<'_>, now_ms: i64) -> Record<'_> {
    Record { received_ms: record.received_ms.min(now_ms), ..record }
}

fn read_from_start(file: &File) -> Result<Reader<BufReader<File>>, String> {
    let unreadable = |error| format!("it cannot be read: {error}");
    let mut own = file.try_clone().map_err(unreadable)?;
    own.rewind().map_err(unreadable)?;
    Reader::new(BufReader::with_capacity(BUFFER_BYTES, own), length(file)?)
}

fn length(file: &File) -> Result<u64, String> {
    file.metadata().map(|metadata| metadata.len()).map_err(|error| format!("it cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ValueKind;

    #[test]
    fn a_record_from_the_future_is_one_of_now() {
        let mut batch = Batch::default();
        for received_ms in [1_000, 9_000] {
            batch.push(ValueKind::Text, b"x", received_ms);
        }
        let received: Vec<i64> = batch.iter().map(|record| not_later_than(record, 5_000).received_ms).collect();
        assert_eq!(received, [1_000, 5_000]);
    }
}
