//! `csrc/sampling.cu`: one block for each row of logits. What goes in and comes out besides logits is words of 32 bits in the
//! order of the C++ structs, those of 64 bits lower half first.

use super::{DevicePointer, KernelArguments, Launch};
use crate::error::KernelError;

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

/// How many of everything a step's draws have. Their words are the rows, then the biases (id, f32), the history (id, count) and
/// the bans (id) of all rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SamplingCounts {
    /// Draws.
    pub rows: u32,
    /// Rows of the workspace.
    pub adjusted_rows: u32,
    /// Entries of each draw's list of likely tokens.
    pub top_stride: u32,
    /// Biases of all rows.
    pub biases: u32,
    /// Entries of all histories.
    pub history: u32,
    /// Bans of all rows.
    pub bans: u32,
}

/// Where the kernel finds and leaves things, in the device's memory.
#[derive(Debug, Clone, Copy)]
pub struct SamplingBuffers {
    /// The words of the draws, at a multiple of 8 bytes.
    pub words: DevicePointer,
    /// `[draws, vocabulary]` floats, one row for each draw.
    pub logits: DevicePointer,
    /// `[adjusted_rows, vocabulary]` floats.
    pub workspace: DevicePointer,
    /// The `drawn` words of the step before, in another buffer than this step's.
    pub drawn_before: DevicePointer,
    /// Number of draws of the step before.
    pub drawn_before_count: u32,
    /// Written: [`SamplingCounts::result_words`], at a multiple of 8 bytes.
    pub results: DevicePointer,
    /// Written where asked for: [`SamplingCounts::top_words`].
    pub top: DevicePointer,
    /// Written: a token for each draw, all ones where nothing was drawn.
    pub drawn: DevicePointer,
}

impl SamplingCounts {
    /// Words that the kernel reads besides logits.
    #[must_use]
    pub fn words(self) -> usize {
        self.rows as usize * SamplingRow::WORDS
            + 2 * (self.biases as usize + self.history as usize)
            + self.bans as usize
    }

    /// Words that it writes as results.
    #[must_use]
    pub fn result_words(self) -> usize {
        self.rows as usize * SamplingResult::WORDS
    }

    /// Words of the lists of likely tokens; 0 if no draw asks for one.
    #[must_use]
    pub fn top_words(self) -> usize {
        self.rows as usize * self.top_stride as usize * 2
    }

    /// Checks that the words are as many as counted, and that each row names only logits, workspace and entries that exist.
    ///
    /// # Errors
    /// Names the row.
    pub fn check(self, words: &[u32]) -> Result<(), KernelError> {
        const OPERATION: &str = "sampling";
        if words.len() != self.words() {
            let (expected, actual) = (self.words(), words.len());
            return Err(KernelError::Length { operation: OPERATION, argument: "words", expected, actual });
        }
        let (rows, _) = words[..self.rows as usize * SamplingRow::WORDS].as_chunks::<{ SamplingRow::WORDS }>();
        for (index, row) in rows.iter().enumerate() {
            let within = |start: u32, count: u32, all: u32| start.checked_add(count).is_some_and(|end| end <= all);
            let fits = row[13] < self.rows
                && (row[14] == SAMPLING_NONE || row[14] < self.adjusted_rows)
                && within(row[17], row[18], self.biases)
                && within(row[19], row[20], self.history)
                && within(row[21], row[22], self.bans)
                && (row[23] == SAMPLING_NONE || row[23] <= self.top_stride);
            if !fits {
                let expected = "a row of logits, workspace and entries that exist".to_string();
                let value = u64::from(row[13]);
                return Err(KernelError::OutOfRange { operation: OPERATION, argument: "rows", index, value, expected });
            }
        }
        Ok(())
    }

    /// The launch, for at least one draw and rows of `vocabulary` logits, 1 to 2^21. The result does not depend on the number of
    /// threads.
    #[must_use]
    pub fn launch(self, vocabulary: u32, buffers: &SamplingBuffers) -> Launch<SamplingArguments> {
        let biases = self.rows as usize * SamplingRow::WORDS;
        let history = biases + 2 * self.biases as usize;
        let bans = history + 2 * self.history as usize;
        let word = |index: usize| buffers.words.offset(4 * index);
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
        Launch {
            kernel: "sampling".to_string(),
            blocks: [self.rows, 1, 1],
            threads: vocabulary.div_ceil(8).next_multiple_of(32).clamp(32, 1024),
            shared_bytes: SHARED_BYTES,
            arguments,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_names_what_does_not_exist_is_refused() {
        let row = SamplingRow {
            seed: 1,
            position: 2,
            choice: 3,
            top_p: u64::MAX,
            temperature: 1.0,
            min_p_offset: f32::NEG_INFINITY,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logits_row: 0,
            adjusted_row: 0,
            top_k: u32::MAX,
            pending: SAMPLING_NONE,
            biases: [0, 1],
            history: [0, 1],
            bans: [0, 2],
            logprobs: 3,
        };
        let counts = SamplingCounts { rows: 1, adjusted_rows: 1, top_stride: 3, biases: 1, history: 1, bans: 2 };
        let check = |row: SamplingRow| {
            let mut words = row.to_words().to_vec();
            words.resize(counts.words(), 0);
            counts.check(&words)
        };
        assert!(check(row).is_ok());
        assert!(counts.check(&row.to_words()).is_err(), "words are missing");
        for wrong in [
            SamplingRow { logits_row: 1, ..row },
            SamplingRow { adjusted_row: 1, ..row },
            SamplingRow { biases: [1, 1], ..row },
            SamplingRow { history: [u32::MAX, 2], ..row },
            SamplingRow { bans: [0, 3], ..row },
            SamplingRow { logprobs: 4, ..row },
        ] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
    }
}
