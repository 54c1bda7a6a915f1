//! Views of tensors as plain slices, checked for type and layout. The only file that looks into candle's storage for reading.

use candle_core::{CpuStorage, DType, Layout, Storage, Tensor};

use crate::batch::PagedBatch;
use crate::cached::numbers_of_bytes;
use crate::error::{KernelError, Result};

/// The element range of a contiguous layout.
pub(crate) fn contiguous_range(
    layout: &Layout,
    operation: &'static str,
    argument: &'static str,
) -> Result<std::ops::Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => Err(KernelError::NotContiguous { operation, argument }),
    }
}

/// The CPU storage behind a guard, or an error that names the argument.
pub(crate) fn cpu_storage<'a>(
    storage: &'a Storage,
    operation: &'static str,
    argument: &'static str,
) -> Result<&'a CpuStorage> {
    match storage {
        Storage::Cpu(storage) => Ok(storage),
        _ => Err(KernelError::Device { operation, argument }),
    }
}

/// The values of a contiguous F32 tensor on the CPU.
pub(crate) fn f32_values<'a>(
    storage: &'a Storage,
    layout: &Layout,
    operation: &'static str,
    argument: &'static str,
) -> Result<&'a [f32]> {
    let range = contiguous_range(layout, operation, argument)?;
    match cpu_storage(storage, operation, argument)? {
        CpuStorage::F32(values) => Ok(&values[range]),
        other => Err(element_type(operation, argument, "f32", other)),
    }
}

/// The error for a storage of the wrong type.
pub(crate) fn element_type(
    operation: &'static str,
    argument: &'static str,
    expected: &'static str,
    actual: &CpuStorage,
) -> KernelError {
    use candle_core::backend::BackendStorage;
    KernelError::ElementType { operation, argument, expected, actual: actual.dtype().as_str().to_string() }
}

/// The two dimensions of a matrix.
pub(crate) fn matrix_shape(tensor: &Tensor, operation: &'static str, argument: &'static str) -> Result<(usize, usize)> {
    match *tensor.dims() {
        [rows, columns] => Ok((rows, columns)),
        _ => Err(KernelError::Shape {
            operation,
            argument,
            expected: "[rows, columns]".to_string(),
            actual: tensor.dims().to_vec(),
        }),
    }
}

/// The key heads and the length of a head of two caches `[num_blocks, block_size, kv_heads, head_dim]`, which must be alike and
/// have the batch's blocks. One of bytes has [`crate::q8_head_bytes`] in place of a head's length.
pub(crate) fn cache_heads(
    [key_cache, value_cache]: [&Tensor; 2],
    batch: &PagedBatch,
    operation: &'static str,
) -> Result<[usize; 2]> {
    let [_, _, kv_heads, head_dim] = *key_cache.dims() else {
        return Err(KernelError::Shape {
            operation,
            argument: "key_cache",
            expected: "[num_blocks, block_size, kv_heads, head_dim]".to_string(),
            actual: key_cache.dims().to_vec(),
        });
    };
    let expected = [batch.num_blocks, batch.block_size, kv_heads, head_dim];
    expect_shape(key_cache, &expected, operation, "key_cache")?;
    expect_shape(value_cache, &expected, operation, "value_cache")?;
    if [key_cache, value_cache].map(Tensor::dtype).contains(&DType::U8) && key_cache.dtype() != value_cache.dtype() {
        let (expected, actual) = ("of the type of key_cache", value_cache.dtype().as_str().to_string());
        return Err(KernelError::ElementType { operation, argument: "value_cache", expected, actual });
    }
    if key_cache.dtype() != DType::U8 {
        return Ok([kv_heads, head_dim]);
    }
    let numbers = numbers_of_bytes(head_dim).ok_or_else(|| KernelError::Shape {
        operation,
        argument: "key_cache",
        expected: "heads of whole blocks of 34 bytes".to_string(),
        actual: key_cache.dims().to_vec(),
    })?;
    Ok([kv_heads, numbers])
}

/// Checks that a tensor has exactly this shape.
pub(crate) fn expect_shape(
    tensor: &Tensor,
    expected: &[usize],
    operation: &'static str,
    argument: &'static str,
) -> Result<()> {
    if tensor.dims() == expected {
        return Ok(());
    }
    Err(KernelError::Shape { operation, argument, expected: format!("{expected:?}"), actual: tensor.dims().to_vec() })
}
