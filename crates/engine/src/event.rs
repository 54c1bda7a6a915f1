//! What comes back from the engine: a bounded stream of events per request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

/// One thing that happened to one choice of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationEvent {
    /// The choice, `0..n`.
    pub index: u32,
    /// What happened.
    pub kind: GenerationEventKind,
}

/// What happened to a choice. Each ends exactly once, with `Finished` or `Failed`.
#[derive(Debug, Clone, PartialEq)]
pub enum GenerationEventKind {
    /// It runs for the first time.
    Started {
        /// Prompt tokens that were found in the KV cache.
        cached_tokens: u32,
    },
    /// More output. The text may be empty while a character or a possible stop string is incomplete.
    Delta {
        /// Text that is now certain.
        text: String,
        /// The tokens sampled since the last delta.
        tokens: Vec<TokenLogprob>,
    },
    /// It ended as asked.
    Finished {
        /// Why.
        reason: FinishReason,
        /// What it cost.
        usage: ChoiceUsage,
    },
    /// It ended with an error.
    Failed {
        /// Why.
        error: GenerationError,
    },
}

/// A sampled token with the probabilities that were asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub id: u32,
    /// Its natural-log probability, when `logprobs` was asked for.
    pub logprob: Option<f32>,
    /// The most likely tokens with theirs, most likely first.
    pub top: Vec<(u32, f32)>,
}

/// Why a choice ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// An end-of-generation token, a stop token or a stop string.
    Stop,
    /// `max_tokens` or the context's end.
    Length,
}

/// Token counts of one choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChoiceUsage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Those of them that came from the KV cache when the choice first ran.
    pub cached_tokens: u32,
    /// Tokens generated.
    pub completion_tokens: u32,
}

/// Why a choice failed. `Display` is fit for a user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerationError {
    /// The reader left the stream full for too long.
    #[error("the stream was not read for {seconds} s and was cut")]
    SlowReader {
        /// The bound.
        seconds: u64,
    },
    /// The model gave no usable logits (NaN, infinity or nothing left to sample from).
    #[error("the model gave no usable output: {0}")]
    Numeric(String),
    /// The step failed on the device.
    #[error("the step failed: {0}")]
    Step(String),
    /// There was no memory for the step, and this choice had the most tokens in it.
    #[error(
        "the device had no memory left for the step, in which this request had the most tokens; lower \
         --max-num-batched-tokens, --kv-memory or --gpu-memory-utilization"
    )]
    OutOfMemory,
    /// The device faulted or is gone; the process ends and must be started again.
    #[error("{0}; the server must be started again")]
    DeviceLost(String),
    /// The server is going away and the drain time is over.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// A running request: a stream of events. Dropping it aborts the request; the next step frees its blocks.
#[derive(Debug)]
pub struct Generation {
    pub(crate) events: mpsc::Receiver<GenerationEvent>,
    /// Held so that the request counts against the engine's bound until its reader is gone.
    pub(crate) _permit: Permit,
}

impl Generation {
    /// The next event, or `None` after every choice has ended.
    pub async fn next(&mut self) -> Option<GenerationEvent> {
        self.events.recv().await
    }

    /// [`Generation::next`] for a thread outside the async runtime.
    ///
    /// # Panics
    /// When called on a thread of an async runtime.
    pub fn blocking_next(&mut self) -> Option<GenerationEvent> {
        self.events.blocking_recv()
    }
}

/// A place among the requests that may be in the engine at once; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Permit(Arc<AtomicUsize>);

impl Permit {
    /// Takes a place, or `None` when `limit` are taken.
    pub(crate) fn acquire(taken: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        taken
            .try_update(Ordering::AcqRel, Ordering::Acquire, |count| (count < limit).then_some(count + 1))
            .ok()
            .map(|_| Self(taken.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
