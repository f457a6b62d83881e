//! From the socket to Kafka and back to the offsets: poll → convert → submit → send, acknowledgements back to offsets.
//!
//! ```text
//! SourceTask::poll ─batch─▶ convert ─▶ Submitted ─▶ Producer::send ─▶ Kafka
//!                                          │  Producer::reports ◀─ acknowledgements
//!            OffsetStore ◀─ longest acknowledged prefix ─▶ SourceTask::commit
//! ```
//!
//! Batches are kept until Kafka has acknowledged them. Records that Kafka does not take before the deadline of a stop,
//! or before the task has failed, go back to the engine, which writes them to the hand-over file for the next start.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use connect_websocket_engine::commits::Commits;
use connect_websocket_engine::config::Config;
use connect_websocket_engine::error::Error as EngineError;
use connect_websocket_engine::figures::Counter;
use connect_websocket_engine::handover::HandedOver;
use connect_websocket_engine::record::{Batch, Record, epoch_ms};
use connect_websocket_engine::redact::printable;
use connect_websocket_engine::task::SourceTask;
use connect_websocket_engine::task_id::TaskId;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::runtime::Handle;
use tracing::{error, info, warn};

use super::again::{Again, Against, Verdict};
use super::conversion::{Conversion, Converted};
use super::destinations::Destinations;
use super::errors::{ErrorPolicy, KAFKA_PRODUCE, StageError};
use super::offsets::{self, TaskOffsets};
use super::submitted::Submitted;
use super::{Shared, TaskSpec, TaskState};
use crate::config::check_references;
use crate::config::provider::Resolved;
use crate::convert;
use crate::kafka::client_properties;
use crate::kafka::producer::{Outbound, Producer, Refused, SendError};
use crate::kafka::topic_creation::{NewTopic, TopicCreation};
use crate::kafka::topics::{self, NotCreated};

/// How long an idle poll waits.
const POLL_WAIT: Duration = Duration::from_secs(1);
/// How often delivery reports are taken while records are in flight.
const REPORT_INTERVAL: Duration = Duration::from_millis(5);
/// If the producer takes no more records: the wait before the next attempt. It grows from attempt to attempt.
const FULL_RETRY: Duration = Duration::from_millis(1);
const FULL_RETRY_MAX: Duration = Duration::from_millis(64);
/// The share of the stop time for the closing handshake. The rest is for Kafka.
const CLOSING_SHARE: f64 = 0.5;
/// The share of the stop time for writing the hand-over file, with an upper limit.
const HANDOVER_SHARE: f64 = 0.25;
const HANDOVER_TIME: Duration = Duration::from_secs(2);
/// The longest closing handshake of a failed task.
const FAILED_CLOSE_WITHIN: Duration = Duration::from_millis(500);
/// How long a failed task waits for Kafka to acknowledge what was sent. Connect waits as long when it closes a
/// producer.
const FAILED_FLUSH: Duration = Duration::from_secs(30);

/// The wait before another attempt to create topics.
const CREATE_RETRY: Duration = Duration::from_secs(5);
/// The shortest interval between two log lines about refused timestamps.
const CLOCK_LOG_INTERVAL: Duration = Duration::from_secs(30);

/// All of one task.
pub(super) struct Line {
    id: TaskId,
    source: SourceTask,
    conversion: Conversion,
    destinations: Destinations,
    /// The settings of the client that creates topics.
    admin: Vec<(String, String)>,
    submitted: Submitted,
    /// Where to report records that Kafka has, if the feed is acknowledged.
    commits: Option<Arc<Commits>>,
    producer: Producer,
    /// Whether the producer cannot continue.
    producer_failed: bool,
    offsets: TaskOffsets,
    errors: ErrorPolicy,
    shared: Arc<Shared>,
    /// The batch that is being sent, and how many of its records were sent.
    sending: Option<(Arc<Batch>, usize)>,
    /// Batches that the producer has taken and Kafka has not acknowledged, oldest first. The producer's limits bound
    /// them.
    unacknowledged: VecDeque<Arc<Batch>>,
    /// Records to send again, because Kafka has refused a batch with them. Nothing new is sent before these.
    again: Again,
    clock_logged: Option<Instant>,
    /// Records that Kafka has finally refused. They are logged and counted, and not written to the hand-over file.
    refused: BTreeSet<i64>,
    full_retry: Duration,
}

impl Line {
    /// Returns `None` if the task is stopped before it reads the feed.
    pub(super) async fn open(spec: TaskSpec, shared: Arc<Shared>) -> Result<Option<Line>, String> {
        let TaskSpec { id, config: resolved, worker, offsets, .. } = spec;
        let TaskId { connector, number } = &id;
        // The provider may have lost a key since the configuration was validated.
        let left = check_references(&resolved);
        if !left.is_empty() {
            return Err(sentences(left));
        }
        let Resolved { values: config, provided } = resolved;
        let source_config = Config::parse_provided(&config, &provided).map_err(sentences)?;
        let conversion = Conversion::select(&config, &worker.properties).map_err(|error| error.to_string())?;
        let (properties, policy) = (&worker.properties, &worker.override_policy);
        let settings =
            client_properties::producer_settings(properties, &config, connector, *number, policy).map_err(sentences)?;
        settings.warnings.iter().for_each(|warning| warn!("{warning}"));
        let admin = client_properties::admin_settings(properties, &config, connector, *number, policy)
            .map_err(sentences)?
            .settings;
        let creation =
            if worker.topic_creation { TopicCreation::from_config(&config).map_err(sentences)? } else { None };
        let fixed_topic = source_config.fixed_topic().map(str::to_owned);
        if let (Some(creation), Some(topic)) = (&creation, &fixed_topic) {
            let rules = [creation.rule_for(topic)];
            tokio::select! {
                biased;
                () = shared.stopped() => return Ok(None),
                created = topics::ensure(&admin, &rules) => {
                    created.map_err(|(NotCreated::ForNow(why) | NotCreated::Refused(why))| why)?;
                }
            }
        }
        let stored = offsets::stored(&offsets, connector, &source_config);
        let topic = source_config.topic.clone();
        let partition = (source_config.partition.clone(), !source_config.partition_keys().is_empty());
        let url = source_config.endpoint.redacted().to_owned();
        let mut source =
            SourceTask::start(source_config, stored, &Handle::current()).map_err(|error| error.to_string())?;
        let _ = shared.engine.set((source.metrics(), url));
        // Meanwhile, the session connects and reads the feed into the queue.
        let limit = match &fixed_topic {
            Some(topic) => topics::largest_batch(&admin, topic).await,
            None => None,
        };
        let errors = ErrorPolicy::parse(&config);
        let producer = match Producer::new(&within(settings.settings, limit)) {
            Ok(producer) => producer,
            Err(why) => {
                source.hand_over(Instant::now() + FAILED_CLOSE_WITHIN).await;
                return Err(why);
            }
        };
        let offsets = TaskOffsets::new(
            offsets,
            connector.clone(),
            partition,
            &source,
            worker.offset_flush_interval,
            shared.counters.clone(),
        );
        info!("event=task_started topic={topic}");
        Ok(Some(Line {
            errors,
            submitted: Submitted::new(source.first_sequence()),
            commits: source.commits(),
            id,
            source,
            conversion,
            destinations: Destinations::new(topic, creation),
            admin,
            producer,
            producer_failed: false,
            offsets,
            shared,
            sending: None,
            unacknowledged: VecDeque::new(),
            again: Again::new(),
            clock_logged: None,
            refused: BTreeSet::new(),
            full_retry: FULL_RETRY,
        }))
    }

    /// Runs until the stop or a failure: polls, sends, and takes reports.
    pub(super) async fn run(&mut self) -> Result<(), String> {
        let mut wanted = self.shared.wanted.subscribe();
        loop {
            self.offsets.flush_when_due(&self.source);
            let now = *wanted.borrow_and_update();
            if let Some(by) = now.stop_by {
                return self.drain(by).await;
            }
            self.shared.set_state(if now.paused { TaskState::Paused } else { TaskState::Running });
            let wait = self.wait();
            if now.paused {
                let _ = tokio::time::timeout(wait, wanted.changed()).await;
                self.settle()?;
                continue;
            }
            if self.sending.is_none() {
                self.sending = tokio::select! {
                    polled = self.source.poll(wait) => to_send(polled)?,
                    _ = wanted.changed() => None,
                };
            }
            // Before sending, because acknowledged records make room.
            self.settle()?;
            if self.send()? {
                continue;
            }
            let missing = self.missing_topics();
            if !missing.is_empty() {
                tokio::select! {
                    created = self.create_topics(missing) => created?,
                    _ = wanted.changed() => {}
                }
                continue;
            }
            // The timer alone would be late, because the runtime checks timers only when the session lets it.
            tokio::select! {
                () = tokio::time::sleep(self.full_retry) => {
                    self.full_retry = (self.full_retry * 5 / 4).min(FULL_RETRY_MAX);
                }
                () = self.source.received() => {}
                _ = wanted.changed() => {}
            }
        }
    }

    /// Gives the producer the records to send again, and then those of the batch, as many as it takes. Returns whether
    /// it took all.
    fn send(&mut self) -> Result<bool, String> {
        if !self.send_again()? {
            return Ok(false);
        }
        let Some((batch, sent)) = self.sending.take() else { return Ok(true) };
        for index in sent..batch.len() {
            let Some(record) = batch.get(index) else { break };
            if !self.destinations.is_ready(record.topic()) {
                self.sending = Some((batch, index));
                return Ok(false);
            }
            match self.send_record(&record) {
                Ok(true) => {}
                Ok(false) => {
                    self.sending = Some((batch, index));
                    return Ok(false);
                }
                Err(why) => {
                    self.sending = Some((batch, index));
                    return Err(why);
                }
            }
        }
        self.unacknowledged.push_back(batch);
        Ok(true)
    }

    /// Returns the topics to create before the next record of the batch, and for later ones.
    fn missing_topics(&self) -> Vec<NewTopic> {
        let Some((batch, sent)) = &self.sending else { return Vec::new() };
        let waits = batch.get(*sent).is_some_and(|record| !self.destinations.is_ready(record.topic()));
        if waits { self.destinations.missing(batch) } else { Vec::new() }
    }

    /// Creates topics. If Kafka cannot do that now, waits before the next attempt. Cancel safe.
    async fn create_topics(&mut self, topics: Vec<NewTopic>) -> Result<(), String> {
        match topics::ensure(&self.admin, &topics).await {
            Ok(()) => self.destinations.created(topics),
            Err(NotCreated::Refused(why)) => return Err(why),
            Err(NotCreated::ForNow(why)) => {
                warn!("event=topic_creation_waits reason=\"{}\"", printable(&why));
                tokio::time::sleep(CREATE_RETRY).await;
            }
        }
        Ok(())
    }

    /// Gives the producer records to send again. Returns whether there are none left.
    fn send_again(&mut self) -> Result<bool, String> {
        if self.again.is_empty() {
            return Ok(true);
        }
        if !self.producer.is_idle() {
            return Ok(false);
        }
        let (run, stamp) = self.again.next_run(Instant::now());
        let now_ms = epoch_ms(SystemTime::now());
        for sequence in run {
            let Some((batch, index)) = self.batch_of(sequence) else { continue };
            let Some(record) = batch.get(index) else { continue };
            if !self.convert_and_send(&record, stamp.of(record.timestamp_ms(), now_ms))? {
                self.again.not_taken(sequence);
                break;
            }
        }
        Ok(self.again.is_empty())
    }

    /// Returns the batch of a record that was sent, and the record's index in it.
    fn batch_of(&self, sequence: i64) -> Option<(Arc<Batch>, usize)> {
        let at = self.unacknowledged.partition_point(|batch| batch.last_sequence() < sequence);
        let batch = self.unacknowledged.get(at).or(self.sending.as_ref().map(|(batch, _)| batch))?;
        let index = usize::try_from(sequence - batch.get(0)?.sequence).ok()?;
        Some((batch.clone(), index))
    }

    /// Submits, converts and sends a record. Returns false if the producer is full.
    fn send_record(&mut self, record: &Record<'_>) -> Result<bool, String> {
        self.submitted.submit(record.sequence);
        let sent = self.convert_and_send(record, record.timestamp_ms());
        if !matches!(sent, Ok(true)) {
            self.submitted.take_back();
        }
        sent
    }

    fn convert_and_send(&mut self, record: &Record<'_>, timestamp_ms: i64) -> Result<bool, String> {
        let (sequence, own_topic) = (record.sequence, record.topic());
        let Converted { key, value, headers } = match self.conversion.convert(record) {
            Ok(converted) => converted,
            Err(error) => return self.refuse(sequence, &error, Some(record)).map(|()| true),
        };
        let topic = own_topic.unwrap_or(self.destinations.configured());
        match self.producer.send(Outbound { topic, key, value, headers, timestamp_ms, sequence }) {
            Ok(()) => {
                self.destinations.sent(own_topic, sequence);
                Ok(true)
            }
            Err(SendError::Full) => Ok(false),
            Err(SendError::Refused(why)) => {
                self.refuse(sequence, &StageError::of_kafka(why), Some(record)).map(|()| true)
            }
            Err(SendError::Fatal(why)) => Err(format!("the Kafka producer cannot go on: {why}")),
        }
    }

    /// Takes the producer's reports. Acknowledged records can be committed. Refused ones are sent again, or
    /// `errors.tolerance` decides.
    fn settle(&mut self) -> Result<(), String> {
        let reports = self.producer.reports();
        for (first, last) in reports.delivered {
            self.full_retry = FULL_RETRY;
            self.submitted.ack(first, last);
            self.shared.counters.records_acknowledged.fetch_add((last - first + 1) as u64, Relaxed);
            self.tell_feed(first, last);
            let active = self.destinations.delivered(first, last);
            if !active.is_empty() {
                self.shared.topics.lock().unwrap_or_else(PoisonError::into_inner).extend(active);
            }
        }
        self.shared.counters.in_flight.store(self.submitted.in_flight() as u64, Relaxed);
        if self.submitted.committable() > self.offsets.committable() {
            self.source.left_out(self.submitted.take_skipped(), 0);
            self.source.commit(self.submitted.committable(), SystemTime::now());
            let committable = self.submitted.committable();
            let sending = self.sending.iter().map(|(batch, _)| batch);
            let given = self.unacknowledged.iter().chain(sending).map(AsRef::as_ref);
            let committed = given.take_while(|batch: &&Batch| batch.first_sequence() <= committable);
            self.offsets.commit(committable, committed);
            self.destinations.settled(committable);
            while self.unacknowledged.front().is_some_and(|batch| batch.last_sequence() <= committable) {
                self.unacknowledged.pop_front();
            }
        }
        let mut failure = reports.fatal.map(|why| {
            self.producer_failed = true;
            format!("the Kafka producer cannot go on: {why}")
        });
        for refused in &reports.refused {
            let result = self.refused_by_kafka(refused);
            failure = failure.or(result.err());
        }
        for failed in &reports.failed {
            let result = self.failed(failed);
            failure = failure.or(result.err());
        }
        failure.map_or(Ok(()), Err)
    }

    /// Reports records that Kafka has, or that were skipped, if the feed is acknowledged.
    fn tell_feed(&self, first: i64, last: i64) {
        let Some(commits) = &self.commits else { return };
        for sequence in first..=last {
            let Some((batch, index)) = self.batch_of(sequence) else { continue };
            if let Some(message) = batch.get(index).and_then(|record| record.message()) {
                commits.acknowledged(message, 1);
            }
        }
    }

    /// Handles a record in a batch that Kafka has refused.
    fn refused_by_kafka(&mut self, &Refused { sequence, code }: &Refused) -> Result<(), String> {
        let against = match code {
            RDKafkaErrorCode::InvalidTimestamp => Against::Timestamp,
            _ => Against::Record,
        };
        match self.again.refused(sequence, against, Instant::now()) {
            Verdict::SendAgain => Ok(()),
            Verdict::WaitForTheClock => {
                self.log_clock();
                Ok(())
            }
            Verdict::Refused => {
                let batch = self.batch_of(sequence);
                let record = batch.as_ref().and_then(|(batch, index)| batch.get(*index));
                self.refuse(sequence, &refusal(code), record.as_ref())
            }
        }
    }

    /// Handles a record that Kafka does not have, for a reason that is not in the record. If the task fails, the next
    /// start sends it.
    fn failed(&mut self, &Refused { sequence, code }: &Refused) -> Result<(), String> {
        let batch = self.batch_of(sequence);
        let record = batch.as_ref().and_then(|(batch, index)| batch.get(*index));
        self.count_error(sequence, &refusal(code), record.as_ref())
    }

    /// Warns at intervals while Kafka refuses all timestamps.
    fn log_clock(&mut self) {
        let now = Instant::now();
        if self.clock_logged.is_none_or(|at| now.duration_since(at) >= CLOCK_LOG_INTERVAL) {
            self.clock_logged = Some(now);
            warn!(
                "event=timestamp_refused reason=\"Kafka takes neither the time of receipt nor the time of now as a \
                 record's timestamp: compare this machine's clock with the brokers', and the topic's \
                 message.timestamp.after.max.ms; records wait meanwhile\""
            );
        }
    }

    /// Handles a record that will never be in Kafka.
    fn refuse(&mut self, sequence: i64, error: &StageError, record: Option<&Record<'_>>) -> Result<(), String> {
        self.count_error(sequence, error, record).inspect_err(|_| _ = self.refused.insert(sequence))
    }

    /// Counts and logs a record that is not in Kafka. Skips it if errors are tolerated.
    fn count_error(&mut self, sequence: i64, error: &StageError, record: Option<&Record<'_>>) -> Result<(), String> {
        let StageError { stage, class, why } = error;
        self.shared.counters.record_errors.fetch_add(1, Relaxed);
        if self.errors.log {
            let shown = match record.filter(|_| self.errors.log_messages) {
                Some(record) => format!(", where source record is = {}", convert::shown(record.kind, record.value)),
                None => String::new(),
            };
            let task = &self.id;
            error!("Error encountered in task {task}. Executing stage '{stage}' with class '{class}'{shown}. {why}");
        }
        if !self.errors.tolerate {
            return Err(format!("Tolerance exceeded in error handler: stage {stage}, record {sequence}: {why}"));
        }
        if *stage != KAFKA_PRODUCE {
            self.shared.counters.records_skipped.fetch_add(1, Relaxed);
        }
        self.submitted.skip(sequence);
        self.tell_feed(sequence, sequence);
        Ok(())
    }

    /// Stops: makes the closing handshake, sends everything that was received to Kafka or writes it to the hand-over
    /// file, and writes the offsets.
    async fn drain(&mut self, by: Instant) -> Result<(), String> {
        info!("event=task_stopping");
        let left = || by.saturating_duration_since(Instant::now());
        self.source.stop(left().mul_f64(CLOSING_SHARE));
        let for_handover = left().mul_f64(HANDOVER_SHARE).min(HANDOVER_TIME);
        while left() > for_handover && !self.is_settled() {
            self.settle()?;
            let wait = self.wait().min(left());
            if self.sending.is_none() && !self.source.is_drained() {
                self.sending = to_send(self.source.poll(wait).await)?;
            } else {
                tokio::time::sleep(wait.min(FULL_RETRY)).await;
            }
            if !self.send()? {
                let missing = self.missing_topics();
                // Records whose topic is not created in time go to the hand-over file.
                let in_time = left().saturating_sub(for_handover);
                tokio::time::timeout(in_time, self.create_topics(missing)).await.unwrap_or(Ok(()))?;
            }
        }
        self.settle()?;
        let HandedOver { records, left_behind, .. } = self.hand_over(by).await;
        self.offsets.flush_last(left().max(Duration::from_millis(200))).await;
        info!("event=task_stopped records_left={left_behind} records_handed_over={records}");
        Ok(())
    }

    /// After a failure: waits until Kafka has what the producer has taken, and writes the rest to the hand-over file.
    /// Then the session closes the connection.
    pub(super) async fn abandon(&mut self) {
        let by = Instant::now() + FAILED_FLUSH;
        while !(self.producer_failed || self.producer.is_idle() && self.again.is_empty()) {
            let stop_by = self.shared.wanted.borrow().stop_by;
            if Instant::now() >= stop_by.map_or(by, |stop_by| stop_by.min(by)) {
                break;
            }
            tokio::time::sleep(REPORT_INTERVAL).await;
            // A further refusal is counted, and does not matter otherwise.
            let _ = self.settle();
            let _ = self.send_again();
        }
        self.hand_over(Instant::now() + FAILED_CLOSE_WITHIN).await;
        self.offsets.flush_last(Duration::from_secs(1)).await;
    }

    /// Hands over everything that was received and that Kafka has not acknowledged.
    async fn hand_over(&mut self, by: Instant) -> HandedOver {
        self.producer.give_up();
        let _ = self.settle();
        let sent = self.sending.iter().flat_map(|&(ref batch, sent)| batch.iter().take(sent));
        let unsent = self.sending.iter().flat_map(|&(ref batch, sent)| batch.iter().skip(sent));
        let submitted = self.unacknowledged.iter().flat_map(|batch| batch.iter()).chain(sent);
        let open = submitted.filter(|record| self.submitted.is_open(record.sequence));
        if !self.refused.is_empty() {
            self.source.metrics().count(Counter::RecordsSkipped, self.refused.len() as u64);
            warn!("event=records_refused records={}", self.refused.len());
        }
        self.source.hand_over_with(open.chain(unsent), &self.refused, by).await
    }

    /// Whether the session has ended, and Kafka has answered for everything that it received.
    fn is_settled(&self) -> bool {
        self.source.is_drained() && self.sending.is_none() && self.submitted.in_flight() == 0
    }

    /// Returns how long the next poll may wait.
    fn wait(&self) -> Duration {
        if self.submitted.in_flight() > 0 { REPORT_INTERVAL } else { POLL_WAIT }
    }
}

/// Returns the producer's settings with batches that the topic accepts. If a batch is too large, Java's producer splits
/// it, but librdkafka fails all its records.
fn within(mut settings: Vec<(String, String)>, limit: Option<u64>) -> Vec<(String, String)> {
    for (name, value) in &mut settings {
        if name == "batch.size"
            && let (Some(limit), Ok(size)) = (limit, value.parse::<u64>())
        {
            *value = size.min(limit).to_string();
        }
    }
    settings
}

fn refusal(code: RDKafkaErrorCode) -> StageError {
    StageError::of_kafka(KafkaError::MessageProduction(code).to_string())
}

/// Returns the polled batch, of which nothing is sent yet.
fn to_send(polled: Result<Option<Batch>, EngineError>) -> Result<Option<(Arc<Batch>, usize)>, String> {
    polled.map(|batch| batch.map(|batch| (Arc::new(batch), 0))).map_err(|error| error.to_string())
}

fn sentences(errors: Vec<impl std::fmt::Display>) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
