//! What came to Kafka: how much, which numbers, how late.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use connect_websocket_e2e::{Kafka, Numbers};
use futures_executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use serde::Deserialize;

use crate::sample::Outcome;

const REQUEST_WITHIN: Duration = Duration::from_secs(20);
const READ_WITHIN: Duration = Duration::from_secs(300);

/// A topic of one partition that is made for one measurement and deleted after it.
pub(crate) struct Topic {
    pub name: String,
    pub bootstrap: String,
    consumer: BaseConsumer,
}

#[derive(Deserialize)]
struct Sent {
    n: u64,
    /// Microseconds since 1970.
    ts: Option<u64>,
}

impl Topic {
    pub(crate) fn create(kafka: &Kafka, name: &str) -> Outcome<Topic> {
        kafka.create_topic(name, 1);
        let bootstrap = kafka.bootstrap();
        Ok(Topic { name: name.to_owned(), consumer: consumer(&bootstrap)?, bootstrap })
    }

    /// How many records it holds.
    pub(crate) fn count(&self) -> Outcome<u64> {
        let (low, high) = self
            .consumer
            .fetch_watermarks(&self.name, 0, REQUEST_WITHIN)
            .map_err(|e| format!("the end of topic {} is not known: {e}", self.name))?;
        Ok(u64::try_from(high - low).unwrap_or_default())
    }

    /// The numbers that it holds now.
    pub(crate) fn read_all(&self) -> Outcome<Numbers> {
        let mut numbers = Numbers::default();
        self.assign(&self.consumer)?;
        let start = Instant::now();
        while start.elapsed() < READ_WITHIN {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => numbers.add(parse(message.payload())?.n),
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(numbers),
                Some(Err(e)) => return Err(format!("topic {} cannot be read: {e}", self.name)),
                None => {}
            }
        }
        Err(format!("the end of topic {} was not reached within {READ_WITHIN:?}", self.name))
    }

    /// Follows it from now on.
    pub(crate) fn follow(&self) -> Outcome<Follower> {
        let consumer = consumer(&self.bootstrap)?;
        self.assign(&consumer)?;
        let shared = Arc::new(Progress::default());
        let progress = shared.clone();
        let thread = std::thread::spawn(move || {
            let mut arrivals = Arrivals::default();
            while !progress.stop.load(Ordering::Relaxed) {
                match consumer.poll(Duration::from_millis(50)) {
                    Some(Ok(message)) => arrivals.add(message.payload())?,
                    Some(Err(KafkaError::PartitionEOF(_))) | None => {}
                    Some(Err(e)) => return Err(format!("the topic cannot be followed: {e}")),
                }
                progress.count.store(arrivals.numbers.received(), Ordering::Relaxed);
                progress.next.store(arrivals.numbers.highest().map_or(0, |n| n + 1), Ordering::Relaxed);
            }
            Ok(arrivals)
        });
        Ok(Follower { shared, thread })
    }

    fn assign(&self, consumer: &BaseConsumer) -> Outcome<()> {
        let mut assignment = TopicPartitionList::new();
        let assigned = assignment
            .add_partition_offset(&self.name, 0, Offset::Beginning)
            .and_then(|()| consumer.assign(&assignment));
        assigned.map_err(|e| format!("topic {} cannot be read: {e}", self.name))
    }
}

impl Drop for Topic {
    /// Deleted at once, so that no run fills the disk for the next.
    fn drop(&mut self) {
        let admin: Result<AdminClient<DefaultClientContext>, _> =
            ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create();
        if let Ok(admin) = admin {
            // Nothing depends on it.
            block_on(admin.delete_topics(&[&self.name], &AdminOptions::new())).ok();
        }
    }
}

/// Reads a topic on a thread of its own.
pub(crate) struct Follower {
    shared: Arc<Progress>,
    thread: JoinHandle<Outcome<Arrivals>>,
}

#[derive(Default)]
struct Progress {
    count: AtomicU64,
    next: AtomicU64,
    stop: AtomicBool,
}

/// What a [`Follower`] saw.
#[derive(Default)]
pub(crate) struct Arrivals {
    pub numbers: Numbers,
    /// Number and microseconds from sending to arrival, of the messages with a time.
    latencies: Vec<u64>,
}

impl Follower {
    /// Records so far.
    pub(crate) fn count(&self) -> u64 {
        self.shared.count.load(Ordering::Relaxed)
    }

    /// One more than the highest number so far.
    pub(crate) fn next(&self) -> u64 {
        self.shared.next.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(self) -> Outcome<Arrivals> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the thread that follows the topic panicked".to_owned())?
    }
}

impl Arrivals {
    fn add(&mut self, payload: Option<&[u8]>) -> Outcome<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        let sent = parse(payload)?;
        self.numbers.add(sent.n);
        if let Some(ts) = sent.ts {
            self.latencies.push(u64::try_from(now).unwrap_or_default().saturating_sub(ts));
        }
        Ok(())
    }

    /// Latencies in ascending order, microseconds.
    pub(crate) fn sorted_latencies(&mut self) -> &[u64] {
        self.latencies.sort_unstable();
        &self.latencies
    }
}

fn parse(payload: Option<&[u8]>) -> Outcome<Sent> {
    let payload = payload.unwrap_or_default();
    serde_json::from_slice(payload).map_err(|e| {
        let start = String::from_utf8_lossy(&payload[..payload.len().min(80)]).into_owned();
        format!("a record in Kafka is not the message that was sent ({e}): {start}")
    })
}

fn consumer(bootstrap: &str) -> Outcome<BaseConsumer> {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        // librdkafka wants a group even where none is used.
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        // What a reader in a hurry sets: answers come with the first byte.
        .set("fetch.min.bytes", "1")
        .set("fetch.error.backoff.ms", "10")
        .set("log_level", "2")
        .create()
        .map_err(|e| format!("no Kafka consumer: {e}"))
}
