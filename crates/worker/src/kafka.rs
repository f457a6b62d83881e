//! Everything that uses Kafka, through librdkafka.

pub mod client_properties;
pub mod cluster;
pub mod override_policy;
pub mod producer;
pub mod topic_creation;
pub mod topics;
