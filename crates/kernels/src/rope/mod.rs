//! What happens to a layer's projections before attention: bias, normalization of heads, rotary position embedding, and the
//! write of keys and values to their cache slots. The arithmetic is in the files beside.

mod cpu;
mod table;

use candle_core::{Device, Tensor};

use crate::batch::PagedBatch;
use crate::error::{KernelError, Result};
use crate::storage::{cache_heads, expect_shape};

use table::Angles;
pub use table::{QueryGrowth, RopeFrequencies, RopePairs, RopeTable};

const OPERATION: &str = "rope_kv_write";

/// What a layer's products give for the rows of a step, and what is done to it before the rotation: first the bias is added,
/// then each head of query and key is normalized.
#[derive(Debug, Clone)]
pub struct Projections<'a> {
    /// `[rows, heads * head_dim]`, in the type of activations.
    pub query: &'a Tensor,
    /// `[rows, kv_heads * head_dim]`, of the same type.
    pub key: &'a Tensor,
    /// `[rows, kv_heads * head_dim]`, of the same type.
    pub value: &'a Tensor,
    /// What is added to each row of query, key and value: F32, as long as a row.
    pub biases: Option<[&'a Tensor; 3]>,
    /// How heads of query and key are normalized.
    pub norms: Option<HeadNorms<'a>>,
}

/// Scales each head to a root mean square of one and multiplies it by a weight, as [`rms_norm`](crate::rms_norm()) does with rows.
#[derive(Debug, Clone)]
pub struct HeadNorms<'a> {
    /// F32 `[head_dim]`, the same for every head of the query.
    pub query: &'a Tensor,
    /// F32 `[head_dim]`, the same for every head of the key.
    pub key: &'a Tensor,
    /// Added to the mean of the squares.
    pub epsilon: f32,
}

/// Adds biases, normalizes heads and rotates them (see [`Projections`]), and writes the rotated key and the value to the batch's
/// slots of the caches `[num_blocks, block_size, kv_heads, head_dim]` (F32, F16 or BF16; on the CPU also blocks of bytes,
/// [`crate::q8_head_bytes`] for each head). Returns the rotated query.
///
/// Where queries grow with their position, the rotated ones are multiplied by what [`QueryGrowth::at`] gives.
///
/// Nothing is rounded to the type of activations or of the cache before the end.
///
/// # Errors
/// When shapes or element types do not fit each other or the batch.
pub fn rope_kv_write(
    projections: &Projections<'_>,
    table: &RopeTable,
    batch: &PagedBatch,
    key_cache: &Tensor,
    value_cache: &Tensor,
) -> std::result::Result<Tensor, KernelError> {
    let [kv_heads, head_dim] = cache_heads([key_cache, value_cache], batch, OPERATION)?;
    let rows = batch.rows();
    if table.rows != rows || table.pairs * 2 > head_dim {
        return Err(KernelError::Shape {
            operation: OPERATION,
            argument: "table",
            expected: format!("[{rows}, at most {}]", head_dim / 2),
            actual: vec![table.rows, table.pairs],
        });
    }
    projections.check(rows, kv_heads, head_dim)?;
    match (projections.query.device(), &table.angles) {
        (Device::Cpu, Angles::Host(angles)) => cpu::rope_kv_write(
            projections,
            (angles, table.growth),
            batch,
            [key_cache, value_cache],
            [kv_heads, head_dim],
        ),
        #[cfg(feature = "cuda")]
        (Device::Cuda(_), Angles::Card { cosines, sines, order }) => {
            let rotation = crate::cuda::operations::Rotation {
                cosines,
                sines,
                pairs: table.pairs,
                order: *order,
                growth: table.growth,
                key_cache,
                value_cache,
            };
            crate::cuda::operations::rope_kv_write(projections, &rotation, batch)
        }
        _ => Err(KernelError::Device { operation: OPERATION, argument: "query" }),
    }
}

impl Projections<'_> {
    /// Checks every shape.
    fn check(&self, rows: usize, kv_heads: usize, head_dim: usize) -> Result<()> {
        let width = kv_heads * head_dim;
        expect_shape(self.key, &[rows, width], OPERATION, "key")?;
        expect_shape(self.value, &[rows, width], OPERATION, "value")?;
        let query_width = match *self.query.dims() {
            [count, columns] if count == rows && columns.is_multiple_of(head_dim.max(1)) => columns,
            _ => {
                return Err(KernelError::Shape {
                    operation: OPERATION,
                    argument: "query",
                    expected: format!("[{rows}, heads * {head_dim}]"),
                    actual: self.query.dims().to_vec(),
                });
            }
        };
        if let Some([query, key, value]) = self.biases {
            expect_shape(query, &[query_width], OPERATION, "biases.query")?;
            expect_shape(key, &[width], OPERATION, "biases.key")?;
            expect_shape(value, &[width], OPERATION, "biases.value")?;
        }
        if let Some(norms) = &self.norms {
            expect_shape(norms.query, &[head_dim], OPERATION, "norms.query")?;
            expect_shape(norms.key, &[head_dim], OPERATION, "norms.key")?;
        }
        Ok(())
    }
}
