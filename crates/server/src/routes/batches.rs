//! `POST /v1/vector_stores/{store}/file_batches`: several files at once. The batch ends before its request is answered,
//! so there is nothing to poll.

use super::documents::{ingestion, within};
use super::store_files::attach_all;
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::ids::{new_id, unix_seconds};
use crate::openai::vector_stores::{FileBatch, FileCounts};
use crate::state::AppState;
use crate::validate::documents::ValidAttachment;
use axum::Json;
use axum::extract::{Path, State};
use sconce_rag::FileStatus;

/// Attaches the files; those that cannot be read are counted as failed.
pub(crate) async fn create(
    State(state): State<AppState>,
    Path(id): Path<String>,
    body: JsonBody,
) -> Result<Json<FileBatch>, ApiError> {
    let files = body.read(ValidAttachment::parse_batch)?;
    let (store_id, ids) = (id.clone(), files.iter().map(|file| file.file_id.clone()).collect::<Vec<_>>());
    // An unknown id must not leave half a batch behind.
    let admission = ingestion(&state)?;
    within(&state, &admission, move |store| {
        store.get_vector_store(&store_id)?;
        ids.iter().try_for_each(|id| store.get_file(id).map(drop))
    })
    .await?;
    let attached = attach_all(&state, &admission, &id, files).await?;
    let failed = attached.iter().filter(|file| file.status == FileStatus::Failed).count() as u64;
    let total = attached.len() as u64;
    Ok(Json(FileBatch {
        id: new_id("vsfb_"),
        object: "vector_store.files_batch",
        created_at: unix_seconds(),
        vector_store_id: id,
        status: "completed",
        file_counts: FileCounts { completed: total - failed, failed, total, ..FileCounts::default() },
    }))
}
