//! Values from config providers (`${file:…}`) in a configuration. They are secret in every option.

use std::fmt;

use crate::config_def::{ConfigError, Properties};
use crate::secret::Secret;

/// Replaces a provider's value in the text of an option.
pub const PROVIDED: &str = "***";

/// The reason why an option with a reference is refused.
pub const NOT_REPLACED: &str = "the reference was not replaced: config.providers names no such provider, or the provider has no such key or environment variable";

/// The values with which the host has replaced references. In the plugin this is empty, because Kafka Connect does not
/// tell them.
#[derive(Clone, Default)]
pub struct Provided {
    pub secrets: Vec<Secret>,
    /// The options with such values, in which [`PROVIDED`] replaces each value.
    pub redacted: Properties,
}

impl fmt::Debug for Provided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.redacted.keys()).finish()
    }
}

impl Provided {
    /// Returns the first remaining reference in an option's text. Values from providers are not searched.
    pub(super) fn left<'a>(&'a self, properties: &'a Properties, option: &str) -> Option<&'a str> {
        let written = self.redacted.get(option).or_else(|| properties.get(option));
        written.and_then(|text| unresolved(text))
    }

    /// Returns an error for each of these options that still contains a reference. It would be sent as it is, as a
    /// wrong secret or a wrong address.
    pub fn not_replaced(&self, properties: &Properties, is_checked: impl Fn(&str) -> bool) -> Vec<ConfigError> {
        let checked = properties.keys().filter(|name| is_checked(name));
        let left = checked.filter_map(|name| Some((name, self.left(properties, name)?)));
        left.map(|(name, reference)| ConfigError::invalid(name, reference, NOT_REPLACED)).collect()
    }
}

/// Returns the first reference to a config provider in a text.
fn unresolved(text: &str) -> Option<&str> {
    text.match_indices("${").find_map(|(start, _)| {
        let end = start + text[start..].find('}')?;
        let (provider, _) = text[start + 2..end].split_once(':')?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        (!provider.is_empty() && provider.chars().all(is_name)).then_some(&text[start..=end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_distinguished_from_other_dollars() {
        assert_eq!(unresolved("Bearer ${env:TOKEN}"), Some("${env:TOKEN}"));
        assert_eq!(unresolved("${a}${file:/x/y.properties:k}"), Some("${file:/x/y.properties:k}"));
        for text in ["$", "${", "${}", "${x}", "${:x}", "${a b:c}", "{\"a\":\"${\"}", "${env:TOKEN"] {
            assert_eq!(unresolved(text), None, "{text}");
        }
    }
}
