//! `/v1/files`: upload, list, read, delete.

use super::documents::with_store;
use crate::body::has_media_type;
use crate::error::ApiError;
use crate::openai::files::{Deleted, FileObject};
use crate::pace::{is_too_slow, paced};
use crate::pages::{Page, ValidPage, query_value};
use crate::path::PathIds;
use crate::state::AppState;
use axum::Json;
use axum::body::HttpBody;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, RawQuery, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sconce_rag::{File, NewFile};

/// The largest page of `/v1/files`, and its default, as OpenAI has it.
const MAX_PAGE: usize = 10_000;
/// The most parts of an upload.
const MAX_PARTS: usize = 16;
/// Room for the multipart framing around the file, in bytes.
const MULTIPART_OVERHEAD: usize = 64 << 10;
/// The longest filename, in bytes.
const MAX_FILENAME_BYTES: usize = 512;
/// What OpenAI's clients name as the reason of an upload.
const PURPOSES: [&str; 7] = ["assistants", "user_data", "batch", "fine-tune", "vision", "evals", "assistants_output"];

/// `POST /v1/files`, multipart: `file` and `purpose`.
pub(crate) async fn upload(State(state): State<AppState>, request: Request) -> Result<Json<FileObject>, ApiError> {
    if !has_media_type(request.headers(), "multipart/form-data") {
        return Err(ApiError::unsupported_media("multipart/form-data"));
    }
    let most = max_form_bytes(&state);
    let size = request.body().size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
    let share = state.file_share(size.unwrap_or(most).min(most))?;
    let new = read_form(paced(request, state.options.body_timeout), &state).await?;
    let file = with_store(&state, move |store| {
        let _held = share;
        store.create_file(&NewFile { filename: &new.filename, bytes: &new.bytes, purpose: &new.purpose })
    });
    Ok(Json(object(file.await?)))
}

/// What an upload brings.
struct Upload {
    filename: String,
    bytes: Vec<u8>,
    purpose: String,
}

/// The largest body of an upload, in bytes.
pub(crate) fn max_form_bytes(state: &AppState) -> usize {
    state.options.max_file_bytes.saturating_add(MULTIPART_OVERHEAD)
}

async fn read_form(request: Request, state: &AppState) -> Result<Upload, ApiError> {
    let broken = |error: &MultipartError| form_error(error, state);
    let mut form = Multipart::from_request(request, state)
        .await
        .map_err(|_| ApiError::malformed("The multipart body has no boundary; let the client set the header."))?;
    let (mut file, mut purpose) = (None, None);
    let mut parts = 0;
    while let Some(part) = form.next_field().await.map_err(|error| broken(&error))? {
        parts += 1;
        if parts > MAX_PARTS {
            return Err(ApiError::malformed(format!("The form has more than {MAX_PARTS} parts.")));
        }
        match part.name().unwrap_or_default() {
            "file" => file = Some(read_file(part, state).await?),
            "purpose" => purpose = Some(part.text().await.map_err(|error| broken(&error))?),
            name if name.starts_with("expires_after") => {
                return Err(ApiError::unsupported("expires_after", "Files do not expire; leave expires_after out."));
            }
            _ => {}
        }
    }
    let required = |name: &str| ApiError {
        code: Some("missing_required_parameter"),
        ..ApiError::invalid(name, format!("The form needs the field {name}."))
    };
    let purpose = purpose.ok_or_else(|| required("purpose"))?;
    if !PURPOSES.contains(&purpose.as_str()) {
        let message = format!("purpose must be one of {}.", PURPOSES.join(", "));
        return Err(ApiError::invalid("purpose", message));
    }
    let (filename, bytes) = file.ok_or_else(|| required("file"))?;
    Ok(Upload { filename, bytes, purpose })
}

async fn read_file(mut part: Field<'_>, state: &AppState) -> Result<(String, Vec<u8>), ApiError> {
    let filename = part.file_name().unwrap_or_default().to_owned();
    if filename.is_empty() || filename.len() > MAX_FILENAME_BYTES || filename.contains(char::is_control) {
        let message = format!("file needs a filename of 1 to {MAX_FILENAME_BYTES} bytes without control characters.");
        return Err(ApiError::invalid("file", message));
    }
    let limit = state.options.max_file_bytes;
    let mut bytes = Vec::new();
    while let Some(chunk) = part.chunk().await.map_err(|error| form_error(&error, state))? {
        if bytes.len() + chunk.len() > limit {
            return Err(ApiError::too_large(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    if bytes.is_empty() {
        return Err(ApiError::invalid("file", format!("The file '{filename}' is empty.")));
    }
    Ok((filename, bytes))
}

fn form_error(error: &MultipartError, state: &AppState) -> ApiError {
    if is_too_slow(error) {
        ApiError::body_too_slow(state.options.body_timeout.as_secs())
    } else if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        ApiError::too_large(state.options.max_file_bytes)
    } else {
        ApiError::malformed(format!("The form is broken: {}.", error.body_text()))
    }
}

/// `GET /v1/files`.
pub(crate) async fn list(
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<FileObject>>, ApiError> {
    let page = ValidPage::parse(query.as_deref(), MAX_PAGE, MAX_PAGE)?;
    let purpose = query_value(query.as_deref(), "purpose");
    let page = with_store(&state, move |store| store.list_files(purpose.as_deref(), &page.options())).await?;
    Ok(Json(Page::of(page, |file| &file.id, object)))
}

/// `GET /v1/files/{file}`.
pub(crate) async fn one(
    State(state): State<AppState>,
    PathIds(id): PathIds<String>,
) -> Result<Json<FileObject>, ApiError> {
    Ok(Json(object(with_store(&state, move |store| store.get_file(&id)).await?)))
}

/// `GET /v1/files/{file}/content`: the bytes as they were uploaded.
pub(crate) async fn content(State(state): State<AppState>, PathIds(id): PathIds<String>) -> Result<Response, ApiError> {
    let asked = id.clone();
    let size = with_store(&state, move |store| store.get_file(&asked).map(|file| file.bytes));
    let share = state.file_share(usize::try_from(size.await?).unwrap_or(usize::MAX))?;
    let bytes = with_store(&state, move |store| store.file_content(&id).map(|bytes| share.hold(bytes)));
    let mut response = bytes.await?.into_response();
    let headers = response.headers_mut();
    // A browser must never run what somebody uploaded.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    Ok(response)
}

/// `DELETE /v1/files/{file}`: the file and everything that was indexed from it.
pub(crate) async fn delete(
    State(state): State<AppState>,
    PathIds(id): PathIds<String>,
) -> Result<Json<Deleted>, ApiError> {
    let deleted = id.clone();
    with_store(&state, move |store| store.delete_file(&id)).await?;
    Ok(Json(Deleted { id: deleted, object: "file", deleted: true }))
}

fn object(file: File) -> FileObject {
    FileObject {
        id: file.id,
        object: "file",
        bytes: file.bytes,
        created_at: file.created_at,
        filename: file.filename,
        purpose: file.purpose,
        status: "processed",
    }
}
