//! A connector's topic before its first record: creating it (KIP-158), and how large a batch it accepts.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic as AdminTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use tracing::info;

use crate::topic_creation::NewTopic;

/// Kafka may be slow or away when the task starts.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Knowing the topic's limit is worth no longer wait, in which nothing is read from the feed.
const LIMIT_TIMEOUT: Duration = Duration::from_secs(2);

/// The topic's `max.message.bytes`, the limit of a batch; `None` if Kafka does not say: the topic may not exist yet, or
/// the user may not describe it.
pub async fn largest_batch(admin_settings: &[(String, String)], topic: &str) -> Option<u64> {
    let mut config = ClientConfig::new();
    config.extend(admin_settings.iter().cloned());
    let admin: AdminClient<DefaultClientContext> = config.create().ok()?;
    let options = AdminOptions::new().request_timeout(Some(LIMIT_TIMEOUT));
    let described = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options).await.ok()?;
    let entries = described.into_iter().next()?.ok()?.entries;
    entries.into_iter().find(|entry| entry.name == "max.message.bytes")?.value?.parse().ok()
}

/// Creates the topic unless it is there.
///
/// # Errors
/// Connect's sentence, with the reason.
pub async fn ensure(admin_settings: &[(String, String)], topic: &NewTopic) -> Result<(), String> {
    let failed = |why: String| {
        format!(
            "Task failed to create new topic {}: {why}. Ensure that the task is authorized to create topics or that the topic \
             exists and restart the task",
            topic.name
        )
    };
    let mut config = ClientConfig::new();
    config.extend(admin_settings.iter().cloned());
    let admin: AdminClient<DefaultClientContext> = config.create().map_err(|error| failed(error.to_string()))?;
    let replication = TopicReplication::Fixed(topic.replication_factor.into());
    let mut wanted = AdminTopic::new(&topic.name, topic.partitions, replication);
    for (name, value) in &topic.configs {
        wanted = wanted.set(name, value);
    }
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT));
    let results = admin.create_topics([&wanted], &options).await.map_err(|error| failed(error.to_string()))?;
    match results.into_iter().next() {
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
        Some(Err((_, code))) => Err(failed(code.to_string())),
        Some(Ok(_)) | None => {
            info!("event=topic_created topic={} partitions={}", topic.name, topic.partitions);
            Ok(())
        }
    }
}
