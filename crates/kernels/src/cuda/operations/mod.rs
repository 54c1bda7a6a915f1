//! The operations on a card: tensors to addresses, a launch each. Shapes were checked by the public functions that call these.

mod attention;
mod cache;
mod rope;
mod rows;

pub(crate) use attention::paged_attention;
pub(crate) use cache::{block_copy, gather_blocks, scatter_blocks};
pub(crate) use rope::{Rotation, rope_kv_write, rope_table};
pub(crate) use rows::{embedding, rms_norm, select_rows, silu_mul};
