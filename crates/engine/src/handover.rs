//! Records over a restart. When a task stops, records that its host could not give to Kafka are written to a file. The
//! next start on this machine sends them first.
//!
//! The guarantee is *at least once*: a record is in the file, or was given to the host, or is counted as lost. A file
//! is removed when Kafka has all its records. Records that Kafka has according to the stored offset are not sent again.
//! Records of an older file that the host got and did not commit are written to the next file.

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

/// The limits of a batch from a file. A batch can always have one record.
const BATCH_BYTES: usize = 256 << 10;
const BATCH_RECORDS: usize = 4096;
const BUFFER_BYTES: usize = 64 << 10;

/// What happened at a stop to the records that Kafka does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HandedOver {
    /// Records in the file, for the next start.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Lost records, which the gap of the next start counts as missed.
    pub left_behind: u64,
}

/// What the last task has left for this start.
#[derive(Default)]
pub(crate) struct Found {
    /// The file whose records are sent first.
    pub(crate) takeover: Option<Takeover>,
    /// Its first records, if they are set aside and sent after the others.
    pub(crate) aside: Option<Batch>,
    /// The session that the file's records belong to. Also known if Kafka has all of them.
    pub(crate) session: Option<SessionStart>,
    pub(crate) written_at: Option<SystemTime>,
    pub(crate) lost: Option<Lost>,
    /// The position in the feed of the file's last records.
    pub(crate) position: Option<StoredOffset>,
}

/// A session's id, and the sequence of its first record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionStart {
    pub(crate) id: Arc<str>,
    pub(crate) first_sequence: i64,
}

/// Records that were received and are lost.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// `None` if not known.
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

/// Returns what the last task of this connector has left. If something is wrong with it, that is logged and counted. It
/// never prevents the start.
pub(crate) fn find(config: &Config, stored: Option<&StoredOffset>) -> Found {
    let mut found = Found::default();
    let forgotten = forgotten::take(&config.task_id());
    // With a stored offset, another machine may have read the feed since the loss. So the time of the loss says
    // nothing.
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

/// Notes the end of a run in which the host got records of this file. `committed`: up to which sequence Kafka has
/// everything.
pub(crate) fn note_progress(config: &Config, file: &Takeover, committed: i64) {
    if committed < file.first_sequence() {
        stalled::note(&config.task_id(), file.first_sequence());
    } else {
        stalled::forget(&config.task_id());
    }
}

/// Removes the hand-over file of a connector that is deleted. `directory` is the text of its option: the rest of the
/// configuration may not be valid any more.
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

/// Counts records that are lost and not in a file. The next start of this connector in this process reports them.
pub(crate) fn leave_behind(config: &Config, metrics: &Metrics, records: u64, bytes: u64, reason: &str) {
    log_left(records, bytes, reason);
    metrics.count(Counter::RecordsLeftBehind, records);
    carry(config, records);
}

/// Keeps the count of a loss that no gap has reported yet, for the next start in this process.
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

/// Why a file is not used.
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

/// A valid file, read batch by batch.
pub(crate) struct Takeover {
    place: Place,
    file: File,
    reader: Reader<BufReader<File>>,
    /// Records up to this sequence are skipped, because Kafka has them.
    after: i64,
    record: StoredRecord,
    /// Whether `record` did not fit into the last batch.
    held: bool,
    /// Whether everything was read, or reading has failed.
    end: Option<Result<(), String>>,
    session: SessionStart,
    first_sequence: i64,
    last_sequence: i64,
    /// How many records are to be sent, and the bytes of their values.
    records: u64,
    bytes: u64,
    left_behind: u64,
    written_at: SystemTime,
    /// The position in the feed of its last records.
    position: Option<StoredOffset>,
}

impl Takeover {
    /// Opens a file, and checks all of it before anything is used.
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

    /// Returns the next records with their sequences, or `None` after the last one.
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

    /// Takes this number of records from the front. They are sent later, with new sequences.
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

    /// Removes the file, because Kafka has all its records.
    pub(crate) fn delivered(self) {
        match self.remove() {
            Ok(()) => info!("event=handover_delivered records={}", self.records),
            // No record is sent twice: the next start knows from the stored offset that Kafka has them.
            Err(why) => warn!("event=handover_not_removed reason=\"{why}\""),
        }
    }

    /// Removes the file, because the feed sends its records again.
    pub(crate) fn superseded(self) {
        if let Err(why) = self.remove() {
            warn!("event=handover_not_removed reason=\"{why}\"");
        }
    }

    /// Counts the records that are lost because the file cannot be read any further, after `given` of its records.
    pub(crate) fn broken(self, why: String, given: u64) -> Lost {
        let records = Some(self.records.saturating_sub(given));
        let refused = Refused { reason: why, records, written_at: Some(self.written_at) };
        refused.log();
        let _ = self.remove();
        Lost { records, since: refused.written_at }
    }

    /// Removes the file. Another task of this connector can have written a newer one meanwhile, which is kept.
    fn remove(&self) -> Result<(), String> {
        if self.place.is_in_force(&self.file) { self.place.remove() } else { Ok(()) }
    }

    /// Begins to read the file again, after this sequence.
    fn rewind(&mut self, after: i64) -> Result<(), String> {
        self.reader = read_from_start(&self.file)?;
        (self.after, self.held, self.end) = (self.after.max(after), false, None);
        Ok(())
    }
}

/// Corrects a time of receipt in the future, from a clock that was wrong. Kafka would refuse the record, and Connect
/// would fail the task.
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
