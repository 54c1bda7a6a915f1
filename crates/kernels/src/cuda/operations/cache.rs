//! Copies between blocks of a cache on a card.

use candle_core::{Tensor, cuda_backend::cudarc::driver::DevicePtr};

use crate::block_copy::BlockCopy;
use crate::cuda::fault::driver_error;
use crate::cuda::run::run;
use crate::cuda::tensor::{address, card};
use crate::error::Result;
use crate::launch::{BlockCopies, DevicePointer};

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
