//! From a body to `Valid…` types: parsed once at the edge, every number within its range. Inner code never checks again.
//! No engine call and no store call happens here.

pub mod chat;
pub mod completions;
pub mod documents;
pub mod fields;
pub mod generation;
pub mod responses;

pub use fields::Fields;

/// What the loaded model bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelLimits {
    /// Longest sequence, prompt and answer together, in tokens.
    pub context_length: usize,
    /// Number of token ids.
    pub vocabulary_size: usize,
    /// Prompts that the engine holds at once.
    pub max_requests: usize,
}
