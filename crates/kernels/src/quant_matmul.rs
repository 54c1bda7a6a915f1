//! The matrix product of activations with a weight of any type. The one door through which the forward multiplies.

#[cfg(feature = "cuda")]
use candle_core::DType;
use candle_core::{Device, Tensor};

use crate::error::{KernelError, Result};
use crate::float_matmul::float_matmul;
use crate::storage::matrix_shape;
use crate::weight::{Weight, WeightData, WeightType};

/// Rows in one call where candle would switch to its AMX kernel (32 and more), which sums in another order.
const ROWS_BELOW_AMX: usize = 28;

/// `activations [rows, inputs]` times the transpose of `weight [outputs, inputs]`, as F32 `[rows, outputs]`.
///
/// On the CPU a row of the result is bitwise the same whatever the number of rows:
/// - F32, F16 and BF16 go through an own product with one order of summation.
/// - Quantized types go through candle 0.11.1, read for this. On x86-64 it chooses a kernel by the type, by the shape and, in
///   three places, by the number of rows; each is closed here:
///   - Q6_K with a multiple of 16 outputs uses its compact kernel for one row and its tiled one for more, which sum in
///     another order (on AVX2, AVX-VNNI and AVX-512 alike): a lone row is computed as two, and the second is dropped.
///   - Q4_K with a multiple of 16 outputs uses AMX, where the machine has it, from 32 rows on: such calls are cut into parts
///     of 28 rows.
///   - The other types and shapes (Q4_0 to Q5_1, Q2_K, Q3_K, Q5_K; Q8_0 without VNNI; outputs no multiple of 16) take one kernel
///     for every number of rows, which computes each output by itself.
/// - On other architectures candle's tiles depend on `rows % 4`, so the rows of the types that it repacks go one by one: slow,
///   but invariant.
///
/// On a card the result has the activations' type, and its bits depend on the number of rows: candle chooses its kernel by that.
///
/// What is not promised: the same bits on machines of another kind. A CPU with VNNI quantizes the activations of Q8_0 in
/// blocks of 256, one without in blocks of 32.
///
/// # Errors
/// When the shapes do not fit or the activations are not contiguous F32.
pub fn quant_matmul(activations: &Tensor, weight: &Weight) -> std::result::Result<Tensor, KernelError> {
    let (rows, inputs) = matrix_shape(activations, "quant_matmul", "activations")?;
    if inputs != weight.inputs() {
        return Err(KernelError::Shape {
            operation: "quant_matmul",
            argument: "activations",
            expected: format!("[rows, {}]", weight.inputs()),
            actual: activations.dims().to_vec(),
        });
    }
    if rows == 0 {
        return Ok(Tensor::zeros((0, weight.outputs()), candle_core::DType::F32, activations.device())?);
    }
    match (&weight.data, activations.device()) {
        (WeightData::Float(matrix), Device::Cpu) => float_matmul(activations, matrix),
        (WeightData::Quantized(blocks), Device::Cpu) => {
            let product = |part: &Tensor| -> Result<Tensor> { Ok(part.apply_op1_no_bwd(blocks.tensor.as_ref())?) };
            match row_split(weight, rows) {
                RowSplit::Whole => product(activations),
                RowSplit::Doubled => {
                    let twice = Tensor::cat(&[activations, activations], 0)?;
                    Ok(product(&twice)?.narrow(0, 0, 1)?)
                }
                RowSplit::Parts(size) => {
                    let parts = (0..rows)
                        .step_by(size)
                        .map(|start| product(&activations.narrow(0, start, size.min(rows - start))?))
                        .collect::<Result<Vec<_>>>()?;
                    Ok(Tensor::cat(&parts, 0)?)
                }
            }
        }
        #[cfg(feature = "cuda")]
        (data, Device::Cuda(_)) => on_card(activations, data),
        _ => Err(KernelError::Device { operation: "quant_matmul", argument: "activations" }),
    }
}

/// The product on a card, in the activations' type. Blocks go through candle's kernels: up to 8 rows in the activations' own type,
/// above that in F32 with a cast on either side. Float weights go through cuBLAS.
#[cfg(feature = "cuda")]
fn on_card(activations: &Tensor, data: &WeightData) -> Result<Tensor> {
    match data {
        WeightData::Quantized(blocks) => Ok(activations.apply_op1_no_bwd(blocks.tensor.as_ref())?),
        WeightData::Float(matrix) => float_on_card(activations, matrix),
    }
}

/// Numbers of a shorter weight that are widened at a time: 16 MiB of them.
#[cfg(feature = "cuda")]
const WIDENED: usize = 4 << 20;

/// cuBLAS multiplies matrices of one type only. What is wider stays so: F32 activations are not rounded to a shorter weight's
/// type, nor is their product; instead the weight is widened, so many outputs at a time that little memory is needed for it.
#[cfg(feature = "cuda")]
fn float_on_card(activations: &Tensor, matrix: &Tensor) -> Result<Tensor> {
    if activations.dtype() != DType::F32 || matrix.dtype() == DType::F32 {
        let product = activations.to_dtype(matrix.dtype())?.matmul(&matrix.t()?)?;
        return Ok(product.to_dtype(activations.dtype())?);
    }
    let ((rows, inputs), outputs) = (matrix_shape(activations, "quant_matmul", "activations")?, matrix.dims()[0]);
    let chunk = (WIDENED / inputs.max(1)).max(1);
    let product = |first: usize| -> Result<Tensor> {
        let part = matrix.narrow(0, first, chunk.min(outputs - first))?.to_dtype(DType::F32)?;
        Ok(activations.matmul(&part.t()?)?)
    };
    if chunk >= outputs {
        return product(0);
    }
    let whole = Tensor::zeros((rows, outputs), DType::F32, activations.device())?;
    for first in (0..outputs).step_by(chunk) {
        whole.slice_set(&product(first)?, 1, first)?;
    }
    Ok(whole)
}

/// How the rows of one product are handed to candle so that each row always meets the same kernel.
#[derive(Debug, PartialEq, Eq)]
enum RowSplit {
    Whole,
    Doubled,
    Parts(usize),
}

fn row_split(weight: &Weight, rows: usize) -> RowSplit {
    let weight_type = weight.weight_type();
    if cfg!(target_arch = "x86_64") {
        let tiled = weight.outputs().is_multiple_of(TILE_OUTPUTS);
        return match weight_type {
            WeightType::Q6K if tiled && rows == 1 => RowSplit::Doubled,
            WeightType::Q4K if tiled && rows > ROWS_BELOW_AMX && has_amx() => RowSplit::Parts(ROWS_BELOW_AMX),
            _ => RowSplit::Whole,
        };
    }
    let repacked = matches!(
        weight_type,
        WeightType::Q4_0 | WeightType::Q8_0 | WeightType::Q4K | WeightType::Q5K | WeightType::Q6K
    );
    if repacked && rows > 1 { RowSplit::Parts(1) } else { RowSplit::Whole }
}

/// Outputs of a tile in candle's own order of weights.
const TILE_OUTPUTS: usize = 16;
/// Numbers of a row in such a tile.
const TILE_INPUTS: usize = 256;

/// Bytes that candle keeps beside a quantized weight on the CPU from its first product on: the same numbers in an order of their
/// own, with scales unpacked (0.11.1, read for this). A memory plan has to count them.
#[must_use]
pub fn packed_bytes(weight_type: WeightType, outputs: usize, inputs: usize) -> u64 {
    if !outputs.is_multiple_of(TILE_OUTPUTS) || !inputs.is_multiple_of(TILE_INPUTS) {
        return 0;
    }
    let tiles = (outputs / TILE_OUTPUTS) as u64 * (inputs / TILE_INPUTS) as u64;
    let per_tile = match weight_type {
        // Sixteen rows of 256 numbers: scales and minimums of eight parts, and four bits for each number.
        WeightType::Q4K => 16 * (2 * 8 * 4 + 128),
        // Scales of sixteen parts, and eight bits for each number.
        WeightType::Q6K => 16 * (16 * 4 + 256),
        WeightType::Q8_0 => 16 * 8 * 34,
        _ => 0,
    };
    let packs = if cfg!(target_arch = "x86_64") { packs_on_x86(weight_type) } else { cfg!(target_arch = "aarch64") };
    if packs { tiles * per_tile } else { 0 }
}

/// Whether candle has kernels for its order of this type on this machine.
fn packs_on_x86(weight_type: WeightType) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let has_dot_products = std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512vnni")
            || std::arch::is_x86_feature_detected!("avxvnni");
        let has_vectors = std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
        has_dot_products || has_vectors && weight_type != WeightType::Q8_0
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = weight_type;
        false
    }
}

/// Whether the processor has AMX with 8-bit tiles (CPUID leaf 7, EDX bits 24 and 25).
fn has_amx() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        const TILES_OF_INT8: u32 = 1 << 24 | 1 << 25;
        let features = core::arch::x86_64::__cpuid_count(7, 0);
        features.edx & TILES_OF_INT8 == TILES_OF_INT8
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}
