//! The step's tokens: everyone who runs gets one, those with more to compute get a chunk within budget and target.

use std::time::Duration;

use sconce_kv::{BlockTable, PartitionId};

use super::Scheduler;
use crate::cost::StepWork;
use crate::plan::{PlanRow, PlanToken, StepPlan};
use crate::sequence::{Rank, Sequence, SequenceId, SequenceStatus};

/// How much longer than the target a step may take when nobody waits for a next token in it.
const PREFILL_STRETCH: u32 = 4;

/// Tokens that a step's chunks get at least, all together, however slow the step already is, so that prompts move on
/// beside any number of decoding sequences.
const MIN_CHUNKS: usize = 16;

/// Waiting sequences that are looked at when a prompt asks whether to leave something to those behind it.
const NEXT_WAITING: usize = 8;

/// What is left to give in a step.
#[derive(Debug, Clone)]
pub(super) struct StepBudget<'a> {
    step: u64,
    /// Who comes after the one whose turn it is.
    later: &'a [(Rank, SequenceId)],
    /// Tokens left, beside the one that each running sequence is sure of.
    tokens: usize,
    /// What the step does when it does nothing more than is certain.
    work: StepWork,
    target: Duration,
    /// Tokens of the step's minimum that no chunk took yet.
    min_left: usize,
}

impl Scheduler {
    /// Gives out the step's tokens in order of rank: to those who run what they can compute, to those who wait a beginning.
    /// A prompt that is being computed does not keep one of lower rank waiting, nor all of the step from shorter ones.
    pub(super) fn fill(&mut self, plan: &mut StepPlan) {
        let mut budget = self.open_budget(plan.step);
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(&self.running);
        order.extend(&self.waiting);
        if !self.waiting.is_empty() {
            order.sort_unstable();
        }
        let mut admitting = true;
        for (index, &(rank, id)) in order.iter().enumerate() {
            budget.later = &order[index + 1..];
            // An earlier one may have taken its blocks in this very step; then it waits, and its partition is pressed.
            if self.sequences[&id].status() == SequenceStatus::Running {
                if !self.ahead.contains(&id) {
                    self.fill_running(id, rank, usize::MAX, plan, &mut budget);
                }
            } else if admitting {
                admitting = self.admit(id, rank, plan, &mut budget);
            }
        }
        self.order = order;
    }

    /// Gives a running sequence its token, and a chunk if it has more to compute, `most` tokens in all. `place` is its
    /// rank, or that of the follower whose turn it has.
    pub(super) fn fill_running(
        &mut self,
        id: SequenceId,
        place: Rank,
        most: usize,
        plan: &mut StepPlan,
        budget: &mut StepBudget<'_>,
    ) {
        let sequence = &self.sequences[&id];
        let Some(table) = sequence.table.as_ref().filter(|_| is_ready(sequence)) else { return };
        let more = sequence.uncomputed().min(most).saturating_sub(1);
        let chunk = if more == 0 { 0 } else { self.take_chunk(budget, id, sequence.computed + 1, more) };
        let count = (1 + chunk).min(self.room(table)).max(1);
        if self.make_room(id, place, count, plan) {
            self.push_row(id, count, plan);
        }
    }

    /// Sums up what is certain: one token for everyone who runs.
    fn open_budget(&self, step: u64) -> StepBudget<'static> {
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
            step,
            later: &[],
            tokens: self.config.max_num_batched_tokens - sure,
            work,
            target: self.config.step_target * stretch,
            min_left: MIN_CHUNKS,
        }
    }

    /// Takes a chunk out of the budget for a sequence that wants `wanted` tokens after `first` others: what there is, or
    /// half of it when somebody behind has less to compute. The other half is theirs, so that a short prompt does not
    /// wait for all of a long one; the long one goes on at half its speed at least.
    pub(super) fn take_chunk(&self, budget: &mut StepBudget<'_>, id: SequenceId, first: usize, wanted: usize) -> usize {
        let fits = self.cost.fit(budget.work, first, budget.tokens, budget.target);
        let most = fits.max(budget.tokens.min(budget.min_left));
        let half = most.div_ceil(2);
        let halves = wanted > half && most > 1 && self.shorter_follows(budget, id, wanted);
        let count = if halves { half } else { wanted.min(most) };
        budget.min_left -= count.min(budget.min_left);
        budget.tokens -= count;
        budget.work.add_run(first, count);
        count
    }

    /// Whether somebody behind `id` in the step could compute something now, and has less than `rest` to compute. Who
    /// follows a promise or finds no place does not count: what is left for them would be lost.
    fn shorter_follows(&self, budget: &StepBudget<'_>, id: SequenceId, rest: usize) -> bool {
        let taken = self.running.len() + usize::from(self.sequences[&id].status() == SequenceStatus::Waiting);
        let mut seats = (self.config.max_num_seqs + self.paused().count()).saturating_sub(taken);
        let mut pressed = self.pressed.clone();
        let mut looks = NEXT_WAITING;
        budget.later.iter().any(|&(_, other)| {
            let sequence = &self.sequences[&other];
            if sequence.status() == SequenceStatus::Running {
                let comes = is_ready(sequence) && !self.ahead.contains(&other);
                return comes && (2..=rest).contains(&sequence.uncomputed());
            }
            if seats == 0 || looks == 0 {
                return false;
            }
            looks -= 1;
            let to_begin = self.rest_to_begin(other, budget.step, &mut pressed);
            seats -= usize::from(to_begin.is_some());
            to_begin.is_some_and(|shorter| shorter < rest)
        })
    }

    /// Tokens for which the table finds room without anybody giving up blocks.
    fn room(&self, table: &BlockTable) -> usize {
        let block_size = self.kv.block_size();
        table.blocks().len() * block_size - table.len() + self.kv.available(table.partition()) * block_size
    }

    /// Reserves `count` slots, at the cost of paused sequences and those that rank above `place`; when nothing helps, the
    /// sequence itself gives up its blocks and waits.
    fn make_room(&mut self, id: SequenceId, place: Rank, count: usize, plan: &mut StepPlan) -> bool {
        loop {
            let sequence = self.sequences.get_mut(&id).expect("a running sequence exists");
            let table = sequence.table.as_mut().expect("a running sequence holds blocks");
            let partition = table.partition();
            if self.kv.reserve(table, sequence.computed + count, &mut plan.copies).is_some() {
                return true;
            }
            let victim = self.victim(partition, place).unwrap_or(id);
            self.preempt(victim);
            if victim == id {
                return false;
            }
        }
    }

    /// Whose blocks go for the one whose turn it is: a paused sequence's, or those of the highest rank above `place` that
    /// had no turn yet.
    fn victim(&self, partition: PartitionId, place: Rank) -> Option<SequenceId> {
        self.paused().find(|&other| self.pays(other, partition)).or_else(|| {
            let above = self.running.iter().rev().take_while(|(other, _)| *other > place);
            above.map(|&(_, other)| other).find(|other| self.pays(*other, partition) && !self.ahead.contains(other))
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
