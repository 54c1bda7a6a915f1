//! Runs steps: block copies, the forward, one token for each drawing row. A step is launched and later collected, so that a
//! device may compute one while the next is planned. Knows tokens and slots; who asked for them is not known here.

#[cfg(feature = "cuda")]
mod cuda;
mod host;
#[cfg(any(feature = "cuda", test))]
mod padding;

use crate::batch::ForwardBatch;
use crate::error::ModelError;
use crate::kv_cache::KvCache;
use crate::llama::Llama;
use crate::sampling::{Sampled, Sampler, SamplingError};
use host::HostExecutor;
use sconce_kernels::BlockCopy;

/// How one token is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'a> {
    /// Parameters, seed and history.
    pub sampler: &'a Sampler,
    /// Position of the row whose logits are drawn from.
    pub position: u64,
    /// Tokens that must not be drawn.
    pub banned: &'a [u32],
    /// The draw of the step before whose token belongs to this sequence and is not in the sampler's history yet.
    pub pending: Option<u32>,
}

/// An input token that only the device knows yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingToken {
    /// The row of the batch; its entry in `input_ids` is a placeholder.
    pub row: u32,
    /// The draw of the step before that gave the token.
    pub draw: u32,
}

/// One step's work.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// Block copies to make first, in order.
    pub copies: &'a [BlockCopy],
    /// The rows.
    pub batch: &'a ForwardBatch,
    /// Input tokens that the step before sampled, by row.
    pub pending: &'a [PendingToken],
    /// One for each of the batch's `logits_rows`, in order.
    pub draws: &'a [Draw<'a>],
}

/// What each draw of a step gave, in order.
pub type StepOutcome = Vec<Result<Sampled, SamplingError>>;

/// A step that was launched; it is collected once, in the order of launching.
#[derive(Debug)]
#[must_use]
pub struct Ticket(TicketKind);

#[derive(Debug)]
enum TicketKind {
    Done(StepOutcome),
    #[cfg(feature = "cuda")]
    Card(sconce_kernels::cuda::FetchedDraws),
}

/// Rows of the largest step that is recorded when at most so many sequences run: what lone rows are padded to, and what the
/// memory of graphs is planned for.
#[must_use]
pub fn largest_graph(max_sequences: usize) -> usize {
    const MOST: usize = 256;
    max_sequences.next_power_of_two().min(MOST)
}

/// What an executor must be ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutorBounds {
    /// Rows of a step.
    pub max_rows: usize,
    /// Sequences of a step.
    pub max_sequences: usize,
    /// Tokens of a sequence.
    pub max_model_len: usize,
    /// Launch kernel by kernel instead of playing recorded graphs.
    pub enforce_eager: bool,
}

/// Owns a model and its cache, and runs steps on their device.
#[derive(Debug)]
pub struct Executor(ExecutorKind);

#[derive(Debug)]
enum ExecutorKind {
    Host(Box<HostExecutor>),
    #[cfg(feature = "cuda")]
    Cuda(Box<cuda::CudaExecutor>),
}

impl Executor {
    /// An executor for the devices that model and cache live on. On a card it takes the memory that the largest step needs, and
    /// runs one.
    ///
    /// # Errors
    /// When that memory cannot be had, or the card fails.
    pub fn new(llama: Llama, cache: KvCache, bounds: ExecutorBounds) -> Result<Self, ModelError> {
        #[cfg(feature = "cuda")]
        if llama.devices().are_cuda() {
            let executor = cuda::CudaExecutor::new(llama, cache, bounds)?;
            return Ok(Self(ExecutorKind::Cuda(Box::new(executor))));
        }
        // The CPU takes memory as it goes.
        let _ = bounds;
        Ok(Self(ExecutorKind::Host(Box::new(HostExecutor::new(llama, cache)))))
    }

    /// Begins a step. On the CPU it has ended when this returns.
    ///
    /// # Errors
    /// [`ModelError`] when the step as a whole cannot run; a row that gives nothing to draw from fails alone.
    pub fn launch(&mut self, step: Step<'_>) -> Result<Ticket, ModelError> {
        match &mut self.0 {
            ExecutorKind::Host(host) => host.run(step).map(|outcome| Ticket(TicketKind::Done(outcome))),
            #[cfg(feature = "cuda")]
            ExecutorKind::Cuda(cuda) => cuda.launch(step).map(|draws| Ticket(TicketKind::Card(draws))),
        }
    }

    /// Waits for a step and gives what it drew.
    ///
    /// # Errors
    /// [`ModelError`] when the device failed.
    ///
    /// # Panics
    /// When the ticket is another executor's.
    pub fn collect(&mut self, ticket: Ticket) -> Result<StepOutcome, ModelError> {
        match (&mut self.0, ticket.0) {
            (_, TicketKind::Done(outcome)) => Ok(outcome),
            #[cfg(feature = "cuda")]
            (ExecutorKind::Cuda(cuda), TicketKind::Card(draws)) => cuda.collect(draws),
            #[cfg(feature = "cuda")]
            (ExecutorKind::Host(_), TicketKind::Card(_)) => unreachable!("tickets are collected where they were given"),
        }
    }

    /// Slots of one block of the cache.
    #[must_use]
    pub fn block_size(&self) -> usize {
        match &self.0 {
            ExecutorKind::Host(host) => host.block_size(),
            #[cfg(feature = "cuda")]
            ExecutorKind::Cuda(cuda) => cuda.block_size(),
        }
    }
}
