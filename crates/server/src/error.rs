//! The one error that leaves this server: OpenAI's shape, the right status, the field that is at fault.
//! Other crates' errors become an `ApiError` beside the route that meets them, not here.

use crate::pace::SLOWEST_RATE;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use thiserror::Error;

/// An error as a client sees it: `{"error": {"message", "type", "param", "code"}}` with a status.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ApiError {
    /// HTTP status of the answer.
    pub status: StatusCode,
    /// OpenAI's `type`, such as `invalid_request_error`.
    pub kind: &'static str,
    /// What is wrong, where, and what to do about it.
    pub message: String,
    /// The field at fault, such as `messages.0.content`.
    pub param: Option<String>,
    /// OpenAI's `code`, such as `model_not_found`.
    pub code: Option<&'static str>,
    /// Seconds after which trying again makes sense; sent as `Retry-After`.
    pub retry_after_s: Option<u32>,
}

/// The wire shape of [`ApiError`].
#[derive(Debug, Serialize)]
pub struct ErrorBody<'a> {
    /// The error itself; OpenAI's clients look for this key.
    pub error: ErrorDetail<'a>,
}

/// What stands inside [`ErrorBody`].
#[derive(Debug, Serialize)]
pub struct ErrorDetail<'a> {
    /// The sentence for a person.
    pub message: &'a str,
    /// The class of the error.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The field at fault, or null.
    pub param: Option<&'a str>,
    /// A code for programs, or null.
    pub code: Option<&'a str>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), param: None, code: None, retry_after_s: None }
    }

    /// 400: the field `param` cannot be accepted.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::malformed(message) }
    }

    /// 400 about a field that this server does not support and will not silently ignore.
    pub fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: Some("unsupported_parameter"), ..Self::invalid(param, message) }
    }

    /// 400 about the request as a whole, such as broken JSON.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// 401: the API key is missing or wrong.
    pub fn unauthorized() -> Self {
        let message = "The API key is missing or wrong. Send it as `Authorization: Bearer <key>`.";
        Self { code: Some("invalid_api_key"), ..Self::new(StatusCode::UNAUTHORIZED, "authentication_error", message) }
    }

    /// 403: a request that a web page may have made its visitor's browser send.
    pub fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self { code: Some(code), ..Self::new(StatusCode::FORBIDDEN, "permission_error", message) }
    }

    /// 404: no `what` has this id.
    pub fn not_found(what: &str, id: &str) -> Self {
        let message = format!("No {what} has the id '{}'.", shortened(id));
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message)
    }

    /// 404 for a model that is not served here.
    pub fn model_not_found(asked: &str, served: &str) -> Self {
        let message = format!("The model '{}' is not served here; this server has '{served}'.", shortened(asked));
        Self {
            param: Some("model".into()),
            code: Some("model_not_found"),
            ..Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message)
        }
    }

    /// 404 for a path without a route.
    pub fn unknown_route(method: &str, path: &str) -> Self {
        let message = format!("There is no route {method} {}; GET / lists them.", shortened(path));
        Self { code: Some("unknown_url"), ..Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message) }
    }

    /// 405: the path exists, the method does not.
    pub fn method_not_allowed(method: &str, path: &str) -> Self {
        let message = format!("{} does not answer to {method}; GET / lists the routes.", shortened(path));
        Self {
            code: Some("method_not_supported"),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", message)
        }
    }

    /// 408: the body came too slowly: nothing for `seconds`, or too little by then.
    pub fn body_too_slow(seconds: u64) -> Self {
        let message = format!(
            "The body came too slowly: nothing for {seconds} s, or less than {SLOWEST_RATE} bytes a second on average."
        );
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request_error", message)
    }

    /// 413: the body exceeds `limit_bytes`.
    pub fn too_large(limit_bytes: usize) -> Self {
        let message = format!("The body is larger than the limit of {limit_bytes} bytes for this route.");
        Self {
            code: Some("request_too_large"),
            ..Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", message)
        }
    }

    /// 415: the content type is not one that the route reads.
    pub fn unsupported_media(expected: &str) -> Self {
        let message = format!("Send the body with the header `Content-Type: {expected}`.");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request_error", message)
    }

    /// 429 at once: a queue is full.
    pub fn overloaded(message: impl Into<String>) -> Self {
        Self {
            code: Some("overloaded"),
            retry_after_s: Some(1),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message)
        }
    }

    /// 503: the server runs but cannot do this now.
    pub fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self { code: Some(code), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable_error", message) }
    }

    /// 503 for a route that needs a model when none is loaded.
    pub fn no_model() -> Self {
        Self::unavailable(
            "no_model_loaded",
            "No model is loaded, so nothing can be generated. Start the server with `sconce serve --model FILE.gguf`. \
             Files, vector stores, search and /v1/responses with file_search work without one.",
        )
    }

    /// 500: a fault of this server.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    /// The wire form, for a response body or an event in a stream.
    pub fn body(&self) -> ErrorBody<'_> {
        ErrorBody {
            error: ErrorDetail {
                message: &self.message,
                kind: self.kind,
                param: self.param.as_deref(),
                code: self.code,
            },
        }
    }
}

/// Quotes at most 80 characters of what a client sent, so that an error cannot be made huge.
pub(crate) fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(80).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            tracing::warn!(status = self.status.as_u16(), message = %self.message, "request failed");
        }
        let mut response = (self.status, Json(self.body())).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_shape_is_the_one_that_openai_clients_parse() {
        let json = serde_json::to_string(&ApiError::invalid("n", "n must be from 1 to 16").body()).unwrap();
        assert_eq!(
            json,
            r#"{"error":{"message":"n must be from 1 to 16","type":"invalid_request_error","param":"n","code":null}}"#
        );
    }

    #[test]
    fn what_a_client_sent_is_quoted_in_short() {
        let error = ApiError::not_found("file", &"é".repeat(5000));
        assert!(error.message.len() < 300, "{}", error.message.len());
    }

    #[test]
    fn overload_says_when_to_come_back() {
        let response = ApiError::overloaded("full").into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
