//! The scheduler: who is there, who runs, what came of a step. How a step is filled is in `fill` and `admit`.

mod admit;
mod fill;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use rustc_hash::FxHashMap;
use sconce_kv::{KvCacheManager, KvUsage, PartitionId, TokenChain};

use crate::config::{SchedulerConfig, SchedulerConfigError};
use crate::cost::StepCost;
use crate::events::{FinishReason, Sampled, SequenceEvent};
use crate::plan::{PlanRow, StepPlan};
use crate::promises::Promises;
use crate::sequence::{NewSequence, Rank, Sequence, SequenceId, SequenceStatus};

/// Why a sequence is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// No token to begin with.
    #[error("the prompt is empty")]
    PromptEmpty,
    /// No room for the prompt and one output token, ever.
    #[error("the prompt has {prompt_len} tokens, but at most {limit} fit")]
    PromptTooLong {
        /// Tokens of the prompt.
        prompt_len: usize,
        /// The longest prompt that is taken, by context and by the tenant's cache budget.
        limit: usize,
    },
}

/// Counters since the start, and what is there now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SchedulerStats {
    /// Sequences running.
    pub running: usize,
    /// Sequences waiting.
    pub waiting: usize,
    /// Sequences that lost their blocks, ever.
    pub preemptions: u64,
    /// Prompt tokens of started sequences, ever.
    pub prompt_tokens: u64,
    /// Prompt tokens found in the cache, ever.
    pub cached_tokens: u64,
    /// Tokens put into plans, ever.
    pub computed_tokens: u64,
    /// Blocks.
    pub kv: KvUsage,
}

/// A step that was planned and not yet updated.
#[derive(Debug)]
struct InFlight {
    step: u64,
    sequences: Vec<SequenceId>,
}

/// Decides what each step computes.
#[derive(Debug)]
pub struct Scheduler {
    config: SchedulerConfig,
    kv: KvCacheManager,
    sequences: FxHashMap<SequenceId, Sequence>,
    /// By rank.
    running: Vec<(Rank, SequenceId)>,
    waiting: BTreeSet<(Rank, SequenceId)>,
    promises: Promises,
    cost: StepCost,
    in_flight: VecDeque<InFlight>,
    next_id: u64,
    stats: SchedulerStats,
    /// Partitions that lost a sequence in the step being planned, or have no room for the next one waiting; nobody is
    /// admitted there any more in the same step.
    pressed: Vec<PartitionId>,
    /// Who waited in the step being planned for a prefix, and whose.
    waited: Vec<(SequenceId, SequenceId)>,
    /// Leaders that had their turn in the step being planned in the place of a follower of lower rank.
    ahead: Vec<SequenceId>,
    /// Reused by each step.
    order: Vec<(Rank, SequenceId)>,
    /// How many blocks the last plan named; the next one names about as many.
    last_blocks: usize,
}

impl Scheduler {
    /// A scheduler over an empty cache.
    ///
    /// # Errors
    /// [`SchedulerConfigError`] naming the bound.
    pub fn new(config: SchedulerConfig, kv: KvCacheManager) -> Result<Self, SchedulerConfigError> {
        config.validate()?;
        Ok(Self {
            config,
            kv,
            sequences: FxHashMap::default(),
            running: Vec::new(),
            waiting: BTreeSet::new(),
            promises: Promises::default(),
            cost: StepCost::default(),
            in_flight: VecDeque::new(),
            next_id: 0,
            stats: SchedulerStats::default(),
            pressed: Vec::new(),
            waited: Vec::new(),
            ahead: Vec::new(),
            order: Vec::new(),
            last_blocks: 0,
        })
    }

    /// Takes a sequence that arrives at `now`, a time since any fixed start. Its `max_tokens` is cut to what can ever fit.
    ///
    /// # Errors
    /// [`AddError`] when it could never run.
    pub fn add(&mut self, new: NewSequence, now: Duration) -> Result<SequenceId, AddError> {
        let NewSequence { prompt, mut stop, priority, salt, retention, fork_of } = new;
        let prompt_len = prompt.len();
        if prompt_len == 0 {
            return Err(AddError::PromptEmpty);
        }
        // The last output token is never computed, so it needs no slot, but it is part of the context.
        let limit = (self.config.max_model_len - 1).min(self.kv.max_tokens(salt));
        if prompt_len > limit {
            return Err(AddError::PromptTooLong { prompt_len, limit });
        }
        stop.max_tokens = stop.max_tokens.clamp(1, limit - prompt_len + 1);
        let id = SequenceId(self.next_id);
        self.next_id += 1;
        let rank = Rank::new(now, priority, self.config.aging, id);
        let sequence = Sequence {
            rank,
            chain: TokenChain::new(self.kv.hasher(), salt, prompt),
            prompt_len,
            stop,
            retention,
            fork_of,
            table: None,
            computed: 0,
            pending: 0,
            paused: false,
            started: false,
            prompt_done_in: None,
            promised: 0..0,
        };
        self.sequences.insert(id, sequence);
        self.waiting.insert((rank, id));
        Ok(id)
    }

    /// Ends a sequence from outside: its client left, or a stop string was found. Unknown ids are ignored, since the
    /// sequence may just have ended by itself.
    pub fn end(&mut self, id: SequenceId) {
        self.break_promises(id);
        if let Some(sequence) = self.sequences.remove(&id) {
            self.leave_queue(id, sequence.rank, sequence.status());
        }
    }

    /// Stops scheduling a sequence whose reader does not keep up. It keeps its blocks until somebody needs them, unless
    /// it has a prompt to go on with: another may compute that meanwhile, and resuming will find it.
    pub fn pause(&mut self, id: SequenceId) {
        self.break_promises(id);
        let Some(sequence) = self.sequences.get_mut(&id) else { return };
        sequence.paused = true;
        if sequence.status() == SequenceStatus::Running && sequence.uncomputed() > self.kv.block_size() {
            self.preempt(id);
        }
    }

    /// Schedules a paused sequence again.
    pub fn resume(&mut self, id: SequenceId) {
        if let Some(sequence) = self.sequences.get_mut(&id) {
            sequence.paused = false;
        }
    }

    /// Plans the next step. Every non-empty plan is followed by [`Scheduler::update`] with its outcome, in order, unless it
    /// failed: then by [`Scheduler::fail_in_flight`] or [`Scheduler::take_back`].
    ///
    /// # Panics
    /// When more steps are in flight than `pipeline_depth` allows.
    pub fn schedule(&mut self) -> StepPlan {
        assert!(self.in_flight.len() <= self.config.pipeline_depth, "more steps in flight than configured");
        self.pressed.clear();
        self.waited.clear();
        self.ahead.clear();
        let blocks = Vec::with_capacity(self.last_blocks);
        let mut plan = StepPlan { step: self.kv.begin_step(), blocks, ..StepPlan::default() };
        self.fill(&mut plan);
        self.last_blocks = plan.blocks.len();
        if !plan.is_empty() {
            let sequences = plan.rows.iter().map(|row| row.sequence).collect();
            self.in_flight.push_back(InFlight { step: plan.step, sequences });
            self.stats.computed_tokens += plan.work.tokens as u64;
        }
        plan
    }

    /// Learns what the oldest planned step gave: one outcome per sampling row, in order, and how long it took.
    ///
    /// # Panics
    /// When plans are updated out of order or outcomes are missing.
    pub fn update(&mut self, plan: &StepPlan, sampled: &[Sampled], elapsed: Duration) -> Vec<SequenceEvent> {
        let oldest = self.in_flight.pop_front().expect("a planned step");
        assert_eq!(oldest.step, plan.step, "steps are updated in order");
        assert_eq!(sampled.len(), plan.sampling_rows().count(), "one outcome per sampling row");
        self.cost.observe(plan.work, elapsed);
        let mut events = Vec::with_capacity(sampled.len());
        for (row, &outcome) in plan.sampling_rows().zip(sampled) {
            // A sequence that ended while this step ran leaves its row behind.
            let Some(sequence) = self.sequences.get_mut(&row.sequence) else { continue };
            sequence.pending -= 1;
            let (token, finished) = match outcome {
                Sampled::Failed => (None, Some(FinishReason::Failed)),
                Sampled::Token(token) => {
                    sequence.chain.push(token);
                    if let Some(table) = &mut sequence.table {
                        let known = sequence.computed.min(sequence.chain.tokens().len());
                        self.kv.commit(table, &sequence.chain, known);
                    }
                    let output_len = sequence.chain.tokens().len() - sequence.prompt_len;
                    (Some(token), sequence.stop.check(token, output_len))
                }
            };
            events.push(SequenceEvent { sequence: row.sequence, token, finished });
            if finished.is_some() {
                self.end(row.sequence);
            }
        }
        events
    }

    /// Every step in flight failed: their sequences end, and what they wrote is forgotten. Returns the ended sequences.
    pub fn fail_in_flight(&mut self) -> Vec<SequenceId> {
        let Some(first) = self.in_flight.front().map(|oldest| oldest.step) else { return Vec::new() };
        let mut ended = Vec::new();
        for step in std::mem::take(&mut self.in_flight) {
            for id in step.sequences {
                if self.sequences.contains_key(&id) {
                    self.end(id);
                    ended.push(id);
                }
            }
        }
        self.kv.invalidate(first);
        ended
    }

    /// The latest planned step, the only one in flight, did not run for lack of memory and left nothing that counts: one of
    /// its sequences ends for it, the one with the most tokens in it, of equals the one of highest rank. The others wait
    /// again, and find what earlier steps computed. Returns the one that ended; `None` when all had ended meanwhile.
    ///
    /// # Panics
    /// When another step is in flight.
    pub fn take_back(&mut self, plan: &StepPlan) -> Option<SequenceId> {
        let step = self.in_flight.pop_back().expect("a planned step").step;
        assert!(step == plan.step && self.in_flight.is_empty(), "earlier steps are updated first");
        let weight = |row: &PlanRow| Some((row.tokens.len(), self.sequences.get(&row.sequence)?.rank, row.sequence));
        let victim = plan.rows.iter().filter_map(weight).max().map(|(.., id)| id);
        for row in &plan.rows {
            let Some(sequence) = self.sequences.get_mut(&row.sequence) else { continue };
            sequence.pending -= usize::from(row.samples);
            if sequence.status() == SequenceStatus::Running {
                self.preempt(row.sequence);
            }
        }
        if let Some(victim) = victim {
            self.end(victim);
        }
        self.kv.take_back(step);
        victim
    }

    /// Whether there is no sequence and no step in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.sequences.is_empty() && self.in_flight.is_empty()
    }

    /// Where a sequence stands; `None` once it ended.
    #[must_use]
    pub fn status(&self, id: SequenceId) -> Option<SequenceStatus> {
        self.sequences.get(&id).map(Sequence::status)
    }

    /// Counters and gauges.
    #[must_use]
    pub fn stats(&self) -> SchedulerStats {
        let (running, waiting) = (self.running.len(), self.waiting.len());
        SchedulerStats { running, waiting, kv: self.kv.usage(), ..self.stats }
    }

    /// Who was passed over in the last plan because another sequence is about to compute its prefix, and which one.
    #[must_use]
    pub fn waited_for_prefix(&self) -> &[(SequenceId, SequenceId)] {
        &self.waited
    }

    fn leave_queue(&mut self, id: SequenceId, rank: Rank, status: SequenceStatus) {
        match status {
            SequenceStatus::Waiting => assert!(self.waiting.remove(&(rank, id)), "a waiting sequence is queued"),
            SequenceStatus::Running => {
                let index = self.running.binary_search(&(rank, id)).expect("a running sequence is listed");
                self.running.remove(index);
            }
        }
    }

    fn break_promises(&mut self, id: SequenceId) {
        if let Some(sequence) = self.sequences.get_mut(&id) {
            let promised = std::mem::take(&mut sequence.promised);
            self.promises.settle(id, &sequence.chain, promised.start, promised.end);
        }
    }

    /// Takes a running sequence's blocks; their content stays findable, so resuming is mostly hits.
    fn preempt(&mut self, id: SequenceId) {
        self.break_promises(id);
        let sequence = self.sequences.get_mut(&id).expect("a running sequence exists");
        let table = sequence.table.take().expect("a running sequence holds blocks");
        self.pressed.push(table.partition());
        sequence.computed = 0;
        sequence.prompt_done_in = None;
        let rank = sequence.rank;
        self.leave_queue(id, rank, SequenceStatus::Running);
        self.waiting.insert((rank, id));
        self.stats.preemptions += 1;
    }

    /// Panics when a belief about the state is wrong.
    pub fn assert_invariants(&self) {
        self.kv.assert_invariants();
        assert!(self.running.is_sorted(), "running sequences are in order of rank");
        assert!(self.running.len() <= self.config.max_num_seqs, "no more run than configured");
        assert_eq!(self.running.len() + self.waiting.len(), self.sequences.len(), "everyone is in one queue");
        for (id, sequence) in &self.sequences {
            let queued = match sequence.status() {
                SequenceStatus::Waiting => self.waiting.contains(&(sequence.rank, *id)),
                SequenceStatus::Running => self.running.binary_search(&(sequence.rank, *id)).is_ok(),
            };
            assert!(queued, "{id:?} is queued where it stands");
            assert!(sequence.pending <= self.config.pipeline_depth + 1, "{id:?} has no more pending than steps");
            assert!(sequence.computed <= sequence.len(), "{id:?} computes only tokens that there are");
            let slots = sequence.table.as_ref().map_or(0, sconce_kv::BlockTable::len);
            assert_eq!(slots, sequence.computed, "{id:?} has a slot for every computed token");
        }
        for leader in self.promises.leaders() {
            let sequence = self.sequences.get(&leader).expect("promises are made by sequences that exist");
            let keeps = sequence.status() == SequenceStatus::Running && !sequence.paused;
            assert!(keeps, "promises are made by those who run");
        }
        if self.sequences.is_empty() {
            assert!(self.promises.is_empty(), "nobody is left to keep a promise");
            assert_eq!(self.kv.usage().held, 0, "nobody is left to hold a block");
        }
    }
}
