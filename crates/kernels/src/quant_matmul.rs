//! Matrix products of activations with weights of any type. The one door through which the forward multiplies.

use candle_core::{DType, Device, Tensor};

use crate::error::{KernelError, Result};
use crate::float_matmul::float_matmul;
use crate::packed::{Packed, multiply_each, multiply_gated};
use crate::silu::silu_mul;
use crate::storage::{f32_values, matrix_shape};
use crate::weight::{Weight, WeightData};

const OPERATION: &str = "quant_matmul";

/// `activations [rows, inputs]` times the transpose of `weight [outputs, inputs]`, as F32 `[rows, outputs]`.
///
/// On the CPU a row of the result is bitwise the same whatever the number of rows:
/// - F32, F16 and BF16 go through an own product with one order of summation.
/// - Q4_0 to Q8_0 and Q4_K to Q6_K are packed, and rows of activations are rounded to eight bits for each 256 inputs
///   (`packed/mod.rs`); the bits are the same on every machine.
/// - Q2_K and Q3_K, which nothing else is as small as, go through candle 0.11.1, and slowly, on threads of its own
///   (`CANDLE_NUM_THREADS`): it takes one kernel for every number of rows, which computes each output by itself.
///
/// On a card the result has the activations' type, and its bits depend on the number of rows: candle chooses its kernel by that.
///
/// # Errors
/// When the shapes do not fit or the activations are not contiguous F32.
pub fn quant_matmul(activations: &Tensor, weight: &Weight) -> std::result::Result<Tensor, KernelError> {
    let rows = check(activations, weight)?;
    match (&weight.data, activations.device()) {
        _ if activations.elem_count() == 0 => {
            Ok(Tensor::zeros((rows, weight.outputs()), DType::F32, activations.device())?)
        }
        (WeightData::Float(matrix), Device::Cpu) => float_matmul(activations, matrix),
        (WeightData::Packed(packed), Device::Cpu) => Ok(together(activations, &[packed])?.swap_remove(0)),
        (WeightData::Quantized(blocks), Device::Cpu) => Ok(activations.apply_op1_no_bwd(blocks.tensor.as_ref())?),
        #[cfg(feature = "cuda")]
        (data, Device::Cuda(_)) => on_card(activations, data),
        _ => Err(KernelError::Device { operation: OPERATION, argument: "activations" }),
    }
}

/// [`quant_matmul`] of `activations [rows, inputs]` with several weights `[outputs, inputs]`, each of its own outputs and type: a result
/// for each. On the CPU packed weights are multiplied in one go, which gives the same bits.
///
/// # Errors
/// As [`quant_matmul`].
pub fn quant_matmul_each<const COUNT: usize>(
    activations: &Tensor,
    weights: [&Weight; COUNT],
) -> std::result::Result<[Tensor; COUNT], KernelError> {
    for weight in weights {
        check(activations, weight)?;
    }
    let packed: Option<Vec<&Packed>> = weights.iter().map(|weight| packed(activations, weight)).collect();
    let products: Vec<Tensor> = match packed {
        Some(packed) => together(activations, &packed)?,
        None => weights.iter().map(|weight| quant_matmul(activations, weight)).collect::<Result<_>>()?,
    };
    Ok(<[Tensor; COUNT]>::try_from(products).expect("a product for each weight"))
}

/// `silu(gate) * up` of the products of `activations [rows, inputs]` with two weights `[outputs, inputs]`: `[rows, outputs]`, of the type
/// and with the bits that [`quant_matmul`] and then [`silu_mul`] give. On the CPU the products do not go through memory where both
/// weights are packed alike.
///
/// # Errors
/// As [`quant_matmul`], and when the weights are of different shapes.
pub fn gated_matmul(activations: &Tensor, gate: &Weight, up: &Weight) -> std::result::Result<Tensor, KernelError> {
    let rows = check(activations, gate)?;
    if gate.outputs() != up.outputs() {
        let expected = format!("[{}, {}]", gate.outputs(), gate.inputs());
        let actual = vec![up.outputs(), up.inputs()];
        return Err(KernelError::Shape { operation: OPERATION, argument: "up", expected, actual });
    }
    match (packed(activations, gate), packed(activations, up)) {
        (Some(gate_packed), Some(up_packed)) if gate_packed.is_like(up_packed) => {
            let product = with_values(activations, |values| multiply_gated(values, gate_packed, up_packed))?;
            Ok(Tensor::from_vec(product, (rows, gate.outputs()), &Device::Cpu)?)
        }
        _ => {
            let [gate, up] = quant_matmul_each(activations, [gate, up])?;
            silu_mul(&gate, &up)
        }
    }
}

/// The number of rows, if they fit the weight.
fn check(activations: &Tensor, weight: &Weight) -> Result<usize> {
    let (rows, inputs) = matrix_shape(activations, OPERATION, "activations")?;
    if inputs == weight.inputs() {
        return Ok(rows);
    }
    Err(KernelError::Shape {
        operation: OPERATION,
        argument: "activations",
        expected: format!("[rows, {}]", weight.inputs()),
        actual: activations.dims().to_vec(),
    })
}

/// A weight that is packed, for activations that are on the CPU, and some.
fn packed<'a>(activations: &Tensor, weight: &'a Weight) -> Option<&'a Packed> {
    match &weight.data {
        WeightData::Packed(packed) if activations.device().is_cpu() && activations.elem_count() > 0 => Some(packed),
        _ => None,
    }
}

/// The products with packed weights, in one go.
fn together(activations: &Tensor, weights: &[&Packed]) -> Result<Vec<Tensor>> {
    let rows = activations.dims()[0];
    let products = with_values(activations, |values| multiply_each(values, weights))?;
    let tensor = |(product, weight): (Vec<f32>, &&Packed)| {
        Ok(Tensor::from_vec(product, (rows, weight.outputs()), &Device::Cpu)?)
    };
    products.into_iter().zip(weights).map(tensor).collect()
}

/// Calls with the rows' numbers.
fn with_values<T>(activations: &Tensor, compute: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = activations.storage_and_layout();
    Ok(compute(f32_values(&storage, layout, OPERATION, "activations")?))
}

/// The product on a card, in the activations' type. Blocks go through candle's kernels: up to 8 rows in the activations' own type,
/// above that in F32 with a cast on either side. Float weights go through cuBLAS.
#[cfg(feature = "cuda")]
fn on_card(activations: &Tensor, data: &WeightData) -> Result<Tensor> {
    match data {
        WeightData::Quantized(blocks) => Ok(activations.apply_op1_no_bwd(blocks.tensor.as_ref())?),
        WeightData::Float(matrix) => float_on_card(activations, matrix),
        WeightData::Packed(_) => Err(KernelError::Device { operation: OPERATION, argument: "weight" }),
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
