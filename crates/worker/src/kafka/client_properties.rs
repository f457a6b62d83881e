//! Translates Java client properties, as Connect users write them, to librdkafka's settings.
//!
//! Every property is translated, is an error, or is named in a warning. None is dropped silently. A property about
//! security that is not supported is an error.

use std::fmt;

use indexmap::IndexMap;

use crate::kafka::override_policy::OverridePolicy;
use connect_websocket_engine::config_def::ConfigError;
use translation::Translation;

mod clients;
#[cfg(feature = "kafka-security")]
mod encrypted_key;
#[cfg(test)]
mod fixtures;
pub(crate) mod jaas;
#[cfg(feature = "kafka-security")]
mod keystore;
#[cfg(feature = "kafka-security")]
mod sasl;
#[cfg(test)]
mod tests;
#[cfg(feature = "kafka-security")]
mod tls;
mod translation;

/// What a client is created with.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSettings {
    /// librdkafka's settings, each name once. Some values are secrets.
    pub settings: Vec<(String, String)>,
    /// A sentence for each property without effect. They contain no secret.
    pub warnings: Vec<String>,
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<_> = self
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), if is_secret(name) { "[hidden]" } else { value.as_str() }))
            .collect();
        f.debug_struct("ClientSettings").field("settings", &shown).field("warnings", &self.warnings).finish()
    }
}

fn is_secret(setting: &str) -> bool {
    setting.contains("password") || setting.ends_with(".pem") || setting == "sasl.oauthbearer.config"
}

/// Returns the settings of a task's producer. In rising priority: Connect's own values, the worker's `producer.*`, the
/// connector's `producer.override.*` as far as `policy` allows. The client id is
/// `connector-producer-{connector}-{task}`.
///
/// All errors are reported at once. Reads the key and trust stores that the properties name.
pub fn producer_settings(
    worker: &IndexMap<String, String>,
    connector_config: &IndexMap<String, String>,
    connector: &str,
    task: u32,
    policy: &OverridePolicy,
) -> Result<ClientSettings, Vec<ConfigError>> {
    let client_id = format!("connector-producer-{connector}-{task}");
    let mut t = start(worker, "producer.", &client_id);
    layer(&mut t, worker, "producer.");
    overrides(&mut t, connector_config, "producer.override.", policy);
    if worker.contains_key("security.protocol") && !t.properties.contains_key("security.protocol") {
        let note = "security.protocol does not reach the producers of tasks: set producer.security.protocol";
        t.warnings.push(note.to_owned());
    }
    clients::producer(&mut t);
    finish(t)
}

/// Returns the settings of the admin client that creates a task's topics: all client properties of the worker without a
/// prefix, then the worker's `admin.*`, then the connector's `admin.override.*`. The client id is
/// `connector-adminclient-{connector}-{task}`. Errors: the same as for [`producer_settings`].
pub fn admin_settings(
    worker: &IndexMap<String, String>,
    connector_config: &IndexMap<String, String>,
    connector: &str,
    task: u32,
    policy: &OverridePolicy,
) -> Result<ClientSettings, Vec<ConfigError>> {
    let mut t = start(worker, "", &format!("connector-adminclient-{connector}-{task}"));
    worker_layer(&mut t, worker);
    layer(&mut t, worker, "admin.");
    overrides(&mut t, connector_config, "admin.override.", policy);
    finish(t)
}

/// Returns the settings of the worker's own admin client, which asks for the cluster id at the start: all client
/// properties of the worker without a prefix. Errors: the same as for [`producer_settings`].
pub fn worker_admin_settings(worker: &IndexMap<String, String>) -> Result<ClientSettings, Vec<ConfigError>> {
    let mut t = start(worker, "", "connect-websocket-worker");
    worker_layer(&mut t, worker);
    finish(t)
}

fn start(worker: &IndexMap<String, String>, prefix: &'static str, client_id: &str) -> Translation {
    let mut t = Translation { prefix, ..Translation::default() };
    let servers = worker.get("bootstrap.servers").map(|servers| ("bootstrap.servers", servers.as_str()));
    t.layer("", servers.into_iter());
    t.layer("", [("client.id", client_id)].into_iter());
    t
}

fn layer(t: &mut Translation, config: &IndexMap<String, String>, prefix: &str) {
    let stripped = config.iter().filter_map(|(option, value)| Some((option.strip_prefix(prefix)?, value.as_str())));
    t.layer(prefix, stripped);
}

/// Returns the client properties among the worker's properties without a prefix.
fn worker_layer(t: &mut Translation, worker: &IndexMap<String, String>) {
    let known = |option: &str| {
        option.starts_with("ssl.")
            || option.starts_with("sasl.")
            || option == "security.protocol"
            || WORKER_CLIENT_PROPERTIES.contains(&option)
    };
    let own = worker.iter().map(|(option, value)| (option.as_str(), value.as_str()));
    t.layer("", own.filter(|(option, _)| known(option)));
}

fn overrides(t: &mut Translation, connector_config: &IndexMap<String, String>, prefix: &str, policy: &OverridePolicy) {
    let refused = connector_config.keys().filter_map(|option| {
        let why = policy.check(option.strip_prefix(prefix)?).err()?;
        Some(ConfigError::new(option, why))
    });
    t.errors.extend(refused);
    layer(t, connector_config, prefix);
}

fn finish(mut t: Translation) -> Result<ClientSettings, Vec<ConfigError>> {
    clients::common(&mut t);
    security(&mut t);
    for (name, property) in t.take_prefix("") {
        let option = property.option;
        if JAVA_SECURITY.contains(&name.as_str()) {
            let why = "this worker runs no Java and would not obey it; remove it";
            t.errors.push(ConfigError::invalid(&option, &property.value, why));
        } else if JAVA_ONLY.iter().any(|known| name == *known || known.ends_with('.') && name.starts_with(known)) {
            t.warnings.push(format!("{option} has no effect: this worker runs no Java and has no equivalent"));
        } else if name != "ssl.client.auth" {
            t.warnings.push(format!("{option} has no effect: {name} is unknown"));
        }
    }
    if t.errors.is_empty() { Ok(ClientSettings { settings: t.settings, warnings: t.warnings }) } else { Err(t.errors) }
}

fn security(t: &mut Translation) {
    let given = t.properties.contains_key("security.protocol");
    let protocol = t.take_word("security.protocol", &["PLAINTEXT", "SASL_PLAINTEXT", "SASL_SSL", "SSL"]);
    let protocol = match protocol {
        Some(property) => property.value,
        // An unknown protocol is an error already. Its other properties are not checked.
        None if given => {
            t.take_prefix("ssl.");
            t.take_prefix("sasl.");
            return;
        }
        None => "PLAINTEXT".to_owned(),
    };
    t.set("security.protocol", protocol.to_ascii_lowercase());
    if !protocol.ends_with("SSL") {
        unused(t, "ssl.", &protocol);
    }
    if !protocol.starts_with("SASL_") {
        unused(t, "sasl.", &protocol);
    }
    #[cfg(feature = "kafka-security")]
    {
        if protocol.ends_with("SSL") {
            tls::translate(t);
        }
        if protocol.starts_with("SASL_") {
            sasl::translate(t);
        }
    }
    #[cfg(not(feature = "kafka-security"))]
    if protocol != "PLAINTEXT" {
        let option = format!("{}security.protocol", t.prefix);
        let why = "this build, for the demo, has no TLS or SASL to Kafka; build the worker with make build";
        t.errors.push(ConfigError::invalid(&option, &protocol, why));
    }
}

/// Removes properties that this protocol does not use, as Java ignores them. There is no warning about the worker's own
/// `ssl.*`, because they can be for its REST listener.
fn unused(t: &mut Translation, prefix: &str, protocol: &str) {
    for (name, property) in t.take_prefix(prefix) {
        if property.option != name {
            t.warnings.push(format!("{} has no effect while security.protocol is {protocol}", property.option));
        }
    }
}

/// Properties without a prefix in the worker's file that are also for its clients (in addition to `ssl.*` and
/// `sasl.*`).
const WORKER_CLIENT_PROPERTIES: &[&str] = &[
    "client.id",
    "client.dns.lookup",
    "connections.max.idle.ms",
    "enable.metrics.push",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "receive.buffer.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "send.buffer.bytes",
    "socket.connection.setup.timeout.ms",
];

/// Properties that choose the cryptography of a Java client.
const JAVA_SECURITY: &[&str] = &["security.providers", "ssl.provider", "ssl.secure.random.implementation"];

/// Properties for what only Java's clients have, or what librdkafka does by itself. A name that ends with a dot means
/// all names that begin with it.
const JAVA_ONLY: &[&str] = &[
    "auto.include.jmx.reporter",
    "config.providers",
    "config.providers.",
    "default.api.timeout.ms",
    "interceptor.classes",
    "key.deserializer",
    "key.serializer",
    "metadata.max.idle.ms",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "partitioner.adaptive.partitioning.enable",
    "partitioner.availability.timeout.ms",
    "retries",
    "sasl.kerberos.",
    "sasl.login.",
    "sasl.oauthbearer.",
    "socket.connection.setup.timeout.max.ms",
    "ssl.keymanager.algorithm",
    "ssl.protocol",
    "ssl.trustmanager.algorithm",
    "transaction.timeout.ms",
    "transaction.two.phase.commit.enable",
    "value.deserializer",
    "value.serializer",
];
