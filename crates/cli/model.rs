//! From arguments to a running engine.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sconce_engine::{EngineConfig, EngineHandle, EngineThread, KvCacheDtype, LoadedModel};

use crate::args::{KvDtype, ModelArguments};

/// Starts the engine, if a model is named.
pub(crate) fn start(arguments: &ModelArguments) -> Result<Option<(EngineHandle, EngineThread)>> {
    arguments.model.as_deref().map(|path| start_file(path, arguments)).transpose()
}

/// Starts the engine over a file.
pub(crate) fn start_file(path: &Path, arguments: &ModelArguments) -> Result<(EngineHandle, EngineThread)> {
    let template = arguments.chat_template.as_deref().map(|path| {
        std::fs::read_to_string(path).with_context(|| format!("the chat template {} cannot be read", path.display()))
    });
    let template = template.transpose()?;
    let began = Instant::now();
    let loaded = LoadedModel::open(path, template.as_deref())
        .with_context(|| format!("the model {} cannot be served", path.display()))?;
    let config = config(path, arguments);
    let started = sconce_engine::start(loaded, &config)
        .with_context(|| format!("the model {} cannot be served", path.display()))?;
    let info = started.0.model();
    tracing::info!(
        model = info.id,
        seconds = format_args!("{:.1}", began.elapsed().as_secs_f64()),
        context = info.context_length,
        kv_tokens = info.num_blocks * info.block_size,
        "model loaded"
    );
    Ok(started)
}

fn config(path: &Path, arguments: &ModelArguments) -> EngineConfig {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    EngineConfig {
        model_id: arguments.model_id.clone().unwrap_or(stem),
        max_num_seqs: usize::from(arguments.max_num_seqs),
        max_num_batched_tokens: arguments.max_num_batched_tokens as usize,
        max_model_len: arguments.max_model_len.map(|length| length as usize),
        max_requests: usize::from(arguments.max_requests),
        block_size: usize::from(arguments.block_size),
        kv_memory_bytes: arguments.kv_memory.map(|bytes| bytes.0),
        kv_cache_dtype: match arguments.kv_cache_dtype {
            KvDtype::F16 => KvCacheDtype::F16,
            KvDtype::F32 => KvCacheDtype::F32,
        },
        kv_quotas: arguments.kv_quota.clone(),
        pin_documents: arguments.pin_documents,
        step_target: Duration::from_millis(u64::from(arguments.step_target_ms)),
        pipeline_depth: usize::from(arguments.pipeline_depth),
        ..EngineConfig::default()
    }
}
