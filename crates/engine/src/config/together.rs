//! Rules that concern several options.

use super::connection::PROXY_URL;
use super::messages::{MESSAGE_MAX_BYTES, QUEUE_MAX_BYTES};
use super::security::{self, PROXY_PASSWORD, PROXY_USERNAME, SSL_CERTIFICATE, SSL_KEY};
use super::values::Values;
use super::{backfill, resume};
use crate::config_def::ConfigError;

pub(super) fn problems(values: &Values<'_>) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let mut refuse = |name: &str, why: &str| errors.push(values.refuse(name, why));
    let (queue, message) = (values.size(QUEUE_MAX_BYTES), values.size(MESSAGE_MAX_BYTES));
    if queue > 0 && queue < message {
        refuse(QUEUE_MAX_BYTES, &format!("Value must be at least {MESSAGE_MAX_BYTES}, which is {message}"));
    }
    if values.non_empty(SSL_CERTIFICATE).is_some() != values.non_empty(SSL_KEY).is_some() {
        let name = if values.non_empty(SSL_KEY).is_some() { SSL_KEY } else { SSL_CERTIFICATE };
        refuse(name, &format!("{SSL_CERTIFICATE} and {SSL_KEY} must be given together"));
    }
    if values.non_empty(PROXY_USERNAME).is_some() && values.non_empty(PROXY_URL).is_none() {
        refuse(PROXY_USERNAME, &format!("{PROXY_URL} must be given too"));
    }
    if values.non_empty(PROXY_PASSWORD).is_some() && values.non_empty(PROXY_USERNAME).is_none() {
        refuse(PROXY_PASSWORD, &format!("{PROXY_USERNAME} must be given too"));
    }
    errors.extend(resume::problems(values));
    errors.extend(backfill::problems(values));
    for (part, file, why) in security::tls(values).problems() {
        errors.push(ConfigError::invalid(security::option_of(part), &file.display().to_string(), why));
    }
    errors
}
