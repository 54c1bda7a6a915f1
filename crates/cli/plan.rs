//! `sconce plan`: what a model takes in memory, from its header alone.

use anyhow::{Context, Result};
use sconce_engine::MemoryPlan;
use serde_json::json;

use crate::args::PlanArguments;
use crate::model::{batched, checkpoint};
use crate::out::say;

/// Prints the plan that `serve` with the same options would take, or refuses as it would.
pub(crate) fn run(arguments: &PlanArguments) -> Result<()> {
    let named = arguments.file.as_deref().or(arguments.model.path());
    let path = named.context("name a GGUF file: sconce plan model.gguf")?;
    let file = checkpoint(&arguments.model, path)?;
    let devices = arguments.model.device.devices.open()?;
    let config = batched(&arguments.model, &arguments.batch);
    let plan = MemoryPlan::of(&file, &devices, &config, arguments.memory.map(|bytes| bytes.0))
        .with_context(|| format!("the model {} cannot be served like this", path.display()))?;
    if arguments.json {
        let figures = json!({
            "model": path,
            "devices": arguments.model.device.devices.to_string(),
            "weights": plan.weights,
            "weight_bytes": plan.weight_bytes(),
            "packed_extra_bytes": plan.packed_extra_bytes,
            "kv_token_bytes": plan.kv_token_bytes,
            "step_bytes": plan.step_bytes,
            "kv_bytes": plan.kv_bytes,
            "kv_tokens": plan.kv_tokens,
            "wanted_context": plan.wanted_context,
            "context_length": plan.context_length,
            "sequences": plan.sequences(),
            "total_bytes": plan.total_bytes(),
            "available_bytes": plan.available_bytes,
        });
        say!("{}", serde_json::to_string_pretty(&figures)?);
        return Ok(());
    }
    print(&plan);
    if let Some(asked) = config.max_model_len.filter(|asked| *asked > plan.wanted_context) {
        say!("The model's context is {}, less than the --max-model-len of {asked}.", plan.wanted_context);
    }
    Ok(())
}

fn print(plan: &MemoryPlan) {
    let mib = |bytes: usize| format!("{:>10.1} MiB", bytes as f64 / f64::from(1 << 20));
    for (name, bytes) in &plan.weights {
        say!("weights {name:<8} {}", mib(*bytes as usize));
    }
    if plan.packed_extra_bytes > 0 {
        say!("packing adds     {}", mib(plan.packed_extra_bytes as usize));
    }
    say!("largest step     {}", mib(plan.step_bytes));
    say!("KV cache         {}  {} bytes per token", mib(plan.kv_bytes), plan.kv_token_bytes);
    say!("together         {}", mib(plan.total_bytes()));
    match plan.available_bytes {
        Some(bytes) => say!("available        {}", mib(bytes)),
        None => say!("available               not known here"),
    }
    say!(
        "The KV cache holds {} tokens: {} sequences of the context of {}.",
        plan.kv_tokens,
        plan.sequences(),
        plan.context_length
    );
    if plan.context_length < plan.wanted_context {
        say!(
            "Sequences may be no longer than that; the whole context of {} needs more --kv-memory.",
            plan.wanted_context
        );
    }
}
