//! Calling the store from a handler: on a thread of its own, behind a bound, with its errors in HTTP's words.

use crate::error::ApiError;
use crate::state::{AppState, Lane};
use sconce_rag::{ListOptions, Order, RagError, Store};
use std::time::Instant;

/// Runs `call` on a blocking thread. At most `max_store_calls` run at once and `max_waiting_store_calls` wait; the
/// next one gets a 429.
pub(crate) async fn with_store<T: Send + 'static>(
    state: &AppState,
    call: impl FnOnce(&Store) -> sconce_rag::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    blocking(state, state.store_lane(), move |store| call(store).map_err(|error| store_error(&error))).await
}

/// [`with_store`] for retrieval and ingestion, which are counted and timed as `operation`.
pub(crate) async fn measured<T: Send + 'static>(
    state: &AppState,
    operation: &'static str,
    call: impl FnOnce(&Store) -> sconce_rag::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    let started = Instant::now();
    let result = with_store(state, call).await;
    state.metrics().observe_retrieval(operation, result.is_ok(), started.elapsed());
    result
}

/// Runs `call` in a lane of its own, for answers that wait for the engine.
pub(crate) async fn answered<T: Send + 'static>(
    state: &AppState,
    call: impl FnOnce(&Store) -> sconce_rag::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    let started = Instant::now();
    let lane = if state.engine.is_some() { state.answer_lane() } else { state.store_lane() };
    let result = blocking(state, lane, move |store| call(store).map_err(|error| store_error(&error))).await;
    state.metrics().observe_retrieval("answer", result.is_ok(), started.elapsed());
    result
}

async fn blocking<T: Send + 'static>(
    state: &AppState,
    lane: &Lane,
    call: impl FnOnce(&Store) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let full = || ApiError::overloaded("Too many calls wait for the documents; try again later.");
    let place = lane.enter().await.ok_or_else(full)?;
    let store = state.store.clone();
    let run = move || {
        // Held here and not by the handler: a call goes on when its client has gone, and must count until it ends.
        let _held = place;
        call(&store)
    };
    tokio::task::spawn_blocking(run).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a store call panicked");
        Err(ApiError::internal("An internal error occurred; the server's log has more."))
    })
}

/// The store's error as a client sees it.
pub(crate) fn store_error(error: &RagError) -> ApiError {
    match error {
        RagError::Invalid { field, reason } => ApiError::invalid(field.clone(), format!("{field}: {reason}.")),
        RagError::NotFound { kind, id } => ApiError::not_found(kind, id),
        RagError::Busy { .. } => ApiError::overloaded(format!("{error}.")),
        RagError::TooLarge { limit, .. } => ApiError::too_large(usize::try_from(*limit).unwrap_or(usize::MAX)),
        error if error.is_document_fault() => ApiError::invalid("file", format!("{error}.")),
        error => {
            tracing::error!(%error, "the document store failed");
            ApiError::internal("The document store failed; the server's log has more.")
        }
    }
}

/// The oldest vector store, for the line that a newcomer may try. A store that cannot be read has none.
pub(crate) async fn first_store(state: &AppState) -> Option<String> {
    let options = ListOptions { limit: 1, order: Order::Asc, after: None, before: None };
    let page = with_store(state, move |store| store.list_vector_stores(&options)).await.ok()?;
    page.data.into_iter().next().map(|store| store.id)
}
