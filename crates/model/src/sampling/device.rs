//! Draws for the kernel that samples on a device, and what it gave as [`Sampled`]. Pure: words in, words out; nothing here
//! knows a device. The kernel gives logits and totals, the logarithms are taken here as for a row of the host.

use sconce_kernels::launch::{
    SAMPLING_NONE, SAMPLING_TOP_LIMIT, SamplingCounts, SamplingResult, SamplingRow, SamplingStatus,
};

use super::{Sampled, SamplingError, SamplingParams, weights};
use crate::executor::{Draw, StepOutcome};

/// The draws of a step, flat. Keeps its memory from one step to the next.
///
/// ```text
/// words:  rows, 24 each | biases (id, f32) | history (id, count) | bans (id)
/// ```
#[derive(Debug, Default)]
pub struct SamplingBatch {
    /// The rows only, until all that follows them is known.
    words: Vec<u32>,
    biases: Vec<u32>,
    history: Vec<u32>,
    bans: Vec<u32>,
    rows: u32,
    adjusted_rows: u32,
    top_stride: u32,
}

impl SamplingBatch {
    /// Takes the draws of a step in the place of those before. Row `i` of the logits belongs to draw `i`.
    pub fn pack(&mut self, draws: &[Draw<'_>]) {
        self.words.clear();
        self.biases.clear();
        self.history.clear();
        self.bans.clear();
        (self.rows, self.adjusted_rows, self.top_stride) = (0, 0, 0);
        for draw in draws {
            let row = self.row(draw);
            self.words.extend(row.to_words());
            self.rows += 1;
        }
        self.words.extend_from_slice(&self.biases);
        self.words.extend_from_slice(&self.history);
        self.words.extend_from_slice(&self.bans);
    }

    fn row(&mut self, draw: &Draw<'_>) -> SamplingRow {
        let sampler = draw.sampler;
        let SamplingParams { temperature, repetition_penalty, presence_penalty, frequency_penalty, .. } =
            *sampler.params();
        let biases = &sampler.params.logit_bias;
        let history = sampler.history.entries();
        let pending = draw.pending.filter(|_| sampler.history.is_wanted());
        let plain = biases.is_empty() && history.is_empty() && draw.banned.is_empty() && pending.is_none();
        let logprobs = sampler.params.logprobs.map(|count| u32::from(count).min(SAMPLING_TOP_LIMIT));
        let row = SamplingRow {
            seed: sampler.seed,
            position: draw.position,
            choice: u64::from(sampler.choice),
            top_p: sampler.params.top_p_fraction(),
            temperature,
            min_p_offset: sampler.params.min_p_offset(),
            repetition_penalty,
            presence_penalty,
            frequency_penalty,
            logits_row: self.rows,
            adjusted_row: if plain { SAMPLING_NONE } else { self.adjusted_rows },
            top_k: sampler.params.top_k.unwrap_or(u32::MAX),
            pending: pending.unwrap_or(SAMPLING_NONE),
            biases: [(self.biases.len() / 2) as u32, biases.len() as u32],
            history: [(self.history.len() / 2) as u32, history.len() as u32],
            bans: [self.bans.len() as u32, draw.banned.len() as u32],
            logprobs: logprobs.unwrap_or(SAMPLING_NONE),
        };
        self.biases.extend(biases.iter().flat_map(|&(id, bias)| [id, bias.to_bits()]));
        self.history.extend_from_slice(history.as_flattened());
        self.bans.extend_from_slice(draw.banned);
        self.adjusted_rows += u32::from(!plain);
        self.top_stride = self.top_stride.max(logprobs.unwrap_or(0));
        row
    }

    /// All that the kernel reads besides logits, for one copy.
    #[must_use]
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// How many of everything there are.
    #[must_use]
    pub fn counts(&self) -> SamplingCounts {
        SamplingCounts {
            rows: self.rows,
            adjusted_rows: self.adjusted_rows,
            top_stride: self.top_stride,
            biases: (self.biases.len() / 2) as u32,
            history: (self.history.len() / 2) as u32,
            bans: self.bans.len() as u32,
        }
    }
}

/// What the draws of a step gave, from the words that the kernel wrote. It needs no batch, so that the next step may be
/// packed while one is computed.
#[must_use]
pub fn sampled(results: &[u32], top: &[u32]) -> StepOutcome {
    let (results, _) = results.as_chunks::<{ SamplingResult::WORDS }>();
    let stride = top.len().checked_div(results.len()).unwrap_or(0);
    let row = |(index, words): (usize, &[u32; SamplingResult::WORDS])| {
        let result = SamplingResult::from_words(*words);
        match result.status {
            SamplingStatus::Drawn => Ok(drawn(&result, &top[index * stride..][..stride])),
            SamplingStatus::NotFinite => {
                Err(SamplingError::NotFinite { index: result.bad_index as usize, value: result.logit })
            }
            SamplingStatus::NothingAllowed => Err(SamplingError::NothingAllowed),
        }
    };
    results.iter().enumerate().map(row).collect()
}

fn drawn(result: &SamplingResult, top: &[u32]) -> Sampled {
    if result.reported == SAMPLING_NONE {
        return Sampled { token: result.token, logprob: None, top: Vec::new() };
    }
    let (pairs, _) = top.as_chunks::<2>();
    let top = pairs.iter().take(result.reported as usize).map(|&[id, logit]| (id, f32::from_bits(logit)));
    let normalizer = weights::log_sum_exp(result.greatest, result.total);
    Sampled::with_logprobs(result.token, result.logit, top, normalizer)
}
