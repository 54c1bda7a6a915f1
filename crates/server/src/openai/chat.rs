//! `POST /v1/chat/completions` as OpenAI's clients parse it, whole and streamed.

use super::usage::Usage;
use serde::Serialize;

/// A whole answer.
#[derive(Debug, Serialize)]
pub struct ChatCompletion {
    /// `chatcmpl-…`.
    pub id: String,
    /// Always `chat.completion`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    /// Id of the model that answered.
    pub model: String,
    /// The answers, by index.
    pub choices: Vec<ChatChoice>,
    /// Token counts.
    pub usage: Usage,
}

/// One answer.
#[derive(Debug, Serialize)]
pub struct ChatChoice {
    /// Its number, `0..n`.
    pub index: u32,
    /// What was said.
    pub message: ChatMessage,
    /// Log probabilities, when asked for.
    pub logprobs: Option<ChatLogprobs>,
    /// `stop` or `length`.
    pub finish_reason: &'static str,
}

/// The assistant's message.
#[derive(Debug, Serialize)]
pub struct ChatMessage {
    /// Always `assistant`.
    pub role: &'static str,
    /// The text.
    pub content: String,
    /// Always null: a refusal is not told apart from text.
    pub refusal: Option<String>,
}

/// A chunk of a streamed answer.
#[derive(Debug, Serialize)]
pub struct ChatChunk<'a> {
    /// The same in every chunk.
    pub id: &'a str,
    /// Always `chat.completion.chunk`.
    pub object: &'static str,
    /// The same in every chunk.
    pub created: u64,
    /// Id of the model.
    pub model: &'a str,
    /// One choice, or none in the chunk that carries the usage.
    pub choices: Vec<ChatChunkChoice>,
    /// Left out, or null until the last chunk, when `include_usage` was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
}

/// What a chunk adds to a choice.
#[derive(Debug, Serialize)]
pub struct ChatChunkChoice {
    /// The choice's number.
    pub index: u32,
    /// What is new.
    pub delta: ChatDelta,
    /// Log probabilities of the new tokens, when asked for.
    pub logprobs: Option<ChatLogprobs>,
    /// Null until the choice ends.
    pub finish_reason: Option<&'static str>,
}

/// New parts of a message.
#[derive(Debug, Default, Serialize)]
pub struct ChatDelta {
    /// In the first chunk of a choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// New text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

/// `logprobs` of chat.
#[derive(Debug, Serialize)]
pub struct ChatLogprobs {
    /// One entry per token.
    pub content: Vec<ChatTokenLogprob>,
    /// Always null.
    pub refusal: Option<String>,
}

/// A token with its alternatives.
#[derive(Debug, Serialize)]
pub struct ChatTokenLogprob {
    /// Its text; incomplete UTF-8 shows as U+FFFD.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// Its exact bytes.
    pub bytes: Vec<u8>,
    /// The most likely tokens at this place.
    pub top_logprobs: Vec<ChatTopLogprob>,
}

/// An alternative.
#[derive(Debug, Serialize)]
pub struct ChatTopLogprob {
    /// Its text.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// Its exact bytes.
    pub bytes: Vec<u8>,
}
