//! `csrc/sampling.cu`: one block for each row of logits. What goes in and comes out besides logits is words of 32 bits in the
//! order of the C++ structs, those of 64 bits lower half first.

use super::{DevicePointer, KernelArguments, Launch};

/// Stands for nothing wherever an id, an index or a count may be missing.
pub const SAMPLING_NONE: u32 = u32::MAX;

/// Most entries of a list of likely tokens.
pub const SAMPLING_TOP_LIMIT: u32 = 20;

/// The bytes of the kernel's `SamplingShared`.
const SHARED_BYTES: u32 = 17_072;

/// How one row is drawn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingRow {
    /// Key of the random word.
    pub seed: u64,
    /// First word of its counter.
    pub position: u64,
    /// Second word of its counter.
    pub choice: u64,
    /// Part of the weight that the most likely tokens must reach, in units of 2^-64; all ones for no limit.
    pub top_p: u64,
    /// 0 takes the most likely token.
    pub temperature: f32,
    /// What separates the least logit that may be drawn from the greatest, at most 0; negative infinity for no limit.
    pub min_p_offset: f32,
    /// Divides positive logits of the history and multiplies negative ones.
    pub repetition_penalty: f32,
    /// Taken from the logits of what is in the output.
    pub presence_penalty: f32,
    /// Taken from them for each time.
    pub frequency_penalty: f32,
    /// Row of the logits.
    pub logits_row: u32,
    /// Row of the workspace, each used once; [`SAMPLING_NONE`] where biases, history, bans and pending are missing.
    pub adjusted_row: u32,
    /// Draw from so many; at least 1.
    pub top_k: u32,
    /// Index into the tokens of the step before, of one that counts as history; [`SAMPLING_NONE`] for none.
    pub pending: u32,
    /// First entry and number of the row's biases.
    pub biases: [u32; 2],
    /// The same of its history.
    pub history: [u32; 2],
    /// The same of its bans.
    pub bans: [u32; 2],
    /// How many likely tokens to report, at most [`SAMPLING_TOP_LIMIT`]; [`SAMPLING_NONE`] for no log-probabilities.
    pub logprobs: u32,
}

impl SamplingRow {
    /// Words of a row.
    pub const WORDS: usize = 24;

    /// The row as the kernel reads it.
    #[must_use]
    pub fn to_words(&self) -> [u32; Self::WORDS] {
        let mut words = [0; Self::WORDS];
        let wide = [self.seed, self.position, self.choice, self.top_p];
        for (pair, value) in words.chunks_exact_mut(2).zip(wide) {
            pair.copy_from_slice(&[value as u32, (value >> 32) as u32]);
        }
        let floats = [
            self.temperature,
            self.min_p_offset,
            self.repetition_penalty,
            self.presence_penalty,
            self.frequency_penalty,
        ];
        words[8..13].copy_from_slice(&floats.map(f32::to_bits));
        words[13..17].copy_from_slice(&[self.logits_row, self.adjusted_row, self.top_k, self.pending]);
        words[17..19].copy_from_slice(&self.biases);
        words[19..21].copy_from_slice(&self.history);
        words[21..23].copy_from_slice(&self.bans);
        words[23] = self.logprobs;
        words
    }
}

/// How a row ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SamplingStatus {
    /// A token was drawn.
    Drawn,
    /// A logit is NaN or infinite.
    NotFinite,
    /// Every token is banned.
    NothingAllowed,
}

/// What a row gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingResult {
    /// Weight of all tokens at temperature 1, in units of 2^-39; 0 without log-probabilities.
    pub total: u64,
    /// How it ended.
    pub status: SamplingStatus,
    /// The token; [`SAMPLING_NONE`] without one.
    pub token: u32,
    /// The first index whose logit is not finite.
    pub bad_index: u32,
    /// The model's logit of the token or, where one is not finite, of the bad index.
    pub logit: f32,
    /// The model's greatest logit.
    pub greatest: f32,
    /// Entries of the row's list of likely tokens; [`SAMPLING_NONE`] without log-probabilities.
    pub reported: u32,
}

impl SamplingResult {
    /// Words of a result.
    pub const WORDS: usize = 8;

    /// A result as the kernel wrote it.
    #[must_use]
    pub fn from_words(words: [u32; Self::WORDS]) -> Self {
        let [lower, upper, status, token, bad_index, logit, greatest, reported] = words;
        Self {
            total: u64::from(upper) << 32 | u64::from(lower),
            status: match status {
                0 => SamplingStatus::Drawn,
                1 => SamplingStatus::NotFinite,
                _ => SamplingStatus::NothingAllowed,
            },
            token,
            bad_index,
            logit: f32::from_bits(logit),
            greatest: f32::from_bits(greatest),
            reported,
        }
    }
}

/// The kernel's arguments, as in C++.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)] // Said in the kernel's own file.
pub struct SamplingArguments {
    pub logits: DevicePointer,
    pub workspace: DevicePointer,
    pub rows: DevicePointer,
    pub biases: DevicePointer,
    pub history: DevicePointer,
    pub bans: DevicePointer,
    pub drawn_before: DevicePointer,
    pub results: DevicePointer,
    pub top: DevicePointer,
    pub drawn: DevicePointer,
    pub vocabulary: u32,
    pub drawn_before_count: u32,
    pub top_stride: u32,
    pub unused: u32,
}

// SAFETY: `repr(C)`, the same fields in the same order.
#[allow(unsafe_code)]
unsafe impl KernelArguments for SamplingArguments {}

/// Rows to draw from.
#[derive(Debug, Clone, Copy)]
pub struct Sampling {
    /// Rows; at least one.
    pub rows: u32,
    /// What the kernel is given.
    pub arguments: SamplingArguments,
}

impl Sampling {
    /// The grid. The result does not depend on the number of threads.
    #[must_use]
    pub fn launch(self) -> Launch<SamplingArguments> {
        Launch {
            kernel: "sampling".to_string(),
            blocks: [self.rows, 1, 1],
            threads: self.arguments.vocabulary.div_ceil(8).next_multiple_of(32).clamp(32, 1024),
            shared_bytes: SHARED_BYTES,
            arguments: self.arguments,
        }
    }
}
