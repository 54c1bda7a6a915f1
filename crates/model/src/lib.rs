//! Checkpoints validated and loaded (GGUF, safetensors), the decoder forward over mixed batches, sampling, synthetic models.
//!
//! Invariants: nothing in a file is believed before it is checked; on the CPU a row's logits are bitwise the same alone, in any batch,
//! in any chunking, from a cold or a warm prefix; the cache is allocated once. Knows nothing of requests, scheduling or clocks.

pub mod agree;
mod architecture;
mod batch;
mod checkpoint;
mod config;
mod devices;
mod error;
mod executor;
mod finite;
pub mod gguf;
mod kv_cache;
mod layer;
mod llama;
mod logits;
mod part;
mod reading;
pub mod sampling;
mod sizes;
pub mod synth;
mod tensors;

pub use architecture::Architecture;
pub use batch::ForwardBatch;
pub use checkpoint::{Checkpoint, Fallback};
pub use config::{LlamaConfig, RopeConfig, RopeScaling, YarnScaling};
pub use devices::{DeviceMemory, Devices};
pub use error::ModelError;
pub use executor::{Draw, Executor, ExecutorBounds, PendingToken, Step, StepOutcome, Ticket, largest_graph};
pub use gguf::{GgufError, Metadata};
pub use kv_cache::{KvCache, KvCacheDtype};
pub use llama::{Activation, Llama, StageSize, stage_sizes};
pub use logits::Logits;
pub use part::PARTS;
pub use reading::{TextReading, read_text};
pub use sconce_kernels::{BlockCopy, KernelError};
pub use sizes::{ModelSizes, Work};
#[doc(hidden)]
pub use tracing; // for `part!`

/// One device that layers of a model and their cache live on.
pub use candle_core::Device;
