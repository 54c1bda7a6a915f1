//! `csrc/silu_mul.cu`: one thread for each pack of 16 bytes, and one for each element that is left.

use super::{DevicePointer, ElementType, KernelArguments, Launch, THREADS};

/// The kernel's arguments, as in C++.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)] // Said in the kernel's own file.
pub struct SiluMulArguments {
    pub gate: DevicePointer,
    pub up: DevicePointer,
    pub output: DevicePointer,
    pub count: u64,
    pub packs: u64,
}

// SAFETY: `repr(C)`, the same fields in the same order.
#[allow(unsafe_code)]
unsafe impl KernelArguments for SiluMulArguments {}

/// `silu(gate) * up`, element by element.
#[derive(Debug, Clone, Copy)]
pub struct SiluMul {
    /// Element type of all three.
    pub activation: ElementType,
    /// `[count]`.
    pub gate: DevicePointer,
    /// `[count]`.
    pub up: DevicePointer,
    /// `[count]`.
    pub output: DevicePointer,
    /// Elements; at least one.
    pub count: u64,
}

impl SiluMul {
    /// The grid.
    #[must_use]
    pub fn launch(self) -> Launch<SiluMulArguments> {
        let Self { activation, gate, up, output, count } = self;
        let pack = (16 / activation.bytes()) as u64;
        let packs = if [gate, up, output].iter().all(|pointer| pointer.is_aligned(16)) { count / pack } else { 0 };
        let threads = packs.max(count - packs * pack);
        Launch {
            kernel: format!("silu_mul_{}", activation.suffix()),
            blocks: [threads.div_ceil(u64::from(THREADS)) as u32, 1, 1],
            threads: THREADS,
            shared_bytes: 0,
            arguments: SiluMulArguments { gate, up, output, count, packs },
        }
    }
}
