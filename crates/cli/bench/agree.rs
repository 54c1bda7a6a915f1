//! `sconce bench agree`: whether a model on a device computes what the CPU computes, and what it computes itself another way.

use std::process::ExitCode;

use anyhow::{Context, Result};
use sconce_engine::{DeviceKind, EngineConfig};
use sconce_kernels::checks::Random;
use sconce_model::agree::{self, Agreement, Prompt, Reference};
use sconce_model::{Activation, Checkpoint, Devices, KvCacheDtype, Llama, ModelSizes};
use serde_json::json;

use super::args::{AgreeCheck, BenchAgreeArguments};
use super::engines;
use super::findings::{self, Finding, Outcome};
use crate::args::ActivationDtype;
use crate::out::say;

/// Compares everything that is asked for, and goes on after a failure.
pub(crate) fn run(arguments: &BenchAgreeArguments) -> Result<ExitCode> {
    arguments.out.as_deref().map(super::check_out).transpose()?;
    let path = &arguments.model;
    let file = Checkpoint::open(path).with_context(|| format!("the model {} cannot be read", path.display()))?;
    let sizes = ModelSizes::of(&file)?;
    let devices = arguments.devices.open()?;
    let seed = arguments.seed.unwrap_or_else(findings::fresh_seed);
    say!("{}, prompts of seed {seed}\n", path.display());
    findings::head();
    let mut found = Vec::new();
    let logits = LogitChecks::new(arguments, &sizes, &file, seed)?;
    for activation in activations(arguments) {
        let part = format!("{}, {}", arguments.devices, name(activation));
        let mut add = |finding: Finding| {
            findings::say(&finding);
            found.push(finding);
        };
        if logits.is_wanted {
            let llama = Llama::load(&file, &devices, None)?.with_activation(activation)?;
            match logits.run(&llama, &sizes) {
                Ok(agreements) => agreements.iter().for_each(|agreement| add(finding(&part, agreement))),
                Err(error) => add(Finding::failed(&part, "logits", error.to_string())),
            }
        }
        let wanted = |check| arguments.checks.contains(&check);
        if wanted(AgreeCheck::Graphs) || wanted(AgreeCheck::Seeds) {
            let config = EngineConfig { activation, ..EngineConfig::for_kind(arguments.devices.kind()) };
            let compared = engines::compare(path, &devices, &sizes, &config, &arguments.checks, &part, &mut add);
            if let Err(error) = compared {
                add(Finding::failed(&part, "engines", format!("{error:#}")));
            }
        }
    }
    let about = json!({
        "sconce": env!("CARGO_PKG_VERSION"),
        "command": "agree",
        "model": path,
        "devices": arguments.devices.to_string(),
        "seed": seed,
    });
    findings::conclude(&about, &found, arguments.out.as_deref())
}

fn activations(arguments: &BenchAgreeArguments) -> Vec<Activation> {
    let kind = arguments.devices.kind();
    let read = |dtype: &ActivationDtype| match dtype {
        ActivationDtype::Auto => EngineConfig::for_kind(kind).activation,
        ActivationDtype::F32 => Activation::F32,
        ActivationDtype::Bf16 => Activation::Bf16,
    };
    match (arguments.dtype.as_slice(), kind) {
        ([], DeviceKind::Cpu) => vec![Activation::F32],
        ([], DeviceKind::Cuda) => vec![Activation::F32, Activation::Bf16],
        (named, _) => named.iter().map(read).collect(),
    }
}

fn name(activation: Activation) -> &'static str {
    match activation {
        Activation::F32 => "f32",
        Activation::Bf16 => "bf16",
    }
}

/// The comparisons of logits, with the CPU's computed once for all of them.
struct LogitChecks {
    is_wanted: bool,
    prompts: Vec<Prompt>,
    /// None when the CPU is not asked for.
    reference: Option<Reference>,
    with_ways: bool,
    seed: u64,
}

impl LogitChecks {
    fn new(arguments: &BenchAgreeArguments, sizes: &ModelSizes, file: &Checkpoint, seed: u64) -> Result<Self> {
        let (vocabulary, context) = (sizes.config().vocab_size, sizes.config().context_length);
        let mut random = Random(seed);
        let fitting = arguments.prompts.iter().map(|length| *length as usize).filter(|length| *length <= context);
        let prompts: Vec<Prompt> = fitting.map(|length| Prompt::random(length, vocabulary, &mut random)).collect();
        anyhow::ensure!(!prompts.is_empty(), "no prompt fits the model's context of {context} tokens");
        let with_ways = arguments.checks.contains(&AgreeCheck::Batch);
        let with_cpu = arguments.checks.contains(&AgreeCheck::Cpu);
        let reference = with_cpu.then(|| {
            let llama = Llama::load(file, &Devices::cpu(), None)?;
            Reference::compute(&llama, &prompts, KvCacheDtype::F32)
        });
        let reference = reference.transpose()?;
        Ok(Self { is_wanted: with_cpu || with_ways, prompts, reference, with_ways, seed })
    }

    fn run(&self, llama: &Llama, sizes: &ModelSizes) -> Result<Vec<Agreement>> {
        let (with_cpu, with_itself) = agree::allowed(llama, sizes);
        let dtype = match llama.activation() {
            Activation::F32 => KvCacheDtype::F32,
            Activation::Bf16 => KvCacheDtype::Bf16,
        };
        let mut agreements = Vec::new();
        if let Some(reference) = &self.reference {
            agreements.extend(agree::with_reference(llama, reference, &self.prompts, dtype, with_cpu)?);
        }
        if self.with_ways {
            agreements.extend(agree::ways(llama, &self.prompts, dtype, with_itself, self.seed)?);
        }
        Ok(agreements)
    }
}

/// An agreement as a line of the table.
pub(crate) fn finding(part: &str, agreement: &Agreement) -> Finding {
    let Agreement { case, rows, relative, divergence, clear_tops, same_tops, allowed } = agreement;
    // A prompt of one token has nothing to be cut.
    if *rows == 0 {
        return Finding::skipped(part, case, "no prompt is long enough, or short enough");
    }
    Finding {
        part: part.to_string(),
        case: case.clone(),
        outcome: if agreement.holds() { Outcome::Agrees } else { Outcome::Fails },
        note: format!(
            "{rows} rows, max {relative:.1e} of {:.0e}, KL {divergence:.1e} of {:.0e}, top-1 {same_tops}/{clear_tops}",
            allowed.relative, allowed.divergence
        ),
        figures: json!({
            "rows": rows,
            "relative": relative,
            "allowed_relative": allowed.relative,
            "divergence": divergence,
            "allowed_divergence": allowed.divergence,
            "clear_tops": clear_tops,
            "same_tops": same_tops,
        }),
    }
}
