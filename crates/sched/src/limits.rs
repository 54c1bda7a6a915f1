//! When a sequence ends. How a token is drawn is the sampler's business, not the scheduler's.

use sconce_kv::TokenId;

use crate::events::FinishReason;

/// What ends a sequence.
#[derive(Debug, Clone, Default)]
pub struct StopRules {
    /// Output tokens at most.
    pub max_tokens: usize,
    /// Output tokens before a stop token counts.
    pub min_tokens: usize,
    /// Tokens that end the sequence; few, so they are searched one by one.
    pub stop_tokens: Vec<TokenId>,
}

impl StopRules {
    /// Whether the sequence ends with its `output_len`-th output token `token`.
    #[must_use]
    pub fn check(&self, token: TokenId, output_len: usize) -> Option<FinishReason> {
        if output_len > self.min_tokens && self.stop_tokens.contains(&token) {
            return Some(FinishReason::Stop);
        }
        (output_len >= self.max_tokens).then_some(FinishReason::Length)
    }
}
