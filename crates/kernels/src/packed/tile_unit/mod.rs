//! The tile unit (AMX) of Intel's servers: one instruction gives the dot products of sixteen rows of activations with up to 64 inputs
//! of a tile's sixteen outputs. It serves K types (`blocks.rs`), whose groups add up within it. The groups of the other types have scales
//! that only floats hold: storing the sums of each to weigh them takes longer than products of vectors, whatever the number of rows.

#![allow(unsafe_code)]

mod available;
mod blocks;
mod planes;

use super::activations::SPARE_ROWS;
use super::format::{Format, Scales};
use super::lanes::avx512::Avx512;
use super::product::{self, Part, Work};

pub(super) use available::is_available;
pub(super) use blocks::Room;

/// Rows of a register.
const ROWS: usize = 16;
/// Rows from which the unit is faster than products of vectors: the planes are filled for however few.
const LEAST_ROWS: usize = 36;

// What the instructions take for granted.
const _: () = assert!(size_of::<Shapes>() == 64 && SPARE_ROWS + 1 >= ROWS);

/// The shapes of the eight registers.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    /// Bytes of a row.
    bytes: [u16; 16],
    rows: [u8; 16],
}

impl Shapes {
    /// Sixteen rows of 64 bytes in each: of sums, of activations, of codes.
    const WHOLE: Self = Self {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
        rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
    };
}

/// As [`product::sum_tiles`], by the unit where it is faster.
///
/// # Safety
/// The processor has AVX-512 with VNNI, and [`is_available`] was true.
#[inline(always)]
pub(super) unsafe fn sum_tiles<F: Format>(part: &Part<'_>, work: &mut Work) {
    // SAFETY: the caller promises the instructions.
    unsafe {
        if F::LAYOUT.scales == Scales::Plain || part.count < LEAST_ROWS {
            return product::sum_tiles::<Avx512, F>(part, work);
        }
        let Work { sums, room, .. } = work;
        blocks::sum_tiles::<F>(part, room.get_or_insert_with(|| Box::new(Room::new())), sums);
    }
}
