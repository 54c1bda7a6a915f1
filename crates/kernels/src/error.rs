//! The one error type of the kernels. A message names the operation, the argument and what was expected.

use thiserror::Error;

/// Why a kernel refused its arguments, or what the tensor library reported.
#[derive(Debug, Error)]
pub enum KernelError {
    /// An argument has another shape than the operation needs.
    #[error("{operation}: {argument} has shape {actual:?}, expected {expected}")]
    Shape {
        /// The kernel's name.
        operation: &'static str,
        /// The argument's name.
        argument: &'static str,
        /// The expected shape in words.
        expected: String,
        /// The shape that was given.
        actual: Vec<usize>,
    },
    /// An argument has an element type that the operation does not compute with.
    #[error("{operation}: {argument} has element type {actual}, expected {expected}")]
    ElementType {
        /// The kernel's name.
        operation: &'static str,
        /// The argument's name.
        argument: &'static str,
        /// The types that are accepted.
        expected: &'static str,
        /// The type that was given.
        actual: String,
    },
    /// A tensor is not laid out row after row.
    #[error("{operation}: {argument} is not contiguous; make it so before the call")]
    NotContiguous {
        /// The kernel's name.
        operation: &'static str,
        /// The argument's name.
        argument: &'static str,
    },
    /// No kernel exists for the device that a tensor lies on.
    #[error("{operation}: no kernel for the device of {argument}")]
    Device {
        /// The kernel's name.
        operation: &'static str,
        /// The argument's name.
        argument: &'static str,
    },
    /// An index or a number lies outside its range.
    #[error("{operation}: {argument}[{index}] is {value}, must be {expected}")]
    OutOfRange {
        /// The kernel's name.
        operation: &'static str,
        /// The argument's name.
        argument: &'static str,
        /// Where in the argument.
        index: usize,
        /// What stands there.
        value: u64,
        /// The range in words.
        expected: String,
    },
    /// A number is no number, or larger than single precision holds.
    #[error("{operation}: {argument}[{index}] is {value}, must be a finite number of single precision")]
    NotFinite {
        /// The kernel's name.
        operation: &'static str,
        /// The argument's name.
        argument: &'static str,
        /// Where in the argument.
        index: usize,
        /// What stands there.
        value: f64,
    },
    /// The length of an index array contradicts the others.
    #[error("{operation}: {argument} has {actual} entries, expected {expected}")]
    Length {
        /// The kernel's name.
        operation: &'static str,
        /// The argument's name.
        argument: &'static str,
        /// The expected number of entries.
        expected: usize,
        /// The number that was given.
        actual: usize,
    },
    /// The device has no memory left for this operation. What was computed before still stands.
    #[error("the device is out of memory: {detail}")]
    OutOfMemory {
        /// What the driver said.
        detail: String,
    },
    /// The device faulted or is gone. Nothing on it can be used any more by this process.
    #[error("the device is lost: {detail}")]
    DeviceLost {
        /// What the driver said.
        detail: String,
    },
    /// The driver refused a call, or there is no such card.
    #[error("the driver: {detail}")]
    Driver {
        /// What it said, and during what.
        detail: String,
    },
    /// A kernel that this binary was not built with.
    #[error("there is no kernel {kernel:?} in this build")]
    MissingKernel {
        /// The kernel's name.
        kernel: String,
    },
    /// The tensor library failed. Boxed, because its error is large and results of every kernel carry room for it.
    #[error(transparent)]
    Tensor(Box<candle_core::Error>),
}

impl From<candle_core::Error> for KernelError {
    fn from(error: candle_core::Error) -> Self {
        #[cfg(feature = "cuda")]
        if let Some(known) = crate::cuda::fault::candle_error(&error) {
            return known;
        }
        Self::Tensor(Box::new(error))
    }
}

/// What every kernel returns.
pub(crate) type Result<T> = std::result::Result<T, KernelError>;
