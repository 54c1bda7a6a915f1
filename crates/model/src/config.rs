//! What a Llama model's metadata says about its shape, with every number checked. No tensors are read here.

use crate::error::ModelError;
use crate::gguf::{GgufError, GgufFile, Metadata, quoted};

/// The shape of a Llama model.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
    /// Rows of the embedding table: token ids are below it.
    pub vocab_size: usize,
    /// Positions that the model was made for. Where the file names a smaller attention window, this is the window, within
    /// which full attention computes the same.
    pub context_length: usize,
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

/// Rotary position embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// Leading dimensions of a head that are rotated.
    pub dimensions: usize,
    /// The base of the frequencies.
    pub frequency_base: f32,
    /// Positions are divided by this (linear interpolation); 1 without scaling.
    pub linear_scale: f32,
}

impl LlamaConfig {
    /// Reads and checks the configuration of a file.
    ///
    /// # Errors
    /// Names the metadata key that is missing, of the wrong type, out of range, or needs what is not supported.
    pub fn from_file(file: &GgufFile) -> Result<Self, ModelError> {
        let embedding = file
            .tensor_info("token_embd.weight")
            .ok_or_else(|| GgufError::MissingTensor { name: "token_embd.weight".to_string() })
            .and_then(|info| match *info.dimensions.as_slice() {
                [_, vocabulary] => Ok(vocabulary),
                _ => Err(GgufError::Invalid {
                    field: "tensor \"token_embd.weight\"".to_string(),
                    value: format!("the shape {:?}", info.dimensions),
                    expected: "a matrix".to_string(),
                }),
            });
        let metadata = file.metadata();
        let architecture = metadata.str("general.architecture")?;
        if architecture != "llama" {
            return Err(ModelError::Architecture { architecture: architecture.to_string() });
        }
        Self::from_metadata(metadata, embedding?)
    }

    /// Reads and checks the configuration from metadata, with the vocabulary's size from the embedding table.
    ///
    /// # Errors
    /// Like [`Self::from_file`].
    pub fn from_metadata(metadata: &Metadata, vocab_size: usize) -> Result<Self, ModelError> {
        let number = |key: &str, most: u32| -> Result<usize, ModelError> { in_range(key, metadata.u32(key)?, most) };
        check_vocabulary(metadata, vocab_size)?;
        reject_experts(metadata)?;
        let embedding_length = number("llama.embedding_length", 1 << 17)?;
        let head_count = number("llama.attention.head_count", 1 << 12)?;
        let head_count_kv = match metadata.u32_opt("llama.attention.head_count_kv")? {
            Some(count) => in_range("llama.attention.head_count_kv", count, 1 << 12)?,
            None => head_count,
        };
        if !head_count.is_multiple_of(head_count_kv) {
            return Err(config_error(
                "llama.attention.head_count_kv",
                head_count_kv,
                format!("a divisor of {head_count}"),
            ));
        }
        let head_dim = head_dimension(metadata, embedding_length, head_count)?;
        let context_length = number("llama.context_length", 1 << 24)?;
        let window = metadata.u32_opt("llama.attention.sliding_window")?.filter(|window| *window > 0);
        let rms_key = "llama.attention.layer_norm_rms_epsilon";
        let rms_epsilon = metadata.f32(rms_key)?;
        if !(rms_epsilon > 0.0 && rms_epsilon < 1.0) {
            return Err(config_error(rms_key, rms_epsilon, "between 0 and 1".to_string()));
        }
        Ok(Self {
            vocab_size,
            context_length: window.map_or(context_length, |window| context_length.min(window as usize)),
            embedding_length,
            block_count: number("llama.block_count", 1 << 10)?,
            feed_forward_length: number("llama.feed_forward_length", 1 << 20)?,
            head_count,
            head_count_kv,
            head_dim,
            rope: RopeConfig::from_metadata(metadata, head_dim)?,
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

impl RopeConfig {
    fn from_metadata(metadata: &Metadata, head_dim: usize) -> Result<Self, ModelError> {
        let key = "llama.rope.dimension_count";
        let dimensions = metadata.u32_opt(key)?.map_or(head_dim, |dimensions| dimensions as usize);
        if dimensions == 0 || dimensions > head_dim || !dimensions.is_multiple_of(2) {
            return Err(config_error(key, dimensions, format!("an even number from 2 to {head_dim}")));
        }
        let base_key = "llama.rope.freq_base";
        let frequency_base = metadata.f32_opt(base_key)?.unwrap_or(10_000.0);
        if !(1.0..=1e12).contains(&frequency_base) {
            return Err(config_error(base_key, frequency_base, "from 1 to 1e12".to_string()));
        }
        let scaling = metadata.str_opt("llama.rope.scaling.type")?.unwrap_or("linear");
        let factor_key = "llama.rope.scaling.factor";
        let factor = match metadata.f32_opt(factor_key)? {
            Some(factor) => Some(factor),
            None => metadata.f32_opt("llama.rope.scale_linear")?,
        };
        // A factor of zero stands for "none" in files of old converters.
        let factor = factor.filter(|factor| *factor != 0.0).unwrap_or(1.0);
        if !(factor > 0.0 && factor <= 1e6) {
            return Err(config_error(factor_key, factor, "above 0, at most 1e6".to_string()));
        }
        let linear_scale = match scaling {
            "none" => 1.0,
            "linear" => factor,
            other => {
                let expected = "\"none\" or \"linear\"; other kinds are not supported".to_string();
                return Err(config_error("llama.rope.scaling.type", quoted(other), expected));
            }
        };
        Ok(Self { dimensions, frequency_base, linear_scale })
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

fn check_vocabulary(metadata: &Metadata, vocab_size: usize) -> Result<(), ModelError> {
    if vocab_size > 1 << 24 {
        return Err(config_error("token_embd.weight rows", vocab_size, format!("at most {}", 1 << 24)));
    }
    if let Some(declared) = metadata.u32_opt("llama.vocab_size")?
        && declared as usize != vocab_size
    {
        let expected = format!("{vocab_size}, the rows of token_embd.weight");
        return Err(config_error("llama.vocab_size", declared, expected));
    }
    if let Some(tokens) = metadata.str_array_opt("tokenizer.ggml.tokens")?
        && tokens.len() > vocab_size
    {
        let expected = format!("at most {vocab_size}, the rows of token_embd.weight");
        return Err(config_error("tokenizer.ggml.tokens (length)", tokens.len(), expected));
    }
    Ok(())
}

fn reject_experts(metadata: &Metadata) -> Result<(), ModelError> {
    match metadata.u32_opt("llama.expert_count")? {
        None | Some(0) => Ok(()),
        Some(count) => {
            Err(config_error("llama.expert_count", count, "0; mixtures of experts are not supported".to_string()))
        }
    }
}

fn head_dimension(metadata: &Metadata, embedding_length: usize, head_count: usize) -> Result<usize, ModelError> {
    let key = "llama.attention.key_length";
    let head_dim = match metadata.u32_opt(key)? {
        Some(length) => in_range(key, length, 1 << 12)?,
        None if embedding_length.is_multiple_of(head_count) => embedding_length / head_count,
        None => {
            let expected = format!("a divisor of llama.embedding_length {embedding_length} (or set {key})");
            return Err(config_error("llama.attention.head_count", head_count, expected));
        }
    };
    if head_dim == 0 || !head_dim.is_multiple_of(2) || head_dim > 1 << 12 {
        return Err(config_error(key, head_dim, format!("an even number from 2 to {}", 1 << 12)));
    }
    match metadata.u32_opt("llama.attention.value_length")? {
        Some(length) if length as usize != head_dim => {
            let expected = format!("{head_dim}, the length of a key");
            Err(config_error("llama.attention.value_length", length, expected))
        }
        _ => Ok(head_dim),
    }
}
