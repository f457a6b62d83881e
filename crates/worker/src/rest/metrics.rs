//! `GET /metrics`: the page for Prometheus. Connect has no such resource.

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Api;
use crate::metrics;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/metrics", get(page))
}

async fn page(State(api): State<Api>) -> Response {
    let page = metrics::render(&api.herder.metrics());
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response()
}
