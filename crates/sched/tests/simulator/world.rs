//! Clients, time and faults around a scheduler, all from one seed; checks what must always hold after each step.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use sconce_kv::{KvCacheConfig, KvCacheManager, RetentionPlan, Salt, TokenId};
use sconce_sched::{
    AddError, FinishReason, NewSequence, Sampled, Scheduler, SchedulerConfig, SequenceEvent, SequenceId,
    SequenceStatus, StepPlan, StopRules,
};

use crate::device::{Device, extend, mix, next_token};

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mix(self.0) % bound as u64) as usize
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// Virtual arrival and id: lower comes first.
type Rank = (i64, SequenceId);

struct Client {
    salt: Salt,
    rank: Rank,
    prompt_len: usize,
    stop: StopRules,
    /// Output tokens at most, by its own limit and by what can ever fit.
    longest: usize,
    tokens: Vec<TokenId>,
    paused: bool,
    started: bool,
    /// Steps it has waited for its first one, and how many it may, by the scheduler's stated bound.
    waited: usize,
    bound: usize,
    /// Those of higher rank that began while it waited for a prefix. It waits for them only if they still run when the
    /// prefix is there; until then it waits for its leader, which the bound has already.
    overtakers: Vec<SequenceId>,
}

impl Client {
    /// Steps that waiting for it may take: a step computes one of its tokens at least.
    fn size(&self) -> usize {
        self.prompt_len + self.stop.max_tokens + 2
    }

    fn waits(&self) -> bool {
        !self.started && !self.paused
    }
}

/// What happened over a run, so that a test can tell that the interesting things did happen.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) ended: u64,
    pub(crate) preemptions: u64,
    pub(crate) cached_tokens: u64,
    pub(crate) copies: u64,
    pub(crate) waits: u64,
    pub(crate) refused: u64,
    pub(crate) aborted: u64,
    pub(crate) failed_steps: u64,
    pub(crate) taken_back: u64,
}

pub(crate) struct World {
    random: Random,
    scheduler: Scheduler,
    device: Device,
    clients: HashMap<SequenceId, Client>,
    documents: Vec<Vec<TokenId>>,
    now: Duration,
    depth: usize,
    aging: Duration,
    max_model_len: usize,
    /// Tokens that one sequence of a salt can hold at most: of the commons, and of salt 1.
    room: [usize; 2],
    has_quota: bool,
    flying: VecDeque<(StepPlan, Vec<Sampled>)>,
    pub(crate) tally: Tally,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x1000_0001));
        let block_size = [1, 4, 8, 32][random.below(4)];
        let num_blocks = 6 + random.below(60);
        let quota = if random.chance(50) { 2 + random.below(num_blocks / 3) } else { 0 };
        let quotas = if quota > 0 { vec![(Salt(1), quota)] } else { vec![] };
        let kv = KvCacheConfig { num_blocks, block_size, hash_key: [7; 16], quotas };
        let max_num_seqs = 1 + random.below(10);
        let config = SchedulerConfig {
            max_num_seqs,
            max_num_batched_tokens: max_num_seqs + random.below(64),
            max_model_len: 2 + random.below(num_blocks * block_size * 2),
            step_target: Duration::from_millis(20 + random.below(200) as u64),
            pipeline_depth: random.below(2),
            aging: Duration::from_millis(500),
        };
        let documents = (0..4)
            .map(|_| {
                let length = random.below(num_blocks * block_size + 8);
                (0..length).map(|_| TokenId(random.below(5) as u32)).collect()
            })
            .collect();
        Self {
            depth: config.pipeline_depth,
            aging: config.aging,
            max_model_len: config.max_model_len,
            room: [(num_blocks - quota) * block_size, quota * block_size],
            has_quota: quota > 0,
            scheduler: Scheduler::new(config, KvCacheManager::new(&kv).expect("in range")).expect("in range"),
            device: Device::new(num_blocks, block_size),
            clients: HashMap::new(),
            documents,
            now: Duration::ZERO,
            flying: VecDeque::new(),
            tally: Tally::default(),
            random,
        }
    }

    /// Runs `steps` steps with arrivals and faults, then lets everything end.
    pub(crate) fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.disturb();
            self.step();
        }
        let clients: Vec<SequenceId> = self.clients.keys().copied().collect();
        for id in clients {
            self.resume(id);
        }
        let mut left = 100_000;
        while !self.scheduler.is_idle() {
            self.step();
            left -= 1;
            assert!(left > 0, "everything ends");
        }
        assert!(self.clients.is_empty(), "every request ends");
        assert_eq!(self.scheduler.stats().kv.held, 0, "no block leaks");
        self.tally.preemptions = self.scheduler.stats().preemptions;
    }

    fn disturb(&mut self) {
        self.now += Duration::from_millis(self.random.below(100) as u64);
        let crowd = self.clients.len();
        if crowd < 24 && self.random.chance(30) {
            let burst = if self.random.chance(20) { 1 + self.random.below(6) } else { 1 };
            self.arrive(burst);
        }
        let mut ids: Vec<SequenceId> = self.clients.keys().copied().collect();
        ids.sort();
        if ids.is_empty() {
            return;
        }
        let id = ids[self.random.below(ids.len())];
        let client = self.clients.get_mut(&id).expect("listed");
        match self.random.below(100) {
            0..3 => {
                self.scheduler.end(id);
                self.scheduler.end(id);
                self.clients.remove(&id);
                self.tally.aborted += 1;
            }
            3..8 => {
                client.paused = true;
                self.scheduler.pause(id);
            }
            8..40 => self.resume(id),
            _ => {}
        }
    }

    /// A burst of requests with one prompt; the later ones sometimes as forks of the first.
    fn arrive(&mut self, burst: usize) {
        let document = self.random.below(self.documents.len());
        let length = self.random.below(self.documents[document].len() + 1);
        let mut prompt = self.documents[document][..length].to_vec();
        let salt = Salt(self.random.below(3) as u128);
        let fork = self.random.chance(30);
        let mut first = None;
        for _ in 0..burst {
            if !fork || first.is_none() {
                prompt.extend((0..1 + self.random.below(6)).map(|_| TokenId(self.random.below(5) as u32)));
            }
            let stop = StopRules {
                max_tokens: 1 + self.random.below(40),
                min_tokens: self.random.below(4),
                stop_tokens: if self.random.chance(70) { vec![TokenId(0)] } else { vec![] },
            };
            let priority = self.random.below(5) as i32 - 2;
            let retention = RetentionPlan { document_tokens: self.random.below(length + 1), pinned: false };
            let id = self.add(NewSequence {
                prompt: prompt.clone(),
                stop,
                priority,
                salt,
                retention,
                fork_of: first.filter(|_| fork),
            });
            first = first.or(id);
        }
    }

    fn add(&mut self, new: NewSequence) -> Option<SequenceId> {
        let (tokens, salt, priority, stop) = (new.prompt.clone(), new.salt, new.priority, new.stop.clone());
        let id = match self.scheduler.add(new, self.now) {
            Ok(id) => id,
            Err(AddError::PromptTooLong { prompt_len, limit }) => {
                assert!(prompt_len == tokens.len() && prompt_len > limit, "only what cannot fit is refused");
                self.tally.refused += 1;
                return None;
            }
            Err(other) => panic!("{other}"),
        };
        self.device.register(id, mix(salt.0 as u64));
        let prompt_len = tokens.len();
        let limit = (self.max_model_len - 1).min(self.room[self.partition(salt)]);
        let client = Client {
            salt,
            rank: (self.now.as_micros() as i64 + self.aging.as_micros() as i64 * i64::from(priority), id),
            prompt_len,
            longest: stop.max_tokens.min(limit - prompt_len + 1),
            stop,
            tokens,
            paused: false,
            started: false,
            waited: 0,
            bound: 0,
            overtakers: Vec::new(),
        };
        for other in self.clients.values_mut().filter(|other| client.rank < other.rank) {
            other.bound += client.size();
        }
        self.clients.insert(id, client);
        self.begin_waiting(id);
        Some(id)
    }

    fn resume(&mut self, id: SequenceId) {
        self.scheduler.resume(id);
        let client = self.clients.get_mut(&id).expect("listed");
        if std::mem::take(&mut client.paused) {
            self.begin_waiting(id);
        }
    }

    /// From now on it waits for itself, for those that rank before it, and for those that run.
    fn begin_waiting(&mut self, id: SequenceId) {
        let client = &self.clients[&id];
        let counts = |other: &SequenceId, state: &Client| {
            state.rank <= client.rank || self.scheduler.status(*other) == Some(SequenceStatus::Running)
        };
        let ahead = self.clients.iter().filter(|(other, state)| counts(other, state));
        let bound = client.waited + 8 + ahead.map(|(_, state)| state.size()).sum::<usize>();
        let client = self.clients.get_mut(&id).expect("listed");
        client.bound = bound;
        client.overtakers.clear();
    }

    fn partition(&self, salt: Salt) -> usize {
        usize::from(self.has_quota && salt == Salt(1))
    }

    fn step(&mut self) {
        let is_running = |scheduler: &Scheduler, id| scheduler.status(id) == Some(SequenceStatus::Running);
        let mut begun: Vec<SequenceId> = self.clients.keys().copied().collect();
        begun.retain(|&id| !is_running(&self.scheduler, id));
        let plan = self.scheduler.schedule();
        begun.retain(|&id| is_running(&self.scheduler, id));
        self.scheduler.assert_invariants();
        self.check_kv_total();
        self.check_rows(&plan);
        self.check_leaders(&plan, &begun);
        self.check_order(&plan, &begun);
        self.tally.copies += plan.copies.len() as u64;
        self.tally.waits += self.scheduler.waited_for_prefix().len() as u64;
        if plan.is_empty() {
            assert!(plan.copies.is_empty(), "nothing is copied for nobody");
            let stuck = self.flying.is_empty() && self.clients.values().any(|client| !client.paused);
            assert!(!stuck, "somebody can always go on");
            self.land();
            return;
        }
        if self.random.below(500) == 0 {
            self.run_out_of_memory(&plan);
            return;
        }
        let clients = &self.clients;
        let mut sampled = self.device.run(&plan, &|id| clients.get(&id).map(|client| client.tokens.clone()));
        if !sampled.is_empty() && self.random.chance(1) {
            let row = self.random.below(sampled.len());
            sampled[row] = Sampled::Failed;
        }
        self.flying.push_back((plan, sampled));
        if self.random.below(1000) == 0 {
            self.fail();
        } else if self.flying.len() > self.depth {
            self.land();
        }
        self.scheduler.assert_invariants();
    }

    /// The oldest step's outcome arrives.
    fn land(&mut self) {
        let Some((plan, sampled)) = self.flying.pop_front() else { return };
        let elapsed = Duration::from_micros(500 + plan.work.tokens as u64 * 900 + plan.work.attended as u64);
        let events = self.scheduler.update(&plan, &sampled, elapsed);
        for SequenceEvent { sequence, token, finished } in events {
            let client = self.clients.get_mut(&sequence).expect("news only of those who did not end");
            client.tokens.extend(token);
            if let Some(reason) = finished {
                self.check_ending(sequence, reason);
            }
        }
    }

    /// The device faults: every step in flight is lost, and so is what it wrote.
    fn fail(&mut self) {
        for id in self.scheduler.fail_in_flight() {
            self.clients.remove(&id).expect("only those who did not end");
            self.tally.ended += 1;
        }
        for (plan, _) in self.flying.drain(..) {
            self.device.spoil(&plan);
        }
        self.tally.failed_steps += 1;
    }

    /// The device has no memory for a step: what is in flight lands, one sequence pays, and the others go on.
    fn run_out_of_memory(&mut self, plan: &StepPlan) {
        self.device.spoil(plan);
        while !self.flying.is_empty() {
            self.land();
        }
        let known = |id: &SequenceId| self.clients.contains_key(id);
        let most = plan.rows.iter().filter(|row| known(&row.sequence)).map(|row| row.tokens.len()).max();
        let victim = self.scheduler.take_back(plan);
        self.scheduler.assert_invariants();
        let paid = victim.and_then(|id| plan.rows.iter().find(|row| row.sequence == id));
        assert_eq!(paid.map(|row| row.tokens.len()), most, "the largest row that is still read pays");
        if let Some(victim) = victim {
            self.clients.remove(&victim).expect("only those who did not end");
            self.tally.ended += 1;
        }
        // The others are computed again, at worst from their beginnings, and the step was for nothing.
        let mut lost = 1;
        for row in &plan.rows {
            if let Some(client) = self.clients.get(&row.sequence) {
                assert_eq!(self.scheduler.status(row.sequence), Some(SequenceStatus::Waiting), "it waits again");
                lost += client.size();
            }
        }
        self.clients.values_mut().for_each(|client| client.bound += lost);
        self.tally.taken_back += 1;
    }

    /// The output is what the sequence alone would have given, and it ended for the reason that it says.
    fn check_ending(&mut self, id: SequenceId, reason: FinishReason) {
        let client = self.clients.remove(&id).expect("it ends once");
        self.tally.ended += 1;
        let mut prefix = client.tokens[..client.prompt_len]
            .iter()
            .fold(mix(client.salt.0 as u64), |prefix, &token| extend(prefix, token));
        let output = &client.tokens[client.prompt_len..];
        for &token in output {
            assert_eq!(token, next_token(prefix), "{id:?} gives what it gives alone");
            prefix = extend(prefix, token);
        }
        let StopRules { min_tokens, stop_tokens, .. } = &client.stop;
        let stops_at = (*min_tokens..output.len()).find(|&index| stop_tokens.contains(&output[index]));
        match reason {
            FinishReason::Stop => assert_eq!(stops_at, Some(output.len() - 1), "{id:?} ends with its first stop token"),
            FinishReason::Length => {
                assert_eq!((stops_at, output.len()), (None, client.longest), "{id:?} ends at its limit");
            }
            FinishReason::Failed => assert!(stops_at.is_none() && output.len() < client.longest, "{id:?} went on"),
        }
    }

    fn check_kv_total(&self) {
        let usage = self.scheduler.stats().kv;
        assert_eq!(usage.blank + usage.cached + usage.held, usage.total, "free + used = total");
    }

    /// Everyone who runs and is read has a row, unless the tokens in flight reach its limit.
    fn check_rows(&self, plan: &StepPlan) {
        for (&id, client) in &self.clients {
            let rows = self.flying.iter().flat_map(|(plan, _)| plan.sampling_rows());
            let in_flight = rows.filter(|row| row.sequence == id).count();
            let is_saturated = client.tokens.len() - client.prompt_len + in_flight >= client.longest;
            let runs = self.scheduler.status(id) == Some(SequenceStatus::Running);
            if runs && !client.paused && !is_saturated {
                assert!(plan.rows.iter().any(|row| row.sequence == id), "{id:?} runs and gets a token");
            }
        }
    }

    /// Who waits for a leader has it computed before anybody begins that ranks behind the two of them.
    fn check_leaders(&self, plan: &StepPlan, begun: &[SequenceId]) {
        for (follower, leader) in self.scheduler.waited_for_prefix() {
            let rank = self.clients[follower].rank;
            let turn = plan.rows.iter().position(|row| row.sequence == *leader).expect("a leader computes");
            let before = plan.rows[..turn].iter().map(|row| row.sequence).filter(|id| begun.contains(id));
            for id in before {
                assert!(
                    self.clients[&id].rank < rank,
                    "{id:?} begins between {leader:?} and its follower {follower:?}"
                );
            }
        }
    }

    /// Nobody is overtaken in its own partition but while it waits for a prefix, and everybody runs within the bound.
    fn check_order(&mut self, plan: &StepPlan, begun: &[SequenceId]) {
        let follows: HashSet<SequenceId> = self.scheduler.waited_for_prefix().iter().map(|&(id, _)| id).collect();
        for started in &plan.started {
            let client = self.clients.get_mut(&started.sequence).expect("only those who did not end start");
            client.started = true;
            self.tally.cached_tokens += started.cached_tokens as u64;
        }
        for &id in begun {
            let newcomer = &self.clients[&id];
            let (rank, size, partition) = (newcomer.rank, newcomer.size(), self.partition(newcomer.salt));
            let of_other: HashSet<SequenceId> = self
                .clients
                .iter()
                .filter(|(_, client)| self.partition(client.salt) != partition)
                .map(|(&other, _)| other)
                .collect();
            for (other, client) in self.clients.iter_mut().filter(|(_, client)| client.waits() && client.rank < rank) {
                if follows.contains(other) {
                    client.overtakers.push(id);
                } else {
                    assert!(of_other.contains(other), "{other:?} is overtaken for no reason");
                    client.bound += size;
                }
            }
        }
        let sizes: HashMap<SequenceId, usize> = self.clients.iter().map(|(&id, client)| (id, client.size())).collect();
        for (id, client) in self.clients.iter_mut().filter(|(_, client)| client.waits()) {
            if !follows.contains(id) {
                client.bound += client.overtakers.drain(..).filter_map(|other| sizes.get(&other)).sum::<usize>();
            }
            client.waited += 1;
            assert!(client.waited <= client.bound, "{id:?} waits longer than the stated bound");
        }
    }
}
