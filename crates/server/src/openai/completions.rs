//! `POST /v1/completions` as OpenAI's clients parse it. A chunk of a stream has the shape of the whole.

use super::usage::Usage;
use serde::Serialize;
use serde_json::{Map, Value};

/// A whole answer, or a chunk of one.
#[derive(Debug, Serialize)]
pub struct Completion<'a> {
    /// `cmpl-…`.
    pub id: &'a str,
    /// Always `text_completion`, in chunks too.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    /// Id of the model.
    pub model: &'a str,
    /// The answers, by index.
    pub choices: Vec<CompletionChoice>,
    /// Token counts; in a stream left out, or null until the last chunk when `include_usage` was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
}

/// One answer, or what a chunk adds to it.
#[derive(Debug, Serialize)]
pub struct CompletionChoice {
    /// `prompt number * n + answer number`.
    pub index: u32,
    /// The text.
    pub text: String,
    /// Log probabilities, when asked for.
    pub logprobs: Option<CompletionLogprobs>,
    /// `stop` or `length`; null in chunks before the last of a choice.
    pub finish_reason: Option<&'static str>,
}

/// `logprobs` of completions: four arrays of equal length.
#[derive(Debug, Default, Serialize)]
pub struct CompletionLogprobs {
    /// The tokens' texts.
    pub tokens: Vec<String>,
    /// Natural logarithms of their probabilities.
    pub token_logprobs: Vec<f32>,
    /// The most likely tokens at each place, text to log probability.
    pub top_logprobs: Vec<Map<String, Value>>,
    /// Where each token starts in the answer, in characters.
    pub text_offset: Vec<usize>,
}
