//! From arguments to a running engine. Each command sets what its options say; the rest is as small as it needs.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sconce_engine::{Activation, Devices, EngineConfig, EngineHandle, EngineThread, LoadedModel, MemoryPlan};
use sconce_model::Checkpoint;

use crate::args::{ActivationDtype, AskArguments, BatchArguments, BenchModelArguments, ModelArguments, ServeArguments};
use crate::bench::args::BenchTableArguments;
use crate::quantize;

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
    start(&arguments.model, None, &bench_config(arguments))
}

/// The bounds of a measurement's engine.
pub(crate) fn bench_config(arguments: &BenchModelArguments) -> EngineConfig {
    let streams = arguments.streams.iter().copied().max().unwrap_or(1) as usize;
    EngineConfig { max_requests: streams, ..batched(&arguments.model, &arguments.batch) }
}

/// The bounds of the engine of a table: so many streams at once and sequences of at most so many tokens, unless the options say
/// otherwise.
pub(crate) fn table_config(arguments: &BenchTableArguments, streams: usize, longest: usize) -> EngineConfig {
    let asked = batched(&arguments.model, &arguments.batch);
    EngineConfig {
        max_requests: streams,
        max_num_seqs: arguments.batch.max_num_seqs.map_or(streams, usize::from),
        max_model_len: asked.max_model_len.or(Some(longest)),
        ..asked
    }
}

/// The model's files, with their matrices of the type that was asked for.
pub(crate) fn checkpoint(arguments: &ModelArguments, path: &Path) -> Result<Checkpoint> {
    if !path.exists() {
        bail!(
            "there is no file or folder {}; `sconce pull NAME` fetches a model, and `--model NAME` takes it",
            path.display()
        );
    }
    let checkpoint = Checkpoint::open(path)?;
    let Some(quantization) = arguments.quantize else { return Ok(checkpoint) };
    let (converted, fallbacks) = checkpoint.quantized(quantization);
    quantize::tell(&fallbacks);
    Ok(converted)
}

/// Starts an engine, if a model is named.
pub(crate) fn start(
    arguments: &ModelArguments,
    template: Option<&Path>,
    config: &EngineConfig,
) -> Result<Option<Started>> {
    let Some(path) = arguments.path() else { return Ok(None) };
    let template = template.map(|path| {
        std::fs::read_to_string(path).with_context(|| format!("the chat template {} cannot be read", path.display()))
    });
    let template = template.transpose()?;
    let devices = arguments.device.devices.open()?;
    let began = Instant::now();
    let refused = || format!("the model {} cannot be served", path.display());
    let checkpoint = checkpoint(arguments, path).with_context(refused)?;
    let config = &planned(&checkpoint, &devices, config).with_context(refused)?;
    let loaded =
        LoadedModel::of(&checkpoint, template.as_deref(), &devices, config.max_model_len).with_context(refused)?;
    // Weights are copied to where they are computed with; the files are not needed any longer.
    drop(checkpoint);
    let started = sconce_engine::start(loaded, config).with_context(refused)?;
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

/// The bounds with the cache that the memory plan gives it, refused before anything is loaded when it does not fit.
fn planned(checkpoint: &Checkpoint, devices: &Devices, config: &EngineConfig) -> Result<EngineConfig> {
    let plan = MemoryPlan::of(checkpoint, devices, config, None)?;
    tracing::info!(
        weight_bytes = plan.weight_bytes(),
        packed_extra_bytes = plan.packed_extra_bytes,
        step_bytes = plan.step_bytes,
        kv_bytes = plan.kv_bytes,
        kv_tokens = plan.kv_tokens,
        available_bytes = plan.available_bytes,
        "memory plan"
    );
    let mut config = config.clone();
    if plan.context_length < plan.wanted_context {
        let (context_length, wanted_context) = (plan.context_length, plan.wanted_context);
        tracing::warn!(
            context_length,
            wanted_context,
            "the KV cache is too small for the context; give it more memory"
        );
        // Before the weights: how some models rotate depends on it.
        config.max_model_len = Some(context_length);
    }
    if devices.are_cuda() {
        // The engine plans cards again once the weights are there, when the driver says what is left to the byte.
        return Ok(config);
    }
    Ok(EngineConfig { kv_memory_bytes: Some(plan.kv_bytes), ..config })
}

/// The part that does not depend on how many share the engine.
fn loading(arguments: &ModelArguments) -> EngineConfig {
    let device = &arguments.device;
    let defaults = EngineConfig::for_kind(device.devices.kind());
    EngineConfig {
        model_id: arguments.path().map(model_id).unwrap_or_default(),
        max_model_len: arguments.max_model_len.map(|length| length as usize),
        block_size: usize::from(arguments.block_size),
        kv_memory_bytes: arguments.kv_memory.map(|bytes| bytes.0),
        kv_cache_dtype: arguments.kv_cache_dtype.or(defaults.kv_cache_dtype),
        activation: match device.dtype {
            ActivationDtype::Auto => defaults.activation,
            ActivationDtype::F32 => Activation::F32,
            ActivationDtype::Bf16 => Activation::Bf16,
        },
        gpu_memory_utilization: device.gpu_memory_utilization,
        enforce_eager: device.enforce_eager,
        ..defaults
    }
}

/// A file's name without its ending; of a pulled folder, which is called by its commit, the repository's name.
fn model_id(path: &Path) -> String {
    let stem = || path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    sconce_hub::display_name(path).unwrap_or_else(stem)
}

/// The bounds that these options give.
pub(crate) fn batched(model: &ModelArguments, batch: &BatchArguments) -> EngineConfig {
    let loading = loading(model);
    let target = batch.step_target_ms.map(|milliseconds| Duration::from_millis(u64::from(milliseconds)));
    EngineConfig {
        max_num_seqs: batch.max_num_seqs.map_or(loading.max_num_seqs, usize::from),
        max_num_batched_tokens: batch
            .max_num_batched_tokens
            .map_or(loading.max_num_batched_tokens, |most| most as usize),
        step_target: target.unwrap_or(loading.step_target),
        pipeline_depth: batch.pipeline_depth.map_or(loading.pipeline_depth, usize::from),
        ..loading
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use sconce_engine::KvCacheDtype;

    use super::*;
    use crate::args::{Arguments, BenchCommand, Command};

    fn config(options: &[&str]) -> Result<EngineConfig, clap::Error> {
        let arguments = ["sconce", "bench", "model", "--model", "m.gguf"].iter().chain(options);
        let Command::Bench(bench) = Arguments::try_parse_from(arguments)?.command else {
            unreachable!("it says bench")
        };
        let BenchCommand::Model(model) = bench.command else { unreachable!("it says model") };
        Ok(bench_config(&model))
    }

    #[test]
    fn what_is_not_said_is_what_suits_the_device() {
        let cpu = config(&["--devices", "cpu"]).expect("parsed");
        assert_eq!((cpu.max_num_seqs, cpu.max_num_batched_tokens, cpu.pipeline_depth), (32, 512, 0));
        assert_eq!((cpu.activation, cpu.kv_cache_dtype), (Activation::F32, KvCacheDtype::F16));
        assert_eq!(cpu.step_target, Duration::from_millis(250));
        let cuda = config(&["--devices", "0"]).expect("parsed");
        assert_eq!((cuda.max_num_seqs, cuda.max_num_batched_tokens, cuda.pipeline_depth), (128, 4096, 1));
        assert_eq!((cuda.activation, cuda.kv_cache_dtype), (Activation::Bf16, KvCacheDtype::Bf16));
        assert_eq!(cuda.step_target, Duration::from_millis(50));
        assert!(!cuda.enforce_eager && (cuda.gpu_memory_utilization - 0.9).abs() < 1e-9);
    }

    #[test]
    fn what_is_said_counts_on_every_device() {
        for devices in ["cpu", "0,1"] {
            let said =
                ["--max-num-seqs", "7", "--max-num-batched-tokens", "70", "--pipeline-depth", "1", "--dtype", "f32"];
            let more = ["--devices", devices, "--kv-cache-dtype", "f32", "--step-target-ms", "9", "--enforce-eager"];
            let config = config(&[&said[..], &more[..]].concat()).expect("parsed");
            assert_eq!((config.max_num_seqs, config.max_num_batched_tokens, config.pipeline_depth), (7, 70, 1));
            assert_eq!((config.activation, config.kv_cache_dtype), (Activation::F32, KvCacheDtype::F32));
            assert!(config.enforce_eager && config.step_target == Duration::from_millis(9));
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_option() {
        for (option, value) in [
            ("--gpu-memory-utilization", "0.04"),
            ("--gpu-memory-utilization", "0.99"),
            ("--gpu-memory-utilization", "NaN"),
            ("--gpu-memory-utilization", "much"),
            ("--max-num-seqs", "0"),
            ("--max-num-batched-tokens", "1048577"),
            ("--step-target-ms", "0"),
            ("--pipeline-depth", "2"),
            ("--dtype", "f16"),
            ("--kv-cache-dtype", "q8"),
            ("--devices", "gpu"),
        ] {
            let error = config(&[option, value]).expect_err(option).to_string();
            assert!(error.contains(option), "{option} {value}: {error}");
        }
    }
}
