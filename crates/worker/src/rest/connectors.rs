//! `/connectors`: create, read, change, delete, and their state.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header, uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::Api;
use super::body::{self, JsonBody};
use super::error::RestError;
use super::path::{Parameters, Segments, encode};
use crate::connector::SentConfig;
use crate::connector::file::InitialState;
use crate::entities::{ConnectorInfo, ConnectorStateInfo, TaskInfo, TaskStateInfo};
use crate::herder::RestartRequest;

type Answer<T> = Result<T, RestError>;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/connectors", get(list).post(create))
        .route("/connectors/{connector}", get(info).delete(delete))
        .route("/connectors/{connector}/config", get(config).put(put_config).patch(patch_config))
        .route("/connectors/{connector}/status", get(status))
        .route("/connectors/{connector}/topics", get(topics))
        .route("/connectors/{connector}/topics/reset", put(reset_topics))
        .route("/connectors/{connector}/gaps", get(gaps))
        .route("/connectors/{connector}/pause", put(pause))
        .route("/connectors/{connector}/resume", put(resume))
        .route("/connectors/{connector}/stop", put(stop))
        .route("/connectors/{connector}/restart", post(restart))
        .route("/connectors/{connector}/tasks", get(tasks).post(put_task_configs))
        .route("/connectors/{connector}/fence", put(fence))
        .route("/connectors/{connector}/tasks/{task}/status", get(task_status))
        .route("/connectors/{connector}/tasks/{task}/restart", post(restart_task))
}

/// Returns the names, or with `expand` (KIP-465) an object with the requested parts.
async fn list(State(api): State<Api>, uri: Uri) -> Json<Value> {
    let parameters = Parameters::of(&uri);
    let expand: Vec<&str> = parameters.all("expand").collect();
    let names = api.herder.connector_names();
    if expand.is_empty() {
        return Json(json!(names));
    }
    let mut all = Map::new();
    for name in names {
        let mut parts = Map::new();
        // A connector that was deleted meanwhile is left out.
        let (Ok(status), Ok(info)) = (api.herder.connector_status(&name), api.herder.connector_info(&name)) else {
            continue;
        };
        if expand.contains(&"status") {
            parts.insert("status".to_owned(), json!(status));
        }
        if expand.contains(&"info") {
            parts.insert("info".to_owned(), json!(info));
        }
        all.insert(name, Value::Object(parts));
    }
    Json(Value::Object(all))
}

async fn create(State(api): State<Api>, headers: HeaderMap, JsonBody(value, _share): JsonBody) -> Answer<Response> {
    let (name, config, initial_state) = new_connector(value)?;
    let info = api.herder.create(name, config, initial_state).await?;
    Ok(created(&api, &headers, info))
}

/// Reads the trimmed name, the configuration, and the initial state (KIP-980).
fn new_connector(value: Value) -> Answer<(String, SentConfig, InitialState)> {
    let [name, config, state] = body::fields(value, "a new connector", ["name", "config", "initial_state"])?;
    if name.is_object() || name.is_array() {
        return Err(RestError::bad_request(format!("the name must be a string, not {}", body::kind(&name))));
    }
    let config = if config.is_null() { SentConfig::new() } else { body::config(config)? };
    let state = match state {
        Value::Null => InitialState::Running,
        Value::String(text) => text.parse().map_err(RestError::bad_request)?,
        other => {
            return Err(RestError::bad_request(format!("initial_state must be a string, not {}", body::kind(&other))));
        }
    };
    Ok((body::text(name).unwrap_or_default().trim().to_owned(), config, state))
}

fn created(api: &Api, headers: &HeaderMap, info: ConnectorInfo) -> Response {
    // The address that the client has used, or the advertised one if the request has no `Host`.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.filter(|host| host.parse::<uri::Authority>().is_ok()).unwrap_or(api.herder.worker_id());
    let location = format!("{}://{host}/connectors/{}", api.listener.scheme(), encode(&info.name));
    (StatusCode::CREATED, [(header::LOCATION, location)], Json(info)).into_response()
}

async fn info(State(api): State<Api>, Segments(name): Segments<String>) -> Answer<Json<ConnectorInfo>> {
    Ok(Json(api.herder.connector_info(&name)?))
}

async fn config(State(api): State<Api>, Segments(name): Segments<String>) -> Answer<Response> {
    Ok(Json(api.herder.connector_config(&name)?).into_response())
}

async fn put_config(
    State(api): State<Api>,
    Segments(name): Segments<String>,
    headers: HeaderMap,
    JsonBody(value, _share): JsonBody,
) -> Answer<Response> {
    let (info, new) = api.herder.put_config(name, body::config(value)?).await?;
    Ok(if new { created(&api, &headers, info) } else { Json(info).into_response() })
}

async fn patch_config(
    State(api): State<Api>,
    Segments(name): Segments<String>,
    JsonBody(value, _share): JsonBody,
) -> Answer<Json<ConnectorInfo>> {
    Ok(Json(api.herder.patch_config(name, body::config(value)?).await?))
}

async fn delete(State(api): State<Api>, Segments(name): Segments<String>) -> Answer<StatusCode> {
    api.herder.delete(name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn status(State(api): State<Api>, Segments(name): Segments<String>) -> Answer<Json<ConnectorStateInfo>> {
    Ok(Json(api.herder.connector_status(&name)?))
}

async fn topics(State(api): State<Api>, Segments(name): Segments<String>) -> Answer<Json<Value>> {
    let topics = api.herder.active_topics(&name)?;
    Ok(Json(json!({ name: { "topics": topics } })))
}

/// Connect has no such resource.
async fn gaps(State(api): State<Api>, Segments(name): Segments<String>) -> Answer<Json<Value>> {
    Ok(Json(json!({ "gaps": api.herder.gaps(&name)? })))
}

async fn reset_topics(State(api): State<Api>, Segments(name): Segments<String>) -> Answer<StatusCode> {
    api.herder.reset_active_topics(&name)?;
    Ok(StatusCode::ACCEPTED)
}

async fn pause(State(api): State<Api>, Segments(name): Segments<String>) -> Answer<StatusCode> {
    api.herder.pause(name).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn resume(State(api): State<Api>, Segments(name): Segments<String>) -> Answer<StatusCode> {
    api.herder.resume(name).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn stop(State(api): State<Api>, Segments(name): Segments<String>) -> Answer<StatusCode> {
    api.herder.stop(name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn restart(State(api): State<Api>, Segments(name): Segments<String>, uri: Uri) -> Answer<Response> {
    let parameters = Parameters::of(&uri);
    let request = RestartRequest {
        include_tasks: parameters.flag("includeTasks", false),
        only_failed: parameters.flag("onlyFailed", false),
    };
    if request == RestartRequest::default() {
        api.herder.restart_connector(name).await?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let plan = api.herder.restart(name, request).await?;
    Ok((StatusCode::ACCEPTED, Json(plan)).into_response())
}

async fn tasks(State(api): State<Api>, Segments(name): Segments<String>) -> Answer<Json<Vec<TaskInfo>>> {
    Ok(Json(api.herder.task_infos(&name)?))
}

async fn task_status(
    State(api): State<Api>,
    Segments((name, task)): Segments<(String, u32)>,
) -> Answer<Json<TaskStateInfo>> {
    Ok(Json(api.herder.task_status(&name, task)?))
}

async fn restart_task(State(api): State<Api>, Segments((name, task)): Segments<(String, u32)>) -> Answer<StatusCode> {
    api.herder.restart_task(name, task).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Between workers of a cluster only.
async fn put_task_configs(_: Request) -> RestError {
    let why = "Kafka Connect in standalone mode does not support externally setting task configurations.";
    RestError::new(StatusCode::INTERNAL_SERVER_ERROR, why)
}

/// Between workers of a cluster only.
async fn fence(_: Request) -> RestError {
    let why = "Kafka Connect in standalone mode does not support exactly-once source connectors.";
    RestError::new(StatusCode::INTERNAL_SERVER_ERROR, why)
}
