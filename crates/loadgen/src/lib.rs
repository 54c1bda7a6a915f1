//! A load generator for any OpenAI-compatible server: closed and open loops, shared contexts, stalls; TTFT, ITL, TPOT, goodput.
//! It knows HTTP and the wall clock, and nothing of the server that it measures, so that a peer is measured by the same client.
//!
//! Invariants:
//! - Every wait has an end: connecting, the first token, silence between bytes, a whole request.
//! - Every loop and every buffer has a bound: requests, requests in flight, a line of the stream, chunks of an answer.
//! - A failed request is a record with its reason and never ends a run; a run in which nothing succeeded is an error.
//! - No prompt of a run is a prefix of an earlier run's, unless the caller fixes [`RunOptions::nonce`].
//! - Reported token counts are the server's own (`usage`); where it gives none, the report says so.

mod calibrate;
mod client;
mod compare;
mod drive;
mod error;
mod exchange;
mod figures;
mod prompts;
mod random;
mod record;
mod report;
mod run;
mod sse;
mod stats;
mod table;
mod wire;
mod words;
mod workload;

pub use calibrate::Calibration;
pub use compare::{Comparison, ComparisonRow, compare};
pub use error::LoadgenError;
pub use figures::{Better, Figure};
pub use record::{Failure, FailureKind, Outcome, RequestRecord};
pub use report::{ClientInfo, Report, ServerInfo};
pub use run::{Progress, RunOptions, Target, run};
pub use stats::{Distribution, GroupSummary};
pub use workload::{Endpoint, Load, Slo, Timeouts, Workload};
