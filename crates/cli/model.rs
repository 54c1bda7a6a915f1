//! From arguments to a running engine. Each command sets what its options say; the rest is as small as it needs.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sconce_engine::{EngineConfig, EngineHandle, EngineThread, KvCacheDtype, LoadedModel};

use crate::args::{AskArguments, BatchArguments, BenchModelArguments, KvDtype, ModelArguments, ServeArguments};

/// An engine with its thread.
pub(crate) type Started = (EngineHandle, EngineThread);

/// Starts the engine of a server, if a model is named.
pub(crate) fn for_serving(arguments: &ServeArguments) -> Result<Option<Started>> {
    let serving = &arguments.serving;
    let mut config = batched(&arguments.model, &arguments.batch);
    if let Some(id) = &serving.model_id {
        config.model_id.clone_from(id);
    }
    config.max_requests = usize::from(serving.max_requests);
    config.kv_quotas.clone_from(&serving.kv_quota);
    config.pin_documents = serving.pin_documents;
    start(&arguments.model, arguments.template.chat_template.as_deref(), &config)
}

/// Starts the engine of one question, if a model is named: one sequence, whose context is all that the cache must hold.
pub(crate) fn for_question(arguments: &AskArguments) -> Result<Option<Started>> {
    let config = EngineConfig { max_num_seqs: 1, max_requests: 1, ..loading(&arguments.model) };
    start(&arguments.model, arguments.template.chat_template.as_deref(), &config)
}

/// Starts the engine of a measurement, which takes all the streams that it asks for.
pub(crate) fn for_bench(arguments: &BenchModelArguments) -> Result<Option<Started>> {
    let streams = arguments.streams.iter().copied().max().unwrap_or(1) as usize;
    let config = EngineConfig { max_requests: streams, ..batched(&arguments.model, &arguments.batch) };
    start(&arguments.model, None, &config)
}

fn start(arguments: &ModelArguments, template: Option<&Path>, config: &EngineConfig) -> Result<Option<Started>> {
    let Some(path) = arguments.model.as_deref() else { return Ok(None) };
    let template = template.map(|path| {
        std::fs::read_to_string(path).with_context(|| format!("the chat template {} cannot be read", path.display()))
    });
    let template = template.transpose()?;
    let devices = arguments.devices.open()?;
    let began = Instant::now();
    let loaded = LoadedModel::open(path, template.as_deref(), &devices)
        .with_context(|| format!("the model {} cannot be served", path.display()))?;
    let started = sconce_engine::start(loaded, config)
        .with_context(|| format!("the model {} cannot be served", path.display()))?;
    let info = started.0.model();
    tracing::info!(
        model = info.id,
        seconds = format_args!("{:.1}", began.elapsed().as_secs_f64()),
        context = info.context_length,
        kv_tokens = info.num_blocks * info.block_size,
        "model loaded"
    );
    Ok(Some(started))
}

/// The part that does not depend on how many share the engine.
fn loading(arguments: &ModelArguments) -> EngineConfig {
    let stem = arguments.model.as_deref().and_then(Path::file_stem).unwrap_or_default();
    EngineConfig {
        model_id: stem.to_string_lossy().into_owned(),
        max_model_len: arguments.max_model_len.map(|length| length as usize),
        block_size: usize::from(arguments.block_size),
        kv_memory_bytes: arguments.kv_memory.map(|bytes| bytes.0),
        kv_cache_dtype: match arguments.kv_cache_dtype {
            KvDtype::F16 => KvCacheDtype::F16,
            KvDtype::F32 => KvCacheDtype::F32,
        },
        ..EngineConfig::default()
    }
}

fn batched(model: &ModelArguments, batch: &BatchArguments) -> EngineConfig {
    EngineConfig {
        max_num_seqs: usize::from(batch.max_num_seqs),
        max_num_batched_tokens: batch.max_num_batched_tokens as usize,
        step_target: Duration::from_millis(u64::from(batch.step_target_ms)),
        pipeline_depth: usize::from(batch.pipeline_depth),
        ..loading(model)
    }
}
