//! The result of a forward: one row of logits for each wanted row of the batch.

use candle_core::Tensor;
use sconce_kernels::into_values;

use crate::error::ModelError;

/// Rows of logits, in the order of `ForwardBatch::logits_rows`.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    values: Vec<f32>,
    width: usize,
}

impl Logits {
    pub(crate) fn from_tensor(tensor: Tensor, width: usize) -> Result<Self, ModelError> {
        Ok(Self { values: into_values(tensor)?, width })
    }

    pub(crate) fn none(width: usize) -> Self {
        Self { values: Vec::new(), width }
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// The logits of a row, one per token of the vocabulary.
    ///
    /// # Panics
    /// When there is no such row: the caller counts the rows that it asked for.
    #[must_use]
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.width..(index + 1) * self.width]
    }
}
