//! The step's tokens: everyone who runs gets one, those with more to compute get a chunk within budget and target.

use std::time::Duration;

use sconce_kv::{BlockTable, PartitionId};

use super::Scheduler;
use crate::cost::StepWork;
use crate::plan::{PlanRow, PlanToken, StepPlan};
use crate::sequence::{Sequence, SequenceId, SequenceStatus};

/// How much longer than the target a step may take when nobody waits for a next token in it.
const PREFILL_STRETCH: u32 = 4;

/// Tokens that a step's chunks get at least, all together, however slow the step already is, so that prompts move on
/// beside any number of decoding sequences.
const MIN_CHUNKS: usize = 16;

/// What is left to give in a step.
#[derive(Debug, Clone)]
pub(super) struct StepBudget {
    /// Tokens left, beside the one that each running sequence is sure of.
    pub(super) tokens: usize,
    /// What the step does when it does nothing more than is certain.
    work: StepWork,
    target: Duration,
    /// Tokens of the step's minimum that no chunk took yet.
    min_left: usize,
}

impl Scheduler {
    /// Gives out the step's tokens in order of rank: to those who run what they can compute, to those who wait a beginning.
    /// A prompt that is being computed does not keep one of lower rank waiting.
    pub(super) fn fill(&mut self, plan: &mut StepPlan) {
        let mut budget = self.open_budget();
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(&self.running);
        order.extend(&self.waiting);
        if !self.waiting.is_empty() {
            order.sort_unstable();
        }
        let mut admitting = true;
        for &(_, id) in &order {
            // An earlier one may have taken its blocks in this very step; then it waits, and its partition is pressed.
            if self.sequences[&id].status() == SequenceStatus::Running {
                self.fill_running(id, plan, &mut budget);
            } else if admitting {
                admitting = self.admit(id, plan, &mut budget);
            }
        }
        self.order = order;
    }

    /// Gives a running sequence its token, and a chunk if it has more to compute.
    fn fill_running(&mut self, id: SequenceId, plan: &mut StepPlan, budget: &mut StepBudget) {
        let sequence = &self.sequences[&id];
        let Some(table) = sequence.table.as_ref().filter(|_| is_ready(sequence)) else { return };
        let more = sequence.uncomputed() - 1;
        let chunk = if more == 0 { 0 } else { self.take_chunk(budget, sequence.computed + 1, more) };
        let count = (1 + chunk).min(self.room(table)).max(1);
        if self.make_room(id, count, plan) {
            self.push_row(id, count, plan);
        }
    }

    /// Sums up what is certain: one token for everyone who runs.
    fn open_budget(&self) -> StepBudget {
        let mut work = StepWork::default();
        let mut decodes = false;
        let mut sure = 0;
        for (_, id) in &self.running {
            let sequence = &self.sequences[id];
            if is_ready(sequence) {
                work.add_run(sequence.computed, 1);
                decodes |= sequence.uncomputed() == 1;
                sure += 1;
            }
        }
        let stretch = if decodes { 1 } else { PREFILL_STRETCH };
        StepBudget {
            tokens: self.config.max_num_batched_tokens - sure,
            work,
            target: self.config.step_target * stretch,
            min_left: MIN_CHUNKS,
        }
    }

    /// Takes a chunk of at most `wanted` tokens that follow `first` others out of the budget.
    pub(super) fn take_chunk(&self, budget: &mut StepBudget, first: usize, wanted: usize) -> usize {
        let limit = wanted.min(budget.tokens);
        let fits = self.cost.fit(budget.work, first, limit, budget.target);
        let count = fits.max(limit.min(budget.min_left));
        budget.min_left -= count.min(budget.min_left);
        budget.tokens -= count;
        budget.work.add_run(first, count);
        count
    }

    /// Tokens for which the table finds room without anybody giving up blocks.
    fn room(&self, table: &BlockTable) -> usize {
        let block_size = self.kv.block_size();
        table.blocks().len() * block_size - table.len() + self.kv.available(table.partition()) * block_size
    }

    /// Reserves `count` slots, at the cost of paused sequences and those of higher rank; when nothing helps, the
    /// sequence itself gives up its blocks and waits.
    fn make_room(&mut self, id: SequenceId, count: usize, plan: &mut StepPlan) -> bool {
        loop {
            let sequence = self.sequences.get_mut(&id).expect("a running sequence exists");
            let table = sequence.table.as_mut().expect("a running sequence holds blocks");
            let partition = table.partition();
            if self.kv.reserve(table, sequence.computed + count, &mut plan.copies).is_some() {
                return true;
            }
            let victim = self.victim(partition, id).unwrap_or(id);
            self.preempt(victim);
            if victim == id {
                return false;
            }
        }
    }

    /// Whose blocks go for `id`: a paused sequence's, or those of the highest rank above it.
    fn victim(&self, partition: PartitionId, id: SequenceId) -> Option<SequenceId> {
        let rank = self.sequences[&id].rank;
        self.paused().find(|&other| self.pays(other, partition)).or_else(|| {
            let above = self.running.iter().rev().take_while(|(other, _)| *other > rank);
            above.map(|&(_, other)| other).find(|other| self.pays(*other, partition))
        })
    }

    /// Paused sequences that still hold blocks, highest rank first.
    pub(super) fn paused(&self) -> impl Iterator<Item = SequenceId> + '_ {
        self.running.iter().rev().map(|&(_, id)| id).filter(|id| self.sequences[id].paused)
    }

    pub(super) fn pays(&self, id: SequenceId, partition: PartitionId) -> bool {
        self.sequences[&id].table.as_ref().is_some_and(|table| table.partition() == partition)
    }

    /// Puts the next `count` tokens of a sequence, for which there is room, into the plan.
    pub(super) fn push_row(&mut self, id: SequenceId, count: usize, plan: &mut StepPlan) {
        let block_size = self.kv.block_size();
        let sequence = self.sequences.get_mut(&id).expect("a planned sequence exists");
        let (first, end) = (sequence.computed, sequence.computed + count);
        let table = sequence.table.as_mut().expect("a planned sequence holds blocks");
        let known = sequence.chain.tokens();
        let first_token = plan.tokens.len();
        plan.tokens.extend((first..end).map(|at| known.get(at).map_or(PlanToken::Pending, |&id| PlanToken::Known(id))));
        let first_block = plan.blocks.len();
        plan.blocks.extend_from_slice(&table.blocks()[..end.div_ceil(block_size)]);
        let samples = end == known.len() + sequence.pending;
        let computed = end.min(known.len());
        plan.rows.push(PlanRow {
            sequence: id,
            first_position: first,
            tokens: first_token..plan.tokens.len(),
            blocks: first_block..plan.blocks.len(),
            samples,
        });
        plan.work.add_run(first, count);
        self.kv.commit(table, &sequence.chain, computed);
        self.promises.settle(id, &sequence.chain, first / block_size, computed / block_size);
        sequence.promised.start = sequence.promised.start.max(computed / block_size).min(sequence.promised.end);
        sequence.computed = end;
        sequence.pending += usize::from(samples);
        if end >= sequence.prompt_len {
            sequence.prompt_done_in.get_or_insert(plan.step);
        }
    }
}

/// Whether a running sequence has something to compute in this step.
fn is_ready(sequence: &Sequence) -> bool {
    !sequence.paused && !sequence.is_saturated() && sequence.uncomputed() > 0
}
