//! How memory is shared out: weights first, then what the largest step takes, then the KV cache. One plan from a file's header for
//! the host and for cards; `machine` says what the host has, `card` what a loaded model's cards have left.

pub(crate) mod card;
mod host;
mod machine;

use std::collections::BTreeMap;

use sconce_model::{Checkpoint, Devices, KvCache, ModelSizes, stage_sizes};

use crate::config::{EngineConfig, EngineError};
use card::Reserve;
pub use card::UTILIZATION_RANGE;

/// What a model takes, and what fits beside it. Bytes throughout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Weights by element type as the file names them.
    pub weights: BTreeMap<String, u64>,
    /// What they take more than that on the CPU, which packs them in the order of its products.
    pub packed_extra_bytes: u64,
    /// Keys and values of one token in all layers.
    pub kv_token_bytes: usize,
    /// What the largest step takes beside weights and cache, and on the host the process itself.
    pub step_bytes: usize,
    /// Memory that may be taken; `None` where it is not known, and then nothing is refused.
    pub available_bytes: Option<usize>,
    /// The KV cache.
    pub kv_bytes: usize,
    /// Tokens that it holds, in whole blocks.
    pub kv_tokens: usize,
    /// The longest sequence in tokens that the model and the options allow.
    pub wanted_context: usize,
    /// The longest that will be served: as much of it as the cache holds.
    pub context_length: usize,
}

impl MemoryPlan {
    /// Plans for the file's model. `memory` is what may be taken at most, of each card where there are several; without it, what
    /// the machine or the cards say now, before anything is loaded.
    ///
    /// # Errors
    /// [`EngineError::HostMemory`] or [`EngineError::DeviceMemory`] with the numbers when not the cache fits that was asked for, or,
    /// where none was, not one sequence of the context (on the host: or of what a cache of the default size holds of it); [`EngineError::Model`] when the file is no model that is supported, has fewer layers
    /// than there are cards, heads that the type of the cache cannot hold, or devices that do not compute with the type of activations.
    pub fn of(
        file: &Checkpoint,
        devices: &Devices,
        config: &EngineConfig,
        memory: Option<usize>,
    ) -> Result<Self, EngineError> {
        let sizes = ModelSizes::of(file)?;
        let mut weights = BTreeMap::new();
        for info in file.tensors() {
            *weights.entry(format!("{:?}", info.weight_type)).or_default() += info.bytes;
        }
        let packed_extra_bytes = if devices.are_cuda() { 0 } else { ModelSizes::packed_extra_bytes(file) };
        let weight_bytes = weights.values().sum::<u64>().saturating_add(packed_extra_bytes) as usize;
        let model = sizes.config();
        config.kv_cache_dtype.check(model, devices)?;
        config.activation.check(devices)?;
        let wanted_context = config.context_length(model);
        let wanted_blocks = config.num_blocks(model)?;
        let (step_bytes, available_bytes, blocks) = if devices.are_cuda() {
            let sizes = stage_sizes(file, devices.as_slice().len())?;
            let cards = card::before_loading(&devices.memory()?, &sizes, memory);
            let allowed = cards.iter().zip(&sizes).map(|(card, size)| {
                let before = (card.total_bytes - card.free_bytes).saturating_sub(size.bytes as usize);
                ((card.total_bytes as f64 * config.gpu_memory_utilization) as usize).saturating_sub(before)
            });
            let reserve = (1..=cards.len()).map(|place| Reserve::of(model, config, place == cards.len()).bytes());
            (reserve.sum(), Some(allowed.sum()), card::num_blocks(config, model, &cards)?)
        } else {
            let step_bytes = host::step_bytes(model, config);
            let available = memory.or_else(machine::available_bytes);
            let blocks = host::num_blocks(config, model, weight_bytes, available, wanted_blocks)?;
            (step_bytes, available, blocks)
        };
        Ok(Self {
            weights,
            packed_extra_bytes,
            kv_token_bytes: KvCache::block_bytes(model, 1, config.kv_cache_dtype),
            step_bytes,
            available_bytes,
            kv_bytes: blocks.saturating_mul(KvCache::block_bytes(model, config.block_size, config.kv_cache_dtype)),
            kv_tokens: blocks.saturating_mul(config.block_size),
            wanted_context,
            context_length: wanted_context.min(blocks.saturating_mul(config.block_size)),
        })
    }

    /// Bytes of all weights as the file names them.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.weights.values().sum()
    }

    /// Weights, step and cache together.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        (self.weight_bytes().saturating_add(self.packed_extra_bytes) as usize)
            .saturating_add(self.step_bytes)
            .saturating_add(self.kv_bytes)
    }

    /// Sequences of the whole context that the cache holds at once.
    #[must_use]
    pub fn sequences(&self) -> usize {
        self.kv_tokens / self.context_length.max(1)
    }
}
