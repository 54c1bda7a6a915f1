//! The body of `POST /v1/completions`.

use super::generation::{MAX_TOP_LOGPROBS, ValidGeneration, token_ids};
use super::{Fields, ModelLimits};
use crate::error::ApiError;
use serde_json::Value;

/// The most prompts of one request.
pub const MAX_PROMPTS: usize = 64;
/// The most answers of one request, over all of its prompts.
pub const MAX_ANSWERS: usize = 128;
/// Tokens of an answer that does not name its bound, as OpenAI has it for this route alone.
pub const DEFAULT_TOKENS: u32 = 16;

/// One prompt, as text or already tokenized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Text, to be tokenized.
    Text(String),
    /// Token ids within the vocabulary.
    Tokens(Vec<u32>),
}

/// A completions request in range.
#[derive(Debug, Clone)]
pub struct ValidCompletion {
    /// One to [`MAX_PROMPTS`] prompts.
    pub prompts: Vec<Prompt>,
    /// Sampling and bounds.
    pub generation: ValidGeneration,
    /// Whether the answer carries log probabilities.
    pub logprobs: bool,
}

impl ValidCompletion {
    /// Reads the body.
    pub fn parse(fields: &Fields<'_>, limits: ModelLimits) -> Result<Self, ApiError> {
        refuse_unsupported(fields)?;
        let prompts = prompts(fields, limits)?;
        let mut generation = ValidGeneration::parse(fields, limits)?;
        // With min_tokens alone the answer has just as many.
        generation.max_tokens.get_or_insert(DEFAULT_TOKENS.max(generation.min_tokens));
        let logprobs = fields.unsigned("logprobs", 0..=MAX_TOP_LOGPROBS)?;
        generation.sampling.logprobs = logprobs.and_then(|count| u8::try_from(count).ok());
        if prompts.len() * generation.n as usize > MAX_ANSWERS {
            let message = format!("{} prompts with n = {} exceed {MAX_ANSWERS} answers.", prompts.len(), generation.n);
            return Err(ApiError::invalid("n", message));
        }
        Ok(Self { prompts, generation, logprobs: logprobs.is_some() })
    }
}

fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), ApiError> {
    if fields.boolean("echo")? == Some(true) {
        return Err(ApiError::unsupported("echo", "echo is not supported; prepend the prompt yourself."));
    }
    if fields.string("suffix", 1 << 20)?.is_some_and(|suffix| !suffix.is_empty()) {
        return Err(ApiError::unsupported("suffix", "suffix (insertion) is not supported."));
    }
    if fields.integer("best_of", 1..=20)?.is_some_and(|best_of| best_of != 1) {
        return Err(ApiError::unsupported("best_of", "best_of is not supported beyond 1; ask for n answers instead."));
    }
    Ok(())
}

/// A string, an array of strings, an array of token ids, or an array of arrays of token ids.
fn prompts(fields: &Fields<'_>, limits: ModelLimits) -> Result<Vec<Prompt>, ApiError> {
    let empty = || ApiError::invalid("prompt", "prompt must not be empty.");
    let prompts = match fields.required("prompt")? {
        Value::String(text) => vec![Prompt::Text(text.clone())],
        Value::Array(items) if items.first().is_some_and(Value::is_number) => {
            vec![tokens(items, "prompt", limits)?]
        }
        Value::Array(items) => {
            if items.len() > MAX_PROMPTS {
                let message = format!("prompt has {} items; at most {MAX_PROMPTS} are accepted.", items.len());
                return Err(ApiError::invalid("prompt", message));
            }
            if items.len() > limits.max_requests {
                let message =
                    format!("prompt has {} items, but this server holds {} at once.", items.len(), limits.max_requests);
                return Err(ApiError::invalid("prompt", message));
            }
            let one = |(index, item): (usize, &Value)| match item {
                Value::String(text) => Ok(Prompt::Text(text.clone())),
                Value::Array(items) => tokens(items, &format!("prompt.{index}"), limits),
                _ => Err(ApiError::invalid("prompt", format!("prompt.{index} must be a string or token ids."))),
            };
            items.iter().enumerate().map(one).collect::<Result<_, _>>()?
        }
        _ => {
            let message = "prompt must be a string, an array of strings, or an array of token ids.";
            return Err(ApiError::invalid("prompt", message));
        }
    };
    let is_empty = |prompt: &Prompt| match prompt {
        Prompt::Text(text) => text.is_empty(),
        Prompt::Tokens(ids) => ids.is_empty(),
    };
    if prompts.is_empty() || prompts.iter().any(is_empty) { Err(empty()) } else { Ok(prompts) }
}

fn tokens(items: &[Value], path: &str, limits: ModelLimits) -> Result<Prompt, ApiError> {
    if items.len() > limits.context_length {
        let message =
            format!("{path} has {} tokens, but the model's context is {}.", items.len(), limits.context_length);
        return Err(ApiError { code: Some("context_length_exceeded"), ..ApiError::invalid("prompt", message) });
    }
    token_ids(items, path, limits.vocabulary_size)
        .map(Prompt::Tokens)
        .map_err(|error| ApiError { param: Some("prompt".into()), ..error })
}
