//! A plan's numbers: builds the forward's batch, runs it, samples. It knows tokens and slots, not requests.

use rustc_hash::FxHashMap;
use sconce_model::sampling::{Sampled, Sampler, SamplingError};
use sconce_model::{BlockCopy, ForwardBatch, KvCache, Llama, ModelError};
use sconce_sched::{PlanRow, PlanToken, SequenceId, StepPlan};

/// How a sequence's tokens are drawn.
#[derive(Debug)]
pub(crate) struct Drawing {
    pub(crate) sampler: Sampler,
    pub(crate) prompt_len: usize,
    /// Output tokens before one of `banned` may come.
    pub(crate) min_tokens: usize,
    /// Tokens that would end the sequence.
    pub(crate) banned: Vec<u32>,
}

/// What each sampling row of a step gave, in order.
pub(crate) type StepOutcome = Vec<Result<Sampled, SamplingError>>;

/// Owns the model, its cache and the samplers.
#[derive(Debug)]
pub(crate) struct ModelRunner {
    llama: Llama,
    cache: KvCache,
    block_size: usize,
    drawings: FxHashMap<SequenceId, Drawing>,
    /// The token that each sequence's latest row sampled: what a placeholder in the next plan stands for.
    latest: FxHashMap<SequenceId, u32>,
    /// Reused by each step.
    batch: ForwardBatch,
}

impl ModelRunner {
    pub(crate) fn new(llama: Llama, cache: KvCache) -> Self {
        let block_size = cache.block_size();
        Self {
            llama,
            cache,
            block_size,
            drawings: FxHashMap::default(),
            latest: FxHashMap::default(),
            batch: ForwardBatch::default(),
        }
    }

    /// From now on the sequence's tokens are drawn so.
    pub(crate) fn add(&mut self, id: SequenceId, drawing: Drawing) {
        self.drawings.insert(id, drawing);
    }

    /// The sequence has ended.
    pub(crate) fn remove(&mut self, id: SequenceId) {
        self.drawings.remove(&id);
        self.latest.remove(&id);
    }

    /// Copies blocks, runs the forward and samples.
    ///
    /// # Errors
    /// [`ModelError`] when the step as a whole failed; a row that gives nothing to sample from fails alone.
    pub(crate) fn run(&mut self, plan: &StepPlan) -> Result<StepOutcome, ModelError> {
        #[cfg(test)]
        crate::faults::strike()?;
        let copies: Vec<BlockCopy> =
            plan.copies.iter().map(|copy| BlockCopy { src: copy.src.0, dst: copy.dst.0, slots: copy.slots }).collect();
        self.cache.copy_blocks(&copies)?;
        self.build_batch(plan);
        let logits = self.llama.forward(&self.batch, &mut self.cache)?;
        let rows = plan.sampling_rows().enumerate();
        Ok(rows.map(|(index, row)| self.sample(row, logits.row(index))).collect())
    }

    fn build_batch(&mut self, plan: &StepPlan) {
        let batch = &mut self.batch;
        batch.input_ids.clear();
        batch.positions.clear();
        batch.slot_mapping.clear();
        batch.seq_lens_k.clear();
        batch.logits_rows.clear();
        batch.block_tables.clear();
        batch.cu_seqlens_q.clear();
        batch.cu_blocks.clear();
        batch.cu_seqlens_q.push(0);
        batch.cu_blocks.push(0);
        // Bounded by validated sizes far below 2^32: tokens of a step, slots of the cache.
        let narrow = |value: usize| u32::try_from(value).expect("sizes were validated");
        batch.block_tables.extend(plan.blocks.iter().map(|block| block.0));
        for row in &plan.rows {
            let blocks = &plan.blocks[row.blocks.clone()];
            for (offset, token) in plan.tokens[row.tokens.clone()].iter().enumerate() {
                let position = row.first_position + offset;
                let id = match token {
                    PlanToken::Known(id) => id.0,
                    // A sequence whose latest row failed has none; it has ended, and nobody reads this row.
                    PlanToken::Pending => self.latest.get(&row.sequence).copied().unwrap_or(0),
                };
                batch.input_ids.push(id);
                batch.positions.push(narrow(position));
                let block = blocks[position / self.block_size].index();
                batch.slot_mapping.push(narrow(block * self.block_size + position % self.block_size));
            }
            batch.cu_seqlens_q.push(narrow(batch.input_ids.len()));
            batch.seq_lens_k.push(narrow(row.first_position + row.tokens.len()));
            batch.cu_blocks.push(narrow(row.blocks.end));
            if row.samples {
                batch.logits_rows.push(narrow(batch.input_ids.len() - 1));
            }
        }
    }

    fn sample(&mut self, row: &PlanRow, logits: &[f32]) -> Result<Sampled, SamplingError> {
        let last_position = row.first_position + row.tokens.len() - 1;
        let Some(drawing) = self.drawings.get_mut(&row.sequence) else {
            return Err(SamplingError::NothingAllowed);
        };
        let outputs_before = last_position + 1 - drawing.prompt_len;
        let banned = if outputs_before < drawing.min_tokens { drawing.banned.as_slice() } else { &[] };
        let sampled = drawing.sampler.sample_without(logits, last_position as u64, banned)?;
        self.latest.insert(row.sequence, sampled.token);
        Ok(sampled)
    }
}
