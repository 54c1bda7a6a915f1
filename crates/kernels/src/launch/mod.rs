//! What is launched on a card: a kernel's name, the shape of its grid and its one struct of arguments. Pure: pointers are
//! numbers here, and nothing runs. `cuda` runs a launch on a card, the tests' emulator runs it on the host.

mod attention;
mod block_copy;
mod embedding;
mod rms_norm;
mod rope;
mod sampling;
mod select_rows;
mod silu_mul;
mod step;

pub use attention::{AttentionArguments, AttentionPlan, AttentionPointers, AttentionShape};
pub use block_copy::{BlockCopies, BlockCopyArguments};
pub use embedding::{Embedding, EmbeddingArguments, ResolveTokens, ResolveTokensArguments};
pub use rms_norm::{RmsNorm, RmsNormArguments};
pub use rope::{RopeKvWrite, RopeKvWriteArguments, RopeTable, RopeTableArguments};
pub use sampling::{
    SAMPLING_NONE, SAMPLING_TOP_LIMIT, SamplingArguments, SamplingBuffers, SamplingCounts, SamplingResult, SamplingRow,
    SamplingStatus,
};
pub use select_rows::{RowDirection, SelectRows, SelectRowsArguments};
pub use silu_mul::{SiluMul, SiluMulArguments};
pub use step::{StepCounts, StepLayout};

/// An address in the memory of whatever runs the launch; zero is null.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DevicePointer(pub u64);

impl DevicePointer {
    /// Whether the address is a multiple of so many bytes.
    fn is_aligned(self, bytes: usize) -> bool {
        self.0.is_multiple_of(bytes as u64)
    }

    /// The address so many bytes further on.
    fn offset(self, bytes: usize) -> Self {
        Self(self.0 + bytes as u64)
    }
}

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
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

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

/// Threads of a block that goes through elements one after another.
const THREADS: u32 = 256;

/// The widest unit, in bytes, in which rows of `row_bytes` can be copied between these addresses: 16, 8, 4 or 2.
fn copy_unit(pointers: &[DevicePointer], row_bytes: usize) -> usize {
    let fits =
        |unit: &usize| row_bytes.is_multiple_of(*unit) && pointers.iter().all(|pointer| pointer.is_aligned(*unit));
    [16, 8, 4].into_iter().find(fits).unwrap_or(2)
}

/// Blocks that share a copy of so many units, so that each thread has four of them under way.
fn copy_blocks(units: u64) -> u32 {
    units.div_ceil(4 * u64::from(THREADS)).clamp(1, 1024) as u32
}
