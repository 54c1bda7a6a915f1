//! The scheduler's bounds.

use std::time::Duration;

/// Bounds on what runs at once and on a step.
#[derive(Debug, Clone)]
pub struct SchedulerConfig {
    /// Sequences that run at once.
    pub max_num_seqs: usize,
    /// Tokens in a step; at least `max_num_seqs`, so that everyone who runs gets one.
    pub max_num_batched_tokens: usize,
    /// Tokens of a sequence, prompt and output.
    pub max_model_len: usize,
    /// What a step should take while others wait for their next token; bounds a prompt's chunks.
    pub step_target: Duration,
    /// Steps that may be planned while one runs: 0 or 1.
    pub pipeline_depth: usize,
    /// How much waiting time one level of priority is worth.
    pub aging: Duration,
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchedulerConfigError {
    /// A bound is zero.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// Not everyone who runs would get a token.
    #[error("max_num_batched_tokens is {tokens}, but must be at least max_num_seqs, {sequences}")]
    Batch {
        /// Tokens in a step.
        tokens: usize,
        /// Sequences that run at once.
        sequences: usize,
    },
    /// More steps in flight than are supported.
    #[error("pipeline_depth is {0}, but must be 0 or 1")]
    Depth(usize),
}

impl SchedulerConfig {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`SchedulerConfigError`] naming the bound.
    pub fn validate(&self) -> Result<(), SchedulerConfigError> {
        let bounds = [("max_num_seqs", self.max_num_seqs), ("max_model_len", self.max_model_len)];
        if let Some((name, _)) = bounds.into_iter().find(|&(_, bound)| bound == 0) {
            return Err(SchedulerConfigError::Zero(name));
        }
        if self.step_target.is_zero() {
            return Err(SchedulerConfigError::Zero("step_target"));
        }
        if self.max_num_batched_tokens < self.max_num_seqs {
            let (tokens, sequences) = (self.max_num_batched_tokens, self.max_num_seqs);
            return Err(SchedulerConfigError::Batch { tokens, sequences });
        }
        if self.pipeline_depth > 1 {
            return Err(SchedulerConfigError::Depth(self.pipeline_depth));
        }
        Ok(())
    }
}
