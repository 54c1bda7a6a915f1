//! Selection of rows: those whose logits are wanted.

use candle_core::{Device, Tensor};

use crate::error::{KernelError, Result};
use crate::indices::Indices;
use crate::storage::{f32_values, matrix_shape};

const OPERATION: &str = "select_rows";

/// The rows of `matrix [rows, columns]` named in `rows`, in that order, as a new matrix of the same type.
///
/// # Errors
/// A row that does not exist, or a tensor that is not a contiguous matrix (of F32, on the CPU).
pub fn select_rows(matrix: &Tensor, rows: &Indices<'_>) -> std::result::Result<Tensor, KernelError> {
    let (count, columns) = matrix_shape(matrix, OPERATION, "matrix")?;
    if let Some((index, &row)) = rows.values.iter().enumerate().find(|(_, row)| **row as usize >= count) {
        return Err(KernelError::OutOfRange {
            operation: OPERATION,
            argument: "rows",
            index,
            value: u64::from(row),
            expected: format!("below {count}"),
        });
    }
    match matrix.device() {
        Device::Cpu => cpu(matrix, rows.values, columns),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => crate::cuda::operations::select_rows(matrix, rows, columns),
        _ => Err(KernelError::Device { operation: OPERATION, argument: "matrix" }),
    }
}

fn cpu(matrix: &Tensor, rows: &[u32], columns: usize) -> Result<Tensor> {
    let (storage, layout) = matrix.storage_and_layout();
    let values = f32_values(&storage, layout, OPERATION, "matrix")?;
    let mut selected = Vec::with_capacity(rows.len() * columns);
    for &row in rows {
        selected.extend_from_slice(&values[row as usize * columns..(row as usize + 1) * columns]);
    }
    Ok(Tensor::from_vec(selected, (rows.len(), columns), matrix.device())?)
}
