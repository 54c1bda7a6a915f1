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
//! - Order is by [`Rank`]: arrival time plus priority × aging. One of lower rank has its turn first in every step, and
//!   none that arrives later than the whole priority range × aging has a lower rank.
//! - One of higher rank begins before a waiting sequence in two cases: in another partition, when its own has no room; and
//!   while it waits for a prefix. Its leader, who computes that prefix, then has its turn in its place, so that those
//!   between the two take nothing from them.
//! - Every running, unpaused sequence computes at least one token per step. The one of lowest rank in its partition, or
//!   the leader that it waits for, is never preempted by another's growth, so it ends within its tokens, and then the next
//!   is the lowest. A waiting sequence begins after at most as many steps as there are tokens in itself, in those ranked
//!   before it, in those running when it comes, in those that began while it waited for a prefix and still run when that
//!   is there, and in those of other partitions that began before it.
//! - Of what a step has for prompts, one takes half at most while others behind it have less to compute. So a short prompt
//!   does not wait for all of a long one, and the long one keeps half of its speed.
//! - Only a sequence's own partition pays for it: victims come from there, paused ones first, then the highest rank.
//! - A prefix that a running sequence is about to compute is computed once: others wait for it, and the next one takes
//!   over when it is aborted, paused or preempted.
//! - A step that did not run for lack of memory is taken back at the cost of its largest sequence. Those who wait have
//!   waited for it in vain, and wait for the others in it anew.
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
