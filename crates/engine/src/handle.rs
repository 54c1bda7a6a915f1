//! The way in: cheap to clone, never blocks, refuses at once when the engine is full.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use rustc_hash::FxHashMap;
use sconce_model::sampling::SamplingParams;
use sconce_text::{ChatTemplate, Tokenizer};
use tokio::sync::{mpsc, watch};

use crate::end::EngineEnd;
use crate::event::{Generation, GenerationEvent, GenerationEventKind, Permit};
use crate::metrics::EngineMetrics;
use crate::request::{GenerateRequest, SubmitError};

/// Events a request's channel holds before its reader makes the sequence pause.
pub const EVENT_CAPACITY: usize = 64;

/// How often a canary that waits looks whether the loop has stepped.
const CANARY_POLL: Duration = Duration::from_millis(20);

/// Facts about the served model.
#[derive(Debug, Clone)]
pub struct ModelInfo {
    /// The id that requests name.
    pub id: String,
    /// Seconds since the Unix epoch at which it was loaded.
    pub created: u64,
    /// Longest sequence served: the model's context, or less by configuration or memory.
    pub context_length: usize,
    /// Number of tokens in the vocabulary.
    pub vocabulary_size: usize,
    /// How many passages of documents it was trained to answer from, where its file says so (`sconce.answer.passages`).
    pub answer_passages: Option<usize>,
    /// Whether it was trained to answer in the passages' own words, as its file says (`sconce.answer.verbatim`).
    pub answers_verbatim: bool,
    /// Sequences that run at once.
    pub max_num_seqs: usize,
    /// Blocks of the KV cache.
    pub num_blocks: usize,
    /// Tokens a block holds.
    pub block_size: usize,
}

/// A message to the engine thread.
pub(crate) enum Command {
    Submit(Box<Submission>),
    /// Wakes an idle engine, so that it sees a changed flag.
    Wake,
}

/// A request on its way in.
pub(crate) struct Submission {
    pub request: GenerateRequest,
    pub events: mpsc::Sender<GenerationEvent>,
    pub arrived: Instant,
    /// Whether it only proves that the loop decodes.
    pub is_canary: bool,
}

/// How many tokens of one sequence fit in each tenant's share of the cache.
pub(crate) struct CacheShares {
    /// Without a salt, or with one that has no quota.
    pub common: usize,
    /// By the salt's name.
    pub quotas: FxHashMap<String, usize>,
}

impl CacheShares {
    fn tokens(&self, salt: Option<&str>) -> usize {
        salt.and_then(|salt| self.quotas.get(salt)).copied().unwrap_or(self.common)
    }
}

/// What the handle and the engine thread share.
pub(crate) struct Shared {
    pub model: ModelInfo,
    pub tokenizer: Arc<Tokenizer>,
    pub template: Option<ChatTemplate>,
    pub shares: CacheShares,
    pub metrics: EngineMetrics,
    pub started: Instant,
    /// Milliseconds after `started` at which the loop last completed a step.
    pub last_step_ms: AtomicU64,
    /// Set by [`EngineHandle::shutdown`]: admit nothing new, end when idle.
    pub draining: AtomicBool,
    /// Set by [`EngineHandle::cut`]: end everything now.
    pub cut: AtomicBool,
    /// Set when the loop ends, for whatever reason: nothing is taken any more.
    pub end: watch::Sender<Option<EngineEnd>>,
}

/// A handle on a running engine.
#[derive(Clone)]
pub struct EngineHandle {
    pub(crate) inbox: SyncSender<Command>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) in_engine: Arc<AtomicUsize>,
    pub(crate) limit: usize,
}

/// Why the canary token did not come. `Display` is fit for an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CanaryError {
    /// The engine refused it.
    #[error("the engine refused a canary token: {0}")]
    Refused(SubmitError),
    /// The engine has ended.
    #[error("{0}")]
    Ended(EngineEnd),
    /// No token within the time.
    #[error("no canary token within {0:?}")]
    TimedOut(Duration),
    /// The token came back as an error.
    #[error("the canary token failed: {0}")]
    Failed(String),
}

impl EngineHandle {
    /// Submits a request; the answer is a stream of events. Never blocks.
    ///
    /// # Errors
    /// [`SubmitError`] when a field is out of range, the engine is full, draining or gone.
    pub fn generate(&self, request: GenerateRequest) -> Result<Generation, SubmitError> {
        self.submit(request, false)
    }

    fn submit(&self, request: GenerateRequest, is_canary: bool) -> Result<Generation, SubmitError> {
        request.validate(self.shared.model.vocabulary_size)?;
        let (prompt_tokens, limit) = (request.prompt.len(), self.shared.model.context_length - 1);
        if prompt_tokens > limit {
            return Err(SubmitError::PromptTooLong { prompt_tokens, limit });
        }
        let limit = self.shared.shares.tokens(request.cache_salt.as_deref());
        if prompt_tokens > limit {
            return Err(SubmitError::PromptExceedsShare { prompt_tokens, limit });
        }
        if self.is_stopped() {
            return Err(SubmitError::Stopped);
        }
        if self.shared.draining.load(Ordering::Acquire) {
            return Err(SubmitError::ShuttingDown);
        }
        let overloaded = SubmitError::Overloaded { limit: self.limit };
        let permit = Permit::acquire(&self.in_engine, self.limit).ok_or(overloaded.clone())?;
        // Each choice keeps one place for its end, so that the end is delivered however full the rest is.
        let (sender, events) = mpsc::channel(EVENT_CAPACITY + request.n as usize);
        let submission = Submission { request, events: sender, arrived: Instant::now(), is_canary };
        match self.inbox.try_send(Command::Submit(Box::new(submission))) {
            Ok(()) => Ok(Generation { events, _permit: permit }),
            Err(TrySendError::Full(_)) => Err(overloaded),
            Err(TrySendError::Disconnected(_)) => Err(SubmitError::Stopped),
        }
    }

    /// Facts about the served model.
    #[must_use]
    pub fn model(&self) -> &ModelInfo {
        &self.shared.model
    }

    /// Requests that may be in the engine at once, running, waiting and not yet read.
    #[must_use]
    pub fn max_requests(&self) -> usize {
        self.limit
    }

    /// The model's tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.shared.tokenizer
    }

    /// The model's chat template, if it has one.
    #[must_use]
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.shared.template.as_ref()
    }

    /// The engine's metrics.
    #[must_use]
    pub fn metrics(&self) -> &EngineMetrics {
        &self.shared.metrics
    }

    /// Registers the engine's metrics.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.shared.metrics.register(registry);
    }

    /// Whether the engine still admits requests.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Acquire)
    }

    /// Whether the engine has ended: it takes nothing any more.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.end().is_some()
    }

    /// Why the engine has ended; `None` while it runs.
    #[must_use]
    pub fn end(&self) -> Option<EngineEnd> {
        *self.shared.end.borrow()
    }

    /// Waits until the engine has ended, and says why.
    pub async fn ended(&self) -> EngineEnd {
        let mut end = self.shared.end.subscribe();
        // The sender lives in what this handle shares, so the wait ends with a reason.
        let ended = end.wait_for(Option::is_some).await;
        ended.ok().and_then(|end| *end).unwrap_or(EngineEnd::Panicked)
    }

    /// Proves that the loop decodes: one token through the model when idle, a recent step when busy.
    ///
    /// # Errors
    /// [`CanaryError`] saying what did not happen within `timeout`.
    pub async fn canary(&self, timeout: Duration) -> Result<(), CanaryError> {
        let shared = &self.shared;
        if let Some(end) = self.end() {
            return Err(CanaryError::Ended(end));
        }
        if self.in_engine.load(Ordering::Acquire) > 0 {
            let last_step = Duration::from_millis(shared.last_step_ms.load(Ordering::Acquire));
            let since = shared.started.elapsed().saturating_sub(last_step);
            if since <= timeout {
                return Ok(());
            }
        }
        let asked = shared.last_step_ms.load(Ordering::Acquire);
        let sampling = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
        let prompt = vec![shared.tokenizer.bos().unwrap_or(0)];
        let request = GenerateRequest { prompt, n: 1, sampling, max_tokens: Some(1), ..GenerateRequest::default() };
        let generation = match self.submit(request, true) {
            Ok(generation) => Some(generation),
            // A full engine that steps is as ready as it can be.
            Err(SubmitError::Overloaded { .. }) => None,
            Err(error) => return Err(CanaryError::Refused(error)),
        };
        let own_token = async {
            match generation {
                Some(generation) => own_token(generation).await,
                None => std::future::pending().await,
            }
        };
        // With slow steps and a full batch the token may have to wait, but a step that lands meanwhile says the same.
        let other_step = async {
            while shared.last_step_ms.load(Ordering::Acquire) == asked {
                tokio::time::sleep(CANARY_POLL).await;
            }
        };
        tokio::select! {
            biased;
            ended = own_token => ended,
            () = other_step => Ok(()),
            () = tokio::time::sleep(timeout) => Err(CanaryError::TimedOut(timeout)),
        }
    }

    /// Stops admitting; what is in the engine goes on to its end.
    pub fn shutdown(&self) {
        self.shared.draining.store(true, Ordering::Release);
        // A full inbox needs no waking: the loop is busy and sees the flag.
        let _ = self.inbox.try_send(Command::Wake);
    }

    /// Ends everything that still runs with [`crate::GenerationError::ShuttingDown`], after [`EngineHandle::shutdown`].
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::Release);
        self.shutdown();
    }
}

/// Waits for the end of a canary's generation.
async fn own_token(mut generation: Generation) -> Result<(), CanaryError> {
    while let Some(event) = generation.next().await {
        match event.kind {
            GenerationEventKind::Finished { .. } => return Ok(()),
            GenerationEventKind::Failed { error } => return Err(CanaryError::Failed(error.to_string())),
            GenerationEventKind::Started { .. } | GenerationEventKind::Delta { .. } => {}
        }
    }
    Err(CanaryError::Refused(SubmitError::Stopped))
}

impl fmt::Debug for EngineHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineHandle").field("model", &self.shared.model.id).finish_non_exhaustive()
    }
}
