//! The fields that chat and completions have in common: sampling, bounds of the answer, streaming.

use super::{Fields, ModelLimits};
use crate::error::ApiError;
use sconce_engine::{GenerateRequest, MAX_CHOICES, MAX_PRIORITY, MAX_STOP_BYTES, MAX_STOP_STRINGS, SamplingParams};
use serde_json::Value;

/// The most entries of `logit_bias`.
const MAX_LOGIT_BIAS: usize = 1024;
/// The most alternatives per token that `logprobs` may ask for.
pub const MAX_TOP_LOGPROBS: u32 = 20;
/// The longest `cache_salt`, in bytes.
const MAX_SALT_BYTES: usize = 256;

/// Everything about a generation but its prompt, within range for the loaded model.
#[derive(Debug, Clone)]
pub struct ValidGeneration {
    /// How tokens are drawn.
    pub sampling: SamplingParams,
    /// Choices per prompt.
    pub n: u32,
    /// Bound of the answer in tokens; `None` is up to the context's end.
    pub max_tokens: Option<u32>,
    /// Tokens before the answer may end by itself.
    pub min_tokens: u32,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// Whether the stop text is part of the answer.
    pub include_stop: bool,
    /// Tokens that end the answer.
    pub stop_token_ids: Vec<u32>,
    /// Go on behind end-of-generation tokens.
    pub ignore_eos: bool,
    /// Lower runs sooner.
    pub priority: i32,
    /// Separates prefix caches.
    pub cache_salt: Option<String>,
    /// Answer as server-sent events.
    pub stream: bool,
    /// Close a stream with a chunk that carries the usage.
    pub include_usage: bool,
}

impl Default for ValidGeneration {
    /// One whole answer, sampled as a request without fields would be.
    fn default() -> Self {
        Self {
            sampling: SamplingParams::default(),
            n: 1,
            max_tokens: None,
            min_tokens: 0,
            stop: Vec::new(),
            include_stop: false,
            stop_token_ids: Vec::new(),
            ignore_eos: false,
            priority: 0,
            cache_salt: None,
            stream: false,
            include_usage: false,
        }
    }
}

impl ValidGeneration {
    /// Reads the common fields. `logprobs` is left to the caller: chat and completions spell it differently.
    pub fn parse(fields: &Fields<'_>, limits: ModelLimits) -> Result<Self, ApiError> {
        let context = u32::try_from(limits.context_length).unwrap_or(u32::MAX);
        let max_tokens = answer_bound(fields, context)?;
        let min_tokens = fields.unsigned("min_tokens", 0..=max_tokens.unwrap_or(context))?.unwrap_or(0);
        let stream = fields.boolean("stream")?.unwrap_or(false);
        let priority = i64::from(MAX_PRIORITY);
        let priority = fields.integer("priority", -priority..=priority)?.unwrap_or(0);
        Ok(Self {
            sampling: sampling(fields, limits.vocabulary_size)?,
            n: fields.unsigned("n", 1..=MAX_CHOICES)?.unwrap_or(1),
            max_tokens,
            min_tokens,
            stop: stop_strings(fields)?,
            include_stop: fields.boolean("include_stop_str_in_output")?.unwrap_or(false),
            stop_token_ids: stop_tokens(fields, limits.vocabulary_size)?,
            ignore_eos: fields.boolean("ignore_eos")?.unwrap_or(false),
            priority: i32::try_from(priority).unwrap_or(0),
            cache_salt: fields.string("cache_salt", MAX_SALT_BYTES)?.map(str::to_owned),
            stream,
            include_usage: include_usage(fields, stream)?,
        })
    }

    /// Reads the fields as `/v1/responses` spells them: one answer, bounded by `max_output_tokens`.
    pub fn parse_response(fields: &Fields<'_>, limits: ModelLimits) -> Result<Self, ApiError> {
        let context = u32::try_from(limits.context_length).unwrap_or(u32::MAX);
        let max_tokens = fields.unsigned("max_output_tokens", 1..=context)?;
        Ok(Self { n: 1, max_tokens, ..Self::parse(fields, limits)? })
    }

    /// The engine's request for one prompt.
    pub fn request(&self, prompt: Vec<u32>) -> GenerateRequest {
        GenerateRequest {
            prompt,
            n: self.n,
            sampling: self.sampling.clone(),
            max_tokens: self.max_tokens,
            min_tokens: self.min_tokens,
            stop: self.stop.clone(),
            include_stop: self.include_stop,
            stop_token_ids: self.stop_token_ids.clone(),
            ignore_eos: self.ignore_eos,
            priority: self.priority,
            cache_salt: self.cache_salt.clone(),
            document_tokens: 0,
        }
    }
}

/// `max_completion_tokens` is the newer name of `max_tokens`; when both are given they must agree.
fn answer_bound(fields: &Fields<'_>, context: u32) -> Result<Option<u32>, ApiError> {
    let old = fields.unsigned("max_tokens", 1..=context)?;
    let new = fields.unsigned("max_completion_tokens", 1..=context)?;
    match (old, new) {
        (Some(old), Some(new)) if old != new => Err(ApiError::invalid(
            "max_tokens",
            format!("max_tokens is {old} and max_completion_tokens is {new}; send one of them."),
        )),
        (old, new) => Ok(new.or(old)),
    }
}

/// Numbers are narrowed to `f32` after their range was checked as `f64`.
fn ranged(fields: &Fields<'_>, name: &str, low: f64, high: f64) -> Result<Option<f32>, ApiError> {
    Ok(fields.number(name, low..=high)?.map(|number| number as f32))
}

fn sampling(fields: &Fields<'_>, vocabulary_size: usize) -> Result<SamplingParams, ApiError> {
    let default = SamplingParams::default();
    let vocabulary = u32::try_from(vocabulary_size).unwrap_or(u32::MAX);
    // -1 and 0 are how other servers spell "no top_k".
    let top_k = fields.integer("top_k", -1..=i64::from(vocabulary))?.and_then(|k| u32::try_from(k).ok());
    let params = SamplingParams {
        temperature: ranged(fields, "temperature", 0.0, 2.0)?.unwrap_or(default.temperature),
        top_k: top_k.filter(|&k| k > 0),
        top_p: ranged(fields, "top_p", 0.0, 1.0)?.unwrap_or(default.top_p),
        min_p: ranged(fields, "min_p", 0.0, 1.0)?.unwrap_or(default.min_p),
        repetition_penalty: ranged(fields, "repetition_penalty", 0.01, 10.0)?.unwrap_or(default.repetition_penalty),
        presence_penalty: ranged(fields, "presence_penalty", -2.0, 2.0)?.unwrap_or(default.presence_penalty),
        frequency_penalty: ranged(fields, "frequency_penalty", -2.0, 2.0)?.unwrap_or(default.frequency_penalty),
        seed: seed(fields)?,
        logit_bias: logit_bias(fields, vocabulary_size)?,
        logprobs: None,
    };
    // The sampler may be stricter than the API (a top_p of 0, say); its error already names the field.
    params.validate().map_err(|error| ApiError::invalid(error.field().unwrap_or("sampling"), format!("{error}.")))?;
    Ok(params)
}

/// Any 64-bit integer; negative ones keep their bits.
fn seed(fields: &Fields<'_>) -> Result<Option<u64>, ApiError> {
    if let Some(seed) = fields.get("seed").and_then(Value::as_u64) {
        return Ok(Some(seed));
    }
    Ok(fields.integer("seed", i64::MIN..=i64::MAX)?.map(i64::cast_unsigned))
}

fn logit_bias(fields: &Fields<'_>, vocabulary_size: usize) -> Result<Vec<(u32, f32)>, ApiError> {
    let Some(map) = fields.object("logit_bias")? else { return Ok(Vec::new()) };
    if map.raw().len() > MAX_LOGIT_BIAS {
        let message = format!("logit_bias has {} entries; at most {MAX_LOGIT_BIAS} are accepted.", map.raw().len());
        return Err(ApiError::invalid("logit_bias", message));
    }
    let mut biases = Vec::with_capacity(map.raw().len());
    for (token, _) in map.entries() {
        let id = token.parse::<u32>().ok().filter(|&id| (id as usize) < vocabulary_size).ok_or_else(|| {
            let token = crate::error::shortened(token);
            let message = format!("logit_bias has the key '{token}'; keys are token ids below {vocabulary_size}.");
            ApiError::invalid("logit_bias", message)
        })?;
        if let Some(bias) = ranged(&map, token, -100.0, 100.0)? {
            biases.push((id, bias));
        }
    }
    Ok(biases)
}

fn stop_strings(fields: &Fields<'_>) -> Result<Vec<String>, ApiError> {
    let stop = match fields.get("stop") {
        Some(Value::String(text)) => vec![text.clone()],
        _ => fields.strings("stop", MAX_STOP_STRINGS, MAX_STOP_BYTES)?.unwrap_or_default(),
    };
    if stop.iter().any(|text| text.is_empty() || text.len() > MAX_STOP_BYTES) {
        return Err(ApiError::invalid("stop", format!("A stop string must have 1 to {MAX_STOP_BYTES} bytes.")));
    }
    Ok(stop)
}

fn stop_tokens(fields: &Fields<'_>, vocabulary_size: usize) -> Result<Vec<u32>, ApiError> {
    match fields.array("stop_token_ids", MAX_STOP_STRINGS)? {
        Some(items) => token_ids(items, "stop_token_ids", vocabulary_size),
        None => Ok(Vec::new()),
    }
}

/// Token ids in range; `path` names the array.
pub fn token_ids(items: &[Value], path: &str, vocabulary_size: usize) -> Result<Vec<u32>, ApiError> {
    let id_of = |(index, item): (usize, &Value)| {
        let id = item.as_u64().filter(|&id| id < vocabulary_size as u64).and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| {
            let message = format!("{path}.{index} must be a token id from 0 to {}.", vocabulary_size.saturating_sub(1));
            ApiError::invalid(path, message)
        })
    };
    items.iter().enumerate().map(id_of).collect()
}

fn include_usage(fields: &Fields<'_>, stream: bool) -> Result<bool, ApiError> {
    let Some(options) = fields.object("stream_options")? else { return Ok(false) };
    if !stream {
        return Err(ApiError::invalid("stream_options", "stream_options is only allowed with stream set to true."));
    }
    Ok(options.boolean("include_usage")?.unwrap_or(false))
}
