//! Server-sent events as OpenAI's clients read them. A stream ends with `[DONE]` or with an error event, never in silence.

use crate::error::ApiError;
use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use serde::Serialize;
use std::convert::Infallible;
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
    use futures_util::StreamExt;
    let events = events.map(Ok::<_, Infallible>);
    let keep_alive = KeepAlive::new().interval(keep_alive).text("keep-alive");
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    // nginx would collect the stream otherwise.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}
