//! Tensors on a card as addresses, checked for device, type and layout.

use candle_core::cuda_backend::CudaStorageSlice;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use candle_core::{CudaDevice, DType, Device, Shape, Storage, Tensor};

use crate::error::{KernelError, Result};
use crate::launch::{DevicePointer, ElementType};

/// The card of a device.
pub(crate) fn card<'a>(device: &'a Device, operation: &'static str, argument: &'static str) -> Result<&'a CudaDevice> {
    device.as_cuda_device().map_err(|_| KernelError::Device { operation, argument })
}

/// Where a contiguous tensor of one of the kernels' types begins.
pub(crate) fn address(
    tensor: &Tensor,
    expected: DType,
    operation: &'static str,
    argument: &'static str,
) -> Result<DevicePointer> {
    if tensor.dtype() != expected {
        return Err(KernelError::ElementType {
            operation,
            argument,
            expected: expected.as_str(),
            actual: tensor.dtype().as_str().to_string(),
        });
    }
    let (storage, layout) = tensor.storage_and_layout();
    let Some((start, _)) = layout.contiguous_offsets() else {
        return Err(KernelError::NotContiguous { operation, argument });
    };
    let Storage::Cuda(storage) = &*storage else { return Err(KernelError::Device { operation, argument }) };
    let stream = storage.device.cuda_stream();
    let base = match &storage.slice {
        CudaStorageSlice::F32(slice) => base(slice, &stream),
        CudaStorageSlice::F64(slice) => base(slice, &stream),
        CudaStorageSlice::F16(slice) => base(slice, &stream),
        CudaStorageSlice::BF16(slice) => base(slice, &stream),
        CudaStorageSlice::U32(slice) => base(slice, &stream),
        CudaStorageSlice::U8(slice) => base(slice, &stream),
        _ => return Err(KernelError::Device { operation, argument }),
    };
    Ok(DevicePointer(base + (start * expected.size_in_bytes()) as u64))
}

/// With event tracking off (see `open`) nothing is recorded when the guard drops; the stream orders everything.
fn base<T>(slice: &CudaSlice<T>, stream: &CudaStream) -> u64 {
    slice.device_ptr(stream).0
}

/// A tensor whose numbers are whatever was there: a kernel is about to write all of them.
#[allow(unsafe_code)]
pub(crate) fn unwritten(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
    // SAFETY: the caller launches a kernel that writes every element before anything in the stream reads one.
    Ok(unsafe { Tensor::empty(shape, dtype, device) }?)
}

/// The kernels' word for a type of activations or of the cache.
pub(crate) fn element_type(dtype: DType, operation: &'static str, argument: &'static str) -> Result<ElementType> {
    match dtype {
        DType::F32 => Ok(ElementType::F32),
        DType::F16 => Ok(ElementType::F16),
        DType::BF16 => Ok(ElementType::Bf16),
        other => Err(KernelError::ElementType {
            operation,
            argument,
            expected: "f32, f16 or bf16",
            actual: other.as_str().to_string(),
        }),
    }
}
