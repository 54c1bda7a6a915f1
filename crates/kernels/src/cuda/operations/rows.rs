//! What is computed row by row: look-up, selection, normalization, the gate.

use candle_core::{DType, Device, Tensor};

use crate::cuda::run::run;
use crate::cuda::tensor::{address, card, element_type, unwritten};
use crate::error::{KernelError, Result};
use crate::indices::Indices;
use crate::launch::{
    DevicePointer, Embedding, EmbeddingArguments, RmsNorm, RmsNormArguments, RowDirection, SelectRows, SiluMul,
};
use crate::rms_norm::Normed;
use crate::weight::{Weight, WeightData};

/// The rows of a table that `ids` name, as F32.
pub(crate) fn embedding(table: &Weight, ids: &Indices<'_>, device: &Device) -> Result<Tensor> {
    const OPERATION: &str = "embedding";
    let card = card(device, OPERATION, "device")?;
    let Some(on_card) = &ids.on_card else { return Err(not_placed(OPERATION, "ids")) };
    let (start, weight_type) = match &table.data {
        WeightData::Quantized(blocks) => (blocks.address, table.weight_type()),
        WeightData::Float(matrix) => (address(matrix, matrix.dtype(), OPERATION, "table")?, table.weight_type()),
        WeightData::Packed(_) => return Err(KernelError::Device { operation: OPERATION, argument: "table" }),
    };
    let rows = unwritten((ids.len(), table.inputs()), DType::F32, device)?;
    let arguments = EmbeddingArguments {
        table: start,
        ids: on_card.at(0),
        rows: address(&rows, DType::F32, OPERATION, "rows")?,
        width: table.inputs() as u32,
    };
    // SAFETY: the table has the rows and the width that it was loaded with, ids were checked to be rows of it, and the result has
    // a row for each id.
    #[allow(unsafe_code)]
    unsafe { run(card, &Embedding { rows: ids.len() as u32, weight_type, arguments }.launch()) }?;
    Ok(rows)
}

/// Rows of a matrix in the order of a list.
pub(crate) fn select_rows(matrix: &Tensor, rows: &Indices<'_>, columns: usize) -> Result<Tensor> {
    const OPERATION: &str = "select_rows";
    let card = card(matrix.device(), OPERATION, "matrix")?;
    let Some(on_card) = &rows.on_card else { return Err(not_placed(OPERATION, "rows")) };
    let dtype = matrix.dtype();
    let selected = unwritten((rows.len(), columns), dtype, matrix.device())?;
    let select = SelectRows {
        direction: RowDirection::Gather,
        count: rows.len() as u32,
        row_bytes: columns * dtype.size_in_bytes(),
        source: address(matrix, dtype, OPERATION, "matrix")?,
        destination: address(&selected, dtype, OPERATION, "selected")?,
        rows: on_card.at(0),
    };
    // SAFETY: the list was checked to name rows of the matrix, and the result has a row for each entry.
    #[allow(unsafe_code)]
    unsafe { run(card, &select.launch()) }?;
    Ok(selected)
}

/// Normalization after the residual's addition.
pub(crate) fn rms_norm(
    base: &Tensor,
    update: Option<&Tensor>,
    weight: &Tensor,
    epsilon: f32,
    activation: DType,
) -> Result<Normed> {
    const OPERATION: &str = "rms_norm";
    let card = card(base.device(), OPERATION, "base")?;
    let (rows, width) = (base.dims()[0], base.dims()[1]);
    let normed = unwritten((rows, width), activation, base.device())?;
    let sum = match update {
        Some(_) => unwritten((rows, width), DType::F32, base.device())?,
        None => base.clone(),
    };
    let arguments = RmsNormArguments {
        base: address(base, DType::F32, OPERATION, "base")?,
        update: match update {
            Some(update) => address(update, activation, OPERATION, "update")?,
            None => DevicePointer::default(),
        },
        weight: address(weight, DType::F32, OPERATION, "weight")?,
        normed: address(&normed, activation, OPERATION, "normed")?,
        sum: address(&sum, DType::F32, OPERATION, "sum")?,
        width: width as u32,
        epsilon,
    };
    let norm = RmsNorm { rows: rows as u32, activation: element_type(activation, OPERATION, "update")?, arguments };
    // SAFETY: every tensor was checked to have rows of `width`; without an update the sum is not written.
    #[allow(unsafe_code)]
    unsafe { run(card, &norm.launch()) }?;
    Ok(Normed { normed, sum })
}

/// `silu(gate) * up`.
pub(crate) fn silu_mul(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    const OPERATION: &str = "silu_mul";
    let card = card(gate.device(), OPERATION, "gate")?;
    let dtype = gate.dtype();
    let output = unwritten(gate.shape(), dtype, gate.device())?;
    let gated = SiluMul {
        activation: element_type(dtype, OPERATION, "gate")?,
        gate: address(gate, dtype, OPERATION, "gate")?,
        up: address(up, dtype, OPERATION, "up")?,
        output: address(&output, dtype, OPERATION, "output")?,
        count: gate.elem_count() as u64,
    };
    // SAFETY: the three tensors have the same number of elements.
    #[allow(unsafe_code)]
    unsafe { run(card, &gated.launch()) }?;
    Ok(output)
}

/// The error for indices that a card cannot see.
pub(super) fn not_placed(operation: &'static str, argument: &'static str) -> KernelError {
    KernelError::Device { operation, argument }
}
