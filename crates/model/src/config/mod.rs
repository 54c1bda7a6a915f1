//! What a model's metadata says about its shape, with every number checked. No tensors are read here.

mod rope;

use crate::architecture::Architecture;
use crate::checkpoint::Checkpoint;
use crate::error::ModelError;
use crate::gguf::{GgufError, Metadata};

pub(crate) use rope::RopeFactors;
pub use rope::{RopeConfig, RopeScaling, YarnScaling};

/// The shape of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
    /// What differs from Llama.
    pub architecture: Architecture,
    /// Rows of the embedding table: token ids are below it.
    pub vocab_size: usize,
    /// Positions that the model was made for.
    pub context_length: usize,
    /// Keys that a row sees, its own included, where the model attends to the last ones only.
    pub sliding_window: Option<usize>,
    /// Length of a token's activation.
    pub embedding_length: usize,
    /// Layers.
    pub block_count: usize,
    /// Inner length of the feed-forward network.
    pub feed_forward_length: usize,
    /// Query heads.
    pub head_count: usize,
    /// Key and value heads; divides `head_count`.
    pub head_count_kv: usize,
    /// Length of one head.
    pub head_dim: usize,
    /// Rotary position embedding.
    pub rope: RopeConfig,
    /// The epsilon of the norms.
    pub rms_epsilon: f32,
}

/// The keys of an architecture.
struct Keys<'a> {
    metadata: &'a Metadata,
    architecture: Architecture,
}

impl Keys<'_> {
    fn name(&self, field: &str) -> String {
        self.architecture.key(field)
    }

    /// A number from 1 to `most`.
    fn number(&self, field: &str, most: u32) -> Result<usize, ModelError> {
        let key = self.name(field);
        in_range(&key, self.metadata.u32(&key)?, most)
    }

    /// Like [`Self::number`], or `None` where the key is missing.
    fn number_opt(&self, field: &str, most: u32) -> Result<Option<usize>, ModelError> {
        let key = self.name(field);
        self.metadata.u32_opt(&key)?.map(|value| in_range(&key, value, most)).transpose()
    }
}

impl LlamaConfig {
    /// Reads and checks the configuration of a file.
    ///
    /// # Errors
    /// Names the metadata key that is missing, of the wrong type, out of range, or needs what is not supported.
    pub fn from_file(file: &Checkpoint) -> Result<Self, ModelError> {
        let name = "token_embd.weight";
        let info = file.tensor_info(name).ok_or_else(|| GgufError::MissingTensor { name: name.to_string() })?;
        // A table of one token has lost the dimension that says so.
        let vocabulary = match *info.dimensions.as_slice() {
            [_] => 1,
            [_, vocabulary] => vocabulary,
            _ => {
                return Err(ModelError::Metadata(GgufError::Invalid {
                    field: format!("tensor {name:?}"),
                    value: format!("the shape {:?}", info.dimensions),
                    expected: "a matrix".to_string(),
                }));
            }
        };
        Self::from_metadata(file.metadata(), vocabulary)
    }

    /// Reads and checks the configuration from metadata, with the vocabulary's size from the embedding table.
    ///
    /// # Errors
    /// Like [`Self::from_file`].
    pub fn from_metadata(metadata: &Metadata, vocab_size: usize) -> Result<Self, ModelError> {
        let name = metadata.str("general.architecture")?;
        let Some(architecture) = Architecture::named(name) else {
            return Err(ModelError::Architecture { architecture: name.to_string(), known: Architecture::names() });
        };
        let keys = Keys { metadata, architecture };
        check_vocabulary(&keys, vocab_size)?;
        reject_unknown_arithmetic(&keys)?;
        let embedding_length = keys.number("embedding_length", 1 << 17)?;
        let head_count = keys.number("attention.head_count", 1 << 12)?;
        let head_count_kv = keys.number_opt("attention.head_count_kv", 1 << 12)?.unwrap_or(head_count);
        if !head_count.is_multiple_of(head_count_kv) {
            let expected = format!("a divisor of {head_count}");
            return Err(config_error(&keys.name("attention.head_count_kv"), head_count_kv, expected));
        }
        let head_dim = head_dimension(&keys, embedding_length, head_count)?;
        let context_length = keys.number("context_length", 1 << 24)?;
        let window = sliding_window(&keys)?;
        let rms_key = keys.name("attention.layer_norm_rms_epsilon");
        let rms_epsilon = metadata.f32(&rms_key)?;
        if !(rms_epsilon > 0.0 && rms_epsilon < 1.0) {
            return Err(config_error(&rms_key, rms_epsilon, "between 0 and 1".to_string()));
        }
        Ok(Self {
            architecture,
            vocab_size,
            context_length,
            // A window as long as the context hides nothing.
            sliding_window: window.filter(|window| *window < context_length),
            embedding_length,
            block_count: keys.number("block_count", 1 << 10)?,
            feed_forward_length: keys.number("feed_forward_length", 1 << 20)?,
            head_count,
            head_count_kv,
            head_dim,
            rope: RopeConfig::read(&keys, head_dim, context_length)?,
            rms_epsilon,
        })
    }

    /// Length of a row of keys or values.
    #[must_use]
    pub fn kv_width(&self) -> usize {
        self.head_count_kv * self.head_dim
    }

    /// Length of a row of queries.
    #[must_use]
    pub fn query_width(&self) -> usize {
        self.head_count * self.head_dim
    }
}

fn config_error(key: &str, value: impl std::fmt::Display, expected: String) -> ModelError {
    ModelError::Config { key: key.to_string(), value: format!("{value}"), expected }
}

fn in_range(key: &str, value: u32, most: u32) -> Result<usize, ModelError> {
    if (1..=most).contains(&value) {
        return Ok(value as usize);
    }
    Err(config_error(key, value, format!("from 1 to {most}")))
}

fn check_vocabulary(keys: &Keys<'_>, vocab_size: usize) -> Result<(), ModelError> {
    if vocab_size > 1 << 24 {
        return Err(config_error("token_embd.weight rows", vocab_size, format!("at most {}", 1 << 24)));
    }
    let declared_key = keys.name("vocab_size");
    if let Some(declared) = keys.metadata.u32_opt(&declared_key)?
        && declared as usize != vocab_size
    {
        let expected = format!("{vocab_size}, the rows of token_embd.weight");
        return Err(config_error(&declared_key, declared, expected));
    }
    if let Some(tokens) = keys.metadata.str_array_opt("tokenizer.ggml.tokens")?
        && tokens.len() > vocab_size
    {
        let expected = format!("at most {vocab_size}, the rows of token_embd.weight");
        return Err(config_error("tokenizer.ggml.tokens (length)", tokens.len(), expected));
    }
    Ok(())
}

/// Refuses keys that ask for other arithmetic: ignoring them would compute something else than the model.
fn reject_unknown_arithmetic(keys: &Keys<'_>) -> Result<(), ModelError> {
    let experts = keys.name("expert_count");
    if let Some(count) = keys.metadata.u32_opt(&experts)?.filter(|count| *count > 0) {
        return Err(config_error(&experts, count, "0; mixtures of experts are not supported".to_string()));
    }
    // What is off at zero is on at one; what multiplies leaves things as they are at one, too.
    let off: &[f32] = &[0.0];
    let factor: &[f32] = &[0.0, 1.0];
    let neutral = [
        ("attention.scale", off, "a scale of the scores other than by the head's length"),
        ("attn_logit_softcapping", off, "a bound on the scores"),
        ("final_logit_softcapping", off, "a bound on the logits"),
        ("rope.scaling.yarn_attn_factor", factor, "a factor of YaRN's own attention factor"),
        ("logit_scale", factor, "a scale of the logits"),
        ("embedding_scale", factor, "a scale of the embedding"),
        ("residual_scale", factor, "a scale of the residuals"),
    ];
    for (field, without, meaning) in neutral {
        let key = keys.name(field);
        if let Some(value) = keys.metadata.f32_opt(&key)?.filter(|value| !without.contains(value)) {
            return Err(config_error(&key, value, format!("missing; {meaning} is not supported")));
        }
    }
    Ok(())
}

/// The window of attention, where one is in force in every layer.
fn sliding_window(keys: &Keys<'_>) -> Result<Option<usize>, ModelError> {
    // Zero stands for "none" in files of some converters.
    let window = keys.metadata.u32_opt(&keys.name("attention.sliding_window"))?.filter(|window| *window > 0);
    let Some(window) = window else { return Ok(None) };
    let pattern_key = keys.name("attention.sliding_window_pattern");
    // A number says which layer sees everything again: one in so many. A list says it of each layer.
    if keys.metadata.get(&pattern_key).is_some() && !matches!(keys.metadata.u32_opt(&pattern_key), Ok(Some(0 | 1))) {
        let expected = "missing or 1; windows in some layers only are not supported".to_string();
        return Err(config_error(&pattern_key, "a pattern of layers", expected));
    }
    Ok(Some(window as usize))
}

fn head_dimension(keys: &Keys<'_>, embedding_length: usize, head_count: usize) -> Result<usize, ModelError> {
    let key = keys.name("attention.key_length");
    let head_dim = match keys.number_opt("attention.key_length", 1 << 12)? {
        Some(length) => length,
        None if embedding_length.is_multiple_of(head_count) => embedding_length / head_count,
        None => {
            let length_key = keys.name("embedding_length");
            let expected = format!("a divisor of {length_key} {embedding_length} (or set {key})");
            return Err(config_error(&keys.name("attention.head_count"), head_count, expected));
        }
    };
    if head_dim == 0 || !head_dim.is_multiple_of(2) || head_dim > 1 << 12 {
        return Err(config_error(&key, head_dim, format!("an even number from 2 to {}", 1 << 12)));
    }
    let value_key = keys.name("attention.value_length");
    match keys.metadata.u32_opt(&value_key)? {
        Some(length) if length as usize != head_dim => {
            Err(config_error(&value_key, length, format!("{head_dim}, the length of a key")))
        }
        _ => Ok(head_dim),
    }
}
