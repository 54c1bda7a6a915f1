//! The engine's bounds, and how much memory its cache takes.

use std::time::Duration;

use sconce_model::{Activation, KvCache, KvCacheDtype, LlamaConfig};

use crate::memory::UTILIZATION_RANGE;

/// Bounds and sizes. Every field has a default that suits a CPU; [`EngineConfig::for_kind`] has those of a card.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The id that requests name.
    pub model_id: String,
    /// Sequences that run at once.
    pub max_num_seqs: usize,
    /// Tokens in a step.
    pub max_num_batched_tokens: usize,
    /// Longest sequence; `None` is the model's context.
    pub max_model_len: Option<usize>,
    /// Requests in the engine at once, running, waiting and not yet read; more are refused at once.
    pub max_requests: usize,
    /// Tokens a KV block holds.
    pub block_size: usize,
    /// Bytes for the KV cache; `None` is enough for every sequence that runs at once, up to [`DEFAULT_KV_BYTES`], and on cards
    /// all that is left of `gpu_memory_utilization`.
    pub kv_memory_bytes: Option<usize>,
    /// Share of each card's memory that weights, activations and cache may take together, within
    /// [`crate::UTILIZATION_RANGE`]. Of no meaning on the CPU.
    pub gpu_memory_utilization: f64,
    /// Whether every step is launched kernel by kernel, without graphs. Of no meaning on the CPU.
    pub enforce_eager: bool,
    /// Element type of activations; the CPU computes with F32 only.
    pub activation: Activation,
    /// Element type of the KV cache.
    pub kv_cache_dtype: KvCacheDtype,
    /// Share of the KV blocks set apart for a `cache_salt`, above 0 and in all below 1.
    pub kv_quotas: Vec<(String, f64)>,
    /// Whether document context outlives everything else in the cache.
    pub pin_documents: bool,
    /// What a step should take while others wait for their next token.
    pub step_target: Duration,
    /// Steps planned while one runs: 0 or 1.
    pub pipeline_depth: usize,
    /// Waiting time that one level of priority is worth.
    pub priority_aging: Duration,
    /// How long a reader may leave its stream full.
    pub slow_reader_timeout: Duration,
}

/// The KV cache's default size is never above this.
pub const DEFAULT_KV_BYTES: usize = 1 << 30;

/// Kinds of devices, as far as defaults differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// The CPU.
    Cpu,
    /// CUDA devices.
    Cuda,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self::for_kind(DeviceKind::Cpu)
    }
}

impl EngineConfig {
    /// The defaults for a kind of device. Everything that differs by device is said here.
    #[must_use]
    pub fn for_kind(kind: DeviceKind) -> Self {
        let is_card = kind == DeviceKind::Cuda;
        let by_kind = |cpu: usize, cuda: usize| if is_card { cuda } else { cpu };
        Self {
            model_id: "model".into(),
            // A card is fast only with many rows; what bounds a step there is the target, not the rows.
            max_num_seqs: by_kind(32, 128),
            max_num_batched_tokens: by_kind(512, 4096),
            max_model_len: None,
            max_requests: 256,
            block_size: 32,
            kv_memory_bytes: None,
            gpu_memory_utilization: 0.90,
            enforce_eager: false,
            activation: if is_card { Activation::Bf16 } else { Activation::F32 },
            kv_cache_dtype: if is_card { KvCacheDtype::Bf16 } else { KvCacheDtype::F16 },
            kv_quotas: Vec::new(),
            pin_documents: false,
            step_target: Duration::from_millis(if is_card { 50 } else { 250 }),
            // The CPU that would plan the next step is the one that computes this one.
            pipeline_depth: by_kind(0, 1),
            priority_aging: Duration::from_secs(1),
            slow_reader_timeout: Duration::from_secs(30),
        }
    }
}

/// Why an engine cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The model's file is not usable.
    #[error(transparent)]
    Model(#[from] sconce_model::ModelError),
    /// The model's vocabulary is not usable.
    #[error("the model's vocabulary is not usable: {0}")]
    Tokenizer(#[from] sconce_text::TokenizerError),
    /// The model's file has no tokenizer that is known here.
    #[error("the model's file has no usable tokenizer: {0}")]
    NoTokenizer(String),
    /// The chat template does not compile.
    #[error("the chat template is not usable: {0}")]
    Template(#[from] sconce_text::TemplateError),
    /// The memory for the cache holds not even one block, or the number has no meaning.
    #[error("kv_memory is {bytes} bytes, but a block of {block_size} tokens takes {block_bytes}; give it more")]
    KvMemory {
        /// What was given.
        bytes: usize,
        /// Tokens per block.
        block_size: usize,
        /// Bytes per block.
        block_bytes: usize,
    },
    /// A device does not hold what it must.
    #[error(
        "device {device} has {}, of which {:.0} % may be taken; {} are taken by weights and others and {} are kept for \
         activations, so {} are left and its KV cache holds {tokens} tokens, but {wanted} are asked for: lower \
         --max-model-len, --kv-memory, --max-num-batched-tokens or --max-num-seqs, raise --gpu-memory-utilization, or name \
         more --devices",
        gib(*total), share * 100.0, gib(*taken), gib(*reserve), gib(*left)
    )]
    DeviceMemory {
        /// The device's place among those of the model.
        device: usize,
        /// Its bytes.
        total: usize,
        /// The share of them that may be taken.
        share: f64,
        /// Bytes that are taken already.
        taken: usize,
        /// Bytes that are kept for a step's activations.
        reserve: usize,
        /// Bytes that are left for the KV cache.
        left: usize,
        /// Tokens that these hold.
        tokens: usize,
        /// Tokens that they must hold: the context, or the cache that was asked for.
        wanted: usize,
    },
    /// The host does not hold what it must.
    #[error(
        "{} of memory are available; the weights take {} and a step {}, so {} are left and the KV cache holds {tokens} tokens, \
         but {wanted} are asked for: lower --max-model-len, --kv-memory, --max-num-batched-tokens or --max-num-seqs, or \
         take a smaller model",
        gib(*available), gib(*weights), gib(*step), gib(*left)
    )]
    HostMemory {
        /// Bytes that can be taken.
        available: usize,
        /// Bytes of the weights.
        weights: usize,
        /// Bytes of the largest step and the process itself.
        step: usize,
        /// Bytes that are left for the KV cache.
        left: usize,
        /// Tokens that these hold.
        tokens: usize,
        /// Tokens that they must hold.
        wanted: usize,
    },
    /// A share of a device's memory is out of range.
    #[error(
        "gpu_memory_utilization is {0}, but must be {least} to {most}",
        least = UTILIZATION_RANGE.start(),
        most = UTILIZATION_RANGE.end()
    )]
    Utilization(f64),
    /// A share of the cache is out of range.
    #[error("the KV quota of {name:?} is {share}, but shares must be above 0 and below 1 in all")]
    Quota {
        /// The salt's name.
        name: String,
        /// Its share.
        share: f64,
    },
    /// A bound of the scheduler.
    #[error(transparent)]
    Scheduler(#[from] sconce_sched::SchedulerConfigError),
    /// A size of the cache.
    #[error(transparent)]
    Kv(#[from] sconce_kv::KvConfigError),
    /// A bound of the engine is zero.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// The thread could not be started.
    #[error("the engine thread did not start: {0}")]
    Thread(#[from] std::io::Error),
}

/// Bytes as a person reads them.
fn gib(bytes: usize) -> String {
    if bytes < 10 << 30 {
        return format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20));
    }
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

impl EngineConfig {
    /// Blocks of the cache, as far as no device's memory bounds them.
    ///
    /// # Errors
    /// [`EngineError::KvMemory`] when not one fits, [`EngineError::Zero`] when a size is zero.
    pub fn num_blocks(&self, model: &LlamaConfig) -> Result<usize, EngineError> {
        if self.block_size == 0 {
            return Err(EngineError::Zero("block_size"));
        }
        if self.max_requests == 0 {
            return Err(EngineError::Zero("max_requests"));
        }
        let block_bytes = KvCache::block_bytes(model, self.block_size, self.kv_cache_dtype);
        let context_blocks = self.context_length(model).div_ceil(self.block_size);
        let wanted = context_blocks.saturating_mul(self.max_num_seqs.max(1));
        let default_bytes = DEFAULT_KV_BYTES.min(wanted.saturating_mul(block_bytes)).max(block_bytes);
        let bytes = self.kv_memory_bytes.unwrap_or(default_bytes);
        let blocks = bytes / block_bytes.max(1);
        if blocks == 0 {
            return Err(EngineError::KvMemory { bytes, block_size: self.block_size, block_bytes });
        }
        Ok(blocks)
    }

    /// The longest sequence by model and configuration.
    #[must_use]
    pub fn context_length(&self, model: &LlamaConfig) -> usize {
        self.max_model_len.unwrap_or(usize::MAX).min(model.context_length)
    }
}
