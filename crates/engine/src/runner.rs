//! A plan's numbers: builds the forward's batch, launches it, collects what was drawn. It knows tokens and slots, not requests.

use rustc_hash::FxHashMap;
use sconce_model::sampling::Sampler;
use sconce_model::{BlockCopy, Draw, Executor, ForwardBatch, ModelError, PendingToken, Step, StepOutcome, Ticket};
use sconce_sched::{PlanToken, SequenceId, StepPlan};

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

impl Drawing {
    /// The tokens that must not follow a row at `position`.
    fn banned_at(&self, position: usize) -> &[u32] {
        let outputs_before = position + 1 - self.prompt_len;
        if outputs_before < self.min_tokens { &self.banned } else { &[] }
    }
}

/// Owns the executor and the samplers.
#[derive(Debug)]
pub(crate) struct ModelRunner {
    executor: Executor,
    block_size: usize,
    drawings: FxHashMap<SequenceId, Drawing>,
    /// Which draw of the latest launched step is whose: what a placeholder in the next plan stands for.
    latest: FxHashMap<SequenceId, u32>,
    /// Draws from nothing in particular: for rows whose sequence has ended while they were planned.
    nobody: Drawing,
    /// Reused by each step.
    batch: ForwardBatch,
    pending: Vec<PendingToken>,
}

impl ModelRunner {
    pub(crate) fn new(executor: Executor) -> Self {
        let block_size = executor.block_size();
        let sampler = Sampler::new(sconce_model::sampling::SamplingParams::default(), &[], 0);
        Self {
            executor,
            block_size,
            drawings: FxHashMap::default(),
            latest: FxHashMap::default(),
            nobody: Drawing { sampler, prompt_len: 0, min_tokens: 0, banned: Vec::new() },
            batch: ForwardBatch::default(),
            pending: Vec::new(),
        }
    }

    /// From now on the sequence's tokens are drawn so.
    pub(crate) fn add(&mut self, id: SequenceId, drawing: Drawing) {
        self.drawings.insert(id, drawing);
    }

    /// The sequence has ended.
    pub(crate) fn remove(&mut self, id: SequenceId) {
        self.drawings.remove(&id);
    }

    /// Begins a step: block copies, the forward, the draws.
    ///
    /// # Errors
    /// [`ModelError`] when the step as a whole cannot run.
    pub(crate) fn launch(&mut self, plan: &StepPlan) -> Result<Ticket, ModelError> {
        #[cfg(any(test, debug_assertions))]
        crate::faults::strike(crate::faults::Place::Launch, plan.tokens.len())?;
        let copies: Vec<BlockCopy> =
            plan.copies.iter().map(|copy| BlockCopy { src: copy.src.0, dst: copy.dst.0, slots: copy.slots }).collect();
        self.build_batch(plan);
        let mut draws = Vec::new();
        for row in plan.sampling_rows() {
            let drawing = self.drawings.get(&row.sequence).unwrap_or(&self.nobody);
            let position = row.first_position + row.tokens.len() - 1;
            let pends = plan.tokens[row.tokens.end - 1] == PlanToken::Pending;
            draws.push(Draw {
                sampler: &drawing.sampler,
                position: position as u64,
                banned: drawing.banned_at(position),
                pending: self.latest.get(&row.sequence).copied().filter(|_| pends),
            });
        }
        let step = Step { copies: &copies, batch: &self.batch, pending: &self.pending, draws: &draws };
        let ticket = self.executor.launch(step)?;
        self.latest.clear();
        self.latest.extend(plan.sampling_rows().zip(0..).map(|(row, draw)| (row.sequence, draw)));
        Ok(ticket)
    }

    /// Waits for a step; its tokens are in their sequences' histories from now on.
    ///
    /// # Errors
    /// [`ModelError`] when the device failed; a row that gave nothing to draw from fails alone.
    pub(crate) fn collect(&mut self, plan: &StepPlan, ticket: Ticket) -> Result<StepOutcome, ModelError> {
        #[cfg(any(test, debug_assertions))]
        crate::faults::strike(crate::faults::Place::Collect, plan.tokens.len())?;
        let outcome = self.executor.collect(ticket)?;
        for (row, result) in plan.sampling_rows().zip(&outcome) {
            if let (Some(drawing), Ok(sampled)) = (self.drawings.get_mut(&row.sequence), result) {
                drawing.sampler.record(sampled.token);
            }
        }
        Ok(outcome)
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
        self.pending.clear();
        // Bounded by validated sizes far below 2^32: tokens of a step, slots of the cache.
        let narrow = |value: usize| u32::try_from(value).expect("sizes were validated");
        batch.block_tables.extend(plan.blocks.iter().map(|block| block.0));
        for row in &plan.rows {
            let blocks = &plan.blocks[row.blocks.clone()];
            for (offset, token) in plan.tokens[row.tokens.clone()].iter().enumerate() {
                let position = row.first_position + offset;
                let id = match token {
                    PlanToken::Known(id) => id.0,
                    PlanToken::Pending => {
                        // A sequence without a draw in the step before has ended, and nobody reads this row.
                        let draw = self.latest.get(&row.sequence).copied();
                        let row = narrow(batch.input_ids.len());
                        self.pending.extend(draw.map(|draw| PendingToken { row, draw }));
                        0
                    }
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
}
