//! Compute kernels behind safe functions, each with a scalar reference.
//!
//! Invariants: every function checks shapes, types and indices before it computes; a row's result is bitwise the same
//! whatever other rows stand beside it; nothing here knows a model, a scheduler or a file. Activations are F32.
//! A second device goes behind the very same functions: each dispatches on the device of its tensors.

mod aligned;
mod attention;
mod batch;
mod block_copy;
mod block_swap;
mod cached;
pub mod ceilings;
pub mod checks;
#[cfg(feature = "cuda")]
pub mod cuda;
mod embedding;
mod error;
mod float_matmul;
mod indices;
mod kinship;
pub mod launch;
mod math;
mod packed;
mod parallel;
mod placed;
mod pool;
mod quant_matmul;
pub mod reference;
mod rms_norm;
mod rope;
mod select_rows;
mod silu;
mod simd;
mod storage;
mod transfer;
mod weight;

pub use attention::paged_attention;
pub use batch::{PagedBatch, PagedBatchParts};
pub use block_copy::{BlockCopy, block_copy};
pub use block_swap::{gather_blocks, scatter_blocks};
pub use cached::q8_head_bytes;
pub use embedding::embedding;
pub use error::KernelError;
pub use indices::Indices;
pub use placed::PlacedStep;
pub use pool::set_threads;
pub use quant_matmul::{gated_matmul, quant_matmul, quant_matmul_each};
pub use rms_norm::{Normed, rms_norm};
pub use rope::{HeadNorms, Projections, QueryGrowth, RopeFrequencies, RopePairs, RopeTable, rope_kv_write};
pub use select_rows::select_rows;
pub use silu::silu_mul;
pub use transfer::{into_values, to_device};
pub use weight::{Weight, WeightType, packed_extra_bytes, quantize_to_bytes};
