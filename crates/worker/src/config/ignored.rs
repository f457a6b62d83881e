//! Options of a Kafka Connect worker that have no effect here.

/// Options for plugin loading and JMX, and those of a distributed worker only.
const NAMES: &[&str] = &[
    "plugin.path",
    "plugin.discovery",
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

/// The prefixes of options about access control. An unknown one would protect nothing: it is misspelt, or for another
/// worker.
const GUARDED: &[&str] = &[
    "access.control.",
    "admin.listeners.",
    "authentication.",
    "authorization.",
    "listeners.",
    "rest.",
    "security.providers",
];
/// Options that are not in the table. They are read if there is such a listener.
const LISTENERS_TLS: &[&str] = &["listeners.https.", "admin.listeners.https."];

/// Whether an unknown option is refused.
pub(super) fn is_refused(name: &str) -> bool {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    begins(GUARDED) && !begins(LISTENERS_TLS)
}

pub(super) fn is_ignored(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_protect_nothing_is_refused() {
        for name in ["rest.port", "rest.basic.auth.user.file", "authentication.method", "listeners.security"] {
            assert!(is_refused(name), "{name}");
        }
        for name in ["listeners.https.ssl.key.password", "producer.linger.ms", "restart"] {
            assert!(!is_refused(name), "{name}");
        }
    }

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
