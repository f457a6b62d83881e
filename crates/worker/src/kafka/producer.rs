//! The producer of a task: sends records through librdkafka, takes delivery reports, and writes librdkafka's log lines.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use connect_websocket_engine::redact::printable;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, PurgeConfig};
use tracing::{debug, error, info, warn};

/// `/admin/loggers` knows it as `org.apache.kafka.clients`.
const LOG_TARGET: &str = "librdkafka";
/// The shortest interval between two log lines about the same kind of error.
const ERROR_LOG_INTERVAL: Duration = Duration::from_secs(30);
/// How long librdkafka's threads may take to give up what is in flight. They usually do it at once.
const GIVE_UP_WITHIN: Duration = Duration::from_millis(500);
/// At the end of its linger, librdkafka makes a request from the records that it has. For one partition of an
/// idempotent producer, it makes the next request only when that is answered. While records wait for longer than the
/// linger, its thread spins. So a round of records is given to it within this share of the linger, no more than fit
/// into one request. The next round begins when Kafka has answered for all.
const ROUND_OF_LINGER: f64 = 0.7;
const SHORTEST_LINGER_MS: f64 = 1.0;
/// librdkafka's `batch.num.messages`.
const ROUND_RECORDS: usize = 10_000;
/// The most bytes that a request has for a record in addition to key, value and headers, and for a header in addition
/// to name and value.
const RECORD_OVERHEAD: usize = 32;
const HEADER_OVERHEAD: usize = 10;
/// Part of librdkafka's reason if the connection ended before a broker granted or refused the authentication.
const INTERRUPTED: &str = "handshake failed: Local:";

/// Sends records of one task in order. Reports are collected by [`Producer::reports`], on the caller's thread.
pub struct Producer {
    client: BaseProducer<Context>,
    round: Round,
}

/// Records that go into one request.
struct Round {
    /// `batch.size`.
    max_bytes: usize,
    max_time: Duration,
    bytes: usize,
    records: usize,
    began: Instant,
}

impl Round {
    fn new(settings: &[(String, String)]) -> Round {
        let number = |name: &str| settings.iter().find(|(known, _)| known == name)?.1.parse::<f64>().ok();
        let linger_ms = number("linger.ms").unwrap_or_default().max(SHORTEST_LINGER_MS);
        Round {
            max_bytes: number("batch.size").map_or(usize::MAX, |bytes| bytes as usize),
            max_time: Duration::from_secs_f64(linger_ms * ROUND_OF_LINGER / 1000.0),
            bytes: 0,
            records: 0,
            began: Instant::now(),
        }
    }

    fn begin(&mut self) {
        (self.bytes, self.records, self.began) = (0, 0, Instant::now());
    }

    /// Whether one more record goes into the request.
    fn has_room(&self, bytes: usize) -> bool {
        self.records == 0
            || self.records < ROUND_RECORDS
                && self.bytes + bytes <= self.max_bytes
                && self.began.elapsed() <= self.max_time
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.records += 1;
    }
}

/// What happened since the last call of [`Producer::reports`].
#[derive(Debug, Default)]
pub struct Reports {
    /// Ranges of sequences that Kafka has, both ends included.
    pub delivered: Vec<(i64, i64)>,
    /// Records of batches that Kafka has refused. Another record of the batch can be the cause.
    pub refused: Vec<Refused>,
    /// Records that Kafka does not have, for a reason that is not in them.
    pub failed: Vec<Refused>,
    /// The client cannot continue.
    pub fatal: Option<String>,
}

/// A record, and Kafka's error.
#[derive(Debug)]
pub struct Refused {
    pub sequence: i64,
    pub code: RDKafkaErrorCode,
}

/// A record as Kafka gets it.
#[derive(Debug)]
pub struct Outbound<'a> {
    pub topic: &'a str,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Option<OwnedHeaders>,
    pub timestamp_ms: i64,
    /// Identifies the record in the reports.
    pub sequence: i64,
}

impl Outbound<'_> {
    /// Returns the most bytes that it needs in a request.
    fn bytes(&self) -> usize {
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let headers = self.headers.iter().flat_map(|headers| headers.iter());
        let headers: usize = headers.map(|header| header.key.len() + length(header.value) + HEADER_OVERHEAD).sum();
        length(self.key) + length(self.value) + headers + RECORD_OVERHEAD
    }
}

/// Why a record was not taken.
pub enum SendError {
    /// The producer is full until Kafka has answered for earlier records. Try the same record again later.
    Full,
    /// Kafka can never accept this record.
    Refused(String),
    /// The client cannot continue.
    Fatal(String),
}

impl Producer {
    /// # Errors
    /// A sentence of librdkafka that names the setting.
    pub fn new(settings: &[(String, String)]) -> Result<Producer, String> {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Info);
        config.extend(settings.iter().cloned());
        let client = config
            .create_with_context(Context::default())
            .map_err(|error| format!("the Kafka producer cannot be made: {error}"))?;
        Ok(Producer { client, round: Round::new(settings) })
    }

    /// Queues one record.
    pub fn send(&mut self, record: Outbound<'_>) -> Result<(), SendError> {
        let bytes = record.bytes();
        if !self.round.has_room(bytes) {
            if !self.is_idle() {
                return Err(SendError::Full);
            }
            self.round.begin();
        }
        let Outbound { topic, key, value, headers, timestamp_ms, sequence } = record;
        let mut record =
            BaseRecord::<[u8], [u8], usize>::with_opaque_to(topic, sequence as usize).timestamp(timestamp_ms);
        (record.key, record.payload, record.headers) = (key, value, headers);
        match self.client.send(record) {
            Ok(()) => {
                self.round.add(bytes);
                Ok(())
            }
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Err(SendError::Full),
            Err((KafkaError::MessageProduction(code @ RDKafkaErrorCode::MessageSizeTooLarge), _)) => {
                Err(SendError::Refused(format!("{code}; see producer.override.max.request.size")))
            }
            Err((KafkaError::MessageProduction(code), _)) if is_missing_topic(code) => {
                Err(SendError::Fatal(missing_topic(topic)))
            }
            Err((error, _)) => Err(SendError::Fatal(self.fatal_error().unwrap_or_else(|| error.to_string()))),
        }
    }

    /// Runs librdkafka's callbacks and returns its reports. Never waits.
    pub fn reports(&self) -> Reports {
        let context = self.client.context();
        loop {
            // Each call handles one event. An event can be the reports of many records.
            let before = context.events();
            self.client.poll(Duration::ZERO);
            if context.events() == before {
                break;
            }
        }
        let mut state = context.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reports = std::mem::take(&mut state.reports);
        drop(state);
        reports.fatal = reports.fatal.or_else(|| self.fatal_error());
        reports
    }

    /// Whether Kafka has answered for every record, and every report was taken.
    pub fn is_idle(&self) -> bool {
        self.client.in_flight_count() == 0
    }

    /// Gives up all records that are not acknowledged. The next [`Producer::reports`] has what was acknowledged until
    /// now. Of the rest, Kafka has at most what was being sent.
    pub fn give_up(&self) {
        if !self.is_idle() {
            self.client.purge(PurgeConfig::default().queue().inflight());
            // An error means that the time is over. Records without a report count as not acknowledged.
            let _ = self.client.flush(GIVE_UP_WITHIN);
        }
    }

    fn fatal_error(&self) -> Option<String> {
        self.client.client().fatal_error().map(|(code, reason)| format!("{code}: {reason}"))
    }
}

fn is_missing_topic(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition)
}

/// Whether Kafka has refused a batch because of its records. It takes or refuses a batch as a whole (KIP-467).
fn is_of_the_batch(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{InvalidDifferentRecord, InvalidRecord, InvalidTimestamp, MessageSizeTooLarge};
    matches!(code, InvalidTimestamp | InvalidRecord | InvalidDifferentRecord | MessageSizeTooLarge)
}

fn missing_topic(topic: &str) -> String {
    format!(
        "topic {topic} does not exist and Kafka creates none by itself; create it, or let the connector do so with \
         topic.creation.default.partitions and topic.creation.default.replication.factor"
    )
}

/// Collects librdkafka's reports, errors and log lines.
#[derive(Default)]
struct Context {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    reports: Reports,
    events: u64,
    /// When an error of each kind was last logged.
    errors: Vec<(Option<RDKafkaErrorCode>, Instant)>,
}

impl Context {
    fn events(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).events
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_client_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.events += 1;
        if code == Some(RDKafkaErrorCode::Authentication) && !reason.contains(INTERRUPTED) {
            state.reports.fatal = Some(format!("Kafka refuses the credentials: {reason}"));
        }
        // While Kafka is not reachable, the same error comes every second, and each time twice.
        let now = Instant::now();
        let known = state.errors.iter_mut().find(|(known, _)| *known == code);
        match known {
            Some((_, logged)) if now.duration_since(*logged) < ERROR_LOG_INTERVAL => return,
            Some((_, logged)) => *logged = now,
            None => state.errors.push((code, now)),
        }
        drop(state);
        warn!(target: LOG_TARGET, "event=kafka_error error=\"{error}\" reason=\"{}\"", printable(reason));
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, sequence: usize) {
        let sequence = sequence as i64;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.events += 1;
        match result {
            Ok(_) => match state.reports.delivered.last_mut() {
                Some((_, last)) if *last + 1 == sequence => *last = sequence,
                _ => state.reports.delivered.push((sequence, sequence)),
            },
            // The record is not the cause. To skip it, as errors.tolerance=all does, would lose every record.
            Err((KafkaError::MessageProduction(code), message)) if is_missing_topic(*code) => {
                state.reports.fatal = Some(missing_topic(message.topic()));
            }
            // Given up by this program. The next start sends it.
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight), _)) => {
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                let refused = Refused { sequence, code };
                if is_of_the_batch(code) {
                    state.reports.refused.push(refused);
                } else {
                    state.reports.failed.push(refused);
                }
            }
        }
    }
}

/// Logs a line of librdkafka under the logger of Java's client.
pub(crate) fn log_client_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    let message = printable(message);
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            error!(target: LOG_TARGET, "{facility}: {message}");
        }
        // A broker that is not reachable is tried without an end, so this is a warning.
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => warn!(target: LOG_TARGET, "{facility}: {message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => info!(target: LOG_TARGET, "{facility}: {message}"),
        RDKafkaLogLevel::Debug => debug!(target: LOG_TARGET, "{facility}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_ends_with_its_bytes_its_records_or_its_time() {
        let settings = [("batch.size", "100"), ("linger.ms", "20")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let mut round = Round::new(&settings);
        assert!(round.has_room(1_000), "a record that is larger goes alone");
        round.add(60);
        assert!(round.has_room(40));
        assert!(!round.has_room(41));
        round.began -= Duration::from_millis(20);
        assert!(!round.has_room(1));

        round.begin();
        round.add(1);
        assert!(round.has_room(1));
        round.records = ROUND_RECORDS;
        assert!(!round.has_room(1));
    }
}
