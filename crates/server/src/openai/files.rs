//! `/v1/files` as OpenAI's clients parse it.

use serde::Serialize;

/// A stored file.
#[derive(Debug, Serialize)]
pub struct FileObject {
    /// `file-…`.
    pub id: String,
    /// Always `file`.
    pub object: &'static str,
    /// Size of the content.
    pub bytes: u64,
    /// Seconds since 1970.
    pub created_at: u64,
    /// The name it was uploaded under.
    pub filename: String,
    /// Why it was uploaded, such as `assistants`.
    pub purpose: String,
    /// Always `processed`: a file is stored before the upload is answered.
    pub status: &'static str,
}

/// What a deletion answers.
#[derive(Debug, Serialize)]
pub struct Deleted {
    /// The id that is gone.
    pub id: String,
    /// `file`, `vector_store.deleted` or `vector_store.file.deleted`.
    pub object: &'static str,
    /// Always true.
    pub deleted: bool,
}
