//! Server-sent events as OpenAI's clients read them. A stream ends with `[DONE]` or with an error event, never in silence.

use crate::error::ApiError;
use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _};
use serde::Serialize;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

/// A `data:` line with JSON.
pub fn data(value: &impl Serialize) -> Event {
    // The wire types hold nothing that JSON cannot say; if one ever does, the client hears of it.
    Event::default().json_data(value).unwrap_or_else(|error| {
        tracing::error!(%error, "an event could not be written as JSON");
        Event::default().data(
            r#"{"error":{"message":"An event could not be written.","type":"server_error","param":null,"code":null}}"#,
        )
    })
}

/// The same with an `event:` line in front, as `/v1/responses` sends it.
pub fn named(name: &str, value: &impl Serialize) -> Event {
    data(value).event(name)
}

/// The error that ends a stream.
pub fn error(error: &ApiError) -> Event {
    data(&error.body())
}

/// The line that ends a stream of chat or completions.
pub fn done() -> Event {
    Event::default().data("[DONE]")
}

/// Sends events as they come, with a comment after each `keep_alive` of silence.
pub fn respond(events: impl Stream<Item = Event> + Send + 'static, keep_alive: Duration) -> Response {
    let events = loud(events).map(Ok::<_, Infallible>);
    let keep_alive = KeepAlive::new().interval(keep_alive).text("keep-alive");
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    // nginx would collect the stream otherwise.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// A fault of ours in the midst of a stream ends it with an error event: the status line is long gone, and without the
/// event the answer would look like a whole one that is short.
fn loud(events: impl Stream<Item = Event> + Send + 'static) -> impl Stream<Item = Event> + Send + 'static {
    // Whatever the panic left half done is dropped with the stream.
    AssertUnwindSafe(events).catch_unwind().map(|event| {
        event.unwrap_or_else(|_| {
            tracing::error!("a stream broke off through a fault in the server");
            error(&ApiError::internal("The answer broke off through a fault in the server; its log has more."))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    #[tokio::test]
    async fn a_panic_in_a_stream_reaches_the_client_as_an_error() {
        let events = stream::iter([true, false]).map(|good| if good { done() } else { panic!("on purpose") });
        let body = respond(events, Duration::from_secs(60)).into_body();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(text.starts_with("data: [DONE]\n\ndata: {\"error\":"), "{text}");
        assert!(text.contains("server_error"), "{text}");
    }
}
