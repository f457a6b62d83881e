//! Which client properties a connector may override (KIP-458; `Allowlist` of 4.2).

const PREFIX: &str = "org.apache.kafka.connect.connector.policy.";
const SUFFIX: &str = "ConnectorClientConfigOverridePolicy";
/// The properties of `PrincipalConnectorClientConfigOverridePolicy`.
const PRINCIPAL: &[&str] = &["sasl.jaas.config", "sasl.mechanism", "security.protocol"];

/// Which `producer.override.*` and `admin.override.*` a connector may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverridePolicy {
    All,
    None,
    Principal,
    Allowlist(Vec<String>),
}

impl OverridePolicy {
    /// `name` is an alias or a class name that [`check`] has passed.
    pub(crate) fn new(name: &str, allowlist: &[&str]) -> OverridePolicy {
        match alias(name) {
            "None" => OverridePolicy::None,
            "Principal" => OverridePolicy::Principal,
            "Allowlist" => OverridePolicy::Allowlist(allowlist.iter().map(|s| (*s).to_owned()).collect()),
            _ => OverridePolicy::All,
        }
    }

    /// Whether a connector may set a client property, named without its prefix.
    ///
    /// # Errors
    /// Kafka's sentence, which names policy and property.
    pub fn check(&self, client_property: &str) -> Result<(), String> {
        let (policy, allowed) = match self {
            OverridePolicy::All => return Ok(()),
            OverridePolicy::None => ("None", false),
            OverridePolicy::Principal => ("Principal", PRINCIPAL.contains(&client_property)),
            OverridePolicy::Allowlist(names) => ("Allowlist", names.iter().any(|name| name == client_property)),
        };
        if allowed {
            return Ok(());
        }
        Err(format!(
            "The '{policy}' policy does not allow '{client_property}' to be overridden in the connector configuration."
        ))
    }
}

fn alias(name: &str) -> &str {
    let simple = name.strip_prefix(PREFIX).unwrap_or(name);
    simple.strip_suffix(SUFFIX).unwrap_or(simple)
}

pub(crate) fn check(text: &str) -> Result<(), String> {
    if ["All", "None", "Principal", "Allowlist"].contains(&alias(text)) {
        return Ok(());
    }
    Err("this worker runs no Java classes; use All, None, Principal or Allowlist".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_known_by_alias_and_class() {
        assert_eq!(OverridePolicy::new("None", &[]), OverridePolicy::None);
        let class = "org.apache.kafka.connect.connector.policy.PrincipalConnectorClientConfigOverridePolicy";
        assert_eq!(OverridePolicy::new(class, &[]), OverridePolicy::Principal);
        assert!(check(class).is_ok());
        assert!(check("com.example.Mine").unwrap_err().contains("Allowlist"));
    }

    #[test]
    fn a_refused_override_has_kafkas_sentence() {
        assert_eq!(
            OverridePolicy::Principal.check("linger.ms").unwrap_err(),
            "The 'Principal' policy does not allow 'linger.ms' to be overridden in the connector configuration."
        );
        assert!(OverridePolicy::Principal.check("sasl.mechanism").is_ok());
        assert!(OverridePolicy::new("Allowlist", &["linger.ms"]).check("linger.ms").is_ok());
        assert!(OverridePolicy::None.check("sasl.mechanism").is_err());
    }
}
