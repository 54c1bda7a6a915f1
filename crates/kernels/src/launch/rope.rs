//! `csrc/rope.cu`: the step's table of cosines and sines, one thread for an angle; and what is done to a layer's projections up to
//! the write to the cache, one warp for a head.

use super::{DevicePointer, ElementType, KernelArguments, Launch, THREADS};
use crate::error::KernelError;

/// The arguments of `rope_table`, as in C++.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)] // Said in the kernel's own file.
pub struct RopeTableArguments {
    pub positions: DevicePointer,
    pub frequencies: DevicePointer,
    pub cosines: DevicePointer,
    pub sines: DevicePointer,
    pub rows: u32,
    pub pairs: u32,
    pub magnitude: f32,
}

// SAFETY: `repr(C)`, the same fields in the same order; only the last four bytes are padding.
#[allow(unsafe_code)]
unsafe impl KernelArguments for RopeTableArguments {}

/// The cosines and sines of a step's rows. Rows and pairs are at least one.
#[derive(Debug, Clone, Copy)]
pub struct RopeTable {
    /// What the kernel is given.
    pub arguments: RopeTableArguments,
}

impl RopeTable {
    /// The grid.
    #[must_use]
    pub fn launch(self) -> Launch<RopeTableArguments> {
        let angles = u64::from(self.arguments.rows) * u64::from(self.arguments.pairs);
        Launch {
            kernel: "rope_table".to_string(),
            blocks: [angles.div_ceil(u64::from(THREADS)) as u32, 1, 1],
            threads: THREADS,
            shared_bytes: 0,
            arguments: self.arguments,
        }
    }
}

/// The arguments of `rope_kv_write`, as in C++.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)] // Said in the kernel's own file.
pub struct RopeKvWriteArguments {
    pub query: DevicePointer,
    pub key: DevicePointer,
    pub value: DevicePointer,
    pub query_bias: DevicePointer,
    pub key_bias: DevicePointer,
    pub value_bias: DevicePointer,
    pub query_norm: DevicePointer,
    pub key_norm: DevicePointer,
    pub cosines: DevicePointer,
    pub sines: DevicePointer,
    pub slots: DevicePointer,
    pub positions: DevicePointer,
    pub rotated: DevicePointer,
    pub key_cache: DevicePointer,
    pub value_cache: DevicePointer,
    pub heads: u32,
    pub kv_heads: u32,
    pub head_dim: u32,
    pub pairs: u32,
    pub halves: u32,
    pub paired: u32,
    pub epsilon: f32,
    pub growth: f32,
    pub growth_period: u32,
}

// SAFETY: `repr(C)`, the same fields in the same order; only the last four bytes are padding.
#[allow(unsafe_code)]
unsafe impl KernelArguments for RopeKvWriteArguments {}

/// The longest head that the kernel is compiled for.
const LONGEST_HEAD: u32 = 256;

/// Prepares and rotates a layer's queries and keys, and writes its keys and values to the cache.
#[derive(Debug, Clone, Copy)]
pub struct RopeKvWrite {
    /// Element type of query, key, value and the rotated query.
    pub activation: ElementType,
    /// Element type of the caches.
    pub cache: ElementType,
    /// Rows of the step; at least one.
    pub rows: u32,
    /// What the kernel is given; `paired` is set by [`RopeKvWrite::launch`].
    pub arguments: RopeKvWriteArguments,
}

impl RopeKvWrite {
    /// The grid.
    ///
    /// # Errors
    /// When a head has more than 256 numbers.
    pub fn launch(self) -> Result<Launch<RopeKvWriteArguments>, KernelError> {
        let Self { activation, cache, rows, mut arguments } = self;
        let RopeKvWriteArguments { query, key, value, rotated, key_cache, value_cache, .. } = arguments;
        if arguments.head_dim > LONGEST_HEAD {
            return Err(KernelError::OutOfRange {
                operation: "rope_kv_write",
                argument: "head_dim",
                index: 0,
                value: u64::from(arguments.head_dim),
                expected: format!("at most {LONGEST_HEAD}"),
            });
        }
        let activations = [query, key, value, rotated].iter().all(|at| at.is_aligned(2 * activation.bytes()));
        let caches = [key_cache, value_cache].iter().all(|at| at.is_aligned(2 * cache.bytes()));
        arguments.paired = u32::from(arguments.head_dim.is_multiple_of(2) && activations && caches);
        let warps = arguments.heads + 2 * arguments.kv_heads;
        let threads = (32 * warps).min(THREADS);
        Ok(Launch {
            kernel: format!("rope_kv_write_{}_{}", activation.suffix(), cache.suffix()),
            blocks: [rows, (32 * warps).div_ceil(threads), 1],
            threads,
            shared_bytes: 0,
            arguments,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(heads: u32, head_dim: u32) -> Result<Launch<RopeKvWriteArguments>, KernelError> {
        let nothing = DevicePointer::default();
        let arguments = RopeKvWriteArguments {
            query: nothing,
            key: nothing,
            value: nothing,
            query_bias: nothing,
            key_bias: nothing,
            value_bias: nothing,
            query_norm: nothing,
            key_norm: nothing,
            cosines: nothing,
            sines: nothing,
            slots: nothing,
            positions: nothing,
            rotated: nothing,
            key_cache: nothing,
            value_cache: nothing,
            heads,
            kv_heads: 1,
            head_dim,
            pairs: 1,
            halves: 0,
            paired: 0,
            epsilon: 0.0,
            growth: 0.0,
            growth_period: 1,
        };
        RopeKvWrite { activation: ElementType::Bf16, cache: ElementType::Bf16, rows: 3, arguments }.launch()
    }

    #[test]
    fn every_head_has_a_warp_and_no_block_is_idle() {
        for heads in 1..40 {
            let launch = write(heads, 64).expect("a head that fits");
            let [rows, blocks, _] = launch.blocks;
            assert_eq!((rows, launch.threads % 32), (3, 0));
            let warps = launch.threads / 32;
            assert!(blocks * warps >= heads + 2 && (blocks - 1) * warps < heads + 2, "{heads} heads");
        }
    }

    #[test]
    fn a_head_that_a_warp_cannot_hold_is_refused() {
        assert!(write(4, 256).is_ok());
        assert!(
            write(4, 257).is_err_and(|error| error.to_string().contains("head_dim[0] is 257, must be at most 256"))
        );
    }
}
