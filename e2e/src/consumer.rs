//! Reads topics from their beginning.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::numbers::Numbers;
use crate::process::wait_until;

const REQUEST_WITHIN: Duration = Duration::from_secs(20);

/// Reads topics of one cluster; no consumer group is involved.
#[derive(Debug, Clone)]
pub struct Consumer {
    config: ClientConfig,
}

/// A record as it lies in Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Milliseconds since 1970.
    pub timestamp: Option<i64>,
    /// Name and value, in the order of the record.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub partition: i32,
    /// The Kafka offset.
    pub offset: i64,
}

impl Record {
    /// The value as text; a tombstone is empty.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }
}

impl Consumer {
    /// Reads from the cluster behind `bootstrap` (`host:port`), without TLS or SASL.
    pub fn new(bootstrap: &str) -> Consumer {
        Consumer::with_config(ClientConfig::new().set("bootstrap.servers", bootstrap).clone())
    }

    /// Reads with librdkafka settings of your own; `bootstrap.servers` must be among them.
    pub fn with_config(mut config: ClientConfig) -> Consumer {
        config
            // librdkafka wants a group even where none is used.
            .set("group.id", "e2e")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false")
            // A test may stop the broker while it reads.
            .set("reconnect.backoff.max.ms", "500")
            .set("topic.metadata.refresh.interval.ms", "1000")
            .set("log_level", "2");
        Consumer { config }
    }

    /// The first `count` records of `topic`, waiting for them and for the topic to exist.
    ///
    /// # Panics
    /// If fewer have come after `within`.
    pub fn read_until(&self, topic: &str, count: usize, within: Duration) -> Vec<Record> {
        let mut records = Vec::new();
        let end = self.read(topic, within, false, |message| {
            records.push(record(message));
            if records.len() >= count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(end, "{} of {count} records came to topic {topic} within {within:?}", records.len());
        records
    }

    /// Everything that lies in `topic` now.
    ///
    /// # Panics
    /// If the end isn't reached after `within`.
    pub fn read_all(&self, topic: &str, within: Duration) -> Vec<Record> {
        let mut records = Vec::new();
        let end = self.read(topic, within, true, |message| {
            records.push(record(message));
            ControlFlow::Continue(())
        });
        assert!(end, "the end of topic {topic} was not reached within {within:?}, {} records came", records.len());
        records
    }

    /// Follows `topic` until `count` numbered messages (JSON with `n`) have come.
    ///
    /// # Panics
    /// If fewer have come after `within`, or a message has no number.
    pub fn numbers_until(&self, topic: &str, count: u64, within: Duration) -> Numbers {
        let mut numbers = Numbers::default();
        let end = self.read(topic, within, false, |message| {
            numbers.add_json(message.payload().unwrap_or_default());
            if numbers.received() >= count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(end, "{} of {count} numbered messages came to topic {topic} within {within:?}", numbers.received());
        numbers
    }

    /// Follows `topic` until the number `n` has come.
    ///
    /// # Panics
    /// If it hasn't after `within`, or a message has no number.
    pub fn numbers_until_number(&self, topic: &str, n: u64, within: Duration) -> Numbers {
        let mut numbers = Numbers::default();
        let end = self.read(topic, within, false, |message| {
            numbers.add_json(message.payload().unwrap_or_default());
            if numbers.contains(n) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(end, "number {n} did not come to topic {topic} within {within:?}; {}", numbers.check(0..=n));
        numbers
    }

    /// The numbered messages that lie in `topic` now.
    ///
    /// # Panics
    /// If the end isn't reached after `within`, or a message has no number.
    pub fn numbers_now(&self, topic: &str, within: Duration) -> Numbers {
        let mut numbers = Numbers::default();
        let end = self.read(topic, within, true, |message| {
            numbers.add_json(message.payload().unwrap_or_default());
            ControlFlow::Continue(())
        });
        assert!(
            end,
            "the end of topic {topic} was not reached within {within:?}, {} messages came",
            numbers.received()
        );
        numbers
    }

    /// How many Kafka offsets all partitions of `topic` hold; 0 while it does not exist.
    pub fn count(&self, topic: &str) -> u64 {
        let consumer = self.client();
        let Some(partitions) = partitions(&consumer, topic) else {
            return 0;
        };
        let held = |partition| {
            // A partition that was created just now has no leader for a moment.
            let (low, high) = wait_until(&format!("the end of {topic}-{partition}"), REQUEST_WITHIN, || {
                consumer.fetch_watermarks(topic, partition, REQUEST_WITHIN).ok()
            });
            u64::try_from(high - low).unwrap_or_default()
        };
        partitions.into_iter().map(held).sum()
    }

    /// Waits until `topic` holds at least `count` records.
    ///
    /// # Panics
    /// If it doesn't after `within`.
    pub fn wait_count(&self, topic: &str, count: u64, within: Duration) {
        wait_until(&format!("{count} records in topic {topic}"), within, || (self.count(topic) >= count).then_some(()));
    }

    /// Hands each record to `each` until that breaks off or, if `to_end`, until the present end of every partition.
    /// `false` when `within` has passed first.
    fn read(
        &self,
        topic: &str,
        within: Duration,
        to_end: bool,
        mut each: impl FnMut(&BorrowedMessage<'_>) -> ControlFlow<()>,
    ) -> bool {
        let start = Instant::now();
        let consumer = self.client();
        let partitions = wait_until(&format!("topic {topic} to exist"), within, || partitions(&consumer, topic));
        let mut assignment = TopicPartitionList::new();
        for &partition in &partitions {
            assignment
                .add_partition_offset(topic, partition, Offset::Beginning)
                .unwrap_or_else(|e| panic!("{topic}-{partition} cannot be read from its beginning: {e}"));
        }
        consumer.assign(&assignment).unwrap_or_else(|e| panic!("topic {topic} cannot be assigned: {e}"));

        let mut open = partitions;
        while start.elapsed() < within {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    if each(&message).is_break() {
                        return true;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) if to_end => {
                    open.retain(|&p| p != partition);
                    if open.is_empty() {
                        return true;
                    }
                }
                // The broker may be down for a while in a test; the deadline decides.
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OffsetOutOfRange))) => {
                    panic!("topic {topic} lost its beginning while it was read")
                }
                Some(Err(_)) | None => {}
            }
        }
        false
    }

    fn client(&self) -> BaseConsumer {
        self.config.create().unwrap_or_else(|e| panic!("no Kafka consumer: {e}"))
    }
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> Option<Vec<i32>> {
    let metadata = consumer.fetch_metadata(Some(topic), REQUEST_WITHIN).ok()?;
    let partitions: Vec<i32> = metadata.topics().first()?.partitions().iter().map(|p| p.id()).collect();
    (!partitions.is_empty()).then_some(partitions)
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    Record {
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        timestamp: message.timestamp().to_millis(),
        headers: message
            .headers()
            .map(|headers| headers.iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect())
            .unwrap_or_default(),
        partition: message.partition(),
        offset: message.offset(),
    }
}
