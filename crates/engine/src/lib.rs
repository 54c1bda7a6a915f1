//! The engine: one thread that owns the model and the KV cache, schedules a step, runs it and streams what came of it.
//!
//! Invariants:
//! - Only the engine thread touches model, KV cache and scheduler; others hold an [`EngineHandle`].
//! - Every queue is bounded: the inbox, the requests in the engine, each request's events.
//! - The engine never waits for a client. A full channel pauses its own sequences and cuts them after a bound.
//! - Every choice ends exactly once, with `Finished` or `Failed`, or because its reader dropped the stream.
//! - It knows nothing of HTTP or documents.

mod choices;
mod config;
mod end;
mod engine;
mod event;
#[cfg(any(test, debug_assertions))]
mod faults;
mod handle;
mod load;
mod memory;
mod metrics;
mod request;
mod runner;
mod stream;
mod vocabulary;

pub use config::{DEFAULT_KV_BYTES, DeviceKind, EngineConfig, EngineError};
pub use end::EngineEnd;
pub use engine::{EngineThread, start};
pub use event::{
    ChoiceUsage, FinishReason, Generation, GenerationError, GenerationEvent, GenerationEventKind, TokenLogprob,
};
pub use handle::{CanaryError, EVENT_CAPACITY, EngineHandle, ModelInfo};
pub use load::LoadedModel;
pub use memory::{MemoryPlan, UTILIZATION_RANGE};
pub use metrics::{EngineMetrics, FinishLabel};
pub use request::{GenerateRequest, MAX_CHOICES, MAX_PRIORITY, MAX_STOP_BYTES, MAX_STOP_STRINGS, SubmitError};
pub use sconce_model::sampling::SamplingParams;
pub use sconce_model::{Activation, Devices, KvCacheDtype};
pub use sconce_text::{ChatTemplate, Conversation, Special, Tokenizer};
pub use vocabulary::vocabulary_keys;
