//! What a caller asks of the engine, and why it may be refused at the door. No HTTP, no documents.

use sconce_model::sampling::SamplingParams;

/// The most choices one request may ask for.
pub const MAX_CHOICES: u32 = 16;
/// The most stop strings one request may carry.
pub const MAX_STOP_STRINGS: usize = 16;
/// The longest stop string, in bytes: text up to this length may be held back while it could still begin one.
pub const MAX_STOP_BYTES: usize = 512;
/// Priorities run from most urgent `-MAX_PRIORITY` to least urgent `MAX_PRIORITY`.
pub const MAX_PRIORITY: i32 = 100;

/// One request for text, already tokenized.
#[derive(Debug, Clone, Default)]
pub struct GenerateRequest {
    /// Prompt token ids; at least one, fewer than the model's context.
    pub prompt: Vec<u32>,
    /// Number of independent choices, `1..=MAX_CHOICES`; they share the prompt's blocks.
    pub n: u32,
    /// How a token is drawn from the logits.
    pub sampling: SamplingParams,
    /// Tokens to generate at most; `None` is up to the context's end.
    pub max_tokens: Option<u32>,
    /// Tokens to generate before an end-of-generation token may end the choice.
    pub min_tokens: u32,
    /// Texts that end a choice when they appear.
    pub stop: Vec<String>,
    /// Whether the stop text is part of the output.
    pub include_stop: bool,
    /// Token ids that end a choice, beside the model's own.
    pub stop_token_ids: Vec<u32>,
    /// Do not end at the model's end-of-generation tokens (benchmarks).
    pub ignore_eos: bool,
    /// `-MAX_PRIORITY..=MAX_PRIORITY`, lower runs sooner; waiting ages it, see `sched`.
    pub priority: i32,
    /// Separates prefix caches: requests share blocks only within one salt.
    pub cache_salt: Option<String>,
    /// Leading prompt tokens whose blocks are kept longer than conversation (document context).
    pub document_tokens: u32,
}

/// Why a request was not taken. `Display` is fit for a user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The bounded queue is full: try again later.
    #[error("the server is at its limit of {limit} requests; try again later")]
    Overloaded {
        /// Requests that may be in the engine at once, running and waiting.
        limit: usize,
    },
    /// A prompt of no tokens.
    #[error("the prompt is empty")]
    PromptEmpty,
    /// The prompt leaves no room for even one generated token.
    #[error("the prompt has {prompt_tokens} tokens, but at most {limit} fit in this model's context here")]
    PromptTooLong {
        /// Tokens in the prompt.
        prompt_tokens: usize,
        /// Longest prompt that is taken.
        limit: usize,
    },
    /// The prompt fits the context, but not the share of the cache that its `cache_salt` has.
    #[error("the prompt has {prompt_tokens} tokens, but at most {limit} fit in its share of the KV cache")]
    PromptExceedsShare {
        /// Tokens in the prompt.
        prompt_tokens: usize,
        /// Longest prompt that is taken.
        limit: usize,
    },
    /// A number is out of its range.
    #[error("{field} {problem}")]
    OutOfRange {
        /// Name of the request's field.
        field: &'static str,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// The engine drains and takes nothing new.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The engine thread has ended; the process needs a restart.
    #[error("the engine has stopped; see the server's log")]
    Stopped,
}

impl GenerateRequest {
    /// Checks every field that does not depend on the cache's size.
    ///
    /// # Errors
    /// [`SubmitError`] naming the first field out of range.
    pub fn validate(&self, vocabulary_size: usize) -> Result<(), SubmitError> {
        if self.prompt.is_empty() {
            return Err(SubmitError::PromptEmpty);
        }
        let out_of_range = |field, problem: String| Err(SubmitError::OutOfRange { field, problem });
        if let Some(id) = self.prompt.iter().find(|&&id| id as usize >= vocabulary_size) {
            return out_of_range("prompt", format!("holds token id {id}, but the vocabulary has {vocabulary_size}"));
        }
        if !(1..=MAX_CHOICES).contains(&self.n) {
            return out_of_range("n", format!("is {}, but must be 1 to {MAX_CHOICES}", self.n));
        }
        if self.max_tokens == Some(0) {
            return out_of_range("max_tokens", "is 0, but must be at least 1".into());
        }
        if self.max_tokens.is_some_and(|max| self.min_tokens > max) {
            return out_of_range("min_tokens", format!("is {}, more than max_tokens", self.min_tokens));
        }
        if self.priority.unsigned_abs() > MAX_PRIORITY.unsigned_abs() {
            return out_of_range("priority", format!("is {}, but must be within ±{MAX_PRIORITY}", self.priority));
        }
        if self.stop.len() > MAX_STOP_STRINGS {
            return out_of_range("stop", format!("has {} strings, but at most {MAX_STOP_STRINGS}", self.stop.len()));
        }
        if self.stop.iter().any(|text| text.is_empty() || text.len() > MAX_STOP_BYTES) {
            return out_of_range("stop", format!("strings must have 1 to {MAX_STOP_BYTES} bytes"));
        }
        if self.stop_token_ids.len() > MAX_STOP_STRINGS {
            return out_of_range("stop_token_ids", format!("has more than {MAX_STOP_STRINGS} ids"));
        }
        let sampling = self.sampling.validate().and_then(|()| self.sampling.validate_tokens(vocabulary_size));
        sampling.map_err(|error| SubmitError::OutOfRange {
            field: error.field().unwrap_or("sampling"),
            problem: format!("is out of range: {error}"),
        })
    }
}
