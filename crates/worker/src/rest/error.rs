//! Errors as responses: `{"error_code": <status>, "message": "<sentence>"}`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// The header that 401 must have (RFC 9110 section 11.6.1).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"connect\", charset=\"UTF-8\"");

/// A response that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RestError {
    status: StatusCode,
    message: String,
}

#[derive(Serialize)]
struct ErrorMessage<'a> {
    error_code: u16,
    message: &'a str,
}

impl RestError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> RestError {
        RestError { status, message: message.into() }
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn bad_request(message: impl Into<String>) -> RestError {
        RestError::new(StatusCode::BAD_REQUEST, message)
    }

    /// Returns the sentence of a status as Connect's JAX-RS writes it: `HTTP 404 Not Found`.
    pub(super) fn plain(status: StatusCode) -> RestError {
        RestError::new(status, format!("HTTP {} {}", status.as_u16(), status.canonical_reason().unwrap_or_default()))
    }
}

impl IntoResponse for RestError {
    fn into_response(self) -> Response {
        let body = ErrorMessage { error_code: self.status.as_u16(), message: &self.message };
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        response
    }
}
