//! Attention of mixed sequences over a paged cache: the checks and the choice of device. The arithmetic is in the files beside.

mod cpu;

use candle_core::{CpuStorage, Device, Tensor};

use crate::batch::PagedBatch;
use crate::error::{KernelError, Result};
use crate::storage::{cache_heads, contiguous_range, cpu_storage, element_type, f32_values};

const OPERATION: &str = "paged_attention";

/// Causal attention of `query [rows, heads * head_dim]` over the caches `[num_blocks, block_size, kv_heads, head_dim]`
/// (F32, F16 or BF16; on the CPU also blocks of bytes, [`crate::q8_head_bytes`] for each head), which hold the keys and values of every position that a row sees, its own included. Query head `h` reads
/// key head `h / (heads / kv_heads)`; scores are scaled by `1 / sqrt(head_dim)`. Returns F32 `[rows, heads * head_dim]`.
///
/// With a window a row at position `p` sees the keys of `max(0, p + 1 - window)..=p` only; without one it sees all up to its own.
///
/// Each row and head is computed by itself over tiles of 32 absolute positions, with a running maximum (online softmax), so its
/// bits do not depend on the batch, on the chunk it came in, or on which blocks hold its keys. Memory besides the result is
/// bounded by the tile, not by the number of keys, and the work by the window.
///
/// # Errors
/// When shapes or element types do not fit each other or the batch, or the window is 0.
pub fn paged_attention(
    query: &Tensor,
    key_cache: &Tensor,
    value_cache: &Tensor,
    batch: &PagedBatch,
    window: Option<usize>,
) -> std::result::Result<Tensor, KernelError> {
    if window == Some(0) {
        let expected = "at least 1: a row sees itself".to_string();
        return Err(KernelError::OutOfRange { operation: OPERATION, argument: "window", index: 0, value: 0, expected });
    }
    let [kv_heads, head_dim] = cache_heads([key_cache, value_cache], batch, OPERATION)?;
    let width = kv_heads * head_dim;
    let fits = match *query.dims() {
        [rows, columns] => rows == batch.rows() && width > 0 && columns > 0 && columns.is_multiple_of(width),
        _ => false,
    };
    if !fits {
        return Err(KernelError::Shape {
            operation: OPERATION,
            argument: "query",
            expected: format!("[{}, a multiple of {width}]", batch.rows()),
            actual: query.dims().to_vec(),
        });
    }
    let group = query.dims()[1] / width;
    match query.device() {
        Device::Cpu => {
            let heads = cpu::Heads { kv_heads, group, head_dim };
            cpu_attention(query, key_cache, value_cache, batch, heads, window)
        }
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => crate::cuda::operations::paged_attention(query, key_cache, value_cache, batch, window),
        _ => Err(KernelError::Device { operation: OPERATION, argument: "query" }),
    }
}

fn cpu_attention(
    query: &Tensor,
    key_cache: &Tensor,
    value_cache: &Tensor,
    batch: &PagedBatch,
    heads: cpu::Heads,
    window: Option<usize>,
) -> Result<Tensor> {
    let (query_storage, query_layout) = query.storage_and_layout();
    let queries = f32_values(&query_storage, query_layout, OPERATION, "query")?;
    let (key_storage, key_layout) = key_cache.storage_and_layout();
    let (value_storage, value_layout) = value_cache.storage_and_layout();
    let key_range = contiguous_range(key_layout, OPERATION, "key_cache")?;
    let value_range = contiguous_range(value_layout, OPERATION, "value_cache")?;
    let keys = cpu_storage(&key_storage, OPERATION, "key_cache")?;
    let values = cpu_storage(&value_storage, OPERATION, "value_cache")?;
    let output = match (keys, values) {
        (CpuStorage::F32(keys), CpuStorage::F32(values)) => {
            cpu::attend(queries, &keys[key_range], &values[value_range], batch, heads, window)
        }
        (CpuStorage::F16(keys), CpuStorage::F16(values)) => {
            cpu::attend(queries, &keys[key_range], &values[value_range], batch, heads, window)
        }
        (CpuStorage::BF16(keys), CpuStorage::BF16(values)) => {
            cpu::attend(queries, &keys[key_range], &values[value_range], batch, heads, window)
        }
        (CpuStorage::U8(keys), CpuStorage::U8(values)) => {
            cpu::attend(queries, &keys[key_range], &values[value_range], batch, heads, window)
        }
        (keys, _) => {
            return Err(element_type(
                OPERATION,
                "key_cache and value_cache",
                "f32, f16, bf16 or u8, both the same",
                keys,
            ));
        }
    };
    Ok(Tensor::from_vec(output, query.shape(), query.device())?)
}
