//! `/v1/vector_stores/{store}/file_batches`: several files at once. A batch ends before its request is answered, so that
//! whoever polls finds it completed; see [`crate::recent`] for how long it is found.

use super::documents::{ingestion, to_the_end, with_store, within};
use super::store_files::{Shown, attach_all, object};
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::ids::{new_id, unix_seconds};
use crate::lanes::Admission;
use crate::openai::vector_stores::{FileBatch, FileCounts, VectorStoreFileObject};
use crate::pages::{DEFAULT_PAGE, MAX_PAGE, Page, ValidPage};
use crate::path::PathIds;
use crate::recent::Batch;
use crate::state::AppState;
use crate::validate::documents::ValidAttachment;
use axum::Json;
use axum::extract::{RawQuery, State};
use sconce_rag::{FileStatus, RagError, Store, VectorStoreFile};
use std::collections::HashSet;
use std::sync::Arc;

/// `POST …/file_batches`: attaches the files; those that cannot be read are counted as failed.
pub(crate) async fn create(
    State(state): State<AppState>,
    PathIds(id): PathIds<String>,
    body: JsonBody,
) -> Result<Json<FileBatch>, ApiError> {
    let files = body.read(ValidAttachment::parse_batch)?;
    let admission = ingestion(&state)?;
    to_the_end(async move { attached(&state, &admission, id, files).await }).await.map(Json)
}

async fn attached(
    state: &AppState,
    admission: &Admission,
    id: String,
    files: Vec<ValidAttachment>,
) -> Result<FileBatch, ApiError> {
    let (store_id, ids) = (id.clone(), files.iter().map(|file| file.file_id.clone()).collect::<Vec<_>>());
    // An unknown id must not leave half a batch behind.
    within(state, admission, move |store| {
        store.get_vector_store(&store_id)?;
        ids.iter().try_for_each(|id| store.get_file(id).map(drop))
    })
    .await?;
    let attached = attach_all(state, admission, &id, files).await?;
    let failed = attached.iter().filter(|file| file.status == FileStatus::Failed).count() as u64;
    let total = attached.len() as u64;
    let answer = FileBatch {
        id: new_id("vsfb_"),
        object: "vector_store.files_batch",
        created_at: unix_seconds(),
        vector_store_id: id,
        status: "completed",
        file_counts: FileCounts { completed: total - failed, failed, total, ..FileCounts::default() },
    };
    // Each once: an id is also the cursor of its page.
    let mut seen = HashSet::new();
    let file_ids = attached.into_iter().map(|file| file.id).filter(|id| seen.insert(id.clone())).collect();
    state.recent_batches().remember(Batch { answer: answer.clone(), file_ids });
    Ok(answer)
}

/// `GET …/file_batches/{batch}`.
pub(crate) async fn one(
    State(state): State<AppState>,
    PathIds((id, batch)): PathIds<(String, String)>,
) -> Result<Json<FileBatch>, ApiError> {
    Ok(Json(found(&state, &id, &batch).await?.answer.clone()))
}

/// `POST …/file_batches/{batch}/cancel`: a batch has always ended, so it is answered as it is.
pub(crate) async fn cancel(
    state: State<AppState>,
    ids: PathIds<(String, String)>,
) -> Result<Json<FileBatch>, ApiError> {
    one(state, ids).await
}

/// `GET …/file_batches/{batch}/files`, perhaps with a `filter`: those of the batch's files that are still attached.
pub(crate) async fn files(
    State(state): State<AppState>,
    PathIds((id, batch)): PathIds<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<VectorStoreFileObject>>, ApiError> {
    let page = ValidPage::parse(query.as_deref(), DEFAULT_PAGE, MAX_PAGE)?;
    let shown = Shown::parse(query.as_deref())?;
    let batch = found(&state, &id, &batch).await?;
    let files = with_store(&state, move |store| {
        let attached = batch.file_ids.iter().filter_map(|file| still_attached(store, &id, file).transpose());
        attached.collect::<sconce_rag::Result<Vec<_>>>()
    });
    let page = page.cut(files.await?, "file", |file| &file.id, |file| shown.shows(file))?;
    Ok(Json(Page::of(page, |file| &file.id, object)))
}

/// The batch, when it is remembered and its vector store is still there.
async fn found(state: &AppState, store_id: &str, id: &str) -> Result<Arc<Batch>, ApiError> {
    let asked = store_id.to_owned();
    with_store(state, move |store| store.get_vector_store(&asked).map(drop)).await?;
    state.recent_batches().find(store_id, id).ok_or_else(|| ApiError::not_found("file batch", id))
}

fn still_attached(store: &Store, id: &str, file: &str) -> sconce_rag::Result<Option<VectorStoreFile>> {
    match store.get_attached(id, file) {
        Ok(file) => Ok(Some(file)),
        Err(RagError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
