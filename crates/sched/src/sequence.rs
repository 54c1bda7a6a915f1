//! A request's scheduled state. It holds no sender, no tensor and no timing.

use std::time::Duration;

use sconce_kv::{BlockTable, RetentionPlan, Salt, TokenChain, TokenId};

use crate::limits::StopRules;

/// Names a sequence; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceId(pub u64);

/// The order of sequences: lower runs first. Arrival plus priority × aging, so that waiting makes up for priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    /// Microseconds.
    virtual_arrival: i64,
    sequence: SequenceId,
}

impl Rank {
    pub(crate) fn new(arrived: Duration, priority: i32, aging: Duration, sequence: SequenceId) -> Self {
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let shift = micros(aging).saturating_mul(i64::from(priority));
        Self { virtual_arrival: micros(arrived).saturating_add(shift), sequence }
    }
}

/// What a caller adds.
#[derive(Debug, Clone, Default)]
pub struct NewSequence {
    /// Prompt; at least one token.
    pub prompt: Vec<TokenId>,
    /// When it ends.
    pub stop: StopRules,
    /// Lower runs sooner.
    pub priority: i32,
    /// Whose cache it shares and whose budget it uses.
    pub salt: Salt,
    /// Which of its blocks outlive others.
    pub retention: RetentionPlan,
    /// The sequence of the same prompt whose blocks it forks, if that still runs by then.
    pub fork_of: Option<SequenceId>,
}

/// Where a sequence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SequenceStatus {
    /// Holds no blocks.
    Waiting,
    /// Holds blocks, and computes in every step unless it is paused.
    Running,
}

#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) rank: Rank,
    pub(crate) chain: TokenChain,
    pub(crate) prompt_len: usize,
    pub(crate) stop: StopRules,
    pub(crate) retention: RetentionPlan,
    pub(crate) fork_of: Option<SequenceId>,
    /// Blocks, while running.
    pub(crate) table: Option<BlockTable>,
    /// Tokens computed, those of steps in flight included.
    pub(crate) computed: usize,
    /// Tokens sampled by steps in flight, whose ids are not known yet.
    pub(crate) pending: usize,
    pub(crate) paused: bool,
    pub(crate) started: bool,
    /// The step that computes the prompt's last token.
    pub(crate) prompt_done_in: Option<u64>,
    /// Whole blocks promised to others: from the first that is not computed yet up to what the chain had when the promise was made.
    pub(crate) promised: std::ops::Range<usize>,
}

impl Sequence {
    /// Tokens there are, known or pending.
    pub(crate) fn len(&self) -> usize {
        self.chain.tokens().len() + self.pending
    }

    /// Output tokens there are, known or pending.
    pub(crate) fn output_len(&self) -> usize {
        self.len() - self.prompt_len
    }

    /// Tokens it could compute now.
    pub(crate) fn uncomputed(&self) -> usize {
        self.len() - self.computed
    }

    /// Whether nothing is left to compute: the outputs in flight reach its limit.
    pub(crate) fn is_saturated(&self) -> bool {
        self.output_len() >= self.stop.max_tokens
    }

    pub(crate) fn status(&self) -> SequenceStatus {
        if self.table.is_some() { SequenceStatus::Running } else { SequenceStatus::Waiting }
    }
}
