//! Reads the records from the topic, on its own thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::ledger::Ledger;

/// How many records of each second are shown.
const SAMPLES: usize = 5;
/// The most characters of a record that are shown.
const SHOWN_CHARS: usize = 140;
const METADATA_TIMEOUT: Duration = Duration::from_secs(20);

/// What was read so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) records: u64,
    pub(super) ledger: Ledger,
    /// The first records since the last call.
    pub(super) samples: Vec<String>,
}

pub(super) struct Consumer {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Consumer {
    /// Reads from the present end of the topic, which is created if it does not exist. With `numbered`, each record
    /// must contain the feed's number.
    pub(super) fn start(bootstrap: &str, topic: &str, numbered: bool) -> Result<Consumer, String> {
        let failed = |what: &str, error: rdkafka::error::KafkaError| {
            format!("the topic {topic} cannot be read: {what}: {error}")
        };
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", "connect-websocket-demo")
            .set("enable.auto.commit", "false")
            .set("allow.auto.create.topics", "true")
            .set("fetch.wait.max.ms", "100")
            .set_log_level(RDKafkaLogLevel::Critical)
            .create()
            .map_err(|error| failed("client", error))?;
        let by = Instant::now() + METADATA_TIMEOUT;
        let partitions = loop {
            let metadata =
                consumer.fetch_metadata(Some(topic), METADATA_TIMEOUT).map_err(|error| failed("metadata", error))?;
            let found: Vec<i32> =
                metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|p| p.id()).collect();
            if !found.is_empty() {
                break found;
            }
            if Instant::now() >= by {
                return Err(format!("the topic {topic} does not exist and Kafka does not create it; create it first"));
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let mut assignment = TopicPartitionList::new();
        for partition in partitions {
            // A new partition has no leader for a moment.
            let end = loop {
                match consumer.fetch_watermarks(topic, partition, METADATA_TIMEOUT) {
                    Ok((_, end)) => break end,
                    Err(error) if Instant::now() >= by => return Err(failed("offsets", error)),
                    Err(_) => std::thread::sleep(Duration::from_millis(50)),
                }
            };
            assignment
                .add_partition_offset(topic, partition, Offset::Offset(end))
                .map_err(|error| failed("assignment", error))?;
        }
        consumer.assign(&assignment).map_err(|error| failed("assignment", error))?;
        let (seen, stop) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let (on_thread, stopped) = (seen.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("demo-consumer".to_owned())
            .spawn(move || read(&consumer, &on_thread, &stopped, numbered))
            .map_err(|error| format!("no thread can be started for the consumer: {error}"))?;
        Ok(Consumer { seen, stop, thread })
    }

    /// Returns what was read. The samples are returned only once.
    pub(super) fn seen(&self) -> Seen {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let samples = std::mem::take(&mut seen.samples);
        Seen { samples, ..seen.clone() }
    }

    /// Waits until enough records were read, for `limit` at most.
    pub(super) async fn wait(&self, limit: Duration, enough: impl Fn(&Seen) -> bool) {
        let by = Instant::now() + limit;
        while Instant::now() < by && !enough(&self.seen()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read(consumer: &BaseConsumer, seen: &Mutex<Seen>, stop: &AtomicBool, numbered: bool) {
    while !stop.load(Ordering::Relaxed) {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let value = String::from_utf8_lossy(message.payload().unwrap_or_default());
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.records += 1;
        if seen.samples.len() < SAMPLES {
            seen.samples.push(value.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS).collect());
        }
        if numbered && let Some(n) = number(&value) {
            seen.ledger.record(n);
        }
    }
}

/// Returns the number that the built-in feed gives each trade.
fn number(value: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(value).ok()?.get("n")?.as_u64()
}
