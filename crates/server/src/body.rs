//! Reading request bodies: bounded in bytes and in time, and JSON that says where it is broken.

use crate::error::ApiError;
use crate::state::AppState;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Map, Value};
use tokio::sync::OwnedSemaphorePermit;

/// A JSON body. An absent body is an empty object where a route says so.
#[derive(Debug)]
pub struct JsonBody {
    /// What was sent.
    pub value: Value,
    /// Its share of the bodies that are held as JSON at once. Whoever answers slowly drops the body first.
    _share: OwnedSemaphorePermit,
}

/// What the bodies held as JSON are counted in: permits are 32-bit.
pub const SHARE_BYTES: usize = 1024;

impl FromRequest<AppState> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let is_json = has_media_type(request.headers(), "application/json");
        let typed = request.headers().contains_key(header::CONTENT_TYPE);
        let bytes = read_bytes(request, state).await?;
        // JSON takes up to twenty times its bytes, so many large bodies at once would take the machine's memory. Nobody
        // who holds a share waits for a client, so that a turn comes soon.
        let share = share(bytes.len(), state).await?;
        let value = if bytes.is_empty() && !typed {
            // openai-python sends no body at all when a call has no arguments.
            Value::Object(Map::new())
        } else if is_json {
            parse_json(&bytes)?
        } else {
            return Err(ApiError::unsupported_media("application/json"));
        };
        Ok(Self { value, _share: share })
    }
}

async fn share(bytes: usize, state: &AppState) -> Result<OwnedSemaphorePermit, ApiError> {
    // The pool has room for the largest body, whatever was configured, so that everyone's turn comes.
    let shares = u32::try_from(bytes.div_ceil(SHARE_BYTES)).unwrap_or(u32::MAX);
    let permits = state.json_shares().clone().acquire_many_owned(shares).await;
    permits.map_err(|_| ApiError::internal("The server takes no more bodies."))
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
