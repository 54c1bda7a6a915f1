//! One step's work, flat, so that the runner copies slices and allocates nothing per row.

use std::ops::Range;

use sconce_kv::{BlockCopy, BlockId, TokenId};

use crate::cost::StepWork;
use crate::sequence::SequenceId;

/// An input token of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanToken {
    /// Its id is known.
    Known(TokenId),
    /// What the sequence's previous row sampled; only the device knows it yet.
    Pending,
}

/// A run of tokens of one sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRow {
    /// Whose tokens.
    pub sequence: SequenceId,
    /// Position of the first token in the sequence.
    pub first_position: usize,
    /// Where in [`StepPlan::tokens`].
    pub tokens: Range<usize>,
    /// The sequence's block table, where in [`StepPlan::blocks`]: every block up to the run's last token.
    pub blocks: Range<usize>,
    /// Whether the run's last token is the sequence's last, so that the next one is sampled.
    pub samples: bool,
}

/// A sequence that runs for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Which.
    pub sequence: SequenceId,
    /// Prompt tokens found in the cache.
    pub cached_tokens: usize,
}

/// What the next step computes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepPlan {
    /// The step's number, counting from 1.
    pub step: u64,
    /// Runs of tokens, one per sequence.
    pub rows: Vec<PlanRow>,
    /// Input tokens of all rows.
    pub tokens: Vec<PlanToken>,
    /// Block tables of all rows.
    pub blocks: Vec<BlockId>,
    /// Block copies to make first, in order.
    pub copies: Vec<BlockCopy>,
    /// Sequences that run for the first time.
    pub started: Vec<Started>,
    /// What the cost model is told.
    pub work: StepWork,
}

impl StepPlan {
    /// Whether there is nothing to run.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Rows that sample, in order.
    pub fn sampling_rows(&self) -> impl Iterator<Item = &PlanRow> {
        self.rows.iter().filter(|row| row.samples)
    }
}
