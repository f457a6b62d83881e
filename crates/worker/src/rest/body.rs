//! Request bodies: JSON of bounded size, with Connect's coercions and better sentences.

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::error::RestError;
use crate::validate::SentConfig;

/// The largest request body, in bytes.
const MAX_BYTES: usize = 16 << 20;

/// The body of a request, which must be JSON.
pub(super) struct JsonBody(pub(super) Value);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = RestError;

    async fn from_request(request: Request, _: &S) -> Result<Self, RestError> {
        if let Some(kind) = request.headers().get(header::CONTENT_TYPE) {
            let essence = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
            if !essence.eq_ignore_ascii_case("application/json") {
                return Err(RestError::plain(StatusCode::UNSUPPORTED_MEDIA_TYPE));
            }
        }
        let too_large = || {
            let why = format!("the request body has more than the limit of {MAX_BYTES} bytes");
            RestError::new(StatusCode::PAYLOAD_TOO_LARGE, why)
        };
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: u64| length > MAX_BYTES as u64) {
            return Err(too_large());
        }
        let bytes = to_bytes(request.into_body(), MAX_BYTES).await.map_err(|error| {
            if is_length_limit(&error) {
                too_large()
            } else {
                RestError::bad_request("the request body ended too early")
            }
        })?;
        if bytes.trim_ascii().is_empty() {
            return Err(RestError::bad_request("the request has no body; send JSON"));
        }
        let value = serde_json::from_slice(&bytes);
        value
            .map(JsonBody)
            .map_err(|error| RestError::bad_request(format!("the request body is not valid JSON: {error}")))
    }
}

fn is_length_limit(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The fields of a JSON object, each at most once, no others.
pub(super) fn fields<const N: usize>(value: Value, what: &str, names: [&str; N]) -> Result<[Value; N], RestError> {
    let mut object = object(value, what)?;
    let found = names.map(|name| object.shift_remove(name).unwrap_or_default());
    match object.keys().next() {
        None => Ok(found),
        Some(unknown) => Err(RestError::bad_request(format!(
            "unknown field '{unknown}': {what} has {}; remove the field",
            names.join(", ")
        ))),
    }
}

pub(super) fn object(value: Value, what: &str) -> Result<Map<String, Value>, RestError> {
    match value {
        Value::Object(object) => Ok(object),
        other => Err(RestError::bad_request(format!("{what} must be a JSON object, not {}", kind(&other)))),
    }
}

/// A configuration: strings; numbers and booleans become their JSON text.
pub(super) fn config(value: Value) -> Result<SentConfig, RestError> {
    let mut config = IndexMap::new();
    for (option, value) in object(value, "the configuration")? {
        let value = match value {
            Value::Object(_) | Value::Array(_) => {
                return Err(RestError::bad_request(format!(
                    "option {option} is {}: write its value as one string",
                    kind(&value)
                )));
            }
            value => text(value),
        };
        config.insert(option, value);
    }
    Ok(config)
}

/// The text of a JSON primitive; `None` for null.
pub(super) fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_booleans_become_their_json_text() {
        let value = serde_json::from_str(r#"{"a":5000,"b":true,"c":1.5,"d":1e+21,"e":null,"f":"x"}"#).unwrap();
        let config = config(value).unwrap();
        let shown: Vec<_> = config.values().map(Option::as_deref).collect();
        assert_eq!(shown, [Some("5000"), Some("true"), Some("1.5"), Some("1e+21"), None, Some("x")]);
    }

    #[test]
    fn nested_values_and_unknown_fields_are_refused_by_name() {
        let nested = config(serde_json::json!({"a": {"b": 1}})).unwrap_err();
        assert_eq!(nested, RestError::bad_request("option a is an object: write its value as one string"));
        let unknown =
            fields(serde_json::json!({"name": "x", "foo": 1}), "a connector", ["name", "config"]).unwrap_err();
        assert_eq!(
            unknown,
            RestError::bad_request("unknown field 'foo': a connector has name, config; remove the field")
        );
    }
}
