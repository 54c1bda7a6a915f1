//! The input of one forward: rows of mixed sequences and where their keys lie. Checked whole before anything is computed.

use sconce_kernels::{KernelError, PagedBatch, PagedBatchParts};

use crate::config::LlamaConfig;
use crate::error::ModelError;
use crate::kv_cache::KvCache;

/// Rows of several sequences, one after another; each sequence brings the next rows that it has not computed yet.
///
/// ```text
/// input_ids      | a b c | x | p q |     three sequences: a chunk, one decoded token, a chunk
/// positions      | 0 1 2 | 9 | 4 5 |
/// cu_seqlens_q     0       3   4     6
/// seq_lens_k       3       10  6         keys that the last row sees, its own included
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardBatch {
    /// Token of each row.
    pub input_ids: Vec<u32>,
    /// Absolute position of each row in its sequence.
    pub positions: Vec<u32>,
    /// Where each row's key and value go: `block * block_size + offset`.
    pub slot_mapping: Vec<u32>,
    /// First row of each sequence, and the number of rows at the end: sequences + 1 entries.
    pub cu_seqlens_q: Vec<u32>,
    /// Keys visible to the last row of each sequence, its own included.
    pub seq_lens_k: Vec<u32>,
    /// Block tables of the sequences, one after another.
    pub block_tables: Vec<u32>,
    /// First entry of each sequence's block table, and their number at the end: sequences + 1 entries.
    pub cu_blocks: Vec<u32>,
    /// Rows whose logits are wanted, in the order in which they are given back.
    pub logits_rows: Vec<u32>,
}

impl ForwardBatch {
    /// Checks every array against the others, the model and the cache.
    ///
    /// # Errors
    /// Names the array and the entry that is wrong.
    pub(crate) fn check(&self, config: &LlamaConfig, cache: &KvCache) -> Result<PagedBatch, ModelError> {
        if self.positions.len() != self.input_ids.len() {
            return Err(ModelError::BatchLength {
                field: "positions",
                expected: self.input_ids.len(),
                actual: self.positions.len(),
            });
        }
        below("input_ids", &self.input_ids, config.vocab_size, "the vocabulary's size")?;
        below("positions", &self.positions, config.context_length, "the context length")?;
        below("logits_rows", &self.logits_rows, self.input_ids.len(), "the number of rows")?;
        let parts = PagedBatchParts {
            positions: &self.positions,
            slot_mapping: &self.slot_mapping,
            cu_seqlens_q: &self.cu_seqlens_q,
            seq_lens_k: &self.seq_lens_k,
            block_tables: &self.block_tables,
            cu_blocks: &self.cu_blocks,
        };
        PagedBatch::new(parts, cache.physical_blocks(), cache.block_size()).map_err(|error| match error {
            KernelError::Length { argument, expected, actual, .. } => {
                ModelError::BatchLength { field: argument, expected, actual }
            }
            KernelError::OutOfRange { argument, index, value, expected, .. } => {
                // The arrays hold 32-bit numbers, so the value does too.
                ModelError::Batch { field: argument, index, value: value as u32, expected }
            }
            other => ModelError::Kernel(other),
        })
    }
}

fn below(field: &'static str, values: &[u32], limit: usize, meaning: &str) -> Result<(), ModelError> {
    match values.iter().enumerate().find(|(_, value)| **value as usize >= limit) {
        None => Ok(()),
        Some((index, &value)) => {
            Err(ModelError::Batch { field, index, value, expected: format!("below {limit}, {meaning}") })
        }
    }
}
