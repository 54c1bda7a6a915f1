//! `csrc/select_rows.cu`: rows of a matrix, or blocks of a cache, gathered by a list on the device or scattered back.

use super::{DevicePointer, KernelArguments, Launch, THREADS, copy_blocks, copy_unit};

/// The kernel's arguments, as in C++.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)] // Said in the kernel's own file.
pub struct SelectRowsArguments {
    pub source: DevicePointer,
    pub destination: DevicePointer,
    pub rows: DevicePointer,
    pub row_units: u64,
}

// SAFETY: `repr(C)`, the same fields in the same order.
#[allow(unsafe_code)]
unsafe impl KernelArguments for SelectRowsArguments {}

/// Which side the list of rows speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowDirection {
    /// The listed rows of the source, one after another.
    Gather,
    /// The source's rows, one after another, to the listed rows of the destination; none is listed twice.
    Scatter,
}

/// Copies of whole rows of any element type.
#[derive(Debug, Clone, Copy)]
pub struct SelectRows {
    /// Gather or scatter.
    pub direction: RowDirection,
    /// Rows that are copied; at least one.
    pub count: u32,
    /// Bytes of one row: even, because every element type is. A block of a cache is a row of all its slots.
    pub row_bytes: usize,
    /// What is read.
    pub source: DevicePointer,
    /// What is written; never the same memory.
    pub destination: DevicePointer,
    /// u32 `[count]`.
    pub rows: DevicePointer,
}

impl SelectRows {
    /// The grid.
    #[must_use]
    pub fn launch(self) -> Launch<SelectRowsArguments> {
        let Self { direction, count, row_bytes, source, destination, rows } = self;
        let unit = copy_unit(&[source, destination], row_bytes);
        let row_units = (row_bytes / unit) as u64;
        let name = match direction {
            RowDirection::Gather => "gather",
            RowDirection::Scatter => "scatter",
        };
        Launch {
            kernel: format!("{name}_rows_{unit}"),
            blocks: [count, copy_blocks(row_units), 1],
            threads: THREADS,
            shared_bytes: 0,
            arguments: SelectRowsArguments { source, destination, rows, row_units },
        }
    }
}
