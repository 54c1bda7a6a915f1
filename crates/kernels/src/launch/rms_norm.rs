//! `csrc/rms_norm.cu`: one block for each row.

use super::{DevicePointer, ElementType, KernelArguments, Launch, WARP_SCRATCH};

/// The kernel's arguments, as in C++.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)] // Said in the kernel's own file.
pub struct RmsNormArguments {
    pub base: DevicePointer,
    pub update: DevicePointer,
    pub weight: DevicePointer,
    pub normed: DevicePointer,
    pub sum: DevicePointer,
    pub width: u32,
    pub epsilon: f32,
}

// SAFETY: `repr(C)`, the same fields in the same order.
#[allow(unsafe_code)]
unsafe impl KernelArguments for RmsNormArguments {}

/// Rows to normalize.
#[derive(Debug, Clone, Copy)]
pub struct RmsNorm {
    /// Rows; at least one.
    pub rows: u32,
    /// Element type of the update and of the normalized rows.
    pub activation: ElementType,
    /// What the kernel is given.
    pub arguments: RmsNormArguments,
}

impl RmsNorm {
    /// The grid.
    #[must_use]
    pub fn launch(self) -> Launch<RmsNormArguments> {
        let width = self.arguments.width;
        Launch {
            kernel: format!("rms_norm_{}", self.activation.suffix()),
            blocks: [self.rows, 1, 1],
            threads: width.div_ceil(4).next_multiple_of(32).clamp(32, 1024),
            shared_bytes: 4 * WARP_SCRATCH,
            arguments: self.arguments,
        }
    }
}
