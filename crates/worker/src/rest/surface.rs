//! What concerns every request and response: trailing slashes, `Accept`, `OPTIONS`, CORS, fixed headers, the time
//! limit.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Resources;
use super::config::{HeaderRule, HeaderRuleValue, Listener, RestConfig};
use super::error::RestError;
use super::guard::Guard;
use super::users::Users;

/// Connect's limit for a request (`RestServer.DEFAULT_REST_REQUEST_TIMEOUT_MS`).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);
/// The methods and headers that a browser may send to another origin. They are Jetty's defaults.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static("Content-Type");
const PREFLIGHT_MAX_AGE: HeaderValue = HeaderValue::from_static("60");

pub(super) struct Surface {
    guard: Guard,
    users: Option<Arc<Users>>,
    headers: Vec<HeaderRule>,
    has_cors: bool,
    allow_methods: String,
}

impl Surface {
    /// As in Connect, pages of other origins may not use listeners that serve only `/admin`.
    pub(super) fn new(config: &RestConfig, listener: &Listener, served: Resources) -> Surface {
        let allow_origin = if served == Resources::AdminOnly { &[] } else { config.allow_origin.as_slice() };
        Surface {
            guard: Guard::new(config, listener, allow_origin),
            users: config.users.clone(),
            headers: config.headers.clone(),
            has_cors: !allow_origin.is_empty(),
            allow_methods: config.allow_methods.join(","),
        }
    }

    /// Checks the credentials of a request. `/health` needs none, because probes have none.
    async fn check_user(&self, path: &str, headers: &HeaderMap) -> Result<(), RestError> {
        match &self.users {
            Some(users) if path != "/health" => users.check(headers).await,
            _ => Ok(()),
        }
    }

    fn preflight(&self) -> Response {
        let mut response = StatusCode::OK.into_response();
        let headers = response.headers_mut();
        if let Ok(methods) = HeaderValue::try_from(self.allow_methods.as_str()) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE);
        response
    }

    fn add_headers(&self, headers: &mut HeaderMap) {
        for rule in &self.headers {
            let value = match &rule.value {
                HeaderRuleValue::Text(value) => value.clone(),
                HeaderRuleValue::DateIn(millis) => match HeaderValue::try_from(http_date(*millis)) {
                    Ok(value) => value,
                    Err(_) => continue,
                },
            };
            if rule.add {
                headers.append(rule.name.clone(), value);
            } else {
                headers.insert(rule.name.clone(), value);
            }
        }
    }
}

/// Surrounds every request.
pub(super) async fn surround(State(surface): State<Arc<Surface>>, mut request: Request, next: Next) -> Response {
    let origin = surface.guard.allowed_origin(request.headers());
    let is_options = request.method() == Method::OPTIONS;
    let is_preflight = is_options && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if let Err(refused) = surface.guard.check(&request) {
        refused.into_response()
    } else if is_preflight && origin.is_some() {
        surface.preflight()
    } else {
        if let Some(uri) = without_trailing_slash(request.uri()) {
            *request.uri_mut() = uri;
        }
        match surface.check_user(request.uri().path(), request.headers()).await {
            Err(refused) => refused.into_response(),
            Ok(()) => tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await.unwrap_or_else(|_| {
                RestError::new(StatusCode::INTERNAL_SERVER_ERROR, "Request timed out").into_response()
            }),
        }
    };
    if is_options && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response = options(response.headers());
    }
    let headers = response.headers_mut();
    if surface.has_cors {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    surface.add_headers(headers);
    response
}

/// The methods of a resource, as text.
fn options(of: &HeaderMap) -> Response {
    let allowed = of.get(header::ALLOW).and_then(|allow| allow.to_str().ok()).unwrap_or_default();
    let methods: Vec<&str> = allowed.split(',').map(str::trim).chain(["OPTIONS"]).filter(|m| !m.is_empty()).collect();
    let methods = methods.join(", ");
    (StatusCode::OK, [(header::ALLOW, methods.clone())], methods).into_response()
}

/// Refuses a client that does not accept JSON.
pub(super) async fn accepts_json(request: Request, next: Next) -> Response {
    let mut accepts = request.headers().get_all(header::ACCEPT).iter().peekable();
    let any = accepts.peek().is_none();
    let takes_json = accepts.any(|accept| accept.to_str().is_ok_and(takes_json));
    if any || takes_json {
        next.run(request).await
    } else {
        RestError::plain(StatusCode::NOT_ACCEPTABLE).into_response()
    }
}

fn takes_json(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let refused = parts.any(|parameter| parameter.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0)));
        matches!(kind.as_str(), "*/*" | "application/*" | "application/json") && !refused
    })
}

pub(super) async fn not_found() -> RestError {
    RestError::plain(StatusCode::NOT_FOUND)
}

pub(super) async fn method_not_allowed() -> RestError {
    RestError::plain(StatusCode::METHOD_NOT_ALLOWED)
}

/// Returns the path without trailing slashes, or `None` if there are none.
fn without_trailing_slash(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let shorter = path.trim_end_matches('/');
    if shorter.len() == path.len() || shorter.is_empty() {
        return None;
    }
    let mut parts = uri.clone().into_parts();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    parts.path_and_query = Some(format!("{shorter}{query}").parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// Returns the present time plus this number of milliseconds, as an HTTP date (RFC 9110 §5.6.7).
fn http_date(millis: i64) -> String {
    let offset = Duration::from_millis(millis.unsigned_abs());
    let now = SystemTime::now();
    let time = if millis < 0 { now.checked_sub(offset) } else { now.checked_add(offset) };
    httpdate::fmt_http_date(time.unwrap_or(now).clamp(SystemTime::UNIX_EPOCH, last_http_date()))
}

/// The end of the year 9999, the last possible HTTP date.
fn last_http_date() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_ranges_are_weighed() {
        for accept in ["*/*", "application/json", "text/html, application/*;q=0.5", "Application/JSON; charset=utf-8"] {
            assert!(takes_json(accept), "{accept}");
        }
        for accept in ["application/xml", "text/*", "application/json;q=0"] {
            assert!(!takes_json(accept), "{accept}");
        }
    }

    #[test]
    fn a_trailing_slash_is_dropped_and_the_query_kept() {
        let shorter = |uri: &str| without_trailing_slash(&uri.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(shorter("/connectors/?expand=info").as_deref(), Some("/connectors?expand=info"));
        assert_eq!(shorter("/connectors"), None);
        assert_eq!(shorter("/"), None);
    }

    #[test]
    fn dates_are_bounded() {
        assert_eq!(http_date(i64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(http_date(i64::MIN), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
