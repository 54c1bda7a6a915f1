//! Root-mean-square normalization of rows, with the residual addition that comes before it.

use candle_core::{Device, Tensor};

use crate::error::{KernelError, Result};
use crate::math::dot;
use crate::storage::{expect_shape, f32_values, matrix_shape};

const OPERATION: &str = "rms_norm";

/// What [`rms_norm`] gives back.
#[derive(Debug, Clone)]
pub struct Normed {
    /// The normalized rows `[rows, width]`, times the weight.
    pub normed: Tensor,
    /// The rows before normalization: the input plus the residual, or the input itself when there was none.
    pub sum: Tensor,
}

/// Adds `residual` (if any) to `rows [rows, width]`, then scales each row to a root mean square of one and multiplies it by
/// `weight [width]`: `y = x / sqrt(mean(x²) + epsilon) * weight` (Zhang and Sennrich, 2019).
///
/// # Errors
/// When the shapes differ or a tensor is not contiguous F32.
pub fn rms_norm(
    rows: &Tensor,
    residual: Option<&Tensor>,
    weight: &Tensor,
    epsilon: f32,
) -> std::result::Result<Normed, KernelError> {
    let (count, width) = matrix_shape(rows, OPERATION, "rows")?;
    expect_shape(weight, &[width], OPERATION, "weight")?;
    if let Some(residual) = residual {
        expect_shape(residual, rows.dims(), OPERATION, "residual")?;
    }
    match rows.device() {
        Device::Cpu => cpu(rows, residual, weight, epsilon, (count, width)),
        _ => Err(KernelError::Device { operation: OPERATION, argument: "rows" }),
    }
}

fn cpu(
    rows: &Tensor,
    residual: Option<&Tensor>,
    weight: &Tensor,
    epsilon: f32,
    (count, width): (usize, usize),
) -> Result<Normed> {
    let (row_storage, row_layout) = rows.storage_and_layout();
    let values = f32_values(&row_storage, row_layout, OPERATION, "rows")?;
    let (weight_storage, weight_layout) = weight.storage_and_layout();
    let weights = f32_values(&weight_storage, weight_layout, OPERATION, "weight")?;
    let mut normed = vec![0f32; count * width];
    let Some(residual) = residual else {
        for (row, output) in values.chunks_exact(width.max(1)).zip(normed.chunks_exact_mut(width.max(1))) {
            normalize(row, weights, epsilon, output);
        }
        return Ok(Normed { normed: Tensor::from_vec(normed, (count, width), rows.device())?, sum: rows.clone() });
    };
    let (residual_storage, residual_layout) = residual.storage_and_layout();
    let residuals = f32_values(&residual_storage, residual_layout, OPERATION, "residual")?;
    let sums: Vec<f32> = values.iter().zip(residuals).map(|(value, residual)| value + residual).collect();
    for (row, output) in sums.chunks_exact(width.max(1)).zip(normed.chunks_exact_mut(width.max(1))) {
        normalize(row, weights, epsilon, output);
    }
    Ok(Normed {
        normed: Tensor::from_vec(normed, (count, width), rows.device())?,
        sum: Tensor::from_vec(sums, (count, width), rows.device())?,
    })
}

fn normalize(row: &[f32], weights: &[f32], epsilon: f32, output: &mut [f32]) {
    let mean = dot(row, row) / row.len() as f32;
    let scale = 1.0 / (mean + epsilon).sqrt();
    for ((output, value), weight) in output.iter_mut().zip(row).zip(weights) {
        *output = value * scale * weight;
    }
}
