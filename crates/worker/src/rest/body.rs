//! Request bodies: JSON of bounded size, with Connect's coercions and clearer messages.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use indexmap::IndexMap;
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::RestError;
use crate::connector::SentConfig;

/// The largest request body, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// The most values of a body: members of objects and elements of arrays, at all depths.
const MAX_VALUES: usize = 8192;
/// The memory that a value needs at least, in bytes.
const VALUE_BYTES: usize = 128;
/// The memory that every body may have without a [`Share`], in bytes.
const SMALL_BYTES: usize = 32 << 10;
/// How long a client may take to send a body.
const MAX_TIME: Duration = Duration::from_secs(30);

/// The memory of all large bodies together, in bytes.
static LARGE_BODIES: Semaphore = Semaphore::const_new(16 << 20);

/// A part of [`LARGE_BODIES`]. It is returned when this is dropped.
pub(super) struct Share(Vec<SemaphorePermit<'static>>);

impl Share {
    /// Counts growth from `before` to `after` bytes.
    fn grow(&mut self, before: usize, after: usize) -> Result<(), RestError> {
        let large = after.saturating_sub(before.max(SMALL_BYTES));
        if large > 0 {
            let more = LARGE_BODIES.try_acquire_many(u32::try_from(large).unwrap_or(u32::MAX));
            let why = "there are too many large requests at a time; try again later";
            self.0.push(more.map_err(|_| RestError::new(StatusCode::SERVICE_UNAVAILABLE, why))?);
        }
        Ok(())
    }
}

/// The body of a request, which must be JSON, and its share of memory.
pub(super) struct JsonBody(pub(super) Value, pub(super) Share);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = RestError;

    async fn from_request(request: Request, _: &S) -> Result<Self, RestError> {
        let (parts, body) = request.into_parts();
        check_type(&parts.headers)?;
        let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: u64| length > MAX_BYTES as u64) {
            return Err(too_large());
        }
        let mut share = Share(Vec::new());
        let bytes = tokio::time::timeout(MAX_TIME, read(body, &mut share)).await.unwrap_or_else(|_| {
            let why = format!("the request body was not whole after {} s", MAX_TIME.as_secs());
            Err(RestError::new(StatusCode::REQUEST_TIMEOUT, why))
        })?;
        let value = parse(&bytes, &mut share)?;
        Ok(JsonBody(value, share))
    }
}

/// Requires exactly one content type, JSON. A web page can send other types to any host without its permission.
fn check_type(headers: &HeaderMap) -> Result<(), RestError> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let kind = types.next().and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if types.next().is_some() {
        return Err(RestError::bad_request("the request has more than one Content-Type; send one"));
    }
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(RestError::plain(StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

async fn read(mut body: Body, share: &mut Share) -> Result<Vec<u8>, RestError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| RestError::bad_request("the request body ended too early"))?;
        let Ok(data) = frame.into_data() else { continue };
        let grown = bytes.len() + data.len();
        if grown > MAX_BYTES {
            return Err(too_large());
        }
        share.grow(bytes.len(), grown)?;
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

fn too_large() -> RestError {
    let why = format!("the request body has more than the limit of {MAX_BYTES} bytes");
    RestError::new(StatusCode::PAYLOAD_TOO_LARGE, why)
}

fn parse(bytes: &[u8], share: &mut Share) -> Result<Value, RestError> {
    if bytes.trim_ascii().is_empty() {
        return Err(RestError::bad_request("the request has no body; send JSON"));
    }
    let values = values(bytes);
    if values > MAX_VALUES {
        let why = format!("the request body has more than the limit of {MAX_VALUES} values");
        return Err(RestError::new(StatusCode::PAYLOAD_TOO_LARGE, why));
    }
    share.grow(bytes.len(), bytes.len() + values * VALUE_BYTES)?;
    serde_json::from_slice(bytes)
        .map_err(|error| RestError::bad_request(format!("the request body is not valid JSON: {error}")))
}

/// Returns an upper bound for the number of values of a JSON text: each but the first follows a comma, a brace or a
/// bracket.
fn values(json: &[u8]) -> usize {
    let (mut values, mut quoted, mut escaped) = (1, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b',' | b'{' | b'[' if !quoted => values += 1,
            _ => {}
        }
    }
    values
}

/// Reads a JSON object that has only these fields, each at most once.
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

/// Reads a configuration. Numbers and booleans become text.
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

/// Returns the text of a JSON primitive, or `None` for null.
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
    fn values_are_counted_outside_of_strings() {
        assert_eq!(values(br#"[{"a":0},{"b,{[":[1,"\",{"]}]"#), 7);
        let many = format!("[{}0]", "0,".repeat(MAX_VALUES));
        assert!(
            format!("{:?}", parse(many.as_bytes(), &mut Share(Vec::new())).unwrap_err())
                .contains("more than the limit of 8192 values")
        );
    }

    #[test]
    fn large_bodies_are_bounded_together_and_small_ones_are_not() {
        let mut all = Share(Vec::new());
        all.grow(0, SMALL_BYTES + LARGE_BODIES.available_permits()).unwrap();
        let refused = Share(Vec::new()).grow(0, SMALL_BYTES + 1).unwrap_err();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(Share(Vec::new()).grow(0, SMALL_BYTES).is_ok());
        drop(all);
        assert!(Share(Vec::new()).grow(0, SMALL_BYTES + 1).is_ok());
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
