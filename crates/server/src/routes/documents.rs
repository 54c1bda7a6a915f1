//! Calling the store from a handler: on a thread of its own, behind a bound, with its errors in HTTP's words.

use crate::error::ApiError;
use crate::lanes::{Admission, Lane, Turn};
use crate::state::AppState;
use sconce_rag::{ListOptions, Order, RagError, Store};
use std::time::Instant;
use tokio::task::JoinError;

/// Runs `call` on a blocking thread. At most `max_store_calls` run at once and `max_waiting_store_calls` wait; the
/// next one gets a 429.
pub(crate) async fn with_store<T: Send + 'static>(
    state: &AppState,
    call: impl FnOnce(&Store) -> sconce_rag::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    within(state, &admitted(state.store_lane())?, call).await
}

/// [`with_store`] for a search, which is counted and timed.
pub(crate) async fn searched<T: Send + 'static>(
    state: &AppState,
    call: impl FnOnce(&Store) -> sconce_rag::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    let started = Instant::now();
    let result = with_store(state, call).await;
    state.metrics().observe_retrieval("search", result.is_ok(), started.elapsed());
    result
}

/// Permission to change what is indexed. A request takes it once, before its first change: a 429 in the midst of it would
/// leave half of its work behind.
pub(crate) fn ingestion(state: &AppState) -> Result<Admission, ApiError> {
    admitted(state.ingest_lane())
}

/// Ingests one document, counted and timed.
pub(crate) async fn ingested<T: Send + 'static>(
    state: &AppState,
    admission: &Admission,
    call: impl FnOnce(&Store) -> sconce_rag::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    let started = Instant::now();
    let result = within(state, admission, call).await;
    state.metrics().observe_retrieval("ingest", result.is_ok(), started.elapsed());
    result
}

/// A turn to answer a question. It is taken before a stream begins, so that an overload is still a status.
pub(crate) async fn turn_to_answer(state: &AppState) -> Result<Turn, ApiError> {
    // Answers that wait for the engine have a lane of their own.
    let lane = if state.engine.is_some() { state.answer_lane() } else { state.store_lane() };
    turn(&admitted(lane)?).await
}

/// Answers in the turn that was taken.
pub(crate) async fn answered<T: Send + 'static>(
    state: &AppState,
    turn: Turn,
    call: impl FnOnce(&Store) -> sconce_rag::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    let started = Instant::now();
    let result = blocking(state, turn, call).await;
    state.metrics().observe_retrieval("answer", result.is_ok(), started.elapsed());
    result
}

/// Runs `call` when its turn comes.
pub(crate) async fn within<T: Send + 'static>(
    state: &AppState,
    admission: &Admission,
    call: impl FnOnce(&Store) -> sconce_rag::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    blocking(state, turn(admission).await?, call).await
}

/// Runs `work` to its end, even when its client has gone: half of it must not stay.
pub(crate) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(panicked(&error)))
}

fn admitted(lane: &Lane) -> Result<Admission, ApiError> {
    lane.admit().ok_or_else(full)
}

async fn turn(admission: &Admission) -> Result<Turn, ApiError> {
    admission.turn().await.ok_or_else(full)
}

fn full() -> ApiError {
    ApiError::overloaded("Too many calls wait for the documents; try again later.")
}

async fn blocking<T: Send + 'static>(
    state: &AppState,
    turn: Turn,
    call: impl FnOnce(&Store) -> sconce_rag::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    let store = state.store.clone();
    let run = move || {
        // Held here and not by the handler, which goes with its client.
        let _held = turn;
        call(&store).map_err(|error| store_error(&error))
    };
    tokio::task::spawn_blocking(run).await.unwrap_or_else(|error| Err(panicked(&error)))
}

fn panicked(error: &JoinError) -> ApiError {
    tracing::error!(%error, "a store call panicked");
    ApiError::internal("An internal error occurred; the server's log has more.")
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
