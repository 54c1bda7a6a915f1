//! What the forward gives: finite logits, the same in any batch and chunking, those of the CPU on a card, and a perplexity.

use std::time::Instant;

use sconce_engine::{EngineConfig, LoadedModel};
use sconce_kernels::checks::Random;
use sconce_model::agree::{self, Prompt, Reference};
use sconce_model::{Checkpoint, Devices, KvCacheDtype, Llama, ModelError, ModelSizes, TextReading};
use serde_json::json;

use super::report::Report;
use super::{failed, passed, skipped};
use crate::bench::agree::finding;

/// The text whose perplexity is told where no other is named, and how many tokens of it.
const TEXT: &str = include_str!("../../../corpus/roles/ai-solutions-architect.md");
const TEXT_TOKENS: usize = 256;
/// Tokens of a text that are read as one; what comes behind them begins anew.
const WINDOW: usize = 512;
/// Lengths of the prompts that are compared.
const LENGTHS: [usize; 4] = [1, 9, 33, 65];

/// Runs all checks of logits with the cache and for the sequences of `config`, the perplexity over `text`.
pub(super) fn check(
    file: &Checkpoint,
    model: &Llama,
    sizes: &ModelSizes,
    config: &EngineConfig,
    text: Option<&str>,
    report: &mut Report,
) {
    perplexity(file, model, text, config.kv_cache_dtype, report);
    if let Err(error) = comparisons(file, model, sizes, config, report) {
        report.add(failed("logits", error.to_string()));
    }
}

fn comparisons(
    file: &Checkpoint,
    model: &Llama,
    sizes: &ModelSizes,
    config: &EngineConfig,
    report: &mut Report,
) -> Result<(), ModelError> {
    let (vocabulary, context) = (sizes.config().vocab_size, sizes.config().context_length);
    let mut random = Random(1);
    let fitting = LENGTHS.into_iter().filter(|length| *length <= context);
    let prompts: Vec<Prompt> = fitting.map(|length| Prompt::random(length, vocabulary, &mut random)).collect();
    let (with_cpu, with_itself) = agree::allowed(model, sizes);
    let dtype = config.kv_cache_dtype;
    for agreement in agree::ways(model, &prompts, dtype, with_itself, 2)? {
        report.add(finding("logits", &agreement));
    }
    if !model.devices().are_cuda() {
        report.add(skipped("against the CPU", "this ran on the CPU"));
        return Ok(());
    }
    let cpu = Llama::load(file, &Devices::cpu(), config.max_model_len)?;
    let reference = Reference::compute(&cpu, &prompts, KvCacheDtype::F32)?;
    for agreement in agree::with_reference(model, &reference, &prompts, dtype, with_cpu)? {
        report.add(finding("logits", &agreement));
    }
    Ok(())
}

/// Finite logits over a text, how well the model expects that text, and how fast it reads.
fn perplexity(file: &Checkpoint, model: &Llama, text: Option<&str>, dtype: KvCacheDtype, report: &mut Report) {
    let tokenizer = match LoadedModel::tokenizer_of(file) {
        Ok(tokenizer) => tokenizer,
        Err(error) => return report.add(failed("perplexity", error.to_string())),
    };
    let encode = |text: &str, add_bos| tokenizer.encode(text, sconce_engine::Special { add_bos, parse_special: false });
    let mut tokens = encode(text.unwrap_or(TEXT), false);
    if text.is_none() {
        tokens.truncate(TEXT_TOKENS);
    }
    let begin = encode("", true);
    let window = WINDOW.min(model.config().context_length).saturating_sub(begin.len()).max(1);
    let began = Instant::now();
    let mut found = TextReading::default();
    for part in tokens.chunks(window) {
        match sconce_model::read_text(model, &[&begin, part].concat(), dtype) {
            Ok(read) => found = found.and(read),
            Err(error) => return report.add(failed("perplexity", error.to_string())),
        }
    }
    if found.predicted == 0 {
        return report.add(failed("perplexity", "the text has no tokens"));
    }
    let rate = tokens.len() as f64 / began.elapsed().as_secs_f64().max(1e-9);
    if found.non_finite > 0 {
        let note = format!("{} of {} logits are not finite", found.non_finite, found.logits);
        report.add(failed("finite logits", note));
        return;
    }
    report.add(passed("finite logits", format!("{} logits", found.logits), found.logits.into()));
    let note = format!("{:.3} over {} tokens, {rate:.0} tokens/s", found.perplexity(), found.predicted);
    let figures = json!({ "perplexity": found.perplexity(), "tokens": found.predicted, "tokens_per_second": rate });
    report.add(passed("perplexity", note, figures));
}
