//! Row look-up from a table of any weight type. The table is never turned into floats as a whole.

use candle_core::{CpuStorage, Device, Tensor};
use half::slice::HalfFloatSliceExt;

use crate::error::{KernelError, Result};
use crate::indices::Indices;
use crate::storage::{contiguous_range, cpu_storage, element_type};
use crate::weight::{Weight, WeightData};

const OPERATION: &str = "embedding";

/// The rows `ids` of `table [vocabulary, width]` as F32 `[ids, width]`.
///
/// # Errors
/// When an id is not below the number of rows.
pub fn embedding(table: &Weight, ids: &Indices<'_>, device: &Device) -> std::result::Result<Tensor, KernelError> {
    let width = table.inputs();
    if let Some((index, &id)) = ids.values.iter().enumerate().find(|(_, id)| **id as usize >= table.outputs()) {
        return Err(KernelError::OutOfRange {
            operation: OPERATION,
            argument: "ids",
            index,
            value: u64::from(id),
            expected: format!("below {}", table.outputs()),
        });
    }
    if ids.is_empty() {
        return Ok(Tensor::zeros((0, width), candle_core::DType::F32, device)?);
    }
    match (&table.data, device) {
        (WeightData::Packed(packed), Device::Cpu) => {
            let mut rows = vec![0f32; ids.len() * width];
            for (row, id) in rows.chunks_exact_mut(width.max(1)).zip(ids.values) {
                packed.row(*id as usize, row);
            }
            Ok(Tensor::from_vec(rows, (ids.len(), width), device)?)
        }
        (WeightData::Quantized(blocks), Device::Cpu) => {
            Ok(blocks.tensor.embedding(&Tensor::from_slice(ids.values, ids.len(), device)?)?)
        }
        (WeightData::Float(table), Device::Cpu) => float_rows(table, ids.values, width),
        #[cfg(feature = "cuda")]
        (_, Device::Cuda(_)) => crate::cuda::operations::embedding(table, ids, device),
        _ => Err(KernelError::Device { operation: OPERATION, argument: "table" }),
    }
}

fn float_rows(table: &Tensor, ids: &[u32], width: usize) -> Result<Tensor> {
    let (storage, layout) = table.storage_and_layout();
    let range = contiguous_range(layout, OPERATION, "table")?;
    let mut rows = vec![0f32; ids.len() * width];
    let places = rows.chunks_exact_mut(width.max(1)).zip(ids);
    let row_range = |id: u32| range.start + id as usize * width..range.start + (id as usize + 1) * width;
    match cpu_storage(&storage, OPERATION, "table")? {
        CpuStorage::F32(values) => places.for_each(|(place, &id)| place.copy_from_slice(&values[row_range(id)])),
        CpuStorage::F16(values) => places.for_each(|(place, &id)| values[row_range(id)].convert_to_f32_slice(place)),
        CpuStorage::BF16(values) => places.for_each(|(place, &id)| values[row_range(id)].convert_to_f32_slice(place)),
        other => return Err(element_type(OPERATION, "table", "f32, f16 or bf16", other)),
    }
    Ok(Tensor::from_vec(rows, (ids.len(), width), table.device())?)
}
