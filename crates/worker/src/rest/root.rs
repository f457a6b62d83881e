//! `GET /` and `GET /health`.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use super::Api;
use crate::connector::framework::VERSION;
use crate::entities::{Health, ServerInfo};

/// How long a health request waits for the herder.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(10);
const READY_POLL: Duration = Duration::from_millis(50);

/// The version of Kafka Connect whose API is served. Clients decide by it which requests they make.
const CONNECT_VERSION: &str = "4.3.1";
/// The commit of this worker, which `make build` sets in a git repository. Otherwise its name and version.
const COMMIT: &str = match option_env!("CONNECT_WEBSOCKET_COMMIT") {
    Some(commit) => commit,
    None => concat!("connect-websocket-", env!("CARGO_PKG_VERSION")),
};

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/", get(server_info)).route("/health", get(health))
}

async fn server_info(State(api): State<Api>) -> Json<ServerInfo> {
    Json(ServerInfo {
        version: CONNECT_VERSION,
        commit: COMMIT,
        kafka_cluster_id: api.herder.kafka_cluster_id().map(str::to_owned),
        worker_version: VERSION,
    })
}

/// KIP-1017.
async fn health(State(api): State<Api>) -> Response {
    let started = async {
        while !api.herder.is_ready() {
            tokio::time::sleep(READY_POLL).await;
        }
        api.herder.idle().await;
    };
    let (status, health, message) = match tokio::time::timeout(HEALTH_TIMEOUT, started).await {
        Ok(()) => (StatusCode::OK, "healthy", "Worker has completed startup and is ready to handle requests."),
        Err(_) if !api.herder.is_ready() => {
            (StatusCode::SERVICE_UNAVAILABLE, "starting", "Worker is still starting up.")
        }
        Err(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "unhealthy",
            "Worker was unable to handle this request and may be unable to handle other requests.",
        ),
    };
    (status, Json(Health { status: health, message: message.to_owned() })).into_response()
}
