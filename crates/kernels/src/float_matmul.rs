//! The matrix product for float weights, with one order of summation per output whatever the number of rows.
//! candle's own float product chooses its blocking by the shape, so it cannot promise that.

use candle_core::{CpuStorage, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::error::Result;
use crate::math::{dot, dot_rows};
use crate::parallel::{DisjointSlice, for_ranges};
use crate::storage::{contiguous_range, cpu_storage, element_type, f32_values, matrix_shape};

const OPERATION: &str = "float_matmul";

/// Outputs that one work item computes, for all rows of its block.
const OUTPUT_CHUNK: usize = 16;

/// Rows of one work item: their activations stay in the second-level cache while the weights pass by.
const ROW_BLOCK: usize = 64;

/// `activations [rows, inputs]` times the transpose of `matrix [outputs, inputs]` on the CPU.
pub(crate) fn float_matmul(activations: &Tensor, matrix: &Tensor) -> Result<Tensor> {
    let (rows, inputs) = matrix_shape(activations, OPERATION, "activations")?;
    let (outputs, _) = matrix_shape(matrix, OPERATION, "weight")?;
    let (activation_storage, activation_layout) = activations.storage_and_layout();
    let values = f32_values(&activation_storage, activation_layout, OPERATION, "activations")?;
    let (weight_storage, weight_layout) = matrix.storage_and_layout();
    let range = contiguous_range(weight_layout, OPERATION, "weight")?;
    let product = match cpu_storage(&weight_storage, OPERATION, "weight")? {
        CpuStorage::F32(weights) => multiply(values, &weights[range], rows, inputs, outputs),
        CpuStorage::F16(weights) => multiply(values, &weights[range], rows, inputs, outputs),
        CpuStorage::BF16(weights) => multiply(values, &weights[range], rows, inputs, outputs),
        other => return Err(element_type(OPERATION, "weight", "f32, f16 or bf16", other)),
    };
    Ok(Tensor::from_vec(product, (rows, outputs), activations.device())?)
}

/// A float type that a row of weights may have; `widen` gives the row as F32, converting into `scratch` only if it must.
trait WeightElement: Sync + Sized {
    fn widen<'a>(row: &'a [Self], scratch: &'a mut [f32]) -> &'a [f32];
}

impl WeightElement for f32 {
    fn widen<'a>(row: &'a [Self], _scratch: &'a mut [f32]) -> &'a [f32] {
        row
    }
}

impl WeightElement for f16 {
    fn widen<'a>(row: &'a [Self], scratch: &'a mut [f32]) -> &'a [f32] {
        row.convert_to_f32_slice(scratch);
        scratch
    }
}

impl WeightElement for bf16 {
    fn widen<'a>(row: &'a [Self], scratch: &'a mut [f32]) -> &'a [f32] {
        row.convert_to_f32_slice(scratch);
        scratch
    }
}

fn multiply<W: WeightElement>(values: &[f32], weights: &[W], rows: usize, inputs: usize, outputs: usize) -> Vec<f32> {
    let mut product = vec![0f32; rows * outputs];
    let shared = DisjointSlice::new(&mut product);
    let output_chunks = outputs.div_ceil(OUTPUT_CHUNK);
    let items = rows.div_ceil(ROW_BLOCK) * output_chunks;
    for_ranges(items, rows * inputs * outputs, |range| {
        let mut scratch = vec![0f32; inputs];
        for item in range {
            let first_row = item / output_chunks * ROW_BLOCK;
            let last_row = (first_row + ROW_BLOCK).min(rows);
            let first_output = item % output_chunks * OUTPUT_CHUNK;
            for output in first_output..(first_output + OUTPUT_CHUNK).min(outputs) {
                let weight_row = W::widen(&weights[output * inputs..(output + 1) * inputs], &mut scratch);
                let activation = |row: usize| &values[row * inputs..(row + 1) * inputs];
                let store = |row: usize, value: f32| {
                    // SAFETY: each pair of row and output belongs to one item only, and an item to one thread.
                    #[allow(unsafe_code)]
                    let place = unsafe { shared.range_mut(row * outputs + output, 1) };
                    place[0] = value;
                };
                let mut row = first_row;
                while row + 4 <= last_row {
                    let quad = [activation(row), activation(row + 1), activation(row + 2), activation(row + 3)];
                    for (offset, value) in dot_rows(quad, weight_row).into_iter().enumerate() {
                        store(row + offset, value);
                    }
                    row += 4;
                }
                for row in row..last_row {
                    store(row, dot(activation(row), weight_row));
                }
            }
        }
    });
    product
}
