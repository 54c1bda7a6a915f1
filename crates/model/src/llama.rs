//! The Llama decoder: loading, and the forward over a batch of mixed sequences.

use candle_core::{Device, Tensor};
use sconce_kernels::{RopeFrequencies, Weight, embedding, quant_matmul, select_rows};

use crate::batch::ForwardBatch;
use crate::config::LlamaConfig;
use crate::devices::{self, Devices};
use crate::error::ModelError;
use crate::gguf::GgufFile;
use crate::kv_cache::KvCache;
use crate::layer::{Layer, Stream};
use crate::logits::Logits;
use crate::tensors::TensorSource;

/// The layers that lie on one device.
#[derive(Debug)]
struct Stage {
    device: Device,
    /// Index of the first.
    begin: usize,
    layers: Vec<Layer>,
}

/// A loaded model. Immutable: everything that a step changes is in the [`KvCache`].
#[derive(Debug)]
pub struct Llama {
    config: LlamaConfig,
    devices: Devices,
    token_embedding: Weight,
    stages: Vec<Stage>,
    output_norm: Tensor,
    output: Weight,
    frequencies: RopeFrequencies,
}

impl Llama {
    /// Checks the file's configuration and every tensor's shape, and copies the weights to the devices: the layers in
    /// contiguous stages of about equal bytes, the embedding to the first device, the output to the last.
    ///
    /// # Errors
    /// Names the key or tensor that is missing, wrong, or not supported; or says that there are fewer layers than devices.
    pub fn load(file: &GgufFile, devices: &Devices) -> Result<Self, ModelError> {
        let config = LlamaConfig::from_file(file)?;
        let ranges = devices::stages(&layer_bytes(file, config.block_count), devices.as_slice().len())?;
        let mut source = TensorSource::new(file, devices.first());
        let token_embedding = source.matrix("token_embd.weight", config.vocab_size, config.embedding_length)?;
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
        let mut stages = Vec::with_capacity(ranges.len());
        for (device, range) in devices.as_slice().iter().zip(ranges) {
            tracing::debug!(?device, ?range, "a stage of layers is loaded");
            source.place_on(device);
            let begin = range.start;
            let layers = range.map(|index| Layer::load(&mut source, &config, index)).collect::<Result<_, _>>()?;
            stages.push(Stage { device: device.clone(), begin, layers });
        }
        let output_norm = source.vector("output_norm.weight", config.embedding_length)?;
        let output = if source.has("output.weight") {
            source.matrix("output.weight", config.vocab_size, config.embedding_length)?
        } else if devices.last().same_device(devices.first()) {
            // A tied output: the embedding table is used again, not copied.
            token_embedding.clone()
        } else {
            source.matrix("token_embd.weight", config.vocab_size, config.embedding_length)?
        };
        source.finish()?;
        tracing::debug!(path = %file.path().display(), layers = config.block_count, "model loaded");
        Ok(Self { config, devices: devices.clone(), token_embedding, stages, output_norm, output, frequencies })
    }

    /// The model's shape.
    #[must_use]
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// The devices that it lies on.
    #[must_use]
    pub fn devices(&self) -> &Devices {
        &self.devices
    }

    /// The device of each layer, in order.
    pub fn layer_devices(&self) -> impl Iterator<Item = &Device> {
        self.stages.iter().flat_map(|stage| stage.layers.iter().map(|_| &stage.device))
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
        let base = embedding(&self.token_embedding, &batch.input_ids, self.devices.first())?;
        let mut stream = Stream { base, update: None };
        for stage in &self.stages {
            stream = stream.to_device(&stage.device)?;
            let caches = &kv.layers()[stage.begin..];
            for (index, (layer, cache)) in (stage.begin..).zip(stage.layers.iter().zip(caches)) {
                let (mut attention, mut base) = layer.attend(&stream, &table, &paged, cache)?;
                if index + 1 == self.config.block_count {
                    // Behind the last attention only the wanted rows matter: the others have left their keys and values.
                    if batch.logits_rows.is_empty() {
                        return Ok(Logits::none(self.config.vocab_size));
                    }
                    attention = select_rows(&attention, &batch.logits_rows)?;
                    base = select_rows(&base, &batch.logits_rows)?;
                }
                stream = layer.feed_forward(&attention, base)?;
            }
        }
        let normed = stream.norm(&self.output_norm, self.config.rms_epsilon)?.normed;
        Logits::from_tensor(&quant_matmul(&normed, &self.output)?, self.config.vocab_size)
    }
}

/// Bytes of each layer's weights, with the embedding's in the first and the output's in the last.
fn layer_bytes(file: &GgufFile, layers: usize) -> Vec<u64> {
    let mut bytes = vec![0u64; layers];
    let tied = file.tensor_info("output.weight").is_none();
    for info in file.tensors() {
        let layer = info.name.strip_prefix("blk.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        let is_embedding = info.name == "token_embd.weight";
        let first = if is_embedding { Some(0) } else { layer };
        let last = (info.name == "output.weight" || is_embedding && tied).then(|| layers.saturating_sub(1));
        for place in first.into_iter().chain(last) {
            if let Some(sum) = bytes.get_mut(place) {
                *sum = sum.saturating_add(info.bytes);
            }
        }
    }
    bytes
}
