//! The projections of a step on the CPU: bias, normalization and rotation of each head, and the write to the cache slots.

use std::borrow::Cow;

use candle_core::{CpuStorage, InplaceOp1, Layout, Tensor};

use super::table::{HostAngles, QueryGrowth};
use super::{OPERATION, Projections};
use crate::batch::PagedBatch;
use crate::cached::CacheElement;
use crate::error::Result;
use crate::parallel::{DisjointSlice, for_ranges};
use crate::rms_norm::inverse_root_mean_square;
use crate::storage::{contiguous_range, element_type, f32_values, matrix_shape};

/// What turning a number costs, in multiply-adds.
const ROTATION_WORK: usize = 4;

/// See [`rope_kv_write`](super::rope_kv_write), which checked the shapes.
pub(super) fn rope_kv_write(
    projections: &Projections<'_>,
    (angles, growth): (&HostAngles, Option<QueryGrowth>),
    batch: &PagedBatch,
    [key_cache, value_cache]: [&Tensor; 2],
    [kv_heads, head_dim]: [usize; 2],
) -> Result<Tensor> {
    let (query, norms) = (projections.query, projections.norms.as_ref());
    let [query_bias, key_bias, value_bias] = match projections.biases {
        Some(biases) => biases.map(Some),
        None => [None; 3],
    };
    let turned = |rows, bias, norm, argument| rotated(rows, bias, norm, angles, head_dim, argument);
    let mut rotated_query = turned(query, query_bias, norms.map(|norms| (norms.query, norms.epsilon)), "query")?;
    if let Some(growth) = growth {
        let width = query.dims()[1].max(1);
        for (row, &position) in rotated_query.chunks_exact_mut(width).zip(batch.positions()) {
            let factor = growth.at(position);
            row.iter_mut().for_each(|value| *value *= factor);
        }
    }
    let rotated_key = turned(projections.key, key_bias, norms.map(|norms| (norms.key, norms.epsilon)), "key")?;
    let (storage, layout) = projections.value.storage_and_layout();
    let values = biased(f32_values(&storage, layout, OPERATION, "value")?, value_bias)?;
    let write = |rows, cache: &Tensor| cache.inplace_op1(&WriteSlots { rows, slots: &batch.slots, kv_heads, head_dim });
    write(&rotated_key, key_cache)?;
    write(&values, value_cache)?;
    Ok(Tensor::from_vec(rotated_query, query.shape(), query.device())?)
}

/// The rows with their bias, their heads normalized and turned.
fn rotated(
    rows: &Tensor,
    bias: Option<&Tensor>,
    norm: Option<(&Tensor, f32)>,
    angles: &HostAngles,
    head_dim: usize,
    argument: &'static str,
) -> Result<Vec<f32>> {
    let (count, width) = matrix_shape(rows, OPERATION, argument)?;
    let (storage, layout) = rows.storage_and_layout();
    let mut values = biased(f32_values(&storage, layout, OPERATION, argument)?, bias)?.into_owned();
    let norm_storage = norm.map(|(weight, epsilon)| (weight.storage_and_layout(), epsilon));
    let norm = match &norm_storage {
        Some(((storage, layout), epsilon)) => Some((f32_values(storage, layout, OPERATION, "norms")?, *epsilon)),
        None => None,
    };
    let rows = DisjointSlice::new(&mut values);
    for_ranges(count, count * width * ROTATION_WORK, |range| {
        for row in range {
            // SAFETY: each row belongs to one range only.
            #[allow(unsafe_code)]
            let heads = unsafe { rows.range_mut(row * width, width) };
            for head in heads.chunks_exact_mut(head_dim.max(1)) {
                if let Some((weights, epsilon)) = norm {
                    let scale = inverse_root_mean_square(head, epsilon);
                    head.iter_mut().zip(weights).for_each(|(value, weight)| *value = *value * scale * weight);
                }
                angles.rotate(row, head);
            }
        }
    });
    Ok(values)
}

/// The rows plus a bias that is as long as a row.
fn biased<'a>(rows: &'a [f32], bias: Option<&Tensor>) -> Result<Cow<'a, [f32]>> {
    let Some(bias) = bias else { return Ok(Cow::Borrowed(rows)) };
    let (storage, layout) = bias.storage_and_layout();
    let bias = f32_values(&storage, layout, OPERATION, "biases")?;
    Ok(Cow::Owned(rows.iter().zip(bias.iter().cycle()).map(|(value, bias)| value + bias).collect()))
}

/// Writes rows of heads to slots, converting to the cache's type.
struct WriteSlots<'a> {
    rows: &'a [f32],
    slots: &'a [u32],
    kv_heads: usize,
    head_dim: usize,
}

impl WriteSlots<'_> {
    fn run<T: CacheElement>(&self, cache: &mut [T]) {
        let head = T::elements(self.head_dim).max(1);
        for (row, &slot) in self.rows.chunks_exact((self.kv_heads * self.head_dim).max(1)).zip(self.slots) {
            let places = &mut cache[slot as usize * self.kv_heads * head..][..self.kv_heads * head];
            for (numbers, place) in row.chunks_exact(self.head_dim).zip(places.chunks_exact_mut(head)) {
                T::write(numbers, place);
            }
        }
    }
}

impl InplaceOp1 for WriteSlots<'_> {
    fn name(&self) -> &'static str {
        OPERATION
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let range = contiguous_range(layout, OPERATION, "cache").map_err(candle_core::Error::wrap)?;
        match storage {
            CpuStorage::F32(cache) => self.run(&mut cache[range]),
            CpuStorage::F16(cache) => self.run(&mut cache[range]),
            CpuStorage::BF16(cache) => self.run(&mut cache[range]),
            CpuStorage::U8(cache) => self.run(&mut cache[range]),
            other => {
                let error = element_type(OPERATION, "cache", "f32, f16, bf16 or u8", other);
                return Err(candle_core::Error::wrap(error));
            }
        }
        Ok(())
    }
}
