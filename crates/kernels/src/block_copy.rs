//! Copies of cache blocks: the tail of a fork, or the matching part of a block that is shared no further.

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Tensor};

use crate::error::{KernelError, Result};
use crate::storage::{contiguous_range, expect_shape};

const OPERATION: &str = "block_copy";

/// The first `slots` slots of block `src` go to block `dst`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockCopy {
    /// The block that is read.
    pub src: u32,
    /// The block that is written.
    pub dst: u32,
    /// How many slots, counted from the block's first.
    pub slots: u32,
}

/// Runs `copies` in order on each of some cache tensors `[num_blocks, block_size, heads, head_dim]` of one shape.
///
/// # Errors
/// When the shapes differ, a block does not exist or `slots` is larger than a block; nothing is copied then.
pub fn block_copy(caches: &[&Tensor], copies: &[BlockCopy]) -> std::result::Result<(), KernelError> {
    let Some(first) = caches.first() else { return Ok(()) };
    let [num_blocks, block_size, heads, head_dim] = *first.dims() else {
        return Err(KernelError::Shape {
            operation: OPERATION,
            argument: "caches",
            expected: "[num_blocks, block_size, heads, head_dim]".to_string(),
            actual: first.dims().to_vec(),
        });
    };
    for cache in caches {
        expect_shape(cache, first.dims(), OPERATION, "caches")?;
    }
    for (index, copy) in copies.iter().enumerate() {
        check("copies.src", index, copy.src, num_blocks.saturating_sub(1))?;
        check("copies.dst", index, copy.dst, num_blocks.saturating_sub(1))?;
        check("copies.slots", index, copy.slots, block_size)?;
    }
    if num_blocks == 0 || copies.is_empty() {
        return Ok(());
    }
    // Those of one device side by side share what must be brought there.
    for caches in caches.chunk_by(|left, right| left.device().same_device(right.device())) {
        match caches[0].device() {
            Device::Cpu => {
                let (slot, block) = (heads * head_dim, block_size * heads * head_dim);
                for cache in caches {
                    cache.inplace_op1(&CopyBlocks { copies, slot, block })?;
                }
            }
            #[cfg(feature = "cuda")]
            Device::Cuda(_) => crate::cuda::operations::block_copy(caches, copies)?,
            _ => return Err(KernelError::Device { operation: OPERATION, argument: "caches" }),
        }
    }
    Ok(())
}

fn check(argument: &'static str, index: usize, value: u32, most: usize) -> Result<()> {
    if value as usize <= most {
        return Ok(());
    }
    Err(KernelError::OutOfRange {
        operation: OPERATION,
        argument,
        index,
        value: u64::from(value),
        expected: format!("at most {most}"),
    })
}

struct CopyBlocks<'a> {
    copies: &'a [BlockCopy],
    /// Elements of one slot.
    slot: usize,
    /// Elements of one block.
    block: usize,
}

impl CopyBlocks<'_> {
    fn run<T: Copy>(&self, values: &mut [T]) {
        for copy in self.copies {
            let start = copy.src as usize * self.block;
            values.copy_within(start..start + copy.slots as usize * self.slot, copy.dst as usize * self.block);
        }
    }
}

impl InplaceOp1 for CopyBlocks<'_> {
    fn name(&self) -> &'static str {
        OPERATION
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let range = contiguous_range(layout, OPERATION, "cache").map_err(candle_core::Error::wrap)?;
        match storage {
            CpuStorage::F32(values) => self.run(&mut values[range]),
            CpuStorage::F16(values) => self.run(&mut values[range]),
            CpuStorage::BF16(values) => self.run(&mut values[range]),
            CpuStorage::U8(values) => self.run(&mut values[range]),
            other => {
                return Err(candle_core::Error::wrap(crate::storage::element_type(
                    OPERATION,
                    "cache",
                    "f32, f16, bf16 or u8",
                    other,
                )));
            }
        }
        Ok(())
    }
}
