//! Reading request bodies: bounded in bytes and in time, and JSON that says where it is broken.

use crate::error::ApiError;
use crate::state::AppState;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Map, Value};

/// A JSON body. An absent body is an empty object where a route says so.
#[derive(Debug)]
pub struct JsonBody(pub Value);

impl FromRequest<AppState> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let is_json = has_media_type(request.headers(), "application/json");
        let typed = request.headers().contains_key(header::CONTENT_TYPE);
        let bytes = read_bytes(request, state).await?;
        if bytes.is_empty() && !typed {
            // openai-python sends no body at all when a call has no arguments.
            return Ok(Self(Value::Object(Map::new())));
        }
        if !is_json {
            return Err(ApiError::unsupported_media("application/json"));
        }
        parse_json(&bytes).map(Self)
    }
}

/// Parses a body, or says in which line and column it is broken.
fn parse_json(bytes: &[u8]) -> Result<Value, ApiError> {
    if bytes.is_empty() {
        return Err(ApiError::malformed("The body is empty; send a JSON object."));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        // Syntax and end-of-file errors end in "at line L column C".
        ApiError { code: Some("invalid_json"), ..ApiError::malformed(format!("The body is not valid JSON: {error}.")) }
    })
}

async fn read_bytes(request: Request, state: &AppState) -> Result<Bytes, ApiError> {
    let limit = state.options.max_json_bytes;
    let timeout = state.options.body_timeout;
    let read = tokio::time::timeout(timeout, Bytes::from_request(request, state));
    let bytes = read.await.map_err(|_| ApiError::body_too_slow(timeout.as_secs()))?;
    bytes.map_err(|rejection| body_error(rejection.into_response().status(), limit))
}

/// What went wrong while a body was read.
pub fn body_error(status: StatusCode, limit_bytes: usize) -> ApiError {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        ApiError::too_large(limit_bytes)
    } else {
        ApiError::malformed("The body broke off before its end.")
    }
}

/// Whether the request's content type is `expected`, whatever its parameters.
pub fn has_media_type(headers: &HeaderMap, expected: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case(expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_json_says_where() {
        let error = parse_json(b"{\"prompt\": \"a\",\n \"n\": }").unwrap_err();
        assert!(error.message.contains("line 2 column"), "{}", error.message);
        assert!(parse_json(b"").unwrap_err().message.contains("empty"));
        // A nesting bomb ends at the parser's depth limit, not on the stack.
        assert_eq!(parse_json("[".repeat(1_000_000).as_bytes()).unwrap_err().code, Some("invalid_json"));
        assert_eq!(parse_json(b"\xff\xfe").unwrap_err().status, StatusCode::BAD_REQUEST);
    }
}
