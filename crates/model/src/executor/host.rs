//! Steps on the CPU: computed as they are launched.

use super::{Step, StepOutcome};
use crate::batch::ForwardBatch;
use crate::error::ModelError;
use crate::kv_cache::KvCache;
use crate::llama::Llama;
use crate::part;

/// A model on the CPU.
#[derive(Debug)]
pub(super) struct HostExecutor {
    llama: Llama,
    cache: KvCache,
    /// The tokens that the last step drew; none where a draw failed.
    drawn: Vec<Option<u32>>,
    /// The batch with its pending tokens filled in; reused by each step.
    batch: ForwardBatch,
}

impl HostExecutor {
    pub(super) fn new(llama: Llama, cache: KvCache) -> Self {
        Self { llama, cache, drawn: Vec::new(), batch: ForwardBatch::default() }
    }

    pub(super) fn block_size(&self) -> usize {
        self.cache.block_size()
    }

    pub(super) fn run(&mut self, step: Step<'_>) -> Result<StepOutcome, ModelError> {
        let drawn = std::mem::take(&mut self.drawn);
        let token_of = |draw: u32| drawn.get(draw as usize).copied().flatten();
        self.batch.clone_from(step.batch);
        for pending in step.pending {
            // A draw that failed has no token; its sequence has ended, and nobody reads this row.
            let (row, token) = (pending.row as usize, token_of(pending.draw).unwrap_or(0));
            let rows = self.batch.input_ids.len();
            let place = self.batch.input_ids.get_mut(row).ok_or_else(|| ModelError::Batch {
                field: "pending",
                index: row,
                value: pending.row,
                expected: format!("below {rows}, the number of rows"),
            })?;
            *place = token;
        }
        part!("block copies", self.cache.copy_blocks(step.copies))?;
        let logits = part!("forward", self.llama.forward(&self.batch, &mut self.cache))?;
        let draws = step.draws.iter().enumerate().map(|(index, draw)| {
            let pending = draw.pending.and_then(token_of);
            draw.sampler.draw(logits.row(index), draw.position, draw.banned, pending)
        });
        let outcome: StepOutcome = part!("sampling", draws.collect());
        self.drawn = outcome.iter().map(|row| row.as_ref().ok().map(|sampled| sampled.token)).collect();
        Ok(outcome)
    }
}
