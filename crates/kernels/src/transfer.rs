//! Tensors from one device to another, and out of candle's hands.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Tensor};

use crate::error::KernelError;
use crate::storage::{contiguous_range, element_type};

/// The tensor on another device; the same one when it is there already.
///
/// Cards order what they do in one stream each, so from card to card the host waits for both: the copy must not begin before
/// the tensor is written, and its memory must not be used again before the copy has ended.
///
/// # Errors
/// What the devices report.
pub fn to_device(tensor: &Tensor, device: &Device) -> Result<Tensor, KernelError> {
    if tensor.device().same_device(device) {
        return Ok(tensor.clone());
    }
    #[cfg(feature = "cuda")]
    if let (Device::Cuda(_), Device::Cuda(_)) = (tensor.device(), device) {
        crate::cuda::synchronize(tensor.device())?;
        let moved = tensor.to_device(device)?;
        crate::cuda::synchronize(device)?;
        return Ok(moved);
    }
    Ok(tensor.to_device(device)?)
}

/// The numbers of a contiguous F32 tensor, row after row. On the CPU they are taken out of it and not copied, as the logits of a step
/// would otherwise be: so nobody else may hold the tensor, or they find it empty.
///
/// # Errors
/// When the tensor is not contiguous or of another type, or what the device reports.
#[allow(clippy::needless_pass_by_value)] // Its owner gives it up.
pub fn into_values(tensor: Tensor) -> Result<Vec<f32>, KernelError> {
    if !tensor.device().is_cpu() {
        return Ok(tensor.flatten_all()?.to_vec1()?);
    }
    let taken = Take(Mutex::new(Vec::new()));
    tensor.inplace_op1(&taken)?;
    Ok(taken.0.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Where the numbers go.
struct Take(Mutex<Vec<f32>>);

impl InplaceOp1 for Take {
    fn name(&self) -> &'static str {
        "into_values"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let range = contiguous_range(layout, self.name(), "tensor").map_err(candle_core::Error::wrap)?;
        let CpuStorage::F32(values) = storage else {
            return Err(candle_core::Error::wrap(element_type(self.name(), "tensor", "f32", storage)));
        };
        let mut taken = std::mem::take(values);
        taken.truncate(range.end);
        taken.drain(..range.start);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = taken;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_out_row_after_row() {
        let matrix = || Tensor::arange(0f32, 6.0, &Device::Cpu).and_then(|row| row.reshape((2, 3))).expect("a matrix");
        assert_eq!(into_values(matrix()).expect("floats"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let last = matrix().narrow(0, 1, 1).expect("a row");
        assert_eq!(into_values(last).expect("floats"), [3.0, 4.0, 5.0]);
        let columns = into_values(matrix().t().expect("a matrix")).map_err(|error| error.to_string());
        assert!(columns.is_err_and(|message| message.contains("not contiguous")));
        let halves = matrix().to_dtype(candle_core::DType::F16).expect("halves");
        assert!(into_values(halves).is_err_and(|error| error.to_string().contains("f32")));
    }
}
