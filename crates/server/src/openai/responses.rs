//! `POST /v1/responses` as OpenAI's clients parse it; the namespaced `sconce` object carries what OpenAI has no place for.

use sconce_rag::{Attributes, FallbackReason, Route};
use serde::Serialize;
use serde_json::{Map, Value};

/// A response, finished or (in the first events of a stream) not yet.
#[derive(Debug, Clone, Serialize)]
pub struct ResponseObject {
    /// `resp_…`.
    pub id: String,
    /// Always `response`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created_at: u64,
    /// `in_progress`, `completed`, `incomplete` or `failed`.
    pub status: &'static str,
    /// Why it failed, or null.
    pub error: Option<ResponseError>,
    /// Why it is incomplete, or null.
    pub incomplete_details: Option<IncompleteDetails>,
    /// The instructions that were sent.
    pub instructions: Option<String>,
    /// Bound of the answer.
    pub max_output_tokens: Option<u32>,
    /// Id of the model that answered; `none` when no model is loaded.
    pub model: String,
    /// Search calls and messages.
    pub output: Vec<OutputItem>,
    /// Always true; there is one tool.
    pub parallel_tool_calls: bool,
    /// Always null: conversations are not stored.
    pub previous_response_id: Option<String>,
    /// Sampling temperature in use.
    pub temperature: f32,
    /// What was sent: `auto`, `none`, `required` or the file_search tool; `auto` when nothing was.
    pub tool_choice: Value,
    /// The tools as they were sent.
    pub tools: Vec<Value>,
    /// Nucleus in use.
    pub top_p: f32,
    /// Always `disabled`.
    pub truncation: &'static str,
    /// Token counts; null until the response is finished.
    pub usage: Option<ResponseUsage>,
    /// The client's own notes.
    pub metadata: Map<String, Value>,
    /// How a question about documents was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sconce: Option<AnswerExtension>,
}

/// Why a response failed.
#[derive(Debug, Clone, Serialize)]
pub struct ResponseError {
    /// `server_error`.
    pub code: &'static str,
    /// For a person.
    pub message: String,
}

/// Why a response stopped early.
#[derive(Debug, Clone, Serialize)]
pub struct IncompleteDetails {
    /// `max_output_tokens`.
    pub reason: &'static str,
}

/// An item of `output`.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OutputItem {
    /// A search in vector stores.
    FileSearchCall {
        /// `fs_…`.
        id: String,
        /// `in_progress` or `completed`.
        status: &'static str,
        /// What was searched for.
        queries: Vec<String>,
        /// What was found, when `include` asks for it.
        results: Option<Vec<SearchResult>>,
    },
    /// The answer.
    Message {
        /// `msg_…`.
        id: String,
        /// `in_progress`, `completed` or `incomplete`.
        status: &'static str,
        /// Always `assistant`.
        role: &'static str,
        /// One text.
        content: Vec<OutputText>,
    },
}

/// A hit as `file_search_call.results` has it.
#[derive(Debug, Clone, Serialize)]
pub struct SearchResult {
    /// The file.
    pub file_id: String,
    /// Its name.
    pub filename: String,
    /// From 0 to 1.
    pub score: f64,
    /// The chunk.
    pub text: String,
    /// The file's attributes.
    pub attributes: Attributes,
}

/// The text of a message.
#[derive(Debug, Clone, Serialize)]
pub struct OutputText {
    /// Always `output_text`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The answer.
    pub text: String,
    /// Its citations.
    pub annotations: Vec<FileCitation>,
    /// Always empty.
    pub logprobs: Vec<Value>,
}

/// A citation of a file.
#[derive(Debug, Clone, Serialize)]
pub struct FileCitation {
    /// Always `file_citation`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Where in the answer it belongs, in characters.
    pub index: usize,
    /// The file.
    pub file_id: String,
    /// Its name.
    pub filename: String,
}

/// `usage` of a response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ResponseUsage {
    /// Tokens of the prompts.
    pub input_tokens: u64,
    /// What the cache saved.
    pub input_tokens_details: InputTokensDetails,
    /// Tokens generated.
    pub output_tokens: u64,
    /// Always zero inside.
    pub output_tokens_details: OutputTokensDetails,
    /// Both together.
    pub total_tokens: u64,
}

/// `usage.input_tokens_details`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct InputTokensDetails {
    /// Prompt tokens that came from the KV cache.
    pub cached_tokens: u64,
    /// Always 0: what is written to the cache is not counted apart.
    pub cache_write_tokens: u64,
}

/// `usage.output_tokens_details`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct OutputTokensDetails {
    /// Always 0: reasoning is not told apart.
    pub reasoning_tokens: u64,
}

/// The `sconce` object of a response: how the answer came about, and its evidence.
#[derive(Debug, Clone, Serialize)]
pub struct AnswerExtension {
    /// `generated`, `quoted` or `not_found`.
    pub route: Route,
    /// Why the answer was not generated, or null: `{"kind": "no_generator" | "generator_failed" | "refused" |
    /// "unsupported", …}`.
    pub fallback: Option<FallbackReason>,
    /// The evidence, in the order of the annotations.
    pub citations: Vec<CitationExtension>,
}

/// A citation with its evidence.
#[derive(Debug, Clone, Serialize)]
pub struct CitationExtension {
    /// The `n` of the `[n]` in the answer.
    pub number: usize,
    /// The file.
    pub file_id: String,
    /// Its name.
    pub filename: String,
    /// Version of the document, counted from 1.
    pub version: u64,
    /// Title of the document.
    pub title: String,
    /// Section within it.
    pub section: String,
    /// Where the document was published, if it says so.
    pub source: Option<String>,
    /// The date that the document gives itself.
    pub date: Option<String>,
    /// The words of the source.
    pub quote: String,
    /// Byte range of the quote in the stored source text.
    pub source_span: [usize; 2],
    /// Character range of the answer that the quote supports.
    pub answer_span: [usize; 2],
}
