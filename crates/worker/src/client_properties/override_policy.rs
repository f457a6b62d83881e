//! `connector.client.config.override.policy`: which client properties a connector may override (KIP-458, KIP-1188).

use indexmap::IndexMap;

use crate::config_error::ConfigError;

const POLICY: &str = "connector.client.config.override.policy";
const ALLOWLIST: &str = "connector.client.config.override.allowlist";
const PRINCIPAL: &[&str] = &["sasl.jaas.config", "sasl.mechanism", "security.protocol"];

/// Which client properties a connector may override.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OverridePolicy {
    /// All, Connect's default.
    All,
    /// None.
    None,
    /// Those of the principal: `sasl.jaas.config`, `sasl.mechanism`, `security.protocol`.
    Principal,
    /// Those that `connector.client.config.override.allowlist` names.
    Allowlist(Vec<String>),
}

impl OverridePolicy {
    /// Reads the worker's policy, by its short or its full Java class name.
    pub fn from_worker(worker: &IndexMap<String, String>) -> Result<Self, ConfigError> {
        let name = worker.get(POLICY).map_or("All", |name| name.trim());
        let short = name
            .strip_prefix("org.apache.kafka.connect.connector.policy.")
            .unwrap_or(name);
        match short
            .strip_suffix("ConnectorClientConfigOverridePolicy")
            .unwrap_or(short)
        {
            "All" => Ok(Self::All),
            "None" => Ok(Self::None),
            "Principal" => Ok(Self::Principal),
            "Allowlist" => {
                let names = worker
                    .get(ALLOWLIST)
                    .map_or("", String::as_str)
                    .split(',')
                    .map(str::trim);
                Ok(Self::Allowlist(
                    names
                        .filter(|name| !name.is_empty())
                        .map(str::to_owned)
                        .collect(),
                ))
            }
            _ => {
                let why = "this worker runs no Java classes; use All, None, Principal or Allowlist";
                Err(ConfigError::invalid(POLICY, name, why))
            }
        }
    }

    /// The connector's options with this prefix (`producer.override.`) that the policy forbids.
    pub fn check(
        &self,
        connector_config: &IndexMap<String, String>,
        prefix: &str,
    ) -> Vec<ConfigError> {
        let forbidden = connector_config.keys().filter_map(|option| {
            let property = option.strip_prefix(prefix)?;
            if self.allows(property) {
                return None;
            }
            let name = self.name();
            let message = format!(
                "The '{name}' policy does not allow '{property}' to be overridden in the connector configuration."
            );
            Some(ConfigError::sentence(option, message))
        });
        forbidden.collect()
    }

    fn allows(&self, property: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Principal => PRINCIPAL.contains(&property),
            Self::Allowlist(names) => names.iter().any(|name| name == property),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::All => "All",
            Self::None => "None",
            Self::Principal => "Principal",
            Self::Allowlist(_) => "Allowlist",
        }
    }
}
