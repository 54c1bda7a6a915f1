//! The store's objects as its callers see them, shaped like OpenAI's. Plain data; no SQL.

use serde::{Deserialize, Serialize};

use crate::{Attributes, Metadata, RagError, Result};

/// Bytes of an uploaded file at most.
pub const MAX_FILE_BYTES: usize = 64 << 20;

/// A file to be stored.
#[derive(Debug, Clone)]
pub struct NewFile<'a> {
    /// Its name with the ending that says how to parse it; 1 to 512 characters.
    pub filename: &'a str,
    /// Its bytes, at most [`MAX_FILE_BYTES`].
    pub bytes: &'a [u8],
    /// What it is for, in OpenAI's words, such as `assistants`; 1 to 64 characters.
    pub purpose: &'a str,
}

/// A stored file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct File {
    /// `file-` and 32 hexadecimal digits.
    pub id: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Name as it was given.
    pub filename: String,
    /// Purpose as it was given.
    pub purpose: String,
}

/// A set of files that is searched together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VectorStore {
    /// `vs_` and 32 hexadecimal digits.
    pub id: String,
    /// Name, possibly empty.
    pub name: String,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Seconds since 1970 of the last change.
    pub last_active_at: u64,
    /// Files by status.
    pub file_counts: FileCounts,
    /// Bytes of source text that are indexed.
    pub usage_bytes: u64,
    /// Always completed: files are indexed before the call that adds them returns.
    pub status: FileStatus,
    /// As it was given.
    pub metadata: Metadata,
}

/// Files of a vector store by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FileCounts {
    /// Always 0 here.
    pub in_progress: u64,
    /// Files that can answer.
    pub completed: u64,
    /// Files that could not be read.
    pub failed: u64,
    /// Always 0 here.
    pub cancelled: u64,
    /// All of them.
    pub total: u64,
}

/// What to change of a vector store; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct VectorStoreUpdate {
    /// New name.
    pub name: Option<String>,
    /// New metadata, which replaces the old.
    pub metadata: Option<Metadata>,
}

/// Whether a file of a vector store was indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileStatus {
    /// Indexed: it can answer.
    Completed,
    /// It could not be read; see [`VectorStoreFile::last_error`].
    Failed,
}

/// Why a file could not be indexed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastError {
    /// `invalid_file` or `unsupported_file`.
    pub code: String,
    /// What is wrong with it, and where.
    pub message: String,
}

/// A file in a vector store.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VectorStoreFile {
    /// Id of the file.
    pub id: String,
    /// Id of the vector store.
    pub vector_store_id: String,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Bytes of source text that are indexed.
    pub usage_bytes: u64,
    /// Whether it was indexed.
    pub status: FileStatus,
    /// Why not.
    pub last_error: Option<LastError>,
    /// What filters compare.
    pub attributes: Attributes,
}

/// A document as it is stored: what citations point into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceDocument {
    /// Id of its file.
    pub file_id: String,
    /// Name of its file.
    pub filename: String,
    /// Counts from 1; each changed ingestion of the file raises it, also while no vector store holds the file.
    pub version: u64,
    /// Its title.
    pub title: String,
    /// Where it was published, if it says so.
    pub source: Option<String>,
    /// The date that it gives itself.
    pub date: Option<String>,
    /// The source text that spans are ranges of.
    pub text: String,
}

/// Direction of a list, by time of creation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    #[default]
    Desc,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOptions {
    /// 1 to 10,000 objects; the server narrows it to what its route allows.
    pub limit: usize,
    /// Direction.
    pub order: Order,
    /// Only what comes after the object with this id, in the list's direction.
    pub after: Option<String>,
    /// Only what comes before the object with this id, in the list's direction: the ones nearest to it.
    pub before: Option<String>,
}

impl Default for ListOptions {
    fn default() -> Self {
        Self { limit: 20, order: Order::Desc, after: None, before: None }
    }
}

impl ListOptions {
    pub(super) fn check(&self) -> Result<()> {
        if !(1..=10_000).contains(&self.limit) {
            return Err(RagError::invalid("limit", format!("{} is not between 1 and 10000", self.limit)));
        }
        if self.after.is_some() && self.before.is_some() {
            return Err(RagError::invalid("before", "cannot be used together with after"));
        }
        Ok(())
    }
}

/// One part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    /// The objects, in the list's direction.
    pub data: Vec<T>,
    /// Whether more follow (before them, where `before` was given).
    pub has_more: bool,
}
