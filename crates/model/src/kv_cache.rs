//! The paged cache of keys and values: allocated once, written by the forward, copied by block. Who owns which block is not
//! known here.

use candle_core::{DType, Tensor};
use sconce_kernels::launch::ElementType;
use sconce_kernels::{BlockCopy, KernelError, block_copy, q8_head_bytes};

use crate::config::LlamaConfig;
use crate::devices::Devices;
use crate::error::ModelError;
use crate::llama::Llama;

/// The element type of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KvCacheDtype {
    /// Half precision: two bytes a number.
    #[default]
    F16,
    /// The upper half of a single: two bytes a number, with the range of a single.
    Bf16,
    /// Single precision: four bytes a number.
    F32,
    /// Eight bits, and a scale in half precision for 32 numbers: 1.0625 bytes a number. On the CPU only.
    Q8_0,
}

impl KvCacheDtype {
    /// The type of the tensors, and their elements for a head of so many numbers; `None` where it cannot lie in them.
    fn head(self, head_dim: usize) -> (DType, Option<usize>) {
        match self {
            Self::F16 => (DType::F16, Some(head_dim)),
            Self::Bf16 => (DType::BF16, Some(head_dim)),
            Self::F32 => (DType::F32, Some(head_dim)),
            Self::Q8_0 => (DType::U8, q8_head_bytes(head_dim)),
        }
    }

    /// The type in which a model is judged: F32, or on a card bf16. Both have the range of a single, so that what only a shorter type
    /// cannot hold is no fault of the model.
    #[must_use]
    pub fn with_range(devices: &Devices) -> Self {
        if devices.are_cuda() { Self::Bf16 } else { Self::F32 }
    }

    /// Bytes of a head of so many numbers.
    #[must_use]
    pub fn head_bytes(self, head_dim: usize) -> usize {
        let (tensor_type, elements) = self.head(head_dim);
        // A cache that cannot be has no size; allocating it says so.
        elements.unwrap_or(head_dim).saturating_mul(tensor_type.size_in_bytes())
    }

    /// Checks that a cache of this type can be; gives the type of its tensors, and their elements for a head.
    ///
    /// # Errors
    /// When the model's heads do not fill its blocks, or the devices do not know it.
    pub fn check(self, config: &LlamaConfig, devices: &Devices) -> Result<(DType, usize), ModelError> {
        let problem = |problem: String| Err(ModelError::Cache { problem });
        if devices.are_cuda() && self.on_card().is_none() {
            return problem("q8_0 is for the CPU; on CUDA devices take auto, bf16, f16 or f32".to_string());
        }
        let (tensor_type, Some(elements)) = self.head(config.head_dim) else {
            let length = config.head_dim;
            return problem(format!(
                "this model's heads of {length} numbers are no whole blocks of 32, as q8_0 needs; take auto, f16 or f32"
            ));
        };
        Ok((tensor_type, elements))
    }

    /// What a card's kernels read; `None` for what they do not.
    pub(crate) fn on_card(self) -> Option<ElementType> {
        match self {
            Self::F16 => Some(ElementType::F16),
            Self::Bf16 => Some(ElementType::Bf16),
            Self::F32 => Some(ElementType::F32),
            Self::Q8_0 => None,
        }
    }
}

/// Keys and values of one layer, each `[num_blocks, block_size, num_kv_heads, head_dim]`, or for [`KvCacheDtype::Q8_0`] the bytes of
/// a head in place of its length.
#[derive(Debug)]
pub(crate) struct LayerCache {
    pub(crate) keys: Tensor,
    pub(crate) values: Tensor,
}

/// The cache of all layers.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    num_blocks: usize,
    /// Whether one more block lies behind them, for made-up rows to write to.
    has_scratch: bool,
    block_size: usize,
    dtype: KvCacheDtype,
    heads: usize,
    head_dim: usize,
}

impl KvCache {
    /// Allocates the cache of a model, each layer's on that layer's device. What is in it means nothing before it is written.
    ///
    /// # Errors
    /// When a size is zero, slots would not fit 32 bits, the type does not go with the devices or the heads, or the memory cannot be
    /// had.
    pub fn allocate(
        model: &Llama,
        num_blocks: usize,
        block_size: usize,
        dtype: KvCacheDtype,
    ) -> Result<Self, ModelError> {
        let config = model.config();
        let problem = |problem: String| ModelError::Cache { problem };
        if num_blocks == 0 || block_size == 0 {
            return Err(problem(format!(
                "{num_blocks} blocks of {block_size} slots hold nothing; both must be at least 1"
            )));
        }
        let most = num_blocks.saturating_add(1);
        if most.checked_mul(block_size).is_none_or(|slots| u32::try_from(slots).is_err()) {
            let limit = u32::MAX;
            return Err(problem(format!("{num_blocks} blocks of {block_size} slots are more than {limit} slots")));
        }
        let (tensor_type, elements) = dtype.check(config, model.devices())?;
        let bytes = Self::block_bytes(config, block_size, dtype).checked_mul(num_blocks);
        // A trial reservation turns a memory that cannot be had into an error; the real one would abort the process.
        let available = bytes.is_some_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok());
        if !available && !model.devices().are_cuda() {
            let bytes =
                bytes.map_or("more bytes than there are addresses".to_string(), |bytes| format!("{bytes} bytes"));
            return Err(problem(format!("{bytes} cannot be allocated; ask for fewer blocks")));
        }
        // On a card steps are padded to sizes that were recorded, and what the padding writes must go somewhere.
        let has_scratch = model.devices().are_cuda();
        let shape = (num_blocks + usize::from(has_scratch), block_size, config.head_count_kv, elements);
        let mut layers = Vec::with_capacity(config.block_count);
        for device in model.layer_devices() {
            // The host's pages are there only once something was written that is not zero: the system keeps zeros as a promise,
            // which it could break in the midst of serving.
            let fill = if device.is_cpu() { Tensor::ones } else { Tensor::zeros };
            let tensor = || fill(shape, tensor_type, device).map_err(KernelError::from);
            layers.push(LayerCache { keys: tensor()?, values: tensor()? });
        }
        let (heads, head_dim) = (config.head_count_kv, config.head_dim);
        Ok(Self { layers, num_blocks, has_scratch, block_size, dtype, heads, head_dim })
    }

    /// Bytes that one block takes in all layers, keys and values together.
    #[must_use]
    pub fn block_bytes(config: &LlamaConfig, block_size: usize, dtype: KvCacheDtype) -> usize {
        [block_size, config.head_count_kv, config.block_count, dtype.head_bytes(config.head_dim)]
            .into_iter()
            .fold(2, usize::saturating_mul)
    }

    /// Blocks of the cache.
    #[must_use]
    pub fn num_blocks(&self) -> usize {
        self.num_blocks
    }

    /// Blocks of the tensors: those of the cache and, on a card, the scratch block.
    pub(crate) fn physical_blocks(&self) -> usize {
        self.num_blocks + usize::from(self.has_scratch)
    }

    /// The block that no sequence owns.
    #[cfg(feature = "cuda")]
    pub(crate) fn scratch_block(&self) -> Result<u32, ModelError> {
        let block = self.has_scratch.then(|| u32::try_from(self.num_blocks).ok()).flatten();
        block.ok_or_else(|| ModelError::Cache { problem: "it was allocated for the CPU".to_string() })
    }

    /// Type of keys and values.
    pub(crate) fn dtype(&self) -> KvCacheDtype {
        self.dtype
    }

    /// Slots of one block.
    #[must_use]
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// Runs copies in the order given, in every layer.
    ///
    /// # Errors
    /// Names the copy whose block or number of slots does not exist; nothing is copied then.
    pub fn copy_blocks(&mut self, copies: &[BlockCopy]) -> Result<(), ModelError> {
        if copies.is_empty() {
            return Ok(());
        }
        let caches: Vec<_> = self.layers.iter().flat_map(|layer| [&layer.keys, &layer.values]).collect();
        Ok(block_copy(&caches, copies)?)
    }

    /// Checks that the cache was made for this shape of model.
    pub(crate) fn check(&self, config: &LlamaConfig) -> Result<(), ModelError> {
        let own = (self.layers.len(), self.heads, self.head_dim);
        let needed = (config.block_count, config.head_count_kv, config.head_dim);
        if own == needed {
            return Ok(());
        }
        let problem = format!("made for (layers, heads, head length) {own:?}, but the model has {needed:?}");
        Err(ModelError::Cache { problem })
    }

    pub(crate) fn layers(&self) -> &[LayerCache] {
        &self.layers
    }
}
