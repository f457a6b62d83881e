//! `/connector-plugins`: the connector and its converters, and validation (KIP-769).

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::routing::{get, put};
use axum::{Json, Router};

use super::Api;
use super::body::{self, JsonBody};
use super::error::RestError;
use super::path::{Parameters, Segments};
use crate::connector::framework::{self, VERSION};
use crate::connector::validation;
use crate::entities::{ConfigInfos, ConfigKeyInfo, PluginInfo};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/connector-plugins", get(list))
        .route("/connector-plugins/{plugin}/config", get(config))
        .route("/connector-plugins/{plugin}/config/validate", put(validate))
}

async fn list(uri: Uri) -> Json<Vec<PluginInfo>> {
    let mut plugins = vec![PluginInfo { class: framework::CONNECTOR_CLASS, kind: "source", version: VERSION }];
    if !Parameters::of(&uri).flag("connectorsOnly", true) {
        plugins.extend(framework::converters().map(|(class, kind)| PluginInfo { class, kind, version: VERSION }));
    }
    Json(plugins)
}

/// Checks the version: every plugin has only one, so `version` must be `latest` or that one.
async fn config(Segments(plugin): Segments<String>, uri: Uri) -> Result<Json<Vec<ConfigKeyInfo>>, RestError> {
    let parameters = Parameters::of(&uri);
    if let Some(version) = parameters.all("version").find(|version| !["latest", VERSION].contains(version)) {
        let why = format!("Invalid version specification: {version}. This worker has {VERSION}");
        return Err(RestError::bad_request(why));
    }
    let keys = validation::plugin_config(&plugin);
    keys.map(Json).ok_or_else(|| RestError::new(StatusCode::NOT_FOUND, format!("Unknown plugin {plugin}.")))
}

async fn validate(
    State(api): State<Api>,
    Segments(plugin): Segments<String>,
    JsonBody(value, _share): JsonBody,
) -> Result<Json<ConfigInfos>, RestError> {
    let sent = body::config(value)?;
    if let Some(class) = sent.get(framework::CLASS).and_then(Option::as_deref)
        && !without_suffix(class).ends_with(without_suffix(&plugin))
    {
        let why = format!("Included connector type {class} does not match request type {plugin}");
        return Err(RestError::bad_request(why));
    }
    Ok(Json(api.herder.validate(sent).await?))
}

fn without_suffix(name: &str) -> &str {
    name.strip_suffix("Connector").filter(|rest| !rest.is_empty()).unwrap_or(name)
}
