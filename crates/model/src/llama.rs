//! The Llama decoder: loading, and the forward over a batch of mixed sequences.

use candle_core::{Device, Tensor};
use sconce_kernels::{RopeFrequencies, Weight, embedding, quant_matmul, select_rows};

use crate::batch::ForwardBatch;
use crate::config::LlamaConfig;
use crate::error::ModelError;
use crate::gguf::GgufFile;
use crate::kv_cache::KvCache;
use crate::layer::{Layer, Stream};
use crate::logits::Logits;
use crate::tensors::TensorSource;

/// A loaded model. Immutable: everything that a step changes is in the [`KvCache`].
#[derive(Debug)]
pub struct Llama {
    config: LlamaConfig,
    device: Device,
    token_embedding: Weight,
    layers: Vec<Layer>,
    output_norm: Tensor,
    output: Weight,
    frequencies: RopeFrequencies,
}

impl Llama {
    /// Checks the file's configuration and every tensor's shape, and copies the weights to the device.
    ///
    /// # Errors
    /// Names the key or tensor that is missing, wrong, or not supported.
    pub fn load(file: &GgufFile, device: &Device) -> Result<Self, ModelError> {
        let config = LlamaConfig::from_file(file)?;
        let mut source = TensorSource::new(file, device);
        let token_embedding = source.matrix("token_embd.weight", config.vocab_size, config.embedding_length)?;
        let output_norm = source.vector("output_norm.weight", config.embedding_length)?;
        let output = if source.has("output.weight") {
            source.matrix("output.weight", config.vocab_size, config.embedding_length)?
        } else {
            // A tied output: the embedding table is used again, not copied.
            token_embedding.clone()
        };
        let factors = if source.has("rope_freqs.weight") {
            Some(source.floats("rope_freqs.weight", config.rope.dimensions / 2)?)
        } else {
            None
        };
        if let Some(factor) = factors.iter().flatten().find(|factor| !(factor.is_finite() && **factor > 0.0)) {
            let expected = "positive numbers".to_string();
            return Err(ModelError::Config {
                key: "rope_freqs.weight".to_string(),
                value: factor.to_string(),
                expected,
            });
        }
        let rope = &config.rope;
        let frequencies =
            RopeFrequencies::new(rope.dimensions, rope.frequency_base, rope.linear_scale, factors.as_deref())?;
        let mut layers = Vec::with_capacity(config.block_count);
        for index in 0..config.block_count {
            layers.push(Layer::load(&mut source, &config, index)?);
        }
        source.finish()?;
        tracing::debug!(path = %file.path().display(), layers = config.block_count, "model loaded");
        Ok(Self { config, device: device.clone(), token_embedding, layers, output_norm, output, frequencies })
    }

    /// The model's shape.
    #[must_use]
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Computes the rows of a batch: writes their keys and values to their slots in every layer, and gives the logits of
    /// `batch.logits_rows`, each `[vocab_size]`. A layer writes before it reads, so a sequence may share blocks that another
    /// sequence of the same batch fills.
    ///
    /// A row's logits are bitwise the same alone, in any batch, in any chunking, from a cold or a warm prefix and in whatever
    /// blocks, on one machine with one build.
    ///
    /// # Errors
    /// Names the array and entry of the batch that is wrong, before anything is written; or what a kernel reported.
    pub fn forward(&self, batch: &ForwardBatch, kv: &mut KvCache) -> Result<Logits, ModelError> {
        kv.check(&self.config)?;
        let paged = batch.check(&self.config, kv)?;
        if batch.input_ids.is_empty() {
            return Ok(Logits::none(self.config.vocab_size));
        }
        let table = self.frequencies.table(&batch.positions);
        let base = embedding(&self.token_embedding, &batch.input_ids, &self.device)?;
        let mut stream = Stream { base, update: None };
        for (index, (layer, cache)) in self.layers.iter().zip(kv.layers()).enumerate() {
            let (mut attention, mut base) = layer.attend(&stream, &table, &paged, cache)?;
            if index + 1 == self.layers.len() {
                // Behind the last attention only the wanted rows matter: the others have left their keys and values.
                if batch.logits_rows.is_empty() {
                    return Ok(Logits::none(self.config.vocab_size));
                }
                attention = select_rows(&attention, &batch.logits_rows)?;
                base = select_rows(&base, &batch.logits_rows)?;
            }
            stream = layer.feed_forward(&attention, base)?;
        }
        let normed = stream.norm(&self.output_norm, self.config.rms_epsilon)?.normed;
        Logits::from_tensor(&quant_matmul(&normed, &self.output)?, self.config.vocab_size)
    }
}
