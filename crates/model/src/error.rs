//! The error type of the model: files, configurations, batches and kernels, each with what is needed to act on it.

use std::path::PathBuf;

use sconce_kernels::KernelError;
use thiserror::Error;

use crate::gguf::write::GgufWriteError;
use crate::gguf::{GgufError, quoted};

/// Why a model cannot be loaded or a batch cannot be computed.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The path leads to a folder or a device.
    #[error("{}: not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file is not valid GGUF.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: GgufError,
    },
    /// A file or folder that is valid by itself, but no part of a complete checkpoint.
    #[error("{}: {problem}", path.display())]
    Checkpoint {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A file cannot be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: GgufWriteError,
    },
    /// A metadata key is missing or of the wrong type.
    #[error(transparent)]
    Metadata(#[from] GgufError),
    /// An architecture that is not implemented.
    #[error("general.architecture is {}, which is not supported; supported are {known}", quoted(architecture))]
    Architecture {
        /// The name in the file.
        architecture: String,
        /// The names that are supported.
        known: String,
    },
    /// A configuration value outside of its range.
    #[error("{key} is {value}, must be {expected}")]
    Config {
        /// The metadata key.
        key: String,
        /// The value in the file.
        value: String,
        /// The range in words.
        expected: String,
    },
    /// A tensor whose shape is not the one that the configuration implies.
    #[error("tensor {tensor:?} has shape {actual:?}, but the configuration implies {expected:?}")]
    TensorShape {
        /// The tensor.
        tensor: String,
        /// The shape that the configuration implies, the fastest-moving dimension first.
        expected: Vec<usize>,
        /// The shape in the file.
        actual: Vec<usize>,
    },
    /// A tensor that the architecture has no place for: ignoring it would compute something else than the model.
    #[error(
        "tensor {tensor:?} has no place in a model of architecture {architecture}; the file needs a feature that is not supported"
    )]
    UnexpectedTensor {
        /// The architecture's name.
        architecture: &'static str,
        /// The tensor.
        tensor: String,
    },
    /// A tensor could not be handed to the device.
    #[error("tensor {tensor:?}: {source}")]
    Load {
        /// The tensor.
        tensor: String,
        /// What the kernels said.
        source: KernelError,
    },
    /// A weight that is NaN or infinite: every answer that it touches would be noise.
    #[error(
        "tensor {tensor:?}: row {row} holds {value}, and logits are no numbers; the file is damaged or was converted wrongly, \
         get it again"
    )]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// Its first row with such a weight; a vector is one row.
        row: usize,
        /// The weight.
        value: f32,
    },
    /// Logits that are NaN or infinite although every weight is a number: activations overflow.
    #[error(
        "the logits after token {token} are no numbers although every weight is; the weights are too large to compute with"
    )]
    Overflow {
        /// The token that was computed.
        token: u32,
    },
    /// An entry of a batch outside of its range.
    #[error("forward batch: {field}[{index}] is {value}, must be {expected}")]
    Batch {
        /// The array of the batch.
        field: &'static str,
        /// The entry.
        index: usize,
        /// What stands there.
        value: u32,
        /// The range in words.
        expected: String,
    },
    /// An array of a batch whose length contradicts the others.
    #[error("forward batch: {field} has {actual} entries, expected {expected}")]
    BatchLength {
        /// The array of the batch.
        field: &'static str,
        /// The expected number of entries.
        expected: usize,
        /// The number that was given.
        actual: usize,
    },
    /// A cache that does not belong to the model, or cannot be had.
    #[error("KV cache: {problem}")]
    Cache {
        /// What is wrong and what to do.
        problem: String,
    },
    /// Devices that cannot be had, or that the model does not fit on.
    #[error("devices: {problem}")]
    Devices {
        /// What is wrong and what to do.
        problem: String,
    },
    /// A kernel refused its arguments or failed.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

impl ModelError {
    /// Whether the device had no memory left: the step may be tried again with less.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Kernel(KernelError::OutOfMemory { .. }))
    }

    /// Whether the device faulted for good: nothing can be tried again in this process.
    #[must_use]
    pub fn is_device_lost(&self) -> bool {
        matches!(self, Self::Kernel(KernelError::DeviceLost { .. }))
    }
}
