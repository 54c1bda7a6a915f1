//! Copies of cache blocks: the tail of a fork, or the matching part of a block that is shared no further.

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Tensor};

use crate::error::{KernelError, Result};
use crate::storage::contiguous_range;

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

/// Runs `copies` in order on a cache tensor `[num_blocks, block_size, heads, head_dim]`.
///
/// # Errors
/// When a block does not exist or `slots` is larger than a block; nothing is copied then.
pub fn block_copy(cache: &Tensor, copies: &[BlockCopy]) -> std::result::Result<(), KernelError> {
    let [num_blocks, block_size, heads, head_dim] = *cache.dims() else {
        return Err(KernelError::Shape {
            operation: OPERATION,
            argument: "cache",
            expected: "[num_blocks, block_size, heads, head_dim]".to_string(),
            actual: cache.dims().to_vec(),
        });
    };
    for (index, copy) in copies.iter().enumerate() {
        check("copies.src", index, copy.src, num_blocks.saturating_sub(1))?;
        check("copies.dst", index, copy.dst, num_blocks.saturating_sub(1))?;
        check("copies.slots", index, copy.slots, block_size)?;
    }
    if num_blocks == 0 || copies.is_empty() {
        return Ok(());
    }
    match cache.device() {
        Device::Cpu => {
            let (slot, block) = (heads * head_dim, block_size * heads * head_dim);
            Ok(cache.inplace_op1(&CopyBlocks { copies, slot, block })?)
        }
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => crate::cuda::operations::block_copy(cache, copies),
        _ => Err(KernelError::Device { operation: OPERATION, argument: "cache" }),
    }
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
            other => {
                return Err(candle_core::Error::wrap(crate::storage::element_type(
                    OPERATION,
                    "cache",
                    "f32, f16 or bf16",
                    other,
                )));
            }
        }
        Ok(())
    }
}
