//! Waiting sequences in a step: who begins, with which cached prefix, and who waits for whom.

use sconce_kv::{Admission, BlockId, PartitionId, PrefixMatch};

use super::Scheduler;
use super::fill::StepBudget;
use crate::plan::{Started, StepPlan};
use crate::sequence::{Rank, Sequence, SequenceId, SequenceStatus};

/// One block in so many stays free for those who run, when somebody runs.
const WATERMARK: usize = 100;

enum Outcome {
    Admitted,
    /// This sequence is about to compute what it needs.
    Waits(SequenceId),
    /// Its partition has no room now: nobody of higher rank may overtake it there.
    NoRoom,
    /// The step is full.
    StepFull,
}

/// How a sequence begins.
enum Prefix {
    Fork(SequenceId),
    Cached(PrefixMatch),
}

impl Prefix {
    /// Tokens of the sequence that need not be computed.
    fn tokens(&self, sequence: &Sequence) -> usize {
        match self {
            Prefix::Fork(_) => sequence.prompt_len - 1,
            Prefix::Cached(found) => found.tokens,
        }
    }
}

impl Scheduler {
    /// Lets a waiting sequence begin, if it can. The leader that it waits for has its turn here if it has a higher rank:
    /// who waits for another is not overtaken by those between the two. `false` when the step has nothing left for
    /// anybody who waits.
    pub(super) fn admit(
        &mut self,
        id: SequenceId,
        place: Rank,
        plan: &mut StepPlan,
        budget: &mut StepBudget<'_>,
    ) -> bool {
        loop {
            let Some(partition) = self.partition_to_enter(id, &self.pressed) else { return true };
            match self.try_admit(id, partition, plan, budget) {
                Outcome::Admitted => return true,
                Outcome::StepFull => return false,
                Outcome::NoRoom => {
                    self.pressed.push(partition);
                    return true;
                }
                Outcome::Waits(leader) if self.sequences[&leader].rank < place || self.ahead.contains(&leader) => {
                    self.waited.push((id, leader));
                    return true;
                }
                // With the leader's tokens in the plan, the follower may begin in the same step.
                Outcome::Waits(leader) => {
                    self.ahead.push(leader);
                    let most = self.shared_tokens(leader, id) - self.sequences[&leader].computed;
                    self.fill_running(leader, place, most, plan, budget);
                }
            }
        }
    }

    /// How far the leader's tokens are what the follower waits for.
    fn shared_tokens(&self, leader: SequenceId, follower: SequenceId) -> usize {
        let (leads, follows) = (&self.sequences[&leader], &self.sequences[&follower]);
        let prompt = if follows.fork_of == Some(leader) { leads.prompt_len } else { 0 };
        let pairs = leads.chain.hashes().iter().zip(follows.chain.hashes());
        prompt.max(pairs.take_while(|(led, followed)| led == followed).count() * self.kv.block_size())
    }

    /// Where a waiting sequence would begin; `None` when it does not now: its reader does not keep up, its last token is
    /// not known yet, or its partition is among the `pressed`.
    fn partition_to_enter(&self, id: SequenceId, pressed: &[PartitionId]) -> Option<PartitionId> {
        let sequence = &self.sequences[&id];
        let partition = self.kv.partition(sequence.chain.salt());
        let may = !sequence.paused && sequence.pending == 0 && !pressed.contains(&partition);
        may.then_some(partition)
    }

    /// Tokens that a waiting sequence would have to compute if it began now; `None` when it cannot. Without room, its
    /// partition is `pressed` for those behind it too.
    pub(super) fn rest_to_begin(&self, id: SequenceId, step: u64, pressed: &mut Vec<PartitionId>) -> Option<usize> {
        let partition = self.partition_to_enter(id, pressed)?;
        let prefix = self.prefix_for(id, step).ok()?;
        let sequence = &self.sequences[&id];
        let missing = self.missing_blocks(sequence, &prefix, partition, 1);
        if self.paused_with_blocks(partition, &prefix, missing).is_none() {
            pressed.push(partition);
            return None;
        }
        Some(sequence.len() - prefix.tokens(sequence))
    }

    fn try_admit(
        &mut self,
        id: SequenceId,
        partition: PartitionId,
        plan: &mut StepPlan,
        budget: &mut StepBudget<'_>,
    ) -> Outcome {
        let prefix = match self.prefix_for(id, plan.step) {
            Ok(prefix) => prefix,
            Err(leader) => return Outcome::Waits(leader),
        };
        let seat_of = if self.running.len() < self.config.max_num_seqs { None } else { self.paused().next() };
        if self.running.len() == self.config.max_num_seqs && seat_of.is_none() {
            return Outcome::StepFull;
        }
        let sequence = &self.sequences[&id];
        let cached = prefix.tokens(sequence);
        let mut trial = budget.clone();
        let count = self.take_chunk(&mut trial, id, cached, sequence.len() - cached);
        if count == 0 {
            return Outcome::StepFull;
        }
        // Only now that nothing else is in the way does a paused sequence lose its blocks, or its place.
        let missing = self.missing_blocks(sequence, &prefix, partition, count);
        let Some(mut victims) = self.paused_with_blocks(partition, &prefix, missing) else { return Outcome::NoRoom };
        if victims.is_empty() {
            victims.extend(seat_of);
        }
        for victim in victims {
            self.preempt(victim);
        }
        let admission = self.give_blocks(id, &prefix, count, plan).expect("room was checked");
        *budget = trial;
        self.begin(id, admission, count, plan);
        Outcome::Admitted
    }

    /// What the sequence can build on now, or the running one that is about to compute it, for which it better waits.
    fn prefix_for(&self, id: SequenceId, step: u64) -> Result<Prefix, SequenceId> {
        let sequence = &self.sequences[&id];
        let parent = sequence.fork_of.and_then(|parent| Some((parent, self.sequences.get(&parent)?)));
        if let Some((parent, state)) = parent
            && state.status() == SequenceStatus::Running
            && !state.paused
            && !sequence.started
        {
            // Copies come before what a step writes, so the prompt must have been computed in an earlier one.
            let is_done = state.prompt_done_in.is_some_and(|done| done < step);
            return if is_done { Ok(Prefix::Fork(parent)) } else { Err(parent) };
        }
        let found = self.kv.find_prefix(&sequence.chain, sequence.len() - 1);
        let leader = self.promises.leader(&sequence.chain, found.whole.len());
        leader.map_or(Ok(Prefix::Cached(found)), Err)
    }

    /// Blocks that a sequence lacks to begin with `count` tokens. Its whole need is to fit beside what running sequences
    /// still need, so that admitting it does not end in preemption at once; alone in its partition it is always let in.
    fn missing_blocks(&self, sequence: &Sequence, prefix: &Prefix, partition: PartitionId, count: usize) -> usize {
        let block_size = self.kv.block_size();
        let mut alone = true;
        let mut demand = 0;
        for (_, id) in &self.running {
            let other = &self.sequences[id];
            if let Some(table) = other.table.as_ref().filter(|table| table.partition() == partition && !other.paused) {
                alone = false;
                demand += other.len().div_ceil(block_size).saturating_sub(table.blocks().len());
            }
        }
        // A match in part is given up when its copy does not fit, so it saves nothing for sure.
        let (shared, first) = match prefix {
            Prefix::Fork(_) => ((sequence.prompt_len - 1) / block_size, sequence.prompt_len - 1),
            Prefix::Cached(found) => (self.kv.held_blocks(found), found.whole.len() * block_size),
        };
        let need = if alone {
            (first + count).div_ceil(block_size) - shared
        } else {
            let watermark = self.kv.budget(partition).div_ceil(WATERMARK);
            sequence.len().div_ceil(block_size) - shared + demand + watermark
        };
        need.saturating_sub(self.kv.available(partition))
    }

    /// The paused sequences of a partition that must go to free `missing` blocks beside those that the prefix keeps;
    /// `None` when all of them do not suffice.
    fn paused_with_blocks(&self, partition: PartitionId, prefix: &Prefix, missing: usize) -> Option<Vec<SequenceId>> {
        if missing == 0 {
            return Some(Vec::new());
        }
        let kept: &[BlockId] = match prefix {
            Prefix::Fork(_) => &[],
            Prefix::Cached(found) => &found.whole,
        };
        let paused: Vec<SequenceId> = self.paused().filter(|&other| self.pays(other, partition)).collect();
        let tables = paused.iter().filter_map(|other| self.sequences[other].table.as_ref());
        let count = self.kv.tables_to_drop(tables, kept, missing)?;
        Some(paused[..count].to_vec())
    }

    fn give_blocks(&mut self, id: SequenceId, prefix: &Prefix, count: usize, plan: &mut StepPlan) -> Option<Admission> {
        let sequence = &self.sequences[&id];
        match prefix {
            Prefix::Cached(found) => self.kv.admit(&sequence.chain, found, count, sequence.retention, &mut plan.copies),
            Prefix::Fork(parent) => {
                let cached = sequence.prompt_len - 1;
                let parent = self.sequences[parent].table.as_ref().expect("a running sequence holds blocks");
                let mut table = self.kv.fork(parent, cached);
                self.kv.reserve(&mut table, cached + count, &mut plan.copies)?;
                Some(Admission { table, cached })
            }
        }
    }

    fn begin(&mut self, id: SequenceId, admission: Admission, count: usize, plan: &mut StepPlan) {
        let Admission { table, cached } = admission;
        let block_size = self.kv.block_size();
        let sequence = self.sequences.get_mut(&id).expect("a waiting sequence exists");
        sequence.table = Some(table);
        sequence.computed = cached;
        let rank = sequence.rank;
        if !std::mem::replace(&mut sequence.started, true) {
            plan.started.push(Started { sequence: id, cached_tokens: cached });
            self.stats.prompt_tokens += sequence.prompt_len as u64;
            self.stats.cached_tokens += cached as u64;
        }
        assert!(self.waiting.remove(&(rank, id)), "a waiting sequence is queued");
        let index = self.running.binary_search(&(rank, id)).expect_err("it did not run yet");
        self.running.insert(index, (rank, id));
        self.push_row(id, count, plan);
        let sequence = self.sequences.get_mut(&id).expect("it runs");
        let from = sequence.computed / block_size;
        sequence.promised = from..sequence.chain.hashes().len().max(from);
        self.promises.make(id, &sequence.chain, from);
    }
}
