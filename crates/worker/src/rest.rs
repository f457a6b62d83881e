//! The REST API of a Kafka Connect worker: one file per resource.
//!
//! [`router`] is the whole API. [`server`] serves it on the network. `surface` has what concerns every request and
//! response.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::{Router, middleware};

use self::config::Listener;
use self::error::RestError;
use crate::herder::{Herder, HerderError};
use crate::logging::Levels;

mod body;
pub mod config;
mod connectors;
mod error;
mod guard;
mod loggers;
mod metrics;
mod offsets;
mod path;
mod plugins;
mod root;
pub mod server;
mod surface;
mod timed;
mod tls;
mod users;

/// What the resources use.
#[derive(Clone)]
pub struct Api {
    pub herder: Arc<Herder>,
    pub levels: Arc<Levels>,
    /// The address of the API.
    pub listener: Listener,
}

/// Which resources a listener serves (`admin.listeners`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resources {
    All,
    WithoutAdmin,
    AdminOnly,
}

/// The API as a service.
pub fn router(api: Api, served: Resources) -> Router {
    let mut connect = Router::new();
    if served != Resources::AdminOnly {
        connect =
            connect.merge(root::routes()).merge(connectors::routes()).merge(offsets::routes()).merge(plugins::routes());
    }
    if served != Resources::WithoutAdmin {
        connect = connect.merge(loggers::routes());
    }
    // Resources whose responses are not JSON are added after this layer.
    let mut resources = connect.route_layer(middleware::from_fn(surface::accepts_json));
    if served != Resources::AdminOnly {
        resources = resources.merge(metrics::routes());
    }
    let surface = surface::Surface::new(&api.herder.worker().rest, &api.listener, served);
    let resources =
        resources.fallback(surface::not_found).method_not_allowed_fallback(surface::method_not_allowed).with_state(api);
    // The surface is outside of the routes, so that it can change a path before the route is chosen.
    Router::new()
        .fallback_service(resources)
        .layer(middleware::from_fn_with_state(Arc::new(surface), surface::surround))
}

impl From<HerderError> for RestError {
    fn from(error: HerderError) -> Self {
        let status = match error {
            HerderError::BadRequest(_) => StatusCode::BAD_REQUEST,
            HerderError::Forbidden(_) => StatusCode::FORBIDDEN,
            HerderError::NotFound(_) => StatusCode::NOT_FOUND,
            HerderError::AlreadyExists(_) => StatusCode::CONFLICT,
            HerderError::NoRoom(_) => StatusCode::SERVICE_UNAVAILABLE,
            HerderError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        RestError::new(status, error.to_string())
    }
}
