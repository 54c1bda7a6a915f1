//! Runs steps: block copies, the forward, one token for each drawing row. A step is launched and later collected, so that a
//! device may compute one while the next is planned. Knows tokens and slots; who asked for them is not known here.

mod host;

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
}

/// Owns a model and its cache, and runs steps on their device.
#[derive(Debug)]
pub struct Executor(ExecutorKind);

#[derive(Debug)]
enum ExecutorKind {
    Host(HostExecutor),
}

impl Executor {
    /// An executor for the device that model and cache live on.
    #[must_use]
    pub fn new(llama: Llama, cache: KvCache) -> Self {
        Self(ExecutorKind::Host(HostExecutor::new(llama, cache)))
    }

    /// Begins a step. On the CPU it has ended when this returns.
    ///
    /// # Errors
    /// [`ModelError`] when the step as a whole cannot run; a row that gives nothing to draw from fails alone.
    pub fn launch(&mut self, step: Step<'_>) -> Result<Ticket, ModelError> {
        match &mut self.0 {
            ExecutorKind::Host(host) => host.run(step).map(|outcome| Ticket(TicketKind::Done(outcome))),
        }
    }

    /// Waits for a step and gives what it drew.
    ///
    /// # Errors
    /// [`ModelError`] when the device failed.
    pub fn collect(&mut self, ticket: Ticket) -> Result<StepOutcome, ModelError> {
        match ticket.0 {
            TicketKind::Done(outcome) => Ok(outcome),
        }
    }

    /// Slots of one block of the cache.
    #[must_use]
    pub fn block_size(&self) -> usize {
        match &self.0 {
            ExecutorKind::Host(host) => host.block_size(),
        }
    }
}
