//! What a step's outcome means for its sequences.

use sconce_kv::TokenId;

use crate::sequence::SequenceId;

/// Why a sequence ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// A stop token.
    Stop,
    /// Its token limit, or the end of the context.
    Length,
    /// Its row gave nothing to sample from.
    Failed,
}

/// What a row that samples gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampled {
    /// A token.
    Token(TokenId),
    /// Nothing usable; the sequence ends, its neighbours go on.
    Failed,
}

/// One sequence's news from a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceEvent {
    /// Whose.
    pub sequence: SequenceId,
    /// The next output token; `None` when sampling failed.
    pub token: Option<TokenId>,
    /// Set when the sequence ended with it.
    pub finished: Option<FinishReason>,
}
