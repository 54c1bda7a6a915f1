//! Rotary position embedding of queries and keys, and the write of keys and values to their cache slots.

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Tensor};
use half::{bf16, f16};

use crate::batch::PagedBatch;
use crate::error::{KernelError, Result};
use crate::math::multiply_add;
use crate::storage::{contiguous_range, element_type, expect_shape, f32_values};

const OPERATION: &str = "rope_kv_write";

/// The angle per position of each rotated pair.
///
/// Pair `i` of `dimensions / 2` turns by `position * base^(-2i / dimensions) / factor[i] / scale` (Su et al., 2021); the
/// factors are those of Llama 3.1's long context, `scale` is that of linear position interpolation.
#[derive(Debug, Clone)]
pub struct RopeFrequencies {
    per_pair: Vec<f64>,
    /// The same on the device that they were brought to, F64 `[pairs]`.
    #[cfg(feature = "cuda")]
    on_card: Option<Tensor>,
}

impl RopeFrequencies {
    /// Computes the frequencies in double precision.
    ///
    /// # Errors
    /// When `dimensions` is odd or `factors` has another length than the pairs.
    pub fn new(
        dimensions: usize,
        base: f32,
        linear_scale: f32,
        factors: Option<&[f32]>,
    ) -> std::result::Result<Self, KernelError> {
        if !dimensions.is_multiple_of(2) {
            return Err(KernelError::OutOfRange {
                operation: "rope_frequencies",
                argument: "dimensions",
                index: 0,
                value: dimensions as u64,
                expected: "even".to_string(),
            });
        }
        let pairs = dimensions / 2;
        if let Some(factors) = factors
            && factors.len() != pairs
        {
            return Err(KernelError::Length {
                operation: "rope_frequencies",
                argument: "factors",
                expected: pairs,
                actual: factors.len(),
            });
        }
        let per_pair = (0..pairs)
            .map(|pair| {
                let frequency = f64::from(base).powf(-2.0 * pair as f64 / dimensions as f64);
                frequency / factors.map_or(1.0, |factors| f64::from(factors[pair])) / f64::from(linear_scale)
            })
            .collect();
        Ok(Self {
            per_pair,
            #[cfg(feature = "cuda")]
            on_card: None,
        })
    }

    /// Radians per position of each pair.
    #[must_use]
    pub fn per_pair(&self) -> &[f64] {
        &self.per_pair
    }

    /// The same frequencies for the layers of a device.
    ///
    /// # Errors
    /// When the device has no memory for them.
    pub fn on(&self, device: &Device) -> std::result::Result<Self, KernelError> {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(_) => {
                let on_card = Some(Tensor::from_slice(&self.per_pair, self.per_pair.len(), device)?);
                Ok(Self { on_card, ..self.clone() })
            }
            _ => Ok(self.clone()),
        }
    }

    /// Sines and cosines for the rows of a step, on the device of these frequencies; every layer there uses the same.
    ///
    /// # Errors
    /// When the batch was not brought to the device, or what the device reports.
    pub fn table(&self, batch: &PagedBatch) -> std::result::Result<RopeTable, KernelError> {
        let (rows, pairs) = (batch.rows(), self.per_pair.len());
        #[cfg(feature = "cuda")]
        if let Some(frequencies) = &self.on_card {
            let (cosines, sines) = crate::cuda::operations::rope_table(frequencies, batch, frequencies.device())?;
            return Ok(RopeTable { angles: Angles::Card { cosines, sines }, pairs, rows });
        }
        let mut cosines = Vec::with_capacity(rows * pairs);
        let mut sines = Vec::with_capacity(rows * pairs);
        for &position in batch.positions() {
            for frequency in &self.per_pair {
                let (sine, cosine) = (f64::from(position) * frequency).sin_cos();
                cosines.push(cosine as f32);
                sines.push(sine as f32);
            }
        }
        Ok(RopeTable { angles: Angles::Host(HostAngles { cosines, sines, pairs }), pairs, rows })
    }
}

/// Sines and cosines of each row and pair, `[rows, pairs]`.
#[derive(Debug, Clone)]
pub struct RopeTable {
    angles: Angles,
    pairs: usize,
    rows: usize,
}

/// Where the numbers are.
#[derive(Debug, Clone)]
enum Angles {
    Host(HostAngles),
    #[cfg(feature = "cuda")]
    Card {
        cosines: Tensor,
        sines: Tensor,
    },
}

#[derive(Debug, Clone)]
struct HostAngles {
    cosines: Vec<f32>,
    sines: Vec<f32>,
    pairs: usize,
}

impl HostAngles {
    /// Turns the pairs `(2i, 2i + 1)` of one head in place; dimensions behind the last pair stay.
    fn rotate(&self, row: usize, head: &mut [f32]) {
        let cosines = &self.cosines[row * self.pairs..(row + 1) * self.pairs];
        let sines = &self.sines[row * self.pairs..(row + 1) * self.pairs];
        for ((pair, cosine), sine) in head.chunks_exact_mut(2).zip(cosines).zip(sines) {
            let (even, odd) = (pair[0], pair[1]);
            pair[0] = multiply_add(even, *cosine, -(odd * sine));
            pair[1] = multiply_add(even, *sine, odd * cosine);
        }
    }
}

/// Rotates `query [rows, heads * head_dim]` and `key [rows, kv_heads * head_dim]`, and writes the rotated key and `value` to
/// the batch's slots of the caches `[num_blocks, block_size, kv_heads, head_dim]` (F32, F16 or BF16). Returns the rotated query.
///
/// Pairs are neighbours `(2i, 2i + 1)`, the order in which GGUF stores Llama's projections.
///
/// # Errors
/// When shapes or element types do not fit each other or the batch.
pub fn rope_kv_write(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    table: &RopeTable,
    batch: &PagedBatch,
    key_cache: &Tensor,
    value_cache: &Tensor,
) -> std::result::Result<Tensor, KernelError> {
    let rows = batch.rows();
    let [num_blocks, block_size, kv_heads, head_dim] = *key_cache.dims() else {
        return Err(KernelError::Shape {
            operation: OPERATION,
            argument: "key_cache",
            expected: "[num_blocks, block_size, kv_heads, head_dim]".to_string(),
            actual: key_cache.dims().to_vec(),
        });
    };
    expect_shape(key_cache, &[batch.num_blocks, batch.block_size, kv_heads, head_dim], OPERATION, "key_cache")?;
    expect_shape(value_cache, &[num_blocks, block_size, kv_heads, head_dim], OPERATION, "value_cache")?;
    expect_shape(key, &[rows, kv_heads * head_dim], OPERATION, "key")?;
    expect_shape(value, &[rows, kv_heads * head_dim], OPERATION, "value")?;
    if table.rows != rows || table.pairs * 2 > head_dim {
        return Err(KernelError::Shape {
            operation: OPERATION,
            argument: "table",
            expected: format!("[{rows}, at most {}]", head_dim / 2),
            actual: vec![table.rows, table.pairs],
        });
    }
    if query.dims().len() != 2 || query.dims()[0] != rows || !query.dims()[1].is_multiple_of(head_dim.max(1)) {
        return Err(KernelError::Shape {
            operation: OPERATION,
            argument: "query",
            expected: format!("[{rows}, heads * {head_dim}]"),
            actual: query.dims().to_vec(),
        });
    }
    match (query.device(), &table.angles) {
        (Device::Cpu, Angles::Host(angles)) => cpu(query, key, value, angles, batch, [key_cache, value_cache]),
        #[cfg(feature = "cuda")]
        (Device::Cuda(_), Angles::Card { cosines, sines }) => {
            let rotation =
                crate::cuda::operations::Rotation { query, key, value, cosines, sines, key_cache, value_cache };
            crate::cuda::operations::rope_kv_write(&rotation, batch, table.pairs)
        }
        _ => Err(KernelError::Device { operation: OPERATION, argument: "query" }),
    }
}

fn cpu(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    angles: &HostAngles,
    batch: &PagedBatch,
    [key_cache, value_cache]: [&Tensor; 2],
) -> Result<Tensor> {
    let (kv_heads, head_dim) = (key_cache.dims()[2], key_cache.dims()[3]);
    let rotated_query = rotated(query, angles, head_dim, "query")?;
    let rotated_key = rotated(key, angles, head_dim, "key")?;
    let width = kv_heads * head_dim;
    let (value_storage, value_layout) = value.storage_and_layout();
    let values = f32_values(&value_storage, value_layout, OPERATION, "value")?;
    key_cache.inplace_op1(&WriteSlots { rows: &rotated_key, slots: &batch.slots, width })?;
    value_cache.inplace_op1(&WriteSlots { rows: values, slots: &batch.slots, width })?;
    Ok(Tensor::from_vec(rotated_query, query.shape(), query.device())?)
}

fn rotated(rows: &Tensor, angles: &HostAngles, head_dim: usize, argument: &'static str) -> Result<Vec<f32>> {
    let width = rows.dims()[1];
    let (storage, layout) = rows.storage_and_layout();
    let mut values = f32_values(&storage, layout, OPERATION, argument)?.to_vec();
    for (row, heads) in values.chunks_exact_mut(width.max(1)).enumerate() {
        for head in heads.chunks_exact_mut(head_dim.max(1)) {
            angles.rotate(row, head);
        }
    }
    Ok(values)
}

/// Writes rows of `width` floats to slots, converting to the cache's type.
struct WriteSlots<'a> {
    rows: &'a [f32],
    slots: &'a [u32],
    width: usize,
}

impl WriteSlots<'_> {
    fn run<T>(&self, cache: &mut [T], convert: impl Fn(&[f32], &mut [T])) {
        for (row, &slot) in self.rows.chunks_exact(self.width.max(1)).zip(self.slots) {
            let start = slot as usize * self.width;
            convert(row, &mut cache[start..start + self.width]);
        }
    }
}

impl InplaceOp1 for WriteSlots<'_> {
    fn name(&self) -> &'static str {
        OPERATION
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        use half::slice::HalfFloatSliceExt;
        let range = contiguous_range(layout, OPERATION, "cache").map_err(candle_core::Error::wrap)?;
        match storage {
            CpuStorage::F32(cache) => self.run(&mut cache[range], |row, place| place.copy_from_slice(row)),
            CpuStorage::F16(cache) => {
                self.run(&mut cache[range], |row, place: &mut [f16]| place.convert_from_f32_slice(row));
            }
            CpuStorage::BF16(cache) => {
                self.run(&mut cache[range], |row, place: &mut [bf16]| place.convert_from_f32_slice(row));
            }
            other => {
                let error = element_type(OPERATION, "cache", "f32, f16 or bf16", other);
                return Err(candle_core::Error::wrap(error));
            }
        }
        Ok(())
    }
}
