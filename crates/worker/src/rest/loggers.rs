//! `/admin/loggers`: log levels, changed while running (KIP-495, KIP-976).

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;

use super::Api;
use super::body::{self, JsonBody};
use super::error::RestError;
use super::path::{Parameters, Segments};
use crate::entities::LoggerLevel;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/admin/loggers", get(list)).route("/admin/loggers/{logger}", get(read).put(change))
}

async fn list(State(api): State<Api>) -> Json<BTreeMap<String, LoggerLevel>> {
    Json(api.levels.all())
}

async fn read(State(api): State<Api>, Segments(logger): Segments<String>) -> Result<Json<LoggerLevel>, RestError> {
    let level = api.levels.get(&logger);
    level.map(Json).ok_or_else(|| RestError::new(StatusCode::NOT_FOUND, format!("Logger {logger} not found.")))
}

async fn change(
    State(api): State<Api>,
    Segments(logger): Segments<String>,
    uri: Uri,
    JsonBody(value, _share): JsonBody,
) -> Result<Response, RestError> {
    let mut fields = body::object(value, "the body")?;
    let Some(level) = fields.remove("level").filter(Value::is_string).and_then(body::text) else {
        return Err(RestError::bad_request("Desired 'level' parameter was not specified in request."));
    };
    let affected = api.levels.set(&logger, &level);
    let affected = affected.map_err(|why| RestError::new(StatusCode::NOT_FOUND, why))?;
    let cluster = Parameters::of(&uri).all("scope").next().is_some_and(|scope| scope.eq_ignore_ascii_case("cluster"));
    Ok(if cluster { StatusCode::NO_CONTENT.into_response() } else { Json(affected).into_response() })
}
