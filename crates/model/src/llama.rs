//! The decoder that Llama and its kin share: loading, and the forward over a batch of mixed sequences.

use candle_core::{DType, Device, Tensor};
use sconce_kernels::launch::{AttentionShape, ElementType};
use sconce_kernels::{KernelError, PlacedStep, RopeFrequencies, Weight, embedding, quant_matmul, select_rows};

use crate::batch::ForwardBatch;
use crate::checkpoint::Checkpoint;
use crate::config::{LlamaConfig, RopeFactors};
use crate::devices::{self, Devices};
use crate::error::ModelError;
use crate::kv_cache::KvCache;
use crate::layer::{Layer, Stream};
use crate::logits::Logits;
use crate::part;
use crate::tensors::TensorSource;

/// The layers that lie on one device.
#[derive(Debug)]
struct Stage {
    device: Device,
    /// Index of the first.
    begin: usize,
    layers: Vec<Layer>,
    frequencies: RopeFrequencies,
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
    activation: Activation,
}

/// The element type of activations. Residuals and logits are F32 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Single precision: what the CPU computes with.
    F32,
    /// The upper half of a single: half of the traffic, on a card.
    Bf16,
}

impl Activation {
    /// What a device computes with unless it is told otherwise.
    #[must_use]
    pub fn of(devices: &Devices) -> Self {
        if devices.are_cuda() { Self::Bf16 } else { Self::F32 }
    }

    /// Whether the devices compute with it.
    ///
    /// # Errors
    /// When they do not: the CPU knows F32 only.
    pub fn check(self, devices: &Devices) -> Result<(), ModelError> {
        if self == Self::Bf16 && !devices.are_cuda() {
            let problem = "the CPU computes with f32 activations only; take auto or f32".to_string();
            return Err(ModelError::Devices { problem });
        }
        Ok(())
    }

    fn tensor_type(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }

    fn element_type(self) -> ElementType {
        match self {
            Self::F32 => ElementType::F32,
            Self::Bf16 => ElementType::Bf16,
        }
    }
}

/// Takes the tables of factors that the file has.
fn rope_factors(source: &mut TensorSource<'_>, pairs: usize) -> Result<RopeFactors, ModelError> {
    let mut table = |name: &str| -> Result<Option<Vec<f32>>, ModelError> {
        if !source.has(name) {
            return Ok(None);
        }
        let factors = source.floats(name, pairs)?;
        match factors.iter().find(|factor| !(factor.is_finite() && **factor > 0.0)) {
            None => Ok(Some(factors)),
            Some(factor) => {
                let expected = "positive numbers".to_string();
                Err(ModelError::Config { key: name.to_string(), value: factor.to_string(), expected })
            }
        }
    };
    Ok(RopeFactors {
        plain: table("rope_freqs.weight")?,
        short: table("rope_factors_short.weight")?,
        long: table("rope_factors_long.weight")?,
    })
}

impl Llama {
    /// Checks the file's configuration and every tensor's shape, and copies the weights to the devices: the layers in
    /// contiguous stages of about equal bytes, the embedding to the first device, the output to the last. `served_context` is
    /// the longest sequence that it will see, by default the model's context: a model with two tables of rope factors takes the
    /// long one where that is more than its first training saw.
    ///
    /// # Errors
    /// Names the key or tensor that is missing, wrong, or not supported; or says that there are fewer layers than devices.
    pub fn load(file: &Checkpoint, devices: &Devices, served_context: Option<usize>) -> Result<Self, ModelError> {
        let config = LlamaConfig::from_file(file)?;
        let ranges = devices::stages(&layer_bytes(file, config.block_count), devices.as_slice().len())?;
        let mut source = TensorSource::new(file, devices.first());
        let token_embedding = source.matrix("token_embd.weight", config.vocab_size, config.embedding_length)?;
        let factors = rope_factors(&mut source, config.rope.dimensions / 2)?;
        let served = served_context.unwrap_or(usize::MAX).min(config.context_length);
        let frequencies = config.rope.frequencies(&factors, served, config.architecture.pairs)?;
        let mut stages = Vec::with_capacity(ranges.len());
        for (device, range) in devices.as_slice().iter().zip(ranges) {
            tracing::debug!(?device, ?range, "a stage of layers is loaded");
            source.place_on(device);
            let begin = range.start;
            let layers = range.map(|index| Layer::load(&mut source, &config, index)).collect::<Result<_, _>>()?;
            stages.push(Stage { device: device.clone(), begin, layers, frequencies: frequencies.on(device)? });
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
        source.finish(config.architecture)?;
        tracing::debug!(path = %file.path().display(), layers = config.block_count, "model loaded");
        let activation = Activation::of(devices);
        Ok(Self { config, devices: devices.clone(), token_embedding, stages, output_norm, output, activation })
    }

    /// The same model with activations of another type.
    ///
    /// # Errors
    /// When the device does not compute with it: the CPU knows F32 only.
    pub fn with_activation(self, activation: Activation) -> Result<Self, ModelError> {
        activation.check(&self.devices)?;
        Ok(Self { activation, ..self })
    }

    /// The element type of its activations.
    #[must_use]
    pub fn activation(&self) -> Activation {
        self.activation
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

    /// Layers on each device, in order.
    pub fn stage_layers(&self) -> impl Iterator<Item = usize> {
        self.stages.iter().map(|stage| stage.layers.len())
    }

    /// The device of each stage, in order.
    #[cfg(feature = "cuda")]
    pub(crate) fn stage_devices(&self) -> impl Iterator<Item = &Device> {
        self.stages.iter().map(|stage| &stage.device)
    }

    /// The device of each layer, in order.
    pub fn layer_devices(&self) -> impl Iterator<Item = &Device> {
        self.stages.iter().flat_map(|stage| stage.layers.iter().map(|_| &stage.device))
    }

    /// Computes the rows of a batch: writes their keys and values to their slots in every layer, and gives the logits of
    /// `batch.logits_rows`, each `[vocab_size]`. A layer writes before it reads, so a sequence may share blocks that another
    /// sequence of the same batch fills.
    ///
    /// On the CPU a row's logits are bitwise the same alone, in any batch, in any chunking, from a cold or a warm prefix and in whatever
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
        let placed = PlacedStep::new(&batch.input_ids, paged, &batch.logits_rows);
        let shape = self.attention_shape(kv);
        let place = |step, device| match shape {
            Some(shape) => PlacedStep::on(step, device, shape),
            None => Ok(step),
        };
        // One stage, as usual, takes the arrays as they are; only several need copies.
        let steps = std::iter::repeat_n(placed, self.stages.len()).zip(&self.stages);
        let placed: Vec<PlacedStep<'_>> =
            steps.map(|(step, stage)| place(step, &stage.device)).collect::<Result<_, _>>()?;
        match self.compute(&placed, kv)? {
            Some(logits) => Logits::from_tensor(logits, self.config.vocab_size),
            None => Ok(Logits::none(self.config.vocab_size)),
        }
    }

    /// The shape of every layer's attention on a card; `None` where there is no card.
    pub(crate) fn attention_shape(&self, kv: &KvCache) -> Option<AttentionShape> {
        let cache = kv.dtype().on_card().filter(|_| self.devices.are_cuda())?;
        Some(AttentionShape {
            heads: self.config.head_count,
            kv_heads: self.config.head_count_kv,
            head_dim: self.config.head_dim,
            block_size: kv.block_size(),
            activation: self.activation.element_type(),
            cache,
        })
    }

    /// What [`Self::forward`] computes, for a step that was checked and placed for each stage: the logits stay on the last device,
    /// F32 `[logits_rows, vocab_size]`; none when none are wanted.
    pub(crate) fn compute(&self, placed: &[PlacedStep<'_>], kv: &KvCache) -> Result<Option<Tensor>, ModelError> {
        let activation = self.activation.tensor_type();
        let base = part!("embedding", embedding(&self.token_embedding, &placed[0].ids, self.devices.first()))?;
        let mut stream = Stream { base, update: None };
        for (stage, step) in self.stages.iter().zip(placed) {
            stream = stream.to_device(&stage.device)?;
            let table = stage.frequencies.table(&step.batch)?;
            let caches = &kv.layers()[stage.begin..];
            for (index, (layer, cache)) in (stage.begin..).zip(stage.layers.iter().zip(caches)) {
                let (mut attention, mut base) = layer.attend(&stream, &table, &step.batch, cache, activation)?;
                if index + 1 == self.config.block_count {
                    // Behind the last attention only the wanted rows matter: the others have left their keys and values.
                    if step.logits_rows.is_empty() {
                        return Ok(None);
                    }
                    attention = select_rows(&attention, &step.logits_rows)?;
                    base = select_rows(&base, &step.logits_rows)?;
                }
                stream = layer.feed_forward(&attention, base)?;
            }
        }
        let normed = part!("norm", stream.norm(&self.output_norm, self.config.rms_epsilon, activation))?.normed;
        // Tokens are told apart by logits that a shorter type would make equal.
        let normed = normed.to_dtype(DType::F32).map_err(KernelError::from)?;
        Ok(Some(part!("output", quant_matmul(&normed, &self.output))?))
    }
}

/// What a device gets of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageSize {
    /// Layers.
    pub layers: usize,
    /// Bytes of weights, as the file has them.
    pub bytes: u64,
}

/// The stages that [`Llama::load`] cuts the file's model into, from the header alone.
///
/// # Errors
/// When the file is no model that is supported, or has fewer layers than there are devices.
pub fn stage_sizes(file: &Checkpoint, devices: usize) -> Result<Vec<StageSize>, ModelError> {
    let layers = LlamaConfig::from_file(file)?.block_count;
    if devices == 1 {
        // A tied table is the embedding's and the output's, but lies there once.
        return Ok(vec![StageSize { layers, bytes: file.tensors().iter().map(|info| info.bytes).sum() }]);
    }
    let bytes = layer_bytes(file, layers);
    let stages = devices::stages(&bytes, devices)?;
    Ok(stages.into_iter().map(|range| StageSize { layers: range.len(), bytes: bytes[range].iter().sum() }).collect())
}

/// Bytes of each layer's weights, with the embedding's in the first and the output's in the last.
fn layer_bytes(file: &Checkpoint, layers: usize) -> Vec<u64> {
    let mut bytes = vec![0u64; layers];
    let tied = file.tensor_info("output.weight").is_none();
    for info in file.tensors() {
        let is_embedding = info.name == "token_embd.weight";
        let first = if is_embedding { Some(0) } else { info.layer() };
        let last = (info.name == "output.weight" || is_embedding && tied).then(|| layers.saturating_sub(1));
        for place in first.into_iter().chain(last) {
            if let Some(sum) = bytes.get_mut(place) {
                *sum = sum.saturating_add(info.bytes);
            }
        }
    }
    bytes
}
