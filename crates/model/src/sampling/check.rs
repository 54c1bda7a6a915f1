//! Whether a device draws what the host draws: random logits, parameters and histories, two steps in a row, so that the second
//! has tokens pending that only the device knows. Every token, every log-probability, every error, bit for bit.

use sconce_kernels::checks::Random;

use super::{Sampled, Sampler, SamplingError, SamplingParams};
use crate::Device;
use crate::error::ModelError;
use crate::executor::{Draw, StepOutcome};

/// Rows of a step and tokens of its vocabulary: one block and many, odd sizes, and a whole vocabulary.
const STEPS: [(usize, usize); 6] = [(1, 1), (1, 128_256), (7, 1000), (33, 5003), (64, 32_000), (128, 1024)];

/// What the comparison found when everything was equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrawReport {
    /// Draws that were compared.
    pub draws: usize,
    /// Those of them that failed alike.
    pub failures: usize,
}

/// Draws of a step, from `logits [draws, vocabulary]`; [`Draw::pending`] counts in the draws of the call before.
pub type DrawOn<'f> = dyn FnMut(&[f32], usize, &[Draw<'_>]) -> Result<StepOutcome, ModelError> + 'f;

/// Compares draws with the host's.
///
/// # Errors
/// The first draw that differs, in words.
pub fn check_draws(seed: u64, draw_on: &mut DrawOn<'_>) -> Result<DrawReport, String> {
    let mut random = Random(seed);
    let mut report = DrawReport { draws: 0, failures: 0 };
    for (rows, vocabulary) in STEPS {
        let mut before: Vec<Option<u32>> = Vec::new();
        for step in 0..2 {
            let logits: Vec<f32> = (0..rows).flat_map(|_| row_of_logits(vocabulary, &mut random)).collect();
            let samplers: Vec<Sampler> = (0..rows).map(|_| sampler(vocabulary, &mut random)).collect();
            let banned: Vec<Vec<u32>> = (0..rows).map(|_| some_tokens(vocabulary, 4, &mut random)).collect();
            let draws: Vec<Draw<'_>> = (0..rows)
                .map(|row| Draw {
                    sampler: &samplers[row],
                    position: random.word() >> 40,
                    banned: &banned[row],
                    pending: (step == 1 && row % 2 == 0).then(|| random.below(rows) as u32),
                })
                .collect();
            let found = draw_on(&logits, vocabulary, &draws).map_err(|error| error.to_string())?;
            if found.len() != rows {
                return Err(format!("{} draws came back, {rows} were asked for", found.len()));
            }
            let token_of = |draw: u32| before.get(draw as usize).copied().flatten();
            let expected: StepOutcome = draws
                .iter()
                .zip(logits.chunks_exact(vocabulary))
                .map(|(draw, logits)| {
                    draw.sampler.draw(logits, draw.position, draw.banned, draw.pending.and_then(token_of))
                })
                .collect();
            for (row, (expected, found)) in expected.iter().zip(&found).enumerate() {
                if bits(expected) != bits(found) {
                    let parameters = samplers[row].params();
                    return Err(format!(
                        "row {row} of {rows}, {vocabulary} tokens: {found:?} instead of {expected:?} with {parameters:?}"
                    ));
                }
            }
            report.draws += rows;
            report.failures += expected.iter().filter(|outcome| outcome.is_err()).count();
            before = expected.iter().map(|outcome| outcome.as_ref().ok().map(|sampled| sampled.token)).collect();
        }
    }
    Ok(report)
}

/// Compares a device's draws with the host's; none where the host's sampler is the device's own.
///
/// # Errors
/// The first draw that differs, or what the device reported.
pub fn check_device(device: &Device, seed: u64) -> Result<Option<DrawReport>, String> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => {
            let mut draw_on = card_draws(device).map_err(|error| error.to_string())?;
            check_draws(seed, &mut *draw_on).map(Some)
        }
        _ => {
            let _ = seed;
            Ok(None)
        }
    }
}

/// Draws on a card.
#[cfg(feature = "cuda")]
fn card_draws(device: &Device) -> Result<Box<DrawOn<'static>>, ModelError> {
    use candle_core::Tensor;
    use sconce_kernels::KernelError;

    let most = STEPS.iter().map(|(rows, _)| *rows).max().unwrap_or(1);
    let mut sampler = sconce_kernels::cuda::CardSampler::new(device, most)?;
    let mut batch = super::SamplingBatch::default();
    let device = device.clone();
    Ok(Box::new(move |logits: &[f32], vocabulary: usize, draws: &[Draw<'_>]| {
        let logits = Tensor::from_slice(logits, (draws.len(), vocabulary), &device).map_err(KernelError::from)?;
        batch.pack(draws);
        let fetched = sampler.draw(Some(&logits), batch.words(), batch.counts())?;
        let words = sampler.wait(fetched)?;
        Ok(super::sampled(words.results, words.top))
    }))
}

/// Rows like a model's, rows with ties, wide ones; one in sixteen is broken.
fn row_of_logits(vocabulary: usize, random: &mut Random) -> Vec<f32> {
    let kind = random.below(16);
    let mut logits: Vec<f32> = (0..vocabulary)
        .map(|_| match kind {
            0..9 => random.signed().powi(3) * 14.0,
            9..12 => (random.signed() * 8.0).floor() * 0.75,
            _ => random.signed() * 150.0,
        })
        .collect();
    if kind == 15 {
        logits[random.below(vocabulary)] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][random.below(3)];
    }
    logits
}

fn some_tokens(vocabulary: usize, most: usize, random: &mut Random) -> Vec<u32> {
    // Half of all rows have none, which another path draws.
    let count = if random.below(2) == 0 { 0 } else { random.below(most + 1) };
    (0..count).map(|_| random.below(vocabulary) as u32).collect()
}

fn sampler(vocabulary: usize, random: &mut Random) -> Sampler {
    let one_of = |random: &mut Random, plain: f32, least: f32, most: f32| {
        if random.below(2) == 0 { plain } else { least + (most - least) * (0.5 + 0.5 * random.signed()) }
    };
    let biases = some_tokens(vocabulary, 8, random);
    let params = SamplingParams {
        temperature: one_of(random, 1.0, 0.0, 2.0),
        top_k: (random.below(2) == 0).then(|| 1 + random.below(60) as u32),
        top_p: one_of(random, 1.0, 0.05, 1.0),
        min_p: one_of(random, 0.0, 0.0, 0.2),
        repetition_penalty: one_of(random, 1.0, 0.5, 2.0),
        presence_penalty: one_of(random, 0.0, -2.0, 2.0),
        frequency_penalty: one_of(random, 0.0, -2.0, 2.0),
        seed: Some(random.word()),
        logit_bias: biases.into_iter().map(|token| (token, random.signed() * 9.0)).collect(),
        logprobs: (random.below(2) == 0).then(|| random.below(21) as u8),
    };
    // Every fourth is greedy.
    let params = if random.below(4) == 0 { SamplingParams { temperature: 0.0, ..params } } else { params };
    let prompt = some_tokens(vocabulary, 20, random);
    let mut sampler = Sampler::new(params, &prompt, 0).with_choice(random.below(4) as u32);
    some_tokens(vocabulary, 20, random).into_iter().for_each(|token| sampler.record(token));
    sampler
}

/// Token, log-probability and likely tokens; or the index and value of what is wrong.
type Bits = Result<(u32, Option<u32>, Vec<(u32, u32)>), (usize, u32)>;

/// Every bit of an outcome.
fn bits(outcome: &Result<Sampled, SamplingError>) -> Bits {
    match outcome {
        Ok(Sampled { token, logprob, top }) => {
            let top = top.iter().map(|(id, logprob)| (*id, logprob.to_bits())).collect();
            Ok((*token, logprob.map(f32::to_bits), top))
        }
        Err(SamplingError::NotFinite { index, value }) => Err((*index, value.to_bits())),
        Err(_) => Err((usize::MAX, 0)),
    }
}
