//! The tile unit (AMX) of Intel's servers: one instruction gives the dot products of sixteen rows of activations with up to 64 inputs
//! of a tile's sixteen outputs. K types are multiplied block by block (`blocks.rs`), the others group by group (`groups.rs`).

#![allow(unsafe_code)]

mod available;
mod blocks;
mod groups;
mod planes;

use super::activations::SPARE_ROWS;
use super::format::{Format, Scales};
use super::lanes::avx512::Avx512;
use super::product::{self, Part, Work};

pub(super) use available::is_available;

/// Rows of a register.
const ROWS: usize = 16;

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
    /// Registers 0 to 3 hold sums of sixteen rows, 4 and 5 their activations, 6 and 7 codes; of so many inputs.
    const fn of_inputs(inputs: u16) -> Self {
        let quads = inputs as u8 / 4;
        Self {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            bytes: [64, 64, 64, 64, inputs, inputs, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
            rows: [16, 16, 16, 16, 16, 16, quads, quads, 0, 0, 0, 0, 0, 0, 0, 0],
        }
    }
}

/// What a thread works on beside what the other products need.
pub(super) struct Room {
    blocks: blocks::Room,
    groups: groups::Room,
}

impl Room {
    const fn new() -> Self {
        Self { blocks: blocks::Room::new(), groups: groups::Room::new() }
    }
}

/// As [`product::sum_tiles`], by the unit where it is faster.
///
/// # Safety
/// The processor has AVX-512 with VNNI, and [`is_available`] was true.
#[inline(always)]
pub(super) unsafe fn sum_tiles<F: Format>(part: &Part<'_>, work: &mut Work) {
    let is_plain = F::LAYOUT.scales == Scales::Plain;
    // SAFETY: the caller promises the instructions.
    unsafe {
        if part.count < if is_plain { groups::LEAST_ROWS } else { blocks::LEAST_ROWS } {
            return product::sum_tiles::<Avx512, F>(part, work);
        }
        let Work { sums, room, .. } = work;
        let room = room.get_or_insert_with(|| Box::new(Room::new()));
        if is_plain {
            for (tile, sums) in sums.iter_mut().enumerate().take(part.tile_count) {
                groups::sum_tile::<F>(part, &mut room.groups, &mut sums[..part.count], tile);
            }
        } else {
            blocks::sum_tiles::<F>(part, &mut room.blocks, sums);
        }
    }
}
