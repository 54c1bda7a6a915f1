//! Copies between blocks of a cache on a card, and of blocks out of it and back.

use candle_core::{Tensor, cuda_backend::cudarc::driver::DevicePtr};

use super::rows::not_placed;
use crate::block_copy::BlockCopy;
use crate::cuda::fault::driver_error;
use crate::cuda::run::run;
use crate::cuda::tensor::{address, card, unwritten};
use crate::error::Result;
use crate::indices::Indices;
use crate::launch::{BlockCopies, DevicePointer, RowDirection, SelectRows};

/// Runs copies in order on each of some caches of one card and one shape; blocks and slots were checked.
pub(crate) fn block_copy(caches: &[&Tensor], copies: &[BlockCopy]) -> Result<()> {
    const OPERATION: &str = "block_copy";
    let plan = BlockCopies::new(copies);
    if plan.words().is_empty() || caches.is_empty() {
        return Ok(());
    }
    let card = card(caches[0].device(), OPERATION, "caches")?;
    let stream = card.cuda_stream();
    // Alive until everything is launched.
    let list = stream.clone_htod(plan.words()).map_err(|error| driver_error(error, OPERATION))?;
    let words = DevicePointer(list.device_ptr(&stream).0);
    for cache in caches {
        let slot_bytes = cache.dims()[2] * cache.dims()[3] * cache.dtype().size_in_bytes();
        let start = address(cache, cache.dtype(), OPERATION, "caches")?;
        for launch in plan.launches(start, words, slot_bytes, cache.dims()[1] * slot_bytes) {
            // SAFETY: every block and slot of the copies was checked to lie in the cache; the list is freed in the stream's order.
            #[allow(unsafe_code)]
            unsafe { run(card, &launch) }?;
        }
    }
    Ok(())
}

/// The listed blocks as a tensor of their own.
pub(crate) fn gather_blocks(cache: &Tensor, blocks: &Indices<'_>, shape: [usize; 4]) -> Result<Tensor> {
    let gathered = unwritten(shape.as_slice(), cache.dtype(), cache.device())?;
    swap(RowDirection::Gather, cache, &gathered, blocks)?;
    Ok(gathered)
}

/// Blocks to the listed places, none of which is listed twice.
pub(crate) fn scatter_blocks(cache: &Tensor, blocks: &Indices<'_>, from: &Tensor) -> Result<()> {
    swap(RowDirection::Scatter, from, cache, blocks)
}

fn swap(direction: RowDirection, source: &Tensor, destination: &Tensor, blocks: &Indices<'_>) -> Result<()> {
    const OPERATION: &str = "block_swap";
    let card = card(source.device(), OPERATION, "cache")?;
    let Some(on_card) = &blocks.on_card else { return Err(not_placed(OPERATION, "blocks")) };
    if blocks.is_empty() {
        return Ok(());
    }
    let dtype = source.dtype();
    let select = SelectRows {
        direction,
        count: blocks.len() as u32,
        row_bytes: source.dims()[1..].iter().product::<usize>() * dtype.size_in_bytes(),
        source: address(source, dtype, OPERATION, "source")?,
        destination: address(destination, dtype, OPERATION, "destination")?,
        rows: on_card.at(0),
    };
    // SAFETY: the list was checked to name blocks of the cache, and the other side has a block for each entry.
    #[allow(unsafe_code)]
    unsafe {
        run(card, &select.launch())
    }
}
