//! `/v1/vector_stores`, their files, batches and search, as OpenAI's clients parse them.

use sconce_rag::{Attributes, Metadata};
use serde::Serialize;
use serde_json::Value;

/// A collection of documents that can be searched.
#[derive(Debug, Serialize)]
pub struct VectorStoreObject {
    /// `vs_…`.
    pub id: String,
    /// Always `vector_store`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Its name; may be empty.
    pub name: String,
    /// Bytes that its documents use.
    pub usage_bytes: u64,
    /// How many files it has, by status.
    pub file_counts: FileCounts,
    /// `completed`: ingestion ends before its request is answered.
    pub status: &'static str,
    /// Always null: stores do not expire.
    pub expires_after: Option<Value>,
    /// Always null.
    pub expires_at: Option<u64>,
    /// When it last changed; its creation when that is not known.
    pub last_active_at: Option<u64>,
    /// The client's own notes.
    pub metadata: Metadata,
}

/// Files by status.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct FileCounts {
    /// Being read.
    pub in_progress: u64,
    /// Ready to be searched.
    pub completed: u64,
    /// Could not be read.
    pub failed: u64,
    /// Given up.
    pub cancelled: u64,
    /// All of them.
    pub total: u64,
}

/// A file as a member of a store.
#[derive(Debug, Serialize)]
pub struct VectorStoreFileObject {
    /// The file's id.
    pub id: String,
    /// Always `vector_store.file`.
    pub object: &'static str,
    /// Seconds since 1970 at which it was attached.
    pub created_at: u64,
    /// Bytes that it uses in the store.
    pub usage_bytes: u64,
    /// The store.
    pub vector_store_id: String,
    /// `completed` or `failed`.
    pub status: &'static str,
    /// Why it failed, or null.
    pub last_error: Option<FileError>,
    /// What filters compare.
    pub attributes: Attributes,
    /// How it was cut into chunks; always by section.
    pub chunking_strategy: ChunkingStrategy,
}

/// Why a file could not be read.
#[derive(Debug, Serialize)]
pub struct FileError {
    /// `server_error`, `unsupported_file` or `invalid_file`.
    pub code: String,
    /// For a person.
    pub message: String,
}

/// `chunking_strategy`.
#[derive(Debug, Serialize)]
pub struct ChunkingStrategy {
    /// Always `other`: sections are chunked, not windows of a fixed size.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// Several files attached at once.
#[derive(Debug, Clone, Serialize)]
pub struct FileBatch {
    /// `vsfb_…`.
    pub id: String,
    /// Always `vector_store.files_batch`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created_at: u64,
    /// The store.
    pub vector_store_id: String,
    /// Always `completed`: ingestion ends before its request is answered.
    pub status: &'static str,
    /// Files by status.
    pub file_counts: FileCounts,
}

/// What a search found.
#[derive(Debug, Serialize)]
pub struct SearchPage {
    /// Always `vector_store.search_results.page`.
    pub object: &'static str,
    /// The queries as they were run.
    pub search_query: Vec<String>,
    /// Best first.
    pub data: Vec<SearchHit>,
    /// Always false: `max_num_results` bounds the one page.
    pub has_more: bool,
    /// Always null.
    pub next_page: Option<String>,
}

/// A chunk that matches.
#[derive(Debug, Serialize)]
pub struct SearchHit {
    /// The file.
    pub file_id: String,
    /// Its name.
    pub filename: String,
    /// From 0 to 1, comparable within one search.
    pub score: f64,
    /// The file's attributes in the store.
    pub attributes: Attributes,
    /// The chunk's text.
    pub content: Vec<TextContent>,
    /// What OpenAI's shape has no place for.
    pub sconce: HitExtension,
}

/// A piece of text.
#[derive(Debug, Serialize)]
pub struct TextContent {
    /// Always `text`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The text.
    pub text: String,
}

/// The text of a file as the store has it.
#[derive(Debug, Serialize)]
pub struct FileContentPage {
    /// Always `vector_store.file_content.page`.
    pub object: &'static str,
    /// One piece.
    pub data: Vec<TextContent>,
    /// Always false.
    pub has_more: bool,
    /// Always null.
    pub next_page: Option<String>,
}

/// Where a hit stands in its source.
#[derive(Debug, Serialize)]
pub struct HitExtension {
    /// Title of the document.
    pub title: String,
    /// Section within it.
    pub section: String,
    /// Id of the chunk.
    pub chunk_id: String,
    /// Byte range in the stored source text.
    pub source_span: [usize; 2],
}
