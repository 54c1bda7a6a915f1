//! What stands in front of every route: the key or else the host, the bound on requests in progress, counting. Nothing
//! here reads a body.

use crate::error::ApiError;
use crate::hosts;
use crate::metrics::RequestLabels;
use crate::state::{AppState, ServerOptions};
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body::{Frame, SizeHint};
use prometheus_client::metrics::gauge::Gauge;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::OwnedSemaphorePermit;

/// A body that keeps a place among the requests in progress until it is sent or dropped, so that a stream counts as
/// long as it lasts.
struct GuardedBody {
    inner: Body,
    _place: Place,
}

/// A place among the requests in progress.
struct Place {
    _permit: OwnedSemaphorePermit,
    in_progress: Gauge,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.in_progress.dec();
    }
}

impl HttpBody for GuardedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Counts the answer by route and status.
pub(crate) async fn count(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let method = known_method(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    let labels = RequestLabels { method, route, status: response.status().as_u16() };
    state.metrics().requests.get_or_create(&labels).inc();
    response
}

/// Methods are a client's free text; unknown ones share a series.
fn known_method(method: &Method) -> String {
    let known = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
    if known.contains(method) { method.to_string() } else { "other".into() }
}

/// Refuses at once what comes without the key or by way of a web page, and what exceeds the bound on requests in progress.
pub(crate) async fn admit(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if let Err(refused) = authorize(&state.options, &request) {
        return refused.into_response();
    }
    if state.is_draining() {
        return ApiError::unavailable("shutting_down", "The server is shutting down.").into_response();
    }
    let Ok(permit) = state.requests().clone().try_acquire_owned() else {
        let limit = state.options.max_concurrent_requests;
        let message = format!("The server is at its limit of {limit} requests in progress; try again later.");
        return ApiError::overloaded(message).into_response();
    };
    let in_progress = state.metrics().in_progress.clone();
    in_progress.inc();
    let place = Place { _permit: permit, in_progress };
    next.run(request).await.map(|inner| Body::new(GuardedBody { inner, _place: place }))
}

/// Asks for the key. Without one, whoever reaches this server may use it, so a web page must not reach it.
fn authorize(options: &ServerOptions, request: &Request) -> Result<(), ApiError> {
    match &options.api_key {
        Some(key) if carries_key(request, key) => Ok(()),
        Some(_) => Err(ApiError::unauthorized()),
        None if options.cors => Ok(()),
        None => hosts::check(request.headers(), &options.hosts),
    }
}

fn carries_key(request: &Request, key: &str) -> bool {
    let sent = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (scheme, token) = sent.split_once(' ').unwrap_or_default();
    scheme.eq_ignore_ascii_case("bearer") && equal_in_constant_time(token.trim().as_bytes(), key.as_bytes())
}

/// Compares without stopping at the first difference, so that the time tells nothing but the length of what was sent.
fn equal_in_constant_time(sent: &[u8], key: &[u8]) -> bool {
    let mut difference = sent.len() ^ key.len();
    for (index, &byte) in sent.iter().enumerate() {
        // Wrapping around the key keeps the work independent of where it ends.
        let other = key.get(index % key.len().max(1)).copied().unwrap_or(0);
        difference |= usize::from(std::hint::black_box(byte ^ other));
    }
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_equal_only_when_every_byte_is() {
        assert!(equal_in_constant_time(b"secret", b"secret"));
        for other in ["", "secre", "secrets", "Secret", "secretsecret"] {
            assert!(!equal_in_constant_time(other.as_bytes(), b"secret"), "{other}");
        }
        assert!(!equal_in_constant_time(b"", b"secret"));
    }

    #[test]
    fn made_up_methods_share_one_series() {
        assert_eq!(known_method(&Method::from_bytes(b"BREW").unwrap()), "other");
        assert_eq!(known_method(&Method::GET), "GET");
    }
}
