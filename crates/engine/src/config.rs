//! The engine's bounds, and how much memory its cache takes.

use std::time::Duration;

use sconce_model::{KvCache, KvCacheDtype, LlamaConfig};

/// Bounds and sizes. Every field has a default that suits a CPU.
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
    /// Bytes for the KV cache; `None` is enough for every sequence that runs at once, up to [`DEFAULT_KV_BYTES`].
    pub kv_memory_bytes: Option<usize>,
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
    /// Launch kernel by kernel instead of playing recorded CUDA graphs.
    pub enforce_eager: bool,
    /// Waiting time that one level of priority is worth.
    pub priority_aging: Duration,
    /// How long a reader may leave its stream full.
    pub slow_reader_timeout: Duration,
}

/// The KV cache's default size is never above this.
pub const DEFAULT_KV_BYTES: usize = 1 << 30;

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            model_id: "model".into(),
            max_num_seqs: 32,
            max_num_batched_tokens: 512,
            max_model_len: None,
            max_requests: 256,
            block_size: 32,
            kv_memory_bytes: None,
            kv_cache_dtype: KvCacheDtype::F16,
            kv_quotas: Vec::new(),
            pin_documents: false,
            step_target: Duration::from_millis(250),
            pipeline_depth: 0,
            enforce_eager: false,
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

impl EngineConfig {
    /// Blocks of the cache.
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
