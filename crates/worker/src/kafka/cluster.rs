//! The id of the Kafka cluster, for the REST API.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext};
use tracing::warn;

use crate::config::WorkerConfig;
use crate::kafka::client_properties;
use crate::kafka::producer::log_client_line;

/// The option for how long Connect's admin client waits, and its default.
const TIMEOUT: (&str, Duration) = ("default.api.timeout.ms", Duration::from_secs(60));
const ONE_TRY: Duration = Duration::from_millis(500);

/// Returns the id of the Kafka cluster in the worker's properties. Blocks until Kafka answers or refuses the
/// credentials, for `default.api.timeout.ms` (a minute) at most.
///
/// # Errors
/// Connect's sentence if Kafka cannot be reached, with the addresses and the client's last error.
pub fn kafka_cluster_id(worker: &WorkerConfig) -> Result<String, String> {
    let settings = client_properties::worker_admin_settings(&worker.properties).map_err(|errors| {
        let sentences: Vec<String> = errors.iter().map(ToString::to_string).collect();
        sentences.join("\n")
    })?;
    for warning in &settings.warnings {
        warn!("event=config_warning {warning}");
    }
    let mut config = ClientConfig::new();
    for (name, value) in &settings.settings {
        config.set(name, value);
    }
    // If brokers close the connection at once, `security.protocol` may be wrong.
    config.set("log.connection.close", "true");
    let failed = |why: &str| {
        format!(
            "Failed to connect to and describe Kafka cluster. Check worker's broker connection and security properties. \
             (bootstrap.servers = {}: {why})",
            worker.bootstrap_servers
        )
    };
    // A producer, because rdkafka's admin client does not report errors. librdkafka's admin client is a producer too.
    let client: BaseProducer<Trouble> = BaseProducer::from_config_and_context(&config, Trouble::default())
        .map_err(|error| failed(&error.to_string()))?;
    let timeout = worker.properties.get(TIMEOUT.0).and_then(|text| text.trim().parse().ok());
    let timeout = timeout.map_or(TIMEOUT.1, Duration::from_millis);
    let deadline = Instant::now() + timeout;
    while Instant::now() < deadline {
        if let Some(id) = client.client().fetch_cluster_id(ONE_TRY) {
            return Ok(id);
        }
        client.poll(Duration::ZERO);
        let trouble = client.context().last();
        if let Some((why, true)) = &trouble {
            return Err(failed(why));
        }
    }
    let last = client.context().last();
    Err(failed(&last.map_or_else(|| format!("no answer within {} ms", timeout.as_millis()), |(why, _)| why)))
}

/// The client's last error.
#[derive(Default)]
struct Trouble(Mutex<Option<(String, bool)>>);

impl Trouble {
    /// The error, and whether another attempt cannot help.
    fn last(&self) -> Option<(String, bool)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ProducerContext for Trouble {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

impl Trouble {
    fn note(&self, reason: &str, refused: bool, is_vague: bool) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !(is_vague && last.is_some()) && last.as_ref().is_none_or(|(known, _)| known != reason) {
            warn!(target: "librdkafka", "{reason}");
            *last = Some((reason.to_owned(), refused));
        }
    }
}

impl ClientContext for Trouble {
    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        // "All brokers are down" follows every reason and is less specific.
        self.note(
            reason,
            code == Some(RDKafkaErrorCode::Authentication),
            code == Some(RDKafkaErrorCode::AllBrokersDown),
        );
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // If a broker closes the connection at once, for example because it expects TLS, librdkafka only logs it.
        match facility {
            "FAIL" => self.note(message.split_once("]: ").map_or(message, |(_, reason)| reason), false, false),
            _ => log_client_line(level, facility, message),
        }
    }
}
