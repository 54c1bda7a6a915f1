//! The engine thread: commands in, a step, events out.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rustc_hash::FxHashMap;
use sconce_kv::{KvCacheConfig, KvCacheManager, Salt};
use sconce_model::{DeviceMemory, Executor, ExecutorBounds, KvCache, Llama, ModelError, StepOutcome, Ticket, part};
use sconce_sched::{Scheduler, SchedulerConfig, SchedulerStats, SequenceId, StepPlan};
use sconce_text::{ChatTemplate, Tokenizer};
use siphasher::sip128::{Hasher128, SipHasher13};
use tokio::sync::watch;

use crate::config::{EngineConfig, EngineError};
use crate::end::{self, EngineEnd, SayPanickedOnDrop};
use crate::event::GenerationError;
use crate::handle::{CacheShares, Command, EngineHandle, ModelInfo, Shared};
use crate::load::LoadedModel;
use crate::memory::card::{self, StageMemory};
use crate::metrics::EngineMetrics;
use crate::runner::ModelRunner;
use crate::stream::Stream;

/// How often a loop with nothing to run but unread streams looks again.
const STALL_POLL: Duration = Duration::from_millis(5);

/// Steps that may fail one after another before the engine gives up.
const MAX_FAILED_STEPS: u32 = 3;

/// The engine thread's state.
pub(crate) struct Engine {
    pub(crate) scheduler: Scheduler,
    pub(crate) runner: ModelRunner,
    pub(crate) streams: FxHashMap<SequenceId, Stream>,
    /// Choices that ended, but whose reader has not taken everything yet.
    pub(crate) leaving: Vec<Stream>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) salt_key: [u8; 16],
    pub(crate) slow_reader_timeout: Duration,
    pub(crate) pin_documents: bool,
    inbox: Receiver<Command>,
    /// Steps that were launched and whose outcome the scheduler does not know yet, oldest first, with when they were.
    in_flight: VecDeque<(StepPlan, Ticket, Instant)>,
    /// When the latest step landed: before that the device was not at the next.
    last_landed: Instant,
    pipeline_depth: usize,
    failed_steps: u32,
    /// What the driver said when the device was lost.
    lost: Option<String>,
    /// What the metrics have been told.
    reported: SchedulerStats,
}

/// The thread behind a handle.
#[derive(Debug)]
pub struct EngineThread(JoinHandle<EngineEnd>);

impl EngineThread {
    /// Waits for the thread's end, and says why it came.
    pub fn join(self) -> EngineEnd {
        self.0.join().unwrap_or(EngineEnd::Panicked)
    }
}

/// Starts the engine thread over a loaded model.
///
/// # Errors
/// [`EngineError`] naming what is out of range, or what could not be allocated.
pub fn start(model: LoadedModel, config: &EngineConfig) -> Result<(EngineHandle, EngineThread), EngineError> {
    let LoadedModel { llama, tokenizer, template, answer_passages, answers_verbatim } = model;
    let llama = llama.with_activation(config.activation)?;
    let num_blocks = num_blocks(config, &llama)?;
    let salt_key = random_key();
    let quotas = quotas(config, num_blocks, &salt_key)?;
    let common_blocks = num_blocks - quotas.iter().map(|(_, blocks)| blocks).sum::<usize>().min(num_blocks);
    let shares = cache_shares(config, &quotas, common_blocks);
    let largest_share = quotas.iter().map(|&(_, blocks)| blocks).fold(common_blocks, usize::max);
    let context_length = context_length(config, &llama, largest_share * config.block_size);
    let kv_config = KvCacheConfig { num_blocks, block_size: config.block_size, hash_key: random_key(), quotas };
    KvCacheManager::new(&kv_config)?;
    let scheduler_config = scheduler_config(config, context_length)?;
    let cache = KvCache::allocate(&llama, num_blocks, config.block_size, config.kv_cache_dtype)?;
    let info = ModelInfo {
        id: config.model_id.clone(),
        created: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs()),
        context_length: scheduler_config.max_model_len,
        vocabulary_size: llama.config().vocab_size,
        answer_passages,
        answers_verbatim,
        max_num_seqs: config.max_num_seqs,
        num_blocks,
        block_size: config.block_size,
    };
    let shared = Arc::new(shared(info, tokenizer, template, shares));
    // One place more than requests, so that a wake-up never takes a request's place.
    let (sender, inbox) = sync_channel(config.max_requests + 1);
    let handle = EngineHandle {
        inbox: sender,
        shared: shared.clone(),
        in_engine: Arc::new(AtomicUsize::new(0)),
        limit: config.max_requests,
    };
    let bounds = executor_bounds(config, &scheduler_config);
    let runner = ModelRunner::new(Executor::new(llama, cache, bounds)?);
    let (slow_reader_timeout, pipeline_depth) = (config.slow_reader_timeout, config.pipeline_depth);
    let pin_documents = config.pin_documents;
    let body = move || {
        let _guard = SayPanickedOnDrop(shared.clone());
        // The bookkeeping lives on this thread alone, so it is made here.
        let kv = KvCacheManager::new(&kv_config).expect("checked before the thread began");
        let scheduler = Scheduler::new(scheduler_config, kv).expect("checked before the thread began");
        let engine = Engine {
            scheduler,
            runner,
            streams: FxHashMap::default(),
            leaving: Vec::new(),
            shared,
            salt_key,
            slow_reader_timeout,
            pin_documents,
            inbox,
            in_flight: VecDeque::new(),
            last_landed: Instant::now(),
            pipeline_depth,
            failed_steps: 0,
            lost: None,
            reported: SchedulerStats::default(),
        };
        engine.run()
    };
    let thread = std::thread::Builder::new().name("sconce-engine".into()).spawn(body)?;
    Ok((handle, EngineThread(thread)))
}

fn scheduler_config(config: &EngineConfig, context_length: usize) -> Result<SchedulerConfig, EngineError> {
    let scheduler_config = SchedulerConfig {
        max_num_seqs: config.max_num_seqs,
        max_num_batched_tokens: config.max_num_batched_tokens.max(config.max_num_seqs),
        max_model_len: context_length.max(2),
        step_target: config.step_target,
        pipeline_depth: config.pipeline_depth,
        aging: config.priority_aging,
    };
    scheduler_config.validate()?;
    Ok(scheduler_config)
}

/// What the executor must be ready for: the largest step that the scheduler plans.
fn executor_bounds(config: &EngineConfig, scheduler: &SchedulerConfig) -> ExecutorBounds {
    ExecutorBounds {
        max_rows: scheduler.max_num_batched_tokens,
        max_sequences: scheduler.max_num_seqs,
        max_model_len: scheduler.max_model_len,
        enforce_eager: config.enforce_eager,
    }
}

/// The longest sequence by model, configuration and what one tenant's share of the cache holds; says when it is shorter than
/// was asked for.
fn context_length(config: &EngineConfig, llama: &Llama, cache_tokens: usize) -> usize {
    let wanted_context = config.context_length(llama.config());
    if let Some(asked) = config.max_model_len.filter(|asked| *asked > wanted_context) {
        tracing::warn!(asked, context_length = wanted_context, "max_model_len is more than the model's context");
    }
    let context_length = wanted_context.min(cache_tokens);
    if context_length < wanted_context {
        tracing::warn!(
            context_length,
            wanted_context,
            "the KV cache is too small for the context; give it more memory"
        );
    }
    context_length
}

/// Blocks of the cache: on cards within what the driver says of them now that the weights are loaded.
fn num_blocks(config: &EngineConfig, llama: &Llama) -> Result<usize, EngineError> {
    let memory = llama.devices().memory()?;
    // These are checked before anything else, whatever the device.
    let on_the_host = config.num_blocks(llama.config())?;
    if memory.is_empty() {
        return Ok(on_the_host);
    }
    let stages: Vec<StageMemory> = memory
        .iter()
        .zip(llama.stage_layers())
        .map(|(device, layers)| {
            let DeviceMemory { total_bytes, free_bytes } = *device;
            StageMemory { total_bytes, free_bytes, layers }
        })
        .collect();
    card::num_blocks(config, llama.config(), &stages)
}

fn shared(model: ModelInfo, tokenizer: Arc<Tokenizer>, template: Option<ChatTemplate>, shares: CacheShares) -> Shared {
    Shared {
        model,
        tokenizer,
        template,
        shares,
        metrics: EngineMetrics::default(),
        started: Instant::now(),
        last_step_ms: AtomicU64::new(0),
        draining: AtomicBool::new(false),
        cut: AtomicBool::new(false),
        end: watch::Sender::new(None),
    }
}

fn random_key() -> [u8; 16] {
    // The standard library seeds each `RandomState` from the operating system.
    let half = || RandomState::new().build_hasher().finish().to_le_bytes();
    let mut key = [0; 16];
    key[..8].copy_from_slice(&half());
    key[8..].copy_from_slice(&half());
    key
}

/// The salt of a name; no name is the common salt.
pub(crate) fn salt_of(name: Option<&str>, key: &[u8; 16]) -> Salt {
    name.map_or(Salt::default(), |name| {
        let mut hasher = SipHasher13::new_with_key(key);
        hasher.write(name.as_bytes());
        Salt(hasher.finish128().as_u128())
    })
}

fn quotas(config: &EngineConfig, num_blocks: usize, key: &[u8; 16]) -> Result<Vec<(Salt, usize)>, EngineError> {
    let mut sum = 0.0;
    config
        .kv_quotas
        .iter()
        .map(|(name, share)| {
            sum += share;
            if !(*share > 0.0 && sum < 1.0) {
                return Err(EngineError::Quota { name: name.clone(), share: *share });
            }
            let blocks = ((num_blocks as f64 * share) as usize).max(1);
            Ok((salt_of(Some(name), key), blocks))
        })
        .collect()
}

/// What a prompt is compared with at the door, so that nobody is refused in the midst of a stream.
fn cache_shares(config: &EngineConfig, quotas: &[(Salt, usize)], common_blocks: usize) -> CacheShares {
    let named = config.kv_quotas.iter().zip(quotas);
    let quotas = named.map(|((name, _), (_, blocks))| (name.clone(), blocks * config.block_size)).collect();
    CacheShares { common: common_blocks * config.block_size, quotas }
}

impl Engine {
    fn run(mut self) -> EngineEnd {
        while self.receive() {
            self.look_after_readers();
            self.step();
            self.report();
        }
        let (end, error) = self.why_it_ends();
        // From here on nothing is taken; what slipped in before is told with the rest.
        end::say(&self.shared, end);
        self.end_everything(&error);
        self.report();
        end
    }

    /// Why the loop ends, and what those who are still here are told.
    fn why_it_ends(&self) -> (EngineEnd, GenerationError) {
        if let Some(detail) = &self.lost {
            return (EngineEnd::DeviceLost, GenerationError::DeviceLost(detail.clone()));
        }
        if self.failed_steps >= MAX_FAILED_STEPS {
            return (EngineEnd::GaveUp, GenerationError::Step(EngineEnd::GaveUp.to_string()));
        }
        (EngineEnd::Finished, GenerationError::ShuttingDown)
    }

    /// Tells everyone who is still here why the loop ended, those in the inbox included.
    fn end_everything(&mut self, error: &GenerationError) {
        while let Ok(command) = self.inbox.try_recv() {
            if let Command::Submit(submission) = command {
                self.admit(*submission);
            }
        }
        let ids: Vec<SequenceId> = self.streams.keys().copied().collect();
        for id in ids {
            self.leave(id, "error", |stream| stream.fail(error.clone()));
        }
        self.leaving.iter_mut().for_each(|stream| stream.fail(error.clone()));
    }

    /// Takes what is in the inbox, waiting only when there is nothing else to do. `false` ends the loop.
    fn receive(&mut self) -> bool {
        loop {
            let flag = |flag: &AtomicBool| flag.load(Ordering::Acquire);
            let unread = !self.leaving.is_empty() || !self.streams.is_empty();
            let idle = self.scheduler.is_idle() && !unread;
            if flag(&self.shared.cut) || self.lost.is_some() || self.failed_steps >= MAX_FAILED_STEPS {
                return false;
            }
            let draining = flag(&self.shared.draining);
            let command = if idle && !draining {
                self.inbox.recv().map_err(|_| mpsc::TryRecvError::Disconnected)
            } else if !idle && self.is_blocked_on_readers() {
                self.inbox.recv_timeout(STALL_POLL).map_err(|error| match error {
                    RecvTimeoutError::Timeout => mpsc::TryRecvError::Empty,
                    RecvTimeoutError::Disconnected => mpsc::TryRecvError::Disconnected,
                })
            } else {
                self.inbox.try_recv()
            };
            match command {
                Ok(Command::Submit(submission)) => self.admit(*submission),
                Ok(Command::Wake) => {}
                Err(mpsc::TryRecvError::Disconnected) if idle => return false,
                // Every handle is gone, but somebody may still read: no news can wake the loop, so it looks now and then.
                Err(mpsc::TryRecvError::Disconnected) if self.is_blocked_on_readers() => {
                    std::thread::sleep(STALL_POLL);
                    return true;
                }
                // What was taken before the drain began has been served.
                Err(mpsc::TryRecvError::Empty) if idle && draining => return false,
                Err(_) => return true,
            }
        }
    }

    /// Whether nothing can run until somebody reads.
    fn is_blocked_on_readers(&self) -> bool {
        self.in_flight.is_empty() && self.streams.values().all(Stream::is_stalled)
    }

    fn step(&mut self) {
        part!("step", self.parts_of_step());
    }

    /// Schedules, runs, learns, emits.
    fn parts_of_step(&mut self) {
        let plan = part!("schedule", self.scheduler.schedule());
        self.announce(&plan);
        // Before anybody hears of this step, so that whoever has a token also finds it counted.
        self.report();
        let ran = !plan.is_empty();
        if ran {
            let began = Instant::now();
            match part!("run", self.runner.launch(&plan)) {
                Ok(ticket) => self.in_flight.push_back((plan, ticket, began)),
                Err(error) => return self.fail_launch(&plan, &error),
            }
        }
        let depth = if ran { self.pipeline_depth } else { 0 };
        self.collect_down_to(depth);
    }

    /// Collects the oldest steps until `depth` are in flight; `false` when one failed, and with it all of them.
    fn collect_down_to(&mut self, depth: usize) -> bool {
        while self.in_flight.len() > depth {
            let Some((plan, ticket, launched)) = self.in_flight.pop_front() else { break };
            match part!("collect", self.runner.collect(&plan, ticket)) {
                Ok(outcome) => part!("emit", self.land(&plan, outcome, launched)),
                Err(error) => {
                    self.fail_steps(&error);
                    return false;
                }
            }
        }
        true
    }

    /// A step did not begin. For lack of memory one sequence pays and the others go on; a step that could not be smaller
    /// has failed, and so has one that did not begin for another reason.
    fn fail_launch(&mut self, plan: &StepPlan, error: &ModelError) {
        if !error.is_out_of_memory() {
            return self.fail_steps(error);
        }
        if !self.collect_down_to(0) {
            return;
        }
        if plan.tokens.len() == 1 {
            return self.fail_steps(error);
        }
        tracing::error!(%error, tokens = plan.tokens.len(), "no memory for a step; its largest sequence ends");
        if let Some(victim) = self.scheduler.take_back(plan) {
            self.leave(victim, "error", |stream| stream.fail(GenerationError::OutOfMemory));
        }
    }

    /// The steps in flight have failed: their sequences end. When the device is lost, everything does.
    fn fail_steps(&mut self, error: &ModelError) {
        let message = error.to_string();
        tracing::error!(error = message, "a step failed; its sequences end");
        self.failed_steps += 1;
        self.lost = error.is_device_lost().then(|| message.clone());
        self.in_flight.clear();
        let told = match &self.lost {
            Some(detail) => GenerationError::DeviceLost(detail.clone()),
            None => GenerationError::Step(message),
        };
        for id in self.scheduler.fail_in_flight() {
            self.leave(id, "error", |stream| stream.fail(told.clone()));
        }
    }

    /// Tells the metrics what has changed.
    fn report(&mut self) {
        let stats = self.scheduler.stats();
        let metrics = &self.shared.metrics;
        let before = std::mem::replace(&mut self.reported, stats);
        metrics.running.set(stats.running as i64);
        metrics.waiting.set(stats.waiting as i64);
        metrics.kv_usage.set(stats.kv.held as f64 / stats.kv.total.max(1) as f64);
        metrics.prompt_tokens.inc_by(stats.prompt_tokens - before.prompt_tokens);
        metrics.cached_tokens.inc_by(stats.cached_tokens - before.cached_tokens);
        metrics.computed_tokens.inc_by(stats.computed_tokens - before.computed_tokens);
        metrics.preemptions.inc_by(stats.preemptions - before.preemptions);
    }

    /// A step's outcome is known.
    fn land(&mut self, plan: &StepPlan, outcome: StepOutcome, launched: Instant) {
        let now = Instant::now();
        let elapsed = now - launched.max(self.last_landed);
        self.last_landed = now;
        self.failed_steps = 0;
        self.shared.metrics.step_duration.observe(elapsed.as_secs_f64());
        self.learn(plan, outcome, elapsed);
        let since_start = self.shared.started.elapsed().as_millis();
        self.shared.last_step_ms.store(u64::try_from(since_start).unwrap_or(u64::MAX), Ordering::Release);
    }
}
