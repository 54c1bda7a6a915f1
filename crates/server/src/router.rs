//! Every route, and what a path or method without one answers.

use crate::error::ApiError;
use crate::guard;
use crate::routes::{batches, chat, completions, files, health, models, responses, search, store_files, stores};
use crate::state::AppState;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::any::Any;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;

/// The whole HTTP surface over `state`.
pub fn router(state: AppState) -> Router {
    let json = Router::new()
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/completions", post(completions::create))
        .route("/v1/responses", post(responses::create))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*model}", get(models::one))
        .route("/v1/files/{file}", get(files::one).delete(files::delete))
        .route("/v1/files/{file}/content", get(files::content))
        .route("/v1/vector_stores", get(stores::list).post(stores::create))
        .route("/v1/vector_stores/{store}", get(stores::one).post(stores::update).delete(stores::delete))
        .route("/v1/vector_stores/{store}/search", post(search::create))
        .route("/v1/vector_stores/{store}/files", get(store_files::list).post(store_files::attach))
        .route(
            "/v1/vector_stores/{store}/files/{file}",
            get(store_files::one).post(store_files::update).delete(store_files::detach),
        )
        .route("/v1/vector_stores/{store}/files/{file}/content", get(store_files::content))
        .route("/v1/vector_stores/{store}/file_batches", post(batches::create))
        .route("/v1/vector_stores/{store}/file_batches/{batch}", get(batches::one))
        .route("/v1/vector_stores/{store}/file_batches/{batch}/cancel", post(batches::cancel))
        .route("/v1/vector_stores/{store}/file_batches/{batch}/files", get(batches::files))
        .layer(DefaultBodyLimit::max(state.options.max_json_bytes));
    let upload = Router::new()
        .route("/v1/files", get(files::list).post(files::upload))
        .layer(DefaultBodyLimit::max(files::max_form_bytes(&state)));
    let guarded = json.merge(upload).route_layer(from_fn_with_state(state.clone(), guard::admit));
    let open = Router::new()
        .route("/", get(health::welcome))
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/metrics", get(health::metrics));
    let mut router = open
        .merge(guarded)
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(state.clone(), guard::count));
    if state.options.cors {
        router = router.layer(CorsLayer::permissive());
    }
    router.with_state(state)
}

async fn unknown_route(request: Request) -> ApiError {
    ApiError::unknown_route(request.method().as_str(), request.uri().path())
}

async fn wrong_method(request: Request) -> ApiError {
    ApiError::method_not_allowed(request.method().as_str(), request.uri().path())
}

/// A panic is a bug of ours: the client gets a 500 and the server goes on.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands the panic over by value")]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let reason = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(reason = reason.unwrap_or("unknown"), "a handler panicked");
    ApiError::internal("An internal error occurred; the server's log has more.").into_response()
}
