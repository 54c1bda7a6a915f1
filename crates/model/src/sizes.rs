//! What a model costs by its own sizes: bytes that a step must read and operations that it must do. Measured rates are set
//! against these, so that a figure says how far from the floor it is.

use crate::checkpoint::Checkpoint;
use crate::config::LlamaConfig;
use crate::error::ModelError;
use crate::gguf::TensorInfo;
use crate::kv_cache::{KvCache, KvCacheDtype};

/// Sizes of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSizes {
    /// Bytes of the tensors that every step reads whole: all but the embedding table, of which it reads rows. A tied table is
    /// read whole, as the output.
    pub step_weight_bytes: u64,
    /// Weights of the layers' matrices: each multiplies every token.
    pub layer_weights: u64,
    /// Weights of the output matrix: it multiplies only the rows whose logits are wanted.
    pub output_weights: u64,
    /// Whether every matrix is F32, so that nothing rounds activations to a shorter type.
    pub is_f32: bool,
    config: LlamaConfig,
}

/// What something must move and compute at least.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    /// Bytes of weights, keys and values read.
    pub bytes: f64,
    /// Operations, a multiplication and an addition being two.
    pub operations: f64,
}

impl ModelSizes {
    /// The sizes of a file's model.
    ///
    /// # Errors
    /// When the file is no model that is supported.
    pub fn of(file: &Checkpoint) -> Result<Self, ModelError> {
        let config = LlamaConfig::from_file(file)?;
        let tied = file.tensor_info("output.weight").is_none();
        let mut sizes = Self { step_weight_bytes: 0, layer_weights: 0, output_weights: 0, is_f32: true, config };
        for info in file.tensors() {
            let weights = info.dimensions.iter().map(|length| *length as u64).product::<u64>();
            let is_embedding = info.name == "token_embd.weight";
            if info.name == "output.weight" || is_embedding && tied {
                sizes.output_weights = weights;
            } else if !is_embedding && info.dimensions.len() == 2 {
                sizes.layer_weights += weights;
            }
            if !is_embedding || tied {
                sizes.step_weight_bytes += info.bytes;
            }
            sizes.is_f32 &= info.weight_type == sconce_kernels::WeightType::F32;
        }
        Ok(sizes)
    }

    /// Bytes by which the weights are larger in the memory of the CPU than in the file.
    #[must_use]
    pub fn packed_extra_bytes(file: &Checkpoint) -> u64 {
        let extra = |info: &TensorInfo| match *info.dimensions.as_slice() {
            [inputs, outputs] => sconce_kernels::packed_extra_bytes(info.weight_type, outputs, inputs),
            _ => 0,
        };
        file.tensors().iter().map(extra).sum()
    }

    /// The model's shape.
    #[must_use]
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Bytes that the keys and values of one token take in all layers.
    #[must_use]
    pub fn token_kv_bytes(&self, dtype: KvCacheDtype) -> u64 {
        KvCache::block_bytes(&self.config, 1, dtype) as u64
    }

    /// One step that decodes a token in each of so many streams, each seeing `context` keys, its own included.
    #[must_use]
    pub fn decode_step(&self, streams: f64, context: f64, dtype: KvCacheDtype) -> Work {
        let keys = streams * context;
        Work {
            bytes: self.step_weight_bytes as f64 + keys * self.token_kv_bytes(dtype) as f64,
            operations: 2.0 * (self.layer_weights + self.output_weights) as f64 * streams + self.attention(keys),
        }
    }

    /// A prompt of so many tokens in steps of at most `step_tokens`, whose last row alone gives logits. Each step reads the
    /// weights and the keys before it once.
    #[must_use]
    pub fn prompt(&self, tokens: usize, step_tokens: usize, dtype: KvCacheDtype) -> Work {
        let step = step_tokens.max(1);
        let keys_before: f64 = (0..tokens).step_by(step).map(|start| start as f64).sum();
        let length = tokens as f64;
        let pairs = length * (length + 1.0) / 2.0;
        Work {
            bytes: tokens.div_ceil(step) as f64 * self.step_weight_bytes as f64
                + keys_before * self.token_kv_bytes(dtype) as f64,
            operations: 2.0 * (self.layer_weights as f64 * length + self.output_weights as f64) + self.attention(pairs),
        }
    }

    /// Operations of attention over so many pairs of a query row and a key: two products of a head's length for each head.
    fn attention(&self, pairs: f64) -> f64 {
        4.0 * (self.config.query_width() * self.config.block_count) as f64 * pairs
    }
}
