//! Options of a Kafka Connect worker that have nothing to act on here.

/// Plugin loading, JMX, and what only a distributed worker reads.
const NAMES: &[&str] = &[
    "plugin.path",
    "plugin.discovery",
    "rest.extension.classes",
    "metric.reporters",
    "auto.include.jmx.reporter",
    "key.converter.plugin.version",
    "value.converter.plugin.version",
    "header.converter.plugin.version",
    "internal.key.converter",
    "internal.value.converter",
    "group.id",
    "offset.storage.topic",
    "offset.storage.partitions",
    "offset.storage.replication.factor",
    "config.storage.topic",
    "config.storage.replication.factor",
    "status.storage.topic",
    "status.storage.partitions",
    "status.storage.replication.factor",
    "exactly.once.source.support",
    "scheduled.rebalance.max.delay.ms",
    "rebalance.timeout.ms",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "worker.sync.timeout.ms",
    "worker.unsync.backoff.ms",
    "connect.protocol",
];

const PREFIXES: &[&str] =
    &["metrics.", "inter.worker.", "consumer.", "internal.key.converter.", "internal.value.converter."];

pub(super) fn is_ignored(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_jvm_are_ignored_and_options_of_the_clients_are_not() {
        for name in ["plugin.path", "metrics.recording.level", "consumer.max.poll.records", "group.id"] {
            assert!(is_ignored(name), "{name}");
        }
        for name in ["producer.linger.ms", "sasl.jaas.config", "offset.flush.interval.ms", "key.converter"] {
            assert!(!is_ignored(name), "{name}");
        }
    }
}
