//! `/v1/vector_stores`: create, list, read, update, delete.

use super::documents::{ingestion, with_store, within};
use super::store_files;
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::openai::files::Deleted;
use crate::openai::vector_stores::{FileCounts, VectorStoreObject};
use crate::pages::{DEFAULT_PAGE, MAX_PAGE, Page, ValidPage};
use crate::state::AppState;
use crate::validate::documents::{ValidAttachment, ValidStore};
use axum::Json;
use axum::extract::{Path, RawQuery, State};
use sconce_rag::{Attributes, VectorStore, VectorStoreUpdate};

/// `POST /v1/vector_stores`. Files that are named are read before the answer.
pub(crate) async fn create(State(state): State<AppState>, body: JsonBody) -> Result<Json<VectorStoreObject>, ApiError> {
    let ValidStore { name, metadata, file_ids } = body.read(ValidStore::parse)?;
    let files: Vec<ValidAttachment> =
        file_ids.into_iter().map(|file_id| ValidAttachment { file_id, attributes: Attributes::new() }).collect();
    let ids: Vec<String> = files.iter().map(|file| file.file_id.clone()).collect();
    let admission = ingestion(&state)?;
    let created = within(&state, &admission, move |store| {
        // An unknown file must not leave an empty store behind.
        ids.iter().try_for_each(|id| store.get_file(id).map(drop))?;
        store.create_vector_store(name.as_deref().unwrap_or_default(), &metadata.unwrap_or_default())
    });
    let created = created.await?;
    if files.is_empty() {
        return Ok(Json(object(created)));
    }
    let id = created.id;
    let attached = store_files::attach_all(&state, &admission, &id, files).await;
    let whole = attached.is_ok();
    let stored = within(&state, &admission, move |store| {
        if whole {
            return store.get_vector_store(&id).map(Some);
        }
        // The client hears of an error and of no id: what was begun must not stay.
        store.delete_vector_store(&id).map(|_| None)
    });
    let stored = stored.await;
    attached?;
    let stored = stored?.ok_or_else(|| ApiError::internal("The vector store was not created."))?;
    Ok(Json(object(stored)))
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
    Path(id): Path<String>,
) -> Result<Json<VectorStoreObject>, ApiError> {
    Ok(Json(object(with_store(&state, move |store| store.get_vector_store(&id)).await?)))
}

/// `POST /v1/vector_stores/{store}`: a new name, new metadata.
pub(crate) async fn update(
    State(state): State<AppState>,
    Path(id): Path<String>,
    body: JsonBody,
) -> Result<Json<VectorStoreObject>, ApiError> {
    let ValidStore { name, metadata, .. } = body.read(ValidStore::parse)?;
    let update = VectorStoreUpdate { name, metadata };
    Ok(Json(object(with_store(&state, move |store| store.update_vector_store(&id, &update)).await?)))
}

/// `DELETE /v1/vector_stores/{store}`: the store and what it indexed; its files stay.
pub(crate) async fn delete(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<Deleted>, ApiError> {
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
