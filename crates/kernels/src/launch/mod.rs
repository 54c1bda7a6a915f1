//! What is launched on a card: a kernel's name, the shape of its grid and its one struct of arguments. Pure: pointers are
//! numbers here, and nothing runs. `cuda` runs a launch on a card, the tests' emulator runs it on the host.

mod rms_norm;
mod sampling;

pub use rms_norm::{RmsNorm, RmsNormArguments};
pub use sampling::{
    SAMPLING_NONE, SAMPLING_TOP_LIMIT, Sampling, SamplingArguments, SamplingResult, SamplingRow, SamplingStatus,
};

/// An address in the memory of whatever runs the launch; zero is null.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DevicePointer(pub u64);

/// The element types that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// The upper half of a single.
    Bf16,
}

impl ElementType {
    /// The type's part in a kernel's name.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// Bytes of one number.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// A struct that is the one argument of a kernel.
///
/// # Safety
/// The type is `repr(C)`, has the fields of the C++ struct of the same name in the same order, and no padding is read.
#[allow(unsafe_code)]
pub unsafe trait KernelArguments: Copy {}

/// A grid with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch<A> {
    /// The kernel's name, as in its `KERNEL` line.
    pub kernel: String,
    /// Blocks along x, y and z.
    pub blocks: [u32; 3],
    /// Threads of a block: whole warps of 32.
    pub threads: u32,
    /// Bytes of dynamic shared memory.
    pub shared_bytes: u32,
    /// What the kernel is given.
    pub arguments: A,
}

/// Floats of shared memory that a sum over a block takes: one for each warp it may have.
const WARP_SCRATCH: u32 = 32;
