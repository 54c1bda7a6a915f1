//! Root-mean-square normalization of rows, with the residual addition that comes before it.

use candle_core::{DType, Device, Tensor};

use crate::error::{KernelError, Result};
use crate::math::dot;
use crate::parallel::{DisjointSlice, for_ranges};
use crate::storage::{expect_shape, f32_values, matrix_shape};

const OPERATION: &str = "rms_norm";

/// What [`rms_norm`] gives back.
#[derive(Debug, Clone)]
pub struct Normed {
    /// The normalized rows `[rows, width]`, times the weight, in the type of activations.
    pub normed: Tensor,
    /// The rows before normalization, F32: the base plus the update, or the base itself when there was none.
    pub sum: Tensor,
}

/// Adds `update` (if any, in the type of activations) to `base [rows, width]`, then scales each row to a root mean square of one
/// and multiplies it by `weight [width]`: `y = x / sqrt(mean(x²) + epsilon) * weight` (Zhang and Sennrich, 2019).
///
/// The base is F32, so that a sum over many layers is not rounded in each; the CPU's activations are F32 too.
///
/// # Errors
/// When the shapes differ, or a tensor is not contiguous or of another type.
pub fn rms_norm(
    base: &Tensor,
    update: Option<&Tensor>,
    weight: &Tensor,
    epsilon: f32,
    activation: DType,
) -> std::result::Result<Normed, KernelError> {
    let (rows, width) = matrix_shape(base, OPERATION, "base")?;
    expect_shape(weight, &[width], OPERATION, "weight")?;
    if let Some(update) = update {
        expect_shape(update, base.dims(), OPERATION, "update")?;
    }
    match (base.device(), activation) {
        (Device::Cpu, DType::F32) => cpu(base, update, weight, epsilon, (rows, width)),
        #[cfg(feature = "cuda")]
        (Device::Cuda(_), _) => crate::cuda::operations::rms_norm(base, update, weight, epsilon, activation),
        _ => Err(KernelError::Device { operation: OPERATION, argument: "base" }),
    }
}

fn cpu(
    base: &Tensor,
    update: Option<&Tensor>,
    weight: &Tensor,
    epsilon: f32,
    (rows, width): (usize, usize),
) -> Result<Normed> {
    let (base_storage, base_layout) = base.storage_and_layout();
    let values = f32_values(&base_storage, base_layout, OPERATION, "base")?;
    let (weight_storage, weight_layout) = weight.storage_and_layout();
    let weights = f32_values(&weight_storage, weight_layout, OPERATION, "weight")?;
    let mut normed = vec![0f32; rows * width];
    let outputs = DisjointSlice::new(&mut normed);
    let work = rows * width * 4;
    let Some(update) = update else {
        for_ranges(rows, work, |range| {
            let (start, length) = (range.start * width, range.len() * width);
            // SAFETY: each row belongs to one range only.
            #[allow(unsafe_code)]
            let outputs = unsafe { outputs.range_mut(start, length) };
            normalize(&values[start..start + length], weights, epsilon, outputs);
        });
        return Ok(Normed { normed: Tensor::from_vec(normed, (rows, width), base.device())?, sum: base.clone() });
    };
    let (update_storage, update_layout) = update.storage_and_layout();
    let updates = f32_values(&update_storage, update_layout, OPERATION, "update")?;
    let mut summed = vec![0f32; rows * width];
    let sums = DisjointSlice::new(&mut summed);
    for_ranges(rows, work, |range| {
        let (start, length) = (range.start * width, range.len() * width);
        // SAFETY: each row belongs to one range only.
        #[allow(unsafe_code)]
        let (sums, outputs) = unsafe { (sums.range_mut(start, length), outputs.range_mut(start, length)) };
        let places = start..start + length;
        for ((sum, update), value) in sums.iter_mut().zip(&updates[places.clone()]).zip(&values[places]) {
            *sum = update + value;
        }
        normalize(sums, weights, epsilon, outputs);
    });
    Ok(Normed {
        normed: Tensor::from_vec(normed, (rows, width), base.device())?,
        sum: Tensor::from_vec(summed, (rows, width), base.device())?,
    })
}

/// Normalizes row after row.
fn normalize(rows: &[f32], weights: &[f32], epsilon: f32, outputs: &mut [f32]) {
    let width = weights.len().max(1);
    for (row, output) in rows.chunks_exact(width).zip(outputs.chunks_exact_mut(width)) {
        let scale = inverse_root_mean_square(row, epsilon);
        for ((output, value), weight) in output.iter_mut().zip(row).zip(weights) {
            *output = value * scale * weight;
        }
    }
}

/// What a row is multiplied by so that its root mean square is one.
pub(crate) fn inverse_root_mean_square(row: &[f32], epsilon: f32) -> f32 {
    let mean = dot(row, row) / row.len() as f32;
    1.0 / (mean + epsilon).sqrt()
}
