//! What a place to run kernels offers to the checks: operations over host numbers. A backend rounds inputs to the types that
//! its kernels read before it runs them, and the checks round the reference's inputs alike.

use crate::launch::ElementType;

/// What a normalization gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalized {
    /// The normalized rows.
    pub normed: Vec<f32>,
    /// The rows before normalization.
    pub sum: Vec<f32>,
}

/// Runs operations somewhere. Matrices are row after row.
pub trait Backend {
    /// Where, in a word.
    fn name(&self) -> String;

    /// The element type of activations.
    fn activation(&self) -> ElementType;

    /// `base [rows, width]` plus `update` (if any, of the activations' type), normalized.
    ///
    /// # Errors
    /// What the backend reports.
    fn rms_norm(
        &self,
        base: &[f32],
        update: Option<&[f32]>,
        weight: &[f32],
        epsilon: f32,
    ) -> Result<Normalized, String>;
}
