//! Builds forward batches for tests from sequences that know their tokens and their blocks.

use sconce_model::{ForwardBatch, KvCache, Llama, Logits};

/// A sequence under test: all of its tokens, its block table, and how many tokens are computed.
#[derive(Debug, Clone)]
pub(crate) struct Sequence {
    pub(crate) tokens: Vec<u32>,
    pub(crate) blocks: Vec<u32>,
    pub(crate) computed: usize,
}

impl Sequence {
    pub(crate) fn new(tokens: &[u32], blocks: &[u32]) -> Self {
        Self { tokens: tokens.to_vec(), blocks: blocks.to_vec(), computed: 0 }
    }
}

/// Adds the next `count` tokens of a sequence to the batch and asks for the logits of all of them.
pub(crate) fn push(batch: &mut ForwardBatch, sequence: &mut Sequence, count: usize, block_size: usize) {
    if batch.cu_seqlens_q.is_empty() {
        batch.cu_seqlens_q.push(0);
        batch.cu_blocks.push(0);
    }
    for position in sequence.computed..sequence.computed + count {
        batch.logits_rows.push(batch.input_ids.len() as u32);
        batch.input_ids.push(sequence.tokens[position]);
        batch.positions.push(position as u32);
        let block = sequence.blocks[position / block_size];
        batch.slot_mapping.push(block * block_size as u32 + (position % block_size) as u32);
    }
    sequence.computed += count;
    batch.cu_seqlens_q.push(batch.input_ids.len() as u32);
    batch.seq_lens_k.push(sequence.computed as u32);
    let used = sequence.computed.div_ceil(block_size);
    batch.block_tables.extend_from_slice(&sequence.blocks[..used]);
    batch.cu_blocks.push(batch.block_tables.len() as u32);
}

/// Computes the next `count` tokens of one sequence alone.
pub(crate) fn advance(model: &Llama, cache: &mut KvCache, sequence: &mut Sequence, count: usize) -> Logits {
    let mut batch = ForwardBatch::default();
    push(&mut batch, sequence, count, cache.block_size());
    model.forward(&batch, cache).expect("a valid batch")
}

/// The token with the highest logit; the first of equals.
pub(crate) fn greedy(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best as u32
}
