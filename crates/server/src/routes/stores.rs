//! `/v1/vector_stores`: create, list, read, update, delete.

use super::documents::{ingestion, to_the_end, with_store, within};
use super::store_files;
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::lanes::Admission;
use crate::openai::files::Deleted;
use crate::openai::vector_stores::{FileCounts, VectorStoreObject};
use crate::pages::{DEFAULT_PAGE, MAX_PAGE, Page, ValidPage};
use crate::path::PathIds;
use crate::state::AppState;
use crate::validate::documents::{ValidAttachment, ValidStore};
use axum::Json;
use axum::extract::{RawQuery, State};
use sconce_rag::{Attributes, VectorStore, VectorStoreUpdate};

/// `POST /v1/vector_stores`. Files that are named are read before the answer.
pub(crate) async fn create(State(state): State<AppState>, body: JsonBody) -> Result<Json<VectorStoreObject>, ApiError> {
    let new = body.read(ValidStore::parse)?;
    let admission = ingestion(&state)?;
    let created = to_the_end(async move { filled(&state, &admission, new).await });
    Ok(Json(object(created.await?)))
}

/// A new store with its files, or none at all.
async fn filled(state: &AppState, admission: &Admission, new: ValidStore) -> Result<VectorStore, ApiError> {
    let ValidStore { name, metadata, file_ids } = new;
    let files: Vec<ValidAttachment> =
        file_ids.into_iter().map(|file_id| ValidAttachment { file_id, attributes: Attributes::new() }).collect();
    let ids: Vec<String> = files.iter().map(|file| file.file_id.clone()).collect();
    let created = within(state, admission, move |store| {
        // An unknown file must not leave an empty store behind.
        ids.iter().try_for_each(|id| store.get_file(id).map(drop))?;
        store.create_vector_store(name.as_deref().unwrap_or_default(), &metadata.unwrap_or_default())
    });
    let created = created.await?;
    if files.is_empty() {
        return Ok(created);
    }
    let id = created.id;
    let attached = store_files::attach_all(state, admission, &id, files).await;
    let whole = attached.is_ok();
    let stored = within(state, admission, move |store| {
        if whole {
            return store.get_vector_store(&id).map(Some);
        }
        // The client hears of an error and of no id: what was begun must not stay.
        store.delete_vector_store(&id).map(|_| None)
    });
    let stored = stored.await;
    attached?;
    stored?.ok_or_else(|| ApiError::internal("The vector store was not created."))
}

/// `GET /v1/vector_stores`.
pub(crate) async fn list(
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<VectorStoreObject>>, ApiError> {
    let page = ValidPage::parse(query.as_deref(), DEFAULT_PAGE, MAX_PAGE)?.options();
    let page = with_store(&state, move |store| store.list_vector_stores(&page)).await?;
    Ok(Json(Page::of(page, |store| &store.id, object)))
}

/// `GET /v1/vector_stores/{store}`.
pub(crate) async fn one(
    State(state): State<AppState>,
    PathIds(id): PathIds<String>,
) -> Result<Json<VectorStoreObject>, ApiError> {
    Ok(Json(object(with_store(&state, move |store| store.get_vector_store(&id)).await?)))
}

/// `POST /v1/vector_stores/{store}`: a new name, new metadata.
pub(crate) async fn update(
    State(state): State<AppState>,
    PathIds(id): PathIds<String>,
    body: JsonBody,
) -> Result<Json<VectorStoreObject>, ApiError> {
    let ValidStore { name, metadata, .. } = body.read(ValidStore::parse)?;
    let update = VectorStoreUpdate { name, metadata };
    Ok(Json(object(with_store(&state, move |store| store.update_vector_store(&id, &update)).await?)))
}

/// `DELETE /v1/vector_stores/{store}`: the store and what it indexed; its files stay.
pub(crate) async fn delete(
    State(state): State<AppState>,
    PathIds(id): PathIds<String>,
) -> Result<Json<Deleted>, ApiError> {
    let deleted = id.clone();
    with_store(&state, move |store| store.delete_vector_store(&id)).await?;
    Ok(Json(Deleted { id: deleted, object: "vector_store.deleted", deleted: true }))
}

fn object(store: VectorStore) -> VectorStoreObject {
    VectorStoreObject {
        id: store.id,
        object: "vector_store",
        created_at: store.created_at,
        name: store.name,
        usage_bytes: store.usage_bytes,
        file_counts: FileCounts {
            in_progress: store.file_counts.in_progress,
            completed: store.file_counts.completed,
            failed: store.file_counts.failed,
            cancelled: store.file_counts.cancelled,
            total: store.file_counts.total,
        },
        status: "completed",
        expires_after: None,
        expires_at: None,
        last_active_at: Some(store.last_active_at),
        metadata: store.metadata,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::router;
    use crate::state::ServerOptions;
    use axum::body::Body;
    use axum::http::{Request, header};
    use futures_util::FutureExt;
    use sconce_rag::{ListOptions, NewFile, Store};
    use serde_json::{Value, json};
    use std::sync::Arc;
    use tower::ServiceExt;

    /// Begins a POST, and leaves before its answer.
    fn begun_and_left(state: &AppState, path: &str, body: &Value) {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        let answer = router(state.clone()).oneshot(request.body(Body::from(body.to_string())).unwrap());
        assert!(answer.now_or_never().is_none(), "it waits for the store");
    }

    #[tokio::test]
    async fn what_a_client_begins_and_leaves_is_completed() {
        let state = AppState::new(None, Arc::new(Store::in_memory().unwrap()), ServerOptions::default());
        let file = |number: u32| {
            let text = format!("# Role {number}\n\nIt has {number} duties.\n");
            let new = NewFile { filename: "role.md", bytes: text.as_bytes(), purpose: "assistants" };
            state.store.create_file(&new).unwrap().id
        };
        let files: Vec<String> = (0..4).map(file).collect();
        begun_and_left(&state, "/v1/vector_stores", &json!({"file_ids": files[..2]}));
        state.ingest_lane().emptied().await;
        let stores = state.store.list_vector_stores(&ListOptions::default()).unwrap().data;
        assert_eq!((stores.len(), stores[0].file_counts.completed), (1, 2));

        let path = format!("/v1/vector_stores/{}/file_batches", stores[0].id);
        begun_and_left(&state, &path, &json!({"file_ids": files[2..]}));
        state.ingest_lane().emptied().await;
        assert_eq!(state.store.get_vector_store(&stores[0].id).unwrap().file_counts.completed, 4);
    }
}
