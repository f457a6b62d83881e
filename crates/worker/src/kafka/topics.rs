//! A connector's topics before their first record: creating them (KIP-158), and how large a batch they accept.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic as AdminTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::info;

use crate::kafka::topic_creation::NewTopic;

/// How long to wait for Kafka when a task starts.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long to wait for the topic's limit. A longer wait would delay the first records.
const LIMIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns the topic's `max.message.bytes`, the limit of a batch. `None` if Kafka does not say: the topic may not exist
/// yet, or the user may not be allowed to describe it.
pub async fn largest_batch(admin_settings: &[(String, String)], topic: &str) -> Option<u64> {
    let mut config = ClientConfig::new();
    config.extend(admin_settings.iter().cloned());
    let admin: AdminClient<DefaultClientContext> = config.create().ok()?;
    let options = AdminOptions::new().request_timeout(Some(LIMIT_TIMEOUT));
    let described = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options).await.ok()?;
    let entries = described.into_iter().next()?.ok()?.entries;
    entries.into_iter().find(|entry| entry.name == "max.message.bytes")?.value?.parse().ok()
}

/// Why topics were not created.
#[derive(Debug)]
pub enum NotCreated {
    /// Kafka is not reachable or busy. Another attempt can succeed.
    ForNow(String),
    /// Connect's sentence, with the reason.
    Refused(String),
}

impl NotCreated {
    fn new(topic: &str, code: Option<RDKafkaErrorCode>, why: &str) -> NotCreated {
        if code.is_some_and(is_passing) {
            return NotCreated::ForNow(format!("topic {topic} cannot be created now: {why}"));
        }
        NotCreated::Refused(format!(
            "Task failed to create new topic {topic}: {why}. Ensure that the task is authorized to create topics or that the \
             topic exists and restart the task"
        ))
    }
}

/// Whether another attempt can succeed, as with `RetriableException` in Kafka's Java client.
fn is_passing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{
        AllBrokersDown, BrokerTransportFailure, CoordinatorLoadInProgress, NotController, OperationTimedOut,
        RequestTimedOut, ThrottlingQuotaExceeded,
    };
    matches!(
        code,
        AllBrokersDown
            | BrokerTransportFailure
            | CoordinatorLoadInProgress
            | NotController
            | OperationTimedOut
            | RequestTimedOut
            | ThrottlingQuotaExceeded
    )
}

/// Creates the topics that do not exist.
pub async fn ensure(admin_settings: &[(String, String)], topics: &[NewTopic]) -> Result<(), NotCreated> {
    let Some(first) = topics.first() else { return Ok(()) };
    let failed = |error: KafkaError| NotCreated::new(&first.name, error.rdkafka_error_code(), &error.to_string());
    let mut config = ClientConfig::new();
    config.extend(admin_settings.iter().cloned());
    let admin: AdminClient<DefaultClientContext> = config.create().map_err(failed)?;
    let wanted: Vec<AdminTopic<'_>> = topics.iter().map(admin_topic).collect();
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT));
    let results = admin.create_topics(&wanted, &options).await.map_err(failed)?;
    for result in results {
        match result {
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(NotCreated::new(&topic, Some(code), &code.to_string())),
            Ok(name) => {
                let partitions = topics.iter().find(|topic| topic.name == name).map_or(-1, |topic| topic.partitions);
                info!("event=topic_created topic={name} partitions={partitions}");
            }
        }
    }
    Ok(())
}

fn admin_topic(topic: &NewTopic) -> AdminTopic<'_> {
    let replication = TopicReplication::Fixed(topic.replication_factor.into());
    let new = AdminTopic::new(&topic.name, topic.partitions, replication);
    topic.configs.iter().fold(new, |new, (name, value)| new.set(name, value))
}
