//! Whole blocks out of a cache and back into it: what a tier of host memory moves.

use candle_core::{CpuStorage, Device, InplaceOp2, Layout, Tensor};

use crate::error::{KernelError, Result};
use crate::indices::Indices;
use crate::storage::{contiguous_range, element_type, expect_shape};

const OPERATION: &str = "block_swap";

/// The listed blocks of a cache `[num_blocks, block_size, heads, head_dim]` as a tensor of their own, `[blocks, …]`.
///
/// # Errors
/// When a block does not exist, or what the device reports.
pub fn gather_blocks(cache: &Tensor, blocks: &Indices<'_>) -> std::result::Result<Tensor, KernelError> {
    let shape = check(cache, blocks)?;
    match cache.device() {
        Device::Cpu => {
            let gathered = Tensor::zeros(&shape, cache.dtype(), cache.device())?;
            copy_all(&gathered, cache, blocks.values, Direction::Gather)?;
            Ok(gathered)
        }
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => crate::cuda::operations::gather_blocks(cache, blocks, shape),
        _ => Err(KernelError::Device { operation: OPERATION, argument: "cache" }),
    }
}

/// Writes blocks `[blocks, block_size, heads, head_dim]` to the listed places of a cache; none is listed twice.
///
/// # Errors
/// When a block does not exist or is listed twice, the shapes differ, or what the device reports.
pub fn scatter_blocks(cache: &Tensor, blocks: &Indices<'_>, from: &Tensor) -> std::result::Result<(), KernelError> {
    let shape = check(cache, blocks)?;
    expect_shape(from, &shape, OPERATION, "from")?;
    if from.dtype() != cache.dtype() {
        return Err(KernelError::ElementType {
            operation: OPERATION,
            argument: "from",
            expected: cache.dtype().as_str(),
            actual: from.dtype().as_str().to_string(),
        });
    }
    let mut sorted = blocks.values.to_vec();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        let (value, expected) = (u64::from(pair[0]), "listed once".to_string());
        return Err(KernelError::OutOfRange { operation: OPERATION, argument: "blocks", index: 0, value, expected });
    }
    match cache.device() {
        Device::Cpu => copy_all(cache, from, blocks.values, Direction::Scatter),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => crate::cuda::operations::scatter_blocks(cache, blocks, from),
        _ => Err(KernelError::Device { operation: OPERATION, argument: "cache" }),
    }
}

/// The shape of the listed blocks, all of which exist.
fn check(cache: &Tensor, blocks: &Indices<'_>) -> Result<[usize; 4]> {
    let [num_blocks, block_size, heads, head_dim] = *cache.dims() else {
        return Err(KernelError::Shape {
            operation: OPERATION,
            argument: "cache",
            expected: "[num_blocks, block_size, heads, head_dim]".to_string(),
            actual: cache.dims().to_vec(),
        });
    };
    match blocks.values.iter().enumerate().find(|(_, block)| **block as usize >= num_blocks) {
        None => Ok([blocks.len(), block_size, heads, head_dim]),
        Some((index, &block)) => Err(KernelError::OutOfRange {
            operation: OPERATION,
            argument: "blocks",
            index,
            value: u64::from(block),
            expected: format!("below {num_blocks}"),
        }),
    }
}

#[derive(Debug, Clone, Copy)]
enum Direction {
    Gather,
    Scatter,
}

fn copy_all(to: &Tensor, from: &Tensor, blocks: &[u32], direction: Direction) -> Result<()> {
    let block = from.dims()[1..].iter().product();
    Ok(to.inplace_op2(from, &CopyAll { blocks, block, direction })?)
}

struct CopyAll<'a> {
    blocks: &'a [u32],
    /// Elements of one block.
    block: usize,
    direction: Direction,
}

impl CopyAll<'_> {
    fn run<T: Copy>(&self, to: &mut [T], from: &[T]) {
        for (index, &block) in self.blocks.iter().enumerate() {
            let (source, destination) = match self.direction {
                Direction::Gather => (block as usize, index),
                Direction::Scatter => (index, block as usize),
            };
            let place = &mut to[destination * self.block..][..self.block];
            place.copy_from_slice(&from[source * self.block..][..self.block]);
        }
    }
}

impl InplaceOp2 for CopyAll<'_> {
    fn name(&self) -> &'static str {
        OPERATION
    }

    fn cpu_fwd(
        &self,
        to: &mut CpuStorage,
        to_layout: &Layout,
        from: &CpuStorage,
        from_layout: &Layout,
    ) -> candle_core::Result<()> {
        let range = |layout, argument| contiguous_range(layout, OPERATION, argument).map_err(candle_core::Error::wrap);
        let (places, sources) = (range(to_layout, "to")?, range(from_layout, "from")?);
        match (to, from) {
            (CpuStorage::F32(to), CpuStorage::F32(from)) => self.run(&mut to[places], &from[sources]),
            (CpuStorage::F16(to), CpuStorage::F16(from)) => self.run(&mut to[places], &from[sources]),
            (CpuStorage::BF16(to), CpuStorage::BF16(from)) => self.run(&mut to[places], &from[sources]),
            (CpuStorage::U8(to), CpuStorage::U8(from)) => self.run(&mut to[places], &from[sources]),
            (_, other) => {
                let error = element_type(OPERATION, "from", "f32, f16, bf16 or u8, both the same", other);
                return Err(candle_core::Error::wrap(error));
            }
        }
        Ok(())
    }
}
