//! What a place to run kernels offers to the checks: operations over host numbers. A backend rounds inputs to the types that
//! its kernels read before it runs them, and the checks round the reference's inputs alike.

use super::cases::{AttentionCase, BlockCopyCase, EmbeddingCase, MatmulCase, RopeCase, SwapCase, TokenCase};
use crate::launch::ElementType;

/// What a normalization gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalized {
    /// The normalized rows.
    pub normed: Vec<f32>,
    /// The rows before normalization.
    pub sum: Vec<f32>,
}

/// What a rotation with its write to the cache gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotated {
    /// The rotated queries.
    pub query: Vec<f32>,
    /// The whole key cache afterwards.
    pub key_cache: Vec<f32>,
    /// The whole value cache afterwards.
    pub value_cache: Vec<f32>,
}

/// Runs operations somewhere. Matrices are row after row. Each method fails with what the backend reports.
#[allow(clippy::missing_errors_doc)] // Said once, above.
pub trait Backend {
    /// Where, in a word.
    fn name(&self) -> String;

    /// The element type of activations.
    fn activation(&self) -> ElementType;

    /// Operations of [`CHECKS`](super::CHECKS) that this backend has no way to run: their checks are skipped, and said to be.
    fn lacks(&self) -> &'static [&'static str] {
        &[]
    }

    /// `base [rows, width]` plus `update` (if any, of the activations' type), normalized.
    fn rms_norm(
        &self,
        base: &[f32],
        update: Option<&[f32]>,
        weight: &[f32],
        epsilon: f32,
    ) -> Result<Normalized, String>;

    /// `silu(gate) * up`, both `[rows, width]` of the activations' type.
    fn silu_mul(&self, gate: &[f32], up: &[f32], width: usize) -> Result<Vec<f32>, String>;

    /// Rotates queries and keys, and writes keys and values to the cache.
    fn rope_kv_write(&self, case: &RopeCase<'_>) -> Result<Rotated, String>;

    /// Attention over a paged cache, `[rows, heads * head_dim]`.
    fn paged_attention(&self, case: &AttentionCase<'_>) -> Result<Vec<f32>, String>;

    /// Rows of a table.
    fn embedding(&self, case: &EmbeddingCase<'_>) -> Result<Vec<f32>, String>;

    /// The input ids after those that wait for a draw were set.
    fn resolve_tokens(&self, case: &TokenCase) -> Result<Vec<u32>, String>;

    /// The cache after copies in order.
    fn block_copy(&self, case: &BlockCopyCase<'_>) -> Result<Vec<f32>, String>;

    /// The second cache after blocks of the first were gathered into a buffer and scattered from there.
    fn block_swap(&self, case: &SwapCase<'_>) -> Result<Vec<f32>, String>;

    /// Rows of `matrix [any, columns]` in the order asked for; the matrix is of the given type.
    fn select_rows(
        &self,
        matrix: &[f32],
        element: ElementType,
        columns: usize,
        rows: &[u32],
    ) -> Result<Vec<f32>, String>;

    /// Activations of the activations' type times the transpose of a weight.
    fn matmul(&self, case: &MatmulCase<'_>) -> Result<Vec<f32>, String>;
}
