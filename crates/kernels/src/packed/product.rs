//! The product of rounded activations with a packed matrix.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

use super::activations::{Activations, BlockRows};
use super::format::{Format, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0, Scales};
use super::instructions::Instructions;
use super::lanes::Lanes;
use super::lanes::portable::Portable;
use super::share;
use super::unpack::{Factors, Unpacked};
use super::vectors::{Ahead, Vectors};
use super::{Packed, STRIPS, TILE};
use crate::parallel::{DisjointSlice, for_ranges};
use crate::weight::WeightType;

/// Rows for which a block is unpacked once; their sums stay in the second-level cache.
pub(super) const ROW_BLOCK: usize = 512;
/// Tiles of one item of work.
pub(super) const TILES: usize = 2;
/// Rows that share a load of the weights: their sums are in registers.
const ROWS: usize = 8;

/// `values [rows, inputs]` times the transpose of the matrix, `[rows, outputs]`.
pub(crate) fn multiply(values: &[f32], matrix: &Packed) -> Vec<f32> {
    multiply_with(Instructions::best(), values, matrix)
}

pub(super) fn multiply_with(instructions: Instructions, values: &[f32], matrix: &Packed) -> Vec<f32> {
    let activations = Activations::round(instructions, values, matrix.inputs, matrix.layout);
    let rows = activations.rows;
    let mut product = vec![0f32; rows * matrix.outputs];
    let shared = DisjointSlice::new(&mut product);
    let function = compiled_for(instructions, matrix.weight_type);
    let cost = rows * matrix.inputs * matrix.outputs;
    let compute = |range: Range<usize>, work: &mut Work| {
        for item in range {
            let first = item * TILES;
            let tile_count = TILES.min(matrix.tiles() - first);
            let tiles = std::array::from_fn(|at| matrix.tile(first + at.min(tile_count - 1)));
            for start in (0..rows).step_by(ROW_BLOCK) {
                let count = ROW_BLOCK.min(rows - start);
                function(&Part { tiles, tile_count, activations: &activations, start, count }, work);
                for (at, sums) in work.sums.iter().enumerate().take(tile_count) {
                    let (output, width) = ((first + at) * TILE, TILE.min(matrix.outputs - (first + at) * TILE));
                    for (row, sums) in sums[..count].iter().enumerate() {
                        // SAFETY: each pair of row and tile belongs to one item only, and an item to one thread.
                        let place = unsafe { shared.range_mut((start + row) * matrix.outputs + output, width) };
                        place.copy_from_slice(&sums[..width]);
                    }
                }
            }
        }
    };
    for_ranges(matrix.tiles().div_ceil(TILES), cost, |range| WORK.with_borrow_mut(|work| compute(range, work)));
    product
}

/// Some tiles and some of the rows.
pub(super) struct Part<'a> {
    /// Where the matrix ends before the second, the first again.
    tiles: [&'a [u8]; TILES],
    pub(super) tile_count: usize,
    activations: &'a Activations,
    start: usize,
    pub(super) count: usize,
}

impl<'a> Part<'a> {
    /// The blocks of a tile, in order, each with what is to be asked for meanwhile.
    pub(super) fn blocks<F: Format>(&self, tile: usize) -> impl Iterator<Item = (&'a [u8], Ahead<'a>)> + use<'a, F> {
        let (activations, mut rest) = (self.activations, self.tiles[tile]);
        (0..activations.blocks()).map(move |block| {
            let (bytes, behind) = rest.split_at(F::LAYOUT.block_bytes(activations.strips(block)));
            rest = behind;
            (bytes, Ahead { behind })
        })
    }

    /// The activations of each block.
    pub(super) fn rows(&self) -> impl Iterator<Item = BlockRows<'a>> + use<'a> {
        let Part { activations, start, count, .. } = *self;
        (0..activations.blocks()).map(move |block| activations.block(block, start, count))
    }
}

thread_local! {
    /// Kept from product to product: what a step needs is neither allocated nor zeroed again.
    static WORK: RefCell<Box<Work>> = RefCell::new(Box::new(Work::new()));
}

/// What a thread works on.
pub(super) struct Work {
    unpacked: Unpacked,
    /// Of each tile and row, for the outputs of the tile.
    pub(super) sums: [[[f32; TILE]; ROW_BLOCK]; TILES],
    /// Made when the tile unit is first used.
    #[cfg(target_arch = "x86_64")]
    pub(super) room: Option<Box<super::tile_unit::Room>>,
}

impl Work {
    fn new() -> Self {
        Self {
            unpacked: Unpacked::new(),
            sums: [[[0.0; TILE]; ROW_BLOCK]; TILES],
            #[cfg(target_arch = "x86_64")]
            room: None,
        }
    }
}

/// Computes the sums of some tiles and some rows.
type SumTiles = fn(&Part<'_>, &mut Work);

fn compiled_for(instructions: Instructions, weight_type: WeightType) -> SumTiles {
    match weight_type {
        WeightType::Q4_0 => compiled::<Q4_0>(instructions),
        WeightType::Q4_1 => compiled::<Q4_1>(instructions),
        WeightType::Q5_0 => compiled::<Q5_0>(instructions),
        WeightType::Q5_1 => compiled::<Q5_1>(instructions),
        WeightType::Q8_0 => compiled::<Q8_0>(instructions),
        WeightType::Q4K => compiled::<Q4K>(instructions),
        WeightType::Q5K => compiled::<Q5K>(instructions),
        _ => compiled::<Q6K>(instructions),
    }
}

fn compiled<F: Format>(instructions: Instructions) -> SumTiles {
    match instructions {
        // SAFETY: plain loops need no instructions.
        Instructions::Portable => |part, work| unsafe { sum_tiles::<Portable, F>(part, work) },
        // SAFETY: `Instructions` are only those that the processor was found to have.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => |part, work| unsafe { x86::avx2::<F>(part, work) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => |part, work| unsafe { x86::avx512::<F>(part, work) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Instructions::Amx => |part, work| unsafe { x86::amx::<F>(part, work) },
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::lanes::avx2::Avx2;
    use super::super::lanes::avx512::Avx512;
    use super::super::tile_unit;
    use super::{Format, Part, Work, sum_tiles};

    /// # Safety
    /// The processor has these instructions; so below.
    #[target_feature(enable = "avx2,f16c,fma")]
    pub(super) unsafe fn avx2<F: Format>(part: &Part<'_>, work: &mut Work) {
        // SAFETY: the caller promises the instructions.
        unsafe { sum_tiles::<Avx2, F>(part, work) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    pub(super) unsafe fn avx512<F: Format>(part: &Part<'_>, work: &mut Work) {
        // SAFETY: the caller promises the instructions.
        unsafe { sum_tiles::<Avx512, F>(part, work) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    pub(super) unsafe fn amx<F: Format>(part: &Part<'_>, work: &mut Work) {
        // SAFETY: the caller promises the instructions, those of the tile unit, too.
        unsafe { tile_unit::sum_tiles::<F>(part, work) }
    }
}

/// Block by block and tile by tile, so that a block's activations are near for the second tile: unpack, then add to all rows, eight at
/// a time, the rest in fours, twos and alone.
///
/// # Safety
/// The processor has the instructions of `L`.
#[inline(always)]
pub(super) unsafe fn sum_tiles<L: Lanes, F: Format>(part: &Part<'_>, work: &mut Work) {
    let Work { unpacked, sums, .. } = work;
    let sums = &mut sums[..part.tile_count];
    sums.iter_mut().for_each(|sums| sums[..part.count].fill([0.0; TILE]));
    for ((rows, first), second) in part.rows().zip(part.blocks::<F>(0)).zip(part.blocks::<F>(1)) {
        for ((bytes, ahead), sums) in [first, second].into_iter().zip(sums.iter_mut()) {
            let next = &mut 0;
            // SAFETY: the caller promises the instructions; `rows` and `sums` are of as many rows.
            unsafe {
                // K types have whole blocks, which the compiler may know.
                let strips = if F::LAYOUT.scales == Scales::Super { STRIPS } else { rows.strips };
                let (codes, factors) = unpacked.fill::<L, F>(bytes, strips);
                let dots = Vectors::<F> { codes, ahead, rows: &rows, format: PhantomData };
                let (eights, rest) = sums[..part.count].as_chunks_mut::<ROWS>();
                add_each::<L, F, ROWS>(&dots, factors, next, eights);
                let (fours, rest) = rest.as_chunks_mut::<4>();
                add_each::<L, F, 4>(&dots, factors, next, fours);
                let (twos, ones) = rest.as_chunks_mut::<2>();
                add_each::<L, F, 2>(&dots, factors, next, twos);
                add_each::<L, F, 1>(&dots, factors, next, ones.as_chunks_mut::<1>().0);
            }
        }
    }
}

/// Adds to so many rows at a time, from `next` on.
///
/// # Safety
/// There are these rows; the processor has the instructions.
#[inline(always)]
unsafe fn add_each<L: Lanes, F: Format, const COUNT: usize>(
    dots: &Vectors<'_, F>,
    factors: &Factors,
    next: &mut usize,
    sums: &mut [[[f32; TILE]; COUNT]],
) {
    for sums in sums {
        // SAFETY: the caller promises the rows and the instructions.
        unsafe { share::add::<L, F, COUNT>(dots, factors, *next, sums) };
        *next += COUNT;
    }
}
