//! `/connectors/{connector}/offsets` (KIP-875).

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;

use super::Api;
use super::body::{self, JsonBody};
use super::error::RestError;
use super::path::Segments;
use crate::entities::{ConnectorOffsets, Message};
use crate::herder::OffsetChange;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/connectors/{connector}/offsets", get(read).patch(alter).delete(reset))
}

async fn read(State(api): State<Api>, Segments(name): Segments<String>) -> Result<Json<ConnectorOffsets>, RestError> {
    Ok(Json(api.herder.connector_offsets(&name)?))
}

async fn alter(
    State(api): State<Api>,
    Segments(name): Segments<String>,
    JsonBody(value, _share): JsonBody,
) -> Result<Json<Message>, RestError> {
    let message = api.herder.alter_offsets(name, changes(value)?).await?;
    Ok(Json(Message { message }))
}

async fn reset(State(api): State<Api>, Segments(name): Segments<String>) -> Result<Json<Message>, RestError> {
    let message = api.herder.reset_offsets(name).await?;
    Ok(Json(Message { message }))
}

fn changes(value: Value) -> Result<Vec<OffsetChange>, RestError> {
    let [offsets] = body::fields(value, "the body", ["offsets"])?;
    let entries = match offsets {
        Value::Null => Vec::new(),
        Value::Array(entries) => entries,
        other => {
            return Err(RestError::bad_request(format!("offsets must be a JSON array, not {}", body::kind(&other))));
        }
    };
    let change = |entry| {
        let [partition, offset] = body::fields(entry, "an entry of offsets", ["partition", "offset"])?;
        let offset = if offset.is_null() { None } else { Some(body::object(offset, "an offset")?) };
        Ok(OffsetChange { partition: body::object(partition, "a partition")?, offset })
    };
    entries.into_iter().map(change).collect()
}
