//! What the forward gives: finite logits, the same in any batch and chunking, those of the CPU on a card, and a perplexity.

use std::time::Instant;

use sconce_engine::LoadedModel;
use sconce_kernels::checks::Random;
use sconce_model::agree::{self, Prompt, Reference};
use sconce_model::{Checkpoint, Devices, KvCacheDtype, Llama, ModelError, ModelSizes};
use serde_json::json;

use super::report::Report;
use super::{failed, passed, skipped};
use crate::bench::agree::finding;

/// The text whose perplexity is told.
const TEXT: &str = include_str!("../../../corpus/roles/ai-solutions-architect.md");
/// Tokens of it at most.
const TEXT_TOKENS: usize = 256;
/// Lengths of the prompts that are compared.
const LENGTHS: [usize; 4] = [1, 9, 33, 65];

/// Runs all checks of logits; the model was loaded for sequences of `served_context`.
pub(super) fn check(
    file: &Checkpoint,
    model: &Llama,
    sizes: &ModelSizes,
    served_context: Option<usize>,
    report: &mut Report,
) {
    perplexity(file, model, report);
    if let Err(error) = comparisons(file, model, sizes, served_context, report) {
        report.add(failed("logits", error.to_string()));
    }
}

fn comparisons(
    file: &Checkpoint,
    model: &Llama,
    sizes: &ModelSizes,
    served_context: Option<usize>,
    report: &mut Report,
) -> Result<(), ModelError> {
    let (vocabulary, context) = (sizes.config().vocab_size, sizes.config().context_length);
    let mut random = Random(1);
    let fitting = LENGTHS.into_iter().filter(|length| *length <= context);
    let prompts: Vec<Prompt> = fitting.map(|length| Prompt::random(length, vocabulary, &mut random)).collect();
    let (with_cpu, with_itself) = agree::allowed(model, sizes);
    let dtype = if model.devices().are_cuda() { KvCacheDtype::Bf16 } else { KvCacheDtype::F32 };
    for agreement in agree::ways(model, &prompts, dtype, with_itself, 2)? {
        report.add(finding("logits", &agreement));
    }
    if !model.devices().are_cuda() {
        report.add(skipped("against the CPU", "this ran on the CPU"));
        return Ok(());
    }
    let cpu = Llama::load(file, &Devices::cpu(), served_context)?;
    let reference = Reference::compute(&cpu, &prompts, KvCacheDtype::F32)?;
    for agreement in agree::with_reference(model, &reference, &prompts, dtype, with_cpu)? {
        report.add(finding("logits", &agreement));
    }
    Ok(())
}

/// Finite logits over a text, how well the model expects that text, and how fast it reads.
fn perplexity(file: &Checkpoint, model: &Llama, report: &mut Report) {
    let tokenizer = match LoadedModel::tokenizer_of(file) {
        Ok(tokenizer) => tokenizer,
        Err(error) => return report.add(failed("perplexity", error.to_string())),
    };
    let special = sconce_engine::Special { add_bos: true, parse_special: false };
    let mut tokens = tokenizer.encode(TEXT, special);
    tokens.truncate(TEXT_TOKENS.min(model.config().context_length));
    let began = Instant::now();
    let found = match sconce_model::read_text(model, &tokens) {
        Ok(found) => found,
        Err(error) => return report.add(failed("perplexity", error.to_string())),
    };
    let rate = tokens.len() as f64 / began.elapsed().as_secs_f64().max(1e-9);
    if found.non_finite > 0 {
        let note = format!("{} of {} logits are not finite", found.non_finite, found.logits);
        report.add(failed("finite logits", note));
        return;
    }
    report.add(passed("finite logits", format!("{} logits", found.logits), found.logits.into()));
    let note = format!("{:.2} over {} tokens, {rate:.0} tokens/s", found.perplexity, tokens.len());
    let figures = json!({ "perplexity": found.perplexity, "tokens": tokens.len(), "tokens_per_second": rate });
    report.add(passed("perplexity", note, figures));
}
