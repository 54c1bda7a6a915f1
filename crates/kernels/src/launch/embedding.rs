//! `csrc/embedding.cu`: rows of a table by ids on the device, and ids from what the step before has drawn.

use super::{DevicePointer, KernelArguments, Launch, THREADS};
use crate::weight::WeightType;

/// The arguments of the look-up, as in C++.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)] // Said in the kernel's own file.
pub struct EmbeddingArguments {
    pub table: DevicePointer,
    pub ids: DevicePointer,
    pub rows: DevicePointer,
    pub width: u32,
}

// SAFETY: `repr(C)`, the same fields in the same order; only the last four bytes are padding.
#[allow(unsafe_code)]
unsafe impl KernelArguments for EmbeddingArguments {}

/// Rows of a table of any weight type.
#[derive(Debug, Clone, Copy)]
pub struct Embedding {
    /// Ids to look up; at least one.
    pub rows: u32,
    /// Element type of the table.
    pub weight_type: WeightType,
    /// What the kernel is given.
    pub arguments: EmbeddingArguments,
}

impl Embedding {
    /// The grid: enough blocks for a row that each thread has four elements.
    #[must_use]
    pub fn launch(self) -> Launch<EmbeddingArguments> {
        Launch {
            kernel: format!("embedding_{}", suffix(self.weight_type)),
            blocks: [self.rows, self.arguments.width.div_ceil(4 * THREADS).max(1), 1],
            threads: THREADS,
            shared_bytes: 0,
            arguments: self.arguments,
        }
    }
}

/// The type's part in a kernel's name.
fn suffix(weight_type: WeightType) -> &'static str {
    match weight_type {
        WeightType::F32 => "f32",
        WeightType::F16 => "f16",
        WeightType::BF16 => "bf16",
        WeightType::Q4_0 => "q4_0",
        WeightType::Q4_1 => "q4_1",
        WeightType::Q5_0 => "q5_0",
        WeightType::Q5_1 => "q5_1",
        WeightType::Q8_0 => "q8_0",
        WeightType::Q2K => "q2k",
        WeightType::Q3K => "q3k",
        WeightType::Q4K => "q4k",
        WeightType::Q5K => "q5k",
        WeightType::Q6K => "q6k",
    }
}

/// The arguments of `resolve_tokens`, as in C++.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)] // Said in the kernel's own file.
pub struct ResolveTokensArguments {
    pub input_ids: DevicePointer,
    pub drawn: DevicePointer,
    pub rows: DevicePointer,
    pub draws: DevicePointer,
    pub count: u32,
    pub vocabulary: u32,
}

// SAFETY: `repr(C)`, the same fields in the same order.
#[allow(unsafe_code)]
unsafe impl KernelArguments for ResolveTokensArguments {}

/// Sets the input ids that the step before has drawn; at least one.
#[derive(Debug, Clone, Copy)]
pub struct ResolveTokens {
    /// What the kernel is given.
    pub arguments: ResolveTokensArguments,
}

impl ResolveTokens {
    /// The grid.
    #[must_use]
    pub fn launch(self) -> Launch<ResolveTokensArguments> {
        Launch {
            kernel: "resolve_tokens".to_string(),
            blocks: [self.arguments.count.div_ceil(THREADS), 1, 1],
            threads: THREADS,
            shared_bytes: 0,
            arguments: self.arguments,
        }
    }
}
