//! Paged attention on a card: the batch's plan, its workspace, and its grids one after another.

use candle_core::{DType, Tensor};

use super::rows::not_placed;
use crate::batch::PagedBatch;
use crate::cuda::run::run;
use crate::cuda::tensor::{address, card, element_type, unwritten};
use crate::error::{KernelError, Result};
use crate::launch::{AttentionPointers, AttentionShape};

const OPERATION: &str = "paged_attention";

/// Attention of a batch's rows over caches, each row over at most `window` keys; shapes were checked against each other and the batch.
pub(crate) fn paged_attention(
    query: &Tensor,
    key_cache: &Tensor,
    value_cache: &Tensor,
    batch: &PagedBatch,
    window: Option<usize>,
) -> Result<Tensor> {
    let card = card(query.device(), OPERATION, "query")?;
    let Some(on_card) = &batch.on_card else { return Err(not_placed(OPERATION, "batch")) };
    let (activation, cache) = (query.dtype(), key_cache.dtype());
    let (kv_heads, head_dim) = (key_cache.dims()[2], key_cache.dims()[3]);
    let shape = AttentionShape {
        heads: query.dims()[1] / head_dim,
        kv_heads,
        head_dim,
        block_size: batch.block_size,
        activation: element_type(activation, OPERATION, "query")?,
        cache: element_type(cache, OPERATION, "key_cache")?,
    };
    if on_card.plan.shape() != shape {
        return Err(KernelError::Shape {
            operation: OPERATION,
            argument: "query",
            expected: format!("that of the batch's plan, {:?}", on_card.plan.shape()),
            actual: query.dims().to_vec(),
        });
    }
    let output = unwritten(query.shape(), activation, query.device())?;
    let floats = |count: usize| unwritten(count.max(1), DType::F32, query.device());
    let (sums, stats) = (floats(on_card.plan.sums_floats())?, floats(on_card.plan.stats_floats())?);
    let word = |word: usize| on_card.words.at(word);
    let layout = &on_card.layout;
    let pointers = AttentionPointers {
        query: address(query, activation, OPERATION, "query")?,
        output: address(&output, activation, OPERATION, "output")?,
        key_cache: address(key_cache, cache, OPERATION, "key_cache")?,
        value_cache: address(value_cache, cache, OPERATION, "value_cache")?,
        cu_seqlens_q: word(layout.cu_seqlens_q),
        seq_lens_k: word(layout.seq_lens_k),
        cu_blocks: word(layout.cu_blocks),
        block_tables: word(layout.block_tables),
        decode: word(layout.decodes),
        tiles: word(layout.tiles),
        sums: address(&sums, DType::F32, OPERATION, "sums")?,
        stats: address(&stats, DType::F32, OPERATION, "stats")?,
    };
    for launch in on_card.plan.launches(&pointers, window) {
        // SAFETY: the plan was made for this batch and this shape, the caches have every block that the tables name, and the
        // workspace has the size that the plan tells.
        #[allow(unsafe_code)]
        unsafe { run(card, &launch) }?;
    }
    Ok(output)
}
