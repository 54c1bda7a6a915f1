//! Reading request bodies: bounded in bytes and in time, and JSON that says where it is broken.

use crate::error::ApiError;
use crate::pace::{is_too_slow, paced};
use crate::shares::Share;
use crate::state::AppState;
use crate::validate::Fields;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};
use std::time::Duration;

/// A JSON body. An absent body is an empty object.
#[derive(Debug)]
pub struct JsonBody {
    value: Value,
    /// Its share of the bodies that are held as JSON at once.
    _share: Share,
}

/// How long a body waits for its share: others only parse while they hold theirs.
const SHARE_PATIENCE: Duration = Duration::from_secs(10);

impl JsonBody {
    /// What `parse` makes of the body. Body and share are gone when this returns: nobody may hold them while waiting.
    ///
    /// # Errors
    /// A 400 when the body is no object, and what `parse` answers.
    pub fn read<T>(self, parse: impl FnOnce(&Fields<'_>) -> Result<T, ApiError>) -> Result<T, ApiError> {
        parse(&Fields::body(&self.value)?)
    }
}

impl FromRequest<AppState> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let is_json = has_media_type(request.headers(), "application/json");
        let typed = request.headers().contains_key(header::CONTENT_TYPE);
        let bytes = read_bytes(request, state).await?;
        // JSON takes up to twenty times its bytes, so many large bodies at once would take the machine's memory.
        let share = state.json_shares().wait(bytes.len(), SHARE_PATIENCE).await;
        let share = share.ok_or_else(|| ApiError::overloaded("Too many large bodies are read; try again later."))?;
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
    let patience = state.options.body_timeout;
    Bytes::from_request(paced(request, patience), state).await.map_err(|rejection| {
        if is_too_slow(&rejection) {
            ApiError::body_too_slow(patience.as_secs())
        } else if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            ApiError::too_large(limit)
        } else {
            ApiError::malformed("The body broke off before its end.")
        }
    })
}

/// Whether the request's content type is `expected`, whatever its parameters.
pub fn has_media_type(headers: &HeaderMap, expected: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case(expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::router;
    use crate::state::ServerOptions;
    use axum::body::Body;
    use sconce_rag::Store;
    use std::sync::Arc;
    use tower::ServiceExt;

    /// What creating a vector store answers.
    async fn create(state: &AppState) -> StatusCode {
        let request = Request::post("/v1/vector_stores").header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Body::from("{\"name\": \"a\"}")).unwrap();
        router(state.clone()).oneshot(request).await.unwrap().status()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_finds_no_room_is_refused_after_a_while() {
        let state = AppState::new(None, Arc::new(Store::in_memory().unwrap()), ServerOptions::default());
        let all = state.json_shares().take(usize::MAX).unwrap();
        assert_eq!(create(&state).await, StatusCode::TOO_MANY_REQUESTS);
        drop(all);
        assert_eq!(create(&state).await, StatusCode::OK);
    }

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
