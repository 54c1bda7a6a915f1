//! What the largest step takes in F32 on the host, and how many KV blocks fit beside it.

use sconce_model::{KvCache, LlamaConfig};

use crate::config::{EngineConfig, EngineError};

/// The process without a model: code, threads' stacks, the document store, buffers of connections.
const PROCESS_BYTES: usize = 64 << 20;

/// Bytes that the tables of a tokenizer take for each token of the vocabulary: texts, lookups and merges.
const TOKEN_TABLE_BYTES: usize = 512;

/// What the sampler keeps for each token of the vocabulary and sequence: logits, their copy and the candidates in order.
const SAMPLED_TOKEN_BYTES: usize = 4 + 4 + 16;

/// What the largest step takes, and the process with it. Everything that lives at any time in a layer is counted as if it lived
/// at once.
pub(super) fn step_bytes(model: &LlamaConfig, config: &EngineConfig) -> usize {
    let sequences = config.max_num_seqs;
    let rows = config.max_num_batched_tokens.max(sequences);
    let (width, inner) = (model.embedding_length, model.feed_forward_length);
    let (query, kv) = (model.query_width(), model.kv_width());
    let widest = width.max(inner).max(query);
    // Residuals before and after a norm, their update and the normed rows; queries before and after rotation and attention's
    // rows; gate, up and their product, of which packed weights make the last one only; a product's input as bytes, with up to two
    // words for each 16 of them and one for each block of 256.
    let rounded = (widest + widest / 16 * 8 + widest.div_ceil(256) * 4).div_ceil(4);
    let numbers = 4 * width + 3 * query + 2 * kv + model.rope.dimensions + 3 * inner + rounded;
    let logits = sequences.saturating_mul(model.vocab_size).saturating_mul(SAMPLED_TOKEN_BYTES);
    let tables = model.vocab_size.saturating_mul(TOKEN_TABLE_BYTES);
    [rows.saturating_mul(numbers).saturating_mul(4), logits, tables]
        .into_iter()
        .fold(PROCESS_BYTES, usize::saturating_add)
}

/// Blocks of the cache: `wanted`, or fewer when only its default size does not fit.
pub(super) fn num_blocks(
    config: &EngineConfig,
    model: &LlamaConfig,
    weights: usize,
    available: Option<usize>,
    wanted: usize,
) -> Result<usize, EngineError> {
    let Some(available) = available else { return Ok(wanted) };
    let step = step_bytes(model, config);
    let block_bytes = KvCache::block_bytes(model, config.block_size, config.kv_cache_dtype).max(1);
    let left = available.saturating_sub(weights).saturating_sub(step);
    let most = left / block_bytes;
    // A default below one sequence of the context was always allowed: it is the bound of the default, not of the memory.
    let context_blocks = config.context_length(model).div_ceil(config.block_size.max(1));
    let least = if config.kv_memory_bytes.is_some() { wanted } else { wanted.min(context_blocks) };
    if most < least {
        let (tokens, wanted) = (most.saturating_mul(config.block_size), least.saturating_mul(config.block_size));
        return Err(EngineError::HostMemory { available, weights, step, left, tokens, wanted });
    }
    Ok(wanted.min(most))
}
