//! `/v1/vector_stores/{store}/files`: attach, list, read, update, detach.

use super::documents::{ingested, ingestion, with_store};
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::lanes::Admission;
use crate::openai::files::Deleted;
use crate::openai::vector_stores::{ChunkingStrategy, FileContentPage, FileError, TextContent, VectorStoreFileObject};
use crate::pages::{DEFAULT_PAGE, MAX_PAGE, Page, ValidPage, query_value};
use crate::path::PathIds;
use crate::state::AppState;
use crate::validate::documents::{ValidAttachment, attributes};
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use sconce_rag::{FileStatus, VectorStoreFile};

/// `POST …/files`: the file is parsed and indexed before the answer.
pub(crate) async fn attach(
    State(state): State<AppState>,
    PathIds(id): PathIds<String>,
    body: JsonBody,
) -> Result<Json<VectorStoreFileObject>, ApiError> {
    let ValidAttachment { file_id, attributes } = body.read(ValidAttachment::parse)?;
    let admission = ingestion(&state)?;
    let attached = ingested(&state, &admission, move |store| store.attach(&id, &file_id, &attributes)).await?;
    Ok(Json(object(attached)))
}

/// Attaches files one by one, so that other requests get their turn between two of them. None of them is refused once the
/// request is admitted.
pub(crate) async fn attach_all(
    state: &AppState,
    admission: &Admission,
    id: &str,
    files: Vec<ValidAttachment>,
) -> Result<Vec<VectorStoreFile>, ApiError> {
    let mut attached = Vec::with_capacity(files.len());
    for ValidAttachment { file_id, attributes } in files {
        let id = id.to_owned();
        attached.push(ingested(state, admission, move |store| store.attach(&id, &file_id, &attributes)).await?);
    }
    Ok(attached)
}

/// `GET …/files`, perhaps with `filter=completed`.
pub(crate) async fn list(
    State(state): State<AppState>,
    PathIds(id): PathIds<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<VectorStoreFileObject>>, ApiError> {
    let page = ValidPage::parse(query.as_deref(), DEFAULT_PAGE, MAX_PAGE)?.options();
    let shown = Shown::parse(query.as_deref())?;
    let page = with_store(&state, move |store| match shown {
        Shown::All => store.list_attached(&id, None, &page),
        Shown::Only(status) => store.list_attached(&id, Some(status), &page),
        Shown::Nothing => store.get_vector_store(&id).map(|_| sconce_rag::Page { data: Vec::new(), has_more: false }),
    });
    Ok(Json(Page::of(page.await?, |file| &file.id, object)))
}

/// Which files a list shows: its `filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    All,
    Only(FileStatus),
    /// Files are read before their request is answered, so that none is ever in progress or cancelled.
    Nothing,
}

impl Shown {
    pub(crate) fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        match query_value(query, "filter").as_deref() {
            None => Ok(Self::All),
            Some("completed") => Ok(Self::Only(FileStatus::Completed)),
            Some("failed") => Ok(Self::Only(FileStatus::Failed)),
            Some("in_progress" | "cancelled") => Ok(Self::Nothing),
            Some(_) => {
                let message = "filter must be completed, failed, in_progress or cancelled.";
                Err(ApiError::invalid("filter", message))
            }
        }
    }

    pub(crate) fn shows(self, file: &VectorStoreFile) -> bool {
        match self {
            Self::All => true,
            Self::Only(status) => file.status == status,
            Self::Nothing => false,
        }
    }
}

/// `GET …/files/{file}`.
pub(crate) async fn one(
    State(state): State<AppState>,
    PathIds((id, file)): PathIds<(String, String)>,
) -> Result<Json<VectorStoreFileObject>, ApiError> {
    Ok(Json(object(with_store(&state, move |store| store.get_attached(&id, &file)).await?)))
}

/// `POST …/files/{file}`: new attributes; null or nothing clears them.
pub(crate) async fn update(
    State(state): State<AppState>,
    PathIds((id, file)): PathIds<(String, String)>,
    body: JsonBody,
) -> Result<Json<VectorStoreFileObject>, ApiError> {
    let attributes = body.read(attributes)?.unwrap_or_default();
    let updated = with_store(&state, move |store| store.update_attached(&id, &file, &attributes));
    Ok(Json(object(updated.await?)))
}

/// `DELETE …/files/{file}`: out of the store; the file itself stays.
pub(crate) async fn detach(
    State(state): State<AppState>,
    PathIds((id, file)): PathIds<(String, String)>,
) -> Result<Json<Deleted>, ApiError> {
    let deleted = file.clone();
    with_store(&state, move |store| store.detach(&id, &file)).await?;
    Ok(Json(Deleted { id: deleted, object: "vector_store.file.deleted", deleted: true }))
}

/// `GET …/files/{file}/content`: the text that citations' source spans refer to.
pub(crate) async fn content(
    State(state): State<AppState>,
    PathIds((id, file)): PathIds<(String, String)>,
) -> Result<Response, ApiError> {
    let asked = file.clone();
    let size = with_store(&state, move |store| {
        store.get_attached(&id, &asked)?;
        store.get_file(&asked).map(|file| file.bytes)
    });
    // The text and its JSON.
    let share = state.file_share(usize::try_from(size.await?).unwrap_or(usize::MAX).saturating_mul(2))?;
    let content = with_store(&state, move |store| {
        let data = vec![TextContent { kind: "text", text: store.source_document(&file)?.text }];
        let page = FileContentPage { object: "vector_store.file_content.page", data, has_more: false, next_page: None };
        Ok(serde_json::to_vec(&page).map(|json| share.hold(json)))
    });
    let content = content.await?.map_err(|error| ApiError::internal(format!("The text is no JSON: {error}.")))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], content).into_response())
}

pub(crate) fn object(file: VectorStoreFile) -> VectorStoreFileObject {
    VectorStoreFileObject {
        id: file.id,
        object: "vector_store.file",
        created_at: file.created_at,
        usage_bytes: file.usage_bytes,
        vector_store_id: file.vector_store_id,
        status: status_name(file.status),
        last_error: file.last_error.map(|error| FileError { code: error.code, message: error.message }),
        attributes: file.attributes,
        chunking_strategy: ChunkingStrategy { kind: "other" },
    }
}

fn status_name(status: FileStatus) -> &'static str {
    match status {
        FileStatus::Completed => "completed",
        FileStatus::Failed => "failed",
    }
}
