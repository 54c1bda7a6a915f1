//! HTTP: the OpenAI-compatible surface over engine and documents.
//!
//! Invariants:
//! - A body is parsed once, at the edge, into a `Valid…` type; handlers never check a number again.
//! - Every error leaves as an [`ApiError`]: OpenAI's shape, a status, the field at fault. A stream ends with `[DONE]` or
//!   an error event.
//! - Nothing waits without a bound: bodies, requests in progress, store calls, connections and the drain have limits;
//!   what exceeds them gets its answer at once.
//! - A body counts against its bound in bytes while it is held, and no JSON body is held while its handler waits.
//! - Dropping a response aborts what it waits for, but for changes of a vector store, which are completed.
//! - Without a key, a web page of another origin cannot reach the API through its visitor's browser.
//! - Store calls block, so they run on threads of their own, never on those that serve connections.
//! - It knows nothing of kernels, tensors or blocks.

pub mod body;
mod bridge;
pub mod error;
mod guard;
mod hosts;
pub mod ids;
mod lanes;
mod metrics;
pub mod openai;
mod pace;
pub mod pages;
mod path;
mod recent;
mod router;
mod routes;
mod serve;
mod shares;
pub mod sse;
mod stall;
mod state;
pub mod validate;

pub use bridge::EngineGenerator;
pub use error::ApiError;
pub use router::router;
pub use serve::serve;
pub use state::{AppState, ServerOptions};
