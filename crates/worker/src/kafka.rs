//! What the control plane asks of Kafka: which cluster it is.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::config::WorkerConfig;

/// As long as Connect's admin client waits (`default.api.timeout.ms`).
const TIMEOUT: Duration = Duration::from_secs(60);

/// The id of the Kafka cluster that the worker's properties lead to. Blocks until Kafka answers.
///
/// # Errors
/// Connect's sentence when Kafka cannot be reached, with the remedy that it names.
pub fn kafka_cluster_id(worker: &WorkerConfig) -> Result<String, String> {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &worker.bootstrap_servers);
    let failed = |why: String| {
        format!(
            "Failed to connect to and describe Kafka cluster. Check worker's broker connection and security properties. \
             (bootstrap.servers = {}; {why})",
            worker.bootstrap_servers
        )
    };
    let consumer: BaseConsumer = client.create().map_err(|error| failed(error.to_string()))?;
    let id = consumer.client().fetch_cluster_id(TIMEOUT);
    id.ok_or_else(|| failed(format!("no answer within {} seconds", TIMEOUT.as_secs())))
}
