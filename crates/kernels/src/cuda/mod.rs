//! A card: opening it, running launches on it, moving words to and from it. The only folder that speaks to the driver.
//!
//! Everything on a card runs in one stream, so that its order is the only synchronization, and memory that is freed in that
//! order outlives what was launched before.

mod card;
pub(crate) mod fault;
mod graph;
mod modules;
pub(crate) mod operations;
mod resolve_check;
mod run;
mod sampler;
mod step;
pub(crate) mod tensor;
mod transfer;

pub use card::{CardFacts, check_launches, facts, open, synchronize};
pub use graph::Graph;
pub(crate) use resolve_check::resolve_tokens;
pub use sampler::{CardSampler, DrawnWords, FetchedDraws};
pub use step::StepUpload;
