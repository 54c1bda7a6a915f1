//! Draws for the kernel that samples on a device, and what it gave as [`Sampled`]. Pure: words in, words out; nothing here
//! knows a device. The kernel gives logits and totals, the logarithms are taken here as for a row of the host.

use sconce_kernels::launch::{
    DevicePointer, Launch, SAMPLING_NONE, SAMPLING_TOP_LIMIT, Sampling, SamplingArguments, SamplingResult, SamplingRow,
    SamplingStatus,
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

/// Where the kernel finds and leaves things, in the device's memory.
#[derive(Debug, Clone, Copy)]
pub struct SamplingBuffers {
    /// A copy of [`SamplingBatch::words`], at a multiple of 8 bytes.
    pub words: DevicePointer,
    /// `[draws, vocabulary]` floats, one row for each draw.
    pub logits: DevicePointer,
    /// `[adjusted_rows, vocabulary]` floats.
    pub workspace: DevicePointer,
    /// The `drawn` words of the step before, in another buffer than this step's.
    pub drawn_before: DevicePointer,
    /// Number of draws of the step before.
    pub drawn_before_count: u32,
    /// Written: [`SamplingBatch::result_words`], at a multiple of 8 bytes.
    pub results: DevicePointer,
    /// Written where asked for: [`SamplingBatch::top_words`].
    pub top: DevicePointer,
    /// Written: a token for each draw, all ones where nothing was drawn.
    pub drawn: DevicePointer,
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

    /// Number of draws.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Rows of the workspace.
    #[must_use]
    pub fn adjusted_rows(&self) -> u32 {
        self.adjusted_rows
    }

    /// Words that the kernel writes as results.
    #[must_use]
    pub fn result_words(&self) -> usize {
        self.rows as usize * SamplingResult::WORDS
    }

    /// Words of the lists of likely tokens; 0 if no draw asks for one.
    #[must_use]
    pub fn top_words(&self) -> usize {
        self.rows as usize * self.top_stride as usize * 2
    }

    /// The launch, for a batch of at least one draw and rows of `vocabulary` logits, 1 to 2^21.
    #[must_use]
    pub fn launch(&self, vocabulary: u32, buffers: &SamplingBuffers) -> Launch<SamplingArguments> {
        let biases = self.rows as usize * SamplingRow::WORDS;
        let history = biases + self.biases.len();
        let bans = history + self.history.len();
        let word = |index: usize| DevicePointer(buffers.words.0 + 4 * index as u64);
        let arguments = SamplingArguments {
            logits: buffers.logits,
            workspace: buffers.workspace,
            rows: buffers.words,
            biases: word(biases),
            history: word(history),
            bans: word(bans),
            drawn_before: buffers.drawn_before,
            results: buffers.results,
            top: buffers.top,
            drawn: buffers.drawn,
            vocabulary,
            drawn_before_count: buffers.drawn_before_count,
            top_stride: self.top_stride,
            unused: 0,
        };
        Sampling { rows: self.rows, arguments }.launch()
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
