//! What config providers (`${file:…}`) put into a configuration. It is secret wherever it stands.

use std::fmt;

use super::Secret;
use crate::config_def::Properties;

/// Stands in a text where a provider put something.
pub const PROVIDED: &str = "***";

/// The host resolves references and says here which values it put where. Kafka Connect does not say, so for the plugin this
/// is empty.
#[derive(Clone, Default)]
pub struct Provided {
    pub secrets: Vec<Secret>,
    /// The options that hold such values, with [`PROVIDED`] in the place of each.
    pub redacted: Properties,
}

impl fmt::Debug for Provided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.redacted.keys()).finish()
    }
}
