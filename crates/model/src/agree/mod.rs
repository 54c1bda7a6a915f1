//! Whether a device computes what the CPU computes, and whether a batch is its rows: random prompts through the public
//! forward, logits compared within what is allowed. What a card is proved with; the CPU passes it bit for bit.

mod compare;
mod rows;

pub use compare::{Agreement, Tolerance};
pub use rows::Prompt;

use sconce_kernels::checks::Random;

use crate::error::ModelError;
use crate::kv_cache::KvCacheDtype;
use crate::llama::{Activation, Llama};
use crate::sizes::ModelSizes;
use rows::{Bench, Found, Sequence};

/// Prompts up to this length are also computed token by token.
const LONGEST_BY_TOKEN: usize = 33;

/// What may differ between the CPU and a model on its devices, and between two ways on the same devices.
#[must_use]
pub fn allowed(model: &Llama, sizes: &ModelSizes) -> (Tolerance, Tolerance) {
    if !model.devices().are_cuda() {
        return (Tolerance::EXACT, Tolerance::EXACT);
    }
    if sizes.is_f32 && model.activation() == Activation::F32 {
        return (Tolerance::REORDERED, Tolerance::REORDERED);
    }
    (Tolerance::ROUNDED, Tolerance::REROUNDED)
}

/// The logits that are compared, of each prompt computed whole and alone.
#[derive(Debug)]
pub struct Reference(Vec<Found>);

impl Reference {
    /// Computes them.
    ///
    /// # Errors
    /// What the device reports.
    pub fn compute(model: &Llama, prompts: &[Prompt], dtype: KvCacheDtype) -> Result<Self, ModelError> {
        let mut bench = Bench::new(model, prompts, 1, dtype, &mut Random(1))?;
        let whole = |prompt| {
            let mut sequence = bench.begin(prompt);
            bench.finish(&mut sequence, |left| left)
        };
        prompts.iter().map(whole).collect::<Result<_, _>>().map(Self)
    }

    /// Compares those positions of a prompt that were found.
    fn compare(&self, agreement: &mut Agreement, prompt: usize, found: &Found) {
        for (_, position, logits) in found {
            let expected = self.0[prompt].iter().find(|(_, of, _)| of == position);
            if let Some((_, _, expected)) = expected {
                agreement.compare(expected, logits);
            }
        }
    }
}

/// Compares a model with the CPU's logits: each prompt whole, and all of them in one batch of chunks and lone rows.
///
/// # Errors
/// What the device reports.
pub fn with_reference(
    model: &Llama,
    reference: &Reference,
    prompts: &[Prompt],
    dtype: KvCacheDtype,
    allowed: Tolerance,
) -> Result<Vec<Agreement>, ModelError> {
    let own = Reference::compute(model, prompts, dtype)?;
    let mut agreements = Vec::new();
    for (index, prompt) in prompts.iter().enumerate() {
        let mut agreement = Agreement::new(format!("the CPU's logits, a prompt of {}", prompt.tokens.len()), allowed);
        reference.compare(&mut agreement, index, &own.0[index]);
        agreements.push(agreement);
    }
    let mut mixed =
        Agreement::new("the CPU's logits, all prompts in one batch of chunks and lone rows".to_string(), allowed);
    compare_mixed(model, reference, prompts, dtype, &mut mixed)?;
    agreements.push(mixed);
    Ok(agreements)
}

/// One batch in which every third prompt is whole, every third brings its last token, and the others their second half.
fn compare_mixed(
    model: &Llama,
    reference: &Reference,
    prompts: &[Prompt],
    dtype: KvCacheDtype,
    agreement: &mut Agreement,
) -> Result<(), ModelError> {
    let mut bench = Bench::new(model, prompts, 1, dtype, &mut Random(2))?;
    let mut sequences: Vec<Sequence<'_>> = prompts.iter().map(|prompt| bench.begin(prompt)).collect();
    for (index, sequence) in sequences.iter_mut().enumerate() {
        let length = sequence.prompt.tokens.len();
        let before = [0, length - 1, length / 2][index % 3];
        if before > 0 {
            bench.step(&mut [(sequence, before)])?;
        }
    }
    let rest = |sequence: &Sequence<'_>| sequence.prompt.tokens.len() - sequence.computed;
    let mut parts: Vec<_> = sequences.iter_mut().map(|sequence| (rest(sequence), sequence)).collect();
    let mut parts: Vec<_> = parts.iter_mut().map(|(count, sequence)| (&mut **sequence, *count)).collect();
    for row in bench.step(&mut parts)? {
        let prompt = row.0;
        reference.compare(agreement, prompt, &vec![row]);
    }
    Ok(())
}

/// Compares each prompt computed whole with the same prompt token by token, in random chunks, in one batch with the others, and
/// behind a prefix whose blocks are shared and copied.
///
/// # Errors
/// What the device reports.
pub fn ways(
    model: &Llama,
    prompts: &[Prompt],
    dtype: KvCacheDtype,
    allowed: Tolerance,
    seed: u64,
) -> Result<Vec<Agreement>, ModelError> {
    let whole = Reference::compute(model, prompts, dtype)?;
    let mut random = Random(seed);
    let mut bench = Bench::new(model, prompts, 2, dtype, &mut random)?;
    let [mut by_token, mut by_chunk, mut behind] =
        ["token by token", "in random chunks", "behind a shared and copied prefix"]
            .map(|case| Agreement::new(format!("whole and alone, {case}"), allowed));
    for (index, prompt) in prompts.iter().enumerate() {
        let length = prompt.tokens.len();
        if (2..=LONGEST_BY_TOKEN).contains(&length) {
            let mut sequence = bench.begin(prompt);
            whole.compare(&mut by_token, index, &bench.finish(&mut sequence, |_| 1)?);
            bench.end(sequence);
        }
        let mut leader = bench.begin(prompt);
        whole.compare(&mut by_chunk, index, &bench.finish(&mut leader, |left| 1 + random.below(left))?);
        let mut fork = bench.fork(&leader, length / 2)?;
        whole.compare(&mut behind, index, &bench.finish(&mut fork, |left| left)?);
        bench.end(fork);
        bench.end(leader);
    }
    let mut together = Agreement::new("whole and alone, in one batch with the others".to_string(), allowed);
    compare_mixed(model, &whole, prompts, dtype, &mut together)?;
    Ok(vec![by_token, by_chunk, behind, together])
}
