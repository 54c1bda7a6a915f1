//! Tensors from one device to another.

use candle_core::{Device, Tensor};

use crate::error::KernelError;

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
