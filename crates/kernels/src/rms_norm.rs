//! Root-mean-square normalization of rows, with the residual addition that comes before it.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use candle_core::{DType, Device, Tensor};

use crate::error::{KernelError, Result};
use crate::math::dot;
use crate::parallel::{Unwritten, for_ranges};
use crate::storage::{expect_shape, f32_values, matrix_shape};

const OPERATION: &str = "rms_norm";

/// What a number costs, in multiply-adds.
const NORM_WORK: usize = 4;

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
    let update_storage = update.map(Tensor::storage_and_layout);
    let updates = match &update_storage {
        Some((storage, layout)) => Some(f32_values(storage, layout, OPERATION, "update")?),
        None => None,
    };
    let (mut sums, mut normed) = (updates.map(|_| Unwritten::new(rows * width)), Unwritten::new(rows * width));
    let (sum_places, outputs) = (sums.as_mut().map(Unwritten::places), normed.places());
    for_ranges(rows, rows * width * NORM_WORK, |range| {
        for row in range {
            let numbers = row * width..(row + 1) * width;
            let row_values = match updates.zip(sum_places.as_ref()) {
                Some((updates, places)) => {
                    // SAFETY: each row belongs to one range only.
                    let places = unsafe { places.range_mut(numbers.start, width) };
                    add(&values[numbers.clone()], &updates[numbers.clone()], places)
                }
                None => &values[numbers.clone()],
            };
            // SAFETY: as above.
            normalize(row_values, weights, epsilon, unsafe { outputs.range_mut(numbers.start, width) });
        }
    });
    let tensor = |values: Vec<f32>| Tensor::from_vec(values, (rows, width), base.device());
    let sum = match sums {
        // SAFETY: the ranges are all rows, and each was written whole.
        Some(sums) => tensor(unsafe { sums.written() })?,
        None => base.clone(),
    };
    // SAFETY: as above.
    Ok(Normed { normed: tensor(unsafe { normed.written() })?, sum })
}

/// The sum of two rows.
fn add<'a>(row: &[f32], update: &[f32], places: &'a mut [MaybeUninit<f32>]) -> &'a [f32] {
    for ((place, value), update) in places.iter_mut().zip(row).zip(update) {
        place.write(update + value);
    }
    // SAFETY: rows are of one length, so each place was written.
    unsafe { places.assume_init_ref() }
}

/// Normalizes a row.
fn normalize(row: &[f32], weights: &[f32], epsilon: f32, places: &mut [MaybeUninit<f32>]) {
    let scale = inverse_root_mean_square(row, epsilon);
    for ((place, value), weight) in places.iter_mut().zip(row).zip(weights) {
        place.write(value * scale * weight);
    }
}

/// What a row is multiplied by so that its root mean square is one.
pub(crate) fn inverse_root_mean_square(row: &[f32], epsilon: f32) -> f32 {
    let mean = dot(row, row) / row.len() as f32;
    1.0 / (mean + epsilon).sqrt()
}
