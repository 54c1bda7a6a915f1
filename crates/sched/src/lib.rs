//! Continuous batching: which sequence computes which of its tokens in the next step.
//!
//! There is no prefill phase and no decode phase. A sequence has tokens and a count of computed tokens; each step lets
//! the count catch up. Chunked prefill, decode, prefix hits and recomputation after preemption are the same thing.
//!
//! ```text
//! add ─► waiting ──admit──► running ──► finished        schedule() → StepPlan   
//!           ▲                  │                         update(plan, sampled, time) → events
//!           └──── preempt ─────┘
//! ```
//!
//! Invariants:
//! - Order is by [`Rank`]: arrival time plus priority × aging. A sequence is overtaken only by those of lower rank, and
//!   none that arrives later than the whole priority range × aging is one of them.
//! - Every running, unpaused sequence computes at least one token per step. The one of lowest rank in its partition is
//!   never preempted by another's growth, so it ends within its remaining tokens, and then the next is the lowest: a
//!   waiting sequence runs after at most as many steps as tokens of those ranked before it and of those running.
//! - Only a sequence's own partition pays for it: victims come from there, paused ones first, then the highest rank.
//! - A prefix that a running sequence is about to compute is computed once: others wait for it, and the next one takes
//!   over when it is aborted, paused or preempted.
//! - With one step in flight (`pipeline_depth` 1) a token that is not known yet is a placeholder in the plan; what it
//!   decides (an end, a block's hash) is committed one step later.
//! - It knows no tensor, no thread, no I/O and no clock; time is an argument.

mod config;
mod cost;
mod events;
mod limits;
mod plan;
mod promises;
mod scheduler;
mod sequence;

pub use config::{SchedulerConfig, SchedulerConfigError};
pub use cost::StepWork;
pub use events::{FinishReason, Sampled, SequenceEvent};
pub use limits::StopRules;
pub use plan::{PlanRow, PlanToken, Started, StepPlan};
pub use scheduler::{AddError, Scheduler, SchedulerStats};
pub use sequence::{NewSequence, Rank, SequenceId, SequenceStatus};
